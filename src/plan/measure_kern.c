/* SPDX-License-Identifier: Apache-2.0
 *
 * What kernels do on this machine, run as the engine runs them: products of weights that come from memory (there are more of them
 * than caches hold) with few and many rows, the weaving of rows into tiles, and attention. */
#include "plan/profile.h"

#include "base/mem.h"
#include "base/region.h"
#include "base/status.h"
#include "base/sys.h"
#include "kv/kv.h"
#include "ops/ops.h"

#include <math.h>
#include <string.h>

#define PASSES     12                 /* at most... */
#define ENOUGH     0.3                /* ...and of these seconds */
#define RING       ((size_t)96 << 20) /* bytes of weights */
#define COLS       2048
#define ROWS       1024              /* of a matrix */
#define MOST_ROWS  512               /* of activations */
#define MACS       4e8               /* of a pass, about */
#define WEAVE      ((size_t)4 << 20) /* bytes that are woven at a time: about an expert */
#define MOST_TILE  (MD_TILE_ROWS * COLS * sizeof(float))
#define PAGES      512
#define HEAD       128
#define MOST_QUERY 128

/* ---- products ---- */

typedef struct product_work {
    md_region ring;
    float *x, *out; /* owned, (MOST_ROWS, COLS), (MOST_ROWS, ROWS) */
    md_rows rows;   /* its buffers are owned */
} product_work;

static void drop(product_work *w)
{
    md_region_free(&w->ring);
    md_free(w->x);
    md_free(w->out);
    md_free(w->rows.code32);
    md_free(w->rows.code256);
    md_free(w->rows.scale32);
    md_free(w->rows.sum32);
    md_free(w->rows.scale256);
    md_free(w->rows.isum32);
    md_free(w->rows.sum16);
}

/* Halves and floats between 1e-19 and 1. */
void md_measuring_fill(unsigned char *p, size_t n)
{
    uint32_t state = 1;
    for (size_t i = 0; i < n; i++) {
        state = state * 1664525u + 1013904223u;
        p[i] = (unsigned char)(0x20u | (state >> 24 & 0x1bu));
    }
}

static md_status take(product_work *w, md_error *err)
{
    const size_t n = (size_t)MOST_ROWS * COLS;
    MD_TRY(md_region_new(RING, &w->ring, err));
    w->x = md_calloc(n, sizeof *w->x);
    w->out = md_calloc((size_t)MOST_ROWS * ROWS, sizeof *w->out);
    w->rows = (md_rows){.code32 = md_calloc(n, 1),
                        .code256 = md_calloc(n, 1),
                        .scale32 = md_calloc(n / 32, sizeof(float)),
                        .sum32 = md_calloc(n / 32, sizeof(float)),
                        .scale256 = md_calloc(n / 256, sizeof(float)),
                        .isum32 = md_calloc(n / 32, sizeof(int16_t)),
                        .sum16 = md_calloc(n / 16, sizeof(int16_t))};
    const md_rows *r = &w->rows;
    if (!w->x || !w->out || !r->code32 || !r->code256 || !r->scale32 || !r->sum32 || !r->scale256 || !r->isum32 ||
        !r->sum16)
        return md_fail_memory(err, "measuring this machine");
    md_measuring_fill(w->ring.bytes, w->ring.n);
    for (size_t i = 0; i < n; i++)
        w->x[i] = 0.001f * (float)((int)(i * 7919 % 2001) - 1000);
    return MD_OK;
}

/* Seconds for one weight that meets `rows` rows. *at: the next matrix of the ring, which is a cold one. */
static double product_seconds(const md_measuring *m, product_work *w, const md_weight *like, int64_t rows, size_t *at)
{
    const md_ops o = {.kern = m->kern, .pool = m->pool};
    const size_t bytes = (size_t)like->rows * like->row_bytes, n = RING / bytes;
    const double share = MACS / (double)rows / (ROWS * COLS);
    const size_t times = share < 2.0 ? 2 : share > (double)n ? n : (size_t)share;
    double seconds[PASSES];
    int pass = 0;
    md_rows_set(&w->rows, w->x, rows, COLS);
    md_rows_need(&o, &w->rows, like->type);
    const double end = md_sys_seconds() + ENOUGH;
    for (; pass < PASSES && (pass < 2 || md_sys_seconds() < end); pass++) {
        const double began = md_sys_seconds();
        for (size_t i = 0; i < times; i++, *at = (*at + 1) % n) {
            md_weight weight = *like;
            weight.data = w->ring.bytes + *at * bytes;
            md_matmul(&o, &weight, &w->rows, w->out, ROWS);
        }
        seconds[pass] = md_sys_seconds() - began;
    }
    return md_measuring_typical(seconds, pass) / (double)times / (ROWS * COLS);
}

/* ---- weaving ---- */

typedef struct weave_job {
    md_type type;
    size_t row;
    unsigned char *bytes;
} weave_job;

/* In place, as in a slot (expert/arrive.c). */
static void weave_items(void *ctx, int64_t first, int64_t last, int thread)
{
    (void)thread;
    const weave_job *j = ctx;
    const size_t tile = MD_TILE_ROWS * j->row;
    unsigned char work[MOST_TILE];
    for (int64_t i = first; i < last; i++) {
        unsigned char *at = j->bytes + (size_t)i * tile;
        memcpy(work, at, tile);
        md_tile_weave(j->type, work, j->row, COLS / md_type_get(j->type)->block, at);
    }
}

/* Stretch after stretch of the ring, which no cache holds. */
static void measure_weaving(const md_measuring *m, product_work *w, md_type type, size_t row, md_profile_type *out)
{
    enum { N = RING / WEAVE / 2 };
    const int64_t n = (int64_t)(WEAVE / (MD_TILE_ROWS * row));
    const double bytes = (double)n * (double)(MD_TILE_ROWS * row);
    double one[N], all[N];
    for (size_t i = 0; i < N; i++) {
        weave_job j = {.type = type, .row = row, .bytes = w->ring.bytes + 2 * i * WEAVE};
        double began = md_sys_seconds();
        weave_items(&j, 0, n, 0);
        one[i] = md_sys_seconds() - began;
        j.bytes += WEAVE;
        began = md_sys_seconds();
        md_pool_run(m->pool, n, 4, weave_items, &j);
        all[i] = md_sys_seconds() - began;
    }
    out->weave_1 = md_measuring_typical(one, N) / bytes;
    out->weave = md_measuring_typical(all, N) / bytes;
}

static bool measure_type(const md_measuring *m, product_work *w, md_type type)
{
    md_profile_type *out = &m->profile->type[type];
    md_weight like = {.type = type, .rows = ROWS, .cols = COLS, .data = w->ring.bytes};
    if (!md_type_row_bytes(type, COLS, &like.row_bytes) || md_type_get(type)->act == MD_ACT_NONE)
        return false;
    like.layout = md_tile_has(type) ? MD_LAYOUT_TILES : MD_LAYOUT_ROWS;
    size_t at = 0;
    for (int i = 0; i < MD_PROFILE_ROWS; i++)
        out->weight[i] = product_seconds(m, w, &like, (int64_t)md_profile_rows[i], &at);
    if (md_tile_has(type) && MD_TILE_ROWS * like.row_bytes <= MOST_TILE)
        measure_weaving(m, w, type, like.row_bytes, out);
    out->measured = true;
    return true;
}

md_status md_measure_types(md_measuring *m, md_error *err)
{
    product_work w = {0};
    md_status status = MD_OK;
    for (int i = 0; i < MD_N_TYPES && status == MD_OK; i++) {
        if (!m->needs->type[i] || m->profile->type[i].measured)
            continue;
        if (!w.x)
            status = take(&w, err);
        if (status == MD_OK && !measure_type(m, &w, (md_type)i))
            status = md_fail(err, MD_ERR_UNSUPPORTED, "there are no products of %s", md_type_get((md_type)i)->name);
        if (status == MD_OK)
            status = md_measuring_tell(m, err);
    }
    drop(&w);
    return status;
}

/* ---- attention ---- */

typedef struct attend_work {
    md_kv_pool *pool; /* owned: pages of one head */
    float q[MOST_QUERY][HEAD], acc[MOST_QUERY][HEAD], ml[MOST_QUERY][2];
    md_query query[MOST_QUERY];
} attend_work;

static double attend_seconds(const md_measuring *m, attend_work *w, int n, int pages)
{
    double best = INFINITY;
    for (int pass = 0; pass < PASSES; pass++) {
        for (int i = 0; i < n; i++) {
            w->query[i] = (md_query){.q = w->q[i], .acc = w->acc[i], .ml = w->ml[i], .last = MD_TILE};
            w->ml[i][0] = -INFINITY;
            w->ml[i][1] = 0.0f;
        }
        const double began = md_sys_seconds();
        for (int page = 0; page < pages; page++) {
            const md_kv_tile tile = md_kv_tile_at(w->pool, page, 0, 0),
                             next = md_kv_tile_at(w->pool, (page + 1) % PAGES, 0, 0);
            m->kern->attend(&(md_attend){.tile = &tile, .next = &next, .query = w->query, .n = n, .scale = 0.1f});
        }
        best = fmin(best, md_sys_seconds() - began);
    }
    return best / n / ((double)pages * MD_TILE) / (2 * HEAD);
}

static md_status measure_store(md_measuring *m, attend_work *w, bool f32, md_error *err)
{
    const md_kv_layer layer = {.n_head = 1, .dim_k = HEAD, .dim_v = HEAD};
    MD_TRY(md_kv_pool_new(f32 ? MD_KV_STORE_F32 : MD_KV_STORE_F16, &layer, 1, PAGES, &w->pool, err));
    for (int page = 0; page < PAGES; page++)
        for (int at = 0; at < MD_TILE; at++)
            md_kv_put(m->kern, w->pool, page, 0, 0, at, w->q[at], w->q[at + 1]);
    for (int i = 0; i < MD_PROFILE_QUERIES; i++) {
        const int n = (int)md_profile_queries[i];
        m->profile->attend[f32][i] = attend_seconds(m, w, n, n > 8 ? PAGES / 8 : PAGES);
    }
    md_kv_pool_free(w->pool);
    return MD_OK;
}

md_status md_measure_attention(md_measuring *m, md_error *err)
{
    attend_work *w = md_calloc(1, sizeof *w);
    if (!w)
        return md_fail_memory(err, "measuring this machine");
    for (int i = 0; i < MOST_QUERY; i++)
        for (int k = 0; k < HEAD; k++)
            w->q[i][k] = 0.01f * (float)((i * HEAD + k) * 31 % 101 - 50);
    md_status status = MD_OK;
    for (int f32 = 0; f32 < 2 && status == MD_OK; f32++) {
        status = measure_store(m, w, f32, err);
        if (status == MD_OK)
            status = md_measuring_tell(m, err);
    }
    md_free(w);
    return status;
}
