/* SPDX-License-Identifier: Apache-2.0 */
#include "base/cpu.h"

#include <string.h>

#if defined(__x86_64__) || defined(__i386__)
#include <cpuid.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif

#define BIT(n) (UINT32_C(1) << (n))

/* Bits of CPUID (Intel SDM volume 2A). */
#define LEAF1_ECX_FMA     BIT(12)
#define LEAF1_ECX_OSXSAVE BIT(27)
#define LEAF1_ECX_AVX     BIT(28)
#define LEAF1_ECX_F16C    BIT(29)
#define LEAF7_EBX_AVX2    BIT(5)
#define LEAF7_EBX_AVX512  (BIT(16) | BIT(17) | BIT(30) | BIT(31)) /* F, DQ, BW, VL */
#define LEAF7_ECX_VNNI    BIT(11)
/* Register files that the system saves (XCR0). */
#define XCR0_YMM          0x06u /* XMM and upper halves of YMM */
#define XCR0_ZMM          0xe6u /* those, mask registers, upper ZMM halves, ZMM16 to 31 */

md_cpu md_cpu_from_x86(uint32_t leaf1_ecx, uint32_t leaf7_ebx, uint32_t leaf7_ecx, uint64_t xcr0)
{
    md_cpu c = {0};
    const uint32_t usable = LEAF1_ECX_OSXSAVE | LEAF1_ECX_AVX;
    if ((leaf1_ecx & usable) != usable || (xcr0 & XCR0_YMM) != XCR0_YMM)
        return c;
    c.avx2 = (leaf7_ebx & LEAF7_EBX_AVX2) != 0;
    c.fma = (leaf1_ecx & LEAF1_ECX_FMA) != 0;
    c.f16c = (leaf1_ecx & LEAF1_ECX_F16C) != 0;
    c.avx512 = (leaf7_ebx & LEAF7_EBX_AVX512) == LEAF7_EBX_AVX512 && (xcr0 & XCR0_ZMM) == XCR0_ZMM;
    c.avx512_vnni = c.avx512 && (leaf7_ecx & LEAF7_ECX_VNNI) != 0;
    return c;
}

#if defined(__x86_64__) || defined(__i386__)

/* By its bytes: the intrinsic would need a compiler flag for this whole file. */
static uint64_t read_xcr0(void)
{
    uint32_t low, high;
    __asm__ volatile(".byte 0x0f, 0x01, 0xd0" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}

/* The brand string: leaves 0x80000002 to 4, 16 characters each, without blanks in front. */
static void read_name(char *out)
{
    uint32_t part[12], top = __get_cpuid_max(0x80000000u, NULL);
    if (top < 0x80000004u)
        return;
    for (uint32_t i = 0; i < 3; i++)
        __cpuid(0x80000002u + i, part[4 * i], part[4 * i + 1], part[4 * i + 2], part[4 * i + 3]);
    char text[sizeof part + 1] = {0};
    memcpy(text, part, sizeof part);
    const char *s = text + strspn(text, " ");
    memcpy(out, s, strlen(s) + 1);
}

md_cpu md_cpu_detect(void)
{
    uint32_t a, b, c, d, b7 = 0, c7 = 0;
    md_cpu cpu = {0};
    if (!__get_cpuid(1, &a, &b, &c, &d))
        return cpu;
    if (!__get_cpuid_count(7, 0, &a, &b7, &c7, &d))
        b7 = c7 = 0;
    cpu = md_cpu_from_x86(c, b7, c7, c & LEAF1_ECX_OSXSAVE ? read_xcr0() : 0);
    read_name(cpu.name);
    return cpu;
}

#elif defined(__aarch64__) && defined(__linux__)

md_cpu md_cpu_detect(void)
{
    /* Bits of AT_HWCAP and AT_HWCAP2: part of Linux's interface to programs. */
    const unsigned long cap = getauxval(AT_HWCAP), cap2 = getauxval(AT_HWCAP2);
    return (md_cpu){.neon = (cap & 1ul << 1) != 0, .dotprod = (cap & 1ul << 20) != 0, .i8mm = (cap2 & 1ul << 13) != 0};
}

#else

md_cpu md_cpu_detect(void)
{
    return (md_cpu){0};
}

#endif

const char *md_cpu_level(const md_cpu *c)
{
    if (c->avx512_vnni)
        return "avx512-vnni";
    if (c->avx512)
        return "avx512";
    if (c->avx2 && c->fma && c->f16c)
        return "avx2";
    return c->neon ? "neon" : "scalar";
}
