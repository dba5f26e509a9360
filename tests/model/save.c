/* SPDX-License-Identifier: Apache-2.0
 *
 * Sequences in files: the same bits after loading as without it, refusals of what was made otherwise, and every damage a
 * file can take. */
#include "base/checksum.h"
#include "support/synth_model.h"

enum { N_PROMPT = 70, N_MORE = 12 };

static char file[600];
static md_model *model;
static int32_t n_vocab;
static int32_t token[N_PROMPT + N_MORE];

static const md_synth_spec spec = {.arch = "qwen3moe", .n_expert = 8, .n_expert_used = 2, .head_dim = 32, .seed = 3};

static int setup(void **state)
{
    (void)state;
    model = open_synth(&spec);
    n_vocab = md_model_get_info(model)->n_vocab;
    fill_tokens(token, N_PROMPT + N_MORE, n_vocab, 9);
    snprintf(file, sizeof file, "%s", temp_path("saved"));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    unlink(file);
    md_model_close(model);
    return 0;
}

static md_session *session_of(const md_model *m, md_kv_type kv, int32_t positions)
{
    md_session_args args;
    md_session_args_default(m, &args);
    args.n_threads = 1;
    args.kv_type = kv;
    args.n_positions = positions;
    md_session *s;
    OK(md_session_new(m, &args, &s, err));
    return s;
}

/* Tokens one after another, and the hash of all logits on the way. */
static uint64_t feed(md_session *s, md_seq *q, int first, int n)
{
    uint64_t hash = MD_HASH_START;
    for (int i = first; i < first + n; i++) {
        OK(md_decode(s, &(md_batch){.n = 1, .token = &token[i], .seq = &q}, err));
        hash = md_logits_hash(hash, md_step_logits(s, 0), (size_t)n_vocab);
    }
    return hash;
}

static const md_seq_save_args prompt_and_note = {.token = token, .n_tokens = N_PROMPT, .text = "a\0b", .n_text = 3};

static void save_prompt(md_kv_type kv)
{
    md_session *s = session_of(model, kv, 256);
    md_seq *q;
    OK(md_seq_new(s, &q, err));
    feed(s, q, 0, N_PROMPT);
    OK(md_seq_save(q, &prompt_and_note, file, err));
    md_session_free(s);
}

static void the_same_bits_follow(void **state)
{
    (void)state;
    for (md_kv_type kv = MD_KV_F32; kv <= MD_KV_Q8_0; kv++) {
        md_session *s = session_of(model, kv, 256);
        md_seq *q;
        OK(md_seq_new(s, &q, err));
        feed(s, q, 0, N_PROMPT);
        OK(md_seq_save(q, &prompt_and_note, file, err));
        const uint64_t straight = feed(s, q, N_PROMPT, N_MORE);
        md_session_free(s);

        s = session_of(model, kv, 320); /* another session, and not the first sequence in it */
        md_seq *other;
        OK(md_seq_new(s, &other, err));
        feed(s, other, 3, 5);
        OK(md_seq_new(s, &q, err));
        feed(s, q, 1, 9); /* a past that goes */
        md_saved *saved;
        OK(md_saved_open(file, &saved, err));
        md_counters counters;
        md_session_counters(s, &counters);
        const uint64_t rows = counters.rows;
        OK(md_seq_load(q, saved, err));
        size_t n;
        assert_memory_equal(md_saved_tokens(saved, &n), token, N_PROMPT * sizeof *token);
        assert_int_equal(n, N_PROMPT);
        assert_memory_equal(md_saved_text(saved, &n), "a\0b", 3);
        assert_int_equal(n, 3);
        assert_int_equal(md_saved_length(saved), N_PROMPT);
        md_saved_close(saved);
        assert_int_equal(md_seq_length(q), N_PROMPT);
        assert_true(feed(s, q, N_PROMPT, N_MORE) == straight);
        md_session_counters(s, &counters);
        assert_int_equal(counters.rows - rows, N_MORE); /* nothing was read again */
        md_session_free(s);
    }
}

static void masks_must_be_the_same(void **state)
{
    (void)state;
    md_session *s = session_of(model, MD_KV_F16, 256);
    md_seq *masked, *plain, *same;
    OK(md_seq_new(s, &masked, err));
    OK(md_seq_mask_expert(masked, 0, 3, MD_EXPERT_OFF, err));
    feed(s, masked, 0, 20);
    OK(md_seq_save(masked, NULL, file, err));
    const uint64_t straight = feed(s, masked, 20, 5);
    md_saved *saved;
    OK(md_saved_open(file, &saved, err));
    OK(md_seq_new(s, &plain, err));
    md_error e = {0};
    assert_int_equal(md_seq_load(plain, saved, &e), MD_ERR_UNSUPPORTED);
    assert_non_null(strstr(e.message, "other numerics"));
    OK(md_seq_new(s, &same, err));
    OK(md_seq_mask_expert(same, 0, 3, MD_EXPERT_OFF, err));
    OK(md_seq_load(same, saved, err));
    assert_true(feed(s, same, 20, 5) == straight);
    md_saved_close(saved);
    md_session_free(s);
}

/* Loading into a sequence of 7 positions fails with `code` and leaves it alone. */
static void expect_refusal(const md_model *m, md_kv_type kv, int32_t positions, md_status code, const char *words)
{
    md_session *s = session_of(m, kv, positions);
    md_seq *q, *twin;
    OK(md_seq_new(s, &q, err));
    OK(md_seq_new(s, &twin, err));
    feed(s, q, 0, 7);
    feed(s, twin, 0, 7);
    md_saved *saved;
    OK(md_saved_open(file, &saved, err));
    md_error e = {0};
    assert_int_equal(md_seq_load(q, saved, &e), code);
    if (!strstr(e.message, words))
        fail_msg("'%s' is not in '%s'", words, e.message);
    md_saved_close(saved);
    assert_int_equal(md_seq_length(q), 7);
    assert_true(feed(s, q, 7, 1) == feed(s, twin, 7, 1));
    md_session_free(s);
}

static void what_was_made_otherwise_is_refused(void **state)
{
    (void)state;
    save_prompt(MD_KV_F16);
    expect_refusal(model, MD_KV_F32, 256, MD_ERR_UNSUPPORTED, "other numerics");
    expect_refusal(model, MD_KV_F16, 128, MD_ERR_LIMIT, "no room");
    md_synth_spec twin_spec = spec;
    twin_spec.seed++; /* the same header, other weights */
    md_model *twin = open_synth(&twin_spec);
    expect_refusal(twin, MD_KV_F16, 256, MD_ERR_UNSUPPORTED, "another model");
    md_model_close(twin);
}

static void saving_checks_its_arguments(void **state)
{
    (void)state;
    md_session *s = session_of(model, MD_KV_F16, 256);
    md_seq *q;
    md_error e = {0};
    OK(md_seq_new(s, &q, err));
    feed(s, q, 0, 4);
    assert_int_equal(md_seq_save(q, &(md_seq_save_args){.token = token, .n_tokens = 3}, file, &e), MD_ERR_ARGUMENT);
    assert_int_equal(md_seq_save(q, NULL, "/nowhere/at/all", &e), MD_ERR_IO);
    OK(md_step_begin(s, &(md_batch){.n = 1, .token = token, .seq = &q}, err));
    assert_int_equal(md_seq_save(q, NULL, file, &e), MD_ERR_ARGUMENT);
    md_step_abandon(s);
    OK(md_seq_trim(q, 0, err));
    OK(md_seq_save(q, NULL, file, err)); /* nothing at all can be saved, too */
    md_saved *saved;
    OK(md_saved_open(file, &saved, err));
    OK(md_seq_load(q, saved, err));
    assert_int_equal(md_seq_length(q), 0);
    md_saved_close(saved);
    md_session_free(s);
}

/* ---- damage ---- */

static void write_file(const char *bytes, size_t n)
{
    FILE *f = fopen(file, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, n, f), n);
    fclose(f);
}

static md_status open_bytes(const char *bytes, size_t n, md_error *e)
{
    md_saved *saved;
    write_file(bytes, n);
    const md_status status = md_saved_open(file, &saved, e);
    md_saved_close(saved);
    return status;
}

static void expect_damage(const char *bytes, size_t n, size_t at)
{
    md_error e = {0};
    const md_status status = open_bytes(bytes, n, &e);
    if (status != MD_ERR_FORMAT && !(status == MD_ERR_UNSUPPORTED && at >= 8 && at < 12)) /* the version */
        fail_msg("damage at %zu of %zu: status %d, '%s'", at, n, (int)status, e.message);
    assert_non_null(strstr(e.message, file));
}

static void every_damage_is_noticed(void **state)
{
    (void)state;
    save_prompt(MD_KV_Q8_0);
    size_t n;
    char *bytes = read_all(file, &n);
    for (size_t i = 0; i < n; i += i < 700 ? 1 : 997) {
        bytes[i] ^= 0x40;
        expect_damage(bytes, n, i);
        bytes[i] ^= 0x40;
    }
    for (size_t cut = 0; cut < n; cut += cut < 700 ? 1 : 997)
        expect_damage(bytes, cut, cut);
    expect_damage(bytes, n - 1, n);
    char *longer = calloc(n + 8, 1);
    assert_non_null(longer);
    memcpy(longer, bytes, n);
    expect_damage(longer, n + 8, n);
    free(longer);
    md_error e = {0};
    assert_int_equal(open_bytes(bytes, n, &e), MD_OK);
    free(bytes);
}

/* A header may lie about its sizes and have a checksum that is right. */
static void sizes_are_checked_before_use(void **state)
{
    (void)state;
    static const size_t fields[] = {32, 40, 48, 56, 64, 72}; /* page bytes, length, key, tokens, text, state */
    static const uint64_t lies[] = {9,         17, UINT32_MAX, (uint64_t)1 << 62, UINT64_MAX / 4 + 1, UINT64_MAX - 7,
                                    UINT64_MAX};
    save_prompt(MD_KV_F16);
    size_t n;
    char *bytes = read_all(file, &n), *copy = malloc(n);
    assert_non_null(copy);
    for (size_t f = 0; f < sizeof fields / sizeof *fields; f++)
        for (size_t l = 0; l < sizeof lies / sizeof *lies; l++) {
            md_checksum c;
            memcpy(copy, bytes, n);
            memcpy(copy + fields[f], &lies[l], fields[f] == 40 ? 4 : 8);
            md_checksum_init(&c);
            md_checksum_add(&c, copy, n - 8);
            memcpy(copy + n - 8, &(uint64_t){md_checksum_value(&c)}, 8);
            expect_damage(copy, n, fields[f]);
        }
    free(copy);
    free(bytes);
}

static void tokens_are_checked_against_the_vocabulary(void **state)
{
    (void)state;
    int32_t strange[4] = {1, 2, 3, n_vocab};
    md_session *s = session_of(model, MD_KV_F16, 256);
    md_seq *q;
    OK(md_seq_new(s, &q, err));
    OK(md_seq_save(q, &(md_seq_save_args){.token = strange, .n_tokens = 4}, file, err));
    md_saved *saved;
    OK(md_saved_open(file, &saved, err));
    md_error e = {0};
    assert_int_equal(md_seq_load(q, saved, &e), MD_ERR_FORMAT);
    assert_non_null(strstr(e.message, "token 3"));
    md_saved_close(saved);
    md_session_free(s);
}

/* Values of the published specification's own test program. */
static void the_checksum_is_xxh64(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t value;
    } known[] = {{"", 0xef46db3751d8e999ull},
                 {"a", 0xd24ec4f1a98c6e5bull},
                 {"abc", 0x44bc2cf5ad770999ull},
                 {"Nobody inspects the spammish repetition", 0xfbcea83c8a378bf1ull}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        const size_t n = strlen(known[i].text);
        for (size_t cut = 0; cut <= n; cut++) {
            md_checksum c;
            md_checksum_init(&c);
            md_checksum_add(&c, known[i].text, cut);
            md_checksum_add(&c, known[i].text + cut, n - cut);
            assert_true(md_checksum_value(&c) == known[i].value);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_checksum_is_xxh64),        cmocka_unit_test(the_same_bits_follow),
        cmocka_unit_test(masks_must_be_the_same),       cmocka_unit_test(what_was_made_otherwise_is_refused),
        cmocka_unit_test(saving_checks_its_arguments),  cmocka_unit_test(every_damage_is_noticed),
        cmocka_unit_test(sizes_are_checked_before_use), cmocka_unit_test(tokens_are_checked_against_the_vocabulary),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
