/* SPDX-License-Identifier: Apache-2.0
 *
 * Traces as tables for people. */
#include "cli/trace.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

/* ---- summary ---- */

static void show_head(md_cli *cli, const md_trace_summary *s)
{
    int32_t layers = 0;
    md_buf name = {0};
    for (int32_t l = 0; l < s->info.n_layer; l++)
        layers += s->info.layer[l].n_expert > 0;
    md_cli_clean(&name, s->info.model, strlen(s->info.model));
    md_cli_printf(cli, "%s (%016" PRIx64 "), %d of %d layers have experts\n",
                  name.len > 0 && !name.failed ? name.data : "no name", s->info.identity, (int)layers,
                  (int)s->info.n_layer);
    md_buf_done(&name);
    md_cli_printf(cli, "%" PRIu64 " steps, %" PRIu64 " rows", s->steps, s->rows);
    if (s->timed_steps > 0)
        md_cli_printf(cli, ", %.3f ms a step", (double)s->ns * 1e-6 / (double)s->timed_steps);
    md_cli_printf(cli, "\n\n");
}

static void show_load(md_cli *cli, const md_trace_load *load, int32_t n_expert, bool against, bool store)
{
    char busiest[16] = "-", entropy[32], bytes[32];
    if (load->busiest >= 0)
        snprintf(busiest, sizeof busiest, "%d", (int)load->busiest);
    if (n_expert > 0)
        snprintf(entropy, sizeof entropy, "%.3f/%.3f", load->entropy, log2((double)n_expert));
    else
        snprintf(entropy, sizeof entropy, "%.3f", load->entropy);
    md_cli_printf(cli, " %10" PRIu64 " %7d %7s %8.2f %9.3f %12s %7.1f %%", load->choices, (int)load->used, busiest,
                  load->max_over_mean, load->variation, entropy, 100.0 * load->repeated);
    if (against && load->divergence >= 0.0)
        md_cli_printf(cli, " %10.4f", load->divergence);
    else if (against)
        md_cli_printf(cli, " %10s", "-");
    const uint64_t needs = load->hits + load->misses;
    if (store)
        md_cli_printf(cli, " %7.1f %% %10s %9.1f", needs > 0 ? 100.0 * (double)load->hits / (double)needs : 0.0,
                      md_cli_bytes(bytes, sizeof bytes, load->bytes), (double)load->wait_ns * 1e-6);
    md_cli_printf(cli, "\n");
}

void md_cli_trace_show_summary(md_cli *cli, const md_trace_summary *s)
{
    const bool against = s->total.divergence >= 0.0, store = s->total.hits + s->total.misses > 0;
    show_head(cli, s);
    md_cli_printf(cli, "%-6s %10s %7s %7s %8s %9s %12s %9s", "layer", "choices", "used", "busiest", "max/mean",
                  "variation", "entropy", "repeated");
    if (against)
        md_cli_printf(cli, " %10s", "divergence");
    if (store)
        md_cli_printf(cli, " %9s %10s %9s", "hits", "read", "wait ms");
    md_cli_printf(cli, "\n");
    for (int32_t l = 0; l < s->info.n_layer; l++) {
        if (s->info.layer[l].n_expert == 0)
            continue;
        md_cli_printf(cli, "%-6d", (int)l);
        show_load(cli, &s->layer[l], s->info.layer[l].n_expert, against, store);
    }
    md_cli_printf(cli, "%-6s", "all");
    show_load(cli, &s->total, 0, against, store);
}

/* ---- affinity ---- */

static void show_guess(md_cli *cli, const md_trace_guess *g)
{
    md_cli_printf(cli, " %10" PRIu64 " %9.1f %% %9.1f %% %9.1f %%\n", g->choices, 100.0 * g->by_affinity,
                  100.0 * g->by_popularity, 100.0 * g->by_last_token);
}

void md_cli_trace_show_affinity(md_cli *cli, const md_trace_affinity *a)
{
    if (a->n_pairs > 0)
        md_cli_printf(cli, "%-15s %-15s %10s %12s %8s\n", "layer:expert", "goes with", "rows", "probability", "lift");
    for (size_t i = 0; i < a->n_pairs; i++) {
        const md_trace_pair *p = &a->pair[i];
        char from[24], to[24];
        snprintf(from, sizeof from, "%d:%d", (int)p->layer, (int)p->expert);
        snprintf(to, sizeof to, "%d:%d", (int)p->next_layer, (int)p->next_expert);
        md_cli_printf(cli, "%-15s %-15s %10" PRIu64 " %10.1f %% %8.2f\n", from, to, p->count, 100.0 * p->probability,
                      p->lift);
    }
    md_cli_printf(cli, "%sof the second half of the rows, guessed:\n%-13s %10s %11s %11s %11s\n",
                  a->n_pairs > 0 ? "\n" : "", "layers", "choices", "affinity", "popularity", "last token");
    for (size_t i = 0; i < a->n_guesses; i++) {
        char link[32];
        snprintf(link, sizeof link, "%d to %d", (int)a->guess[i].layer, (int)a->guess[i].next_layer);
        md_cli_printf(cli, "%-13s", link);
        show_guess(cli, &a->guess[i]);
    }
    md_cli_printf(cli, "%-13s", "all");
    show_guess(cli, &a->total);
}

/* ---- simulate ---- */

void md_cli_trace_show_simulation(md_cli *cli, const md_trace_simulation *s)
{
    char bytes[32], room[32];
    md_cli_printf(cli, "%" PRIu64 " steps that needed %" PRIu64 " experts\n\n%7s %10s  %-8s %9s %10s %10s %10s\n",
                  s->steps, s->needs, "slots", "room", "policy", "hits", "hits", "misses", "to read");
    for (size_t i = 0; i < s->n_replays; i++) {
        const md_trace_replay *r = &s->replay[i];
        md_cli_printf(cli, "%7d %10s  %-8s %7.2f %% %10" PRIu64 " %10" PRIu64 " %10s\n", (int)r->slots,
                      md_cli_bytes(room, sizeof room, r->room), r->policy, 100.0 * r->hit_rate, r->hits, r->misses,
                      md_cli_bytes(bytes, sizeof bytes, r->missed_bytes));
    }
}
