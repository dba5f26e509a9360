/* SPDX-License-Identifier: Apache-2.0
 *
 * One layer's slots under a stream of choices, by the rules of expert/run.c and expert/streamed.c: experts that a step's rows chose are
 * asked for in ascending order, and in waves where they are more than fit, the next wave being asked for before one runs; who leaves
 * is the real eviction policy's choice among those that the step does not need, and then the one that it needs last. */
#include "plan/work.h"

#include "base/status.h"

#include <string.h>

typedef struct expert_state {
    bool present;
    bool wanted;        /* by a wave under way, or read for the step and not run yet */
    bool due;           /* runs in this step, and did not yet */
    bool ahead;         /* read before the layer's turn */
    int32_t read, rows; /* in this step: the number of its read, 0: none; rows that chose it */
} expert_state;

typedef struct cache {
    const md_plan_replay *r;
    const md_plan_routing *routing;
    const md_plan_layer *l, *before;
    int32_t layer;
    md_policy *policy;          /* owned; of one layer */
    int32_t *held, n_held;      /* owned, [slots] */
    expert_state *is;           /* owned, [E] */
    int32_t *active;            /* owned, [E] experts of the step, ascending */
    int32_t *candidate, *place; /* owned, [slots] */
    int32_t *choice;            /* owned, [K of this layer and of the one before] */
    bool *seen;                 /* owned, [E of the one before] */
    int32_t n_read;             /* in this step */
    int64_t next_row;
} cache;

static void drop(cache *c)
{
    md_policy_free(c->policy);
    md_free(c->held);
    md_free(c->is);
    md_free(c->active);
    md_free(c->candidate);
    md_free(c->place);
    md_free(c->choice);
    md_free(c->seen);
}

static md_status take(cache *c, md_error *err)
{
    const size_t e = (size_t)c->l->n_expert, slots = (size_t)c->r->slots;
    c->held = md_calloc(slots, sizeof *c->held);
    c->is = md_calloc(e, sizeof *c->is);
    c->active = md_calloc(e, sizeof *c->active);
    c->candidate = md_calloc(slots, sizeof *c->candidate);
    c->place = md_calloc(slots, sizeof *c->place);
    c->choice = md_calloc((size_t)c->l->top_k + (size_t)(c->before ? c->before->top_k : 0), sizeof *c->choice);
    c->seen = md_calloc((size_t)(c->before ? c->before->n_expert : 1), sizeof *c->seen);
    if (!c->held || !c->is || !c->active || !c->candidate || !c->place || !c->choice || !c->seen)
        return md_fail_memory(err, "a plan");
    MD_TRY(md_policy_new(c->r->policy ? c->r->policy : md_policy_names()[0], 1, &c->l->n_expert, &c->policy, err));
    md_policy_room(c->policy, 0, c->r->slots);
    return MD_OK;
}

static md_plan_wave *add_wave(md_plan_flow *f)
{
    if (f->n == f->cap) {
        const size_t cap = f->cap ? 2 * f->cap : 64;
        md_plan_wave *more = md_realloc(f->wave, cap, sizeof *more);
        if (!more)
            return NULL;
        f->wave = more;
        f->cap = cap;
    }
    f->wave[f->n] = (md_plan_wave){0};
    return &f->wave[f->n++];
}

/* A slot that another expert may have, -1: none. due_too: what still runs in this step may go, the last of it first. */
static int32_t free_slot(cache *c, bool due_too)
{
    int32_t n = 0, last = -1;
    if (c->n_held < c->r->slots)
        return c->n_held++;
    for (int32_t i = 0; i < c->n_held; i++) {
        const int32_t e = c->held[i];
        if (c->is[e].wanted)
            continue;
        if (c->is[e].due) {
            last = last < 0 || e > c->held[last] ? i : last;
            continue;
        }
        c->candidate[n] = e;
        c->place[n++] = i;
    }
    if (n == 0 && !due_too)
        return -1;
    const int32_t at = n > 0 ? c->place[md_policy_victim(c->policy, 0, c->candidate, n)] : last;
    if (at >= 0)
        c->is[c->held[at]].present = false;
    return at;
}

static bool bring(cache *c, int32_t expert, bool due_too)
{
    const int32_t at = free_slot(c, due_too);
    if (at < 0)
        return false;
    c->held[at] = expert;
    c->is[expert].present = c->is[expert].wanted = true;
    c->is[expert].read = ++c->n_read;
    return true;
}

/* Asks for experts of a wave, and for what runs later in the step where nothing that still runs has to leave for it. Gives the number of
 * reads that begin. */
static int32_t want(cache *c, const int32_t *expert, int32_t n)
{
    const int32_t before = c->n_read;
    for (int32_t i = 0; i < n; i++)
        c->is[expert[i]].wanted |= c->is[expert[i]].present;
    for (int32_t i = 0; i < n; i++)
        if (!c->is[expert[i]].present)
            (void)bring(c, expert[i], true);
    for (int32_t e = 0; e < c->l->n_expert && c->r->slots < c->l->n_expert; e++)
        if (c->is[e].due && !c->is[e].present && !bring(c, e, false))
            break;
    return c->n_read - before;
}

/* Runs and gives back a wave that was asked for. */
static void run(cache *c, md_plan_flow *f, md_plan_wave *w, const int32_t *expert, int32_t n)
{
    for (int32_t i = 0; i < n; i++) {
        expert_state *e = &c->is[expert[i]];
        *(e->read > 0 ? &w->misses : &w->hits) += 1;
        *(e->read > 0 ? &w->miss_rows : &w->hit_rows) += e->rows;
        w->last = e->read > w->last ? e->read : w->last;
        f->ahead += e->ahead;
        e->wanted = e->due = false;
    }
    f->needs += n;
    f->hits += w->hits;
}

static int32_t least(int32_t a, int32_t b)
{
    return a < b ? a : b;
}

/* Experts that the step's rows chose at the layer before. */
static int32_t needed_before(cache *c, int32_t n_rows)
{
    int32_t n = 0;
    memset(c->seen, 0, (size_t)c->before->n_expert * sizeof *c->seen);
    for (int32_t t = 0; t < n_rows; t++) {
        md_plan_routing_row(c->routing, c->before, c->r->before, c->next_row + t, c->choice);
        for (int32_t i = 0; i < c->before->top_k; i++)
            if (c->choice[i] >= 0 && !c->seen[c->choice[i]]) {
                c->seen[c->choice[i]] = true;
                n++;
            }
    }
    return n;
}

/* A slot for an expert that is read before the layer's turn: an empty one, or that of the last one behind it. */
static int32_t slot_behind(cache *c, int32_t expert)
{
    int32_t last = -1;
    if (c->n_held < c->r->slots)
        return c->n_held++;
    for (int32_t i = 0; i < c->n_held; i++)
        if (!c->is[c->held[i]].wanted && c->held[i] > expert && (last < 0 || c->held[i] > c->held[last]))
            last = i;
    if (last >= 0)
        c->is[c->held[last]].present = false;
    return last;
}

/* Rows that needed most experts of the layer before need most of this one's: its first ones come early. Gives how many. */
static int32_t come_early(cache *c, int32_t n_rows)
{
    c->n_read = 0;
    for (int32_t e = 0; e < c->l->n_expert; e++)
        c->is[e] = (expert_state){.present = c->is[e].present};
    if (!c->before || n_rows <= MD_AHEAD_ROWS || needed_before(c, n_rows) < c->l->n_expert / 4 * 3)
        return 0;
    for (int32_t e = 0; e < c->l->n_expert && c->n_read < MD_STREAMED_AHEAD; e++) {
        if (c->is[e].present)
            continue;
        const int32_t at = slot_behind(c, e);
        if (at < 0)
            break;
        c->held[at] = e;
        c->is[e] = (expert_state){.present = true, .wanted = true, .ahead = true, .read = ++c->n_read};
    }
    for (int32_t e = 0; e < c->l->n_expert; e++)
        c->is[e].wanted = false; /* now the layer's rows have chosen */
    return c->n_read;
}

/* What the step's rows choose: fills `active`, gives how many. */
static int32_t choose(cache *c, int32_t n_rows)
{
    int32_t n = 0;
    for (int32_t t = 0; t < n_rows; t++) {
        md_plan_routing_row(c->routing, c->l, c->layer, c->next_row++, c->choice);
        for (int32_t i = 0; i < c->l->top_k; i++)
            if (c->choice[i] >= 0) {
                md_policy_use(c->policy, 0, c->choice[i], 1.0f);
                c->is[c->choice[i]].rows++;
                c->is[c->choice[i]].due = true;
            }
    }
    for (int32_t e = 0; e < c->l->n_expert; e++)
        if (c->is[e].due)
            c->active[n++] = e;
    md_policy_step(c->policy);
    return n;
}

/* A step of n rows. False: memory is out. */
static bool step(cache *c, md_plan_flow *f, int32_t n_rows)
{
    const int32_t ahead = come_early(c, n_rows), n = choose(c, n_rows), store = c->r->most,
                  most = store == 0 || n <= store ? n : md_wave_size(store);
    int32_t asked = want(c, c->active, least(n, most));
    f->steps++;
    for (int32_t at = 0; at < n; at += most) {
        const int32_t now = least(n - at, most), left = n - at - now;
        md_plan_wave *w = add_wave(f);
        if (!w)
            return false;
        *w = (md_plan_wave){.first = at == 0, .ahead = at == 0 ? ahead : 0, .asked = asked};
        asked = left > 0 && store > 1 ? want(c, c->active + at + now, least(left, most)) : 0;
        run(c, f, w, c->active + at, now);
        if (left > 0 && store == 1)
            asked = want(c, c->active + at + now, 1);
    }
    return true;
}

static bool prompt(cache *c, md_plan_flow *f)
{
    bool ok = true;
    for (int32_t at = 0; at < c->r->n_prompt && ok; at += c->r->n_rows)
        ok = step(c, f, least(c->r->n_prompt - at, c->r->n_rows));
    return ok;
}

md_status md_plan_replay_run(const md_plan_replay *r, const md_plan_routing *routing, const md_plan_layer *layers,
                             int32_t layer, md_plan_session *out, md_error *err)
{
    cache c = {.r = r,
               .routing = routing,
               .l = &layers[layer],
               .layer = layer,
               .before = r->before >= 0 ? &layers[r->before] : NULL};
    *out = (md_plan_session){0};
    md_status status = take(&c, err);
    if (status == MD_OK) {
        bool ok = prompt(&c, &out->first_prompt);
        for (int32_t i = 0; i < r->n_steps && ok; i++)
            ok = step(&c, &out->generation, r->batch);
        ok = ok && prompt(&c, &out->prompt);
        if (!ok)
            status = md_fail_memory(err, "a plan");
    }
    drop(&c);
    if (status != MD_OK)
        md_plan_session_done(out);
    return status;
}

void md_plan_session_done(md_plan_session *s)
{
    md_free(s->first_prompt.wave);
    md_free(s->generation.wave);
    md_free(s->prompt.wave);
    *s = (md_plan_session){0};
}
