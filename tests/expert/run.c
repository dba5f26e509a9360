/* SPDX-License-Identifier: Apache-2.0
 *
 * md_experts_run: the bits of section 8 of docs/numerics.md taken token by token, whatever the threads; nearness to
 * the same in double precision on decoded weights; and what it owes to a store, the failing one included. */
#include "checkkern/definition.h"
#include "expert/expert.h"
#include "ops/ops_test.h"

enum { MAX_T = 7, MAX_K = 4, N_EXPERTS = 6, N_OTHERS = 4, LAYER = 1, MAX_X = 512 };
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
    bool fused;
    int32_t t;
    md_expert expert[N_EXPERTS];
    const md_expert *layers[LAYER + 1];
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

static md_weight random_weight(md_type t, int64_t rows, int64_t cols, bool extras)
{
    md_weight w = weight_new(t, rows, cols);
    w.bias = extras ? floats_new(rows, FILL_UNIT) : NULL;
    w.scale = extras ? floats_new(1, FILL_UNIT) : NULL;
    return w;
}

static void make_experts(problem *p, const kinds *k, bool extras)
{
    for (int e = 0; e < N_EXPERTS; e++) {
        const kinds *own = k->mixed ? &all_kinds[e % (COUNT(all_kinds) - 1)] : k;
        md_expert *x = &p->expert[e];
        const int64_t width = p->job.n_width > 0 ? widths[e * 5 / 3 % 2] : p->job.x;
        if (p->job.gated && !p->fused)
            x->gate = random_weight(own->gate, width, p->job.d, extras);
        x->up = random_weight(own->up, p->fused ? 2 * width : width, p->job.d, extras);
        x->down = random_weight(own->down, p->job.d, width, extras);
    }
    p->layers[LAYER] = p->expert;
}

/* Two constant experts, a copy and a zero. */
static void make_others(problem *p)
{
    p->constant = floats_new(2 * p->job.d, FILL_UNIT);
    p->mix = floats_new(4 * p->job.d, FILL_UNIT);
    p->job.others = (md_expert_others){
        .n_constant = 2, .n_copy = 1, .n_zero = 1, .constant = p->constant, .mix = p->mix};
}

static void make_routing(problem *p)
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

static void make_scratch(problem *p)
{
    const int64_t pairs = MAX_T * MAX_K;
    md_expert_scratch *s = &p->scratch;
    *s = (md_expert_scratch){.gate_up = floats_new(pairs * 2 * p->job.x, FILL_BITS),
                             .hidden = floats_new(pairs * p->job.x, FILL_BITS),
                             .out = floats_new(pairs * p->job.d, FILL_BITS),
                             .rows = rows_new(pairs, p->job.x),
                             .loaded = calloc(N_EXPERTS, sizeof *s->loaded),
                             .pair = calloc((size_t)pairs, 4),
                             .same = calloc(N_EXPERTS, 4),
                             .mix = floats_new(2 * pairs, FILL_BITS)};
    s->group = (md_grouping){.active = calloc(N_EXPERTS, 4),
                             .first = calloc(N_EXPERTS + 1, 4),
                             .row = calloc((size_t)pairs, 4),
                             .slot = calloc((size_t)pairs, 4)};
    assert_true(s->loaded && s->pair && s->same && s->group.active && s->group.first && s->group.row && s->group.slot);
}

/* What an expert layer may do beside the usual. */
enum oddity { FUSED = 1, EXTRAS = 2, OAI = 4, NO_GATE = 8, WEIGH_INPUT = 16, UNEQUAL = 32, OTHERS = 64 };

static problem *problem_new(const md_kern *kern, const kinds *k, unsigned odd, int32_t t)
{
    const bool extras = odd & EXTRAS;
    const md_ffn_act act = odd & OAI ? MD_FFN_OAI : MD_FFN_SILU;
    problem *p = calloc(1, sizeof *p);
    assert_non_null(p);
    p->kern = kern;
    p->fused = odd & FUSED && !(odd & NO_GATE);
    p->t = t;
    p->job = (md_expert_job){.layer = LAYER,
                             .n_expert = N_EXPERTS,
                             .top_k = 1 + random_below(MAX_K),
                             .d = 256,
                             .x = odd & UNEQUAL ? MAX_X : 256,
                             .width = widths,
                             .n_width = odd & UNEQUAL ? COUNT(widths) : 0,
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
    make_routing(p);
    make_scratch(p);
    p->in = rows_new(MAX_T, p->job.d);
    p->x = floats_new(MAX_T * p->job.d, FILL_UNIT);
    p->expected_out = floats_new((int64_t)MAX_T * MAX_K * p->job.d, FILL_ZERO);
    p->expected = floats_new(MAX_T * p->job.d, FILL_ZERO);
    return p;
}

static void problem_free(problem *p)
{
    md_expert_scratch *s = &p->scratch;
    for (int e = 0; e < N_EXPERTS; e++) {
        weight_free(&p->expert[e].gate);
        weight_free(&p->expert[e].up);
        weight_free(&p->expert[e].down);
    }
    free(s->gate_up);
    free(s->hidden);
    free(s->out);
    rows_free(&s->rows);
    free((void *)s->loaded);
    free(s->pair);
    free(s->same);
    free(s->mix);
    free(p->constant);
    free(p->mix);
    free(s->group.active);
    free(s->group.first);
    free(s->group.row);
    free(s->group.slot);
    rows_free(&p->in);
    free(p->x);
    free(p->expected_out);
    free(p->expected);
    free(p);
}

/* ---- section 8, token by token ---- */

/* One row through one matrix: form of the row, product, scale, bias. */
static void matrix_by_definition(const md_kern *kern, const md_weight *w, const float *x, float *y)
{
    const md_act_kind kind = md_type_get(w->type)->act;
    md_rows one = rows_new(1, w->cols);
    md_rows_set(&one, x, 1, w->cols);
    if (kind == MD_ACT_Q32)
        kern->quantize32(x, w->cols, one.code32, one.scale32, one.sum32);
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
static void other_by_definition(const problem *p, int32_t k, const float *x, float *out)
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
static void expert_by_definition(const problem *p, int32_t e, const float *x, float scale, float *out)
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
static int32_t slot_of(const problem *p, int32_t t, int32_t e)
{
    for (int32_t s = 0; s < p->job.top_k; s++)
        if (p->pick[t * p->job.top_k + s] == e)
            return s;
    return -1;
}

static void expect_by_definition(problem *p)
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
    }
}

/* ---- bits ---- */

typedef struct witness {
    const problem *p;
    int32_t last_expert, rows;
} witness;

/* Each expert's outputs, before weighing, come in ascending order of experts and of rows. */
static void see(void *user, int32_t expert, int32_t n_rows, const int32_t *row, const float *out)
{
    witness *w = user;
    assert_true(expert > w->last_expert && n_rows > 0);
    w->last_expert = expert;
    for (int32_t i = 0; i < n_rows; i++) {
        const int32_t s = slot_of(w->p, row[i], expert);
        assert_true(s >= 0 && (i == 0 || row[i] > row[i - 1]));
        expect_same_floats(w->p->expected_out + (row[i] * w->p->job.top_k + s) * w->p->job.d, out + i * w->p->job.d,
                           w->p->job.d, "an expert's output");
        w->rows++;
    }
}

static int32_t n_picks(const problem *p)
{
    int32_t n = 0;
    for (int32_t i = 0; i < p->t * p->job.top_k; i++)
        n += p->pick[i] >= 0 && p->pick[i] < N_EXPERTS;
    return n;
}

static void check_bits(const md_ops *ops, void *ctx)
{
    problem *p = ctx;
    md_resident_store store;
    md_resident_store_init(&store, p->layers);
    guarded y = guarded_new((size_t)(p->t * p->job.d) * 4, 4);
    witness w = {.p = p, .last_expert = -1};
    md_rows_set(&p->in, p->x, p->t, p->job.d);
    assert_true(md_experts_run(ops, &store.store, &p->job, &p->in, &p->scratch, y.data, see, &w));
    assert_int_equal(w.rows, n_picks(p));
    expect_same_floats(p->expected, y.data, p->t * p->job.d,
                       describe("%s, %d threads", p->kern->isa, md_pool_threads(ops->pool)));
    guarded_done(&y, "md_experts_run");
}

static const unsigned usual[] = {0,   FUSED,       EXTRAS,       EXTRAS | FUSED,
                                 OAI, OAI | FUSED, OAI | EXTRAS, OAI | EXTRAS | FUSED};
static const unsigned odd[] = {NO_GATE,
                               NO_GATE | EXTRAS | UNEQUAL | OTHERS,
                               WEIGH_INPUT | UNEQUAL,
                               WEIGH_INPUT | FUSED | OTHERS,
                               WEIGH_INPUT | NO_GATE | UNEQUAL | OTHERS,
                               UNEQUAL,
                               UNEQUAL | FUSED | EXTRAS,
                               UNEQUAL | OAI | OTHERS,
                               OTHERS};

static void each_problem(const md_kern *kern, const unsigned *variant, int n, void (*check)(problem *p, const kinds *k))
{
    for (int k = 0; k < COUNT(all_kinds); k++)
        for (int i = 0; i < n; i++) {
            problem *p = problem_new(kern, &all_kinds[k], variant[i],
                                     variant[i] == 0 ? 1 : 3 + random_below(MAX_T - 2));
            expect_by_definition(p);
            check(p, &all_kinds[k]);
            problem_free(p);
        }
}

static void check_under_every_cut(problem *p, const kinds *k)
{
    (void)k;
    under_every_cut(p->kern, check_bits, p);
}

static void experts_give_the_bits_of_the_definition(void **state)
{
    each_problem(table_of(state), usual, COUNT(usual), check_under_every_cut);
    each_problem(table_of(state), odd, COUNT(odd), check_under_every_cut);
}

/* The promise to upcycled models: copies of one expert under a normalising router are that expert, bit for bit. */
static void check_copies(problem *p, const kinds *k)
{
    (void)k;
    const md_router r = {.score = MD_SCORE_SOFTMAX_PICKED, .n_expert = N_EXPERTS, .top_k = p->job.top_k, .scale = 1.0f};
    const md_expert own[N_EXPERTS] = {p->expert[0], p->expert[1], p->expert[2],
                                      p->expert[3], p->expert[4], p->expert[5]};
    for (int e = 0; e < N_EXPERTS; e++)
        p->expert[e] = own[0];
    for (int32_t t = 0; t < p->t; t++) {
        float logits[N_EXPERTS], work[3 * N_EXPERTS];
        for (int e = 0; e < N_EXPERTS; e++)
            logits[e] = random_unit() * 5.0f;
        md_route(p->kern, &r, logits, NULL, NULL, work, p->pick + t * r.top_k, p->weight + t * r.top_k);
        expert_by_definition(p, 0, p->x + t * p->job.d, 1.0f, p->expected + t * p->job.d);
        for (int32_t s = 0; s < r.top_k; s++)
            memcpy(p->expected_out + (t * r.top_k + s) * p->job.d, p->expected + t * p->job.d, (size_t)p->job.d * 4);
    }
    under_every_cut(p->kern, check_bits, p);
    memcpy(p->expert, own, sizeof own);
}

static void copies_of_one_expert_are_that_expert(void **state)
{
    each_problem(table_of(state), usual, COUNT(usual), check_copies);
}

static void no_rows_and_empty_slots_run_no_expert(void **state)
{
    const md_kern *kern = table_of(state);
    problem *p = problem_new(kern, &all_kinds[0], 0, 4);
    memset(p->pick, -1, sizeof p->pick);
    expect_by_definition(p); /* zeros */
    under_every_cut(kern, check_bits, p);
    p->t = 0;
    under_every_cut(kern, check_bits, p);
    problem_free(p);
}

/* ---- double precision ---- */

static void matrix_exactly(const md_weight *w, const double *x, double *y)
{
    float *row = floats_new(w->cols, FILL_ZERO);
    for (int64_t r = 0; r < w->rows; r++) {
        md_type_decode(w->type, (const char *)w->data + (size_t)r * w->row_bytes, row, w->cols);
        y[r] = 0;
        for (int64_t i = 0; i < w->cols; i++)
            y[r] += (double)row[i] * x[i];
        y[r] = y[r] * (w->scale ? (double)*w->scale : 1.0) + (w->bias ? (double)w->bias[r] : 0.0);
    }
    free(row);
}

static double activate_exactly(const md_expert_job *j, double gate, double up)
{
    const double limit = j->limit > 0.0f ? (double)j->limit : 1e300, u = fmax(fmin(up, limit), -limit);
    if (j->act == MD_FFN_SILU)
        return fmin(gate / (1 + exp(-gate)), limit) * u;
    const double g = fmin(gate, limit);
    return g / (1 + exp(-(double)j->alpha * g)) * (u + 1);
}

static void token_exactly(const problem *p, int32_t t, double *y)
{
    double x[256], gate_up[512], hidden[256], out[256];
    for (int i = 0; i < 256; i++) {
        x[i] = (double)p->x[t * 256 + i];
        y[i] = 0;
    }
    for (int32_t s = 0; s < p->job.top_k; s++) {
        const int32_t e = p->pick[t * p->job.top_k + s];
        if (e < 0)
            continue;
        if (!p->fused)
            matrix_exactly(&p->expert[e].gate, x, gate_up);
        matrix_exactly(&p->expert[e].up, x, p->fused ? gate_up : gate_up + 256);
        for (int i = 0; i < 256; i++)
            hidden[i] = activate_exactly(&p->job, gate_up[i], gate_up[256 + i]);
        matrix_exactly(&p->expert[e].down, hidden, out);
        for (int i = 0; i < 256; i++)
            y[i] += (double)p->weight[t * p->job.top_k + s] * out[i];
    }
}

/* Sets the factor of a weight so that its products with values of the usual size are of the usual size. */
static void normalise(md_weight *w)
{
    if (!w->data)
        return;
    float *row = floats_new(w->cols, FILL_ZERO), *scale = floats_new(1, FILL_ZERO);
    double square = 0;
    for (int64_t r = 0; r < w->rows; r++) {
        md_type_decode(w->type, (const char *)w->data + (size_t)r * w->row_bytes, row, w->cols);
        for (int64_t i = 0; i < w->cols; i++)
            square += (double)row[i] * row[i];
    }
    *scale = (float)(1.0 / sqrt(square / (double)w->rows));
    free((void *)(uintptr_t)w->scale);
    w->scale = scale;
    free(row);
}

/* Codes of 8 bits are off by 1/254 of a block's largest value at most, by half a percent of the vector at the usual
 * spread; two products in a row, and gate times up, add that up. Floats have only roundings. */
static void check_nearness(problem *p, const kinds *k)
{
    double error = 0, size = 0;
    for (int32_t e = 0; e < N_EXPERTS; e++) {
        normalise(&p->expert[e].gate);
        normalise(&p->expert[e].up);
        normalise(&p->expert[e].down);
    }
    expect_by_definition(p);
    for (int32_t t = 0; t < p->t; t++) {
        double exact[256];
        token_exactly(p, t, exact);
        for (int i = 0; i < 256; i++) {
            error += pow((double)p->expected[t * 256 + i] - exact[i], 2);
            size += exact[i] * exact[i];
        }
    }
    const double bound = k->up == MD_TYPE_F32 ? 1e-6 : 0.04;
    if (!(sqrt(error) <= bound * sqrt(size)))
        fail_msg("%s: off by %g of %g", k->name, sqrt(error), sqrt(size));
}

/* The definition itself; that md_experts_run equals it is the test above. */
static void experts_are_near_the_exact_ones(void **state)
{
    (void)state;
    each_problem(scalar_table(), usual, COUNT(usual), check_nearness);
}

/* ---- stores ---- */

typedef struct counting_store {
    md_expert_store store;
    const md_expert *expert;
    int32_t refused; /* this one cannot be had; -1: all can */
    int wants, runs[N_EXPERTS], releases[N_EXPERTS];
    int32_t wanted[N_EXPERTS], n_wanted;
} counting_store;

static void count_want(md_expert_store *s, int32_t layer, const int32_t *expert, int32_t n)
{
    counting_store *c = (counting_store *)s;
    assert_int_equal(layer, LAYER);
    c->wants++;
    c->n_wanted = n;
    memcpy(c->wanted, expert, (size_t)n * sizeof *expert);
}

static bool count_ready(md_expert_store *s, int32_t layer, int32_t expert)
{
    (void)layer;
    return ((counting_store *)s)->refused != expert;
}

static const md_expert *count_run(md_expert_store *s, int32_t layer, int32_t expert)
{
    counting_store *c = (counting_store *)s;
    assert_int_equal(layer, LAYER);
    if (expert == c->refused)
        return NULL;
    c->runs[expert]++;
    return &c->expert[expert];
}

static void count_release(md_expert_store *s, int32_t layer, int32_t expert)
{
    counting_store *c = (counting_store *)s;
    assert_int_equal(layer, LAYER);
    assert_int_equal(c->runs[expert], c->releases[expert] + 1);
    c->releases[expert]++;
}

static void check_store(const md_ops *ops, void *ctx)
{
    problem *p = ctx;
    float y[MAX_T * 256];
    for (int32_t refused = -1; refused < N_EXPERTS; refused++) {
        counting_store c = {
            .store = {count_want, count_ready, count_run, count_release}, .expert = p->expert, .refused = refused};
        bool active[N_EXPERTS] = {false}, fails = false;
        int32_t n_active = 0;
        for (int32_t i = 0; i < p->t * p->job.top_k; i++)
            if (p->pick[i] >= 0)
                active[p->pick[i]] = true;
        for (int32_t e = 0; e < N_EXPERTS; e++)
            fails = fails || (active[e] && e == refused);
        md_rows_set(&p->in, p->x, p->t, p->job.d);
        assert_int_equal(md_experts_run(ops, &c.store, &p->job, &p->in, &p->scratch, y, NULL, NULL), !fails);
        assert_int_equal(c.wants, 1);
        for (int32_t e = 0; e < N_EXPERTS; e++) {
            assert_int_equal(c.runs[e], c.releases[e]);
            assert_int_equal(c.runs[e], active[e] && !(fails && e >= refused));
            if (active[e])
                assert_int_equal(c.wanted[n_active++], e);
        }
        assert_int_equal(c.n_wanted, n_active);
        if (!fails)
            expect_same_floats(p->expected, y, p->t * p->job.d, "after a failure");
    }
}

static void what_is_taken_from_a_store_is_given_back(void **state)
{
    const md_kern *kern = table_of(state);
    problem *p = problem_new(kern, &all_kinds[3], 0, 3);
    expect_by_definition(p);
    under_every_cut(kern, check_store, p);
    problem_free(p);
}

static void a_resident_store_is_always_ready(void **state)
{
    (void)state;
    static const md_expert some[3];
    const md_expert *const layers[] = {NULL, some};
    md_resident_store s;
    md_resident_store_init(&s, layers);
    s.store.want(&s.store, 1, (const int32_t[]){2, 0}, 2);
    assert_true(s.store.ready(&s.store, 1, 2));
    assert_ptr_equal(s.store.run(&s.store, 1, 2), &some[2]);
    s.store.release(&s.store, 1, 2);
}

int main(void)
{
    seed_from_environment();
    const struct CMUnitTest tests[] = {
        EACH_TABLE(experts_give_the_bits_of_the_definition),  EACH_TABLE(copies_of_one_expert_are_that_expert),
        EACH_TABLE(no_rows_and_empty_slots_run_no_expert),    cmocka_unit_test(experts_are_near_the_exact_ones),
        EACH_TABLE(what_is_taken_from_a_store_is_given_back), cmocka_unit_test(a_resident_store_is_always_ready),
    };
    return cmocka_run_group_tests_name("experts", tests, NULL, NULL);
}
