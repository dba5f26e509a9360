/* SPDX-License-Identifier: Apache-2.0
 *
 * Describing a model from its header alone. */
#include "model/model.h"

#include "base/status.h"
#include "base/utf8.h"
#include "model/override.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define FRONT_ELEMENTS 8
#define FRONT_BYTES    2048

struct md_description {
    md_gguf *file; /* owned */
    md_arena arena;
    md_model_info info;
    md_tensor_info *tensor;     /* (n), in the arena */
    md_metadata_info *metadata; /* (n), in the arena */
};

static const char *kind_name(md_gguf_kind k)
{
    /* ORDER GGUF_VALUE */
    static const char *const names[] = {"u8",   "i8",     "u16",   "i16", "u32", "i32", "f32",
                                        "bool", "string", "array", "u64", "i64", "f64"};
    return (unsigned)k < sizeof names / sizeof *names ? names[k] : "?";
}

static void json_string(md_buf *b, const char *s, size_t n)
{
    md_buf_putc(b, '"');
    for (size_t i = 0; i < n;) {
        uint32_t cp;
        const int len = md_utf8_decode(s + i, n - i, &cp);
        if (len == 0) {
            md_buf_puts(b, "\\ufffd");
            i++;
            continue;
        }
        if (cp == '"' || cp == '\\')
            md_buf_printf(b, "\\%c", (char)cp);
        else if (cp < 0x20 || cp == 0x7f)
            md_buf_printf(b, "\\u%04x", (unsigned)cp);
        else
            md_buf_append(b, s + i, (size_t)len);
        i += (size_t)len;
    }
    md_buf_putc(b, '"');
}

static bool json_element(md_buf *b, const md_gguf_kv *kv, md_gguf_kind kind, uint64_t i)
{
    md_str s;
    float f;
    int64_t v;
    if (kind == MD_GGUF_STRING) {
        if (md_gguf_array_str(kv, i, &s, NULL) != MD_OK)
            return true;
        const bool whole = s.n <= FRONT_BYTES;
        json_string(b, s.s, whole ? s.n : FRONT_BYTES);
        return whole;
    }
    if (kind == MD_GGUF_F32 || kind == MD_GGUF_F64) {
        if (md_gguf_array_f32(kv, i, &f, NULL) != MD_OK || !(f - f == 0.0f))
            md_buf_puts(b, "null");
        else
            md_buf_printf(b, "%.9g", (double)f);
    } else if (md_gguf_array_i64(kv, i, &v, NULL) == MD_OK) {
        if (kind == MD_GGUF_BOOL)
            md_buf_puts(b, v ? "true" : "false");
        else
            md_buf_printf(b, "%" PRId64, v);
    } else {
        md_buf_puts(b, "null"); /* beyond the range of a signed 64-bit integer */
    }
    return true;
}

static md_status describe_kv(md_description *d, const md_gguf_kv *kv, md_metadata_info *m, md_error *err)
{
    const bool array = kv->kind == MD_GGUF_ARRAY;
    const md_gguf_kind kind = array ? kv->elem : kv->kind;
    char name[32];
    md_buf b = {0};
    snprintf(name, sizeof name, array ? "array of %s" : "%s", kind_name(kind));
    m->whole = !array || kv->count <= FRONT_ELEMENTS;
    m->count = kv->count;
    if (array)
        md_buf_putc(&b, '[');
    const uint64_t n = kv->count < FRONT_ELEMENTS ? kv->count : FRONT_ELEMENTS;
    for (uint64_t i = 0; i < n; i++) {
        if (i)
            md_buf_puts(&b, ", ");
        m->whole &= json_element(&b, kv, kind, i);
    }
    if (array)
        md_buf_putc(&b, ']');
    m->key = md_arena_strndup(&d->arena, kv->key.s, kv->key.n);
    m->kind = md_arena_strndup(&d->arena, name, strlen(name));
    m->value = b.failed ? NULL : md_arena_strndup(&d->arena, b.data ? b.data : "", b.len);
    md_buf_done(&b);
    return m->key && m->kind && m->value ? MD_OK : md_fail_memory(err, "a description");
}

static md_status describe_tensor(md_description *d, const md_gguf_tensor *t, md_tensor_info *out, md_error *err)
{
    *out = (md_tensor_info){
        .name = md_arena_strndup(&d->arena, t->name.s, t->name.n),
        .type = md_type_get(t->type)->name,
        .n_dims = t->n_dims,
        .bytes = t->bytes,
        .offset = t->file_offset,
        .file = t->part,
        .part = md_part_of(t->name.s, t->name.n),
    };
    memcpy(out->dim, t->dim, sizeof out->dim);
    return out->name ? MD_OK : md_fail_memory(err, "a description");
}

static md_status description_fill(md_description *d, const char *path, const md_model_args *args, md_error *err)
{
    uint64_t overrides;
    MD_TRY(md_gguf_open(path, MD_GGUF_HEADER, &d->file, err));
    md_packed packed;
    MD_TRY(md_packed_open(d->file, &packed, err));
    MD_TRY(md_override_apply(args, d->file, &overrides, err));
    md_str name = {0};
    MD_TRY(md_gguf_string(d->file, "general.architecture", &name, NULL, err));
    MD_TRY(md_info_fill(d->file, md_arch_find(name.s, name.n), &d->arena, &d->info, err));
    const size_t n_tensors = md_gguf_n_tensors(d->file), n_kv = md_gguf_n_kv(d->file);
    d->tensor = md_arena_alloc(&d->arena, n_tensors, sizeof *d->tensor);
    d->metadata = md_arena_alloc(&d->arena, n_kv, sizeof *d->metadata);
    if (!d->tensor || !d->metadata)
        return md_fail_memory(err, "a description");
    for (size_t i = 0; i < n_tensors; i++)
        MD_TRY(describe_tensor(d, md_gguf_tensor_at(d->file, i), &d->tensor[i], err));
    for (size_t i = 0; i < n_kv; i++)
        MD_TRY(describe_kv(d, md_gguf_kv_at(d->file, i), &d->metadata[i], err));
    return MD_OK;
}

md_status md_model_describe(const char *path, const md_model_args *args, md_description **out, md_error *err)
{
    *out = NULL;
    md_description *d = md_calloc(1, sizeof *d);
    if (!d)
        return md_fail_memory(err, "a description");
    const md_status status = description_fill(d, path, args, err);
    if (status != MD_OK) {
        md_description_free(d);
        if (err && !strstr(err->message, path) && status != MD_ERR_ARGUMENT)
            return md_fail_within(err, status, "%s", path);
        return status;
    }
    *out = d;
    return MD_OK;
}

void md_description_free(md_description *d)
{
    if (!d)
        return;
    md_gguf_close(d->file);
    md_arena_done(&d->arena);
    md_free(d);
}

const md_model_info *md_description_info(const md_description *d)
{
    return &d->info;
}

size_t md_description_n_tensors(const md_description *d)
{
    return md_gguf_n_tensors(d->file);
}

void md_description_tensor(const md_description *d, size_t i, md_tensor_info *out)
{
    *out = d->tensor[i];
}

size_t md_description_n_metadata(const md_description *d)
{
    return md_gguf_n_kv(d->file);
}

void md_description_metadata(const md_description *d, size_t i, md_metadata_info *out)
{
    *out = d->metadata[i];
}
