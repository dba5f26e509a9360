/* SPDX-License-Identifier: Apache-2.0
 *
 * Sequences: new, forked, trimmed, frozen and thawed; the mask of experts they carry; their numerics key. */
#include "model/session.h"

#include "base/status.h"
#include "model/walk.h"

#include <stdio.h>
#include <string.h>

static size_t mask_bytes(const md_session *s)
{
    return (size_t)s->model->spec.n_layer * (size_t)s->model->spec.max.expert;
}

/* What recurrent layers remember, now and after the step under way: one block, zero at first. */
static md_status take_state(md_seq *q, int64_t n, md_error *err)
{
    if (n == 0)
        return MD_OK;
    q->states = md_calloc(2 * (size_t)n, sizeof *q->states);
    if (!q->states)
        return md_fail_memory(err, "a sequence's state");
    q->state = q->states;
    q->next_state = q->states + n;
    return MD_OK;
}

static md_status seq_make(md_session *s, const char *what, md_seq **out, md_error *err)
{
    *out = NULL;
    MD_FAIL_IF(s->n_seqs >= s->args.n_sequences, MD_ERR_LIMIT, "all %d sequences of the session are in use",
               s->args.n_sequences);
    md_seq *q = md_calloc(1, sizeof(md_snapshot)); /* a snapshot is a sequence under another name */
    if (!q)
        return md_fail_memory(err, what);
    const int32_t pages = (s->args.n_context + MD_TILE - 1) / MD_TILE;
    md_status status = md_kv_table_init(&q->table, pages, err);
    if (status == MD_OK)
        status = take_state(q, s->model->spec.state_floats, err);
    if (status != MD_OK) {
        md_kv_table_done(s->kv, &q->table);
        md_free(q);
        return status;
    }
    q->session = s;
    q->next = s->first;
    if (s->first)
        s->first->prev = q;
    s->first = q;
    s->n_seqs++;
    *out = q;
    return MD_OK;
}

/* dst takes over src's past, mask and adapter. */
static md_status seq_copy(md_seq *dst, const md_seq *src, md_error *err)
{
    uint8_t *mask = NULL;
    if (src->mask) {
        mask = md_calloc(mask_bytes(src->session), 1);
        if (!mask)
            return md_fail_memory(err, "an expert mask");
        memcpy(mask, src->mask, mask_bytes(src->session));
    }
    md_free(dst->mask);
    dst->mask = mask;
    dst->adapter = src->adapter;
    if (src->state)
        memcpy(dst->state, src->state, (size_t)src->session->model->spec.state_floats * sizeof *dst->state);
    md_kv_table_share(src->session->kv, &dst->table, &src->table);
    return MD_OK;
}

md_status md_seq_new(md_session *s, md_seq **out, md_error *err)
{
    return seq_make(s, "a sequence", out, err);
}

static md_status not_stepping(const md_seq *q, md_error *err)
{
    MD_FAIL_IF(q->session->stepping || q->walking, MD_ERR_ARGUMENT,
               "a step is under way in this session: finish or abandon it first");
    return MD_OK;
}

md_status md_seq_fork(const md_seq *q, md_seq **out, md_error *err)
{
    *out = NULL;
    MD_TRY(not_stepping(q, err));
    md_seq *fork;
    MD_TRY(seq_make(q->session, "a sequence", &fork, err));
    const md_status status = seq_copy(fork, q, err);
    if (status != MD_OK) {
        md_seq_free(fork);
        return status;
    }
    *out = fork;
    return MD_OK;
}

md_status md_seq_trim(md_seq *q, int32_t n, md_error *err)
{
    MD_TRY(not_stepping(q, err));
    MD_FAIL_IF(n < 0 || n > q->table.length, MD_ERR_ARGUMENT, "cannot trim a sequence of %d positions to %d",
               q->table.length, n);
    const int64_t state = q->session->model->spec.state_floats;
    MD_FAIL_IF(
        state > 0 && n != 0 && n != q->table.length, MD_ERR_UNSUPPORTED,
        "a model with recurrent layers keeps no earlier states: trim to 0 and go on from there, or restore a snapshot");
    if (state > 0 && n == 0)
        memset(q->state, 0, (size_t)state * sizeof *q->state);
    md_kv_table_trim(q->session->kv, &q->table, n);
    return MD_OK;
}

int32_t md_seq_length(const md_seq *q)
{
    return q->table.length;
}

void md_seq_free(md_seq *q)
{
    if (!q)
        return;
    md_session *s = q->session;
    if (q->walking)
        md_walk_abandon(q->walking);
    if (s->stepping && q->pending > 0)
        md_step_abandon(s);
    if (q->prev)
        q->prev->next = q->next;
    else
        s->first = q->next;
    if (q->next)
        q->next->prev = q->prev;
    s->n_seqs--;
    md_kv_table_done(s->kv, &q->table);
    md_free(q->mask);
    md_free(q->states);
    md_free(q);
}

md_session *md_seq_session(const md_seq *q)
{
    return q->session;
}

md_status md_seq_snapshot(const md_seq *q, md_snapshot **out, md_error *err)
{
    md_seq *frozen;
    const md_status status = md_seq_fork(q, &frozen, err);
    *out = (md_snapshot *)frozen;
    return status;
}

md_status md_seq_restore(md_seq *q, const md_snapshot *snap, md_error *err)
{
    MD_TRY(not_stepping(q, err));
    MD_FAIL_IF(snap->seq.session != q->session, MD_ERR_ARGUMENT, "the snapshot is another session's");
    return seq_copy(q, &snap->seq, err);
}

void md_snapshot_free(md_snapshot *snap)
{
    md_seq_free((md_seq *)snap);
}

md_status md_seq_mask_expert(md_seq *q, int32_t layer, int32_t expert, md_expert_state state, md_error *err)
{
    const md_spec *sp = &q->session->model->spec;
    MD_FAIL_IF(q->table.length > 0 || q->pending > 0, MD_ERR_ARGUMENT,
               "experts can be masked only while the sequence is empty");
    MD_FAIL_IF(layer < 0 || layer >= sp->n_layer, MD_ERR_ARGUMENT, "layer %d does not exist: there are 0 to %d", layer,
               sp->n_layer - 1);
    const md_router *r = &sp->layer[layer].ffn.router;
    MD_FAIL_IF(r->n_expert == 0, MD_ERR_ARGUMENT, "layer %d has no experts", layer);
    MD_FAIL_IF(expert < 0 || expert >= r->n_expert, MD_ERR_ARGUMENT, "layer %d has no expert %d: there are 0 to %d",
               layer, expert, r->n_expert - 1);
    MD_FAIL_IF((unsigned)state > MD_EXPERT_FORCED, MD_ERR_ARGUMENT, "expert state %d does not exist", (int)state);
    if (!q->mask) {
        q->mask = md_calloc(mask_bytes(q->session), 1);
        if (!q->mask)
            return md_fail_memory(err, "an expert mask");
    }
    uint8_t *mask = q->mask + (size_t)layer * (size_t)sp->max.expert;
    int32_t off = 0, forced = 0;
    for (int32_t e = 0; e < r->n_expert; e++) {
        const int now = e == expert ? (int)state : mask[e];
        off += now == MD_EXPERT_OFF;
        forced += now == MD_EXPERT_FORCED;
    }
    const int32_t least = r->select == MD_SELECT_THRESHOLD ? 1 : r->top_k; /* there K is what a token has at most */
    MD_FAIL_IF(r->n_expert - off < least, MD_ERR_ARGUMENT,
               "layer %d would be left with %d experts, fewer than its top-%d", layer, r->n_expert - off, least);
    MD_FAIL_IF(forced > r->top_k, MD_ERR_ARGUMENT, "layer %d would have %d forced experts, more than its top-%d", layer,
               forced, r->top_k);
    mask[expert] = (uint8_t)state;
    return MD_OK;
}

/* Does the context make some rope take its second set of factors? */
static bool has_long_rope(const md_session *s)
{
    for (int32_t i = 0; i < s->model->spec.n_rope; i++) {
        const md_rope_spec *r = &s->model->spec.rope[i];
        if (r->freq_long != r->freq && s->args.n_context > r->ctx_short)
            return true;
    }
    return false;
}

void md_seq_numerics_key(const md_seq *q, char *buf, size_t n)
{
    const md_session *s = q->session;
    char experts[32] = "all", top_k[16] = "none", overrides[40] = "", on_miss[40] = "";
    uint64_t h = MD_HASH_START;
    bool masked = false;
    for (size_t i = 0; q->mask && i < mask_bytes(s); i++) {
        h = (h ^ q->mask[i]) * 0x100000001b3ull;
        masked |= q->mask[i] != MD_EXPERT_NORMAL;
    }
    if (masked)
        snprintf(experts, sizeof experts, "mask-%016llx", (unsigned long long)h);
    if (s->model->spec.max.pick > 0)
        snprintf(top_k, sizeof top_k, "%d", s->model->spec.max.pick);
    if (s->model->overrides)
        snprintf(overrides, sizeof overrides, " overrides=%016llx", (unsigned long long)s->model->overrides);
    if (s->args.on_miss != MD_ON_MISS_READ)
        snprintf(on_miss, sizeof on_miss, " on-miss=%s:%g", s->args.on_miss == MD_ON_MISS_SKIP ? "skip" : "reroute",
                 (double)s->args.on_miss_share);
    snprintf(buf, n, "kv=%s experts=%s top-k=%s adapter=%s rope=%s ctx=model%s%s", md_kv_type_name(s->args.kv_type),
             experts, top_k, q->adapter ? "yes" : "none", has_long_rope(s) ? "long" : "model", overrides, on_miss);
}
