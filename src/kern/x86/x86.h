/* SPDX-License-Identifier: Apache-2.0
 *
 * Hand-written kernels for x86. Every source of this folder is compiled once for each instruction set, with 256-bit vectors
 * throughout: AVX2 with FMA; AVX-512 (F, DQ, BW, VL), which has twice the registers; and AVX-512 with VNNI, whose dpbusd
 * multiplies and adds bytes in one step. MD_KERN_ISA names the compilation, MD_VNNI says whether dpbusd is there. */
#ifndef MD_KERN_X86_X86_H
#define MD_KERN_X86_X86_H

#include "kern/ref/ref.h"

#include <immintrin.h>

#if defined(__AVX512VNNI__) && defined(__AVX512VL__)
#define MD_VNNI 1
#else
#define MD_VNNI 0
#endif

/* Overwrites what this folder has. */
void MD_K(overwrite)(md_kern *k);
/* Each fills in what its file has. */
void MD_K(tiles32_fill)(md_kern *k);
void MD_K(tiles256_fill)(md_kern *k);
void MD_K(grid_fill)(md_kern *k);
void MD_K(float_fill)(md_kern *k);
void MD_K(attend_fill)(md_kern *k);
void MD_K(vector_over)(md_kern *k);

#endif
