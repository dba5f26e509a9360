/* SPDX-License-Identifier: Apache-2.0
 *
 * What is remembered while a trace is read: the rows of the step under way, and what each sequence's last token chose. */
#include "run/trace.h"

#include "base/status.h"

#include <string.h>

enum { NO_EXPERT = 65535 };

md_status md_trace_rows_keep(md_trace_rows *rows, const md_trace_record *step, md_error *err)
{
    const size_t n = (size_t)step->n_rows;
    if (n > rows->cap) {
        int32_t *sequence = md_realloc(rows->sequence, n, sizeof *sequence);
        if (sequence)
            rows->sequence = sequence;
        int32_t *position = md_realloc(rows->position, n, sizeof *position);
        if (position)
            rows->position = position;
        if (!sequence || !position)
            return md_fail_memory(err, "a trace's rows");
        rows->cap = n;
    }
    rows->n = step->n_rows;
    memcpy(rows->sequence, step->sequence, n * sizeof *rows->sequence);
    memcpy(rows->position, step->position, n * sizeof *rows->position);
    return MD_OK;
}

void md_trace_rows_done(md_trace_rows *rows)
{
    md_free(rows->sequence);
    md_free(rows->position);
}

md_status md_trace_past_init(md_trace_past *p, const md_trace_info *info, md_error *err)
{
    *p = (md_trace_past){.n_layer = info->n_layer};
    const size_t layers = (size_t)info->n_layer;
    p->first = md_calloc(layers + 1, sizeof *p->first);
    p->position = md_calloc(layers * MD_TRACE_SEQUENCES, sizeof *p->position);
    if (!p->first || !p->position)
        return md_fail_memory(err, "a trace's past");
    for (size_t l = 0; l < layers; l++)
        p->first[l + 1] = p->first[l] + (size_t)info->layer[l].top_k;
    p->expert = md_calloc(p->first[layers] * MD_TRACE_SEQUENCES, sizeof *p->expert);
    p->mark = md_calloc(NO_EXPERT, 1);
    if (!p->expert || !p->mark)
        return md_fail_memory(err, "a trace's past");
    memset(p->position, 0xff, layers * MD_TRACE_SEQUENCES * sizeof *p->position);
    return MD_OK;
}

void md_trace_past_done(md_trace_past *p)
{
    md_free(p->first);
    md_free(p->expert);
    md_free(p->position);
    md_free(p->mark);
}

static uint16_t *slots_of(const md_trace_past *p, int32_t layer, int32_t sequence)
{
    return p->expert + (size_t)sequence * p->first[p->n_layer] + p->first[layer];
}

const uint16_t *md_trace_past_get(const md_trace_past *p, int32_t layer, int32_t sequence, int32_t position)
{
    if (sequence >= MD_TRACE_SEQUENCES)
        return NULL;
    const int32_t last = p->position[(size_t)sequence * (size_t)p->n_layer + (size_t)layer];
    return last >= 0 && last == position - 1 ? slots_of(p, layer, sequence) : NULL;
}

void md_trace_past_set(md_trace_past *p, int32_t layer, int32_t sequence, int32_t position, const int32_t *expert)
{
    if (sequence >= MD_TRACE_SEQUENCES)
        return;
    uint16_t *slot = slots_of(p, layer, sequence);
    const size_t k = p->first[layer + 1] - p->first[layer];
    for (size_t i = 0; i < k; i++)
        slot[i] = expert[i] < 0 ? NO_EXPERT : (uint16_t)expert[i];
    p->position[(size_t)sequence * (size_t)p->n_layer + (size_t)layer] = position;
}

int32_t md_trace_past_common(md_trace_past *p, int32_t layer, const int32_t *expert, const uint16_t *before)
{
    const size_t k = p->first[layer + 1] - p->first[layer];
    int32_t common = 0;
    for (size_t i = 0; i < k; i++)
        if (before[i] != NO_EXPERT)
            p->mark[before[i]] = 1;
    for (size_t i = 0; i < k; i++)
        common += expert[i] >= 0 && p->mark[expert[i]];
    for (size_t i = 0; i < k; i++)
        if (before[i] != NO_EXPERT)
            p->mark[before[i]] = 0;
    return common;
}

md_status md_trace_check_size(const md_trace_info *info, int32_t layer, md_error *err)
{
    const int32_t n = info->layer[layer].n_expert;
    MD_FAIL_IF(n > MD_TRACE_MOST_STUDIED, MD_ERR_LIMIT,
               "layer %d of the trace has %d experts; at most %d can be studied", (int)layer, (int)n,
               MD_TRACE_MOST_STUDIED);
    return MD_OK;
}

md_status md_trace_copy_info(const md_trace_info *info, md_arena *arena, md_trace_info *out, md_error *err)
{
    const size_t n = (size_t)info->n_layer;
    const char *model = md_arena_strndup(arena, info->model, strlen(info->model));
    md_trace_layer *layer = md_arena_alloc(arena, n, sizeof *layer);
    if (!model || !layer)
        return md_fail_memory(err, "a trace's shape");
    memcpy(layer, info->layer, n * sizeof *layer);
    *out = (md_trace_info){.model = model, .identity = info->identity, .n_layer = info->n_layer, .layer = layer};
    return MD_OK;
}
