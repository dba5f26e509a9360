/* SPDX-License-Identifier: Apache-2.0
 *
 * The inside of a pool, for this room only. */
#ifndef MD_KV_POOL_H
#define MD_KV_POOL_H

#include "kv/kv.h"
#include "kv/prefix.h"

typedef struct md_kv_plane {
    size_t at;               /* where the layer begins in a page */
    size_t k_bytes, v_bytes; /* of one head; a head's keys, then its values */
    md_kv_layer layer;
} md_kv_plane;

struct md_kv_pool {
    md_kv_store store;
    int32_t n_pages, n_free;
    size_t page_bytes, bytes;
    unsigned char *memory; /* owned, mapped: (n_pages) pages */
    md_kv_plane *plane;    /* owned, (n_layer) */
    int32_t *free_list;    /* owned: the first n_free are free */
    int32_t *refs;         /* owned, (n_pages) tables that hold a page, and the tree */
    uint64_t copies;
    md_kv_prefix *prefix; /* borrowed: the tree over this pool, if there is one */
};

/* One more holder of a page, or one less; the tree is told when it becomes the only one, or ceases to be. */
void md_kv_page_hold(md_kv_pool *p, int32_t page);
void md_kv_page_drop(md_kv_pool *p, int32_t page);
/* What md_kv_prefix_new and the pool tell the tree (prefix.c): others hold a page of its own now, or do so no more. */
void md_kv_prefix_held(md_kv_prefix *t, int32_t page);

#endif
