/* SPDX-License-Identifier: Apache-2.0
 *
 * Operators on values, attributes and items, scopes, and how a built-in function gets its arguments. */
#include "text/jinja_run.h"

#include <math.h>
#include <string.h>

/* ---- arithmetic ---- */

static md_status overflow(md_jrun *r)
{
    return md_jfail(r, MD_ERR_LIMIT, "an integer grew past 64 bits");
}

/* Python's divmod: the remainder has the sign of b. */
static double float_divmod(double a, double b, double *remainder)
{
    double mod = fmod(a, b), div = (a - mod) / b;
    if (mod != 0 && (mod < 0) != (b < 0)) {
        mod += b;
        div -= 1;
    }
    *remainder = mod != 0 ? mod : copysign(0, b);
    const double down = floor(div);
    return div == 0 ? copysign(0, a / b) : div - down > 0.5 ? down + 1 : down;
}

static md_status float_binary(md_jrun *r, int op, double a, double b, md_jval *out)
{
    double v = 0;
    const bool divides = op == '/' || op == '%' || op == MD_JOP('/', '/');
    if ((b == 0 && divides) || (a == 0 && b < 0 && op == MD_JOP('*', '*')))
        return md_jfail(r, MD_ERR_FORMAT, "division by zero");
    switch (op) {
    case '+': v = a + b; break;
    case '-': v = a - b; break;
    case '*': v = a * b; break;
    case '/': v = a / b; break;
    case MD_JOP('/', '/'): v = float_divmod(a, b, &(double){0}); break;
    case '%': (void)float_divmod(a, b, &v); break;
    default: v = pow(a, b); break;
    }
    *out = md_jfloat(v);
    return MD_OK;
}

static md_status int_power(md_jrun *r, int64_t base, int64_t exponent, int64_t *out)
{
    int64_t v = 1;
    while (exponent) {
        if ((exponent & 1) && __builtin_mul_overflow(v, base, &v))
            return overflow(r);
        exponent >>= 1;
        if (exponent && __builtin_mul_overflow(base, base, &base))
            return overflow(r);
    }
    *out = v;
    return MD_OK;
}

static md_status int_binary(md_jrun *r, int op, int64_t a, int64_t b, md_jval *out)
{
    int64_t v = 0;
    bool over = false;
    switch (op) {
    case '+': over = __builtin_add_overflow(a, b, &v); break;
    case '-': over = __builtin_sub_overflow(a, b, &v); break;
    case '*': over = __builtin_mul_overflow(a, b, &v); break;
    case MD_JOP('*', '*'):
        if (b < 0)
            return float_binary(r, op, (double)a, (double)b, out);
        MD_TRY(int_power(r, a, b, &v));
        break;
    default: /* / // % */
        if (b == 0)
            return md_jfail(r, MD_ERR_FORMAT, "division by zero");
        if (op == '/') {
            *out = md_jfloat((double)a / (double)b);
            return MD_OK;
        }
        if (b == -1) { /* the quotient of the smallest integer overflows */
            over = op != '%' && __builtin_sub_overflow((int64_t)0, a, &v);
            break;
        }
        v = op == '%' ? a % b : a / b;
        if (a % b != 0 && (a < 0) != (b < 0)) /* Python rounds down, C towards zero */
            v += op == '%' ? b : -1;
        break;
    }
    *out = md_jint(v);
    return over ? overflow(r) : MD_OK;
}

static md_status add_lists(md_jrun *r, const md_jlist *a, const md_jlist *b, md_jval *out)
{
    md_jlist *l = md_jlist_new(r, a->n + b->n, a->flavor);
    if (!l || md_jcharge(r, a->n + b->n) != MD_OK)
        return r->status;
    if (a->n)
        memcpy(l->item, a->item, a->n * sizeof *l->item);
    if (b->n)
        memcpy(l->item + a->n, b->item, b->n * sizeof *l->item);
    l->n = a->n + b->n;
    *out = md_jseq(l);
    return MD_OK;
}

/* text * count, list * count */
static md_status repeat(md_jrun *r, md_jval v, int64_t count, md_jval *out)
{
    if (count < 0)
        count = 0;
    if (v.kind == MD_J_STR) {
        md_jout o = md_jout_new(r);
        for (int64_t i = 0; i < count && v.u.str->n && !o.failed; i++)
            md_jout_str(&o, v.u.str);
        const md_jstr *s = md_jout_finish(&o, false);
        *out = md_jtext(s);
        return s ? MD_OK : r->status;
    }
    md_jlist *l = md_jlist_new(r, 0, v.u.list->flavor);
    if (!l)
        return r->status;
    const size_t n = v.u.list->n;
    for (int64_t i = 0; i < count && n; i++)
        for (size_t j = 0; j < n; j++)
            MD_TRY(md_jlist_push(r, l, v.u.list->item[j]));
    *out = md_jseq(l);
    return MD_OK;
}

static bool is_sequence(md_jval v)
{
    return v.kind == MD_J_STR || (v.kind == MD_J_LIST && v.u.list->flavor <= MD_J_TUPLE);
}

static md_status refuse(md_jrun *r, int op, md_jval a, md_jval b)
{
    char name[3] = {(char)(op > 0xff ? op >> 8 : op), (char)(op > 0xff ? op & 0xff : 0), '\0'};
    if (a.kind == MD_J_UNDEFINED || b.kind == MD_J_UNDEFINED)
        return md_jfail_undefined(r, a.kind == MD_J_UNDEFINED ? a : b);
    return md_jfail(r, MD_ERR_FORMAT, "'%s' does not work between '%s' and '%s'", name, md_jtype_name(a),
                    md_jtype_name(b));
}

/* Where one side is escaped the other becomes so too. */
static md_status add_text(md_jrun *r, const md_jstr *a, const md_jstr *b, md_jval *out)
{
    const bool escaped = a->escaped || b->escaped;
    if (a->escaped != b->escaped) {
        const md_jstr **plain = a->escaped ? &b : &a;
        *plain = md_jstr_escape(r, *plain);
    }
    const md_jstr *sum = a && b ? md_jstr_concat(r, a, b) : NULL;
    if (sum)
        sum = md_jstr_as_escaped(r, sum, escaped);
    *out = md_jtext(sum);
    return sum ? MD_OK : r->status;
}

md_status md_jbinary(md_jrun *r, int op, md_jval a, md_jval b, md_jval *out)
{
    if (op == '+' && a.kind == MD_J_STR && b.kind == MD_J_STR)
        return add_text(r, a.u.str, b.u.str, out);
    if (op == '%' && a.kind == MD_J_STR) {
        const md_jstr *s;
        MD_TRY(md_jformat_percent(r, a.u.str, b, &s));
        *out = md_jtext(s);
        return MD_OK;
    }
    if (md_jis_number(a) && md_jis_number(b)) {
        const unsigned char from = a.from | b.from;
        if (md_jis_integral(a) && md_jis_integral(b))
            MD_TRY(int_binary(r, op, md_jas_int(a), md_jas_int(b), out));
        else
            MD_TRY(float_binary(r, op, md_jas_float(a), md_jas_float(b), out));
        out->from = from;
        return MD_OK;
    }
    if (op == '+' && a.kind == MD_J_LIST && b.kind == MD_J_LIST && is_sequence(a) &&
        a.u.list->flavor == b.u.list->flavor)
        return add_lists(r, a.u.list, b.u.list, out);
    if (op == '*' && is_sequence(a) && md_jis_integral(b))
        return repeat(r, a, md_jas_int(b), out);
    if (op == '*' && is_sequence(b) && md_jis_integral(a))
        return repeat(r, b, md_jas_int(a), out);
    return refuse(r, op, a, b);
}

/* ---- attributes and items ---- */

static md_status bound_method(md_jrun *r, md_jval v, const md_jbuiltin *method, md_jval *out)
{
    md_jfunc *f = md_jalloc(r, 1, sizeof *f);
    if (!f)
        return r->status;
    *f = (md_jfunc){.builtin = method, .self = v};
    *out = (md_jval){.kind = MD_J_FUNC, .u.func = f};
    return MD_OK;
}

/* What a macro tells about itself. */
static md_status macro_attr(md_jrun *r, const md_jnode *macro, const md_jstr *name, md_jval *out, bool *found)
{
    static const struct {
        const char *name;
        unsigned flag;
    } asks[] = {{"catch_kwargs", MD_JM_KWARGS}, {"catch_varargs", MD_JM_VARARGS}, {"caller", MD_JM_CALLER}};
    *found = true;
    if (md_jstr_is(name, "name")) {
        *out = macro->value;
        return MD_OK;
    }
    if (md_jstr_is(name, "arguments")) {
        md_jlist *names = md_jlist_new(r, macro->rest.n, MD_J_TUPLE);
        if (!names)
            return r->status;
        for (size_t i = 0; i < macro->rest.n; i++)
            MD_TRY(md_jlist_push(r, names, macro->rest.at[i]->value));
        *out = md_jseq(names);
        return MD_OK;
    }
    for (size_t i = 0; i < sizeof asks / sizeof *asks; i++)
        if (md_jstr_is(name, asks[i].name)) {
            *out = md_jbool((macro->flags & asks[i].flag) != 0);
            return MD_OK;
        }
    *found = false;
    return MD_OK;
}

/* What has a name of its own: methods, attributes of namespaces and loops. */
static md_status own_attr(md_jrun *r, md_jval v, const md_jstr *name, md_jval *out, bool *found)
{
    *found = true;
    if (v.kind == MD_J_NAMESPACE) {
        md_jval *value;
        MD_TRY(md_jdict_get(r, v.u.dict, md_jtext(name), &value));
        *found = value != NULL;
        if (value)
            *out = *value;
        return MD_OK;
    }
    if (v.kind == MD_J_LOOP)
        return md_jloop_attr(r, v, name, out, found);
    if (v.kind == MD_J_FUNC && !v.u.func->builtin)
        return macro_attr(r, v.u.func->macro, name, out, found);
    const md_jbuiltin *method = md_jmethod_find(v, name);
    *found = method != NULL;
    return method ? bound_method(r, v, method, out) : MD_OK;
}

md_status md_jget_attr(md_jrun *r, md_jval v, const md_jstr *name, md_jval *out)
{
    bool found;
    if (v.kind == MD_J_UNDEFINED)
        return md_jfail_undefined(r, v);
    MD_TRY(own_attr(r, v, name, out, &found));
    if (found)
        return MD_OK;
    *out = md_jundefined(name);
    if (v.kind == MD_J_DICT) {
        md_jval *value;
        MD_TRY(md_jdict_get(r, v.u.dict, md_jtext(name), &value));
        if (value)
            *out = *value;
    }
    return MD_OK;
}

static md_status point_at(md_jrun *r, const md_jstr *s, int64_t index, md_jval *out)
{
    size_t at;
    MD_TRY(md_jcharge_bytes(r, s->n));
    if (!md_jindex(index, md_jstr_points(s), &at))
        return MD_OK;
    const size_t offset = md_jpoint_offset(s, at);
    const md_jstr *one = md_jstr_sub(r, s, offset, md_jpoint_len(s->s + offset, s->n - offset));
    *out = md_jtext(one);
    return one ? MD_OK : r->status;
}

md_status md_jget_item(md_jrun *r, md_jval v, md_jval index, md_jval *out)
{
    size_t at;
    bool found = false;
    if (v.kind == MD_J_UNDEFINED)
        return md_jfail_undefined(r, v);
    *out = md_jundefined(index.kind == MD_J_STR ? index.u.str : NULL);
    if (v.kind == MD_J_DICT && index.kind != MD_J_DICT &&
        (index.kind != MD_J_LIST || index.u.list->flavor == MD_J_TUPLE)) {
        md_jval *value;
        MD_TRY(md_jdict_get(r, v.u.dict, index, &value));
        if (value) {
            *out = *value;
            return MD_OK;
        }
    }
    if (md_jis_integral(index) && v.kind == MD_J_STR)
        return point_at(r, v.u.str, md_jas_int(index), out);
    if (md_jis_integral(index) && v.kind == MD_J_LIST && v.u.list->flavor < MD_J_KEYS &&
        v.u.list->flavor != MD_J_GENERATOR) {
        if (md_jindex(md_jas_int(index), v.u.list->n, &at))
            *out = v.u.list->item[at];
        return MD_OK;
    }
    if (index.kind == MD_J_STR)
        MD_TRY(own_attr(r, v, index.u.str, out, &found));
    return MD_OK;
}

/* ---- scopes ---- */

md_jscope *md_jscope_new(md_jrun *r, md_jscope *up)
{
    md_jscope *s = md_jalloc(r, 1, sizeof *s);
    if (s)
        s->up = up;
    return s;
}

md_status md_jscope_set(md_jrun *r, md_jscope *s, int symbol, md_jval v)
{
    MD_TRY(md_jcharge(r, 1 + s->n / 16));
    for (size_t i = 0; i < s->n; i++)
        if (s->binding[i].symbol == symbol) {
            s->binding[i].value = v;
            return MD_OK;
        }
    if (s->n == s->cap) {
        const size_t cap = s->cap ? s->cap * 2 : 4;
        struct md_jbinding *b = md_jalloc(r, cap, sizeof *b);
        if (!b)
            return r->status;
        if (s->n)
            memcpy(b, s->binding, s->n * sizeof *b);
        s->binding = b;
        s->cap = cap;
    }
    s->binding[s->n++] = (struct md_jbinding){symbol, v};
    return MD_OK;
}

md_status md_jscope_get(md_jrun *r, const md_jscope *s, int symbol, md_jval *out)
{
    for (; s; s = s->up) {
        MD_TRY(md_jcharge(r, 1 + s->n / 16));
        for (size_t i = 0; i < s->n; i++)
            if (s->binding[i].symbol == symbol) {
                *out = s->binding[i].value;
                return MD_OK;
            }
    }
    *out = md_jundefined(r->program->symbol[symbol]);
    return MD_OK;
}

/* ---- built-in functions ---- */

static const md_jbuiltin *in_table(const md_jbuiltin *table, const md_jstr *name)
{
    for (; table->name; table++)
        if (md_jstr_is(name, table->name))
            return table;
    return NULL;
}

const md_jbuiltin *md_jfilter_find(const md_jstr *name)
{
    const md_jbuiltin *b = in_table(md_jtext_filters, name);
    return b ? b : in_table(md_jseq_filters, name);
}

const md_jbuiltin *md_jmethod_find(md_jval self, const md_jstr *name)
{
    switch ((enum md_jkind)self.kind) {
    case MD_J_STR: return in_table(md_jstr_methods, name);
    case MD_J_DICT: return in_table(md_jdict_methods, name);
    case MD_J_LIST: return self.u.list->flavor <= MD_J_TUPLE ? in_table(md_jlist_methods, name) : NULL;
    default: return NULL;
    }
}

/* The index of the parameter called name in a list of names, or SIZE_MAX. */
static size_t param_index(const char *params, const md_jstr *name)
{
    size_t index = 0;
    for (const char *p = params; *p; index++) {
        const size_t n = strcspn(p, " ");
        if (n == name->n && memcmp(p, name->s, n) == 0)
            return index;
        p += n + strspn(p + n, " ");
    }
    return SIZE_MAX;
}

static size_t param_count(const char *params)
{
    size_t count = *params != '\0';
    for (const char *p = params; *p; p++)
        count += *p == ' ';
    return count;
}

md_status md_jcall_builtin(md_jrun *r, const md_jbuiltin *b, md_jcall *c, md_jval *out)
{
    MD_TRY(md_jcharge(r, 1));
    if (!b->params)
        return b->fn(r, c, out);
    const size_t n = param_count(b->params);
    if (c->n_positional > n)
        return md_jfail(r, MD_ERR_FORMAT, "'%s' takes at most %zu arguments, not %zu", b->name, n, c->n_positional);
    for (size_t i = 0; i < c->n_positional; i++)
        c->arg[i] = &c->positional[i];
    for (size_t i = 0; i < c->n_named; i++) {
        const size_t at = param_index(b->params, c->name[i]);
        if (at == SIZE_MAX || c->arg[at])
            return md_jfail(r, MD_ERR_FORMAT, "'%s' has no argument '%.*s', or has it already", b->name,
                            c->name[i]->n < 60 ? (int)c->name[i]->n : 60, c->name[i]->s);
        c->arg[at] = &c->named[i];
    }
    for (size_t i = 0; i < b->required; i++)
        if (!c->arg[i])
            return md_jfail(r, MD_ERR_FORMAT, "'%s' needs %zu arguments", b->name, b->required);
    return b->fn(r, c, out);
}

static md_status named_builtin(md_jrun *r, md_jval name, bool filter, const md_jbuiltin **out)
{
    if (name.kind != MD_J_STR)
        return md_jfail(r, MD_ERR_FORMAT, "a filter or test is named by a string, not by a '%s'", md_jtype_name(name));
    *out = filter ? md_jfilter_find(name.u.str) : md_jtest_find(name.u.str);
    if (!*out)
        return md_jfail(r, MD_ERR_FORMAT, "there is no %s '%.*s'", filter ? "filter" : "test",
                        name.u.str->n < 60 ? (int)name.u.str->n : 60, name.u.str->s);
    return MD_OK;
}

md_status md_jcall_filter(md_jrun *r, md_jval name, md_jcall *c, md_jval *out)
{
    const md_jbuiltin *b;
    MD_TRY(named_builtin(r, name, true, &b));
    MD_TRY(md_jenter(r, r->pos)); /* map('map', 'map', ...) nests */
    MD_TRY(md_jcall_builtin(r, b, c, out));
    r->depth--;
    return MD_OK;
}

md_status md_jcall_test(md_jrun *r, md_jval name, md_jcall *c, bool *yes)
{
    const md_jbuiltin *b;
    md_jval v;
    MD_TRY(named_builtin(r, name, false, &b));
    MD_TRY(md_jcall_builtin(r, b, c, &v));
    *yes = md_jtruth(v);
    return MD_OK;
}

md_status md_jarg_str(md_jrun *r, const md_jval *arg, const char *what, const md_jstr **out)
{
    if (arg->kind == MD_J_UNDEFINED)
        return md_jfail_undefined(r, *arg);
    if (arg->kind != MD_J_STR)
        return md_jfail(r, MD_ERR_FORMAT, "%s needs a string, not a '%s'", what, md_jtype_name(*arg));
    *out = arg->u.str;
    return MD_OK;
}

md_status md_jarg_int(md_jrun *r, const md_jval *arg, const char *what, int64_t *out)
{
    if (!arg || arg->kind == MD_J_NONE)
        return MD_OK;
    if (arg->kind == MD_J_UNDEFINED)
        return md_jfail_undefined(r, *arg);
    if (!md_jis_integral(*arg))
        return md_jfail(r, MD_ERR_FORMAT, "%s needs an integer, not a '%s'", what, md_jtype_name(*arg));
    *out = md_jas_int(*arg);
    return MD_OK;
}
