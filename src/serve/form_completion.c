/* SPDX-License-Identifier: Apache-2.0
 *
 * Answers of /v1/completions and /infill, whole and in chunks. */
#include "serve/form.h"

#include "serve/text.h"

#include <inttypes.h>
#include <string.h>

/* What of logprobs is in which of a choice's buffers. */
enum { TOKENS, LOGPROBS, TOP, OFFSETS };

static void put_head(md_buf *b, const md_job *j)
{
    md_buf_printf(b, "{\"id\":\"%s\",\"object\":\"text_completion\",\"created\":%" PRId64 ",\"model\":", j->id,
                  j->created);
    md_put_string(b, j->model, strlen(j->model));
    md_buf_puts(b, ",\"system_fingerprint\":\"" MD_FINGERPRINT "\"");
}

static void on_token(md_choice *c, const md_request_event *e)
{
    const char *comma = c->said[TOKENS].len > 0 ? "," : "";
    for (int i = TOKENS; i <= OFFSETS; i++)
        md_buf_puts(&c->said[i], comma);
    md_put_token(&c->said[TOKENS], c->job, e->token);
    md_put_number(&c->said[LOGPROBS], (double)e->logprob);
    md_buf_printf(&c->said[OFFSETS], "%zu", c->text_offset);
    md_buf_putc(&c->said[TOP], '{');
    for (int32_t i = 0; i < e->n_candidates; i++) {
        md_buf_puts(&c->said[TOP], i ? "," : "");
        md_put_token(&c->said[TOP], c->job, e->candidate[i].token);
        md_buf_putc(&c->said[TOP], ':');
        md_put_number(&c->said[TOP], (double)e->candidate[i].logprob);
    }
    md_buf_putc(&c->said[TOP], '}');
}

static void put_logprobs(md_buf *b, const md_choice *c)
{
    static const char *const names[] = {"tokens", "token_logprobs", "top_logprobs", "text_offset"};
    if (!c->job->ask.logprobs) {
        md_buf_puts(b, "null");
        return;
    }
    for (int i = TOKENS; i <= OFFSETS; i++) {
        md_buf_printf(b, "%s\"%s\":[", i ? "," : "{", names[i]);
        md_buf_append(b, c->said[i].data ? c->said[i].data : "", c->said[i].len);
        md_buf_putc(b, ']');
    }
    md_buf_putc(b, '}');
}

static void put_choice(md_buf *b, const md_choice *c, const char *text, size_t n, const char *finish)
{
    md_buf_puts(b, "{\"text\":");
    md_put_string(b, text, n);
    md_buf_printf(b, ",\"index\":%" PRId32 ",\"logprobs\":", c->index);
    put_logprobs(b, c);
    md_buf_puts(b, ",\"finish_reason\":");
    if (finish)
        md_put_string(b, finish, strlen(finish));
    else
        md_buf_puts(b, "null");
    md_buf_putc(b, '}');
}

static void put_chunk(md_choice *c, const char *text, size_t n, const char *finish)
{
    md_buf *b = &c->job->line;
    md_buf_puts(b, "data: ");
    put_head(b, c->job);
    md_buf_puts(b, ",\"choices\":[");
    put_choice(b, c, text, n, finish);
    md_buf_puts(b, c->job->ask.include_usage ? "],\"usage\":null}\n\n" : "]}\n\n");
    for (int i = TOKENS; i <= OFFSETS; i++)
        md_buf_reset(&c->said[i]);
    md_job_send(c->job);
}

static void on_content(md_choice *c, const char *text, size_t n)
{
    put_chunk(c, text, n, NULL);
}

static void on_call(md_choice *c, const md_call *call)
{
    (void)c; /* answers in this form are not split */
    (void)call;
}

static void choice_end(md_choice *c)
{
    put_chunk(c, "", 0, md_finish_reason(c));
}

static void end(md_job *j)
{
    md_buf *b = &j->line;
    if (j->ask.include_usage) {
        md_buf_puts(b, "data: ");
        put_head(b, j);
        md_buf_puts(b, ",\"choices\":[],");
        md_put_usage(b, j);
        md_buf_puts(b, "}\n\n");
    }
    md_buf_puts(b, "data: [DONE]\n\n");
    md_job_send(j);
}

static void whole(const md_job *j, md_buf *b)
{
    put_head(b, j);
    md_buf_puts(b, ",\"choices\":[");
    for (int32_t i = 0; i < j->n_choices; i++) {
        const md_choice *c = &j->choice[i];
        md_buf_puts(b, i ? "," : "");
        put_choice(b, c, c->content.data, c->content.len, md_finish_reason(c));
    }
    md_buf_puts(b, "],");
    md_put_usage(b, j);
    md_buf_putc(b, '}');
}

/* The same with the text once more at the top, where clients of this endpoint look for it. */
static void whole_infill(const md_job *j, md_buf *b)
{
    whole(j, b);
    if (b->len == 0 || b->failed)
        return;
    b->len--;
    md_buf_puts(b, ",\"content\":");
    md_put_string(b, j->choice[0].content.data, j->choice[0].content.len);
    md_buf_putc(b, '}');
}

const md_form md_form_completion = {.id = "cmpl-",
                                    .token = on_token,
                                    .content = on_content,
                                    .reasoning = on_content,
                                    .call = on_call,
                                    .choice_end = choice_end,
                                    .end = end,
                                    .fail = md_form_fail,
                                    .whole = whole};
const md_form md_form_infill = {.id = "infill-",
                                .token = on_token,
                                .content = on_content,
                                .reasoning = on_content,
                                .call = on_call,
                                .choice_end = choice_end,
                                .end = end,
                                .fail = md_form_fail,
                                .whole = whole_infill};
