/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/job.h"

#include "base/rng.h"
#include "base/sys.h"

#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

/* ---- life ---- */

static uint64_t random_number(void)
{
    uint64_t x;
    if (getrandom(&x, sizeof x, 0) != (ssize_t)sizeof x)
        x = (uint64_t)time(NULL) * 0x9e3779b97f4a7c15ull; /* only ids and seeds that nobody asked for come from it */
    return x;
}

md_job *md_job_new(md_reply *reply, const md_form *form, md_ask *ask, size_t n_prompts, int32_t per_prompt)
{
    const size_t n = n_prompts * (size_t)per_prompt;
    md_job *j = md_calloc(1, sizeof *j);
    if (!j)
        return NULL;
    j->prompt = md_calloc(n_prompts, sizeof *j->prompt);
    j->choice = md_calloc(n, sizeof *j->choice);
    if (!j->prompt || !j->choice) {
        md_free(j->prompt);
        md_free(j->choice);
        md_free(j);
        return NULL;
    }
    j->reply = md_reply_hold(reply);
    j->form = form;
    j->ask = *ask;
    *ask = (md_ask){0};
    j->n_prompts = n_prompts;
    j->n_choices = (int32_t)n;
    j->created = j->ask.steady ? j->ask.created : (int64_t)time(NULL);
    j->number = j->ask.steady ? j->ask.number : random_number();
    j->arrived = md_sys_seconds();
    if (!j->ask.seeded)
        j->ask.seed = (j->ask.steady ? j->number : random_number()) & 0xffffffffu;
    snprintf(j->id, sizeof j->id, "%s%016llx", form->id, (unsigned long long)j->number);
    for (size_t i = 0; i < n; i++) {
        j->choice[i] = (md_choice){.job = j, .index = (int32_t)i, .prompt = i / (size_t)per_prompt};
        md_buf_puts(&j->choice[i].content, "");
        md_buf_puts(&j->choice[i].reasoning, "");
    }
    return j;
}

static void choice_done(md_choice *c)
{
    md_split_done(&c->split);
    md_buf_done(&c->content);
    md_buf_done(&c->reasoning);
    for (size_t i = 0; i < c->n_calls; i++) {
        md_free(c->call[i].name);
        md_free(c->call[i].arguments);
    }
    md_free(c->call);
    for (int i = 0; i < 4; i++)
        md_buf_done(&c->said[i]);
    md_free(c->vector);
}

void md_job_free(md_job *j)
{
    if (!j)
        return;
    for (int32_t i = 0; i < j->n_choices; i++)
        choice_done(&j->choice[i]);
    for (size_t i = 0; i < j->n_prompts; i++)
        md_tokens_done(&j->prompt[i]);
    md_free((void *)(uintptr_t)j->documents);
    md_free(j->choice);
    md_free(j->prompt);
    md_grammar_free(j->grammar);
    md_ask_done(&j->ask);
    md_buf_done(&j->line);
    md_reply_release(j->reply);
    md_free(j);
}

/* ---- telling ---- */

void md_job_send(md_job *j)
{
    if (j->line.failed)
        md_reply_end(j->reply);
    else if (j->line.len > 0)
        md_reply_write(j->reply, j->line.data, j->line.len);
    md_buf_reset(&j->line);
}

md_usage md_job_usage(const md_job *j)
{
    md_usage u = {0};
    const size_t per_prompt = j->n_prompts ? (size_t)j->n_choices / j->n_prompts : 1;
    for (int32_t i = 0; i < j->n_choices; i++) {
        const md_request_result *r = &j->choice[i].result;
        u.generated += r->n_generated;
        u.drafted += r->n_drafted;
        u.accepted += r->n_accepted;
        if ((size_t)i % per_prompt == 0) { /* a prompt counts once, however many answers it gets */
            u.prompt += r->n_prompt;
            u.cached += r->n_cached;
        }
    }
    return u;
}

static bool told(const md_choice *c)
{
    return c->job->ask.stream && !c->job->failed && c->job->form->content != NULL;
}

static void on_content(void *user, const char *text, size_t n)
{
    md_choice *c = user;
    md_buf_append(&c->content, text, n);
    if (told(c))
        c->job->form->content(c, text, n);
}

static void on_reasoning(void *user, const char *text, size_t n)
{
    md_choice *c = user;
    md_buf_append(&c->reasoning, text, n);
    if (told(c))
        c->job->form->reasoning(c, text, n);
}

static void on_call(void *user, const char *name, const char *arguments, size_t n)
{
    md_choice *c = user;
    md_call *more = md_realloc(c->call, c->n_calls + 1, sizeof *more);
    if (more)
        c->call = more;
    md_call call = {.name = md_strdup(name), .arguments = md_calloc(n + 1, 1)};
    if (!more || !call.name || !call.arguments) {
        md_free(call.name);
        md_free(call.arguments);
        c->content.failed = true;
        return;
    }
    memcpy(call.arguments, arguments, n);
    const md_rand4 id = md_philox(c->job->number, (uint64_t)c->index, c->n_calls);
    snprintf(call.id, sizeof call.id, "call_%08x%08x", (unsigned)id.v[0], (unsigned)id.v[1]);
    c->call[c->n_calls++] = call;
    if (told(c))
        c->job->form->call(c, &c->call[c->n_calls - 1]);
}

void md_job_split(md_job *j, md_tool_syntax syntax, bool reasons, bool plain)
{
    static const md_split_fns fns = {on_content, on_reasoning, on_call};
    for (int32_t i = 0; i < j->n_choices; i++) {
        md_split_init(&j->choice[i].split, &fns, &j->choice[i], syntax, reasons);
        if (plain)
            j->choice[i].split.state = MD_SPLIT_CONTENT;
    }
}

/* ---- events ---- */

static void begin(md_job *j)
{
    j->moving = true;
    if (j->begun || !j->ask.stream || j->failed)
        return;
    j->begun = true;
    md_reply_begin(j->reply);
    if (j->form->begin)
        j->form->begin(j);
}

static void count_token(md_choice *c)
{
    const double now = md_sys_seconds();
    if (c->last_token > 0)
        md_metrics_between_tokens(c->job->metrics, now - c->last_token);
    else
        md_metrics_first_token(c->job->metrics, now - c->job->arrived);
    c->last_token = now;
}

static void end_job(md_job *j)
{
    md_refusal r;
    if (j->ask.stream) {
        j->form->end(j);
        md_reply_end(j->reply);
        return;
    }
    md_buf body = {0};
    bool failed = false;
    for (int32_t i = 0; i < j->n_choices; i++)
        failed |= j->choice[i].content.failed || j->choice[i].reasoning.failed || j->choice[i].split.held.failed;
    j->form->whole(j, &body);
    if (body.failed || failed) {
        md_refuse_memory(&r);
        md_reply_refuse(j->reply, &r);
    } else {
        md_reply_whole(j->reply, 200, "application/json", &body);
    }
    md_buf_done(&body);
}

static void on_end(md_choice *c, const md_request_event *e)
{
    md_job *j = c->job;
    c->result = *e->result;
    if (j->ask.steady) /* these depend on what ran before and beside it */
        c->result.n_cached = c->result.n_drafted = c->result.n_accepted = 0;
    if (j->embed && e->vector && e->n_vectors == 1) {
        c->vector = md_calloc((size_t)j->n_embd, sizeof *c->vector);
        if (c->vector)
            memcpy(c->vector, e->vector, (size_t)j->n_embd * sizeof *c->vector);
        else
            c->content.failed = true;
    }
    if (j->failed)
        return;
    begin(j);
    md_split_push(&c->split, e->text, e->n_text);
    md_split_end(&c->split);
    if (told(c))
        j->form->choice_end(c);
}

static void on_event(void *user, md_request *request, const md_request_event *e)
{
    md_choice *c = user;
    md_job *j = c->job;
    md_refusal r;
    (void)request;
    switch (e->point) {
    case MD_REQUEST_PROMPT: j->moving = true; return;
    case MD_REQUEST_TOKEN:
        count_token(c);
        if (j->failed)
            return;
        begin(j);
        if (j->ask.logprobs && j->form->token)
            j->form->token(c, e);
        c->text_offset += e->n_text;
        md_split_push(&c->split, e->text, e->n_text);
        return;
    case MD_REQUEST_END: on_end(c, e); break;
    case MD_REQUEST_FAILED:
        md_refuse_error(&r, NULL, e->error);
        md_job_fail(j, &r);
        break;
    }
    c->request = NULL;
    c->ended = true;
    j->n_ended++;
    if (j->n_ended == j->n_choices && !j->failed)
        end_job(j);
}

/* ---- the engine's side ---- */

static void fill_args(const md_choice *c, md_sampler_args *sampler, md_request_args *args)
{
    const md_job *j = c->job;
    const md_tokens *prompt = &j->prompt[c->prompt];
    *sampler = j->ask.sampler;
    sampler->seed = j->ask.seed;
    sampler->choice = (uint32_t)c->index;
    sampler->bias = j->ask.bias;
    sampler->tokenizer = j->tokenizer;
    if (sampler->n_dry_breaker > 0)
        sampler->dry_breaker = j->ask.breaker;
    md_request_args_default(args);
    args->prompt = prompt->id;
    args->n_prompt = prompt->n;
    args->max_tokens = j->ask.max_tokens;
    args->sampler = j->embed ? NULL : sampler;
    args->grammar = j->grammar;
    args->stop = j->ask.stop;
    args->n_stop = j->ask.n_stop;
    args->special = j->special;
    args->ignore_eog = j->ask.ignore_eog;
    args->n_candidates = !j->ask.logprobs ? -1 : j->ask.top_logprobs > 0 ? j->ask.top_logprobs : 0;
    args->n_context = j->n_context;
    args->client = j->client;
    args->priority = j->ask.priority;
    args->embed = j->embed;
    args->pooling = j->pooling;
    args->power = j->power;
    args->raw = j->raw;
    args->on_event = on_event;
    args->user = (void *)(uintptr_t)c;
}

bool md_job_submit(md_job *j, md_scheduler *s)
{
    md_error err;
    for (int32_t i = 0; i < j->n_choices; i++) {
        md_choice *c = &j->choice[i];
        md_sampler_args sampler;
        md_request_args args;
        fill_args(c, &sampler, &args);
        if (md_request_new(s, &args, &c->request, &err) != MD_OK) {
            md_refusal r;
            md_refuse_error(&r, NULL, &err);
            md_job_fail(j, &r);
            return j->n_submitted > 0;
        }
        j->n_submitted++;
    }
    return true;
}

void md_job_cancel(md_job *j)
{
    j->failed = true;
    for (int32_t i = 0; i < j->n_submitted; i++)
        if (j->choice[i].request)
            md_request_cancel(j->choice[i].request);
    md_reply_end(j->reply);
}

void md_job_fail(md_job *j, const md_refusal *r)
{
    if (!j->failed && !md_reply_refuse(j->reply, r) && j->form->fail)
        j->form->fail(j, r);
    md_job_cancel(j);
}

bool md_job_done(const md_job *j)
{
    return j->n_ended == j->n_submitted;
}
