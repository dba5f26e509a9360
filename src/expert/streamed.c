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
    unsigned char *bytes = at->bytes;
    at->w = source->shape;
    at->unread = 0;
    for (int m = 0; m < MD_MATRICES; m++) {
        const md_expert_place *p = md_place_of(source, m);
        if (p->bytes == 0)
            continue;
        at->read[m] = (md_read){
            .file = p->file, .urgent = !at->ahead, .offset = p->offset, .n = p->bytes, .buffer = bytes, .user = at};
        md_weight_of(&at->w, m)->data = bytes + p->offset % MD_READER_ALIGN;
        bytes += md_slot_room(p->bytes);
        at->unread++;
    }
    at->state = MD_SLOT_READING;
    for (int m = 0; m < MD_MATRICES; m++)
        if (md_place_of(source, m)->bytes > 0)
            md_reader_submit(s->reader, &at->read[m]);
}

static void empty(md_streamed *s, md_slot *at)
{
    s->layer[at->layer].where[at->expert] = -1;
    at->state = MD_SLOT_EMPTY;
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
    if (n == 0 && !(due_too && last))
        return NULL;
    md_slot *at = n > 0 ? &l->slot[s->candidate_slot[md_policy_victim(s->policy, layer, s->candidate, n)]] : last;
    empty(s, at);
    return at;
}

static bool bring(md_streamed *s, int32_t layer, int32_t expert, bool due_too)
{
    md_slot *at = free_slot(s, layer, due_too);
    if (!at)
        return false; /* run says so */
    at->layer = layer;
    at->expert = expert;
    at->wanted = at->brought = true;
    at->ahead = false;
    s->counts.misses++;
    s->layer[layer].where[expert] = (int32_t)(at - s->layer[layer].slot);
    begin_reads(s, at);
    return true;
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
            at->wanted = true;
    }
    if (missing > 0 && !files_as_they_were(s))
        return;
    for (int32_t i = 0; i < n && missing > 0; i++)
        if (!md_slot_of(s, layer, expert[i]))
            bring(s, layer, expert[i], true);
    /* What runs later in this step comes early where nothing that still runs has to leave for it. */
    for (int32_t e = 0; e < l->n_expert && l->n < l->n_expert; e++)
        if (l->due[e] && !md_slot_of(s, layer, e) && !bring(s, layer, e, false))
            break;
}

static bool ready(md_expert_store *store, int32_t layer, int32_t expert)
{
    md_streamed *s = (md_streamed *)store;
    md_slots_take_arrivals(s);
    const md_slot *at = md_slot_of(s, layer, expert);
    return !at || at->state != MD_SLOT_READING;
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

/* What a step that failed still wanted is wanted no more, and what could not be read is tried again. */
static void begin_layer(md_streamed *s, md_layer_slots *l)
{
    memset(l->due, 0, (size_t)l->n_expert * sizeof *l->due);
    for (int32_t i = 0; i < l->n; i++) {
        md_slot *at = &l->slot[i];
        at->wanted = at->users > 0;
        at->brought = false;
        if (at->state == MD_SLOT_FAILED && at->unread == 0)
            empty(s, at);
    }
}

static void chosen(md_expert_store *store, int32_t layer, const int32_t *expert, const float *weight, int64_t n)
{
    md_streamed *s = (md_streamed *)store;
    md_layer_slots *l = &s->layer[layer];
    md_slots_take_arrivals(s);
    begin_layer(s, l);
    for (int64_t i = 0; i < n; i++)
        if (expert[i] >= 0 && expert[i] < l->n_expert) {
            md_policy_use(s->policy, layer, expert[i], weight[i]);
            l->due[expert[i]] = true;
        }
    if (layer + 1 == s->n_layer)
        md_policy_step(s->policy);
}

md_expert_store md_streamed_operations(void)
{
    return (md_expert_store){.want = want, .ready = ready, .run = run, .release = release, .chosen = chosen};
}

/* ---- what it tells ---- */

md_expert_store *md_streamed_store(md_streamed *s)
{
    return &s->store;
}

md_streamed_counts md_streamed_get_counts(const md_streamed *s)
{
    return s->counts;
}

int32_t md_streamed_slots(const md_streamed *s, int32_t layer)
{
    return s->layer[layer].n;
}

const char *md_streamed_error(const md_streamed *s)
{
    return s->failed ? s->error.message : "";
}
