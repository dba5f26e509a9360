/* SPDX-License-Identifier: Apache-2.0
 *
 * Makes small precompiled normalisation tables: a double array over the sequences given, children put at the first place
 * where they fit. Written from the description of the format, not from the reader. */
#ifndef MD_TEST_TOK_CHARSMAP_MAKE_H
#define MD_TEST_TOK_CHARSMAP_MAKE_H

#include "support/fixtures.h"

#include <string.h>

typedef struct replaced {
    const char *from, *to;
} replaced;

#define CHARSMAP_UNITS 4096
#define CHARSMAP_MAX   (4 + 4 * CHARSMAP_UNITS + 1024)

typedef struct charsmap_maker {
    const replaced *r;
    size_t n;
    uint32_t unit[CHARSMAP_UNITS];
    bool used[CHARSMAP_UNITS];
    size_t text_at[64]; /* of each replacement */
} charsmap_maker;

/* Which bytes follow the first `depth` bytes of sequence `of`; next[0]: the sequence ends there (*ends says which). */
static inline void charsmap_next(const charsmap_maker *m, size_t of, size_t depth, bool next[256], size_t *ends)
{
    memset(next, 0, 256);
    for (size_t i = 0; i < m->n; i++) {
        if (strlen(m->r[i].from) < depth || memcmp(m->r[i].from, m->r[of].from, depth) != 0)
            continue;
        next[(unsigned char)m->r[i].from[depth]] = true;
        if (m->r[i].from[depth] == '\0')
            *ends = i;
    }
}

/* Puts the children of the node at `at`; returns nothing, recursion is as deep as a sequence is long. */
static inline void charsmap_place(charsmap_maker *m, size_t at, size_t of, size_t depth)
{
    bool next[256];
    size_t ends = 0, base = 0;
    charsmap_next(m, of, depth, next, &ends);
    for (bool fits = false; !fits;) {
        base++;
        assert_true(base < CHARSMAP_UNITS - 256);
        fits = true;
        for (size_t c = 0; c < 256; c++)
            fits = fits && (!next[c] || ((at ^ base ^ c) < CHARSMAP_UNITS && !m->used[at ^ base ^ c]));
    }
    m->unit[at] |= (uint32_t)base << 10 | (next[0] ? 0x100u : 0);
    for (size_t c = 0; c < 256; c++) {
        if (!next[c])
            continue;
        m->used[at ^ base ^ c] = true;
        m->unit[at ^ base ^ c] = c ? (uint32_t)c : 0x80000000u | (uint32_t)m->text_at[ends];
    }
    for (size_t c = 1; c < 256; c++)
        for (size_t i = 0; next[c] && i < m->n; i++)
            if (strlen(m->r[i].from) > depth && memcmp(m->r[i].from, m->r[of].from, depth) == 0 &&
                (unsigned char)m->r[i].from[depth] == c) {
                charsmap_place(m, at ^ base ^ c, i, depth + 1);
                break;
            }
}

/* Writes the table to out and returns its size. n <= 64. */
static inline size_t charsmap_make(const replaced *r, size_t n, unsigned char out[CHARSMAP_MAX])
{
    charsmap_maker *m = calloc(1, sizeof *m);
    assert_non_null(m);
    m->r = r;
    m->n = n;
    m->used[0] = true;
    size_t text = 4 + 4 * CHARSMAP_UNITS;
    for (size_t i = 0; i < n; i++) {
        const size_t len = strlen(r[i].to) + 1;
        assert_true(text + len <= CHARSMAP_MAX);
        m->text_at[i] = text - 4 - 4 * CHARSMAP_UNITS;
        memcpy(out + text, r[i].to, len);
        text += len;
    }
    charsmap_place(m, 0, 0, 0);
    const uint32_t bytes = 4 * CHARSMAP_UNITS;
    for (size_t k = 0; k < 4; k++)
        out[k] = (unsigned char)(bytes >> 8 * k);
    for (size_t i = 0; i < CHARSMAP_UNITS; i++)
        for (size_t k = 0; k < 4; k++)
            out[4 + 4 * i + k] = (unsigned char)(m->unit[i] >> 8 * k);
    free(m);
    return text;
}

#endif
