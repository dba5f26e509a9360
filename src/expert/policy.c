/* SPDX-License-Identifier: Apache-2.0
 *
 * Eviction policies by name, what they share, and the two classics: the least recently used expert leaves (lru), or the
 * least frequently used one (lfu), where counts fade and, unlike a cache's usual, outlive eviction. */
#include "expert/policy_inner.h"

#include "base/mem.h"
#include "base/status.h"

#include <math.h>
#include <string.h>

/* A use adds at most this much before counts are scaled down. */
#define LARGE_UNIT 0x1p60f

/* ---- uses that fade ---- */

bool md_fade_init(md_fade *f, const md_policy *p, float memory)
{
    f->count = md_calloc(p->first[p->n_layer], sizeof *f->count);
    f->unit = md_calloc((size_t)p->n_layer, sizeof *f->unit);
    f->growth = md_calloc((size_t)p->n_layer, sizeof *f->growth);
    f->sum = md_calloc((size_t)p->n_layer, sizeof *f->sum);
    if (!f->count || !f->unit || !f->growth || !f->sum)
        return false;
    for (int32_t l = 0; l < p->n_layer; l++) {
        const int32_t n = md_policy_n_expert(p, l);
        f->unit[l] = 1.0f;
        f->growth[l] = n > 0 ? 1.0f + 1.0f / (memory * (float)n) : 1.0f;
    }
    return true;
}

void md_fade_done(md_fade *f)
{
    md_free(f->count);
    md_free(f->unit);
    md_free(f->growth);
    md_free(f->sum);
}

void md_fade_use(md_fade *f, const md_policy *p, int32_t layer, size_t at)
{
    f->unit[layer] *= f->growth[layer];
    f->count[at] += f->unit[layer];
    f->sum[layer] += f->unit[layer];
    if (f->unit[layer] < LARGE_UNIT)
        return;
    f->unit[layer] /= LARGE_UNIT;
    f->sum[layer] = 0.0f;
    for (size_t i = p->first[layer]; i < p->first[layer + 1]; i++) {
        f->count[i] /= LARGE_UNIT;
        f->sum[layer] += f->count[i];
    }
}

void md_fade_copy(md_fade *f, const md_fade *from, const md_policy *p)
{
    for (int32_t l = 0; l < p->n_layer; l++) {
        /* What counts of a long past sum to: one use, faded again and again. */
        const float full = f->growth[l] > 1.0f ? f->growth[l] / (f->growth[l] - 1.0f) : 0.0f;
        const float scale = from->sum[l] > 0.0f ? full / from->sum[l] : 0.0f;
        f->unit[l] = 1.0f;
        f->sum[l] = scale > 0.0f ? full : 0.0f;
        for (size_t i = p->first[l]; i < p->first[l + 1]; i++)
            f->count[i] = from->count[i] * scale;
    }
}

void md_policy_note(md_policy *p, int32_t layer, int32_t expert)
{
    const size_t at = p->first[layer] + (size_t)expert;
    p->last[at] = ++p->clock;
    md_fade_use(&p->slow, p, layer, at);
}

/* ---- the two classics ---- */

static double rank_by_recency(const md_policy *p, int32_t layer, size_t at)
{
    (void)layer;
    return (double)p->last[at];
}

static double rank_by_count(const md_policy *p, int32_t layer, size_t at)
{
    (void)layer;
    return (double)p->slow.count[at];
}

static const md_policy_kind lfu = {.name = "lfu", .use = md_policy_note, .rank = rank_by_count};
static const md_policy_kind lru = {.name = "lru", .use = md_policy_note, .rank = rank_by_recency};
static const md_policy_kind *const kinds[] = {&md_policy_medley, &lfu, &lru}; /* ORDER policy names */

const char *const *md_policy_names(void)
{
    static const char *const names[] = {"medley", "lfu", "lru", NULL}; /* ORDER policy names */
    return names;
}

/* ---- life ---- */

static md_status policy_fill(md_policy *p, const int32_t *n_expert, md_error *err)
{
    p->first = md_calloc((size_t)p->n_layer + 1, sizeof *p->first);
    p->room = md_calloc((size_t)p->n_layer, sizeof *p->room);
    if (!p->first || !p->room)
        return md_fail_memory(err, "an eviction policy");
    for (int32_t l = 0; l < p->n_layer; l++) {
        MD_FAIL_IF(n_expert[l] < 0, MD_ERR_ARGUMENT, "layer %d cannot have %d experts", (int)l, (int)n_expert[l]);
        p->first[l + 1] = p->first[l] + (size_t)n_expert[l];
    }
    p->last = md_calloc(p->first[p->n_layer], sizeof *p->last);
    p->pinned = md_calloc(p->first[p->n_layer], sizeof *p->pinned);
    if (!p->last || !p->pinned || !md_fade_init(&p->slow, p, MD_FADE_SLOW))
        return md_fail_memory(err, "an eviction policy");
    return p->kind->make ? p->kind->make(p, err) : MD_OK;
}

md_status md_policy_new(const char *name, int32_t n_layer, const int32_t *n_expert, md_policy **out, md_error *err)
{
    *out = NULL;
    const md_policy_kind *kind = NULL;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strcmp(kinds[i]->name, name) == 0)
            kind = kinds[i];
    MD_FAIL_IF(!kind, MD_ERR_ARGUMENT, "there is no eviction policy '%s'; there are medley, lfu and lru", name);
    MD_FAIL_IF(n_layer < 1, MD_ERR_ARGUMENT, "an eviction policy needs layers, not %d", (int)n_layer);
    md_policy *p = md_calloc(1, sizeof *p);
    if (!p)
        return md_fail_memory(err, "an eviction policy");
    p->kind = kind;
    p->n_layer = n_layer;
    const md_status status = policy_fill(p, n_expert, err);
    if (status != MD_OK) {
        md_policy_free(p);
        return status;
    }
    *out = p;
    return MD_OK;
}

void md_policy_free(md_policy *p)
{
    if (!p)
        return;
    if (p->kind->drop)
        p->kind->drop(p);
    md_fade_done(&p->slow);
    md_free(p->first);
    md_free(p->room);
    md_free(p->last);
    md_free(p->pinned);
    md_free(p);
}

const char *md_policy_name(const md_policy *p)
{
    return p->kind->name;
}

/* ---- work ---- */

void md_policy_room(md_policy *p, int32_t layer, int32_t slots)
{
    const int32_t most = md_policy_n_expert(p, layer);
    p->room[layer] = slots > most ? most : slots > 0 ? slots : 0;
}

void md_policy_use(md_policy *p, int32_t layer, int32_t expert, float weight)
{
    (void)weight; /* for policies to come: none of these looks at it */
    p->kind->use(p, layer, expert);
}

void md_policy_step(md_policy *p)
{
    for (int32_t l = 0; l < p->n_layer && p->kind->settle; l++)
        p->kind->settle(p, l);
}

bool md_policy_before(const md_policy *p, double rank_a, size_t a, double rank_b, size_t b)
{
    if (rank_a != rank_b)
        return rank_a < rank_b;
    if (p->last[a] != p->last[b])
        return p->last[a] < p->last[b];
    if (p->slow.count[a] != p->slow.count[b])
        return p->slow.count[a] < p->slow.count[b];
    return a < b;
}

/* The one of those that may be taken, -1 if none may. */
static int32_t first_to_leave(const md_policy *p, int32_t layer, const int32_t *candidate, int32_t n, bool pinned_too)
{
    int32_t best = -1;
    double best_rank = 0.0;
    size_t best_at = 0;
    for (int32_t i = 0; i < n; i++) {
        const size_t at = p->first[layer] + (size_t)candidate[i];
        if (p->pinned[at] && !pinned_too)
            continue;
        const double rank = p->kind->rank(p, layer, at);
        if (best < 0 || md_policy_before(p, rank, at, best_rank, best_at)) {
            best = i;
            best_rank = rank;
            best_at = at;
        }
    }
    return best;
}

int32_t md_policy_victim(md_policy *p, int32_t layer, const int32_t *candidate, int32_t n)
{
    if (p->kind->settle)
        p->kind->settle(p, layer);
    const int32_t victim = first_to_leave(p, layer, candidate, n, false);
    return victim >= 0 ? victim : first_to_leave(p, layer, candidate, n, true);
}

void md_policy_pin(md_policy *p, int32_t layer, int32_t expert, bool pinned)
{
    p->pinned[p->first[layer] + (size_t)expert] = pinned;
}

/* ---- the hot list ---- */

size_t md_policy_n_counts(const md_policy *p)
{
    return p->first[p->n_layer];
}

void md_policy_counts(const md_policy *p, float *out)
{
    for (int32_t l = 0; l < p->n_layer; l++)
        for (size_t i = p->first[l]; i < p->first[l + 1]; i++)
            out[i] = p->slow.sum[l] > 0.0f ? p->slow.count[i] / p->slow.sum[l] : 0.0f;
}

md_status md_policy_set_counts(md_policy *p, const float *count, size_t n, md_error *err)
{
    MD_FAIL_IF(n != md_policy_n_counts(p), MD_ERR_ARGUMENT, "a hot list of %zu experts does not fit a model of %zu", n,
               md_policy_n_counts(p));
    md_fade *f = &p->slow;
    for (int32_t l = 0; l < p->n_layer; l++) {
        float largest = 0.0f;
        f->sum[l] = 0.0f;
        for (size_t i = p->first[l]; i < p->first[l + 1]; i++)
            largest = isfinite(count[i]) && count[i] > largest ? count[i] : largest;
        for (size_t i = p->first[l]; i < p->first[l + 1]; i++) {
            f->count[i] = isfinite(count[i]) && count[i] > 0.0f ? count[i] / largest : 0.0f;
            f->sum[l] += f->count[i];
        }
    }
    md_fade_copy(f, f, p);
    if (p->kind->counts_set)
        p->kind->counts_set(p);
    return MD_OK;
}
