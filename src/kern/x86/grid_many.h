/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MD_KERN_X86_GRID_MANY_H
#define MD_KERN_X86_GRID_MANY_H

#include "kern/x86/x86.h"

/* Products that decode a block once for many tokens; right for any number of them, fast from about 4. */
void MD_K(grid_many_iq1_s)(const md_product *m);
void MD_K(grid_many_iq1_m)(const md_product *m);
void MD_K(grid_many_iq2_xxs)(const md_product *m);
void MD_K(grid_many_iq2_xs)(const md_product *m);
void MD_K(grid_many_iq2_s)(const md_product *m);
void MD_K(grid_many_iq3_xxs)(const md_product *m);
void MD_K(grid_many_iq3_s)(const md_product *m);

#endif
