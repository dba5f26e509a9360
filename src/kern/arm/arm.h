/* SPDX-License-Identifier: Apache-2.0
 *
 * Hand-written kernels for 64-bit Arm. Every source of this folder is compiled twice: for any ARMv8-A, whose widening
 * multiplications work on 16-bit sums, and for processors with SDOT, which multiplies and adds four bytes into a 32-bit
 * lane in one step. MD_KERN_ISA names the compilation, MD_DOT says whether SDOT is there. */
#ifndef MD_KERN_ARM_ARM_H
#define MD_KERN_ARM_ARM_H

#include "kern/ref/ref.h"

#include <arm_neon.h>

#if defined(__ARM_FEATURE_DOTPROD)
#define MD_DOT 1
#else
#define MD_DOT 0
#endif

/* Overwrites what this folder has. */
void MD_K(overwrite)(md_kern *k);
/* Each fills in what its file has. */
void MD_K(tiles32_fill)(md_kern *k);
void MD_K(tiles256_fill)(md_kern *k);

#endif
