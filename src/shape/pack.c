/* SPDX-License-Identifier: Apache-2.0
 *
 * Packing: a model's file with its matrices in tiles. Binding says which may have them; then all tensors go by twice, in pieces
 * that several threads read and weave at once: first for the checksums, which stand in the header, then into the file. */
#include <medley/shape.h>

#include "base/pool.h"
#include "base/status.h"
#include "base/sys.h"
#include "model/checksum.h"
#include "model/weights.h"

#include <string.h>
#include <sys/stat.h>

/* Pieces that are in memory at once, for each thread. */
#define DEPTH 4

typedef struct pack_job {
    const md_model *m;
    const md_pack_args *args;
    md_gguf_writer *writer;
    md_pool *pool;
    md_in *in;         /* (n_parts) */
    size_t slot_bytes; /* room of a piece: read, and woven */
    int n_slots;
    unsigned char *slot; /* (n_slots, 2, slot_bytes) */
    md_status *status;   /* (n_slots) */
    md_error *error;     /* (n_slots) */
    uint64_t *sum;       /* (most pieces of a tensor) */
    uint64_t *total;     /* (n_tensors) checksums */
    uint64_t done, all;

    const md_gguf_tensor *t; /* the tensor under way, its layout, its first piece of this batch */
    md_layout layout;
    size_t piece, first;
} pack_job;

static size_t pieces_of(const md_gguf_tensor *t, size_t piece)
{
    return (t->bytes + piece - 1) / piece;
}

static size_t bytes_of(const pack_job *j, size_t piece)
{
    const size_t at = piece * j->piece;
    return j->t->bytes - at < j->piece ? j->t->bytes - at : j->piece;
}

/* The piece in slot i, as it will be in the file. */
static unsigned char *packed_at(const pack_job *j, int64_t i)
{
    return j->slot + (2 * (size_t)i + (j->layout == MD_LAYOUT_TILES)) * j->slot_bytes;
}

static void pack_items(void *ctx, int64_t first, int64_t last, int thread)
{
    (void)thread;
    const pack_job *j = ctx;
    for (int64_t i = first; i < last; i++) {
        const size_t piece = j->first + (size_t)i, n = bytes_of(j, piece);
        unsigned char *raw = j->slot + 2 * (size_t)i * j->slot_bytes;
        j->status[i] = md_in_read(&j->in[j->t->part], j->t->file_offset + piece * j->piece, raw, n, &j->error[i]);
        if (j->status[i] != MD_OK)
            continue;
        if (j->layout == MD_LAYOUT_TILES)
            md_weights_weave(j->t, raw, n, packed_at(j, i));
        if (j->writer)
            continue;
        md_checksum c;
        md_checksum_init(&c);
        md_checksum_add(&c, packed_at(j, i), n);
        j->sum[piece] = md_checksum_value(&c);
    }
}

static md_status pack_tensor(pack_job *j, size_t i, md_error *err)
{
    const md_model *m = j->m;
    j->t = md_gguf_tensor_at(m->file, i);
    j->layout = m->layout[i] == MD_LAYOUT_TILES ? MD_LAYOUT_TILES : MD_LAYOUT_ROWS;
    j->piece = md_weights_piece(j->t, j->layout);
    const size_t n = pieces_of(j->t, j->piece);
    for (j->first = 0; j->first < n; j->first += (size_t)j->n_slots) {
        const size_t some = n - j->first < (size_t)j->n_slots ? n - j->first : (size_t)j->n_slots;
        md_pool_run(j->pool, (int64_t)some, 1, pack_items, j);
        for (size_t k = 0; k < some; k++) {
            if (j->status[k] != MD_OK)
                return md_fail(err, j->status[k], "%s", j->error[k].message);
            const size_t bytes = bytes_of(j, j->first + k);
            if (j->writer)
                MD_TRY(md_gguf_data(j->writer, packed_at(j, (int64_t)k), bytes, err));
            j->done += bytes;
        }
        if (j->args && j->args->progress && !j->args->progress(j->args->progress_user, j->done, j->all))
            return md_fail(err, MD_ERR_CANCELLED, "packing was stopped");
    }
    if (!j->writer)
        j->total[i] = md_packed_join(j->sum, n);
    return MD_OK;
}

static md_status all_tensors(pack_job *j, md_error *err)
{
    for (size_t i = 0; i < md_gguf_n_tensors(j->m->file); i++)
        MD_TRY(pack_tensor(j, i, err));
    return MD_OK;
}

/* ---- the file ---- */

static md_status put_header(const pack_job *j, md_gguf_writer *w, md_error *err)
{
    const md_gguf *g = j->m->file;
    const size_t n = md_gguf_n_tensors(g);
    for (size_t i = 0; i < md_gguf_n_kv(g); i++)
        MD_TRY(md_gguf_copy_kv(w, md_gguf_kv_at(g, i), err));
    MD_TRY(md_gguf_set_string(w, "general.architecture", MD_PACKED_ARCH, err));
    MD_TRY(md_gguf_set_string(w, MD_PACKED_KEY_ARCH, j->m->arch->name, err));
    MD_TRY(md_gguf_set_u32(w, MD_PACKED_KEY_VERSION, MD_PACKED_VERSION, err));
    MD_TRY(md_gguf_set_u64(w, MD_PACKED_KEY_IDENTITY, j->m->identity, err));
    unsigned char *layout = md_calloc(n + 1, 1);
    if (!layout)
        return md_fail_memory(err, "a packed file's header");
    for (size_t i = 0; i < n; i++)
        layout[i] = j->m->layout[i] == MD_LAYOUT_TILES ? MD_LAYOUT_TILES : MD_LAYOUT_ROWS;
    md_status status = md_gguf_set_array(w, MD_PACKED_KEY_LAYOUT, MD_GGUF_U8, layout, n, err);
    md_free(layout);
    if (status == MD_OK)
        status = md_gguf_set_array(w, MD_PACKED_KEY_CHECKSUM, MD_GGUF_U64, j->total, n, err);
    for (size_t i = 0; status == MD_OK && i < n; i++) {
        char name[128];
        const md_gguf_tensor *t = md_gguf_tensor_at(g, i);
        MD_FAIL_IF(t->name.n >= sizeof name, MD_ERR_FORMAT, "a tensor's name has %zu bytes", t->name.n);
        memcpy(name, t->name.s, t->name.n);
        name[t->name.n] = '\0';
        status = md_gguf_add_tensor(w, name, t->type, t->n_dims, t->dim, err);
    }
    return status == MD_OK ? md_gguf_begin(w, err) : status;
}

static md_status write_file(pack_job *j, const char *path, md_pack_result *out, md_error *err)
{
    md_gguf_writer *w;
    MD_TRY(all_tensors(j, err));
    MD_TRY(md_gguf_writer_new(path, &w, err));
    md_status status = put_header(j, w, err);
    j->writer = w;
    if (status == MD_OK)
        status = all_tensors(j, err);
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
    for (size_t i = 0; i < md_gguf_n_tensors(g); i++) {
        const md_gguf_tensor *t = md_gguf_tensor_at(g, i);
        const size_t piece = md_weights_piece(t, (md_layout)j->m->layout[i]), n = pieces_of(t, piece);
        most = n > most ? n : most;
        j->slot_bytes = piece > j->slot_bytes ? piece : j->slot_bytes;
        j->all += 2 * t->bytes;
    }
    j->n_slots = n_threads * DEPTH;
    j->slot = md_calloc((size_t)j->n_slots * 2, j->slot_bytes);
    j->status = md_calloc((size_t)j->n_slots, sizeof *j->status);
    j->error = md_calloc((size_t)j->n_slots, sizeof *j->error);
    j->sum = md_calloc(most, sizeof *j->sum);
    j->total = md_calloc(md_gguf_n_tensors(g) + 1, sizeof *j->total);
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
    MD_FAIL_IF(m->packed.is, MD_ERR_ARGUMENT, "this model is packed already");
    MD_TRY(check_paths(m->file, path, err));
    pack_job j = {.m = m, .args = args};
    md_status status = take_memory(&j, args && args->n_threads > 0 ? args->n_threads : md_sys_default_threads(), err);
    if (status == MD_OK)
        status = write_file(&j, path, out, err);
    out->bytes_in = md_gguf_file_bytes(m->file);
    out->tensors = md_gguf_n_tensors(m->file);
    for (size_t i = 0; i < out->tensors; i++)
        out->tiled += m->layout[i] == MD_LAYOUT_TILES;
    for (int i = 0; j.in && i < md_gguf_n_parts(m->file); i++)
        md_in_close(&j.in[i]);
    md_pool_free(j.pool);
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
