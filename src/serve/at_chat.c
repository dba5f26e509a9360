/* SPDX-License-Identifier: Apache-2.0
 *
 * POST /v1/chat/completions, /v1/messages and /v1/responses: one thing in three forms. */
#include "serve/http.h"

static bool make(const md_server *s, md_reply *reply, const md_form *form, md_ask *ask, md_job **out, md_refusal *r)
{
    md_tokens prompt = {0};
    md_grammar *grammar = NULL;
    bool reasons = false;
    if (!md_prompt_chat(s, ask, &prompt, &reasons, r) || !md_tools_grammar(s, ask, reasons, &grammar, r)) {
        md_tokens_done(&prompt);
        return false;
    }
    const int32_t n = ask->n;
    md_job *j = md_job_new(reply, form, ask, 1, n);
    if (!j) {
        md_tokens_done(&prompt);
        md_grammar_free(grammar);
        return md_refuse_memory(r);
    }
    j->prompt[0] = prompt;
    j->grammar = grammar;
    j->special = s->hides_marks;
    md_job_split(j, j->ask.tools ? s->tool_syntax : MD_TOOL_NONE, reasons, false);
    *out = j;
    return true;
}

bool md_make_chat(md_server *s, md_reply *reply, md_ask *ask, const char *body, size_t n, md_job **out, md_refusal *r)
{
    return md_ask_chat(ask, body, n, r) && make(s, reply, &md_form_chat, ask, out, r);
}

static bool make_messages(md_server *s, md_reply *reply, md_ask *ask, const char *body, size_t n, md_job **out,
                          md_refusal *r)
{
    return md_ask_messages(ask, body, n, r) && make(s, reply, &md_form_messages, ask, out, r);
}

static bool make_responses(md_server *s, md_reply *reply, md_ask *ask, const char *body, size_t n, md_job **out,
                           md_refusal *r)
{
    return md_ask_responses(ask, body, n, r) && make(s, reply, &md_form_responses, ask, out, r);
}

void md_at_chat(md_exchange *x)
{
    md_exchange_make(x, md_make_chat);
}

void md_at_messages(md_exchange *x)
{
    md_exchange_make(x, make_messages);
}

void md_at_responses(md_exchange *x)
{
    md_exchange_make(x, make_responses);
}
