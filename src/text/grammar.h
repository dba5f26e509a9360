/* SPDX-License-Identifier: Apache-2.0
 *
 * A compiled grammar: a recursive transition network (Woods 1970) over code points and tokens. Rules are stretches of
 * nodes; a node leads to its `next`, and nodes that read nothing (SPLIT, CALL, RETURN) are followed at once. No rule
 * can call itself before it has read something, and every rule can come to an end: both are checked when it is made,
 * and the matcher relies on them. Immutable. */
#ifndef MD_TEXT_GRAMMAR_H
#define MD_TEXT_GRAMMAR_H

#include <medley/grammar.h>

/* Limits; docs/grammar.md states them. */
#define MD_GRAMMAR_TEXT_MAX  (4u << 20) /* bytes of GBNF */
#define MD_GRAMMAR_GROUP_MAX 200        /* parentheses inside each other */
#define MD_GRAMMAR_NODE_MAX  (1u << 19) /* of the network, and elements of the text */
#define MD_GRAMMAR_RULE_MAX  (1u << 17) /* rules, those made for repetitions included */
#define MD_GRAMMAR_RANGE_MAX (1u << 18) /* ranges of all character classes */
#define MD_GRAMMAR_DEPTH_MAX 1000       /* rules entered and not finished, while matching */
#define MD_GRAMMAR_LIVE_MAX  8192       /* places in the grammar that an answer may be at, at once */

typedef enum md_gkind {
    MD_G_ACCEPT, /* node 0 only: the grammar is complete */
    MD_G_RETURN, /* arg: the rule that ends here */
    MD_G_SPLIT,  /* goes on at arg and at next */
    MD_G_CALL,   /* arg: rule */
    MD_G_CHAR,   /* arg: code point */
    MD_G_CLASS,  /* arg: class */
    MD_G_TOKEN,  /* arg: token id */
    MD_G_TOKEN_NOT,
} md_gkind;

typedef struct md_gnode {
    uint32_t kind; /* md_gkind */
    uint32_t arg, next;
} md_gnode;

typedef struct md_grange {
    uint32_t lo, hi; /* code points, both included */
} md_grange;

/* Ascending ranges with gaps between them, without surrogates. */
typedef struct md_gclass {
    uint32_t first, n;
} md_gclass;

typedef struct md_grule {
    uint32_t start;          /* where it begins */
    uint32_t node, node_end; /* its nodes */
    uint32_t rank;           /* greater than that of every rule that calls it before reading */
    bool nullable;           /* may read nothing */
    const char *name;        /* borrowed from the text; for messages */
    uint32_t name_n;
} md_grule;

struct md_grammar {
    char *text;        /* owned */
    md_gnode *node;    /* owned, [n_nodes] */
    md_gclass *class_; /* owned, [n_classes] */
    md_grange *range;  /* owned, [n_ranges] */
    md_grule *rule;    /* owned, [n_rules] */
    size_t n_nodes, n_classes, n_ranges, n_rules;
    uint32_t root;      /* rule */
    int64_t last_token; /* greatest token id that is named; -1: none */
};

/* How much of lo..hi the class has. */
typedef enum md_gcover { MD_G_NONE, MD_G_SOME, MD_G_ALL } md_gcover;
md_gcover md_gclass_cover(const md_grammar *g, uint32_t class_, uint32_t lo, uint32_t hi);

#endif
