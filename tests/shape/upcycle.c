/* SPDX-License-Identifier: Apache-2.0
 *
 * Upcycling as a change of files: what is copied is copied to the byte, what is drawn is drawn where and how
 * docs/upcycle.md says, and what cannot be done leaves nothing behind. */
#include "support/fixtures.h"

#include "format/gguf.h"
#include <medley/shape.h>

#include <dirent.h>
#include <math.h>
#include <string.h>

enum { N_EXPERT = 5, N_ROWS = 8 };

static const char *const part_name[] = {"ffn_gate", "ffn_up", "ffn_down"};
static char dir[256];

static int make_dir(void **state)
{
    (void)state;
    const char *base = getenv("TMPDIR");
    snprintf(dir, sizeof dir, "%s/medley-upcycle-XXXXXX", base ? base : P_tmpdir);
    return mkdtemp(dir) ? 0 : -1;
}

/* Path of a file in the test's folder; two at a time. */
static const char *in_dir(const char *name)
{
    static char path[2][512];
    static int turn;
    turn = !turn;
    snprintf(path[turn], sizeof path[turn], "%s/%s", dir, name);
    return path[turn];
}

static int remove_dir(void **state)
{
    (void)state;
    DIR *d = opendir(dir);
    for (const struct dirent *e; d && (e = readdir(d));)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            remove(in_dir(e->d_name));
    if (d)
        closedir(d);
    return rmdir(dir);
}

static size_t files_in_dir(void)
{
    size_t n = 0;
    DIR *d = opendir(dir);
    assert_non_null(d);
    while (readdir(d))
        n++;
    closedir(d);
    return n - 2;
}

/* ---- dense models ---- */

typedef struct dense {
    const char *arch;
    int32_t n_layer;
    int64_t n_embd, n_ff;
    md_type type[3]; /* gate, up, down */
    /* what can be wrong with it */
    const char *extra, *omit; /* names of tensors */
    int64_t extra_n;          /* size of the extra one; 0: 1 */
    uint32_t n_expert;
    bool bad_shape;
} dense;

static const dense small = {.arch = "llama", .n_layer = 2, .n_embd = 64, .n_ff = 128};

static void ok(md_status s, const md_error *err)
{
    if (s != MD_OK)
        fail_msg("%s", err->message);
}

static float next_value(uint32_t *x)
{
    float sum = -6.0f; /* of twelve uniforms: mean 0, variance 1 */
    for (int i = 0; i < 12; i++)
        sum += (float)((*x = *x * 1664525u + 1013904223u) >> 8) * 0x1p-24f;
    return sum;
}

static void put_values(md_gguf_writer *w, md_type type, int64_t n, uint32_t seed, float mean, float deviation)
{
    size_t bytes;
    md_error err;
    assert_true(md_type_row_bytes(type, n, &bytes));
    float *v = calloc((size_t)n, sizeof *v);
    unsigned char *out = calloc(bytes, 1);
    assert_non_null(v);
    assert_non_null(out);
    for (int64_t i = 0; i < n; i++)
        v[i] = mean + deviation * next_value(&seed);
    if (md_type_can_encode(type))
        md_type_encode(type, v, out, n);
    ok(md_gguf_data(w, out, bytes, &err), &err);
    free(v);
    free(out);
}

static bool omitted(const dense *d, const char *name)
{
    return d->omit && strcmp(d->omit, name) == 0;
}

/* The FFN tensors in the order that converters write them, and their neighbours. Declares them or, with data true,
 * writes them. */
static void ffn_tensors(md_gguf_writer *w, const dense *d, bool data)
{
    static const int order[] = {2, 0, 1};
    md_error err;
    for (int32_t l = 0; l < d->n_layer; l++) {
        char name[64];
        for (int i = 0; i < 3; i++) {
            const int p = order[i];
            const int64_t wrong = d->bad_shape && l == 1 && p == 1 ? 32 : 0;
            const int64_t dim[] = {p == 2 ? d->n_ff : d->n_embd, (p == 2 ? d->n_embd : d->n_ff) + wrong};
            snprintf(name, sizeof name, "blk.%d.%s.weight", l, part_name[p]);
            if (omitted(d, name))
                continue;
            if (data)
                put_values(w, d->type[p], dim[0] * dim[1], (uint32_t)(l * 3 + p), 0.1f * (float)p, 0.5f + (float)l);
            else
                ok(md_gguf_add_tensor(w, name, d->type[p], 2, dim, &err), &err);
        }
        snprintf(name, sizeof name, "blk.%d.ffn_norm.weight", l);
        if (data)
            put_values(w, MD_TYPE_F32, d->n_embd, 77, 1.0f, 0.1f);
        else
            ok(md_gguf_add_tensor(w, name, MD_TYPE_F32, 1, &d->n_embd, &err), &err);
    }
}

static void write_keys(md_gguf_writer *w, const dense *d)
{
    md_error err;
    char key[64];
    ok(md_gguf_set_string(w, "general.architecture", d->arch, &err), &err);
    ok(md_gguf_set_string(w, "general.name", "Tiny", &err), &err);
    ok(md_gguf_set_string(w, "general.size_label", "1K", &err), &err);
    snprintf(key, sizeof key, "%s.block_count", d->arch);
    ok(md_gguf_set_u32(w, key, (uint32_t)d->n_layer, &err), &err);
    snprintf(key, sizeof key, "%s.embedding_length", d->arch);
    ok(md_gguf_set_u32(w, key, (uint32_t)d->n_embd, &err), &err);
    snprintf(key, sizeof key, "%s.feed_forward_length", d->arch);
    ok(md_gguf_set_u32(w, key, (uint32_t)d->n_ff, &err), &err);
    snprintf(key, sizeof key, "%s.rope.freq_base", d->arch);
    ok(md_gguf_set_f32(w, key, 5000.0f, &err), &err);
    const md_str tokens[] = {{"a", 1}, {"bc", 2}};
    ok(md_gguf_set_strings(w, "tokenizer.ggml.tokens", tokens, 2, &err), &err);
    snprintf(key, sizeof key, "%s.expert_count", d->arch);
    if (d->n_expert)
        ok(md_gguf_set_u32(w, key, d->n_expert, &err), &err);
}

static void write_dense(const char *path, const dense *d)
{
    md_error err;
    md_gguf_writer *w;
    ok(md_gguf_writer_new(path, &w, &err), &err);
    write_keys(w, d);
    const int64_t embd[] = {d->n_embd, N_ROWS}, extra[] = {d->extra_n ? d->extra_n : 1};
    ok(md_gguf_add_tensor(w, "token_embd.weight", MD_TYPE_F16, 2, embd, &err), &err);
    ffn_tensors(w, d, false);
    if (d->extra)
        ok(md_gguf_add_tensor(w, d->extra, MD_TYPE_F32, 1, extra, &err), &err);
    ok(md_gguf_begin(w, &err), &err);
    put_values(w, MD_TYPE_F16, d->n_embd * N_ROWS, 5, 0.0f, 1.0f);
    ffn_tensors(w, d, true);
    if (d->extra)
        put_values(w, MD_TYPE_F32, extra[0], 6, 0.0f, 1.0f);
    ok(md_gguf_commit(w, &err), &err);
    md_gguf_writer_close(w);
}

/* ---- reading back ---- */

static md_gguf *open_gguf(const char *path)
{
    md_gguf *g;
    md_error err;
    ok(md_gguf_open(path, MD_GGUF_MAP, &g, &err), &err);
    return g;
}

static const md_gguf_tensor *tensor(const md_gguf *g, const char *fmt, int layer, const char *part)
{
    char name[64];
    snprintf(name, sizeof name, fmt, layer, part);
    const md_gguf_tensor *t = md_gguf_find_tensor(g, name);
    if (!t)
        fail_msg("no tensor %s", name);
    return t;
}

static uint32_t key_u32(const md_gguf *g, const char *key)
{
    uint32_t v = 0;
    bool found;
    md_error err;
    ok(md_gguf_u32(g, key, &v, &found, &err), &err);
    if (!found)
        fail_msg("no key %s", key);
    return v;
}

static void check_string(const md_gguf *g, const char *key, const char *want)
{
    md_str v;
    bool found;
    md_error err;
    ok(md_gguf_string(g, key, &v, &found, &err), &err);
    assert_true(found);
    if (!md_str_eq(v, want))
        fail_msg("%s is '%.*s', not '%s'", key, (int)v.n, v.s, want);
}

static md_upcycle_args args_of(float drop_ratio)
{
    md_upcycle_args a;
    md_upcycle_args_default(&a);
    a.n_expert = N_EXPERT;
    a.drop_ratio = drop_ratio;
    return a;
}

static md_upcycle_result upcycle(const md_upcycle_args *a)
{
    md_upcycle_result r;
    md_error err;
    ok(md_upcycle(in_dir("dense.gguf"), in_dir("moe.gguf"), a, &r, &err), &err);
    return r;
}

/* ---- tests ---- */

static void expect_copies(const md_gguf *in, const md_gguf *out, const dense *d)
{
    for (int l = 0; l < d->n_layer; l++)
        for (int p = 0; p < 3; p++) {
            const md_gguf_tensor *one = tensor(in, "blk.%d.%s.weight", l, part_name[p]);
            const md_gguf_tensor *all = tensor(out, "blk.%d.%s_exps.weight", l, part_name[p]);
            assert_int_equal(all->n_dims, 3);
            assert_int_equal(all->type, one->type);
            assert_int_equal(all->dim[0], one->dim[0]);
            assert_int_equal(all->dim[1], one->dim[1]);
            assert_int_equal(all->dim[2], N_EXPERT);
            for (size_t e = 0; e < N_EXPERT; e++)
                assert_memory_equal((const char *)all->data + e * one->bytes, one->data, one->bytes);
        }
}

static void expect_rest_untouched(const md_gguf *in, const md_gguf *out)
{
    for (size_t i = 0; i < md_gguf_n_tensors(in); i++) {
        const md_gguf_tensor *t = md_gguf_tensor_at(in, i);
        char name[64];
        snprintf(name, sizeof name, "%.*s", (int)t->name.n, t->name.s);
        const md_gguf_tensor *same = md_gguf_find_tensor(out, name);
        const bool dense_ffn = strstr(name, "ffn_") && !strstr(name, "norm");
        assert_true(!same == dense_ffn);
        if (dense_ffn)
            continue;
        assert_int_equal(same->type, t->type);
        assert_int_equal(same->bytes, t->bytes);
        assert_memory_equal(same->data, t->data, t->bytes);
    }
}

/* Normal numbers of deviation noise / sqrt(n_embd): mean and variance within 5 standard errors, no two rows alike. */
static void expect_router(const md_gguf *out, const dense *d, double noise)
{
    for (int l = 0; l < d->n_layer; l++) {
        const md_gguf_tensor *t = tensor(out, "blk.%d.%s.weight", l, "ffn_gate_inp");
        assert_int_equal(t->type, MD_TYPE_F32);
        assert_int_equal(t->n_dims, 2);
        assert_int_equal(t->dim[0], d->n_embd);
        assert_int_equal(t->dim[1], N_EXPERT);
        const float *v = t->data;
        const double n = (double)t->n_elements, want = noise / sqrt((double)d->n_embd);
        double sum = 0, squares = 0;
        for (int64_t i = 0; i < t->n_elements; i++) {
            sum += (double)v[i];
            squares += (double)v[i] * (double)v[i];
        }
        assert_true(fabs(sum / n) < 5 * want / sqrt(n));
        assert_true(fabs(squares / n / (want * want) - 1) < 5 * sqrt(2 / n));
        for (int e = 1; e < N_EXPERT; e++)
            assert_memory_not_equal(v, v + e * d->n_embd, (size_t)d->n_embd * sizeof *v);
    }
}

static void plain_copies_of_any_type(void **state)
{
    (void)state;
    const md_type types[][3] = {{MD_TYPE_F32, MD_TYPE_F32, MD_TYPE_F32},
                                {MD_TYPE_Q4_1, MD_TYPE_Q4_1, MD_TYPE_Q8_0},
                                {MD_TYPE_BF16, MD_TYPE_MXFP4, MD_TYPE_IQ4_NL}};
    for (int i = 0; i < 3; i++) {
        dense d = small;
        memcpy(d.type, types[i], sizeof d.type);
        write_dense(in_dir("dense.gguf"), &d);
        md_upcycle_args a = args_of(0.0f);
        a.noise = 0.5f;
        a.seed = 9;
        const md_upcycle_result r = upcycle(&a);
        md_gguf *in = open_gguf(in_dir("dense.gguf")), *out = open_gguf(in_dir("moe.gguf"));
        expect_copies(in, out, &d);
        expect_rest_untouched(in, out);
        expect_router(out, &d, 0.5);

        check_string(out, "general.architecture", "llama");
        check_string(out, "general.name", "Tiny (5 experts)");
        check_string(out, "general.size_label", "5x1K");
        assert_int_equal(key_u32(out, "llama.expert_count"), N_EXPERT);
        assert_int_equal(key_u32(out, "llama.expert_used_count"), 2);
        assert_int_equal(key_u32(out, "llama.feed_forward_length"), 128);
        assert_int_equal(key_u32(out, "medley.upcycle.seed"), 9);
        assert_int_equal(md_gguf_find(out, "tokenizer.ggml.tokens")->count, 2);

        const uint64_t ffn = 3 * 64 * 128 * 2, rest = 64 * N_ROWS + 2 * 64;
        assert_int_equal(r.weights_in, rest + ffn);
        assert_int_equal(r.weights_out, rest + N_EXPERT * ffn + 2 * 64 * N_EXPERT);
        assert_int_equal(r.bytes_in, md_gguf_file_bytes(in));
        assert_int_equal(r.bytes_out, md_gguf_file_bytes(out));
        assert_int_equal(r.n_layer, 2);
        assert_int_equal(r.neurons_redrawn, 0);
        md_gguf_close(in);
        md_gguf_close(out);
    }
}

static void the_router_comes_before_its_experts(void **state)
{
    (void)state;
    write_dense(in_dir("dense.gguf"), &small);
    const md_upcycle_args a = args_of(0.0f);
    (void)upcycle(&a);
    md_gguf *out = open_gguf(in_dir("moe.gguf"));
    const char *const order[] = {
        "token_embd.weight",          "blk.0.ffn_gate_inp.weight",  "blk.0.ffn_down_exps.weight",
        "blk.0.ffn_gate_exps.weight", "blk.0.ffn_up_exps.weight",   "blk.0.ffn_norm.weight",
        "blk.1.ffn_gate_inp.weight",  "blk.1.ffn_down_exps.weight", "blk.1.ffn_gate_exps.weight",
        "blk.1.ffn_up_exps.weight",   "blk.1.ffn_norm.weight"};
    assert_int_equal(md_gguf_n_tensors(out), 11);
    for (size_t i = 0; i < 11; i++)
        assert_true(md_str_eq(md_gguf_tensor_at(out, i)->name, order[i]));
    md_gguf_close(out);
}

static void families_become_their_mixtures(void **state)
{
    (void)state;
    static const char *const name[][2] = {{"qwen3", "qwen3moe"}, {"granite", "granitemoe"}};
    for (int i = 0; i < 2; i++) {
        dense d = small;
        d.arch = name[i][0];
        write_dense(in_dir("dense.gguf"), &d);
        const md_upcycle_args a = args_of(0.0f);
        (void)upcycle(&a);
        md_gguf *out = open_gguf(in_dir("moe.gguf"));
        check_string(out, "general.architecture", name[i][1]);
        static const char *const keys[] = {"block_count", "embedding_length", "feed_forward_length", "rope.freq_base",
                                           "expert_count"};
        char key[64];
        for (int k = 0; k < 5; k++) {
            snprintf(key, sizeof key, "%s.%s", name[i][1], keys[k]);
            assert_non_null(md_gguf_find(out, key));
            snprintf(key, sizeof key, "%s.%s", name[i][0], keys[k]);
            assert_null(md_gguf_find(out, key));
        }
        snprintf(key, sizeof key, "%s.expert_feed_forward_length", name[i][1]);
        if (i == 0)
            assert_int_equal(key_u32(out, key), 128);
        else
            assert_null(md_gguf_find(out, key));
        md_gguf_close(out);
    }
}

static void a_scale_is_repeated(void **state)
{
    (void)state;
    dense d = small;
    d.extra = "blk.1.ffn_up.scale";
    write_dense(in_dir("dense.gguf"), &d);
    const md_upcycle_args a = args_of(0.0f);
    (void)upcycle(&a);
    md_gguf *in = open_gguf(in_dir("dense.gguf")), *out = open_gguf(in_dir("moe.gguf"));
    const float *one = md_gguf_find_tensor(in, d.extra)->data;
    const md_gguf_tensor *t = md_gguf_find_tensor(out, "blk.1.ffn_up_exps.scale");
    assert_non_null(t);
    assert_int_equal(t->n_dims, 1);
    assert_int_equal(t->dim[0], N_EXPERT);
    for (int e = 0; e < N_EXPERT; e++)
        assert_memory_equal((const float *)t->data + e, one, sizeof *one);
    md_gguf_close(in);
    md_gguf_close(out);
}

/* Sums over the weights at the re-drawn places, before and after. */
typedef struct spread {
    double n, sum[2], squares[2];
} spread;

static void add_values(spread *s, int which, md_type type, const void *block, int64_t n)
{
    float v[256];
    assert_true(n <= 256);
    md_type_decode(type, block, v, n);
    for (int64_t i = 0; i < n; i++) {
        s->sum[which] += (double)v[i];
        s->squares[which] += (double)v[i] * (double)v[i];
    }
}

/* Compares one expert's matrix with the dense one span by span (a row of gate and up; a group's part of a row of down).
 * The first matrix marks the groups whose spans differ; later ones may differ in those only, and must, but for the few
 * single numbers that come out as they were. */
static void compare_expert(const md_gguf_tensor *one, const void *copy, bool by_row, int64_t group,
                           signed char *redrawn, spread *s)
{
    const int64_t span = by_row ? one->dim[0] : group;
    size_t bytes;
    int n_redrawn = 0, n_same = 0;
    assert_true(md_type_row_bytes(one->type, span, &bytes));
    for (int64_t i = 0; i < one->n_elements / span; i++) {
        const char *before = (const char *)one->data + (size_t)i * bytes,
                   *after = (const char *)copy + (size_t)i * bytes;
        const int64_t g = by_row ? i / group : i % (one->dim[0] / span);
        const bool differs = memcmp(before, after, bytes) != 0;
        if (redrawn[g] < 0)
            redrawn[g] = differs;
        if (!redrawn[g]) {
            assert_false(differs);
            continue;
        }
        n_redrawn++;
        n_same += !differs;
        s->n += (double)span;
        add_values(s, 0, one->type, before, span);
        add_values(s, 1, one->type, after, span);
    }
    assert_true(span > 1 ? n_same == 0 : n_same * 50 < n_redrawn);
}

/* Mean within 6 standard errors and deviation within 5 % of the replaced weights', so coarse types pass too. */
static void expect_same_spread(const spread *s)
{
    double mean[2], deviation[2];
    for (int i = 0; i < 2; i++) {
        mean[i] = s->sum[i] / s->n;
        deviation[i] = sqrt(s->squares[i] / s->n - mean[i] * mean[i]);
    }
    assert_true(s->n > 1000);
    assert_true(fabs(mean[1] - mean[0]) < 6 * deviation[0] / sqrt(s->n));
    assert_true(fabs(deviation[1] / deviation[0] - 1) < 0.05);
}

static void check_redrawn(const dense *d, float ratio)
{
    write_dense(in_dir("dense.gguf"), d);
    md_upcycle_args a = args_of(ratio);
    a.seed = 3;
    const md_upcycle_result r = upcycle(&a);
    md_gguf *in = open_gguf(in_dir("dense.gguf")), *out = open_gguf(in_dir("moe.gguf"));
    expect_rest_untouched(in, out);
    const int64_t group = md_type_get(d->type[2])->block, n_groups = d->n_ff / group;
    const int64_t want = (int64_t)floor((double)ratio * (double)n_groups + 0.5);
    signed char *redrawn = malloc((size_t)n_groups), *first = malloc((size_t)n_groups);
    assert_non_null(redrawn);
    assert_non_null(first);
    int alike = 0;
    for (int l = 0; l < d->n_layer; l++) {
        spread s[3] = {0};
        for (size_t e = 0; e < N_EXPERT; e++) {
            memset(redrawn, -1, (size_t)n_groups);
            for (int p = 0; p < 3; p++) {
                const md_gguf_tensor *one = tensor(in, "blk.%d.%s.weight", l, part_name[p]);
                const md_gguf_tensor *all = tensor(out, "blk.%d.%s_exps.weight", l, part_name[p]);
                compare_expert(one, (const char *)all->data + e * one->bytes, p < 2, group, redrawn, &s[p]);
            }
            int64_t n = 0;
            for (int64_t g = 0; g < n_groups; g++)
                n += redrawn[g];
            assert_int_equal(n, want);
            if (e == 0 && l == 0)
                memcpy(first, redrawn, (size_t)n_groups);
            else
                alike += memcmp(first, redrawn, (size_t)n_groups) == 0;
        }
        for (int p = 0; p < 3; p++)
            expect_same_spread(&s[p]);
    }
    assert_true(alike < 3); /* every expert of every layer has a choice of its own */
    assert_int_equal(r.neurons_redrawn, want * group * N_EXPERT * d->n_layer);
    free(redrawn);
    free(first);
    md_gguf_close(in);
    md_gguf_close(out);
}

static void whole_blocks_of_neurons_are_drawn_anew(void **state)
{
    (void)state;
    const md_type types[][3] = {{MD_TYPE_F32, MD_TYPE_F32, MD_TYPE_F32},    {MD_TYPE_F16, MD_TYPE_F16, MD_TYPE_F16},
                                {MD_TYPE_BF16, MD_TYPE_BF16, MD_TYPE_Q4_0}, {MD_TYPE_Q4_1, MD_TYPE_Q4_1, MD_TYPE_Q4_1},
                                {MD_TYPE_Q5_0, MD_TYPE_Q5_1, MD_TYPE_Q8_0}, {MD_TYPE_Q4_0, MD_TYPE_Q8_0, MD_TYPE_F16}};
    for (int i = 0; i < 6; i++) {
        dense d = small;
        d.n_ff = 256;
        memcpy(d.type, types[i], sizeof d.type);
        check_redrawn(&d, 0.5f);
        check_redrawn(&d, 0.3f);
    }
}

/* Of many choices each group is in its share. */
static void every_group_is_as_likely(void **state)
{
    (void)state;
    const dense d = {.arch = "llama", .n_layer = 1, .n_embd = 1, .n_ff = 16};
    write_dense(in_dir("dense.gguf"), &d);
    md_upcycle_args a = args_of(0.25f);
    a.n_expert = 1024;
    (void)upcycle(&a);
    md_gguf *in = open_gguf(in_dir("dense.gguf")), *out = open_gguf(in_dir("moe.gguf"));
    const float *one = tensor(in, "blk.%d.%s.weight", 0, "ffn_up")->data;
    const float *all = tensor(out, "blk.%d.%s_exps.weight", 0, "ffn_up")->data;
    const double mean = 1024 * 0.25, bound = 5 * sqrt(1024 * 0.25 * 0.75);
    for (int i = 0; i < 16; i++) {
        int n = 0;
        for (int e = 0; e < 1024; e++)
            n += memcmp(&all[e * 16 + i], &one[i], sizeof *one) != 0;
        assert_true(fabs(n - mean) < bound);
    }
    md_gguf_close(in);
    md_gguf_close(out);
}

static void the_same_seed_gives_the_same_file(void **state)
{
    (void)state;
    dense d = small;
    d.type[0] = d.type[1] = d.type[2] = MD_TYPE_Q8_0;
    write_dense(in_dir("dense.gguf"), &d);
    for (int drop = 0; drop < 2; drop++) {
        md_upcycle_args a = args_of(drop ? 0.5f : 0.0f);
        char *file[3];
        size_t n[3];
        for (int i = 0; i < 3; i++) {
            a.seed = i == 2;
            (void)upcycle(&a);
            file[i] = read_all(in_dir("moe.gguf"), &n[i]);
        }
        assert_int_equal(n[0], n[1]);
        assert_int_equal(n[0], n[2]);
        assert_memory_equal(file[0], file[1], n[0]);
        assert_memory_not_equal(file[0], file[2], n[0]);
        for (int i = 0; i < 3; i++)
            free(file[i]);
    }
}

/* Upcycles to `out`, expects the refusal and finds the folder as it was. */
static void refused(const md_upcycle_args *a, const char *out, md_status code, const char *says)
{
    const size_t before = files_in_dir();
    md_upcycle_result r;
    md_error err = {0};
    char in[512];
    snprintf(in, sizeof in, "%s/dense.gguf", dir);
    assert_int_equal(md_upcycle(in, out, a, &r, &err), code);
    if (!strstr(err.message, says))
        fail_msg("'%s' does not say '%s'", err.message, says);
    assert_int_equal(r.bytes_out, 0);
    assert_int_equal(files_in_dir(), before);
    assert_int_equal(md_upcycle(in, out, a, &r, NULL), code);
}

static void models_that_cannot_be_upcycled(void **state)
{
    (void)state;
    remove(in_dir("moe.gguf"));
    const struct {
        dense d;
        float drop;
        md_status code;
        const char *says;
    } cases[] = {
        {{.n_expert = 4}, 0, MD_ERR_UNSUPPORTED, "a mixture of experts already"},
        {{.extra = "blk.0.ffn_gate_inp.weight"}, 0, MD_ERR_UNSUPPORTED, "a mixture of experts already"},
        {{.arch = "qwen2"}, 0, MD_ERR_UNSUPPORTED, "'qwen2' cannot be upcycled; those of llama, qwen3 and granite can"},
        {{.extra = "blk.1.ffn_down.bias", .extra_n = 64}, 0, MD_ERR_UNSUPPORTED, "blk.1.ffn_down.bias"},
        {{.extra = "blk.1.ffn_down.scale", .extra_n = 64}, 0, MD_ERR_UNSUPPORTED, "blk.1.ffn_down.scale"},
        {{.extra = "blk.9.ffn_down.weight"}, 0, MD_ERR_FORMAT, "beyond the model's 2 layers"},
        {{.omit = "blk.1.ffn_up.weight"}, 0, MD_ERR_FORMAT, "'blk.1.ffn_up.weight' is missing"},
        {{.bad_shape = true}, 0, MD_ERR_FORMAT, "'blk.1.ffn_up.weight' is [64, 160, 1, 1], not [64, 128]"},
        {{.n_layer = 1, .n_embd = 256, .n_ff = 256, .type = {0, MD_TYPE_Q6_K, 0}},
         0.5f,
         MD_ERR_UNSUPPORTED,
         "'blk.0.ffn_up.weight' cannot be drawn anew: Q6_K"},
        {{.type = {0, 0, MD_TYPE_Q4_0}}, 0.1f, MD_ERR_ARGUMENT, "too small"},
        {{.type = {0, 0, MD_TYPE_Q4_0}}, 0.9f, MD_ERR_ARGUMENT, "too large"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        dense d = cases[i].d;
        d.arch = d.arch ? d.arch : small.arch;
        d.n_layer = d.n_layer ? d.n_layer : small.n_layer;
        d.n_embd = d.n_embd ? d.n_embd : small.n_embd;
        d.n_ff = d.n_ff ? d.n_ff : small.n_ff;
        write_dense(in_dir("dense.gguf"), &d);
        const md_upcycle_args a = args_of(cases[i].drop);
        refused(&a, in_dir("moe.gguf"), cases[i].code, cases[i].says);
    }
}

static void senseless_arguments_and_paths(void **state)
{
    (void)state;
    write_dense(in_dir("dense.gguf"), &small);
    md_upcycle_args a[9];
    for (int i = 0; i < 9; i++)
        a[i] = args_of(0.0f);
    a[0].n_expert = 1;
    a[1].n_expert = 1025;
    a[2].top_k = 0;
    a[3].top_k = N_EXPERT + 1;
    a[4].noise = 0.0f;
    a[5].noise = INFINITY;
    a[6].noise = NAN;
    a[7].drop_ratio = 1.0f;
    a[8].drop_ratio = -0.5f;
    const char *const says[] = {"1 experts",    "1025 experts", "top-0",           "top-6 of 5",        "noise is 0",
                                "noise is inf", "noise is",     "drop ratio is 1", "drop ratio is -0.5"};
    for (int i = 0; i < 9; i++)
        refused(&a[i], in_dir("moe.gguf"), MD_ERR_ARGUMENT, says[i]);

    const md_upcycle_args good = args_of(0.0f);
    refused(&good, in_dir("dense.gguf"), MD_ERR_ARGUMENT, "is the model to be upcycled itself");
    assert_int_equal(link(in_dir("dense.gguf"), in_dir("other.gguf")), 0);
    refused(&good, in_dir("other.gguf"), MD_ERR_ARGUMENT, "is the model to be upcycled itself");
    remove(in_dir("other.gguf"));
    refused(&good, dir, MD_ERR_IO, "a directory");
    refused(&good, in_dir("no-such-folder/moe.gguf"), MD_ERR_IO, "cannot write");
    rename(in_dir("dense.gguf"), in_dir("elsewhere.gguf"));
    refused(&good, in_dir("moe.gguf"), MD_ERR_IO, "cannot open");
    remove(in_dir("elsewhere.gguf"));
}

typedef struct watch {
    int calls, stop_at;
    uint64_t done, total;
} watch;

static bool watch_progress(void *user, uint64_t done, uint64_t total)
{
    watch *w = user;
    assert_true(done >= w->done);
    assert_true(done <= total);
    assert_true(w->total == 0 || w->total == total);
    w->done = done;
    w->total = total;
    return ++w->calls != w->stop_at;
}

static void progress_tells_and_stops(void **state)
{
    (void)state;
    dense d = small;
    d.n_embd = 256;
    d.n_ff = 1024; /* 1 MiB a matrix */
    write_dense(in_dir("dense.gguf"), &d);
    remove(in_dir("moe.gguf"));
    watch w = {0};
    md_upcycle_args a = args_of(0.0f);
    a.progress = watch_progress;
    a.progress_user = &w;
    const md_upcycle_result r = upcycle(&a);
    assert_true(w.calls > 10);
    assert_int_equal(w.done, w.total);
    assert_true(w.total < r.bytes_out && r.bytes_out - w.total < 4096); /* header and padding */

    size_t n;
    char *kept = read_all(in_dir("moe.gguf"), &n);
    const int calls = w.calls;
    for (int stop = 1; stop <= calls; stop += calls / 4) {
        for (int drop = 0; drop < 2; drop++) {
            w = (watch){.stop_at = stop};
            a.drop_ratio = drop ? 0.5f : 0.0f;
            const size_t before = files_in_dir();
            md_upcycle_result none;
            md_error err;
            assert_int_equal(md_upcycle(in_dir("dense.gguf"), in_dir("moe.gguf"), &a, &none, &err), MD_ERR_CANCELLED);
            assert_int_equal(w.calls, stop);
            assert_int_equal(files_in_dir(), before);
        }
    }
    size_t still;
    char *after = read_all(in_dir("moe.gguf"), &still);
    assert_int_equal(still, n);
    assert_memory_equal(after, kept, n); /* what was there before is untouched */
    free(kept);
    free(after);
}

static void broken_weights_are_not_measured(void **state)
{
    (void)state;
    write_dense(in_dir("dense.gguf"), &small);
    md_gguf *in = open_gguf(in_dir("dense.gguf"));
    const uint64_t at = tensor(in, "blk.%d.%s.weight", 1, "ffn_up")->file_offset;
    md_gguf_close(in);
    FILE *f = fopen(in_dir("dense.gguf"), "r+b");
    assert_non_null(f);
    assert_int_equal(fseek(f, (long)at, SEEK_SET), 0);
    for (int i = 0; i < 64 * 128; i++)
        assert_int_equal(fwrite(&(const float){NAN}, sizeof(float), 1, f), 1);
    fclose(f);
    remove(in_dir("moe.gguf"));
    const md_upcycle_args drop = args_of(0.5f), plain = args_of(0.0f);
    refused(&drop, in_dir("moe.gguf"), MD_ERR_FORMAT, "'blk.1.ffn_up.weight' holds a NaN");
    (void)upcycle(&plain); /* a copy is a copy */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_copies_of_any_type),
        cmocka_unit_test(the_router_comes_before_its_experts),
        cmocka_unit_test(families_become_their_mixtures),
        cmocka_unit_test(a_scale_is_repeated),
        cmocka_unit_test(whole_blocks_of_neurons_are_drawn_anew),
        cmocka_unit_test(every_group_is_as_likely),
        cmocka_unit_test(the_same_seed_gives_the_same_file),
        cmocka_unit_test(models_that_cannot_be_upcycled),
        cmocka_unit_test(senseless_arguments_and_paths),
        cmocka_unit_test(progress_tells_and_stops),
        cmocka_unit_test(broken_weights_are_not_measured),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
