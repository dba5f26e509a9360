/* SPDX-License-Identifier: Apache-2.0
 *
 * Log probabilities of tokens before any filter. Sums in double, by id. */
#include "run/logprob.h"

#include "base/mathd.h"

#include <math.h>
#include <string.h>

/* Keeps out[0..k) the likeliest so far; a later token, having the higher id, comes behind its equals. */
static void insert(md_logprob *out, int32_t *n, int32_t k, int32_t token, float logit)
{
    int32_t at = *n;
    while (at > 0 && out[at - 1].logprob < logit)
        at--;
    if (at >= k)
        return;
    const int32_t kept = *n < k ? *n : k - 1;
    memmove(out + at + 1, out + at, (size_t)(kept - at) * sizeof *out);
    out[at] = (md_logprob){.token = token, .logprob = logit};
    *n = kept + 1;
}

double md_log_sum(const float *logits, size_t n)
{
    float best = -INFINITY;
    for (size_t i = 0; i < n; i++)
        best = logits[i] > best ? logits[i] : best;
    double sum = 0.0;
    for (size_t i = 0; i < n; i++)
        sum += md_exp_d((double)logits[i] - (double)best);
    return md_log_d(sum) + (double)best;
}

float md_logprobs(const float *logits, int32_t n, int32_t token, md_logprob *out, int32_t k)
{
    int32_t kept = 0;
    for (int32_t i = 0; k > 0 && i < n; i++)
        if (kept < k || logits[i] > out[kept - 1].logprob)
            insert(out, &kept, k, i, logits[i]);
    const double log_sum = md_log_sum(logits, (size_t)n);
    for (int32_t i = 0; i < kept; i++)
        out[i].logprob = (float)((double)out[i].logprob - log_sum);
    return (float)((double)logits[token] - log_sum);
}
