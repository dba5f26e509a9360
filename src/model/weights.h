/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading a model's weights into memory of its own, many pieces at once, and weaving them into tiles on the way. Tensors of
 * plain numbers come first, since binding looks into them; then, when it is known how each matrix is used, the rest. */
#ifndef MD_MODEL_WEIGHTS_H
#define MD_MODEL_WEIGHTS_H

#include "dtype/tile.h"
#include "model/model.h"

/* What binding leaves in m->layout for a tensor that it did not ask for. */
#define MD_LAYOUT_UNUSED 0xff

/* Takes memory for all of m->file's tensors, says so to m->file, and reads those of plain numbers. MD_ERR_MEMORY with the
 * numbers if they do not fit into what the machine has free. */
md_status md_weights_begin(md_model *m, const md_model_args *args, md_error *err) MD_MUST_USE;
/* Reads the other tensors that m->layout names, in that layout. */
md_status md_weights_finish(md_model *m, const md_model_args *args, md_error *err) MD_MUST_USE;

/* Bytes of a tensor's pieces, but for the last: MD_PACKED_PIECE, or as many whole tiles as that holds (at least one). */
size_t md_weights_piece(const md_gguf_tensor *t, md_layout layout);
/* n bytes of rows, whole tiles of them, into tiles. */
void md_weights_weave(const md_gguf_tensor *t, const void *rows, size_t n, void *dst);

#endif
