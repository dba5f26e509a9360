/* SPDX-License-Identifier: Apache-2.0
 *
 * A parsed template: a tree in one arena, immutable once built. Nodes know their height, so that walking the tree can
 * be bounded before it begins. */
#ifndef MD_TEXT_JINJA_AST_H
#define MD_TEXT_JINJA_AST_H

#include "text/jinja_lex.h"
#include "text/jinja_value.h"

enum {
    MD_J_MAX_SOURCE = 1 << 20, /* bytes of a template */
    MD_J_MAX_NEST = 100,       /* brackets, operands and blocks inside one another */
    MD_J_MAX_HEIGHT = 400,     /* of the tree; a chain of n operators is n high */
    MD_J_MAX_PARAMS = 8,       /* parameters of one built-in function */
};

enum md_jnode_kind {
    /* expressions */
    MD_JN_CONST,   /* value */
    MD_JN_NAME,    /* op: symbol */
    MD_JN_LIST,    /* list */
    MD_JN_TUPLE,   /* list */
    MD_JN_DICT,    /* list: key, value, key, value... */
    MD_JN_ATTR,    /* a.value */
    MD_JN_ITEM,    /* a[b] */
    MD_JN_SLICE,   /* a[b:c:d] with list = b, c, d, each may be NULL */
    MD_JN_CALL,    /* a(args) */
    MD_JN_FILTER,  /* a|fn(args); a is NULL at the inner end of a filter block's chain; value: name */
    MD_JN_TEST,    /* a is fn(args); op: 1 for "is not"; value: name */
    MD_JN_NOT,     /* a */
    MD_JN_SIGN,    /* op: '-' or '+', a */
    MD_JN_AND,     /* a, b */
    MD_JN_OR,      /* a, b */
    MD_JN_BINARY,  /* op: operator code; a, b */
    MD_JN_CONCAT,  /* list, joined as text */
    MD_JN_COMPARE, /* a, then list of MD_JN_OPERAND */
    MD_JN_OPERAND, /* op: operator code, MD_JOP_IN or MD_JOP_NOT_IN; a */
    MD_JN_COND,    /* b if a else c; c may be NULL */
    /* statements */
    MD_JN_DATA,         /* value */
    MD_JN_OUTPUT,       /* a */
    MD_JN_IF,           /* list of MD_JN_BRANCH */
    MD_JN_BRANCH,       /* a (NULL for else), list: body */
    MD_JN_FOR,          /* for a in b if c; list: body, rest: else; flags: MD_JM_RECURSIVE */
    MD_JN_SET,          /* a = b; a: NAME, TUPLE of those, or NS_ATTR */
    MD_JN_NS_ATTR,      /* target only: op: symbol of the namespace; value: attribute */
    MD_JN_SET_BLOCK,    /* a = what list renders, through filter b (may be NULL) */
    MD_JN_MACRO,        /* op: symbol; value: name; list: body; rest: parameters; flags */
    MD_JN_PARAM,        /* op: symbol; value: name; a: default or NULL */
    MD_JN_CALL_BLOCK,   /* a: CALL, b: MACRO that is the caller */
    MD_JN_FILTER_BLOCK, /* list through filter b */
    MD_JN_WITH,         /* rest: SET nodes; list: body */
    MD_JN_SCOPE,        /* list, in a scope of its own ({% generation %}) */
    MD_JN_BREAK,
    MD_JN_CONTINUE,
};

enum { MD_JOP_IN = 1, MD_JOP_NOT_IN = 2 }; /* beside operator codes, which are characters */

/* Special names a macro's body mentions: only then may it be called with more than its parameters. */
enum { MD_JM_CALLER = 1, MD_JM_VARARGS = 2, MD_JM_KWARGS = 4, MD_JM_RECURSIVE = 8 /* of a loop */ };

typedef struct md_jnodes {
    struct md_jnode **at; /* [n] */
    size_t n;
} md_jnodes;

/* Arguments as written: positional, name=value, *star, **star2. */
typedef struct md_jargs {
    md_jnodes positional;
    md_jnodes named;               /* values */
    const md_jstr **name;          /* [named.n] */
    struct md_jnode *star, *star2; /* or NULL */
} md_jargs;

typedef struct md_jnode {
    enum md_jnode_kind kind;
    int op;
    md_jpos pos; /* where the operation stands: an operator, the name of a filter, the bracket of a call */
    int height;
    unsigned flags;
    md_jval value;
    struct md_jnode *a, *b, *c;
    md_jnodes list, rest;
    const md_jargs *args;         /* NULL: none */
    const struct md_jbuiltin *fn; /* NULL: no filter or test of that name */
} md_jnode;

/* Symbols that every template has, in this order; further names follow. */
enum { MD_JS_LOOP, MD_JS_CALLER, MD_JS_VARARGS, MD_JS_KWARGS, MD_JS_FIXED };

typedef struct md_jprogram {
    md_arena arena; /* owned: the tree, its text and symbols */
    md_jnodes body;
    const md_jstr **symbol; /* [n_symbols] distinct names */
    size_t n_symbols;
} md_jprogram;

/* MD_ERR_FORMAT names place and cause; MD_ERR_LIMIT for a template too long or too deep. On failure *out is {0}. */
md_status md_jparse(const char *source, size_t n, md_jprogram *out, md_error *err) MD_MUST_USE;
void md_jprogram_done(md_jprogram *p);

#endif
