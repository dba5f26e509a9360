/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of the maker of test models share: the plan of one tensor, and the two makers of content. */
#ifndef MD_SHAPE_SYNTH_H
#define MD_SHAPE_SYNTH_H

#include "dtype/dtype.h"
#include "format/gguf.h"
#include <medley/unstable/synth.h>

/* One tensor to write: where its values come from is a pure function of (seed, name, index). */
typedef struct md_synth_tensor {
    char name[64];
    md_type type;
    int n_dims;
    int64_t dim[3];
    enum { MD_SYNTH_NORMAL, MD_SYNTH_UNIFORM } law;
    float center, spread; /* standard deviation of the normal law; half the width of the uniform one */
} md_synth_tensor;

/* Gives the tensor's data to the writer, which expects it next. Types without an encoder get random codes under scales
 * that make the values about as large as `spread`. */
md_status md_synth_fill(uint64_t seed, const md_synth_tensor *t, md_gguf_writer *w, md_error *err) MD_MUST_USE;

/* Sets the tokenizer's keys: a byte-level BPE of exactly n_vocab tokens, and a chat template. */
md_status md_synth_tokenizer(int n_vocab, md_gguf_writer *w, md_error *err) MD_MUST_USE;
/* The least n_vocab. */
int md_synth_vocab_min(void);

#endif
