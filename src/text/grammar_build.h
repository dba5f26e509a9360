/* SPDX-License-Identifier: Apache-2.0
 *
 * What parser and compiler of a grammar share: the tree of the text, thrown away once the network is made. Lists are
 * kept last first, which is the order the compiler works in. Index 0 is nothing. */
#ifndef MD_TEXT_GRAMMAR_BUILD_H
#define MD_TEXT_GRAMMAR_BUILD_H

#include "base/hashmap.h"
#include "text/grammar.h"

typedef enum md_gast_kind {
    MD_GAST_CHAR,   /* a: code point */
    MD_GAST_CLASS,  /* a: class */
    MD_GAST_REF,    /* a: rule */
    MD_GAST_TOKEN,  /* a: id, b: 1 for any but that */
    MD_GAST_SEQ,    /* child: the last element */
    MD_GAST_ALT,    /* child: the last alternative */
    MD_GAST_REPEAT, /* child, a: least, b: most */
} md_gast_kind;
#define MD_GAST_NO_MOST UINT32_MAX

typedef struct md_gast {
    uint32_t kind; /* md_gast_kind */
    uint32_t a, b;
    uint32_t child, sibling; /* sibling: the one before it in the text */
} md_gast;

typedef struct md_gdef {
    uint32_t ast;     /* 0: not defined (yet) */
    uint32_t seen_at; /* offset of its first mention */
    const char *name; /* borrowed from the text */
    uint32_t name_n;
} md_gdef;

typedef struct md_gbuild {
    md_grammar *g;                 /* text, class_ and range are filled by the parser, the rest by the compiler */
    const md_tokenizer *tokenizer; /* borrowed; may be NULL */
    md_gast *ast;                  /* owned, [n_ast]; ast[0] is unused */
    md_gdef *def;                  /* owned, [n_def]; numbers are rule numbers */
    size_t n_ast, ast_cap, n_def, def_cap, class_cap, range_cap, node_cap;
    md_hashmap by_name;
} md_gbuild;

/* Room for one more element of `size` bytes in the array *p; false when memory is out or `max` is reached. */
bool md_gbuild_grow(void *p, size_t n, size_t *cap, size_t size, size_t max) MD_MUST_USE;
/* Says line and column of an offset in the text. */
md_status md_gbuild_fail(const md_gbuild *b, size_t at, md_error *err, const char *fmt, ...) MD_PRINTF(4, 5);
/* Why there was no room for one more than n: `max` is reached, or memory is out. */
md_status md_gbuild_full(md_error *err, const char *what, size_t n, size_t max);
/* A new rule that has no name of its own: it is called by that of `owner`. */
md_status md_gbuild_def(md_gbuild *b, const char *name, size_t n, size_t at, uint32_t *out, md_error *err) MD_MUST_USE;

md_status md_grammar_parse(md_gbuild *b, md_error *err) MD_MUST_USE;
md_status md_grammar_compile(md_gbuild *b, md_error *err) MD_MUST_USE;
/* Numbers the rules by who calls whom first, and refuses what could not be matched: grammar_check.c. */
md_status md_grammar_check(md_grammar *g, md_error *err) MD_MUST_USE;
/* Sorts, joins, negates and adds the class made of the ranges from `first` on. */
md_status md_gbuild_class(md_gbuild *b, size_t first, bool negated, uint32_t *out, md_error *err) MD_MUST_USE;

#endif
