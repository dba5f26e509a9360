/* SPDX-License-Identifier: Apache-2.0
 *
 * POST /tokenize, /detokenize and /apply-template: what lies between text and tokens, without the model. */
#include "serve/http.h"

#include "serve/text.h"

#include <string.h>

/* ---- tokenize ---- */

typedef struct tokenize_ask {
    const char *content;
    bool add_special, parse_special, with_pieces;
} tokenize_ask;

static void put_tokens(md_buf *b, const md_server *s, const md_tokens *t, bool pieces)
{
    md_buf_puts(b, "{\"tokens\":[");
    for (size_t i = 0; i < t->n; i++) {
        size_t n;
        md_buf_puts(b, i ? "," : "");
        if (!pieces) {
            md_buf_printf(b, "%d", (int)t->id[i]);
            continue;
        }
        const char *text = md_token_bytes(s->tokenizer, t->id[i], &n);
        md_buf_printf(b, "{\"id\":%d,\"piece\":", (int)t->id[i]);
        md_put_string(b, text ? text : "", n);
        md_buf_putc(b, '}');
    }
    md_buf_printf(b, "],\"count\":%zu}", t->n);
}

static bool tokenize(const md_server *s, const json_t *root, md_buf *b, md_refusal *r)
{
    static const md_field table[] = {{"content", MD_FIELD_TEXT, offsetof(tokenize_ask, content)},
                                     {"prompt", MD_FIELD_TEXT, offsetof(tokenize_ask, content)},
                                     {"add_special", MD_FIELD_BOOL, offsetof(tokenize_ask, add_special)},
                                     {"parse_special", MD_FIELD_BOOL, offsetof(tokenize_ask, parse_special)},
                                     {"with_pieces", MD_FIELD_BOOL, offsetof(tokenize_ask, with_pieces)},
                                     {"model", MD_FIELD_IGNORE},
                                     {0}};
    tokenize_ask ask = {.parse_special = true};
    md_tokens t = {0};
    md_error err;
    if (!md_fields_read(root, table, &ask, "", r))
        return false;
    if (!ask.content)
        return md_refuse(r, 400, "missing_field", "content", "'content' is missing");
    const unsigned flags = (ask.add_special ? (unsigned)MD_TOKENIZE_BOS : 0) |
                           (ask.parse_special ? (unsigned)MD_TOKENIZE_SPECIAL : 0);
    const md_status status = md_tokenize(s->tokenizer, ask.content, strlen(ask.content), flags, &t, &err);
    if (status == MD_OK)
        put_tokens(b, s, &t, ask.with_pieces);
    md_tokens_done(&t);
    return status == MD_OK || md_refuse_error(r, "content", &err);
}

/* ---- detokenize ---- */

static md_status spell(const md_server *s, const md_tokens *t, md_buf *text, md_error *err)
{
    md_detok *d = md_detok_new(s->tokenizer, true, true);
    const char *piece;
    size_t n;
    md_status status = d ? MD_OK : MD_ERR_MEMORY;
    if (!d)
        *err = (md_error){.code = MD_ERR_MEMORY, .message = "out of memory for the text"};
    for (size_t i = 0; i < t->n && status == MD_OK; i++) {
        if (t->id[i] >= md_tokenizer_size(s->tokenizer)) /* padding of the vocabulary has no text */
            continue;
        status = md_detok_push(d, t->id[i], &piece, &n, err);
        if (status == MD_OK)
            md_buf_append(text, piece, n);
    }
    if (status == MD_OK && md_detok_finish(d, &piece, &n, err) == MD_OK)
        md_buf_append(text, piece, n);
    md_detok_free(d);
    return status;
}

static bool detokenize(const md_server *s, const json_t *root, md_buf *b, md_refusal *r)
{
    static const md_field table[] = {{"tokens", MD_FIELD_VALUE, 0}, {"model", MD_FIELD_IGNORE}, {0}};
    const json_t *list = NULL;
    md_tokens t = {0};
    md_buf text = {0};
    md_error err;
    if (!md_fields_read(root, table, &list, "", r))
        return false;
    if (!json_is_array(list))
        return md_refuse(r, 400, list ? "invalid_type" : "missing_field", "tokens",
                         "'tokens' must be a list of token ids");
    bool ok = md_prompt_ids(s, list, "tokens", &t, r);
    if (ok && spell(s, &t, &text, &err) != MD_OK)
        ok = md_refuse_error(r, "tokens", &err);
    if (ok) {
        md_buf_puts(b, "{\"content\":");
        md_put_string(b, text.data ? text.data : "", text.len);
        md_buf_putc(b, '}');
        b->failed |= text.failed;
    }
    md_buf_done(&text);
    md_tokens_done(&t);
    return ok;
}

/* ---- together ---- */

typedef bool text_fn(const md_server *s, const json_t *root, md_buf *b, md_refusal *r);

static void answer(md_exchange *x, text_fn *fn)
{
    md_refusal r = {0};
    md_buf b = {0};
    json_t *root = md_fields_parse(x->body.data, x->body.len, &r);
    if (root && fn(x->server, root, &b, &r))
        md_exchange_json(x, &b);
    else
        md_exchange_refuse(x, &r);
    json_decref(root);
    md_buf_done(&b);
}

void md_at_tokenize(md_exchange *x)
{
    answer(x, tokenize);
}

void md_at_detokenize(md_exchange *x)
{
    answer(x, detokenize);
}

void md_at_template(md_exchange *x)
{
    md_ask ask = {.n_vocab = md_model_get_info(x->server->model)->n_vocab};
    md_refusal r = {0};
    md_rendered text;
    if (!md_ask_chat(&ask, x->body.data, x->body.len, &r) || !md_prompt_render(x->server, &ask, &text, &r)) {
        md_exchange_refuse(x, &r);
    } else {
        md_buf b = {0};
        md_buf_puts(&b, "{\"prompt\":");
        md_put_string(&b, text.text, text.n);
        md_buf_putc(&b, '}');
        md_exchange_json(x, &b);
        md_rendered_done(&text);
    }
    md_ask_done(&ask);
}
