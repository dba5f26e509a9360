/* SPDX-License-Identifier: Apache-2.0
 *
 * The codebooks: each entry is made of its type's values, none occurs twice, and the bytes as a whole have the FNV-1a
 * hash that an independent copy of the tables has. The masks: by their definition. */
#include "support/fixtures.h"

#include "dtype/grids.h"
#include <string.h>

static uint64_t fnv1a(const uint8_t *p, size_t n)
{
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < n; i++)
        h = (h ^ p[i]) * 0x100000001b3u;
    return h;
}

/* The table as bytes: `entries` rows of `width` values, all from values[]. */
static void check_codebook(const void *table, size_t entries, size_t width, const char *values, size_t n_values,
                           uint64_t hash)
{
    const uint8_t *p = table;
    for (size_t i = 0; i < entries * width; i++)
        assert_non_null(memchr(values, p[i], n_values));
    for (size_t a = 0; a < entries; a++)
        for (size_t b = 0; b < a; b++)
            assert_memory_not_equal(p + a * width, p + b * width, width);
    assert_true(fnv1a(p, entries * width) == hash);
}

static void codebooks_are_the_published_ones(void **state)
{
    (void)state;
    const char iq2[] = {8, 25, 43}, iq1[] = {-8, 0, 8};
    const char iq3_xxs[] = {4, 12, 20, 28, 36, 44, 52, 62}, iq3_s[] = {1, 3, 5, 7, 9, 11, 13, 15};
    check_codebook(md_grid_iq2_xxs, 256, 8, iq2, sizeof iq2, 0xbb4ee025b5ac6e8eu);
    check_codebook(md_grid_iq2_xs, 512, 8, iq2, sizeof iq2, 0xc9b1ee61e79909bdu);
    check_codebook(md_grid_iq2_s, 1024, 8, iq2, sizeof iq2, 0x123edd38a3b62b90u);
    check_codebook(md_grid_iq3_xxs, 256, 4, iq3_xxs, sizeof iq3_xxs, 0xdfa5dc83d6a155d5u);
    check_codebook(md_grid_iq3_s, 512, 4, iq3_s, sizeof iq3_s, 0xfa37020c25b44829u);
    check_codebook(md_grid_iq1, 2048, 8, iq1, sizeof iq1, 0x99649f4b16b0d5ddu);
}

static void masks_spread_bits(void **state)
{
    (void)state;
    for (unsigned b = 0; b < 256; b++)
        for (unsigned j = 0; j < 8; j++)
            assert_int_equal(md_bit_masks[b] >> 8 * j & 0xff, b >> j & 1 ? 0xff : 0);
    for (unsigned s = 0; s < 128; s++) {
        unsigned ones = 0;
        for (unsigned j = 0; j < 7; j++)
            ones += s >> j & 1;
        assert_true(md_even_masks[s] == md_bit_masks[s | (ones & 1) << 7]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(codebooks_are_the_published_ones),
        cmocka_unit_test(masks_spread_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
