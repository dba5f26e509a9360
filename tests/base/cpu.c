/* SPDX-License-Identifier: Apache-2.0
 *
 * CPU features: a bit of CPUID is worth nothing while the system does not save the registers. */
#include "base/cpu.h"
#include "support/fixtures.h"

#include <string.h>

/* A processor with everything, and a system that saves everything. */
#define LEAF1  (1u << 12 | 1u << 27 | 1u << 28 | 1u << 29)
#define LEAF7B (1u << 5 | 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31)
#define LEAF7C (1u << 11)
#define XCR0   0xe7u

static const char *level(uint32_t leaf1, uint32_t leaf7b, uint32_t leaf7c, uint64_t xcr0)
{
    const md_cpu c = md_cpu_from_x86(leaf1, leaf7b, leaf7c, xcr0);
    return md_cpu_level(&c);
}

static void test_levels(void **state)
{
    (void)state;
    assert_string_equal(level(LEAF1, LEAF7B, LEAF7C, XCR0), "avx512-vnni");
    assert_string_equal(level(LEAF1, LEAF7B, 0, XCR0), "avx512");
    assert_string_equal(level(LEAF1, 1u << 5, LEAF7C, XCR0), "avx2");
    assert_string_equal(level(LEAF1, 0, 0, XCR0), "scalar");
    assert_string_equal(level(0, 0, 0, 0), "scalar");
    const md_cpu arm = {.neon = true};
    assert_string_equal(md_cpu_level(&arm), "neon");
}

static void test_every_part_of_a_level_is_needed(void **state)
{
    (void)state;
    for (int bit = 0; bit < 32; bit++) {
        const uint32_t one = UINT32_C(1) << bit;
        if (LEAF7B & one & ~(1u << 5))
            assert_string_equal(level(LEAF1, LEAF7B & ~one, LEAF7C, XCR0), "avx2");
        if (LEAF1 & one)
            assert_string_not_equal(level(LEAF1 & ~one, 1u << 5, 0, XCR0), "avx2");
    }
}

static void test_system_must_save_the_registers(void **state)
{
    (void)state;
    assert_string_equal(level(LEAF1, LEAF7B, LEAF7C, 0), "scalar");
    assert_string_equal(level(LEAF1, LEAF7B, LEAF7C, 0x2), "scalar"); /* XMM only */
    assert_string_equal(level(LEAF1, LEAF7B, LEAF7C, 0x7), "avx2");   /* YMM, no ZMM */
    assert_string_equal(level(LEAF1, LEAF7B, LEAF7C, 0x67), "avx2");  /* not the upper 16 */
    assert_string_equal(level(LEAF1 & ~(1u << 27), LEAF7B, LEAF7C, XCR0), "scalar");
}

/* The kernel lists a feature only if it is usable; what we detect must agree. */
static void test_agrees_with_the_kernel(void **state)
{
    (void)state;
    FILE *f = fopen("/proc/cpuinfo", "r");
    if (!f)
        skip();
    char line[8192], flags[8200] = "";
    while (fgets(line, sizeof line, f) && !flags[0])
        if (strncmp(line, "flags", 5) == 0)
            snprintf(flags, sizeof flags, " %s", line);
    fclose(f);
    if (!flags[0])
        skip(); /* not x86 */
    flags[strcspn(flags, "\n")] = ' ';
    const md_cpu c = md_cpu_detect();
    assert_int_equal(c.avx2, strstr(flags, " avx2 ") != NULL);
    assert_int_equal(c.fma, strstr(flags, " fma ") != NULL);
    assert_int_equal(c.f16c, strstr(flags, " f16c ") != NULL);
    assert_int_equal(c.avx512, strstr(flags, " avx512f ") && strstr(flags, " avx512bw ") &&
                                   strstr(flags, " avx512dq ") && strstr(flags, " avx512vl "));
    assert_int_equal(c.avx512_vnni, c.avx512 && strstr(flags, " avx512_vnni "));
    assert_true(memchr(c.name, '\0', sizeof c.name) != NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_levels),
        cmocka_unit_test(test_every_part_of_a_level_is_needed),
        cmocka_unit_test(test_system_must_save_the_registers),
        cmocka_unit_test(test_agrees_with_the_kernel),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
