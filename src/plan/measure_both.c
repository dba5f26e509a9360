/* SPDX-License-Identifier: Apache-2.0
 *
 * What a disk and computing do to each other: a network of an expert's shape, gone through as the engine does it (its loops are short,
 * so a thread that is kept off its processor holds up the others), while reads never end, against both of them alone. In turns, since
 * disks change from one moment to the next. */
#include "plan/profile.h"

#include "base/mem.h"
#include "base/region.h"
#include "base/status.h"
#include "base/sys.h"
#include "expert/expert.h"

#include <math.h>

#define RING   ((size_t)96 << 20) /* bytes of weights: more than caches hold */
#define TYPE   MD_TYPE_Q4_K
#define WIDTH  2048
#define INNER  1024
#define MANY   48 /* rows */
#define ROUNDS 6
#define TURN   0.07 /* seconds */

typedef struct network {
    md_region ring;
    md_rows in, mid; /* their buffers are owned */
    float *x, *y;    /* owned, (MANY, WIDTH) */
    float *work;     /* owned, (threads, work_floats) */
    int64_t work_floats;
    size_t row_bytes[2]; /* of WIDTH and of INNER weights */
    size_t at;           /* in the ring */
} network;

/* ---- the network ---- */

static void drop_rows(md_rows *r)
{
    md_free(r->code256);
    md_free(r->scale256);
    md_free(r->isum32);
    md_free(r->sum16);
}

static void drop(network *w)
{
    md_region_free(&w->ring);
    drop_rows(&w->in);
    drop_rows(&w->mid);
    md_free(w->x);
    md_free(w->y);
    md_free(w->work);
}

/* Buffers of the form that TYPE's products read. */
static bool take_rows(md_rows *r, int64_t cols)
{
    const size_t n = (size_t)MANY * (size_t)cols;
    r->code256 = md_calloc(n, 1);
    r->scale256 = md_calloc(n / 256, sizeof *r->scale256);
    r->isum32 = md_calloc(n / 32, sizeof *r->isum32);
    r->sum16 = md_calloc(n / 16, sizeof *r->sum16);
    return r->code256 && r->scale256 && r->isum32 && r->sum16;
}

static md_status take(network *w, const md_measuring *m, md_error *err)
{
    const size_t n = (size_t)MANY * WIDTH;
    MD_TRY(md_region_new(RING, &w->ring, err));
    w->work_floats = md_hidden_work();
    w->x = md_calloc(n, sizeof *w->x);
    w->y = md_calloc(n, sizeof *w->y);
    w->work = md_calloc((size_t)w->work_floats * (size_t)md_pool_threads(m->pool), sizeof *w->work);
    if (!w->x || !w->y || !w->work || !take_rows(&w->in, WIDTH) || !take_rows(&w->mid, INNER) ||
        !md_type_row_bytes(TYPE, WIDTH, &w->row_bytes[0]) || !md_type_row_bytes(TYPE, INNER, &w->row_bytes[1]))
        return md_fail_memory(err, "measuring this machine");
    md_measuring_fill(w->ring.bytes, w->ring.n);
    for (size_t i = 0; i < n; i++)
        w->x[i] = 0.001f * (float)((int)(i * 7919 % 2001) - 1000);
    return MD_OK;
}

/* The next matrix of the ring, which is in no cache. */
static md_weight next_weight(network *w, int64_t rows, int64_t cols)
{
    const size_t row = w->row_bytes[cols == INNER], bytes = (size_t)rows * row;
    if (w->at + bytes > RING)
        w->at = 0;
    md_weight next = {.type = TYPE,
                      .layout = md_tile_has(TYPE) ? MD_LAYOUT_TILES : MD_LAYOUT_ROWS,
                      .rows = rows,
                      .cols = cols,
                      .row_bytes = row,
                      .data = w->ring.bytes + w->at};
    w->at += bytes;
    return next;
}

/* Seconds of one network for so many rows. */
static double run_once(const md_measuring *m, network *w, int64_t rows)
{
    const md_ops o = {.kern = m->kern, .pool = m->pool};
    const md_expert e = {
        .gate = next_weight(w, INNER, WIDTH), .up = next_weight(w, INNER, WIDTH), .down = next_weight(w, WIDTH, INNER)};
    const md_ffn_job job = {.w = &e, .d = WIDTH, .x = INNER, .act = MD_FFN_SILU, .gated = true, .mid = &w->mid};
    md_expert_scratch s = {.work = w->work, .work_floats = w->work_floats};
    const double began = md_sys_seconds();
    md_rows_set(&w->in, w->x, rows, WIDTH);
    md_ffn_run(&o, &job, &w->in, &s, w->y);
    return md_sys_seconds() - began;
}

/* ---- in turns ---- */

enum { FEW_ROWS, MANY_ROWS, KINDS };
static const int64_t rows_of[KINDS] = {1, MANY};

typedef struct sums {
    double idle_bytes, idle;              /* reads alone */
    double bytes[KINDS], seconds[KINDS];  /* reads while computing */
    double alone[KINDS], with[KINDS];     /* seconds of networks... */
    double n_alone[KINDS], n_with[KINDS]; /* ...so many */
} sums;

static md_status run_reads(md_measuring *m, network *w, md_disk_reads *r, int kind, sums *out, md_error *err)
{
    const double began = md_sys_seconds();
    double now = began, bytes = 0.0;
    do {
        if (kind < KINDS) {
            out->with[kind] += run_once(m, w, rows_of[kind]);
            out->n_with[kind]++;
        }
        MD_TRY(md_disk_reads_go_on(r, kind == KINDS, &bytes, err));
        now = md_sys_seconds();
    } while (now - began < TURN);
    *(kind < KINDS ? &out->bytes[kind] : &out->idle_bytes) += bytes;
    *(kind < KINDS ? &out->seconds[kind] : &out->idle) += now - began;
    return MD_OK;
}

static md_status one_round(md_measuring *m, network *w, md_disk_reads *r, sums *out, md_error *err)
{
    for (int kind = 0; kind < KINDS; kind++)
        for (const double end = md_sys_seconds() + TURN; md_sys_seconds() < end; out->n_alone[kind]++)
            out->alone[kind] += run_once(m, w, rows_of[kind]);
    md_disk_reads_begin(r);
    md_status status = MD_OK;
    for (int kind = 0; kind <= KINDS && status == MD_OK; kind++)
        status = run_reads(m, w, r, kind, out, err);
    md_disk_reads_end(r);
    return status;
}

/* Neither makes the other faster: what looks like that is noise. */
static double times_as_long(double with, double alone)
{
    return with > alone && alone > 0.0 ? fmin(with / alone, 100.0) : 1.0;
}

md_status md_measure_both(md_measuring *m, md_disk_reads *r, md_profile_both *out, md_error *err)
{
    network w = {0};
    sums s = {0};
    md_status status = take(&w, m, err);
    for (int i = 0; i < ROUNDS && status == MD_OK; i++)
        status = one_round(m, &w, r, &s, err);
    drop(&w);
    if (status != MD_OK)
        return status;
    for (int kind = 0; kind < KINDS; kind++) {
        out->work[kind] = times_as_long(s.with[kind] / s.n_with[kind], s.alone[kind] / s.n_alone[kind]);
        out->read[kind] = times_as_long(s.seconds[kind] * s.idle_bytes, s.bytes[kind] * s.idle);
    }
    return md_measuring_tell(m, err);
}
