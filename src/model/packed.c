/* SPDX-License-Identifier: Apache-2.0 */
#include "model/packed.h"

#include "base/status.h"
#include "dtype/tile.h"
#include "model/checksum.h"

#include <string.h>

static md_status array_of(const md_gguf *g, const char *key, md_gguf_kind elem, const md_gguf_kv **out, md_error *err)
{
    const md_gguf_kv *kv = md_gguf_find(g, key);
    *out = kv;
    if (kv && kv->kind == MD_GGUF_ARRAY && kv->elem == elem && kv->count == md_gguf_n_tensors(g))
        return MD_OK;
    return md_fail(err, MD_ERR_FORMAT, "this packed file lacks '%s' for each tensor: pack the model again", key);
}

static md_status check_layout(const md_gguf *g, const unsigned char *layout, md_error *err)
{
    for (size_t i = 0; i < md_gguf_n_tensors(g); i++) {
        const md_gguf_tensor *t = md_gguf_tensor_at(g, i);
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
    MD_FAIL_IF(version != MD_PACKED_VERSION, MD_ERR_UNSUPPORTED,
               "this file was packed in version %u of the layout, this program has version %u: pack the model again",
               version, MD_PACKED_VERSION);
    MD_TRY(md_gguf_string(g, MD_PACKED_KEY_ARCH, &own, &found, err));
    MD_FAIL_IF(!found || !identity || identity->kind != MD_GGUF_U64, MD_ERR_FORMAT,
               "this packed file does not say which model it was made from: pack the model again");
    MD_TRY(array_of(g, MD_PACKED_KEY_LAYOUT, MD_GGUF_U8, &layout, err));
    MD_TRY(array_of(g, MD_PACKED_KEY_CHECKSUM, MD_GGUF_U64, &sums, err));
    MD_TRY(check_layout(g, layout->data, err));
    memcpy(&out->identity, identity->data, sizeof out->identity);
    out->layout = layout->data;
    out->is = true;
    return md_gguf_override(g, "general.architecture", MD_GGUF_STRING, own.s, own.n, err);
}

uint64_t md_packed_checksum(const md_gguf *g, size_t tensor)
{
    const md_gguf_kv *kv = md_gguf_find(g, MD_PACKED_KEY_CHECKSUM);
    uint64_t v;
    memcpy(&v, (const char *)kv->data + tensor * sizeof v, sizeof v);
    return v;
}

uint64_t md_packed_join(const uint64_t *piece, size_t n)
{
    md_checksum c;
    md_checksum_init(&c);
    md_checksum_add(&c, piece, n * sizeof *piece);
    return md_checksum_value(&c);
}
