/* SPDX-License-Identifier: Apache-2.0
 *
 * Replays a trace against eviction policies, and against Belady's rule (1966): whoever is needed again last leaves, which no
 * policy can know and none can beat. Layers have slots of their own, so each is replayed by itself. All experts that the rows
 * of a step chose at a layer are needed at once: those that are there are hits, each of the others is one read, for which an
 * expert leaves that the step does not need here; where there is none, one that has had its turn. The store does the same. */
#include "run/trace.h"

#include "base/status.h"
#include "expert/policy.h"

#include <string.h>

#define NEVER UINT32_MAX

/* One layer's past. A stretch is what a step chose at the layer. */
typedef struct layer_log {
    uint16_t *choice; /* owned, [n]: row after row */
    size_t n, cap;
    size_t *end; /* owned, [n_stretches]: where a stretch's choices end */
    size_t n_stretches, end_cap;
    uint16_t *need; /* in the arena, [n_needs]: what the stretches need, each expert once a stretch */
    uint32_t *next; /* in the arena, [n_needs]: the stretch that needs it next */
    size_t n_needs;
    size_t *need_end; /* in the arena, [n_stretches] */
} layer_log;

typedef struct cache {
    int32_t *held, n;           /* [slots] experts that are there, and how many */
    bool *present;              /* [experts] */
    uint32_t *seen;             /* [experts] the stretch, counted from 1, that needed it last */
    uint32_t *next;             /* [experts] that needs it next */
    int32_t *candidate, *place; /* [slots] who may leave, and where it is held */
} cache;

typedef struct simulator {
    md_trace_simulation out; /* first: what callers see */
    md_arena arena;
    md_trace_info info;
    layer_log *log; /* in the arena, [n_layer] */
    cache cache;
    int32_t most;   /* experts of a layer */
    int32_t *slots; /* in the arena, [n_slots] */
    size_t n_slots;
    const char **policy; /* in the arena, [n_policies] static names, the optimum behind them */
    size_t n_policies;
} simulator;

static const char optimum[] = "optimum";

/* ---- loading ---- */

static bool grow(void **p, size_t *cap, size_t need, size_t size)
{
    if (need <= *cap)
        return true;
    const size_t n = need > *cap + *cap / 2 ? need : *cap + *cap / 2;
    void *more = md_realloc(*p, n, size);
    if (!more)
        return false;
    *p = more;
    *cap = n;
    return true;
}

static md_status add_routing(simulator *s, const md_trace_record *r, md_error *err)
{
    layer_log *g = &s->log[r->layer];
    const int32_t n_ffn = s->info.layer[r->layer].n_ffn;
    const size_t choices = (size_t)r->n_rows * (size_t)r->top_k, before = g->n;
    void *choice = g->choice, *end = g->end;
    const bool ok = grow(&choice, &g->cap, g->n + choices, sizeof *g->choice) &&
                    grow(&end, &g->end_cap, g->n_stretches + 1, sizeof *g->end);
    g->choice = choice;
    if (ok)
        g->end = end;
    if (!ok)
        return md_fail_memory(err, "a trace to replay");
    for (size_t i = 0; i < choices; i++)
        if (r->expert[i] >= 0 && r->expert[i] < n_ffn)
            g->choice[g->n++] = (uint16_t)r->expert[i];
    if (g->n == before)
        return MD_OK;
    MD_FAIL_IF(g->n_stretches == NEVER - 1, MD_ERR_LIMIT, "the trace has more steps than can be replayed");
    g->end[g->n_stretches++] = g->n;
    return MD_OK;
}

/* What each stretch needs, and when that is needed again: forward for the first, backward for the second. */
static md_status find_needs(simulator *s, layer_log *g, md_error *err)
{
    uint32_t *seen = s->cache.seen, *next = s->cache.next;
    g->need = md_arena_alloc(&s->arena, g->n, sizeof *g->need);
    g->next = md_arena_alloc(&s->arena, g->n, sizeof *g->next);
    g->need_end = md_arena_alloc(&s->arena, g->n_stretches, sizeof *g->need_end);
    if (!g->need || !g->next || !g->need_end)
        return md_fail_memory(err, "a trace to replay");
    memset(seen, 0, (size_t)s->most * sizeof *seen);
    for (size_t t = 0, i = 0; t < g->n_stretches; t++) {
        for (; i < g->end[t]; i++) {
            const uint16_t e = g->choice[i];
            if (seen[e] != t + 1)
                g->need[g->n_needs++] = e;
            seen[e] = (uint32_t)(t + 1);
        }
        g->need_end[t] = g->n_needs;
    }
    memset(next, 0xff, (size_t)s->most * sizeof *next);
    for (size_t t = g->n_stretches, i = g->n_needs; t-- > 0;)
        while (i > (t > 0 ? g->need_end[t - 1] : 0)) {
            i--;
            g->next[i] = next[g->need[i]];
            next[g->need[i]] = (uint32_t)t;
        }
    s->out.needs += g->n_needs;
    return MD_OK;
}

static md_status prepare(simulator *s, const md_trace_info *from, md_error *err)
{
    MD_TRY(md_trace_copy_info(from, &s->arena, &s->info, err));
    s->log = md_arena_alloc(&s->arena, (size_t)from->n_layer, sizeof *s->log);
    if (!s->log)
        return md_fail_memory(err, "a trace to replay");
    for (int32_t l = 0; l < from->n_layer; l++) {
        MD_TRY(md_trace_check_size(from, l, err));
        s->most = from->layer[l].n_ffn > s->most ? from->layer[l].n_ffn : s->most;
    }
    MD_FAIL_IF(s->most == 0, MD_ERR_ARGUMENT, "the trace is of a model without experts: there is nothing to replay");
    const size_t most = (size_t)s->most;
    cache *c = &s->cache;
    c->held = md_arena_alloc(&s->arena, most, sizeof *c->held);
    c->present = md_arena_alloc(&s->arena, most, sizeof *c->present);
    c->seen = md_arena_alloc(&s->arena, most, sizeof *c->seen);
    c->next = md_arena_alloc(&s->arena, most, sizeof *c->next);
    c->candidate = md_arena_alloc(&s->arena, most, sizeof *c->candidate);
    c->place = md_arena_alloc(&s->arena, most, sizeof *c->place);
    if (!c->held || !c->present || !c->seen || !c->next || !c->candidate || !c->place)
        return md_fail_memory(err, "a trace to replay");
    return MD_OK;
}

static md_status load(simulator *s, md_trace_reader *reader, md_error *err)
{
    const md_trace_record *r = NULL;
    md_status status = prepare(s, md_trace_reader_info(reader), err);
    while (status == MD_OK && (status = md_trace_reader_next(reader, &r, err)) == MD_OK && r) {
        s->out.steps += r->kind == MD_TRACE_STEP;
        if (r->kind == MD_TRACE_ROUTING)
            status = add_routing(s, r, err);
    }
    for (int32_t l = 0; l < s->info.n_layer && status == MD_OK; l++)
        status = find_needs(s, &s->log[l], err);
    return status;
}

/* ---- replaying ---- */

static int32_t least_soon(const cache *c, int32_t n)
{
    int32_t best = 0;
    for (int32_t i = 1; i < n; i++) {
        const uint32_t a = c->next[c->candidate[i]], b = c->next[c->candidate[best]];
        if (a > b || (a == b && c->candidate[i] < c->candidate[best]))
            best = i;
    }
    return best;
}

/* Takes the slot of an expert that may leave. */
static void replace(cache *c, md_policy *p, int32_t expert, uint32_t now)
{
    int32_t n = 0;
    for (int32_t i = 0; i < c->n; i++)
        if (c->seen[c->held[i]] != now) {
            c->candidate[n] = c->held[i];
            c->place[n++] = i;
        }
    for (int32_t i = 0; n == 0 && i < c->n; i++) {
        c->candidate[i] = c->held[i];
        c->place[i] = i;
    }
    n = n > 0 ? n : c->n;
    const int32_t victim = p ? md_policy_victim(p, 0, c->candidate, n) : least_soon(c, n);
    c->present[c->candidate[victim]] = false;
    c->held[c->place[victim]] = expert;
}

/* p NULL: Belady's rule. */
static uint64_t replay_layer(cache *c, md_policy *p, const layer_log *g, int32_t n_expert, int32_t slots)
{
    uint64_t hits = 0;
    size_t choice = 0, need = 0;
    c->n = 0;
    memset(c->present, 0, (size_t)n_expert * sizeof *c->present);
    memset(c->seen, 0, (size_t)n_expert * sizeof *c->seen);
    for (size_t t = 0; t < g->n_stretches; t++) {
        const uint32_t now = (uint32_t)(t + 1);
        const size_t first = need;
        for (; choice < g->end[t]; choice++)
            if (p)
                md_policy_use(p, 0, g->choice[choice], 1.0f);
        for (; need < g->need_end[t]; need++) {
            c->seen[g->need[need]] = now;
            c->next[g->need[need]] = g->next[need];
            hits += c->present[g->need[need]];
        }
        for (size_t i = first; i < need; i++) {
            if (c->present[g->need[i]])
                continue;
            if (c->n < slots)
                c->held[c->n++] = g->need[i];
            else
                replace(c, p, g->need[i], now);
            c->present[g->need[i]] = true;
        }
        if (p)
            md_policy_step(p);
    }
    return hits;
}

/* a + b * c, or as much as there can be: sizes come from the file. */
static uint64_t add_product(uint64_t a, uint64_t b, uint64_t c)
{
    if (c > 0 && b > UINT64_MAX / c)
        return UINT64_MAX;
    return b * c > UINT64_MAX - a ? UINT64_MAX : a + b * c;
}

static md_status replay(simulator *s, const char *name, int32_t slots, md_trace_replay *out, md_error *err)
{
    *out = (md_trace_replay){.policy = name, .slots = slots};
    for (int32_t l = 0; l < s->info.n_layer; l++) {
        const md_trace_layer *y = &s->info.layer[l];
        const int32_t room = slots < y->n_ffn ? slots : y->n_ffn;
        md_policy *p = NULL;
        if (y->n_ffn == 0)
            continue;
        if (name != optimum) {
            MD_TRY(md_policy_new(name, 1, &y->n_ffn, &p, err));
            md_policy_room(p, 0, room);
        }
        const uint64_t hits = replay_layer(&s->cache, p, &s->log[l], y->n_ffn, room);
        const uint64_t misses = s->log[l].n_needs - hits;
        md_policy_free(p);
        out->hits += hits;
        out->misses += misses;
        out->room = add_product(out->room, (uint64_t)room, y->expert_bytes);
        out->missed_bytes = add_product(out->missed_bytes, misses, y->expert_bytes);
    }
    if (s->out.needs > 0)
        out->hit_rate = (double)out->hits / (double)s->out.needs;
    return MD_OK;
}

static md_status replay_all(simulator *s, const md_trace_simulate_args *args, md_error *err)
{
    const size_t n = s->n_slots * (s->n_policies + 1);
    md_trace_replay *all = md_arena_alloc(&s->arena, n, sizeof *all);
    if (!all)
        return md_fail_memory(err, "replays of a trace");
    for (size_t i = 0; i < n; i++) {
        const size_t policy = i % (s->n_policies + 1);
        MD_TRY(replay(s, policy < s->n_policies ? s->policy[policy] : optimum, s->slots[i / (s->n_policies + 1)],
                      &all[i], err));
        if (args->progress && !args->progress(args->progress_user, i + 1, n))
            return md_fail(err, MD_ERR_CANCELLED, "the replay was stopped");
    }
    s->out.replay = all;
    s->out.n_replays = n;
    return MD_OK;
}

/* ---- what to replay ---- */

static md_status choose_policies(simulator *s, const md_trace_simulate_args *args, md_error *err)
{
    const char *const *known = md_policy_names();
    size_t n_known = 0;
    while (known[n_known])
        n_known++;
    const char *const *wanted = args->policy ? args->policy : known;
    s->n_policies = args->policy ? args->n_policies : n_known;
    s->policy = md_arena_alloc(&s->arena, s->n_policies, sizeof *s->policy);
    if (!s->policy)
        return md_fail_memory(err, "replays of a trace");
    for (size_t i = 0; i < s->n_policies; i++) {
        for (size_t k = 0; k < n_known; k++)
            if (strcmp(wanted[i], known[k]) == 0)
                s->policy[i] = known[k];
        MD_FAIL_IF(!s->policy[i], MD_ERR_ARGUMENT, "there is no eviction policy '%s'; there are medley, lfu and lru",
                   wanted[i]);
    }
    return MD_OK;
}

/* As many slots for each layer as fit into so many bytes. */
static md_status slots_in(const simulator *s, uint64_t memory, int32_t *out, md_error *err)
{
    uint64_t each = 0;
    for (int32_t l = 0; l < s->info.n_layer; l++)
        each = add_product(each, s->info.layer[l].n_ffn > 0, s->info.layer[l].expert_bytes);
    MD_FAIL_IF(each == 0, MD_ERR_ARGUMENT, "the trace does not say how large experts are: give slots, not memory");
    MD_FAIL_IF(memory < each, MD_ERR_ARGUMENT,
               "%llu bytes do not hold one expert of each layer, which takes %llu bytes", (unsigned long long)memory,
               (unsigned long long)each);
    const uint64_t n = memory / each;
    *out = n < (uint64_t)s->most ? (int32_t)n : s->most;
    return MD_OK;
}

static md_status choose_slots(simulator *s, const md_trace_simulate_args *args, md_error *err)
{
    s->slots = md_arena_alloc(&s->arena, args->n_slots + 3, sizeof *s->slots);
    if (!s->slots)
        return md_fail_memory(err, "replays of a trace");
    for (size_t i = 0; i < args->n_slots; i++) {
        MD_FAIL_IF(args->slots[i] < 1, MD_ERR_ARGUMENT, "a layer needs at least one slot, not %d", (int)args->slots[i]);
        s->slots[s->n_slots++] = args->slots[i] < s->most ? args->slots[i] : s->most;
    }
    if (args->memory > 0)
        MD_TRY(slots_in(s, args->memory, &s->slots[s->n_slots++], err));
    if (s->n_slots == 0)
        for (int32_t part = 8; part > 1; part /= 2)
            s->slots[s->n_slots++] = (s->most + part - 1) / part;
    return MD_OK;
}

/* ---- together ---- */

static void simulator_free(simulator *s)
{
    if (!s)
        return;
    for (int32_t l = 0; s->log && l < s->info.n_layer; l++) {
        md_free(s->log[l].choice);
        md_free(s->log[l].end);
    }
    md_arena_done(&s->arena);
    md_free(s);
}

md_status md_trace_simulate(const char *path, const md_trace_simulate_args *args, md_trace_simulation **out,
                            md_error *err)
{
    static const md_trace_simulate_args usual;
    md_trace_reader *reader;
    *out = NULL;
    MD_TRY(md_trace_reader_open(path, &reader, err));
    simulator *s = md_calloc(1, sizeof *s);
    md_status status = s ? load(s, reader, err) : md_fail_memory(err, "a trace to replay");
    md_trace_reader_close(reader);
    args = args ? args : &usual;
    if (status == MD_OK)
        status = choose_policies(s, args, err);
    if (status == MD_OK)
        status = choose_slots(s, args, err);
    if (status == MD_OK)
        status = replay_all(s, args, err);
    if (status != MD_OK) {
        simulator_free(s);
        return status;
    }
    *out = &s->out;
    return MD_OK;
}

void md_trace_simulation_free(md_trace_simulation *s)
{
    simulator_free((simulator *)s);
}

const char *const *md_trace_policies(void)
{
    return md_policy_names();
}
