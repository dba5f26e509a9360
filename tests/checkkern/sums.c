/* SPDX-License-Identifier: Apache-2.0
 *
 * Weighted sums of rows, of experts in binary64 and of a matrix's rows in binary32: every table against sections 7 and 8 of
 * docs/numerics.md bit for bit, at odd lengths and addresses and on any data. */
#include "checkkern/check.h"

static const int lengths[] = {0, 1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 100, 255, 257, 1000};

enum { MOST_PARTS = 9 };

/* Parts and their weights; rows lie `ld` apart in one buffer. */
typedef struct parts {
    tight x, w;
    int n, ld;
    const float *row[MOST_PARTS];
} parts;

static parts parts_new(int n, int width, fill f)
{
    parts p = {.n = n, .ld = width + random_below(4)};
    float *x = tight_floats(&p.x, n > 0 ? (int64_t)p.ld * (n - 1) + width : 0, random_below(8), f);
    tight_floats(&p.w, n, random_below(8), random_below(2) ? f : FILL_UNIT);
    for (int i = 0; i < n; i++)
        p.row[i] = x + (int64_t)i * p.ld;
    return p;
}

static void parts_done(parts *p)
{
    free(p->x.base);
    free(p->w.base);
}

static void combine_follows_the_definition(void **state)
{
    const md_kern *kern = table_of(state);
    for (int i = 0; i < COUNT(lengths); i++)
        for (int n = 0; n <= MOST_PARTS; n++) {
            const fill f = (fill)random_below(N_FILLS);
            parts p = parts_new(n, lengths[i], f);
            guarded y = guarded_new((size_t)lengths[i] * 4, (size_t)random_below(8) * 4);
            kern->combine(p.row, p.w.data, n, y.data, lengths[i]);
            for (int c = 0; c < lengths[i]; c++) {
                double sum = 0.0;
                for (int r = 0; r < n; r++)
                    sum = sum + (double)((float *)p.w.data)[r] * (double)p.row[r][c];
                const float expected = (float)sum;
                expect_same_floats(&expected, (float *)y.data + c, 1,
                                   describe("%s combine %d by %d %s", kern->isa, n, lengths[i], fill_names[f]));
            }
            guarded_done(&y, "combine");
            parts_done(&p);
        }
}

static void axpys_follow_the_definition(void **state)
{
    const md_kern *kern = table_of(state);
    for (int i = 0; i < COUNT(lengths); i++)
        for (int n = 0; n <= MOST_PARTS; n++) {
            const fill f = (fill)random_below(N_FILLS);
            parts p = parts_new(n, lengths[i], f);
            guarded y = guarded_new((size_t)lengths[i] * 4, (size_t)random_below(8) * 4);
            fill_floats(y.data, lengths[i], f);
            tight before = tight_copy(y.data, (size_t)lengths[i] * 4, 0);
            kern->axpys(y.data, n > 0 ? p.row[0] : NULL, p.ld, p.w.data, n, lengths[i]);
            for (int c = 0; c < lengths[i]; c++) {
                float expected = ((float *)before.data)[c];
                for (int r = 0; r < n; r++)
                    expected = fmaf(p.row[r][c], ((float *)p.w.data)[r], expected);
                expect_same_floats(&expected, (float *)y.data + c, 1,
                                   describe("%s axpys %d by %d %s", kern->isa, n, lengths[i], fill_names[f]));
            }
            guarded_done(&y, "axpys");
            free(before.base);
            parts_done(&p);
        }
}

int main(void)
{
    seed_from_environment();
    const struct CMUnitTest tests[] = {
        EACH_TABLE(combine_follows_the_definition),
        EACH_TABLE(axpys_follow_the_definition),
    };
    return cmocka_run_group_tests_name("checkkern sums", tests, NULL, NULL);
}
