/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/form.h"

#include "serve/text.h"

#include <inttypes.h>
#include <string.h>

const char *md_finish_reason(const md_choice *c)
{
    if (c->n_calls > 0)
        return "tool_calls";
    return c->result.finish == MD_FINISH_LENGTH || c->result.finish == MD_FINISH_CONTEXT ? "length" : "stop";
}

void md_put_usage(md_buf *b, const md_job *j)
{
    const md_usage u = md_job_usage(j);
    md_buf_printf(b,
                  "\"usage\":{\"prompt_tokens\":%" PRId64 ",\"completion_tokens\":%" PRId64 ",\"total_tokens\":%" PRId64
                  ",\"prompt_tokens_details\":{\"cached_tokens\":%" PRId64 "}",
                  u.prompt, u.generated, u.prompt + u.generated, u.cached);
    if (u.drafted > 0)
        md_buf_printf(b,
                      ",\"completion_tokens_details\":{\"accepted_prediction_tokens\":%" PRId64
                      ",\"rejected_prediction_tokens\":%" PRId64 "}",
                      u.accepted, u.drafted - u.accepted);
    md_buf_putc(b, '}');
}

void md_put_token(md_buf *b, const md_job *j, int32_t token)
{
    size_t n;
    const char *text = md_token_bytes(j->tokenizer, token, &n);
    md_put_string(b, text ? text : "", n);
}

void md_form_fail(md_job *j, const md_refusal *r)
{
    md_buf_puts(&j->line, "data: ");
    md_refusal_json(&j->line, r);
    md_buf_puts(&j->line, "\n\n");
    md_job_send(j);
}

bool md_content_is_blank(const md_choice *c)
{
    return strspn(c->content.data ? c->content.data : "", " \t\r\n") == c->content.len;
}
