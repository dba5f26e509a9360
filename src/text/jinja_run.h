/* SPDX-License-Identifier: Apache-2.0
 *
 * Running a parsed template: built-in functions and how they get their arguments, functions as values, scopes, loops. */
#ifndef MD_TEXT_JINJA_RUN_H
#define MD_TEXT_JINJA_RUN_H

#include "text/jinja_ast.h"
#include "text/jinja_text.h"

/* --- built-in functions: filters, tests, methods and globals have one form --- */

/* One call. self is the filtered or tested value, or the object of a method. */
typedef struct md_jcall {
    md_jval self;
    const md_jval *positional; /* [n_positional] */
    size_t n_positional;
    const md_jstr *const *name; /* [n_named] */
    const md_jval *named;       /* [n_named] */
    size_t n_named;
    const md_jval *arg[MD_J_MAX_PARAMS]; /* by parameter, NULL where none was given; unused if params is NULL */
} md_jcall;

typedef md_status (*md_jfn)(md_jrun *r, const md_jcall *c, md_jval *out);

typedef struct md_jbuiltin {
    const char *name;
    md_jfn fn;
    const char *params; /* names with spaces between; "": none; NULL: takes anything */
    size_t required;    /* how many of them must be given */
} md_jbuiltin;

const md_jbuiltin *md_jfilter_find(const md_jstr *name); /* NULL if there is none */
const md_jbuiltin *md_jtest_find(const md_jstr *name);
const md_jbuiltin *md_jmethod_find(md_jval self, const md_jstr *name);
/* Binds arguments to parameters and calls. c->arg is filled here. */
md_status md_jcall_builtin(md_jrun *r, const md_jbuiltin *b, md_jcall *c, md_jval *out) MD_MUST_USE;
/* A filter or test named in an argument, as in map('upper'): error if there is none. */
md_status md_jcall_filter(md_jrun *r, md_jval name, md_jcall *c, md_jval *out) MD_MUST_USE;
md_status md_jcall_test(md_jrun *r, md_jval name, md_jcall *c, bool *yes) MD_MUST_USE;

/* --- argument helpers: what, in messages, is "the filter indent" and the like --- */
md_status md_jarg_str(md_jrun *r, const md_jval *arg, const char *what, const md_jstr **out) MD_MUST_USE;
/* *out stays as it is when arg is NULL or none. */
md_status md_jarg_int(md_jrun *r, const md_jval *arg, const char *what, int64_t *out) MD_MUST_USE;
static inline bool md_jarg_true(const md_jval *arg)
{
    return arg && md_jtruth(*arg);
}

/* --- functions as values --- */
typedef struct md_jfunc {
    const md_jbuiltin *builtin; /* or NULL: macro */
    md_jval self;               /* of a bound method or an object such as a cycler */
    const md_jnode *macro;
    struct md_jscope *scope; /* where the macro was defined */
} md_jfunc;

/* --- scopes --- */
typedef struct md_jscope {
    struct md_jscope *up;
    struct md_jbinding {
        int symbol;
        md_jval value;
    } * binding;
    size_t n, cap;
    bool captured; /* a macro refers to it: it may not be reused for the next iteration */
} md_jscope;

md_jscope *md_jscope_new(md_jrun *r, md_jscope *up) MD_MUST_USE;
md_status md_jscope_set(md_jrun *r, md_jscope *s, int symbol, md_jval v) MD_MUST_USE;
md_status md_jscope_get(md_jrun *r, const md_jscope *s, int symbol, md_jval *out) MD_MUST_USE;

/* --- loops: items are drawn one by one, so that a filter's condition sees what the body changed --- */
typedef struct md_jloop {
    const md_jnode *node; /* the for statement */
    md_jscope *scope;     /* outside of the loop */
    md_jlist *source;
    size_t at;      /* next of source */
    bool filtered;  /* source has passed the condition already */
    bool has_after; /* after was drawn ahead */
    md_jval before, current, after;
    int64_t index0;
    md_jval changed; /* last value of loop.changed */
    bool has_changed;
    int depth0; /* of loop(...) calls around it */
} md_jloop;

/* *more is false at the end. */
md_status md_jloop_next(md_jrun *r, md_jloop *l, bool *more) MD_MUST_USE;
md_status md_jloop_attr(md_jrun *r, md_jval self, const md_jstr *name, md_jval *out, bool *found) MD_MUST_USE;

/* loop(items): the loop over other items, one level deeper. Only loops marked `recursive` can be called. */
md_status md_jcall_loop(md_jrun *r, md_jval loop, const md_jcall *c, md_jval *out) MD_MUST_USE;

/* --- evaluation --- */
md_status md_jeval(md_jrun *r, md_jscope *s, const md_jnode *n, md_jval *out) MD_MUST_USE;
/* Applies a filter node to a value (the inner end of a chain that begins with NULL). */
md_status md_jeval_filters(md_jrun *r, md_jscope *s, const md_jnode *n, md_jval input, md_jval *out) MD_MUST_USE;
/* Evaluates written arguments into *c. */
md_status md_jeval_args(md_jrun *r, md_jscope *s, const md_jargs *args, md_jcall *c) MD_MUST_USE;
md_status md_jcall_value(md_jrun *r, md_jval f, md_jcall *c, md_jval *out) MD_MUST_USE;
md_status md_jget_attr(md_jrun *r, md_jval v, const md_jstr *name, md_jval *out) MD_MUST_USE; /* v.name */
md_status md_jget_item(md_jrun *r, md_jval v, md_jval index, md_jval *out) MD_MUST_USE;       /* v[index] */
md_status md_jbinary(md_jrun *r, int op, md_jval a, md_jval b, md_jval *out) MD_MUST_USE;

enum md_jflow { MD_JF_NEXT, MD_JF_BREAK, MD_JF_CONTINUE };
md_status md_jexec(md_jrun *r, md_jscope *s, const md_jnodes *body, md_jout *o, enum md_jflow *flow) MD_MUST_USE;
md_status md_jassign(md_jrun *r, md_jscope *s, const md_jnode *target, md_jval v) MD_MUST_USE;
md_status md_jcall_macro(md_jrun *r, const md_jfunc *f, const md_jcall *c, md_jval *out) MD_MUST_USE;

/* Deeper by one, or MD_ERR_LIMIT; leave with r->depth--. */
md_status md_jenter(md_jrun *r, md_jpos pos) MD_MUST_USE;

/* --- globals, and text functions that several tables use --- */
/* range, namespace, dict, cycler, joiner, raise_exception, and strftime_now if r->now >= 0. */
md_status md_jglobals(md_jrun *r, md_jscope *s) MD_MUST_USE;
md_status md_jglobal_set(md_jrun *r, md_jscope *s, const char *name,
                         md_jval v) MD_MUST_USE; /* if the template uses it */
/* Python's format % values, and "...".format(...). */
md_status md_jformat_percent(md_jrun *r, const md_jstr *format, md_jval values, const md_jstr **out) MD_MUST_USE;
md_status md_jformat_braces(md_jrun *r, const md_jstr *format, const md_jcall *c, const md_jstr **out) MD_MUST_USE;
/* json.dumps. */
md_status md_jto_json(md_jrun *r, const md_jcall *c, md_jval *out);
/* Values from JSON text, all MESSAGE. MD_ERR_ARGUMENT if it is no JSON. */
md_status md_jfrom_json(md_jrun *r, const char *json, md_jval *out) MD_MUST_USE;
md_status md_jstrftime(md_jrun *r, const md_jcall *c, md_jval *out);

/* Tables by kind of object, each ends with a NULL name. */
extern const md_jbuiltin md_jstr_methods[], md_jlist_methods[], md_jdict_methods[];
extern const md_jbuiltin md_jtext_filters[], md_jseq_filters[];

#endif
