/* SPDX-License-Identifier: Apache-2.0
 *
 * What the readers of traces (trace_summary.c, trace_affinity.c, trace_simulate.c) share. */
#ifndef MD_RUN_TRACE_H
#define MD_RUN_TRACE_H

#include "base/mem.h"
#include <medley/trace.h>

/* Sequences whose last token is remembered; tokens of others, with larger numbers, count as the first of theirs. */
#define MD_TRACE_SEQUENCES 16

/* The step under way: records lend their rows only until the next one. */
typedef struct md_trace_rows {
    int32_t n;
    int32_t *sequence, *position; /* owned, [cap] */
    size_t cap;
} md_trace_rows;
md_status md_trace_rows_keep(md_trace_rows *rows, const md_trace_record *step, md_error *err) MD_MUST_USE;
void md_trace_rows_done(md_trace_rows *rows);

/* What the sequences' last tokens chose at every layer. */
typedef struct md_trace_past {
    size_t *first;     /* owned, [n_layer + 1]: where a layer's slots begin */
    uint16_t *expert;  /* owned, [MD_TRACE_SEQUENCES][slots of all layers] */
    int32_t *position; /* owned, [MD_TRACE_SEQUENCES][n_layer], -1: nothing yet */
    uint8_t *mark;     /* owned, [most experts of a layer], all 0 between calls */
    int32_t n_layer;
} md_trace_past;
md_status md_trace_past_init(md_trace_past *p, const md_trace_info *info, md_error *err) MD_MUST_USE;
void md_trace_past_done(md_trace_past *p);
/* The [top_k] experts that the token before chose at this layer (65535: none), or NULL if it is not known. */
const uint16_t *md_trace_past_get(const md_trace_past *p, int32_t layer, int32_t sequence, int32_t position);
void md_trace_past_set(md_trace_past *p, int32_t layer, int32_t sequence, int32_t position, const int32_t *expert);
/* How many of the layer's [top_k] experts are among those of the token before. */
int32_t md_trace_past_common(md_trace_past *p, int32_t layer, const int32_t *expert, const uint16_t *before);

/* Work grows with a layer's experts for every choice: MD_ERR_LIMIT beyond what any model has. */
#define MD_TRACE_MOST_STUDIED 4096
md_status md_trace_check_size(const md_trace_info *info, int32_t layer, md_error *err) MD_MUST_USE;

/* Copies a reader's info, which goes with the reader. */
md_status md_trace_copy_info(const md_trace_info *info, md_arena *arena, md_trace_info *out, md_error *err) MD_MUST_USE;

#endif
