/* SPDX-License-Identifier: Apache-2.0
 *
 * The filters of docs/sampling.md, in its order, and the choice among what they leave. Nothing is ranked further than
 * somebody looks. Papers: Holtzman et al. 2020 (nucleus), Nguyen et al. 2024 (min-p), Meister et al. 2022 (locally
 * typical), Tang et al. 2024 (top-n-sigma); XTC is p-e-w's, 2024. */
#include "run/sample_inner.h"

#include "base/mathd.h"

#include <math.h>

void md_choice_weigh(const md_choice *ch, double temperature)
{
    const md_sampler *s = ch->s;
    for (size_t i = 0; i < ch->c.n; i++) {
        const int32_t id = ch->c.at[i].id;
        s->weight[id] = md_exp_d((s->logit[id] - ch->best) / temperature);
    }
}

/* Sum of the weights: by rank once something was cut, by id before that. */
double md_choice_total(md_choice *ch)
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
static void skip_light(md_choice *ch, double share, double total)
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
static size_t ranks_until(md_choice *ch, double enough)
{
    double sum = 0.0;
    for (size_t r = 0; r < ch->c.n; r++) {
        sum += ch->s->weight[md_candidates_rank(&ch->c, r)->id];
        if (sum >= enough)
            return r + 1;
    }
    return ch->c.n;
}

static void filter_top_k(md_choice *ch)
{
    const int32_t k = ch->s->args.top_k;
    if (k == 0 || (size_t)k >= ch->c.n)
        return;
    md_candidates_keep_best(&ch->c, (size_t)k);
    ch->cut = true;
}

/* Keeps the tokens whose surprise is nearest to the expected one, up to a share of the probability. */
static void filter_typical(md_choice *ch)
{
    const md_sampler *s = ch->s;
    const double share = (double)s->args.typical_p;
    if (share >= 1.0)
        return;
    md_choice_weigh(ch, 1.0);
    const double total = md_choice_total(ch);
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

static void filter_top_p(md_choice *ch)
{
    const double share = (double)ch->s->args.top_p;
    if (share >= 1.0)
        return;
    md_choice_weigh(ch, 1.0);
    const double total = md_choice_total(ch);
    skip_light(ch, share, total);
    md_candidates_keep_ranks(&ch->c, ranks_until(ch, share * total));
    ch->cut = true;
}

/* Compares logits with the log of the share: the same set as comparing probabilities, without an exp. */
static void filter_min_p(md_choice *ch)
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

static void filter_top_n_sigma(md_choice *ch)
{
    const md_sampler *s = ch->s;
    if (s->args.top_n_sigma == 0.0f)
        return;
    double sum = 0.0, squares = 0.0;
    for (size_t i = 0; i < ch->c.n; i++) /* still by id */
        sum += ch->c.at[i].key;
    const double mean = sum / (double)ch->c.n;
    for (size_t i = 0; i < ch->c.n; i++)
        squares += (ch->c.at[i].key - mean) * (ch->c.at[i].key - mean);
    const double least = ch->best - (double)s->args.top_n_sigma * sqrt(squares / (double)ch->c.n);
    size_t n = 0;
    for (size_t i = 0; i < ch->c.n; i++)
        if (ch->c.at[i].key >= least)
            ch->c.at[n++] = ch->c.at[i];
    ch->c.n = n;
    md_candidates_start(&ch->c);
    ch->cut = true;
}

/* Leaves out the likeliest, but never the last of those that are likely enough. */
static void filter_xtc(md_choice *ch)
{
    const md_sampler *s = ch->s;
    if (!(ch->chance < (double)s->args.xtc_probability))
        return;
    if (ch->cut)
        ch->best = md_candidates_rank(&ch->c, 0)->key;
    md_choice_weigh(ch, 1.0);
    const double enough = (double)s->args.xtc_threshold * md_choice_total(ch);
    md_candidates_start(&ch->c);
    size_t likely = 0;
    while (likely < ch->c.n && s->weight[md_candidates_rank(&ch->c, likely)->id] >= enough)
        likely++;
    if (likely < 2)
        return;
    ch->c.n -= likely - 1; /* the ranked ones lie at the end, best last */
    md_candidates_start(&ch->c);
    ch->cut = true;
}

int32_t md_choice_pick(md_choice *ch, double total)
{
    skip_light(ch, ch->uniform, total);
    const double target = ch->uniform * total;
    double sum = 0.0;
    size_t r = 0;
    for (; r + 1 < ch->c.n; r++) {
        sum += ch->s->weight[md_candidates_rank(&ch->c, r)->id];
        if (sum > target)
            break;
    }
    return md_candidates_rank(&ch->c, r)->id;
}

int32_t md_choice_filter_and_draw(md_choice *ch)
{
    filter_top_n_sigma(ch);
    filter_top_k(ch);
    filter_typical(ch);
    filter_top_p(ch);
    filter_min_p(ch);
    filter_xtc(ch);
    if (ch->cut)
        ch->best = md_candidates_rank(&ch->c, 0)->key;
    md_choice_weigh(ch, (double)ch->s->args.temperature);
    return md_choice_pick(ch, md_choice_total(ch));
}
