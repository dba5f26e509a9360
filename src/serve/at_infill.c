/* SPDX-License-Identifier: Apache-2.0
 *
 * POST /infill: what stands between a prefix and a suffix, for models that were trained to say so (Bavarian et al. 2022,
 * "Efficient Training of Language Models to Fill in the Middle"). */
#include "serve/http.h"

#include <string.h>

typedef struct marks {
    int32_t prefix, suffix, middle;
} marks;

static int32_t find(const md_tokenizer *t, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const int32_t id = md_token_find(t, names[i], strlen(names[i]));
        if (id >= 0)
            return id;
    }
    return -1;
}

/* The marks have other names in every family of vocabularies; each list is in the same ORDER. */
static bool find_marks(const md_tokenizer *t, marks *out)
{
    static const char *const prefix[] = {"<|fim_prefix|>",
                                         "<fim_prefix>",
                                         "<fim-prefix>",
                                         "<|fim_begin|>",
                                         "<\xEF\xBD\x9C"
                                         "fim\xE2\x96\x81"
                                         "begin\xEF\xBD\x9C>",
                                         "\xE2\x96\x81<PRE>",
                                         "[PREFIX]"};
    static const char *const suffix[] = {"<|fim_suffix|>",
                                         "<fim_suffix>",
                                         "<fim-suffix>",
                                         "<|fim_hole|>",
                                         "<\xEF\xBD\x9C"
                                         "fim\xE2\x96\x81"
                                         "hole\xEF\xBD\x9C>",
                                         "\xE2\x96\x81<SUF>",
                                         "[SUFFIX]"};
    static const char *const middle[] = {"<|fim_middle|>",
                                         "<fim_middle>",
                                         "<fim-middle>",
                                         "<|fim_end|>",
                                         "<\xEF\xBD\x9C"
                                         "fim\xE2\x96\x81"
                                         "end\xEF\xBD\x9C>",
                                         "\xE2\x96\x81<MID>",
                                         "[MIDDLE]"};
    enum { N = sizeof prefix / sizeof *prefix };
    *out = (marks){find(t, prefix, N), find(t, suffix, N), find(t, middle, N)};
    return out->prefix >= 0 && out->suffix >= 0 && out->middle >= 0;
}

static md_status put_text(const md_tokenizer *t, const char *text, md_tokens *out, md_error *err)
{
    return md_tokenize(t, text, strlen(text), MD_TOKENIZE_INNER, out, err);
}

/* prefix mark, prefix, suffix mark, suffix, middle mark; what the caller wants in front of the middle goes on from there. */
static md_status put_prompt(const md_server *s, const marks *m, const md_ask *ask, md_tokens *out, md_error *err)
{
    const md_tokenizer *t = s->tokenizer;
    const char *begun = json_string_value(ask->prompt);
    if (md_tokenizer_adds_bos(t) && md_token_bos(t) >= 0 && md_tokens_push(out, md_token_bos(t), err) != MD_OK)
        return err->code;
    if (md_tokens_push(out, m->prefix, err) != MD_OK || put_text(t, ask->prefix, out, err) != MD_OK ||
        md_tokens_push(out, m->suffix, err) != MD_OK || put_text(t, ask->suffix, out, err) != MD_OK ||
        md_tokens_push(out, m->middle, err) != MD_OK || put_text(t, begun ? begun : "", out, err) != MD_OK)
        return err->code;
    return MD_OK;
}

static bool make(md_exchange *x, md_ask *ask, md_job **out, md_refusal *r)
{
    md_error err;
    marks m;
    if (!find_marks(x->server->tokenizer, &m))
        return md_refuse(r, 400, "unsupported_model", NULL, "the model's vocabulary has no tokens for filling in");
    if (json_array_size(ask->extra) > 0)
        return md_refuse(r, 400, "unsupported_field", "input_extra", "'input_extra' is not supported");
    if (ask->prompt && !json_is_string(ask->prompt))
        return md_refuse(r, 400, "invalid_type", "prompt", "'prompt' must be a string");
    md_grammar *grammar;
    if (!md_tools_grammar(x->server, ask, false, &grammar, r))
        return false;
    const int32_t n = ask->n;
    md_job *j = md_job_new(x->reply, &md_form_infill, ask, 1, n);
    if (!j) {
        md_grammar_free(grammar);
        return md_refuse_memory(r);
    }
    j->grammar = grammar;
    md_job_split(j, MD_TOOL_NONE, false, true);
    if (put_prompt(x->server, &m, &j->ask, &j->prompt[0], &err) != MD_OK) {
        md_job_free(j);
        return md_refuse_error(r, "input_prefix", &err);
    }
    *out = j;
    return true;
}

void md_at_infill(md_exchange *x)
{
    md_ask ask = {.n_vocab = md_model_get_info(x->server->model)->n_vocab};
    md_refusal r = {0};
    md_job *j = NULL;
    if (md_ask_infill(&ask, x->body.data, x->body.len, &r) && make(x, &ask, &j, &r))
        md_exchange_post(x, j);
    else
        md_exchange_refuse(x, &r);
    md_ask_done(&ask);
}
