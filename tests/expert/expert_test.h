/* SPDX-License-Identifier: Apache-2.0
 *
 * What tests of expert layers share: layers of random experts of every kind, with rows, routing and scratch, and what they give by
 * section 8 of docs/numerics.md, taken token by token. */
#ifndef MD_TEST_EXPERT_TEST_H
#define MD_TEST_EXPERT_TEST_H

#include "checkkern/definition.h"
#include "expert/expert.h"
#include "ops/ops_test.h"

enum { MAX_T = 80, MAX_K = 4, N_EXPERTS = 6, N_OTHERS = 4, LAYER = 1, MAX_X = 512, SHARED_X = 512 };
static const int32_t widths[] = {256, 512};

/* Types of gate, up and down. MIXED: another triple for each expert. */
typedef struct kinds {
    const char *name;
    md_type gate, up, down;
    bool mixed;
} kinds;

static const kinds all_kinds[] = {
    {"F32", MD_TYPE_F32, MD_TYPE_F32, MD_TYPE_F32, false},
    {"Q8_0", MD_TYPE_Q8_0, MD_TYPE_Q8_0, MD_TYPE_Q8_0, false},
    {"MXFP4", MD_TYPE_MXFP4, MD_TYPE_MXFP4, MD_TYPE_MXFP4, false},
    {"Q4_K, Q6_K", MD_TYPE_Q4_K, MD_TYPE_Q4_K, MD_TYPE_Q6_K, false},
    {"IQ4_XS, BF16", MD_TYPE_IQ4_XS, MD_TYPE_Q5_1, MD_TYPE_BF16, false},
    {"mixed", MD_TYPE_F16, MD_TYPE_Q4_0, MD_TYPE_Q2_K, true},
};

typedef struct problem {
    const md_kern *kern;
    md_expert_job job;
    bool fused, unequal;
    int32_t t;
    md_expert expert[N_EXPERTS], woven[N_EXPERTS]; /* as in files; in tiles, if the layer has them */
    const md_expert *layers[LAYER + 1];
    md_expert shared, shared_woven;
    md_ffn_job shared_job;
    md_rows mid;
    float *hidden, *shared_weight;
    md_rows in;
    md_expert_scratch scratch;
    float *x; /* (T, D) */
    int32_t pick[MAX_T * MAX_K];
    float weight[MAX_T * MAX_K];
    float *constant, *mix; /* (2, D), (2, 2, D): of the constant experts, if others are picked too */
    float *expected_out;   /* (T, K, D), before weighing */
    float *expected;       /* (T, D) */
} problem;

/* ---- making one ---- */

static inline md_weight random_weight(md_type t, int64_t rows, int64_t cols, bool extras)
{
    md_weight w = weight_new(t, rows, cols);
    w.bias = extras ? floats_new(rows, FILL_UNIT) : NULL;
    w.scale = extras ? floats_new(1, FILL_UNIT) : NULL;
    return w;
}

static inline void make_experts(problem *p, const kinds *k, bool extras)
{
    for (int e = 0; e < N_EXPERTS; e++) {
        const kinds *own = k->mixed ? &all_kinds[e % (COUNT(all_kinds) - 1)] : k;
        md_expert *x = &p->expert[e];
        const int64_t width = p->unequal ? widths[e * 5 / 3 % 2] : p->job.x;
        if (p->job.gated && !p->fused)
            x->gate = random_weight(own->gate, width, p->job.d, extras);
        x->up = random_weight(own->up, p->fused ? 2 * width : width, p->job.d, extras);
        x->down = random_weight(own->down, p->job.d, width, extras);
    }
    p->layers[LAYER] = p->expert;
}

static inline md_expert in_tiles(const md_expert *x)
{
    return (md_expert){.gate = weight_woven(&x->gate), .up = weight_woven(&x->up), .down = weight_woven(&x->down)};
}

static inline void make_tiles(problem *p)
{
    for (int e = 0; e < N_EXPERTS; e++)
        p->woven[e] = in_tiles(&p->expert[e]);
    p->layers[LAYER] = p->woven;
    if (p->job.shared) {
        p->shared_woven = in_tiles(&p->shared);
        p->shared_job.w = &p->shared_woven;
    }
}

/* A network beside the experts, with an activation of its own. */
static inline void make_shared(problem *p, const kinds *k, bool weighed)
{
    p->shared.gate = random_weight(k->gate, SHARED_X, p->job.d, false);
    p->shared.up = random_weight(k->up, SHARED_X, p->job.d, false);
    p->shared.down = random_weight(k->down, p->job.d, SHARED_X, false);
    p->hidden = floats_new((int64_t)p->t * SHARED_X, FILL_BITS);
    p->mid = rows_new(p->t, SHARED_X);
    p->shared_weight = weighed ? floats_new(p->t, FILL_UNIT) : NULL;
    p->shared_job = (md_ffn_job){.w = &p->shared,
                                 .d = p->job.d,
                                 .x = SHARED_X,
                                 .act = MD_FFN_RELU2,
                                 .gated = true,
                                 .hidden = p->hidden,
                                 .mid = &p->mid};
    p->job.shared = &p->shared_job;
    p->job.shared_weight = p->shared_weight;
}

/* Two constant experts, a copy and a zero. */
static inline void make_others(problem *p)
{
    p->constant = floats_new(2 * p->job.d, FILL_UNIT);
    p->mix = floats_new(4 * p->job.d, FILL_UNIT);
    p->job.others = (md_expert_others){
        .n_constant = 2, .n_copy = 1, .n_zero = 1, .constant = p->constant, .mix = p->mix};
}

static inline void make_routing(problem *p)
{
    const int32_t n = N_EXPERTS + (p->constant ? N_OTHERS : 0);
    for (int32_t t = 0; t < p->t; t++)
        for (int32_t s = 0; s < p->job.top_k; s++) {
            const int32_t at = t * p->job.top_k + s;
            bool taken;
            do {
                p->pick[at] = t == 2 ? -1 : random_below(n + 1) - 1;
                taken = false;
                for (int32_t o = t * p->job.top_k; o < at; o++)
                    taken = taken || (p->pick[at] >= 0 && p->pick[o] == p->pick[at]);
            } while (taken);
            p->weight[at] = p->pick[at] < 0 ? 0.0f : random_unit();
        }
}

static inline void make_scratch(problem *p)
{
    enum { THREADS = 7 };
    const int64_t t = p->t > 0 ? p->t : 1, k = p->job.top_k, pairs = t * k, work = md_expert_work(t, k, p->job.d, 1);
    md_expert_scratch *s = &p->scratch;
    *s = (md_expert_scratch){.hidden = floats_new(pairs * p->job.x, FILL_BITS),
                             .rows = rows_new(pairs, p->job.x),
                             .out = floats_new(t * p->job.d, FILL_BITS),
                             .work = floats_new(THREADS * work, FILL_ZERO),
                             .work_floats = work,
                             .part = calloc((size_t)(THREADS * k), sizeof *s->part),
                             .part_weight = floats_new(THREADS * k, FILL_BITS),
                             .loaded_id = calloc(N_EXPERTS, sizeof *s->loaded_id),
                             .pending = calloc(N_EXPERTS, sizeof *s->pending),
                             .unit = calloc(N_EXPERTS + 1, sizeof *s->unit),
                             .queue = calloc(N_EXPERTS + 1, sizeof *s->queue),
                             .pair_weight = floats_new(pairs, FILL_BITS),
                             .order = calloc((size_t)pairs, 4),
                             .n_order = calloc((size_t)t, 4),
                             .mix = floats_new(2 * pairs, FILL_BITS)};
    s->group = (md_grouping){.active = calloc(N_EXPERTS, 4),
                             .first = calloc(N_EXPERTS + 1, 4),
                             .row = calloc((size_t)pairs, 4),
                             .slot = calloc((size_t)pairs, 4)};
    assert_true(s->part && s->loaded_id && s->pending && s->unit && s->queue && s->order && s->n_order);
    assert_true(s->group.active && s->group.first && s->group.row && s->group.slot);
}

/* What an expert layer may do beside the usual. */
enum oddity {
    FUSED = 1,
    EXTRAS = 2,
    OAI = 4,
    NO_GATE = 8,
    WEIGH_INPUT = 16,
    UNEQUAL = 32,
    OTHERS = 64,
    TILES = 128,
    SHARED = 256,
    WEIGHED = 512, /* the shared one */
};

static inline problem *problem_new(const md_kern *kern, const kinds *k, unsigned odd, int32_t t)
{
    const bool extras = odd & EXTRAS;
    const md_ffn_act act = odd & OAI ? MD_FFN_OAI : MD_FFN_SILU;
    problem *p = calloc(1, sizeof *p);
    assert_non_null(p);
    p->kern = kern;
    p->fused = odd & FUSED && !(odd & NO_GATE);
    p->unequal = odd & UNEQUAL;
    p->t = t;
    p->job = (md_expert_job){.layer = LAYER,
                             .n_expert = N_EXPERTS,
                             .top_k = 1 + random_below(MAX_K),
                             .d = 256,
                             .x = odd & UNEQUAL ? MAX_X : 256,
                             .gated = !(odd & NO_GATE),
                             .weigh_input = odd & WEIGH_INPUT,
                             .act = act,
                             .alpha = 1.702f,
                             .limit = act == MD_FFN_OAI || extras ? 0.8f : 0.0f,
                             .expert = p->pick,
                             .weight = p->weight};
    make_experts(p, k, extras);
    if (odd & OTHERS)
        make_others(p);
    if (odd & SHARED)
        make_shared(p, k, odd & WEIGHED);
    if (odd & TILES)
        make_tiles(p);
    make_routing(p);
    make_scratch(p);
    p->in = rows_new(t, p->job.d);
    p->x = floats_new(t * p->job.d, FILL_UNIT);
    p->expected_out = floats_new((int64_t)t * MAX_K * p->job.d, FILL_ZERO);
    p->expected = floats_new(t * p->job.d, FILL_ZERO);
    return p;
}

/* The copies in tiles have their own data, but scale and bias of those they were made of. */
static inline void expert_free(md_expert *own, md_expert *woven)
{
    weight_free(&own->gate);
    weight_free(&own->up);
    weight_free(&own->down);
    free((void *)(uintptr_t)woven->gate.data);
    free((void *)(uintptr_t)woven->up.data);
    free((void *)(uintptr_t)woven->down.data);
}

static inline void scratch_free(md_expert_scratch *s)
{
    free(s->hidden);
    rows_free(&s->rows);
    free(s->out);
    free(s->work);
    free((void *)s->part);
    free(s->part_weight);
    free(s->loaded_id);
    free(s->pending);
    free(s->unit);
    free(s->queue);
    free(s->pair_weight);
    free(s->order);
    free(s->n_order);
    free(s->mix);
    free(s->group.active);
    free(s->group.first);
    free(s->group.row);
    free(s->group.slot);
}

static inline void problem_free(problem *p)
{
    for (int e = 0; e < N_EXPERTS; e++)
        expert_free(&p->expert[e], &p->woven[e]);
    expert_free(&p->shared, &p->shared_woven);
    scratch_free(&p->scratch);
    free(p->constant);
    free(p->mix);
    rows_free(&p->mid);
    free(p->hidden);
    free(p->shared_weight);
    rows_free(&p->in);
    free(p->x);
    free(p->expected_out);
    free(p->expected);
    free(p);
}

/* ---- section 8, token by token ---- */

/* One row through one matrix: form of the row, product, scale, bias. */
static inline void matrix_by_definition(const md_kern *kern, const md_weight *w, const float *x, float *y)
{
    const md_act_kind kind = md_type_get(w->type)->act;
    md_rows one = rows_new(1, w->cols);
    md_rows_set(&one, x, 1, w->cols);
    if (kind == MD_ACT_Q32)
        kern->quantize32(x, w->cols, one.code32, one.scale32, one.sum32, one.isum32);
    if (kind == MD_ACT_Q256)
        kern->quantize256(x, w->cols, one.code256, one.scale256, one.sum16);
    const md_act act = md_rows_act(&one, w->type);
    kern->mul[w->type](&(md_product){.w = w->data,
                                     .row_bytes = w->row_bytes,
                                     .last = w->rows,
                                     .act = &act,
                                     .n_rows = 1,
                                     .out = y,
                                     .ld_out = w->rows});
    for (int64_t r = 0; r < w->rows; r++) {
        if (w->scale)
            y[r] = y[r] * *w->scale;
        if (w->bias)
            y[r] = y[r] + w->bias[r];
    }
    rows_free(&one);
}

/* An expert that is no FFN. */
static inline void other_by_definition(const problem *p, int32_t k, const float *x, float *out)
{
    const int64_t d = p->job.d;
    if (k >= 2) {
        for (int64_t i = 0; i < d; i++)
            out[i] = k == 2 ? x[i] : 0.0f;
        return;
    }
    const float *w = p->mix + 2 * k * d, *v = p->constant + k * d;
    const float a = dot16_by_definition(w, x, d), b = dot16_by_definition(w + d, x, d), top = a > b ? a : b;
    const float e[2] = {exp_by_definition(a - top), exp_by_definition(b - top)}, sum = e[0] + e[1];
    for (int64_t i = 0; i < d; i++)
        out[i] = fmaf(e[1] / sum, v[i], e[0] / sum * x[i]);
}

/* scale: what the products of its input are multiplied by. */
static inline void expert_by_definition(const problem *p, int32_t e, const float *x, float scale, float *out)
{
    if (e >= N_EXPERTS) {
        other_by_definition(p, e - N_EXPERTS, x, out);
        return;
    }
    const md_expert *w = &p->expert[e];
    const int64_t width = w->down.cols;
    float gate_up[2 * MAX_X], hidden[MAX_X], *up = p->job.gated ? gate_up + width : gate_up;
    if (p->job.gated && !p->fused)
        matrix_by_definition(p->kern, &w->gate, x, gate_up);
    matrix_by_definition(p->kern, &w->up, x, p->fused ? gate_up : up);
    for (int64_t i = 0; i < (p->job.gated ? 2 : 1) * width; i++)
        gate_up[i] = gate_up[i] * scale;
    if (!p->job.gated) {
        for (int64_t i = 0; i < width; i++)
            hidden[i] = up[i] / (1.0f + exp_by_definition(-up[i]));
    } else if (p->job.act == MD_FFN_OAI) {
        p->kern->oai_mul(gate_up, up, hidden, width, p->job.alpha, p->job.limit);
    } else if (p->job.limit > 0.0f) {
        p->kern->silu_clamp_mul(gate_up, up, hidden, width, p->job.limit);
    } else {
        p->kern->silu_mul(gate_up, up, hidden, width);
    }
    matrix_by_definition(p->kern, &w->down, hidden, out);
}

/* The slot of a row that holds expert e, or -1. */
static inline int32_t slot_of(const problem *p, int32_t t, int32_t e)
{
    for (int32_t s = 0; s < p->job.top_k; s++)
        if (p->pick[t * p->job.top_k + s] == e)
            return s;
    return -1;
}

/* The shared expert of row t: squares of relu times up. */
static inline void shared_by_definition(const problem *p, int32_t t, float *y)
{
    float gate[SHARED_X], up[SHARED_X], out[256];
    matrix_by_definition(p->kern, &p->shared.gate, p->x + t * p->job.d, gate);
    matrix_by_definition(p->kern, &p->shared.up, p->x + t * p->job.d, up);
    for (int i = 0; i < SHARED_X; i++) {
        const float r = gate[i] > 0.0f ? gate[i] : 0.0f;
        up[i] = r * r * up[i];
    }
    matrix_by_definition(p->kern, &p->shared.down, up, out);
    for (int64_t i = 0; i < p->job.d; i++)
        y[i] = p->shared_weight ? fmaf(p->shared_weight[t], out[i], y[i]) : y[i] + out[i];
}

static inline void expect_by_definition(problem *p)
{
    const int64_t d = p->job.d;
    for (int32_t t = 0; t < p->t; t++) {
        double y[256] = {0};
        for (int32_t e = 0; e < N_EXPERTS + N_OTHERS; e++) {
            const int32_t s = slot_of(p, t, e);
            if (s < 0)
                continue;
            float *out = p->expected_out + (t * p->job.top_k + s) * d;
            const float weight = p->weight[t * p->job.top_k + s];
            const bool inside = p->job.weigh_input && e < N_EXPERTS;
            expert_by_definition(p, e, p->x + t * d, inside ? weight : 1.0f, out);
            for (int64_t i = 0; i < d; i++)
                y[i] = y[i] + (inside ? 1.0 : (double)weight) * (double)out[i];
        }
        for (int64_t i = 0; i < d; i++)
            p->expected[t * d + i] = (float)y[i];
        if (p->job.shared)
            shared_by_definition(p, t, p->expected + t * d);
    }
}

static const unsigned usual[] = {0,   FUSED,       EXTRAS,       EXTRAS | FUSED,
                                 OAI, OAI | FUSED, OAI | EXTRAS, OAI | EXTRAS | FUSED};

static inline void each_problem(const md_kern *kern, const unsigned *variant, int n,
                                void (*check)(problem *p, const kinds *k))
{
    for (int k = 0; k < COUNT(all_kinds); k++)
        for (int i = 0; i < n; i++) {
            problem *p = problem_new(kern, &all_kinds[k], variant[i], variant[i] == 0 ? 1 : 3 + random_below(5));
            expect_by_definition(p);
            check(p, &all_kinds[k]);
            problem_free(p);
        }
}

#endif
