/* SPDX-License-Identifier: Apache-2.0
 *
 * What this machine can do at most: memory reads, and one core's multiply-adds by the instructions that products are made of.
 * Kernels are judged by their share of it. */
#ifndef MD_BENCH_ROOF_H
#define MD_BENCH_ROOF_H

#include <stddef.h>

/* Ways of multiplying and adding. The integer ones multiply bytes or 16-bit numbers, add the products in 16 or 32 bits and turn
 * 16 into 32 bits in the end ("widen"). */
typedef enum mix {
    MIX_FMA,   /* binary32, fused */
    MIX_BYTE8, /* maddubs and a 16-bit add, one widening for 8 of them: codes of up to 5 bits, offsets taken off */
    MIX_BYTE2, /* one widening for 2: codes of 6 bits */
    MIX_BYTE1, /* one widening and a 32-bit add each: codes of 8 bits */
    MIX_WORD,  /* 16-bit madd and a 32-bit add: codes of 8 bits, widened beforehand */
    MIX_DOT,   /* dpbusd (VNNI) */
    N_MIXES
} mix;

const char *mix_name(mix m);
/* 10^9 multiply-adds a second on one core; 0 where the machine has no such instructions. */
double roof_mix(mix m);
/* 10^9 bytes a second that n threads read together from n bytes at p; the best of some passes. */
double roof_read(const void *p, size_t n, int n_threads);
/* Seconds of processor time of this thread: what others do on the machine counts less. */
double thread_seconds(void);

#endif
