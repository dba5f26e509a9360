/* SPDX-License-Identifier: Apache-2.0
 *
 * Grammars, schemas and constraints when memory runs out: each allocation in turn fails, JSON's included where the C library
 * lets us see them. Never a grammar that allows less or more than was asked for. */
#include "support/fault.h"
#include "support/scratch.h"

#include "text/tok_tiny.h"
#include <medley/grammar.h>

enum { N_STEPS = 6 };

typedef struct source {
    const char *text;
    size_t n;
    bool schema;
    const md_tokenizer *tokenizer;
} source;

static uint64_t fold(uint64_t hash, const void *bytes, size_t n)
{
    const unsigned char *p = bytes;
    for (size_t i = 0; i < n; i++)
        hash = (hash ^ p[i]) * 0x100000001b3ull;
    return hash;
}

/* The lowest token that may come next and does not end the answer; -1: there is none. */
static int32_t next_token(const uint32_t *mask, int32_t n)
{
    for (int32_t id = 0; id < n; id++)
        if (mask[id / 32] >> id % 32 & 1)
            return id;
    return -1;
}

/* An answer of the first tokens that fit, and all masks on its way. */
static md_status walk(const md_grammar *g, const md_tokenizer *t, uint64_t *result, md_error *err)
{
    md_constraint *c;
    const int32_t n = md_tokenizer_size(t);
    md_status status = md_constraint_new(g, t, n, &c, err);
    for (int i = 0; status == MD_OK && i < N_STEPS; i++) {
        const uint32_t *mask = md_constraint_mask(c);
        const int32_t id = next_token(mask, n);
        *result = fold(*result, mask, (size_t)(n + 31) / 32 * sizeof *mask) + md_constraint_may_end(c);
        if (id < 0 || md_constraint_must_end(c))
            break;
        status = md_constraint_accept(c, id, err);
    }
    md_constraint_free(c);
    return status;
}

static md_status follow(void *arg, uint64_t *result, md_error *err)
{
    const source *s = arg;
    md_grammar *g;
    md_status status = s->schema ? md_grammar_from_schema(s->text, s->n, &g, err)
                                 : md_grammar_new(s->text, s->n, s->tokenizer, &g, err);
    if (status == MD_OK) {
        *result = fold(1, md_grammar_text(g), strlen(md_grammar_text(g)));
        status = walk(g, s->tokenizer, result, err);
    }
    md_grammar_free(g);
    return status;
}

static tiny *vocabulary(void)
{
    tiny *y = tiny_new("gpt2", "gpt-2");
    tiny_bytes(y);
    tiny_add(y, "true", MD_TOKEN_NORMAL, 0);
    tiny_add(y, "{\"", MD_TOKEN_NORMAL, 0);
    tiny_add(y, "<think>", MD_TOKEN_CONTROL, 0);
    y->v.eos = tiny_add(y, "<|end|>", MD_TOKEN_CONTROL, 0);
    tiny_make(y);
    return y;
}

static void grammars_survive_every_failure(void **state)
{
    (void)state;
    static const struct {
        const char *name, *text;
    } rows[] = {
        {"words", "root ::= \"yes\" | \"no\" | \"maybe \" root"},
        {"classes", "root ::= [a-z] [^\\x00-\\x1f\"\\u4e00-\\u9fff]{2,5} .?"},
        {"names", "root ::= <think> thought \"\\n\" \nthought ::= [^\\n]* # until a line ends"},
        {"nested", "root ::= \"(\" (root | (\"[\" inner* \"]\")+)? \")\"\ninner ::= root | [0-9]+ (\",\" inner){0,3}"},
        {"sums", "root ::= term (\"+\" term)*\nterm ::= [0-9] (\"*\" [0-9])* | \"(\" root \")\""},
    };
    tiny *y = vocabulary();
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        source s = {.text = rows[i].text, .n = strlen(rows[i].text), .tokenizer = y->t};
        const fault_count n = fault_each(FAULT_MEMORY, MD_ERR_MEMORY, follow, &s);
        print_message("%s: %ld allocations (%ld made no difference)\n", rows[i].name, n.refused + n.survived,
                      n.survived);
        assert_true(n.refused >= 15);
    }
    tiny_free(y);
}

/* The fuzzer's seeds are schemas of all kinds; those that are refused, on purpose, are passed over. */
static void schemas_survive_every_failure(void **state)
{
    (void)state;
    const char *folder = MD_SOURCE_DIR "/fuzz/corpus/schema";
    tiny *y = vocabulary();
    DIR *d = opendir(folder);
    assert_non_null(d);
    long swept = 0, rounds = 0;
    for (const struct dirent *e; (e = readdir(d));) {
        if (e->d_name[0] == '.')
            continue;
        uint64_t result;
        source s = {.schema = true, .tokenizer = y->t};
        char *text = read_all(scratch_path(folder, e->d_name), &s.n);
        s.text = text;
        if (follow(&s, &result, NULL) == MD_OK) {
            rounds += fault_each(FAULT_MEMORY, MD_ERR_MEMORY, follow, &s).refused;
            swept++;
        }
        free(text);
    }
    closedir(d);
    tiny_free(y);
    print_message("%ld schemas, %ld allocations\n", swept, rounds);
    assert_true(swept >= 15 && rounds >= 20 * swept);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(grammars_survive_every_failure),
        cmocka_unit_test(schemas_survive_every_failure),
    };
    return cmocka_run_group_tests_name("fault/grammar", tests, NULL, NULL);
}
