/* SPDX-License-Identifier: Apache-2.0
 *
 * `medley plan`: the library plans; here a model that is described only by its shape becomes a header for a moment, the folder of the
 * machine's profile is found, and the plan is shown as JSON or as a table. */
#include "cli/plan.h"
#include "base/sys.h"

#include <medley/unstable/synth.h>
#include <string.h>
#include <unistd.h>

/* ---- the model ---- */

/* The header of a model that is described only by its shape, in the folder; it is to go again. */
static md_status write_header(const md_cli *cli, const char *folder, md_buf *path, md_error *err)
{
    const md_options *o = cli->options;
    const md_synth_spec spec = {.like = md_opt_text(o, MD_OPT_LIKE),
                                .type = md_opt_text(o, MD_OPT_TYPE),
                                .n_layer = (int)md_opt_int(o, MD_OPT_LAYERS)};
    MD_FAIL_IF(!folder, MD_ERR_ARGUMENT, "there is no folder for the model's header: set HOME or XDG_CACHE_HOME");
    md_buf_printf(path, "%slike-%ld.gguf", folder, (long)getpid());
    if (path->failed)
        return md_fail_memory(err, "a path");
    return md_synth_write_header(&spec, path->data, err);
}

static md_status check_options(const md_cli *cli, md_error *err)
{
    const md_options *o = cli->options;
    const bool like = md_opt_given(o, MD_OPT_LIKE);
    MD_FAIL_IF(!like && o->n_operands == 0, MD_ERR_ARGUMENT,
               "no model was named: give a file, or --like with the shape of a public one");
    MD_FAIL_IF(like && o->n_operands > 0, MD_ERR_ARGUMENT, "give a model or --like, not both");
    MD_FAIL_IF(!like && (md_opt_given(o, MD_OPT_TYPE) || md_opt_given(o, MD_OPT_LAYERS)), MD_ERR_ARGUMENT,
               "--type and --layers describe a model that is not there: they need --like");
    return MD_OK;
}

/* ---- JSON ---- */

static json_t *row_json(const md_plan_row *r)
{
    return json_pack(
        "{s:b, s:I, s:b, s:I, s:{s:I, s:I, s:I, s:I, s:I}, s:i, s:I, s:I, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:s, s:s, s:s}",
        "resident", (int)r->resident, "memory", (json_int_t)r->memory, "available", (int)r->available, "needed",
        (json_int_t)r->need.total, "of_it", "weights", (json_int_t)r->need.weights, "kv", (json_int_t)r->need.kv,
        "scratch", (json_int_t)r->need.scratch, "slots", (json_int_t)r->need.slots, "program",
        (json_int_t)r->need.program, "chunk", (int)r->n_rows, "slots", (json_int_t)r->slots, "experts",
        (json_int_t)r->experts, "load_seconds", r->load_seconds, "first_prompt_tokens_per_s", r->first_prompt,
        "prompt_tokens_per_s", r->prompt, "generation_tokens_per_s", r->generation, "hit_rate", r->hit_rate,
        "bytes_a_token", r->token_bytes, "prompt_bytes_a_token", r->prompt_bytes, "load_limit",
        md_plan_limit_name(r->load_limit), "prompt_limit", md_plan_limit_name(r->prompt_limit), "generation_limit",
        md_plan_limit_name(r->generation_limit));
}

static md_status write_json(md_cli *cli, const md_plan *p, const char *command, md_error *err)
{
    const md_plan_machine *m = md_plan_get_machine(p);
    const md_model_info *info = md_plan_info(p);
    const char *routing = md_plan_routing_text(p);
    char *advice = md_cli_plan_advice(p, command);
    json_t *rows = json_array();
    for (size_t i = 0; rows && i < md_plan_n_rows(p); i++)
        if (json_array_append_new(rows, row_json(md_plan_get_row(p, i))) != 0) {
            json_decref(rows);
            rows = NULL;
        }
    json_t *root = json_pack(
        "{s:{s:o, s:s, s:I}, s:{s:s, s:s, s:i, s:f, s:f, s:f, s:f, s:b}, s:o, s:I, s:o, s:o*}", "model", "name",
        md_cli_json_text(info->name, strlen(info->name)), "arch", info->arch, "bytes", (json_int_t)info->file_bytes,
        "machine", "cpu", m->cpu, "isa", m->isa, "threads", (int)m->n_threads, "memory_read_1", m->memory_read_1,
        "memory_read", m->memory_read, "disk_read", m->disk_read, "disk_latency", m->disk_latency, "measured",
        (int)m->measured, "routing", md_cli_json_text(routing, strlen(routing)), "least", (json_int_t)md_plan_least(p),
        "rows", rows, "advice", advice ? md_cli_json_text(advice, strlen(advice)) : NULL);
    md_free(advice);
    return md_cli_write_json(cli, root, err);
}

/* ---- the command ---- */

static md_status make(md_cli *cli, const char *model, const char *folder, md_plan **out, md_error *err)
{
    const md_options *o = cli->options;
    const md_option_value *override = &o->value[MD_OPT_OVERRIDE];
    md_plan_args args = {
        .override = override->list,
        .n_override = override->n_list,
        .n_threads = md_opt_given(o, MD_OPT_THREADS) ? (int32_t)md_opt_int(o, MD_OPT_THREADS) : 0,
        .n_positions = md_opt_given(o, MD_OPT_PLAN_CTX) ? (int32_t)md_opt_int(o, MD_OPT_PLAN_CTX) : 0,
        .n_prompt = (int32_t)md_opt_int(o, MD_OPT_PLAN_PROMPT),
        .n_rows = md_opt_given(o, MD_OPT_PLAN_CHUNK) ? (int32_t)md_opt_int(o, MD_OPT_PLAN_CHUNK) : 0,
        .batch = (int32_t)md_opt_int(o, MD_OPT_PLAN_BATCH),
        .no_read_ahead = md_opt_int(o, MD_OPT_READ_AHEAD) == MD_READ_AHEAD_OFF,
        .f32_kv = md_opt_int(o, MD_OPT_PLAN_KV_TYPE) == MD_KV_F32,
        .isa = md_opt_given(o, MD_OPT_ISA) ? md_opt_text(o, MD_OPT_ISA) : NULL,
        .trace = md_opt_text(o, MD_OPT_PLAN_TRACE),
        .folder = folder,
        .measure = md_opt_flag(o, MD_OPT_MEASURE),
        .progress = md_cli_bar_update,
    };
    uint64_t memory;
    if (md_opt_given(o, MD_OPT_PLAN_MEMORY)) {
        MD_TRY(md_cli_parse_size("--memory", md_opt_text(o, MD_OPT_PLAN_MEMORY), md_sys_own_memory(), &memory, err));
        args.memory = &memory;
        args.n_memory = 1;
    }
    md_cli_bar bar;
    md_cli_bar_begin(&bar, cli, "measuring");
    args.progress_user = &bar;
    const md_status status = md_plan_new(model, &args, out, err);
    md_cli_bar_end(&bar);
    return status == MD_ERR_CANCELLED ? md_cli_cancelled(err) : status;
}

md_status md_cli_plan(md_cli *cli, md_error *err)
{
    const md_options *o = cli->options;
    md_plan *p = NULL;
    md_buf header = {0};
    MD_TRY(check_options(cli, err));
    md_cli_catch_interrupts();
    char *folder = md_cli_cache_path("");
    if (folder)
        md_cli_make_folders(folder);
    md_status status = o->n_operands > 0 ? MD_OK : write_header(cli, folder, &header, err);
    const char *model = o->n_operands > 0 ? o->operand[0] : header.data, *command = o->n_operands > 0 ? model : "MODEL";
    if (status == MD_OK)
        status = make(cli, model, folder, &p, err);
    if (header.data)
        (void)unlink(header.data);
    if (status == MD_OK && md_opt_flag(o, MD_OPT_JSON))
        status = write_json(cli, p, command, err);
    else if (status == MD_OK)
        md_cli_plan_text(cli, p, command);
    md_plan_free(p);
    md_buf_done(&header);
    md_free(folder);
    return status;
}
