/* SPDX-License-Identifier: Apache-2.0
 *
 * Medley's own eviction policy. Four rules could say who leaves: the longest unused; the least used in the long run; the least
 * used of late; or the one that a blend of three time constants thinks least likely to be chosen next. For every layer each
 * rule runs on a shadow, a list of the experts that it would have kept in as many slots, and the layer follows the rule whose
 * shadow lately had the most hits (set duelling: Qureshi et al. 2007; by shadow caches, as in ARC: Megiddo and Modha 2003).
 *
 * The blend: an expert's share of a layer's faded uses is a guess of how likely it is chosen next. Shares of three time constants
 * are mixed by weights that make the choices seen most likely (online EM of a mixture: Cappe and Moulines 2009). */
#include "expert/policy_inner.h"

#include "base/mem.h"
#include "base/status.h"

#include <string.h>

enum { N_TIMES = 3, MOST_PENDING = 64 };
enum { BY_RECENCY, BY_LONG_RUN, BY_LATELY, BY_BLEND, N_RULES };

#define MEMORY_SHORT  0.5f /* uses that count, for each expert of the layer */
#define MEMORY_MIDDLE 4.0f
#define SMOOTH        0.02f  /* of a share is spread over all experts: what was never seen may come */
#define LEARN_WEIGHTS 16.0f  /* uses over which the blend's weights are learned, for each expert */
#define LEARN_RULES   256.0f /* stretches of uses over which hits are averaged */
#define BETTER_BY     0.002f /* more hits, as a share, that another rule must have to be followed */

typedef struct layer_state {
    float weight[N_TIMES]; /* of the blend, sum 1 */
    float hits[N_RULES];   /* lately, as a share of what was needed */
    float stretches;       /* that were averaged, at most LEARN_RULES */
    int32_t followed;
    int32_t n_kept[N_RULES], n_pending;
    int32_t pending[MOST_PENDING]; /* uses that are not counted yet */
} layer_state;

struct md_medley {
    md_fade time[N_TIMES - 1]; /* short, middle; the third is the policy's `slow` */
    float *blend;              /* owned, [experts]: what the three times make of each */
    layer_state *layer;        /* owned, [n_layer] */
    bool *kept[N_RULES];       /* owned, [experts]: on the rule's shadow */
    uint32_t *seen, stretch;   /* owned, [experts]: the stretch that an expert was last used in */
};

static const md_fade *fade(const md_policy *p, int i)
{
    return i < N_TIMES - 1 ? &p->medley->time[i] : &p->slow;
}

/* ---- ranks ---- */

/* By which a rule ranks all experts; NULL: by their last use. */
static const float *score_of(const md_policy *p, int32_t rule)
{
    switch (rule) {
    case BY_LONG_RUN: return p->slow.count;
    case BY_LATELY: return p->medley->time[1].count;
    case BY_BLEND: return p->medley->blend;
    default: return NULL;
    }
}

static double rank(const md_policy *p, int32_t layer, size_t at)
{
    const float *score = score_of(p, p->medley->layer[layer].followed);
    return score ? (double)score[at] : (double)p->last[at];
}

/* ---- the blend learns ---- */

static void find_blend(const md_policy *p, int32_t layer)
{
    const layer_state *s = &p->medley->layer[layer];
    const float *count[N_TIMES];
    float factor[N_TIMES];
    for (int i = 0; i < N_TIMES; i++) {
        const md_fade *f = fade(p, i);
        count[i] = f->count;
        factor[i] = f->sum[layer] > 0.0f ? s->weight[i] / f->sum[layer] : 0.0f;
    }
    for (size_t at = p->first[layer]; at < p->first[layer + 1]; at++)
        p->medley->blend[at] = factor[0] * count[0][at] + factor[1] * count[1][at] + factor[2] * count[2][at];
}

/* Each time constant gets the part of the credit that its guess has in the blend's. */
static void credit(const md_policy *p, int32_t layer, size_t at)
{
    layer_state *s = &p->medley->layer[layer];
    const float n = (float)md_policy_n_expert(p, layer), rate = 1.0f / (LEARN_WEIGHTS * n);
    float part[N_TIMES], sum = 0.0f;
    for (int i = 0; i < N_TIMES; i++) {
        const md_fade *f = fade(p, i);
        const float share = f->sum[layer] > 0.0f ? f->count[at] / f->sum[layer] : 0.0f;
        part[i] = s->weight[i] * ((1.0f - SMOOTH) * share + SMOOTH / n);
        sum += part[i];
    }
    for (int i = 0; i < N_TIMES; i++)
        s->weight[i] += rate * (part[i] / sum - s->weight[i]);
}

/* ---- shadows ---- */

/* An expert that is kept and was not used in this stretch leaves. False if there is none. */
static bool make_room(md_policy *p, int32_t rule, int32_t layer)
{
    struct md_medley *m = p->medley;
    const bool *kept = m->kept[rule];
    const float *score = score_of(p, rule);
    bool found = false;
    double lowest = 0.0;
    size_t victim = 0;
    for (size_t at = p->first[layer]; at < p->first[layer + 1]; at++) {
        if (!kept[at] || m->seen[at] == m->stretch)
            continue;
        const double r = score ? (double)score[at] : (double)p->last[at];
        if (!found || r < lowest || (r == lowest && md_policy_before(p, r, at, lowest, victim))) {
            found = true;
            lowest = r;
            victim = at;
        }
    }
    if (found) {
        m->kept[rule][victim] = false;
        m->layer[layer].n_kept[rule]--;
    }
    return found;
}

/* What the stretch used is needed at once, so it is kept if only there is room; returns how much of it was kept already. */
static int32_t replay(md_policy *p, int32_t rule, int32_t layer, const size_t *used, int32_t n)
{
    layer_state *s = &p->medley->layer[layer];
    bool *kept = p->medley->kept[rule];
    int32_t hits = 0;
    for (int32_t i = 0; i < n; i++)
        hits += kept[used[i]];
    for (int32_t i = 0; i < n; i++) {
        if (kept[used[i]] || (s->n_kept[rule] >= p->room[layer] && !make_room(p, rule, layer)))
            continue;
        kept[used[i]] = true;
        s->n_kept[rule]++;
    }
    return hits;
}

static void duel(md_policy *p, int32_t layer, const size_t *used, int32_t n)
{
    layer_state *s = &p->medley->layer[layer];
    if (p->room[layer] == 0)
        return;
    s->stretches += s->stretches < LEARN_RULES ? 1.0f : 0.0f;
    int32_t best = s->followed;
    for (int32_t r = 0; r < N_RULES; r++) {
        while (s->n_kept[r] > p->room[layer] && make_room(p, r, layer)) {
        }
        const float share = (float)replay(p, r, layer, used, n) / (float)n;
        s->hits[r] += (share - s->hits[r]) / s->stretches;
    }
    for (int32_t r = 0; r < N_RULES; r++)
        best = s->hits[r] > s->hits[best] ? r : best;
    if (s->hits[best] > s->hits[s->followed] + BETTER_BY)
        s->followed = best;
}

/* ---- uses ---- */

/* Counts the uses that are pending, a stretch: experts of one row, or of several. */
static void settle(md_policy *p, int32_t layer)
{
    struct md_medley *m = p->medley;
    layer_state *s = &m->layer[layer];
    size_t used[MOST_PENDING];
    int32_t n = 0;
    if (s->n_pending == 0)
        return;
    if (++m->stretch == 0) { /* after 2^32 of them */
        memset(m->seen, 0, md_policy_n_counts(p) * sizeof *m->seen);
        m->stretch = 1;
    }
    for (int32_t i = 0; i < s->n_pending; i++)
        credit(p, layer, p->first[layer] + (size_t)s->pending[i]);
    for (int32_t i = 0; i < s->n_pending; i++) {
        const size_t at = p->first[layer] + (size_t)s->pending[i];
        md_policy_note(p, layer, s->pending[i]);
        for (int t = 0; t < N_TIMES - 1; t++)
            md_fade_use(&m->time[t], p, layer, at);
        if (m->seen[at] != m->stretch)
            used[n++] = at;
        m->seen[at] = m->stretch;
    }
    s->n_pending = 0;
    find_blend(p, layer);
    duel(p, layer, used, n);
}

static void use(md_policy *p, int32_t layer, int32_t expert)
{
    layer_state *s = &p->medley->layer[layer];
    if (s->n_pending == MOST_PENDING)
        settle(p, layer);
    s->pending[s->n_pending++] = expert;
}

static void counts_set(md_policy *p)
{
    for (int t = 0; t < N_TIMES - 1; t++)
        md_fade_copy(&p->medley->time[t], &p->slow, p);
    for (int32_t l = 0; l < p->n_layer; l++)
        find_blend(p, l);
}

/* ---- life ---- */

static md_status make(md_policy *p, md_error *err)
{
    static const float memory[N_TIMES - 1] = {MEMORY_SHORT, MEMORY_MIDDLE};
    struct md_medley *m = md_calloc(1, sizeof *m);
    if (!m)
        return md_fail_memory(err, "an eviction policy");
    p->medley = m;
    bool ok = true;
    for (int t = 0; t < N_TIMES - 1; t++)
        ok = md_fade_init(&m->time[t], p, memory[t]) && ok;
    for (int32_t r = 0; r < N_RULES; r++) {
        m->kept[r] = md_calloc(md_policy_n_counts(p), sizeof *m->kept[r]);
        ok = ok && m->kept[r];
    }
    m->layer = md_calloc((size_t)p->n_layer, sizeof *m->layer);
    m->seen = md_calloc(md_policy_n_counts(p), sizeof *m->seen);
    m->blend = md_calloc(md_policy_n_counts(p), sizeof *m->blend);
    if (!ok || !m->layer || !m->seen || !m->blend)
        return md_fail_memory(err, "an eviction policy");
    for (int32_t l = 0; l < p->n_layer; l++) {
        m->layer[l].followed = BY_BLEND;
        for (int i = 0; i < N_TIMES; i++)
            m->layer[l].weight[i] = 1.0f / (float)N_TIMES;
    }
    return MD_OK;
}

static void drop(md_policy *p)
{
    struct md_medley *m = p->medley;
    if (!m)
        return;
    for (int t = 0; t < N_TIMES - 1; t++)
        md_fade_done(&m->time[t]);
    for (int32_t r = 0; r < N_RULES; r++)
        md_free(m->kept[r]);
    md_free(m->layer);
    md_free(m->seen);
    md_free(m->blend);
    md_free(m);
}

const md_policy_kind md_policy_medley = {
    .name = "medley", .make = make, .drop = drop, .use = use, .settle = settle, .counts_set = counts_set, .rank = rank};
