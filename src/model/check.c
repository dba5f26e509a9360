/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading every weight of a file, in search of what cannot be right. Of a packed file checksums are compared, too, and tiles are
 * undone on the way. */
#include "model/model.h"

#include "base/status.h"
#include "base/checksum.h"
#include "model/weights.h"

#include <math.h>
#include <stdio.h>

#define STRIP  4096 /* weights decoded at a time; a multiple of every block */
#define ABSURD 1e6f

static void check_strip(const float *x, int64_t n, md_check_finding *f)
{
    for (int64_t i = 0; i < n; i++) {
        const float a = fabsf(x[i]);
        if (a != a)
            f->nan++;
        else if (a > 3.4028235e38f)
            f->inf++;
        else {
            f->absurd += a > ABSURD;
            f->max_abs = a > f->max_abs ? a : f->max_abs;
        }
    }
}

/* n weights that follow each other. */
static void check_row(md_type type, const char *p, int64_t n, md_check_finding *f)
{
    float x[STRIP];
    size_t strip_bytes;
    if (!md_type_row_bytes(type, STRIP, &strip_bytes))
        return;
    for (int64_t at = 0; at < n; at += STRIP, p += strip_bytes) {
        const int64_t some = n - at < STRIP ? n - at : STRIP;
        md_type_decode(type, p, x, some);
        check_strip(x, some, f);
    }
}

/* Eight rows of n weights that are woven together. */
static void check_tile(md_type type, const char *tile, int64_t n, md_check_finding *f)
{
    const md_tile_shape s = md_tile_shape_of(type);
    const int64_t block = md_type_get(type)->block, blocks = n / block, most = STRIP / block;
    char row[STRIP * 4]; /* no type has more bytes for a weight */
    for (int lane = 0; lane < MD_TILE_ROWS; lane++)
        for (int64_t b = 0; b < blocks; b += most) {
            const int64_t some = blocks - b < most ? blocks - b : most;
            md_tile_take(s, tile, lane, b, some, row);
            check_row(type, row, some * block, f);
        }
}

static void check_tensor(const md_gguf_tensor *t, bool tiles, md_check_finding *f)
{
    const size_t slice = md_gguf_slice_bytes(t), step = t->data_stride ? t->data_stride : slice;
    const int64_t n_slices = (int64_t)(t->bytes / slice);
    size_t row = 0;
    (void)!md_type_row_bytes(t->type, t->dim[0], &row);
    for (int64_t i = 0; i < n_slices; i++) {
        const char *p = (const char *)t->data + (size_t)i * step;
        if (!tiles)
            check_row(t->type, p, t->n_elements / n_slices, f);
        for (size_t at = 0; tiles && at < slice; at += MD_TILE_ROWS * row)
            check_tile(t->type, p + at, t->dim[0], f);
    }
}

static md_status check_sum(const md_gguf *g, const md_packed *packed, size_t i, md_error *err)
{
    const md_gguf_tensor *t = md_gguf_tensor_at(g, i);
    const md_weights_cut cut = md_weights_cut_of(t, (md_layout)packed->layout[i], t->file_stride > 0);
    uint64_t *sum = md_calloc(cut.n, sizeof *sum);
    if (!sum)
        return md_fail_memory(err, "the checksums of a tensor");
    for (size_t k = 0; k < cut.n; k++) {
        size_t bytes;
        const size_t at = md_weights_piece_at(&cut, k, &bytes);
        md_checksum c;
        md_checksum_init(&c);
        md_checksum_add(&c, (const char *)t->data + (md_gguf_file_place(t, at) - t->file_offset), bytes);
        sum[k] = md_checksum_value(&c);
    }
    const md_status status = md_packed_check(g, i, sum, cut.n, err);
    md_free(sum);
    return status;
}

static md_status check_file(const md_gguf *g, const md_packed *packed, md_check_fn *on_finding, void *user,
                            md_progress_fn *progress, void *progress_user, uint64_t *n_bad, md_error *err)
{
    uint64_t done = 0;
    for (size_t i = 0; i < md_gguf_n_tensors(g); i++) {
        const md_gguf_tensor *t = md_gguf_tensor_at(g, i);
        char name[256];
        snprintf(name, sizeof name, "%.*s", (int)(t->name.n < 255 ? t->name.n : 255), t->name.s);
        md_check_finding f = {.tensor = name};
        if (packed->is)
            MD_TRY(check_sum(g, packed, i, err));
        check_tensor(t, packed->is && packed->layout[i] == MD_LAYOUT_TILES, &f);
        if (f.nan || f.inf || f.absurd) {
            ++*n_bad;
            if (on_finding)
                on_finding(user, &f);
        }
        done += t->bytes;
        if (progress && !progress(progress_user, done, md_gguf_file_bytes(g)))
            return md_fail(err, MD_ERR_CANCELLED, "the check was stopped");
    }
    return MD_OK;
}

md_status md_model_check(const char *path, md_check_fn *on_finding, void *user, md_progress_fn *progress,
                         void *progress_user, uint64_t *n_bad, md_error *err)
{
    *n_bad = 0;
    md_gguf *g;
    MD_TRY(md_gguf_open(path, MD_GGUF_MAP, &g, err));
    md_packed packed;
    md_status status = md_packed_open(g, &packed, err);
    if (status == MD_OK)
        status = check_file(g, &packed, on_finding, user, progress, progress_user, n_bad, err);
    md_gguf_close(g);
    return status;
}
