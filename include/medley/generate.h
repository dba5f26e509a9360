/* SPDX-License-Identifier: Apache-2.0
 *
 * A whole answer: prompt in, pieces of text out. */
#ifndef MEDLEY_GENERATE_H
#define MEDLEY_GENERATE_H

#include <medley/engine.h>
#include <medley/grammar.h>
#include <medley/sample.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum md_finish {
    MD_FINISH_EOG,       /* the model ended its answer */
    MD_FINISH_STOP,      /* a stop string came up */
    MD_FINISH_LENGTH,    /* max_tokens reached */
    MD_FINISH_CONTEXT,   /* no room for another position */
    MD_FINISH_CANCELLED, /* a callback said so */
    MD_FINISH_GRAMMAR,   /* the answer is complete by its grammar, and nothing can follow */
} md_finish;
MD_API const char *md_finish_name(md_finish f); /* "eog", "stop", "length", "context", "cancelled", "grammar" */

typedef struct md_generate_args {
    const int32_t *prompt; /* [n_prompt] tokens to add to the sequence first, at least 1 */
    size_t n_prompt;
    int32_t max_tokens;  /* most tokens to make; -1: until the model ends or the context is full */
    md_sampler *sampler; /* borrowed; told of prompt and answer tokens */
    /* Allows the tokens of the answer and is told of them, from where it is: md_constraint_reset comes first, unless this
     * answer goes on with an earlier one. Borrowed; NULL: any tokens. Made for this model's tokenizer and vocabulary. If
     * nothing is allowed any more, that is MD_ERR_FORMAT (or MD_ERR_LIMIT, if the grammar's own limits are why). */
    md_constraint *constraint;
    const char *const *stop; /* [n_stop] stop strings, at most 16 of at most 256 bytes; cut from the text */
    size_t n_stop;
    bool special;    /* show special tokens in the text */
    bool ignore_eog; /* go on past the end of the answer (for measuring); with a constraint only its end counts */
    /* A piece of text, whole UTF-8 characters, never part of a stop string. Return false to stop. May be NULL. */
    bool (*on_text)(void *user, const char *text, size_t n);
    /* Prompt tokens done; return false to stop. May be NULL. */
    bool (*on_prompt)(void *user, size_t done, size_t total);
    void *user;
} md_generate_args;

typedef struct md_generate_result {
    md_finish finish;
    int32_t n_prompt, n_generated;
    double prompt_seconds, generate_seconds; /* wall time */
    uint64_t logits_hash;                    /* over the logits of the last prompt row and of every generated row */
} md_generate_result;

/* Runs the prompt in chunks and generates. A prompt that does not fit is MD_ERR_LIMIT before any work, with the numbers.
 * If the answer is cut short the sequence holds prompt and answer so far. The last generated token is in the sequence
 * only if a later one was made; the end-of-generation token never is. */
MD_API MD_MUST_USE md_status md_generate(md_seq *q, const md_generate_args *args, md_generate_result *out,
                                         md_error *err);
/* Tokens of the answer of the last md_generate on this sequence's session, [n_generated], valid until the next. */
MD_API const int32_t *md_generated_tokens(const md_seq *q);

#ifdef __cplusplus
}
#endif
#endif
