/* SPDX-License-Identifier: Apache-2.0
 *
 * md_experts_run and md_ffn_run: the bits of section 8 of docs/numerics.md taken token by token, whatever the threads, the shares and
 * the layout of the weights. */
#include "expert_test.h"

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

static const unsigned odd[] = {NO_GATE,
                               NO_GATE | EXTRAS | UNEQUAL | OTHERS,
                               WEIGH_INPUT | UNEQUAL,
                               WEIGH_INPUT | FUSED | OTHERS,
                               WEIGH_INPUT | NO_GATE | UNEQUAL | OTHERS,
                               UNEQUAL,
                               UNEQUAL | FUSED | EXTRAS,
                               UNEQUAL | OAI | OTHERS,
                               OTHERS,
                               SHARED,
                               SHARED | WEIGHED | UNEQUAL | OTHERS};
static const unsigned woven[] = {TILES, TILES | FUSED | EXTRAS, TILES | UNEQUAL | OTHERS, TILES | SHARED | WEIGH_INPUT,
                                 TILES | NO_GATE | SHARED | WEIGHED};

static void check_under_every_count(problem *p, const kinds *k)
{
    (void)k;
    under_every_count(p->kern, check_bits, p);
}

static void experts_give_the_bits_of_the_definition(void **state)
{
    each_problem(table_of(state), usual, COUNT(usual), check_under_every_count);
    each_problem(table_of(state), odd, COUNT(odd), check_under_every_count);
    each_problem(table_of(state), woven, COUNT(woven), check_under_every_count);
}

/* Experts whose rows fill several panels, one of them with nearly all rows. */
static void many_rows_give_the_bits_of_the_definition(void **state)
{
    static const unsigned some[] = {0, TILES | SHARED, UNEQUAL | OTHERS | TILES};
    for (int i = 0; i < COUNT(some); i++) {
        problem *p = problem_new(table_of(state), &all_kinds[1 + i], some[i], MAX_T);
        for (int32_t t = 0; t < p->t; t++)
            if (t % 16 != 2 && slot_of(p, t, 4) < 0)
                p->pick[t * p->job.top_k] = 4;
        expect_by_definition(p);
        under_every_count(p->kern, check_bits, p);
        problem_free(p);
    }
}

/* A network by itself: outputs as they are, nothing is added to them. */
static void check_common(const md_ops *ops, void *ctx)
{
    problem *p = ctx;
    guarded y = guarded_new((size_t)(p->t * p->job.d) * 4, 4);
    md_rows_set(&p->in, p->x, p->t, p->job.d);
    md_ffn_run(ops, &p->shared_job, &p->in, &p->scratch, y.data);
    expect_same_floats(p->expected, y.data, p->t * p->job.d, "a network by itself");
    guarded_done(&y, "md_ffn_run");
}

static void a_network_by_itself_gives_the_bits_of_the_definition(void **state)
{
    static const int32_t rows[] = {0, 1, 5, MAX_T};
    for (int k = 0; k < COUNT(all_kinds); k++)
        for (int i = 0; i < COUNT(rows) - (k != 3); i++) {
            problem *p = problem_new(table_of(state), &all_kinds[k], SHARED | (i % 2 ? TILES : 0), rows[i]);
            for (int32_t t = 0; t < p->t; t++) {
                for (int64_t c = 0; c < p->job.d; c++)
                    p->expected[t * p->job.d + c] = -0.0f; /* adding to it changes nothing */
                shared_by_definition(p, t, p->expected + t * p->job.d);
            }
            under_every_count(p->kern, check_common, p);
            problem_free(p);
        }
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
    under_every_count(p->kern, check_bits, p);
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
    under_every_count(kern, check_bits, p);
    p->t = 0;
    under_every_count(kern, check_bits, p);
    problem_free(p);
}

int main(void)
{
    seed_from_environment();
    const struct CMUnitTest tests[] = {
        EACH_TABLE(many_rows_give_the_bits_of_the_definition),
        EACH_TABLE(a_network_by_itself_gives_the_bits_of_the_definition),
        EACH_TABLE(experts_give_the_bits_of_the_definition),
        EACH_TABLE(copies_of_one_expert_are_that_expert),
        EACH_TABLE(no_rows_and_empty_slots_run_no_expert),
    };
    return cmocka_run_group_tests_name("experts", tests, NULL, NULL);
}
