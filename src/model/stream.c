/* SPDX-License-Identifier: Apache-2.0
 *
 * The way from a bound expert back to its file: binding gives its matrices addresses in a stretch without memory, in the order
 * of the tensors, so an address names a tensor and a distance from its beginning. */
#include "model/stream.h"

#include "base/status.h"

#include <string.h>

static bool ends_with(md_str s, const char *end)
{
    const size_t n = strlen(end);
    return s.n >= n && memcmp(s.s + s.n - n, end, n) == 0;
}

bool md_stream_is(const md_gguf_tensor *t)
{
    if (t->n_dims == 2) /* one tensor an expert, as early files have it */
        return ends_with(t->name, ".weight") && md_is_legacy_expert(t->name.s, t->name.n);
    return t->n_dims > 2 &&
           (ends_with(t->name, "ffn_gate_exps.weight") || ends_with(t->name, "ffn_up_exps.weight") ||
            ends_with(t->name, "ffn_down_exps.weight") || ends_with(t->name, "ffn_gate_up_exps.weight")) &&
           md_part_of(t->name.s, t->name.n) == MD_PART_ROUTED;
}

typedef struct plan_job {
    md_model *m;
    const md_gguf_tensor **tensor; /* (n) those that stay away, ascending by address; in the arena */
    size_t n;
} plan_job;

static const md_gguf_tensor *tensor_at(const plan_job *j, const char *p)
{
    size_t low = 0, high = j->n; /* the last that begins at p or before */
    while (high - low > 1) {
        const size_t mid = low + (high - low) / 2;
        if ((const char *)j->tensor[mid]->data <= p)
            low = mid;
        else
            high = mid;
    }
    return j->tensor[low];
}

static md_expert_place place_of(const plan_job *j, const md_weight *w)
{
    if (!w->data)
        return (md_expert_place){0};
    const md_gguf_tensor *t = tensor_at(j, w->data);
    return (md_expert_place){.file = t->part,
                             .weave = w->layout == MD_LAYOUT_TILES && !j->m->packed.is,
                             .offset = md_gguf_file_place(t, (uint64_t)((const char *)w->data - (const char *)t->data)),
                             .bytes = (size_t)w->rows * w->row_bytes};
}

static md_status list_tensors(plan_job *j, md_error *err)
{
    const md_gguf *g = j->m->file;
    const size_t all = md_gguf_n_tensors(g);
    j->tensor = md_arena_alloc(&j->m->arena, all, sizeof *j->tensor);
    if (!j->tensor)
        return md_fail_memory(err, "the places of experts");
    for (size_t i = 0; i < all; i++)
        if (md_stream_is(md_gguf_tensor_at(g, i)))
            j->tensor[j->n++] = md_gguf_tensor_at(g, i);
    return MD_OK;
}

static const md_expert_source *sources_of(const plan_job *j, const md_expert *expert, int32_t n)
{
    md_expert_source *s = md_arena_alloc(&j->m->arena, (size_t)n, sizeof *s);
    for (int32_t e = 0; s && e < n; e++)
        s[e] = (md_expert_source){.shape = expert[e],
                                  .gate = place_of(j, &expert[e].gate),
                                  .up = place_of(j, &expert[e].up),
                                  .down = place_of(j, &expert[e].down)};
    return s;
}

md_status md_stream_plan_new(md_model *m, md_error *err)
{
    plan_job j = {.m = m};
    const int32_t n = m->spec.n_layer, n_files = md_gguf_n_parts(m->file);
    MD_TRY(list_tensors(&j, err));
    md_stream_plan *plan = md_arena_alloc(&m->arena, 1, sizeof *plan);
    int32_t *n_expert = md_arena_alloc(&m->arena, (size_t)n, sizeof *n_expert);
    int32_t *top_k = md_arena_alloc(&m->arena, (size_t)n, sizeof *top_k);
    const md_expert_source **source = md_arena_alloc(&m->arena, (size_t)n, sizeof *source);
    const char **path = md_arena_alloc(&m->arena, (size_t)n_files, sizeof *path);
    if (!plan || !n_expert || !top_k || !source || !path)
        return md_fail_memory(err, "the places of experts");
    for (int32_t l = 0; l < n; l++) {
        const md_ffn_spec *f = &m->spec.layer[l].ffn;
        if (!f->expert)
            continue;
        n_expert[l] = f->router.n_expert - f->others.n_constant - f->others.n_copy - f->others.n_zero;
        top_k[l] = f->router.top_k;
        source[l] = sources_of(&j, f->expert, n_expert[l]);
        if (!source[l])
            return md_fail_memory(err, "the places of experts");
    }
    for (int32_t i = 0; i < n_files; i++)
        path[i] = md_gguf_part_path(m->file, i);
    *plan = (md_stream_plan){
        .args = {
            .n_layer = n, .n_expert = n_expert, .top_k = top_k, .source = source, .path = path, .n_files = n_files}};
    md_streamed_bytes(&plan->args, &plan->least, &plan->all);
    m->stream = plan;
    return MD_OK;
}
