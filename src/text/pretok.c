/* SPDX-License-Identifier: Apache-2.0
 *
 * Runs splitting rules with PCRE2, compiled to machine code where the system allows. Pieces go depth first through the
 * steps, so nothing is stored between them; the depth is the number of steps. Texts may be long and hostile: the
 * patterns of the table match in linear time, limits of PCRE2 that count work are lifted, and what would need more
 * stack than a matcher has is matched again by the interpreter, whose stack is on the heap. */
#include "text/pretok.h"

#include "base/mem.h"
#include "base/status.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <string.h>

struct md_pretok {
    int n_steps;
    md_pretok_op op[MD_PRETOK_MAX_STEPS];
    pcre2_code *code[MD_PRETOK_MAX_STEPS]; /* owned */
};

struct md_pretok_scratch {
    pcre2_match_data *match;      /* owned */
    pcre2_match_context *context; /* owned */
};

md_status md_pretok_new(const md_pretok_rule *rule, md_pretok **out, md_error *err)
{
    *out = NULL;
    md_pretok *p = md_calloc(1, sizeof *p);
    if (!p)
        return md_fail_memory(err, "a splitting rule");
    for (int i = 0; i < MD_PRETOK_MAX_STEPS && rule->step[i].op != MD_PRETOK_END; i++) {
        int code;
        PCRE2_SIZE at;
        p->op[i] = rule->step[i].op;
        p->code[i] = pcre2_compile((PCRE2_SPTR)rule->step[i].pattern, PCRE2_ZERO_TERMINATED,
                                   PCRE2_UTF | PCRE2_UCP | PCRE2_NO_UTF_CHECK, &code, &at, NULL);
        if (!p->code[i]) {
            md_pretok_free(p);
            if (code == PCRE2_ERROR_HEAP_FAILED)
                return md_fail_memory(err, "a splitting rule");
            return md_fail(err, MD_ERR_INTERNAL,
                           "step %d of splitting rule '%s' does not compile: PCRE2 error %d at %zu", i + 1, rule->name,
                           code, (size_t)at);
        }
        /* A failure means that the system forbids it: then the interpreter does the work. */
        (void)pcre2_jit_compile(p->code[i], PCRE2_JIT_COMPLETE);
        p->n_steps = i + 1;
    }
    *out = p;
    return MD_OK;
}

void md_pretok_free(md_pretok *p)
{
    if (!p)
        return;
    for (int i = 0; i < MD_PRETOK_MAX_STEPS; i++)
        pcre2_code_free(p->code[i]);
    md_free(p);
}

md_pretok_scratch *md_pretok_scratch_new(void)
{
    md_pretok_scratch *s = md_calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->match = pcre2_match_data_create(1, NULL);
    s->context = pcre2_match_context_create(NULL);
    if (!s->match || !s->context) {
        md_pretok_scratch_free(s);
        return NULL;
    }
    pcre2_set_match_limit(s->context, UINT32_MAX);
    pcre2_set_depth_limit(s->context, UINT32_MAX);
    return s;
}

void md_pretok_scratch_free(md_pretok_scratch *s)
{
    if (!s)
        return;
    pcre2_match_data_free(s->match);
    pcre2_match_context_free(s->context);
    md_free(s);
}

/* One splitting in progress. */
typedef struct split {
    const md_pretok *p;
    md_pretok_scratch *scratch;
    md_word_fn *fn;
    void *user;
    md_error *err;
} split;

typedef struct span {
    size_t begin, end;
} span;

/* Finds the first match at or after `from`; *found is false when there is none. */
static md_status find(const split *x, int step, const char *s, size_t n, size_t from, span *m, bool *found)
{
    md_error *err = x->err;
    const pcre2_code *code = x->p->code[step];
    int rc = pcre2_match(code, (PCRE2_SPTR)s, n, from, PCRE2_NO_UTF_CHECK, x->scratch->match, x->scratch->context);
    if (rc == PCRE2_ERROR_JIT_STACKLIMIT)
        rc = pcre2_match(code, (PCRE2_SPTR)s, n, from, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, x->scratch->match,
                         x->scratch->context);
    *found = rc >= 0;
    if (rc >= 0) {
        const PCRE2_SIZE *o = pcre2_get_ovector_pointer(x->scratch->match);
        *m = (span){.begin = o[0], .end = o[1]};
        return MD_OK;
    }
    if (rc == PCRE2_ERROR_NOMATCH)
        return MD_OK;
    if (rc == PCRE2_ERROR_NOMEMORY)
        return md_fail_memory(err, "splitting a text into words");
    return md_fail(err, MD_ERR_LIMIT,
                   "splitting a text of %zu bytes into words exceeds the matcher's limits (PCRE2 error %d)", n, rc);
}

static size_t char_bytes(char c)
{
    const unsigned char u = (unsigned char)c;
    return u < 0x80 ? 1 : u < 0xe0 ? 2 : u < 0xf0 ? 3 : 4;
}

static size_t count_chars(const char *s, size_t n)
{
    size_t count = 0;
    for (size_t i = 0; i < n; i++)
        count += ((unsigned char)s[i] & 0xc0) != 0x80;
    return count;
}

static md_status run_step(const split *x, int step, const char *s, size_t n);

/* Gives the piece [*done, to) to the next step. */
static md_status give(const split *x, int step, const char *s, size_t *done, size_t to)
{
    const size_t from = *done;
    *done = to;
    return to > from ? run_step(x, step + 1, s + from, to - from) : MD_OK;
}

/* Cuts inside the run m of digits; *done is the end of what was given on. */
static md_status cut_triples(const split *x, int step, const char *s, span m, size_t *done)
{
    const bool starts_only = x->p->op[step] == MD_PRETOK_TRIPLE_STARTS;
    size_t left = count_chars(s + m.begin, m.end - m.begin);
    for (size_t at = m.begin; at < m.end; left--) {
        if (left % 3 == 0 || (at == m.begin && !starts_only))
            MD_TRY(give(x, step, s, done, at));
        at += char_bytes(s[at]);
    }
    return starts_only ? MD_OK : give(x, step, s, done, m.end);
}

static md_status run_step(const split *x, int step, const char *s, size_t n)
{
    if (step == x->p->n_steps)
        return x->fn(x->user, s, n, x->err);
    size_t done = 0;
    for (size_t from = 0; from < n;) {
        span m;
        bool found;
        MD_TRY(find(x, step, s, n, from, &m, &found));
        if (!found)
            break;
        if (x->p->op[step] == MD_PRETOK_SPLIT) {
            MD_TRY(give(x, step, s, &done, m.begin));
            MD_TRY(give(x, step, s, &done, m.end));
        } else {
            MD_TRY(cut_triples(x, step, s, m, &done));
        }
        from = m.end > from ? m.end : from + char_bytes(s[from]); /* onward even if a pattern matched nothing */
    }
    return give(x, step, s, &done, n);
}

md_status md_pretok_split(const md_pretok *p, md_pretok_scratch *s, const char *text, size_t n, md_word_fn *fn,
                          void *user, md_error *err)
{
    const split x = {.p = p, .scratch = s, .fn = fn, .user = user, .err = err};
    return n ? run_step(&x, 0, text, n) : MD_OK;
}
