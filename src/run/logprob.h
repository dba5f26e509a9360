/* SPDX-License-Identifier: Apache-2.0
 *
 * Probabilities of tokens before any filter. Sums in double, by id. Pure functions. */
#ifndef MD_RUN_LOGPROB_H
#define MD_RUN_LOGPROB_H

#include <medley/scheduler.h>

/* log of the sum of exp(logits): what is taken off a logit to make it a log probability. NaN if the logits are no good. */
double md_log_sum(const float *logits, size_t n);
/* The log probability of a token; and of the k likeliest, k <= n: likeliest first, ties to the lower id. */
float md_logprobs(const float *logits, int32_t n, int32_t token, md_logprob *out, int32_t k);

#endif
