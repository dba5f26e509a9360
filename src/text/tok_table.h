/* SPDX-License-Identifier: Apache-2.0
 *
 * The two hash tables of a tokenizer: strings to ids, and pairs of ids to the token they merge into. Open addressing,
 * at most half full, filled once and then read by any number of threads. No entry lies further than MD_TABLE_REACH
 * slots from where it belongs: a file made to collide is refused, and a look-up is short whatever the file. */
#ifndef MD_TEXT_TOK_TABLE_H
#define MD_TEXT_TOK_TABLE_H

#include <medley/error.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MD_TABLE_REACH     512 /* real vocabularies stay below 100 */
#define MD_TABLE_COLLIDING "the vocabulary is made so that it collides in hash tables; no real one is"

/* n strings one after another. String i is bytes[start[i]..start[i + 1]); after each comes a NUL, not counted. */
typedef struct md_strings {
    char *bytes;   /* owned */
    size_t *start; /* owned, [n + 1] */
    size_t n;
} md_strings;

const char *md_strings_at(const md_strings *s, size_t i, size_t *n);
void md_strings_done(md_strings *s);

/* From the bytes of a string to its index in an md_strings. */
typedef struct md_string_slot {
    uint32_t tag; /* upper half of the hash: most misses end here, without a look at the string */
    int32_t id;   /* -1: free */
} md_string_slot;

typedef struct md_string_table {
    const md_strings *strings; /* borrowed */
    md_string_slot *slot;      /* owned, [mask + 1] */
    size_t mask;
} md_string_table;

/* Room for n_max strings of `strings`. */
bool md_string_table_init(md_string_table *t, const md_strings *strings, size_t n_max);
/* Adds string i, unless an equal string is already there. Not more than n_max times. False: out of reach. */
bool md_string_table_add(md_string_table *t, int32_t i);
int32_t md_string_table_find(const md_string_table *t, const char *s, size_t n); /* -1: not there */
void md_string_table_done(md_string_table *t);

/* What two neighbouring tokens become. */
typedef struct md_merge {
    uint64_t pair; /* left << 32 | right; MD_NO_PAIR: free slot */
    uint32_t rank; /* lower merges first */
    int32_t id;
} md_merge;
#define MD_NO_PAIR UINT64_MAX

typedef struct md_merge_table {
    md_merge *slot; /* owned, [mask + 1] */
    size_t mask;
} md_merge_table;

bool md_merge_table_init(md_merge_table *t, size_t n_max);
/* Adds a pair, unless it is already there: lower ranks come first. Not more than n_max times. False: out of reach. */
bool md_merge_table_add(md_merge_table *t, int32_t left, int32_t right, uint32_t rank, int32_t id);
void md_merge_table_done(md_merge_table *t);

static inline size_t md_merge_hash(uint64_t pair)
{
    const uint64_t h = pair * 0x9e3779b97f4a7c15u;
    return (size_t)(uint32_t)(h ^ h >> 32);
}

/* NULL when the two do not merge; ids are not negative. In the header because the merge loop lives on it. */
static inline const md_merge *md_merge_table_find(const md_merge_table *t, int32_t left, int32_t right)
{
    const uint64_t pair = (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
    const size_t home = md_merge_hash(pair);
    for (size_t i = home; i < home + MD_TABLE_REACH; i++) {
        const md_merge *m = &t->slot[i & t->mask];
        if (m->pair == pair)
            return m;
        if (m->pair == MD_NO_PAIR)
            break;
    }
    return NULL;
}

#endif
