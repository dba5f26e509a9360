/* SPDX-License-Identifier: Apache-2.0
 *
 * An answer's text, as it is written, into its parts: reasoning, content, and calls of tools. What may be the beginning of a
 * mark is held back until it is certain. One thread at a time; whatever the model writes, nothing is lost: what looks like a
 * call and is none is content. */
#ifndef MD_SERVE_SPLIT_H
#define MD_SERVE_SPLIT_H

#include "base/mem.h"

#include <jansson.h>

/* How a model writes calls; its chat template tells. */
typedef enum md_tool_syntax {
    MD_TOOL_NONE,    /* there are no tools */
    MD_TOOL_TAGS,    /* <tool_call>{"name":...,"arguments":{...}}</tool_call>, as Hermes and Qwen */
    MD_TOOL_BRACKET, /* [TOOL_CALLS][{"name":...,"arguments":{...}}], as Mistral; or [TOOL_CALLS]NAME[ARGS]{...} */
    MD_TOOL_BARE,    /* {"name":...,"parameters":{...}} as the whole answer, as Llama 3 */
} md_tool_syntax;
/* By the marks in a template's source; BARE if there are none. */
md_tool_syntax md_tool_syntax_of(const char *source, size_t n);

typedef struct md_split_fns {
    void (*content)(void *user, const char *text, size_t n);
    void (*reasoning)(void *user, const char *text, size_t n);
    /* arguments: one JSON object as text */
    void (*call)(void *user, const char *name, const char *arguments, size_t n);
} md_split_fns;

typedef enum md_split_state {
    MD_SPLIT_START,
    MD_SPLIT_REASONING,
    MD_SPLIT_GAP,
    MD_SPLIT_CONTENT,
    MD_SPLIT_CALL,
    MD_SPLIT_REST
} md_split_state;

typedef struct md_split {
    const md_split_fns *fns; /* borrowed */
    void *user;
    md_tool_syntax syntax;
    md_split_state state;
    md_buf held;    /* not given out yet */
    size_t scanned; /* bytes of it that hold no end of a call */
    bool said;      /* content other than white space was given out */
} md_split;

/* reasons: the answer begins inside of its reasoning. s may lie in zeroed memory; md_split_done frees. */
void md_split_init(md_split *s, const md_split_fns *fns, void *user, md_tool_syntax syntax, bool reasons);
void md_split_push(md_split *s, const char *text, size_t n);
void md_split_end(md_split *s); /* gives out what was held back */
void md_split_done(md_split *s);

#endif
