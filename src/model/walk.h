/* SPDX-License-Identifier: Apache-2.0
 *
 * A prompt on its way through the layers, one slab of rows at one layer at a time, while other steps run in between (layered
 * prefill; Lee et al. 2025, "From Tokens to Layers"). What lies between layers is kept here, the keys and values in the
 * sequence's pages; so logits have the bits of any other way. The session's threading rules
 * hold. */
#ifndef MD_MODEL_WALK_H
#define MD_MODEL_WALK_H

#include <medley/engine.h>

typedef struct md_walk md_walk;

/* Can this session's model walk? Not if more than the residual stream goes from layer to layer, or from row to row in order. */
bool md_walk_suits(const md_session *s);
/* Its memory is the session's (md_session_args.n_walk), so there is one a session. */
md_status md_walk_new(md_session *s, md_walk **out, md_error *err) MD_MUST_USE;
void md_walk_free(md_walk *w); /* abandons what is under way; NULL allowed */
int32_t md_walk_most(const md_walk *w);

/* Takes pages for n tokens behind q's past, 1 <= n <= most; of the last one logits are wanted. Until it is done or abandoned q takes
 * part in nothing else. */
md_status md_walk_begin(md_walk *w, md_seq *q, const int32_t *token, int32_t n, md_error *err) MD_MUST_USE;
/* Brings up to `rows` further rows through the layer that they have reached; never more than the session's steps take. *done: q has
 * grown, and md_step_logits(s, *row) has the last token's logits until the next step. An error abandons the walk. */
md_status md_walk_advance(md_walk *w, int32_t rows, bool *done, int32_t *row, md_error *err) MD_MUST_USE;
/* q is as it was before. */
void md_walk_abandon(md_walk *w);

#endif
