/* SPDX-License-Identifier: Apache-2.0
 *
 * From logits to a token. Random numbers are counter-based, keyed by (seed, choice, position), and ties go to the lower
 * token id: a sampled text is the same in any batch, at any thread count, after a retry. */
#ifndef MEDLEY_SAMPLE_H
#define MEDLEY_SAMPLE_H

#include <medley/error.h>
#include <medley/tokenizer.h>
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
    /* DRY, "don't repeat yourself" (p-e-w 2024): a token that would carry on a repetition of n >= dry_allowed_length
     * tokens loses dry_multiplier * dry_base^(n - dry_allowed_length). */
    float dry_multiplier;           /* >= 0; 0: off */
    float dry_base;                 /* >= 1 */
    int32_t dry_allowed_length;     /* >= 1 */
    int32_t dry_penalty_last;       /* how many last tokens are looked at, at most 1048576; 0: off */
    const char *const *dry_breaker; /* [n_dry_breaker] texts that no repetition reaches across, at most 16 of at most
                                     * 64 bytes; borrowed during md_sampler_new */
    size_t n_dry_breaker;
    const md_tokenizer *tokenizer; /* knows the texts of tokens; borrowed for the sampler's life; NULL: no breakers */
    float top_n_sigma;     /* >= 0: keep logits within so many standard deviations of the largest; 0: off (Tang et
                                    * al. 2024) */
    float xtc_probability; /* [0, 1]: how often the likeliest are left out; 0: never (p-e-w 2024) */
    float xtc_threshold;   /* (0, 1]: all but the last of the tokens at least this likely are left out */
    int32_t mirostat;      /* 0: off; 1, 2: version (Basu et al. 2020), in place of all other filters */
    float mirostat_tau;    /* >= 0: the surprise to be held, in bits */
    float mirostat_eta;    /* >= 0: how fast it is followed */
} md_sampler_args;
/* temperature 0.8, top-k 40, top-p 0.95, min-p 0.05, penalties off (over the last 64 tokens), seed 0; DRY off (base 1.75,
 * allowed length 2, over the last 4096 tokens, no breakers); top-n-sigma, XTC (threshold 0.1) and mirostat (tau 5, eta
 * 0.1) off. */
MD_API void md_sampler_args_default(md_sampler_args *a);

typedef struct md_sampler md_sampler;
/* Checks args; all memory is taken here. */
MD_API MD_MUST_USE md_status md_sampler_new(const md_sampler_args *args, int32_t n_vocab, md_sampler **out,
                                            md_error *err);
MD_API void md_sampler_free(md_sampler *s); /* NULL allowed */
/* Tokens of the prompt and the answer, in order: what the penalties and DRY look at. Accepting the token that was sampled
 * last moves mirostat. */
MD_API void md_sampler_accept(md_sampler *s, int32_t token);
MD_API void md_sampler_reset(md_sampler *s);
/* Picks the token that follows position `pos` (the position of the row that gave the logits). logits: [n_vocab], not
 * changed. *out = -1 and MD_ERR_FORMAT if they hold a NaN or no finite value. The order of the filters: bias, penalties,
 * DRY, top-n-sigma, top-k, typical, top-p, min-p, XTC, temperature (docs/sampling.md). */
MD_API MD_MUST_USE md_status md_sample(md_sampler *s, const float *logits, int32_t pos, int32_t *out, md_error *err);
/* The same among the tokens whose bit is set: bit id % 32 of word id / 32, [n_vocab] bits, as md_constraint_mask gives
 * them. NULL: all. Borrowed during the call. MD_ERR_ARGUMENT if every token with a bit is forbidden. */
MD_API MD_MUST_USE md_status md_sample_masked(md_sampler *s, const float *logits, const uint32_t *mask, int32_t pos,
                                              int32_t *out, md_error *err);

#ifdef __cplusplus
}
#endif
#endif
