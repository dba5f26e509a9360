/* SPDX-License-Identifier: Apache-2.0
 *
 * The shortest useful program: complete MODEL "text" [tokens]. */
#include <medley/engine.h>
#include <medley/sample.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static md_error err;

static void check(md_status status)
{
    if (status != MD_OK)
        exit((fprintf(stderr, "complete: %s\n", err.message), 1));
}

int main(int argc, char **argv)
{
    if (argc < 3 || !argv[2][0])
        return fprintf(stderr, "usage: complete MODEL TEXT [TOKENS]\n"), 2;
    int left = argc > 3 ? atoi(argv[3]) : 32;
    md_model *model;
    check(md_model_open(argv[1], NULL, &model, &err));
    const md_tokenizer *tok = md_model_tokenizer(model); /* NULL in a file without one: see md_model_tokenizer_error */
    md_tokens prompt = {0};
    check(md_tokenize(tok, argv[2], strlen(argv[2]), MD_TOKENIZE_BOS, &prompt, &err));

    md_session_args args;
    md_session_args_default(model, &args);
    md_session *session;
    md_seq *seq;
    check(md_session_new(model, &args, &session, &err));
    check(md_seq_new(session, &seq, &err));
    md_sampler_args greedy;
    md_sampler_args_default(&greedy);
    greedy.temperature = 0;
    md_sampler *sampler;
    check(md_sampler_new(&greedy, md_model_get_info(model)->n_vocab, &sampler, &err));
    md_detok *detok = md_detok_new(tok, false, true);

    int32_t token = prompt.id[0];
    for (size_t next = 1; left > 0;) {
        check(md_decode(session, &(md_batch){.n = 1, .token = &token, .seq = &seq}, &err));
        if (next < prompt.n) {
            token = prompt.id[next++];
            continue;
        }
        const char *text;
        size_t n;
        check(md_sample(sampler, md_step_logits(session, 0), md_seq_length(seq) - 1, &token, &err));
        if (md_token_is_eog(tok, token))
            break;
        check(md_detok_push(detok, token, &text, &n, &err));
        fwrite(text, 1, n, stdout);
        left--;
    }
    putchar('\n');
    md_detok_free(detok);
    md_sampler_free(sampler);
    md_tokens_done(&prompt);
    md_session_free(session);
    md_model_close(model);
    return 0;
}
