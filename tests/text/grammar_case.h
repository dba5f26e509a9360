/* SPDX-License-Identifier: Apache-2.0
 *
 * Texts against grammars, byte by byte, for the tests of grammars and schemas. */
#ifndef MD_TEST_GRAMMAR_CASE_H
#define MD_TEST_GRAMMAR_CASE_H

#include "support/fixtures.h"
#include "text/grammar_match.h"

#include <string.h>

static inline md_grammar *grammar_of(const char *text)
{
    md_grammar *g;
    md_error err = {0};
    if (md_grammar_new(text, strlen(text), NULL, &g, &err) != MD_OK)
        fail_msg("%s: %s", text, err.message);
    return g;
}

static inline void match_begin(md_gmatch *m, const md_grammar *g)
{
    assert_true(md_gmatch_init(m, g, 1));
    md_gmatch_start(m);
}

/* How many bytes can be read. */
static inline size_t match_read(md_gmatch *m, const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        md_gmatch_byte(m, 0, 1, (uint8_t)text[i]);
        if (m->path[1] == MD_GSTATE_DEAD)
            return i;
        m->path[0] = m->path[1];
    }
    return n;
}

static inline bool match_complete(const md_gmatch *m)
{
    return m->state[m->path[0]].accepting;
}

static inline bool match_whole(md_gmatch *m, const char *text, size_t n)
{
    md_gmatch_start(m);
    return match_read(m, text, n) == n && match_complete(m);
}

/* xorshift64*: the same numbers in every run. */
static inline uint32_t case_random(uint64_t *x)
{
    *x ^= *x >> 12;
    *x ^= *x << 25;
    *x ^= *x >> 27;
    return (uint32_t)(*x * 0x2545f4914f6cdd1du >> 32);
}

/* A random text of the grammar, at most `max` bytes; its length, or -1 if no end was found. From half of max on, bytes of
 * `closing` come first. */
static inline int match_walk(md_gmatch *m, uint64_t *x, const char *closing, char *out, int max)
{
    md_gmatch_start(m);
    for (int n = 0; n < max; n++) {
        uint8_t can[256];
        uint32_t n_can = 0;
        for (int b = 0; b < 256; b++) {
            md_gmatch_byte(m, 0, 1, (uint8_t)b);
            if (m->path[1] != MD_GSTATE_DEAD)
                can[n_can++] = (uint8_t)b;
        }
        if (match_complete(m) && (n_can == 0 || case_random(x) % 3 == 0))
            return n;
        assert_true(n_can > 0); /* a grammar that can end never gets stuck */
        uint8_t b = can[case_random(x) % n_can];
        if (n > max / 2 || case_random(x) % 3 == 0) {
            const uint8_t c = (uint8_t)closing[case_random(x) % strlen(closing)];
            b = memchr(can, c, n_can) ? c : b;
        }
        out[n] = (char)b;
        md_gmatch_byte(m, 0, 1, b);
        m->path[0] = m->path[1];
    }
    return -1;
}

#endif
