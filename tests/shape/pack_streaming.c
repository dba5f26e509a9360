/* SPDX-License-Identifier: Apache-2.0
 *
 * Files packed for streaming: the same model as the plain and the packed one, however it is run; an expert of it is one aligned read; and
 * what its header says of places is believed only where it can be true. */
#include "shape/run_file.h"
#include "support/scratch.h"

#include "expert/reads.h"
#include "fault/models.h"
#include "model/model.h"
#include "model/stream.h"

#include <medley/shape.h>

enum { N = 24 };

typedef struct paths {
    char plain[512], packed[512], streaming[512], other[512];
} paths;

static paths paths_in(const char *folder)
{
    paths p;
    snprintf(p.plain, sizeof p.plain, "%s/plain.gguf", folder);
    snprintf(p.packed, sizeof p.packed, "%s/packed.gguf", folder);
    snprintf(p.streaming, sizeof p.streaming, "%s/streaming.gguf", folder);
    snprintf(p.other, sizeof p.other, "%s/other.gguf", folder);
    return p;
}

static md_synth_spec spec_of(const char *type)
{
    return (md_synth_spec){.arch = "qwen3moe",
                           .n_embd = 256,
                           .n_ff_exp = 256,
                           .n_expert = 6,
                           .n_expert_used = 2,
                           .type_attn = "Q8_0",
                           .type_ffn = type,
                           .type_embd = "Q8_0",
                           .type_out = "Q8_0"};
}

static md_pack_result pack(const char *from, const char *to, bool for_streaming)
{
    md_pack_result r;
    OK(md_pack(from, to, &(md_pack_args){.for_streaming = for_streaming, .n_threads = 2}, &r, err));
    return r;
}

static uint64_t run(const char *path, bool map, int32_t slots)
{
    return run_file(path, map, slots, N, N / 3);
}

static void expect_everywhere(const char *path, uint64_t hash)
{
    assert_true(run(path, false, 0) == hash);
    assert_true(run(path, true, 0) == hash);
    assert_true(run(path, false, 2) == hash);
    assert_true(run(path, false, 5) == hash);
}

/* Every expert of every layer: one read, from a block's border on. */
static void expect_one_read(const char *path)
{
    md_model *m;
    OK(md_model_open(path, &(md_model_args){.stream = MD_STREAM_ALWAYS}, &m, err));
    const md_streamed_args *a = &m->stream->args;
    for (int32_t l = 0; l < a->n_layer; l++)
        for (int32_t e = 0; e < a->n_expert[l]; e++) {
            md_expert_reads r;
            md_expert_reads_of(&a->source[l][e], &r);
            assert_int_equal(r.n, 1);
            assert_int_equal(r.read[0].offset % MD_PACKED_ALIGN, 0);
        }
    md_model_close(m);
}

static void expect_same_file(const char *a, const char *b)
{
    size_t n, k;
    unsigned char *x = read_all(a, &n), *y = read_all(b, &k);
    assert_int_equal(n, k);
    assert_memory_equal(x, y, n);
    free(x);
    free(y);
}

static void computes_the_same(void **state)
{
    static const char *const types[] = {"Q4_K", "Q8_0", "MXFP4", "IQ2_XS", "F16", "F32"};
    const paths p = paths_in(*state);
    for (size_t i = 0; i < 2 * sizeof types / sizeof *types; i++) {
        md_synth_spec spec = spec_of(types[i / 2]);
        spec.fused_gate_up = i % 2 == 1;
        OK(md_synth_write(&spec, p.plain, err));
        pack(p.plain, p.packed, false);
        const md_pack_result r = pack(p.plain, p.streaming, true);
        assert_int_equal(r.experts, 2 * 6);
        const uint64_t hash = run(p.plain, false, 0);
        expect_everywhere(p.packed, hash);
        expect_everywhere(p.streaming, hash);
        expect_one_read(p.streaming);
    }
}

/* Experts with tensors of their own stand beside each other; the file is an ordinary packed one. */
static void one_tensor_an_expert(void **state)
{
    const paths p = paths_in(*state);
    md_synth_spec spec = spec_of("Q4_K");
    spec.arch = "llama";
    spec.legacy_experts = true;
    OK(md_synth_write(&spec, p.plain, err));
    assert_int_equal(pack(p.plain, p.streaming, true).experts, 2 * 6);
    expect_everywhere(p.streaming, run(p.plain, false, 0));
    expect_one_read(p.streaming);
}

/* From one form to the other and back, byte for byte; never to where it is already. */
static void forms_change_into_each_other(void **state)
{
    const paths p = paths_in(*state);
    const md_synth_spec spec = spec_of("Q4_K");
    md_error e = {0};
    md_pack_result r;
    OK(md_synth_write(&spec, p.plain, err));
    pack(p.plain, p.packed, false);
    pack(p.plain, p.streaming, true);
    pack(p.packed, p.other, true);
    expect_same_file(p.other, p.streaming);
    pack(p.streaming, p.other, false);
    expect_same_file(p.other, p.packed);
    assert_int_equal(md_pack(p.streaming, p.other, &(md_pack_args){.for_streaming = true}, &r, &e), MD_ERR_ARGUMENT);
    assert_non_null(strstr(e.message, "packed already, for streaming"));
    const md_synth_spec dense = {.arch = "llama"};
    OK(md_synth_write(&dense, p.plain, err));
    assert_int_equal(md_pack(p.plain, p.other, &(md_pack_args){.for_streaming = true}, &r, &e), MD_ERR_ARGUMENT);
    assert_non_null(strstr(e.message, "no routed experts"));
}

static void a_split_model_can_be_packed(void **state)
{
    const paths p = paths_in(*state);
    const char *whole_file = make_small_model(*state, &small_models[8]),
               *split = make_split_model(*state, &small_models[8]);
    pack(split, p.streaming, true);
    expect_everywhere(p.streaming, run(whole_file, false, 0));
    expect_one_read(p.streaming);
}

static void the_header_tells_of_the_model(void **state)
{
    const paths p = paths_in(*state);
    const md_synth_spec spec = spec_of("Q4_K");
    OK(md_synth_write(&spec, p.plain, err));
    pack(p.plain, p.streaming, true);
    md_description *a, *b;
    OK(md_model_describe(p.plain, NULL, &a, err));
    OK(md_model_describe(p.streaming, NULL, &b, err));
    assert_int_equal(md_description_n_tensors(a), md_description_n_tensors(b));
    for (size_t i = 0; i < md_description_n_tensors(a); i++) {
        md_tensor_info x, y;
        md_description_tensor(a, i, &x);
        md_description_tensor(b, i, &y);
        assert_string_equal(x.type, y.type);
        assert_true(x.bytes == y.bytes);
        assert_memory_equal(x.dim, y.dim, sizeof x.dim);
    }
    assert_true(md_description_info(b)->packed && md_description_info(b)->for_streaming);
    assert_false(md_description_info(a)->for_streaming);
    md_description_free(a);
    md_description_free(b);
    md_upcycle_args args;
    md_upcycle_result up;
    md_error e = {0};
    md_upcycle_args_default(&args);
    assert_int_not_equal(md_upcycle(p.streaming, p.other, &args, &up, &e), MD_OK);
    assert_non_null(strstr(e.message, "mixture of experts already"));
    uint64_t n_bad = 1;
    OK(md_model_check(p.streaming, NULL, NULL, NULL, NULL, &n_bad, err));
    assert_int_equal(n_bad, 0);
    pack(p.plain, p.packed, false);
    OK(md_model_check(p.packed, NULL, NULL, NULL, NULL, &n_bad, err));
    assert_int_equal(n_bad, 0);
}

/* ---- files that are not as they were ---- */

static void put_at(const char *path, size_t at, const void *bytes, size_t n)
{
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    assert_int_equal(fseek(f, (long)at, SEEK_SET), 0);
    assert_int_equal(fwrite(bytes, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

static void refused(const char *path, const char *why)
{
    static const md_model_args ways[] = {{.stream = MD_STREAM_NEVER}, {.stream = MD_STREAM_ALWAYS}, {.map = true}};
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        md_error e = {0};
        md_model *m;
        const md_status status = md_model_open(path, &ways[i], &m, &e);
        assert_null(m);
        if ((status != MD_ERR_FORMAT && status != MD_ERR_UNSUPPORTED) || !strstr(e.message, why))
            fail_msg("%s: '%s' does not say '%s'", md_status_name(status), e.message, why);
    }
}

/* Where a key's value begins; an array's elements do. */
static size_t value_of(const char *path, const char *key)
{
    size_t n, at = 0;
    char *bytes = read_all(path, &n);
    const char *found = memmem(bytes, n, key, strlen(key));
    assert_non_null(found);
    at = (size_t)(found - bytes) + strlen(key);
    uint32_t kind;
    memcpy(&kind, bytes + at, sizeof kind);
    free(bytes);
    return at + (kind == MD_GGUF_ARRAY ? 4 + 4 + 8 : 4);
}

/* One element of a key's value at a time: views are gate, up, down of layer 0, then of layer 1. */
static void what_cannot_be_is_refused(void **state)
{
    static const struct {
        const char *key;
        size_t at, bytes;
        uint64_t value;
        const char *why;
    } edits[] = {
        {MD_PACKED_KEY_VERSION, 0, 4, 3, "this program has 1 to 2"},
        {MD_PACKED_KEY_VERSION, 0, 4, 0, "this program has 1 to 2"},
        {MD_PACKED_KEY_VERSION, 0, 4, 1, "lacks 'medley.packed.layout'"},
        {MD_PACKED_KEY_VIEW_OFFSET, 0, 8, 32, "overlaps"},
        {MD_PACKED_KEY_VIEW_OFFSET, 0, 8, 1, "not inside"},
        {MD_PACKED_KEY_VIEW_OFFSET, 8, 8, 0, "overlaps"},
        {MD_PACKED_KEY_VIEW_OFFSET, 16, 8, 1 << 20, "not inside"},
        {MD_PACKED_KEY_VIEW_OFFSET, 16, 8, UINT64_MAX - 31, "not inside"},
        {MD_PACKED_KEY_VIEW_TENSOR, 0, 4, 0, "holds no others"},
        {MD_PACKED_KEY_VIEW_TENSOR, 20, 4, UINT32_MAX, "not there"},
        {MD_PACKED_KEY_VIEW_TENSOR, 12, 4, 1, "lies before"},
        {MD_PACKED_KEY_VIEW_SHAPE, 0, 8, 512, "overlaps"},
        {MD_PACKED_KEY_VIEW_SHAPE, 0, 8, 0, "not inside"},
        {MD_PACKED_KEY_VIEW_SHAPE, 0, 8, 100, "not inside"},
        {MD_PACKED_KEY_VIEW_SHAPE, 0, 8, UINT64_MAX, "not inside"},
        {MD_PACKED_KEY_VIEW_SHAPE, 8, 8, (uint64_t)1 << 62, "not inside"},
        {MD_PACKED_KEY_VIEW_SHAPE, 16, 8, 5, "not inside"},
        {MD_PACKED_KEY_VIEW_SHAPE, 16, 8, 7, "not inside"},
        {MD_PACKED_KEY_VIEW_TYPE, 0, 4, 9999, "9999"},
        {MD_PACKED_KEY_VIEW_TYPE, 0, 4, 0, "not inside"},
        {MD_PACKED_KEY_VIEW_NAME, 8 + 4, 1, '1', "twice"}, /* blk.1., which comes again */
        {MD_PACKED_KEY_VIEW_NAME, 8 + 7, 1, 'x', "no expert's"},
        {MD_PACKED_KEY_LAYOUT "\x09", 0, 1, MD_GGUF_I8, "lacks 'medley.packed.layout'"}, /* the kind of its elements */
        {MD_PACKED_KEY_VIEW_OFFSET "\x09", 0, 1, MD_GGUF_F64, "lacks 'medley.packed.view.offset'"},
    };
    const paths p = paths_in(*state);
    const md_synth_spec spec = spec_of("Q4_K");
    OK(md_synth_write(&spec, p.plain, err));
    for (size_t i = 0; i < sizeof edits / sizeof *edits; i++) {
        pack(p.plain, p.streaming, true);
        const bool kind = edits[i].key[strlen(edits[i].key) - 1] == 9;
        const size_t at = kind ? value_of(p.streaming, edits[i].key) - 1 : value_of(p.streaming, edits[i].key);
        put_at(p.streaming, at + edits[i].at, &edits[i].value, edits[i].bytes);
        refused(p.streaming, edits[i].why);
    }
}

/* A bit of any expert's matrix. */
static void damage_is_seen(void **state)
{
    const paths p = paths_in(*state);
    const md_synth_spec spec = spec_of("Q4_K");
    OK(md_synth_write(&spec, p.plain, err));
    md_description *d;
    pack(p.plain, p.streaming, true);
    OK(md_model_describe(p.streaming, NULL, &d, err));
    for (size_t i = 0; i < md_description_n_tensors(d); i++) {
        md_tensor_info t;
        md_error e = {0};
        md_model *m;
        uint64_t n_bad;
        md_description_tensor(d, i, &t);
        if (!strstr(t.name, "_exps"))
            continue;
        pack(p.plain, p.streaming, true);
        size_t n;
        unsigned char *bytes = read_all(p.streaming, &n);
        const size_t at = (size_t)t.offset + (size_t)t.bytes / 6 - 1; /* the first expert's last byte */
        const unsigned char other = bytes[at] ^ 1;
        free(bytes);
        put_at(p.streaming, at, &other, 1);
        assert_int_equal(md_model_open(p.streaming, &(md_model_args){.stream = MD_STREAM_NEVER}, &m, &e),
                         MD_ERR_FORMAT);
        assert_non_null(strstr(e.message, t.name));
        assert_non_null(strstr(e.message, "damaged"));
        assert_int_equal(md_model_check(p.streaming, NULL, NULL, NULL, NULL, &n_bad, &e), MD_ERR_FORMAT);
        assert_non_null(strstr(e.message, t.name));
    }
    md_description_free(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_SCRATCH(computes_the_same),
        IN_SCRATCH(one_tensor_an_expert),
        IN_SCRATCH(forms_change_into_each_other),
        IN_SCRATCH(a_split_model_can_be_packed),
        IN_SCRATCH(the_header_tells_of_the_model),
        IN_SCRATCH(what_cannot_be_is_refused),
        IN_SCRATCH(damage_is_seen),
    };
    return cmocka_run_group_tests_name("shape/pack_streaming", tests, NULL, NULL);
}
