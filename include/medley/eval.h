/* SPDX-License-Identifier: Apache-2.0
 *
 * Measuring a model on text. */
#ifndef MEDLEY_EVAL_H
#define MEDLEY_EVAL_H

#include <medley/engine.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct md_perplexity {
    double perplexity; /* exp of the mean negative log likelihood */
    double error;      /* its standard error: perplexity * sqrt(variance of the mean) */
    double nll;        /* mean negative log likelihood, nats a token */
    int64_t n_scored;  /* tokens scored */
    int32_t n_windows;
    double seconds;
    uint64_t logits_hash;
} md_perplexity;
/* Called after each window with the figures so far; return false to stop. */
typedef bool md_perplexity_fn(void *user, const md_perplexity *so_far, int32_t n_windows_total);

/* Perplexity over windows of n_ctx tokens without overlap (a rest shorter than a window is left out); each window starts
 * anew, its first token replaced by BOS if the tokenizer adds one, and its second half is scored. n_tokens >= n_ctx, or
 * MD_ERR_ARGUMENT says how many are needed. The session needs n_ctx free positions and n_logits >= 1. */
MD_API MD_MUST_USE md_status md_eval_perplexity(md_session *s, const int32_t *tokens, size_t n_tokens, int32_t n_ctx,
                                                md_perplexity_fn *on_window, void *user, md_perplexity *out,
                                                md_error *err);

#ifdef __cplusplus
}
#endif
#endif
