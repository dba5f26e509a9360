/* SPDX-License-Identifier: Apache-2.0
 *
 * Values of keys, converted. Integers of any width become what is asked for when the value fits; nothing is rounded,
 * wrapped or guessed. Values may lie at any address: they are copied, not cast. */
#include "format/gguf_inner.h"
#include "base/status.h"

#include <float.h>
#include <math.h>
#include <string.h>

// clang-format off
static const struct {
    const char *name;
    size_t bytes; /* 0: the value's own */
} kinds[] = { /* ORDER GGUF_VALUE */
    {"u8", 1}, {"i8", 1}, {"u16", 2}, {"i16", 2}, {"u32", 4}, {"i32", 4}, {"f32", 4}, {"bool", 1}, {"string", 0},
    {"array", 0}, {"u64", 8}, {"i64", 8}, {"f64", 8},
};
// clang-format on

const char *md_gguf_kind_name(md_gguf_kind kind)
{
    return (size_t)kind < sizeof kinds / sizeof *kinds ? kinds[kind].name : "unknown";
}

size_t md_gguf_kind_size(md_gguf_kind kind)
{
    return kinds[kind].bytes;
}

/* "key 'x' is 3 i32 values, not one u32". */
static md_status fail_kind(const md_gguf_kv *kv, const char *wanted, md_error *err)
{
    if (kv->kind == MD_GGUF_ARRAY)
        return md_fail(err, MD_ERR_FORMAT, "key '%.*s' is an array of %llu %s, not %s", MD_STR_ARGS(kv->key),
                       (unsigned long long)kv->count, md_gguf_kind_name(kv->elem), wanted);
    return md_fail(err, MD_ERR_FORMAT, "key '%.*s' is of kind %s, not %s", MD_STR_ARGS(kv->key),
                   md_gguf_kind_name(kv->kind), wanted);
}

/* ---- one value at an address ---- */

/* A number as it is stored: what it is depends on its kind. */
typedef struct number {
    enum { NOT_A_NUMBER, SIGNED, UNSIGNED, FLOATING } is;
    int64_t i;
    uint64_t u;
    double d;
} number;

/* Reads a little-endian integer of `bytes` bytes into the low end of 64 bits. */
static uint64_t load_bits(const void *p, size_t bytes)
{
    uint64_t u = 0;
    memcpy(&u, p, bytes);
    return u;
}

static number load_number(const void *p, md_gguf_kind kind)
{
    const size_t bytes = md_gguf_kind_size(kind);
    number v = {NOT_A_NUMBER, 0, 0, 0};
    float f;
    switch (kind) {
    case MD_GGUF_U8:
    case MD_GGUF_U16:
    case MD_GGUF_U32:
    case MD_GGUF_U64:
    case MD_GGUF_BOOL:
        v.is = UNSIGNED;
        v.u = load_bits(p, bytes);
        break;
    case MD_GGUF_I8:
    case MD_GGUF_I16:
    case MD_GGUF_I32:
    case MD_GGUF_I64: {
        const uint64_t sign = (uint64_t)1 << (8 * bytes - 1);
        v.is = SIGNED;
        v.i = (int64_t)((load_bits(p, bytes) ^ sign) - sign); /* two's complement, widened */
        break;
    }
    case MD_GGUF_F32:
        v.is = FLOATING;
        memcpy(&f, p, sizeof f);
        v.d = (double)f;
        break;
    case MD_GGUF_F64:
        v.is = FLOATING;
        memcpy(&v.d, p, sizeof v.d);
        break;
    case MD_GGUF_STRING:
    case MD_GGUF_ARRAY: break;
    }
    return v;
}

static const void *element(const md_gguf_kv *kv, uint64_t i)
{
    return (const unsigned char *)kv->data + i * md_gguf_kind_size(kv->elem);
}

/* The index to use: a scalar has but one value. */
static md_status check_index(const md_gguf_kv *kv, uint64_t *i, md_error *err)
{
    if (kv->kind != MD_GGUF_ARRAY)
        *i = 0;
    MD_FAIL_IF(*i >= kv->count, MD_ERR_FORMAT, "key '%.*s' has %llu elements, but element %llu is needed",
               MD_STR_ARGS(kv->key), (unsigned long long)kv->count, (unsigned long long)*i);
    return MD_OK;
}

md_status md_gguf_array_i64(const md_gguf_kv *kv, uint64_t i, int64_t *out, md_error *err)
{
    if (!(md_gguf_kind_size(kv->elem) > 0 && kv->elem != MD_GGUF_F32 && kv->elem != MD_GGUF_F64))
        return fail_kind(kv, "an integer", err);
    MD_TRY(check_index(kv, &i, err));
    const number v = load_number(element(kv, i), kv->elem);
    MD_FAIL_IF(v.is == UNSIGNED && v.u > INT64_MAX, MD_ERR_FORMAT,
               "key '%.*s' has the value %llu, which is beyond 2^63", MD_STR_ARGS(kv->key), (unsigned long long)v.u);
    *out = v.is == UNSIGNED ? (int64_t)v.u : v.i;
    return MD_OK;
}

md_status md_gguf_array_f32(const md_gguf_kv *kv, uint64_t i, float *out, md_error *err)
{
    if (md_gguf_kind_size(kv->elem) == 0 || kv->elem == MD_GGUF_BOOL)
        return fail_kind(kv, "a number", err);
    MD_TRY(check_index(kv, &i, err));
    const number v = load_number(element(kv, i), kv->elem);
    const double d = v.is == FLOATING ? v.d : v.is == SIGNED ? (double)v.i : (double)v.u;
    MD_FAIL_IF(isfinite(d) && fabs(d) > (double)FLT_MAX, MD_ERR_FORMAT,
               "key '%.*s' has the value %g, too large for a 32-bit float", MD_STR_ARGS(kv->key), d);
    *out = (float)d;
    return MD_OK;
}

md_status md_gguf_array_str(const md_gguf_kv *kv, uint64_t i, md_str *out, md_error *err)
{
    if (kv->elem != MD_GGUF_STRING)
        return fail_kind(kv, "text", err);
    MD_TRY(check_index(kv, &i, err));
    if (kv->kind == MD_GGUF_ARRAY)
        *out = kv->strings[i];
    else
        *out = (md_str){(const char *)kv->data + sizeof(uint64_t), kv->bytes - sizeof(uint64_t)};
    return MD_OK;
}

/* ---- by key ---- */

/* *kv is NULL and *found false when the key is absent; an array is refused. */
static md_status find_scalar(const md_gguf *g, const char *key, const char *wanted, const md_gguf_kv **kv, bool *found,
                             md_error *err)
{
    *kv = md_gguf_find(g, key);
    if (found)
        *found = *kv != NULL;
    if (*kv && (*kv)->kind == MD_GGUF_ARRAY)
        return fail_kind(*kv, wanted, err);
    return MD_OK;
}

md_status md_gguf_u32(const md_gguf *g, const char *key, uint32_t *out, bool *found, md_error *err)
{
    const md_gguf_kv *kv;
    int64_t v;
    MD_TRY(find_scalar(g, key, "one integer", &kv, found, err));
    if (!kv)
        return MD_OK;
    if (kv->kind == MD_GGUF_BOOL)
        return fail_kind(kv, "an integer", err);
    MD_TRY(md_gguf_array_i64(kv, 0, &v, err));
    MD_FAIL_IF(v < 0 || v > UINT32_MAX, MD_ERR_FORMAT, "key '%s' (%s) has the value %lld, but must be from 0 to %u",
               key, md_gguf_kind_name(kv->kind), (long long)v, UINT32_MAX);
    *out = (uint32_t)v;
    return MD_OK;
}

md_status md_gguf_f32(const md_gguf *g, const char *key, float *out, bool *found, md_error *err)
{
    const md_gguf_kv *kv;
    MD_TRY(find_scalar(g, key, "one number", &kv, found, err));
    return kv ? md_gguf_array_f32(kv, 0, out, err) : MD_OK;
}

md_status md_gguf_bool(const md_gguf *g, const char *key, bool *out, bool *found, md_error *err)
{
    const md_gguf_kv *kv;
    MD_TRY(find_scalar(g, key, "one bool", &kv, found, err));
    if (!kv)
        return MD_OK;
    if (kv->kind != MD_GGUF_BOOL)
        return fail_kind(kv, "a bool", err);
    *out = *(const unsigned char *)kv->data != 0;
    return MD_OK;
}

md_status md_gguf_string(const md_gguf *g, const char *key, md_str *out, bool *found, md_error *err)
{
    const md_gguf_kv *kv;
    MD_TRY(find_scalar(g, key, "text", &kv, found, err));
    return kv ? md_gguf_array_str(kv, 0, out, err) : MD_OK;
}
