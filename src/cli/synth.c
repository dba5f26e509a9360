/* SPDX-License-Identifier: Apache-2.0
 *
 * `medley synth`: small random models for tests. For developers: not listed by --help. */
#include "cli/cli.h"

#include <medley/unstable/synth.h>

md_status md_cli_synth(md_cli *cli, md_error *err)
{
    const md_options *o = cli->options;
    const char *path = md_opt_text(o, MD_OPT_SYNTH_OUT);
    MD_FAIL_IF(!path, MD_ERR_ARGUMENT, "no output was named: give -o FILE");
    /* What was not given is 0 or NULL, which leaves the choice to the maker. */
    const md_synth_spec spec = {
        .arch = md_opt_text(o, MD_OPT_ARCH),
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
        .type_attn = md_opt_text(o, MD_OPT_TYPE_ATTN),
        .type_ffn = md_opt_text(o, MD_OPT_TYPE_FFN),
        .type_embd = md_opt_text(o, MD_OPT_TYPE_EMBD),
        .type_out = md_opt_text(o, MD_OPT_TYPE_OUT),
        .fused_gate_up = md_opt_flag(o, MD_OPT_FUSED),
        .legacy_experts = md_opt_flag(o, MD_OPT_LEGACY),
        .tied_output = md_opt_flag(o, MD_OPT_TIED),
        .rope_factors = md_opt_flag(o, MD_OPT_ROPE_FACTORS),
        .router = md_opt_text(o, MD_OPT_SYNTH_ROUTER),
        .seed = (uint64_t)md_opt_int(o, MD_OPT_SYNTH_SEED),
    };
    return md_synth_write(&spec, path, err);
}
