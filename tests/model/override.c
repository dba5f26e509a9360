/* SPDX-License-Identifier: Apache-2.0
 *
 * Metadata overrides: what they change, what they cannot be, and that the numerics key shows them. */
#include "support/synth_model.h"

static char path[600];

static int setup(void **state)
{
    (void)state;
    snprintf(path, sizeof path, "%s", temp_path("override.gguf"));
    OK(md_synth_write(&(md_synth_spec){.arch = "qwen3moe", .n_expert = 8, .n_expert_used = 2, .seed = 5}, path, err));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    unlink(path);
    return 0;
}

static md_status open_with(const char *const *text, size_t n, md_model **m, md_error *e)
{
    return md_model_open(path, &(md_model_args){.override = text, .n_override = n}, m, e);
}

/* Slots of the first routed layer after one token, and the numerics key. */
static int slots_used(const char *const *text, size_t n, char *key, size_t key_size)
{
    md_model *m;
    md_session *s;
    md_seq *q;
    md_session_args args;
    OK(open_with(text, n, &m, err));
    md_session_args_default(m, &args);
    args.n_threads = 1;
    OK(md_session_new(m, &args, &s, err));
    OK(md_seq_new(s, &q, err));
    const uint8_t want = MD_WANT_ROUTING;
    OK(md_decode(s, &(md_batch){.n = 1, .token = &(int32_t){7}, .seq = &q, .want = &want}, err));
    const int32_t *expert;
    const float *weight;
    int32_t k;
    assert_true(md_step_routing(s, 0, 0, &expert, &weight, &k));
    md_seq_numerics_key(q, key, key_size);
    md_session_free(s);
    md_model_close(m);
    return k;
}

static void routing_follows_the_override(void **state)
{
    (void)state;
    static const char *const four[] = {"qwen3moe.expert_used_count=int:4"}, *const back[] = {
                                                                                "qwen3moe.expert_used_count=int:4",
                                                                                "qwen3moe.expert_used_count=int:2"};
    char plain[256], with_four[256], with_two[256];
    assert_int_equal(slots_used(NULL, 0, plain, sizeof plain), 2);
    assert_int_equal(slots_used(four, 1, with_four, sizeof with_four), 4);
    assert_int_equal(slots_used(back, 2, with_two, sizeof with_two), 2); /* the last of two counts */
    assert_null(strstr(plain, "overrides="));
    assert_non_null(strstr(with_four, "top-k=4"));
    assert_non_null(strstr(with_four, " overrides="));
    assert_string_not_equal(strstr(with_four, " overrides="), strstr(with_two, " overrides="));
}

/* A key's kind and value in a description, as "kind value". */
static const char *described(const md_description *d, const char *key)
{
    static char text[200];
    for (size_t i = 0; i < md_description_n_metadata(d); i++) {
        md_metadata_info m;
        md_description_metadata(d, i, &m);
        if (strcmp(m.key, key) == 0) {
            snprintf(text, sizeof text, "%s %s", m.kind, m.value);
            return text;
        }
    }
    return "absent";
}

static void every_type_is_taken(void **state)
{
    (void)state;
    static const char *const text[] = {
        "general.name=str:a:b=c",    "x.empty=str:",         "x.yes=bool:true",
        "x.no=bool:false",           "x.float=float:-1.5e3", "x.least=int:-9223372036854775808",
        "qwen3moe.block_count=int:2"};
    md_description *d, *plain;
    OK(md_model_describe(path, NULL, &plain, err));
    OK(md_model_describe(path, &(md_model_args){.override = text, .n_override = 7}, &d, err));
    assert_string_equal(described(d, "general.name"), "string \"a:b=c\"");
    assert_string_equal(md_description_info(d)->name, "a:b=c");
    assert_string_equal(described(d, "x.empty"), "string \"\"");
    assert_string_equal(described(d, "x.yes"), "bool true");
    assert_string_equal(described(d, "x.no"), "bool false");
    assert_string_equal(described(d, "x.float"), "f32 -1500");
    assert_string_equal(described(d, "x.least"), "i64 -9223372036854775808");
    assert_string_equal(described(d, "qwen3moe.block_count"), "i64 2");
    assert_int_equal(md_description_n_metadata(d), md_description_n_metadata(plain) + 5);
    assert_string_equal(described(plain, "x.yes"), "absent"); /* the file is as it was */
    md_description_free(d);
    md_description_free(plain);
}

static void what_makes_no_sense_is_one_sentence(void **state)
{
    (void)state;
    static const struct {
        const char *text, *words;
        md_status code;
    } bad[] = {
        {"", "KEY=TYPE:VALUE", MD_ERR_ARGUMENT},
        {"key", "KEY=TYPE:VALUE", MD_ERR_ARGUMENT},
        {"key=5", "KEY=TYPE:VALUE", MD_ERR_ARGUMENT},
        {"=int:5", "KEY=TYPE:VALUE", MD_ERR_ARGUMENT},
        {"k=u32:5", "unknown type 'u32'", MD_ERR_ARGUMENT},
        {"k=:5", "unknown type ''", MD_ERR_ARGUMENT},
        {"k=int:", "not a whole number", MD_ERR_ARGUMENT},
        {"k=int:5x", "not a whole number", MD_ERR_ARGUMENT},
        {"k=int:0x5", "not a whole number", MD_ERR_ARGUMENT},
        {"k=int:--5", "not a whole number", MD_ERR_ARGUMENT},
        {"k=int:9223372036854775808", "64 bits", MD_ERR_ARGUMENT},
        {"k=float:inf", "not a number", MD_ERR_ARGUMENT},
        {"k=float:1e99", "32-bit float", MD_ERR_ARGUMENT},
        {"k=float:.", "not a number", MD_ERR_ARGUMENT},
        {"k=bool:yes", "true or false", MD_ERR_ARGUMENT},
        {"general.alignment=int:64", "laid out", MD_ERR_ARGUMENT},
        {"split.count=int:2", "laid out", MD_ERR_ARGUMENT},
        {"general.architecture=str:nonesuch", "nonesuch", MD_ERR_UNSUPPORTED},
        {"qwen3moe.expert_used_count=int:-1", "expert_used_count", MD_ERR_FORMAT},
        {"qwen3moe.expert_used_count=str:two", "expert_used_count", MD_ERR_FORMAT},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        md_error e = {0};
        md_model *m;
        const md_status status = open_with(&bad[i].text, 1, &m, &e);
        if (status != bad[i].code || !strstr(e.message, bad[i].words) || strchr(e.message, '\n'))
            fail_msg("'%s': status %d, '%s'", bad[i].text, (int)status, e.message);
        assert_null(m);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(routing_follows_the_override),
        cmocka_unit_test(every_type_is_taken),
        cmocka_unit_test(what_makes_no_sense_is_one_sentence),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
