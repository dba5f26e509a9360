/* SPDX-License-Identifier: Apache-2.0
 *
 * Any bytes as what a client sends or a model says. The first one chooses: a body for one of the parsers of requests, an answer
 * to be split (cut into pieces of a size that the byte tells), a file of keys, or a Host header. What is refused is so with a
 * status and a sentence; what is accepted keeps its bounds; an answer gives the same parts however it is cut, and loses nothing
 * where there are no tools. */
#include "serve/ask.h"
#include "serve/guard.h"
#include "serve/split.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

#define N_VOCAB 500

static void require(bool promise)
{
    if (!promise)
        abort();
}

/* ---- requests ---- */

typedef bool parser(md_ask *a, const char *body, size_t n, md_refusal *r);
static parser *const parsers[] = {md_ask_chat, md_ask_completion, md_ask_messages, md_ask_responses, md_ask_infill};
enum { N_PARSERS = sizeof parsers / sizeof *parsers };

static void check_sampler(const md_sampler_args *s)
{
    require(s->temperature >= 0.0f && s->top_p > 0.0f && s->top_p <= 1.0f && s->min_p >= 0.0f && s->min_p < 1.0f &&
            s->top_k >= 0);
    require(s->n_bias <= MD_ASK_MOST_BIASES && s->n_dry_breaker <= 16);
    for (size_t i = 0; i < s->n_bias; i++)
        require(s->bias[i].token >= 0 && s->bias[i].token < N_VOCAB && !isnan(s->bias[i].bias));
}

static void check_messages(const md_ask *a)
{
    for (size_t i = 0; i < json_array_size(a->messages); i++) {
        const json_t *m = json_array_get(a->messages, i), *content = json_object_get(m, "content");
        require(json_is_string(json_object_get(m, "role")) && (json_is_string(content) || json_is_null(content)));
    }
}

static void parse(parser *fn, const char *body, size_t n)
{
    md_ask a = {.n_vocab = N_VOCAB};
    md_refusal r = {0};
    if (fn(&a, body, n, &r)) {
        require(a.n >= 1 && a.n <= MD_ASK_MOST_CHOICES && a.max_tokens >= -1 && a.n_stop <= MD_ASK_MOST_STOPS);
        require(!(a.schema && a.grammar) && json_array_size(a.tools) <= MD_ASK_MOST_TOOLS);
        check_sampler(&a.sampler);
        check_messages(&a);
    } else {
        require((r.status == 400 || r.status == 503) && r.message[0]);
        md_buf b = {0};
        md_refusal_json(&b, &r);
        json_t *v = json_loadb(b.data, b.len, 0, NULL);
        require(v != NULL); /* whatever was in the sentence */
        json_decref(v);
        md_buf_done(&b);
    }
    md_ask_done(&a);
}

/* ---- answers ---- */

static void on_text(void *user, const char *text, size_t n)
{
    require(n > 0);
    md_buf_append(user, text, n);
}

static void on_reasoning(void *user, const char *text, size_t n)
{
    on_text(user, text, n);
}

static void on_call(void *user, const char *name, const char *arguments, size_t n)
{
    json_t *v = json_loadb(arguments, n, 0, NULL);
    require(json_is_object(v));
    json_decref(v);
    md_buf_printf(user, "\x01%s\x02", name);
    md_buf_append(user, arguments, n);
}

static void split(const char *text, size_t n, size_t piece, md_tool_syntax syntax, bool reasons, md_buf *out)
{
    static const md_split_fns fns = {on_text, on_reasoning, on_call};
    md_split s;
    md_split_init(&s, &fns, out, syntax, reasons);
    for (size_t at = 0; at < n; at += piece)
        md_split_push(&s, text + at, n - at < piece ? n - at : piece);
    md_split_end(&s);
    md_split_done(&s);
}

static void split_both_ways(const char *text, size_t n, unsigned how)
{
    const md_tool_syntax syntax = (md_tool_syntax)(how & 3);
    md_buf whole = {0}, cut = {0};
    split(text, n, n + 1, syntax, how & 4, &whole);
    split(text, n, 1 + (how >> 3), syntax, how & 4, &cut);
    require(whole.len == cut.len && (whole.len == 0 || memcmp(whole.data, cut.data, whole.len) == 0));
    const bool marked = memmem(text, n, "<think>", 7) || memmem(text, n, "</think>", 8);
    if (syntax == MD_TOOL_NONE && !marked)
        require(whole.len == n && (n == 0 || memcmp(whole.data, text, n) == 0));
    md_buf_done(&whole);
    md_buf_done(&cut);
}

/* ---- the rest ---- */

static void read_keys(const char *text, size_t n)
{
    size_t count;
    md_error err = {0};
    char(*key)[MD_KEY_MOST_BYTES] = md_keys_parse(text, n, &count, &err);
    require(key ? count >= 1 && count <= MD_KEYS_MOST : err.message[0] != '\0');
    for (size_t i = 0; key && i < count; i++)
        require(key[i][0] && key[i][0] != '#' && memchr(key[i], '\0', MD_KEY_MOST_BYTES));
    md_free(key);
}

static void read_host(const char *text, size_t n)
{
    static const char *const allowed[] = {"box.lan"};
    char *host = malloc(n + 1);
    require(host != NULL);
    memcpy(host, text, n);
    host[n] = '\0';
    if (md_host_allowed(host, allowed, 1))
        require(strpbrk(host, "/@ \t\r\n") == NULL);
    free(host);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (n < 2)
        return 0;
    const char *rest = (const char *)data + 2;
    n -= 2;
    switch (data[0] % (N_PARSERS + 3)) {
    case N_PARSERS: split_both_ways(rest, n, data[1]); break;
    case N_PARSERS + 1: read_keys(rest, n); break;
    case N_PARSERS + 2: read_host(rest, n); break;
    default: parse(parsers[data[0] % (N_PARSERS + 3)], rest, n);
    }
    return 0;
}
