/* SPDX-License-Identifier: Apache-2.0
 *
 * The inline expanders, as whoever includes them compiles them: this file is built once with the project's flags and,
 * on x86, again for each instruction set that the expanders turn into different code. They must agree with the second
 * reading of the formats, keep to the promised ranges, and neither read beyond a block nor write beyond their output.
 */
#include "support/fixtures.h"

#include "dtype/expand.h"
#include "random.h"
#include "reference.h"

typedef struct expander {
    md_type type;
    void (*expand256)(const void *, md_expand256 *);
    void (*expand32)(const void *, int, md_expand32 *);
} expander;

#define EXPANDER256(NAME, name)                \
    {                                          \
        MD_TYPE_##NAME, md_expand_##name, NULL \
    }
#define EXPANDER32(NAME, name)                 \
    {                                          \
        MD_TYPE_##NAME, NULL, md_expand_##name \
    }
static const expander expanders[] = {
    EXPANDER32(Q4_0, q4_0),      EXPANDER32(Q4_1, q4_1),      EXPANDER32(Q5_0, q5_0),
    EXPANDER32(Q5_1, q5_1),      EXPANDER32(Q8_0, q8_0),      EXPANDER32(IQ4_NL, iq4_nl),
    EXPANDER32(MXFP4, mxfp4),    EXPANDER32(NVFP4, nvfp4),    EXPANDER32(Q1_0, q1_0),
    EXPANDER32(Q2_0, q2_0),      EXPANDER256(Q2_K, q2_k),     EXPANDER256(Q3_K, q3_k),
    EXPANDER256(Q4_K, q4_k),     EXPANDER256(Q5_K, q5_k),     EXPANDER256(Q6_K, q6_k),
    EXPANDER256(IQ1_S, iq1_s),   EXPANDER256(IQ1_M, iq1_m),   EXPANDER256(IQ2_XXS, iq2_xxs),
    EXPANDER256(IQ2_XS, iq2_xs), EXPANDER256(IQ2_S, iq2_s),   EXPANDER256(IQ3_XXS, iq3_xxs),
    EXPANDER256(IQ3_S, iq3_s),   EXPANDER256(IQ4_XS, iq4_xs), EXPANDER256(TQ1_0, tq1_0),
    EXPANDER256(TQ2_0, tq2_0),
};

static bool cpu_can_run_this(void)
{
#if defined(__AVX512BW__)
    return __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512dq");
#elif defined(__AVX2__)
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#elif defined(__SSSE3__)
    return __builtin_cpu_supports("ssse3");
#else
    return true;
#endif
}

static void every_quantized_type_is_here(void **state)
{
    (void)state;
    size_t n = 0;
    for (int t = 0; t < MD_N_TYPES; t++)
        n += md_type_get((md_type)t)->cls == MD_CLASS_QUANT;
    assert_int_equal(n, sizeof expanders / sizeof *expanders);
    for (size_t k = 0; k < n; k++) {
        const md_type_info *info = md_type_get(expanders[k].type);
        assert_true((info->act == MD_ACT_Q256) == (expanders[k].expand256 != NULL));
        assert_true((info->act == MD_ACT_Q32) == (expanders[k].expand32 != NULL));
    }
}

static void check256(const expander *x, const uint8_t *block)
{
    struct {
        md_expand256 e;
        uint8_t canary[64];
    } out;
    memset(&out, 0xa5, sizeof out);
    x->expand256(block, &out.e);
    for (size_t i = 0; i < sizeof out.canary; i++)
        assert_int_equal(out.canary[i], 0xa5);
    const md_expand256 *e = &out.e;
    for (int i = 0; i < 256; i++) {
        assert_in_range(e->code[i] + 127, 0, 254);
        assert_in_range(e->sub[i / 16] + 128, 0, 255);
        float w = e->d * (float)e->sub[i / 16] * (float)e->code[i];
        if (md_type_has_min(x->type)) {
            assert_in_range(e->min[i / 16], 0, 63);
            w -= e->dmin * (float)e->min[i / 16];
        }
        const float expected = reference_weight(x->type, block, i);
        if (!same_float(w, expected))
            fail_msg("%s: weight %d is %a, expected %a", md_type_get(x->type)->name, i, (double)w, (double)expected);
    }
}

static void check32(const expander *x, const uint8_t *block, int group)
{
    struct {
        md_expand32 e;
        uint8_t canary[64];
    } out;
    memset(&out, 0xa5, sizeof out);
    x->expand32(block, group, &out.e);
    for (size_t i = 0; i < sizeof out.canary; i++)
        assert_int_equal(out.canary[i], 0xa5);
    const md_expand32 *e = &out.e;
    if (x->type != MD_TYPE_NVFP4)
        assert_memory_equal(&e->d[0], &e->d[1], sizeof e->d[0]);
    if (!md_type_has_min(x->type))
        assert_true(e->m == 0.0f);
    for (int i = 0; i < 32; i++) {
        assert_in_range(e->code[i] + 128, x->type == MD_TYPE_Q8_0 ? 0 : 1, 255);
        float w = e->d[i / 16] * (float)e->code[i];
        if (md_type_has_min(x->type))
            w += e->m;
        const float expected = reference_weight(x->type, block, 32 * group + i);
        if (!same_float(w, expected))
            fail_msg("%s group %d: weight %d is %a, expected %a", md_type_get(x->type)->name, group, i, (double)w,
                     (double)expected);
    }
}

/* The block lies at the very end of its allocation: AddressSanitizer sees a read beyond it. */
static void expanders_match_the_second_reading(void **state)
{
    (void)state;
    if (!cpu_can_run_this())
        skip();
    uint64_t seed = 4;
    for (size_t k = 0; k < sizeof expanders / sizeof *expanders; k++) {
        const expander *x = &expanders[k];
        const md_type_info *info = md_type_get(x->type);
        uint8_t *block = malloc((size_t)info->bytes);
        assert_non_null(block);
        for (int round = 0; round < 200; round++) {
            random_bytes(&seed, block, (size_t)info->bytes);
            if (round < 2)
                memset(block, round ? 0xff : 0, (size_t)info->bytes);
            if (x->expand256)
                check256(x, block);
            for (int group = 0; x->expand32 && group < info->block / 32; group++)
                check32(x, block, group);
        }
        free(block);
    }
}

/* What kernels do with half.h: a plain loop over many values, at every length of tail. */
static void half_loops_match_one_by_one(void **state)
{
    (void)state;
    if (!cpu_can_run_this())
        skip();
    enum { N = 4096 };
    static uint16_t h[N], back[N], bf[N];
    static float f[N], g[N];
    uint64_t seed = 5;
    for (int n = N - 40; n <= N; n++) {
        random_bytes(&seed, (uint8_t *)h, sizeof h);
        for (int i = 0; i < n; i++)
            f[i] = md_f32_from_f16(h[i]);
        for (int i = 0; i < n; i++)
            g[i] = f[i] * 1.01f;
        for (int i = 0; i < n; i++)
            back[i] = md_f16_from_f32(g[i]);
        for (int i = 0; i < n; i++)
            bf[i] = md_bf16_from_f32(g[i]);
        for (int i = 0; i < n; i++) {
            assert_true(same_float(f[i], md_half_to_float(h[i])));
            assert_int_equal(back[i], md_float_to_half(g[i]));
            assert_int_equal(bf[i], md_float_to_bf16(g[i]));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_quantized_type_is_here),
        cmocka_unit_test(expanders_match_the_second_reading),
        cmocka_unit_test(half_loops_match_one_by_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
