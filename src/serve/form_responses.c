/* SPDX-License-Identifier: Apache-2.0
 *
 * Answers of /v1/responses: items of reasoning, text and calls, whole and as numbered events. A choice's `block` is the number of
 * the item that is open or comes next, `state` its kind; said[0] holds the items that are done. */
#include "serve/form.h"

#include "serve/text.h"

#include <inttypes.h>
#include <string.h>

enum { NOTHING, TEXT, REASONING };

/* ---- pieces ---- */

static void put_response(md_buf *b, const md_job *j, const char *status, const char *items, size_t n)
{
    const md_usage u = md_job_usage(j);
    const bool done = strcmp(status, "in_progress") != 0, cut = strcmp(status, "incomplete") == 0;
    md_buf_printf(b,
                  "{\"id\":\"%s\",\"object\":\"response\",\"created_at\":%" PRId64 ",\"status\":\"%s\",\"error\":null",
                  j->id, j->created, status);
    md_buf_printf(b, ",\"incomplete_details\":%s,\"model\":", cut ? "{\"reason\":\"max_output_tokens\"}" : "null");
    md_put_string(b, j->model, strlen(j->model));
    md_buf_puts(b, ",\"output\":[");
    md_buf_append(b, items, n);
    md_buf_puts(
        b,
        "],\"instructions\":null,\"metadata\":{},\"parallel_tool_calls\":true,\"previous_response_id\":null,\"store\":false,"
        "\"tool_choice\":\"auto\",\"tools\":[],\"truncation\":\"disabled\",\"text\":{\"format\":{\"type\":\"text\"}},"
        "\"temperature\":");
    md_put_number(b, (double)j->ask.sampler.temperature);
    md_buf_puts(b, ",\"top_p\":");
    md_put_number(b, (double)j->ask.sampler.top_p);
    if (done)
        md_buf_printf(b,
                      ",\"usage\":{\"input_tokens\":%" PRId64 ",\"input_tokens_details\":{\"cached_tokens\":%" PRId64
                      "},\"output_tokens\":%" PRId64
                      ",\"output_tokens_details\":{\"reasoning_tokens\":0},\"total_tokens\":%" PRId64 "}}",
                      u.prompt, u.cached, u.generated, u.prompt + u.generated);
    else
        md_buf_puts(b, ",\"usage\":null}");
}

static void put_part(md_buf *b, int kind, const char *text, size_t n)
{
    md_buf_printf(b, "{\"type\":\"%s\",\"text\":", kind == TEXT ? "output_text" : "reasoning_text");
    md_put_string(b, text, n);
    md_buf_puts(b, kind == TEXT ? ",\"annotations\":[],\"logprobs\":[]}" : "}");
}

static void put_id(md_buf *b, const md_choice *c, int kind, int index)
{
    md_buf_printf(b, "\"%s_%s_%d\"",
                  kind == TEXT        ? "msg"
                  : kind == REASONING ? "rs"
                                      : "fc",
                  c->job->id + strlen("resp_"), index);
}

/* An item of text or reasoning; text NULL: it has just begun. */
static void put_item(md_buf *b, const md_choice *c, int kind, int index, const char *text, size_t n)
{
    md_buf_puts(b, "{\"id\":");
    put_id(b, c, kind, index);
    md_buf_puts(b, kind == TEXT ? ",\"type\":\"message\",\"role\":\"assistant\""
                                : ",\"type\":\"reasoning\",\"summary\":[]");
    md_buf_printf(b, ",\"status\":\"%s\",\"content\":[", text ? "completed" : "in_progress");
    if (text)
        put_part(b, kind, text, n);
    md_buf_puts(b, "]}");
}

static void put_call(md_buf *b, const md_choice *c, const md_call *call, int index, bool done)
{
    md_buf_puts(b, "{\"id\":");
    put_id(b, c, NOTHING, index);
    md_buf_printf(b, ",\"type\":\"function_call\",\"status\":\"%s\",\"call_id\":\"%s\",\"name\":",
                  done ? "completed" : "in_progress", call->id);
    md_put_string(b, call->name, strlen(call->name));
    md_buf_puts(b, ",\"arguments\":");
    md_put_string(b, done ? call->arguments : "", done ? strlen(call->arguments) : 0);
    md_buf_putc(b, '}');
}

static const char *status_of(const md_choice *c)
{
    return c->result.finish == MD_FINISH_LENGTH || c->result.finish == MD_FINISH_CONTEXT ? "incomplete" : "completed";
}

/* ---- events ---- */

static md_buf *event(md_job *j, const char *name)
{
    md_buf_printf(&j->line, "event: %s\ndata: {\"type\":\"%s\",\"sequence_number\":%" PRId64, name, name, j->events++);
    return &j->line;
}

static void end_event(md_job *j)
{
    md_buf_puts(&j->line, "}\n\n");
}

/* An event about an item: its id and number. */
static md_buf *item_event(md_choice *c, const char *name, int kind)
{
    md_buf *b = event(c->job, name);
    md_buf_puts(b, ",\"item_id\":");
    put_id(b, c, kind, c->block);
    md_buf_printf(b, ",\"output_index\":%d", c->block);
    return b;
}

static md_buf *part_event(md_choice *c, const char *name, int kind)
{
    md_buf *b = item_event(c, name, kind);
    md_buf_puts(b, ",\"content_index\":0");
    return b;
}

static void begin(md_job *j)
{
    static const char *const names[] = {"response.created", "response.in_progress"};
    for (int i = 0; i < 2; i++) {
        md_buf_puts(event(j, names[i]), ",\"response\":");
        put_response(&j->line, j, "in_progress", "", 0);
        end_event(j);
    }
    md_job_send(j);
}

/* The item that is done, also for the end, which tells all of them again. */
static void put_done(md_choice *c, const md_buf *item)
{
    md_buf *b = event(c->job, "response.output_item.done");
    md_buf_printf(b, ",\"output_index\":%d,\"item\":", c->block);
    md_buf_append(b, item->data ? item->data : "", item->len);
    end_event(c->job);
    md_buf_puts(&c->said[0], c->said[0].len > 0 ? "," : "");
    md_buf_append(&c->said[0], item->data ? item->data : "", item->len);
    c->block++;
}

static void close_item(md_choice *c)
{
    const int kind = c->state;
    if (kind == NOTHING)
        return;
    const md_buf *all = kind == TEXT ? &c->content : &c->reasoning;
    const char *text = all->data + c->from;
    const size_t n = all->len - c->from;
    md_buf item = {0};
    md_buf *b = part_event(c, kind == TEXT ? "response.output_text.done" : "response.reasoning_text.done", kind);
    md_buf_puts(b, ",\"text\":");
    md_put_string(b, text, n);
    md_buf_puts(b, kind == TEXT ? ",\"logprobs\":[]" : "");
    end_event(c->job);
    b = part_event(c, "response.content_part.done", kind);
    md_buf_puts(b, ",\"part\":");
    put_part(b, kind, text, n);
    end_event(c->job);
    put_item(&item, c, kind, c->block, text, n);
    c->job->line.failed |= item.failed;
    put_done(c, &item);
    md_buf_done(&item);
    c->state = NOTHING;
}

/* c->content or c->reasoning holds the n new bytes already. */
static void put_delta(md_choice *c, int kind, const char *text, size_t n)
{
    md_buf *b;
    if (c->state != kind) {
        close_item(c);
        c->state = kind;
        c->from = (kind == TEXT ? c->content.len : c->reasoning.len) - n;
        b = event(c->job, "response.output_item.added");
        md_buf_printf(b, ",\"output_index\":%d,\"item\":", c->block);
        put_item(b, c, kind, c->block, NULL, 0);
        end_event(c->job);
        b = part_event(c, "response.content_part.added", kind);
        md_buf_puts(b, ",\"part\":");
        put_part(b, kind, "", 0);
        end_event(c->job);
    }
    b = part_event(c, kind == TEXT ? "response.output_text.delta" : "response.reasoning_text.delta", kind);
    md_buf_puts(b, ",\"delta\":");
    md_put_string(b, text, n);
    md_buf_puts(b, kind == TEXT ? ",\"logprobs\":[]" : "");
    end_event(c->job);
    md_job_send(c->job);
}

static void on_content(md_choice *c, const char *text, size_t n)
{
    if (!c->content.failed)
        put_delta(c, TEXT, text, n);
}

static void on_reasoning(md_choice *c, const char *text, size_t n)
{
    if (!c->reasoning.failed)
        put_delta(c, REASONING, text, n);
}

static void on_call(md_choice *c, const md_call *call)
{
    static const char *const names[] = {"response.function_call_arguments.delta",
                                        "response.function_call_arguments.done"};
    md_buf item = {0};
    close_item(c);
    md_buf *b = event(c->job, "response.output_item.added");
    md_buf_printf(b, ",\"output_index\":%d,\"item\":", c->block);
    put_call(b, c, call, c->block, false);
    end_event(c->job);
    for (int i = 0; i < 2; i++) {
        b = item_event(c, names[i], NOTHING);
        md_buf_puts(b, i ? ",\"arguments\":" : ",\"delta\":");
        md_put_string(b, call->arguments, strlen(call->arguments));
        end_event(c->job);
    }
    put_call(&item, c, call, c->block, true);
    c->job->line.failed |= item.failed;
    put_done(c, &item);
    md_buf_done(&item);
    md_job_send(c->job);
}

static void end(md_job *j)
{
    const md_choice *c = &j->choice[0];
    const bool cut = strcmp(status_of(c), "incomplete") == 0;
    md_buf_puts(event(j, cut ? "response.incomplete" : "response.completed"), ",\"response\":");
    put_response(&j->line, j, status_of(c), c->said[0].data ? c->said[0].data : "", c->said[0].len);
    end_event(j);
    md_job_send(j);
}

static void fail(md_job *j, const md_refusal *r)
{
    md_buf *b = event(j, "error");
    md_buf_printf(b, ",\"code\":\"%s\",\"message\":", r->code ? r->code : md_refusal_type(r->status));
    md_put_string(b, r->message, strlen(r->message));
    md_buf_puts(b, ",\"param\":null");
    end_event(j);
    md_job_send(j);
}

/* ---- whole ---- */

static void whole(const md_job *j, md_buf *b)
{
    const md_choice *c = &j->choice[0];
    md_buf items = {0};
    int index = 0;
    if (c->reasoning.len > 0)
        put_item(&items, c, REASONING, index++, c->reasoning.data, c->reasoning.len);
    if (c->n_calls == 0 || !md_content_is_blank(c)) {
        md_buf_puts(&items, index ? "," : "");
        put_item(&items, c, TEXT, index++, c->content.data, c->content.len);
    }
    for (size_t i = 0; i < c->n_calls; i++) {
        md_buf_puts(&items, index ? "," : "");
        put_call(&items, c, &c->call[i], index++, true);
    }
    put_response(b, j, status_of(c), items.data, items.len);
    b->failed |= items.failed;
    md_buf_done(&items);
}

const md_form md_form_responses = {.id = "resp_",
                                   .begin = begin,
                                   .content = on_content,
                                   .reasoning = on_reasoning,
                                   .call = on_call,
                                   .choice_end = close_item,
                                   .end = end,
                                   .fail = fail,
                                   .whole = whole};
