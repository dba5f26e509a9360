/* SPDX-License-Identifier: Apache-2.0
 *
 * Opening the model that a command names, and a session for it that fits into memory. */
#include "cli/cli.h"
#include "base/sys.h"

#include <string.h>

#define MOST_NOTES 5u

md_model_args md_cli_model_args(const md_cli *cli)
{
    const md_options *o = cli->options;
    const md_option_value *v = &o->value[MD_OPT_OVERRIDE];
    return (md_model_args){.override = v->list,
                           .n_override = v->n_list,
                           .map = md_opt_flag(o, MD_OPT_MMAP),
                           .n_threads = md_opt_given(o, MD_OPT_THREADS) ? (int32_t)md_opt_int(o, MD_OPT_THREADS) : 0};
}

md_status md_cli_open_model(md_cli *cli, md_model **out, md_error *err)
{
    md_model_args args = md_cli_model_args(cli);
    MD_TRY(md_cli_memory(cli, &args.memory, err));
    md_cli_bar bar;
    md_cli_bar_begin(&bar, cli, "loading");
    args.progress = md_cli_bar_update;
    args.progress_user = &bar;
    const md_status status = md_model_open(cli->options->operand[0], &args, out, err);
    md_cli_bar_end(&bar);
    return status == MD_ERR_CANCELLED ? md_cli_cancelled(err) : status;
}

void md_cli_show_notes(const md_cli *cli, const md_model *m)
{
    const size_t n = md_model_n_notes(m), shown = n <= MOST_NOTES ? n : MOST_NOTES - 1;
    for (size_t i = 0; i < shown; i++)
        md_cli_note(cli, "note: %s", md_model_note(m, i));
    if (n > shown)
        md_cli_note(cli, "note: %zu more like these", n - shown);
}

md_status md_cli_open_session(const md_cli *cli, const md_model *m, const md_session_args *args, md_session **out,
                              md_error *err)
{
    md_session_args own = *args;
    MD_TRY(md_cli_memory(cli, &own.memory, err));
    own.read_ahead = (md_read_ahead)md_opt_int(cli->options, MD_OPT_READ_AHEAD);
    MD_TRY(md_cli_on_miss(cli, m, &own.on_miss, &own.on_miss_share, err));
    if (md_opt_given(cli->options, MD_OPT_ISA))
        own.isa = md_opt_text(cli->options, MD_OPT_ISA);
    md_memory need;
    char kv[32], scratch[32], weights[32], available[32];
    MD_TRY(md_session_estimate(m, &own, &need, err));
    const uint64_t room = md_sys_free_memory();
    md_cli_bytes(available, sizeof available, room);
    MD_FAIL_IF(
        need.kv > room || need.scratch > room - need.kv, MD_ERR_MEMORY,
        "a context of %d tokens takes %s for keys and values and %s of scratch, but only %s of memory is free: give a "
        "smaller --ctx or another --kv-type",
        (int)args->n_positions, md_cli_bytes(kv, sizeof kv, need.kv),
        md_cli_bytes(scratch, sizeof scratch, need.scratch), available);
    /* Mapped weights need not fit, but then every step reads the disk. */
    if (md_opt_flag(cli->options, MD_OPT_MMAP) && need.total > room)
        md_cli_note(
            cli, "note: the weights take %s and only %s of memory is free: they will be read from disk again and again",
            md_cli_bytes(weights, sizeof weights, need.weights), available);
    return md_session_new(m, &own, out, err);
}

char *md_cli_model_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *name = md_strdup(slash ? slash + 1 : path);
    char *dot = name ? strrchr(name, '.') : NULL;
    if (dot && dot != name && strcmp(dot, ".gguf") == 0)
        *dot = '\0';
    return name;
}

md_status md_cli_need_tokenizer(const md_model *m, const md_tokenizer **out, md_error *err)
{
    *out = md_model_tokenizer(m);
    MD_FAIL_IF(!*out, MD_ERR_UNSUPPORTED, "this model cannot be given text: %s", md_model_tokenizer_error(m));
    return MD_OK;
}
