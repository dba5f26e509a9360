/* SPDX-License-Identifier: Apache-2.0
 *
 * The inside of a scheduler, for the files that make it up: requests and who they are from, the step that is being put
 * together, and what was learned of the time that steps take.
 *
 * A request's tokens are known (prompt, then answer) and fed (in its sequence) up to some point: whatever is known and not fed
 * is what it has to run. So a request that lost its pages goes on like one that just came. */
#ifndef MD_RUN_SCHEDULER_H
#define MD_RUN_SCHEDULER_H

#include "base/mem.h"
#include "model/prefixes.h"
#include "model/walk.h"
#include "run/answer.h"
#include "run/pooled.h"
#include "run/sample.h"
#include <medley/scheduler.h>

#define MD_MOST_CANDIDATES 20
#define MD_MOST_DRAFT      16
#define MD_PACES           12

/* Who asks. `served` counts tokens that were computed for it, in units of answer tokens: the least served goes first (Sheng et al. 2024,
 * "Fairness in Serving Large Language Models"). */
typedef struct md_client {
    struct md_client *next;
    int32_t n_requests;
    double served;
    char name[]; /* NUL-terminated */
} md_client;

struct md_request {
    md_scheduler *owner;
    md_request *prev, *next; /* in the list of those that wait, or that run */
    uint64_t number;         /* of arrival */
    md_client *client;
    int32_t priority;
    bool running, cancelled, preempted;

    int32_t *token; /* owned, [cap]: the known ones */
    int32_t n_known, n_prompt, cap;
    int32_t n_cached; /* of the prompt, when it first began */
    md_seq *seq;      /* owned while running */

    /* an answer */
    md_sampler *sampler;       /* owned */
    md_constraint *constraint; /* owned, or NULL */
    char **stop;               /* owned, [n_stop] */
    size_t n_stop;
    md_answer answer;
    md_buf text; /* that the token under way gave */
    int32_t n_candidates;
    int32_t n_drafted, n_accepted;
    double draft_worth;                    /* share of drafted tokens that proved right of late */
    int32_t guess[MD_MOST_DRAFT], n_guess; /* drafts of the step that is put together */
    md_seq *draft_seq;                     /* owned: of the drafter, with what it has read; or NULL */
    int32_t guess_read[MD_MOST_DRAFT];     /* guesses that it read behind the known tokens, of which there were then */
    int32_t guessed_at;
    bool wants_guess, guessing; /* of the drafter; in the step of the drafter under way */

    /* vectors */
    bool embed;
    md_pooled pooled; /* owns sum */
    float *vector;    /* owned, [n_vectors][n_embd] */
    int32_t n_vectors;

    /* the step or walk under way: known tokens that it feeds, the row of the last of them, and drafts behind it */
    int32_t n_feed, last_row, n_draft;
    md_seq *before; /* owned: the sequence without the drafts, where it cannot be shortened; or NULL */

    double arrived, began, answered; /* seconds: when it came, first ran, had its first token; 0: not yet */
    bool prefix_kept;                /* its prompt is in the tree */
    md_request_fn *on_event;
    void *user;
};

/* What steps cost, of late; 0: not known yet. */
typedef struct md_pace {
    double decode[MD_PACES]; /* seconds of a step without prompt rows, by the power of two of its answers */
    int since[MD_PACES];     /* steps with prompt rows since one without */
    double prompt_row;       /* seconds that a prompt row adds */
    double slab_row;         /* seconds of a row at one layer of a walk */
} md_pace;

typedef struct md_request_list {
    md_request *first, *last;
    int32_t n;
} md_request_list;

struct md_scheduler {
    md_session *session; /* borrowed */
    md_scheduler_args args;
    const md_tokenizer *tokenizer; /* borrowed; NULL: tokens only */
    int32_t n_vocab, n_rows;
    md_prefixes *prefixes; /* owned; NULL: none are kept */
    md_walk *walk;         /* owned; NULL: prompts go by chunks */
    md_request *walker;    /* on the walk; NULL: nobody */
    md_request_list waiting, running;
    md_client *clients;
    md_sampler_work *work; /* owned: what all samplers share */
    md_pace pace;
    uint64_t arrivals;

    /* the step under way; owned, [n_rows] */
    int32_t *token;
    md_seq **seq;
    uint8_t *want;
    int32_t n, n_prompt_rows, n_decoding;
    md_logprob candidate[MD_MOST_CANDIDATES];

    md_scheduler_counts counts;
};

/* --- request.c --- */
void md_request_emit(md_request *r, md_request_event *e);
/* The last event, and the end of r. */
void md_request_end(md_request *r);
void md_request_fail(md_request *r, const md_error *err);
void md_request_free(md_request *r);
void md_list_add(md_request_list *l, md_request *r);
void md_list_remove(md_request_list *l, md_request *r);
/* Takes r out of the steps and leaves its known tokens; it waits in front of all others. */
void md_request_preempt(md_request *r);
/* Gives back r's sequence. */
void md_request_release(md_request *r);
/* Among whom its prefixes are shared: "", or its client's name. Borrowed from r. */
const char *md_request_scope(const md_request *r);

/* --- scheduler_order.c --- */
/* Which of those that wait goes next; NULL: none can now. */
md_request *md_order_next(md_scheduler *s);
void md_client_serve(md_request *r, int32_t prompt_tokens, int32_t answer_tokens);
md_client *md_client_get(md_scheduler *s, const char *name);
void md_client_put(md_scheduler *s, md_client *c);

/* --- scheduler_rows.c --- */
/* Puts the next step together: fills row, n_feed and n_draft of the running ones, and the arrays. False: nothing to run. */
bool md_rows_compose(md_scheduler *s);
/* How many prompt rows may stand beside answers; how many rows of a walk may go through a layer at once; seconds that a walk may take
 * between two steps (below 0: unknown). */
int32_t md_rows_chunk(const md_scheduler *s);
int32_t md_rows_slab(const md_scheduler *s);
double md_rows_spare(const md_scheduler *s);
/* Are there so many free pages, now that some that only kept prefixes may have gone? */
bool md_rows_room(md_scheduler *s, int32_t pages);
void md_rows_learn(md_scheduler *s, double seconds);
void md_rows_learn_slab(md_scheduler *s, int32_t rows, double seconds);

/* Is r in the middle of its answer, with one token to run? */
bool md_request_decodes(const md_request *r);

/* --- draft.c --- */
/* Fills guess of all who decode. */
void md_draft_all(md_scheduler *s);

/* --- drafter.c --- */
/* What keeps this session from drafting for that one: MD_OK if nothing does. */
md_status md_drafter_check(const md_session *drafter, const md_session *s, int32_t n_running,
                           md_error *err) MD_MUST_USE;
/* Fills guess of those who decode and have none yet. */
void md_drafter_run(md_scheduler *s);

#endif
