/* SPDX-License-Identifier: Apache-2.0
 *
 * What this compilation overwrites in the table of its instruction set. */
#include "kern/x86/lut.h"
#include "kern/x86/x86.h"

void MD_K(overwrite)(md_kern *k)
{
    MD_K(attend_fill)(k);
    MD_K(float_fill)(k);
    MD_K(grid_fill)(k);
    MD_K(tiles256_fill)(k);
    MD_K(tiles32_fill)(k);
    MD_K(vector_over)(k);
    MD_K(lut_fill)(k); /* after tiles32 */
}
