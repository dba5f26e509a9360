/* SPDX-License-Identifier: Apache-2.0
 *
 * Missing experts that are left out or replaced: which ones, with what weights, what is counted, what is never touched, and that
 * nothing made so is saved. An observer sees what routers chose and what was in memory then; md_step_routing what was run. */
#include "model/session.h"
#include "support/synth_model.h"

#include <math.h>
#include <medley/eval.h>

enum { LAYERS = 3, EXPERTS = 16, K = 4, SLOTS = 6, ROWS = 8 };

static md_model *streamed, *resident;

/* The file stays: sessions of streamed models read it. */
static md_model *open_it(const md_synth_spec *spec, const char *name, md_stream stream)
{
    const char *path = temp_path(name);
    md_model *m = NULL;
    OK(md_synth_write(spec, path, err));
    OK(md_model_open(path, &(md_model_args){.stream = stream}, &m, err));
    return m;
}

static int setup(void **state)
{
    (void)state;
    const md_synth_spec spec = {
        .arch = "qwen3moe", .n_layer = LAYERS, .n_expert = EXPERTS, .n_expert_used = K, .seed = 6, .type_ffn = "Q8_0"};
    streamed = open_it(&spec, "on-miss.gguf", MD_STREAM_ALWAYS);
    resident = open_it(&spec, "on-miss.gguf", MD_STREAM_NEVER);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    md_model_close(streamed);
    md_model_close(resident);
    unlink(temp_path("on-miss.gguf"));
    return 0;
}

/* What routers chose in a step, and whether it was in memory then. */
typedef struct seen {
    const md_session *s;
    int32_t expert[LAYERS][ROWS][K];
    float weight[LAYERS][ROWS][K];
    bool there[LAYERS][EXPERTS];
} seen;

static void look(void *user, const md_event *e)
{
    seen *x = user;
    memcpy(x->expert[e->layer], e->expert_id, (size_t)(e->n_rows * K) * sizeof(int32_t));
    memcpy(x->weight[e->layer], e->weight, (size_t)(e->n_rows * K) * sizeof(float));
    for (int32_t i = 0; i < EXPERTS; i++)
        x->there[e->layer][i] = md_session_expert_present(x->s, e->layer, i);
}

static md_session *session_of(const md_model *m, md_on_miss on_miss, float share, int32_t slots, seen *x)
{
    md_session_args args;
    md_session *s;
    md_session_args_default(m, &args);
    args.n_threads = 2;
    args.n_positions = 512;
    args.n_rows = args.n_logits = ROWS;
    args.most_slots = slots;
    args.on_miss = on_miss;
    args.on_miss_share = share;
    args.read_ahead = slots == 3 ? MD_READ_AHEAD_ALWAYS
                                 : MD_READ_AHEAD_OFF; /* else what is there depends on the disk */
    OK(md_session_new(m, &args, &s, err));
    if (x) {
        *x = (seen){.s = s};
        OK(md_session_add_observer(s, 1u << MD_POINT_ROUTING, look, x, err));
    }
    return s;
}

/* A step of one row of each of n sequences, or of n rows of one. */
static void step(md_session *s, md_seq *const *seq, int32_t n, int seed)
{
    int32_t token[ROWS];
    uint8_t want[ROWS];
    fill_tokens(token, n, md_model_get_info(s->model)->n_vocab, (uint32_t)seed);
    for (int32_t i = 0; i < n; i++)
        want[i] = MD_WANT_LOGITS | MD_WANT_ROUTING;
    OK(md_decode(s, &(md_batch){.n = n, .token = token, .seq = seq, .want = want}, err));
}

typedef struct ran {
    const int32_t *expert;
    const float *weight;
} ran;

static ran ran_of(const md_session *s, int32_t row, int32_t layer)
{
    ran r;
    int32_t k;
    assert_true(md_step_routing(s, row, layer, &r.expert, &r.weight, &k));
    assert_int_equal(k, K);
    return r;
}

static float sum_of(const float *w)
{
    return w[0] + w[1] + w[2] + w[3];
}

/* Is slot i one that may be changed in a step of one row? */
static bool is_light(const seen *x, int32_t layer, int32_t i, float share)
{
    const float *w = x->weight[layer][0];
    int32_t heaviest = 0;
    for (int32_t a = 1; a < K; a++)
        heaviest = w[a] > w[heaviest] ? a : heaviest;
    return i != heaviest && !x->there[layer][x->expert[layer][0][i]] && w[i] < share * sum_of(w);
}

/* ---- one sequence ---- */

static void what_is_light_and_missing_is_skipped(void **state)
{
    (void)state;
    static const float shares[] = {0.2f, 0.24f, 1.0f};
    for (int c = 0; c < 3; c++) {
        seen x;
        md_session *s = session_of(streamed, MD_ON_MISS_SKIP, shares[c], SLOTS, &x);
        md_seq *q;
        uint64_t changed = 0;
        double weight = 0.0;
        md_stream_counts n;
        OK(md_seq_new(s, &q, err));
        for (int t = 0; t < 60; t++) {
            step(s, &q, 1, t);
            for (int32_t l = 0; l < LAYERS; l++) {
                const ran r = ran_of(s, 0, l);
                float kept = 0.0f, gone = 0.0f;
                for (int32_t i = 0; i < K; i++) {
                    const bool light = is_light(&x, l, i, shares[c]);
                    assert_int_equal(r.expert[i], light ? -1 : x.expert[l][0][i]);
                    *(light ? &gone : &kept) += x.weight[l][0][i];
                    changed += light;
                }
                const float sum = sum_of(x.weight[l][0]);
                weight += gone / sum;
                assert_true(kept > 0.0f && fabsf(sum_of(r.weight) - sum) < 1e-5f * sum);
                for (int32_t i = 0; i < K; i++) /* all that remain grow alike */
                    assert_true(fabsf(r.weight[i] - (r.expert[i] < 0 ? 0.0f : x.weight[l][0][i] * sum / kept)) <
                                1e-5f * sum);
            }
        }
        md_session_stream_counts(s, &n);
        assert_true(changed > 10 && n.on_miss_uses == changed);
        assert_true(n.on_miss_rows == 60 * LAYERS && fabs(n.on_miss_weight - weight) < 1e-4);
        assert_true(n.hits + n.misses == 60 * LAYERS * K - changed); /* what was left out was not asked for */
        md_session_free(s);
    }
}

static void what_is_light_and_missing_is_replaced(void **state)
{
    (void)state;
    const float share = 0.24f;
    seen x;
    md_session *s = session_of(streamed, MD_ON_MISS_REROUTE, share, SLOTS, &x);
    md_seq *q;
    uint64_t changed = 0;
    double moved = 0.0;
    md_stream_counts n;
    OK(md_seq_new(s, &q, err));
    for (int t = 0; t < 60; t++) {
        step(s, &q, 1, t);
        for (int32_t l = 0; l < LAYERS; l++) {
            const ran r = ran_of(s, 0, l);
            const int32_t *chose = x.expert[l][0];
            const float sum = sum_of(x.weight[l][0]);
            assert_true(fabsf(sum_of(r.weight) - sum) < 1e-5f * sum);
            for (int32_t i = 0; i < K; i++) {
                if (r.expert[i] == chose[i])
                    continue;
                assert_true(is_light(&x, l, i, share) && x.there[l][r.expert[i]]);
                for (int32_t a = 0; a < K; a++)
                    assert_true(chose[a] != r.expert[i] && (a == i || r.expert[a] != r.expert[i]));
                changed++;
                moved += x.weight[l][0][i] / sum;
            }
        }
        /* The last layer's scores are still there: its substitutes are the best, with weights in proportion. */
        const ran r = ran_of(s, 0, LAYERS - 1);
        const int32_t *chose = x.expert[LAYERS - 1][0];
        const float *score = s->s.router_logits;
        for (int32_t i = 0; i < K; i++) {
            assert_true(fabsf(r.weight[i] / r.weight[0] - score[r.expert[i]] / score[r.expert[0]]) < 1e-4f);
            for (int32_t e = 0; e < EXPERTS && r.expert[i] != chose[i]; e++) {
                bool used = false;
                for (int32_t a = 0; a < K; a++)
                    used |= e == chose[a] || e == r.expert[a];
                assert_true(used || !x.there[LAYERS - 1][e] || score[e] <= score[r.expert[i]]);
            }
        }
    }
    md_session_stream_counts(s, &n);
    assert_true(changed > 10 && n.on_miss_uses == changed && fabs(n.on_miss_weight - moved) < 1e-4);
    md_session_free(s);
}

/* ---- what is never touched ---- */

static void prompts_are_as_ever(void **state)
{
    (void)state;
    seen x;
    md_session *s = session_of(streamed, MD_ON_MISS_SKIP, 1.0f, SLOTS, &x),
               *exact = session_of(resident, 0, 0, 0, NULL);
    md_seq *q, *p, *seq[ROWS], *other[ROWS];
    md_stream_counts n;
    OK(md_seq_new(s, &q, err));
    OK(md_seq_new(exact, &p, err));
    for (int i = 0; i < ROWS; i++) {
        seq[i] = q;
        other[i] = p;
    }
    for (int t = 0; t < 4; t++) {
        step(s, seq, ROWS, t);
        step(exact, other, ROWS, t);
        for (int32_t i = 0; i < ROWS; i++)
            assert_memory_equal(md_step_logits(s, i), md_step_logits(exact, i),
                                (size_t)md_model_get_info(resident)->n_vocab * sizeof(float));
    }
    md_session_stream_counts(s, &n);
    assert_true(n.on_miss_uses == 0 && n.on_miss_weight == 0.0 && n.misses > 0);
    md_session_free(s);
    md_session_free(exact);
}

static void nothing_changes_unless_asked_for(void **state)
{
    (void)state;
    md_session_args args;
    md_session_args_default(streamed, &args);
    assert_int_equal(args.on_miss, MD_ON_MISS_READ);
    seen x;
    md_session *s[3] = {session_of(resident, MD_ON_MISS_READ, 0, 0, NULL),
                        session_of(streamed, MD_ON_MISS_READ, 1.0f, SLOTS, &x),
                        session_of(resident, MD_ON_MISS_SKIP, 1.0f, 0, NULL)}; /* where nothing is ever missing */
    md_seq *q[3];
    for (int i = 0; i < 3; i++)
        OK(md_seq_new(s[i], &q[i], err));
    for (int t = 0; t < 30; t++)
        for (int i = 0; i < 3; i++) {
            step(s[i], &q[i], 1, t);
            assert_memory_equal(md_step_logits(s[i], 0), md_step_logits(s[0], 0),
                                (size_t)md_model_get_info(resident)->n_vocab * sizeof(float));
        }
    char key[3][256];
    for (int i = 0; i < 3; i++) {
        md_seq_numerics_key(q[i], key[i], sizeof key[i]);
        assert_string_equal(key[i], key[0]);
        md_session_free(s[i]);
    }
    assert_null(strstr(key[0], "on-miss"));
}

/* In a step of a prompt and of sequences that are written, an expert that is read for one row is there for all. */
static void what_is_read_anyway_is_used(void **state)
{
    (void)state;
    seen x;
    md_session *s = session_of(streamed, MD_ON_MISS_SKIP, 0.24f, SLOTS, &x);
    md_seq *seq[ROWS];
    int shared = 0, skipped = 0;
    for (int i = 0; i < 6; i++)
        OK(md_seq_new(s, &seq[i], err));
    seq[6] = seq[7] = seq[5]; /* three rows of a prompt */
    for (int t = 0; t < 20; t++) {
        step(s, seq, ROWS, t);
        for (int32_t l = 0; l < LAYERS; l++) {
            bool run[EXPERTS] = {false};
            for (int32_t row = 0; row < ROWS; row++)
                for (int32_t i = 0; i < K; i++)
                    if (ran_of(s, row, l).expert[i] >= 0)
                        run[ran_of(s, row, l).expert[i]] = true;
            for (int32_t row = 0; row < ROWS; row++)
                for (int32_t i = 0; i < K; i++) {
                    const int32_t e = x.expert[l][row][i], is = ran_of(s, row, l).expert[i];
                    assert_true(is == e || (is == -1 && row < 5 && !run[e] && !x.there[l][e]));
                    skipped += is != e;
                    shared += is == e && row < 5 && !x.there[l][e] &&
                              x.weight[l][row][i] < 0.24f * sum_of(x.weight[l][row]);
                }
        }
    }
    assert_true(shared > 0 && skipped > 0);
    md_session_free(s);
}

/* ---- what is made so ---- */

static void it_is_never_saved(void **state)
{
    (void)state;
    const char *path = temp_path("on-miss.saved");
    static const char *const name[] = {"", " on-miss=skip:0.1", " on-miss=reroute:0.1"};
    for (md_on_miss o = MD_ON_MISS_READ; o <= MD_ON_MISS_REROUTE; o++) {
        md_session *s = session_of(streamed, o, 0, SLOTS, NULL);
        md_seq *q, *fork;
        char key[256];
        md_error e = {0};
        OK(md_seq_new(s, &q, err));
        step(s, &q, 1, 3);
        OK(md_seq_fork(q, &fork, err));
        md_seq_numerics_key(q, key, sizeof key);
        assert_string_equal(key + strlen(key) - strlen(name[o]), name[o]);
        const md_status status = md_seq_save(fork, NULL, path, &e);
        assert_int_equal(status, o == MD_ON_MISS_READ ? MD_OK : MD_ERR_UNSUPPORTED);
        assert_int_equal(access(path, F_OK), o == MD_ON_MISS_READ ? 0 : -1);
        assert_true(o == MD_ON_MISS_READ || strstr(e.message, "not saved"));
        unlink(path);
        md_session_free(s);
    }
}

/* Half of each window is read like a prompt, the rest token by token, as an answer is: there it counts. */
static void perplexity_tells_its_price(void **state)
{
    (void)state;
    enum { TOKENS = 192, CONTEXT = 64 };
    int32_t token[TOKENS];
    double perplexity[3];
    fill_tokens(token, TOKENS, md_model_get_info(streamed)->n_vocab, 5);
    for (md_on_miss o = MD_ON_MISS_READ; o <= MD_ON_MISS_REROUTE; o++) {
        md_session_args args;
        md_session *s;
        md_perplexity p;
        md_stream_counts n;
        md_session_args_default(streamed, &args);
        args.n_positions = CONTEXT;
        args.n_logits = 1;
        args.most_slots = SLOTS;
        args.on_miss = o;
        args.on_miss_share = 1.0f;
        OK(md_session_new(streamed, &args, &s, err));
        OK(md_eval_perplexity(s, token, TOKENS, CONTEXT, NULL, NULL, &p, err));
        md_session_stream_counts(s, &n);
        assert_true(p.n_scored == 3 * 31 && isfinite(p.perplexity));
        assert_true(o == MD_ON_MISS_READ ? n.on_miss_rows == 0
                                         : n.on_miss_rows == 3 * 31 * LAYERS && n.on_miss_uses > 0);
        perplexity[o] = p.perplexity;
        md_session_free(s);
    }
    assert_true(perplexity[0] != perplexity[1] && perplexity[0] != perplexity[2] && perplexity[1] != perplexity[2]);
}

static void nonsense_is_refused(void **state)
{
    (void)state;
    md_session_args args;
    md_session *s;
    md_error e = {0};
    md_session_args_default(resident, &args);
    args.on_miss = (md_on_miss)7;
    assert_int_equal(md_session_new(resident, &args, &s, &e), MD_ERR_ARGUMENT);
    static const float bad[] = {-0.1f, 1.5f, NAN, INFINITY};
    for (int i = 0; i < 4; i++) {
        md_session_args_default(streamed, &args);
        args.on_miss = MD_ON_MISS_SKIP;
        args.on_miss_share = bad[i];
        assert_int_equal(md_session_new(streamed, &args, &s, &e), MD_ERR_ARGUMENT);
        assert_non_null(strstr(e.message, "gate weight"));
    }
}

/* Families and routers of all kinds: a row keeps an expert, its weights keep their sum, an answer stays a number. */
static void routers_of_all_kinds_are_changed(void **state)
{
    (void)state;
    static const md_synth_spec specs[] = {
        {.arch = "deepseek2", .n_expert = 8, .n_expert_used = 3},
        {.arch = "gpt-oss", .n_expert = 8, .n_expert_used = 3},
        {.arch = "qwen2moe", .n_expert = 8, .n_expert_used = 3},
        {.arch = "medley-moe", .router = "moe++", .n_expert = 8},
        {.arch = "medley-moe", .router = "chain", .n_expert = 8},
        {.arch = "medley-moe", .router = "moge", .n_expert = 8},
        {.arch = "medley-moe", .router = "recursion", .n_expert = 8},
        {.arch = "medley-moe", .router = "sparse-mixer", .n_expert = 8},
        {.arch = "medley-moe", .router = "sqrt-softplus", .n_expert = 8},
    };
    for (size_t c = 0; c < sizeof specs / sizeof *specs; c++)
        for (md_on_miss o = MD_ON_MISS_SKIP; o <= MD_ON_MISS_REROUTE; o++) {
            md_model *m = open_it(&specs[c], "on-miss-kind.gguf", MD_STREAM_ALWAYS);
            md_session *s = session_of(m, o, 1.0f, 3, NULL);
            const int32_t n_vocab = md_model_get_info(m)->n_vocab;
            md_seq *q;
            md_stream_counts n;
            OK(md_seq_new(s, &q, err));
            for (int t = 0; t < 20; t++) {
                step(s, &q, 1, t);
                for (int32_t i = 0; i < n_vocab; i++)
                    assert_true(isfinite(md_step_logits(s, 0)[i]));
            }
            md_session_stream_counts(s, &n);
            assert_true(n.on_miss_weight >= 0.0 && n.on_miss_weight < (double)n.on_miss_rows && n.hits + n.misses > 0);
            if (n.on_miss_uses == 0)
                fail_msg("%s %s: nothing was changed", specs[c].arch, specs[c].router ? specs[c].router : "");
            md_session_free(s);
            md_model_close(m);
        }
    unlink(temp_path("on-miss-kind.gguf"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_light_and_missing_is_skipped),
        cmocka_unit_test(what_is_light_and_missing_is_replaced),
        cmocka_unit_test(prompts_are_as_ever),
        cmocka_unit_test(nothing_changes_unless_asked_for),
        cmocka_unit_test(what_is_read_anyway_is_used),
        cmocka_unit_test(it_is_never_saved),
        cmocka_unit_test(perplexity_tells_its_price),
        cmocka_unit_test(nonsense_is_refused),
        cmocka_unit_test(routers_of_all_kinds_are_changed),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
