/* SPDX-License-Identifier: Apache-2.0
 *
 * Values of the template language and the run they belong to. Semantics are Python's, because templates are written
 * against Jinja2: lists and dicts are shared references, strings are immutable sequences of code points.
 *
 * Every string knows, byte by byte, whether the template wrote it or the caller gave it (md_segment_kind, here called
 * its marks). Numbers, booleans and none carry one mark for the whole value. An operation whose result mixes both in a
 * way that cannot be followed marks everything MD_SEGMENT_MESSAGE.
 *
 * All memory comes from the run's arena and lives until the run ends. One thread at a time. */
#ifndef MD_TEXT_JINJA_VALUE_H
#define MD_TEXT_JINJA_VALUE_H

#include "base/mem.h"
#include "base/status.h"
#include <medley/chat.h>

/* A place in the source; both count from 1, columns in code points. */
typedef struct md_jpos {
    int line, column;
} md_jpos;
#define MD_JPOS "line %d, column %d"

enum md_jkind {
    MD_J_UNDEFINED, /* u.str: the name that was looked for, for the error message of whoever uses it; may be NULL */
    MD_J_NONE,
    MD_J_BOOL,
    MD_J_INT,
    MD_J_FLOAT,
    MD_J_STR,
    MD_J_LIST, /* every sequence: see md_jflavor */
    MD_J_DICT,
    MD_J_NAMESPACE, /* u.dict: attributes that `set` may assign */
    MD_J_FUNC,
    MD_J_LOOP,
};

/* Storage that a concatenation left with room behind it, so that appending again and again stays linear. */
typedef struct md_jgrow {
    char *s;
    unsigned char *mark; /* NULL, or valid for [0, used) */
    size_t used, cap;
} md_jgrow;

typedef struct md_jstr {
    const char *s; /* UTF-8 as given; not NUL-terminated */
    size_t n;
    const unsigned char *mark; /* [n], or NULL: every byte is `from` */
    unsigned char from;        /* md_segment_kind, when mark is NULL */
    md_jgrow *grow;            /* or NULL */
    bool escaped;              /* Jinja2's markup: the result of `safe` or `escape`; '+' escapes what is added to it */
} md_jstr;

typedef struct md_jval {
    unsigned char kind; /* md_jkind */
    unsigned char from; /* md_segment_kind of a number, boolean or none */
    union {
        bool b;
        int64_t i;
        double f;
        const md_jstr *str;
        struct md_jlist *list;
        struct md_jdict *dict;
        const struct md_jfunc *func;
        struct md_jloop *loop;
    } u;
} md_jval;

/* Python types that iterate alike and differ in how they print, compare and index. */
enum md_jflavor {
    MD_J_PLAIN,
    MD_J_TUPLE,
    MD_J_GENERATOR, /* always true, empty once it has been iterated */
    MD_J_RANGE,
    MD_J_KEYS, /* dict views: cannot be indexed */
    MD_J_VALUES,
    MD_J_ITEMS,
};

typedef struct md_jlist {
    md_jval *item;
    size_t n, cap;
    enum md_jflavor flavor;
} md_jlist;

typedef struct md_jpair {
    md_jval key, value;
    uint64_t hash;
    bool live; /* false: removed */
} md_jpair;

/* In order of insertion. */
typedef struct md_jdict {
    md_jpair *pair; /* [used], some not live */
    size_t used, cap, n;
    uint32_t *slot; /* [n_slots] index into pair + 1, 0: free; NULL while the dict is small */
    size_t n_slots;
} md_jdict;

/* What a run may use before it ends with MD_ERR_LIMIT. */
typedef struct md_jinja_limits {
    uint64_t steps; /* one per node evaluated, per item looked at per 64 bytes moved and 16 searched */
    size_t memory;  /* bytes from the arena */
    size_t output;  /* bytes of the result, and of any string on the way */
} md_jinja_limits;

enum {
    MD_J_MAX_DEPTH = 600,      /* nodes being evaluated inside one another, macro calls included */
    MD_J_MAX_VALUE_DEPTH = 64, /* lists in dicts in lists: printing, comparing, JSON; stops cycles too */
    MD_J_MAX_RANGE = 100000,   /* items of range() */
};

/* One rendering. */
typedef struct md_jrun {
    md_arena arena;
    md_jinja_limits limit;
    uint64_t steps;
    int depth;
    md_jpos pos;      /* what is being evaluated, for errors */
    md_status status; /* of the first failure: what a function that returned NULL failed with */
    md_error *err;    /* borrowed, may be NULL */
    struct md_jscope *globals;
    const struct md_jprogram *program;
    int64_t now; /* seconds since 1970 (UTC) for strftime_now */
} md_jrun;

/* Fails with "line N, column C: ..." and remembers the status in r. The macro gives `code` itself (base/status.h). */
md_status md_jfail(md_jrun *r, md_status code, const char *fmt, ...) MD_PRINTF(3, 4);
#define md_jfail(r, code, ...) md_second((md_jfail)((r), (code), __VA_ARGS__), (code))
/* Fails because v, which is undefined, was used. */
md_status md_jfail_undefined(md_jrun *r, md_jval v);
/* MD_ERR_LIMIT once the steps are used up. */
md_status md_jcharge(md_jrun *r, uint64_t steps) MD_MUST_USE;
/* The same for work on n bytes. */
md_status md_jcharge_bytes(md_jrun *r, size_t n) MD_MUST_USE;
/* The same for searching n bytes, which takes longer than moving them. */
md_status md_jcharge_search(md_jrun *r, size_t n) MD_MUST_USE;
/* Zeroed arena memory; NULL when over the limit or out of memory, with r->status set. */
void *md_jalloc(md_jrun *r, size_t n, size_t size) MD_MUST_USE;

/* --- making values --- */
static inline md_jval md_jundefined(const md_jstr *name)
{
    return (md_jval){.kind = MD_J_UNDEFINED, .u.str = name};
}
static inline md_jval md_jnone(void)
{
    return (md_jval){.kind = MD_J_NONE};
}
static inline md_jval md_jbool(bool b)
{
    return (md_jval){.kind = MD_J_BOOL, .u.b = b};
}
static inline md_jval md_jint(int64_t i)
{
    return (md_jval){.kind = MD_J_INT, .u.i = i};
}
static inline md_jval md_jfloat(double f)
{
    return (md_jval){.kind = MD_J_FLOAT, .u.f = f};
}
static inline md_jval md_jtext(const md_jstr *s)
{
    return (md_jval){.kind = MD_J_STR, .u.str = s};
}
static inline md_jval md_jseq(md_jlist *l)
{
    return (md_jval){.kind = MD_J_LIST, .u.list = l};
}
static inline md_jval md_jmap(md_jdict *d)
{
    return (md_jval){.kind = MD_J_DICT, .u.dict = d};
}

/* --- asking values --- */
static inline bool md_jis_number(md_jval v)
{
    return v.kind == MD_J_INT || v.kind == MD_J_FLOAT || v.kind == MD_J_BOOL;
}
static inline bool md_jis_integral(md_jval v)
{
    return v.kind == MD_J_INT || v.kind == MD_J_BOOL;
}
int64_t md_jas_int(md_jval v);  /* of an integral value */
double md_jas_float(md_jval v); /* of a number */
bool md_jtruth(md_jval v);
const char *md_jtype_name(md_jval v); /* as Python calls it */
unsigned char md_jfrom(md_jval v);    /* MESSAGE if any byte of a string, or the number, is */
/* Python's ==. Different kinds are simply unequal; only nesting and steps can fail. */
md_status md_jequal(md_jrun *r, md_jval a, md_jval b, bool *equal) MD_MUST_USE;
/* Python's <, as -1, 0, 1; fails for kinds that have no order. */
md_status md_jorder(md_jrun *r, md_jval a, md_jval b, int *order) MD_MUST_USE;
/* Python's `item in container`. */
md_status md_jcontains(md_jrun *r, md_jval container, md_jval item, bool *found) MD_MUST_USE;
/* Number of items or code points; fails for what has no length. */
md_status md_jlength(md_jrun *r, md_jval v, size_t *n) MD_MUST_USE;
/* What iterating v yields: v's own list where it is one (a generator is used up), else a new list. */
md_status md_jiterate(md_jrun *r, md_jval v, md_jlist **out) MD_MUST_USE;

/* --- lists --- */
md_jlist *md_jlist_new(md_jrun *r, size_t room, enum md_jflavor flavor) MD_MUST_USE; /* NULL: r->status */
md_status md_jlist_push(md_jrun *r, md_jlist *l, md_jval v) MD_MUST_USE;
md_jlist *md_jlist_copy(md_jrun *r, const md_jlist *l, enum md_jflavor flavor) MD_MUST_USE;
/* Turns a Python index into one of [0, n); false if out of range. */
bool md_jindex(int64_t i, size_t n, size_t *at);

/* --- dicts --- */
md_jdict *md_jdict_new(md_jrun *r) MD_MUST_USE;
md_status md_jdict_set(md_jrun *r, md_jdict *d, md_jval key, md_jval value) MD_MUST_USE;
md_status md_jdict_set_name(md_jrun *r, md_jdict *d, const char *name, md_jval value) MD_MUST_USE; /* template's */
/* *value is NULL when the key is not there. */
md_status md_jdict_get(md_jrun *r, md_jdict *d, md_jval key, md_jval **value) MD_MUST_USE;
md_status md_jdict_remove(md_jrun *r, md_jdict *d, md_jval key, md_jval *value, bool *found) MD_MUST_USE;
void md_jdict_clear(md_jdict *d);
md_status md_jdict_update(md_jrun *r, md_jdict *d, md_jval from) MD_MUST_USE; /* dict, or list of pairs */
/* Keys, values or (key, value) tuples by flavor; PLAIN gives keys. */
md_status md_jdict_list(md_jrun *r, const md_jdict *d, enum md_jflavor what, md_jlist **out) MD_MUST_USE;

#endif
