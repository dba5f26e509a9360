/* SPDX-License-Identifier: Apache-2.0
 *
 * Pages as bytes, out of a pool and into one. A page goes whole, the last one too: what lies beyond the length has no
 * meaning and is overwritten before it is read. So nothing here knows what a page holds; MD_KV_LAYOUT says when that
 * changed. */
#include "kv/pool.h"

#include <string.h>

size_t md_kv_pool_page_bytes(const md_kv_pool *p)
{
    return p->page_bytes;
}

int32_t md_kv_pages_of(int32_t length)
{
    return length / MD_TILE + (length % MD_TILE > 0);
}

const unsigned char *md_kv_table_page(const md_kv_pool *p, const md_kv_table *t, int32_t i)
{
    return p->memory + (size_t)t->page[i] * p->page_bytes;
}

const unsigned char *md_kv_pool_page(const md_kv_pool *p, int32_t page)
{
    return p->memory + (size_t)page * p->page_bytes;
}

/* Pages of t that nobody else holds: those it gives back when it is emptied. */
static int32_t own_pages(const md_kv_pool *p, const md_kv_table *t)
{
    int32_t n = 0;
    for (int32_t i = 0; i < t->n_pages; i++)
        n += p->refs[t->page[i]] == 1;
    return n;
}

bool md_kv_table_fill(md_kv_pool *p, md_kv_table *t, int32_t length, const unsigned char *bytes)
{
    const int32_t n = md_kv_pages_of(length);
    if (n > t->capacity || n > p->n_free + own_pages(p, t))
        return false;
    md_kv_table_trim(p, t, 0);
    if (!md_kv_table_extend(p, t, length))
        return false; /* never: the pages were counted above */
    for (int32_t i = 0; i < n; i++)
        memcpy(p->memory + (size_t)t->page[i] * p->page_bytes, bytes + (size_t)i * p->page_bytes, p->page_bytes);
    t->length = length;
    return true;
}
