/* SPDX-License-Identifier: Apache-2.0
 *
 * Where rows go: as a trace says, its rows one after the other; or evenly, each row to top-k experts drawn without favourites, the
 * same draw for the same row. */
#include "plan/work.h"

#include "base/rng.h"
#include "base/status.h"

#include <medley/trace.h>
#include <string.h>

#define SEED      0x706c616eu
#define MOST_ROWS 8192 /* of a trace: what comes behind them is not looked at */
#define NONE      0xffffu

/* ---- a trace ---- */

static md_status check_shape(const md_trace_info *info, const md_plan_work *w, const char *path, md_error *err)
{
    MD_FAIL_IF(info->n_layer != w->n_layer, MD_ERR_ARGUMENT,
               "trace '%s' is of a model with %d layers, this one has %d: give a trace of this model", path,
               (int)info->n_layer, (int)w->n_layer);
    for (int32_t l = 0; l < w->n_layer; l++)
        MD_FAIL_IF(info->layer[l].n_ffn != w->layer[l].n_expert ||
                       (w->layer[l].n_expert > 0 && info->layer[l].top_k != w->layer[l].top_k),
                   MD_ERR_ARGUMENT,
                   "trace '%s' is of a model that uses %d of %d experts at layer %d, this one uses %d of %d: give a "
                   "trace of this model",
                   path, (int)info->layer[l].top_k, (int)info->layer[l].n_ffn, (int)l, (int)w->layer[l].top_k,
                   (int)w->layer[l].n_expert);
    return MD_OK;
}

static void keep(md_plan_routing *r, int32_t *n_rows, const md_trace_record *t, int32_t n_expert)
{
    const int32_t k = r->top_k[t->layer];
    for (int32_t row = 0; row < t->n_rows && n_rows[t->layer] < MOST_ROWS; row++) {
        uint16_t *to = r->choice[t->layer] + (size_t)n_rows[t->layer]++ * (size_t)k;
        for (int32_t i = 0; i < k; i++) {
            const int32_t e = t->expert[(int64_t)row * k + i];
            to[i] = e >= 0 && e < n_expert ? (uint16_t)e : NONE;
        }
    }
}

static md_status read_rows(md_plan_routing *r, md_trace_reader *t, const md_plan_work *w, int32_t *n_rows,
                           const char *path, md_error *err)
{
    const md_trace_record *record;
    for (;;) {
        MD_TRY(md_trace_reader_next(t, &record, err));
        if (!record)
            break;
        if (record->kind == MD_TRACE_ROUTING && r->choice[record->layer] && record->top_k == r->top_k[record->layer])
            keep(r, n_rows, record, w->layer[record->layer].n_expert);
    }
    r->n_rows = MOST_ROWS;
    for (int32_t l = 0; l < r->n_layer; l++)
        if (r->choice[l] && n_rows[l] < r->n_rows)
            r->n_rows = n_rows[l];
    MD_FAIL_IF(r->n_rows < 2, MD_ERR_ARGUMENT, "trace '%s' has no whole token", path);
    return MD_OK;
}

static md_status read_trace(md_plan_routing *r, const char *path, const md_plan_work *w, md_arena *arena, md_error *err)
{
    md_trace_reader *t;
    int32_t *n_rows = md_arena_alloc(arena, (size_t)w->n_layer, sizeof *n_rows);
    r->choice = md_arena_alloc(arena, (size_t)w->n_layer, sizeof *r->choice);
    if (!n_rows || !r->choice)
        return md_fail_memory(err, "a trace");
    MD_TRY(md_trace_reader_open(path, &t, err));
    md_status status = check_shape(md_trace_reader_info(t), w, path, err);
    for (int32_t l = 0; l < w->n_layer && status == MD_OK; l++) {
        if (w->layer[l].n_expert == 0)
            continue;
        r->choice[l] = md_calloc((size_t)MOST_ROWS * (size_t)r->top_k[l], sizeof **r->choice);
        if (!r->choice[l])
            status = md_fail_memory(err, "a trace");
    }
    if (status == MD_OK)
        status = read_rows(r, t, w, n_rows, path, err);
    md_trace_reader_close(t);
    return status;
}

md_status md_plan_routing_init(md_plan_routing *r, const char *path, const md_plan_work *w, md_arena *arena,
                               md_error *err)
{
    int32_t *top_k = md_arena_alloc(arena, (size_t)w->n_layer, sizeof *top_k);
    if (!top_k)
        return md_fail_memory(err, "a plan");
    for (int32_t l = 0; l < w->n_layer; l++)
        top_k[l] = w->layer[l].top_k;
    *r = (md_plan_routing){.traced = path != NULL, .n_layer = w->n_layer, .top_k = top_k};
    return path ? read_trace(r, path, w, arena, err) : MD_OK;
}

void md_plan_routing_done(md_plan_routing *r)
{
    for (int32_t l = 0; r->choice && l < r->n_layer; l++)
        md_free(r->choice[l]);
    r->choice = NULL;
}

/* ---- rows ---- */

/* K of E, each set as likely as any (Floyd's way of drawing one). */
static void draw(int32_t n_expert, int32_t top_k, int64_t row, int32_t *out)
{
    for (int32_t i = 0; i < top_k; i++) {
        const int32_t last = n_expert - top_k + i;
        const uint32_t r = md_philox(SEED, (uint64_t)row, (uint64_t)i).v[0];
        int32_t e = (int32_t)((uint64_t)r * (uint64_t)(last + 1) >> 32);
        for (int32_t j = 0; j < i; j++)
            if (out[j] == e) {
                e = last;
                break;
            }
        out[i] = e;
    }
}

void md_plan_routing_row(const md_plan_routing *r, const md_plan_layer *l, int32_t layer, int64_t row, int32_t *out)
{
    if (!r->traced) {
        const int32_t k = l->top_k < l->n_expert ? l->top_k : l->n_expert;
        draw(l->n_expert, k, row, out);
        for (int32_t i = k; i < l->top_k; i++)
            out[i] = -1;
        return;
    }
    const uint16_t *from = r->choice[layer] + (size_t)(row % r->n_rows) * (size_t)l->top_k;
    for (int32_t i = 0; i < l->top_k; i++)
        out[i] = from[i] == NONE ? -1 : from[i];
}
