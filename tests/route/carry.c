/* SPDX-License-Identifier: Apache-2.0
 *
 * The recurrent router's step: against the formula in double precision, the same bits from every table, and its limits. */
#include "checkkern/check.h"
#include "route/route.h"

enum { MAX_H = 100 };

static double sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}

static void a_step_follows_the_formula(void **state)
{
    const md_kern *kern = table_of(state);
    for (int round = 0; round < 300; round++) {
        const int h = 1 + random_below(MAX_H);
        float in[3 * MAX_H], carried[3 * MAX_H], before[MAX_H], scalar_in[3 * MAX_H], scalar[MAX_H];
        guarded x = guarded_new((size_t)h * 12, 4), now = guarded_new((size_t)h * 4, 4);
        for (int i = 0; i < 3 * h; i++) {
            in[i] = 5 * random_unit();
            carried[i] = 5 * random_unit();
            before[i % h] = random_unit();
        }
        memcpy(x.data, in, (size_t)h * 12);
        memcpy(now.data, before, (size_t)h * 4);
        memcpy(scalar_in, in, (size_t)h * 12);
        memcpy(scalar, before, (size_t)h * 4);
        md_gru_step(kern, x.data, carried, now.data, h);
        md_gru_step(scalar_table(), scalar_in, carried, scalar, h);
        expect_same_floats(scalar, now.data, h, "the scalar table's state");
        for (int i = 0; i < h; i++) {
            const double r = sigmoid((double)in[i] + (double)carried[i]);
            const double z = sigmoid((double)in[h + i] + (double)carried[h + i]);
            const double n = tanh((double)in[2 * h + i] + r * (double)carried[2 * h + i]);
            const double expected = (1 - z) * n + z * (double)before[i];
            assert_true(fabs((double)scalar[i] - expected) < 1e-6);
        }
        guarded_done(&x, "in");
        guarded_done(&now, "state");
    }
}

/* Gates wide open or shut: keeps the state, or takes the new one, which saturates. */
static void gates_at_their_limits(void **state)
{
    (void)state;
    float keep[3] = {0, 200, 3}, take[3] = {0, -200, 300}, down[3] = {-200, -200, -300}, h = 0.25f;
    const float none[3] = {0, 0, 77};
    md_gru_step(scalar_table(), keep, none, &h, 1);
    assert_true(h == 0.25f);
    md_gru_step(scalar_table(), take, none, &h, 1);
    assert_true(h == 1.0f);
    md_gru_step(scalar_table(), down, none, &h, 1); /* the reset gate is shut: 77 does not count */
    assert_true(h == -1.0f);
}

int main(void)
{
    seed_from_environment();
    const struct CMUnitTest tests[] = {
        EACH_TABLE(a_step_follows_the_formula),
        cmocka_unit_test(gates_at_their_limits),
    };
    return cmocka_run_group_tests_name("carry", tests, NULL, NULL);
}
