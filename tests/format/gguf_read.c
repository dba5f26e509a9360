/* SPDX-License-Identifier: Apache-2.0
 *
 * The GGUF reader against files made by hand: every kind of value, every way to be wrong. */
#include "support/fixtures.h"
#include "bytes.h"

#include <math.h>

#define TYPE_F32  0
#define TYPE_Q4_0 2

/* Parses a copy that is exactly as long as the file, at an odd address: reads beyond the end or by cast are caught by
 * the sanitizers. `copy` is to be freed. */
static md_status parse(const md_buf *b, size_t n, md_gguf_mode mode, void **copy, md_gguf **g, md_error *err)
{
    assert_false(b->failed);
    assert_true(n <= b->len);
    *copy = malloc(n + 1);
    assert_non_null(*copy);
    char *odd = (char *)*copy + 1;
    memcpy(odd, b->data ? b->data : "", n);
    return md_gguf_parse(odd, n, "test.gguf", mode, g, err);
}

static void expect_refused(md_buf *b, md_gguf_mode mode, md_status code, const char *words)
{
    void *copy;
    md_gguf *g;
    md_error err = {0};
    const md_status status = parse(b, b->len, mode, &copy, &g, &err);
    if (status == MD_OK)
        fail_msg("accepted; should say: %s", words);
    assert_null(g);
    if (status != code || err.code != code || !strstr(err.message, words))
        fail_msg("status %s, message: %s; should say: %s", md_status_name(status), err.message, words);
    if (!strstr(err.message, "test.gguf"))
        fail_msg("does not name the file: %s", err.message);
    free(copy);
    md_buf_done(b);
}

static void expect_format(md_buf *b, const char *words)
{
    expect_refused(b, MD_GGUF_MAP, MD_ERR_FORMAT, words);
}

/* Keys of all kinds and two tensors, without padding behind the last; *header is where the tensor table ends. */
static md_buf sample(size_t *header)
{
    md_buf b = {0};
    put_header(&b, 3, 2, 16);
    put_key(&b, "general.architecture", MD_GGUF_STRING);
    put_text(&b, "test");
    put_key(&b, "u8", MD_GGUF_U8), put_u8(&b, 200);
    put_key(&b, "i8", MD_GGUF_I8), put_u8(&b, 0x80);
    put_key(&b, "u16", MD_GGUF_U16), md_buf_append(&b, "\xff\xff", 2);
    put_key(&b, "i16", MD_GGUF_I16), md_buf_append(&b, "\xfe\xff", 2);
    put_kv_u32(&b, "u32", UINT32_MAX);
    put_key(&b, "i32", MD_GGUF_I32), put_u32(&b, 0x80000000u);
    put_key(&b, "f32", MD_GGUF_F32), put_u32(&b, 0x3fc00000u);
    put_key(&b, "bool", MD_GGUF_BOOL), put_u8(&b, 1);
    put_key(&b, "u64", MD_GGUF_U64), put_u64(&b, UINT64_MAX);
    put_key(&b, "i64", MD_GGUF_I64), put_u64(&b, (uint64_t)INT64_MIN);
    put_key(&b, "f64", MD_GGUF_F64), put_u64(&b, 0x7fe0000000000000u); /* 2^1023 */
    put_array(&b, "strings", MD_GGUF_STRING, 3), put_text(&b, "one"), put_bytes(&b, "t\0o", 3), put_text(&b, "");
    put_array(&b, "numbers", MD_GGUF_I16, 3), md_buf_append(&b, "\1\0\xff\xff\x00\x80", 6);
    put_array(&b, "flags", MD_GGUF_BOOL, 2), put_u8(&b, 0), put_u8(&b, 1);
    put_array(&b, "none", MD_GGUF_F32, 0);
    put_tensor(&b, "a", 2, (const uint64_t[]){4, 2}, TYPE_F32, 0);
    put_tensor(&b, "b", 3, (const uint64_t[]){64, 1, 3}, TYPE_Q4_0, 32);
    *header = b.len;
    pad_to(&b, 32);
    for (uint32_t i = 0; i < 8; i++)
        put_u32(&b, 0x40000000u + i);
    put_zeros(&b, (size_t)3 * 2 * 18);
    return b;
}

/* ---- what is right ---- */

static void reads_every_kind(void **state)
{
    (void)state;
    size_t header;
    md_buf b = sample(&header);
    void *copy;
    md_gguf *g;
    md_error err = {0};
    assert_int_equal(parse(&b, b.len, MD_GGUF_MAP, &copy, &g, &err), MD_OK);
    assert_int_equal(md_gguf_version(g), 3);
    assert_int_equal(md_gguf_alignment(g), 32);
    assert_int_equal(md_gguf_file_bytes(g), b.len);
    assert_int_equal(md_gguf_n_parts(g), 1);
    assert_string_equal(md_gguf_part_path(g, 0), "test.gguf");
    assert_int_equal(md_gguf_n_kv(g), 16);

    static const struct {
        const char *key;
        int64_t value;
    } integers[] = {{"u8", 200},         {"i8", -128},       {"u16", 65535},     {"i16", -2},
                    {"u32", UINT32_MAX}, {"i32", INT32_MIN}, {"i64", INT64_MIN}, {"bool", 1}};
    for (size_t i = 0; i < sizeof integers / sizeof *integers; i++) {
        int64_t v = 0;
        const md_gguf_kv *kv = md_gguf_find(g, integers[i].key);
        assert_non_null(kv);
        assert_int_equal(md_gguf_array_i64(kv, 7, &v, &err), MD_OK); /* the index of a scalar is ignored */
        assert_true(v == integers[i].value);
    }
    uint32_t u = 0;
    bool found = false, truth = false;
    float f = 0;
    md_str s;
    assert_int_equal(md_gguf_u32(g, "u16", &u, &found, &err), MD_OK);
    assert_true(found && u == 65535);
    assert_int_equal(md_gguf_f32(g, "f32", &f, &found, &err), MD_OK);
    assert_true(found && f == 1.5f);
    assert_int_equal(md_gguf_f32(g, "i8", &f, NULL, &err), MD_OK);
    assert_true(f == -128.0f);
    assert_int_equal(md_gguf_bool(g, "bool", &truth, &found, &err), MD_OK);
    assert_true(found && truth);
    assert_int_equal(md_gguf_string(g, "general.architecture", &s, &found, &err), MD_OK);
    assert_true(found && md_str_eq(s, "test") && !md_str_eq(s, "tes") && !md_str_eq(s, "best"));
    free(copy);
    md_buf_done(&b);
    md_gguf_close(g);
}

static void reads_arrays(void **state)
{
    (void)state;
    size_t header;
    md_buf b = sample(&header);
    void *copy;
    md_gguf *g;
    md_error err = {0};
    assert_int_equal(parse(&b, b.len, MD_GGUF_MAP, &copy, &g, &err), MD_OK);
    const md_gguf_kv *kv = md_gguf_find(g, "strings");
    assert_int_equal(kv->kind, MD_GGUF_ARRAY);
    assert_int_equal(kv->elem, MD_GGUF_STRING);
    assert_int_equal(kv->count, 3);
    assert_int_equal(kv->bytes, 3 * 8 + 6);
    md_str s;
    assert_int_equal(md_gguf_array_str(kv, 1, &s, &err), MD_OK);
    assert_true(s.n == 3 && memcmp(s.s, "t\0o", 3) == 0);
    assert_int_equal(md_gguf_array_str(kv, 3, &s, &err), MD_ERR_FORMAT);
    assert_non_null(strstr(err.message, "has 3 elements, but element 3"));
    kv = md_gguf_find(g, "numbers");
    static const int64_t numbers[] = {1, -1, -32768};
    for (uint64_t i = 0; i < 3; i++) {
        int64_t v = 0;
        float f = 0;
        assert_int_equal(md_gguf_array_i64(kv, i, &v, &err), MD_OK);
        assert_int_equal(md_gguf_array_f32(kv, i, &f, &err), MD_OK);
        assert_true(v == numbers[i] && f == (float)numbers[i]);
    }
    int64_t flag = -1;
    assert_int_equal(md_gguf_array_i64(md_gguf_find(g, "flags"), 1, &flag, &err), MD_OK);
    assert_int_equal(flag, 1);
    assert_int_equal(md_gguf_find(g, "none")->count, 0);
    assert_int_equal(md_gguf_array_i64(md_gguf_find(g, "none"), 0, &flag, &err), MD_ERR_FORMAT);
    free(copy);
    md_buf_done(&b);
    md_gguf_close(g);
}

static void reads_tensors(void **state)
{
    (void)state;
    size_t header;
    md_buf b = sample(&header);
    void *copy;
    md_gguf *g;
    md_error err = {0};
    assert_int_equal(parse(&b, b.len, MD_GGUF_MAP, &copy, &g, &err), MD_OK);
    assert_int_equal(md_gguf_n_tensors(g), 2);
    const md_gguf_tensor *t = md_gguf_find_tensor(g, "a");
    assert_ptr_equal(t, md_gguf_tensor_at(g, 0));
    assert_int_equal(t->type, MD_TYPE_F32);
    assert_int_equal(t->n_dims, 2);
    assert_int_equal(t->n_elements, 8);
    assert_int_equal(t->bytes, 32);
    assert_int_equal(t->file_offset, (header + 31) / 32 * 32);
    assert_int_equal(t->part, 0);
    assert_memory_equal(t->data, b.data + t->file_offset, t->bytes);
    t = md_gguf_find_tensor(g, "b");
    assert_int_equal(t->type, MD_TYPE_Q4_0);
    assert_true(t->dim[0] == 64 && t->dim[1] == 1 && t->dim[2] == 3 && t->dim[3] == 1);
    assert_int_equal(t->bytes, 3 * 2 * 18);
    assert_null(md_gguf_find_tensor(g, "c"));
    assert_null(md_gguf_find_tensor(g, ""));
    free(copy);
    md_buf_done(&b);
    md_gguf_close(g);
}

static void refuses_wrong_conversions(void **state)
{
    (void)state;
    size_t header;
    md_buf b = sample(&header);
    void *copy;
    md_gguf *g;
    md_error err = {0};
    assert_int_equal(parse(&b, b.len, MD_GGUF_MAP, &copy, &g, &err), MD_OK);
    uint32_t u = 77;
    float f = 77;
    bool found = true, truth = true;
    md_str s = {"x", 1};
    int64_t v = 77;
    assert_int_equal(md_gguf_u32(g, "absent", &u, &found, &err), MD_OK);
    assert_true(u == 77 && !found);
    assert_int_equal(md_gguf_u32(g, "i16", &u, NULL, &err), MD_ERR_FORMAT);
    assert_non_null(strstr(err.message, "key 'i16' (i16) has the value -2"));
    assert_int_equal(md_gguf_u32(g, "u64", &u, NULL, &err), MD_ERR_FORMAT);
    assert_int_equal(md_gguf_u32(g, "bool", &u, NULL, &err), MD_ERR_FORMAT);
    assert_int_equal(md_gguf_u32(g, "f32", &u, NULL, &err), MD_ERR_FORMAT);
    assert_non_null(strstr(err.message, "key 'f32' is of kind f32"));
    assert_int_equal(md_gguf_u32(g, "numbers", &u, NULL, &err), MD_ERR_FORMAT);
    assert_non_null(strstr(err.message, "array of 3 i16"));
    assert_int_equal(md_gguf_f32(g, "f64", &f, NULL, &err), MD_ERR_FORMAT);
    assert_int_equal(md_gguf_f32(g, "general.architecture", &f, NULL, &err), MD_ERR_FORMAT);
    assert_int_equal(md_gguf_bool(g, "u8", &truth, NULL, &err), MD_ERR_FORMAT);
    assert_int_equal(md_gguf_string(g, "u8", &s, NULL, &err), MD_ERR_FORMAT);
    assert_int_equal(md_gguf_string(g, "strings", &s, NULL, &err), MD_ERR_FORMAT);
    assert_int_equal(md_gguf_array_i64(md_gguf_find(g, "strings"), 0, &v, &err), MD_ERR_FORMAT);
    assert_int_equal(md_gguf_array_i64(md_gguf_find(g, "u64"), 0, &v, &err), MD_ERR_FORMAT);
    assert_int_equal(md_gguf_array_str(md_gguf_find(g, "numbers"), 0, &s, &err), MD_ERR_FORMAT);
    assert_true(u == 77 && f == 77 && truth && v == 77 && s.n == 1);
    free(copy);
    md_buf_done(&b);
    md_gguf_close(g);
}

static void reads_version_2_and_own_alignment(void **state)
{
    (void)state;
    md_buf b = {0};
    put_header(&b, 2, 2, 1);
    put_kv_u32(&b, "general.alignment", 64);
    put_tensor(&b, "scalar", 0, NULL, TYPE_F32, 0);
    put_tensor(&b, "x", 1, (const uint64_t[]){1}, TYPE_F32, 64);
    pad_to(&b, 64);
    put_zeros(&b, 64 + 4);
    void *copy;
    md_gguf *g;
    md_error err = {0};
    assert_int_equal(parse(&b, b.len, MD_GGUF_MAP, &copy, &g, &err), MD_OK);
    assert_int_equal(md_gguf_version(g), 2);
    assert_int_equal(md_gguf_alignment(g), 64);
    assert_int_equal(md_gguf_find_tensor(g, "scalar")->n_dims, 1);
    assert_int_equal(md_gguf_find_tensor(g, "scalar")->bytes, 4);
    assert_int_equal(md_gguf_find_tensor(g, "x")->file_offset % 64, 0);
    free(copy);
    md_gguf_close(g);
    md_buf_done(&b);
}

static void reads_a_file_without_anything(void **state)
{
    (void)state;
    md_buf b = {0};
    put_header(&b, 3, 0, 0);
    void *copy;
    md_gguf *g;
    assert_int_equal(parse(&b, b.len, MD_GGUF_MAP, &copy, &g, NULL), MD_OK);
    assert_int_equal(md_gguf_n_tensors(g) + md_gguf_n_kv(g), 0);
    assert_null(md_gguf_find(g, "x"));
    free(copy);
    md_gguf_close(g);
    md_buf_done(&b);
}

/* ---- what is cut off ---- */

static void every_truncation_is_refused(void **state)
{
    (void)state;
    size_t header;
    md_buf b = sample(&header);
    for (size_t n = 0; n < b.len; n++) {
        void *copy;
        md_gguf *g;
        md_error err = {0};
        if (parse(&b, n, MD_GGUF_MAP, &copy, &g, &err) != MD_ERR_FORMAT)
            fail_msg("%zu of %zu bytes accepted", n, b.len);
        assert_null(g);
        if (n > 0 && !strstr(err.message, "cut off"))
            fail_msg("%zu bytes: %s", n, err.message);
        free(copy);
        const md_status status = parse(&b, n, MD_GGUF_HEADER, &copy, &g, &err);
        if ((status == MD_OK) != (n >= header))
            fail_msg("header of %zu bytes, %zu given: %s", header, n, md_status_name(status));
        if (g) {
            assert_int_equal(md_gguf_n_tensors(g), 2);
            assert_null(md_gguf_tensor_at(g, 0)->data);
        }
        md_gguf_close(g);
        free(copy);
    }
    md_buf_done(&b);
}

static void cut_off_data_is_named(void **state)
{
    (void)state;
    size_t header;
    md_buf b = sample(&header);
    char words[128];
    snprintf(words, sizeof words, "cut off: tensor 'b' ends at byte %zu but the file has %zu: download it again", b.len,
             b.len - 1);
    b.len--;
    expect_format(&b, words);
}

/* No byte of the header can be changed so that the reader crashes, whatever it then says. */
static void every_damaged_byte_is_survived(void **state)
{
    (void)state;
    static const unsigned char values[] = {0x00, 0x01, 0x7f, 0x80, 0xff};
    size_t header;
    md_buf b = sample(&header);
    for (size_t i = 0; i < header; i++) {
        const char before = b.data[i];
        for (size_t v = 0; v < sizeof values; v++) {
            void *copy;
            md_gguf *g;
            b.data[i] = (char)values[v];
            const md_status status = parse(&b, b.len, MD_GGUF_MAP, &copy, &g, NULL);
            assert_true(status == MD_OK || status == MD_ERR_FORMAT || status == MD_ERR_UNSUPPORTED);
            md_gguf_close(g);
            free(copy);
        }
        b.data[i] = before;
    }
    md_buf_done(&b);
}

/* ---- what is not GGUF ---- */

static void other_files_are_named(void **state)
{
    (void)state;
    static const struct {
        const char *start, *words;
    } files[] = {
        {"", "is empty"},
        {"GGU", "cut off"},
        {"hello world", "begins with bytes 68 65 6c 6c"},
        {"lmgg\1\0\0\0", "GGML file"},
        {"tjgg\3\0\0\0", "GGJT file"},
        {"PK\3\4", "zip archive"},
        {"version https://git-lfs", "Git LFS pointer"},
        {"<!DOCTYPE html>", "web page"},
    };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        md_buf b = {0};
        md_buf_puts(&b, files[i].start);
        expect_format(&b, files[i].words);
    }
    md_buf b = {0};
    put_bytes(&b, "{\"x\":{}}", 8);
    expect_format(&b, "safetensors");
}

static void other_versions_are_named(void **state)
{
    (void)state;
    static const struct {
        uint32_t version;
        const char *words;
    } versions[] = {{1, "version 1"}, {0x03000000, "big-endian"}, {0, "version 0"}, {4, "version 4"}};
    for (size_t i = 0; i < sizeof versions / sizeof *versions; i++) {
        md_buf b = {0};
        put_header(&b, versions[i].version, 0, 0);
        expect_refused(&b, MD_GGUF_HEADER, MD_ERR_UNSUPPORTED, versions[i].words);
    }
}

/* ---- bad keys ---- */

static md_buf one_key(void)
{
    md_buf b = {0};
    put_header(&b, 3, 0, 1);
    return b;
}

static void bad_counts_are_refused(void **state)
{
    (void)state;
    static const uint64_t counts[] = {3, (uint64_t)1 << 60, UINT64_MAX};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        md_buf b = {0};
        put_header(&b, 3, counts[i], 0);
        expect_format(&b, "tensors, more than its 24 bytes can hold");
        put_header(&b, 3, 0, counts[i]);
        expect_format(&b, "keys, more than its 24 bytes can hold");
        b = one_key();
        put_u64(&b, counts[i] < 21 ? 21 : counts[i]); /* length of the key's name */
        put_zeros(&b, 20);
        expect_format(&b, "inside key 0");
        b = one_key();
        put_key(&b, "text", MD_GGUF_STRING), put_u64(&b, counts[i]);
        expect_format(&b, "inside key 'text'");
        b = one_key();
        put_array(&b, "numbers", MD_GGUF_U64, counts[i]), put_u64(&b, 1), put_u64(&b, 2);
        expect_format(&b, "inside key 'numbers'");
        b = one_key();
        put_array(&b, "texts", MD_GGUF_STRING, counts[i]), put_text(&b, ""), put_text(&b, "");
        expect_format(&b, "inside key 'texts'");
    }
}

static void bad_keys_are_refused(void **state)
{
    (void)state;
    md_buf b = one_key();
    put_key(&b, "strange", 13), put_u64(&b, 0);
    expect_format(&b, "key 'strange' (at byte 24) has value kind 13");
    b = one_key();
    put_array(&b, "strange", 13, 0);
    expect_format(&b, "value kind 13");
    b = one_key();
    put_array(&b, "nested", MD_GGUF_ARRAY, 1), put_u32(&b, MD_GGUF_U8), put_u64(&b, 0);
    expect_format(&b, "key 'nested' (at byte 24) is an array of arrays");
    b = one_key();
    put_key(&b, "", MD_GGUF_U32), put_u32(&b, 1);
    put_u8(&b, 0);
    expect_format(&b, "key 0 (at byte 24) has an empty name");
    b = one_key();
    put_key(&b, "truth", MD_GGUF_BOOL), put_u8(&b, 2);
    expect_format(&b, "key 'truth' (at byte 41) is a boolean but neither 0 nor 1");
    b = one_key();
    put_array(&b, "truths", MD_GGUF_BOOL, 2), put_u8(&b, 1), put_u8(&b, 0xff);
    expect_format(&b, "neither 0 nor 1");
    put_header(&b, 3, 0, 3);
    put_kv_u32(&b, "a", 1), put_kv_u32(&b, "b", 1), put_kv_u32(&b, "a", 1);
    expect_format(&b, "key 'a' (at byte 58) is there twice");
}

static void names_in_errors_are_clean(void **state)
{
    (void)state;
    md_buf b = one_key();
    put_key(&b, "line\nbreak\x1b[31m", 99), put_u64(&b, 0);
    expect_format(&b, "key 'line?break?[31m'");
    md_buf name = {0};
    for (int i = 0; i < 60000; i++)
        md_buf_putc(&name, 'x');
    b = one_key();
    put_key(&b, name.data, 99);
    expect_format(&b, "has value kind 99");
    md_buf_done(&name);
}

static void bad_alignment_is_refused(void **state)
{
    (void)state;
    static const uint32_t bad[] = {0, 1, 4, 24, 33, 0x80000000u};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        md_buf b = one_key();
        put_kv_u32(&b, "general.alignment", bad[i]);
        expect_format(&b, "must be a power of two");
    }
    md_buf b = one_key();
    put_key(&b, "general.alignment", MD_GGUF_STRING), put_text(&b, "32");
    expect_format(&b, "key 'general.alignment' is of kind string");
    b = one_key();
    put_array(&b, "general.alignment", MD_GGUF_U32, 1), put_u32(&b, 32);
    expect_format(&b, "is an array");
}

/* ---- bad tensors ---- */

/* One tensor of the given shape with `data` bytes behind it. */
static md_buf one_tensor(const char *name, uint32_t n_dims, const uint64_t *dim, uint32_t type, uint64_t offset,
                         size_t data)
{
    md_buf b = {0};
    put_header(&b, 3, 1, 0);
    put_tensor(&b, name, n_dims, dim, type, offset);
    pad_to(&b, 32);
    put_zeros(&b, data);
    return b;
}

static void bad_shapes_are_refused(void **state)
{
    (void)state;
    static const struct {
        uint32_t n_dims;
        uint64_t dim[5];
        uint32_t type;
        const char *words;
    } shapes[] = {
        {1, {0}, TYPE_F32, "tensor 't' (at byte 33) has 0 as dimension 0"},
        {3, {4, 1, 0}, TYPE_F32, "has 0 as dimension 2"},
        {1, {(uint64_t)1 << 63}, TYPE_F32, "as dimension 0"},
        {5, {1, 1, 1, 1, 1}, TYPE_F32, "has 5 dimensions"},
        {2, {(uint64_t)1 << 32, (uint64_t)1 << 31}, TYPE_F32, "more than 2^63 elements"},
        {4, {1 << 20, 1 << 20, 1 << 20, 1 << 20}, TYPE_F32, "more than 2^63 elements"},
        {1, {(uint64_t)1 << 62}, TYPE_F32, "size in bytes beyond 2^64"},
        {2, {(uint64_t)1 << 31, (uint64_t)1 << 31}, TYPE_F32, "size in bytes beyond 2^64"},
        {2, {33, 2}, TYPE_Q4_0, "tensor 't' has rows of 33 values, which Q4_0 cannot hold: its blocks are of 32"},
        {1, {1}, 99999, "tensor 't': unknown type 99999"},
        {1, {32}, 97, "one engine only"},
    };
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (md_gguf_mode mode = MD_GGUF_MAP; mode <= MD_GGUF_HEADER; mode++) {
            md_buf b = one_tensor("t", shapes[i].n_dims, shapes[i].dim, shapes[i].type, 0, 256);
            expect_refused(&b, mode, shapes[i].type == 97 ? MD_ERR_UNSUPPORTED : MD_ERR_FORMAT, shapes[i].words);
        }
}

static void bad_places_are_refused(void **state)
{
    (void)state;
    static const struct {
        uint64_t offset;
        const char *words;
    } places[] = {
        {16, "tensor 't' has offset 16, which is not a multiple of the alignment 32"},
        {UINT64_MAX, "not a multiple"},
        {UINT64_MAX - 31, "beyond what a file can hold"},
        {(uint64_t)INT64_MAX / 32 * 32, "beyond what a file can hold"},
    };
    for (size_t i = 0; i < sizeof places / sizeof *places; i++)
        for (md_gguf_mode mode = MD_GGUF_MAP; mode <= MD_GGUF_HEADER; mode++) {
            md_buf b = one_tensor("t", 1, (const uint64_t[]){8}, TYPE_F32, places[i].offset, 64);
            expect_refused(&b, mode, MD_ERR_FORMAT, places[i].words);
        }
    md_buf b = one_tensor("t", 1, (const uint64_t[]){8}, TYPE_F32, (uint64_t)1 << 40, 64);
    expect_format(&b, "is cut off: tensor 't' ends at byte");
    b = one_tensor("", 1, (const uint64_t[]){8}, TYPE_F32, 0, 64);
    expect_format(&b, "tensor 0 (at byte 24) has an empty name");
}

static void repeated_and_overlapping_tensors_are_refused(void **state)
{
    (void)state;
    const uint64_t nine[] = {9};
    md_buf b = {0};
    put_header(&b, 3, 3, 0);
    put_tensor(&b, "a", 1, nine, TYPE_F32, 0);
    put_tensor(&b, "b", 1, nine, TYPE_F32, 64);
    put_tensor(&b, "a", 1, nine, TYPE_F32, 128);
    put_zeros(&b, 256);
    expect_format(&b, "tensor 'a' is there twice");
    static const uint64_t places[][3] = {{0, 64, 64}, {0, 32, 128}, {128, 0, 32}, {64, 0, 64}};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        put_header(&b, 3, 3, 0);
        put_tensor(&b, "a", 1, nine, TYPE_F32, places[i][0]);
        put_tensor(&b, "b", 1, nine, TYPE_F32, places[i][1]);
        put_tensor(&b, "c", 1, nine, TYPE_F32, places[i][2]);
        put_zeros(&b, 256);
        expect_format(&b, "overlap at byte");
    }
}

static void tensors_out_of_order_with_gaps_are_read(void **state)
{
    (void)state;
    md_buf b = {0};
    put_header(&b, 3, 2, 0);
    put_tensor(&b, "a", 1, (const uint64_t[]){9}, TYPE_F32, 128);
    put_tensor(&b, "b", 1, (const uint64_t[]){9}, TYPE_F32, 0);
    pad_to(&b, 32);
    put_zeros(&b, 128 + 36);
    void *copy;
    md_gguf *g;
    assert_int_equal(parse(&b, b.len, MD_GGUF_MAP, &copy, &g, NULL), MD_OK);
    assert_true(md_gguf_find_tensor(g, "a")->file_offset == md_gguf_find_tensor(g, "b")->file_offset + 128);
    free(copy);
    md_gguf_close(g);
    md_buf_done(&b);
}

static void missing_files_are_named(void **state)
{
    (void)state;
    md_gguf *g;
    md_error err = {0};
    assert_int_equal(md_gguf_open("no/such/model.gguf", MD_GGUF_MAP, &g, &err), MD_ERR_IO);
    assert_null(g);
    assert_non_null(strstr(err.message, "no/such/model.gguf"));
    assert_int_equal(md_gguf_open(MD_SOURCE_DIR, MD_GGUF_HEADER, &g, &err), MD_ERR_IO);
    assert_non_null(strstr(err.message, "directory"));
    md_gguf_close(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_every_kind),
        cmocka_unit_test(reads_arrays),
        cmocka_unit_test(reads_tensors),
        cmocka_unit_test(refuses_wrong_conversions),
        cmocka_unit_test(reads_version_2_and_own_alignment),
        cmocka_unit_test(reads_a_file_without_anything),
        cmocka_unit_test(every_truncation_is_refused),
        cmocka_unit_test(cut_off_data_is_named),
        cmocka_unit_test(every_damaged_byte_is_survived),
        cmocka_unit_test(other_files_are_named),
        cmocka_unit_test(other_versions_are_named),
        cmocka_unit_test(bad_counts_are_refused),
        cmocka_unit_test(bad_keys_are_refused),
        cmocka_unit_test(names_in_errors_are_clean),
        cmocka_unit_test(bad_alignment_is_refused),
        cmocka_unit_test(bad_shapes_are_refused),
        cmocka_unit_test(bad_places_are_refused),
        cmocka_unit_test(repeated_and_overlapping_tensors_are_refused),
        cmocka_unit_test(tensors_out_of_order_with_gaps_are_read),
        cmocka_unit_test(missing_files_are_named),
    };
    return cmocka_run_group_tests_name("format/gguf_read", tests, NULL, NULL);
}
