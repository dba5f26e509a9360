/* SPDX-License-Identifier: Apache-2.0
 *
 * Tests: what may stand behind `is`. */
#include "text/jinja_run.h"

#include <math.h>
#include <string.h>
#include <utf8proc.h>

static md_status yes_no(bool yes, md_jval *out)
{
    *out = md_jbool(yes);
    return MD_OK;
}

static md_status t_defined(md_jrun *r, const md_jcall *c, md_jval *out)
{
    (void)r;
    return yes_no(c->self.kind != MD_J_UNDEFINED, out);
}

static md_status t_undefined(md_jrun *r, const md_jcall *c, md_jval *out)
{
    (void)r;
    return yes_no(c->self.kind == MD_J_UNDEFINED, out);
}

static md_status t_none(md_jrun *r, const md_jcall *c, md_jval *out)
{
    (void)r;
    return yes_no(c->self.kind == MD_J_NONE, out);
}

static md_status t_boolean(md_jrun *r, const md_jcall *c, md_jval *out)
{
    (void)r;
    return yes_no(c->self.kind == MD_J_BOOL, out);
}

static md_status t_true(md_jrun *r, const md_jcall *c, md_jval *out)
{
    (void)r;
    return yes_no(c->self.kind == MD_J_BOOL && c->self.u.b, out);
}

static md_status t_false(md_jrun *r, const md_jcall *c, md_jval *out)
{
    (void)r;
    return yes_no(c->self.kind == MD_J_BOOL && !c->self.u.b, out);
}

static md_status t_integer(md_jrun *r, const md_jcall *c, md_jval *out)
{
    (void)r;
    return yes_no(c->self.kind == MD_J_INT, out);
}

static md_status t_float(md_jrun *r, const md_jcall *c, md_jval *out)
{
    (void)r;
    return yes_no(c->self.kind == MD_J_FLOAT, out);
}

/* True for booleans too, as in Python. */
static md_status t_number(md_jrun *r, const md_jcall *c, md_jval *out)
{
    (void)r;
    return yes_no(md_jis_number(c->self), out);
}

static md_status t_string(md_jrun *r, const md_jcall *c, md_jval *out)
{
    (void)r;
    return yes_no(c->self.kind == MD_J_STR, out);
}

static md_status t_mapping(md_jrun *r, const md_jcall *c, md_jval *out)
{
    (void)r;
    return yes_no(c->self.kind == MD_J_DICT, out);
}

static md_status t_iterable(md_jrun *r, const md_jcall *c, md_jval *out)
{
    (void)r;
    const int k = c->self.kind;
    return yes_no(k == MD_J_STR || k == MD_J_LIST || k == MD_J_DICT || k == MD_J_UNDEFINED || k == MD_J_LOOP, out);
}

/* What has a length and items: strings, dicts and, oddly, what is undefined. */
static md_status t_sequence(md_jrun *r, const md_jcall *c, md_jval *out)
{
    (void)r;
    const md_jval v = c->self;
    const bool list = v.kind == MD_J_LIST && v.u.list->flavor != MD_J_GENERATOR && v.u.list->flavor < MD_J_KEYS;
    return yes_no(list || v.kind == MD_J_STR || v.kind == MD_J_DICT || v.kind == MD_J_UNDEFINED, out);
}

static md_status t_callable(md_jrun *r, const md_jcall *c, md_jval *out)
{
    (void)r;
    return yes_no(c->self.kind == MD_J_FUNC || c->self.kind == MD_J_UNDEFINED, out);
}

static md_status t_escaped(md_jrun *r, const md_jcall *c, md_jval *out)
{
    (void)r;
    return yes_no(c->self.kind == MD_J_STR && c->self.u.str->escaped, out);
}

/* ---- numbers ---- */

static md_status remainder_is(md_jrun *r, const md_jcall *c, md_jval by, int64_t wanted, md_jval *out)
{
    md_jval v;
    bool equal;
    if (c->self.kind == MD_J_STR)
        return md_jfail(r, MD_ERR_FORMAT, "a string is neither odd nor even nor divisible");
    MD_TRY(md_jbinary(r, '%', c->self, by, &v));
    MD_TRY(md_jequal(r, v, md_jint(wanted), &equal));
    return yes_no(equal, out);
}

static md_status t_odd(md_jrun *r, const md_jcall *c, md_jval *out)
{
    return remainder_is(r, c, md_jint(2), 1, out);
}

static md_status t_even(md_jrun *r, const md_jcall *c, md_jval *out)
{
    return remainder_is(r, c, md_jint(2), 0, out);
}

static md_status t_divisibleby(md_jrun *r, const md_jcall *c, md_jval *out)
{
    return remainder_is(r, c, *c->arg[0], 0, out);
}

/* ---- comparisons ---- */

static md_status t_eq(md_jrun *r, const md_jcall *c, md_jval *out)
{
    bool equal;
    MD_TRY(md_jequal(r, c->self, *c->arg[0], &equal));
    return yes_no(equal, out);
}

static md_status t_ne(md_jrun *r, const md_jcall *c, md_jval *out)
{
    bool equal;
    MD_TRY(md_jequal(r, c->self, *c->arg[0], &equal));
    return yes_no(!equal, out);
}

static md_status t_lt(md_jrun *r, const md_jcall *c, md_jval *out)
{
    int order;
    MD_TRY(md_jorder(r, c->self, *c->arg[0], &order));
    return yes_no(order < 0, out);
}

static md_status t_le(md_jrun *r, const md_jcall *c, md_jval *out)
{
    int order;
    MD_TRY(md_jorder(r, c->self, *c->arg[0], &order));
    return yes_no(order <= 0, out);
}

static md_status t_gt(md_jrun *r, const md_jcall *c, md_jval *out)
{
    int order;
    MD_TRY(md_jorder(r, c->self, *c->arg[0], &order));
    return yes_no(order > 0, out);
}

static md_status t_ge(md_jrun *r, const md_jcall *c, md_jval *out)
{
    int order;
    MD_TRY(md_jorder(r, c->self, *c->arg[0], &order));
    return yes_no(order >= 0, out);
}

static md_status t_in(md_jrun *r, const md_jcall *c, md_jval *out)
{
    bool found;
    MD_TRY(md_jcontains(r, *c->arg[0], c->self, &found));
    return yes_no(found, out);
}

/* Identity: of containers by reference, of others by kind and value. */
static md_status t_sameas(md_jrun *r, const md_jcall *c, md_jval *out)
{
    const md_jval a = c->self, b = *c->arg[0];
    bool same = a.kind == b.kind;
    if (same && (a.kind == MD_J_LIST || a.kind == MD_J_DICT))
        same = a.kind == MD_J_LIST ? a.u.list == b.u.list : a.u.dict == b.u.dict;
    else if (same)
        MD_TRY(md_jequal(r, a, b, &same));
    return yes_no(same, out);
}

/* ---- text ---- */

/* All cased letters are of that case, and there is one. */
static md_status cased(md_jrun *r, const md_jcall *c, bool upper, md_jval *out)
{
    bool some = false, all = true;
    const md_jstr *s = md_jto_str(r, c->self);
    if (!s)
        return r->status;
    MD_TRY(md_jcharge_bytes(r, s->n));
    for (size_t at = 0; at < s->n; at += md_jpoint_len(s->s + at, s->n - at)) {
        const int32_t cp = (int32_t)md_jpoint(s->s + at, s->n - at);
        const bool is_upper = utf8proc_category(cp) == UTF8PROC_CATEGORY_LU;
        const bool is_lower = utf8proc_category(cp) == UTF8PROC_CATEGORY_LL;
        some |= is_upper || is_lower;
        all &= !(upper ? is_lower : is_upper);
    }
    return yes_no(some && all, out);
}

static md_status t_upper(md_jrun *r, const md_jcall *c, md_jval *out)
{
    return cased(r, c, true, out);
}

static md_status t_lower(md_jrun *r, const md_jcall *c, md_jval *out)
{
    return cased(r, c, false, out);
}

static md_status t_filter(md_jrun *r, const md_jcall *c, md_jval *out)
{
    (void)r;
    return yes_no(c->self.kind == MD_J_STR && md_jfilter_find(c->self.u.str), out);
}

static md_status t_test(md_jrun *r, const md_jcall *c, md_jval *out)
{
    (void)r;
    return yes_no(c->self.kind == MD_J_STR && md_jtest_find(c->self.u.str), out);
}

static const md_jbuiltin tests[] = {
    {"boolean", t_boolean, "", 0},
    {"callable", t_callable, "", 0},
    {"defined", t_defined, "", 0},
    {"divisibleby", t_divisibleby, "num", 1},
    {"escaped", t_escaped, "", 0},
    {"even", t_even, "", 0},
    {"false", t_false, "", 0},
    {"filter", t_filter, "", 0},
    {"float", t_float, "", 0},
    {"in", t_in, "seq", 1},
    {"integer", t_integer, "", 0},
    {"iterable", t_iterable, "", 0},
    {"lower", t_lower, "", 0},
    {"mapping", t_mapping, "", 0},
    {"none", t_none, "", 0},
    {"number", t_number, "", 0},
    {"odd", t_odd, "", 0},
    {"sameas", t_sameas, "other", 1},
    {"sequence", t_sequence, "", 0},
    {"string", t_string, "", 0},
    {"test", t_test, "", 0},
    {"true", t_true, "", 0},
    {"undefined", t_undefined, "", 0},
    {"upper", t_upper, "", 0},
    {"==", t_eq, "b", 1},
    {"eq", t_eq, "b", 1},
    {"equalto", t_eq, "b", 1},
    {"!=", t_ne, "b", 1},
    {"ne", t_ne, "b", 1},
    {"<", t_lt, "b", 1},
    {"lt", t_lt, "b", 1},
    {"lessthan", t_lt, "b", 1},
    {"<=", t_le, "b", 1},
    {"le", t_le, "b", 1},
    {">", t_gt, "b", 1},
    {"gt", t_gt, "b", 1},
    {"greaterthan", t_gt, "b", 1},
    {">=", t_ge, "b", 1},
    {"ge", t_ge, "b", 1},
};

const md_jbuiltin *md_jtest_find(const md_jstr *name)
{
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++)
        if (md_jstr_is(name, tests[i].name))
            return &tests[i];
    return NULL;
}
