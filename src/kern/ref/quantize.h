/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MD_KERN_REF_QUANTIZE_H
#define MD_KERN_REF_QUANTIZE_H

#include "kern/ref/ref.h"

void MD_K(quantize32)(const float *x, int64_t k, int8_t *code, float *scale, float *sum32, int16_t *isum);
void MD_K(quantize256)(const float *x, int64_t k, int8_t *code, float *scale, int16_t *sum16);

#endif
