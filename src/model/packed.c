/* SPDX-License-Identifier: Apache-2.0 */
#include "model/packed.h"

#include "base/mem.h"
#include "base/status.h"
#include "dtype/tile.h"
#include "base/checksum.h"
#include "model/stream.h"

#include <stdio.h>
#include <string.h>

static md_status array_of(const md_gguf *g, const char *key, md_gguf_kind elem, uint64_t n, const md_gguf_kv **out,
                          md_error *err)
{
    const md_gguf_kv *kv = md_gguf_find(g, key);
    *out = kv;
    if (kv && kv->kind == MD_GGUF_ARRAY && kv->elem == elem && kv->count == n)
        return MD_OK;
    return md_fail(err, MD_ERR_FORMAT, "this packed file lacks '%s' for each tensor: pack the model again", key);
}

/* ---- views ---- */

typedef struct view_keys {
    const md_gguf_kv *name, *type, *shape, *tensor, *offset;
} view_keys;

static uint64_t u64_at(const md_gguf_kv *kv, uint64_t i)
{
    uint64_t v;
    memcpy(&v, (const char *)kv->data + i * sizeof v, sizeof v);
    return v;
}

static uint32_t u32_at(const md_gguf_kv *kv, uint64_t i)
{
    uint32_t v;
    memcpy(&v, (const char *)kv->data + i * sizeof v, sizeof v);
    return v;
}

static md_status view_at(const view_keys *k, uint64_t i, md_gguf_view *v, md_error *err)
{
    char name[96];
    *v = (md_gguf_view){
        .name = k->name->strings[i], .n_dims = 3, .tensor = u32_at(k->tensor, i), .offset = u64_at(k->offset, i)};
    for (uint64_t d = 0; d < 3; d++) {
        const uint64_t dim = u64_at(k->shape, 3 * i + d);
        v->dim[d] = dim <= INT64_MAX ? (int64_t)dim : 0; /* which dividing refuses */
    }
    snprintf(name, sizeof name, "%.*s", (int)(v->name.n < 80 ? v->name.n : 80), v->name.s);
    return md_type_from_gguf(u32_at(k->type, i), name, &v->type, err);
}

static md_status put_views(md_gguf *g, md_error *err)
{
    const md_gguf_kv *names = md_gguf_find(g, MD_PACKED_KEY_VIEW_NAME);
    const uint64_t n = names ? names->count : 0;
    view_keys k;
    MD_FAIL_IF(n == 0 || n > UINT32_MAX, MD_ERR_FORMAT,
               "this packed file lacks '" MD_PACKED_KEY_VIEW_NAME "': pack the model again");
    MD_TRY(array_of(g, MD_PACKED_KEY_VIEW_NAME, MD_GGUF_STRING, n, &k.name, err));
    MD_TRY(array_of(g, MD_PACKED_KEY_VIEW_TYPE, MD_GGUF_U32, n, &k.type, err));
    MD_TRY(array_of(g, MD_PACKED_KEY_VIEW_SHAPE, MD_GGUF_U64, 3 * n, &k.shape, err));
    MD_TRY(array_of(g, MD_PACKED_KEY_VIEW_TENSOR, MD_GGUF_U32, n, &k.tensor, err));
    MD_TRY(array_of(g, MD_PACKED_KEY_VIEW_OFFSET, MD_GGUF_U64, n, &k.offset, err));
    md_gguf_view *view = md_calloc((size_t)n, sizeof *view);
    if (!view)
        return md_fail_memory(err, "a packed file's tensors");
    md_status status = MD_OK;
    for (uint64_t i = 0; i < n && status == MD_OK; i++)
        status = view_at(&k, i, &view[i], err);
    if (status == MD_OK)
        status = md_gguf_divide(g, view, (size_t)n, err);
    md_free(view);
    return status;
}

/* ---- the file ---- */

static md_status check_layout(const md_gguf *g, const unsigned char *layout, md_error *err)
{
    for (size_t i = 0; i < md_gguf_n_tensors(g); i++) {
        const md_gguf_tensor *t = md_gguf_tensor_at(g, i);
        MD_FAIL_IF(t->file_stride > 0 && !md_stream_is(t), MD_ERR_FORMAT,
                   "tensor '%.*s' is no expert's but lies among experts: the file is damaged", (int)t->name.n,
                   t->name.s);
        const bool can = md_tile_has(t->type) && t->dim[1] % MD_TILE_ROWS == 0;
        MD_FAIL_IF(layout[i] != MD_LAYOUT_ROWS && !(layout[i] == MD_LAYOUT_TILES && can), MD_ERR_FORMAT,
                   "tensor '%.*s' cannot be packed as this file says it is: pack the model again", (int)t->name.n,
                   t->name.s);
    }
    return MD_OK;
}

md_status md_packed_open(md_gguf *g, md_packed *out, md_error *err)
{
    *out = (md_packed){0};
    md_str arch = {0}, own = {0};
    bool found = false;
    MD_TRY(md_gguf_string(g, "general.architecture", &arch, &found, err));
    if (!found || !md_str_eq(arch, MD_PACKED_ARCH))
        return MD_OK;
    uint32_t version = 0;
    const md_gguf_kv *layout, *sums, *identity = md_gguf_find(g, MD_PACKED_KEY_IDENTITY);
    MD_TRY(md_gguf_u32(g, MD_PACKED_KEY_VERSION, &version, NULL, err));
    MD_FAIL_IF(version < 1 || version > MD_PACKED_VERSION, MD_ERR_UNSUPPORTED,
               "this file was packed in version %u of the layout, this program has 1 to %u: pack the model again",
               version, MD_PACKED_VERSION);
    MD_TRY(md_gguf_string(g, MD_PACKED_KEY_ARCH, &own, &found, err));
    MD_FAIL_IF(!found || !identity || identity->kind != MD_GGUF_U64, MD_ERR_FORMAT,
               "this packed file does not say which model it was made from: pack the model again");
    out->views = version > 1;
    if (out->views)
        MD_TRY(put_views(g, err));
    MD_TRY(array_of(g, MD_PACKED_KEY_LAYOUT, MD_GGUF_U8, md_gguf_n_tensors(g), &layout, err));
    MD_TRY(array_of(g, MD_PACKED_KEY_CHECKSUM, MD_GGUF_U64, md_gguf_n_tensors(g), &sums, err));
    MD_TRY(check_layout(g, layout->data, err));
    memcpy(&out->identity, identity->data, sizeof out->identity);
    out->layout = layout->data;
    out->is = true;
    return md_gguf_override(g, "general.architecture", MD_GGUF_STRING, own.s, own.n, err);
}

uint64_t md_packed_join(const uint64_t *piece, size_t n)
{
    md_checksum c;
    md_checksum_init(&c);
    md_checksum_add(&c, piece, n * sizeof *piece);
    return md_checksum_value(&c);
}

md_status md_packed_check(const md_gguf *g, size_t tensor, const uint64_t *piece, size_t n, md_error *err)
{
    const md_str name = md_gguf_tensor_at(g, tensor)->name;
    MD_FAIL_IF(md_packed_join(piece, n) != u64_at(md_gguf_find(g, MD_PACKED_KEY_CHECKSUM), tensor), MD_ERR_FORMAT,
               "tensor '%.*s' is not what was packed: the file is damaged; pack the model again", (int)name.n, name.s);
    return MD_OK;
}
