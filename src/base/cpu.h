/* SPDX-License-Identifier: Apache-2.0
 *
 * What this processor can do and the operating system lets a program use: a feature counts only if the system also saves
 * the registers it needs (XCR0 on x86). Pure functions; nothing is kept. Thread-safe. */
#ifndef MD_BASE_CPU_H
#define MD_BASE_CPU_H

#include <stdbool.h>
#include <stdint.h>

typedef struct md_cpu {
    /* x86 */
    bool avx2;
    bool fma;
    bool f16c;
    bool avx512;      /* F, BW, DQ and VL together */
    bool avx512_vnni; /* with avx512 */
    /* Arm */
    bool neon;     /* Advanced SIMD */
    bool dotprod;  /* SDOT, UDOT */
    bool i8mm;     /* SMMLA */
    char name[52]; /* what the processor calls itself, "" if it does not */
} md_cpu;

md_cpu md_cpu_detect(void);
/* The widest set of features that kernels are written for: "avx512-vnni", "avx512", "avx2", "neon" or "scalar". Static. */
const char *md_cpu_level(const md_cpu *c);

/* The x86 features from raw registers: leaf 1's ecx, leaf 7's ebx and ecx, and XCR0 (0 where XGETBV is not there). */
md_cpu md_cpu_from_x86(uint32_t leaf1_ecx, uint32_t leaf7_ebx, uint32_t leaf7_ecx, uint64_t xcr0);

#endif
