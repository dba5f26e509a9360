/* SPDX-License-Identifier: Apache-2.0
 *
 * Packing: a model's file with its matrices in tiles. Binding says which may have them; then all tensors go by twice, in pieces
 * that several threads read and weave at once: first for the checksums, which stand in the header, then into the file. */
#include <medley/shape.h>

#include "base/pool.h"
#include "base/status.h"
#include "base/sys.h"
#include "base/checksum.h"
#include "shape/pack_plan.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* Pieces that are in memory at once, for each thread. */
#define DEPTH 4

typedef struct pack_job {
    const md_model *m;
    const md_pack_args *args;
    md_gguf_writer *writer;
    md_pool *pool;
    md_in *in; /* (n_parts) */
    md_pack_plan plan;
    size_t slot_bytes; /* room of a piece: read, and woven */
    int n_slots;
    unsigned char *slot; /* (n_slots, 2, slot_bytes) */
    md_status *status;   /* (n_slots) */
    md_error *error;     /* (n_slots) */
    uint64_t *sum;       /* (most pieces of a place) */
    uint64_t *total;     /* (n_members) checksums */
    uint64_t done, all;

    const md_pack_place *place; /* the place under way, its first piece of this batch */
    size_t first;
} pack_job;

static const md_gguf_tensor *tensor_of(const pack_job *j, const md_pack_member *m)
{
    return md_gguf_tensor_at(j->m->file, m->tensor);
}

/* Is it rows in the model and tiles in the packed file? */
static bool weaves(const pack_job *j, const md_pack_member *m)
{
    return m->layout == MD_LAYOUT_TILES && !j->m->packed.is;
}

/* Piece p, in slot i, as it will be in the file. */
static unsigned char *packed_at(const pack_job *j, const md_pack_piece *p, int64_t i)
{
    return j->slot + (2 * (size_t)i + weaves(j, p->member)) * j->slot_bytes;
}

static void pack_items(void *ctx, int64_t first, int64_t last, int thread)
{
    (void)thread;
    const pack_job *j = ctx;
    for (int64_t i = first; i < last; i++) {
        const md_pack_piece p = md_pack_piece_of(&j->plan, j->place, j->first + (size_t)i);
        const md_gguf_tensor *t = tensor_of(j, p.member);
        unsigned char *raw = j->slot + 2 * (size_t)i * j->slot_bytes;
        j->status[i] = md_weights_read(&j->in[t->part], t, p.at, raw, p.bytes, &j->error[i]);
        if (j->status[i] != MD_OK)
            continue;
        if (weaves(j, p.member))
            md_weights_weave(t, raw, p.bytes, packed_at(j, &p, i));
        if (j->writer)
            continue;
        md_checksum c;
        md_checksum_init(&c);
        md_checksum_add(&c, packed_at(j, &p, i), p.bytes);
        j->sum[p.member->first_piece + p.index] = md_checksum_value(&c);
    }
}

static md_status write_piece(pack_job *j, const md_pack_piece *p, int64_t slot, md_error *err)
{
    static const unsigned char zeros[MD_PACKED_ALIGN] = {0};
    MD_TRY(md_gguf_data(j->writer, packed_at(j, p, slot), p->bytes, err));
    return md_gguf_data(j->writer, zeros, (size_t)p->pad, err); /* less than MD_PACKED_ALIGN */
}

static md_status pack_place(pack_job *j, const md_pack_place *place, md_error *err)
{
    j->place = place;
    for (j->first = 0; j->first < place->pieces; j->first += (size_t)j->n_slots) {
        const size_t left = place->pieces - j->first, some = left < (size_t)j->n_slots ? left : (size_t)j->n_slots;
        md_pool_run(j->pool, (int64_t)some, 1, pack_items, j);
        for (size_t k = 0; k < some; k++) {
            if (j->status[k] != MD_OK)
                return md_fail(err, j->status[k], "%s", j->error[k].message);
            const md_pack_piece p = md_pack_piece_of(&j->plan, place, j->first + k);
            if (j->writer)
                MD_TRY(write_piece(j, &p, (int64_t)k, err));
            j->done += p.bytes;
        }
        if (j->args && j->args->progress && !j->args->progress(j->args->progress_user, j->done, j->all))
            return md_fail(err, MD_ERR_CANCELLED, "packing was stopped");
    }
    for (size_t i = place->first; !j->writer && i < place->first + place->n; i++) {
        const md_pack_member *m = &j->plan.member[i];
        j->total[i] = md_packed_join(j->sum + m->first_piece, m->cut.n);
    }
    return MD_OK;
}

static md_status all_places(pack_job *j, md_error *err)
{
    for (size_t i = 0; i < j->plan.n_places; i++)
        MD_TRY(pack_place(j, &j->plan.place[i], err));
    return MD_OK;
}

/* ---- the file ---- */

/* What the model's file says, but for what packing said of a file before. */
static md_status put_keys(const pack_job *j, md_gguf_writer *w, md_error *err)
{
    static const char own[] = MD_PACKED_KEYS;
    const md_gguf *g = j->m->file;
    for (size_t i = 0; i < md_gguf_n_kv(g); i++) {
        const md_gguf_kv *kv = md_gguf_kv_at(g, i);
        if (kv->key.n < sizeof own - 1 || memcmp(kv->key.s, own, sizeof own - 1) != 0)
            MD_TRY(md_gguf_copy_kv(w, kv, err));
    }
    MD_TRY(md_gguf_set_string(w, "general.architecture", MD_PACKED_ARCH, err));
    MD_TRY(md_gguf_set_string(w, MD_PACKED_KEY_ARCH, j->m->arch->name, err));
    MD_TRY(md_gguf_set_u32(w, MD_PACKED_KEY_VERSION, j->plan.n_bundles > 0 ? MD_PACKED_VERSION : 1, err));
    return md_gguf_set_u64(w, MD_PACKED_KEY_IDENTITY, j->m->identity, err);
}

static md_status put_layouts(const pack_job *j, md_gguf_writer *w, md_error *err)
{
    const size_t n = j->plan.n_members;
    unsigned char *layout = md_calloc(n + 1, 1);
    if (!layout)
        return md_fail_memory(err, "a packed file's header");
    for (size_t i = 0; i < n; i++)
        layout[i] = (unsigned char)j->plan.member[i].layout;
    const md_status status = md_gguf_set_array(w, MD_PACKED_KEY_LAYOUT, MD_GGUF_U8, layout, n, err);
    md_free(layout);
    MD_TRY(status);
    return md_gguf_set_array(w, MD_PACKED_KEY_CHECKSUM, MD_GGUF_U64, j->total, n, err);
}

/* Of every member of a bundle. */
typedef struct views {
    md_str *name;
    uint32_t *type, *tensor;
    uint64_t *shape, *offset;
} views;

static void list_views(const pack_job *j, const views *v)
{
    size_t n = 0;
    for (size_t i = 0; i < j->plan.n_places; i++) {
        const md_pack_place *at = &j->plan.place[i];
        for (size_t k = at->first; at->rows > 0 && k < at->first + at->n; k++, n++) {
            const md_pack_member *m = &j->plan.member[k];
            const md_gguf_tensor *t = tensor_of(j, m);
            v->name[n] = t->name;
            v->type[n] = md_type_get(t->type)->gguf_id;
            v->tensor[n] = (uint32_t)i;
            v->offset[n] = m->offset;
            for (int d = 0; d < 3; d++)
                v->shape[3 * n + (size_t)d] = (uint64_t)t->dim[d];
        }
    }
}

static md_status put_views(pack_job *j, md_gguf_writer *w, md_error *err)
{
    md_arena *a = &j->plan.arena;
    size_t n = 0;
    for (size_t i = 0; i < j->plan.n_places; i++)
        n += j->plan.place[i].rows > 0 ? j->plan.place[i].n : 0;
    if (n == 0)
        return MD_OK;
    const views v = {.name = md_arena_alloc(a, n, sizeof *v.name),
                     .type = md_arena_alloc(a, n, sizeof *v.type),
                     .tensor = md_arena_alloc(a, n, sizeof *v.tensor),
                     .shape = md_arena_alloc(a, 3 * n, sizeof *v.shape),
                     .offset = md_arena_alloc(a, n, sizeof *v.offset)};
    if (!v.name || !v.type || !v.tensor || !v.shape || !v.offset)
        return md_fail_memory(err, "a packed file's header");
    list_views(j, &v);
    MD_TRY(md_gguf_set_strings(w, MD_PACKED_KEY_VIEW_NAME, v.name, n, err));
    MD_TRY(md_gguf_set_array(w, MD_PACKED_KEY_VIEW_TYPE, MD_GGUF_U32, v.type, n, err));
    MD_TRY(md_gguf_set_array(w, MD_PACKED_KEY_VIEW_SHAPE, MD_GGUF_U64, v.shape, 3 * n, err));
    MD_TRY(md_gguf_set_array(w, MD_PACKED_KEY_VIEW_TENSOR, MD_GGUF_U32, v.tensor, n, err));
    return md_gguf_set_array(w, MD_PACKED_KEY_VIEW_OFFSET, MD_GGUF_U64, v.offset, n, err);
}

static md_status put_tensor(const pack_job *j, const md_pack_place *at, md_gguf_writer *w, md_error *err)
{
    char name[128];
    const md_gguf_tensor *t = tensor_of(j, &j->plan.member[at->first]);
    MD_FAIL_IF(t->name.n >= sizeof name, MD_ERR_FORMAT, "a tensor's name has %zu bytes", t->name.n);
    memcpy(name, t->name.s, t->name.n);
    name[t->name.n] = '\0';
    if (at->rows == 0)
        return md_gguf_add_tensor(w, name, t->type, t->n_dims, t->dim, err);
    char *what = strstr(name, "ffn_"); /* of blk.LAYER.ffn_WHAT_exps.weight */
    snprintf(what, sizeof name - (size_t)(what - name), "ffn_exps");
    return md_gguf_add_tensor(w, name, MD_TYPE_I8, 2, (const int64_t[]){(int64_t)at->row_bytes, at->rows}, err);
}

static md_status put_header(pack_job *j, md_gguf_writer *w, md_error *err)
{
    if (j->args && j->args->for_streaming)
        MD_TRY(md_gguf_set_alignment(w, MD_PACKED_ALIGN, err));
    MD_TRY(put_keys(j, w, err));
    MD_TRY(put_layouts(j, w, err));
    MD_TRY(put_views(j, w, err));
    for (size_t i = 0; i < j->plan.n_places; i++)
        MD_TRY(put_tensor(j, &j->plan.place[i], w, err));
    return md_gguf_begin(w, err);
}

static md_status write_file(pack_job *j, const char *path, md_pack_result *out, md_error *err)
{
    md_gguf_writer *w;
    MD_TRY(all_places(j, err));
    MD_TRY(md_gguf_writer_new(path, &w, err));
    md_status status = put_header(j, w, err);
    j->writer = w;
    if (status == MD_OK)
        status = all_places(j, err);
    if (status == MD_OK)
        status = md_gguf_commit(w, err);
    out->bytes_out = md_gguf_writer_bytes(w);
    md_gguf_writer_close(w);
    return status;
}

/* The output must not be (a part of) the input. */
static md_status check_paths(const md_gguf *in, const char *out_path, md_error *err)
{
    struct stat a, b;
    for (int i = 0; stat(out_path, &b) == 0 && i < md_gguf_n_parts(in); i++)
        MD_FAIL_IF(stat(md_gguf_part_path(in, i), &a) == 0 && a.st_dev == b.st_dev && a.st_ino == b.st_ino,
                   MD_ERR_ARGUMENT, "'%s' is the model to be packed itself; give the output another name", out_path);
    return MD_OK;
}

static md_status take_memory(pack_job *j, int n_threads, md_error *err)
{
    const md_gguf *g = j->m->file;
    size_t most = 1;
    MD_TRY(md_pack_plan_init(&j->plan, j->m, j->args && j->args->for_streaming, err));
    for (size_t i = 0; i < j->plan.n_places; i++)
        most = j->plan.place[i].pieces > most ? j->plan.place[i].pieces : most;
    for (size_t i = 0; i < j->plan.n_members; i++) {
        const md_pack_member *m = &j->plan.member[i];
        j->slot_bytes = m->cut.piece > j->slot_bytes ? m->cut.piece : j->slot_bytes;
        j->all += 2 * tensor_of(j, m)->bytes;
    }
    j->n_slots = n_threads * DEPTH;
    j->slot = md_calloc((size_t)j->n_slots * 2, j->slot_bytes);
    j->status = md_calloc((size_t)j->n_slots, sizeof *j->status);
    j->error = md_calloc((size_t)j->n_slots, sizeof *j->error);
    j->sum = md_calloc(most, sizeof *j->sum);
    j->total = md_calloc(j->plan.n_members + 1, sizeof *j->total);
    j->in = md_calloc((size_t)md_gguf_n_parts(g), sizeof *j->in);
    if (!j->slot || !j->status || !j->error || !j->sum || !j->total || !j->in)
        return md_fail_memory(err, "packing");
    for (int i = 0; i < md_gguf_n_parts(g); i++)
        j->in[i].fd = -1;
    for (int i = 0; i < md_gguf_n_parts(g); i++)
        MD_TRY(md_in_open(md_gguf_part_path(g, i), &j->in[i], err));
    return md_pool_new(n_threads, &j->pool, err);
}

static md_status pack(const md_model *m, const char *path, const md_pack_args *args, md_pack_result *out, md_error *err)
{
    const bool streaming = args && args->for_streaming;
    MD_FAIL_IF(m->packed.is && m->packed.views == streaming, MD_ERR_ARGUMENT, "this model is packed already%s",
               streaming ? ", for streaming" : "");
    MD_TRY(check_paths(m->file, path, err));
    pack_job j = {.m = m, .args = args};
    md_status status = take_memory(&j, args && args->n_threads > 0 ? args->n_threads : md_sys_default_threads(), err);
    if (status == MD_OK)
        status = write_file(&j, path, out, err);
    out->bytes_in = md_gguf_file_bytes(m->file);
    out->tensors = md_gguf_n_tensors(m->file);
    for (size_t i = 0; i < j.plan.n_members; i++)
        out->tiled += j.plan.member[i].layout == MD_LAYOUT_TILES;
    out->experts = j.plan.n_experts;
    for (int i = 0; j.in && i < md_gguf_n_parts(m->file); i++)
        md_in_close(&j.in[i]);
    md_pool_free(j.pool);
    md_pack_plan_done(&j.plan);
    md_free(j.slot);
    md_free(j.status);
    md_free(j.error);
    md_free(j.sum);
    md_free(j.total);
    md_free(j.in);
    return status;
}

md_status md_pack(const char *in_path, const char *out_path, const md_pack_args *args, md_pack_result *out,
                  md_error *err)
{
    *out = (md_pack_result){0};
    md_model *m;
    MD_TRY(md_model_open(in_path, &(md_model_args){.map = true}, &m, err));
    const md_status status = pack(m, out_path, args, out, err);
    md_model_close(m);
    return status;
}
