/* SPDX-License-Identifier: Apache-2.0
 *
 * A streaming store that starts from what a run before knew: uses and sequences of experts, slots filled with those used most. */
#include "expert/streamed_inner.h"

#include "base/mem.h"
#include "base/status.h"

size_t md_streamed_n_counts(const md_streamed *s)
{
    return md_policy_n_counts(s->policy);
}

void md_streamed_uses(const md_streamed *s, float *out)
{
    md_policy_counts(s->policy, out);
}

md_status md_streamed_set_uses(md_streamed *s, const float *uses, size_t n, md_error *err)
{
    return md_policy_set_counts(s->policy, uses, n, err);
}

void md_streamed_teach(md_streamed *s, int32_t layer, const int32_t *expert, const float *weight, int64_t n)
{
    const md_layer_slots *l = &s->layer[layer];
    for (int64_t i = 0; i < n; i++)
        if (expert[i] >= 0 && expert[i] < l->n_expert)
            md_policy_use(s->policy, layer, expert[i], weight[i]);
    md_ahead_teach(s->ahead, layer, expert, n);
    if (layer + 1 == s->n_layer)
        md_policy_step(s->policy);
}

/* The one used most that has no slot, -1 if the rest was never used. */
static int32_t hottest(const md_layer_slots *l, const float *uses)
{
    int32_t best = -1;
    for (int32_t e = 0; e < l->n_expert; e++)
        if (l->where[e] < 0 && uses[e] > 0.0f && (best < 0 || uses[e] > uses[best]))
            best = e;
    return best;
}

void md_streamed_warm(md_streamed *s, double pinned)
{
    float *uses = md_calloc(md_streamed_n_counts(s), sizeof *uses);
    if (!uses)
        return; /* a cold start is slower, not wrong */
    md_streamed_uses(s, uses);
    int32_t most = 0;
    for (int32_t l = 0; l < s->n_layer; l++)
        most = s->layer[l].n > most ? s->layer[l].n : most;
    for (int32_t i = 0; i < most; i++) { /* every layer's hottest first */
        const float *of_layer = uses;
        for (int32_t l = 0; l < s->n_layer; of_layer += s->layer[l].n_expert, l++) {
            const md_layer_slots *at = &s->layer[l];
            const int32_t e = i < at->n && at->slot[i].state == MD_SLOT_EMPTY ? hottest(at, of_layer) : -1;
            if (e < 0)
                continue;
            md_slot_bring(s, &at->slot[i], l, e, MD_BRING_WARM);
            md_policy_pin(s->policy, l, e, (double)i + 0.5 < pinned * at->n);
        }
    }
    md_free(uses);
}
