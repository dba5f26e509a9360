/* SPDX-License-Identifier: Apache-2.0
 *
 * Attention over tiles: every table against section 7 of docs/numerics.md bit for bit, for one query and for many that meet, over
 * what the cache keeps (floats, halves, Q8_0, values in keys), windows, soft-capping, slopes and sinks, with whatever an invisible
 * column holds; and the scalar table against a plain softmax in double precision. */
#include "checkkern/check.h"
#include "checkkern/definition.h"
#include "dtype/dtype.h"

enum { MAX_KEYS = 5 * MD_TILE, MAX_DIM = 160, MAX_QUERIES = 150 };

/* Some heads of rows at positions `pos`, pos - 1, ... over keys 0..pos. */
typedef struct problem {
    md_kv_store store;
    bool v_in_k;                   /* values are the first of the keys */
    int dim_k, dim_v, pos, window; /* window 0: none */
    int heads, n;                  /* queries a row; all of them, rows in ascending order */
    float scale, softcap, slope;
    bool sink;
    float sink_logit;
    float q[MAX_QUERIES][MAX_DIM];
    float k[MAX_KEYS][MAX_DIM], v[MAX_KEYS][MAX_DIM]; /* what the cache's bits stand for */
    uint16_t k_half[MAX_KEYS][MAX_DIM], v_half[MAX_KEYS][MAX_DIM];
    int8_t k_code[MAX_KEYS][MAX_DIM], v_code[MAX_KEYS][MAX_DIM];
    uint16_t k_scale[MAX_KEYS][MAX_DIM / 32], v_scale[MAX_KEYS][MAX_DIM / 32];
} problem;

static int pos_of(const problem *p, int i)
{
    return p->pos - (p->n - 1 - i) / p->heads;
}

static int lowest_key(const problem *p, int pos)
{
    return p->window > 0 && pos - p->window + 1 > 0 ? pos - p->window + 1 : 0;
}

/* Makes x what `store` can hold, and its bits. */
static void keep(md_kv_store store, float *x, uint16_t *half, int8_t *code, uint16_t *scale)
{
    for (int d = 0; d < MAX_DIM; d++) {
        if (store == MD_KV_STORE_F16) {
            half[d] = md_float_to_half(x[d]);
            x[d] = md_half_to_float(half[d]);
        } else if (store == MD_KV_STORE_Q8_0) {
            if (d % 32 == 0)
                scale[d / 32] = md_float_to_half(x[d]);
            code[d] = (int8_t)(random_below(255) - 127);
            x[d] = md_half_to_float(scale[d / 32]) * (float)code[d];
        }
    }
}

static void problem_fill(problem *p, fill f)
{
    fill_floats(&p->q[0][0], (int64_t)MAX_QUERIES * MAX_DIM, f);
    fill_floats(&p->k[0][0], (int64_t)MAX_KEYS * MAX_DIM, f);
    fill_floats(&p->v[0][0], (int64_t)MAX_KEYS * MAX_DIM, f);
    for (int j = 0; j < MAX_KEYS; j++) {
        keep(p->store, p->k[j], p->k_half[j], p->k_code[j], p->k_scale[j]);
        keep(p->store, p->v[j], p->v_half[j], p->v_code[j], p->v_scale[j]);
        if (p->v_in_k)
            memcpy(p->v[j], p->k[j], sizeof p->v[j]);
    }
    p->sink_logit = fill_one(f);
}

/* ---- section 7, literally ---- */

static float tanh_by_definition(float x)
{
    return 1.0f - 2.0f / (exp_by_definition(2.0f * x) + 1.0f);
}

typedef struct running {
    float m, l, acc[MAX_DIM];
} running;

static void tile_by_definition(const problem *p, int i, int first, int last, running *r)
{
    float s[MD_TILE] = {0}, e[MD_TILE] = {0};
    const int start = first / MD_TILE * MD_TILE;
    float m = r->m;
    for (int j = first; j < last; j++) {
        float x = chain_by_definition(p->q[i], p->k[j], p->dim_k) * p->scale;
        if (p->softcap > 0.0f)
            x = p->softcap * tanh_by_definition(x / p->softcap);
        if (p->slope != 0.0f)
            x = fmaf(-p->slope, (float)(pos_of(p, i) - j), x);
        s[j - start] = x;
        m = x > m ? x : m;
    }
    const float c = exp_by_definition(r->m - m);
    for (int j = first; j < last; j++)
        e[j - start] = exp_by_definition(s[j - start] - m);
    r->l = fmaf(r->l, c, sum16_by_definition(e, MD_TILE));
    for (int d = 0; d < p->dim_v; d++) {
        r->acc[d] = r->acc[d] * c;
        for (int j = first; j < last; j++)
            r->acc[d] = fmaf(e[j - start], p->v[j][d], r->acc[d]);
    }
    r->m = m;
}

static void attend_by_definition(const problem *p, int i, float *out)
{
    running r = {.m = -INFINITY};
    const int pos = pos_of(p, i), lo = lowest_key(p, pos);
    for (int start = 0; start <= pos; start += MD_TILE) {
        const int end = start + MD_TILE, first = lo > start ? lo : start, last = pos + 1 < end ? pos + 1 : end;
        if (first < last)
            tile_by_definition(p, i, first, last, &r);
    }
    if (p->sink) {
        const float m = p->sink_logit > r.m ? p->sink_logit : r.m, c = exp_by_definition(r.m - m);
        r.l = fmaf(r.l, c, exp_by_definition(p->sink_logit - m));
        for (int d = 0; d < p->dim_v; d++)
            r.acc[d] = r.acc[d] * c;
    }
    const float inverse = 1.0f / r.l;
    for (int d = 0; d < p->dim_v; d++)
        out[d] = r.acc[d] * inverse;
}

/* ---- a tile as the cache lays it out ---- */

typedef struct tile {
    tight k, v, k_scale, v_scale;
    md_kv_tile t;
} tile;

static size_t value_bytes(md_kv_store store)
{
    return store == MD_KV_STORE_F32 ? 4 : store == MD_KV_STORE_F16 ? 2 : 1;
}

/* One value of key j; columns that nobody sees hold `unseen`. */
static void place(const problem *p, bool keys, int j, int d, bool seen, fill unseen, void *to, int64_t at)
{
    const float other = seen ? 0.0f : fill_one(unseen);
    if (p->store == MD_KV_STORE_F32)
        ((float *)to)[at] = !seen ? other : keys ? p->k[j][d] : p->v[j][d];
    else if (p->store == MD_KV_STORE_F16)
        ((uint16_t *)to)[at] = !seen ? md_float_to_half(other) : keys ? p->k_half[j][d] : p->v_half[j][d];
    else
        ((int8_t *)to)[at] = !seen ? (int8_t)random_u32() : keys ? p->k_code[j][d] : p->v_code[j][d];
}

static tile tile_new(const problem *p, int start, int first, int last, fill unseen)
{
    const size_t size = value_bytes(p->store), skew = (size_t)random_below(4) * 4;
    tile t = {.k = tight_new((size_t)p->dim_k * MD_TILE * size, skew),
              .v = tight_new((size_t)p->dim_v * MD_TILE * size, skew),
              .k_scale = tight_new((size_t)(p->dim_k / 32) * MD_TILE * 2, skew),
              .v_scale = tight_new((size_t)(p->dim_v / 32) * MD_TILE * 2, skew)};
    for (int j = 0; j < MD_TILE; j++) {
        const bool seen = j >= first && j < last;
        for (int d = 0; d < p->dim_k; d++)
            place(p, true, start + j, d, seen, unseen, t.k.data, (int64_t)d * MD_TILE + j);
        for (int d = 0; d < p->dim_v; d++)
            place(p, false, start + j, d, seen, unseen, t.v.data, (int64_t)j * p->dim_v + d);
        for (int b = 0; b < p->dim_k / 32; b++)
            ((uint16_t *)t.k_scale.data)[b * MD_TILE + j] = seen ? p->k_scale[start + j][b]
                                                                 : md_float_to_half(fill_one(unseen));
        for (int b = 0; b < p->dim_v / 32; b++)
            ((uint16_t *)t.v_scale.data)[j * (p->dim_v / 32) + b] = seen ? p->v_scale[start + j][b]
                                                                         : md_float_to_half(fill_one(unseen));
    }
    t.t = (md_kv_tile){.store = p->store,
                       .dim_k = p->dim_k,
                       .dim_v = p->dim_v,
                       .k = t.k.data,
                       .v = p->v_in_k ? NULL : t.v.data,
                       .k_scale = p->store == MD_KV_STORE_Q8_0 ? t.k_scale.data : NULL,
                       .v_scale = p->store == MD_KV_STORE_Q8_0 ? t.v_scale.data : NULL};
    return t;
}

static void tile_done(tile *t)
{
    free(t->k.base);
    free(t->v.base);
    free(t->k_scale.base);
    free(t->v_scale.base);
}

/* ---- the kernels ---- */

/* Queries [from, to) together, tile by tile. */
static void attend_tiles(const md_kern *kern, const problem *p, int from, int to, fill unseen, md_query *query)
{
    for (int start = 0; start <= p->pos; start += MD_TILE) {
        int n = 0, first = MD_TILE, last = 0;
        md_query some[MAX_QUERIES];
        for (int i = from; i < to; i++) {
            const int lo = lowest_key(p, pos_of(p, i)) - start, hi = pos_of(p, i) + 1 - start;
            md_query q = query[i];
            q.first = lo > 0 ? lo : 0;
            q.last = hi < MD_TILE ? hi : MD_TILE;
            q.at = pos_of(p, i) - start;
            if (q.first >= q.last)
                continue;
            first = q.first < first ? q.first : first;
            last = q.last > last ? q.last : last;
            some[n++] = q;
        }
        if (n == 0)
            continue;
        tile t = tile_new(p, start, first, last, unseen), next = tile_new(p, 0, 0, MD_TILE, unseen);
        kern->attend(&(md_attend){.tile = &t.t,
                                  .next = random_below(2) ? &next.t : NULL,
                                  .query = some,
                                  .n = n,
                                  .scale = p->scale,
                                  .softcap = p->softcap});
        tile_done(&t);
        tile_done(&next);
    }
}

/* All queries through a table's three functions, in groups of `group`; canaries around the accumulators. out (n, MAX_DIM). */
static void attend_by_table(const md_kern *kern, const problem *p, int group, fill unseen, float (*out)[MAX_DIM])
{
    md_query query[MAX_QUERIES];
    float ml[MAX_QUERIES][2], in_place[MAX_DIM];
    tight q[MAX_QUERIES];
    guarded acc[MAX_QUERIES];
    for (int i = 0; i < p->n; i++) {
        q[i] = tight_copy(p->q[i], (size_t)p->dim_k * 4, 4);
        acc[i] = guarded_new((size_t)p->dim_v * 4, (size_t)random_below(4) * 4);
        memset(acc[i].data, 0, (size_t)p->dim_v * 4);
        ml[i][0] = -INFINITY, ml[i][1] = 0.0f;
        query[i] = (md_query){.q = q[i].data, .acc = acc[i].data, .ml = ml[i], .slope = p->slope};
    }
    for (int i = 0; i < p->n; i += group)
        attend_tiles(kern, p, i, i + group < p->n ? i + group : p->n, unseen, query);
    for (int i = 0; i < p->n; i++) {
        if (p->sink)
            kern->attend_sink(p->sink_logit, &ml[i][0], &ml[i][1], acc[i].data, p->dim_v);
        kern->attend_finish(ml[i][1], acc[i].data, out[i], p->dim_v);
        memcpy(in_place, acc[i].data, (size_t)p->dim_v * 4);
        kern->attend_finish(ml[i][1], in_place, in_place, p->dim_v);
        expect_same_floats(out[i], in_place, p->dim_v, "attend_finish in place");
        guarded_done(&acc[i], "attend");
        free(q[i].base);
    }
}

/* ---- tests ---- */

static problem *shaped(int i)
{
    static const int dims[][2] = {{64, 64}, {128, 128}, {1, 1}, {80, 80}, {96, 64}, {33, 17}, {128, 5}, {160, 96}};
    static const int positions[] = {0, 1, 15, 16, 62, 63, 64, 65, 127, 128, 200, 256, MAX_KEYS - 1};
    static const int windows[] = {0, 0, 1, 17, 64, 65, 128, 1000};
    problem *p = calloc(1, sizeof *p);
    assert_non_null(p);
    p->dim_k = dims[i % COUNT(dims)][0], p->dim_v = dims[i % COUNT(dims)][1];
    p->pos = positions[i % COUNT(positions)];
    p->window = windows[random_below(COUNT(windows))];
    p->scale = 1.0f / sqrtf((float)p->dim_k);
    p->softcap = random_below(3) ? 0.0f : 3.0f;
    p->slope = random_below(3) ? 0.0f : ldexpf(1.0f, -random_below(9));
    p->sink = random_below(2);
    p->heads = p->n = 1;
    return p;
}

enum { SHAPES = 13 * 8 };

static problem *kept(int i, md_kv_store store, bool v_in_k)
{
    problem *p = shaped(i);
    p->store = store;
    p->v_in_k = v_in_k;
    if (store == MD_KV_STORE_Q8_0) {
        p->dim_k = (p->dim_k + 31) / 32 * 32;
        p->dim_v = (p->dim_v + 31) / 32 * 32;
    }
    return p;
}

/* Tiles of the case at hand through the table, and through the definition. */
static void check_problem(const md_kern *kern, const problem *p, int group, fill unseen, const char *what)
{
    static float got[MAX_QUERIES][MAX_DIM];
    float expected[MAX_DIM];
    attend_by_table(kern, p, group, unseen, got);
    for (int i = 0; i < p->n; i++) {
        attend_by_definition(p, i, expected);
        expect_same_floats(expected, got[i], p->dim_v, what);
    }
}

static const char *title(const md_kern *kern, const problem *p, int group, int f)
{
    return describe("%s attend store=%d%s %d/%d pos=%d window=%d softcap=%g slope=%g sink=%d queries=%d by %d %s",
                    kern->isa, p->store, p->v_in_k ? " values in keys" : "", p->dim_k, p->dim_v, p->pos, p->window,
                    (double)p->softcap, (double)p->slope, p->sink, p->n, group, fill_names[f]);
}

static void attention_follows_the_definition(void **state)
{
    const md_kern *kern = table_of(state);
    for (int i = 0; i < SHAPES; i++)
        for (int f = 0; f < N_FILLS; f++) {
            problem *p = kept(i, (md_kv_store)random_below(3), random_below(4) == 0);
            problem_fill(p, (fill)f);
            check_problem(kern, p, 1, FILL_ZERO, title(kern, p, 1, f));
            free(p);
        }
}

/* Rows of a block see different keys of a tile, and heads of a row the same. */
static void queries_meet_without_touching(void **state)
{
    static const int sizes[] = {2, 3, 4, 5, 7, 8, 13, 64, 67, MAX_QUERIES};
    const md_kern *kern = table_of(state);
    for (int i = 0; i < SHAPES; i++)
        for (md_kv_store store = MD_KV_STORE_F32; store <= MD_KV_STORE_Q8_0; store++) {
            const fill f = i % 3 ? FILL_UNIT : (fill)random_below(N_FILLS);
            problem *p = kept(i, store, random_below(4) == 0);
            p->heads = 1 + random_below(9);
            p->n = sizes[random_below(COUNT(sizes))];
            p->n = p->n < p->heads * (p->pos + 1) ? p->n : p->heads * (p->pos + 1);
            const int group = random_below(2) ? p->n : 1 + random_below(p->n);
            problem_fill(p, f);
            check_problem(kern, p, group, FILL_SPECIAL, title(kern, p, group, f));
            free(p);
        }
}

/* A page that was used before holds old keys behind the row's position, and batch mates write theirs there. */
static void columns_out_of_sight_change_nothing(void **state)
{
    const md_kern *kern = table_of(state);
    for (int i = 0; i < SHAPES; i++) {
        problem *p = kept(i, (md_kv_store)(i % 3), i % 5 == 0);
        problem_fill(p, FILL_UNIT);
        float clean[1][MAX_DIM], dirty[1][MAX_DIM];
        attend_by_table(kern, p, 1, FILL_ZERO, clean);
        for (int f = 0; f < N_FILLS; f++) {
            attend_by_table(kern, p, 1, (fill)f, dirty);
            expect_same_floats(clean[0], dirty[0], p->dim_v, title(kern, p, 1, f));
        }
        free(p);
    }
}

/* Plain softmax attention; *spread: the largest possible error of a score relative to one. */
static void attend_exactly(const problem *p, double *out, double *spread)
{
    double score[MAX_KEYS], top = p->sink ? (double)p->sink_logit : -INFINITY, sum = 0;
    *spread = 0;
    for (int j = lowest_key(p, p->pos); j <= p->pos; j++) {
        double dot = 0, size = 0;
        for (int d = 0; d < p->dim_k; d++) {
            dot += (double)p->q[0][d] * p->k[j][d];
            size += fabs((double)p->q[0][d] * p->k[j][d]);
        }
        score[j] = dot * p->scale;
        if (p->softcap > 0.0f)
            score[j] = p->softcap * tanh(score[j] / p->softcap);
        score[j] -= (double)p->slope * (p->pos - j);
        top = score[j] > top ? score[j] : top;
        const double off = (p->dim_k + 1) * 0x1p-24 * size * p->scale +
                           (p->softcap > 0.0f ? p->softcap * 4 * 0x1p-23 : 0) + 0x1p-24 * fabs(score[j]);
        *spread = off > *spread ? off : *spread;
    }
    for (int d = 0; d < p->dim_v; d++)
        out[d] = 0;
    for (int j = lowest_key(p, p->pos); j <= p->pos; j++) {
        const double e = exp(score[j] - top);
        sum += e;
        for (int d = 0; d < p->dim_v; d++)
            out[d] += e * p->v[j][d];
    }
    sum += p->sink ? exp((double)p->sink_logit - top) : 0;
    for (int d = 0; d < p->dim_v; d++)
        out[d] /= sum;
}

/* Values lie in -1..1, so an output is off by at most the relative errors of numerator and denominator: twice the
 * error of a score and of an exponential (two units), and a rounding for every key and tile. */
static void scalar_attention_is_near_the_exact_one(void **state)
{
    (void)state;
    for (int i = 0; i < SHAPES; i++) {
        problem *p = shaped(i);
        problem_fill(p, FILL_UNIT);
        for (int d = 0; d < p->dim_k; d++)
            p->q[0][d] *= 8.0f; /* scores of a useful size */
        float got[1][MAX_DIM];
        double exact[MAX_DIM], spread;
        attend_by_table(scalar_table(), p, 1, FILL_ZERO, got);
        attend_exactly(p, exact, &spread);
        const double bound = 2 * (2 * spread + 4 * 0x1p-23) + (p->pos + 16) * 0x1p-23;
        for (int d = 0; d < p->dim_v; d++)
            if (!(fabs((double)got[0][d] - exact[d]) <= bound))
                fail_msg("pos=%d window=%d: %g, exact %g, bound %g", p->pos, p->window, (double)got[0][d], exact[d],
                         bound);
        free(p);
    }
}

static void one_key_gives_its_value(void **state)
{
    const md_kern *kern = table_of(state);
    problem *p = shaped(0);
    problem_fill(p, FILL_UNIT);
    p->pos = 70, p->window = 1, p->sink = false;
    float out[1][MAX_DIM];
    attend_by_table(kern, p, 1, FILL_SPECIAL, out);
    assert_memory_equal(out[0], p->v[70], (size_t)p->dim_v * 4);
    free(p);
}

static void a_high_sink_takes_everything(void **state)
{
    const md_kern *kern = table_of(state);
    problem *p = shaped(0);
    problem_fill(p, FILL_UNIT);
    p->pos = 100, p->window = 0, p->sink = true, p->sink_logit = 1000.0f;
    float out[1][MAX_DIM];
    attend_by_table(kern, p, 1, FILL_ZERO, out);
    for (int d = 0; d < p->dim_v; d++)
        assert_true(out[0][d] == 0.0f);
    free(p);
}

int main(void)
{
    seed_from_environment();
    const struct CMUnitTest tests[] = {
        EACH_TABLE(attention_follows_the_definition),
        EACH_TABLE(queries_meet_without_touching),
        EACH_TABLE(columns_out_of_sight_change_nothing),
        cmocka_unit_test(scalar_attention_is_near_the_exact_one),
        EACH_TABLE(one_key_gives_its_value),
        EACH_TABLE(a_high_sink_takes_everything),
    };
    return cmocka_run_group_tests_name("checkkern attend", tests, NULL, NULL);
}
