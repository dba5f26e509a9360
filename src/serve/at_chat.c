/* SPDX-License-Identifier: Apache-2.0
 *
 * POST /v1/chat/completions, /v1/messages and /v1/responses: one thing in three forms. */
#include "serve/http.h"

static bool make(md_exchange *x, const md_form *form, md_ask *ask, md_job **out, md_refusal *r)
{
    const md_server *s = x->server;
    md_tokens prompt = {0};
    md_grammar *grammar = NULL;
    bool reasons = false;
    if (!md_prompt_chat(s, ask, &prompt, &reasons, r) || !md_tools_grammar(s, ask, reasons, &grammar, r)) {
        md_tokens_done(&prompt);
        return false;
    }
    const int32_t n = ask->n;
    md_job *j = md_job_new(x->reply, form, ask, 1, n);
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

typedef bool parser(md_ask *a, const char *body, size_t n, md_refusal *r);

static void answer(md_exchange *x, parser *parse, const md_form *form)
{
    md_ask ask = {.n_vocab = md_model_get_info(x->server->model)->n_vocab};
    md_refusal r = {0};
    md_job *j = NULL;
    if (parse(&ask, x->body.data, x->body.len, &r) && make(x, form, &ask, &j, &r))
        md_exchange_post(x, j);
    else
        md_exchange_refuse(x, &r);
    md_ask_done(&ask);
}

void md_at_chat(md_exchange *x)
{
    answer(x, md_ask_chat, &md_form_chat);
}

void md_at_messages(md_exchange *x)
{
    answer(x, md_ask_messages, &md_form_messages);
}

void md_at_responses(md_exchange *x)
{
    answer(x, md_ask_responses, &md_form_responses);
}
