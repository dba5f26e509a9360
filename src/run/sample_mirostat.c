/* SPDX-License-Identifier: Apache-2.0
 *
 * Mirostat (Basu, Ramachandran, Keskar and Varshney, "Mirostat: a neural text decoding algorithm that directly controls
 * perplexity", 2020), both versions as docs/sampling.md defines them. As in the authors' own program the surprise of a
 * token is that in the distribution before it is cut, in bits, and version 1 keeps one token more than it computes. */
#include "run/sample_inner.h"

#include "base/mathd.h"

#include <math.h>

#define LN2       0.693147180559945309417
#define MU_MAX    512.0 /* beyond any rank, and its power still a number */
#define SLOPE_MAX 1e6

/* Exponent of the power law that the likeliest tokens follow: least squares over neighbours. */
static double slope(md_choice *ch)
{
    const double t = (double)ch->s->args.temperature;
    double products = 0.0, squares = 0.0;
    for (size_t r = 0; r + 1 < ch->c.n && r + 1 < MD_MIROSTAT_RANKS; r++) {
        const double x = md_log_d((double)(r + 2) / (double)(r + 1));
        const double first = md_candidates_rank(&ch->c, r)->key, second = md_candidates_rank(&ch->c, r + 1)->key;
        products += x * ((first - second) / t);
        squares += x * x;
    }
    const double s = squares > 0.0 ? products / squares : 0.0;
    return s < SLOPE_MAX ? s : SLOPE_MAX;
}

/* How many tokens have at most mu bits of surprise under a power law over the whole vocabulary. */
static size_t rank_of_surprise(const md_choice *ch, double s)
{
    const double n = (double)ch->s->n_vocab, e = s - 1.0;
    const double power = md_exp_d((ch->s->mu < MU_MAX ? ch->s->mu : MU_MAX) * LN2);
    double k = fabs(e) < 1e-9 ? power / md_log_d(n) : e * power / (1.0 - md_exp_d(-e * md_log_d(n)));
    if (s > 1e-9)
        k = k > 0.0 ? md_exp_d(md_log_d(k) / s) : 0.0;
    else /* equal probabilities: all of them or none */
        k = k > 1.0 ? n : 0.0;
    return k < (double)ch->c.n ? (size_t)nearbyint(k) + 1 : ch->c.n;
}

/* Tokens with at most mu bits of surprise; at least the likeliest one. */
static size_t ranks_within(md_choice *ch, double total)
{
    const double least = total * md_exp_d(-ch->s->mu * LN2);
    size_t n = 0;
    while (n < ch->c.n && ch->s->weight[md_candidates_rank(&ch->c, n)->id] >= least)
        n++;
    return n > 0 ? n : 1;
}

int32_t md_choice_mirostat(md_choice *ch, double *surprise)
{
    const double t = (double)ch->s->args.temperature;
    md_candidates_start(&ch->c);
    md_choice_weigh(ch, t);
    const double total = md_choice_total(ch); /* of all: what surprise is measured by */
    const size_t keep = ch->c.n == 1                ? 1
                        : ch->s->args.mirostat == 1 ? rank_of_surprise(ch, slope(ch))
                                                    : ranks_within(ch, total);
    if (keep < ch->c.n) {
        md_candidates_keep_ranks(&ch->c, keep);
        ch->cut = true;
    }
    const int32_t id = md_choice_pick(ch, md_choice_total(ch));
    *surprise = (md_log_d(total) - (ch->s->logit[id] - ch->best) / t) / LN2;
    return id;
}
