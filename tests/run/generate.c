/* SPDX-License-Identifier: Apache-2.0
 *
 * Whole answers against the same done by hand, one step at a time; and every way an answer can end. */
#include "run/small_model.h"

#include <medley/generate.h>

#include <math.h>
#include <string.h>

enum { N_PROMPT = 20, N_ANSWER = 40 };

static int32_t prompt[N_PROMPT];
static int32_t n_vocab;

/* What the callbacks saw. */
typedef struct heard {
    char text[8192];
    size_t n, text_calls, prompt_calls, prompt_done;
    size_t refuse_text_at, refuse_prompt_at; /* the call that says stop; 0: none */
} heard;

static bool hear_text(void *user, const char *text, size_t n)
{
    heard *h = user;
    assert_true(n > 0 && h->n + n < sizeof h->text);
    memcpy(h->text + h->n, text, n);
    h->n += n;
    h->text[h->n] = '\0';
    return ++h->text_calls != h->refuse_text_at;
}

static bool hear_prompt(void *user, size_t done, size_t total)
{
    heard *h = user;
    assert_true(done > h->prompt_done);
    assert_int_equal(total, N_PROMPT);
    h->prompt_done = done;
    return ++h->prompt_calls != h->refuse_prompt_at;
}

static md_sampler *sampler_of(float temperature, const md_logit_bias *bias, size_t n_bias)
{
    md_sampler_args a;
    md_sampler_args_default(&a);
    a.temperature = temperature;
    a.seed = 5;
    a.repetition_penalty = 1.3f;
    a.bias = bias;
    a.n_bias = n_bias;
    md_sampler *s;
    md_error err;
    ok(md_sampler_new(&a, n_vocab, &s, &err), &err);
    return s;
}

static md_generate_args args_of(md_sampler *sampler, heard *h)
{
    *h = (heard){0};
    return (md_generate_args){.prompt = prompt,
                              .n_prompt = N_PROMPT,
                              .max_tokens = N_ANSWER,
                              .sampler = sampler,
                              .ignore_eog = true,
                              .special = true,
                              .on_text = hear_text,
                              .on_prompt = hear_prompt,
                              .user = h};
}

static md_generate_result generate(md_seq *q, const md_generate_args *a)
{
    md_generate_result r;
    md_error err;
    ok(md_generate(q, a, &r, &err), &err);
    return r;
}

static int make(void **state)
{
    if (small_model_make(state) != 0)
        return -1;
    n_vocab = md_model_get_info(small_model)->n_vocab;
    for (int i = 0; i < N_PROMPT; i++)
        prompt[i] = 30 + i * 7 % 200;
    return 0;
}

/* ---- the answer, by hand ---- */

typedef struct answer {
    int32_t token[N_ANSWER];
    uint64_t hash;
    char text[8192];
} answer;

static const float *step(md_seq *q, md_session *s, int32_t token)
{
    const md_batch b = {.n = 1, .token = &token, .seq = &q};
    md_error err;
    ok(md_decode(s, &b, &err), &err);
    return md_step_logits(s, 0);
}

static answer by_hand(float temperature)
{
    answer a = {.hash = MD_HASH_START};
    md_session *s = new_session(small_model, 128, 1, 1);
    md_seq *q = new_seq(s);
    md_sampler *sampler = sampler_of(temperature, NULL, 0);
    md_detok *d = md_detok_new(md_model_tokenizer(small_model), true, false);
    assert_non_null(d);
    const float *logits = NULL;
    for (int i = 0; i < N_PROMPT; i++) {
        logits = step(q, s, prompt[i]);
        md_sampler_accept(sampler, prompt[i]);
    }
    md_error err;
    const char *piece;
    size_t n;
    for (int i = 0; i < N_ANSWER; i++) {
        a.hash = md_logits_hash(a.hash, logits, (size_t)n_vocab);
        ok(md_sample(sampler, logits, N_PROMPT + i - 1, &a.token[i], &err), &err);
        md_sampler_accept(sampler, a.token[i]);
        ok(md_detok_push(d, a.token[i], &piece, &n, &err), &err);
        strncat(a.text, piece, n);
        if (i + 1 < N_ANSWER)
            logits = step(q, s, a.token[i]);
    }
    ok(md_detok_finish(d, &piece, &n, &err), &err);
    strncat(a.text, piece, n);
    md_detok_free(d);
    md_sampler_free(sampler);
    md_session_free(s);
    return a;
}

/* ---- tests ---- */

static void an_answer_equals_the_one_by_hand(void **state)
{
    (void)state;
    for (int greedy = 0; greedy < 2; greedy++) {
        const float temperature = greedy ? 0.0f : 0.9f;
        const answer want = by_hand(temperature);
        const int32_t rows[] = {1, 7, 19, 20, 64};
        for (int i = 0; i < 5; i++) {
            md_session *s = new_session(small_model, 128, rows[i], 1);
            md_seq *q = new_seq(s);
            md_sampler *sampler = sampler_of(temperature, NULL, 0);
            heard h;
            const md_generate_args a = args_of(sampler, &h);
            const md_generate_result r = generate(q, &a);
            assert_int_equal(r.finish, MD_FINISH_LENGTH);
            assert_int_equal(r.n_prompt, N_PROMPT);
            assert_int_equal(r.n_generated, N_ANSWER);
            assert_memory_equal(md_generated_tokens(q), want.token, sizeof want.token);
            assert_true(r.logits_hash == want.hash);
            assert_string_equal(h.text, want.text);
            assert_int_equal(h.prompt_done, N_PROMPT);
            assert_int_equal(h.prompt_calls, (N_PROMPT + rows[i] - 1) / rows[i]);
            assert_int_equal(md_seq_length(q), N_PROMPT + N_ANSWER - 1);
            assert_true(r.prompt_seconds > 0 && r.generate_seconds > 0);
            md_sampler_free(sampler);
            md_session_free(s);
        }
    }
}

static void max_tokens_bounds_the_answer(void **state)
{
    (void)state;
    const answer want = by_hand(0.0f);
    md_session *s = new_session(small_model, 128, 32, 1);
    for (int32_t n = 0; n < 3; n++) {
        md_seq *q = new_seq(s);
        md_sampler *sampler = sampler_of(0.0f, NULL, 0);
        heard h;
        md_generate_args a = args_of(sampler, &h);
        a.max_tokens = n;
        const md_generate_result r = generate(q, &a);
        assert_int_equal(r.finish, MD_FINISH_LENGTH);
        assert_int_equal(r.n_generated, n);
        assert_memory_equal(md_generated_tokens(q), want.token, (size_t)n * sizeof *want.token);
        assert_int_equal(md_seq_length(q), N_PROMPT + (n > 0 ? n - 1 : 0));
        md_sampler_free(sampler);
        md_seq_free(q);
    }
    md_session_free(s);
}

/* The stop string is taken from the middle of the answer, so it begins and ends inside tokens. */
static void a_stop_string_is_cut_from_the_text(void **state)
{
    (void)state;
    const answer want = by_hand(0.0f);
    const size_t length = strlen(want.text);
    assert_true(length > 30);
    size_t from = length / 2, to = from + 9; /* move both to borders of characters */
    while (((unsigned char)want.text[from] & 0xc0) == 0x80)
        from++;
    while (((unsigned char)want.text[to] & 0xc0) == 0x80)
        to++;
    char stop[32] = {0}, before[sizeof want.text];
    memcpy(stop, want.text + from, to - from);
    memcpy(before, want.text, sizeof before);
    *strstr(before, stop) = '\0';

    md_session *s = new_session(small_model, 128, 32, 1);
    md_seq *q = new_seq(s);
    md_sampler *sampler = sampler_of(0.0f, NULL, 0);
    heard h;
    md_generate_args a = args_of(sampler, &h);
    const char *const stops[] = {"never in there", stop};
    a.stop = stops;
    a.n_stop = 2;
    const md_generate_result r = generate(q, &a);
    assert_int_equal(r.finish, MD_FINISH_STOP);
    assert_string_equal(h.text, before);
    assert_true(r.n_generated < N_ANSWER);
    assert_int_equal(md_seq_length(q), N_PROMPT + r.n_generated - 1);
    md_sampler_free(sampler);
    md_session_free(s);
}

static void an_end_of_generation_token_ends_it(void **state)
{
    (void)state;
    const int32_t eos = md_token_eos(md_model_tokenizer(small_model));
    assert_true(eos >= 0);
    const md_logit_bias always = {.token = eos, .bias = 1e6f};
    md_session *s = new_session(small_model, 128, 32, 1);
    md_seq *q = new_seq(s);
    md_sampler *sampler = sampler_of(0.0f, &always, 1);
    heard h;
    md_generate_args a = args_of(sampler, &h);
    a.ignore_eog = false;
    md_generate_result r = generate(q, &a);
    assert_int_equal(r.finish, MD_FINISH_EOG);
    assert_int_equal(r.n_generated, 0);
    assert_int_equal(h.n, 0);
    assert_int_equal(md_seq_length(q), N_PROMPT);

    a.ignore_eog = true;
    a.max_tokens = 3;
    a.special = false; /* the same tokens, not shown */
    a.on_prompt = NULL;
    r = generate(q, &a);
    assert_int_equal(r.finish, MD_FINISH_LENGTH);
    assert_int_equal(r.n_generated, 3);
    assert_int_equal(md_generated_tokens(q)[2], eos);
    assert_int_equal(h.n, 0);
    md_sampler_free(sampler);
    md_session_free(s);
}

static void a_full_context_ends_it(void **state)
{
    (void)state;
    const int32_t positions[] = {64, 37, N_PROMPT};
    for (int i = 0; i < 3; i++) {
        md_session *s = new_session(small_model, positions[i], 16, 1);
        md_seq *q = new_seq(s);
        md_sampler *sampler = sampler_of(0.8f, NULL, 0);
        heard h;
        md_generate_args a = args_of(sampler, &h);
        a.max_tokens = -1;
        const md_generate_result r = generate(q, &a);
        assert_int_equal(r.finish, MD_FINISH_CONTEXT);
        assert_int_equal(r.n_generated, positions[i] - N_PROMPT + 1);
        assert_int_equal(md_seq_length(q), positions[i]);
        md_sampler_free(sampler);
        md_session_free(s);
    }
}

static void a_prompt_that_does_not_fit_is_refused_with_numbers(void **state)
{
    (void)state;
    md_session *s = new_session(small_model, N_PROMPT + 10, 16, 1);
    md_seq *q = new_seq(s);
    md_sampler *sampler = sampler_of(0.0f, NULL, 0);
    heard h;
    md_generate_args a = args_of(sampler, &h);
    a.max_tokens = 1;
    (void)generate(q, &a);
    h = (heard){0};
    md_generate_result r;
    md_error err;
    assert_int_equal(md_generate(q, &a, &r, &err), MD_ERR_LIMIT);
    assert_non_null(strstr(err.message, "20 tokens"));
    assert_non_null(strstr(err.message, "10 positions are free"));
    assert_int_equal(h.prompt_calls, 0);
    assert_int_equal(md_seq_length(q), N_PROMPT);
    md_sampler_free(sampler);
    md_session_free(s);
}

/* A fork's last page has to be copied first: with no page left for that, even its empty half is no room. */
static void a_shared_page_is_no_room(void **state)
{
    (void)state;
    md_session *s = new_session(small_model, 64, 32, 1);
    md_seq *q = new_seq(s), *fork;
    md_sampler *sampler = sampler_of(0.0f, NULL, 0);
    heard h;
    md_generate_args a = args_of(sampler, &h);
    a.max_tokens = 0;
    (void)generate(q, &a);
    md_error err;
    ok(md_seq_fork(q, &fork, &err), &err);
    md_generate_result r;
    h = (heard){0};
    assert_int_equal(md_generate(fork, &a, &r, &err), MD_ERR_LIMIT);
    assert_int_equal(h.prompt_calls, 0);
    md_seq_free(q);
    h = (heard){0};
    (void)generate(fork, &a); /* now the page is its own */
    assert_int_equal(md_seq_length(fork), 2 * N_PROMPT);
    md_sampler_free(sampler);
    md_session_free(s);
}

static void callbacks_cancel(void **state)
{
    (void)state;
    md_session *s = new_session(small_model, 256, 8, 1);
    md_sampler *sampler = sampler_of(0.0f, NULL, 0);
    heard h;
    md_generate_args a = args_of(sampler, &h);
    h.refuse_prompt_at = 2;
    md_seq *q = new_seq(s);
    md_generate_result r = generate(q, &a);
    assert_int_equal(r.finish, MD_FINISH_CANCELLED);
    assert_int_equal(r.n_prompt, 16);
    assert_int_equal(r.n_generated, 0);
    assert_int_equal(md_seq_length(q), 16);
    md_seq_free(q);

    a = args_of(sampler, &h);
    h.refuse_text_at = 3;
    q = new_seq(s);
    r = generate(q, &a);
    assert_int_equal(r.finish, MD_FINISH_CANCELLED);
    assert_int_equal(h.text_calls, 3);
    assert_true(r.n_generated >= 3 && r.n_generated < N_ANSWER);
    assert_int_equal(md_seq_length(q), N_PROMPT + r.n_generated - 1);
    md_sampler_free(sampler);
    md_session_free(s);
}

/* Refusals, and a failure in the middle: the sequence is as it was. */
static void failures_leave_the_sequence_as_it_was(void **state)
{
    (void)state;
    md_session *s = new_session(small_model, 256, 8, 1);
    md_seq *q = new_seq(s);
    md_logit_bias *all = calloc((size_t)n_vocab, sizeof *all);
    assert_non_null(all);
    for (int32_t i = 0; i < n_vocab; i++)
        all[i] = (md_logit_bias){.token = i, .bias = -INFINITY};
    md_sampler *sampler = sampler_of(0.0f, NULL, 0), *mute = sampler_of(0.0f, all, (size_t)n_vocab), *other;
    md_sampler_args sa;
    md_sampler_args_default(&sa);
    md_error err;
    ok(md_sampler_new(&sa, n_vocab + 1, &other, &err), &err);
    const int32_t bad_prompt[] = {1, n_vocab};
    const char *const bad_stop[] = {""};
    heard h;
    md_generate_args good = args_of(sampler, &h);
    (void)generate(q, &good);
    const int32_t length = md_seq_length(q);

    md_generate_args a[7];
    for (int i = 0; i < 7; i++) {
        a[i] = good;
        a[i].on_prompt = NULL;
    }
    a[0].n_prompt = 0;
    a[1].sampler = NULL;
    a[2].sampler = other;
    a[3].prompt = bad_prompt;
    a[3].n_prompt = 2;
    a[4].stop = bad_stop;
    a[4].n_stop = 1;
    a[5].max_tokens = -2;
    a[6].sampler = mute;
    const char *const says[] = {"empty",         "no sampler", "sampler was made for 321", "prompt token 1 is 320",
                                "stop string 1", "-2",         "forbids every token"};
    for (int i = 0; i < 7; i++) {
        md_generate_result r;
        assert_int_equal(md_generate(q, &a[i], &r, &err), MD_ERR_ARGUMENT);
        if (!strstr(err.message, says[i]))
            fail_msg("'%s' does not say '%s'", err.message, says[i]);
        assert_int_equal(md_seq_length(q), length);
    }
    md_sampler_free(sampler);
    md_sampler_free(mute);
    md_sampler_free(other);
    md_session_free(s);
    free(all);
}

/* ---- constraints ---- */

typedef struct bound {
    md_grammar *g;
    md_constraint *c;
} bound;

static bound bind(const char *grammar, int32_t size)
{
    bound b;
    md_error err;
    ok(md_grammar_new(grammar, strlen(grammar), md_model_tokenizer(small_model), &b.g, &err), &err);
    ok(md_constraint_new(b.g, md_model_tokenizer(small_model), size, &b.c, &err), &err);
    return b;
}

static void unbind(bound *b)
{
    md_constraint_free(b->c);
    md_grammar_free(b->g);
}

static void an_answer_follows_its_grammar(void **state)
{
    (void)state;
    bound b = bind("root ::= [ab]{5} (\"-\" \"\\u6570\"){2} \"!\"", n_vocab);
    md_session *s = new_session(small_model, 256, 32, 1);
    for (int greedy = 0; greedy < 2; greedy++) {
        md_seq *q = new_seq(s);
        md_sampler *sampler = sampler_of(greedy ? 0.0f : 1.5f, NULL, 0);
        heard h;
        md_generate_args a = args_of(sampler, &h);
        a.constraint = b.c;
        a.ignore_eog = greedy; /* the grammar's end counts all the same */
        md_constraint_reset(b.c);
        const md_generate_result r = generate(q, &a);
        assert_int_equal(r.finish, MD_FINISH_GRAMMAR);
        assert_int_equal(h.n, 5 + 2 * 4 + 1);
        assert_int_equal(strspn(h.text, "ab"), 5);
        assert_string_equal(h.text + 5, "-\xe6\x95\xb0-\xe6\x95\xb0!");
        assert_true(md_constraint_must_end(b.c));
        md_sampler_free(sampler);
        md_seq_free(q);
    }
    md_session_free(s);
    unbind(&b);
}

/* A model that wants to end at once ends as soon as it may. */
static void an_answer_ends_where_its_grammar_lets_it(void **state)
{
    (void)state;
    const int32_t eos = md_token_eos(md_model_tokenizer(small_model));
    const md_logit_bias always = {.token = eos, .bias = 1e6f};
    bound b = bind("root ::= [ab]{3,}", n_vocab);
    md_session *s = new_session(small_model, 256, 32, 1);
    md_seq *q = new_seq(s);
    md_sampler *sampler = sampler_of(0.0f, &always, 1);
    heard h;
    md_generate_args a = args_of(sampler, &h);
    a.constraint = b.c;
    a.ignore_eog = false;
    md_generate_result r = generate(q, &a);
    assert_int_equal(r.finish, MD_FINISH_EOG);
    assert_int_equal(h.n, 3);

    /* Goes on where it was: what was said counts. */
    md_constraint_reset(b.c);
    a.max_tokens = 1;
    a.on_prompt = NULL;
    h.n = 0;
    r = generate(q, &a);
    assert_int_equal(r.finish, MD_FINISH_LENGTH);
    assert_false(md_constraint_may_end(b.c));
    a.max_tokens = 20;
    r = generate(q, &a);
    assert_int_equal(r.finish, MD_FINISH_EOG);
    assert_int_equal(h.n, 3);
    md_sampler_free(sampler);
    md_session_free(s);
    unbind(&b);
}

static void a_grammar_that_no_token_fits_is_an_error(void **state)
{
    (void)state;
    const int32_t eos = md_token_eos(md_model_tokenizer(small_model));
    char text[100];
    snprintf(text, sizeof text, "root ::= \"a\" <[%d]> \"b\"", eos); /* an answer cannot go on behind its end */
    bound b = bind(text, n_vocab), other = bind("root ::= \"a\"", n_vocab + 1);
    md_session *s = new_session(small_model, 256, 32, 1);
    md_seq *q = new_seq(s);
    md_sampler *sampler = sampler_of(0.0f, NULL, 0);
    heard h;
    md_generate_args a = args_of(sampler, &h);
    md_generate_result r;
    md_error err;
    a.constraint = b.c;
    assert_int_equal(md_generate(q, &a, &r, &err), MD_ERR_FORMAT);
    assert_non_null(strstr(err.message, "after 1 tokens of the answer the grammar allows none"));
    assert_int_equal(md_seq_length(q), 0);
    a.constraint = other.c;
    assert_int_equal(md_generate(q, &a, &r, &err), MD_ERR_ARGUMENT);
    assert_non_null(strstr(err.message, "vocabulary of 321 tokens"));
    unbind(&b);
    unbind(&other);

    /* Too deep: 1000 opening brackets, and the next one is withheld. */
    b = bind("root ::= \"(\" root \")\" | <[0]> \"x\"", n_vocab);
    const md_logit_bias never = {.token = 0, .bias = -INFINITY};
    md_sampler *opening = sampler_of(0.0f, &never, 1);
    a = args_of(opening, &h);
    a.constraint = b.c;
    for (md_status status = MD_OK; status == MD_OK;) /* up to the limit without a model */
        status = md_constraint_accept(b.c, md_token_find(md_model_tokenizer(small_model), "(", 1), NULL);
    assert_true(md_constraint_limited(b.c));
    a.on_prompt = NULL;
    assert_int_equal(md_generate(q, &a, &r, &err),
                     MD_ERR_ARGUMENT); /* token 0 alone is left, and the bias forbids it */
    assert_non_null(strstr(err.message, "or the grammar allows"));
    md_sampler_free(opening);
    md_sampler_free(sampler);
    md_session_free(s);
    unbind(&b);
}

static void finishes_have_names(void **state)
{
    (void)state;
    const char *const names[] = {"eog", "stop", "length", "context", "cancelled", "grammar"};
    for (int i = 0; i < 6; i++)
        assert_string_equal(md_finish_name((md_finish)i), names[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_answer_equals_the_one_by_hand),
        cmocka_unit_test(max_tokens_bounds_the_answer),
        cmocka_unit_test(a_stop_string_is_cut_from_the_text),
        cmocka_unit_test(an_end_of_generation_token_ends_it),
        cmocka_unit_test(a_full_context_ends_it),
        cmocka_unit_test(a_prompt_that_does_not_fit_is_refused_with_numbers),
        cmocka_unit_test(a_shared_page_is_no_room),
        cmocka_unit_test(callbacks_cancel),
        cmocka_unit_test(failures_leave_the_sequence_as_it_was),
        cmocka_unit_test(an_answer_follows_its_grammar),
        cmocka_unit_test(an_answer_ends_where_its_grammar_lets_it),
        cmocka_unit_test(a_grammar_that_no_token_fits_is_an_error),
        cmocka_unit_test(finishes_have_names),
    };
    return cmocka_run_group_tests(tests, make, small_model_remove);
}
