/* SPDX-License-Identifier: Apache-2.0
 *
 * One answer's way from logits to text: choosing a token under a grammar, telling sampler and grammar of it, showing its text,
 * and finding its end. Knows nothing of steps and sequences. All memory is taken by init. */
#ifndef MD_RUN_ANSWER_H
#define MD_RUN_ANSWER_H

#include "run/stop.h"
#include <medley/generate.h>

typedef struct md_answer_args {
    const md_tokenizer *tokenizer; /* NULL: tokens only, no text */
    md_sampler *sampler;           /* borrowed */
    md_constraint *constraint;     /* borrowed; NULL: any tokens */
    const char *const *stop;       /* [n_stop], must outlive the answer */
    size_t n_stop;
    size_t max_tokens; /* SIZE_MAX: no bound */
    bool special, ignore_eog;
    bool hash;           /* fold the logits of all rows that are looked at into one number */
    md_text_fn *on_text; /* may be NULL */
    void *user;
} md_answer_args;

typedef struct md_answer {
    md_answer_args args;
    md_detok *detok; /* owned */
    md_stop stop;
    size_t n_vocab;
    size_t n; /* tokens so far */
    uint64_t hash;
    bool over;
    md_finish finish; /* once over */
} md_answer;

/* What every prompt must be, whoever runs it: at least one token, all of the vocabulary; and a bound on the answer, or -1. */
md_status md_answer_check(const int32_t *prompt, size_t n, int32_t max_tokens, int32_t n_vocab,
                          md_error *err) MD_MUST_USE;
md_status md_answer_init(md_answer *a, const md_answer_args *args, int32_t n_vocab, md_error *err) MD_MUST_USE;
void md_answer_done(md_answer *a);
/* What follows the row of position pos, whose logits [n_vocab] are given: *token, or -1 where the answer ends without one. When
 * it ends, with this token or without, a->over is set and all text has been shown. */
md_status md_answer_next(md_answer *a, const float *logits, int32_t pos, int32_t *token, md_error *err) MD_MUST_USE;
/* It ends here, for the reason `finish`: shows what was held back, which may complete a stop string. */
md_status md_answer_end(md_answer *a, md_finish finish, md_error *err) MD_MUST_USE;

#endif
