/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MD_KERN_REF_RECURRENT_H
#define MD_KERN_REF_RECURRENT_H

#include "kern/ref/ref.h"

/* Fills the steps of recurrent mixers. */
void MD_K(recurrent_fill)(md_kern *k);

#endif
