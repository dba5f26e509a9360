/* SPDX-License-Identifier: Apache-2.0
 *
 * One row: what sessions would take, how many slots that leaves, what a replay makes of them, and how long its steps are. Sizes come
 * from the functions that the engine itself asks (md_session_estimate, md_streamed_share), so what is planned is what runs. */
#include "plan/plan.h"

#include "base/status.h"

#include <math.h>
#include <stddef.h>

#define STEPS        512 /* that are replayed, as far as rows go */
#define FEWEST_STEPS 64
#define CHUNKS       16 /* of a prompt that are replayed: later ones are like them */

/* ---- what sessions would take ---- */

md_session_args md_plan_session_args(const md_plan *p, bool resident)
{
    const md_plan_args *a = &p->args;
    md_session_args s;
    p->m->streamed = !resident && p->m->stream;
    md_session_args_default(p->m, &s);
    s.n_threads = a->n_threads;
    s.n_rows = a->n_rows > 0 ? a->n_rows : s.n_rows;
    s.n_rows = s.n_rows > a->batch ? s.n_rows : a->batch;
    s.n_logits = a->batch;
    s.n_sequences = s.n_sequences > a->batch ? s.n_sequences : a->batch;
    const int64_t room = (int64_t)a->batch *
                         ((a->n_prompt + MD_PLAN_ANSWER + MD_TILE - 1) / MD_TILE * MD_TILE + MD_TILE);
    if (a->n_positions > 0)
        s.n_positions = a->n_positions;
    else if (room > s.n_positions)
        s.n_positions = room < INT32_MAX ? (int32_t)room : INT32_MAX;
    s.kv_type = a->f32_kv ? MD_KV_F32 : MD_KV_F16;
    s.isa = a->isa;
    return s;
}

md_status md_plan_estimate(const md_plan *p, const md_session_args *s, md_memory *out, md_error *err)
{
    const md_status status = md_session_estimate(p->m, s, out, err);
    p->m->streamed = p->m->stream != NULL;
    return status;
}

/* ---- what slots make of it ---- */

/* What layers alike make of even routing is alike, and replayed once. */
typedef struct replays {
    md_plan_session *session; /* owned, [n_layer] */
    int32_t *same;            /* owned, [n_layer] the layer whose replay counts */
    int32_t n_layer;
} replays;

static void replays_done(replays *r)
{
    for (int32_t l = 0; r->session && l < r->n_layer; l++)
        md_plan_session_done(&r->session[l]);
    md_free(r->session);
    md_free(r->same);
}

static int32_t alike(const md_plan *p, const int32_t *slots, int32_t before, int32_t layer)
{
    const md_plan_layer *l = p->work.layer;
    bool first = true; /* nothing of the first one comes early */
    for (int32_t i = 0; i < layer && !p->routing.traced && before >= 0; i++) {
        if (l[i].n_expert == 0)
            continue;
        if (!first && l[i].n_expert == l[layer].n_expert && l[i].top_k == l[layer].top_k && slots[i] == slots[layer])
            return i;
        first = false;
    }
    return layer;
}

static int32_t steps_to_replay(const md_plan *p)
{
    const int32_t batch = p->args.batch,
                  rows = p->routing.traced ? p->routing.n_rows - p->args.n_prompt : STEPS * (batch < 4 ? batch : 4),
                  steps = rows / batch < STEPS ? rows / batch : STEPS;
    return steps > FEWEST_STEPS ? steps : FEWEST_STEPS;
}

static md_status replay_layers(const md_plan *p, const int32_t *slots, int32_t most, int32_t n_rows, replays *out,
                               md_error *err)
{
    *out = (replays){.session = md_calloc((size_t)p->work.n_layer, sizeof *out->session),
                     .same = md_calloc((size_t)p->work.n_layer, sizeof *out->same),
                     .n_layer = p->work.n_layer};
    if (!out->session || !out->same)
        return md_fail_memory(err, "a plan");
    const int64_t most_rows = (int64_t)CHUNKS * n_rows;
    md_plan_replay r = {.n_prompt = p->args.n_prompt < most_rows ? p->args.n_prompt : (int32_t)most_rows,
                        .n_rows = n_rows,
                        .batch = p->args.batch,
                        .n_steps = steps_to_replay(p),
                        .most = most,
                        .before = -1,
                        .policy = p->args.policy};
    for (int32_t l = 0; l < p->work.n_layer; l++) {
        if (p->work.layer[l].n_expert == 0)
            continue;
        out->same[l] = alike(p, slots, r.before, l);
        r.slots = slots[l];
        if (out->same[l] == l)
            MD_TRY(md_plan_replay_run(&r, &p->routing, p->work.layer, l, &out->session[l], err));
        r.before = l;
    }
    return MD_OK;
}

/* ---- how long it takes ---- */

static const md_plan_flow *flow_of(const replays *r, size_t flow_at, int32_t layer)
{
    return (const md_plan_flow *)(const void *)((const char *)&r->session[r->same[layer]] + flow_at);
}

/* The experts of all layers, of an average step of so many rows. */
static md_plan_time experts_time(const md_plan *p, const md_plan_costs *c, const replays *r, size_t flow_at,
                                 bool resident, double rows, double sequences, double keys)
{
    md_plan_time sum = {0};
    for (int32_t i = 0; i < p->work.n_layer; i++) {
        const md_plan_layer *l = &p->work.layer[i];
        const md_plan_flow *f = flow_of(r, flow_at, i);
        if (l->n_expert > 0)
            md_plan_time_add(&sum, resident ? md_plan_resident_time(c, l, f)
                                            : md_plan_flow_time(c, l, f, rows,
                                                                md_plan_layer_time(c, l, rows, sequences, keys).total));
    }
    return sum;
}

/* Everything else of a step. */
static md_plan_time other_time(const md_plan *p, const md_plan_costs *c, double rows, double sequences, double keys)
{
    md_plan_time sum = {0};
    for (int32_t l = 0; l < p->work.n_layer; l++) {
        md_plan_time_add(&sum, md_plan_layer_time(c, &p->work.layer[l], rows, sequences, keys));
        if (p->work.layer[l].shared[2].weights > 0.0)
            md_plan_time_add(&sum, md_plan_shared_time(c, &p->work.layer[l], rows));
    }
    return sum;
}

static md_plan_time prompt_time(const md_plan *p, const md_plan_costs *c, const replays *r, size_t flow_at,
                                const md_plan_row *row)
{
    const int32_t n = p->args.n_prompt, step = row->n_rows;
    md_plan_time sum = {0};
    const md_plan_time experts = experts_time(p, c, r, flow_at, row->resident, n < step ? n : step, 1.0, 0.5 * n);
    for (int32_t at = 0; at < n; at += step) {
        const double rows = n - at < step ? n - at : step;
        md_plan_time_add(&sum, other_time(p, c, rows, 1.0, at + 0.5 * (rows + MD_TILE)));
        md_plan_time_add(&sum, experts);
    }
    md_plan_time_add(&sum, md_plan_output_time(c, &p->work, 1.0));
    return sum;
}

/* Memory of keys and values is taken when they are first written. */
static double fresh_seconds(const md_plan *p, const md_plan_costs *c, const md_plan_row *row)
{
    return (double)row->need.kv * fmin((double)p->args.n_prompt / p->n_positions, 1.0) * c->profile->fresh;
}

static md_plan_limit limit_of(md_plan_time t)
{
    const double rest = t.total - t.disk - t.memory;
    if (t.disk > t.memory && t.disk > rest)
        return MD_PLAN_DISK;
    return t.memory >= rest ? MD_PLAN_MEMORY : MD_PLAN_CORES;
}

static double bytes_missed(const md_plan *p, const replays *r, size_t flow_at)
{
    double sum = 0.0;
    for (int32_t l = 0; l < p->work.n_layer; l++) {
        const md_plan_flow *f = flow_of(r, flow_at, l);
        if (f->steps > 0)
            sum += (f->needs - f->hits) / (double)f->steps * p->work.layer[l].rounds * p->work.layer[l].expert_bytes;
    }
    return sum;
}

static void fill_speeds(const md_plan *p, const md_plan_costs *c, const replays *r, md_plan_row *row)
{
    const size_t first = offsetof(md_plan_session, first_prompt), later = offsetof(md_plan_session, prompt),
                 generation = offsetof(md_plan_session, generation);
    const double batch = p->args.batch, n = p->args.n_prompt;
    double needs = 0.0, hits = 0.0;
    row->first_prompt = n / (prompt_time(p, c, r, first, row).total + fresh_seconds(p, c, row));
    const md_plan_time prompt = prompt_time(p, c, r, later, row);
    row->prompt = n / prompt.total;
    row->prompt_limit = limit_of(prompt);
    md_plan_time t = other_time(p, c, batch, batch, n + MD_PLAN_ANSWER / 2);
    md_plan_time_add(&t, experts_time(p, c, r, generation, row->resident, batch, batch, n));
    md_plan_time_add(&t, md_plan_output_time(c, &p->work, batch));
    row->generation = batch / t.total;
    row->generation_limit = limit_of(t);
    for (int32_t l = 0; l < p->work.n_layer; l++) {
        needs += r->session[r->same[l]].generation.needs;
        hits += r->session[r->same[l]].generation.hits;
    }
    row->hit_rate = row->resident || needs <= 0.0 ? 1.0 : hits / needs;
    if (!row->resident) {
        const double steps = ceil(n / row->n_rows);
        row->token_bytes = bytes_missed(p, r, generation) / batch;
        row->prompt_bytes = bytes_missed(p, r, later) * steps / n;
    }
}

/* ---- a row ---- */

static md_status share(const md_plan *p, int32_t *slots, int32_t *most, md_plan_row *row, md_error *err)
{
    for (int32_t l = 0; l < p->work.n_layer; l++)
        slots[l] = p->work.layer[l].n_expert;
    if (p->m->stream && !row->resident) {
        md_streamed_args args = p->m->stream->args;
        args.bytes = (size_t)row->need.slots;
        MD_TRY(md_streamed_share(&args, slots, most, err));
    }
    for (int32_t l = 0; l < p->work.n_layer; l++) {
        row->slots += (uint64_t)slots[l];
        row->experts += (uint64_t)p->work.layer[l].n_expert;
    }
    return MD_OK;
}

md_status md_plan_predict(const md_plan *p, const md_plan_costs *c, md_plan_row *row, md_error *err)
{
    const md_plan_work *w = &p->work;
    int32_t *slots = md_calloc((size_t)w->n_layer, sizeof *slots);
    int32_t most = 0;
    replays r = {0};
    md_status status = slots ? share(p, slots, &most, row, err) : md_fail_memory(err, "a plan");
    if (status == MD_OK)
        status = replay_layers(p, slots, most, row->n_rows, &r, err);
    if (status == MD_OK) {
        fill_speeds(p, c, &r, row);
        row->load_seconds = p->open_seconds + md_plan_load_seconds(c, row->resident ? w->all_bytes : w->resident_bytes,
                                                                   row->resident ? w->all_woven : w->resident_woven,
                                                                   (double)row->need.slots, &row->load_limit);
    }
    replays_done(&r);
    md_free(slots);
    return status;
}
