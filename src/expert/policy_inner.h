/* SPDX-License-Identifier: Apache-2.0
 *
 * What eviction policies share: for every expert, when it was last used and how much, older uses counting less. A policy is
 * a way to rank experts by them; medley's adds state of its own. */
#ifndef MD_EXPERT_POLICY_INNER_H
#define MD_EXPERT_POLICY_INNER_H

#include "expert/policy.h"

/* Uses that fade. Instead of shrinking every count at every use, what a use adds grows by `growth`; when it gets large, all
 * counts are scaled down by a power of two, which rounds nothing but what no longer matters. Time is uses of the layer, so
 * that a prompt of many rows and as many single tokens count alike. */
typedef struct md_fade {
    float *count; /* owned, [experts of all layers] */
    float *unit, *growth,
        *sum; /* owned, [n_layer]: what a use adds now, how that grows, and the sum of the layer's counts */
} md_fade;

typedef struct md_policy_kind {
    const char *name;
    md_status (*make)(md_policy *p, md_error *err); /* state of its own; NULL: none */
    void (*drop)(md_policy *p);                     /* frees it, however much of it there is */
    void (*use)(md_policy *p, int32_t layer, int32_t expert);
    void (*settle)(md_policy *p,
                   int32_t layer);    /* before ranks are asked for, and at the end of a step; NULL: nothing to do */
    void (*counts_set)(md_policy *p); /* `slow` holds a run before; NULL: nothing to do */
    double (*rank)(const md_policy *p, int32_t layer, size_t at); /* of expert `at` of all: the lowest leaves first */
} md_policy_kind;

struct md_policy {
    const md_policy_kind *kind;
    int32_t n_layer;
    size_t *first;            /* owned, [n_layer + 1]: where a layer's experts begin among all */
    uint64_t clock;           /* uses so far */
    uint64_t *last;           /* owned, [experts]: of the last use; 0: none */
    md_fade slow;             /* remembers MD_FADE_SLOW uses for each expert of the layer */
    int32_t *room;            /* owned, [n_layer] slots; 0: not told */
    bool *pinned;             /* owned, [experts] */
    struct md_medley *medley; /* owned, of policy_medley.c; else NULL */
};

#define MD_FADE_SLOW 32.0f

static inline int32_t md_policy_n_expert(const md_policy *p, int32_t layer)
{
    return (int32_t)(p->first[layer + 1] - p->first[layer]);
}

/* memory: uses that count, for each expert of a layer. */
bool md_fade_init(md_fade *f, const md_policy *p, float memory);
void md_fade_done(md_fade *f);
void md_fade_use(md_fade *f, const md_policy *p, int32_t layer, size_t at);
/* f becomes as though `from` had been its past. */
void md_fade_copy(md_fade *f, const md_fade *from, const md_policy *p);
/* Notes a use in `last` and `slow`. */
void md_policy_note(md_policy *p, int32_t layer, int32_t expert);

/* Does a leave before b? Lower rank, then longer unused, then less used, then the lower number. */
bool md_policy_before(const md_policy *p, double rank_a, size_t a, double rank_b, size_t b);

extern const md_policy_kind md_policy_medley;

#endif
