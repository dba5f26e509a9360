/* SPDX-License-Identifier: Apache-2.0
 *
 * POST /v1/completions: one prompt or several, each a text or token ids. */
#include "serve/http.h"

#include <stdio.h>

/* Several prompts: a list of texts, or of lists. */
static bool is_several(const json_t *prompt)
{
    const json_t *first = json_array_get(prompt, 0);
    return json_is_string(first) || json_is_array(first);
}

static bool read_prompts(const md_server *s, md_job *j, const json_t *prompt, md_refusal *r)
{
    char name[32] = "prompt";
    if (!is_several(prompt))
        return md_prompt_value(s, prompt, name, &j->prompt[0], r);
    for (size_t i = 0; i < j->n_prompts; i++) {
        snprintf(name, sizeof name, "prompt[%zu]", i);
        if (!md_prompt_value(s, json_array_get(prompt, i), name, &j->prompt[i], r))
            return false;
    }
    return true;
}

static bool make(const md_server *s, md_reply *reply, md_ask *ask, md_job **out, md_refusal *r)
{
    const json_t *prompt = ask->prompt;
    const size_t n = is_several(prompt) ? json_array_size(prompt) : 1;
    if (n * (size_t)ask->n > MD_JOB_MOST_CHOICES)
        return md_refuse(r, 400, "out_of_range", "n",
                         "%zu prompts with %d answers each are more than the %d that are possible", n, (int)ask->n,
                         MD_JOB_MOST_CHOICES);
    md_grammar *grammar;
    if (!md_tools_grammar(s, ask, false, &grammar, r))
        return false;
    const int32_t per_prompt = ask->n;
    md_job *j = md_job_new(reply, &md_form_completion, ask, n, per_prompt);
    if (!j) {
        md_grammar_free(grammar);
        return md_refuse_memory(r);
    }
    j->grammar = grammar;
    md_job_split(j, MD_TOOL_NONE, false, true);
    if (!read_prompts(s, j, prompt, r)) {
        md_job_free(j);
        return false;
    }
    *out = j;
    return true;
}

bool md_make_completion(md_server *s, md_reply *reply, md_ask *ask, const char *body, size_t n, md_job **out,
                        md_refusal *r)
{
    return md_ask_completion(ask, body, n, r) && make(s, reply, ask, out, r);
}

void md_at_completions(md_exchange *x)
{
    md_exchange_make(x, md_make_completion);
}
