/* SPDX-License-Identifier: Apache-2.0
 *
 * `medley upcycle`: a mixture of experts from a dense model. The library writes the file. */
#include "cli/cli.h"
#include "base/sys.h"

#include <medley/shape.h>
#include <string.h>

static md_status report(md_cli *cli, const char *path, const md_upcycle_args *args, const md_upcycle_result *r,
                        double seconds, md_error *err)
{
    if (md_opt_flag(cli->options, MD_OPT_JSON))
        return md_cli_write_json(cli,
                                 json_pack("{s:o, s:i, s:i, s:i, s:I, s:I, s:I, s:I, s:I, s:I, s:f}", "output",
                                           md_cli_json_text(path, strlen(path)), "layers", (int)r->n_layer, "experts",
                                           (int)args->n_expert, "experts_used", (int)args->top_k, "weights_in",
                                           (json_int_t)r->weights_in, "weights_out", (json_int_t)r->weights_out,
                                           "bytes_in", (json_int_t)r->bytes_in, "bytes_out", (json_int_t)r->bytes_out,
                                           "neurons_redrawn", (json_int_t)r->neurons_redrawn, "seed",
                                           (json_int_t)args->seed, "seconds", seconds),
                                 err);
    char from[32], to[32], in[32], out[32];
    md_cli_note(
        cli, "%d layers, each with %d experts of which a token uses %d: %s weights became %s, %s became %s, in %.1f s",
        (int)r->n_layer, (int)args->n_expert, (int)args->top_k, md_cli_count(from, sizeof from, r->weights_in),
        md_cli_count(to, sizeof to, r->weights_out), md_cli_bytes(in, sizeof in, r->bytes_in),
        md_cli_bytes(out, sizeof out, r->bytes_out), seconds);
    if (r->neurons_redrawn > 0)
        md_cli_note(cli, "%lld neurons were drawn anew with seed %llu", (long long)r->neurons_redrawn,
                    (unsigned long long)args->seed);
    return MD_OK;
}

md_status md_cli_upcycle(md_cli *cli, md_error *err)
{
    const md_options *o = cli->options;
    const char *in = o->operand[0], *out = md_opt_text(o, MD_OPT_UPCYCLE_OUT);
    md_upcycle_args args;
    md_upcycle_args_default(&args);
    args.n_expert = (int32_t)md_opt_int(o, MD_OPT_UPCYCLE_EXPERTS);
    args.top_k = (int32_t)md_opt_int(o, MD_OPT_UPCYCLE_TOP_K);
    args.noise = (float)md_opt_number(o, MD_OPT_NOISE);
    args.drop_ratio = (float)md_opt_number(o, MD_OPT_DROP_RATIO);
    args.seed = (uint64_t)md_opt_int(o, MD_OPT_UPCYCLE_SEED);
    MD_FAIL_IF(args.top_k > args.n_expert, MD_ERR_ARGUMENT, "--top-k %d is more than the %d experts there will be",
               (int)args.top_k, (int)args.n_expert);
    MD_TRY(md_cli_check_output(cli, in, out, err));

    md_cli_bar bar;
    md_upcycle_result result;
    md_cli_catch_interrupts();
    md_cli_bar_begin(&bar, cli, "writing");
    args.progress = md_cli_bar_update;
    args.progress_user = &bar;
    const md_status status = md_upcycle(in, out, &args, &result, err);
    md_cli_bar_end(&bar);
    if (status == MD_ERR_CANCELLED)
        return md_cli_cancelled(err);
    MD_TRY(status);
    return report(cli, out, &args, &result, md_sys_seconds() - bar.began, err);
}
