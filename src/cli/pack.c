/* SPDX-License-Identifier: Apache-2.0
 *
 * `medley pack`: a model laid out as the kernels read it, ahead of time. The library writes the file; here it is made sure that
 * nothing is overwritten unasked. */
#include "cli/cli.h"
#include "base/sys.h"

#include <medley/shape.h>
#include <string.h>

static md_status report(md_cli *cli, const char *path, const md_pack_result *r, double seconds, md_error *err)
{
    if (md_opt_flag(cli->options, MD_OPT_JSON))
        return md_cli_write_json(
            cli,
            json_pack("{s:o, s:I, s:I, s:I, s:I, s:I, s:f}", "output", md_cli_json_text(path, strlen(path)), "bytes_in",
                      (json_int_t)r->bytes_in, "bytes_out", (json_int_t)r->bytes_out, "tensors", (json_int_t)r->tensors,
                      "tiled", (json_int_t)r->tiled, "experts", (json_int_t)r->experts, "seconds", seconds),
            err);
    char in[32], out[32], experts[64] = "";
    if (r->experts > 0)
        snprintf(experts, sizeof experts, ", each of %llu experts in one piece", (unsigned long long)r->experts);
    md_cli_note(cli, "%llu of %llu tensors laid in tiles%s: %s became %s, in %.1f s; only medley reads this file",
                (unsigned long long)r->tiled, (unsigned long long)r->tensors, experts,
                md_cli_bytes(in, sizeof in, r->bytes_in), md_cli_bytes(out, sizeof out, r->bytes_out), seconds);
    return MD_OK;
}

md_status md_cli_pack(md_cli *cli, md_error *err)
{
    const md_options *o = cli->options;
    const char *in = o->operand[0], *out = md_opt_text(o, MD_OPT_PACK_OUT);
    MD_TRY(md_cli_check_output(cli, in, out, err));
    md_cli_bar bar;
    md_pack_result result;
    md_cli_catch_interrupts();
    md_cli_bar_begin(&bar, cli, "packing");
    md_pack_args args = {.n_threads = md_opt_given(o, MD_OPT_THREADS) ? (int32_t)md_opt_int(o, MD_OPT_THREADS) : 0,
                         .for_streaming = md_opt_flag(o, MD_OPT_FOR_STREAMING),
                         .progress = md_cli_bar_update,
                         .progress_user = &bar};
    const md_status status = md_pack(in, out, &args, &result, err);
    md_cli_bar_end(&bar);
    if (status == MD_ERR_CANCELLED)
        return md_cli_cancelled(err);
    MD_TRY(status);
    return report(cli, out, &result, md_sys_seconds() - bar.began, err);
}
