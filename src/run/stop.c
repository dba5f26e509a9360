/* SPDX-License-Identifier: Apache-2.0
 *
 * Invariant between calls: every stop string's matched part lies at the end of held[], so held back are at most
 * MD_STOP_BYTES_MAX - 1 bytes and at most 3 of a character whose rest is to come. Stop strings are whole UTF-8, so in
 * well-formed text one can only begin where a character does. */
#include "run/stop.h"

#include "base/status.h"
#include "base/utf8.h"

#include <string.h>

static bool is_utf8(const char *s, size_t n)
{
    uint32_t cp;
    for (size_t i = 0; i < n;) {
        const int length = md_utf8_decode(s + i, n - i, &cp);
        if (length == 0)
            return false;
        i += (size_t)length;
    }
    return true;
}

static void fill_fail(md_stop_string *p)
{
    size_t k = 0;
    p->fail[0] = 0;
    for (size_t i = 1; i < p->n; i++) {
        while (k > 0 && p->s[i] != p->s[k])
            k = p->fail[k - 1];
        if (p->s[i] == p->s[k])
            k++;
        p->fail[i] = (uint16_t)k;
    }
}

md_status md_stop_init(md_stop *st, const char *const *stop, size_t n_stop, md_text_fn *on_text, void *user,
                       md_error *err)
{
    *st = (md_stop){.on_text = on_text, .user = user};
    MD_FAIL_IF(n_stop > MD_STOP_MAX, MD_ERR_ARGUMENT, "%zu stop strings were given; at most %d are possible", n_stop,
               MD_STOP_MAX);
    MD_FAIL_IF(n_stop > 0 && !stop, MD_ERR_ARGUMENT, "%zu stop strings were announced and none given", n_stop);
    for (size_t i = 0; i < n_stop; i++) {
        const size_t n = stop[i] ? strnlen(stop[i], MD_STOP_BYTES_MAX + 1) : 0;
        MD_FAIL_IF(n == 0, MD_ERR_ARGUMENT, "stop string %zu is empty", i + 1);
        MD_FAIL_IF(n > MD_STOP_BYTES_MAX, MD_ERR_ARGUMENT, "stop string %zu is longer than %d bytes", i + 1,
                   MD_STOP_BYTES_MAX);
        MD_FAIL_IF(!is_utf8(stop[i], n), MD_ERR_ARGUMENT, "stop string %zu is not valid UTF-8", i + 1);
        st->string[i].s = stop[i];
        st->string[i].n = n;
        fill_fail(&st->string[i]);
    }
    st->n_strings = n_stop;
    return MD_OK;
}

/* Takes one byte; true if the string is complete with it. */
static bool step(md_stop_string *p, char c)
{
    while (p->matched > 0 && p->s[p->matched] != c)
        p->matched = p->fail[p->matched - 1];
    if (p->s[p->matched] == c)
        p->matched++;
    return p->matched == p->n;
}

/* Gives out held[0..n) and moves the rest to the front. */
static bool give_out(md_stop *st, size_t n)
{
    if (n == 0)
        return true;
    const bool go_on = !st->on_text || st->on_text(st->user, st->held, n);
    st->n_held -= n;
    memmove(st->held, st->held + n, st->n_held);
    return go_on;
}

static bool give_out_safe(md_stop *st)
{
    size_t keep = 0;
    for (size_t i = 0; i < st->n_strings; i++)
        if (st->string[i].matched > keep)
            keep = st->string[i].matched;
    return give_out(st, md_utf8_complete(st->held, st->n_held - keep));
}

md_stop_verdict md_stop_feed(md_stop *st, const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (st->n_held == sizeof st->held && !give_out_safe(st))
            return MD_STOP_REFUSED;
        st->held[st->n_held++] = text[i];
        size_t complete = 0;
        for (size_t k = 0; k < st->n_strings; k++)
            if (step(&st->string[k], text[i]) && st->string[k].n > complete)
                complete = st->string[k].n;
        if (complete > 0)
            return give_out(st, st->n_held - complete) ? MD_STOP_FOUND : MD_STOP_REFUSED;
    }
    return give_out_safe(st) ? MD_STOP_GO_ON : MD_STOP_REFUSED;
}

md_stop_verdict md_stop_finish(md_stop *st)
{
    return give_out(st, st->n_held) ? MD_STOP_GO_ON : MD_STOP_REFUSED;
}
