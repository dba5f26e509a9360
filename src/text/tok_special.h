/* SPDX-License-Identifier: Apache-2.0
 *
 * Finding special tokens in text: a trie of their names, walked from each byte that can begin one. Leftmost first, then
 * longest. Names are limited in length, so that the walk is linear in the text whatever the model file says. */
#ifndef MD_TEXT_TOK_SPECIAL_H
#define MD_TEXT_TOK_SPECIAL_H

#include <medley/error.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MD_SPECIAL_MAX_BYTES 1024

typedef struct md_special_node {
    uint32_t child, sibling; /* 0: none */
    int32_t id;              /* token that ends here, or -1 */
    unsigned char byte;
    bool control; /* the token is found only on request */
} md_special_node;

typedef struct md_special {
    md_special_node *node; /* owned; node 0 is unused, node 1 + b the start of names that begin with byte b */
    size_t n, cap;
    bool any_first[256], plain_first[256]; /* bytes that begin a name; that of one found without request */
} md_special;

/* Adds a name. control: found only when control tokens are asked for. The first of equal names wins. */
md_status md_special_add(md_special *s, const char *name, size_t n, int32_t id, bool control,
                         md_error *err) MD_MUST_USE;
void md_special_done(md_special *s);

/* First match at or after `from` in text[0..n): its token, *at and *len; -1 when there is none. */
int32_t md_special_find(const md_special *s, const char *text, size_t n, size_t from, bool control, size_t *at,
                        size_t *len);

#endif
