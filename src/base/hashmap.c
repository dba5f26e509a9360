/* SPDX-License-Identifier: Apache-2.0 */
#include "base/hashmap.h"
#include "base/mem.h"

#include <string.h>
#include <sys/random.h>

struct md_hashmap_slot {
    const char *name; /* borrowed; NULL: empty */
    size_t n;
    size_t value;
    uint64_t hash;
};

/* ---- SipHash-1-3 ---- */

static inline uint64_t rotl(uint64_t x, int by)
{
    return x << by | x >> (64 - by);
}

static inline void sip_round(uint64_t v[4])
{
    v[0] += v[1], v[2] += v[3];
    v[1] = rotl(v[1], 13) ^ v[0], v[3] = rotl(v[3], 16) ^ v[2];
    v[0] = rotl(v[0], 32);
    v[2] += v[1], v[0] += v[3];
    v[1] = rotl(v[1], 17) ^ v[2], v[3] = rotl(v[3], 21) ^ v[0];
    v[2] = rotl(v[2], 32);
}

uint64_t md_siphash(const uint64_t key[2], const void *bytes, size_t n)
{
    const unsigned char *s = bytes;
    uint64_t v[4] = {key[0] ^ 0x736f6d6570736575u, key[1] ^ 0x646f72616e646f6du, key[0] ^ 0x6c7967656e657261u,
                     key[1] ^ 0x7465646279746573u};
    uint64_t word;
    size_t at = 0;
    for (; n - at >= 8; at += 8) {
        memcpy(&word, s + at, 8);
        v[3] ^= word;
        sip_round(v);
        v[0] ^= word;
    }
    word = (uint64_t)n << 56;
    for (int shift = 0; at < n; at++, shift += 8)
        word |= (uint64_t)s[at] << shift;
    v[3] ^= word;
    sip_round(v);
    v[0] ^= word;
    v[2] ^= 0xff;
    for (int i = 0; i < 3; i++)
        sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

void md_siphash_seed(uint64_t key[2])
{
    if (getrandom(key, 2 * sizeof *key, GRND_NONBLOCK) == (ssize_t)(2 * sizeof *key))
        return;
    /* Early in the boot of a machine: addresses are drawn at random, too. */
    key[0] = (uint64_t)(uintptr_t)key * 0x9e3779b97f4a7c15u;
    key[1] = (uint64_t)(uintptr_t)&key * 0xbf58476d1ce4e5b9u;
}

/* ---- the table ---- */

/* Where the name is, or the empty slot where it belongs. The table is never full. */
static struct md_hashmap_slot *probe(const md_hashmap *m, const char *name, size_t n, uint64_t hash)
{
    size_t at = (size_t)hash & (m->cap - 1);
    for (;;) {
        struct md_hashmap_slot *s = &m->slot[at];
        if (!s->name || (s->hash == hash && s->n == n && memcmp(s->name, name, n) == 0))
            return s;
        at = (at + 1) & (m->cap - 1);
    }
}

bool md_hashmap_reserve(md_hashmap *m, size_t n)
{
    size_t cap = m->cap ? m->cap : 16;
    while (cap - cap / 4 <= n) { /* at most three quarters full */
        if (cap > SIZE_MAX / 4)
            return false;
        cap *= 2;
    }
    if (cap == m->cap)
        return true;
    md_hashmap grown = {.slot = md_calloc(cap, sizeof *grown.slot), .cap = cap, .n = m->n};
    if (!grown.slot)
        return false;
    if (m->cap)
        memcpy(grown.seed, m->seed, sizeof grown.seed);
    else
        md_siphash_seed(grown.seed);
    for (size_t i = 0; i < m->cap; i++)
        if (m->slot[i].name)
            *probe(&grown, m->slot[i].name, m->slot[i].n, m->slot[i].hash) = m->slot[i];
    md_free(m->slot);
    *m = grown;
    return true;
}

size_t *md_hashmap_put(md_hashmap *m, const char *name, size_t n, size_t value, bool *added)
{
    if (!md_hashmap_reserve(m, m->n + 1))
        return NULL;
    const uint64_t hash = md_siphash(m->seed, name, n);
    struct md_hashmap_slot *s = probe(m, name, n, hash);
    *added = !s->name;
    if (*added) {
        *s = (struct md_hashmap_slot){.name = name, .n = n, .value = value, .hash = hash};
        m->n++;
    }
    return &s->value;
}

const size_t *md_hashmap_get(const md_hashmap *m, const char *name, size_t n)
{
    if (m->n == 0)
        return NULL;
    const struct md_hashmap_slot *s = probe(m, name, n, md_siphash(m->seed, name, n));
    return s->name ? &s->value : NULL;
}

void md_hashmap_done(md_hashmap *m)
{
    md_free(m->slot);
    *m = (md_hashmap){0};
}
