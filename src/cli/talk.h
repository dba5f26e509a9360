/* SPDX-License-Identifier: Apache-2.0
 *
 * A model that answers: what `run` does for one prompt and for a chat alike. Keeps the messages, renders them through
 * the chat template before every answer, and feeds only what the sequence does not hold yet, so that a template that
 * rewrites earlier turns is as right as one that does not. Without a template the text simply goes on. One thread. */
#ifndef MD_CLI_TALK_H
#define MD_CLI_TALK_H

#include "cli/cli.h"

#include <medley/chat.h>
#include <medley/generate.h>

typedef struct md_talk {
    md_cli *cli;
    md_model *model;               /* owned */
    const md_tokenizer *tokenizer; /* borrowed from model */
    md_template *template_;        /* owned; NULL: the text goes on raw */
    md_session *session;           /* owned */
    md_seq *seq;                   /* owned by session */
    md_sampler *sampler;           /* owned */
    int32_t capacity;              /* positions in the context */
    md_message *message;           /* owned, [n_messages]; contents owned, roles static */
    size_t n_messages;
    md_tokens past;            /* tokens of the conversation; the sequence holds the first of them */
    md_buf answer;             /* text of the last answer */
    md_generate_result result; /* of the last answer */
    md_cli_figures figures;    /* of all answers; hash of the last */
    bool stream;               /* answers go to standard output as they come */
    char last_byte;            /* of what was streamed; 0: nothing */
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

#endif
