/* SPDX-License-Identifier: Apache-2.0
 *
 * medley: finds the command, parses its options, runs it, and turns its status into one sentence and an exit code. */
#include "cli/cli.h"

#include <medley/version.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef md_status command_fn(md_cli *cli, md_error *err);

static command_fn *const command_fns[MD_N_COMMANDS] = {
    [MD_COMMAND_RUN] = md_cli_run,           [MD_COMMAND_INSPECT] = md_cli_inspect,
    [MD_COMMAND_TOKENIZE] = md_cli_tokenize, [MD_COMMAND_DETOKENIZE] = md_cli_detokenize,
    [MD_COMMAND_TEMPLATE] = md_cli_template, [MD_COMMAND_EVAL] = md_cli_eval,
    [MD_COMMAND_EMBED] = md_cli_embed,       [MD_COMMAND_UPCYCLE] = md_cli_upcycle,
    [MD_COMMAND_PACK] = md_cli_pack,         [MD_COMMAND_COMPLETION] = md_cli_completion,
    [MD_COMMAND_HELP] = md_cli_help,         [MD_COMMAND_BENCH] = md_cli_bench,
    [MD_COMMAND_SYNTH] = md_cli_synth,       [MD_COMMAND_TRACE] = md_cli_trace,
    [MD_COMMAND_BATCH] = md_cli_batch,       [MD_COMMAND_MAN] = md_cli_man,
    [MD_COMMAND_PLAN] = md_cli_plan,         [MD_COMMAND_SERVE] = md_cli_serve,
};

static int exit_code(md_status status)
{
    switch (status) {
    case MD_OK: return 0;
    case MD_ERR_ARGUMENT: return 2;
    case MD_ERR_CANCELLED: return md_cli_interrupted() ? 128 + md_cli_interrupted() : 1;
    default: return 1;
    }
}

static md_status run_command(md_cli *cli, md_command command, int n, const char *const *arg, md_error *err)
{
    md_options options;
    MD_TRY(md_options_parse(command, n, arg, &options, err));
    cli->options = &options;
    cli->quiet = md_opt_flag(&options, MD_OPT_QUIET);
    md_status status = MD_OK;
    if (md_opt_flag(&options, MD_OPT_SHOW_HELP))
        md_cli_help_command(cli, command);
    else
        status = command_fns[command](cli, err);
    md_options_done(&options);
    return status;
}

static bool is_any(const char *s, const char *a, const char *b)
{
    return strcmp(s, a) == 0 || strcmp(s, b) == 0;
}

static md_status run_program(md_cli *cli, int argc, const char *const *argv, md_error *err)
{
    if (argc < 2) {
        md_cli_help_all(cli);
        return md_fail(err, MD_ERR_ARGUMENT, "no command was given");
    }
    const char *name = argv[1];
    if (is_any(name, "--help", "-h")) {
        md_cli_help_all(cli);
        return MD_OK;
    }
    if (is_any(name, "--version", "-V")) {
        md_cli_printf(cli, "medley %s\n", md_version());
        return MD_OK;
    }
    const md_command command = md_command_find(name);
    if (command != MD_N_COMMANDS)
        return run_command(cli, command, argc - 2, argv + 2, err);
    const char *nearest = name[0] == '-' ? NULL : md_command_nearest(name);
    MD_FAIL_IF(nearest, MD_ERR_ARGUMENT, "unknown command '%s'; did you mean '%s'?", name, nearest);
    return md_fail(err, MD_ERR_ARGUMENT, "unknown command '%s'; 'medley --help' lists those there are", name);
}

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN); /* a reader that goes away is a failed write like any other */
    const char *term = getenv("TERM");
    md_cli cli = {
        .out_is_terminal = isatty(STDOUT_FILENO) == 1,
        .err_is_terminal = isatty(STDERR_FILENO) == 1 && term && term[0] && strcmp(term, "dumb") != 0,
    };
    md_error err = {0}, out_err = {0};
    md_status status = run_program(&cli, argc, (const char *const *)argv, &err);
    /* A command that was stopped because its output failed has only that to say. */
    const md_status out_status = md_cli_flush(&cli, &out_err);
    if (out_status != MD_OK && (status == MD_OK || status == MD_ERR_CANCELLED)) {
        status = out_status;
        err = out_err;
    }
    if (status != MD_OK)
        md_cli_complain(&err);
    return exit_code(status);
}
