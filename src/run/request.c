/* SPDX-License-Identifier: Apache-2.0
 *
 * Requests: what they take is taken when they are made, so that steps allocate nothing but an answer's unusually long texts.
 * Ending one frees it. */
#include "run/scheduler.h"

#include "base/status.h"
#include "base/sys.h"
#include "model/session.h"

#include <string.h>

void md_request_args_default(md_request_args *args)
{
    *args = (md_request_args){.max_tokens = -1, .n_candidates = -1, .pooling = MD_POOLING_MODEL};
}

/* ---- lists ---- */

void md_list_add(md_request_list *l, md_request *r)
{
    r->prev = l->last;
    r->next = NULL;
    if (l->last)
        l->last->next = r;
    else
        l->first = r;
    l->last = r;
    l->n++;
}

void md_list_remove(md_request_list *l, md_request *r)
{
    if (r->prev)
        r->prev->next = r->next;
    else
        l->first = r->next;
    if (r->next)
        r->next->prev = r->prev;
    else
        l->last = r->prev;
    l->n--;
}

/* ---- making ---- */

static md_status check(const md_scheduler *s, const md_request_args *a, md_error *err)
{
    const md_session_args *session = &s->session->args;
    const md_model_info *info = md_model_get_info(s->session->model);
    MD_FAIL_IF(!a->on_event, MD_ERR_ARGUMENT, "a request needs somebody to tell");
    MD_FAIL_IF(s->waiting.n >= s->args.n_waiting, MD_ERR_BUSY, "%d requests wait already: ask again later",
               s->waiting.n);
    MD_TRY(md_answer_check(a->prompt, a->n_prompt, a->max_tokens, s->n_vocab, err));
    MD_FAIL_IF(!a->embed && (!info->causal || !info->has_logits), MD_ERR_UNSUPPORTED,
               "'%s' is an encoder, which makes vectors of texts and does not go on with them", info->arch);
    MD_FAIL_IF(!a->embed && session->hidden_only, MD_ERR_UNSUPPORTED, "only vectors are made here");
    MD_FAIL_IF(a->n_candidates < -1 || a->n_candidates > MD_MOST_CANDIDATES, MD_ERR_ARGUMENT,
               "log probabilities of %d tokens were asked for; at most %d are given", a->n_candidates,
               MD_MOST_CANDIDATES);
    MD_FAIL_IF(a->n_context < 0, MD_ERR_ARGUMENT, "a context of %d positions", a->n_context);
    const int32_t room = a->n_context > 0 && a->n_context < session->n_context ? a->n_context : session->n_context;
    MD_FAIL_IF(a->n_prompt > (size_t)room, MD_ERR_LIMIT,
               "the prompt has %zu tokens, but the context has %d: shorten it or serve more context", a->n_prompt,
               room);
    MD_FAIL_IF(a->embed && !info->causal && a->n_prompt > (size_t)s->n_rows, MD_ERR_LIMIT,
               "the text has %zu tokens, but this model takes a text in one step, of at most %d: give a shorter one",
               a->n_prompt, s->n_rows);
    return MD_OK;
}

static char **copy_texts(const char *const *text, size_t n)
{
    char **out = md_calloc(n, sizeof *out);
    for (size_t i = 0; out && i < n; i++) {
        out[i] = md_strdup(text[i]);
        if (!out[i]) {
            while (i > 0)
                md_free(out[--i]);
            md_free((void *)out);
            return NULL;
        }
    }
    return out;
}

static bool take_text(void *user, const char *text, size_t n)
{
    md_request *r = user;
    md_buf_append(&r->text, text, n);
    return true;
}

static md_status make_answer(md_request *r, const md_request_args *a, md_error *err)
{
    md_scheduler *s = r->owner;
    md_sampler_args usual;
    md_sampler_args_default(&usual);
    MD_TRY(md_sampler_new_in(a->sampler ? a->sampler : &usual, s->n_vocab, s->work, &r->sampler, err));
    MD_FAIL_IF((a->grammar || a->n_stop > 0) && !s->tokenizer, MD_ERR_UNSUPPORTED, "the model gives no text: %s",
               md_model_tokenizer_error(s->session->model));
    if (a->grammar)
        MD_TRY(md_constraint_new(a->grammar, s->tokenizer, s->n_vocab, &r->constraint, err));
    r->stop = copy_texts(a->stop, a->n_stop);
    if (!r->stop)
        return md_fail_memory(err, "a request");
    r->n_stop = a->n_stop;
    for (int32_t i = 0; i < r->n_prompt; i++)
        md_sampler_accept(r->sampler, r->token[i]);
    return md_answer_init(&r->answer,
                          &(md_answer_args){.tokenizer = s->tokenizer,
                                            .sampler = r->sampler,
                                            .constraint = r->constraint,
                                            .stop = (const char *const *)r->stop,
                                            .n_stop = r->n_stop,
                                            .max_tokens = a->max_tokens < 0 ? SIZE_MAX : (size_t)a->max_tokens,
                                            .special = a->special,
                                            .ignore_eog = a->ignore_eog,
                                            .hash = a->hash,
                                            .on_text = s->tokenizer ? take_text : NULL,
                                            .user = r},
                          s->n_vocab, err);
}

static md_status make_vector(md_request *r, const md_request_args *a, md_error *err)
{
    const md_model *m = r->owner->session->model;
    md_pooled *p = &r->pooled;
    MD_TRY(md_pooled_set(p, m, a->pooling, a->power, err));
    p->raw = a->raw;
    p->width = m->spec.n_embd;
    p->n = a->n_prompt;
    r->n_vectors = p->pooling == MD_POOLING_NONE ? r->n_prompt : 1;
    p->sum = md_calloc((size_t)p->width, sizeof *p->sum);
    r->vector = p->out = md_calloc((size_t)r->n_vectors * (size_t)p->width, sizeof *r->vector);
    return p->sum && r->vector ? MD_OK : md_fail_memory(err, "a vector");
}

static md_status fill(md_request *r, const md_request_args *a, md_error *err)
{
    const md_scheduler *s = r->owner;
    const int32_t session = s->session->args.n_context;
    const int64_t context = a->n_context > 0 && a->n_context < session ? a->n_context : session;
    /* the last token needs no position of its own */
    const int64_t wanted = (int64_t)a->n_prompt + (a->max_tokens < 0 ? context : a->max_tokens);
    r->cap = (int32_t)(a->embed ? (int64_t)a->n_prompt : wanted < context + 1 ? wanted : context + 1);
    r->token = md_calloc((size_t)r->cap, sizeof *r->token);
    r->client = md_client_get(r->owner, a->client ? a->client : "");
    if (!r->token || !r->client)
        return md_fail_memory(err, "a request");
    memcpy(r->token, a->prompt, a->n_prompt * sizeof *r->token);
    r->n_known = r->n_prompt = (int32_t)a->n_prompt;
    return a->embed ? make_vector(r, a, err) : make_answer(r, a, err);
}

md_status md_request_new(md_scheduler *s, const md_request_args *args, md_request **out, md_error *err)
{
    if (out)
        *out = NULL;
    MD_TRY(check(s, args, err));
    md_request *r = md_calloc(1, sizeof *r);
    if (!r)
        return md_fail_memory(err, "a request");
    *r = (md_request){.owner = s,
                      .number = s->arrivals,
                      .priority = args->priority,
                      .n_candidates = args->n_candidates < s->n_vocab ? args->n_candidates : s->n_vocab,
                      .draft_worth = 1.0,
                      .embed = args->embed,
                      .arrived = md_sys_seconds(),
                      .on_event = args->on_event,
                      .user = args->user};
    const md_status status = fill(r, args, err);
    if (status != MD_OK) {
        md_request_free(r);
        return status;
    }
    s->arrivals++;
    s->counts.requests++;
    md_list_add(&s->waiting, r);
    if (out)
        *out = r;
    return MD_OK;
}

void md_request_cancel(md_request *r)
{
    r->cancelled = true;
}

/* ---- ending ---- */

void md_request_free(md_request *r)
{
    md_request_release(r);
    if (r->client)
        md_client_put(r->owner, r->client);
    md_answer_done(&r->answer);
    md_constraint_free(r->constraint);
    md_sampler_free(r->sampler);
    for (size_t i = 0; i < r->n_stop; i++)
        md_free(r->stop[i]);
    md_free((void *)r->stop);
    md_buf_done(&r->text);
    md_free(r->token);
    md_free(r->pooled.sum);
    md_free(r->vector);
    md_free(r);
}

void md_request_release(md_request *r)
{
    if (r->owner->walker == r)
        r->owner->walker = NULL;
    md_seq_free(r->seq); /* leaves its walk */
    md_seq_free(r->before);
    md_seq_free(r->draft_seq);
    r->seq = r->before = r->draft_seq = NULL;
}

const char *md_request_scope(const md_request *r)
{
    return r->owner->args.share_prefixes ? "" : r->client->name;
}

static void leave(md_request *r)
{
    md_list_remove(r->running ? &r->owner->running : &r->owner->waiting, r);
}

void md_request_emit(md_request *r, md_request_event *e)
{
    e->text = r->text.len > 0 ? r->text.data : "";
    e->n_text = r->text.len;
    r->on_event(r->user, r, e);
    md_buf_reset(&r->text);
}

void md_request_end(md_request *r)
{
    const double now = md_sys_seconds();
    const md_finish finish = r->cancelled ? MD_FINISH_CANCELLED : r->embed ? MD_FINISH_LENGTH : r->answer.finish;
    const md_request_result result = {
        .finish = finish,
        .n_prompt = r->n_prompt,
        .n_cached = r->n_cached,
        .n_generated = r->n_known - r->n_prompt,
        .n_drafted = r->n_drafted,
        .n_accepted = r->n_accepted,
        .wait_seconds = (r->began > 0.0 ? r->began : now) - r->arrived,
        .prompt_seconds = r->began > 0.0 ? (r->answered > 0.0 ? r->answered : now) - r->began : 0.0,
        .generate_seconds = r->answered > 0.0 ? now - r->answered : 0.0,
        .logits_hash = r->embed || !r->answer.args.hash ? 0 : r->answer.hash,
    };
    leave(r);
    r->owner->counts.ended++;
    r->owner->counts.cancelled += r->cancelled;
    md_request_release(r);
    md_request_emit(r, &(md_request_event){.point = MD_REQUEST_END,
                                           .vector = r->cancelled ? NULL : r->vector,
                                           .n_vectors = r->cancelled ? 0 : r->n_vectors,
                                           .result = &result});
    md_request_free(r);
}

void md_request_fail(md_request *r, const md_error *err)
{
    leave(r);
    r->owner->counts.failed++;
    md_request_release(r);
    md_request_emit(r, &(md_request_event){.point = MD_REQUEST_FAILED, .error = err});
    md_request_free(r);
}

void md_request_preempt(md_request *r)
{
    md_scheduler *s = r->owner;
    md_request_release(r);
    md_list_remove(&s->running, r);
    r->running = false;
    r->preempted = true;
    r->n_feed = r->n_draft = r->n_guess = 0;
    md_list_add(&s->waiting, r);
    s->counts.preempted++;
}
