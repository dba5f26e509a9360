/* SPDX-License-Identifier: Apache-2.0
 *
 * `medley bench`: the library measures; here lists of sizes are read, and results are shown as a table, as JSON, and as a
 * picture. */
#include "cli/bench.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define MOST_SIZES 64

typedef struct sizes {
    int32_t item[MOST_SIZES];
    size_t n;
} sizes;

/* "512,128": whole numbers from min to max. */
static md_status read_sizes(const md_options *o, md_option id, int32_t min, int32_t max, sizes *out, md_error *err)
{
    const char *name = md_option_get_spec(id)->name, *text = md_opt_text(o, id), *at = text;
    out->n = 0;
    for (;;) {
        char *end;
        const long v = strtol(at, &end, 10);
        MD_FAIL_IF(end == at || (*end && *end != ',') || *at == ' ' || v < min || v > max, MD_ERR_ARGUMENT,
                   "--%s is '%s', but must be whole numbers from %d to %d with commas between them", name, text, min,
                   max);
        MD_FAIL_IF(out->n == MOST_SIZES, MD_ERR_ARGUMENT, "--%s has more than %d numbers", name, MOST_SIZES);
        out->item[out->n++] = (int32_t)v;
        if (!*end)
            return MD_OK;
        at = end + 1;
    }
}

/* ---- JSON ---- */

static json_t *parts_json(const md_bench_result *r)
{
    json_t *parts = json_object();
    for (int p = 0; parts && p < MD_STEP_N_PARTS; p++)
        if (json_object_set_new(parts, md_step_part_name((md_step_part)p), json_real(r->part_seconds[p])) != 0) {
            json_decref(parts);
            return NULL;
        }
    return parts;
}

static json_t *samples_json(const md_bench_result *r)
{
    json_t *samples = json_array();
    for (int32_t i = 0; samples && i < r->repeat; i++)
        if (json_array_append_new(samples, json_real(r->sample[i])) != 0) {
            json_decref(samples);
            return NULL;
        }
    return samples;
}

/* Tokens of all repetitions. */
static double tokens_of(const md_bench_result *r)
{
    return (double)r->repeat * (r->n_prompt > 0 ? r->n_prompt : (double)r->n_generate * r->batch);
}

static double hit_rate(const md_stream_counts *c)
{
    return md_cli_share(c->hits, c->hits + c->misses);
}

/* Adds what streaming did to a result; false if memory was out. */
static bool add_stream(json_t *result, const md_bench_result *r)
{
    const md_stream_counts *c = &r->stream;
    json_t *stream = md_cli_json_stream(c);
    return stream && json_object_set_new(result, "streaming", stream) == 0 &&
           json_object_set_new(stream, "hit_rate", json_real(hit_rate(c))) == 0 &&
           json_object_set_new(stream, "bytes_per_token", json_real((double)c->bytes / tokens_of(r))) == 0;
}

static json_t *result_json(const md_bench_result *r)
{
    char hash[17];
    snprintf(hash, sizeof hash, "%016" PRIx64, r->logits_hash);
    json_t *j = json_pack("{s:s, s:f, s:f, s:f, s:o, s:i, s:i, s:i, s:i, s:i, s:o, s:f, s:s, s:b}", "test", r->test,
                          "tokens_per_s", r->median, "lowest", r->lowest, "highest", r->highest, "samples",
                          samples_json(r), "prompt", (int)r->n_prompt, "generate", (int)r->n_generate, "depth",
                          (int)r->depth, "batch", (int)r->batch, "threads", (int)r->n_threads, "seconds_per_token",
                          parts_json(r), "gmac_per_s", r->macs * r->median * 1e-9, "logits_hash", hash, "same_bits",
                          (int)r->same_bits);
    if (j && r->stream.on_miss_uses > 0 &&
        json_object_update_new(j, json_pack("{s:I, s:f}", "changed_uses", (json_int_t)r->stream.on_miss_uses,
                                            "changed_gate_share", md_cli_changed_share(&r->stream))) != 0) {
        json_decref(j);
        return NULL;
    }
    if (j && r->step_bytes > 0.0 &&
        json_object_update_new(j, json_pack("{s:f, s:f, s:f, s:f}", "step_bytes", r->step_bytes, "gb_per_s",
                                            r->bytes_per_second * 1e-9, "roof_gb_per_s", r->roof * 1e-9,
                                            "share_of_roof", r->share)) != 0) {
        json_decref(j);
        return NULL;
    }
    if (j && r->stream.experts > 0 && !add_stream(j, r)) {
        json_decref(j);
        return NULL;
    }
    return j;
}

static md_status write_json(md_cli *cli, const md_model_info *info, const md_bench *b, md_error *err)
{
    const md_bench_machine *m = md_bench_get_machine(b);
    json_t *results = json_array();
    for (size_t i = 0; results && i < md_bench_n_results(b); i++)
        if (json_array_append_new(results, result_json(md_bench_get_result(b, i))) != 0) {
            json_decref(results);
            results = NULL;
        }
    return md_cli_write_json(cli,
                             json_pack("{s:{s:s, s:s, s:i, s:I}, s:{s:o, s:s, s:I, s:I}, s:s, s:o}", "machine", "cpu",
                                       m->cpu, "isa", m->isa, "cores", (int)m->cores, "free_memory",
                                       (json_int_t)m->memory, "model", "name",
                                       md_cli_json_text(info->name, strlen(info->name)), "arch", info->arch, "bytes",
                                       (json_int_t)info->file_bytes, "weights", (json_int_t)info->weights, "kv_type",
                                       md_opt_text(cli->options, MD_OPT_BENCH_KV_TYPE), "results", results),
                             err);
}

/* ---- the table ---- */

static void write_head(md_cli *cli, const md_model_info *info, const md_bench *b)
{
    const md_bench_machine *m = md_bench_get_machine(b);
    char size[32];
    md_buf name = {0};
    md_cli_clean(&name, info->name, strlen(info->name));
    md_cli_printf(cli, "%s (%s), %s\n%s, %d cores, %s kernels, keys and values as %s\n\n",
                  name.len > 0 && !name.failed ? name.data : "no name", info->arch,
                  md_cli_bytes(size, sizeof size, info->file_bytes), m->cpu, (int)m->cores, m->isa,
                  md_opt_text(cli->options, MD_OPT_BENCH_KV_TYPE));
    md_cli_printf(cli, "%-18s %3s %10s %9s %9s %6s %5s %6s  %s\n", "test", "thr", "tokens/s", "lowest", "highest",
                  "GB/s", "roof", "GMAC/s", "logits");
    md_buf_done(&name);
}

static void write_row(md_cli *cli, const md_bench_result *r)
{
    char rate[16] = "-", share[16] = "-";
    if (r->step_bytes > 0.0) {
        snprintf(rate, sizeof rate, "%.1f", r->bytes_per_second * 1e-9);
        if (r->roof > 0.0)
            snprintf(share, sizeof share, "%.0f %%", r->share * 100.0);
    }
    md_cli_printf(cli, "%-18s %3d %10.2f %9.2f %9.2f %6s %5s %6.1f  %016" PRIx64 "%s\n", r->test, (int)r->n_threads,
                  r->median, r->lowest, r->highest, rate, share, r->macs * r->median * 1e-9, r->logits_hash,
                  r->same_bits ? "" : " (not always)");
}

static void write_parts(md_cli *cli, const md_bench *b)
{
    md_cli_printf(cli, "\n%-18s %3s %11s", "share of the time", "thr", "ms a token");
    for (int p = 0; p < MD_STEP_N_PARTS; p++)
        md_cli_printf(cli, "  %s", md_step_part_name((md_step_part)p));
    md_cli_printf(cli, "\n");
    for (size_t i = 0; i < md_bench_n_results(b); i++) {
        const md_bench_result *r = md_bench_get_result(b, i);
        double sum = 0.0;
        for (int p = 0; p < MD_STEP_N_PARTS; p++)
            sum += r->part_seconds[p];
        md_cli_printf(cli, "%-18s %3d %11.3f", r->test, (int)r->n_threads, sum * 1e3);
        for (int p = 0; p < MD_STEP_N_PARTS; p++)
            md_cli_printf(cli, "  %*.0f %%", (int)strlen(md_step_part_name((md_step_part)p)) - 2,
                          sum > 0.0 ? 100.0 * r->part_seconds[p] / sum : 0.0);
        md_cli_printf(cli, "\n");
    }
}

/* What --on-miss changed. */
static void write_changes(md_cli *cli, const md_bench *b)
{
    md_cli_printf(cli, "\n%-18s %3s %14s %12s\n", "skipped, rerouted", "thr", "uses a run", "gate weight");
    for (size_t i = 0; i < md_bench_n_results(b); i++) {
        const md_bench_result *r = md_bench_get_result(b, i);
        md_cli_printf(cli, "%-18s %3d %14.1f %10.2f %%\n", r->test, (int)r->n_threads,
                      (double)r->stream.on_miss_uses / r->repeat, 100.0 * md_cli_changed_share(&r->stream));
    }
}

static void write_stream(md_cli *cli, const md_bench *b)
{
    const md_bench_result *first = md_bench_get_result(b, 0);
    if (first->stream.experts == 0)
        return;
    md_cli_printf(cli, "\n%-18s %3s %8s %10s %11s %11s\n", "streamed experts", "thr", "slots", "hits", "MB a token",
                  "ms waited");
    for (size_t i = 0; i < md_bench_n_results(b); i++) {
        const md_bench_result *r = md_bench_get_result(b, i);
        md_cli_printf(cli, "%-18s %3d %6.0f %% %8.1f %% %11.3f %11.3f\n", r->test, (int)r->n_threads,
                      100.0 * (double)r->stream.slots / (double)r->stream.experts, 100.0 * hit_rate(&r->stream),
                      (double)r->stream.bytes * 1e-6 / tokens_of(r), r->stream.wait * 1e3 / tokens_of(r));
    }
}

static void write_table(md_cli *cli, const md_model_info *info, const md_bench *b)
{
    double roof = 0.0;
    write_head(cli, info, b);
    for (size_t i = 0; i < md_bench_n_results(b); i++) {
        const md_bench_result *r = md_bench_get_result(b, i);
        write_row(cli, r);
        roof = r->roof > roof ? r->roof : roof;
    }
    write_parts(cli, b);
    write_stream(cli, b);
    if (!md_cli_is_exact(cli))
        write_changes(cli, b);
    if (roof > 0.0)
        md_cli_printf(cli, "\nroof: memory reads of %.1f GB/s\n", roof * 1e-9);
}

/* ---- the command ---- */

/* --trace: one file for the sessions of all numbers of threads. */
typedef struct traced {
    const md_cli *cli;
    const md_model *model;
    md_cli_tracing tracing;
} traced;

static md_status session_begins(void *user, md_session *s, md_error *err)
{
    traced *t = user;
    return md_cli_tracing_begin(t->cli, t->model, s, &t->tracing, err);
}

static void session_ends(void *user, md_session *s)
{
    (void)s;
    md_cli_tracing_leave(&((traced *)user)->tracing);
}

static md_status run_traced(md_cli *cli, const md_model *m, md_bench_args *args, md_bench **out, md_error *err)
{
    traced t = {.cli = cli, .model = m};
    args->session_begins = session_begins;
    args->session_ends = session_ends;
    args->session_user = &t;
    md_status status = md_bench_run(m, args, out, err);
    if (status == MD_ERR_CANCELLED)
        status = md_cli_cancelled(err);
    return md_cli_tracing_end(&t.tracing, status, err);
}

static md_status measure(md_cli *cli, const md_model *m, md_bench **out, md_error *err)
{
    const md_options *o = cli->options;
    sizes prompt, generate, depth, batch, threads;
    MD_TRY(read_sizes(o, MD_OPT_BENCH_PROMPT, 0, 1 << 20, &prompt, err));
    MD_TRY(read_sizes(o, MD_OPT_GENERATE, 0, 1 << 20, &generate, err));
    MD_TRY(read_sizes(o, MD_OPT_DEPTH, 0, 1 << 24, &depth, err));
    MD_TRY(read_sizes(o, MD_OPT_BATCH, 1, 4096, &batch, err));
    md_bench_args args;
    md_bench_args_default(&args);
    MD_TRY(md_cli_memory(cli, &args.memory, err));
    args.read_ahead = (md_read_ahead)md_opt_int(o, MD_OPT_READ_AHEAD);
    MD_TRY(md_cli_on_miss(cli, m, &args.on_miss, &args.on_miss_share, err));
    args.prompt = prompt.item;
    args.n_prompt = prompt.n;
    args.generate = generate.item;
    args.n_generate = generate.n;
    args.depth = depth.item;
    args.n_depth = depth.n;
    args.batch = batch.item;
    args.n_batch = batch.n;
    if (md_opt_given(o, MD_OPT_BENCH_THREADS)) {
        MD_TRY(read_sizes(o, MD_OPT_BENCH_THREADS, 1, 256, &threads, err));
        args.threads = threads.item;
        args.n_threads = threads.n;
    }
    args.repeat = (int32_t)md_opt_int(o, MD_OPT_REPEAT);
    args.n_rows = (int32_t)md_opt_int(o, MD_OPT_BENCH_CHUNK);
    args.kv_type = (md_kv_type)md_opt_int(o, MD_OPT_BENCH_KV_TYPE);
    args.fresh = md_opt_flag(o, MD_OPT_FRESH);
    if (md_opt_given(o, MD_OPT_ISA))
        args.isa = md_opt_text(o, MD_OPT_ISA);
    md_cli_bar bar;
    md_cli_bar_begin(&bar, cli, "measuring");
    args.progress = md_cli_bar_update;
    args.progress_user = &bar;
    const md_status status = run_traced(cli, m, &args, out, err);
    md_cli_bar_end(&bar);
    return status;
}

static md_status show(md_cli *cli, const md_model_info *info, const md_bench *b, md_error *err)
{
    const char *svg = md_opt_text(cli->options, MD_OPT_SVG);
    if (md_opt_flag(cli->options, MD_OPT_JSON))
        MD_TRY(write_json(cli, info, b, err));
    else
        write_table(cli, info, b);
    if (svg)
        MD_TRY(md_cli_bench_svg(b, info->name, svg, err));
    for (size_t i = 0; md_cli_is_exact(cli) && i < md_bench_n_results(b); i++)
        MD_FAIL_IF(!md_bench_get_result(b, i)->same_bits, MD_ERR_INTERNAL,
                   "%s did not end with the same logits every time: please report this as a defect",
                   md_bench_get_result(b, i)->test);
    return MD_OK;
}

md_status md_cli_bench(md_cli *cli, md_error *err)
{
    md_model *m = NULL;
    md_bench *b = NULL;
    md_cli_catch_interrupts();
    MD_TRY(md_cli_open_model(cli, &m, err));
    md_status status = measure(cli, m, &b, err);
    if (status == MD_OK)
        status = show(cli, md_model_get_info(m), b, err);
    md_bench_free(b);
    md_model_close(m);
    return status;
}
