/* SPDX-License-Identifier: Apache-2.0
 *
 * POST /v1/rerank: documents by how near their vectors are to the query's (the cosine of the angle between them). */
#include "serve/http.h"

#include "serve/form.h"
#include "serve/text.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define MOST_DOCUMENTS 2000

/* ---- the answer ---- */

typedef struct ranked {
    int32_t index;
    float score;
} ranked;

static int by_score(const void *a, const void *b)
{
    const ranked *x = a, *y = b;
    if (x->score != y->score)
        return x->score < y->score ? 1 : -1;
    return x->index < y->index ? -1 : 1;
}

static float cosine(const float *a, const float *b, int32_t n)
{
    double sum = 0.0; /* both have length 1 */
    for (int32_t i = 0; i < n; i++)
        sum += (double)a[i] * (double)b[i];
    return (float)sum;
}

static void put_result(md_buf *b, const md_job *j, const ranked *r)
{
    md_buf_printf(b, "{\"index\":%" PRId32 ",\"relevance_score\":", r->index);
    md_put_number(b, (double)r->score);
    if (j->told_documents) {
        md_buf_puts(b, ",\"document\":{\"text\":");
        md_put_string(b, j->documents[r->index], strlen(j->documents[r->index]));
        md_buf_putc(b, '}');
    }
    md_buf_putc(b, '}');
}

/* Choice 0 is the query. */
static void whole(const md_job *j, md_buf *b)
{
    int64_t tokens = j->choice[0].result.n_prompt;
    const int32_t n = j->n_choices - 1;
    ranked *list = md_calloc((size_t)n, sizeof *list);
    b->failed |= !list || !j->choice[0].vector;
    for (int32_t i = 0; i < n && !b->failed; i++) {
        const md_choice *c = &j->choice[i + 1];
        tokens += c->result.n_prompt;
        b->failed |= !c->vector;
        if (c->vector)
            list[i] = (ranked){i, cosine(j->choice[0].vector, c->vector, j->n_embd)};
    }
    if (!b->failed) {
        qsort(list, (size_t)n, sizeof *list, by_score);
        md_buf_puts(b, "{\"model\":");
        md_put_string(b, j->model, strlen(j->model));
        md_buf_puts(b, ",\"results\":[");
        for (int32_t i = 0; i < n && i < j->top_n; i++) {
            md_buf_puts(b, i ? "," : "");
            put_result(b, j, &list[i]);
        }
        md_buf_printf(b, "],\"usage\":{\"prompt_tokens\":%" PRId64 ",\"total_tokens\":%" PRId64 "}}", tokens, tokens);
    }
    md_free(list);
}

const md_form md_form_rerank = {.id = "rank-", .whole = whole};

/* ---- the request ---- */

typedef struct rank_ask {
    const char *query;
    const json_t *documents;
    int32_t top_n;
    bool told;
} rank_ask;

/* A document is a text, or an object with one. */
static const char *text_of(const json_t *document)
{
    return json_string_value(json_is_object(document) ? json_object_get(document, "text") : document);
}

static bool put_texts(const md_server *s, const rank_ask *a, md_job *j, const char **documents, md_refusal *r)
{
    md_error err;
    for (size_t i = 0; i < j->n_prompts; i++) {
        const char *text = i ? text_of(json_array_get(a->documents, i - 1)) : a->query;
        if (!text)
            return md_refuse(r, 400, "invalid_type", "documents", "'documents' must be a list of strings");
        if (i)
            documents[i - 1] = text;
        if (md_tokenize(s->tokenizer, text, strlen(text), MD_TOKENIZE_BOS, &j->prompt[i], &err) != MD_OK)
            return md_refuse_error(r, "documents", &err);
        if (j->prompt[i].n == 0)
            return md_refuse(r, 400, "invalid_value", i ? "documents" : "query", "a text is empty");
    }
    return true;
}

static bool make(md_exchange *x, const rank_ask *a, md_ask *ask, md_job **out, md_refusal *r)
{
    const size_t n = json_array_size(a->documents);
    if (!a->query)
        return md_refuse(r, 400, "missing_field", "query", "'query' is missing");
    if (n == 0 || n > MOST_DOCUMENTS)
        return md_refuse(r, 400, a->documents ? "out_of_range" : "missing_field", "documents",
                         "'documents' must hold 1 to %d texts", MOST_DOCUMENTS);
    const char **documents = md_calloc(n, sizeof *documents);
    md_job *j = documents ? md_job_new(x->reply, &md_form_rerank, ask, n + 1, 1) : NULL;
    if (!j) {
        md_free(documents);
        return md_refuse_memory(r);
    }
    j->embed = true;
    j->pooling = MD_POOLING_MODEL;
    j->documents = (const char *const *)documents;
    j->top_n = a->top_n;
    j->told_documents = a->told;
    if (!put_texts(x->server, a, j, documents, r)) {
        md_job_free(j);
        return false;
    }
    *out = j;
    return true;
}

void md_at_rerank(md_exchange *x)
{
    static const md_field table[] = {{"query", MD_FIELD_TEXT, offsetof(rank_ask, query)},
                                     {"documents", MD_FIELD_VALUE, offsetof(rank_ask, documents)},
                                     {"top_n", MD_FIELD_INT, offsetof(rank_ask, top_n), 1, 1000000},
                                     {"return_documents", MD_FIELD_BOOL, offsetof(rank_ask, told)},
                                     {"model", MD_FIELD_IGNORE},
                                     {"user", MD_FIELD_IGNORE},
                                     {0}};
    md_refusal r = {0};
    rank_ask a = {.top_n = MOST_DOCUMENTS};
    md_job *j = NULL;
    md_ask ask = {.root = md_fields_parse(x->body.data, x->body.len, &r), .seeded = true};
    if (ask.root && md_fields_read(ask.root, table, &a, "", &r) && make(x, &a, &ask, &j, &r))
        md_exchange_post(x, j);
    else
        md_exchange_refuse(x, &r);
    md_ask_done(&ask);
}
