/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MD_KERN_X86_LUT_H
#define MD_KERN_X86_LUT_H

#include "kern/x86/x86.h"

/* Fills in products by table lookup, where they beat multiplication: after tiles32_fill. */
void MD_K(lut_fill)(md_kern *k);

#endif
