/* SPDX-License-Identifier: Apache-2.0
 *
 * What the two halves of the parser (statements, expressions) share. */
#ifndef MD_TEXT_JINJA_PARSE_H
#define MD_TEXT_JINJA_PARSE_H

#include "text/jinja_ast.h"
#include "text/jinja_lex.h"

typedef struct md_jparser {
    const md_jtoken *t; /* the current token */
    md_arena *arena;
    md_error *err;
    int nest;
    int loops;        /* open for loops: break and continue need one */
    unsigned special; /* MD_JM_* mentioned so far in the macro being parsed */
    const md_jstr **symbol;
    size_t n_symbols, symbol_cap;
    uint32_t *slot; /* [n_slots], owned: hash index into symbol + 1 */
    size_t n_slots;
} md_jparser;

/* A list of nodes under construction. */
typedef struct md_jnode_list {
    md_jnodes nodes;
    size_t cap;
} md_jnode_list;

/* Fails at a place with one sentence. */
md_status md_jparse_fail_at(md_jparser *p, md_status code, md_jpos pos, const char *fmt, ...) MD_PRINTF(4, 5);
#define md_jparse_fail_at(p, code, pos, ...) md_second((md_jparse_fail_at)((p), (code), (pos), __VA_ARGS__), (code))
/* Fails at the current token. The macro gives back the code itself (base/status.h). */
md_status md_jparse_fail(md_jparser *p, const char *expected);
#define md_jparse_fail(p, expected) md_second((md_jparse_fail)((p), (expected)), MD_ERR_FORMAT)
md_status md_jparse_enter(md_jparser *p) MD_MUST_USE; /* one level deeper; leave with p->nest-- */
bool md_jis_op(const md_jparser *p, int code);
bool md_jis_name(const md_jparser *p, const char *name);
bool md_jskip_op(md_jparser *p, int code);
bool md_jskip_name(md_jparser *p, const char *name);
md_status md_jexpect_op(md_jparser *p, int code) MD_MUST_USE;
md_status md_jnode_new(md_jparser *p, enum md_jnode_kind kind, md_jnode **out) MD_MUST_USE;
/* Takes the height of child (may be NULL) into account; fails when the tree gets too high. */
md_status md_jnode_over(md_jparser *p, md_jnode *n, const md_jnode *child) MD_MUST_USE;
md_status md_jnodes_add(md_jparser *p, md_jnode_list *l, md_jnode *n) MD_MUST_USE;
/* The number of a name, which is interned. */
md_status md_jsymbol(md_jparser *p, const char *s, size_t n, int *symbol) MD_MUST_USE;
md_status md_jparse_str(md_jparser *p, const char *s, size_t n, const md_jstr **out) MD_MUST_USE;

/* --- expressions --- */
md_status md_jparse_expr(md_jparser *p, md_jnode **out) MD_MUST_USE;
/* Without a trailing "if ... else". */
md_status md_jparse_or(md_jparser *p, md_jnode **out) MD_MUST_USE;
/* One expression, or several with commas: a tuple. end_name ends it too ("in", "recursive"), or NULL. */
md_status md_jparse_tuple(md_jparser *p, bool conditional, const char *end_name, md_jnode **out) MD_MUST_USE;
/* Names, tuples of names, and namespace attributes if those are allowed. */
md_status md_jparse_target(md_jparser *p, bool namespaces, md_jnode **out) MD_MUST_USE;
/* |filter|filter(args)...; first: the name comes without a '|'. *out is input if there is no filter. */
md_status md_jparse_filters(md_jparser *p, md_jnode *input, bool first, md_jnode **out) MD_MUST_USE;

#endif
