/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MD_KERN_REF_MUL_H
#define MD_KERN_REF_MUL_H

#include "kern/ref/ref.h"

/* Fills the products of all FLOAT and QUANT types. */
void MD_K(mul_float_fill)(md_kern *k);
void MD_K(mul_quant_fill)(md_kern *k);
float MD_K(dot16)(const float *a, const float *b, int64_t n);

#endif
