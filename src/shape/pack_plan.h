/* SPDX-License-Identifier: Apache-2.0
 *
 * What a packed file will hold, in which order: a tensor of the model for each of the file, or, for streaming, one tensor of bytes
 * for all matrices of a layer's routed experts, an expert a row (model/packed.h). Knows shapes and names only; reads nothing. */
#ifndef MD_SHAPE_PACK_PLAN_H
#define MD_SHAPE_PACK_PLAN_H

#include "base/mem.h"
#include "model/weights.h"

/* A tensor of the model. */
typedef struct md_pack_member {
    size_t tensor; /* index in the model's file */
    md_layout layout;
    md_weights_cut cut; /* as the new file's readers will cut it */
    uint64_t offset;    /* in each row; 0 for one that is by itself */
    size_t first_piece; /* among those of its place in the file */
} md_pack_member;

/* A tensor of the new file. */
typedef struct md_pack_place {
    size_t first, n; /* members */
    int64_t rows;    /* of a bundle; 0: the one member as it is */
    uint64_t row_bytes;
    size_t pieces, row_pieces; /* of all members, and of a row (all of them where there are no rows) */
} md_pack_place;

typedef struct md_pack_plan {
    md_arena arena;
    md_pack_member *member; /* (n_members) in the order of the new file */
    md_pack_place *place;   /* (n_places) */
    size_t n_members, n_places, n_bundles;
    uint64_t n_experts; /* whose matrices come together */
} md_pack_plan;

/* A piece of a place: what is read, woven and written at once. */
typedef struct md_pack_piece {
    const md_pack_member *member;
    size_t index, at, bytes; /* of the member's pieces, where it begins in the tensor, how much of it */
    uint64_t pad;            /* zeros behind it */
} md_pack_piece;

md_status md_pack_plan_init(md_pack_plan *p, const md_model *m, bool for_streaming, md_error *err) MD_MUST_USE;
void md_pack_plan_done(md_pack_plan *p);
/* Piece i of a place, in the order of the file. */
md_pack_piece md_pack_piece_of(const md_pack_plan *p, const md_pack_place *place, size_t i);

#endif
