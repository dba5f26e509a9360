/* SPDX-License-Identifier: Apache-2.0
 *
 * Expressions: the walk over the tree. Operators on values are in jinja_ops.c. The walk recurses; md_jenter bounds it. */
#include "text/jinja_run.h"

#include <string.h>

md_status md_jenter(md_jrun *r, md_jpos pos)
{
    r->pos = pos;
    MD_TRY(md_jcharge(r, 1));
    if (++r->depth > MD_J_MAX_DEPTH)
        return md_jfail(r, MD_ERR_LIMIT, "the template calls itself or nests more than %d levels deep", MD_J_MAX_DEPTH);
    return MD_OK;
}

/* ---- literals ---- */

static md_status eval_list(md_jrun *r, md_jscope *s, const md_jnode *n, md_jval *out)
{
    md_jlist *l = md_jlist_new(r, n->list.n, n->kind == MD_JN_TUPLE ? MD_J_TUPLE : MD_J_PLAIN);
    if (!l)
        return r->status;
    for (size_t i = 0; i < n->list.n; i++) {
        md_jval v;
        MD_TRY(md_jeval(r, s, n->list.at[i], &v));
        MD_TRY(md_jlist_push(r, l, v));
    }
    *out = md_jseq(l);
    return MD_OK;
}

static md_status eval_dict(md_jrun *r, md_jscope *s, const md_jnode *n, md_jval *out)
{
    md_jdict *d = md_jdict_new(r);
    if (!d)
        return r->status;
    for (size_t i = 0; i + 1 < n->list.n; i += 2) {
        md_jval key, value;
        MD_TRY(md_jeval(r, s, n->list.at[i], &key));
        MD_TRY(md_jeval(r, s, n->list.at[i + 1], &value));
        r->pos = n->list.at[i]->pos;
        MD_TRY(md_jdict_set(r, d, key, value));
    }
    *out = md_jmap(d);
    return MD_OK;
}

/* ---- arguments and calls ---- */

static md_status spread_list(md_jrun *r, md_jlist *into, md_jval v)
{
    md_jlist *more;
    MD_TRY(md_jiterate(r, v, &more));
    const size_t n = more->n;
    for (size_t i = 0; i < n; i++)
        MD_TRY(md_jlist_push(r, into, more->item[i]));
    return MD_OK;
}

/* name=value arguments and those of **dict; room in both arrays. */
static md_status eval_named(md_jrun *r, md_jscope *s, const md_jargs *args, md_jcall *c)
{
    md_jdict *more = NULL;
    md_jval v;
    if (args->star2) {
        MD_TRY(md_jeval(r, s, args->star2, &v));
        r->pos = args->star2->pos;
        if (v.kind != MD_J_DICT)
            return md_jfail(r, MD_ERR_FORMAT, "** needs a dict, not a '%s'", md_jtype_name(v));
        more = v.u.dict;
    }
    const size_t room = args->named.n + (more ? more->n : 0);
    if (room == 0)
        return MD_OK;
    const md_jstr **name = md_jalloc(r, room, sizeof(md_jstr *));
    md_jval *value = md_jalloc(r, room, sizeof *value);
    if (!name || !value)
        return r->status;
    for (size_t i = 0; i < args->named.n; i++, c->n_named++) {
        name[i] = args->name[i];
        MD_TRY(md_jeval(r, s, args->named.at[i], &value[i]));
    }
    for (size_t i = 0; more && i < more->used && c->n_named < room; i++) {
        if (!more->pair[i].live)
            continue;
        if (more->pair[i].key.kind != MD_J_STR)
            return md_jfail(r, MD_ERR_FORMAT, "the keys of a ** argument must be strings");
        name[c->n_named] = more->pair[i].key.u.str;
        value[c->n_named++] = more->pair[i].value;
    }
    c->name = name;
    c->named = value;
    return MD_OK;
}

md_status md_jeval_args(md_jrun *r, md_jscope *s, const md_jargs *args, md_jcall *c)
{
    if (!args)
        return MD_OK;
    if (args->positional.n || args->star) {
        md_jlist *l = md_jlist_new(r, args->positional.n, MD_J_PLAIN);
        md_jval v = md_jnone();
        if (!l)
            return r->status;
        for (size_t i = 0; i < args->positional.n; i++) {
            MD_TRY(md_jeval(r, s, args->positional.at[i], &v));
            MD_TRY(md_jlist_push(r, l, v));
        }
        if (args->star) {
            MD_TRY(md_jeval(r, s, args->star, &v));
            r->pos = args->star->pos;
            MD_TRY(spread_list(r, l, v));
        }
        c->positional = l->item;
        c->n_positional = l->n;
    }
    return eval_named(r, s, args, c);
}

md_status md_jcall_value(md_jrun *r, md_jval f, md_jcall *c, md_jval *out)
{
    if (f.kind == MD_J_UNDEFINED)
        return md_jfail_undefined(r, f);
    if (f.kind == MD_J_LOOP)
        return md_jcall_loop(r, f, c, out);
    if (f.kind != MD_J_FUNC)
        return md_jfail(r, MD_ERR_FORMAT, "a '%s' cannot be called", md_jtype_name(f));
    if (!f.u.func->builtin)
        return md_jcall_macro(r, f.u.func, c, out);
    c->self = f.u.func->self;
    return md_jcall_builtin(r, f.u.func->builtin, c, out);
}

static md_status eval_call(md_jrun *r, md_jscope *s, const md_jnode *n, md_jval *out)
{
    md_jcall c = {0};
    md_jval f;
    const md_jnode *callee = n->a;
    if (callee->kind == MD_JN_ATTR) {
        /* A method, most of the time: no need to make a value of it. */
        MD_TRY(md_jeval(r, s, callee->a, &c.self));
        const md_jbuiltin *method = md_jmethod_find(c.self, callee->value.u.str);
        if (method) {
            MD_TRY(md_jeval_args(r, s, n->args, &c));
            r->pos = n->pos;
            return md_jcall_builtin(r, method, &c, out);
        }
        r->pos = n->pos;
        MD_TRY(md_jget_attr(r, c.self, callee->value.u.str, &f));
    } else {
        MD_TRY(md_jeval(r, s, callee, &f));
    }
    MD_TRY(md_jeval_args(r, s, n->args, &c));
    r->pos = n->pos;
    return md_jcall_value(r, f, &c, out);
}

md_status md_jeval_filters(md_jrun *r, md_jscope *s, const md_jnode *n, md_jval input, md_jval *out)
{
    md_jcall c = {.self = input};
    if (n->a) {
        MD_TRY(md_jenter(r, n->pos));
        MD_TRY(n->a->kind == MD_JN_FILTER ? md_jeval_filters(r, s, n->a, input, &c.self)
                                          : md_jeval(r, s, n->a, &c.self));
        r->depth--;
    }
    r->pos = n->pos;
    if (!n->fn)
        return md_jfail(r, MD_ERR_FORMAT, "there is no filter '%.*s'", (int)n->value.u.str->n, n->value.u.str->s);
    MD_TRY(md_jeval_args(r, s, n->args, &c));
    r->pos = n->pos;
    return md_jcall_builtin(r, n->fn, &c, out);
}

static md_status eval_test(md_jrun *r, md_jscope *s, const md_jnode *n, md_jval *out)
{
    md_jcall c = {0};
    if (!n->fn)
        return md_jfail(r, MD_ERR_FORMAT, "there is no test '%.*s'", (int)n->value.u.str->n, n->value.u.str->s);
    MD_TRY(md_jeval(r, s, n->a, &c.self));
    MD_TRY(md_jeval_args(r, s, n->args, &c));
    r->pos = n->pos;
    MD_TRY(md_jcall_builtin(r, n->fn, &c, out));
    *out = md_jbool(md_jtruth(*out) != (n->op != 0));
    return MD_OK;
}

/* ---- slices ---- */

static md_status slice_part(md_jrun *r, md_jscope *s, const md_jnode *n, int64_t *out, bool *given)
{
    md_jval v = md_jnone();
    if (n)
        MD_TRY(md_jeval(r, s, n, &v));
    *given = v.kind != MD_J_NONE;
    if (*given && !md_jis_integral(v))
        return md_jfail(r, MD_ERR_FORMAT, "slices take integers, not a '%s'", md_jtype_name(v));
    if (*given)
        *out = md_jas_int(v);
    return MD_OK;
}

/* Python's rules: a bound counts from the end when negative, and is clamped to what the direction can reach. */
static int64_t slice_bound(int64_t at, int64_t n, bool backwards)
{
    if (at < 0)
        at = at < -n ? (backwards ? -1 : 0) : at + n;
    else if (at >= n)
        at = backwards ? n - 1 : n;
    return at;
}

static md_status eval_slice(md_jrun *r, md_jscope *s, const md_jnode *n, md_jval *out)
{
    md_jval v;
    int64_t start = 0, stop = 0, step = 1;
    bool has_start, has_stop, has_step;
    MD_TRY(md_jeval(r, s, n->a, &v));
    MD_TRY(slice_part(r, s, n->list.at[0], &start, &has_start));
    MD_TRY(slice_part(r, s, n->list.at[1], &stop, &has_stop));
    MD_TRY(slice_part(r, s, n->list.at[2], &step, &has_step));
    r->pos = n->pos;
    if (v.kind == MD_J_UNDEFINED)
        return md_jfail_undefined(r, v);
    const bool views = v.kind == MD_J_LIST && v.u.list->flavor >= MD_J_KEYS;
    const bool generator = v.kind == MD_J_LIST && v.u.list->flavor == MD_J_GENERATOR;
    if ((v.kind != MD_J_STR && v.kind != MD_J_LIST) || views || generator)
        return md_jfail(r, MD_ERR_FORMAT, "a '%s' cannot be sliced", md_jtype_name(v));
    if (step == 0)
        return md_jfail(r, MD_ERR_FORMAT, "the step of a slice cannot be zero");
    size_t len;
    MD_TRY(md_jlength(r, v, &len));
    const int64_t points = (int64_t)len;
    start = has_start ? slice_bound(start, points, step < 0) : step < 0 ? points - 1 : 0;
    stop = has_stop ? slice_bound(stop, points, step < 0) : step < 0 ? -1 : points;
    const int64_t span = step < 0 ? start - stop : stop - start;
    const uint64_t stride = step < 0 ? 0 - (uint64_t)step : (uint64_t)step;
    const size_t count = span > 0 ? (size_t)(((uint64_t)span - 1) / stride + 1) : 0;
    if (v.kind == MD_J_STR) {
        const md_jstr *part = md_jstr_slice(r, v.u.str, start, step, count);
        *out = md_jtext(part);
        return part ? MD_OK : r->status;
    }
    md_jlist *part = md_jlist_new(r, count, v.u.list->flavor);
    if (!part)
        return r->status;
    MD_TRY(md_jcharge(r, count));
    for (size_t i = 0; i < count; i++)
        part->item[part->n++] = v.u.list->item[start + (int64_t)i * step];
    *out = md_jseq(part);
    return MD_OK;
}

/* ---- operators ---- */

static md_status eval_concat(md_jrun *r, md_jscope *s, const md_jnode *n, md_jval *out)
{
    const md_jstr *text = NULL;
    for (size_t i = 0; i < n->list.n; i++) {
        md_jval v;
        MD_TRY(md_jeval(r, s, n->list.at[i], &v));
        const md_jstr *part = md_jto_str(r, v);
        if (part)
            text = text ? md_jstr_concat(r, text, part) : part;
        if (!part || !text)
            return r->status;
    }
    if (text) /* what ~ joins is plain text, whatever its parts are */
        text = md_jstr_as_escaped(r, text, false);
    *out = md_jtext(text);
    return text ? MD_OK : r->status;
}

static md_status compare(md_jrun *r, int op, md_jval a, md_jval b, bool *yes)
{
    int order;
    switch (op) {
    case MD_JOP('=', '='): return md_jequal(r, a, b, yes);
    case MD_JOP('!', '='):
        MD_TRY(md_jequal(r, a, b, yes));
        *yes = !*yes;
        return MD_OK;
    case MD_JOP_IN: return md_jcontains(r, b, a, yes);
    case MD_JOP_NOT_IN:
        MD_TRY(md_jcontains(r, b, a, yes));
        *yes = !*yes;
        return MD_OK;
    default: break;
    }
    MD_TRY(md_jorder(r, a, b, &order));
    const bool nan = md_jis_number(a) && md_jis_number(b) &&
                     (md_jas_float(a) != md_jas_float(a) || md_jas_float(b) != md_jas_float(b));
    *yes = !nan && (op == '<' ? order < 0 : op == '>' ? order > 0 : op == MD_JOP('<', '=') ? order <= 0 : order >= 0);
    return MD_OK;
}

static md_status eval_compare(md_jrun *r, md_jscope *s, const md_jnode *n, md_jval *out)
{
    md_jval left, right;
    bool yes = true;
    MD_TRY(md_jeval(r, s, n->a, &left));
    for (size_t i = 0; yes && i < n->list.n; i++) {
        MD_TRY(md_jeval(r, s, n->list.at[i]->a, &right));
        r->pos = n->list.at[i]->pos;
        MD_TRY(compare(r, n->list.at[i]->op, left, right, &yes));
        left = right;
    }
    *out = md_jbool(yes);
    return MD_OK;
}

static md_status eval_sign(md_jrun *r, md_jscope *s, const md_jnode *n, md_jval *out)
{
    MD_TRY(md_jeval(r, s, n->a, out));
    r->pos = n->pos;
    if (out->kind == MD_J_UNDEFINED)
        return md_jfail_undefined(r, *out);
    if (!md_jis_number(*out))
        return md_jfail(r, MD_ERR_FORMAT, "a '%s' has no sign", md_jtype_name(*out));
    const unsigned char from = out->from;
    if (out->kind == MD_J_FLOAT)
        *out = md_jfloat(n->op == '-' ? -out->u.f : out->u.f);
    else
        MD_TRY(md_jbinary(r, n->op, md_jint(0), *out, out));
    out->from = from;
    return MD_OK;
}

static md_status eval_logic(md_jrun *r, md_jscope *s, const md_jnode *n, md_jval *out)
{
    MD_TRY(md_jeval(r, s, n->a, out));
    if (n->kind == MD_JN_COND) {
        const md_jnode *taken = md_jtruth(*out) ? n->b : n->c;
        *out = md_jundefined(NULL);
        return taken ? md_jeval(r, s, taken, out) : MD_OK;
    }
    if (n->kind == MD_JN_NOT) {
        *out = md_jbool(!md_jtruth(*out));
        return MD_OK;
    }
    if (md_jtruth(*out) == (n->kind == MD_JN_AND))
        return md_jeval(r, s, n->b, out);
    return MD_OK;
}

static md_status eval_two(md_jrun *r, md_jscope *s, const md_jnode *n, md_jval *out)
{
    md_jval a, b;
    MD_TRY(md_jeval(r, s, n->a, &a));
    MD_TRY(md_jeval(r, s, n->b, &b));
    r->pos = n->pos;
    return n->kind == MD_JN_ITEM ? md_jget_item(r, a, b, out) : md_jbinary(r, n->op, a, b, out);
}

static md_status eval_attr(md_jrun *r, md_jscope *s, const md_jnode *n, md_jval *out)
{
    md_jval v;
    MD_TRY(md_jeval(r, s, n->a, &v));
    r->pos = n->pos;
    return md_jget_attr(r, v, n->value.u.str, out);
}

static md_status eval_kind(md_jrun *r, md_jscope *s, const md_jnode *n, md_jval *out)
{
    switch (n->kind) {
    case MD_JN_CONST: *out = n->value; return MD_OK;
    case MD_JN_NAME: return md_jscope_get(r, s, n->op, out);
    case MD_JN_LIST:
    case MD_JN_TUPLE: return eval_list(r, s, n, out);
    case MD_JN_DICT: return eval_dict(r, s, n, out);
    case MD_JN_ATTR: return eval_attr(r, s, n, out);
    case MD_JN_ITEM:
    case MD_JN_BINARY: return eval_two(r, s, n, out);
    case MD_JN_SLICE: return eval_slice(r, s, n, out);
    case MD_JN_CALL: return eval_call(r, s, n, out);
    case MD_JN_FILTER: return md_jeval_filters(r, s, n, md_jnone(), out);
    case MD_JN_TEST: return eval_test(r, s, n, out);
    case MD_JN_AND:
    case MD_JN_OR:
    case MD_JN_NOT:
    case MD_JN_COND: return eval_logic(r, s, n, out);
    case MD_JN_SIGN: return eval_sign(r, s, n, out);
    case MD_JN_CONCAT: return eval_concat(r, s, n, out);
    case MD_JN_COMPARE: return eval_compare(r, s, n, out);
    default: return md_jfail(r, MD_ERR_INTERNAL, "a statement stands where an expression should");
    }
}

md_status md_jeval(md_jrun *r, md_jscope *s, const md_jnode *n, md_jval *out)
{
    MD_TRY(md_jenter(r, n->pos));
    MD_TRY(eval_kind(r, s, n, out));
    r->depth--;
    return MD_OK;
}
