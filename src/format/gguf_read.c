/* SPDX-License-Identifier: Apache-2.0
 *
 * The reader proper: bytes in, tables out. Every count is compared with what the remaining bytes could hold before
 * memory is asked for, so the tables never take more than a small multiple of the header's size. Refused: version 1,
 * big-endian files, arrays of arrays, empty or repeated names, booleans other than 0 and 1, tensors without elements,
 * tensors that overlap. Reads nothing but the given bytes. */
#include "format/gguf_inner.h"
#include "base/status.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The smallest key (8 + 1 name, 4 kind, 1 value) and tensor entry (8 + 1 name, 4 dimensions, 4 type, 8 offset). */
#define KV_BYTES_MIN     14
#define TENSOR_BYTES_MIN 25

#define ALIGNMENT_MIN 8u /* as the format demands; keeps every type of tensor data aligned in memory */
#define ALIGNMENT_MAX (1u << 30)

typedef struct cursor {
    const unsigned char *bytes;
    size_t n, at;
    const char *file; /* for errors */
    const char *what; /* being read, for errors: "key", "tensor"... */
    uint64_t index;   /* of the key or tensor */
    md_str name;      /* its name, once that is read */
    md_error *err;
} cursor;

/* Fails with "'FILE': key 'NAME' (at byte N) PROBLEM". */
static md_status fail_at(const cursor *c, size_t at, const char *problem)
{
    if (c->name.n)
        return md_fail(c->err, MD_ERR_FORMAT, "'%s': %s '%.*s' (at byte %zu) %s", c->file, c->what,
                       MD_STR_ARGS(c->name), at, problem);
    return md_fail(c->err, MD_ERR_FORMAT, "'%s': %s %llu (at byte %zu) %s", c->file, c->what,
                   (unsigned long long)c->index, at, problem);
}

/* Returns the code in plain sight of the compiler, which then sees that `take` sets its result or fails. */
static inline md_status fail_cut_off(const cursor *c)
{
    if (c->name.n)
        md_fail(c->err, MD_ERR_FORMAT,
                "'%s' is cut off or damaged: it ends at byte %zu, inside %s '%.*s': download it again", c->file, c->n,
                c->what, MD_STR_ARGS(c->name));
    else
        md_fail(c->err, MD_ERR_FORMAT,
                "'%s' is cut off or damaged: it ends at byte %zu, inside %s %llu: download it again", c->file, c->n,
                c->what, (unsigned long long)c->index);
    return MD_ERR_FORMAT;
}

/* ---- plain values ---- */

static md_status take(cursor *c, uint64_t n, const unsigned char **p)
{
    if (n > c->n - c->at)
        return fail_cut_off(c);
    *p = c->bytes + c->at;
    c->at += (size_t)n;
    return MD_OK;
}

static md_status take_u32(cursor *c, uint32_t *v)
{
    const unsigned char *p;
    MD_TRY(take(c, sizeof *v, &p));
    memcpy(v, p, sizeof *v);
    return MD_OK;
}

static md_status take_u64(cursor *c, uint64_t *v)
{
    const unsigned char *p;
    MD_TRY(take(c, sizeof *v, &p));
    memcpy(v, p, sizeof *v);
    return MD_OK;
}

static md_status take_string(cursor *c, md_str *s)
{
    uint64_t n;
    const unsigned char *p;
    MD_TRY(take_u64(c, &n));
    MD_TRY(take(c, n, &p));
    *s = (md_str){(const char *)p, (size_t)n};
    return MD_OK;
}

/* ---- header ---- */

/* What else comes in files that people take for GGUF, by its first bytes. */
static const struct {
    const char *start; /* at most 8 bytes */
    const char *is;
} look_alike[] = {
    {"lmgg", "a GGML file from before GGUF: convert the model to GGUF"},
    {"fmgg", "a GGMF file from before GGUF: convert the model to GGUF"},
    {"tjgg", "a GGJT file from before GGUF: convert the model to GGUF"},
    {"algg", "a GGLA adapter from before GGUF: convert it to GGUF"},
    {"FUGG", "a GGUF file with its bytes swapped: get or convert a little-endian one"},
    {"PK\3\4", "a zip archive, perhaps a PyTorch checkpoint: convert the model to GGUF"},
    {"\x1f\x8b", "compressed with gzip: unpack it first"},
    {"\x28\xb5\x2f\xfd", "compressed with zstd: unpack it first"},
    {"version ", "a Git LFS pointer, not the model itself: run 'git lfs pull' or download the file"},
    {"<!DOCTYP", "a web page: download the file itself"},
    {"<!doctyp", "a web page: download the file itself"},
    {"<html", "a web page: download the file itself"},
};

static md_status fail_magic(const cursor *c)
{
    for (size_t i = 0; i < sizeof look_alike / sizeof *look_alike; i++) {
        const size_t n = strlen(look_alike[i].start);
        if (c->n >= n && memcmp(c->bytes, look_alike[i].start, n) == 0)
            return md_fail(c->err, MD_ERR_FORMAT, "'%s' is not a GGUF file but %s", c->file, look_alike[i].is);
    }
    if (c->n > 8 && c->bytes[8] == '{') /* a JSON header behind its length */
        return md_fail(c->err, MD_ERR_FORMAT,
                       "'%s' is not a GGUF file but looks like safetensors: convert the model to GGUF", c->file);
    return md_fail(c->err, MD_ERR_FORMAT,
                   "'%s' is not a GGUF file: it begins with bytes %02x %02x %02x %02x, not with \"GGUF\"", c->file,
                   c->bytes[0], c->bytes[1], c->bytes[2], c->bytes[3]);
}

static md_status read_version(cursor *c, uint32_t *version)
{
    md_error *err = c->err;
    MD_FAIL_IF(c->n == 0, MD_ERR_FORMAT, "'%s' is empty: download it again", c->file);
    const unsigned char *magic;
    MD_TRY(take(c, 4, &magic));
    if (memcmp(magic, "GGUF", 4) != 0)
        return fail_magic(c);
    MD_TRY(take_u32(c, version));
    MD_FAIL_IF(*version == 1, MD_ERR_UNSUPPORTED,
               "'%s' is GGUF version 1, in use for a few days of 2023: get a newer file or convert the model again",
               c->file);
    MD_FAIL_IF((*version & 0xffff) == 0 && *version != 0, MD_ERR_UNSUPPORTED,
               "'%s' is a big-endian GGUF file, made for another kind of machine: get or convert a little-endian one",
               c->file);
    MD_FAIL_IF(*version != 2 && *version != 3, MD_ERR_UNSUPPORTED,
               "'%s' is GGUF version %u, but only versions 2 and 3 are known here", c->file, *version);
    return MD_OK;
}

/* A count of things of at least `least` bytes each, which must fit into what is left of the file. */
static md_status read_count(cursor *c, const char *things, size_t least, size_t *count)
{
    uint64_t n;
    MD_TRY(take_u64(c, &n));
    if (n > (c->n - c->at) / least)
        return md_fail(
            c->err, MD_ERR_FORMAT,
            "'%s' is cut off or damaged: it promises %llu %s, more than its %zu bytes can hold: download it again",
            c->file, (unsigned long long)n, things, c->n);
    *count = (size_t)n;
    return MD_OK;
}

/* ---- keys ---- */

static md_status check_bools(const cursor *c, const md_gguf_kv *kv)
{
    const unsigned char *p = kv->data;
    for (size_t i = 0; i < kv->bytes; i++)
        if (p[i] > 1)
            return fail_at(c, (size_t)(p + i - c->bytes), "is a boolean but neither 0 nor 1: the file is damaged");
    return MD_OK;
}

static md_status read_strings(cursor *c, md_arena *arena, md_gguf_kv *kv)
{
    if (kv->count > (c->n - c->at) / sizeof(uint64_t))
        return fail_cut_off(c);
    md_str *s = md_arena_alloc(arena, (size_t)kv->count, sizeof *s);
    if (!s)
        return md_fail_memory(c->err, "the strings of a GGUF file");
    for (uint64_t i = 0; i < kv->count; i++)
        MD_TRY(take_string(c, &s[i]));
    kv->strings = s;
    return MD_OK;
}

/* The value(s) at the cursor: kv->count of `kind`. */
static md_status read_values(cursor *c, md_arena *arena, md_gguf_kind kind, md_gguf_kv *kv)
{
    const size_t start = c->at, size = md_gguf_kind_size(kind);
    kv->data = c->bytes + start;
    if (kind == MD_GGUF_STRING && kv->kind == MD_GGUF_ARRAY) {
        MD_TRY(read_strings(c, arena, kv));
    } else if (kind == MD_GGUF_STRING) {
        md_str s;
        MD_TRY(take_string(c, &s));
    } else {
        const unsigned char *p;
        if (kv->count > (c->n - c->at) / size)
            return fail_cut_off(c);
        MD_TRY(take(c, kv->count * size, &p));
    }
    kv->bytes = c->at - start;
    return kind == MD_GGUF_BOOL ? check_bools(c, kv) : MD_OK;
}

static md_status read_kv(cursor *c, md_arena *arena, md_gguf_kv *kv)
{
    const size_t start = c->at;
    c->name = (md_str){0};
    MD_TRY(take_string(c, &kv->key));
    if (kv->key.n == 0)
        return fail_at(c, start, "has an empty name: the file is damaged");
    c->name = kv->key;
    uint32_t kind, elem;
    MD_TRY(take_u32(c, &kind));
    elem = kind;
    kv->count = 1;
    if (kind == MD_GGUF_ARRAY) {
        MD_TRY(take_u32(c, &elem));
        MD_TRY(take_u64(c, &kv->count));
        if (elem == MD_GGUF_ARRAY)
            return fail_at(c, start, "is an array of arrays, which no model needs and this reader refuses");
    }
    if (elem > MD_GGUF_F64)
        return md_fail(
            c->err, MD_ERR_FORMAT,
            "'%s': key '%.*s' (at byte %zu) has value kind %u, which GGUF does not know: the file is damaged", c->file,
            MD_STR_ARGS(kv->key), start, elem);
    kv->kind = (md_gguf_kind)kind;
    kv->elem = (md_gguf_kind)elem;
    return read_values(c, arena, kv->elem, kv);
}

static md_status read_keys(cursor *c, md_arena *arena, md_gguf_part *part)
{
    part->kv = md_arena_alloc(arena, part->n_kv, sizeof *part->kv);
    if (!part->kv || !md_hashmap_reserve(&part->key, part->n_kv))
        return md_fail_memory(c->err, "the keys of a GGUF file");
    c->what = "key";
    for (size_t i = 0; i < part->n_kv; i++) {
        const size_t start = c->at;
        c->index = i;
        MD_TRY(read_kv(c, arena, &part->kv[i]));
        bool added;
        if (!md_hashmap_put(&part->key, part->kv[i].key.s, part->kv[i].key.n, i, &added))
            return md_fail_memory(c->err, "the keys of a GGUF file");
        if (!added)
            return fail_at(c, start, "is there twice: the file is damaged or was made by a faulty tool");
    }
    return MD_OK;
}

static md_status read_alignment(const cursor *c, md_gguf_part *part)
{
    part->alignment = MD_GGUF_ALIGNMENT;
    const md_gguf_kv *kv = md_gguf_part_find(part, MD_GGUF_KEY_ALIGNMENT);
    if (!kv)
        return MD_OK;
    int64_t v;
    if (kv->kind == MD_GGUF_ARRAY)
        return md_fail(c->err, MD_ERR_FORMAT, "'%s': key '" MD_GGUF_KEY_ALIGNMENT "' is an array, not a number",
                       c->file);
    const md_status status = md_gguf_array_i64(kv, 0, &v, c->err);
    if (status != MD_OK)
        return md_fail_within(c->err, status, "'%s'", c->file);
    if (v < ALIGNMENT_MIN || v > ALIGNMENT_MAX || (v & (v - 1)) != 0)
        return md_fail(c->err, MD_ERR_FORMAT,
                       "'%s': key '" MD_GGUF_KEY_ALIGNMENT "' is %lld, but must be a power of two from %u to %u",
                       c->file, (long long)v, ALIGNMENT_MIN, ALIGNMENT_MAX);
    part->alignment = (uint32_t)v;
    return MD_OK;
}

/* ---- tensors ---- */

static md_status read_shape(cursor *c, md_gguf_tensor *t)
{
    uint32_t n_dims;
    const size_t start = c->at;
    MD_TRY(take_u32(c, &n_dims));
    if (n_dims > MD_GGUF_MAX_DIMS)
        return md_fail(c->err, MD_ERR_FORMAT,
                       "'%s': tensor '%.*s' (at byte %zu) has %u dimensions, but GGUF allows at most %d", c->file,
                       MD_STR_ARGS(t->name), start, n_dims, MD_GGUF_MAX_DIMS);
    t->n_elements = 1;
    for (int i = 0; i < MD_GGUF_MAX_DIMS; i++) {
        uint64_t dim = 1;
        if (i < (int)n_dims)
            MD_TRY(take_u64(c, &dim));
        if (dim < 1 || dim > INT64_MAX)
            return md_fail(c->err, MD_ERR_FORMAT,
                           "'%s': tensor '%.*s' (at byte %zu) has %llu as dimension %d: the file is damaged", c->file,
                           MD_STR_ARGS(t->name), start, (unsigned long long)dim, i);
        t->dim[i] = (int64_t)dim;
        if (__builtin_mul_overflow(t->n_elements, t->dim[i], &t->n_elements))
            return fail_at(c, start, "has more than 2^63 elements: the file is damaged");
    }
    t->n_dims = n_dims ? (int)n_dims : 1; /* a scalar is a row of one */
    return MD_OK;
}

static md_status read_type(cursor *c, md_gguf_tensor *t)
{
    const size_t start = c->at;
    uint32_t id;
    MD_TRY(take_u32(c, &id));
    char name[96];
    snprintf(name, sizeof name, "%.*s", MD_STR_ARGS(t->name));
    const md_status status = md_type_from_gguf(id, name, &t->type, c->err);
    if (status != MD_OK)
        return md_fail_within(c->err, status, "'%s'", c->file);
    const md_type_info *type = md_type_get(t->type);
    size_t row;
    if (t->dim[0] % type->block != 0)
        return md_fail(c->err, MD_ERR_FORMAT,
                       "'%s': tensor '%.*s' has rows of %lld values, which %s cannot hold: its blocks are of %d",
                       c->file, MD_STR_ARGS(t->name), (long long)t->dim[0], type->name, type->block);
    if (!md_type_row_bytes(t->type, t->dim[0], &row) || !md_mul(row, (size_t)(t->n_elements / t->dim[0]), &t->bytes))
        return fail_at(c, start, "has a size in bytes beyond 2^64: the file is damaged");
    return MD_OK;
}

/* One entry of the table; t->file_offset counts from the start of the data still. */
static md_status read_tensor(cursor *c, md_gguf_tensor *t)
{
    const size_t start = c->at;
    c->name = (md_str){0};
    MD_TRY(take_string(c, &t->name));
    if (t->name.n == 0)
        return fail_at(c, start, "has an empty name: the file is damaged");
    c->name = t->name;
    MD_TRY(read_shape(c, t));
    MD_TRY(read_type(c, t));
    return take_u64(c, &t->file_offset);
}

/* Turns the offset into one from the start of the file. */
static md_status place_tensor(const cursor *c, const md_gguf_part *part, uint64_t data_start, md_gguf_tensor *t)
{
    uint64_t end;
    if (t->file_offset % part->alignment != 0)
        return md_fail(c->err, MD_ERR_FORMAT,
                       "'%s': tensor '%.*s' has offset %llu, which is not a multiple of the alignment %u", c->file,
                       MD_STR_ARGS(t->name), (unsigned long long)t->file_offset, part->alignment);
    if (__builtin_add_overflow(t->file_offset, data_start, &t->file_offset) ||
        __builtin_add_overflow(t->file_offset, t->bytes, &end) || end > INT64_MAX)
        return md_fail(c->err, MD_ERR_FORMAT,
                       "'%s': tensor '%.*s' lies beyond what a file can hold: the file is damaged", c->file,
                       MD_STR_ARGS(t->name));
    return MD_OK;
}

static md_status read_tensors(cursor *c, md_arena *arena, int index, md_gguf_part *part)
{
    part->tensor = md_arena_alloc(arena, part->n_tensors, sizeof *part->tensor);
    if (!part->tensor)
        return md_fail_memory(c->err, "the tensor table of a GGUF file");
    c->what = "tensor";
    for (size_t i = 0; i < part->n_tensors; i++) {
        c->index = i;
        part->tensor[i].part = index;
        MD_TRY(read_tensor(c, &part->tensor[i]));
    }
    const uint64_t data_start = ((uint64_t)c->at + part->alignment - 1) / part->alignment * part->alignment;
    for (size_t i = 0; i < part->n_tensors; i++)
        MD_TRY(place_tensor(c, part, data_start, &part->tensor[i]));
    return MD_OK;
}

static int by_offset(const void *a, const void *b)
{
    const md_gguf_tensor *x = *(const md_gguf_tensor *const *)a, *y = *(const md_gguf_tensor *const *)b;
    return (x->file_offset > y->file_offset) - (x->file_offset < y->file_offset);
}

/* No two tensors share bytes. Files are written in table order, so sorting is rare. */
static md_status check_overlap(const cursor *c, const md_gguf_part *part)
{
    const size_t n = part->n_tensors;
    const md_gguf_tensor **order = md_calloc(n, sizeof *order);
    if (!order)
        return md_fail_memory(c->err, "the tensor table of a GGUF file");
    bool sorted = true;
    for (size_t i = 0; i < n; i++) {
        order[i] = &part->tensor[i];
        sorted = sorted && (i == 0 || order[i - 1]->file_offset <= order[i]->file_offset);
    }
    if (!sorted)
        qsort(order, n, sizeof *order, by_offset);
    md_status status = MD_OK;
    for (size_t i = 1; i < n && status == MD_OK; i++)
        if (order[i - 1]->file_offset + order[i - 1]->bytes > order[i]->file_offset)
            status = md_fail(c->err, MD_ERR_FORMAT,
                             "'%s': tensors '%.*s' and '%.*s' overlap at byte %llu: the file is damaged", c->file,
                             MD_STR_ARGS(order[i - 1]->name), MD_STR_ARGS(order[i]->name),
                             (unsigned long long)order[i]->file_offset);
    md_free(order);
    return status;
}

/* All tensor data is there; sets where it lies. */
static md_status check_data(const cursor *c, md_gguf_part *part)
{
    const md_gguf_tensor *last = NULL;
    for (size_t i = 0; i < part->n_tensors; i++) {
        md_gguf_tensor *t = &part->tensor[i];
        if (!last || t->file_offset + t->bytes > last->file_offset + last->bytes)
            last = t;
    }
    if (last && last->file_offset + last->bytes > part->n)
        return md_fail(c->err, MD_ERR_FORMAT,
                       "'%s' is cut off: tensor '%.*s' ends at byte %llu but the file has %zu: download it again",
                       c->file, MD_STR_ARGS(last->name), (unsigned long long)(last->file_offset + last->bytes),
                       part->n);
    for (size_t i = 0; i < part->n_tensors; i++)
        part->tensor[i].data = part->bytes + part->tensor[i].file_offset;
    return MD_OK;
}

md_status md_gguf_read_part(md_gguf_part *part, int index, md_gguf_mode mode, md_arena *arena, md_error *err)
{
    cursor c = {.bytes = part->bytes, .n = part->n, .file = part->path, .what = "header field", .err = err};
    MD_TRY(read_version(&c, &part->version));
    c.index = 1;
    MD_TRY(read_count(&c, "tensors", TENSOR_BYTES_MIN, &part->n_tensors));
    c.index = 2;
    MD_TRY(read_count(&c, "keys", KV_BYTES_MIN, &part->n_kv));
    MD_TRY(read_keys(&c, arena, part));
    MD_TRY(read_alignment(&c, part));
    MD_TRY(read_tensors(&c, arena, index, part));
    MD_TRY(check_overlap(&c, part));
    return mode == MD_GGUF_MAP ? check_data(&c, part) : MD_OK;
}
