/* SPDX-License-Identifier: Apache-2.0
 *
 * Slots and what is in them. A slot is empty, being read, present, or holds what could not be read; it is given to another expert
 * only when it is empty, or present and neither wanted nor in use. A layer's slots are its own, so a miss never costs another
 * layer anything (a cache of fewer experts than one token's round through all layers, shared by all, would hit nothing). */
#include "expert/streamed.h"

#include "base/mem.h"
#include "base/reader.h"
#include "base/region.h"
#include "base/status.h"
#include "base/sys.h"
#include "dtype/tile.h"
#include "expert/policy.h"

#include <string.h>

enum { MATRICES = 3, DEPTH = 16 };

typedef enum slot_state { SLOT_EMPTY, SLOT_READING, SLOT_PRESENT, SLOT_FAILED } slot_state;

typedef struct slot {
    slot_state state;
    int32_t layer, expert;
    int32_t users;
    bool wanted;    /* by the step under way */
    int32_t unread; /* matrices */
    unsigned char *bytes;
    md_expert w;
    md_read read[MATRICES];
} slot;

typedef struct layer_slots {
    int32_t n_expert, n;
    size_t bytes;   /* of a slot */
    slot *slot;     /* [n] of the store's */
    int32_t *where; /* [n_expert] index of its slot, or -1 */
} layer_slots;

struct md_streamed {
    md_expert_store store;
    const md_expert_source *const *source; /* borrowed */
    int32_t n_layer, n_files;
    layer_slots *layer;                  /* owned, [n_layer] */
    slot *slot;                          /* owned */
    int32_t *where;                      /* owned */
    int32_t *candidate, *candidate_slot; /* owned, [most slots of a layer] */
    unsigned char *tile;                 /* owned: one tile on its way */
    md_region memory;                    /* owned: what slots hold */
    md_reader *reader;                   /* owned */
    md_policy *policy;                   /* owned */
    md_streamed_counts counts;
    bool failed;
    md_error error;
};

/* ---- sizes ---- */

/* Room for n bytes that begin anywhere in a file. */
static size_t room_of(size_t n)
{
    return md_reader_room(MD_READER_ALIGN - 1, n);
}

static const md_expert_place *place_of(const md_expert_source *s, int matrix)
{
    return matrix == 0 ? &s->gate : matrix == 1 ? &s->up : &s->down;
}

static md_weight *weight_of(md_expert *e, int matrix)
{
    return matrix == 0 ? &e->gate : matrix == 1 ? &e->up : &e->down;
}

static size_t slot_bytes(const md_streamed_args *a, int32_t layer)
{
    size_t most = 0;
    for (int32_t e = 0; e < a->n_expert[layer]; e++) {
        size_t n = 0;
        for (int m = 0; m < MATRICES; m++)
            n += room_of(place_of(&a->source[layer][e], m)->bytes);
        most = n > most ? n : most;
    }
    return most;
}

static int32_t least_slots(const md_streamed_args *a, int32_t layer)
{
    return a->top_k[layer] < a->n_expert[layer] ? a->top_k[layer] : a->n_expert[layer];
}

void md_streamed_bytes(const md_streamed_args *args, size_t *least, size_t *all)
{
    *least = *all = 0;
    for (int32_t l = 0; l < args->n_layer; l++) {
        const size_t one = slot_bytes(args, l);
        *least += one * (size_t)least_slots(args, l);
        *all += one * (size_t)args->n_expert[l];
    }
}

/* Every layer gets one token's experts, and of the rest the same share of its others. */
static void share_slots(const md_streamed_args *a, layer_slots *layer)
{
    size_t least, all;
    md_streamed_bytes(a, &least, &all);
    const size_t bytes = a->bytes < all ? a->bytes : all;
    const double share = all > least ? (double)(bytes - least) / (double)(all - least) : 0.0;
    size_t used = 0;
    for (int32_t l = 0; l < a->n_layer; l++) {
        const int32_t few = least_slots(a, l);
        layer[l].n_expert = a->n_expert[l];
        layer[l].bytes = slot_bytes(a, l);
        layer[l].n = few + (int32_t)(share * (a->n_expert[l] - few));
        used += layer[l].bytes * (size_t)layer[l].n;
    }
    for (int32_t l = 0; l < a->n_layer; l++) /* what rounding left */
        if (layer[l].n < layer[l].n_expert && bytes - used >= layer[l].bytes) {
            layer[l].n++;
            used += layer[l].bytes;
        }
    for (int32_t l = 0; l < a->n_layer && a->most_slots > 0; l++)
        layer[l].n = layer[l].n < a->most_slots ? layer[l].n : a->most_slots;
}

/* ---- what arrives ---- */

static void fail_with(md_streamed *s, const md_error *error)
{
    s->error = *error; /* the last one: earlier ones were told by the steps that they ended */
    s->failed = true;
}

/* Rows to tiles, in place but for the distance to the block's border: a tile never reaches the rows after it. */
static void weave(md_streamed *s, const md_weight *w, unsigned char *dst, const unsigned char *src)
{
    const size_t tile = MD_TILE_ROWS * w->row_bytes;
    const int64_t blocks = w->cols / md_type_get(w->type)->block;
    for (int64_t r = 0; r < w->rows; r += MD_TILE_ROWS, src += tile, dst += tile) {
        memcpy(s->tile, src, tile);
        md_tile_weave(w->type, s->tile, w->row_bytes, blocks, dst);
    }
}

static void arrived(md_streamed *s, md_read *read)
{
    slot *at = read->user;
    const int matrix = (int)(read - at->read);
    const md_expert_place *place = place_of(&s->source[at->layer][at->expert], matrix);
    md_error error;
    if (md_reader_explain(s->reader, read, &error) != MD_OK) {
        fail_with(s, &error);
        at->state = SLOT_FAILED;
    } else if (place->weave) {
        md_weight *w = weight_of(&at->w, matrix);
        weave(s, w, read->buffer, read->buffer + read->offset % MD_READER_ALIGN);
        w->data = read->buffer;
    }
    s->counts.bytes += read->n;
    if (--at->unread == 0 && at->state == SLOT_READING)
        at->state = SLOT_PRESENT;
}

static void take_arrivals(md_streamed *s)
{
    for (md_read *r; (r = md_reader_done(s->reader, false));)
        arrived(s, r);
}

/* ---- what is asked for ---- */

static void begin_reads(md_streamed *s, slot *at)
{
    const md_expert_source *source = &s->source[at->layer][at->expert];
    unsigned char *bytes = at->bytes;
    at->w = source->shape;
    at->unread = 0;
    for (int m = 0; m < MATRICES; m++) {
        const md_expert_place *p = place_of(source, m);
        if (p->bytes == 0)
            continue;
        at->read[m] = (md_read){
            .file = p->file, .urgent = true, .offset = p->offset, .n = p->bytes, .buffer = bytes, .user = at};
        weight_of(&at->w, m)->data = bytes + p->offset % MD_READER_ALIGN;
        bytes += room_of(p->bytes);
        at->unread++;
    }
    at->state = SLOT_READING;
    for (int m = 0; m < MATRICES; m++)
        if (place_of(source, m)->bytes > 0)
            md_reader_submit(s->reader, &at->read[m]);
}

/* A slot that another expert may have; NULL if all are wanted. */
static slot *free_slot(md_streamed *s, int32_t layer)
{
    layer_slots *l = &s->layer[layer];
    int32_t n = 0;
    for (int32_t i = 0; i < l->n; i++) {
        slot *at = &l->slot[i];
        if (at->state == SLOT_EMPTY)
            return at;
        if (at->state != SLOT_PRESENT || at->wanted || at->users > 0)
            continue;
        s->candidate[n] = at->expert;
        s->candidate_slot[n++] = i;
    }
    if (n == 0)
        return NULL;
    slot *at = &l->slot[s->candidate_slot[md_policy_victim(s->policy, layer, s->candidate, n)]];
    l->where[at->expert] = -1;
    at->state = SLOT_EMPTY;
    return at;
}

static slot *slot_of(const md_streamed *s, int32_t layer, int32_t expert)
{
    const layer_slots *l = &s->layer[layer];
    return l->where[expert] < 0 ? NULL : &l->slot[l->where[expert]];
}

static void bring(md_streamed *s, int32_t layer, int32_t expert)
{
    slot *at = free_slot(s, layer);
    if (!at)
        return; /* run says so */
    at->layer = layer;
    at->expert = expert;
    at->wanted = true;
    s->layer[layer].where[expert] = (int32_t)(at - s->layer[layer].slot);
    begin_reads(s, at);
}

static bool files_as_they_were(md_streamed *s)
{
    for (int32_t i = 0; i < s->n_files; i++)
        if (md_reader_file_changed(s->reader, i)) {
            md_error error;
            md_fail(&error, MD_ERR_IO, "the model's file was changed while it is in use: start again");
            fail_with(s, &error);
            return false;
        }
    return true;
}

static void want(md_expert_store *store, int32_t layer, const int32_t *expert, int32_t n)
{
    md_streamed *s = (md_streamed *)store;
    take_arrivals(s);
    int32_t missing = 0;
    for (int32_t i = 0; i < n; i++) {
        slot *at = slot_of(s, layer, expert[i]);
        missing += at == NULL;
        if (at)
            at->wanted = true;
    }
    s->counts.hits += (uint64_t)(n - missing);
    s->counts.misses += (uint64_t)missing;
    if (missing == 0 || !files_as_they_were(s))
        return;
    for (int32_t i = 0; i < n; i++)
        if (!slot_of(s, layer, expert[i]))
            bring(s, layer, expert[i]);
}

static bool ready(md_expert_store *store, int32_t layer, int32_t expert)
{
    md_streamed *s = (md_streamed *)store;
    take_arrivals(s);
    const slot *at = slot_of(s, layer, expert);
    return !at || at->state != SLOT_READING;
}

static const md_expert *run(md_expert_store *store, int32_t layer, int32_t expert)
{
    md_streamed *s = (md_streamed *)store;
    slot *at = slot_of(s, layer, expert);
    if (!at)
        return NULL;
    if (at->state == SLOT_READING) {
        const double began = md_sys_seconds();
        md_read *r;
        while (at->unread > 0 && (r = md_reader_done(s->reader, true)))
            arrived(s, r);
        s->counts.wait += md_sys_seconds() - began;
    }
    if (at->state != SLOT_PRESENT)
        return NULL;
    at->users++;
    return &at->w;
}

static void release(md_expert_store *store, int32_t layer, int32_t expert)
{
    slot *at = slot_of((md_streamed *)store, layer, expert);
    if (at && --at->users == 0)
        at->wanted = false;
}

/* Begins a layer: what a step that failed still wanted there is wanted no more, and what could not be read is tried again. */
static void chosen(md_expert_store *store, int32_t layer, const int32_t *expert, const float *weight, int64_t n)
{
    md_streamed *s = (md_streamed *)store;
    layer_slots *l = &s->layer[layer];
    take_arrivals(s);
    for (int32_t i = 0; i < l->n; i++) {
        slot *at = &l->slot[i];
        at->wanted = at->users > 0;
        if (at->state == SLOT_FAILED && at->unread == 0) {
            l->where[at->expert] = -1;
            at->state = SLOT_EMPTY;
        }
    }
    for (int64_t i = 0; i < n; i++)
        if (expert[i] >= 0 && expert[i] < l->n_expert)
            md_policy_use(s->policy, layer, expert[i], weight[i]);
    if (layer + 1 == s->n_layer)
        md_policy_step(s->policy);
}

/* ---- making and freeing ---- */

static md_status take_memory(md_streamed *s, const md_streamed_args *a, md_error *err)
{
    size_t slots = 0, experts = 0, bytes = 0, tile = 1;
    int32_t most = 1;
    for (int32_t l = 0; l < s->n_layer; l++) {
        const layer_slots *at = &s->layer[l];
        slots += (size_t)at->n;
        experts += (size_t)at->n_expert;
        bytes += at->bytes * (size_t)at->n;
        most = at->n > most ? at->n : most;
        for (int32_t e = 0; e < at->n_expert; e++)
            for (int m = 0; m < MATRICES; m++) {
                md_expert shape = a->source[l][e].shape;
                const size_t n = MD_TILE_ROWS * weight_of(&shape, m)->row_bytes;
                tile = n > tile ? n : tile;
            }
    }
    s->slot = md_calloc(slots + 1, sizeof *s->slot);
    s->where = md_calloc(experts + 1, sizeof *s->where);
    s->candidate = md_calloc((size_t)most, sizeof *s->candidate);
    s->candidate_slot = md_calloc((size_t)most, sizeof *s->candidate_slot);
    s->tile = md_calloc(tile, 1);
    if (!s->slot || !s->where || !s->candidate || !s->candidate_slot || !s->tile)
        return md_fail_memory(err, "the slots of experts");
    return bytes > 0 ? md_region_new(bytes, &s->memory, err) : MD_OK;
}

static void lay_out(md_streamed *s)
{
    slot *next = s->slot;
    int32_t *where = s->where;
    unsigned char *bytes = s->memory.bytes;
    for (int32_t l = 0; l < s->n_layer; l++) {
        layer_slots *at = &s->layer[l];
        at->slot = next;
        at->where = where;
        for (int32_t e = 0; e < at->n_expert; e++)
            where[e] = -1;
        for (int32_t i = 0; i < at->n; i++, bytes += at->bytes)
            next[i].bytes = bytes;
        next += at->n;
        where += at->n_expert;
    }
}

/* How many experts of a layer can be asked for at once; 0: all. */
static int32_t most_at_once(const md_streamed *s)
{
    int32_t most = 0;
    for (int32_t l = 0; l < s->n_layer; l++)
        if (s->layer[l].n < s->layer[l].n_expert && (most == 0 || s->layer[l].n < most))
            most = s->layer[l].n;
    return most;
}

static md_status fill(md_streamed *s, const md_streamed_args *a, md_error *err)
{
    const md_reader_args reader = {.depth = DEPTH, .direct = true};
    s->source = a->source;
    s->n_layer = a->n_layer;
    s->n_files = a->n_files;
    s->layer = md_calloc((size_t)a->n_layer, sizeof *s->layer);
    if (!s->layer)
        return md_fail_memory(err, "the slots of experts");
    share_slots(a, s->layer);
    MD_TRY(take_memory(s, a, err));
    lay_out(s);
    MD_TRY(md_reader_new(&reader, &s->reader, err));
    for (int32_t i = 0; i < a->n_files; i++) {
        int32_t file;
        MD_TRY(md_reader_add_file(s->reader, a->path[i], &file, err));
    }
    MD_TRY(md_policy_new(a->policy ? a->policy : md_policy_names()[0], a->n_layer, a->n_expert, &s->policy, err));
    for (int32_t l = 0; l < s->n_layer; l++)
        if (s->layer[l].n > 0)
            md_policy_room(s->policy, l, s->layer[l].n);
    s->store = (md_expert_store){
        .want = want, .ready = ready, .run = run, .release = release, .chosen = chosen, .most = most_at_once(s)};
    return MD_OK;
}

md_status md_streamed_new(const md_streamed_args *args, md_streamed **out, md_error *err)
{
    *out = NULL;
    size_t least, all;
    md_streamed_bytes(args, &least, &all);
    MD_FAIL_IF(args->bytes < least, MD_ERR_MEMORY,
               "one token's experts of every layer take %.1f MiB, and %.1f MiB are left for them",
               (double)least / 0x1p20, (double)args->bytes / 0x1p20);
    md_streamed *s = md_calloc(1, sizeof *s);
    if (!s)
        return md_fail_memory(err, "the slots of experts");
    const md_status status = fill(s, args, err);
    if (status != MD_OK) {
        md_streamed_free(s);
        return status;
    }
    *out = s;
    return MD_OK;
}

void md_streamed_free(md_streamed *s)
{
    if (!s)
        return;
    md_reader_free(s->reader); /* waits for what is in flight */
    md_policy_free(s->policy);
    md_region_free(&s->memory);
    md_free(s->tile);
    md_free(s->candidate);
    md_free(s->candidate_slot);
    md_free(s->where);
    md_free(s->slot);
    md_free(s->layer);
    md_free(s);
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
