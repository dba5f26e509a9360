/* SPDX-License-Identifier: Apache-2.0
 *
 * Which tensors may stay in the file while a model runs, and where each expert of each layer lies in it. */
#ifndef MD_MODEL_STREAM_H
#define MD_MODEL_STREAM_H

#include "expert/streamed.h"
#include "model/model.h"

typedef struct md_stream_plan {
    md_streamed_args args; /* all but the budget; arrays in the model's arena */
    size_t least, all;     /* bytes of slots: one token's experts of every layer, and all experts */
} md_stream_plan;

/* A matrix of routed experts, by its name. */
bool md_stream_is(const md_gguf_tensor *t);
/* Of a bound model whose experts have addresses in m->elsewhere. */
md_status md_stream_plan_new(md_model *m, md_error *err) MD_MUST_USE;

#endif
