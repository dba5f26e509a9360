/* SPDX-License-Identifier: Apache-2.0
 *
 * The paged KV cache: pages of MD_TILE positions from one pool, reference counts, tables that sequences read through. A page
 * holds the keys and values of all layers for its positions; keys lie transposed (one column a position), so that a page is
 * a tile of attention. Pages are shared between tables until one of them writes (copy on write).
 * Not thread-safe, but md_kv_put and md_kv_tile_at may run in parallel on different (page, layer, head, position). */
#ifndef MD_KV_KV_H
#define MD_KV_KV_H

#include "kern/kern.h"
#include <medley/error.h>
#include <stdbool.h>

/* What one layer keeps per position. n_head 0: nothing. */
typedef struct md_kv_layer {
    int32_t n_head, dim_k, dim_v;
    bool v_in_k; /* a head's values are the first dim_v of its keys (latent attention): they are kept once */
} md_kv_layer;

typedef struct md_kv_pool md_kv_pool;

/* Bytes of one page; 0 if the store cannot hold these layers (Q8_0 needs head sizes that are multiples of 32). */
size_t md_kv_page_bytes(md_kv_store store, const md_kv_layer *layer, int32_t n_layer);
/* layer is copied. Memory is reserved, and used page by page. */
md_status md_kv_pool_new(md_kv_store store, const md_kv_layer *layer, int32_t n_layer, int32_t n_pages,
                         md_kv_pool **out, md_error *err) MD_MUST_USE;
void md_kv_pool_free(md_kv_pool *p); /* NULL allowed */
int32_t md_kv_pool_free_pages(const md_kv_pool *p);
uint64_t md_kv_pool_copies(const md_kv_pool *p); /* pages copied before a write, so far */

/* --- a table: the pages of one sequence, in order --- */
typedef struct md_kv_table {
    int32_t *page; /* owned, (capacity) */
    int32_t n_pages, capacity;
    int32_t length; /* positions that hold something */
} md_kv_table;
md_status md_kv_table_init(md_kv_table *t, int32_t capacity, md_error *err) MD_MUST_USE;
void md_kv_table_done(md_kv_pool *p, md_kv_table *t);
/* dst becomes equal to src, sharing the pages of its positions, but not those taken beyond its length. Same capacity. */
void md_kv_table_share(md_kv_pool *p, md_kv_table *dst, const md_kv_table *src);
void md_kv_table_trim(md_kv_pool *p, md_kv_table *t, int32_t length);
/* How many free pages md_kv_table_extend would take. */
int32_t md_kv_table_pages_needed(const md_kv_pool *p, const md_kv_table *t, int32_t length);
/* Makes positions [t->length, length) writable: takes pages, copies a shared last page. length stays as it is. False,
 * with nothing changed, when the pool has too few pages. */
bool md_kv_table_extend(md_kv_pool *p, md_kv_table *t, int32_t length);

/* For pages that a tree of prefixes holds (prefix.h). attach: the table, which ends at a page's border and has room, shares
 * `page` and goes on for n of its positions. replace: its page i, a full one, becomes `page`, which holds the same bytes. */
void md_kv_table_attach(md_kv_pool *p, md_kv_table *t, int32_t page, int32_t n);
void md_kv_table_replace(md_kv_pool *p, md_kv_table *t, int32_t i, int32_t page);
/* A page of the table's own behind those that it has, to be filled: its bytes, borrowed; NULL when the table or the pool is
 * full. length stays as it is. */
unsigned char *md_kv_table_append(md_kv_pool *p, md_kv_table *t);

/* --- pages as bytes, for saving (save.c) --- */
/* What a page holds and in which order. Raise it when that changes: saved pages of another layout are refused. */
#define MD_KV_LAYOUT 1
size_t md_kv_pool_page_bytes(const md_kv_pool *p);
int32_t md_kv_pages_of(int32_t length); /* pages that hold so many positions */
/* The bytes of page i of a table, borrowed; i < md_kv_pages_of(length). */
const unsigned char *md_kv_table_page(const md_kv_pool *p, const md_kv_table *t, int32_t i);
const unsigned char *md_kv_pool_page(const md_kv_pool *p, int32_t page);
/* t becomes `length` positions whose pages are bytes[0..pages * page bytes). False, with nothing changed, when t or the
 * pool has too few pages. */
bool md_kv_table_fill(md_kv_pool *p, md_kv_table *t, int32_t length, const unsigned char *bytes);

/* --- contents --- */
/* Stores key and value of one position of a head: k (dim_k), v (dim_v), which is not read where values are in keys. */
void md_kv_put(const md_kern *kern, md_kv_pool *p, int32_t page, int32_t layer, int32_t head, int32_t at,
               const float *k, const float *v);
/* A head's tile, for kernels: a view of the page. */
md_kv_tile md_kv_tile_at(const md_kv_pool *p, int32_t page, int32_t layer, int32_t head);

#endif
