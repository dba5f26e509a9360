/* SPDX-License-Identifier: Apache-2.0
 *
 * What md_experts_run owes to a store, the failing one included; and the resident one. */
#include "expert_test.h"

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
            assert_int_equal(c.runs[e], active[e] && e != refused); /* those that are there run first */
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
    under_every_count(kern, check_store, p);
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
        EACH_TABLE(what_is_taken_from_a_store_is_given_back),
        cmocka_unit_test(a_resident_store_is_always_ready),
    };
    return cmocka_run_group_tests_name("stores of experts", tests, NULL, NULL);
}
