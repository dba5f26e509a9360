/* SPDX-License-Identifier: Apache-2.0
 *
 * The figures of a run: one line for people, one object for programs. */
#include "cli/cli.h"
#include "base/sys.h"

#include <inttypes.h>

static double rate(int64_t n, double seconds)
{
    return seconds > 0.0 ? (double)n / seconds : 0.0;
}

double md_cli_share(uint64_t part, uint64_t whole)
{
    return whole > 0 ? (double)part / (double)whole : 0.0;
}

double md_cli_changed_share(const md_stream_counts *c)
{
    return c->on_miss_rows > 0 ? c->on_miss_weight / (double)c->on_miss_rows : 0.0;
}

void md_cli_show_stream(const md_cli *cli, const md_stream_counts *c)
{
    const uint64_t uses = c->hits + c->misses;
    char read[32], changed[96] = "";
    if (c->on_miss_uses > 0)
        snprintf(changed, sizeof changed, " | skipped or rerouted %" PRIu64 ", %.2f %% of the gate weight",
                 c->on_miss_uses, 100.0 * md_cli_changed_share(c));
    if (c->experts > 0)
        md_cli_note(cli,
                    "experts: room for %" PRIu64 " of %" PRIu64 " | %.1f %% of %" PRIu64
                    " uses were there | read %s | waited %.2f s%s",
                    c->slots, c->experts, uses > 0 ? 100.0 * md_cli_share(c->hits, uses) : 100.0, uses,
                    md_cli_bytes(read, sizeof read, c->bytes), c->wait, changed);
    char timing[96] = "";
    if (c->step_ahead > 0.0 && c->step_plain > 0.0)
        snprintf(timing, sizeof timing, " | %.2f ms a token with it, %.2f without: %s", 1e3 * c->step_ahead,
                 1e3 * c->step_plain, c->ahead_pays ? "on" : "off");
    if (c->ahead > 0)
        md_cli_note(cli,
                    "read ahead: %" PRIu64 " experts | %" PRIu64 " were used, %" PRIu64
                    " not | the router's guesses: %.0f %% "
                    "right%s",
                    c->ahead, c->ahead_used, c->ahead_wasted,
                    100.0 * md_cli_share(c->guess_right[MD_STREAM_ROUTER], c->guess_named[MD_STREAM_ROUTER]), timing);
}

void md_cli_show_figures(const md_cli *cli, const md_cli_figures *f)
{
    char memory[32], seed[48] = "";
    if (f->seed >= 0)
        snprintf(seed, sizeof seed, " | seed %" PRId64, f->seed);
    md_cli_note(cli,
                "load %.2f s | prompt %" PRId64 " tokens, %.1f tokens/s | generated %" PRId64
                " tokens, %.1f tokens/s | peak memory %s | threads %d%s | logits %016" PRIx64 " | %s",
                f->load_seconds, f->n_prompt, rate(f->n_prompt, f->prompt_seconds), f->n_generated,
                rate(f->n_generated, f->generate_seconds), md_cli_bytes(memory, sizeof memory, md_sys_peak_rss()),
                (int)f->n_threads, seed, f->logits_hash, f->numerics_key);
    md_cli_show_stream(cli, &f->stream);
}

/* Each kind of guess: how many of its experts were chosen, how many of those chosen it named. */
static json_t *json_guesses(const md_stream_counts *c)
{
    json_t *o = json_object();
    for (int g = 0; o && g < MD_STREAM_N_GUESSES; g++)
        if (json_object_set_new(o, md_stream_guess_name((md_stream_guess)g),
                                json_pack("{s:f, s:f}", "precision", md_cli_share(c->guess_right[g], c->guess_named[g]),
                                          "recall", md_cli_share(c->guess_right[g], c->needed))) != 0) {
            json_decref(o);
            o = NULL;
        }
    return o;
}

json_t *md_cli_json_stream(const md_stream_counts *c)
{
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:f, s:I, s:f, s:{s:I, s:I, s:I, s:I, s:f, s:f, s:b, s:o}}", "slots",
                     (json_int_t)c->slots, "experts", (json_int_t)c->experts, "hits", (json_int_t)c->hits, "misses",
                     (json_int_t)c->misses, "bytes_read", (json_int_t)c->bytes, "wait_seconds", c->wait, "changed_uses",
                     (json_int_t)c->on_miss_uses, "changed_gate_share", md_cli_changed_share(c), "ahead", "read",
                     (json_int_t)c->ahead, "used", (json_int_t)c->ahead_used, "late", (json_int_t)c->ahead_late,
                     "wasted", (json_int_t)c->ahead_wasted, "step_seconds", c->step_ahead, "step_seconds_without",
                     c->step_plain, "pays", c->ahead_pays, "guesses", json_guesses(c));
}

json_t *md_cli_json_add_stream(json_t *o, const md_stream_counts *c)
{
    if (!o || c->experts == 0 || json_object_set_new(o, "streaming", md_cli_json_stream(c)) == 0)
        return o;
    json_decref(o);
    return NULL;
}

json_t *md_cli_json_figures(const md_cli_figures *f)
{
    char hash[17];
    snprintf(hash, sizeof hash, "%016" PRIx64, f->logits_hash);
    json_t *o = json_pack("{s:f, s:I, s:f, s:I, s:f, s:I, s:i, s:s, s:s}", "load_seconds", f->load_seconds,
                          "prompt_tokens", (json_int_t)f->n_prompt, "prompt_tokens_per_second",
                          rate(f->n_prompt, f->prompt_seconds), "generated_tokens", (json_int_t)f->n_generated,
                          "generated_tokens_per_second", rate(f->n_generated, f->generate_seconds), "peak_memory_bytes",
                          (json_int_t)md_sys_peak_rss(), "threads", (int)f->n_threads, "logits_hash", hash,
                          "numerics_key", f->numerics_key);
    if (o && f->seed >= 0 && json_object_set_new(o, "seed", json_integer(f->seed)) != 0) {
        json_decref(o);
        return NULL;
    }
    return md_cli_json_add_stream(o, &f->stream);
}
