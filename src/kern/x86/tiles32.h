/* SPDX-License-Identifier: Apache-2.0
 *
 * Products with tiles of the types of Q32: tiles32.c multiplies a few tokens straight from the tiles, tiles32_many.c unpacks
 * them first. */
#ifndef MD_KERN_X86_TILES32_H
#define MD_KERN_X86_TILES32_H

#include "kern/x86/dot.h"

/* Tokens that share one unpacking into registers. */
#define MD_FEW 4

/* The product of many tokens of a type of Q32. */
typedef void md_product_fn(const md_product *m);
md_product_fn *MD_K(tiles32_many)(md_type type);

#endif
