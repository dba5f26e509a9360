/* SPDX-License-Identifier: Apache-2.0
 *
 * What a token costs: bytes that must come from memory and multiply-adds, from the file's tensors and the layers' shapes.
 * Bytes are those of the file, whatever the layout in memory. */
#include "run/bench.h"

#include "model/model.h"
#include "model/spec.h"

static uint64_t tensor_bytes(const md_model *m, const char *name)
{
    const md_gguf_tensor *t = md_gguf_find_tensor(m->file, name);
    return t ? t->bytes : 0;
}

void md_bench_measure_model(const md_model *m, md_bench_work *out)
{
    const md_spec *sp = &m->spec;
    const md_part_size *part = m->info.part;
    const uint64_t output = tensor_bytes(m, "output.weight");
    double slots = 0.0;
    for (int32_t i = 0; i < sp->n_layer; i++)
        slots += sp->layer[i].ffn.router.n_expert;
    *out = (md_bench_work){
        .fixed_bytes = (double)(output > 0 ? output : tensor_bytes(m, "token_embd.weight")),
        .routed_bytes = (double)part[MD_PART_ROUTED].bytes,
        .routed_slots = slots,
        .output_macs = (double)sp->n_vocab * sp->n_embd,
    };
    for (int p = 0; p < MD_N_PARTS; p++)
        if (p != MD_PART_EMBEDDING && p != MD_PART_ROUTED)
            out->fixed_bytes += (double)part[p].bytes;
    out->token_macs = (double)m->info.weights_active - out->output_macs;
}

/* Positions of `n` that a layer's row sees. */
static double seen(const md_attn_spec *a, int32_t n)
{
    int32_t most = n;
    if (a->window > 0 && a->window < most)
        most = a->window;
    if (a->chunk > 0 && a->chunk < most)
        most = a->chunk;
    return most;
}

double md_bench_kv_bytes(const md_model *m, md_kv_type type, int32_t n)
{
    const double value = type == MD_KV_F32 ? 4.0 : type == MD_KV_F16 ? 2.0 : 34.0 / 32.0;
    double bytes = 0.0;
    for (int32_t i = 0; i < m->spec.n_layer; i++) {
        const md_attn_spec *a = &m->spec.layer[i].attn;
        if (m->spec.layer[i].mixer == MD_MIXER_ATTENTION)
            bytes += seen(a, n) * a->n_head_kv * (a->dim_k + (a->latent ? 0 : a->dim_v)) * value;
    }
    return bytes;
}

double md_bench_attention_macs(const md_model *m, int32_t n)
{
    double macs = 0.0;
    for (int32_t i = 0; i < m->spec.n_layer; i++) {
        const md_attn_spec *a = &m->spec.layer[i].attn;
        if (m->spec.layer[i].mixer == MD_MIXER_ATTENTION)
            macs += seen(a, n) * a->n_head * (a->dim_k + a->dim_v);
    }
    return macs;
}
