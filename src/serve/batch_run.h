/* SPDX-License-Identifier: Apache-2.0
 *
 * A batch from its input to its output: gives requests to whoever answers them, as many as there is room for, keeps the answers in a
 * journal, and writes the output from it, in the input's order, once all are there. Knows nothing of models. One thread.
 *
 * Memory: of requests that are not under way only their place in the index is held, and of answers nothing. */
#ifndef MD_SERVE_BATCH_RUN_H
#define MD_SERVE_BATCH_RUN_H

#include "serve/batch_input.h"
#include "serve/batch_journal.h"

/* A request under way. */
typedef struct md_batch_item md_batch_item;
size_t md_batch_item_line(const md_batch_item *item);
/* A number that is the same in every run: of its line and custom_id. Ids and seeds that nobody gave come from it. */
uint64_t md_batch_item_number(const md_batch_item *item);
/* The answer, which ends the item: an HTTP status and a body, which is one line of JSON. Inside of give or step. */
void md_batch_answer(md_batch_item *item, int status, const char *body, size_t n);
void md_batch_refuse(md_batch_item *item, const md_refusal *r);
/* It cannot be answered now, for a reason that is not its own: the run ends with it, and the line stays open. */
void md_batch_fail(md_batch_item *item, const md_error *why);

/* Who answers. Items that are not answered when a run ends are not to be answered any more. */
typedef struct md_batch_engine {
    void *user;
    bool (*room)(void *user);                                                 /* for another request */
    void (*give)(void *user, md_batch_item *item, const md_batch_request *q); /* q is borrowed for the call */
    md_status (*step)(void *user, bool *idle, md_error *err);                 /* *idle: there was nothing to do */
} md_batch_engine;

typedef struct md_batch_run_args {
    const md_batch_input *in; /* borrowed, as all of these */
    md_journal *journal;
    const md_batch_engine *engine;
    bool (*progress)(void *user, size_t done, size_t total); /* between steps; false: stop. Or NULL */
    void *progress_user;
} md_batch_run_args;
/* Answers what the journal does not have. On failure, and MD_ERR_CANCELLED if progress said so, the journal holds what was finished. */
md_status md_batch_run(const md_batch_run_args *args, md_error *err) MD_MUST_USE;

/* Writes the output, which appears whole, from a journal that has all answers. */
md_status md_batch_write(const md_batch_input *in, md_journal *j, const char *path, md_error *err) MD_MUST_USE;

#endif
