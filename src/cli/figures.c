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

/* What streaming did; nothing where experts are resident. */
static void show_stream(const md_cli *cli, const md_stream_counts *c)
{
    const uint64_t uses = c->hits + c->misses;
    char read[32];
    if (c->experts > 0)
        md_cli_note(cli,
                    "experts: room for %" PRIu64 " of %" PRIu64 " | %.1f %% of %" PRIu64
                    " uses were there | read %s | waited %.2f s",
                    c->slots, c->experts, uses > 0 ? 100.0 * (double)c->hits / (double)uses : 100.0, uses,
                    md_cli_bytes(read, sizeof read, c->bytes), c->wait);
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
    show_stream(cli, &f->stream);
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
    const md_stream_counts *c = &f->stream;
    json_t *stream = c->experts == 0 ? NULL
                                     : json_pack("{s:I, s:I, s:I, s:I, s:I, s:f}", "slots", (json_int_t)c->slots,
                                                 "experts", (json_int_t)c->experts, "hits", (json_int_t)c->hits,
                                                 "misses", (json_int_t)c->misses, "bytes_read", (json_int_t)c->bytes,
                                                 "wait_seconds", c->wait);
    if (o && c->experts > 0 && json_object_set_new(o, "streaming", stream) != 0) {
        json_decref(o);
        return NULL;
    }
    return o;
}
