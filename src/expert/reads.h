/* SPDX-License-Identifier: Apache-2.0
 *
 * Which reads bring an expert: one for each of its matrices, or fewer where matrices are neighbours in one file, as in files that
 * were packed for streaming. Says, too, where in a slot's memory the reads go and the matrices then are. Pure functions. */
#ifndef MD_EXPERT_READS_H
#define MD_EXPERT_READS_H

#include "expert/streamed.h"

enum { MD_MATRICES = 3 }; /* gate, up, down */

/* A stretch of a file, read at once. */
typedef struct md_expert_read {
    int32_t file;
    uint64_t offset;
    size_t bytes;
    size_t at;       /* of the read's buffer in the slot, a multiple of MD_READER_ALIGN */
    uint32_t brings; /* bit m: matrix m */
} md_expert_read;

typedef struct md_expert_reads {
    int32_t n; /* 0..MD_MATRICES */
    md_expert_read read[MD_MATRICES];
    size_t matrix_at[MD_MATRICES]; /* where a matrix's bytes arrive in the slot; undefined for one that is not there */
    size_t room;                   /* bytes of the slot */
} md_expert_reads;

/* Matrices of a file join in one read if fewer than MD_READER_ALIGN bytes lie between them: direct reads take whole blocks
 * anyway. */
void md_expert_reads_of(const md_expert_source *s, md_expert_reads *out);

/* The matrices of an expert by number. */
static inline const md_expert_place *md_place_of(const md_expert_source *s, int matrix)
{
    return matrix == 0 ? &s->gate : matrix == 1 ? &s->up : &s->down;
}

#endif
