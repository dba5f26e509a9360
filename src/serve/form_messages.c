/* SPDX-License-Identifier: Apache-2.0
 *
 * Answers of /v1/messages, in the form of Anthropic's API: blocks of thinking, text and calls, whole and as events. A choice's
 * `block` is the number of the block that is open or comes next, `state` what kind it is. */
#include "serve/form.h"

#include "serve/text.h"

#include <inttypes.h>
#include <string.h>

enum { NOTHING, TEXT, THINKING };

static const char *stop_reason(const md_choice *c)
{
    if (c->n_calls > 0)
        return "tool_use";
    switch (c->result.finish) {
    case MD_FINISH_LENGTH: return "max_tokens";
    case MD_FINISH_CONTEXT: return "model_context_window_exceeded";
    case MD_FINISH_STOP: return "stop_sequence";
    default: return "end_turn";
    }
}

static void put_counts(md_buf *b, const md_usage *u)
{
    md_buf_printf(b,
                  "\"usage\":{\"input_tokens\":%" PRId64 ",\"cache_read_input_tokens\":%" PRId64
                  ",\"cache_creation_input_tokens\":0,\"output_tokens\":%" PRId64 "}",
                  u->prompt - u->cached, u->cached, u->generated);
}

static void put_head(md_buf *b, const md_job *j)
{
    md_buf_printf(b, "{\"id\":\"%s\",\"type\":\"message\",\"role\":\"assistant\",\"model\":", j->id);
    md_put_string(b, j->model, strlen(j->model));
}

static void put_stop(md_buf *b, const md_choice *c)
{
    const md_ask *a = &c->job->ask;
    md_buf_printf(b, "\"stop_reason\":\"%s\",\"stop_sequence\":", stop_reason(c));
    if (c->result.finish == MD_FINISH_STOP && a->n_stop == 1) /* of several it is not known which one it was */
        md_put_string(b, a->stop[0], strlen(a->stop[0]));
    else
        md_buf_puts(b, "null");
}

/* ---- events ---- */

static md_buf *event(md_job *j, const char *name)
{
    md_buf_printf(&j->line, "event: %s\ndata: {\"type\":\"%s\"", name, name);
    return &j->line;
}

static void end_event(md_job *j)
{
    md_buf_puts(&j->line, "}\n\n");
}

static void begin(md_job *j)
{
    md_usage u = {.prompt = (int64_t)j->prompt[0].n};
    md_buf *b = event(j, "message_start");
    md_buf_puts(b, ",\"message\":");
    put_head(b, j);
    md_buf_puts(b, ",\"content\":[],\"stop_reason\":null,\"stop_sequence\":null,");
    put_counts(b, &u);
    md_buf_putc(b, '}');
    end_event(j);
    md_job_send(j);
}

static void close_block(md_choice *c)
{
    if (c->state == NOTHING)
        return;
    md_buf_printf(event(c->job, "content_block_stop"), ",\"index\":%d", c->block++);
    end_event(c->job);
    c->state = NOTHING;
}

static void put_delta(md_choice *c, int kind, const char *empty, const char *delta, const char *key, const char *text,
                      size_t n)
{
    if (c->state != kind) {
        close_block(c);
        md_buf_printf(event(c->job, "content_block_start"), ",\"index\":%d,\"content_block\":%s", c->block, empty);
        end_event(c->job);
        c->state = kind;
    }
    md_buf *b = event(c->job, "content_block_delta");
    md_buf_printf(b, ",\"index\":%d,\"delta\":{\"type\":\"%s\",\"%s\":", c->block, delta, key);
    md_put_string(b, text, n);
    md_buf_putc(b, '}');
    end_event(c->job);
    md_job_send(c->job);
}

static void on_content(md_choice *c, const char *text, size_t n)
{
    put_delta(c, TEXT, "{\"type\":\"text\",\"text\":\"\"}", "text_delta", "text", text, n);
}

static void on_reasoning(md_choice *c, const char *text, size_t n)
{
    put_delta(c, THINKING, "{\"type\":\"thinking\",\"thinking\":\"\",\"signature\":\"\"}", "thinking_delta", "thinking",
              text, n);
}

static void put_call(md_buf *b, const md_call *call, const char *input)
{
    md_buf_printf(b, "{\"type\":\"tool_use\",\"id\":\"%s\",\"name\":", call->id);
    md_put_string(b, call->name, strlen(call->name));
    md_buf_printf(b, ",\"input\":%s}", input);
}

static void on_call(md_choice *c, const md_call *call)
{
    md_job *j = c->job;
    close_block(c);
    md_buf_printf(event(j, "content_block_start"), ",\"index\":%d,\"content_block\":", c->block);
    put_call(&j->line, call, "{}");
    end_event(j);
    md_buf_printf(event(j, "content_block_delta"),
                  ",\"index\":%d,\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":", c->block);
    md_put_string(&j->line, call->arguments, strlen(call->arguments));
    md_buf_putc(&j->line, '}');
    end_event(j);
    c->state = TEXT; /* any that close_block ends */
    close_block(c);
    md_job_send(j);
}

static void choice_end(md_choice *c)
{
    const md_usage u = md_job_usage(c->job);
    close_block(c);
    md_buf *b = event(c->job, "message_delta");
    md_buf_puts(b, ",\"delta\":{");
    put_stop(b, c);
    md_buf_puts(b, "},");
    put_counts(b, &u);
    end_event(c->job);
}

static void end(md_job *j)
{
    event(j, "message_stop");
    end_event(j);
    md_job_send(j);
}

static void fail(md_job *j, const md_refusal *r)
{
    md_buf *b = event(j, "error");
    md_buf_printf(b, ",\"error\":{\"type\":\"%s\",\"message\":", md_refusal_type(r->status));
    md_put_string(b, r->message, strlen(r->message));
    md_buf_putc(b, '}');
    end_event(j);
    md_job_send(j);
}

/* ---- whole ---- */

static void put_block(md_buf *b, const char *head, const md_buf *text, const char *tail, const char **comma)
{
    md_buf_printf(b, "%s%s", *comma, head);
    md_put_string(b, text->data, text->len);
    md_buf_puts(b, tail);
    *comma = ",";
}

static void whole(const md_job *j, md_buf *b)
{
    const md_choice *c = &j->choice[0];
    const md_usage u = md_job_usage(j);
    const char *comma = "";
    put_head(b, j);
    md_buf_puts(b, ",\"content\":[");
    if (c->reasoning.len > 0)
        put_block(b, "{\"type\":\"thinking\",\"thinking\":", &c->reasoning, ",\"signature\":\"\"}", &comma);
    if (c->content.len > 0 && !(c->n_calls > 0 && md_content_is_blank(c)))
        put_block(b, "{\"type\":\"text\",\"text\":", &c->content, "}", &comma);
    for (size_t i = 0; i < c->n_calls; i++) {
        md_buf_puts(b, comma);
        put_call(b, &c->call[i], c->call[i].arguments);
        comma = ",";
    }
    md_buf_puts(b, "],");
    put_stop(b, c);
    md_buf_putc(b, ',');
    put_counts(b, &u);
    md_buf_putc(b, '}');
}

const md_form md_form_messages = {.id = "msg_",
                                  .begin = begin,
                                  .content = on_content,
                                  .reasoning = on_reasoning,
                                  .call = on_call,
                                  .choice_end = choice_end,
                                  .end = end,
                                  .fail = fail,
                                  .whole = whole};
