/* SPDX-License-Identifier: Apache-2.0 */
#include "base/region.h"

#include "base/status.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

/* Maps a page more than asked for and gives back what lies outside whole pages, so that large ones fit. */
md_status md_region_new(size_t n, md_region *out, md_error *err)
{
    *out = (md_region){0};
    MD_FAIL_IF(n > SIZE_MAX / 2, MD_ERR_LIMIT, "%zu bytes of memory are more than an address space holds", n);
    const size_t whole = (n + MD_REGION_PAGE - 1) / MD_REGION_PAGE * MD_REGION_PAGE, asked = whole + MD_REGION_PAGE;
    unsigned char *p = mmap(NULL, asked, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    MD_FAIL_IF(p == MAP_FAILED, MD_ERR_MEMORY, "cannot get %.1f MiB of memory for weights: %s", (double)whole / 0x1p20,
               strerror(errno));
    const size_t front = (MD_REGION_PAGE - (uintptr_t)p % MD_REGION_PAGE) % MD_REGION_PAGE;
    if (front > 0)
        munmap(p, front);
    if (MD_REGION_PAGE - front > 0)
        munmap(p + front + whole, MD_REGION_PAGE - front);
    *out = (md_region){.bytes = p + front, .n = whole};
    (void)madvise(out->bytes, whole, MADV_HUGEPAGE); /* small pages are slower, not wrong */
    return MD_OK;
}

md_status md_region_reserve(size_t n, md_region *out, md_error *err)
{
    *out = (md_region){0};
    MD_FAIL_IF(n > SIZE_MAX / 2, MD_ERR_LIMIT, "%zu bytes are more than an address space holds", n);
    const size_t whole = (n + MD_REGION_PAGE - 1) / MD_REGION_PAGE * MD_REGION_PAGE;
    void *p = mmap(NULL, whole, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    MD_FAIL_IF(p == MAP_FAILED, MD_ERR_MEMORY, "cannot reserve %.1f GiB of addresses: %s", (double)whole / 0x1p30,
               strerror(errno));
    *out = (md_region){.bytes = p, .n = whole};
    return MD_OK;
}

/* Bytes that a thread takes at a time. */
#define TAKE_BYTES ((size_t)8 << 20)

static void take_items(void *ctx, int64_t first, int64_t last, int thread)
{
    (void)thread;
    const md_region *r = ctx;
    const size_t from = (size_t)first * TAKE_BYTES,
                 to = (size_t)last * TAKE_BYTES < r->n ? (size_t)last * TAKE_BYTES : r->n;
#ifdef MADV_POPULATE_WRITE
    if (madvise(r->bytes + from, to - from, MADV_POPULATE_WRITE) == 0)
        return;
#endif
    for (size_t at = from; at < to; at += MD_REGION_PAGE) /* where pages are large that is all of them, else a start */
        *(volatile unsigned char *)(r->bytes + at) = 0;
}

void md_region_take(const md_region *r, md_pool *pool)
{
    md_pool_run(pool, (int64_t)((r->n + TAKE_BYTES - 1) / TAKE_BYTES), 1, take_items, (void *)(uintptr_t)r);
}

void md_region_free(md_region *r)
{
    if (r->bytes)
        munmap(r->bytes, r->n);
    *r = (md_region){0};
}
