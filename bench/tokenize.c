/* SPDX-License-Identifier: Apache-2.0
 *
 * Speed of the tokenizer: bench-tokenize VOCABULARY.gguf TEXT... encodes each text file whole and decodes it again, as
 * often as fits a second, and prints the best runs in MB of text (10^6 bytes) per second of processor time beside a
 * hash of the ids. */
#include "model/tokenizer_load.h"
#include "text/vocab.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static uint64_t hash_ids(const md_tokens *tokens)
{
    uint64_t h = 0xcbf29ce484222325u; /* FNV-1a over the ids */
    for (size_t i = 0; i < tokens->n; i++)
        h = (h ^ (uint32_t)tokens->id[i]) * 0x100000001b3u;
    return h;
}

static int fail(const md_error *err)
{
    fprintf(stderr, "bench-tokenize: %s\n", err->message);
    return 1;
}

static int decode_all(const md_tokenizer *t, const md_tokens *tokens, md_error *err)
{
    md_detok *d = md_detok_new(t, true, true);
    int status = d ? 0 : 1;
    for (size_t i = 0; i < tokens->n && status == 0; i++) {
        const char *s;
        size_t n;
        status = md_detok_push(d, tokens->id[i], &s, &n, err) != MD_OK;
    }
    md_detok_free(d);
    return status;
}

static int bench(const md_tokenizer *t, const char *path, const md_map *text)
{
    md_error err = {0};
    md_tokens tokens = {0};
    double encode = 1e30, decode = 1e30;
    const double end = now() + 1;
    do {
        tokens.n = 0;
        const double start = now();
        if (md_tokenize(t, (const char *)text->bytes, text->n, 0, &tokens, &err) != MD_OK)
            return fail(&err);
        const double half = now();
        if (decode_all(t, &tokens, &err))
            return fail(&err);
        const double stop = now();
        encode = half - start < encode ? half - start : encode;
        decode = stop - half < decode ? stop - half : decode;
    } while (now() < end);
    const double mb = (double)text->n / 1e6;
    printf("%-32s %9.3f MB  %9zu tokens  encode %7.2f MB/s  decode %7.2f MB/s  ids %016llx\n", path, mb, tokens.n,
           mb / encode, mb / decode, (unsigned long long)hash_ids(&tokens));
    md_tokens_done(&tokens);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        fprintf(stderr, "usage: bench-tokenize VOCABULARY.gguf TEXT...\n");
        return 2;
    }
    md_error err = {0};
    md_gguf *g;
    if (md_gguf_open(argv[1], MD_GGUF_HEADER, &g, &err) != MD_OK)
        return fail(&err);
    md_tokenizer *t;
    const double start = now();
    const md_status status = md_tokenizer_from_gguf(g, &t, &err);
    md_gguf_close(g);
    if (status != MD_OK)
        return fail(&err);
    printf("%s %s, %d tokens, made in %.0f ms\n", md_tokenizer_kind(t), md_tokenizer_pre(t), md_tokenizer_size(t),
           1e3 * (now() - start));
    int failed = 0;
    for (int i = 2; i < argc; i++) {
        md_map text;
        if (md_map_open(argv[i], &text, &err) != MD_OK) {
            failed = fail(&err);
            continue;
        }
        failed |= bench(t, argv[i], &text);
        md_map_close(&text);
    }
    md_tokenizer_free(t);
    return failed;
}
