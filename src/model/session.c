/* SPDX-License-Identifier: Apache-2.0
 *
 * Sessions: what they take, making and freeing them, what they report. */
#include "model/session.h"

#include "base/status.h"
#include "base/sys.h"

#include <stdio.h>
#include <string.h>

#define MAX_ROWS          65536
#define MAX_POSITIONS     (1 << 26)
#define DEFAULT_POSITIONS 4096
#define DEFAULT_SHARE     0.1f /* of the gate weight */

const char *md_kv_type_name(md_kv_type t)
{
    switch (t) {
    case MD_KV_F32: return "f32";
    case MD_KV_F16: return "f16";
    case MD_KV_Q8_0: return "q8_0";
    }
    return "?";
}

static md_kv_store store_of(md_kv_type t)
{
    return t == MD_KV_F32 ? MD_KV_STORE_F32 : t == MD_KV_F16 ? MD_KV_STORE_F16 : MD_KV_STORE_Q8_0;
}

void md_session_args_default(const md_model *m, md_session_args *args)
{
    *args = (md_session_args){
        .n_positions = m->spec.n_ctx < DEFAULT_POSITIONS ? m->spec.n_ctx : DEFAULT_POSITIONS,
        .n_rows = m->streamed ? 512 : 256, /* what is read for a step serves more rows */
        .rows_grow = m->streamed,
        .n_logits = 1,
        .n_sequences = 8,
        .kv_type = m->spec.causal ? MD_KV_F16 : MD_KV_F32,
    };
    if (!m->spec.causal) {
        args->n_rows = args->n_positions;
        args->rows_grow = false;
    }
}

static md_status check_range(const char *what, int64_t v, int64_t min, int64_t max, md_error *err)
{
    if (v >= min && v <= max)
        return MD_OK;
    return md_fail(err, MD_ERR_ARGUMENT, "%s is %lld, outside %lld to %lld", what, (long long)v, (long long)min,
                   (long long)max);
}

/* Checks args and fills what they leave to us. */
static md_status settle(const md_model *m, const md_session_args *args, md_session_args *out, md_error *err)
{
    *out = *args;
    if (out->n_threads == 0)
        out->n_threads = md_sys_default_threads();
    MD_TRY(check_range("the number of threads", out->n_threads, 1, MD_POOL_MAX_THREADS, err));
    MD_TRY(check_range("the context", out->n_positions, 1, MAX_POSITIONS, err));
    MD_TRY(check_range("the context of a sequence", out->n_context, 0, out->n_positions, err));
    if (out->n_context == 0)
        out->n_context = out->n_positions;
    const int32_t limit = m->spec.ctx_limit;
    MD_FAIL_IF(limit > 0 && out->n_context > limit, MD_ERR_UNSUPPORTED,
               "a context of %d is more than the %d positions for which this version computes what the model means",
               out->n_context, limit);
    MD_TRY(check_range("the number of rows of a step", out->n_rows, 1, MAX_ROWS, err));
    MD_TRY(check_range("the number of logits rows", out->n_logits, 1, out->n_rows, err));
    if (out->n_hidden == 0)
        out->n_hidden = out->n_logits;
    MD_TRY(check_range("the number of rows with hidden states", out->n_hidden, out->n_logits, out->n_rows, err));
    MD_TRY(check_range("the number of tokens that go layer by layer", out->n_walk, 0, MAX_POSITIONS, err));
    out->n_walk = out->n_walk < out->n_context ? out->n_walk : out->n_context;
    MD_TRY(check_range("the number of sequences", out->n_sequences, 1, 1 << 20, err));
    MD_TRY(check_range("the KV type", out->kv_type, MD_KV_F32, MD_KV_Q8_0, err));
    MD_TRY(check_range("reading ahead", out->read_ahead, MD_READ_AHEAD_AUTO, MD_READ_AHEAD_ALWAYS, err));
    MD_TRY(check_range("the number of slots", out->most_slots, 0, 1 << 20, err));
    MD_TRY(check_range("what to do about missing experts", out->on_miss, MD_ON_MISS_READ, MD_ON_MISS_REROUTE, err));
    MD_FAIL_IF(!(out->on_miss_share >= 0.0f && out->on_miss_share <= 1.0f), MD_ERR_ARGUMENT,
               "experts are left out below a share of %g of the gate weight, but it must be 0 to 1",
               (double)out->on_miss_share);
    if (out->on_miss_share == 0.0f)
        out->on_miss_share = DEFAULT_SHARE;
    if (!m->streamed) /* nothing is ever missing, so all is exact */
        out->on_miss = MD_ON_MISS_READ;
    MD_TRY(check_range("the grain", out->grain_rows, 0, 1 << 20, err));
    MD_FAIL_IF(out->others < 0 || (out->memory > 0 && out->others >= out->memory), MD_ERR_MEMORY,
               "%.1f MiB are allowed, but %.1f MiB are wanted besides model and session: allow more",
               (double)out->memory / 0x1p20, (double)out->others / 0x1p20);
    if (out->memory > 0)
        out->memory -= out->others;
    out->others = 0;
    MD_FAIL_IF(!md_kern_get(out->isa), MD_ERR_ARGUMENT, "there are no kernels '%s' on this machine", out->isa);
    return MD_OK;
}

static int32_t pages_of(const md_session_args *a)
{
    return (a->n_positions + MD_TILE - 1) / MD_TILE;
}

static md_kv_layer *kv_layers(const md_model *m)
{
    md_kv_layer *l = md_calloc((size_t)m->spec.n_layer, sizeof *l);
    for (int32_t i = 0; l && i < m->spec.n_layer; i++) {
        const md_attn_spec *a = &m->spec.layer[i].attn;
        if (m->spec.layer[i].mixer == MD_MIXER_ATTENTION && a->cache == i)
            l[i] = (md_kv_layer){
                .n_head = a->n_head_kv, .dim_k = a->dim_k, .dim_v = a->dim_v, .v_in_k = a->latent != NULL};
    }
    return l;
}

static md_status estimate(const md_model *m, const md_session_args *a, const md_kv_layer *layers, md_memory *out,
                          md_error *err)
{
    const size_t page = md_kv_page_bytes(store_of(a->kv_type), layers, m->spec.n_layer);
    MD_FAIL_IF(page == 0, MD_ERR_UNSUPPORTED,
               "a q8_0 KV cache needs head sizes that are multiples of 32; this model has %d and %d: use f16",
               m->spec.max.dim_k, m->spec.max.dim_v);
    md_scratch plan;
    *out = (md_memory){
        .weights = m->info.file_bytes,
        .kv = (uint64_t)page * (uint64_t)pages_of(a) +
              2 * sizeof(float) * (uint64_t)m->spec.state_floats * (uint64_t)a->n_sequences,
        .scratch = md_scratch_plan(m, a, &plan, NULL),
    };
    if (m->streamed)
        return md_session_estimate_slots(m, a, out, err);
    out->total = out->weights + out->kv + out->scratch;
    MD_FAIL_IF(
        a->memory > 0 && out->total > (uint64_t)a->memory, MD_ERR_MEMORY,
        "%.1f MiB are needed (weights %.1f, KV cache %.1f, scratch %.1f) but only %.1f MiB are allowed: ask for a smaller context",
        (double)out->total / 0x1p20, (double)out->weights / 0x1p20, (double)out->kv / 0x1p20,
        (double)out->scratch / 0x1p20, (double)a->memory / 0x1p20);
    return MD_OK;
}

#define MOST_GROWN_ROWS 4096
#define GROWN_SHARE     8 /* of the slots' bytes: what more rows may cost */

/* The estimate, with as many rows as rows_grow allows; sets a->n_rows. */
static md_status estimate_grown(const md_model *m, md_session_args *a, const md_kv_layer *layers, md_memory *out,
                                md_error *err)
{
    MD_TRY(estimate(m, a, layers, out, err));
    const md_memory few = *out;
    md_session_args more = *a;
    while (a->rows_grow && m->streamed && few.slots < m->stream->all && 2 * a->n_rows <= MOST_GROWN_ROWS &&
           2 * a->n_rows <= a->n_positions) {
        md_memory grown;
        md_error none;
        more.n_rows = 2 * a->n_rows;
        if (estimate(m, &more, layers, &grown, &none) != MD_OK ||
            (grown.scratch - few.scratch) * GROWN_SHARE > few.slots)
            break;
        a->n_rows = more.n_rows;
        *out = grown;
    }
    return MD_OK;
}

md_status md_session_estimate(const md_model *m, const md_session_args *args, md_memory *out, md_error *err)
{
    *out = (md_memory){0};
    md_session_args a;
    MD_TRY(settle(m, args, &a, err));
    md_kv_layer *layers = kv_layers(m);
    if (!layers)
        return md_fail_memory(err, "an estimate");
    const md_status status = estimate_grown(m, &a, layers, out, err);
    md_free(layers);
    return status;
}

static md_status session_fill(md_session *s, const md_kv_layer *layers, md_error *err)
{
    md_memory memory;
    MD_TRY(estimate_grown(s->model, &s->args, layers, &memory, err));
    MD_TRY(md_pool_new(s->args.n_threads, &s->pool, err));
    s->ops = (md_ops){.kern = md_kern_get(s->args.isa), .pool = s->pool, .grain_rows = s->args.grain_rows};
    MD_TRY(md_kv_pool_new(store_of(s->args.kv_type), layers, s->model->spec.n_layer, pages_of(&s->args), &s->kv, err));
    s->memory = md_calloc_aligned(64, (size_t)memory.scratch, 1);
    if (!s->memory)
        return md_fail_memory(err, "a session's scratch; use fewer rows a step");
    md_scratch_plan(s->model, &s->args, &s->s, s->memory);
    MD_TRY(md_session_open_store(s, memory.slots, err));
    s->args.isa = s->ops.kern->isa;
    s->args.policy = NULL; /* the caller's text may go */
    return MD_OK;
}

md_status md_session_new(const md_model *m, const md_session_args *args, md_session **out, md_error *err)
{
    *out = NULL;
    md_session_args settled;
    MD_TRY(settle(m, args, &settled, err));
    md_session *s = md_calloc(1, sizeof *s);
    md_kv_layer *layers = kv_layers(m);
    md_status status;
    if (!s || !layers) {
        status = md_fail_memory(err, "a session");
    } else {
        s->model = m;
        s->args = settled;
        status = session_fill(s, layers, err);
    }
    md_free(layers);
    if (status != MD_OK) {
        md_session_free(s);
        return status;
    }
    *out = s;
    return MD_OK;
}

void md_session_free(md_session *s)
{
    if (!s)
        return;
    while (s->first)
        md_seq_free(s->first);
    if (s->slot_free)
        s->slot_free(s->slot);
    md_streamed_free(s->streamed);
    md_pool_free(s->pool);
    md_kv_pool_free(s->kv);
    md_free(s->memory);
    md_free(s);
}

void **md_session_slot(md_session *s, void (*free_fn)(void *))
{
    s->slot_free = free_fn;
    return &s->slot;
}

const md_model *md_session_model(const md_session *s)
{
    return s->model;
}

int32_t md_session_threads(const md_session *s)
{
    return s->args.n_threads;
}

int32_t md_session_max_rows(const md_session *s)
{
    return s->args.n_rows;
}

int32_t md_session_free_positions(const md_session *s)
{
    return md_kv_pool_free_pages(s->kv) * MD_TILE;
}

const char *md_step_part_name(md_step_part p)
{
    switch (p) {
    case MD_STEP_MIXER: return "attention";
    case MD_STEP_DENSE_FFN: return "dense feed-forward";
    case MD_STEP_ROUTER: return "router";
    case MD_STEP_EXPERTS: return "experts";
    case MD_STEP_OUTPUT: return "output matrix";
    case MD_STEP_OTHER:
    case MD_STEP_N_PARTS: break;
    }
    return "other";
}

void md_session_counters(const md_session *s, md_counters *out)
{
    *out = (md_counters){
        .steps = s->steps, .rows = s->rows, .pages_copied = md_kv_pool_copies(s->kv), .n_threads = s->args.n_threads};
    memcpy(out->part_seconds, s->part_seconds, sizeof out->part_seconds);
    for (int32_t t = 0; t < s->args.n_threads; t++) {
        out->tiles_run += s->s.counters[t].tiles_run;
        out->tiles_skipped += s->s.counters[t].tiles_skipped;
        if (t < 64)
            out->thread_items[t] = md_pool_items(s->pool, t);
    }
}

static void set_observer(md_session *s, md_observer *o, unsigned points, md_observer_fn *fn, void *user)
{
    *o = (md_observer){.points = fn ? points : 0, .fn = fn, .user = user};
    s->observe_points = 0;
    for (int i = 0; i < MD_MOST_OBSERVERS; i++)
        s->observe_points |= s->observer[i].points;
}

void md_session_observe(md_session *s, unsigned points, md_observer_fn *fn, void *user)
{
    set_observer(s, &s->observer[0], points, fn, user);
}

md_status md_session_add_observer(md_session *s, unsigned points, md_observer_fn *fn, void *user, md_error *err)
{
    MD_FAIL_IF(!fn, MD_ERR_ARGUMENT, "an observer needs a function");
    for (int i = 1; i < MD_MOST_OBSERVERS; i++)
        if (!s->observer[i].fn) {
            set_observer(s, &s->observer[i], points, fn, user);
            return MD_OK;
        }
    return md_fail(err, MD_ERR_LIMIT, "%d observers were added to this session already: remove one first",
                   MD_MOST_OBSERVERS - 1);
}

void md_session_remove_observer(md_session *s, md_observer_fn *fn, const void *user)
{
    for (int i = 1; i < MD_MOST_OBSERVERS; i++)
        if (s->observer[i].fn == fn && s->observer[i].user == user)
            set_observer(s, &s->observer[i], 0, NULL, NULL);
}

void md_observe(const md_session *s, const md_event *e)
{
    for (int i = 0; i < MD_MOST_OBSERVERS; i++)
        if (s->observer[i].points >> e->point & 1)
            s->observer[i].fn(s->observer[i].user, e);
}

void md_observe_rows(md_session *s, md_point p, int32_t layer, const float *values)
{
    if (!md_observed(s, p))
        return;
    const md_event e = {.point = p,
                        .layer = layer,
                        .expert = -1,
                        .n_rows = s->n_rows,
                        .n_cols = s->model->spec.n_embd,
                        .values = values};
    md_observe(s, &e);
}

uint64_t md_logits_hash(uint64_t hash, const float *logits, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, &logits[i], sizeof bits);
        bits = logits[i] != logits[i] ? 0x7fc00000u : bits; /* which NaN is the one thing that machines differ in */
        hash = (hash ^ bits) * 0x100000001b3ull;
    }
    return hash;
}
