/* SPDX-License-Identifier: Apache-2.0
 *
 * Packed files: a GGUF whose quantized matrices already lie in tiles (dtype/tile.h). Its general.architecture is
 * "medley-packed", so that every other engine refuses it instead of reading noise; the true name and what else is needed to
 * take it as the model that it was made from lie beside it, under keys of their own.
 *
 * Version 2, for streaming: the matrices of a layer's routed experts lie in one tensor of bytes, an expert a row, which is a multiple
 * of MD_PACKED_ALIGN and begins at one, so that an expert is one read. What lies in it is described by the keys of views; opening
 * puts the tensors in its place. Whatever has no such tensors is version 1. */
#ifndef MD_MODEL_PACKED_H
#define MD_MODEL_PACKED_H

#include "format/gguf.h"

#define MD_PACKED_ARCH    "medley-packed"
#define MD_PACKED_VERSION 2u /* the newest; 1: no views */
#define MD_PACKED_ALIGN   4096u
/* Bytes whose checksums a tensor's checksum is made of: it can be taken in parallel. */
#define MD_PACKED_PIECE   ((size_t)1 << 20)

#define MD_PACKED_KEYS            "medley.packed." /* all begin with it */
#define MD_PACKED_KEY_ARCH        "medley.packed.architecture"
#define MD_PACKED_KEY_VERSION     "medley.packed.version"
#define MD_PACKED_KEY_IDENTITY    "medley.packed.identity" /* of the model it was made from */
#define MD_PACKED_KEY_LAYOUT      "medley.packed.layout"   /* [n_tensors] u8: md_layout */
#define MD_PACKED_KEY_CHECKSUM    "medley.packed.checksum" /* [n_tensors] u64 */
/* n_tensors counts views in place of the tensors they lie in. Of each view, in the order of md_gguf_divide: */
#define MD_PACKED_KEY_VIEW_NAME   "medley.packed.view.name"   /* [n] strings */
#define MD_PACKED_KEY_VIEW_TYPE   "medley.packed.view.type"   /* [n] u32, as on disk */
#define MD_PACKED_KEY_VIEW_SHAPE  "medley.packed.view.shape"  /* [3 n] u64 */
#define MD_PACKED_KEY_VIEW_TENSOR "medley.packed.view.tensor" /* [n] u32, index in the file's table */
#define MD_PACKED_KEY_VIEW_OFFSET "medley.packed.view.offset" /* [n] u64, in each row */

typedef struct md_packed {
    bool is;
    bool views; /* version 2 */
    uint64_t identity;
    const unsigned char *layout; /* (n_tensors), borrowed from the file */
} md_packed;

/* If g is a packed file: checks its marks, puts views in their places, and gives general.architecture its true name (in memory). */
md_status md_packed_open(md_gguf *g, md_packed *out, md_error *err) MD_MUST_USE;
/* A tensor's checksum from those of its pieces. */
uint64_t md_packed_join(const uint64_t *piece, size_t n);
/* Are pieces with these checksums the tensor that was packed? MD_ERR_FORMAT if not. */
md_status md_packed_check(const md_gguf *g, size_t tensor, const uint64_t *piece, size_t n, md_error *err) MD_MUST_USE;

#endif
