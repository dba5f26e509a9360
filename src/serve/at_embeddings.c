/* SPDX-License-Identifier: Apache-2.0
 *
 * POST /v1/embeddings. */
#include "serve/http.h"

#include "serve/form.h"
#include "serve/text.h"

#include <inttypes.h>
#include <string.h>

#define MOST_INPUTS 2048

/* ---- the answer ---- */

static void put_vector(md_buf *b, const md_job *j, const float *v)
{
    if (j->base64) {
        md_buf_putc(b, '"');
        md_put_base64(b, v, (size_t)j->n_embd * sizeof *v); /* little-endian, as this machine and all its like */
        md_buf_putc(b, '"');
        return;
    }
    md_buf_putc(b, '[');
    for (int32_t i = 0; i < j->n_embd; i++) {
        md_buf_puts(b, i ? "," : "");
        md_put_number(b, (double)v[i]);
    }
    md_buf_putc(b, ']');
}

static void whole(const md_job *j, md_buf *b)
{
    int64_t tokens = 0;
    md_buf_puts(b, "{\"object\":\"list\",\"data\":[");
    for (int32_t i = 0; i < j->n_choices; i++) {
        const md_choice *c = &j->choice[i];
        tokens += c->result.n_prompt;
        md_buf_printf(b, "%s{\"object\":\"embedding\",\"index\":%" PRId32 ",\"embedding\":", i ? "," : "", i);
        if (c->vector)
            put_vector(b, j, c->vector);
        else
            b->failed = true;
        md_buf_putc(b, '}');
    }
    md_buf_puts(b, "],\"model\":");
    md_put_string(b, j->model, strlen(j->model));
    md_buf_printf(b, ",\"usage\":{\"prompt_tokens\":%" PRId64 ",\"total_tokens\":%" PRId64 "}}", tokens, tokens);
}

const md_form md_form_embeddings = {.id = "embd-", .whole = whole};

/* ---- the request ---- */

typedef struct embed_ask {
    const json_t *input;
    const char *format, *pooling;
    float power;
    bool normalize;
} embed_ask;

static bool read_pooling(const char *name, md_pooling *out, md_refusal *r)
{
    *out = MD_POOLING_MODEL;
    if (!name)
        return true;
    for (md_pooling p = MD_POOLING_MEAN; p <= MD_POOLING_POWER; p = (md_pooling)(p + 1))
        if (p != MD_POOLING_RANK && p != MD_POOLING_MODEL && strcmp(name, md_pooling_name(p)) == 0) {
            *out = p;
            return true;
        }
    return md_refuse(r, 400, "invalid_value", "pooling", "'pooling' is '%.32s', but must be mean, cls, last or power",
                     name);
}

static bool put_input(const md_server *s, const json_t *value, md_tokens *out, md_refusal *r)
{
    md_error err;
    if (json_is_array(value))
        return json_array_size(value) > 0 ? md_prompt_ids(s, value, "input", out, r)
                                          : md_refuse(r, 400, "invalid_value", "input", "an 'input' is empty");
    if (!json_is_string(value))
        return md_refuse(r, 400, "invalid_type", "input", "'input' must be a string, token ids, or a list of these");
    if (md_tokenize(s->tokenizer, json_string_value(value), json_string_length(value), MD_TOKENIZE_BOS, out, &err) !=
        MD_OK)
        return md_refuse_error(r, "input", &err);
    return out->n > 0 || md_refuse(r, 400, "invalid_value", "input", "an 'input' is empty");
}

/* One input, or a list of them. */
static bool is_list(const json_t *input)
{
    const json_t *first = json_array_get(input, 0);
    return json_is_array(input) && !json_is_integer(first);
}

static bool put_inputs(const md_server *s, const json_t *input, md_job *j, md_refusal *r)
{
    for (size_t i = 0; i < j->n_prompts; i++)
        if (!put_input(s, is_list(input) ? json_array_get(input, i) : input, &j->prompt[i], r))
            return false;
    return true;
}

static bool make(const md_server *s, md_reply *reply, const embed_ask *e, md_ask *ask, md_job **out, md_refusal *r)
{
    const size_t n = is_list(e->input) ? json_array_size(e->input) : 1;
    md_pooling pooling;
    if (!e->input || n == 0 || n > MOST_INPUTS)
        return md_refuse(r, 400, e->input ? "out_of_range" : "missing_field", "input",
                         "'input' must hold 1 to %d texts", MOST_INPUTS);
    if (e->format && strcmp(e->format, "float") != 0 && strcmp(e->format, "base64") != 0)
        return md_refuse(r, 400, "invalid_value", "encoding_format", "'encoding_format' must be float or base64");
    if (!read_pooling(e->pooling, &pooling, r))
        return false;
    md_job *j = md_job_new(reply, &md_form_embeddings, ask, n, 1);
    if (!j)
        return md_refuse_memory(r);
    j->embed = true;
    j->pooling = pooling;
    j->power = (double)e->power;
    j->raw = !e->normalize;
    j->base64 = e->format && strcmp(e->format, "base64") == 0;
    if (!put_inputs(s, e->input, j, r)) {
        md_job_free(j);
        return false;
    }
    *out = j;
    return true;
}

bool md_make_embeddings(md_server *s, md_reply *reply, md_ask *ask, const char *body, size_t n, md_job **out,
                        md_refusal *r)
{
    static const md_field table[] = {{"input", MD_FIELD_VALUE, offsetof(embed_ask, input)},
                                     {"encoding_format", MD_FIELD_TEXT, offsetof(embed_ask, format)},
                                     {"pooling", MD_FIELD_TEXT, offsetof(embed_ask, pooling)},
                                     {"power", MD_FIELD_FLOAT, offsetof(embed_ask, power), 1, 32},
                                     {"normalize", MD_FIELD_BOOL, offsetof(embed_ask, normalize)},
                                     {"dimensions", MD_FIELD_REFUSE},
                                     {"model", MD_FIELD_IGNORE},
                                     {"user", MD_FIELD_IGNORE},
                                     {0}};
    embed_ask e = {.normalize = true};
    ask->root = md_fields_parse(body, n, r);
    ask->seeded = true;
    return ask->root && md_fields_read(ask->root, table, &e, "", r) && make(s, reply, &e, ask, out, r);
}

void md_at_embeddings(md_exchange *x)
{
    md_exchange_make(x, md_make_embeddings);
}
