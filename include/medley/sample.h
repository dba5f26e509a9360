/* SPDX-License-Identifier: Apache-2.0
 *
 * From logits to a token. Random numbers are counter-based, keyed by (seed, choice, position), and ties go to the lower
 * token id: a sampled text is the same in any batch, at any thread count, after a retry. */
#ifndef MEDLEY_SAMPLE_H
#define MEDLEY_SAMPLE_H

#include <medley/error.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct md_logit_bias {
    int32_t token;
    float bias; /* added to the logit; -INFINITY forbids the token */
} md_logit_bias;

typedef struct md_sampler_args {
    uint64_t seed;
    uint32_t choice;           /* which of several answers to the same prompt, 0.. */
    float temperature;         /* >= 0; 0: greedy */
    int32_t top_k;             /* keep the k likeliest; 0: all */
    float top_p;               /* (0, 1]; 1: all (Holtzman et al. 2020, nucleus) */
    float min_p;               /* [0, 1): least share of the likeliest one's probability; 0: all (Nguyen et al. 2024) */
    float typical_p;           /* (0, 1]; 1: off (Meister et al. 2022, locally typical) */
    float repetition_penalty;  /* > 0; 1: off (Keskar et al. 2019) */
    float presence_penalty;    /* 0: off; subtracted once from tokens seen in the last penalty_last */
    float frequency_penalty;   /* 0: off; subtracted per occurrence */
    int32_t penalty_last;      /* how many last tokens the penalties look at, at most 4096; 0: none */
    const md_logit_bias *bias; /* [n_bias], borrowed during md_sampler_new */
    size_t n_bias;
} md_sampler_args;
/* temperature 0.8, top-k 40, top-p 0.95, min-p 0.05, penalties off (over the last 64 tokens), seed 0. */
MD_API void md_sampler_args_default(md_sampler_args *a);

typedef struct md_sampler md_sampler;
/* Checks args; all memory is taken here. */
MD_API MD_MUST_USE md_status md_sampler_new(const md_sampler_args *args, int32_t n_vocab, md_sampler **out,
                                            md_error *err);
MD_API void md_sampler_free(md_sampler *s); /* NULL allowed */
/* Tokens of the prompt and the answer, in order: what the penalties look at. */
MD_API void md_sampler_accept(md_sampler *s, int32_t token);
MD_API void md_sampler_reset(md_sampler *s);
/* Picks the token that follows position `pos` (the position of the row that gave the logits). logits: [n_vocab], not
 * changed. *out = -1 and MD_ERR_FORMAT if they hold a NaN or no finite value. The order of the filters: bias, penalties,
 * top-k, typical, top-p, min-p, temperature. */
MD_API MD_MUST_USE md_status md_sample(md_sampler *s, const float *logits, int32_t pos, int32_t *out, md_error *err);

#ifdef __cplusplus
}
#endif
#endif
