/* SPDX-License-Identifier: Apache-2.0
 *
 * Tensors inside of other tensors: what a file keeps as rows of bytes, a piece of each row being a slice of some tensor, becomes
 * those tensors. Only tables change. Refuses pieces that leave their row or overlap, so that what is divided is as sound as
 * the tensor that it was. */
#include "format/gguf_inner.h"
#include "base/status.h"

#include <string.h>

size_t md_gguf_slice_bytes(const md_gguf_tensor *t)
{
    return t->file_stride ? t->bytes / (size_t)t->dim[t->n_dims - 1] : t->bytes;
}

uint64_t md_gguf_file_place(const md_gguf_tensor *t, uint64_t at)
{
    const size_t slice = md_gguf_slice_bytes(t);
    return t->file_stride ? t->file_offset + at / slice * t->file_stride + at % slice : t->file_offset + at;
}

static md_status refuse(const md_gguf_view *v, const char *why, md_error *err)
{
    return md_fail(err, MD_ERR_FORMAT, "tensor '%.*s' %s: the file is damaged", MD_STR_ARGS(v->name), why);
}

/* The tensor that v describes, whose slices lie in rows of `in`. */
static md_status view_tensor(const md_gguf_tensor *in, const md_gguf_view *v, md_gguf_tensor *t, md_error *err)
{
    if (in->type != MD_TYPE_I8 || in->n_dims != 2 || in->dim[0] % MD_GGUF_ALIGNMENT != 0)
        return refuse(v, "lies in a tensor that holds no others", err);
    if ((unsigned)v->type >= MD_N_TYPES || v->n_dims < 2 || v->n_dims > MD_GGUF_MAX_DIMS || v->name.n == 0)
        return refuse(v, "has no valid type, name or number of dimensions", err);
    *t = (md_gguf_tensor){.name = v->name, .type = v->type, .n_dims = v->n_dims, .part = in->part};
    size_t slice = 0;
    int64_t elements = 1;
    bool fits = v->dim[0] >= 1 && md_type_row_bytes(v->type, v->dim[0], &slice);
    for (int i = 0; i < MD_GGUF_MAX_DIMS; i++) {
        t->dim[i] = i < v->n_dims ? v->dim[i] : 1;
        fits = fits && t->dim[i] >= 1 && !__builtin_mul_overflow(elements, t->dim[i], &elements) &&
               (i == 0 || i >= v->n_dims - 1 || md_mul(slice, (size_t)t->dim[i], &slice));
    }
    t->n_elements = elements;
    /* rows times a slice is no more than `in` has bytes, once a slice fits into a row */
    if (!fits || t->dim[v->n_dims - 1] != in->dim[1] || slice > (uint64_t)in->dim[0] ||
        v->offset > (uint64_t)in->dim[0] - slice || v->offset % MD_GGUF_ALIGNMENT != 0)
        return refuse(v, "is not inside of the tensor that it is said to lie in", err);
    t->bytes = slice * (size_t)in->dim[1];
    t->file_offset = in->file_offset + v->offset;
    t->data = in->data ? (const char *)in->data + v->offset : NULL;
    t->file_stride = (uint64_t)in->dim[0];
    t->data_stride = (size_t)in->dim[0];
    return MD_OK;
}

/* Views follow each other as the header says. */
static md_status check_order(const md_gguf *g, const md_gguf_view *view, size_t n, md_error *err)
{
    for (size_t i = 0; i < n; i++) {
        if (view[i].tensor >= g->n_tensors)
            return refuse(&view[i], "lies in a tensor that is not there", err);
        if (i > 0 && view[i].tensor < view[i - 1].tensor)
            return refuse(&view[i], "lies before the one named before it", err);
    }
    return MD_OK;
}

static md_status fill(const md_gguf *g, const md_gguf_view *view, size_t n, md_gguf_tensor *out, md_error *err)
{
    size_t v = 0;
    for (size_t i = 0; i < g->n_tensors; i++) {
        if (v == n || view[v].tensor != i) {
            *out++ = g->tensor[i];
            continue;
        }
        for (uint64_t end = 0; v < n && view[v].tensor == i; v++, out++) {
            MD_TRY(view_tensor(&g->tensor[i], &view[v], out, err));
            if (view[v].offset < end)
                return refuse(&view[v], "overlaps the one named before it", err);
            end = view[v].offset + md_gguf_slice_bytes(out);
        }
    }
    return MD_OK;
}

/* How many tensors there will be. */
static size_t count(const md_gguf *g, const md_gguf_view *view, size_t n)
{
    size_t divided = 0;
    for (size_t i = 0; i < n; i++)
        divided += i == 0 || view[i].tensor != view[i - 1].tensor;
    return g->n_tensors - divided + n;
}

md_status md_gguf_divide(md_gguf *g, const md_gguf_view *view, size_t n, md_error *err)
{
    MD_TRY(check_order(g, view, n, err));
    const size_t all = count(g, view, n);
    md_gguf_tensor *tensor = md_arena_alloc(&g->arena, all, sizeof *tensor);
    md_hashmap name = {0};
    if (!tensor || !md_hashmap_reserve(&name, all)) {
        md_hashmap_done(&name);
        return md_fail_memory(err, "the tensor table of a GGUF file");
    }
    md_status status = fill(g, view, n, tensor, err);
    for (size_t i = 0; i < all && status == MD_OK; i++) {
        bool added;
        if (!md_hashmap_put(&name, tensor[i].name.s, tensor[i].name.n, i, &added))
            status = md_fail_memory(err, "the tensor table of a GGUF file");
        else if (!added)
            status = md_fail(err, MD_ERR_FORMAT, "tensor '%.*s' is there twice: the file is damaged",
                             MD_STR_ARGS(tensor[i].name));
    }
    if (status != MD_OK) {
        md_hashmap_done(&name);
        return status;
    }
    md_hashmap_done(&g->name);
    g->name = name;
    g->tensor = tensor;
    g->n_tensors = all;
    return MD_OK;
}
