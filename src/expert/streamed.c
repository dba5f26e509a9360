/* SPDX-License-Identifier: Apache-2.0
 *
 * Slots and what is in them. A slot is given to another expert only when it is empty, or read and neither wanted nor in use. A
 * layer's slots are its own, so a miss never costs another layer anything (a cache of fewer experts than one token's round
 * through all layers, shared by all, would hit nothing).
 *
 * Within a step the future is known: rows were routed, and experts run in ascending order. So an expert that is still due
 * leaves only if all others are, and then the one that runs last (Belady 1966); which of the others leaves is the policy's
 * choice. */
#include "expert/streamed_inner.h"

#include "base/status.h"
#include "base/sys.h"

#include <string.h>

void md_streamed_fail(md_streamed *s, const md_error *error)
{
    s->error = *error; /* the last one: earlier ones were told by the steps that they ended */
    s->failed = true;
}

md_slot *md_slot_of(const md_streamed *s, int32_t layer, int32_t expert)
{
    const md_layer_slots *l = &s->layer[layer];
    return l->where[expert] < 0 ? NULL : &l->slot[l->where[expert]];
}

/* ---- bringing an expert ---- */

static void begin_reads(md_streamed *s, md_slot *at)
{
    const md_expert_source *source = &s->source[at->layer][at->expert];
    md_expert_reads reads;
    md_expert_reads_of(source, &reads);
    at->w = source->shape;
    for (int m = 0; m < MD_MATRICES; m++)
        if (md_place_of(source, m)->bytes > 0)
            md_weight_of(&at->w, m)->data = at->bytes + reads.matrix_at[m];
    at->state = MD_SLOT_READING;
    at->n_reads = at->unread = reads.n;
    s->counts.reads += (uint64_t)reads.n;
    for (int32_t i = 0; i < reads.n; i++) {
        const md_expert_read *r = &reads.read[i];
        at->read[i] = (md_read){.file = r->file,
                                .urgent = at->brought,
                                .offset = r->offset,
                                .n = r->bytes,
                                .buffer = at->bytes + r->at,
                                .user = at};
        md_reader_submit(s->reader, &at->read[i]);
    }
}

static void empty(md_streamed *s, md_slot *at)
{
    s->counts.ahead_wasted += at->ahead;
    s->layer[at->layer].where[at->expert] = -1;
    at->state = MD_SLOT_EMPTY;
    at->ahead = false;
}

/* A slot that another expert may have; NULL if there is none. due_too: those that still run in this step may go, the last of them
 * first. */
static md_slot *free_slot(md_streamed *s, int32_t layer, bool due_too)
{
    md_layer_slots *l = &s->layer[layer];
    md_slot *last = NULL;
    int32_t n = 0;
    for (int32_t i = 0; i < l->n; i++) {
        md_slot *at = &l->slot[i];
        if (at->state == MD_SLOT_EMPTY)
            return at;
        if ((at->state != MD_SLOT_PRESENT && at->state != MD_SLOT_ARRIVED) || at->wanted || at->users > 0)
            continue;
        if (l->due[at->expert]) {
            last = !last || at->expert > last->expert ? at : last;
            continue;
        }
        s->candidate[n] = at->expert;
        s->candidate_slot[n++] = i;
    }
    md_slot *at = due_too ? last : NULL;
    if (n > 0)
        at = &l->slot[s->candidate_slot[md_policy_victim(s->policy, layer, s->candidate, n)]];
    if (at)
        empty(s, at);
    return at;
}

void md_slot_bring(md_streamed *s, md_slot *at, int32_t layer, int32_t expert, md_bring why)
{
    at->layer = layer;
    at->expert = expert;
    at->wanted = why != MD_BRING_WARM; /* what is read ahead stays until its layer's rows have chosen */
    at->brought = why == MD_BRING_NEEDED;
    at->ahead = why == MD_BRING_AHEAD;
    at->warm = why == MD_BRING_WARM;
    at->dropped = false;
    s->layer[layer].where[expert] = (int32_t)(at - s->layer[layer].slot);
    s->counts.misses += why == MD_BRING_NEEDED;
    s->counts.ahead += why == MD_BRING_AHEAD;
    begin_reads(s, at);
}

/* What was read for a guess or for warmth and has not begun need not begin. */
static void drop_reads(md_streamed *s, md_slot *at)
{
    int32_t cancelled = 0;
    for (int32_t i = 0; i < at->n_reads; i++)
        cancelled += md_reader_cancel(s->reader, &at->read[i]);
    if (cancelled == 0)
        return; /* all is on its way: let it come */
    at->unread -= cancelled;
    s->counts.reads -= (uint64_t)cancelled;
    empty(s, at);
    if (at->unread > 0) {
        at->state = MD_SLOT_READING;
        at->dropped = true;
    }
}

/* Are there slots of a layer that wait for nothing but the end of reads which nobody needs? */
static bool some_dropped(const md_layer_slots *l)
{
    for (int32_t i = 0; i < l->n; i++)
        if (l->slot[i].state == MD_SLOT_READING && !l->slot[i].wanted && l->slot[i].users == 0)
            return true;
    return false;
}

/* A slot that is only being read for warmth: its reads are taken back, as far as they have not begun. */
static md_slot *cool_slot(md_streamed *s, int32_t layer)
{
    md_layer_slots *l = &s->layer[layer];
    for (int32_t i = l->n - 1; i >= 0; i--) {
        md_slot *at = &l->slot[i];
        if (at->state != MD_SLOT_READING || !at->warm || at->dropped || at->wanted || l->due[at->expert])
            continue;
        drop_reads(s, at);
        if (at->state == MD_SLOT_EMPTY)
            return at;
    }
    return NULL;
}

/* For the step under way, which cannot do without; run says so if there is no slot. */
static void bring_needed(md_streamed *s, int32_t layer, int32_t expert)
{
    md_slot *at = free_slot(s, layer, true);
    if (!at)
        at = cool_slot(s, layer);
    while (!at && some_dropped(&s->layer[layer]) && md_slots_wait(s))
        at = free_slot(s, layer, true);
    if (at)
        md_slot_bring(s, at, layer, expert, MD_BRING_NEEDED);
}

static bool files_as_they_were(md_streamed *s)
{
    for (int32_t i = 0; i < s->n_files; i++)
        if (md_reader_file_changed(s->reader, i)) {
            md_error error;
            md_fail(&error, MD_ERR_IO, "the model's file was changed while it is in use: start again");
            md_streamed_fail(s, &error);
            return false;
        }
    return true;
}

/* ---- operations ---- */

/* A step asks for what is in a slot, or on its way into one. */
static void ask_for(md_streamed *s, md_slot *at)
{
    const bool early = at->ahead || at->warm;
    at->wanted = true;
    if (!early)
        return;
    s->counts.ahead_used += at->ahead;
    s->counts.ahead_late += at->ahead && at->state == MD_SLOT_READING;
    at->ahead = at->warm = false;
    for (int32_t i = 0; i < at->n_reads && at->state == MD_SLOT_READING; i++)
        (void)md_reader_promote(s->reader, &at->read[i]);
}

static void want(md_expert_store *store, int32_t layer, const int32_t *expert, int32_t n)
{
    md_streamed *s = (md_streamed *)store;
    const md_layer_slots *l = &s->layer[layer];
    md_slots_take_arrivals(s);
    int32_t missing = 0;
    for (int32_t i = 0; i < n; i++) {
        md_slot *at = md_slot_of(s, layer, expert[i]);
        missing += at == NULL;
        if (at)
            ask_for(s, at);
    }
    if (missing > 0 && !files_as_they_were(s))
        return;
    for (int32_t i = 0; i < n && missing > 0; i++)
        if (!md_slot_of(s, layer, expert[i]))
            bring_needed(s, layer, expert[i]);
    /* What runs later in this step comes early where nothing that still runs has to leave for it. */
    for (int32_t e = 0; e < l->n_expert && l->n < l->n_expert; e++) {
        if (!l->due[e] || md_slot_of(s, layer, e))
            continue;
        md_slot *at = free_slot(s, layer, false);
        if (!at)
            break;
        md_slot_bring(s, at, layer, e, MD_BRING_NEEDED);
    }
}

static bool ready(md_expert_store *store, int32_t layer, int32_t expert)
{
    md_streamed *s = (md_streamed *)store;
    md_slots_take_arrivals(s);
    const md_slot *at = md_slot_of(s, layer, expert);
    return !at || at->state != MD_SLOT_READING;
}

static bool present(md_expert_store *store, int32_t layer, int32_t expert)
{
    const md_slot *at = md_slot_of((md_streamed *)store, layer, expert);
    return at && at->state != MD_SLOT_FAILED;
}

static const md_expert *run(md_expert_store *store, int32_t layer, int32_t expert)
{
    md_streamed *s = (md_streamed *)store;
    md_slot *at = md_slot_of(s, layer, expert);
    if (!at || !md_slot_finish(s, at))
        return NULL;
    s->counts.hits += at->users == 0 && !at->brought;
    at->brought = false;
    at->users++;
    return &at->w;
}

static void release(md_expert_store *store, int32_t layer, int32_t expert)
{
    md_streamed *s = (md_streamed *)store;
    md_slot *at = md_slot_of(s, layer, expert);
    if (!at || --at->users > 0)
        return;
    at->wanted = false;
    s->layer[layer].due[expert] = false;
}

/* ---- between layers ---- */

/* What a step that failed still wanted is wanted no more, and what could not be read is tried again. */
static int32_t begin_layer(md_streamed *s, md_layer_slots *l, const int32_t *expert, int64_t n)
{
    int32_t needed = 0;
    memset(l->due, 0, (size_t)l->n_expert * sizeof *l->due);
    for (int64_t i = 0; i < n; i++)
        if (expert[i] >= 0 && expert[i] < l->n_expert) {
            needed += !l->due[expert[i]];
            l->due[expert[i]] = true;
        }
    for (int32_t i = 0; i < l->n; i++) {
        md_slot *at = &l->slot[i];
        at->wanted = at->users > 0;
        at->brought = false;
        if (at->state == MD_SLOT_FAILED && at->unread == 0)
            empty(s, at);
        else if (at->state == MD_SLOT_READING && at->ahead && !l->due[at->expert])
            drop_reads(s, at);
    }
    return needed;
}

static void chosen(md_expert_store *store, int32_t layer, const int32_t *expert, const float *weight, int64_t n)
{
    md_streamed *s = (md_streamed *)store;
    md_layer_slots *l = &s->layer[layer];
    md_slots_take_arrivals(s);
    s->last_needed = begin_layer(s, l, expert, n);
    s->last_routed = layer;
    for (int64_t i = 0; i < n; i++)
        if (expert[i] >= 0 && expert[i] < l->n_expert)
            md_policy_use(s->policy, layer, expert[i], weight[i]);
    if (layer + 1 == s->n_layer)
        md_policy_step(s->policy);
    md_ahead_chosen(s->ahead, layer, expert, n, md_sys_seconds());
    store->guess = md_ahead_trying(s->ahead) ? md_ahead_target(s->ahead) : -1;
}

/* A slot of a layer whose turn comes, for an expert that nearly all rows together surely need: its last one's, which the step
 * would take as well. */
static md_slot *slot_behind(md_streamed *s, int32_t layer, int32_t expert)
{
    md_layer_slots *l = &s->layer[layer];
    md_slot *last = NULL;
    for (int32_t i = 0; i < l->n; i++) {
        md_slot *at = &l->slot[i];
        if (at->state == MD_SLOT_EMPTY)
            return at;
        if ((at->state == MD_SLOT_PRESENT || at->state == MD_SLOT_ARRIVED) && !at->wanted && at->users == 0 &&
            at->expert > expert && (!last || at->expert > last->expert))
            last = at;
    }
    if (last)
        empty(s, last);
    return last;
}

/* Rows that need most experts of a layer need most of the next one's: its first ones come early. */
static void expect_many(md_streamed *s)
{
    const int32_t layer = md_ahead_next(s->ahead, s->last_routed);
    const md_layer_slots *l = &s->layer[layer];
    if (layer <= s->last_routed || s->last_needed < l->n_expert / 4 * 3)
        return;
    if (!files_as_they_were(s))
        return;
    for (int32_t e = 0, n = 0; e < l->n_expert && n < MD_STREAMED_AHEAD; e++) {
        if (md_slot_of(s, layer, e))
            continue;
        md_slot *at = slot_behind(s, layer, e);
        if (!at)
            return;
        md_slot_bring(s, at, layer, e, MD_BRING_AHEAD);
        n++;
    }
}

static void expect(md_expert_store *store, const int32_t *expert, int64_t n)
{
    md_streamed *s = (md_streamed *)store;
    const int32_t layer = md_ahead_target(s->ahead);
    int32_t pick[MD_STREAMED_AHEAD];
    if (layer < 0) {
        expect_many(s);
        return;
    }
    if (n > 0)
        md_ahead_router(s->ahead, expert, n);
    for (int32_t e = 0; e < s->layer[layer].n_expert; e++)
        s->absent[e] = !md_slot_of(s, layer, e);
    const int32_t picked = md_ahead_pick(s->ahead, s->absent, pick, MD_STREAMED_AHEAD);
    if (picked > 0 && !files_as_they_were(s))
        return;
    for (int32_t i = 0; i < picked; i++) {
        md_slot *at = free_slot(s, layer, false);
        if (!at)
            return;
        md_slot_bring(s, at, layer, pick[i], MD_BRING_AHEAD);
    }
}

md_expert_store md_streamed_operations(void)
{
    return (md_expert_store){.want = want,
                             .ready = ready,
                             .run = run,
                             .release = release,
                             .present = present,
                             .chosen = chosen,
                             .expect = expect,
                             .guess = -1};
}

/* ---- what it tells ---- */

md_expert_store *md_streamed_store(md_streamed *s)
{
    return &s->store;
}

md_streamed_counts md_streamed_get_counts(const md_streamed *s)
{
    md_streamed_counts c = s->counts;
    c.guesses = md_ahead_get_figures(s->ahead);
    return c;
}

int32_t md_streamed_slots(const md_streamed *s, int32_t layer)
{
    return s->layer[layer].n;
}

const char *md_streamed_error(const md_streamed *s)
{
    return s->failed ? s->error.message : "";
}
