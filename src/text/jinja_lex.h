/* SPDX-License-Identifier: Apache-2.0
 *
 * Template source to tokens, by the rules that published chat templates rely on: trim_blocks and lstrip_blocks are on,
 * '-' and '+' control white space, comments vanish, raw blocks become data. */
#ifndef MD_TEXT_JINJA_LEX_H
#define MD_TEXT_JINJA_LEX_H

#include "text/jinja_value.h"

enum md_jtoken_type {
    MD_JT_END,
    MD_JT_DATA,
    MD_JT_OUTPUT_BEGIN, /* {{ */
    MD_JT_OUTPUT_END,
    MD_JT_BLOCK_BEGIN, /* {% */
    MD_JT_BLOCK_END,
    MD_JT_NAME,
    MD_JT_STRING, /* escapes resolved */
    MD_JT_INT,
    MD_JT_FLOAT,
    MD_JT_OPERATOR, /* code: one character, or MD_JOP of two */
};

#define MD_JOP(a, b) ((a) << 8 | (b))

typedef struct md_jtoken {
    enum md_jtoken_type type;
    int code;
    md_jpos pos;
    const char *s; /* into the arena */
    size_t n;
    union {
        int64_t i;
        double f;
    } number;
} md_jtoken;

typedef struct md_jtokens {
    md_jtoken *at; /* [n], owned; the last is MD_JT_END */
    size_t n, cap;
} md_jtokens;

/* Text is copied into the arena with its newlines normalised. MD_ERR_FORMAT names the place. On failure *out is {0}. */
md_status md_jlex(const char *source, size_t n, md_arena *arena, md_jtokens *out, md_error *err) MD_MUST_USE;
void md_jtokens_done(md_jtokens *t);

#endif
