/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MD_KERN_REF_TABLE_H
#define MD_KERN_REF_TABLE_H

#include "kern/ref/ref.h"

void MD_K(table_fill)(md_kern *k);

#endif
