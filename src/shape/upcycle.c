/* SPDX-License-Identifier: Apache-2.0
 *
 * Sparse upcycling (Komatsuzaki et al. 2023): a dense model's file becomes a mixture's, tensor by tensor, from the map to
 * the writer; beside them no more than one row is in memory. What is done to each tensor is in the plan. docs/upcycle.md
 * says what the result computes. One thread. */
#include "shape/upcycle.h"

#include "base/mem.h"
#include "base/rng.h"
#include "base/status.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define PIECE      ((size_t)1 << 20) /* bytes between two calls of progress */
#define ROUTER_RUN 1024              /* random numbers made at once */

typedef struct job {
    const md_upcycle_plan *plan;
    md_gguf_writer *writer;
    uint64_t done, told; /* bytes of tensors written; and when progress was called last */
} job;

void md_upcycle_args_default(md_upcycle_args *a)
{
    *a = (md_upcycle_args){.n_expert = 8, .top_k = 2, .noise = 1.0f};
}

static md_status check_args(const md_upcycle_args *a, md_error *err)
{
    MD_FAIL_IF(a->n_expert < 2 || a->n_expert > 1024, MD_ERR_ARGUMENT, "%d experts were asked for; give 2 to 1024",
               a->n_expert);
    MD_FAIL_IF(a->top_k < 1 || a->top_k > a->n_expert, MD_ERR_ARGUMENT,
               "top-%d of %d experts was asked for; give a top-k of 1 to %d", a->top_k, a->n_expert, a->n_expert);
    MD_FAIL_IF(!(a->noise > 0.0f && a->noise < INFINITY), MD_ERR_ARGUMENT,
               "the router's noise is %g; give a number above 0, or all tokens go to the same experts",
               (double)a->noise);
    MD_FAIL_IF(!(a->drop_ratio >= 0.0f && a->drop_ratio < 1.0f), MD_ERR_ARGUMENT,
               "the drop ratio is %g; give a share from 0 (plain copies) to below 1", (double)a->drop_ratio);
    return MD_OK;
}

/* The output must not be (a part of) the input. */
static md_status check_paths(const md_gguf *in, const char *out_path, md_error *err)
{
    struct stat out_st, in_st;
    if (stat(out_path, &out_st) != 0)
        return MD_OK;
    for (int i = 0; i < md_gguf_n_parts(in); i++)
        MD_FAIL_IF(stat(md_gguf_part_path(in, i), &in_st) == 0 && in_st.st_dev == out_st.st_dev &&
                       in_st.st_ino == out_st.st_ino,
                   MD_ERR_ARGUMENT, "'%s' is the model to be upcycled itself; give the output another name", out_path);
    return MD_OK;
}

/* ---- metadata ---- */

/* Sets `key` to prefix + its value + suffix, if it is there. */
static md_status extend_string(const job *j, const char *key, const char *prefix, const char *suffix, md_error *err)
{
    md_str old;
    bool found;
    MD_TRY(md_gguf_string(j->plan->in, key, &old, &found, err));
    if (!found)
        return MD_OK;
    md_buf b = {0};
    md_buf_puts(&b, prefix);
    md_buf_append(&b, old.s, old.n);
    md_buf_puts(&b, suffix);
    const md_status status = b.failed ? md_fail_memory(err, "metadata")
                                      : md_gguf_set_string(j->writer, key, b.data, err);
    md_buf_done(&b);
    return status;
}

/* Copies a key; those of the architecture get its new name. */
static md_status copy_key(const job *j, const md_gguf_kv *kv, md_error *err)
{
    const char *const old = j->plan->arch_in, *const new = j->plan->arch_out;
    const size_t n = strlen(old);
    if (strcmp(old, new) == 0 || kv->key.n <= n || memcmp(kv->key.s, old, n) != 0 || kv->key.s[n] != '.')
        return md_gguf_copy_kv(j->writer, kv, err);
    md_buf b = {0};
    md_buf_puts(&b, new);
    md_buf_append(&b, kv->key.s + n, kv->key.n - n);
    md_gguf_kv renamed = *kv;
    renamed.key = (md_str){b.data, b.len};
    const md_status status = b.failed ? md_fail_memory(err, "metadata") : md_gguf_copy_kv(j->writer, &renamed, err);
    md_buf_done(&b);
    return status;
}

static md_status set_arch_u32(const job *j, const char *name, uint32_t v, md_error *err)
{
    md_buf b = {0};
    md_buf_printf(&b, "%s.%s", j->plan->arch_out, name);
    const md_status status = b.failed ? md_fail_memory(err, "metadata") : md_gguf_set_u32(j->writer, b.data, v, err);
    md_buf_done(&b);
    return status;
}

static md_status write_metadata(const job *j, md_error *err)
{
    const md_upcycle_plan *p = j->plan;
    const md_upcycle_args *a = p->args;
    for (size_t i = 0; i < md_gguf_n_kv(p->in); i++)
        MD_TRY(copy_key(j, md_gguf_kv_at(p->in, i), err));
    MD_TRY(md_gguf_set_string(j->writer, "general.architecture", p->arch_out, err));
    char experts[32];
    snprintf(experts, sizeof experts, " (%d experts)", a->n_expert);
    MD_TRY(extend_string(j, "general.name", "", experts, err));
    snprintf(experts, sizeof experts, "%dx", a->n_expert);
    MD_TRY(extend_string(j, "general.size_label", experts, "", err));
    MD_TRY(set_arch_u32(j, "expert_count", (uint32_t)a->n_expert, err));
    MD_TRY(set_arch_u32(j, "expert_used_count", (uint32_t)a->top_k, err));
    if (p->set_expert_width)
        MD_TRY(set_arch_u32(j, "expert_feed_forward_length", (uint32_t)p->layer[0].n_ff, err));
    MD_TRY(md_gguf_set_u64(j->writer, "medley.upcycle.seed", a->seed, err));
    MD_TRY(md_gguf_set_f32(j->writer, "medley.upcycle.noise", a->noise, err));
    return md_gguf_set_f32(j->writer, "medley.upcycle.drop_ratio", a->drop_ratio, err);
}

/* ---- tensors ---- */

static md_status declare_tensor(const job *j, const md_upcycle_tensor *t, md_error *err)
{
    const int64_t n_expert = j->plan->args->n_expert;
    switch (t->kind) {
    case MD_UPCYCLE_EXPERTS:
        return md_gguf_add_tensor(j->writer, t->name, t->src->type, 3,
                                  (const int64_t[]){t->src->dim[0], t->src->dim[1], n_expert}, err);
    case MD_UPCYCLE_SCALES: return md_gguf_add_tensor(j->writer, t->name, t->src->type, 1, &n_expert, err);
    case MD_UPCYCLE_ROUTER:
        return md_gguf_add_tensor(j->writer, t->name, MD_TYPE_F32, 2, (const int64_t[]){j->plan->n_embd, n_expert},
                                  err);
    case MD_UPCYCLE_COPY: break;
    }
    md_buf name = {0};
    md_buf_append(&name, t->src->name.s, t->src->name.n);
    const md_status status = name.failed ? md_fail_memory(err, "a tensor's name")
                                         : md_gguf_add_tensor(j->writer, name.data, t->src->type, t->src->n_dims,
                                                              t->src->dim, err);
    md_buf_done(&name);
    return status;
}

static md_status tell(job *j, md_error *err)
{
    const md_upcycle_args *a = j->plan->args;
    j->told = j->done;
    MD_FAIL_IF(a->progress && !a->progress(a->progress_user, j->done, j->plan->bytes), MD_ERR_CANCELLED,
               "upcycling was stopped; nothing was written");
    return MD_OK;
}

static md_status put(void *user, const void *bytes, size_t n, md_error *err)
{
    job *j = user;
    const unsigned char *p = bytes;
    while (n > 0) {
        const size_t piece = n < PIECE ? n : PIECE;
        MD_TRY(md_gguf_data(j->writer, p, piece, err));
        p += piece;
        n -= piece;
        j->done += piece;
        if (j->done - j->told >= PIECE)
            MD_TRY(tell(j, err));
    }
    return MD_OK;
}

/* Router rows of independent normal numbers: on inputs of length sqrt(n_embd), as the norm before it makes them, scores
 * spread by `noise`. */
static md_status put_router(job *j, const md_upcycle_tensor *t, md_error *err)
{
    const md_upcycle_plan *p = j->plan;
    const double spread = (double)p->args->noise / sqrt((double)p->n_embd);
    const uint64_t n = (uint64_t)p->n_embd * (uint64_t)p->args->n_expert, stream = md_rand_stream(t->name);
    float run[ROUTER_RUN];
    for (uint64_t at = 0; at < n;) {
        const size_t now = n - at < ROUTER_RUN ? (size_t)(n - at) : ROUTER_RUN;
        for (size_t i = 0; i < now; i++)
            run[i] = (float)(spread * (double)md_rand_normal(p->args->seed, stream, at + i));
        MD_TRY(put(j, run, now * sizeof *run, err));
        at += now;
    }
    return MD_OK;
}

static md_status put_tensor(job *j, const md_upcycle_tensor *t, md_error *err)
{
    const md_upcycle_plan *p = j->plan;
    if (t->kind == MD_UPCYCLE_ROUTER)
        return put_router(j, t, err);
    const int32_t times = t->kind == MD_UPCYCLE_COPY ? 1 : p->args->n_expert;
    const bool redraw = t->kind == MD_UPCYCLE_EXPERTS && p->layer[t->layer].n_redraw > 0;
    for (int32_t expert = 0; expert < times; expert++) {
        if (redraw)
            MD_TRY(md_upcycle_redraw(p, t, expert, put, j, err));
        else
            MD_TRY(put(j, t->src->data, t->src->bytes, err));
    }
    return MD_OK;
}

static md_status write_file(job *j, const char *out_path, md_error *err)
{
    const md_upcycle_plan *p = j->plan;
    MD_TRY(md_gguf_writer_new(out_path, &j->writer, err));
    MD_TRY(write_metadata(j, err));
    for (size_t i = 0; i < p->n_tensors; i++)
        MD_TRY(declare_tensor(j, &p->tensor[i], err));
    MD_TRY(md_gguf_begin(j->writer, err));
    MD_TRY(tell(j, err));
    for (size_t i = 0; i < p->n_tensors; i++)
        MD_TRY(put_tensor(j, &p->tensor[i], err));
    if (j->told < j->done)
        MD_TRY(tell(j, err));
    return md_gguf_commit(j->writer, err);
}

static md_upcycle_result result_of(const md_upcycle_plan *p, const md_gguf_writer *w)
{
    md_upcycle_result r = {
        .bytes_in = md_gguf_file_bytes(p->in),
        .bytes_out = md_gguf_writer_bytes(w),
        .weights_out = p->weights,
        .n_layer = p->n_layer,
    };
    for (size_t i = 0; i < md_gguf_n_tensors(p->in); i++)
        r.weights_in += (uint64_t)md_gguf_tensor_at(p->in, i)->n_elements;
    for (int32_t i = 0; i < p->n_layer; i++)
        r.neurons_redrawn += p->layer[i].n_redraw * p->layer[i].group * p->args->n_expert;
    return r;
}

md_status md_upcycle(const char *in_path, const char *out_path, const md_upcycle_args *args, md_upcycle_result *out,
                     md_error *err)
{
    *out = (md_upcycle_result){0};
    MD_TRY(check_args(args, err));
    md_gguf *in = NULL;
    MD_TRY(md_gguf_open(in_path, MD_GGUF_MAP, &in, err));
    md_upcycle_plan plan = {0};
    job j = {.plan = &plan};
    md_status status;
    MD_TRY_GOTO(check_paths(in, out_path, err));
    status = md_upcycle_plan_make(in, args, &plan, err);
    if (status != MD_OK) {
        (void)md_fail_within(err, status, "cannot upcycle '%s'", in_path);
        goto fail;
    }
    MD_TRY_GOTO(write_file(&j, out_path, err));
    *out = result_of(&plan, j.writer);
fail:
    md_gguf_writer_close(j.writer);
    md_upcycle_plan_done(&plan);
    md_gguf_close(in);
    return status;
}
