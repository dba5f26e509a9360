/* SPDX-License-Identifier: Apache-2.0
 *
 * A trace in figures: how much each expert was used, how evenly, how steadily, what a store did, and how far apart two traces
 * are. One pass over each file. */
#include "run/trace.h"

#include "base/status.h"

#include <math.h>

typedef struct tally {
    md_trace_summary sum; /* first: what callers see */
    md_arena arena;       /* everything that sum points to */
    md_trace_load *load;  /* sum.layer */
    uint64_t *repeated;   /* in the arena, [n_layer] choices that the token before made, too */
    uint64_t *compared;   /* of so many */
} tally;

/* ---- one pass ---- */

static md_status tally_begin(tally *t, const md_trace_info *from, md_error *err)
{
    MD_TRY(md_trace_copy_info(from, &t->arena, &t->sum.info, err));
    const size_t n = (size_t)from->n_layer;
    t->load = md_arena_alloc(&t->arena, n, sizeof *t->load);
    t->repeated = md_arena_alloc(&t->arena, n, sizeof *t->repeated);
    t->compared = md_arena_alloc(&t->arena, n, sizeof *t->compared);
    if (!t->load || !t->repeated || !t->compared)
        return md_fail_memory(err, "a summary");
    for (size_t l = 0; l < n; l++) {
        t->load[l].busiest = -1;
        t->load[l].divergence = -1.0;
        t->load[l].count = md_arena_alloc(&t->arena, (size_t)from->layer[l].n_expert, sizeof(uint64_t));
        if (!t->load[l].count)
            return md_fail_memory(err, "a summary");
    }
    t->sum.layer = t->load;
    return MD_OK;
}

static void add_routing(tally *t, md_trace_past *past, const md_trace_rows *rows, const md_trace_record *r)
{
    md_trace_load *load = &t->load[r->layer];
    uint64_t *count = (uint64_t *)(uintptr_t)load->count;
    load->rows += (uint64_t)r->n_rows;
    for (int32_t i = 0; i < r->n_rows; i++) {
        const int32_t *expert = r->expert + (ptrdiff_t)i * r->top_k;
        const uint16_t *before = md_trace_past_get(past, r->layer, rows->sequence[i], rows->position[i]);
        uint64_t chosen = 0;
        for (int32_t k = 0; k < r->top_k; k++)
            if (expert[k] >= 0) {
                count[expert[k]]++;
                chosen++;
            }
        load->choices += chosen;
        if (before) {
            t->repeated[r->layer] += (uint64_t)md_trace_past_common(past, r->layer, expert, before);
            t->compared[r->layer] += chosen;
        }
        md_trace_past_set(past, r->layer, rows->sequence[i], rows->position[i], expert);
    }
}

static md_status add_record(tally *t, md_trace_past *past, md_trace_rows *rows, const md_trace_record *r, md_error *err)
{
    md_trace_load *load = &t->load[r->layer];
    switch (r->kind) {
    case MD_TRACE_STEP:
        t->sum.steps++;
        t->sum.rows += (uint64_t)r->n_rows;
        return md_trace_rows_keep(rows, r, err);
    case MD_TRACE_ROUTING: add_routing(t, past, rows, r); return MD_OK;
    case MD_TRACE_STORE:
        load->hits += r->hits;
        load->misses += r->misses;
        load->bytes += r->bytes;
        load->wait_ns += r->wait_ns;
        return MD_OK;
    case MD_TRACE_STEP_END:
        t->sum.timed_steps++;
        t->sum.ns += r->ns;
        return MD_OK;
    }
    return MD_OK;
}

static md_status read_all(tally *t, md_trace_reader *reader, md_error *err)
{
    md_trace_past past = {0};
    md_trace_rows rows = {0};
    md_status status = tally_begin(t, md_trace_reader_info(reader), err);
    if (status == MD_OK)
        status = md_trace_past_init(&past, &t->sum.info, err);
    for (bool more = true; more && status == MD_OK;) {
        const md_trace_record *r;
        status = md_trace_reader_next(reader, &r, err);
        more = status == MD_OK && r;
        if (more)
            status = add_record(t, &past, &rows, r, err);
    }
    md_trace_past_done(&past);
    md_trace_rows_done(&rows);
    return status;
}

static void tally_free(tally *t)
{
    if (!t)
        return;
    md_arena_done(&t->arena);
    md_free(t);
}

static md_status tally_trace(const char *path, tally **out, md_error *err)
{
    md_trace_reader *reader;
    *out = NULL;
    MD_TRY(md_trace_reader_open(path, &reader, err));
    tally *t = md_calloc(1, sizeof *t);
    md_status status = t ? read_all(t, reader, err) : md_fail_memory(err, "a summary");
    md_trace_reader_close(reader);
    if (status != MD_OK) {
        tally_free(t);
        return status;
    }
    *out = t;
    return MD_OK;
}

/* ---- figures ---- */

static void find_shares(md_trace_load *load, int32_t n, uint64_t repeated, uint64_t compared)
{
    double squares = 0.0;
    if (load->choices == 0)
        return;
    const double mean = (double)load->choices / (double)n;
    for (int32_t e = 0; e < n; e++) {
        const double c = (double)load->count[e], share = c / (double)load->choices;
        load->used += load->count[e] > 0;
        if (load->count[e] > 0 && (load->busiest < 0 || load->count[e] > load->count[load->busiest]))
            load->busiest = e;
        squares += (c - mean) * (c - mean);
        load->entropy -= share > 0.0 ? share * log2(share) : 0.0;
    }
    load->max_over_mean = (double)load->count[load->busiest] / mean;
    load->variation = sqrt(squares / (double)n) / mean;
    load->repeated = compared > 0 ? (double)repeated / (double)compared : 0.0;
}

static void find_total(tally *t)
{
    md_trace_load *total = &t->sum.total;
    double n = 0.0;
    *total = (md_trace_load){.busiest = -1, .divergence = -1.0};
    for (int32_t l = 0; l < t->sum.info.n_layer; l++) {
        const md_trace_load *load = &t->load[l];
        total->hits += load->hits;
        total->misses += load->misses;
        total->bytes += load->bytes;
        total->wait_ns += load->wait_ns;
        if (load->choices == 0)
            continue;
        n += 1.0;
        total->rows += load->rows;
        total->choices += load->choices;
        total->used += load->used;
        total->max_over_mean += load->max_over_mean;
        total->variation += load->variation;
        total->entropy += load->entropy;
        total->repeated += load->repeated;
    }
    if (n == 0.0)
        return;
    total->max_over_mean /= n;
    total->variation /= n;
    total->entropy /= n;
    total->repeated /= n;
}

/* Lin 1991: half of each one's divergence from the middle of both. */
static double jensen_shannon(const md_trace_load *a, const md_trace_load *b, int32_t n)
{
    double sum = 0.0;
    for (int32_t e = 0; e < n; e++) {
        const double p = (double)a->count[e] / (double)a->choices, q = (double)b->count[e] / (double)b->choices;
        const double middle = (p + q) / 2.0;
        sum += p > 0.0 ? p * log2(p / middle) : 0.0;
        sum += q > 0.0 ? q * log2(q / middle) : 0.0;
    }
    return sum > 0.0 ? sum / 2.0 : 0.0;
}

static md_status compare(tally *t, const char *path, const char *against, md_error *err)
{
    tally *other;
    MD_TRY(tally_trace(against, &other, err));
    const md_trace_info *a = &t->sum.info, *b = &other->sum.info;
    bool same = a->n_layer == b->n_layer;
    double n = 0.0, sum = 0.0;
    for (int32_t l = 0; same && l < a->n_layer; l++)
        same = a->layer[l].n_expert == b->layer[l].n_expert;
    for (int32_t l = 0; same && l < a->n_layer; l++) {
        if (t->load[l].choices == 0 || other->load[l].choices == 0)
            continue;
        t->load[l].divergence = jensen_shannon(&t->load[l], &other->load[l], a->layer[l].n_expert);
        sum += t->load[l].divergence;
        n += 1.0;
    }
    t->sum.total.divergence = n > 0.0 ? sum / n : -1.0;
    tally_free(other);
    MD_FAIL_IF(!same, MD_ERR_ARGUMENT,
               "'%s' and '%s' are traces of models with other layers or numbers of experts: they cannot be compared",
               path, against);
    return MD_OK;
}

md_status md_trace_summarise(const char *path, const char *against, md_trace_summary **out, md_error *err)
{
    tally *t;
    *out = NULL;
    MD_TRY(tally_trace(path, &t, err));
    for (int32_t l = 0; l < t->sum.info.n_layer; l++)
        find_shares(&t->load[l], t->sum.info.layer[l].n_expert, t->repeated[l], t->compared[l]);
    find_total(t);
    const md_status status = against ? compare(t, path, against, err) : MD_OK;
    if (status != MD_OK) {
        tally_free(t);
        return status;
    }
    *out = &t->sum;
    return MD_OK;
}

void md_trace_summary_free(md_trace_summary *s)
{
    tally_free((tally *)s);
}
