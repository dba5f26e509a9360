/* SPDX-License-Identifier: Apache-2.0
 *
 * What the live view shows, from a session's events: tokens and their rate, what the store did of late, and how much each expert was
 * used. Rates are those since the oldest sample that is kept, some two seconds ago, and of the same phase: the prompt or the
 * answer. All memory is taken before the first step. */
#include "cli/watch.h"

#include <math.h>
#include <string.h>

md_status md_watch_count_init(md_watch_count *c, const md_session *s, md_error *err)
{
    const md_model *m = md_session_model(s);
    *c = (md_watch_count){.session = s, .n_model_layers = md_model_get_info(m)->n_layer};
    const size_t n = (size_t)c->n_model_layers;
    for (int32_t l = 0; l < c->n_model_layers; l++)
        c->n_experts += (size_t)md_model_layer_experts(m, l);
    c->layer = md_calloc(n, sizeof *c->layer);
    c->index = md_calloc(n, sizeof *c->index);
    c->expert = md_calloc(c->n_experts, sizeof *c->expert);
    if (!c->layer || !c->index || !c->expert) {
        md_watch_count_done(c);
        return md_fail_memory(err, "the live view");
    }
    size_t at = 0;
    for (int32_t l = 0; l < c->n_model_layers; l++) {
        const int32_t experts = md_model_layer_experts(m, l);
        c->index[l] = experts > 0 ? c->n_layers : -1;
        if (experts > 0)
            c->layer[c->n_layers++] = (md_watch_layer){.layer = l, .n_experts = experts, .expert = c->expert + at};
        at += (size_t)experts;
    }
    return MD_OK;
}

void md_watch_count_done(md_watch_count *c)
{
    md_free(c->layer);
    md_free(c->index);
    md_free(c->expert);
    *c = (md_watch_count){0};
}

static void take_sample(md_watch_count *c, double now)
{
    md_watch_sample *s = &c->sample[c->next];
    s->at = now;
    s->tokens = (double)c->rows + c->step_rows * c->step_share;
    md_session_stream_counts(c->session, &s->store);
    c->next = (c->next + 1) % MD_WATCH_SAMPLES;
    c->n_samples += c->n_samples < MD_WATCH_SAMPLES;
}

void md_watch_count_begin(md_watch_count *c, int64_t n_prompt, double now)
{
    c->n_prompt = n_prompt;
    c->rows = 0;
    c->step_rows = 0;
    c->step_share = 0.0;
    c->prompt = true;
    c->n_samples = c->next = 0;
    c->faded = now;
    memset(c->expert, 0, c->n_experts * sizeof *c->expert);
    take_sample(c, now);
}

/* Before the store hears of the choice, so what is not there is a miss. */
static void note_choices(md_watch_count *c, const md_event *e)
{
    const int32_t index = c->index[e->layer];
    if (index < 0)
        return;
    const md_watch_layer *l = &c->layer[index];
    md_watch_expert *expert = c->expert + (l->expert - c->expert);
    for (int64_t i = 0; i < (int64_t)e->n_rows * e->n_cols; i++) {
        const int32_t id = e->expert_id[i];
        if (id < 0 || id >= l->n_experts)
            continue;
        expert[id].used += 1.0f;
        if (!md_session_expert_present(c->session, e->layer, id))
            expert[id].missed += 1.0f;
    }
}

void md_watch_count_event(md_watch_count *c, const md_event *e)
{
    if (e->point == MD_POINT_LAYER_IN && e->layer == 0) {
        c->step_rows = e->n_rows;
        c->step_share = 0.0;
    } else if (e->point == MD_POINT_ROUTING) {
        note_choices(c, e);
    } else if (e->point == MD_POINT_LAYER_OUT) {
        c->step_share = (double)(e->layer + 1) / c->n_model_layers;
        if (e->layer + 1 == c->n_model_layers) {
            c->rows += c->step_rows;
            c->step_rows = 0;
        }
    }
}

static void fade(md_watch_count *c, double now)
{
    const float left = (float)exp2(c->faded - now);
    for (size_t i = 0; i < c->n_experts; i++) {
        c->expert[i].used *= left;
        c->expert[i].missed *= left;
    }
    c->faded = now;
}

static void look_for_present(md_watch_count *c)
{
    for (int32_t i = 0; i < c->n_layers; i++) {
        const md_watch_layer *l = &c->layer[i];
        md_watch_expert *expert = c->expert + (l->expert - c->expert);
        for (int32_t e = 0; e < l->n_experts; e++)
            expert[e].present = md_session_expert_present(c->session, l->layer, e);
    }
}

void md_watch_count_look(md_watch_count *c, double now, md_watch_view *v)
{
    const bool prompt = c->rows < c->n_prompt;
    if (prompt != c->prompt) /* the answer's rates are its own */
        c->n_samples = c->next = 0;
    c->prompt = prompt;
    fade(c, now);
    look_for_present(c);
    take_sample(c, now);
    const md_watch_sample *last = &c->sample[(c->next + MD_WATCH_SAMPLES - 1) % MD_WATCH_SAMPLES];
    const md_watch_sample *first = &c->sample[c->n_samples < MD_WATCH_SAMPLES ? 0 : c->next];
    const double seconds = last->at - first->at;
    const uint64_t hits = last->store.hits - first->store.hits, misses = last->store.misses - first->store.misses;
    v->prompt = prompt;
    v->done = prompt ? (int64_t)last->tokens : c->rows - c->n_prompt + 1; /* the last token was not run yet */
    v->total = c->n_prompt;
    v->rate = seconds > 0.0 ? (last->tokens - first->tokens) / seconds : -1.0;
    v->streamed = last->store.experts > 0;
    v->hits = hits + misses > 0 ? (double)hits / (double)(hits + misses) : -1.0;
    v->bytes = seconds > 0.0 ? (double)(last->store.bytes - first->store.bytes) / seconds : 0.0;
    v->waiting = seconds > 0.0 ? (last->store.wait - first->store.wait) / seconds : 0.0;
    v->slots = last->store.slots;
    v->experts = last->store.experts;
    v->layer = c->layer;
    v->n_layers = c->n_layers;
}
