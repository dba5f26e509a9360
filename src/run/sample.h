/* SPDX-License-Identifier: Apache-2.0
 *
 * What the rest of this room asks of a sampler beyond the public calls. */
#ifndef MD_RUN_SAMPLE_H
#define MD_RUN_SAMPLE_H

#include <medley/sample.h>

int32_t md_sampler_n_vocab(const md_sampler *s);

/* What a sampler needs while it chooses, some 32 bytes a token of the vocabulary: samplers that choose one after another can share
 * it. It outlives them. */
typedef struct md_sampler_work md_sampler_work;
md_sampler_work *md_sampler_work_new(int32_t n_vocab) MD_MUST_USE; /* NULL when memory is out */
void md_sampler_work_free(md_sampler_work *w);                     /* NULL allowed */
/* md_sampler_new with such a work area, which is borrowed; NULL: one of its own. */
md_status md_sampler_new_in(const md_sampler_args *args, int32_t n_vocab, md_sampler_work *work, md_sampler **out,
                            md_error *err) MD_MUST_USE;

#endif
