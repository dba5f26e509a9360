/* SPDX-License-Identifier: Apache-2.0
 *
 * Time of a token mask: bench-grammar VOCABULARY.gguf [GRAMMAR.gbnf TEXT.txt] lets grammars read texts token by token
 * (the longest token that is allowed and goes on as the text does) and prints the microseconds of processor time of a
 * mask, the mean and the worst of all that had to be walked for and the mean with those that were known, beside a hash
 * of all masks. Without a grammar of one's own: JSON, JSON whose strings are counted, and free text. */
#include "base/file.h"
#include "model/tokenizer_load.h"
#include "text/vocab.h"

#include <medley/grammar.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define JSON_TAIL                                                                               \
    "object ::= \"{\" ws (string \":\" ws value (\",\" ws string \":\" ws value)*)? ws \"}\"\n" \
    "array ::= \"[\" ws (value (\",\" ws value)*)? ws \"]\"\n"                                  \
    "number ::= \"-\"? (\"0\" | [1-9] [0-9]{0,15}) (\".\" [0-9]+)? ([eE] [-+]? [0-9]{1,3})?\n"  \
    "ws ::= (\" \" | \"\\n\" [ \\t]{0,20})?\n"                                                  \
    "value ::= object | array | string | number | \"true\" | \"false\" | \"null\"\n"            \
    "char ::= [^\"\\\\\\x00-\\x1f] | \"\\\\\" ([\"\\\\/bfnrt] | \"u\" [0-9a-fA-F]{4})\n"

static const char json[] = "root ::= value\n" JSON_TAIL "string ::= \"\\\"\" char* \"\\\"\"\n";
static const char counted[] = "root ::= value\n" JSON_TAIL "string ::= \"\\\"\" char{0,500} \"\\\"\"\n";
static const char free_text[] = "root ::= .*\n";
static const char sample[] =
    "{\"name\": \"Ada Lovelace\", \"born\": 1815, \"fields\": [\"mathematics\", \"computing\"],\n"
    "  \"note\": \"The first programme was published in 1843: \\\"Note G\\\" computes Bernoulli numbers, 数学.\",\n"
    "  \"nested\": {\"a\": {\"b\": {\"c\": [1, 2.5, -3e10, true, false, null]}}}, \"empty\": {}, \"list\": [[], [[]]],\n"
    "  \"text\": \"It was the best of times, it was the worst of times, it was the age of wisdom, it was the age of "
    "foolishness, it was the epoch of belief, it was the epoch of incredulity, it was the season of Light\"}";

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int fail(const md_error *err)
{
    fprintf(stderr, "bench-grammar: %s\n", err->message);
    return 1;
}

/* The longest allowed token that text[0..n) begins with, or -1. */
static int32_t longest(const md_tokenizer *t, const uint32_t *mask, int32_t n_vocab, const char *text, size_t n,
                       size_t *length)
{
    int32_t best = -1;
    *length = 0;
    for (int32_t id = 0; id < n_vocab; id++) {
        size_t k;
        const char *s = mask[id / 32] >> (id % 32) & 1 ? md_token_bytes(t, id, &k) : NULL;
        if (s && k > *length && k <= n && memcmp(s, text, k) == 0) {
            best = id;
            *length = k;
        }
    }
    return best;
}

static int bench(const char *name, const char *grammar, const char *text, size_t n, const md_tokenizer *t)
{
    md_error err = {0};
    md_grammar *g;
    md_constraint *c;
    const int32_t n_vocab = md_tokenizer_size(t);
    if (md_grammar_new(grammar, strlen(grammar), t, &g, &err) != MD_OK)
        return fail(&err);
    const double start = now();
    if (md_constraint_new(g, t, n_vocab, &c, &err) != MD_OK) {
        md_grammar_free(g);
        return fail(&err);
    }
    const double made = now() - start;
    double walked = 0, worst = 0, total = 0;
    size_t n_walked = 0, n_masks = 0, length;
    uint64_t hash = 0xcbf29ce484222325u; /* FNV-1a over the words */
    int status = 0;
    for (size_t at = 0; at < n && status == 0; at += length) {
        const double begin = now();
        const uint32_t *mask = md_constraint_mask(c);
        const double took = 1e6 * (now() - begin);
        n_masks++;
        total += took;
        if (took > 20) { /* a known mask takes none of this */
            n_walked++;
            walked += took;
            worst = took > worst ? took : worst;
        }
        for (size_t i = 0; i < ((size_t)n_vocab + 31) / 32; i++)
            hash = (hash ^ mask[i]) * 0x100000001b3u;
        const int32_t token = longest(t, mask, n_vocab, text + at, n - at, &length);
        if (token < 0) {
            fprintf(stderr, "bench-grammar: %s: the grammar refuses the text at byte %zu\n", name, at);
            status = 1;
        } else if (md_constraint_accept(c, token, &err) != MD_OK) {
            status = fail(&err);
        }
    }
    printf("%-16s %5zu masks  made in %4.0f ms  walked %4zu: mean %7.0f us, worst %7.0f us  all: mean %7.1f us  masks "
           "%016llx\n",
           name, n_masks, 1e3 * made, n_walked, n_walked ? walked / (double)n_walked : 0.0, worst,
           total / (double)n_masks, (unsigned long long)hash);
    md_constraint_free(c);
    md_grammar_free(g);
    return status;
}

static int bench_file(const char *grammar, const char *path, const md_tokenizer *t)
{
    md_error err = {0};
    md_map g, text;
    if (md_map_open(grammar, &g, &err) != MD_OK)
        return fail(&err);
    char *copy = strndup((const char *)g.bytes, g.n);
    md_map_close(&g);
    int status = 1;
    if (copy && md_map_open(path, &text, &err) == MD_OK) {
        status = bench(grammar, copy, (const char *)text.bytes, text.n, t);
        md_map_close(&text);
    } else {
        (void)fail(&err);
    }
    free(copy);
    return status;
}

int main(int argc, char **argv)
{
    if (argc != 2 && argc != 4) {
        fprintf(stderr, "usage: bench-grammar VOCABULARY.gguf [GRAMMAR.gbnf TEXT.txt]\n");
        return 2;
    }
    md_error err = {0};
    md_gguf *file;
    if (md_gguf_open(argv[1], MD_GGUF_HEADER, &file, &err) != MD_OK)
        return fail(&err);
    md_tokenizer *t;
    const md_status status = md_tokenizer_from_gguf(file, &t, &err);
    md_gguf_close(file);
    if (status != MD_OK)
        return fail(&err);
    printf("%s %s, %d tokens\n", md_tokenizer_kind(t), md_tokenizer_pre(t), md_tokenizer_size(t));
    int failed = 0;
    if (argc == 4) {
        failed = bench_file(argv[2], argv[3], t);
    } else {
        failed |= bench("json", json, sample, sizeof sample - 1, t);
        failed |= bench("json, counted", counted, sample, sizeof sample - 1, t);
        failed |= bench("free text", free_text, sample, sizeof sample - 1, t);
    }
    md_tokenizer_free(t);
    return failed;
}
