/* SPDX-License-Identifier: Apache-2.0
 *
 * Masks over vocabularies: each bit against trying the token alone, with tokens that end inside characters, special
 * tokens asked for by name and number, and the tokens that end an answer. */
#include "text/grammar_case.h"
#include "text/tok_tiny.h"

#include <medley/grammar.h>

/* Bytes, some words and broken pieces of characters, and four special tokens. */
static tiny *vocabulary(void)
{
    static const char *const words[] = {
        "tr", "ue", "true", "fal", "se", "{\"", "\":", "\"}", "12", "ab", "ba", "aab", " a"};
    tiny *y = tiny_new("gpt2", "gpt-2");
    tiny_bytes(y);
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        char name[64] = "", one[8];
        for (const char *p = words[i]; *p; p++) {
            tiny_visible((unsigned char)*p, one);
            strcat(name, one);
        }
        tiny_add(y, name, MD_TOKEN_NORMAL, 0);
    }
    static const char *const pieces[] = {"\xe6\x95", "\x95\xb0", "\xb0\xe6", "a\xe6", "\xc3\xa4\xc3"};
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
        char name[64] = "", one[8];
        for (const char *p = pieces[i]; *p; p++) {
            tiny_visible((unsigned char)*p, one);
            strcat(name, one);
        }
        tiny_add(y, name, MD_TOKEN_NORMAL, 0);
    }
    tiny_add(y, "<think>", MD_TOKEN_CONTROL, 0);
    tiny_add(y, "</think>", MD_TOKEN_USER_DEFINED, 0);
    y->v.eos = tiny_add(y, "<|im_end|>", MD_TOKEN_CONTROL, 0);
    y->v.eot = tiny_add(y, "<|endoftext|>", MD_TOKEN_CONTROL, 0);
    tiny_make(y);
    return y;
}

static md_grammar *grammar_for(const tiny *y, const char *text)
{
    md_grammar *g;
    md_error err = {0};
    if (md_grammar_new(text, strlen(text), y->t, &g, &err) != MD_OK)
        fail_msg("%s: %s", text, err.message);
    return g;
}

static md_constraint *constraint_for(const tiny *y, const md_grammar *g, int32_t extra)
{
    md_constraint *c;
    md_error err = {0};
    if (md_constraint_new(g, y->t, md_tokenizer_size(y->t) + extra, &c, &err) != MD_OK)
        fail_msg("%s", err.message);
    return c;
}

static bool allowed(md_constraint *c, int32_t id)
{
    return md_constraint_mask(c)[id / 32] >> (id % 32) & 1;
}

static void accept(md_constraint *c, int32_t id)
{
    md_error err = {0};
    if (md_constraint_accept(c, id, &err) != MD_OK)
        fail_msg("token %d: %s", id, err.message);
}

static int32_t named(const tiny *y, const char *name)
{
    const int32_t id = md_token_find(y->t, name, strlen(name));
    assert_true(id >= 0);
    return id;
}

/* Goes through random answers and compares every bit with a second constraint that is led to the same place and given the
 * token. */
static void every_bit_is_what_the_token_alone_gives(void **state)
{
    (void)state;
    static const char *const grammars[] = {
        "root ::= \"true\" | \"false\" | [0-9]+",
        "root ::= \"{\\\"\" [ab]{1,4} \"\\\":\" (\"true\" | root) \"}\"",
        "root ::= [^\"a]{2} .* \"!\"",
        "root ::= [\xe6\x95\xb0\xe6\x95\xb1\xc3\xa4]+ \"a\"",
        "root ::= <think> !</think>* </think> [ab]+",
        "root ::= (<think> | \"a\" | !<think>) \"b\"",
        "root ::= (\"ab\" | \"a\" \"b\" \"!\" | \"aab\")* \"b\"?",
    };
    uint64_t x = 99;
    tiny *y = vocabulary();
    const int32_t n_vocab = md_tokenizer_size(y->t);
    for (size_t i = 0; i < sizeof grammars / sizeof *grammars; i++) {
        md_grammar *g = grammar_for(y, grammars[i]);
        md_constraint *c = constraint_for(y, g, 0), *other = constraint_for(y, g, 0);
        for (int round = 0; round < 8; round++) {
            int32_t taken[12];
            size_t n = 0;
            md_constraint_reset(c);
            for (; n < 12; n++) {
                int32_t choice[512];
                uint32_t n_choices = 0;
                for (int32_t id = 0; id < n_vocab; id++) {
                    md_constraint_reset(other);
                    for (size_t k = 0; k < n; k++)
                        accept(other, taken[k]);
                    const bool alone = md_constraint_accept(other, id, NULL) == MD_OK;
                    if (allowed(c, id) != alone)
                        fail_msg("%s: token %d after %zu tokens: %d in the mask, %d alone", grammars[i], id, n,
                                 allowed(c, id), alone);
                    if (alone && !md_token_is_eog(y->t, id))
                        choice[n_choices++] = id;
                }
                if (n_choices == 0)
                    break;
                taken[n] = choice[case_random(&x) % n_choices];
                accept(c, taken[n]);
            }
        }
        md_constraint_free(c);
        md_constraint_free(other);
        md_grammar_free(g);
    }
    tiny_free(y);
}

static void tokens_spell_a_text_in_any_cut(void **state)
{
    (void)state;
    tiny *y = vocabulary();
    md_grammar *g = grammar_for(y, "root ::= \"true\" | \"\xe6\x95\xb0\"");
    md_constraint *c = constraint_for(y, g, 0);
    const int32_t tr = named(y, "tr"), ue = named(y, "ue"), whole = named(y, "true");
    assert_true(allowed(c, 't') && allowed(c, tr) && allowed(c, whole) && allowed(c, 0xe6));
    assert_false(allowed(c, ue) || allowed(c, 'u') || allowed(c, 0x95));
    accept(c, tr);
    assert_true(allowed(c, ue) && allowed(c, 'u') && !allowed(c, 'e'));
    assert_false(md_constraint_may_end(c));
    accept(c, ue);
    assert_true(md_constraint_may_end(c) && md_constraint_must_end(c));

    md_constraint_reset(c);
    accept(c, 0xe6);
    assert_true(allowed(c, 0x95) && !allowed(c, 0x96) && !allowed(c, 't'));
    accept(c, 0x95);
    assert_false(md_constraint_may_end(c));
    accept(c, 0xb0);
    assert_true(md_constraint_must_end(c));
    md_constraint_free(c);
    md_grammar_free(g);
    tiny_free(y);
}

static void an_answer_ends_only_where_it_may(void **state)
{
    (void)state;
    tiny *y = vocabulary();
    md_grammar *g = grammar_for(y, "root ::= [ab]{1,2}");
    md_constraint *c = constraint_for(y, g, 40);
    const int32_t eos = named(y, "<|im_end|>"), other = named(y, "<|endoftext|>"), think = named(y, "<think>");
    md_error err = {0};
    assert_true(md_token_is_eog(y->t, eos) && md_token_is_eog(y->t, other));
    assert_false(allowed(c, eos) || allowed(c, other) || allowed(c, think));
    assert_int_equal(md_constraint_accept(c, eos, &err), MD_ERR_ARGUMENT);
    assert_non_null(strstr(err.message, "does not let the answer end"));
    accept(c, 'a');
    assert_true(allowed(c, eos) && allowed(c, other) && allowed(c, 'b') && !allowed(c, think));
    assert_true(md_constraint_may_end(c) && !md_constraint_must_end(c));
    assert_int_equal(md_constraint_accept(c, 'c', &err), MD_ERR_ARGUMENT);
    assert_non_null(strstr(err.message, "does not allow token 99"));
    assert_true(allowed(c, 'b')); /* as it was */
    for (int32_t id = md_tokenizer_size(y->t); id < md_tokenizer_size(y->t) + 40; id++)
        assert_false(allowed(c, id)); /* the model's padding */
    accept(c, eos);
    assert_true(md_constraint_may_end(c) && md_constraint_must_end(c));
    for (int32_t id = 0; id < md_constraint_n_vocab(c); id++)
        assert_false(allowed(c, id));
    assert_int_equal(md_constraint_accept(c, 'b', NULL), MD_ERR_ARGUMENT);
    md_constraint_reset(c);
    assert_true(allowed(c, 'a') && !allowed(c, eos));
    md_constraint_free(c);
    md_grammar_free(g);
    tiny_free(y);
}

static void tokens_are_asked_for_by_name_and_number(void **state)
{
    (void)state;
    tiny *y = vocabulary();
    const int32_t think = named(y, "<think>"), eos = named(y, "<|im_end|>");
    char text[200];
    snprintf(text, sizeof text, "root ::= <[%d]> \"a\"+ !<|im_end|> <|im_end|>", think);
    md_grammar *g = grammar_for(y, text);
    md_constraint *c = constraint_for(y, g, 0);
    assert_true(allowed(c, think) && !allowed(c, 'a') && !allowed(c, eos));
    accept(c, think);
    accept(c, 'a');
    assert_true(allowed(c, 'a') && allowed(c, think) && !allowed(c, eos)); /* anything but that */
    accept(c, 'z');
    assert_true(allowed(c, eos) && !allowed(c, 'a')); /* asked for, and complete behind it */
    accept(c, eos);
    assert_true(md_constraint_may_end(c));
    md_constraint_free(c);
    md_grammar_free(g);

    md_error err = {0};
    assert_int_equal(md_grammar_new("root ::= <nothing>", 18, y->t, &g, &err), MD_ERR_FORMAT);
    assert_non_null(strstr(err.message, "is not one token"));
    assert_int_equal(md_grammar_new("root ::= <[9999]>", 17, y->t, &g, &err), MD_ERR_FORMAT);
    assert_non_null(strstr(err.message, "no token of that number"));
    assert_int_equal(md_grammar_new("root ::= <[9999]>", 17, NULL, &g, &err), MD_OK); /* found out when bound */
    assert_int_equal(md_constraint_new(g, y->t, md_tokenizer_size(y->t), &c, &err), MD_ERR_ARGUMENT);
    assert_non_null(strstr(err.message, "token 9999"));
    assert_null(c);
    md_grammar_free(g);
    md_constraint_free(NULL);
    tiny_free(y);
}

/* What no token can spell leaves a mask of zeros, not a wrong token. */
static void nothing_fits_is_told_by_an_empty_mask(void **state)
{
    (void)state;
    tiny *y = tiny_new("gpt2", "gpt-2");
    for (int b = 'a'; b <= 'e'; b++) {
        char name[8];
        tiny_visible(b, name);
        tiny_add(y, name, MD_TOKEN_NORMAL, 0);
    }
    tiny_make(y);
    md_grammar *g = grammar_for(y, "root ::= \"a\" \"1\"");
    md_constraint *c = constraint_for(y, g, 0);
    assert_int_equal(md_constraint_mask(c)[0], 1);
    accept(c, 0);
    assert_int_equal(md_constraint_mask(c)[0], 0);
    assert_false(md_constraint_may_end(c) || md_constraint_must_end(c) || md_constraint_limited(c));
    md_constraint_free(c);
    md_grammar_free(g);
    tiny_free(y);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_bit_is_what_the_token_alone_gives),
        cmocka_unit_test(tokens_spell_a_text_in_any_cut),
        cmocka_unit_test(an_answer_ends_only_where_it_may),
        cmocka_unit_test(tokens_are_asked_for_by_name_and_number),
        cmocka_unit_test(nothing_fits_is_told_by_an_empty_mask),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
