/* SPDX-License-Identifier: Apache-2.0
 *
 * `medley synth`: random models, with the shapes of public ones for measuring, or small ones for tests. The library
 * writes the file; here it is made sure that nothing is overwritten unasked. */
#include "cli/cli.h"
#include "base/sys.h"

#include <medley/unstable/synth.h>
#include <sys/stat.h>

/* What was not given is 0 or NULL, which leaves the choice to the maker. */
static md_synth_spec spec_of(const md_options *o)
{
    const char *ends = md_opt_text(o, MD_OPT_TYPE_ENDS), *like = md_opt_text(o, MD_OPT_LIKE);
    const char *embd = md_opt_text(o, MD_OPT_TYPE_EMBD), *out = md_opt_text(o, MD_OPT_TYPE_OUT);
    return (md_synth_spec){
        .like = like,
        .arch = like && !md_opt_given(o, MD_OPT_ARCH) ? NULL : md_opt_text(o, MD_OPT_ARCH),
        .n_layer = (int)md_opt_int(o, MD_OPT_LAYERS),
        .n_embd = (int)md_opt_int(o, MD_OPT_WIDTH),
        .n_head = (int)md_opt_int(o, MD_OPT_HEADS),
        .n_head_kv = (int)md_opt_int(o, MD_OPT_KV_HEADS),
        .head_dim = (int)md_opt_int(o, MD_OPT_HEAD_SIZE),
        .n_ff = (int)md_opt_int(o, MD_OPT_FFN),
        .n_expert = (int)md_opt_int(o, MD_OPT_SYNTH_EXPERTS),
        .n_expert_used = (int)md_opt_int(o, MD_OPT_SYNTH_TOP_K),
        .n_ff_exp = (int)md_opt_int(o, MD_OPT_EXPERT_FFN),
        .n_ff_shexp = (int)md_opt_int(o, MD_OPT_SHARED_FFN),
        .n_vocab = (int)md_opt_int(o, MD_OPT_VOCAB),
        .n_ctx = (int)md_opt_int(o, MD_OPT_TRAINED_CTX),
        .window = (int)md_opt_int(o, MD_OPT_WINDOW),
        .type = md_opt_text(o, MD_OPT_TYPE),
        .type_attn = md_opt_text(o, MD_OPT_TYPE_ATTN),
        .type_ffn = md_opt_text(o, MD_OPT_TYPE_FFN),
        .type_embd = embd ? embd : ends,
        .type_out = out ? out : ends,
        .fused_gate_up = md_opt_flag(o, MD_OPT_FUSED),
        .legacy_experts = md_opt_flag(o, MD_OPT_LEGACY),
        .tied_output = md_opt_flag(o, MD_OPT_TIED),
        .rope_factors = md_opt_flag(o, MD_OPT_ROPE_FACTORS),
        .router = md_opt_text(o, MD_OPT_SYNTH_ROUTER),
        .skew = (float)md_opt_number(o, MD_OPT_SKEW),
        .seed = (uint64_t)md_opt_int(o, MD_OPT_SYNTH_SEED),
        .n_threads = md_opt_given(o, MD_OPT_THREADS) ? (int)md_opt_int(o, MD_OPT_THREADS) : md_sys_default_threads(),
    };
}

md_status md_cli_synth(md_cli *cli, md_error *err)
{
    const md_options *o = cli->options;
    const char *path = md_opt_text(o, MD_OPT_SYNTH_OUT);
    MD_FAIL_IF(!path, MD_ERR_ARGUMENT, "no output was named: give -o FILE");
    struct stat st;
    MD_FAIL_IF(stat(path, &st) == 0 && S_ISREG(st.st_mode) && !md_opt_flag(o, MD_OPT_FORCE), MD_ERR_ARGUMENT,
               "'%s' exists: give --force to replace it", path);
    md_synth_spec spec = spec_of(o);
    md_cli_bar bar;
    md_cli_catch_interrupts();
    md_cli_bar_begin(&bar, cli, "writing");
    spec.progress = md_cli_bar_update;
    spec.progress_user = &bar;
    const md_status status = md_synth_write(&spec, path, err);
    md_cli_bar_end(&bar);
    return status == MD_ERR_CANCELLED ? md_cli_cancelled(err) : status;
}
