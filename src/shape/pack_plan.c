/* SPDX-License-Identifier: Apache-2.0 */
#include "shape/pack_plan.h"

#include "base/status.h"
#include "model/stream.h"

#include <stdlib.h>
#include <string.h>

#define MEMBER_ALIGN 64u /* of a matrix in its row */

/* What tensors are ordered by: those of one group come together, where its first one was. */
typedef struct entry {
    size_t tensor, group;
    long layer, expert; /* of routed experts' matrices; expert -1: of all of them. Others: -1, -1 */
    int rank;           /* gate, up, down */
} entry;

static bool has(md_str s, const char *part)
{
    return memmem(s.s, s.n, part, strlen(part)) != NULL;
}

/* The number at s[at..), -1 if there is none that is sensible. */
static long number_at(md_str s, size_t at)
{
    long v = 0;
    const size_t first = at;
    for (; at < s.n && s.s[at] >= '0' && s.s[at] <= '9' && v < 1L << 24; at++)
        v = 10 * v + (s.s[at] - '0');
    return at > first && v < 1L << 24 ? v : -1;
}

/* blk.LAYER.ffn_WHAT_exps.weight, or blk.LAYER.ffn_WHAT.EXPERT.weight */
static entry entry_of(const md_gguf_tensor *t, size_t i, bool for_streaming)
{
    entry e = {.tensor = i, .group = i, .layer = -1, .expert = -1};
    if (!for_streaming || !md_stream_is(t) || t->n_dims > 3)
        return e;
    e.layer = number_at(t->name, sizeof "blk." - 1);
    e.rank = has(t->name, "ffn_down") ? 2 : has(t->name, "ffn_gate") ? 0 : 1;
    if (t->n_dims == 2) {
        const char *what = memmem(t->name.s, t->name.n, ".ffn_", 5);
        const char *dot = memchr(what + 5, '.', t->name.n - (size_t)(what + 5 - t->name.s));
        e.expert = dot ? number_at(t->name, (size_t)(dot + 1 - t->name.s)) : -1;
        if (e.expert < 0)
            e.layer = -1;
    }
    return e;
}

static int by_expert(const void *a, const void *b)
{
    const entry *x = a, *y = b;
    if (x->layer != y->layer)
        return x->layer < y->layer ? -1 : 1;
    if (x->expert != y->expert)
        return x->expert < y->expert ? -1 : 1;
    return (x->tensor > y->tensor) - (x->tensor < y->tensor);
}

static int by_group(const void *a, const void *b)
{
    const entry *x = a, *y = b;
    if (x->group != y->group)
        return x->group < y->group ? -1 : 1;
    if (x->rank != y->rank)
        return x->rank - y->rank;
    return (x->tensor > y->tensor) - (x->tensor < y->tensor);
}

/* Orders tensors as the new file has them. */
static void arrange(entry *e, size_t n)
{
    qsort(e, n, sizeof *e, by_expert);
    for (size_t i = 1; i < n; i++)
        if (e[i].layer >= 0 && e[i].layer == e[i - 1].layer && e[i].expert == e[i - 1].expert)
            e[i].group = e[i - 1].group;
    qsort(e, n, sizeof *e, by_group);
}

/* Entries from the first one on that become one tensor of bytes; 0: none. */
static size_t bundle_of(const md_gguf *g, const entry *e, size_t n)
{
    if (e->layer < 0 || e->expert >= 0)
        return 0;
    size_t k = 1;
    while (k < n && e[k].group == e->group)
        if (md_gguf_tensor_at(g, e[k++].tensor)->dim[2] != md_gguf_tensor_at(g, e->tensor)->dim[2])
            return 0;
    return k;
}

/* The layout of tensor i in the new file: what its use allows; one that nobody uses stays as it is. */
static md_layout layout_of(const md_model *m, size_t i)
{
    return m->packed.is                      ? (md_layout)m->packed.layout[i]
           : m->layout[i] == MD_LAYOUT_TILES ? MD_LAYOUT_TILES
                                             : MD_LAYOUT_ROWS;
}

static void add_member(md_pack_plan *p, md_pack_place *at, const md_model *m, size_t tensor)
{
    const md_layout layout = layout_of(m, tensor);
    md_pack_member *own = &p->member[p->n_members++];
    *own = (md_pack_member){.tensor = tensor,
                            .layout = layout,
                            .cut = md_weights_cut_of(md_gguf_tensor_at(m->file, tensor), layout, at->rows > 0),
                            .offset = at->row_bytes,
                            .first_piece = at->pieces};
    at->pieces += own->cut.n;
    at->row_pieces += own->cut.per_stretch;
    at->row_bytes = (at->row_bytes + own->cut.stretch + MEMBER_ALIGN - 1) / MEMBER_ALIGN * MEMBER_ALIGN;
    at->n++;
}

md_status md_pack_plan_init(md_pack_plan *p, const md_model *m, bool for_streaming, md_error *err)
{
    const md_gguf *g = m->file;
    const size_t n = md_gguf_n_tensors(g);
    *p = (md_pack_plan){0};
    p->member = md_arena_alloc(&p->arena, n, sizeof *p->member);
    p->place = md_arena_alloc(&p->arena, n, sizeof *p->place);
    entry *e = md_calloc(n, sizeof *e);
    if (!p->member || !p->place || !e) {
        md_free(e);
        return md_fail_memory(err, "the plan of a packed file");
    }
    for (size_t i = 0; i < n; i++)
        e[i] = entry_of(md_gguf_tensor_at(g, i), i, for_streaming);
    arrange(e, n);
    for (size_t i = 0; i < n;) {
        const size_t together = bundle_of(g, &e[i], n - i);
        md_pack_place *at = &p->place[p->n_places++];
        *at = (md_pack_place){.first = p->n_members};
        p->n_experts += e[i].expert >= 0 && e[i].group == e[i].tensor; /* that has tensors of its own */
        if (together > 0)
            at->rows = md_gguf_tensor_at(g, e[i].tensor)->dim[2];
        for (size_t end = i + (together ? together : 1); i < end; i++)
            add_member(p, at, m, e[i].tensor);
        if (together > 0)
            at->row_bytes = (at->row_bytes + MD_PACKED_ALIGN - 1) / MD_PACKED_ALIGN * MD_PACKED_ALIGN;
        p->n_bundles += together > 0;
        p->n_experts += (uint64_t)at->rows;
    }
    md_free(e);
    MD_FAIL_IF(for_streaming && p->n_experts == 0, MD_ERR_ARGUMENT,
               "this model has no routed experts, which is what streaming is for: pack it as any other");
    return MD_OK;
}

void md_pack_plan_done(md_pack_plan *p)
{
    md_arena_done(&p->arena);
}

md_pack_piece md_pack_piece_of(const md_pack_plan *p, const md_pack_place *place, size_t i)
{
    const size_t row = i / place->row_pieces;
    const md_pack_member *m = &p->member[place->first], *end = m + place->n;
    for (i %= place->row_pieces; i >= m->cut.per_stretch; m++)
        i -= m->cut.per_stretch;
    md_pack_piece out = {.member = m, .index = row * m->cut.per_stretch + i};
    out.at = md_weights_piece_at(&m->cut, out.index, &out.bytes);
    if (place->rows > 0 && i + 1 == m->cut.per_stretch)
        out.pad = (m + 1 < end ? m[1].offset : place->row_bytes) - (m->offset + m->cut.stretch);
    return out;
}
