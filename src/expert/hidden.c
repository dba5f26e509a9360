/* SPDX-License-Identifier: Apache-2.0
 *
 * The first half of feed-forward networks, all units of a layer in one loop: an item makes a stretch of hidden columns for a
 * panel of rows, from gate and up to the form that the down matrix reads, and nothing of it but the result leaves the thread's
 * cache. Units with many rows begin first, so that the small ones fill the end. */
#include "expert/expert.h"

/* Most rows of an item: their codes and the stretch's products stay in a second-level cache. */
#define PANEL         64
/* Most hidden columns of an item, and the fewest that are worth one. Blocks of 256 are quantized whole. */
#define STRETCH       256
#define LEAST_STRETCH 64
/* Items a thread should get at least. */
#define ITEMS         8

int64_t md_hidden_work(void)
{
    return (int64_t)2 * PANEL * STRETCH;
}

typedef struct hidden_job {
    const md_ops *o;
    const md_ffn_unit *unit;
    int32_t n_units;
    const uint64_t *queue; /* rows of a unit << 32 | n_units - 1 - its index */
    const md_rows *in;
    float *work;
    int64_t work_floats;
} hidden_job;

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Columns [c, c + n) of what a matrix of the unit gives for a panel of its rows; `at`: where they are among the matrix's. */
static void product(const hidden_job *j, const md_ffn_unit *u, const md_weight *w, int64_t at, int64_t n,
                    int64_t first_row, int64_t n_rows, float *out)
{
    const md_kern *kern = j->o->kern;
    const md_act act = md_rows_act_from(j->in, w->type, u->row ? 0 : first_row);
    md_matmul_stretch(kern, w, at, at + n, &act, u->row ? u->row + first_row : NULL, n_rows, out, STRETCH);
    if (u->weight) /* what a unit reads times its weight gives its products times the weight: they are linear */
        for (int64_t t = 0; t < n_rows; t++)
            kern->scale(out + t * STRETCH, u->weight[first_row + t], n);
}

/* What an item begins with. */
static const md_weight *first_weight(const md_ffn_unit *u)
{
    return u->gated && u->w->gate.data ? &u->w->gate : &u->w->up;
}

/* next, next_at: the item that this thread does after this one, or NULL. */
static void hidden_item(const hidden_job *j, const md_ffn_unit *u, int64_t item, const md_ffn_unit *next,
                        int64_t next_at, float *work)
{
    const md_expert *w = u->w;
    const int64_t first_row = item / u->stretches * u->panel, n_rows = least(u->panel, u->n - first_row),
                  c = item % u->stretches * u->stretch, n = least(u->stretch, u->width - c);
    const bool fused = u->gated && !w->gate.data;
    const md_act_kind kind = md_type_get(w->down.type)->act;
    float *first = work, *second = u->gated ? work + (int64_t)PANEL * STRETCH : NULL;
    if (u->gated)
        md_weight_fetch(&w->up, fused ? u->width + c : c);
    product(j, u, first_weight(u), c, n, first_row, n_rows, first);
    if (next)
        md_weight_fetch(first_weight(next), next_at % next->stretches * next->stretch);
    if (u->gated)
        product(j, u, &w->up, fused ? u->width + c : c, n, first_row, n_rows, second);
    for (int64_t t = 0; t < n_rows; t++) {
        float *gate = first + t * STRETCH, *y = kind == MD_ACT_F32 ? u->hidden + (first_row + t) * u->width + c : gate;
        md_ffn_activate(j->o->kern, u->act, u->alpha, u->limit, gate, second ? second + t * STRETCH : NULL, y, n);
        md_rows_quantize(j->o->kern, &u->mid, kind, first_row + t, c, n, y);
    }
}

static const md_ffn_unit *unit_at(const hidden_job *j, int64_t place)
{
    return &j->unit[j->n_units - 1 - (int32_t)(uint32_t)j->queue[place]];
}

static void hidden_items(void *ctx, int64_t first, int64_t last, int thread)
{
    const hidden_job *j = ctx;
    float *work = j->work + thread * j->work_floats;
    int64_t place = 0, at = first; /* of a unit in the queue, of an item in the unit */
    const md_ffn_unit *u = unit_at(j, 0);
    for (; at >= u->items; u = unit_at(j, ++place))
        at -= u->items;
    for (int64_t i = first; i < last; i++) {
        const md_ffn_unit *next = i + 1 == last ? NULL : u;
        int64_t next_at = at + 1;
        if (next && next_at == u->items) {
            do
                next = unit_at(j, ++place);
            while (next->items == 0);
            next_at = 0;
        }
        hidden_item(j, u, at, next, next_at, work);
        u = next;
        at = next_at;
    }
}

/* Descending, so that units with many rows come first; of equal ones the first comes first. */
static void sort(uint64_t *key, int64_t n)
{
    for (int64_t gap = n / 2; gap > 0; gap /= 2)
        for (int64_t i = gap; i < n; i++) {
            const uint64_t k = key[i];
            int64_t at = i;
            for (; at >= gap && key[at - gap] < k; at -= gap)
                key[at] = key[at - gap];
            key[at] = k;
        }
}

/* Cuts a unit into items; `aim` is the stretch that gives every thread its share. */
static void cut(md_ffn_unit *u, int64_t aim)
{
    const md_act_kind kind = md_type_get(u->w->down.type)->act;
    const int64_t block = kind == MD_ACT_Q256 ? 256 : kind == MD_ACT_Q32 ? 32 : 16;
    const int64_t most = least(md_round_up(aim, block), STRETCH), pieces = (u->width + most - 1) / most,
                  panels = (u->n + PANEL - 1) / PANEL;
    u->stretch = md_round_up((u->width + pieces - 1) / pieces, block);
    u->stretches = (u->width + u->stretch - 1) / u->stretch;
    u->panel = panels > 0 ? least(md_round_up((u->n + panels - 1) / panels, 4), PANEL) : PANEL;
    u->items = (u->n + u->panel - 1) / u->panel * u->stretches;
}

void md_hidden_run(const md_ops *o, md_ffn_unit *unit, int32_t n_units, md_rows *in, uint64_t *queue, float *work,
                   int64_t work_floats)
{
    int64_t columns = 0, items = 0;
    for (int32_t i = 0; i < n_units; i++) {
        md_rows_need(o, in, unit[i].w->up.type);
        if (unit[i].w->gate.data)
            md_rows_need(o, in, unit[i].w->gate.type);
        columns += unit[i].width * ((unit[i].n + PANEL - 1) / PANEL);
        queue[i] = (uint64_t)unit[i].n << 32 | (uint32_t)(n_units - 1 - i);
    }
    const int64_t share = columns / (ITEMS * md_pool_threads(o->pool));
    for (int32_t i = 0; i < n_units; i++) {
        cut(&unit[i], share > LEAST_STRETCH ? share : LEAST_STRETCH);
        items += unit[i].items;
    }
    sort(queue, n_units);
    hidden_job j = {
        .o = o, .unit = unit, .n_units = n_units, .queue = queue, .in = in, .work = work, .work_floats = work_floats};
    md_pool_run(o->pool, items, 1, hidden_items, &j);
}
