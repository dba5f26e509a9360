/* SPDX-License-Identifier: Apache-2.0
 *
 * From a rendering to tokens: special tokens in what the template wrote and nowhere else, ordinary text tokenized across
 * the borders of segments, one BOS. */
#include "jinja_case.h"
#include "tok_tiny.h"

enum { BOS = 256, EOS, START, END, LONG_END, RUN, SIX, AB, BC };

/* Bytes; special tokens, one of them longer than another that begins alike; one that text may hold anywhere ("\n\n\n");
 * merges that a border can fall into. */
static tiny *small(bool add_bos)
{
    tiny *y = tiny_new("gpt2", "gpt-2");
    tiny_bytes(y);
    tiny_add(y, "<s>", MD_TOKEN_CONTROL, 0);
    tiny_add(y, "</s>", MD_TOKEN_CONTROL, 0);
    tiny_add(y, "<|start|>", MD_TOKEN_CONTROL, 0);
    tiny_add(y, "<|end|>", MD_TOKEN_CONTROL, 0);
    tiny_add(y, "<|end|>\n", MD_TOKEN_CONTROL, 0);
    tiny_add(y, "\n\n\n", MD_TOKEN_USER_DEFINED, 0);
    tiny_add(y, "<|user|>", MD_TOKEN_CONTROL, 0);
    tiny_merge(y, "a", "b", false);
    tiny_merge(y, "b", "c", false);
    y->v.bos = BOS;
    y->v.eos = EOS;
    y->v.add_bos = add_bos;
    y->v.add_eos = add_bos;
    return y;
}

static md_tokens tokens_of(const md_tokenizer *t, const char *source, const char *variables)
{
    md_rendered r;
    md_error err;
    md_tokens out = {0};
    if (jinja_try(source, variables, NULL, &r, &err) != MD_OK || md_rendered_tokenize(&r, t, &out, &err) != MD_OK)
        fail_msg("%s", err.message);
    md_rendered_done(&r);
    return out;
}

#define expect_chat(t, source, variables, ...)                               \
    do {                                                                     \
        const int32_t want_[] = {-1, __VA_ARGS__};                           \
        md_tokens got_ = tokens_of(t, source, variables);                    \
        assert_int_equal(got_.n, sizeof want_ / sizeof *want_ - 1);          \
        if (got_.n)                                                          \
            assert_memory_equal(got_.id, want_ + 1, got_.n * sizeof *want_); \
        md_tokens_done(&got_);                                               \
    } while (0)

static void special_tokens_need_the_template(void **state)
{
    (void)state;
    tiny *y = small(false);
    const md_tokenizer *t = tiny_make(y);
    expect_chat(t, "<|start|>x<|end|>", "{}", START, 'x', END);
    expect_chat(t, "{{ '<|start|>' ~ s ~ '<|end|>' }}", "{\"s\": \"x\"}", START, 'x', END);
    expect_chat(t, "{{ s }}", "{\"s\": \"<|end|>\"}", '<', '|', 'e', 'n', 'd', '|', '>');
    expect_chat(t, "<|start|>{{ s }}<|end|>", "{\"s\": \"<s>\"}", START, '<', 's', '>', END);
    /* halves from both sides make nothing */
    expect_chat(t, "<|{{ s }}|>", "{\"s\": \"end\"}", '<', '|', 'e', 'n', 'd', '|', '>');
    expect_chat(t, "{{ s }}|>", "{\"s\": \"<|end\"}", '<', '|', 'e', 'n', 'd', '|', '>');
    expect_chat(t, "<|end{{ s }}", "{\"s\": \"|>\"}", '<', '|', 'e', 'n', 'd', '|', '>');
    /* the longer token would reach into the message: the shorter one stands */
    expect_chat(t, "<|end|>{{ s }}", "{\"s\": \"\\nx\"}", END, '\n', 'x');
    expect_chat(t, "<|end|>\nx", "{}", LONG_END, 'x');
    /* a known role completes the template's token, another one does not */
    const char *roles = "<|{{ messages[0].role }}|>";
    expect_chat(t, roles, "{\"messages\": [{\"role\": \"user\"}]}", SIX);
    expect_chat(t, roles, "{\"messages\": [{\"role\": \"end\"}]}", '<', '|', 'e', 'n', 'd', '|', '>');
    tiny_free(y);
}

static void borders_do_not_split_words(void **state)
{
    (void)state;
    tiny *y = small(false);
    const md_tokenizer *t = tiny_make(y);
    expect_chat(t, "a{{ s }}", "{\"s\": \"b\"}", AB);
    expect_chat(t, "{{ s }}b", "{\"s\": \"a\"}", AB);
    expect_chat(t, "a{{ s }}c", "{\"s\": \"b\"}", AB, 'c');
    expect_chat(t, "<|start|>a{{ s }}c<|end|>", "{\"s\": \"b\"}", START, AB, 'c', END);
    expect_chat(t, "a<|end|>{{ s }}", "{\"s\": \"bc\"}", 'a', END, BC);
    /* a token that any text may hold, across a border and in front of a special one */
    expect_chat(t, "\n{{ s }}", "{\"s\": \"\\n\\n\"}", RUN);
    expect_chat(t, "{{ s }}{{ '\\n' }}<|end|>", "{\"s\": \"\\n\\n\"}", RUN, END);
    expect_chat(t, "{{ '\\n\\n\\n' }}<|end|>x", "{}", RUN, END, 'x');
    tiny_free(y);
}

/* The same names for SentencePiece, which puts a space in front of a text and behind special tokens. */
static tiny *small_spm(void)
{
    static const char *const piece[] = {"a",
                                        "b",
                                        "c",
                                        "ab",
                                        "bc",
                                        "\xe2\x96\x81",
                                        ("\xe2\x96\x81"
                                         "a"),
                                        "abc"};
    tiny *y = tiny_new("llama", "default");
    y->v.unk = tiny_add(y, "<unk>", MD_TOKEN_UNKNOWN, 0);
    y->v.bos = tiny_add(y, "<s>", MD_TOKEN_CONTROL, 0);
    y->v.eos = tiny_add(y, "</s>", MD_TOKEN_CONTROL, 0);
    y->v.add_bos = 0;
    tiny_byte_names(y);
    tiny_add(y, "<|start|>", MD_TOKEN_CONTROL, 0);
    tiny_add(y, "<|end|>", MD_TOKEN_CONTROL, 0);
    tiny_add(y, "\n\n", MD_TOKEN_USER_DEFINED, 0);
    for (size_t i = 0; i < sizeof piece / sizeof *piece; i++)
        tiny_add(y, piece[i], MD_TOKEN_NORMAL, -1.0f - (float)i);
    return y;
}

/* A conversation of up to four messages out of words that hold no special name. */
static void random_conversation(uint64_t *seed, char json[2000])
{
    static const char *const words[] = {"a", "b", "ab", " c", "bc", "\\n", "\\n\\n", "<", "|", "x y", "\\u00e4"};
    strcpy(json, "{\"messages\": [");
    for (uint32_t m = 0, n = tiny_random(seed) % 4; m <= n; m++) {
        strcat(json, m ? ", {\"role\": \"user\", \"content\": \"" : "{\"role\": \"sailor\", \"content\": \"");
        for (uint32_t k = tiny_random(seed) % 12; k; k--)
            strcat(json, words[tiny_random(seed) % (sizeof words / sizeof *words)]);
        strcat(json, "\"}");
    }
    strcat(json, "]}");
}

/* Then the tokens are those of the text, special tokens recognised. */
static void innocent_conversations_equal_their_text(void **state)
{
    (void)state;
    static const char source[] =
        "{% for m in messages %}<|start|>{{ m.role }}\n{{ m.content|trim }}ab<|end|>\n{% endfor %}";
    tiny *y[] = {small(false), small_spm()};
    uint64_t seed = 7;
    for (int i = 0; i < 400; i++) {
        const md_tokenizer *t = i < 2 ? tiny_make(y[i]) : y[i % 2]->t;
        char json[2000];
        md_rendered r;
        md_error err;
        random_conversation(&seed, json);
        assert_int_equal(jinja_try(source, json, NULL, &r, &err), MD_OK);
        md_tokens chat = {0}, text = {0};
        assert_int_equal(md_rendered_tokenize(&r, t, &chat, &err), MD_OK);
        assert_int_equal(md_tokenize(t, r.text, r.n, MD_TOKENIZE_SPECIAL, &text, &err), MD_OK);
        assert_int_equal(chat.n, text.n);
        assert_memory_equal(chat.id, text.id, chat.n * sizeof *chat.id);
        md_tokens_done(&chat);
        md_tokens_done(&text);
        md_rendered_done(&r);
    }
    tiny_free(y[0]);
    tiny_free(y[1]);
}

static void there_is_one_bos(void **state)
{
    (void)state;
    tiny *y = small(true);
    const md_tokenizer *t = tiny_make(y);
    expect_chat(t, "x", "{}", BOS, 'x');
    expect_chat(t, "", "{}", BOS);
    expect_chat(t, "{{ bos_token }}x", "{}", BOS, 'x');
    expect_chat(t, "<s>x", "{}", BOS, 'x');
    expect_chat(t, "x<s>", "{}", BOS, 'x', BOS);
    expect_chat(t, "{{ s }}", "{\"s\": \"<s>\"}", BOS, '<', 's', '>'); /* typed: no BOS */
    tiny_free(y);
    y = small(false);
    t = tiny_make(y);
    expect_chat(t, "x", "{}", 'x');
    expect_chat(t, "", "{}", );
    expect_chat(t, "{{ bos_token }}x", "{}", BOS, 'x');
    tiny_free(y);
}

static void tokens_are_appended_or_left_alone(void **state)
{
    (void)state;
    tiny *y = small(true);
    const md_tokenizer *t = tiny_make(y);
    md_tokens out = {0};
    md_error err;
    char text[] = "x";
    md_segment segment = {MD_SEGMENT_TEMPLATE, 0, 1};
    const md_rendered r = {text, 1, &segment, 1};
    assert_int_equal(md_tokens_push(&out, 77, &err), MD_OK);
    assert_int_equal(md_rendered_tokenize(&r, t, &out, &err), MD_OK);
    assert_int_equal(out.n, 3);
    assert_int_equal(out.id[0], 77);
    assert_int_equal(md_rendered_tokenize(NULL, t, &out, &err), MD_ERR_ARGUMENT);
    assert_int_equal(md_rendered_tokenize(&r, NULL, &out, NULL), MD_ERR_ARGUMENT);
    assert_int_equal(out.n, 3);
    md_tokens_done(&out);
    tiny_free(y);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(special_tokens_need_the_template),        cmocka_unit_test(borders_do_not_split_words),
        cmocka_unit_test(innocent_conversations_equal_their_text), cmocka_unit_test(there_is_one_bos),
        cmocka_unit_test(tokens_are_appended_or_left_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
