/* SPDX-License-Identifier: Apache-2.0
 *
 * What files a folder holds, in memory: by key, and in the order of their last use. No file is touched here. Whoever has the
 * folder guards it against other threads. */
#ifndef MD_KV_DISK_INDEX_H
#define MD_KV_DISK_INDEX_H

#include "kv/prefix.h"

typedef struct md_kv_entry {
    unsigned char key[MD_KV_KEY_BYTES];
    uint64_t bytes;
    int32_t chain, older, newer; /* chain: the next in its place, or of the free ones */
    bool touched;                /* used since the folder was opened: its file's time says less */
} md_kv_entry;

typedef struct md_kv_index {
    md_kv_entry *entry; /* owned, (capacity) */
    int32_t *place;     /* owned, (mask + 1) */
    int32_t capacity, free, n, oldest, newest;
    uint32_t mask;
    uint64_t used; /* bytes of all files, each rounded up to blocks */
    uint64_t seed[2];
} md_kv_index;

bool md_kv_index_init(md_kv_index *x) MD_MUST_USE;
void md_kv_index_done(md_kv_index *x);
uint64_t md_kv_index_cost(uint64_t bytes); /* of a file, rounded up to blocks */
/* -1: not there. */
int32_t md_kv_index_find(const md_kv_index *x, const unsigned char key[MD_KV_KEY_BYTES]);
/* Puts a file in, used just now, or changes its size. False when memory is out. */
bool md_kv_index_put(md_kv_index *x, const unsigned char key[MD_KV_KEY_BYTES], uint64_t bytes) MD_MUST_USE;
void md_kv_index_touch(md_kv_index *x, int32_t entry);
void md_kv_index_remove(md_kv_index *x, int32_t entry);

/* Names of files: the key in hexadecimal, and of those being written, with a dot before and ".part" behind. */
#define MD_KV_NAME_BYTES (2 * MD_KV_KEY_BYTES + 8)
void md_kv_name_of(const unsigned char key[MD_KV_KEY_BYTES], bool part, char name[MD_KV_NAME_BYTES]);
/* False if it is not such a name. */
bool md_kv_name_parse(const char *name, bool part, unsigned char key[MD_KV_KEY_BYTES]);

#endif
