/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MD_KERN_REF_VECTOR_H
#define MD_KERN_REF_VECTOR_H

#include "kern/ref/ref.h"

/* Fills norms, rope, activations and element-wise functions. */
void MD_K(vector_fill)(md_kern *k);

#endif
