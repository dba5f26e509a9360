/* SPDX-License-Identifier: Apache-2.0
 *
 * The order of work within one step keeps frames canonical. First, places reached without entering a rule are followed,
 * through the ends of rules too. Then rules that were called are entered by rank: no rule calls one of lower rank before
 * reading, so when a rule's turn comes, all its callers at this point are known and its frame is complete. The end of a
 * rule met in this second part means that it read nothing; that was anticipated where it was called (Aycock and Horspool
 * 2002), so nothing is done. A call in last position hands on its caller's frame, so that right recursion needs no
 * depth. */
#include "text/grammar_match.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

#define STATES      4096u
#define ITEMS       (1u << 18)
#define FRAMES      (1u << 16)
#define EDGES       (1u << 17)
#define STATE_SLOTS (2 * STATES)
#define FRAME_SLOTS (2 * FRAMES)
#define LIVE        MD_GRAMMAR_LIVE_MAX
#define VISITS      (4 * LIVE)   /* places looked at in one step, those that read nothing included */
#define VISIT_SLOTS (2 * VISITS) /* a power of two */
#define ROOT_FRAME  0u
#define HANDED_ON   8u /* a call in last position hands on its frame if that has no more edges: copies cost */

/* ---- one step's working memory ---- */

typedef struct visit {
    md_gitem item;
    uint32_t stamp;
} visit;

typedef struct pending_edge {
    md_gitem edge;
    uint32_t next; /* of the same rule; 0: last */
} pending_edge;

struct md_gscratch {
    md_gitem stack[VISITS]; /* to be followed */
    md_gitem kept[LIVE];    /* places of the state that is being made */
    visit seen[VISIT_SLOTS];
    pending_edge pending[VISITS + 1]; /* from 1 */
    md_gitem sorted[VISITS];          /* edges of one frame */
    uint32_t *calls;                  /* owned, [n_rules] first pending edge of a rule; 0: not called */
    uint32_t *heap;                   /* owned, [n_rules] called rules, lowest rank first */
    size_t n_stack, n_kept, n_seen, n_pending, n_heap;
    uint32_t keep_frame[FRAMES]; /* while collecting: 0, or the new number + 1 */
    uint16_t keep_state[STATES]; /* 0, or the new number */
    uint32_t stamp;
    bool accepting, full;
};
typedef struct md_gscratch scratch;

static uint32_t mix(uint32_t h, uint32_t v)
{
    h = (h ^ v) * 0x9e3779b1u;
    return h ^ h >> 15;
}

static uint32_t hash_items(const md_gitem *item, size_t n, uint32_t h)
{
    for (size_t i = 0; i < n; i++)
        h = mix(mix(h, item[i].node), item[i].frame);
    return mix(h, (uint32_t)n);
}

static int by_item(const void *pa, const void *pb)
{
    const md_gitem *a = pa, *b = pb;
    return a->node != b->node ? (a->node > b->node) - (a->node < b->node)
                              : (a->frame > b->frame) - (a->frame < b->frame);
}

static size_t sort_items(md_gitem *item, size_t n)
{
    if (n < 2)
        return n;
    qsort(item, n, sizeof *item, by_item);
    size_t kept = 1;
    for (size_t i = 1; i < n; i++)
        if (by_item(&item[i], &item[kept - 1]) != 0)
            item[kept++] = item[i];
    return kept;
}

/* ---- tables ---- */

static uint32_t find_frame(const md_gmatch *m, const md_gitem *edge, size_t n, uint32_t hash, size_t *slot)
{
    for (size_t i = hash & (FRAME_SLOTS - 1);; i = (i + 1) & (FRAME_SLOTS - 1)) {
        const uint32_t f = m->frame_slot[i];
        if (f == 0) {
            *slot = i;
            return 0;
        }
        const md_gframe *known = &m->frame[f - 1];
        if (known->hash == hash && known->n == n && memcmp(&m->edge[known->first], edge, n * sizeof *edge) == 0)
            return f;
    }
}

/* The frame with these edges; they are sorted here. False, and nothing made, if it would be too deep. */
static bool frame_of(md_gmatch *m, md_gitem *edge, size_t n, uint32_t *out)
{
    n = sort_items(edge, n);
    const uint32_t hash = hash_items(edge, n, 1);
    size_t slot = 0;
    const uint32_t known = find_frame(m, edge, n, hash, &slot);
    if (known) {
        *out = known - 1;
        return true;
    }
    uint32_t depth = 0;
    for (size_t i = 0; i < n; i++)
        if (m->frame[edge[i].frame].depth > depth)
            depth = m->frame[edge[i].frame].depth;
    if (depth >= MD_GRAMMAR_DEPTH_MAX) {
        m->limited = true;
        return false;
    }
    memcpy(&m->edge[m->n_edges], edge, n * sizeof *edge);
    *out = (uint32_t)m->n_frames;
    m->frame[m->n_frames++] = (md_gframe){
        .first = (uint32_t)m->n_edges, .n = (uint32_t)n, .depth = depth + 1, .hash = hash};
    m->n_edges += n;
    m->frame_slot[slot] = *out + 1;
    return true;
}

static uint16_t state_of(md_gmatch *m, md_gitem *item, size_t n, uint32_t partial, bool accepting)
{
    if (n == 0 && !accepting)
        return MD_GSTATE_DEAD;
    n = sort_items(item, n);
    const uint32_t hash = hash_items(item, n, mix(partial, accepting));
    size_t i = hash & (STATE_SLOTS - 1);
    for (; m->state_slot[i]; i = (i + 1) & (STATE_SLOTS - 1)) {
        const md_gstate *s = &m->state[m->state_slot[i]];
        if (s->hash == hash && s->n == n && s->partial == partial && s->accepting == accepting &&
            memcmp(&m->item[s->first], item, n * sizeof *item) == 0)
            return (uint16_t)m->state_slot[i];
    }
    const uint16_t out = (uint16_t)m->n_states++;
    memcpy(&m->item[m->n_items], item, n * sizeof *item);
    m->state[out] = (md_gstate){
        .first = (uint32_t)m->n_items, .n = (uint32_t)n, .partial = partial, .hash = hash, .accepting = accepting};
    m->n_items += n;
    memset(m->to[out], 0, sizeof m->to[out]);
    m->state_slot[i] = out;
    return out;
}

/* ---- collecting ---- */

static void empty_tables(md_gmatch *m)
{
    memset(m->state_slot, 0, STATE_SLOTS * sizeof *m->state_slot);
    memset(m->frame_slot, 0, FRAME_SLOTS * sizeof *m->frame_slot);
    m->n_states = 2; /* NEW and DEAD */
    m->n_items = m->n_frames = m->n_edges = 0;
}

/* Keeps frames marked in `keep`, which becomes their new number; parents come first, so their numbers are known. Frames
 * only move down, so nothing is overwritten that is still needed. */
static void compact_frames(md_gmatch *m, size_t n_frames, uint32_t *keep)
{
    for (size_t f = 0; f < n_frames; f++) {
        if (!keep[f])
            continue;
        const md_gframe old = m->frame[f];
        md_gitem *edge = &m->edge[m->n_edges];
        memmove(edge, &m->edge[old.first], old.n * sizeof *edge);
        for (uint32_t i = 0; i < old.n; i++)
            edge[i].frame = keep[edge[i].frame] - 1; /* order is kept: numbers only close up */
        size_t slot = 0;
        const uint32_t hash = hash_items(edge, old.n, 1);
        (void)find_frame(m, edge, old.n, hash, &slot);
        keep[f] = (uint32_t)m->n_frames + 1;
        m->frame[m->n_frames] = (md_gframe){
            .first = (uint32_t)m->n_edges, .n = old.n, .depth = old.depth, .hash = hash};
        m->frame_slot[slot] = (uint32_t)++m->n_frames;
        m->n_edges += old.n;
    }
}

/* The same for states, with `keep` as new numbers of states and `frame` as compact_frames left it. */
static void compact_states(md_gmatch *m, size_t n_states, uint16_t *keep, const uint32_t *frame)
{
    for (size_t s = 2; s < n_states; s++) {
        if (!keep[s])
            continue;
        const md_gstate old = m->state[s];
        md_gitem *item = &m->item[old.first];
        for (uint32_t i = 0; i < old.n; i++)
            item[i].frame = frame[item[i].frame] - 1;
        memmove(&m->item[m->n_items], item, old.n * sizeof *item);
        const uint32_t hash = hash_items(&m->item[m->n_items], old.n, mix(old.partial, old.accepting));
        size_t slot = hash & (STATE_SLOTS - 1);
        while (m->state_slot[slot])
            slot = (slot + 1) & (STATE_SLOTS - 1);
        keep[s] = (uint16_t)m->n_states++;
        m->state[keep[s]] = old;
        m->state[keep[s]].first = (uint32_t)m->n_items;
        m->state[keep[s]].hash = hash;
        m->n_items += old.n;
        memset(m->to[keep[s]], 0, sizeof m->to[0]);
        m->state_slot[slot] = keep[s];
    }
}

/* Keeps the states path[0..n_roots) and what they need; every number changes. */
static void collect(md_gmatch *m, size_t n_roots)
{
    scratch *w = m->scratch;
    const size_t n_frames = m->n_frames, n_states = m->n_states;
    memset(w->keep_frame, 0, sizeof w->keep_frame);
    memset(w->keep_state, 0, sizeof w->keep_state);
    w->keep_frame[ROOT_FRAME] = 1;
    for (size_t r = 0; r < n_roots; r++) {
        const md_gstate *s = &m->state[m->path[r]];
        w->keep_state[m->path[r]] = 1;
        for (uint32_t i = 0; i < s->n; i++)
            w->keep_frame[m->item[s->first + i].frame] = 1;
    }
    for (size_t f = n_frames; f-- > 0;)
        for (uint32_t i = 0; w->keep_frame[f] && i < m->frame[f].n; i++)
            w->keep_frame[m->edge[m->frame[f].first + i].frame] = 1;
    empty_tables(m);
    compact_frames(m, n_frames, w->keep_frame);
    compact_states(m, n_states, w->keep_state, w->keep_frame);
    for (size_t r = 0; r < n_roots; r++)
        if (m->path[r] != MD_GSTATE_DEAD)
            m->path[r] = w->keep_state[m->path[r]];
    m->epoch++;
}

/* Room for one step, if need be by collecting all but path[0..n_roots). */
static bool make_room(md_gmatch *m, size_t n_roots)
{
    for (int round = 0; round < 2; round++) {
        if (m->n_states + 1 < STATES && m->n_items + 2 * LIVE <= ITEMS && m->n_frames + VISITS <= FRAMES &&
            m->n_edges + VISITS <= EDGES)
            return true;
        if (round == 0)
            collect(m, n_roots);
    }
    return false;
}

/* ---- following what reads nothing ---- */

static void begin(scratch *w)
{
    w->n_stack = w->n_kept = w->n_seen = w->n_pending = w->n_heap = 0;
    w->accepting = w->full = false;
    if (++w->stamp == 0) { /* stamps start over: forget the old ones */
        memset(w->seen, 0, sizeof w->seen);
        w->stamp = 1;
    }
}

/* Notes a place to be followed, once. */
static void push(scratch *w, uint32_t node, uint32_t frame)
{
    const uint32_t stamp = w->stamp;
    size_t i = mix(mix(7, node), frame) & (VISIT_SLOTS - 1);
    for (; w->seen[i].stamp == stamp; i = (i + 1) & (VISIT_SLOTS - 1))
        if (w->seen[i].item.node == node && w->seen[i].item.frame == frame)
            return;
    if (w->n_seen == VISITS) {
        w->full = true;
        return;
    }
    w->n_seen++;
    const md_gitem item = {.node = node, .frame = frame};
    w->seen[i] = (visit){.item = item, .stamp = stamp};
    w->stack[w->n_stack++] = item;
}

static void keep(scratch *w, md_gitem item)
{
    if (w->n_kept == LIVE)
        w->full = true;
    else
        w->kept[w->n_kept++] = item;
}

static void heap_push(md_gmatch *m, uint32_t rule)
{
    scratch *w = m->scratch;
    size_t i = w->n_heap++;
    for (; i > 0 && m->g->rule[w->heap[(i - 1) / 2]].rank > m->g->rule[rule].rank; i = (i - 1) / 2)
        w->heap[i] = w->heap[(i - 1) / 2];
    w->heap[i] = rule;
}

static uint32_t heap_pop(md_gmatch *m)
{
    scratch *w = m->scratch;
    const md_grule *rule = m->g->rule;
    const uint32_t out = w->heap[0], moved = w->heap[--w->n_heap];
    size_t i = 0;
    for (size_t c = 1; c < w->n_heap; c = 2 * i + 1) {
        if (c + 1 < w->n_heap && rule[w->heap[c + 1]].rank < rule[w->heap[c]].rank)
            c++;
        if (rule[w->heap[c]].rank >= rule[moved].rank)
            break;
        w->heap[i] = w->heap[c];
        i = c;
    }
    w->heap[i] = moved;
    return out;
}

static void add_edge(md_gmatch *m, uint32_t rule, md_gitem edge)
{
    scratch *w = m->scratch;
    if (w->n_pending == VISITS) {
        w->full = true;
        return;
    }
    if (w->calls[rule] == 0)
        heap_push(m, rule);
    w->pending[++w->n_pending] = (pending_edge){.edge = edge, .next = w->calls[rule]};
    w->calls[rule] = (uint32_t)w->n_pending;
}

static void call(md_gmatch *m, const md_gnode *n, uint32_t frame)
{
    const md_gframe *f = &m->frame[frame];
    if (m->g->node[n->next].kind == MD_G_RETURN && f->n <= HANDED_ON)
        for (uint32_t i = 0; i < f->n; i++)
            add_edge(m, n->arg, m->edge[f->first + i]);
    else
        add_edge(m, n->arg, (md_gitem){.node = n->next, .frame = frame});
    if (m->g->rule[n->arg].nullable)
        push(m->scratch, n->next, frame);
}

static void follow(md_gmatch *m, bool entered)
{
    scratch *w = m->scratch;
    while (w->n_stack > 0 && !w->full) {
        const md_gitem item = w->stack[--w->n_stack];
        const md_gnode *n = &m->g->node[item.node];
        const md_gframe *f = &m->frame[item.frame];
        switch ((md_gkind)n->kind) {
        case MD_G_ACCEPT: w->accepting = true; break;
        case MD_G_SPLIT:
            push(w, n->arg, item.frame);
            push(w, n->next, item.frame);
            break;
        case MD_G_RETURN:
            for (uint32_t i = 0; !entered && i < f->n; i++)
                push(w, m->edge[f->first + i].node, m->edge[f->first + i].frame);
            break;
        case MD_G_CALL: call(m, n, item.frame); break;
        default: keep(w, item); break;
        }
    }
}

/* The state of everything that can be reached from what was pushed. */
static uint16_t close_state(md_gmatch *m)
{
    scratch *w = m->scratch;
    follow(m, false);
    while (w->n_heap > 0) {
        const uint32_t rule = heap_pop(m);
        size_t n = 0;
        for (uint32_t e = w->calls[rule]; e; e = w->pending[e].next)
            w->sorted[n++] = w->pending[e].edge;
        w->calls[rule] = 0;
        uint32_t frame;
        if (w->full || !frame_of(m, w->sorted, n, &frame))
            continue;
        push(w, m->g->rule[rule].start, frame);
        follow(m, true);
    }
    if (w->full) {
        m->limited = true;
        return MD_GSTATE_DEAD;
    }
    return state_of(m, w->kept, w->n_kept, 0, w->accepting);
}

/* ---- characters ---- */

/* A character of which some bytes are missing: how many (1 to 3), the bits so far, and whether every way to complete it
 * is all right, in which case the bits do not matter and are 0. Nothing else of it is part of a state's identity. */
typedef struct partial {
    uint32_t missing, bits;
    bool any;
} partial;

static uint32_t pack(partial p)
{
    return p.missing << 22 | (uint32_t)p.any << 21 | p.bits;
}

static partial unpack(uint32_t v)
{
    return (partial){.missing = v >> 22, .any = v >> 21 & 1, .bits = v & 0x1fffff};
}

static bool lead(uint8_t byte, partial *p)
{
    *p = (partial){0};
    if (byte < 0x80)
        p->bits = byte;
    else if (byte >= 0xc2 && byte < 0xe0)
        *p = (partial){.missing = 1, .bits = byte & 0x1fu};
    else if (byte >= 0xe0 && byte < 0xf0)
        *p = (partial){.missing = 2, .bits = byte & 0x0fu};
    else if (byte >= 0xf0 && byte < 0xf5)
        *p = (partial){.missing = 3, .bits = byte & 0x07u};
    else
        return false;
    return true;
}

/* The characters that p can become, without overlong forms (which only the first bits tell), surrogates and what lies
 * beyond U+10FFFF. */
static md_grange reach_of(partial p)
{
    const unsigned shift = 6 * p.missing;
    md_grange r = {.lo = p.bits << shift, .hi = (p.bits << shift) | ((1u << shift) - 1)};
    if (p.missing == 2 && r.lo < 0x800)
        r.lo = 0x800;
    if (p.missing == 3 && r.lo < 0x10000)
        r.lo = 0x10000;
    if (r.lo == 0xd000 && p.missing == 2)
        r.hi = 0xd7ff;
    if (r.hi > 0x10ffff)
        r.hi = 0x10ffff;
    return r;
}

/* p after one more byte; false if no character goes on so. */
static bool go_on(partial *p, uint8_t byte)
{
    if ((byte & 0xc0) != 0x80)
        return false;
    const md_grange before = reach_of(*p);
    p->missing--;
    if (p->any)
        return true;
    p->bits = p->bits << 6 | (byte & 0x3fu);
    const uint32_t lo = p->bits << (6 * p->missing), hi = lo | ((1u << (6 * p->missing)) - 1);
    return hi >= before.lo && lo <= before.hi;
}

static md_gcover cover(const md_grammar *g, const md_gnode *n, md_grange r)
{
    if (n->kind == MD_G_CLASS)
        return md_gclass_cover(g, n->arg, r.lo, r.hi);
    if (n->kind != MD_G_CHAR || n->arg < r.lo || n->arg > r.hi)
        return MD_G_NONE;
    return r.lo == r.hi ? MD_G_ALL : MD_G_SOME;
}

static uint16_t inside_character(md_gmatch *m, const md_gstate *s, partial p, bool mid)
{
    scratch *w = m->scratch;
    const md_grange r = reach_of(p);
    bool all = r.hi - r.lo + 1 == 1u << (6 * p.missing);
    for (uint32_t i = 0; i < s->n; i++) {
        const md_gitem item = m->item[s->first + i];
        if (((item.node & MD_G_MID) != 0) != mid)
            continue;
        const md_gcover c = p.any ? MD_G_ALL : cover(m->g, &m->g->node[item.node & ~MD_G_MID], r);
        all &= c != MD_G_SOME;
        if (c != MD_G_NONE)
            keep(w, (md_gitem){.node = item.node | MD_G_MID, .frame = item.frame});
    }
    if (all || p.any)
        p = (partial){.missing = p.missing, .any = true};
    return state_of(m, w->kept, w->n_kept, pack(p), false);
}

static uint16_t after_character(md_gmatch *m, const md_gstate *s, partial p, bool mid)
{
    scratch *w = m->scratch;
    const md_grange r = {.lo = p.bits, .hi = p.bits};
    for (uint32_t i = 0; i < s->n; i++) {
        const md_gitem item = m->item[s->first + i];
        const md_gnode *n = &m->g->node[item.node & ~MD_G_MID];
        if (((item.node & MD_G_MID) != 0) == mid && (p.any || cover(m->g, n, r) == MD_G_ALL))
            push(w, n->next, item.frame);
    }
    return close_state(m);
}

static uint16_t after_byte(md_gmatch *m, const md_gstate *s, uint8_t byte)
{
    const bool mid = s->partial != 0 && (byte & 0xc0) == 0x80;
    partial p = unpack(s->partial);
    if (mid ? !go_on(&p, byte) : !lead(byte, &p))
        return MD_GSTATE_DEAD;
    begin(m->scratch);
    return p.missing ? inside_character(m, s, p, mid) : after_character(m, s, p, mid);
}

/* ---- the steps ---- */

void md_gmatch_byte(md_gmatch *m, size_t from, size_t to, uint8_t byte)
{
    uint16_t next = m->to[m->path[from]][byte];
    if (m->path[from] == MD_GSTATE_DEAD) {
        next = MD_GSTATE_DEAD;
    } else if (next == MD_GSTATE_NEW) {
        if (make_room(m, to)) {
            const md_gstate s = m->state[m->path[from]];
            next = after_byte(m, &s, byte);
        } else {
            m->limited = true;
            next = MD_GSTATE_DEAD;
        }
        m->to[m->path[from]][byte] = next;
    }
    m->path[to] = next;
}

void md_gmatch_token(md_gmatch *m, size_t from, size_t to, uint32_t token, bool free)
{
    m->path[to] = MD_GSTATE_DEAD;
    if (m->path[from] == MD_GSTATE_DEAD)
        return;
    if (!make_room(m, to)) {
        m->limited = true;
        return;
    }
    const md_gstate s = m->state[m->path[from]];
    begin(m->scratch);
    for (uint32_t i = 0; i < s.n; i++) {
        const md_gitem item = m->item[s.first + i];
        const md_gnode *n = &m->g->node[item.node & ~MD_G_MID];
        if ((n->kind == MD_G_TOKEN && n->arg == token) || (n->kind == MD_G_TOKEN_NOT && n->arg != token && free))
            push(m->scratch, n->next, item.frame);
    }
    if (m->scratch->n_stack > 0)
        m->path[to] = close_state(m);
}

void md_gmatch_join(md_gmatch *m, size_t to)
{
    const uint16_t a = m->path[to - 1], b = m->path[to - 2];
    if (a == b || a == MD_GSTATE_DEAD || b == MD_GSTATE_DEAD) {
        m->path[to] = a == MD_GSTATE_DEAD ? b : a;
        return;
    }
    m->path[to] = MD_GSTATE_DEAD;
    if (!make_room(m, to)) {
        m->limited = true;
        return;
    }
    const md_gstate s[2] = {m->state[m->path[to - 1]], m->state[m->path[to - 2]]};
    scratch *w = m->scratch;
    begin(w);
    for (int k = 0; k < 2; k++)
        for (uint32_t i = 0; i < s[k].n; i++)
            keep(w, m->item[s[k].first + i]);
    m->limited |= w->full;
    if (!w->full) /* at most one of the two is inside a character: tokens that are asked for end where characters do */
        m->path[to] = state_of(m, w->kept, w->n_kept, s[0].partial | s[1].partial, s[0].accepting || s[1].accepting);
}

void md_gmatch_start(md_gmatch *m)
{
    scratch *w = m->scratch;
    empty_tables(m);
    m->epoch++;
    m->limited = false;
    /* The frame below all others goes on at node 0, which accepts, and has itself for a parent. */
    m->edge[m->n_edges++] = (md_gitem){.node = 0, .frame = ROOT_FRAME};
    m->frame[m->n_frames++] = (md_gframe){.n = 1, .hash = hash_items(m->edge, 1, 1)};
    m->frame_slot[m->frame[ROOT_FRAME].hash & (FRAME_SLOTS - 1)] = ROOT_FRAME + 1;
    begin(w);
    if (m->g->rule[m->g->root].nullable)
        w->accepting = true;
    add_edge(m, m->g->root, m->edge[0]);
    m->path[0] = close_state(m);
}

bool md_gmatch_init(md_gmatch *m, const md_grammar *g, size_t n_path)
{
    *m = (md_gmatch){.g = g, .n_path = n_path + 4};
    m->state = md_calloc(STATES, sizeof *m->state);
    m->to = md_calloc(STATES, sizeof *m->to);
    m->item = md_calloc(ITEMS, sizeof *m->item);
    m->frame = md_calloc(FRAMES, sizeof *m->frame);
    m->edge = md_calloc(EDGES, sizeof *m->edge);
    m->state_slot = md_calloc(STATE_SLOTS, sizeof *m->state_slot);
    m->frame_slot = md_calloc(FRAME_SLOTS, sizeof *m->frame_slot);
    m->path = md_calloc(m->n_path, sizeof *m->path);
    m->scratch = md_calloc(1, sizeof *m->scratch);
    if (m->scratch) {
        m->scratch->calls = md_calloc(g->n_rules, sizeof *m->scratch->calls);
        m->scratch->heap = md_calloc(g->n_rules, sizeof *m->scratch->heap);
    }
    if (m->state && m->to && m->item && m->frame && m->edge && m->state_slot && m->frame_slot && m->path &&
        m->scratch && m->scratch->calls && m->scratch->heap)
        return true;
    md_gmatch_done(m);
    return false;
}

void md_gmatch_done(md_gmatch *m)
{
    if (m->scratch) {
        md_free(m->scratch->calls);
        md_free(m->scratch->heap);
    }
    md_free(m->scratch);
    md_free(m->state);
    md_free(m->to);
    md_free(m->item);
    md_free(m->frame);
    md_free(m->edge);
    md_free(m->state_slot);
    md_free(m->frame_slot);
    md_free(m->path);
    *m = (md_gmatch){0};
}
