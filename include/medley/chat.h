/* SPDX-License-Identifier: Apache-2.0
 *
 * Chat templates: messages to a prompt, through the model's own Jinja template. Templates are hostile input: the
 * interpreter has limits on steps, nesting and output. A compiled template is immutable; any number of threads may
 * render it. */
#ifndef MEDLEY_CHAT_H
#define MEDLEY_CHAT_H

#include <medley/error.h>
#include <medley/tokenizer.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct md_template md_template;

/* Compiles template source of n bytes (UTF-8). MD_ERR_FORMAT names line, column and cause. */
MD_API MD_MUST_USE md_status md_template_new(const char *source, size_t n, md_template **out, md_error *err);
MD_API void md_template_free(md_template *t); /* NULL allowed */

typedef struct md_message {
    const char *role;    /* borrowed. "system", "user", "assistant", "tool", "developer", "function", "ipython" and
                          * "observation" count as written by the template, which builds special tokens from them; any
                          * other role is the caller's text */
    const char *content; /* borrowed; UTF-8; NULL: none */
} md_message;

typedef struct md_chat_args {
    const md_message *message; /* [n_messages], borrowed */
    size_t n_messages;
    bool add_generation_prompt;
    const char *bos_token; /* "" when the model has none; borrowed */
    const char *eos_token;
    const char *extra_json; /* further variables as one JSON object (tools, enable_thinking...), or NULL. A "messages"
                             * key here replaces `message`, for messages with more fields than role and content. It
                             * may not set bos_token, eos_token or add_generation_prompt; `tools` and `documents` are
                             * none unless given */
    int64_t now;            /* Unix time in seconds (UTC) for strftime_now; negative: strftime_now is undefined */
} md_chat_args;

/* Where a piece of the rendered text came from. */
typedef enum md_segment_kind {
    MD_SEGMENT_TEMPLATE, /* written by the template: special tokens are recognised here, and only here */
    MD_SEGMENT_MESSAGE,  /* came from a message or another variable given by the caller: stays text */
} md_segment_kind;

typedef struct md_segment {
    md_segment_kind kind;
    size_t start, n; /* bytes into md_rendered.text */
} md_segment;

typedef struct md_rendered {
    char *text; /* owned, NUL-terminated */
    size_t n;
    md_segment *segment; /* owned, [n_segments]; they cover text without gaps; neighbours differ in kind */
    size_t n_segments;
} md_rendered;
MD_API void md_rendered_done(md_rendered *r);

/* Renders. bos_token and eos_token count as written by the template. A template that calls raise_exception gives
 * MD_ERR_ARGUMENT with its message. MD_ERR_LIMIT when a limit is hit. On failure *out is {0}. */
MD_API MD_MUST_USE md_status md_template_render(const md_template *t, const md_chat_args *args, md_rendered *out,
                                                md_error *err);

/* Appends the tokens of a rendering: special tokens recognised in template segments only. A BOS is put in front only if
 * the tokenizer adds one and the rendering does not already begin with it, so there are never two. */
MD_API MD_MUST_USE md_status md_rendered_tokenize(const md_rendered *r, const md_tokenizer *t, md_tokens *out,
                                                  md_error *err);

#ifdef __cplusplus
}
#endif
#endif
