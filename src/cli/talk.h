/* SPDX-License-Identifier: Apache-2.0
 *
 * A model that answers: what `run` does for one prompt and for a chat alike. Keeps the messages, renders them through
 * the chat template before every answer, and feeds only what the sequence does not hold yet, so that a template that
 * rewrites earlier turns is as right as one that does not. Without a template the text simply goes on. One thread. */
#ifndef MD_CLI_TALK_H
#define MD_CLI_TALK_H

#include "cli/watch.h"

#include <medley/chat.h>
#include <medley/generate.h>

/* ORDER of the words of --ctx-overflow */
typedef enum md_talk_overflow { MD_TALK_STOP, MD_TALK_DROP, MD_TALK_ERROR } md_talk_overflow;

typedef struct md_talk {
    md_cli *cli;
    md_model *model;               /* owned */
    const md_tokenizer *tokenizer; /* borrowed from model */
    md_template *template_;        /* owned; NULL: the text goes on raw */
    md_session *session;           /* owned */
    md_cli_tracing tracing;        /* of the session */
    md_cli_watch *watch;           /* owned, of the session; NULL: --watch was not given */
    md_seq *seq;                   /* owned by session */
    md_sampler *sampler;           /* owned */
    md_grammar *grammar;           /* owned; NULL: answers are free */
    md_constraint *constraint;     /* owned; with grammar */
    int32_t capacity;              /* positions in the context */
    md_message *message;           /* owned, [n_messages]; contents owned, roles static */
    size_t n_messages;
    size_t kept_from;          /* earlier messages were dropped: the model does not read them any more */
    size_t n_dropped;          /* by the last answer: messages, or tokens without a template */
    md_talk_overflow overflow; /* what happens when the context is full */
    char *file;                /* owned: where the conversation was saved to or loaded from, or NULL */
    md_tokens past;            /* tokens of the conversation; the sequence holds the first of them */
    md_buf answer;             /* text of the last answer */
    md_tokens said;            /* its tokens */
    md_generate_result result; /* of the last answer; where turns were dropped, the hash is of what came after */
    md_cli_figures figures;    /* of all answers; hash of the last */
    bool stream;               /* answers go to standard output as they come */
    char last_byte;            /* of what was streamed; 0: nothing */
    bool fed;                  /* the answer under way has changed the sequence */
    bool overflowed;           /* it stopped for turns to be dropped */
    md_cli_bar bar;
} md_talk;

/* Opens model, template, session and sampler as the options say. On failure everything is freed again. */
md_status md_talk_open(md_cli *cli, md_talk *t, md_error *err) MD_MUST_USE;
void md_talk_close(md_talk *t);
/* Answers text[0..n). On failure the conversation is as it was before. An interrupt is no failure: result.finish tells. */
md_status md_talk_ask(md_talk *t, const char *text, size_t n, md_error *err) MD_MUST_USE;
/* Forgets the conversation. system: the new system message, NULL for the one there was, "" for none. */
md_status md_talk_reset(md_talk *t, const char *system, md_error *err) MD_MUST_USE;
/* Tokens of the last answer, [result.n_generated]; valid until the next. */
const int32_t *md_talk_tokens(const md_talk *t);

/* --- talk_file.c: conversations in files --- */
/* Writes the conversation with its tokens, keys and values; a path that ends in .json gets the messages alone. */
md_status md_talk_save(md_talk *t, const char *path, md_error *err) MD_MUST_USE;
/* Replaces the conversation by a saved one, of either form. Keys and values that were made otherwise than t makes them
 * are left out with a note; the text is then read again. On failure the conversation is as it was. */
md_status md_talk_load(md_talk *t, const char *path, md_error *err) MD_MUST_USE;

/* --- between the files of a talk --- */
md_status md_talk_push(md_talk *t, const char *role, const char *content, size_t n, md_error *err) MD_MUST_USE;
void md_talk_pop(md_talk *t, size_t keep);
/* talk_prompt.c. Appends the tokens of a text; inner: it continues another. */
md_status md_talk_tokenize(const md_talk *t, const char *text, size_t n, bool inner, md_tokens *out,
                           md_error *err) MD_MUST_USE;
/* Appends all that the model is to read before it answers; text[0..n) is new where there is no template. Drops turns if
 * the answer would have too little room. */
md_status md_talk_prompt(md_talk *t, const char *text, size_t n, md_tokens *out, md_error *err) MD_MUST_USE;
bool md_talk_can_drop(const md_talk *t);
/* Drops the oldest turns until `all`, prompt and answer so far, takes at most half of the context, or one turn is left.
 * Without a template: the oldest tokens, but never the newest `least`. */
md_status md_talk_shrink(md_talk *t, size_t least, md_tokens *all, md_error *err) MD_MUST_USE;

#endif
