/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading a model's weights into memory of its own, many pieces at once, and weaving them into tiles on the way. Tensors of
 * plain numbers come first, since binding looks into them; then, when it is known how each matrix is used, the rest. */
#ifndef MD_MODEL_WEIGHTS_H
#define MD_MODEL_WEIGHTS_H

#include "base/file.h"
#include "dtype/tile.h"
#include "model/model.h"

/* What binding leaves in m->layout for a tensor that it did not ask for. */
#define MD_LAYOUT_UNUSED 0xff

/* Takes memory for all of m->file's tensors, says so to m->file, and reads those of plain numbers. MD_ERR_MEMORY with the
 * numbers if they do not fit into what the machine has free. */
md_status md_weights_begin(md_model *m, const md_model_args *args, md_error *err) MD_MUST_USE;
/* Reads the other tensors that m->layout names, in that layout. */
md_status md_weights_finish(md_model *m, const md_model_args *args, md_error *err) MD_MUST_USE;

/* How a tensor is cut into what is read, and checked, at once: into pieces of MD_PACKED_PIECE bytes, or of as many whole tiles as
 * that holds (at least one), but for the last of each stretch: of a slice where slices lie apart in the file, else of the tensor. */
typedef struct md_weights_cut {
    size_t stretch, piece; /* bytes */
    size_t per_stretch, n; /* pieces of a stretch, and of all */
} md_weights_cut;
/* apart: of a file in which slices lie apart, or shall. */
md_weights_cut md_weights_cut_of(const md_gguf_tensor *t, md_layout layout, bool apart);
/* Where piece i begins in the tensor, and its bytes. */
size_t md_weights_piece_at(const md_weights_cut *c, size_t i, size_t *bytes);
/* Bytes [at, at + n) of a tensor from its file, which lie together there or not. */
md_status md_weights_read(const md_in *in, const md_gguf_tensor *t, size_t at, void *dst, size_t n,
                          md_error *err) MD_MUST_USE;
/* n bytes of rows, whole tiles of them, into tiles. */
void md_weights_weave(const md_gguf_tensor *t, const void *rows, size_t n, void *dst);

#endif
