/* SPDX-License-Identifier: Apache-2.0
 *
 * Names to indices: an open-addressing table over strings that somebody else owns. Keys may come from a hostile file,
 * so the hash is SipHash-1-3 (Aumasson and Bernstein, 2012) under a key drawn at random for each table: nobody can
 * prepare names that all fall into one place. What the table answers never depends on that key.
 * One thread at a time while it grows; any number of readers afterwards. */
#ifndef MD_BASE_HASHMAP_H
#define MD_BASE_HASHMAP_H

#include <medley/export.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* SipHash-1-3 of s[0..n) under a key. */
uint64_t md_siphash(const uint64_t key[2], const void *s, size_t n);
/* A key that nobody can know beforehand. */
void md_siphash_seed(uint64_t key[2]);

/* Starts as {0}. */
typedef struct md_hashmap {
    struct md_hashmap_slot *slot; /* owned, [cap] */
    size_t cap;                   /* 0 or a power of two */
    size_t n;                     /* names in the table */
    uint64_t seed[2];
} md_hashmap;

/* Makes room for n names in all. False when memory is out; the table is as it was. */
bool md_hashmap_reserve(md_hashmap *m, size_t n) MD_MUST_USE;
/* Puts name[0..n) with `value` unless the name is there already. Returns where its value lies (valid until the next
 * put) and whether it was added; NULL when memory is out, and the table is as it was. The name's bytes must outlive the
 * table. */
size_t *md_hashmap_put(md_hashmap *m, const char *name, size_t n, size_t value, bool *added) MD_MUST_USE;
/* The value of a name, or NULL. */
const size_t *md_hashmap_get(const md_hashmap *m, const char *name, size_t n);
void md_hashmap_done(md_hashmap *m);

#endif
