/* SPDX-License-Identifier: Apache-2.0
 *
 * What this compilation overwrites in the table of its instruction set. */
#include "kern/arm/arm.h"

void MD_K(overwrite)(md_kern *k)
{
    MD_K(tiles32_fill)(k);
    MD_K(tiles256_fill)(k);
}
