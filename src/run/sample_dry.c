/* SPDX-License-Identifier: Apache-2.0
 *
 * DRY, "don't repeat yourself" (p-e-w, 2024): the longer a passage has been repeated word for word, the less likely the
 * token that would carry on. How long the newest tokens repeat what ends at each earlier place is the Z function of the
 * past read backwards (Gusfield 1997): linear in what is looked at, whatever it holds. */
#include "run/sample_inner.h"

#include "base/mathd.h"
#include "base/mem.h"
#include "base/status.h"

#include <math.h>
#include <string.h>

#define LAST_MAX    1048576
#define PENALTY_MAX 1e30 /* so that a logit stays finite */

bool md_dry_on(const md_sampler_args *a)
{
    return a->dry_multiplier > 0.0f && a->dry_penalty_last > 0;
}

md_status md_dry_check(const md_sampler_args *a, md_error *err)
{
    MD_FAIL_IF(!(a->dry_multiplier >= 0.0f && a->dry_multiplier < INFINITY), MD_ERR_ARGUMENT,
               "the multiplier of DRY is %g; give a number from 0 (off) up", (double)a->dry_multiplier);
    if (a->dry_multiplier == 0.0f)
        return MD_OK;
    MD_FAIL_IF(!(a->dry_base >= 1.0f && a->dry_base < INFINITY), MD_ERR_ARGUMENT,
               "the base of DRY is %g; give a number from 1 up", (double)a->dry_base);
    MD_FAIL_IF(a->dry_allowed_length < 1, MD_ERR_ARGUMENT, "the allowed length of DRY is %d; give 1 or more",
               a->dry_allowed_length);
    MD_FAIL_IF(a->dry_penalty_last < 0 || a->dry_penalty_last > LAST_MAX, MD_ERR_ARGUMENT,
               "DRY is to look at %d tokens; give 0 (off) to %d", a->dry_penalty_last, LAST_MAX);
    MD_FAIL_IF(a->n_dry_breaker > MD_DRY_BREAKER_MAX, MD_ERR_ARGUMENT,
               "%zu texts are to break repetitions; at most %d are possible", a->n_dry_breaker, MD_DRY_BREAKER_MAX);
    MD_FAIL_IF(a->n_dry_breaker > 0 && (!a->dry_breaker || !a->tokenizer), MD_ERR_ARGUMENT,
               "texts that break repetitions of DRY need a list of them and a tokenizer");
    for (size_t i = 0; i < a->n_dry_breaker; i++) {
        const size_t n = a->dry_breaker[i] ? strnlen(a->dry_breaker[i], MD_DRY_BREAKER_BYTES_MAX + 1) : 0;
        MD_FAIL_IF(n == 0 || n > MD_DRY_BREAKER_BYTES_MAX, MD_ERR_ARGUMENT,
                   "text %zu that breaks repetitions of DRY must have 1 to %d bytes", i + 1, MD_DRY_BREAKER_BYTES_MAX);
    }
    return MD_OK;
}

static void fill_breaker(md_dry_breaker *b, const char *s)
{
    size_t k = 0;
    b->n = (uint8_t)strlen(s);
    memcpy(b->s, s, b->n);
    for (size_t i = 1; i < b->n; i++) {
        while (k > 0 && s[i] != s[k])
            k = b->fail[k - 1];
        k += s[i] == s[k];
        b->fail[i] = (uint8_t)k;
    }
}

bool md_dry_init(md_sampler *s, const md_sampler_args *a)
{
    md_dry *d = &s->dry;
    d->last = (size_t)a->dry_penalty_last;
    d->past = md_calloc(2 * d->last, sizeof *d->past);
    d->repeat = md_calloc(d->last, sizeof *d->repeat);
    d->found = md_calloc(d->last, sizeof *d->found);
    d->length = md_calloc((size_t)s->n_vocab, sizeof *d->length);
    d->tokenizer = a->tokenizer;
    d->n_breakers = a->n_dry_breaker;
    for (size_t i = 0; i < d->n_breakers; i++)
        fill_breaker(&d->breaker[i], a->dry_breaker[i]);
    return d->past && d->repeat && d->found && d->length;
}

void md_dry_done(md_dry *d)
{
    md_free(d->past);
    md_free(d->repeat);
    md_free(d->found);
    md_free(d->length);
    *d = (md_dry){0};
}

void md_dry_reset(md_dry *d)
{
    d->n = d->since = 0;
    for (size_t i = 0; i < d->n_breakers; i++)
        d->breaker[i].matched = 0;
}

/* Where the breaker stands after the token's text; *ended: it was complete on the way. */
static uint8_t advance(const md_dry_breaker *b, const char *text, size_t n, bool *ended)
{
    size_t k = b->matched;
    for (size_t i = 0; i < n; i++) {
        while (k > 0 && b->s[k] != text[i])
            k = b->fail[k - 1];
        k += b->s[k] == text[i];
        if (k == b->n) {
            *ended = true;
            k = b->fail[k - 1];
        }
    }
    return (uint8_t)k;
}

static const char *text_of(const md_dry *d, int32_t token, size_t *n)
{
    *n = 0;
    return d->n_breakers > 0 && token < md_tokenizer_size(d->tokenizer) ? md_token_bytes(d->tokenizer, token, n) : "";
}

void md_dry_accept(md_dry *d, int32_t token)
{
    if (d->n == 2 * d->last) {
        memcpy(d->past, d->past + d->last, d->last * sizeof *d->past);
        d->n = d->last;
    }
    d->past[d->n++] = token;
    size_t n;
    const char *text = text_of(d, token, &n);
    bool ended = false;
    for (size_t i = 0; i < d->n_breakers; i++)
        d->breaker[i].matched = advance(&d->breaker[i], text, n, &ended);
    d->since = ended ? 0 : d->since + 1;
}

/* Would the token complete a breaker? */
static bool would_end(const md_dry *d, int32_t token)
{
    size_t n;
    const char *text = text_of(d, token, &n);
    bool ended = false;
    for (size_t i = 0; i < d->n_breakers && !ended; i++)
        (void)advance(&d->breaker[i], text, n, &ended);
    return ended;
}

/* repeat[k]: how many of the n tokens that `end` points behind, read backwards, equal those that begin k further back. */
static void count_repeats(int32_t *repeat, const int32_t *end, size_t n)
{
    const int32_t *newest = end - 1;
    size_t left = 0, right = 0; /* the stretch known to be equal that reaches furthest back */
    for (size_t k = 1; k < n; k++) {
        size_t m = 0;
        if (k < right)
            m = (size_t)repeat[k - left] < right - k ? (size_t)repeat[k - left] : right - k;
        while (k + m < n && newest[-(ptrdiff_t)m] == newest[-(ptrdiff_t)(k + m)])
            m++;
        repeat[k] = (int32_t)m;
        if (k + m > right) {
            left = k;
            right = k + m;
        }
    }
}

void md_dry_penalise(md_sampler *s)
{
    md_dry *d = &s->dry;
    const md_sampler_args *a = &s->args;
    const size_t n = d->n < d->last ? d->n : d->last;
    const int32_t *end = d->past + d->n;
    size_t n_found = 0;
    if (d->since < (size_t)a->dry_allowed_length)
        return;
    count_repeats(d->repeat, end, n);
    for (size_t k = 1; k < n; k++) {
        const int32_t token = end[-(ptrdiff_t)k]; /* what came after the place k back */
        int32_t length = d->repeat[k];
        length = (size_t)length < d->since ? length : (int32_t)d->since;
        if (length < a->dry_allowed_length)
            continue;
        if (d->length[token] == 0)
            d->found[n_found++] = token;
        d->length[token] = length > d->length[token] ? length : d->length[token];
    }
    for (size_t i = 0; i < n_found; i++) {
        const int32_t token = d->found[i];
        const double over = (double)(d->length[token] - a->dry_allowed_length);
        const double penalty = (double)a->dry_multiplier * md_pow_d((double)a->dry_base, over);
        d->length[token] = 0;
        if (!would_end(d, token))
            s->logit[token] -= penalty < PENALTY_MAX ? penalty : PENALTY_MAX;
    }
}
