/* SPDX-License-Identifier: Apache-2.0
 *
 * What a session does differently where experts are streamed: how much of its memory slots get, the store, what it reports. */
#include "model/session.h"

#include "base/status.h"
#include "base/sys.h"

_Static_assert((int)MD_STREAM_ROUTER == MD_GUESS_ROUTER && (int)MD_STREAM_AFFINITY == MD_GUESS_AFFINITY &&
                   (int)MD_STREAM_LAST == MD_GUESS_LAST && (int)MD_STREAM_N_GUESSES == MD_N_GUESSES,
               "public names of guesses are the store's");

const char *md_stream_guess_name(md_stream_guess g)
{
    switch (g) {
    case MD_STREAM_ROUTER: return "router";
    case MD_STREAM_AFFINITY: return "affinity";
    case MD_STREAM_LAST: return "last token";
    case MD_STREAM_N_GUESSES: break;
    }
    return "?";
}

/* Memory that is kept back where experts take what is left: threads' stacks, reads under way, what a program around us does. */
#define KEPT_BACK ((uint64_t)24 << 20)

/* What slots may take, of a bound or of the memory that is free; the rest of `out` is filled in. */
md_status md_session_estimate_slots(const md_model *m, const md_session_args *a, md_memory *out, md_error *err)
{
    const md_stream_plan *plan = m->stream;
    const uint64_t holds = md_sys_rss() + (m->outline ? m->weights.n : 0), have = md_sys_own_memory();
    out->weights = m->weights.n;
    out->program = KEPT_BACK + md_streamed_tables(&plan->args) + (holds > out->weights ? holds - out->weights : 0);
    const uint64_t fixed = out->weights + out->program + out->kv + out->scratch,
                   room = a->memory > 0 && ((uint64_t)a->memory < have || m->outline) ? (uint64_t)a->memory : have;
    MD_FAIL_IF(
        fixed > room || room - fixed < plan->least, MD_ERR_MEMORY,
        "%.1f MiB are needed at least (weights that stay %.1f, one token's experts of every layer %.1f, KV cache %.1f, "
        "scratch %.1f, program %.1f) but only %.1f MiB are allowed: give more memory or ask for a smaller context",
        (double)(fixed + plan->least) / 0x1p20, (double)out->weights / 0x1p20, (double)plan->least / 0x1p20,
        (double)out->kv / 0x1p20, (double)out->scratch / 0x1p20, (double)out->program / 0x1p20, (double)room / 0x1p20);
    out->slots = room - fixed < plan->all ? room - fixed : plan->all;
    out->total = fixed + out->slots;
    return MD_OK;
}

md_status md_session_open_store(md_session *s, uint64_t slots, md_error *err)
{
    md_resident_store_init(&s->resident, s->model->experts);
    s->experts = &s->resident.store;
    if (!s->model->streamed)
        return MD_OK;
    md_streamed_args args = s->model->stream->args;
    args.bytes = (size_t)slots;
    args.most_slots = s->args.most_slots;
    args.policy = s->args.policy;
    args.pool = s->pool;
    args.read_ahead = s->args.read_ahead == MD_READ_AHEAD_OFF      ? MD_AHEAD_OFF
                      : s->args.read_ahead == MD_READ_AHEAD_ALWAYS ? MD_AHEAD_ALWAYS
                                                                   : MD_AHEAD_AUTO;
    MD_TRY(md_streamed_new(&args, &s->streamed, err));
    s->experts = md_streamed_store(s->streamed);
    return MD_OK;
}

void md_session_stream_counts(const md_session *s, md_stream_counts *out)
{
    *out = (md_stream_counts){0};
    if (!s->streamed)
        return;
    const md_streamed_counts c = md_streamed_get_counts(s->streamed);
    *out = (md_stream_counts){.hits = c.hits,
                              .misses = c.misses,
                              .bytes = c.bytes,
                              .wait = c.wait,
                              .ahead = c.ahead,
                              .ahead_used = c.ahead_used,
                              .ahead_late = c.ahead_late,
                              .ahead_wasted = c.ahead_wasted,
                              .needed = c.guesses.needed,
                              .step_ahead = c.guesses.with_step,
                              .step_plain = c.guesses.without,
                              .ahead_pays = c.guesses.on};
    for (int g = 0; g < MD_STREAM_N_GUESSES; g++) {
        out->guess_named[g] = c.guesses.guess[g].named;
        out->guess_right[g] = c.guesses.guess[g].right;
    }
    out->on_miss_rows = s->on_miss.rows;
    out->on_miss_uses = s->on_miss.changed;
    out->on_miss_weight = s->on_miss.weight;
    for (int32_t l = 0; l < s->model->spec.n_layer; l++) {
        out->slots += (uint64_t)md_streamed_slots(s->streamed, l);
        out->experts += (uint64_t)s->model->stream->args.n_expert[l];
    }
}

bool md_session_expert_present(const md_session *s, int32_t layer, int32_t expert)
{
    if (!s->streamed || layer < 0 || layer >= s->model->spec.n_layer || expert < 0 ||
        expert >= s->model->stream->args.n_expert[layer])
        return true;
    return s->experts->present(s->experts, layer, expert);
}
