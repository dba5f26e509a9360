/* SPDX-License-Identifier: Apache-2.0
 *
 * A request for an answer, in whatever form it came: parsed and checked, before anything is rendered, compiled or run. The
 * parsers are pure functions of the body; everything in an md_ask is owned by it or borrowed from its JSON. */
#ifndef MD_SERVE_ASK_H
#define MD_SERVE_ASK_H

#include "serve/fields.h"

#include <medley/sample.h>

#define MD_ASK_MOST_STOPS      16
#define MD_ASK_MOST_STOP_BYTES 256
#define MD_ASK_MOST_CHOICES    128
#define MD_ASK_MOST_BIASES     1024
#define MD_ASK_MOST_TOOLS      128
#define MD_ASK_MOST_MESSAGES   4096
#define MD_ASK_MOST_LOGPROBS   20

typedef enum md_tool_choice { MD_TOOLS_AUTO, MD_TOOLS_NONE, MD_TOOLS_REQUIRED, MD_TOOLS_NAMED } md_tool_choice;

typedef struct md_ask {
    json_t *root; /* owned: what was sent */
    const char *model;
    bool stream, include_usage;
    int32_t n;               /* answers to each prompt */
    int32_t max_tokens;      /* -1: no bound */
    md_sampler_args sampler; /* bias and breakers are those below; no tokenizer yet */
    md_logit_bias *bias;     /* owned */
    const char *breaker[16];
    uint64_t seed;
    bool seeded;
    const char *stop[MD_ASK_MOST_STOPS];
    size_t n_stop;
    bool logprobs;
    int32_t top_logprobs; /* -1: not given */
    bool ignore_eog;
    int32_t priority;

    /* what the answer must look like; at most one of the two */
    char *schema;        /* owned, malloc'ed: a JSON Schema */
    const char *grammar; /* GBNF */

    /* chat */
    json_t *messages; /* owned: contents are strings or null, arguments of calls are objects where they can be */
    json_t *tools;    /* owned: in the form {"type":"function","function":{...}}; NULL: none */
    md_tool_choice tool_choice;
    const char *tool_name; /* with MD_TOOLS_NAMED */
    const json_t *template_kwargs;

    /* completions */
    const json_t *prompt;

    /* infill */
    const char *prefix, *suffix;
    const json_t *extra;

    /* set by the caller before parsing */
    int32_t n_vocab; /* bounds token ids */
    bool steady;     /* the answer depends on nothing but the request and these two: */
    uint64_t number; /* ids come from it, and the seed of a request that gives none */
    int64_t created; /* Unix time of the answer, and for the template */
} md_ask;

/* Each fills *a, whose n_vocab is set, from a body of n bytes. False: refused; a is to be freed either way. */
bool md_ask_chat(md_ask *a, const char *body, size_t n, md_refusal *r);
bool md_ask_completion(md_ask *a, const char *body, size_t n, md_refusal *r);
bool md_ask_messages(md_ask *a, const char *body, size_t n, md_refusal *r);  /* the Anthropic form */
bool md_ask_responses(md_ask *a, const char *body, size_t n, md_refusal *r); /* the form of /v1/responses */
bool md_ask_infill(md_ask *a, const char *body, size_t n, md_refusal *r);
/* Lets go of the texts that became tokens: a request may wait for long. */
void md_ask_forget(md_ask *a);
void md_ask_done(md_ask *a); /* {0} allowed */

/* --- between the parsers --- */
void md_ask_default(md_ask *a);
/* The rows that all forms have: choosing tokens, and what is known and ignored. Used as the end of a table. */
extern const md_field md_ask_common[];
/* Reads the fields of a->root by the form's own table, then by md_ask_common. */
bool md_ask_fields(md_ask *a, const md_field *own, md_refusal *r);
md_field_fn md_ask_stop, md_ask_format, md_ask_tool_choice, md_ask_tools, md_ask_stream_options, md_ask_seed,
    md_ask_bias;
/* Sets a->schema from a schema; false: memory. */
bool md_ask_take_schema(md_ask *a, const json_t *schema, md_refusal *r);
/* Checks a list of tools in the API's form into a->tools. */
bool md_ask_take_tools(md_ask *a, const json_t *list, const char *name, md_refusal *r);
/* What only makes sense together. */
bool md_ask_check(md_ask *a, md_refusal *r);
/* The tool that is named is there. */
bool md_ask_check_named(const md_ask *a, md_refusal *r);

/* messages.c: checks messages and writes them the way templates read them: contents in parts become one string, "developer"
 * is "system", arguments of calls become objects. A new list, or NULL: refused. */
json_t *md_messages_read(const json_t *list, const char *name, md_refusal *r);

#endif
