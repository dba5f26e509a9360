/* SPDX-License-Identifier: Apache-2.0
 *
 * The routers of docs/routers.md against a second reading of their papers: one tiny model each, its whole forward pass in
 * double precision, token by token and expert by expert, without a line of the engine. What picks experts there is written
 * from the formulas, on a dense matrix of weights (T, E). */
#include "format/gguf.h"
#include "shape/synth.h"
#include "support/synth_model.h"

#include <math.h>
#include <stdarg.h>

enum { N = 60, D = 48, HEADS = 4, KV_HEADS = 2, DIM = 12, X = 24, FFNS = 8, MAX_E = 12, MAX_X = 2 * X, MAX_LAYERS = 3 };

typedef struct net {
    const char *router;
    md_gguf *file;
    int n_layer, n_expert; /* all experts */
    double x[N][D], k[MAX_LAYERS][N][KV_HEADS][DIM], v[MAX_LAYERS][N][KV_HEADS][DIM];
    double last[N][MAX_E]; /* logits of the layer before */
    double carried[N][D];  /* of the recurrent router */
    bool active[N];        /* in the recursion */
} net;

static bool is(const net *t, const char *router)
{
    return strcmp(t->router, router) == 0;
}

static const float *tensor(const net *t, const char *pattern, ...)
{
    char name[64];
    va_list args;
    va_start(args, pattern);
    vsnprintf(name, sizeof name, pattern, args);
    va_end(args);
    const md_gguf_tensor *found = md_gguf_find_tensor(t->file, name);
    if (!found)
        fail_msg("the file has no %s", name);
    return found->data;
}

static double dot(const float *w, const double *x, int n)
{
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += (double)w[i] * x[i];
    return sum;
}

static void times(const float *w, const double *x, int cols, int rows, double *y)
{
    for (int r = 0; r < rows; r++)
        y[r] = dot(w + r * cols, x, cols);
}

static void norm(const double *x, const float *w, int n, double *y)
{
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += x[i] * x[i];
    const double r = 1 / sqrt(sum / n + 1e-6);
    for (int i = 0; i < n; i++)
        y[i] = x[i] * r * (double)w[i];
}

static double sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}

static void softmax(const double *x, int n, double *p)
{
    double top = x[0], sum = 0;
    for (int i = 1; i < n; i++)
        top = fmax(top, x[i]);
    for (int i = 0; i < n; i++)
        sum += p[i] = exp(x[i] - top);
    for (int i = 0; i < n; i++)
        p[i] /= sum;
}

/* ---- attention ---- */

static void rope(double *x, int pos)
{
    for (int i = 0; i < DIM / 2; i++) {
        const double a = pos * pow(10000, -2.0 * i / DIM), u = x[i], w = x[i + DIM / 2];
        x[i] = u * cos(a) - w * sin(a);
        x[i + DIM / 2] = w * cos(a) + u * sin(a);
    }
}

static void keys_and_values(net *t, int layer, int pos)
{
    double h[D], k[KV_HEADS * DIM], v[KV_HEADS * DIM];
    norm(t->x[pos], tensor(t, "blk.%d.attn_norm.weight", layer), D, h);
    times(tensor(t, "blk.%d.attn_k.weight", layer), h, D, KV_HEADS * DIM, k);
    times(tensor(t, "blk.%d.attn_v.weight", layer), h, D, KV_HEADS * DIM, v);
    for (int g = 0; g < KV_HEADS; g++) {
        norm(k + g * DIM, tensor(t, "blk.%d.attn_k_norm.weight", layer), DIM, t->k[layer][pos][g]);
        rope(t->k[layer][pos][g], pos);
        memcpy(t->v[layer][pos][g], v + g * DIM, sizeof t->v[layer][pos][g]);
    }
}

static void attend(net *t, int layer, int pos)
{
    const int seen = is(t, "expert-choice-encoder") ? N : pos + 1;
    double h[D], q[HEADS * DIM], out[HEADS * DIM] = {0}, y[D];
    norm(t->x[pos], tensor(t, "blk.%d.attn_norm.weight", layer), D, h);
    times(tensor(t, "blk.%d.attn_q.weight", layer), h, D, HEADS * DIM, q);
    for (int i = 0; i < HEADS; i++) {
        const int g = i / (HEADS / KV_HEADS);
        double head[DIM], score[N], p[N];
        norm(q + i * DIM, tensor(t, "blk.%d.attn_q_norm.weight", layer), DIM, head);
        rope(head, pos);
        for (int j = 0; j < seen; j++) {
            score[j] = 0;
            for (int d = 0; d < DIM; d++)
                score[j] += head[d] * t->k[layer][j][g][d] / sqrt(DIM);
        }
        softmax(score, seen, p);
        for (int j = 0; j < seen; j++)
            for (int d = 0; d < DIM; d++)
                out[i * DIM + d] += p[j] * t->v[layer][j][g][d];
    }
    times(tensor(t, "blk.%d.attn_output.weight", layer), out, HEADS * DIM, D, y);
    for (int d = 0; d < D; d++)
        t->x[pos][d] += y[d];
}

/* ---- the formulas: w (T, E), 0 where an expert is not picked ---- */

typedef double weights[N][MAX_E];

/* The best of a row that is not taken and that `may` allows, or -1. */
static int best(const double *score, int n, const bool *taken, const bool *may)
{
    int top = -1;
    for (int e = 0; e < n; e++)
        if (!taken[e] && (!may || may[e]) && (top < 0 || score[e] > score[top]))
            top = e;
    return top;
}

static void top_k(const double *score, int n, int k, bool *taken)
{
    for (int e = 0; e < n; e++)
        taken[e] = false;
    for (int i = 0; i < k; i++)
        taken[best(score, n, taken, NULL)] = true;
}

/* Top-k of the scores; with `real` below n, what is from there on gives nothing and the rest adds up to 1. */
static void plain(const double *score, int n, int k, int real, bool share, double *w)
{
    bool taken[MAX_E];
    double sum = 0;
    top_k(score, n, k, taken);
    for (int e = 0; e < real; e++)
        sum += taken[e] ? score[e] : 0;
    for (int e = 0; e < n; e++)
        w[e] = !taken[e] || e >= real ? 0 : share ? score[e] / sum : score[e];
}

static void sparse_mixer(const double *logit, double *w)
{
    bool gone[FFNS] = {false};
    for (int pick = 0; pick < 2; pick++) {
        const int top = best(logit, FFNS, gone, NULL);
        double sum = 0;
        for (int e = 0; e < FFNS; e++)
            if (!gone[e] && (logit[top] - logit[e]) / fmax(fabs(logit[e]), logit[top]) <= 2 * (double)0.2f)
                sum += exp(logit[e] - logit[top]);
        w[top] = 1 / sum;
        gone[top] = true;
    }
}

static void expert_choice(weights p, weights w)
{
    const int capacity = N * 2 / FFNS;
    for (int e = 0; e < FFNS; e++)
        for (int t = 0; t < N; t++) {
            int ahead = 0;
            for (int u = 0; u < N; u++)
                ahead += p[u][e] > p[t][e] || (p[u][e] == p[t][e] && u < t);
            w[t][e] = ahead < capacity ? p[t][e] : 0;
        }
}

static void equal_groups(const double *p, const float *factor, double *w)
{
    for (int g = 0; g < 2; g++) {
        bool taken[4];
        top_k(p + 4 * g, 4, 2, taken);
        for (int e = 0; e < 4; e++)
            w[4 * g + e] = taken[e] ? p[4 * g + e] * (double)factor[4 * g + e] : 0;
    }
}

static void limited(weights p, bool drop, weights w)
{
    enum { WINDOW = 24, CAPACITY = 5 }; /* ceil(0.75 * 2 * 24 / 8) */
    int taken_by[FFNS];
    for (int t = 0; t < N; t++) {
        bool room[FFNS], taken[FFNS] = {false};
        for (int e = 0; e < FFNS; e++) {
            taken_by[e] = t % WINDOW == 0 ? 0 : taken_by[e];
            room[e] = taken_by[e] < CAPACITY;
        }
        for (int pick = 0; pick < 2; pick++) {
            const int e = best(p[t], FFNS, taken, drop ? NULL : room);
            if (e < 0)
                break;
            taken[e] = true;
            if (!room[e])
                continue;
            w[t][e] = p[t][e];
            taken_by[e]++;
        }
    }
}

static void route(const net *t, int layer, weights logit, weights w)
{
    static weights p;
    memset(w, 0, sizeof(weights));
    for (int i = 0; i < N; i++)
        softmax(logit[i], t->n_expert, p[i]);
    if (is(t, "expert-choice-encoder"))
        expert_choice(p, w);
    if (strncmp(t->router, "capacity", 8) == 0)
        limited(p, is(t, "capacity-drop"), w);
    for (int i = 0; i < N; i++) {
        if (is(t, "sqrt-softplus")) {
            for (int e = 0; e < FFNS; e++)
                p[i][e] = sqrt(log1p(exp(logit[i][e])));
            plain(p[i], FFNS, 2, FFNS, true, w[i]);
        } else if (is(t, "sparse-mixer")) {
            sparse_mixer(logit[i], w[i]);
        } else if (is(t, "expert-choice")) {
            const float *threshold = tensor(t, "blk.%d.ffn_exp_threshold.weight", layer);
            for (int e = 0; e < FFNS; e++)
                w[i][e] = p[i][e] >= (double)threshold[e] ? p[i][e] : 0;
        } else if (is(t, "base")) {
            for (int e = 0; e < FFNS; e++)
                p[i][e] = sigmoid(logit[i][e]);
            plain(p[i], FFNS, 1, FFNS, false, w[i]);
        } else if (is(t, "moge")) {
            equal_groups(p[i], tensor(t, "blk.%d.ffn_exp_scale.weight", layer), w[i]);
        } else if (is(t, "null")) {
            plain(p[i], FFNS + 4, 3, FFNS, true, w[i]);
        } else if (is(t, "moe++")) {
            plain(p[i], FFNS + 4, 3, FFNS + 3, true, w[i]);
        } else if (is(t, "hmoe")) {
            plain(p[i], FFNS, 3, FFNS, false, w[i]);
        } else if (is(t, "rmoe") || is(t, "recursion") || strncmp(t->router, "chain", 5) == 0) {
            plain(p[i], FFNS, 2, FFNS, false, w[i]);
        }
    }
}

/* ---- experts ---- */

static void ffn(const net *t, int layer, int e, const double *x, double *y)
{
    const bool own = is(t, "hmoe");
    const int width = own && e % 2 == 1 ? 2 * X : X, skip = own ? 0 : e * X * D;
    const char *const names[] = {"blk.%d.ffn_gate_exps.weight", "blk.%d.ffn_up_exps.weight",
                                 "blk.%d.ffn_down_exps.weight"};
    const char *const owns[] = {"blk.%d.ffn_gate.%d.weight", "blk.%d.ffn_up.%d.weight", "blk.%d.ffn_down.%d.weight"};
    const char *const *name = own ? owns : names;
    double gate[MAX_X], up[MAX_X];
    times(tensor(t, name[0], layer, e) + skip, x, D, width, gate);
    times(tensor(t, name[1], layer, e) + skip, x, D, width, up);
    for (int i = 0; i < width; i++)
        up[i] *= gate[i] * sigmoid(gate[i]);
    times(tensor(t, name[2], layer, e) + skip, up, width, D, y);
}

/* Two constant experts, a copy, a zero; or zeros alone. */
static void other(const net *t, int layer, int k, const double *x, double *y)
{
    memset(y, 0, D * sizeof *y);
    if (is(t, "moe++") && k == 2)
        memcpy(y, x, D * sizeof *y);
    if (!is(t, "moe++") || k >= 2)
        return;
    const float *v = tensor(t, "blk.%d.ffn_const.weight", layer) + k * D;
    const float *mix = tensor(t, "blk.%d.ffn_const_inp.weight", layer) + k * 2 * D;
    const double l[2] = {dot(mix, x, D), dot(mix + D, x, D)};
    double a[2];
    softmax(l, 2, a);
    for (int d = 0; d < D; d++)
        y[d] = a[0] * x[d] + a[1] * (double)v[d];
}

static void mix_experts(const net *t, int layer, const double *w, const double *x, double *y)
{
    memset(y, 0, D * sizeof *y);
    for (int e = 0; e < t->n_expert; e++) {
        double out[D];
        if (w[e] == 0)
            continue;
        if (e < FFNS)
            ffn(t, layer, e, x, out);
        else
            other(t, layer, e - FFNS, x, out);
        for (int d = 0; d < D; d++)
            y[d] += w[e] * out[d];
    }
}

static void gru(const net *t, const double *u, double *h, int n)
{
    double in[3 * D], state[3 * D];
    const float *b = tensor(t, "ffn_gate_gru_in.bias"), *c = tensor(t, "ffn_gate_gru_state.bias");
    times(tensor(t, "ffn_gate_gru_in.weight"), u, n, 3 * n, in);
    times(tensor(t, "ffn_gate_gru_state.weight"), h, n, 3 * n, state);
    for (int i = 0; i < n; i++) {
        const double r = sigmoid(in[i] + (double)b[i] + state[i] + (double)c[i]);
        const double z = sigmoid(in[n + i] + (double)b[n + i] + state[n + i] + (double)c[n + i]);
        const double fresh = tanh(in[2 * n + i] + (double)b[2 * n + i] + r * (state[2 * n + i] + (double)c[2 * n + i]));
        h[i] = (1 - z) * fresh + z * h[i];
    }
}

static void find_logits(net *t, int layer, int round, double (*h)[D], weights logit)
{
    const float *w = tensor(t, "blk.%d.ffn_gate_inp.weight", layer);
    for (int i = 0; i < N; i++) {
        if (is(t, "rmoe")) {
            enum { H = D / 4 + 1 };
            double u[H];
            times(tensor(t, "blk.%d.ffn_gate_proj.weight", layer), h[i], D, H, u);
            gru(t, u, t->carried[i], H);
            times(w, t->carried[i], H, FFNS, logit[i]);
            continue;
        }
        times(w + round * D * t->n_expert, h[i], D, t->n_expert, logit[i]);
        if (!is(t, "moe++"))
            continue;
        for (int e = 0; e < t->n_expert && layer > 0; e++)
            logit[i][e] += dot(tensor(t, "blk.%d.ffn_gate_res.weight", layer) + e * t->n_expert, t->last[i],
                               t->n_expert);
        memcpy(t->last[i], logit[i], sizeof t->last[i]);
    }
}

static void feed_forward(net *t, int layer)
{
    static weights logit, w;
    static double h[N][D], y[N][D];
    const int rounds = is(t, "chain") ? 3 : is(t, "chain-outer") ? 2 : 1;
    for (int i = 0; i < N; i++)
        norm(t->x[i], tensor(t, "blk.%d.ffn_norm.weight", layer), D, h[i]);
    for (int round = 0; round < rounds; round++) {
        find_logits(t, layer, round, h, logit);
        route(t, layer, logit, w);
        for (int i = 0; i < N; i++) {
            mix_experts(t, layer, w[i], h[i], y[i]);
            for (int d = 0; d < D; d++)
                h[i][d] = y[i][d] + (is(t, "chain") ? h[i][d] : 0);
        }
    }
    for (int i = 0; i < N; i++)
        for (int d = 0; d < D; d++)
            t->x[i][d] = h[i][d] + (is(t, "chain") ? 0 : t->x[i][d]);
}

/* ---- layers ---- */

static void run_layer(net *t, int layer, bool first_round)
{
    for (int i = 0; i < N && first_round; i++)
        keys_and_values(t, layer, i);
    for (int i = 0; i < N; i++)
        attend(t, layer, i);
    feed_forward(t, layer);
}

/* The middle layer three times; who leaves stays out. */
static void recurse(net *t)
{
    static const double threshold[] = {0, 0.25, (double)0.3f};
    static double before[N][D];
    for (int round = 0; round < 3; round++) {
        double g[N];
        memcpy(before, t->x, sizeof before);
        for (int i = 0; i < N; i++) {
            g[i] = 0.5 * sigmoid(dot(tensor(t, "recursion_gate.%d.weight", round), t->x[i], D));
            t->active[i] = (round == 0 || t->active[i]) && g[i] >= threshold[round];
        }
        run_layer(t, 1, round == 0);
        for (int i = 0; i < N; i++)
            for (int d = 0; d < D; d++)
                t->x[i][d] = before[i][d] + (t->active[i] ? g[i] * t->x[i][d] : 0);
    }
}

static void run_exactly(net *t, const int32_t *token, double *logits, int n_vocab)
{
    for (int i = 0; i < N; i++)
        for (int d = 0; d < D; d++)
            t->x[i][d] = (double)tensor(t, "token_embd.weight")[token[i] * D + d];
    for (int l = 0; l < t->n_layer; l++)
        if (is(t, "recursion") && l == 1)
            recurse(t);
        else
            run_layer(t, l, true);
    for (int i = 0; i < N; i++) {
        double h[D];
        norm(t->x[i], tensor(t, "output_norm.weight"), D, h);
        times(tensor(t, "output.weight"), h, D, n_vocab, logits + i * n_vocab);
    }
}

static void run_engine(const md_model *m, const int32_t *token, float *logits, int n_vocab)
{
    md_session_args args;
    md_session *s;
    md_seq *q, *seq[N];
    uint8_t want[N];
    md_session_args_default(m, &args);
    args.n_threads = 2;
    args.n_positions = args.n_rows = args.n_logits = N;
    args.kv_type = MD_KV_F32;
    OK(md_session_new(m, &args, &s, err));
    OK(md_seq_new(s, &q, err));
    for (int i = 0; i < N; i++) {
        seq[i] = q;
        want[i] = MD_WANT_LOGITS;
    }
    OK(md_decode(s, &(md_batch){.n = N, .token = token, .seq = seq, .want = want}, err));
    for (int i = 0; i < N; i++)
        memcpy(logits + i * n_vocab, md_step_logits(s, i), (size_t)n_vocab * sizeof *logits);
    md_session_free(s);
}

static void engine_and_formulas_agree(void **state)
{
    const char *router = *state, *path = temp_path("router.gguf");
    const bool others = strcmp(router, "null") == 0 || strcmp(router, "moe++") == 0;
    static net t;
    t = (net){.router = router, .n_expert = others ? FFNS + 4 : FFNS};
    OK(md_synth_write(&(md_synth_spec){.arch = "medley-moe",
                                       .router = router,
                                       .n_embd = D,
                                       .n_head = HEADS,
                                       .n_head_kv = KV_HEADS,
                                       .n_ff_exp = X,
                                       .n_expert = FFNS,
                                       .seed = 11},
                      path, err));
    md_model *m;
    OK(md_model_open(path, NULL, &m, err));
    OK(md_gguf_open(path, MD_GGUF_MAP, &t.file, err));
    unlink(path);
    const int n_vocab = md_model_get_info(m)->n_vocab;
    t.n_layer = md_model_get_info(m)->n_layer;
    int32_t token[N];
    fill_tokens(token, N, n_vocab, 3);
    double *exact = calloc((size_t)(N * n_vocab), sizeof *exact), error = 0, size = 0;
    float *got = calloc((size_t)(N * n_vocab), sizeof *got);
    assert_true(exact && got && t.n_layer <= MAX_LAYERS);
    run_exactly(&t, token, exact, n_vocab);
    run_engine(m, token, got, n_vocab);
    for (int i = 0; i < N * n_vocab; i++) {
        error = fmax(error, fabs((double)got[i] - exact[i]));
        size = fmax(size, fabs(exact[i]));
    }
    print_message("%s: off by %.2g, logits up to %.3g\n", router, error, size);
    assert_true(size > 1 && error <= 5e-6 * size);
    free(exact);
    free(got);
    md_gguf_close(t.file);
    md_model_close(m);
}

int main(void)
{
    struct CMUnitTest tests[32] = {0};
    size_t n = 0;
    for (const char *name; n < 32 && (name = md_synth_router_name(n)); n++)
        tests[n] = (struct CMUnitTest){name, engine_and_formulas_agree, NULL, NULL, (void *)(uintptr_t)name};
    return _cmocka_run_group_tests("routers_exact", tests, n, NULL, NULL);
}
