/* SPDX-License-Identifier: Apache-2.0
 *
 * The tokenizer that a GGUF file describes (keys tokenizer.ggml.*). */
#ifndef MD_MODEL_TOKENIZER_LOAD_H
#define MD_MODEL_TOKENIZER_LOAD_H

#include "format/gguf.h"
#include <medley/tokenizer.h>

/* Nothing of g is kept. The caller frees *out with md_tokenizer_free. */
md_status md_tokenizer_from_gguf(const md_gguf *g, md_tokenizer **out, md_error *err) MD_MUST_USE;

#endif
