/* SPDX-License-Identifier: Apache-2.0
 *
 * Attention over tiles: every table against section 7 of docs/numerics.md bit for bit, over windows, soft-capping, slopes
 * and sinks, with whatever an invisible column holds; and the scalar table against a plain softmax in double precision. */
#include "checkkern/check.h"
#include "checkkern/definition.h"

enum { MAX_KEYS = 5 * MD_TILE, MAX_DIM = 128 };

/* One query row at position `pos` over keys 0..pos. */
typedef struct problem {
    int dim_k, dim_v, pos, window; /* window 0: none */
    float scale, softcap, slope;
    bool sink;
    float sink_logit;
    float q[MAX_DIM];
    float k[MAX_KEYS][MAX_DIM], v[MAX_KEYS][MAX_DIM];
} problem;

static int lowest_key(const problem *p)
{
    return p->window > 0 && p->pos - p->window + 1 > 0 ? p->pos - p->window + 1 : 0;
}

static void problem_fill(problem *p, fill f)
{
    fill_floats(p->q, MAX_DIM, f);
    fill_floats(&p->k[0][0], (int64_t)MAX_KEYS * MAX_DIM, f);
    fill_floats(&p->v[0][0], (int64_t)MAX_KEYS * MAX_DIM, f);
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

static void tile_by_definition(const problem *p, int first, int last, running *r)
{
    float s[MD_TILE] = {0}, e[MD_TILE] = {0};
    const int start = first / MD_TILE * MD_TILE;
    float m = r->m;
    for (int j = first; j < last; j++) {
        float x = chain_by_definition(p->q, p->k[j], p->dim_k) * p->scale;
        if (p->softcap > 0.0f)
            x = p->softcap * tanh_by_definition(x / p->softcap);
        if (p->slope != 0.0f)
            x = fmaf(-p->slope, (float)(p->pos - j), x);
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

static void attend_by_definition(const problem *p, float *out)
{
    running r = {.m = -INFINITY};
    for (int tile = 0; tile * MD_TILE <= p->pos; tile++) {
        const int lo = lowest_key(p), start = tile * MD_TILE, end = start + MD_TILE;
        const int first = lo > start ? lo : start, last = p->pos + 1 < end ? p->pos + 1 : end;
        if (first < last)
            tile_by_definition(p, first, last, &r);
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

/* ---- the kernels ---- */

/* Lays out a tile as the cache does; columns that the row does not see hold `unseen`. */
static void lay_out(const problem *p, int start, int first, int last, fill unseen, float *kt, float *v)
{
    for (int j = 0; j < MD_TILE; j++) {
        const bool seen = j >= first && j < last;
        for (int d = 0; d < p->dim_k; d++)
            kt[d * MD_TILE + j] = seen ? p->k[start + j][d] : fill_one(unseen);
        for (int d = 0; d < p->dim_v; d++)
            v[j * p->dim_v + d] = seen ? p->v[start + j][d] : fill_one(unseen);
    }
}

static void attend_tiles(const md_kern *kern, const problem *p, fill unseen, float *m, float *l, float *acc)
{
    tight q = tight_copy(p->q, (size_t)p->dim_k * 4, 4);
    for (int start = 0; start <= p->pos; start += MD_TILE) {
        const int lo = lowest_key(p) - start, hi = p->pos + 1 - start;
        const int first = lo > 0 ? lo : 0, last = hi < MD_TILE ? hi : MD_TILE;
        if (first >= last)
            continue;
        tight kt = tight_new((size_t)p->dim_k * MD_TILE * 4, (size_t)random_below(4) * 4);
        tight v = tight_new((size_t)p->dim_v * MD_TILE * 4, (size_t)random_below(4) * 4);
        lay_out(p, start, first, last, unseen, kt.data, v.data);
        kern->attend(&(md_attend){.q = q.data,
                                  .kt = kt.data,
                                  .v = v.data,
                                  .dim_k = p->dim_k,
                                  .dim_v = p->dim_v,
                                  .first = first,
                                  .last = last,
                                  .scale = p->scale,
                                  .softcap = p->softcap,
                                  .slope = p->slope,
                                  .at = p->pos - start,
                                  .m = m,
                                  .l = l,
                                  .acc = acc});
        free(kt.base);
        free(v.base);
    }
    free(q.base);
}

/* The whole row through a table's three functions; canaries around the accumulator. */
static void attend_by_table(const md_kern *kern, const problem *p, fill unseen, float *out)
{
    float m = -INFINITY, l = 0.0f;
    guarded acc = guarded_new((size_t)p->dim_v * 4, (size_t)random_below(4) * 4);
    for (int d = 0; d < p->dim_v; d++)
        ((float *)acc.data)[d] = 0.0f;
    attend_tiles(kern, p, unseen, &m, &l, acc.data);
    if (p->sink)
        kern->attend_sink(p->sink_logit, &m, &l, acc.data, p->dim_v);
    kern->attend_finish(l, acc.data, out, p->dim_v);
    float in_place[MAX_DIM];
    memcpy(in_place, acc.data, (size_t)p->dim_v * 4);
    kern->attend_finish(l, in_place, in_place, p->dim_v);
    expect_same_floats(out, in_place, p->dim_v, "attend_finish in place");
    guarded_done(&acc, "attend");
}

/* ---- tests ---- */

static problem *shaped(int i)
{
    static const int dims[][2] = {{64, 64}, {128, 128}, {1, 1}, {80, 80}, {96, 64}, {33, 17}, {128, 5}};
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
    return p;
}

static void attention_follows_the_definition(void **state)
{
    const md_kern *kern = table_of(state);
    for (int i = 0; i < 13 * 7; i++)
        for (int f = 0; f < N_FILLS; f++) {
            problem *p = shaped(i);
            problem_fill(p, (fill)f);
            float expected[MAX_DIM], got[MAX_DIM], scalar[MAX_DIM];
            const char *what = describe("%s attend %d/%d pos=%d window=%d softcap=%g slope=%g sink=%d %s", kern->isa,
                                        p->dim_k, p->dim_v, p->pos, p->window, (double)p->softcap, (double)p->slope,
                                        p->sink, fill_names[f]);
            attend_by_definition(p, expected);
            attend_by_table(kern, p, FILL_ZERO, got);
            attend_by_table(scalar_table(), p, FILL_ZERO, scalar);
            expect_same_floats(expected, got, p->dim_v, what);
            expect_same_floats(scalar, got, p->dim_v, what);
            free(p);
        }
}

/* A page that was used before holds old keys behind the row's position, and batch mates write theirs there. */
static void columns_out_of_sight_change_nothing(void **state)
{
    const md_kern *kern = table_of(state);
    for (int i = 0; i < 13 * 7; i++) {
        problem *p = shaped(i);
        problem_fill(p, FILL_UNIT);
        float clean[MAX_DIM], dirty[MAX_DIM];
        attend_by_table(kern, p, FILL_ZERO, clean);
        for (int f = 0; f < N_FILLS; f++) {
            attend_by_table(kern, p, (fill)f, dirty);
            assert_memory_equal(clean, dirty, (size_t)p->dim_v * 4);
        }
        free(p);
    }
}

/* Plain softmax attention; *spread: the largest possible error of a score relative to one. */
static void attend_exactly(const problem *p, double *out, double *spread)
{
    double score[MAX_KEYS], top = p->sink ? (double)p->sink_logit : -INFINITY, sum = 0;
    *spread = 0;
    for (int j = lowest_key(p); j <= p->pos; j++) {
        double dot = 0, size = 0;
        for (int d = 0; d < p->dim_k; d++) {
            dot += (double)p->q[d] * p->k[j][d];
            size += fabs((double)p->q[d] * p->k[j][d]);
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
    for (int j = lowest_key(p); j <= p->pos; j++) {
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
    for (int i = 0; i < 13 * 7; i++) {
        problem *p = shaped(i);
        problem_fill(p, FILL_UNIT);
        for (int d = 0; d < p->dim_k; d++)
            p->q[d] *= 8.0f; /* scores of a useful size */
        float got[MAX_DIM];
        double exact[MAX_DIM], spread;
        attend_by_table(scalar_table(), p, FILL_ZERO, got);
        attend_exactly(p, exact, &spread);
        const double bound = 2 * (2 * spread + 4 * 0x1p-23) + (p->pos + 16) * 0x1p-23;
        for (int d = 0; d < p->dim_v; d++)
            if (!(fabs((double)got[d] - exact[d]) <= bound))
                fail_msg("pos=%d window=%d: %g, exact %g, bound %g", p->pos, p->window, (double)got[d], exact[d],
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
    float out[MAX_DIM];
    attend_by_table(kern, p, FILL_SPECIAL, out);
    assert_memory_equal(out, p->v[70], (size_t)p->dim_v * 4);
    free(p);
}

static void a_high_sink_takes_everything(void **state)
{
    const md_kern *kern = table_of(state);
    problem *p = shaped(0);
    problem_fill(p, FILL_UNIT);
    p->pos = 100, p->window = 0, p->sink = true, p->sink_logit = 1000.0f;
    float out[MAX_DIM];
    attend_by_table(kern, p, FILL_ZERO, out);
    for (int d = 0; d < p->dim_v; d++)
        assert_true(out[d] == 0.0f);
    free(p);
}

int main(void)
{
    seed_from_environment();
    const struct CMUnitTest tests[] = {
        EACH_TABLE(attention_follows_the_definition),
        EACH_TABLE(columns_out_of_sight_change_nothing),
        cmocka_unit_test(scalar_attention_is_near_the_exact_one),
        EACH_TABLE(one_key_gives_its_value),
        EACH_TABLE(a_high_sink_takes_everything),
    };
    return cmocka_run_group_tests_name("checkkern attend", tests, NULL, NULL);
}
