/* SPDX-License-Identifier: Apache-2.0
 *
 * What a token that is generated does about chosen experts that are not in memory, where its user gave exactness up for speed
 * (md_on_miss); after routing, before experts are asked for. Only experts of a small share of the row's gate weight are touched, never
 * its heaviest one, so one always remains; and none that is read in this step anyway, for another row. The weights that
 * remain are scaled to the sum that there was: where a router normalises them this is what it does itself with fewer picks (as in
 * expert skipping, Lu et al. 2024, "Not All Experts are Equal"), elsewhere it keeps the size of what the layer adds to the stream. An
 * expert that takes a missing one's place has the weight that the router's scores give it, as in cache-conditional routing (Skliar et
 * al. 2024, "Mixture of Cache-Conditional Experts for Efficient Mobile Device Inference"), where experts in memory are preferred
 * in the ranking and weighed as ever. The stepping thread only; allocates nothing. */
#include "model/session.h"

#include "base/mathd.h"
#include "route/best.h"

#include <math.h>
#include <string.h>

typedef struct miss_job {
    md_session *s;
    const md_ffn_spec *f;
    int32_t layer, n_ffn;
} miss_job;

static bool is_missing(const miss_job *j, int32_t e)
{
    return e >= 0 && e < j->n_ffn && !j->s->experts->present(j->s->experts, j->layer, e);
}

/* In a prompt nearly every expert is needed by some row, and what is read serves many: there all is as ever. */
static bool is_generated(const md_session *s, int32_t row)
{
    return s->s.row[row].seq->pending == 1;
}

static float sum_of(const float *weight, int32_t k)
{
    float sum = 0.0f;
    for (int32_t i = 0; i < k; i++)
        sum += fabsf(weight[i]);
    return sum;
}

/* The slot of the heaviest network, the first of equals; -1: the row has none. */
static int32_t heaviest(const miss_job *j, const int32_t *expert, const float *weight)
{
    int32_t best = -1;
    for (int32_t i = 0; i < j->f->router.top_k; i++)
        if (expert[i] >= 0 && expert[i] < j->n_ffn && (best < 0 || fabsf(weight[i]) > fabsf(weight[best])))
            best = i;
    return best;
}

/* Marks the missing experts that must be read whatever light ones do. */
static void mark_needed(const miss_job *j, int32_t row, const int32_t *expert, const float *weight)
{
    const md_session *s = j->s;
    const int32_t k = j->f->router.top_k, keep = heaviest(j, expert, weight);
    const float least = s->args.on_miss_share * sum_of(weight, k);
    const bool all = !is_generated(s, row) || !(least > 0.0f && least < INFINITY);
    for (int32_t i = 0; i < k; i++)
        if (expert[i] >= 0 && expert[i] < j->n_ffn && (all || i == keep || fabsf(weight[i]) >= least))
            s->s.needed[expert[i]] = 1;
}

/* ---- who takes the place ---- */

static float choice_of(const miss_job *j, const float *score, int32_t e)
{
    const bool biased = j->f->select_bias && j->f->router.select != MD_SELECT_LOGIT;
    return biased ? score[e] + j->f->select_bias[e] : score[e];
}

static bool holds(const int32_t *expert, int32_t k, int32_t e)
{
    for (int32_t i = 0; i < k; i++)
        if (expert[i] == e)
            return true;
    return false;
}

/* The best-scored expert in memory that the row has not; -1: there is none. */
static int32_t best_present(const miss_job *j, int32_t row, const int32_t *expert)
{
    const md_session *s = j->s;
    const float *score = s->s.router_logits + (int64_t)row * j->f->router.n_expert;
    const uint8_t *mask = s->s.row[row].seq->mask;
    if (mask)
        mask += (int64_t)j->layer * s->model->spec.max.expert;
    int32_t best = -1;
    for (int32_t e = 0; e < j->n_ffn; e++) {
        if ((mask && mask[e] != MD_EXPERT_NORMAL) || holds(expert, j->f->router.top_k, e))
            continue;
        const float choice = choice_of(j, score, e);
        if (best >= 0 && !md_better(choice, e, choice_of(j, score, best), best))
            continue;
        if (choice > -INFINITY && s->experts->present(s->experts, j->layer, e))
            best = e;
    }
    return best;
}

/* What the router's scores make of a weight when `to` takes the place of `from`. After routing, the row's logits are its scores, or,
 * where the softmax is over the picked, still logits. */
static float weight_ratio(const miss_job *j, int32_t row, int32_t from, int32_t to)
{
    const md_router *r = &j->f->router;
    const float *score = j->s->s.router_logits + (int64_t)row * r->n_expert;
    float ratio = 1.0f;
    if (r->score == MD_SCORE_SOFTMAX_PICKED)
        ratio = (float)md_exp_d((double)score[to] - (double)score[from]);
    else if (r->score != MD_SCORE_SPARSE_MIXER && score[from] > 0.0f) /* its picks' logits are gone */
        ratio = score[to] / score[from];
    if (r->expert_scale && r->expert_scale[from] != 0.0f)
        ratio *= r->expert_scale[to] / r->expert_scale[from];
    return ratio > 0.0f && ratio < INFINITY ? ratio : 1.0f;
}

/* ---- a row ---- */

static void scale_to(float *weight, int32_t k, float sum)
{
    const float now = sum_of(weight, k);
    for (int32_t i = 0; i < k && now > 0.0f; i++)
        weight[i] *= sum / now;
}

static void change_row(const miss_job *j, int32_t row, int32_t *expert, float *weight)
{
    md_session *s = j->s;
    const int32_t k = j->f->router.top_k;
    const float sum = sum_of(weight, k);
    float changed = 0.0f;
    int n = 0;
    for (int32_t i = 0; i < k; i++) {
        const int32_t e = expert[i];
        if (!is_missing(j, e) || s->s.needed[e])
            continue;
        const int32_t to = s->args.on_miss == MD_ON_MISS_REROUTE ? best_present(j, row, expert) : -1;
        if (to < 0 && s->args.on_miss == MD_ON_MISS_REROUTE) {
            s->s.needed[e] = 1;
            continue;
        }
        changed += fabsf(weight[i]);
        n++;
        weight[i] = to >= 0 ? weight[i] * weight_ratio(j, row, e, to) : 0.0f;
        expert[i] = to;
    }
    s->on_miss.rows++;
    if (n == 0)
        return;
    s->on_miss.changed += (uint64_t)n;
    s->on_miss.weight += (double)changed / (double)sum;
    scale_to(weight, k, sum);
}

void md_step_on_miss(md_session *s, int32_t layer, int32_t *expert, float *weight)
{
    const md_ffn_spec *f = &s->model->spec.layer[layer].ffn;
    const int32_t k = f->router.top_k;
    if (s->args.on_miss == MD_ON_MISS_READ)
        return;
    const miss_job j = {.s = s,
                        .f = f,
                        .layer = layer,
                        .n_ffn = f->router.n_expert - f->others.n_constant - f->others.n_copy - f->others.n_zero};
    memset(s->s.needed, 0, (size_t)f->router.n_expert);
    for (int32_t i = 0; i < s->n_rows; i++)
        mark_needed(&j, i, expert + (int64_t)i * k, weight + (int64_t)i * k);
    for (int32_t i = 0; i < s->n_rows; i++)
        if (is_generated(s, i) && heaviest(&j, expert + (int64_t)i * k, weight + (int64_t)i * k) >= 0)
            change_row(&j, i, expert + (int64_t)i * k, weight + (int64_t)i * k);
}
