/* SPDX-License-Identifier: Apache-2.0
 *
 * Tokens to text, one at a time. Bytes that end inside a UTF-8 character are held back until the character is whole or
 * cannot become one; each maximal part of a broken character gives one U+FFFD (Unicode, section 3.9, "U+FFFD
 * Substitution of Maximal Subparts"). Buffers are sized for the longest token when made: pushing allocates nothing. */
#include "text/tok.h"

#include "base/status.h"
#include "base/utf8.h"

#include <string.h>

static const char replacement[3] = {'\xef', '\xbf', '\xbd'}; /* U+FFFD */

#define HELD_MAX 3 /* bytes of a character that still lacks one */

struct md_detok {
    const md_tokenizer *t; /* borrowed */
    bool special, first;
    bool at_start; /* no text so far, and a space in front of it is the tokenizer's */
    char *raw;     /* owned, [HELD_MAX + longest token]: what is held back, then the new token */
    size_t held;
    char *out; /* owned, room for a U+FFFD for every byte of raw */
};

md_detok *md_detok_new(const md_tokenizer *t, bool special, bool first)
{
    const size_t raw = HELD_MAX + t->max_text;
    md_detok *d = md_calloc(1, sizeof *d);
    if (!d)
        return NULL;
    *d = (md_detok){.t = t, .special = special, .first = first && t->drops_first_space};
    d->at_start = d->first;
    d->raw = md_calloc(raw, 1);
    d->out = md_calloc(raw, 3);
    if (!d->raw || !d->out) {
        md_detok_free(d);
        return NULL;
    }
    return d;
}

void md_detok_free(md_detok *d)
{
    if (!d)
        return;
    md_free(d->raw);
    md_free(d->out);
    md_free(d);
}

/* Length of the longest front of s[0..n), at most 3 bytes, that could have begun a character; at least 1. */
static size_t broken_part(const char *s, size_t n)
{
    for (size_t len = n < HELD_MAX ? n : HELD_MAX; len > 1; len--)
        if (md_utf8_complete(s, len) == 0)
            return len;
    return 1;
}

/* Writes s[0..n) as valid UTF-8 and returns its length. */
static size_t sanitize(const char *s, size_t n, char *out)
{
    size_t len = 0;
    for (size_t i = 0; i < n;) {
        uint32_t cp;
        const int k = md_utf8_decode(s + i, n - i, &cp);
        if (k) {
            memcpy(out + len, s + i, (size_t)k);
            len += (size_t)k;
            i += (size_t)k;
        } else {
            memcpy(out + len, replacement, sizeof replacement);
            len += sizeof replacement;
            i += broken_part(s + i, n - i);
        }
    }
    return len;
}

md_status md_detok_push(md_detok *d, int32_t id, const char **text, size_t *n, md_error *err)
{
    *text = d->out;
    *n = 0;
    size_t len;
    const char *bytes = md_token_bytes(d->t, id, &len);
    MD_FAIL_IF(!bytes, MD_ERR_ARGUMENT, "token %d is not in a vocabulary of %d tokens", id, d->t->n_tokens);
    const bool special = md_token_is_special(d->t, id);
    if (special && !d->special)
        return MD_OK;
    if (!special && d->at_start) {
        d->at_start = false;
        if (len && bytes[0] == ' ') {
            bytes++;
            len--;
        }
    }
    memcpy(d->raw + d->held, bytes, len);
    const size_t total = d->held + len;
    const size_t whole = md_utf8_complete(d->raw, total);
    *n = sanitize(d->raw, whole, d->out);
    d->held = total - whole;
    memmove(d->raw, d->raw + whole, d->held);
    return MD_OK;
}

md_status md_detok_finish(md_detok *d, const char **text, size_t *n, md_error *err)
{
    (void)err;
    *text = d->out;
    *n = sanitize(d->raw, d->held, d->out);
    d->held = 0;
    d->at_start = d->first;
    return MD_OK;
}
