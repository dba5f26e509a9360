/* SPDX-License-Identifier: Apache-2.0
 *
 * Pages, their reference counts, and the tables over them. */
#include "kv/pool.h"

#include "base/mem.h"
#include "base/status.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#define ALIGN 64u

static size_t align_up(size_t n)
{
    return (n + ALIGN - 1) / ALIGN * ALIGN;
}

/* Bytes of n values of a tile, scales included: blocks of 32 run along the head. */
static size_t plane_bytes(md_kv_store store, int32_t dim)
{
    const size_t n = (size_t)dim * MD_TILE;
    switch (store) {
    case MD_KV_STORE_F32: return n * 4;
    case MD_KV_STORE_F16: return n * 2;
    case MD_KV_STORE_Q8_0: return n + n / 32 * 2;
    }
    return 0;
}

static size_t value_bytes(md_kv_store store, const md_kv_layer *l)
{
    return l->v_in_k ? 0 : align_up(plane_bytes(store, l->dim_v));
}

size_t md_kv_page_bytes(md_kv_store store, const md_kv_layer *layer, int32_t n_layer)
{
    size_t total = 0;
    for (int32_t l = 0; l < n_layer; l++) {
        if (store == MD_KV_STORE_Q8_0 && layer[l].n_head > 0 && (layer[l].dim_k % 32 || layer[l].dim_v % 32))
            return 0;
        total += (size_t)layer[l].n_head *
                 (align_up(plane_bytes(store, layer[l].dim_k)) + value_bytes(store, &layer[l]));
    }
    return total > 0 ? total : ALIGN;
}

md_status md_kv_pool_new(md_kv_store store, const md_kv_layer *layer, int32_t n_layer, int32_t n_pages,
                         md_kv_pool **out, md_error *err)
{
    *out = NULL;
    const size_t page_bytes = md_kv_page_bytes(store, layer, n_layer);
    MD_FAIL_IF(page_bytes == 0, MD_ERR_UNSUPPORTED,
               "a q8_0 KV cache needs head sizes that are multiples of 32; use f16");
    md_kv_pool *p = md_calloc(1, sizeof *p);
    if (!p)
        return md_fail_memory(err, "the KV cache");
    p->store = store;
    p->n_pages = n_pages;
    p->page_bytes = page_bytes;
    p->plane = md_calloc((size_t)n_layer + 1, sizeof *p->plane);
    p->free_list = md_calloc((size_t)n_pages, sizeof *p->free_list);
    p->refs = md_calloc((size_t)n_pages, sizeof *p->refs);
    size_t bytes = 0;
    if (!p->plane || !p->free_list || !p->refs || !md_mul(p->page_bytes, (size_t)n_pages, &bytes)) {
        md_kv_pool_free(p);
        return md_fail_memory(err, "the KV cache");
    }
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) {
        const md_status status = md_fail(err, MD_ERR_MEMORY,
                                         "cannot reserve %zu bytes for the KV cache: %s; ask for a smaller context",
                                         bytes, strerror(errno));
        md_kv_pool_free(p);
        return status;
    }
    p->memory = memory;
    p->bytes = bytes;
    size_t at = 0;
    for (int32_t l = 0; l < n_layer; l++) {
        md_kv_plane *pl = &p->plane[l];
        *pl = (md_kv_plane){.at = at,
                            .layer = layer[l],
                            .k_bytes = align_up(plane_bytes(store, layer[l].dim_k)),
                            .v_bytes = value_bytes(store, &layer[l])};
        at += (size_t)layer[l].n_head * (pl->k_bytes + pl->v_bytes);
    }
    for (int32_t i = 0; i < n_pages; i++) /* lowest page first, so that few pages stay few */
        p->free_list[i] = n_pages - 1 - i;
    p->n_free = n_pages;
    *out = p;
    return MD_OK;
}

void md_kv_pool_free(md_kv_pool *p)
{
    if (!p)
        return;
    if (p->memory)
        munmap(p->memory, p->bytes);
    md_free(p->plane);
    md_free(p->free_list);
    md_free(p->refs);
    md_free(p);
}

int32_t md_kv_pool_free_pages(const md_kv_pool *p)
{
    return p->n_free;
}

uint64_t md_kv_pool_copies(const md_kv_pool *p)
{
    return p->copies;
}

static int32_t page_take(md_kv_pool *p)
{
    const int32_t page = p->free_list[--p->n_free];
    p->refs[page] = 1;
    return page;
}

void md_kv_page_hold(md_kv_pool *p, int32_t page)
{
    if (++p->refs[page] == 2 && p->prefix)
        md_kv_prefix_held(p->prefix, page);
}

void md_kv_page_drop(md_kv_pool *p, int32_t page)
{
    if (--p->refs[page] == 0)
        p->free_list[p->n_free++] = page;
    else if (p->refs[page] == 1 && p->prefix)
        md_kv_prefix_held(p->prefix, page);
}

md_status md_kv_table_init(md_kv_table *t, int32_t capacity, md_error *err)
{
    *t = (md_kv_table){.page = md_calloc((size_t)capacity, sizeof *t->page), .capacity = capacity};
    return t->page ? MD_OK : md_fail_memory(err, "a sequence");
}

void md_kv_table_done(md_kv_pool *p, md_kv_table *t)
{
    if (t->page)
        md_kv_table_trim(p, t, 0);
    md_free(t->page);
    *t = (md_kv_table){0};
}

static int32_t pages_for(int32_t length)
{
    return length / MD_TILE + (length % MD_TILE > 0);
}

/* Pages taken ahead of the length stay with src: nothing in them needs to be shared, and two tables would write them. */
void md_kv_table_share(md_kv_pool *p, md_kv_table *dst, const md_kv_table *src)
{
    const int32_t n_pages = pages_for(src->length);
    for (int32_t i = 0; i < n_pages; i++)
        md_kv_page_hold(p, src->page[i]);
    md_kv_table_trim(p, dst, 0);
    if (n_pages > 0)
        memcpy(dst->page, src->page, (size_t)n_pages * sizeof *dst->page);
    dst->n_pages = n_pages;
    dst->length = src->length;
}

void md_kv_table_trim(md_kv_pool *p, md_kv_table *t, int32_t length)
{
    const int32_t keep = pages_for(length);
    while (t->n_pages > keep)
        md_kv_page_drop(p, t->page[--t->n_pages]);
    if (t->length > length)
        t->length = length;
}

void md_kv_table_attach(md_kv_pool *p, md_kv_table *t, int32_t page, int32_t n)
{
    md_kv_page_hold(p, page);
    t->page[t->n_pages++] = page;
    t->length += n;
}

void md_kv_table_replace(md_kv_pool *p, md_kv_table *t, int32_t i, int32_t page)
{
    md_kv_page_hold(p, page);
    md_kv_page_drop(p, t->page[i]);
    t->page[i] = page;
}

unsigned char *md_kv_table_append(md_kv_pool *p, md_kv_table *t)
{
    if (p->n_free == 0 || t->n_pages == t->capacity)
        return NULL;
    const int32_t page = page_take(p);
    t->page[t->n_pages++] = page;
    return p->memory + (size_t)page * p->page_bytes;
}

/* Is the page that the next position falls into one that others see too? */
static bool last_is_shared(const md_kv_pool *p, const md_kv_table *t)
{
    return t->length % MD_TILE > 0 && p->refs[t->page[t->length / MD_TILE]] > 1;
}

int32_t md_kv_table_pages_needed(const md_kv_pool *p, const md_kv_table *t, int32_t length)
{
    const int32_t more = pages_for(length) - t->n_pages;
    return (more > 0 ? more : 0) + (length > t->length && last_is_shared(p, t));
}

bool md_kv_table_extend(md_kv_pool *p, md_kv_table *t, int32_t length)
{
    if (pages_for(length) > t->capacity || md_kv_table_pages_needed(p, t, length) > p->n_free)
        return false;
    if (length > t->length && last_is_shared(p, t)) {
        int32_t *page = &t->page[t->length / MD_TILE];
        const int32_t fresh = page_take(p);
        memcpy(p->memory + (size_t)fresh * p->page_bytes, p->memory + (size_t)*page * p->page_bytes, p->page_bytes);
        md_kv_page_drop(p, *page);
        *page = fresh;
        p->copies++;
    }
    while (t->n_pages < pages_for(length))
        t->page[t->n_pages++] = page_take(p);
    return true;
}
