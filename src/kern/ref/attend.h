/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MD_KERN_REF_ATTEND_H
#define MD_KERN_REF_ATTEND_H

#include "kern/ref/ref.h"

void MD_K(attend)(const md_attend *a);
void MD_K(attend_sink)(float z, float *m, float *l, float *acc, int dim_v);
void MD_K(attend_finish)(float l, const float *acc, float *out, int dim_v);

#endif
