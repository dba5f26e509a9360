/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of the sampler share. Not for use outside sample*.c. */
#ifndef MD_RUN_SAMPLE_INNER_H
#define MD_RUN_SAMPLE_INNER_H

#include "run/candidates.h"
#include "run/sample.h"

#include <stdbool.h>

#define MD_DRY_BREAKER_MAX       16  /* texts */
#define MD_DRY_BREAKER_BYTES_MAX 64  /* of one */
#define MD_MIROSTAT_RANKS        100 /* from which version 1 estimates the slope of the probabilities */

/* A text that ends repetitions, found in the tokens' text as it comes (Knuth, Morris and Pratt 1977). */
typedef struct md_dry_breaker {
    char s[MD_DRY_BREAKER_BYTES_MAX];
    uint8_t fail[MD_DRY_BREAKER_BYTES_MAX]; /* fail[i]: longest proper prefix that s[0..i] ends with */
    uint8_t n, matched; /* matched: longest prefix that the text so far ends with, never all of it */
} md_dry_breaker;

/* The last tokens, twice as many as are looked at so that they lie in one piece. All NULL while off. */
typedef struct md_dry {
    int32_t *past;   /* owned, [2 * last]; the newest is past[n - 1] */
    int32_t *repeat; /* owned, [last] scratch: how many tokens that end at a place are those that end the whole */
    int32_t *found;  /* owned, [last] scratch: tokens to be penalised */
    int32_t *length; /* owned, [n_vocab]: their longest repetition; 0 for all others */
    size_t n, last;
    size_t since; /* tokens after the last one that ended a breaker */
    md_dry_breaker breaker[MD_DRY_BREAKER_MAX];
    size_t n_breakers;
    const md_tokenizer *tokenizer; /* borrowed */
} md_dry;

struct md_sampler_work {
    double *logit, *weight;  /* owned, [n_vocab] */
    md_candidate *candidate; /* owned, [n_vocab] */
};

struct md_sampler {
    md_sampler_args args; /* args.bias: owned here; other pointers NULL */
    int32_t n_vocab;
    double log_min_p;
    md_sampler_work *own;    /* owned, or NULL where the work area is shared; of it: */
    double *logit;           /* [n_vocab] after bias and penalties; -INFINITY: forbidden */
    double *weight;          /* [n_vocab] unnormalised probabilities of the candidates */
    md_candidate *candidate; /* [n_vocab] */

    /* What the penalties look at, all NULL while they are off: the last tokens in a ring, and for each token how often it
     * is in there and which slot holds its latest occurrence, so that each is penalised once. */
    int32_t *ring;    /* [penalty_last] */
    uint16_t *count;  /* [n_vocab] */
    uint16_t *latest; /* [n_vocab], valid where count > 0 */
    int32_t n_ring, next_slot;

    md_dry dry;
    double mu;       /* mirostat: the greatest surprise that is allowed */
    double surprise; /* of the token sampled last, in bits */
    int32_t sampled; /* that token; -1: none, or accepted */
};

/* The candidates of one choice. */
typedef struct md_choice {
    const md_sampler *s;
    md_candidates c;
    double best;            /* the largest logit, what weights are relative to */
    bool cut;               /* some filter has dropped candidates: sums go by rank; until then by id */
    double uniform, chance; /* this position's random numbers: for the choice, and for XTC */
} md_choice;

/* --- sample_filter.c: each keeps at least one candidate --- */
/* All of docs/sampling.md's filters in order, and the choice. */
int32_t md_choice_filter_and_draw(md_choice *ch);
/* Weights of the candidates at a temperature, relative to ch->best. */
void md_choice_weigh(const md_choice *ch, double temperature);
/* Their sum: by rank once something was cut, by id before that. */
double md_choice_total(md_choice *ch);
/* The candidate at which the running sum of weights exceeds uniform * total. */
int32_t md_choice_pick(md_choice *ch, double total);

/* --- sample_mirostat.c --- */
int32_t md_choice_mirostat(md_choice *ch, double *surprise);

/* --- sample_dry.c --- */
bool md_dry_on(const md_sampler_args *a);
md_status md_dry_check(const md_sampler_args *a, md_error *err) MD_MUST_USE;
/* Fills s->dry; false when memory is out. */
bool md_dry_init(md_sampler *s, const md_sampler_args *a) MD_MUST_USE;
void md_dry_done(md_dry *d);
void md_dry_reset(md_dry *d);
void md_dry_accept(md_dry *d, int32_t token);
/* Takes the penalties off s->logit. */
void md_dry_penalise(md_sampler *s);

#endif
