/* SPDX-License-Identifier: Apache-2.0
 *
 * The sampler: docs/sampling.md is its definition. Everything is computed in double with IEEE operations and the engine's
 * own exp and log, in an order that is part of the definition, so a choice is the same on every machine. Refuses
 * logits that hold a NaN or an infinity above; minus infinity forbids a token. One thread at a time.
 * Papers: Holtzman et al. 2020 (nucleus), Nguyen et al. 2024 (min-p), Meister et al. 2022 (locally typical), Keskar et
 * al. 2019 (repetition penalty). */
#include "run/sample.h"

#include "base/mathd.h"
#include "base/mem.h"
#include "base/rng.h"
#include "base/status.h"
#include "run/candidates.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#define MAX_PENALTY_LAST 4096

struct md_sampler {
    md_sampler_args args; /* args.bias: owned here */
    int32_t n_vocab;
    double log_min_p;
    double *logit;           /* [n_vocab] after bias and penalties; -INFINITY: forbidden */
    double *weight;          /* [n_vocab] unnormalised probabilities of the candidates */
    md_candidate *candidate; /* [n_vocab] */

    /* What the penalties look at, all NULL while they are off: the last tokens in a ring, and for each token how often it
     * is in there and which slot holds its latest occurrence, so that each is penalised once. */
    int32_t *ring;    /* [penalty_last] */
    uint16_t *count;  /* [n_vocab] */
    uint16_t *latest; /* [n_vocab], valid where count > 0 */
    int32_t n_ring, next_slot;
};

/* The candidates of one choice. */
typedef struct choice {
    const md_sampler *s;
    md_candidates c;
    double best; /* the largest logit, what weights are relative to */
    bool cut;    /* some filter has dropped candidates: sums go by rank; until then by id */
} choice;

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

static bool take_memory(md_sampler *s, const md_sampler_args *args)
{
    const size_t n = (size_t)s->n_vocab;
    s->logit = md_calloc(n, sizeof *s->logit);
    s->weight = md_calloc(n, sizeof *s->weight);
    s->candidate = md_calloc(n, sizeof *s->candidate);
    if (!s->logit || !s->weight || !s->candidate)
        return false;
    if (penalties_on(args)) {
        s->ring = md_calloc((size_t)args->penalty_last, sizeof *s->ring);
        s->count = md_calloc(n, sizeof *s->count);
        s->latest = md_calloc(n, sizeof *s->latest);
        if (!s->ring || !s->count || !s->latest)
            return false;
    }
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
    *out = NULL;
    MD_TRY(check_args(args, n_vocab, err));
    md_sampler *s = md_calloc(1, sizeof *s);
    if (!s)
        return md_fail_memory(err, "a sampler");
    s->args = *args;
    s->args.bias = NULL;
    s->args.n_bias = 0;
    s->n_vocab = n_vocab;
    s->log_min_p = md_log_d((double)args->min_p);
    if (!take_memory(s, args)) {
        md_sampler_free(s);
        return md_fail_memory(err, "a sampler");
    }
    *out = s;
    return MD_OK;
}

void md_sampler_free(md_sampler *s)
{
    if (!s)
        return;
    md_free((void *)(uintptr_t)s->args.bias);
    md_free(s->logit);
    md_free(s->weight);
    md_free(s->candidate);
    md_free(s->ring);
    md_free(s->count);
    md_free(s->latest);
    md_free(s);
}

int32_t md_sampler_n_vocab(const md_sampler *s)
{
    return s->n_vocab;
}

void md_sampler_accept(md_sampler *s, int32_t token)
{
    if (!s->ring || token < 0 || token >= s->n_vocab)
        return;
    if (s->n_ring == s->args.penalty_last)
        s->count[s->ring[s->next_slot]]--;
    else
        s->n_ring++;
    s->ring[s->next_slot] = token;
    s->count[token]++;
    s->latest[token] = (uint16_t)s->next_slot;
    s->next_slot = s->next_slot + 1 == s->args.penalty_last ? 0 : s->next_slot + 1;
}

void md_sampler_reset(md_sampler *s)
{
    for (int32_t i = 0; i < s->n_ring; i++)
        s->count[s->ring[i]] = 0;
    s->n_ring = s->next_slot = 0;
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
static md_status take_logits(md_sampler *s, const float *logits, int32_t pos, int32_t *best, md_error *err)
{
    bool sound = true, any = false;
    for (int32_t i = 0; i < s->n_vocab; i++) {
        sound &= logits[i] < INFINITY;
        any |= logits[i] > -INFINITY;
        s->logit[i] = (double)logits[i];
    }
    if (!sound || !any)
        return refuse_logits(s, logits, pos, err);
    for (size_t i = 0; i < s->args.n_bias; i++)
        s->logit[s->args.bias[i].token] += (double)s->args.bias[i].bias;
    penalise(s);
    int32_t b = 0;
    for (int32_t i = 1; i < s->n_vocab; i++)
        if (s->logit[i] > s->logit[b])
            b = i;
    MD_FAIL_IF(s->logit[b] == -INFINITY, MD_ERR_ARGUMENT,
               "the logit bias forbids every token that the model allows after position %d", pos);
    *best = b;
    return MD_OK;
}

/* ---- filters ---- */

static void weigh(const choice *ch, double temperature)
{
    const md_sampler *s = ch->s;
    for (size_t i = 0; i < ch->c.n; i++) {
        const int32_t id = ch->c.at[i].id;
        s->weight[id] = md_exp_d((s->logit[id] - ch->best) / temperature);
    }
}

/* Sum of the weights: by rank once something was cut, by id before that. */
static double total_weight(choice *ch)
{
    const md_sampler *s = ch->s;
    double sum = 0.0;
    if (ch->cut) {
        for (size_t r = 0; r < ch->c.n; r++)
            sum += s->weight[md_candidates_rank(&ch->c, r)->id];
        return sum;
    }
    for (int32_t id = 0; id < s->n_vocab; id++)
        if (s->logit[id] > -INFINITY)
            sum += s->weight[id];
    return sum;
}

/* Before anything is ranked: drops candidates so light that all of them together are less than half of what a walk down
 * the ranks to `share` of the total leaves over. The walk never gets to them, so this changes no result; it spares
 * ranking them. Half leaves rounding a margin that it cannot use up. */
static void skip_light(choice *ch, double share, double total)
{
    if (ch->cut)
        return;
    const double floor = 0.5 * (1.0 - share) * total / (double)ch->c.n;
    size_t n = 0;
    for (size_t i = 0; i < ch->c.n; i++)
        if (ch->s->weight[ch->c.at[i].id] >= floor)
            ch->c.at[n++] = ch->c.at[i];
    ch->c.n = n;
    md_candidates_start(&ch->c);
}

/* How many ranks it takes until their weights sum to at least `enough`; all if they do not. */
static size_t ranks_until(choice *ch, double enough)
{
    double sum = 0.0;
    for (size_t r = 0; r < ch->c.n; r++) {
        sum += ch->s->weight[md_candidates_rank(&ch->c, r)->id];
        if (sum >= enough)
            return r + 1;
    }
    return ch->c.n;
}

static void filter_top_k(choice *ch)
{
    const int32_t k = ch->s->args.top_k;
    if (k == 0 || (size_t)k >= ch->c.n)
        return;
    md_candidates_keep_best(&ch->c, (size_t)k);
    ch->cut = true;
}

/* Keeps the tokens whose surprise is nearest to the expected one, up to a share of the probability. */
static void filter_typical(choice *ch)
{
    const md_sampler *s = ch->s;
    const double share = (double)s->args.typical_p;
    if (share >= 1.0)
        return;
    weigh(ch, 1.0);
    const double total = total_weight(ch);
    double mean = 0.0; /* of the log weight */
    for (size_t i = 0; i < ch->c.n; i++) {
        const int32_t id = ch->cut ? md_candidates_rank(&ch->c, i)->id : ch->c.at[i].id;
        mean += s->weight[id] * (s->logit[id] - ch->best);
    }
    mean /= total;
    /* Surprise is log total - log weight and its expectation log total - mean: log total drops out of the distance. */
    for (size_t i = 0; i < ch->c.n; i++)
        ch->c.at[i].key = -fabs(mean - (s->logit[ch->c.at[i].id] - ch->best));
    md_candidates_start(&ch->c);
    md_candidates_keep_ranks(&ch->c, ranks_until(ch, share * total));
    for (size_t i = 0; i < ch->c.n; i++)
        ch->c.at[i].key = s->logit[ch->c.at[i].id];
    md_candidates_start(&ch->c);
    ch->cut = true;
}

static void filter_top_p(choice *ch)
{
    const double share = (double)ch->s->args.top_p;
    if (share >= 1.0)
        return;
    weigh(ch, 1.0);
    const double total = total_weight(ch);
    skip_light(ch, share, total);
    md_candidates_keep_ranks(&ch->c, ranks_until(ch, share * total));
    ch->cut = true;
}

/* Compares logits with the log of the share: the same set as comparing probabilities, without an exp. */
static void filter_min_p(choice *ch)
{
    const md_sampler *s = ch->s;
    if (s->args.min_p == 0.0f)
        return;
    if (ch->cut)
        ch->best = md_candidates_rank(&ch->c, 0)->key;
    size_t n = 0;
    for (size_t i = 0; i < ch->c.n; i++)
        if (ch->c.at[i].key - ch->best >= s->log_min_p)
            ch->c.at[n++] = ch->c.at[i];
    ch->c.n = n;
    md_candidates_start(&ch->c);
    ch->cut = true;
}

static int32_t draw(choice *ch, double uniform)
{
    if (ch->cut)
        ch->best = md_candidates_rank(&ch->c, 0)->key;
    weigh(ch, (double)ch->s->args.temperature);
    const double total = total_weight(ch);
    skip_light(ch, uniform, total);
    const double target = uniform * total;
    double sum = 0.0;
    size_t r = 0;
    for (; r + 1 < ch->c.n; r++) {
        sum += ch->s->weight[md_candidates_rank(&ch->c, r)->id];
        if (sum > target)
            break;
    }
    return md_candidates_rank(&ch->c, r)->id;
}

md_status md_sample(md_sampler *s, const float *logits, int32_t pos, int32_t *out, md_error *err)
{
    *out = -1;
    MD_FAIL_IF(pos < 0, MD_ERR_ARGUMENT, "position %d is not one: positions count from 0", pos);
    int32_t best = 0;
    MD_TRY(take_logits(s, logits, pos, &best, err));
    if (s->args.temperature == 0.0f) {
        *out = best;
        return MD_OK;
    }
    choice ch = {.s = s, .c = {.at = s->candidate}, .best = s->logit[best]};
    for (int32_t i = 0; i < s->n_vocab; i++)
        if (s->logit[i] > -INFINITY)
            s->candidate[ch.c.n++] = (md_candidate){.key = s->logit[i], .id = i};
    filter_top_k(&ch);
    filter_typical(&ch);
    filter_top_p(&ch);
    filter_min_p(&ch);
    *out = draw(&ch, (double)md_rand_uniform(s->args.seed, s->args.choice, (uint64_t)pos));
    return MD_OK;
}
