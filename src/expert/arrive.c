/* SPDX-License-Identifier: Apache-2.0
 *
 * Reads that are done, and rows that become tiles: in place, by all threads, when the expert is about to run, so that what was
 * read for nothing is not woven for nothing. */
#include "expert/streamed_inner.h"

#include "base/status.h"
#include "base/sys.h"
#include "dtype/tile.h"

#include <string.h>

/* Bytes that a thread weaves at a time, about. */
#define STRETCH_BYTES (64 << 10)

/* ---- weaving ---- */

typedef struct weave_job {
    const md_streamed *s;
    md_slot *at;
    int64_t first[MD_MATRICES + 1]; /* a matrix's first stretch */
    int64_t tiles[MD_MATRICES];     /* of a stretch */
} weave_job;

static void weave_stretch(const weave_job *j, int matrix, int64_t stretch, unsigned char *work)
{
    md_weight *w = md_weight_of(&j->at->w, matrix);
    const size_t bytes = MD_TILE_ROWS * w->row_bytes;
    const int64_t blocks = w->cols / md_type_get(w->type)->block, first = stretch * j->tiles[matrix],
                  all = w->rows / MD_TILE_ROWS, last = first + j->tiles[matrix] < all ? first + j->tiles[matrix] : all;
    unsigned char *tile = (unsigned char *)(uintptr_t)w->data + (size_t)first * bytes;
    for (int64_t t = first; t < last; t++, tile += bytes) {
        memcpy(work, tile, bytes);
        md_tile_weave(w->type, work, w->row_bytes, blocks, tile);
    }
}

static void weave_items(void *ctx, int64_t first, int64_t last, int thread)
{
    const weave_job *j = ctx;
    unsigned char *work = j->s->tile + (size_t)thread * j->s->tile_bytes;
    for (int64_t i = first; i < last; i++) {
        int m = 0;
        while (i >= j->first[m + 1])
            m++;
        weave_stretch(j, m, i - j->first[m], work);
    }
}

static void weave(md_streamed *s, md_slot *at)
{
    weave_job j = {.s = s, .at = at};
    for (int m = 0; m < MD_MATRICES; m++) {
        const md_weight *w = md_weight_of(&at->w, m);
        const int64_t tiles = w->rows / MD_TILE_ROWS;
        int64_t stretches = 0;
        if (md_place_of(&s->source[at->layer][at->expert], m)->weave) {
            const int64_t fit = STRETCH_BYTES / (int64_t)(MD_TILE_ROWS * w->row_bytes);
            j.tiles[m] = fit > 0 ? fit : 1;
            stretches = (tiles + j.tiles[m] - 1) / j.tiles[m];
        }
        j.first[m + 1] = j.first[m] + stretches;
    }
    if (j.first[MD_MATRICES] > 0)
        md_pool_run(s->pool, j.first[MD_MATRICES], 1, weave_items, &j);
}

/* ---- arrivals ---- */

static void arrived(md_streamed *s, md_read *read)
{
    md_slot *at = read->user;
    md_error error;
    if (md_reader_explain(s->reader, read, &error) != MD_OK) {
        md_streamed_fail(s, &error);
        at->state = MD_SLOT_FAILED;
    }
    s->counts.bytes += read->n;
    if (--at->unread == 0 && at->dropped)
        at->state = MD_SLOT_EMPTY;
    else if (at->unread == 0 && at->state == MD_SLOT_READING)
        at->state = MD_SLOT_ARRIVED;
}

void md_slots_take_arrivals(md_streamed *s)
{
    for (md_read *r; (r = md_reader_done(s->reader, false));)
        arrived(s, r);
}

bool md_slots_wait(md_streamed *s)
{
    const double began = md_sys_seconds();
    md_read *r = md_reader_done(s->reader, true);
    if (r)
        arrived(s, r);
    s->counts.wait += md_sys_seconds() - began;
    return r != NULL;
}

bool md_slot_finish(md_streamed *s, md_slot *at)
{
    while (at->state == MD_SLOT_READING && at->unread > 0 && md_slots_wait(s))
        ;
    if (at->state == MD_SLOT_ARRIVED) {
        weave(s, at);
        at->state = MD_SLOT_PRESENT;
    }
    return at->state == MD_SLOT_PRESENT;
}
