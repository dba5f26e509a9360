/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading ahead: guesses which experts the next layer will need, and says which of them are worth reading while the disk has
 * nothing better to do. Owns the guesses, how often each kind of guess was right, and whether any of it pays; knows neither slots
 * nor reads. Nothing it decides changes a result. Guesses come from
 *   the router: the next layer's, applied to the present hidden state (Eliseev and Mazur 2023), by the model;
 *   affinity: which experts followed those that were just chosen (Yao et al. 2024, "Exploiting Inter-Layer Expert Affinity"),
 *     counted as the model runs;
 *   the last token: what its rows chose there.
 * A guess counts as much as its kind, at its rank, was right of late about experts that were not there. Whether to read is a trial
 * that never ends: blocks of steps without reading ahead, with likely guesses only, and with bold ones are timed against each
 * other, and the fastest way gets most blocks. Nothing is allocated after md_ahead_new. One thread at a time. */
#ifndef MD_EXPERT_AHEAD_H
#define MD_EXPERT_AHEAD_H

#include <medley/error.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Rows of a step for which guesses are made: more need most experts anyway. */
#define MD_AHEAD_ROWS 16

typedef enum md_guess { MD_GUESS_ROUTER, MD_GUESS_AFFINITY, MD_GUESS_LAST, MD_N_GUESSES } md_guess;

typedef enum md_ahead_mode { MD_AHEAD_AUTO, MD_AHEAD_OFF, MD_AHEAD_ALWAYS } md_ahead_mode;

typedef struct md_ahead md_ahead;

typedef struct md_ahead_figures {
    struct {
        uint64_t named, right; /* experts that were not there when they were named; that were then chosen */
    } guess[MD_N_GUESSES];
    uint64_t needed;           /* experts that were chosen and were not there before the guesses */
    double with_step, without; /* seconds of a step of late, read ahead (the better way) or not; 0: not tried */
    bool on;                   /* it pays, as far as is known */
} md_ahead_figures;

/* n_expert, top_k: [n_layer], 0 experts: none; borrowed during the call. */
md_status md_ahead_new(md_ahead_mode mode, int32_t n_layer, const int32_t *n_expert, const int32_t *top_k,
                       md_ahead **out, md_error *err) MD_MUST_USE;
void md_ahead_free(md_ahead *a); /* NULL allowed */
/* Bytes that it takes. */
size_t md_ahead_bytes(int32_t n_layer, const int32_t *n_expert, const int32_t *top_k);

/* What a layer's rows chose: expert, weight (n), rows after each other. Judges the guesses, learns, and guesses anew. */
void md_ahead_chosen(md_ahead *a, int32_t layer, const int32_t *expert, int64_t n, double now);
/* The same of a run before: it learns, no more. */
void md_ahead_teach(md_ahead *a, int32_t layer, const int32_t *expert, int64_t n);
/* Is reading ahead tried in this step? If not, the model need not guess. */
bool md_ahead_trying(const md_ahead *a);
/* The layer that the guesses are about, -1: none. */
int32_t md_ahead_target(const md_ahead *a);
/* The layer with experts after this one, around the end. */
int32_t md_ahead_next(const md_ahead *a, int32_t layer);
/* The model's guess for the target: expert (n), rows after each other, best first within a row. */
void md_ahead_router(md_ahead *a, const int32_t *expert, int64_t n);
/* Experts of the target worth reading, the likeliest first; absent: [n_expert] not in a slot. Writes at most `most` to out and
 * returns how many. Call it once a layer, after the guesses. */
int32_t md_ahead_pick(md_ahead *a, const bool *absent, int32_t *out, int32_t most);

md_ahead_figures md_ahead_get_figures(const md_ahead *a);

#endif
