/* SPDX-License-Identifier: Apache-2.0
 *
 * Hash tables of a tokenizer: see the header. The string hash multiplies and shifts, eight bytes a step; it is
 * meant to be even, not to withstand someone who builds collisions: the reach of the tables is for that. */
#include "text/tok_table.h"

#include "base/mem.h"

#include <string.h>

const char *md_strings_at(const md_strings *s, size_t i, size_t *n)
{
    *n = s->start[i + 1] - s->start[i] - 1;
    return s->bytes + s->start[i];
}

void md_strings_done(md_strings *s)
{
    md_free(s->bytes);
    md_free(s->start);
    *s = (md_strings){0};
}

static uint64_t mix(uint64_t h)
{
    h *= 0x9fb21c651e98df25u;
    return h ^ h >> 29;
}

static uint64_t hash_bytes(const char *s, size_t n)
{
    uint64_t h = mix(n + 1);
    uint64_t word;
    for (; n >= 8; s += 8, n -= 8) {
        memcpy(&word, s, 8);
        h = mix(h ^ word);
    }
    word = 0;
    memcpy(&word, s, n);
    h = mix(mix(h ^ word));
    return h ^ h >> 32;
}

/* Smallest power of two that leaves the table at most half full, less one. */
static bool mask_for(size_t n_max, size_t *mask)
{
    size_t size = 8;
    while (size / 2 < n_max) {
        if (size > SIZE_MAX / 64)
            return false;
        size *= 2;
    }
    *mask = size - 1;
    return true;
}

bool md_string_table_init(md_string_table *t, const md_strings *strings, size_t n_max)
{
    *t = (md_string_table){.strings = strings};
    if (!mask_for(n_max, &t->mask))
        return false;
    t->slot = md_calloc(t->mask + 1, sizeof *t->slot);
    if (!t->slot)
        return false;
    for (size_t i = 0; i <= t->mask; i++)
        t->slot[i].id = -1;
    return true;
}

/* The slot that holds the string, or the free one where it belongs; NULL when neither is in reach. */
static md_string_slot *find_slot(const md_string_table *t, const char *s, size_t n, uint32_t *tag)
{
    const uint64_t h = hash_bytes(s, n);
    *tag = (uint32_t)(h >> 32);
    const size_t home = (size_t)(uint32_t)h;
    for (size_t i = home; i < home + MD_TABLE_REACH; i++) {
        md_string_slot *slot = &t->slot[i & t->mask];
        if (slot->id < 0)
            return slot;
        if (slot->tag != *tag)
            continue;
        size_t have;
        const char *p = md_strings_at(t->strings, (size_t)slot->id, &have);
        if (have == n && memcmp(p, s, n) == 0)
            return slot;
    }
    return NULL;
}

bool md_string_table_add(md_string_table *t, int32_t i)
{
    size_t n;
    const char *s = md_strings_at(t->strings, (size_t)i, &n);
    uint32_t tag;
    md_string_slot *slot = find_slot(t, s, n, &tag);
    if (slot && slot->id < 0)
        *slot = (md_string_slot){.tag = tag, .id = i};
    return slot != NULL;
}

int32_t md_string_table_find(const md_string_table *t, const char *s, size_t n)
{
    uint32_t tag;
    const md_string_slot *slot = t->slot ? find_slot(t, s, n, &tag) : NULL;
    return slot ? slot->id : -1;
}

void md_string_table_done(md_string_table *t)
{
    md_free(t->slot);
    *t = (md_string_table){0};
}

bool md_merge_table_init(md_merge_table *t, size_t n_max)
{
    *t = (md_merge_table){0};
    if (!mask_for(n_max, &t->mask))
        return false;
    t->slot = md_calloc(t->mask + 1, sizeof *t->slot);
    if (!t->slot)
        return false;
    for (size_t i = 0; i <= t->mask; i++)
        t->slot[i].pair = MD_NO_PAIR;
    return true;
}

bool md_merge_table_add(md_merge_table *t, int32_t left, int32_t right, uint32_t rank, int32_t id)
{
    const uint64_t pair = (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
    const size_t home = md_merge_hash(pair);
    for (size_t i = home; i < home + MD_TABLE_REACH; i++) {
        md_merge *m = &t->slot[i & t->mask];
        if (m->pair == MD_NO_PAIR)
            *m = (md_merge){.pair = pair, .rank = rank, .id = id};
        if (m->pair == pair)
            return true;
    }
    return false;
}

void md_merge_table_done(md_merge_table *t)
{
    md_free(t->slot);
    *t = (md_merge_table){0};
}
