/* SPDX-License-Identifier: Apache-2.0
 *
 * A session's trace: what its observer sees, as records. Which rows a step has is read from the session itself. Allocates when
 * it begins, never in a step. Belongs to the session's thread. */
#include "base/mem.h"
#include "base/status.h"
#include "base/sys.h"
#include "model/session.h"
#include "run/trace.h"

#include <string.h>

#define FLUSH_SECONDS 1.0

struct md_session_trace {
    md_session *session;     /* borrowed */
    md_trace_writer *writer; /* borrowed */
    const md_seq **known;    /* owned, [n_known]: the sequence that each number stands for, NULL: none */
    int32_t n_known;
    int32_t *sequence, *position, *token; /* owned, [max rows] each */
    double began, flushed;                /* the step under way, the last flush */
    md_stream_counts before;              /* the layer under way: what the store had done */
};

/* ---- the model's shape ---- */

static uint64_t matrix_bytes(const md_weight *w)
{
    return w->data ? (uint64_t)w->rows * w->row_bytes : 0;
}

static md_trace_layer layer_of(const md_ffn_spec *f)
{
    md_trace_layer out = {.n_expert = f->router.n_expert, .top_k = f->router.top_k};
    if (f->router.n_expert == 0)
        return (md_trace_layer){0};
    const md_expert_others *o = &f->others;
    out.n_ffn = f->router.n_expert - o->n_constant - o->n_copy - o->n_zero;
    uint64_t all = 0;
    for (int32_t e = 0; e < out.n_ffn; e++)
        all += matrix_bytes(&f->expert[e].gate) + matrix_bytes(&f->expert[e].up) + matrix_bytes(&f->expert[e].down);
    out.expert_bytes = out.n_ffn > 0 ? all / (uint64_t)out.n_ffn : 0;
    return out;
}

md_status md_trace_writer_open_model(const char *path, const md_model *m, md_trace_writer **out, md_error *err)
{
    *out = NULL;
    md_trace_layer *layer = md_calloc((size_t)m->spec.n_layer, sizeof *layer);
    if (!layer)
        return md_fail_memory(err, "a trace");
    for (int32_t l = 0; l < m->spec.n_layer; l++)
        layer[l] = layer_of(&m->spec.layer[l].ffn);
    const md_trace_info info = {
        .model = m->info.name, .identity = m->identity, .n_layer = m->spec.n_layer, .layer = layer};
    const md_status status = md_trace_writer_open(path, &info, out, err);
    md_free(layer);
    return status;
}

/* ---- steps ---- */

static bool is_alive(const md_session *s, const md_seq *q)
{
    for (const md_seq *a = s->first; a; a = a->next)
        if (a == q)
            return true;
    return false;
}

/* The number of a sequence. There are as many numbers as sequences can be alive, so one is always free. */
static int32_t number_of(md_session_trace *t, const md_seq *q)
{
    for (int32_t i = 0; i < t->n_known; i++)
        if (t->known[i] == q)
            return i;
    for (int32_t i = 0; i < t->n_known; i++)
        if (!t->known[i] || !is_alive(t->session, t->known[i])) {
            t->known[i] = q;
            return i;
        }
    return 0;
}

static void step_begins(md_session_trace *t)
{
    const md_session *s = t->session;
    for (int32_t i = 0; i < s->n_rows; i++) {
        const bool same = i > 0 && s->s.row[i].seq == s->s.row[i - 1].seq;
        t->sequence[i] = same ? t->sequence[i - 1] : number_of(t, s->s.row[i].seq);
        t->position[i] = s->s.row[i].pos;
        t->token[i] = s->s.row[i].token;
    }
    t->began = md_sys_seconds();
    md_trace_write_step(t->writer, s->n_rows, t->sequence, t->position, t->token);
}

/* What the store did for this layer. */
static void layer_ends(md_session_trace *t, int32_t layer)
{
    const md_session *s = t->session;
    if (!md_model_streams(s->model) || s->model->spec.layer[layer].ffn.router.n_expert == 0)
        return;
    md_stream_counts now;
    md_session_stream_counts(s, &now);
    const md_stream_counts *was = &t->before;
    md_trace_write_store(t->writer, layer, (uint32_t)(now.hits - was->hits), (uint32_t)(now.misses - was->misses),
                         now.bytes - was->bytes, (uint64_t)((now.wait - was->wait) * 1e9));
    t->before = now;
}

static void step_ends(md_session_trace *t)
{
    const double now = md_sys_seconds();
    md_trace_write_step_end(t->writer, now > t->began ? (uint64_t)((now - t->began) * 1e9) : 0);
    if (now - t->flushed < FLUSH_SECONDS)
        return;
    md_trace_writer_flush(t->writer);
    t->flushed = now;
}

static void observe(void *user, const md_event *e)
{
    md_session_trace *t = user;
    if (e->point == MD_POINT_LAYER_IN && e->layer == 0) {
        step_begins(t);
    } else if (e->point == MD_POINT_ROUTING) {
        md_trace_write_routing(t->writer, e->layer, e->n_rows, e->expert_id, e->weight);
    } else if (e->point == MD_POINT_LAYER_OUT) {
        layer_ends(t, e->layer);
        if (e->layer == t->session->model->spec.n_layer - 1)
            step_ends(t);
    }
}

/* ---- life ---- */

md_status md_session_trace_begin(md_session *s, md_trace_writer *w, md_session_trace **out, md_error *err)
{
    *out = NULL;
    md_session_trace *t = md_calloc(1, sizeof *t);
    if (!t)
        return md_fail_memory(err, "a trace");
    const size_t rows = (size_t)s->args.n_rows;
    t->session = s;
    t->writer = w;
    t->n_known = s->args.n_sequences;
    t->known = md_calloc((size_t)t->n_known, sizeof *t->known);
    t->sequence = md_calloc(rows, sizeof *t->sequence);
    t->position = md_calloc(rows, sizeof *t->position);
    t->token = md_calloc(rows, sizeof *t->token);
    t->flushed = md_sys_seconds();
    md_session_stream_counts(s, &t->before);
    if (!t->known || !t->sequence || !t->position || !t->token) {
        md_session_trace_end(t);
        return md_fail_memory(err, "a trace");
    }
    const md_status status = md_session_add_observer(
        s, 1u << MD_POINT_LAYER_IN | 1u << MD_POINT_ROUTING | 1u << MD_POINT_LAYER_OUT, observe, t, err);
    if (status == MD_OK)
        *out = t;
    else
        md_session_trace_end(t);
    return status;
}

void md_session_trace_end(md_session_trace *t)
{
    if (!t)
        return;
    md_session_remove_observer(t->session, observe, t);
    md_free((void *)t->known);
    md_free(t->sequence);
    md_free(t->position);
    md_free(t->token);
    md_free(t);
}
