/* SPDX-License-Identifier: Apache-2.0
 *
 * Answers of /v1/chat/completions, whole and in chunks. */
#include "serve/form.h"

#include "serve/text.h"

#include <inttypes.h>
#include <string.h>

static void put_head(md_buf *b, const md_job *j, const char *object)
{
    md_buf_printf(b, "{\"id\":\"%s\",\"object\":\"%s\",\"created\":%" PRId64 ",\"model\":", j->id, object, j->created);
    md_put_string(b, j->model, strlen(j->model));
    md_buf_puts(b, ",\"system_fingerprint\":\"" MD_FINGERPRINT "\"");
}

/* ---- logprobs ---- */

static void put_logprob(md_buf *b, const md_job *j, int32_t token, float logprob)
{
    size_t n;
    const char *text = md_token_bytes(j->tokenizer, token, &n);
    md_buf_puts(b, "{\"token\":");
    md_put_token(b, j, token);
    md_buf_puts(b, ",\"logprob\":");
    md_put_number(b, (double)logprob);
    md_buf_puts(b, ",\"bytes\":[");
    for (size_t i = 0; i < n; i++)
        md_buf_printf(b, "%s%u", i ? "," : "", (unsigned)(unsigned char)text[i]);
    md_buf_putc(b, ']');
}

static void on_token(md_choice *c, const md_request_event *e)
{
    md_buf *b = &c->said[0];
    if (b->len > 0)
        md_buf_putc(b, ',');
    put_logprob(b, c->job, e->token, e->logprob);
    md_buf_puts(b, ",\"top_logprobs\":[");
    for (int32_t i = 0; i < e->n_candidates; i++) {
        if (i)
            md_buf_putc(b, ',');
        put_logprob(b, c->job, e->candidate[i].token, e->candidate[i].logprob);
        md_buf_putc(b, '}');
    }
    md_buf_puts(b, "]}");
}

static void put_logprobs(md_buf *b, const md_choice *c)
{
    if (!c->job->ask.logprobs) {
        md_buf_puts(b, "\"logprobs\":null");
        return;
    }
    md_buf_puts(b, "\"logprobs\":{\"content\":[");
    md_buf_append(b, c->said[0].data ? c->said[0].data : "", c->said[0].len);
    md_buf_puts(b, "],\"refusal\":null}");
}

/* ---- chunks ---- */

static md_buf *open_chunk(md_choice *c)
{
    md_buf *b = &c->job->line;
    md_buf_puts(b, "data: ");
    put_head(b, c->job, "chat.completion.chunk");
    md_buf_printf(b, ",\"choices\":[{\"index\":%" PRId32 ",\"delta\":{", c->index);
    return b;
}

static void close_chunk(md_choice *c, const char *finish)
{
    md_buf *b = &c->job->line;
    md_buf_puts(b, "},");
    put_logprobs(b, c);
    md_buf_reset(&c->said[0]);
    md_buf_puts(b, ",\"finish_reason\":");
    if (finish)
        md_put_string(b, finish, strlen(finish));
    else
        md_buf_puts(b, "null");
    md_buf_puts(b, "}]");
    md_buf_puts(b, c->job->ask.include_usage ? ",\"usage\":null}\n\n" : "}\n\n");
    md_job_send(c->job);
}

static void put_text(md_choice *c, const char *key, const char *text, size_t n)
{
    md_buf *b = open_chunk(c);
    md_buf_printf(b, "\"%s\":", key);
    md_put_string(b, text, n);
    close_chunk(c, NULL);
}

static void begin(md_job *j)
{
    for (int32_t i = 0; i < j->n_choices; i++) {
        md_buf_puts(open_chunk(&j->choice[i]), "\"role\":\"assistant\",\"content\":\"\"");
        close_chunk(&j->choice[i], NULL);
    }
}

static void on_content(md_choice *c, const char *text, size_t n)
{
    put_text(c, "content", text, n);
}

static void on_reasoning(md_choice *c, const char *text, size_t n)
{
    put_text(c, "reasoning_content", text, n);
}

static void put_call(md_buf *b, const md_call *call)
{
    md_buf_printf(b, "\"id\":\"%s\",\"type\":\"function\",\"function\":{\"name\":", call->id);
    md_put_string(b, call->name, strlen(call->name));
    md_buf_puts(b, ",\"arguments\":");
    md_put_string(b, call->arguments, strlen(call->arguments));
    md_buf_puts(b, "}}");
}

static void on_call(md_choice *c, const md_call *call)
{
    md_buf *b = open_chunk(c);
    md_buf_printf(b, "\"tool_calls\":[{\"index\":%zu,", c->n_calls - 1);
    put_call(b, call);
    md_buf_putc(b, ']');
    close_chunk(c, NULL);
}

static void choice_end(md_choice *c)
{
    open_chunk(c);
    close_chunk(c, md_finish_reason(c));
}

static void end(md_job *j)
{
    md_buf *b = &j->line;
    if (j->ask.include_usage) {
        md_buf_puts(b, "data: ");
        put_head(b, j, "chat.completion.chunk");
        md_buf_puts(b, ",\"choices\":[],");
        md_put_usage(b, j);
        md_buf_puts(b, "}\n\n");
    }
    md_buf_puts(b, "data: [DONE]\n\n");
    md_job_send(j);
}

/* ---- whole ---- */

static void put_choice(md_buf *b, const md_choice *c)
{
    md_buf_printf(b, "{\"index\":%" PRId32 ",\"message\":{\"role\":\"assistant\",\"content\":", c->index);
    if (c->n_calls > 0 && md_content_is_blank(c))
        md_buf_puts(b, "null");
    else
        md_put_string(b, c->content.data, c->content.len);
    md_buf_puts(b, ",\"refusal\":null");
    if (c->reasoning.len > 0) {
        md_buf_puts(b, ",\"reasoning_content\":");
        md_put_string(b, c->reasoning.data, c->reasoning.len);
    }
    if (c->n_calls > 0) {
        md_buf_puts(b, ",\"tool_calls\":[");
        for (size_t i = 0; i < c->n_calls; i++) {
            md_buf_puts(b, i ? ",{" : "{");
            put_call(b, &c->call[i]);
        }
        md_buf_putc(b, ']');
    }
    md_buf_puts(b, "},");
    put_logprobs(b, c);
    md_buf_printf(b, ",\"finish_reason\":\"%s\"}", md_finish_reason(c));
}

static void whole(const md_job *j, md_buf *b)
{
    put_head(b, j, "chat.completion");
    md_buf_puts(b, ",\"choices\":[");
    for (int32_t i = 0; i < j->n_choices; i++) {
        if (i)
            md_buf_putc(b, ',');
        put_choice(b, &j->choice[i]);
    }
    md_buf_puts(b, "],");
    md_put_usage(b, j);
    md_buf_putc(b, '}');
}

const md_form md_form_chat = {.id = "chatcmpl-",
                              .begin = begin,
                              .token = on_token,
                              .content = on_content,
                              .reasoning = on_reasoning,
                              .call = on_call,
                              .choice_end = choice_end,
                              .end = end,
                              .fail = md_form_fail,
                              .whole = whole};
