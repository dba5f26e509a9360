/* SPDX-License-Identifier: Apache-2.0
 *
 * The shortest useful program: complete MODEL TEXT [TOKENS]. */
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
    const md_sampler_args greedy = {.temperature = 0, .top_p = 1, .typical_p = 1, .repetition_penalty = 1};
    md_model *model;
    md_session *session;
    md_session_args args;
    md_seq *seq;
    md_sampler *sampler;
    md_tokens prompt = {0};
    if (argc < 3 || !argv[2][0])
        return fprintf(stderr, "usage: complete MODEL TEXT [TOKENS]\n"), 2;
    check(md_model_open(argv[1], NULL, &model, &err));
    const md_tokenizer *tok = md_model_tokenizer(model); /* NULL without one: md_model_tokenizer_error says why */
    check(md_tokenize(tok, argv[2], strlen(argv[2]), MD_TOKENIZE_BOS, &prompt, &err));
    md_session_args_default(model, &args);
    check(md_session_new(model, &args, &session, &err));
    check(md_seq_new(session, &seq, &err));
    check(md_sampler_new(&greedy, md_model_get_info(model)->n_vocab, &sampler, &err));
    md_detok *detok = md_detok_new(tok, false, true);

    int32_t token = prompt.id[0];
    size_t next = 1, n;
    for (int left = argc > 3 ? atoi(argv[3]) : 32; left > 0;) {
        check(md_decode(session, &(md_batch){.n = 1, .token = &token, .seq = &seq}, &err));
        if (next < prompt.n) { /* still reading the prompt */
            token = prompt.id[next++];
            continue;
        }
        check(md_sample(sampler, md_step_logits(session, 0), md_seq_length(seq) - 1, &token, &err));
        if (md_token_is_eog(tok, token))
            break;
        const char *text;
        check(md_detok_push(detok, token, &text, &n, &err));
        printf("%.*s%s", (int)n, text, --left > 0 ? "" : "\n");
    }
    md_detok_free(detok);
    md_sampler_free(sampler);
    md_tokens_done(&prompt);
    md_session_free(session); /* and its sequences */
    md_model_close(model);
}
