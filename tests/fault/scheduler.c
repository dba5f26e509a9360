/* SPDX-License-Identifier: Apache-2.0
 *
 * A scheduler when memory gives out: it is not made, a request is refused or ends with an error that says so, or everything is
 * answered as ever; what was taken goes back. */
#include "fault/use.h"
#include "support/fault.h"
#include "support/synth_model.h"

#include <medley/scheduler.h>

enum { N_PROMPT = 70, N_REQUESTS = 3 };

typedef struct job {
    md_session *session;
    md_scheduler_args args;
    const md_grammar *grammar;
    int32_t token[N_PROMPT];
} job;

typedef struct heard {
    uint64_t hash;
    int n_ended;
    md_status failed;
    md_error *err;
} heard;

static void on_event(void *user, md_request *r, const md_request_event *e)
{
    heard *h = user;
    (void)r;
    h->hash = fold(h->hash, e->text, e->n_text);
    if (e->point == MD_REQUEST_END)
        h->n_ended++;
    if (e->point != MD_REQUEST_FAILED)
        return;
    h->failed = e->error->code;
    if (h->err)
        *h->err = *e->error;
}

static md_status ask_all(const job *j, md_scheduler *s, heard *h, md_error *err)
{
    for (int i = 0; i < N_REQUESTS; i++) {
        md_request_args a;
        md_request_args_default(&a);
        const char *stop = "never";
        a.prompt = j->token;
        a.n_prompt = (size_t)(N_PROMPT - i);
        a.max_tokens = 6;
        a.stop = &stop;
        a.n_stop = 1;
        a.grammar = i == 1 ? j->grammar : NULL;
        a.embed = i == 2;
        a.client = i == 1 ? "one" : "other";
        a.on_event = on_event;
        a.user = h;
        const md_status status = md_request_new(s, &a, NULL, err);
        if (status != MD_OK)
            return status;
    }
    return MD_OK;
}

static md_status answer_all(void *arg, uint64_t *result, md_error *err)
{
    const job *j = arg;
    md_scheduler *s;
    heard h = {.hash = 1, .err = err};
    md_status status = md_scheduler_new(j->session, &j->args, &s, err);
    if (status != MD_OK)
        return status;
    status = ask_all(j, s, &h, err);
    for (bool idle = false; status == MD_OK && !idle && h.failed == MD_OK;)
        status = md_scheduler_step(s, &idle, err);
    md_scheduler_free(s);
    fault_pause(true);
    assert_int_equal(md_session_free_positions(j->session), 512);
    fault_pause(false);
    if (status == MD_OK && h.failed == MD_OK)
        assert_int_equal(h.n_ended, N_REQUESTS);
    *result = h.hash;
    return status != MD_OK ? status : h.failed;
}

static void every_allocation(void **state)
{
    (void)state;
    md_model *m = open_synth(
        &(md_synth_spec){.arch = "qwen3moe", .n_embd = 32, .n_head = 2, .n_vocab = 300, .n_ctx = 256});
    job j = {0};
    md_scheduler_args_default(&j.args);
    j.args.n_running = 2;
    j.args.n_draft = 2;
    md_session_args args;
    md_scheduler_session_args(m, &j.args, &args);
    args.n_threads = 1;
    args.n_positions = 512;
    OK(md_session_new(m, &args, &j.session, err));
    md_grammar *g;
    OK(md_grammar_new("root ::= [a-z]+", 15, NULL, &g, err));
    j.grammar = g;
    fill_tokens(j.token, N_PROMPT, 250, 3);
    const fault_count n = fault_each(FAULT_MEMORY, MD_ERR_MEMORY, answer_all, &j);
    assert_true(n.refused > 20);
    md_grammar_free(g);
    md_session_free(j.session);
    md_model_close(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_allocation)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
