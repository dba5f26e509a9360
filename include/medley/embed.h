/* SPDX-License-Identifier: Apache-2.0
 *
 * Vectors of texts: the last hidden states, pooled and brought to length 1. For encoders (BERT and its kin), and for any other
 * model.
 *
 * A vector depends on the model file, its tokens, the pooling and the numerics key, and on nothing else: not on threads, steps or
 * the texts beside it (docs/numerics.md, section 13). */
#ifndef MEDLEY_EMBED_H
#define MEDLEY_EMBED_H

#include <medley/engine.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The tokens of one text, what the model wants around it included (MD_TOKENIZE_BOS). */
typedef struct md_embed_input {
    const int32_t *token; /* [n], borrowed */
    size_t n;             /* at least 1 */
} md_embed_input;

typedef struct md_embed_args {
    md_pooling pooling;       /* MD_POOLING_MODEL: what the model was made for. MD_POOLING_RANK is not computed */
    double power;             /* of MD_POOLING_POWER: 1 (the mean) to 32 (nearly the largest); 0: 3 */
    bool raw;                 /* vectors as they come; else each is divided by its length (Euclidean) */
    md_progress_fn *progress; /* may be NULL (unit: tokens) */
    void *progress_user;
} md_embed_args;

/* Arguments of a session that suits md_embed: hidden states only, F32, several texts a step, and room for texts of up to
 * `longest` tokens, at least 1. */
MD_API void md_embed_session_args(const md_model *m, int32_t longest, md_session_args *args);

/* Vectors that input i gives: its tokens with MD_POOLING_NONE, else 1. Each has n_embd floats. */
MD_API size_t md_embed_count(const md_model *m, const md_embed_input *in, md_pooling pooling);

/* Runs n texts, as many as fit in each step, and writes their vectors to out, one text's after another's; out has room for
 * all of them. Uses free sequences and positions of the session and leaves them free. args may be NULL: the model's pooling,
 * length 1. Nothing is run if a text is empty, has a token that the model lacks, or is longer than the session or the model
 * takes (MD_ERR_LIMIT). On failure what out holds means nothing. */
MD_API MD_MUST_USE md_status md_embed(md_session *s, const md_embed_input *in, size_t n, const md_embed_args *args,
                                      float *out, md_error *err);

#ifdef __cplusplus
}
#endif
#endif
