/* SPDX-License-Identifier: Apache-2.0
 *
 * Any bytes through the GGUF reader, then through everything that can be asked of the result. A file that opens must
 * keep the promises of the tables: found names, sizes that fit, data inside the file; and still if it is a packed one, whose
 * tensors lie inside of others. */
#include "format/gguf.h"
#include "base/mem.h"
#include "model/packed.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void require(bool promise)
{
    if (!promise)
        abort();
}

/* The bytes as a C string; NULL if they hold a NUL, which no look-up can ask for. */
static char *c_string(md_str s)
{
    return memchr(s.s, '\0', s.n) ? NULL : strndup(s.s, s.n);
}

static void ask_key(const md_gguf *g, const md_gguf_kv *kv)
{
    md_error err;
    uint32_t u;
    int64_t i;
    float f;
    bool b, found;
    md_str s;
    const uint64_t last = kv->count ? kv->count - 1 : 0;
    (void)!md_gguf_array_i64(kv, last, &i, &err);
    (void)!md_gguf_array_f32(kv, last, &f, &err);
    if (md_gguf_array_str(kv, last, &s, &err) == MD_OK && s.n)
        require(s.s >= (const char *)kv->data && s.s + s.n <= (const char *)kv->data + kv->bytes);
    require(kv->kind != MD_GGUF_ARRAY || md_gguf_array_i64(kv, kv->count, &i, &err) != MD_OK);
    char *key = c_string(kv->key);
    if (!key)
        return;
    require(md_gguf_find(g, key) == kv);
    const bool is_u32 = md_gguf_u32(g, key, &u, &found, &err) == MD_OK;
    require(found && (!is_u32 || kv->kind != MD_GGUF_STRING));
    (void)!md_gguf_f32(g, key, &f, &found, &err);
    (void)!md_gguf_bool(g, key, &b, &found, &err);
    require((md_gguf_string(g, key, &s, &found, &err) == MD_OK) == (kv->kind == MD_GGUF_STRING));
    free(key);
}

static void ask_tensor(const md_gguf *g, const md_gguf_tensor *t, uint64_t file_bytes)
{
    int64_t n = 1;
    require(t->n_dims >= 1 && t->n_dims <= MD_GGUF_MAX_DIMS && t->bytes > 0);
    for (int i = 0; i < MD_GGUF_MAX_DIMS; i++) {
        require(t->dim[i] >= 1 && (i < t->n_dims || t->dim[i] == 1));
        n *= t->dim[i];
    }
    require(n == t->n_elements && t->file_offset % (t->file_stride ? 32 : md_gguf_alignment(g)) == 0);
    const size_t slice = md_gguf_slice_bytes(t);
    require(slice > 0 && t->bytes % slice == 0 && t->file_stride == t->data_stride);
    require(t->file_stride == 0 ? slice == t->bytes : slice <= t->file_stride);
    if (t->data) {
        const volatile unsigned char *bytes = t->data;
        const uint64_t last = md_gguf_file_place(t, t->bytes - 1);
        require(last < file_bytes);
        (void)(bytes[0] + bytes[last - t->file_offset]);
    }
    char *name = c_string(t->name);
    if (name)
        require(md_gguf_find_tensor(g, name) == t);
    free(name);
}

static void ask_all(const md_gguf *g, size_t n)
{
    for (size_t i = 0; i < md_gguf_n_kv(g); i++)
        ask_key(g, md_gguf_kv_at(g, i));
    for (size_t i = 0; i < md_gguf_n_tensors(g); i++)
        ask_tensor(g, md_gguf_tensor_at(g, i), n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    for (md_gguf_mode mode = MD_GGUF_MAP; mode <= MD_GGUF_HEADER; mode++) {
        md_gguf *g;
        md_error err = {0};
        const md_status status = md_gguf_parse(data, n, "input", mode, &g, &err);
        require((status == MD_OK) == (g != NULL) && (status == MD_OK || (err.code == status && err.message[0])));
        if (!g)
            continue;
        ask_all(g, n);
        md_packed packed;
        const md_status opened = md_packed_open(g, &packed, &err);
        require(opened == MD_OK || (err.code == opened && err.message[0]));
        if (opened == MD_OK && packed.is)
            ask_all(g, n);
        md_gguf_close(g);
    }
    return 0;
}
