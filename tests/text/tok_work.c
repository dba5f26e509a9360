/* SPDX-License-Identifier: Apache-2.0
 *
 * Bounds on work, counted and not timed: a long text of one character, of spaces, of whatever a vocabulary handles worst
 * takes a number of steps proportional to its length in every kind of tokenizer. */
#include "text/tok.h"
#include "tok_tiny.h"

#define M         "\xe2\x96\x81"
#define TEXT      ((size_t)1 << 20)
#define MAX_PIECE 64 /* bytes of the longest piece here */

/* Pieces a, aa, aaa... and marks likewise: each place in a long run has as many candidates as can be. */
static void add_runs(tiny *y, const char *unit)
{
    char name[MAX_PIECE + 1] = "";
    while (strlen(name) + strlen(unit) <= MAX_PIECE) {
        strcat(name, unit);
        tiny_add(y, name, MD_TOKEN_NORMAL, -1.0f - (float)strlen(name) / 4);
    }
}

static tiny *of_characters(const char *model)
{
    tiny *y = tiny_new(model, "");
    y->v.unk = tiny_add(y, "<unk>", MD_TOKEN_UNKNOWN, 0);
    y->v.bos = y->v.sep = y->v.unk;
    add_runs(y, "a");
    add_runs(y, M);
    add_runs(y, M "a");
    for (char c = 'b'; c <= 'z'; c++)
        tiny_add(y, (char[2]){c, '\0'}, MD_TOKEN_NORMAL, -20);
    return y;
}

/* Doubling merges: a run of n merges log n times over. */
static void add_doublings(tiny *y, const char *unit, bool exists)
{
    char name[MAX_PIECE + 1];
    for (snprintf(name, sizeof name, "%s", unit); 2 * strlen(name) <= MAX_PIECE;) {
        const size_t n = strlen(name);
        tiny_merge(y, name, name, exists);
        memmove(name + n, name, n + 1);
        name[2 * n] = '\0';
    }
}

static tiny *of_bytes(const char *pre)
{
    tiny *y = tiny_new("gpt2", pre);
    tiny_bytes(y);
    add_doublings(y, "a", false);
    add_doublings(y, "\xc4\xa0", false);
    tiny_merge(y, "a", "b", false);
    return y;
}

static void within_bounds(const char *what, const md_tokenizer *t)
{
    static const char *const units[] = {
        "a",        " ",    "ab",   "a ", "  a",  "\n", "\t", "1", "z", "?", "\xe6\xbc\xa2",
        "\xcc\x81", "\xff", "\xe6", "<",  "<unk", M,
    };
    char *text = malloc(TEXT);
    assert_non_null(text);
    for (size_t u = 0; u < sizeof units / sizeof units[0]; u++) {
        const size_t n = u < 1 ? TEXT : TEXT / 32; /* the first is the worst; the others need not take long */
        for (size_t i = 0; i < n; i++)
            text[i] = units[u][i % strlen(units[u])];
        md_tokens ids = {0};
        md_error err = {0};
        uint64_t work = 0;
        if (md_tokenize_counted(t, text, n, MD_TOKENIZE_SPECIAL, &ids, &work, &err) != MD_OK)
            fail_msg("%s: %s", what, err.message);
        /* A space is three bytes to some, each byte begins pieces up to the longest. */
        if (work < n || work > 3 * (uint64_t)n * (MAX_PIECE + 4))
            fail_msg("%s: %zu bytes of '%s' take %llu steps", what, n, units[u], (unsigned long long)work);
        md_tokens_done(&ids);
    }
    free(text);
}

static void bytes(void **state)
{
    (void)state;
    static const char *const rules[] = {"gpt-2", "kimi-k2"};
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
        tiny *y = of_bytes(rules[i]);
        within_bounds(rules[i], tiny_make(y));
        tiny_free(y);
    }
}

static void characters(void **state)
{
    (void)state;
    tiny *y = of_characters("gemma4");
    add_doublings(y, "a", true);
    within_bounds("gemma4", tiny_make(y));
    tiny_free(y);
}

static void scores(void **state)
{
    (void)state;
    static const char *const models[] = {"llama", "t5"};
    for (size_t i = 0; i < 2; i++) {
        tiny *y = of_characters(models[i]);
        within_bounds(models[i], tiny_make(y));
        tiny_add(y, "a" M "a", MD_TOKEN_NORMAL, -1); /* now a text is one word */
        md_tokenizer_free(y->t);
        within_bounds(models[i], tiny_make(y));
        tiny_free(y);
    }
}

static void words(void **state)
{
    (void)state;
    tiny *y = of_characters("bert");
    within_bounds("bert", tiny_make(y));
    tiny_free(y);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes),
        cmocka_unit_test(characters),
        cmocka_unit_test(scores),
        cmocka_unit_test(words),
    };
    return cmocka_run_group_tests_name("text/tok_work", tests, NULL, NULL);
}
