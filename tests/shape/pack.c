/* SPDX-License-Identifier: Apache-2.0
 *
 * Packed files: the same model to whoever runs it, read or mapped; nothing that another program would take for a model; and
 * refused when damaged. */
#include "shape/run_file.h"
#include "support/scratch.h"

#include <medley/shape.h>
#include <stdio.h>

enum { N = 40 };

static uint64_t run(const char *path, bool map)
{
    return run_file(path, map, 0, N, N);
}

static void put_model(const char *path, const char *type, bool tied)
{
    const md_synth_spec spec = {.arch = "qwen3moe",
                                .n_embd = 256,
                                .n_ff_exp = 256,
                                .n_expert = 4,
                                .n_expert_used = 2,
                                .type_attn = type,
                                .type_ffn = type,
                                .type_embd = "Q8_0",
                                .type_out = "Q8_0",
                                .tied_output = tied};
    OK(md_synth_write(&spec, path, err));
}

static void refused(const char *path, md_status expected, const char *why)
{
    md_error e = {0};
    md_model *m;
    assert_int_equal(md_model_open(path, NULL, &m, &e), expected);
    assert_null(m);
    if (!strstr(e.message, why))
        fail_msg("'%s' does not say '%s'", e.message, why);
}

static void a_packed_model_computes_the_same(void **state)
{
    static const char *const types[] = {"Q4_0", "Q4_1", "Q5_0", "Q5_1",   "Q8_0",  "IQ4_NL", "MXFP4",  "Q2_K",  "Q3_K",
                                        "Q4_K", "Q5_K", "Q6_K", "IQ4_XS", "TQ1_0", "TQ2_0",  "IQ2_XS", "IQ3_S", "F16"};
    char plain[512], packed[512];
    snprintf(plain, sizeof plain, "%s", scratch_path(*state, "plain.gguf"));
    snprintf(packed, sizeof packed, "%s", scratch_path(*state, "packed.gguf"));
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        put_model(plain, types[i], i % 2 == 0);
        md_pack_result r;
        OK(md_pack(plain, packed, NULL, &r, err));
        assert_true(r.tensors > 0 && r.tiled > 0 && r.tiled < r.tensors);
        assert_true(r.bytes_out < r.bytes_in + 16384); /* keys, layouts and checksums */
        const uint64_t hash = run(plain, false);
        assert_true(hash == run(plain, true));
        assert_true(hash == run(packed, false));
        assert_true(hash == run(packed, true));
    }
}

static void a_packed_file_says_so(void **state)
{
    char plain[512], packed[512];
    snprintf(plain, sizeof plain, "%s", scratch_path(*state, "plain.gguf"));
    snprintf(packed, sizeof packed, "%s", scratch_path(*state, "packed.gguf"));
    put_model(plain, "Q4_0", false);
    md_pack_result r;
    OK(md_pack(plain, packed, NULL, &r, err));
    md_description *a, *b;
    OK(md_model_describe(plain, NULL, &a, err));
    OK(md_model_describe(packed, NULL, &b, err));
    assert_false(md_description_info(a)->packed);
    assert_true(md_description_info(b)->packed);
    assert_string_equal(md_description_info(b)->arch, "qwen3moe");
    assert_true(md_description_info(a)->weights == md_description_info(b)->weights);
    md_description_free(a);
    md_description_free(b);

    md_error e = {0};
    assert_int_equal(md_pack(packed, plain, NULL, &r, &e), MD_ERR_ARGUMENT);
    assert_non_null(strstr(e.message, "packed already"));
    assert_int_equal(md_pack(plain, plain, NULL, &r, &e), MD_ERR_ARGUMENT);
    assert_non_null(strstr(e.message, "itself"));
    md_upcycle_args args;
    md_upcycle_result up;
    md_upcycle_args_default(&args);
    assert_int_not_equal(md_upcycle(packed, scratch_path(*state, "up.gguf"), &args, &up, &e), MD_OK);
    assert_non_null(strstr(e.message, "packed"));
}

static void flip(const char *path, long at)
{
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    assert_int_equal(fseek(f, at, at < 0 ? SEEK_END : SEEK_SET), 0);
    const int c = fgetc(f);
    assert_int_equal(fseek(f, -1, SEEK_CUR), 0);
    assert_int_not_equal(fputc(c ^ 1, f), EOF);
    assert_int_equal(fclose(f), 0);
}

/* Any bit of a weight, and what the marks say. */
static void damage_is_seen(void **state)
{
    char plain[512], packed[512];
    snprintf(plain, sizeof plain, "%s", scratch_path(*state, "plain.gguf"));
    snprintf(packed, sizeof packed, "%s", scratch_path(*state, "packed.gguf"));
    put_model(plain, "Q4_0", false);
    md_pack_result r;
    OK(md_pack(plain, packed, NULL, &r, err));
    const uint64_t hash = run(packed, false);
    for (long at = -33; at > -400000; at = at * 3) { /* the last bytes may be padding */
        flip(packed, at);
        refused(packed, MD_ERR_FORMAT, "damaged");
        flip(packed, at);
    }
    assert_true(run(packed, false) == hash);

    size_t n;
    unsigned char *bytes = read_all(packed, &n);
    const char version[] = "medley.packed.version";
    size_t at = 0;
    while (at + sizeof version < n && memcmp(bytes + at, version, sizeof version - 1) != 0)
        at++;
    free(bytes);
    flip(packed, (long)(at + sizeof version - 1 + 4)); /* its value, behind its kind */
    refused(packed, MD_ERR_UNSUPPORTED, "pack the model again");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_SCRATCH(a_packed_model_computes_the_same),
        IN_SCRATCH(a_packed_file_says_so),
        IN_SCRATCH(damage_is_seen),
    };
    return cmocka_run_group_tests_name("shape/pack", tests, NULL, NULL);
}
