/* SPDX-License-Identifier: Apache-2.0
 *
 * The sampler: docs/sampling.md is its definition. Everything is computed in double with IEEE operations and the engine's
 * own exp and log, in an order that is part of the definition, so a choice is the same on every machine. Refuses
 * logits that hold a NaN or an infinity above; minus infinity forbids a token. One thread at a time.
 * Here: arguments, memory, logits; filters in sample_filter.c. Keskar et al. 2019 (repetition penalty). */
#include "run/sample_inner.h"

#include "base/mathd.h"
#include "base/mem.h"
#include "base/rng.h"
#include "base/status.h"

#include <math.h>
#include <string.h>

#define MAX_PENALTY_LAST 4096
#define XTC_STREAM       (UINT64_C(1) << 32) /* random numbers apart from those of every choice */

void md_sampler_args_default(md_sampler_args *a)
{
    *a = (md_sampler_args){
        .temperature = 0.8f,
        .top_k = 40,
        .top_p = 0.95f,
        .min_p = 0.05f,
        .typical_p = 1.0f,
        .repetition_penalty = 1.0f,
        .penalty_last = 64,
        .dry_base = 1.75f,
        .dry_allowed_length = 2,
        .dry_penalty_last = 4096,
        .xtc_threshold = 0.1f,
        .mirostat_tau = 5.0f,
        .mirostat_eta = 0.1f,
    };
}

static md_status check_penalties(const md_sampler_args *a, md_error *err)
{
    MD_FAIL_IF(!(a->repetition_penalty > 0.0f && a->repetition_penalty < INFINITY), MD_ERR_ARGUMENT,
               "the repetition penalty is %g; give a number above 0 (1: off)", (double)a->repetition_penalty);
    MD_FAIL_IF(!isfinite(a->presence_penalty), MD_ERR_ARGUMENT, "the presence penalty is %g; give a finite number",
               (double)a->presence_penalty);
    MD_FAIL_IF(!isfinite(a->frequency_penalty), MD_ERR_ARGUMENT, "the frequency penalty is %g; give a finite number",
               (double)a->frequency_penalty);
    MD_FAIL_IF(a->penalty_last < 0 || a->penalty_last > MAX_PENALTY_LAST, MD_ERR_ARGUMENT,
               "the penalties are to look at %d tokens; give 0 to %d", a->penalty_last, MAX_PENALTY_LAST);
    return MD_OK;
}

static md_status check_later_filters(const md_sampler_args *a, md_error *err)
{
    MD_FAIL_IF(!(a->top_n_sigma >= 0.0f && a->top_n_sigma < INFINITY), MD_ERR_ARGUMENT,
               "top-n-sigma is %g; give a number of standard deviations from 0 (off) up", (double)a->top_n_sigma);
    MD_FAIL_IF(!(a->xtc_probability >= 0.0f && a->xtc_probability <= 1.0f), MD_ERR_ARGUMENT,
               "the probability of XTC is %g; give a number from 0 (off) to 1", (double)a->xtc_probability);
    MD_FAIL_IF(a->xtc_probability > 0.0f && !(a->xtc_threshold > 0.0f && a->xtc_threshold <= 1.0f), MD_ERR_ARGUMENT,
               "the threshold of XTC is %g; give a probability above 0 and at most 1", (double)a->xtc_threshold);
    MD_FAIL_IF(a->mirostat < 0 || a->mirostat > 2, MD_ERR_ARGUMENT, "mirostat is %d; give 0 (off), 1 or 2",
               a->mirostat);
    MD_FAIL_IF(a->mirostat && !(a->mirostat_tau >= 0.0f && a->mirostat_tau < 1000.0f), MD_ERR_ARGUMENT,
               "mirostat is to hold a surprise of %g bits; give a number from 0 to below 1000",
               (double)a->mirostat_tau);
    MD_FAIL_IF(a->mirostat && !(a->mirostat_eta >= 0.0f && a->mirostat_eta < INFINITY), MD_ERR_ARGUMENT,
               "mirostat's learning rate is %g; give a number from 0 up", (double)a->mirostat_eta);
    return MD_OK;
}

static md_status check_args(const md_sampler_args *a, int32_t n_vocab, md_error *err)
{
    MD_FAIL_IF(n_vocab < 1, MD_ERR_ARGUMENT, "a sampler needs a vocabulary of at least 1 token, not %d", n_vocab);
    MD_FAIL_IF(!(a->temperature >= 0.0f && a->temperature < INFINITY), MD_ERR_ARGUMENT,
               "the temperature is %g; give a number from 0 (greedy) up", (double)a->temperature);
    MD_FAIL_IF(a->top_k < 0, MD_ERR_ARGUMENT, "top-k is %d; give 0 (all tokens) or more", a->top_k);
    MD_FAIL_IF(!(a->top_p > 0.0f && a->top_p <= 1.0f), MD_ERR_ARGUMENT,
               "top-p is %g; give a share above 0 and at most 1 (1: all tokens)", (double)a->top_p);
    MD_FAIL_IF(!(a->min_p >= 0.0f && a->min_p < 1.0f), MD_ERR_ARGUMENT,
               "min-p is %g; give a share from 0 (all tokens) to below 1", (double)a->min_p);
    MD_FAIL_IF(!(a->typical_p > 0.0f && a->typical_p <= 1.0f), MD_ERR_ARGUMENT,
               "typical-p is %g; give a share above 0 and at most 1 (1: off)", (double)a->typical_p);
    MD_TRY(check_penalties(a, err));
    MD_TRY(md_dry_check(a, err));
    MD_TRY(check_later_filters(a, err));
    MD_FAIL_IF(a->n_bias > 0 && !a->bias, MD_ERR_ARGUMENT, "%zu logit biases were announced and none given", a->n_bias);
    for (size_t i = 0; i < a->n_bias; i++) {
        const md_logit_bias *b = &a->bias[i];
        MD_FAIL_IF(b->token < 0 || b->token >= n_vocab, MD_ERR_ARGUMENT,
                   "logit bias for token %d, but the vocabulary has tokens 0 to %d", b->token, n_vocab - 1);
        MD_FAIL_IF(!(b->bias < INFINITY), MD_ERR_ARGUMENT,
                   "the logit bias of token %d is %g; give a finite number, or -inf to forbid the token", b->token,
                   (double)b->bias);
    }
    return MD_OK;
}

static bool penalties_on(const md_sampler_args *a)
{
    return a->penalty_last > 0 &&
           (a->repetition_penalty != 1.0f || a->presence_penalty != 0.0f || a->frequency_penalty != 0.0f);
}

md_sampler_work *md_sampler_work_new(int32_t n_vocab)
{
    const size_t n = (size_t)n_vocab;
    md_sampler_work *w = md_calloc(1, sizeof *w);
    if (w)
        *w = (md_sampler_work){.logit = md_calloc(n, sizeof *w->logit),
                               .weight = md_calloc(n, sizeof *w->weight),
                               .candidate = md_calloc(n, sizeof *w->candidate)};
    if (w && w->logit && w->weight && w->candidate)
        return w;
    md_sampler_work_free(w);
    return NULL;
}

void md_sampler_work_free(md_sampler_work *w)
{
    if (!w)
        return;
    md_free(w->logit);
    md_free(w->weight);
    md_free(w->candidate);
    md_free(w);
}

static bool take_memory(md_sampler *s, const md_sampler_args *args, const md_sampler_work *work)
{
    const size_t n = (size_t)s->n_vocab;
    if (!work)
        work = s->own = md_sampler_work_new(s->n_vocab);
    if (!work)
        return false;
    s->logit = work->logit;
    s->weight = work->weight;
    s->candidate = work->candidate;
    if (penalties_on(args)) {
        s->ring = md_calloc((size_t)args->penalty_last, sizeof *s->ring);
        s->count = md_calloc(n, sizeof *s->count);
        s->latest = md_calloc(n, sizeof *s->latest);
        if (!s->ring || !s->count || !s->latest)
            return false;
    }
    if (md_dry_on(args) && !md_dry_init(s, args))
        return false;
    if (args->n_bias > 0) {
        md_logit_bias *bias = md_calloc(args->n_bias, sizeof *bias);
        if (!bias)
            return false;
        memcpy(bias, args->bias, args->n_bias * sizeof *bias);
        s->args.bias = bias;
        s->args.n_bias = args->n_bias;
    }
    return true;
}

md_status md_sampler_new(const md_sampler_args *args, int32_t n_vocab, md_sampler **out, md_error *err)
{
    return md_sampler_new_in(args, n_vocab, NULL, out, err);
}

md_status md_sampler_new_in(const md_sampler_args *args, int32_t n_vocab, md_sampler_work *work, md_sampler **out,
                            md_error *err)
{
    *out = NULL;
    MD_TRY(check_args(args, n_vocab, err));
    md_sampler *s = md_calloc(1, sizeof *s);
    if (!s)
        return md_fail_memory(err, "a sampler");
    s->args = *args;
    s->args.bias = NULL;
    s->args.n_bias = 0;
    s->args.dry_breaker = NULL;
    s->args.tokenizer = NULL;
    s->n_vocab = n_vocab;
    s->log_min_p = md_log_d((double)args->min_p);
    if (!take_memory(s, args, work)) {
        md_sampler_free(s);
        return md_fail_memory(err, "a sampler");
    }
    md_sampler_reset(s);
    *out = s;
    return MD_OK;
}

void md_sampler_free(md_sampler *s)
{
    if (!s)
        return;
    md_free((void *)(uintptr_t)s->args.bias);
    md_sampler_work_free(s->own);
    md_free(s->ring);
    md_free(s->count);
    md_free(s->latest);
    md_dry_done(&s->dry);
    md_free(s);
}

int32_t md_sampler_n_vocab(const md_sampler *s)
{
    return s->n_vocab;
}

static void remember(md_sampler *s, int32_t token)
{
    if (s->n_ring == s->args.penalty_last)
        s->count[s->ring[s->next_slot]]--;
    else
        s->n_ring++;
    s->ring[s->next_slot] = token;
    s->count[token]++;
    s->latest[token] = (uint16_t)s->next_slot;
    s->next_slot = s->next_slot + 1 == s->args.penalty_last ? 0 : s->next_slot + 1;
}

void md_sampler_accept(md_sampler *s, int32_t token)
{
    if (token < 0 || token >= s->n_vocab)
        return;
    if (token == s->sampled)
        s->mu -= (double)s->args.mirostat_eta * (s->surprise - (double)s->args.mirostat_tau);
    s->sampled = -1;
    if (s->ring)
        remember(s, token);
    if (s->dry.past)
        md_dry_accept(&s->dry, token);
}

void md_sampler_reset(md_sampler *s)
{
    for (int32_t i = 0; i < s->n_ring; i++)
        s->count[s->ring[i]] = 0;
    s->n_ring = s->next_slot = 0;
    s->mu = 2.0 * (double)s->args.mirostat_tau;
    s->sampled = -1;
    if (s->dry.past)
        md_dry_reset(&s->dry);
}

/* ---- logits ---- */

static void penalise(md_sampler *s)
{
    const md_sampler_args *a = &s->args;
    for (int32_t slot = 0; slot < s->n_ring; slot++) {
        const int32_t token = s->ring[slot];
        if (s->latest[token] != slot)
            continue;
        double l = s->logit[token];
        /* Towards less likely on either side of zero. */
        l = l > 0.0 ? l / (double)a->repetition_penalty : l * (double)a->repetition_penalty;
        l -= (double)s->count[token] * (double)a->frequency_penalty;
        s->logit[token] = l - (double)a->presence_penalty;
    }
}

static md_status refuse_logits(const md_sampler *s, const float *logits, int32_t pos, md_error *err)
{
    for (int32_t i = 0; i < s->n_vocab; i++)
        MD_FAIL_IF(!(logits[i] < INFINITY), MD_ERR_FORMAT,
                   "the logits after position %d hold %s for token %d: the model's weights are broken or overflow", pos,
                   isnan(logits[i]) ? "a NaN" : "an infinity", i);
    return md_fail(err, MD_ERR_FORMAT, "the logits after position %d hold no finite value", pos);
}

/* Fills s->logit and finds the likeliest token, the lowest id among equals. */
static md_status take_logits(md_sampler *s, const float *logits, const uint32_t *mask, int32_t pos, int32_t *best,
                             md_error *err)
{
    bool sound = true, any = false;
    for (int32_t i = 0; i < s->n_vocab; i++) {
        sound &= logits[i] < INFINITY;
        any |= logits[i] > -INFINITY;
        s->logit[i] = (double)logits[i];
    }
    if (!sound || !any)
        return refuse_logits(s, logits, pos, err);
    for (int32_t i = 0; mask && i < s->n_vocab; i++)
        if (!(mask[i >> 5] >> (i & 31) & 1))
            s->logit[i] = -INFINITY;
    for (size_t i = 0; i < s->args.n_bias; i++)
        s->logit[s->args.bias[i].token] += (double)s->args.bias[i].bias;
    penalise(s);
    if (s->dry.past)
        md_dry_penalise(s);
    int32_t b = 0;
    for (int32_t i = 1; i < s->n_vocab; i++)
        if (s->logit[i] > s->logit[b])
            b = i;
    MD_FAIL_IF(s->logit[b] == -INFINITY, MD_ERR_ARGUMENT,
               "the logit bias forbids every token that the model%s allows after position %d",
               mask ? " or the grammar" : "", pos);
    *best = b;
    return MD_OK;
}

md_status md_sample_masked(md_sampler *s, const float *logits, const uint32_t *mask, int32_t pos, int32_t *out,
                           md_error *err)
{
    *out = s->sampled = -1;
    MD_FAIL_IF(pos < 0, MD_ERR_ARGUMENT, "position %d is not one: positions count from 0", pos);
    int32_t best = 0;
    MD_TRY(take_logits(s, logits, mask, pos, &best, err));
    if (s->args.temperature == 0.0f) {
        *out = best;
        return MD_OK;
    }
    const uint64_t choice = s->args.choice;
    md_choice ch = {.s = s,
                    .c = {.at = s->candidate},
                    .best = s->logit[best],
                    .uniform = (double)md_rand_uniform(s->args.seed, choice, (uint64_t)pos),
                    .chance = (double)md_rand_uniform(s->args.seed, XTC_STREAM | choice, (uint64_t)pos)};
    for (int32_t i = 0; i < s->n_vocab; i++)
        if (s->logit[i] > -INFINITY)
            s->candidate[ch.c.n++] = (md_candidate){.key = s->logit[i], .id = i};
    if (s->args.mirostat) {
        *out = s->sampled = md_choice_mirostat(&ch, &s->surprise);
        return MD_OK;
    }
    *out = md_choice_filter_and_draw(&ch);
    return MD_OK;
}

md_status md_sample(md_sampler *s, const float *logits, int32_t pos, int32_t *out, md_error *err)
{
    return md_sample_masked(s, logits, NULL, pos, out, err);
}
