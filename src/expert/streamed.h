/* SPDX-License-Identifier: Apache-2.0
 *
 * The store whose experts stay in their files, but for those that lie in slots: some for each layer, as many as a budget allows
 * and never fewer than one token needs. Which expert leaves a slot is an eviction policy's choice (expert/policy.h); reads go
 * past the page cache (base/reader.h). Matrices that kernels want in tiles are woven in their slot before they run. Nothing is
 * allocated after md_streamed_new. One thread at a time: the stepping one. */
#ifndef MD_EXPERT_STREAMED_H
#define MD_EXPERT_STREAMED_H

#include "base/pool.h"
#include "expert/ahead.h"
#include "expert/expert.h"

/* Where a matrix lies. Not there: bytes 0. */
typedef struct md_expert_place {
    int32_t file; /* index into the paths */
    bool weave;   /* rows in the file, tiles in memory */
    uint64_t offset;
    size_t bytes;
} md_expert_place;

typedef struct md_expert_source {
    md_expert shape; /* what the store gives, but for the matrices' data */
    md_expert_place gate, up, down;
} md_expert_source;

typedef struct md_streamed_args {
    int32_t n_layer;
    const int32_t *n_expert;               /* [n_layer] 0: none */
    const int32_t *top_k;                  /* [n_layer] */
    const md_expert_source *const *source; /* [n_layer][n_expert]; borrowed for the store's life */
    const char *const *path;               /* [n_files] */
    int32_t n_files;
    size_t bytes;       /* of slots, all layers; SIZE_MAX: as many as there are experts */
    int32_t most_slots; /* of a layer; 0: no bound but the bytes. For tests */
    const char *policy; /* NULL: the preferred one */
    md_ahead_mode read_ahead;
    md_pool *pool; /* borrowed for the store's life: weaves, takes memory */
} md_streamed_args;

/* Experts of the next layer that are read before it is its turn, at most. */
#define MD_STREAMED_AHEAD      8
/* Pieces that its reader has in flight, and of them those of reads that can wait, at most. */
#define MD_STREAMED_DEPTH      16
#define MD_STREAMED_BACKGROUND 4

typedef struct md_streamed md_streamed;

/* Bytes of slots with which every layer holds one token's experts, and with which it holds all. */
void md_streamed_bytes(const md_streamed_args *args, size_t *least, size_t *all);
/* Bytes of what it keeps beside slots. */
size_t md_streamed_tables(const md_streamed_args *args);
/* What md_streamed_new would make of the bytes: slots [n_layer] of each layer, and how many experts of a layer its store can hold at
 * once (md_expert_store.most). */
md_status md_streamed_share(const md_streamed_args *args, int32_t *slots, int32_t *most, md_error *err) MD_MUST_USE;
/* MD_ERR_MEMORY for fewer bytes than the least. */
md_status md_streamed_new(const md_streamed_args *args, md_streamed **out, md_error *err) MD_MUST_USE;
void md_streamed_free(md_streamed *s); /* NULL allowed */
md_expert_store *md_streamed_store(md_streamed *s);

typedef struct md_streamed_counts {
    uint64_t hits, misses; /* experts that a layer's rows needed, each once a step: in a slot, or read for it */
    uint64_t bytes, reads; /* from files; an expert is one to three reads */
    double wait;           /* seconds that steps waited for reads */
    /* Experts read before a step asked for them; those of them that a step then asked for, which count as hits, and of these
     * those that were still being read; those that left a slot unused. */
    uint64_t ahead, ahead_used, ahead_late, ahead_wasted;
    md_ahead_figures guesses;
} md_streamed_counts;
md_streamed_counts md_streamed_get_counts(const md_streamed *s);
int32_t md_streamed_slots(const md_streamed *s, int32_t layer);
/* --- what a run before knew (warm.c) --- */

/* How much each expert was used, layer after layer: [n_counts] as policy.h has them. */
size_t md_streamed_n_counts(const md_streamed *s);
void md_streamed_uses(const md_streamed *s, float *out);
md_status md_streamed_set_uses(md_streamed *s, const float *uses, size_t n, md_error *err) MD_MUST_USE;
/* Takes choices of rows, as `chosen` does, but for what they teach alone. expert, weight [n]. */
void md_streamed_teach(md_streamed *s, int32_t layer, const int32_t *expert, const float *weight, int64_t n);
/* Begins to read the experts used most into empty slots, while nothing else is read, and keeps those of `pinned`, 0 to 1, of each
 * layer's slots there for good. */
void md_streamed_warm(md_streamed *s, double pinned);

/* Why an expert could not be had; "" if none was refused. */
const char *md_streamed_error(const md_streamed *s);

#endif
