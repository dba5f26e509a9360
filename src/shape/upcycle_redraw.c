/* SPDX-License-Identifier: Apache-2.0
 *
 * Drop-upcycling (Nakamura et al. 2025): a share of an expert's hidden neurons starts from noise that is shaped like the
 * weights it replaces. Which neurons, and every number drawn, is a pure function of seed, tensor name and place. Neurons
 * go by groups as wide as a block of ffn_down, so no block is ever half new: those not chosen are copied, byte for byte.
 * Takes memory for one row. */
#include "shape/upcycle.h"

#include "base/mem.h"
#include "base/rng.h"
#include "base/status.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* A matrix cut into spans, each of one group: whole rows of gate and up; of down's rows, a block's width. */
typedef struct redraw {
    const md_gguf_tensor *src;
    bool by_row;           /* rows are neurons; else columns are */
    int64_t group;         /* neurons in a group */
    int64_t span, n_spans; /* values in a span; spans in a row */
    size_t row_bytes, span_bytes;
    bool *chosen;       /* owned, [groups] */
    float *values;      /* owned, [span] */
    unsigned char *row; /* owned, [row_bytes] */
    double mean, deviation;
} redraw;

/* Draws `take` of n groups, each set alike likely: goes through them and takes each with the chance that what is still
 * to be taken has among what is still to come (Fan, Muller and Rezucha 1962). */
static void choose_groups(const md_upcycle_plan *p, int32_t layer, int32_t expert, bool *chosen, int64_t n,
                          int64_t take)
{
    char name[64];
    snprintf(name, sizeof name, "blk.%d.ffn.redrawn", layer);
    const uint64_t stream = md_rand_stream(name);
    for (int64_t i = 0; i < n; i++) {
        const double u = (double)md_rand_uniform(p->args->seed, stream, (uint64_t)(expert * n + i));
        chosen[i] = u * (double)(n - i) < (double)take;
        take -= chosen[i];
    }
}

static bool is_chosen(const redraw *r, int64_t row, int64_t span)
{
    return r->chosen[r->by_row ? row / r->group : span];
}

static md_status prepare(redraw *r, const md_upcycle_plan *p, const md_upcycle_tensor *t, int32_t expert, md_error *err)
{
    const md_upcycle_layer *l = &p->layer[t->layer];
    const int64_t n_groups = l->n_ff / l->group;
    *r = (redraw){.src = t->src, .by_row = t->part != MD_FFN_DOWN, .group = l->group};
    r->span = r->by_row ? t->src->dim[0] : l->group;
    r->n_spans = t->src->dim[0] / r->span;
    if (!md_type_row_bytes(t->src->type, r->span, &r->span_bytes))
        return md_fail(err, MD_ERR_INTERNAL, "tensor '%s': spans of %lld values are not whole blocks", t->name,
                       (long long)r->span);
    r->row_bytes = r->span_bytes * (size_t)r->n_spans;
    r->chosen = md_calloc((size_t)n_groups, sizeof *r->chosen);
    r->values = md_calloc((size_t)r->span, sizeof *r->values);
    r->row = md_calloc(r->row_bytes, 1);
    if (!r->chosen || !r->values || !r->row)
        return md_fail_memory(err, "a row of weights");
    choose_groups(p, t->layer, expert, r->chosen, n_groups, l->n_redraw);
    return MD_OK;
}

static const unsigned char *row_at(const redraw *r, int64_t row)
{
    return (const unsigned char *)r->src->data + (size_t)row * r->row_bytes;
}

/* Mean and standard deviation of the weights that will be replaced. */
static md_status measure(redraw *r, md_error *err)
{
    double sum = 0.0, squares = 0.0, n = 0.0;
    for (int64_t row = 0; row < r->src->dim[1]; row++)
        for (int64_t s = 0; s < r->n_spans; s++) {
            if (!is_chosen(r, row, s))
                continue;
            md_type_decode(r->src->type, row_at(r, row) + (size_t)s * r->span_bytes, r->values, r->span);
            for (int64_t i = 0; i < r->span; i++) {
                sum += (double)r->values[i];
                squares += (double)r->values[i] * (double)r->values[i];
            }
            n += (double)r->span;
        }
    MD_FAIL_IF(!isfinite(sum) || !isfinite(squares), MD_ERR_FORMAT, "tensor '%.*s' holds a NaN or an infinity",
               r->src->name.n > 80 ? 80 : (int)r->src->name.n, r->src->name.s);
    r->mean = sum / n;
    const double variance = squares / n - r->mean * r->mean;
    r->deviation = variance > 0.0 ? sqrt(variance) : 0.0;
    return MD_OK;
}

/* first: number of the span's first value in the tensor of all experts. */
static void draw_span(redraw *r, uint64_t seed, uint64_t stream, uint64_t first, unsigned char *out)
{
    for (int64_t i = 0; i < r->span; i++)
        r->values[i] = (float)(r->mean + r->deviation * (double)md_rand_normal(seed, stream, first + (uint64_t)i));
    md_type_encode(r->src->type, r->values, out, r->span);
}

md_status md_upcycle_redraw(const md_upcycle_plan *p, const md_upcycle_tensor *t, int32_t expert,
                            md_upcycle_put_fn *put, void *user, md_error *err)
{
    redraw r;
    md_status status = prepare(&r, p, t, expert, err);
    if (status == MD_OK)
        status = measure(&r, err);
    const uint64_t stream = md_rand_stream(t->name);
    uint64_t at = (uint64_t)expert * (uint64_t)t->src->n_elements;
    for (int64_t row = 0; status == MD_OK && row < t->src->dim[1]; row++) {
        memcpy(r.row, row_at(&r, row), r.row_bytes);
        for (int64_t s = 0; s < r.n_spans; s++, at += (uint64_t)r.span)
            if (is_chosen(&r, row, s))
                draw_span(&r, p->args->seed, stream, at, r.row + (size_t)s * r.span_bytes);
        status = put(user, r.row, r.row_bytes, err);
    }
    md_free(r.chosen);
    md_free(r.values);
    md_free(r.row);
    return status;
}
