/* SPDX-License-Identifier: Apache-2.0
 *
 * What sequences of a session computed, kept for those that begin alike (docs/serving.md, Prefixes): pages of 64 tokens in a tree
 * (Zheng et al. 2023, SGLang's RadixAttention; pages as in Kwon et al. 2023, vLLM), states of recurrent layers at pages' ends. Since the
 * bits of a position depend on the model, the tokens up to it and the numerics key alone, what is taken up is what would be
 * computed. Nothing is kept of encoders, of sequences with an adapter and of sessions that leave experts out (--on-miss).
 * Everything here belongs to the session's thread, and a sequence's own step must not be under way. No allocation but in
 * md_prefixes_new. */
#ifndef MD_MODEL_PREFIXES_H
#define MD_MODEL_PREFIXES_H

#include <medley/engine.h>

typedef struct md_prefixes md_prefixes;

typedef struct md_prefixes_args {
    const char *folder; /* where pages go that leave, and come back from, also after a restart; NULL: nowhere. Borrowed
                           * during the call */
    int64_t folder_bytes; /* most bytes of files there */
    bool
        hash_model; /* tell models apart by all bytes of their files, which are read for it, instead of a sample of each
                           * tensor, size and time */
    int64_t state_bytes; /* most bytes of kept states; a model with recurrent layers keeps nothing if none fits */
} md_prefixes_args;

/* A session has one at a time. */
md_status md_prefixes_new(md_session *s, const md_prefixes_args *args, md_prefixes **out, md_error *err) MD_MUST_USE;
/* Before the session goes; sequences keep the pages that they hold. NULL allowed. */
void md_prefixes_free(md_prefixes *p);
/* Bytes that it takes at most beside the pages of a session with room for so many positions; the queue of pages on their way to the
 * folder may take two pages where these are larger than it. */
uint64_t md_prefixes_bytes(const md_model *m, int32_t n_positions, const md_prefixes_args *args);

/* How many of token[0..n) a sequence like q, which is empty (its expert mask counts), would take over: n - 1 at most. Changes
 * nothing. client: whose prefixes they are; "": everybody's who asks for "". */
int32_t md_prefixes_match(const md_prefixes *p, const md_seq *q, const char *client, const int32_t *token, size_t n);
/* The same, and q becomes that past. MD_ERR_ARGUMENT if q is not empty or not of this session. */
md_status md_prefixes_take(md_prefixes *p, md_seq *q, const char *client, const int32_t *token, size_t n,
                           int32_t *taken, md_error *err) MD_MUST_USE;
/* token[0..n) are those of q's positions (n >= its length). Its full pages are kept from now on; where another sequence
 * brought the same page before, q goes on with that one and gives its own back. In a model with recurrent layers this does
 * something only while q stands exactly at a page's border, whose state is then kept, too. */
void md_prefixes_add(md_prefixes *p, md_seq *q, const char *client, const int32_t *token, size_t n);

int32_t md_prefixes_evictable(const md_prefixes *p); /* pages that nobody else holds and that can be freed */
int32_t md_prefixes_evict(md_prefixes *p,
                          int32_t n); /* frees so many, those not used for the longest time; says how many */

/* Pages that only the tree holds, now; pages that came from the folder and went to it, so far. */
void md_prefixes_counts_of(const md_prefixes *p, uint64_t *pages, uint64_t *restored, uint64_t *saved);

#endif
