/* SPDX-License-Identifier: Apache-2.0
 *
 * Traces as JSON. Every function gives NULL when memory is out. */
#include "cli/trace.h"

#include <inttypes.h>
#include <string.h>

/* Appends item to list, both of which it takes; gives the list, or NULL. */
static json_t *append(json_t *list, json_t *item)
{
    if (list && json_array_append_new(list, item) == 0)
        return list;
    json_decref(list);
    return NULL;
}

/* Puts the keys of `more` into o, both of which it takes. */
static json_t *join(json_t *o, json_t *more)
{
    if (o && json_object_update_new(o, more) == 0)
        return o;
    json_decref(o);
    return NULL;
}

/* ---- summary ---- */

static json_t *load_json(const md_trace_load *load)
{
    json_t *o = json_pack("{s:I, s:I, s:i, s:f, s:f, s:f, s:f}", "rows", (json_int_t)load->rows, "choices",
                          (json_int_t)load->choices, "used", (int)load->used, "max_over_mean", load->max_over_mean,
                          "variation", load->variation, "entropy", load->entropy, "repeated", load->repeated);
    if (load->divergence >= 0.0)
        o = join(o, json_pack("{s:f}", "divergence", load->divergence));
    if (load->hits + load->misses > 0)
        o = join(o,
                 json_pack("{s:I, s:I, s:I, s:f}", "hits", (json_int_t)load->hits, "misses", (json_int_t)load->misses,
                           "bytes_read", (json_int_t)load->bytes, "wait_seconds", (double)load->wait_ns * 1e-9));
    return o;
}

static json_t *layer_json(const md_trace_summary *s, int32_t l)
{
    const md_trace_layer *y = &s->info.layer[l];
    json_t *count = json_array();
    for (int32_t e = 0; count && e < y->n_expert; e++)
        count = append(count, json_integer((json_int_t)s->layer[l].count[e]));
    json_t *o = json_pack("{s:i, s:i, s:i, s:I, s:i, s:o}", "layer", (int)l, "experts", (int)y->n_expert, "top_k",
                          (int)y->top_k, "expert_bytes", (json_int_t)y->expert_bytes, "busiest",
                          (int)s->layer[l].busiest, "count", count);
    return join(o, load_json(&s->layer[l]));
}

json_t *md_cli_trace_json_summary(const md_trace_summary *s)
{
    char identity[17];
    snprintf(identity, sizeof identity, "%016" PRIx64, s->info.identity);
    json_t *layers = json_array();
    for (int32_t l = 0; layers && l < s->info.n_layer; l++)
        if (s->info.layer[l].n_expert > 0)
            layers = append(layers, layer_json(s, l));
    return json_pack("{s:o, s:s, s:I, s:I, s:I, s:f, s:o, s:o}", "model",
                     md_cli_json_text(s->info.model, strlen(s->info.model)), "identity", identity, "steps",
                     (json_int_t)s->steps, "rows", (json_int_t)s->rows, "timed_steps", (json_int_t)s->timed_steps,
                     "seconds", (double)s->ns * 1e-9, "total", load_json(&s->total), "layers", layers);
}

/* ---- affinity ---- */

static json_t *guess_json(const md_trace_guess *g)
{
    json_t *o = json_pack("{s:I, s:f, s:f, s:f}", "choices", (json_int_t)g->choices, "by_affinity", g->by_affinity,
                          "by_popularity", g->by_popularity, "by_last_token", g->by_last_token);
    return g->layer < 0 ? o
                        : join(o, json_pack("{s:i, s:i}", "layer", (int)g->layer, "next_layer", (int)g->next_layer));
}

json_t *md_cli_trace_json_affinity(const md_trace_affinity *a)
{
    json_t *pairs = json_array(), *guesses = json_array();
    for (size_t i = 0; pairs && i < a->n_pairs; i++) {
        const md_trace_pair *p = &a->pair[i];
        pairs = append(pairs,
                       json_pack("{s:i, s:i, s:i, s:i, s:I, s:f, s:f}", "layer", (int)p->layer, "expert",
                                 (int)p->expert, "next_layer", (int)p->next_layer, "next_expert", (int)p->next_expert,
                                 "rows", (json_int_t)p->count, "probability", p->probability, "lift", p->lift));
    }
    for (size_t i = 0; guesses && i < a->n_guesses; i++)
        guesses = append(guesses, guess_json(&a->guess[i]));
    return json_pack("{s:o, s:o, s:o}", "pairs", pairs, "guessed", guesses, "total", guess_json(&a->total));
}

/* ---- simulate ---- */

json_t *md_cli_trace_json_simulation(const md_trace_simulation *s)
{
    json_t *replays = json_array();
    for (size_t i = 0; replays && i < s->n_replays; i++) {
        const md_trace_replay *r = &s->replay[i];
        replays = append(replays, json_pack("{s:i, s:I, s:s, s:f, s:I, s:I, s:I}", "slots", (int)r->slots, "room_bytes",
                                            (json_int_t)r->room, "policy", r->policy, "hit_rate", r->hit_rate, "hits",
                                            (json_int_t)r->hits, "misses", (json_int_t)r->misses, "missed_bytes",
                                            (json_int_t)r->missed_bytes));
    }
    return json_pack("{s:I, s:I, s:o}", "steps", (json_int_t)s->steps, "needs", (json_int_t)s->needs, "replays",
                     replays);
}
