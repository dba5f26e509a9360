/* SPDX-License-Identifier: Apache-2.0
 *
 * How a budget becomes slots, and the making of a streaming store: all its memory is taken here, before the first step. */
#include "expert/streamed_inner.h"

#include "base/mem.h"
#include "base/status.h"

/* ---- sizes ---- */

static size_t slot_bytes(const md_streamed_args *a, int32_t layer)
{
    size_t most = 0;
    for (int32_t e = 0; e < a->n_expert[layer]; e++) {
        md_expert_reads reads;
        md_expert_reads_of(&a->source[layer][e], &reads);
        most = reads.room > most ? reads.room : most;
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

size_t md_streamed_tables(const md_streamed_args *args)
{
    return md_ahead_bytes(args->n_layer, args->n_expert, args->top_k);
}

/* Every layer gets one token's experts, and of the rest the same share of its others. */
void md_slots_share(const md_streamed_args *a, md_layer_slots *layer)
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

/* How many experts of a layer can be asked for at once; 0: all. */
static int32_t most_at_once(const md_layer_slots *layer, int32_t n_layer)
{
    int32_t most = 0;
    for (int32_t l = 0; l < n_layer; l++)
        if (layer[l].n < layer[l].n_expert && (most == 0 || layer[l].n < most))
            most = layer[l].n;
    return most;
}

md_status md_streamed_share(const md_streamed_args *args, int32_t *slots, int32_t *most, md_error *err)
{
    md_layer_slots *layer = md_calloc((size_t)args->n_layer, sizeof *layer);
    if (!layer)
        return md_fail_memory(err, "the slots of experts");
    md_slots_share(args, layer);
    for (int32_t l = 0; l < args->n_layer; l++)
        slots[l] = layer[l].n;
    *most = most_at_once(layer, args->n_layer);
    md_free(layer);
    return MD_OK;
}

/* ---- making and freeing ---- */

static md_status take_memory(md_streamed *s, const md_streamed_args *a, md_error *err)
{
    size_t slots = 0, experts = 0, bytes = 0, tile = 1;
    int32_t most = 1, most_experts = 1;
    for (int32_t l = 0; l < s->n_layer; l++) {
        const md_layer_slots *at = &s->layer[l];
        most_experts = at->n_expert > most_experts ? at->n_expert : most_experts;
        slots += (size_t)at->n;
        experts += (size_t)at->n_expert;
        bytes += at->bytes * (size_t)at->n;
        most = at->n > most ? at->n : most;
        for (int32_t e = 0; e < at->n_expert; e++)
            for (int m = 0; m < MD_MATRICES; m++) {
                md_expert shape = a->source[l][e].shape;
                const size_t n = MD_TILE_ROWS * md_weight_of(&shape, m)->row_bytes;
                tile = n > tile ? n : tile;
            }
    }
    s->slot = md_calloc(slots + 1, sizeof *s->slot);
    s->where = md_calloc(experts + 1, sizeof *s->where);
    s->candidate = md_calloc((size_t)most, sizeof *s->candidate);
    s->candidate_slot = md_calloc((size_t)most, sizeof *s->candidate_slot);
    s->due = md_calloc(experts + 1, sizeof *s->due);
    s->absent = md_calloc((size_t)most_experts, sizeof *s->absent);
    s->tile_bytes = (tile + 63) / 64 * 64;
    s->tile = md_calloc((size_t)md_pool_threads(s->pool), s->tile_bytes);
    if (!s->slot || !s->where || !s->due || !s->absent || !s->candidate || !s->candidate_slot || !s->tile)
        return md_fail_memory(err, "the slots of experts");
    if (bytes == 0)
        return MD_OK;
    MD_TRY(md_region_new(bytes, &s->memory, err));
    md_region_take(&s->memory, s->pool); /* or the first reads would wait for it, page by page */
    return MD_OK;
}

static void lay_out(md_streamed *s)
{
    md_slot *next = s->slot;
    int32_t *where = s->where;
    bool *due = s->due;
    unsigned char *bytes = s->memory.bytes;
    for (int32_t l = 0; l < s->n_layer; l++) {
        md_layer_slots *at = &s->layer[l];
        at->slot = next;
        at->where = where;
        at->due = due;
        for (int32_t e = 0; e < at->n_expert; e++)
            where[e] = -1;
        for (int32_t i = 0; i < at->n; i++, bytes += at->bytes)
            next[i].bytes = bytes;
        next += at->n;
        where += at->n_expert;
        due += at->n_expert;
    }
}

static md_status fill(md_streamed *s, const md_streamed_args *a, md_error *err)
{
    const md_reader_args reader = {.depth = MD_STREAMED_DEPTH, .background = MD_STREAMED_BACKGROUND, .direct = true};
    s->source = a->source;
    s->pool = a->pool;
    s->n_layer = a->n_layer;
    s->n_files = a->n_files;
    s->layer = md_calloc((size_t)a->n_layer, sizeof *s->layer);
    if (!s->layer)
        return md_fail_memory(err, "the slots of experts");
    md_slots_share(a, s->layer);
    MD_TRY(take_memory(s, a, err));
    lay_out(s);
    MD_TRY(md_reader_new(&reader, &s->reader, err));
    if (s->memory.bytes)
        (void)md_reader_register(s->reader, s->memory.bytes, s->memory.n); /* keeps it from being swapped out, too */
    for (int32_t i = 0; i < a->n_files; i++) {
        int32_t file;
        MD_TRY(md_reader_add_file(s->reader, a->path[i], &file, err));
    }
    MD_TRY(md_policy_new(a->policy ? a->policy : md_policy_names()[0], a->n_layer, a->n_expert, &s->policy, err));
    MD_TRY(md_ahead_new(a->read_ahead, a->n_layer, a->n_expert, a->top_k, &s->ahead, err));
    for (int32_t l = 0; l < s->n_layer; l++)
        if (s->layer[l].n > 0)
            md_policy_room(s->policy, l, s->layer[l].n);
    s->store = md_streamed_operations();
    s->store.most = most_at_once(s->layer, s->n_layer);
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
    md_ahead_free(s->ahead);
    md_region_free(&s->memory);
    md_free(s->tile);
    md_free(s->candidate);
    md_free(s->candidate_slot);
    md_free(s->where);
    md_free(s->due);
    md_free(s->absent);
    md_free(s->slot);
    md_free(s->layer);
    md_free(s);
}
