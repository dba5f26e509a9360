/* SPDX-License-Identifier: Apache-2.0
 *
 * What the rest of this room asks of a sampler beyond the public calls. */
#ifndef MD_RUN_SAMPLE_H
#define MD_RUN_SAMPLE_H

#include <medley/sample.h>

int32_t md_sampler_n_vocab(const md_sampler *s);

#endif
