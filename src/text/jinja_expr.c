/* SPDX-License-Identifier: Apache-2.0
 *
 * Expressions, by the grammar of Jinja2 3: condition, or, and, not, comparison, + -, ~, * / // %, **, sign, postfix,
 * filters and tests (which bind tighter than every operator). */
#include "text/jinja_parse.h"
#include "text/jinja_run.h"

#include <string.h>

static md_status parse_unary(md_jparser *p, bool filters, md_jnode **out);

/* ---- small pieces ---- */

static md_status node2(md_jparser *p, enum md_jnode_kind kind, int op, md_jnode *a, md_jnode *b, md_jnode **out)
{
    md_jnode *n;
    MD_TRY(md_jnode_new(p, kind, &n));
    n->op = op;
    n->a = a;
    n->b = b;
    n->pos = a->pos;
    MD_TRY(md_jnode_over(p, n, a));
    MD_TRY(md_jnode_over(p, n, b));
    *out = n;
    return MD_OK;
}

static md_status take_name(md_jparser *p, const md_jstr **name)
{
    if (p->t->type != MD_JT_NAME)
        return md_jparse_fail(p, "a name");
    MD_TRY(md_jparse_str(p, p->t->s, p->t->n, name));
    p->t++;
    return MD_OK;
}

/* Items up to the closing bracket, which is taken; a trailing comma is allowed. */
static md_status parse_items(md_jparser *p, int close, bool pairs, md_jnode *into)
{
    md_jnode_list l = {0};
    while (!md_jis_op(p, close)) {
        md_jnode *item;
        MD_TRY(md_jparse_expr(p, &item));
        MD_TRY(md_jnodes_add(p, &l, item));
        MD_TRY(md_jnode_over(p, into, item));
        if (pairs) {
            MD_TRY(md_jexpect_op(p, ':'));
            MD_TRY(md_jparse_expr(p, &item));
            MD_TRY(md_jnodes_add(p, &l, item));
            MD_TRY(md_jnode_over(p, into, item));
        }
        if (!md_jskip_op(p, ','))
            break;
    }
    into->list = l.nodes;
    return md_jexpect_op(p, close);
}

static md_status parse_strings(md_jparser *p, md_jnode *n)
{
    size_t total = 0, at = 0;
    for (const md_jtoken *t = p->t; t->type == MD_JT_STRING; t++)
        total += t->n;
    char *text = md_arena_alloc(p->arena, total + 1, 1);
    if (!text)
        return md_fail_memory(p->err, "a chat template");
    for (; p->t->type == MD_JT_STRING; p->t++) {
        memcpy(text + at, p->t->s, p->t->n);
        at += p->t->n;
    }
    const md_jstr *s;
    MD_TRY(md_jparse_str(p, text, total, &s));
    n->value = md_jtext(s);
    return MD_OK;
}

static md_status parse_name(md_jparser *p, md_jnode *n)
{
    static const struct {
        const char *name;
        enum md_jkind kind;
        bool b;
    } constant[] = {{"true", MD_J_BOOL, true},   {"True", MD_J_BOOL, true},  {"false", MD_J_BOOL, false},
                    {"False", MD_J_BOOL, false}, {"none", MD_J_NONE, false}, {"None", MD_J_NONE, false}};
    for (size_t i = 0; i < sizeof constant / sizeof *constant; i++)
        if (md_jskip_name(p, constant[i].name)) {
            n->value = constant[i].kind == MD_J_BOOL ? md_jbool(constant[i].b) : md_jnone();
            return MD_OK;
        }
    n->kind = MD_JN_NAME;
    MD_TRY(md_jsymbol(p, p->t->s, p->t->n, &n->op));
    p->special |= n->op == MD_JS_CALLER ? MD_JM_CALLER : 0u;
    p->special |= n->op == MD_JS_VARARGS ? MD_JM_VARARGS : 0u;
    p->special |= n->op == MD_JS_KWARGS ? MD_JM_KWARGS : 0u;
    p->t++;
    return MD_OK;
}

/* (a), (a, b) or () */
static md_status parse_parens(md_jparser *p, md_jnode *n, md_jnode **out)
{
    p->t++;
    if (md_jskip_op(p, ')')) {
        n->kind = MD_JN_TUPLE;
        *out = n;
        return MD_OK;
    }
    MD_TRY(md_jparse_tuple(p, true, NULL, out));
    return md_jexpect_op(p, ')');
}

static md_status parse_primary(md_jparser *p, md_jnode **out)
{
    md_jnode *n;
    MD_TRY(md_jnode_new(p, MD_JN_CONST, &n));
    *out = n;
    switch (p->t->type) {
    case MD_JT_NAME: return parse_name(p, n);
    case MD_JT_STRING: return parse_strings(p, n);
    case MD_JT_INT: n->value = md_jint(p->t++->number.i); return MD_OK;
    case MD_JT_FLOAT: n->value = md_jfloat(p->t++->number.f); return MD_OK;
    default: break;
    }
    if (md_jis_op(p, '('))
        return parse_parens(p, n, out);
    if (md_jskip_op(p, '[')) {
        n->kind = MD_JN_LIST;
        return parse_items(p, ']', false, n);
    }
    if (md_jskip_op(p, '{')) {
        n->kind = MD_JN_DICT;
        return parse_items(p, '}', true, n);
    }
    return md_jparse_fail(p, "an expression");
}

/* ---- arguments ---- */

static md_status grow_names(md_jparser *p, md_jargs *args, size_t n, const md_jstr *name)
{
    if ((n & (n - 1)) == 0) { /* at 0 and every power of two */
        const md_jstr **more = md_arena_alloc(p->arena, n ? n * 2 : 1, sizeof *more);
        if (!more)
            return md_fail_memory(p->err, "a chat template");
        for (size_t i = 0; i < n; i++)
            more[i] = args->name[i];
        args->name = more;
    }
    args->name[n] = name;
    return MD_OK;
}

static md_status parse_arg(md_jparser *p, md_jargs *args, md_jnode_list *positional, md_jnode_list *named,
                           md_jnode *over)
{
    md_jnode *value;
    const bool star2 = md_jskip_op(p, MD_JOP('*', '*')), star = !star2 && md_jskip_op(p, '*');
    const bool keyword = p->t->type == MD_JT_NAME && p->t[1].type == MD_JT_OPERATOR && p->t[1].code == '=';
    const md_jstr *name = NULL;
    if (args->star2 || ((star || (!star2 && !keyword)) && args->star) ||
        (!star && !star2 && !keyword && named->nodes.n))
        return md_jparse_fail(p, "arguments in the order: values, name=value, *list, **dict");
    if (!star && !star2 && keyword) {
        MD_TRY(take_name(p, &name));
        p->t++;
    }
    MD_TRY(md_jparse_expr(p, &value));
    MD_TRY(md_jnode_over(p, over, value));
    if (star || star2) {
        *(star ? &args->star : &args->star2) = value;
        return MD_OK;
    }
    if (!name)
        return md_jnodes_add(p, positional, value);
    MD_TRY(grow_names(p, args, named->nodes.n, name));
    return md_jnodes_add(p, named, value);
}

/* (args), the opening bracket included. */
static md_status parse_args(md_jparser *p, md_jnode *over)
{
    md_jargs *args = md_arena_alloc(p->arena, 1, sizeof *args);
    if (!args)
        return md_fail_memory(p->err, "a chat template");
    md_jnode_list positional = {0}, named = {0};
    MD_TRY(md_jexpect_op(p, '('));
    while (!md_jis_op(p, ')')) {
        MD_TRY(parse_arg(p, args, &positional, &named, over));
        if (!md_jskip_op(p, ','))
            break;
    }
    args->positional = positional.nodes;
    args->named = named.nodes;
    over->args = args;
    return md_jexpect_op(p, ')');
}

/* ---- postfix ---- */

static md_status parse_slice(md_jparser *p, md_jnode *n, md_jnode *first)
{
    md_jnode **part = md_arena_alloc(p->arena, 3, sizeof *part);
    if (!part)
        return md_fail_memory(p->err, "a chat template");
    part[0] = first;
    for (int i = 1; i < 3 && md_jskip_op(p, ':'); i++)
        if (!md_jis_op(p, ':') && !md_jis_op(p, ']')) {
            MD_TRY(md_jparse_expr(p, &part[i]));
            MD_TRY(md_jnode_over(p, n, part[i]));
        }
    n->kind = MD_JN_SLICE;
    n->list = (md_jnodes){part, 3};
    return MD_OK;
}

static md_status parse_subscript(md_jparser *p, md_jnode *n)
{
    md_jnode *index = NULL;
    if (!md_jis_op(p, ':')) {
        MD_TRY(md_jparse_expr(p, &index));
        MD_TRY(md_jnode_over(p, n, index));
    }
    n->kind = MD_JN_ITEM;
    n->b = index;
    if (md_jis_op(p, ':'))
        MD_TRY(parse_slice(p, n, index));
    return md_jexpect_op(p, ']');
}

static md_status parse_attribute(md_jparser *p, md_jnode *n)
{
    if (p->t->type == MD_JT_INT) { /* list.0 */
        n->kind = MD_JN_ITEM;
        return parse_primary(p, &n->b);
    }
    const md_jstr *name;
    MD_TRY(take_name(p, &name));
    n->kind = MD_JN_ATTR;
    n->value = md_jtext(name);
    return MD_OK;
}

/* One .attribute, [item] or (call) around *io; *more tells whether there was one. */
static md_status parse_one_postfix(md_jparser *p, md_jnode **io, bool calls_only, bool *more)
{
    md_jnode *n;
    const bool call = md_jis_op(p, '('), dot = !calls_only && md_jis_op(p, '.'),
               item = !calls_only && md_jis_op(p, '[');
    *more = call || dot || item;
    if (!*more)
        return MD_OK;
    MD_TRY(md_jnode_new(p, MD_JN_CALL, &n));
    n->a = *io;
    MD_TRY(md_jnode_over(p, n, *io));
    if (call) {
        MD_TRY(parse_args(p, n));
    } else {
        p->t++;
        MD_TRY(dot ? parse_attribute(p, n) : parse_subscript(p, n));
    }
    *io = n;
    return MD_OK;
}

static md_status parse_postfix(md_jparser *p, md_jnode **io)
{
    for (bool more = true; more;)
        MD_TRY(parse_one_postfix(p, io, false, &more));
    return MD_OK;
}

/* ---- filters and tests ---- */

static md_status named_node(md_jparser *p, enum md_jnode_kind kind, md_jnode *a, md_jnode **out)
{
    md_jnode *n;
    const md_jstr *name;
    MD_TRY(md_jnode_new(p, kind, &n));
    MD_TRY(take_name(p, &name));
    n->value = md_jtext(name);
    n->a = a;
    n->fn = kind == MD_JN_FILTER ? md_jfilter_find(name) : md_jtest_find(name);
    *out = n;
    return md_jnode_over(p, n, a);
}

md_status md_jparse_filters(md_jparser *p, md_jnode *input, bool first, md_jnode **out)
{
    *out = input;
    while (first || md_jskip_op(p, '|')) {
        first = false;
        md_jnode *n;
        MD_TRY(named_node(p, MD_JN_FILTER, *out, &n));
        if (md_jis_op(p, '('))
            MD_TRY(parse_args(p, n));
        *out = n;
    }
    return MD_OK;
}

static bool begins_argument(const md_jparser *p)
{
    switch (p->t->type) {
    case MD_JT_NAME: return !md_jis_name(p, "else") && !md_jis_name(p, "or") && !md_jis_name(p, "and");
    case MD_JT_STRING:
    case MD_JT_INT:
    case MD_JT_FLOAT: return true;
    default: return md_jis_op(p, '[') || md_jis_op(p, '{');
    }
}

/* "is [not] name", with one argument that may come without brackets. */
static md_status parse_test(md_jparser *p, md_jnode **io)
{
    md_jnode *n, *argument;
    const bool negated = md_jskip_name(p, "not");
    MD_TRY(named_node(p, MD_JN_TEST, *io, &n));
    n->op = negated;
    if (md_jis_op(p, '(')) {
        MD_TRY(parse_args(p, n));
    } else if (begins_argument(p)) {
        if (md_jis_name(p, "is"))
            return md_jparse_fail(p, "one test only: 'is' cannot be chained");
        md_jargs *args = md_arena_alloc(p->arena, 1, sizeof *args);
        if (!args)
            return md_fail_memory(p->err, "a chat template");
        MD_TRY(parse_primary(p, &argument));
        MD_TRY(parse_postfix(p, &argument));
        md_jnode_list l = {0};
        MD_TRY(md_jnodes_add(p, &l, argument));
        args->positional = l.nodes;
        n->args = args;
        MD_TRY(md_jnode_over(p, n, argument));
    }
    *io = n;
    return MD_OK;
}

static md_status parse_filters_and_tests(md_jparser *p, md_jnode **io)
{
    for (bool more = true; more;) {
        if (md_jis_op(p, '|')) {
            MD_TRY(md_jparse_filters(p, *io, false, io));
        } else if (md_jskip_name(p, "is")) {
            MD_TRY(parse_test(p, io));
        } else {
            MD_TRY(parse_one_postfix(p, io, true, &more));
        }
    }
    return MD_OK;
}

/* ---- operators ---- */

static md_status parse_unary_inner(md_jparser *p, bool filters, md_jnode **out)
{
    if (md_jis_op(p, '-') || md_jis_op(p, '+')) {
        md_jnode *n;
        MD_TRY(md_jnode_new(p, MD_JN_SIGN, &n));
        n->op = p->t++->code;
        MD_TRY(parse_unary(p, false, &n->a));
        MD_TRY(md_jnode_over(p, n, n->a));
        *out = n;
    } else {
        MD_TRY(parse_primary(p, out));
    }
    MD_TRY(parse_postfix(p, out));
    return filters ? parse_filters_and_tests(p, out) : MD_OK;
}

static md_status parse_unary(md_jparser *p, bool filters, md_jnode **out)
{
    MD_TRY(md_jparse_enter(p));
    const md_status status = parse_unary_inner(p, filters, out);
    p->nest--;
    return status;
}

/* Operators that group to the left, loosest first; ~ is not among them since it takes any number of operands. */
enum level { LEVEL_SUM, LEVEL_CONCAT, LEVEL_PRODUCT, LEVEL_POWER, LEVEL_UNARY };

static bool at_level(const md_jparser *p, enum level level)
{
    switch (level) {
    case LEVEL_SUM: return md_jis_op(p, '+') || md_jis_op(p, '-');
    case LEVEL_PRODUCT:
        return md_jis_op(p, '*') || md_jis_op(p, '/') || md_jis_op(p, '%') || md_jis_op(p, MD_JOP('/', '/'));
    case LEVEL_POWER: return md_jis_op(p, MD_JOP('*', '*'));
    default: return false;
    }
}

static md_status parse_level(md_jparser *p, enum level level, md_jnode **out);

static md_status parse_concat(md_jparser *p, md_jnode **out)
{
    MD_TRY(parse_level(p, LEVEL_PRODUCT, out));
    if (!md_jis_op(p, '~'))
        return MD_OK;
    md_jnode *n;
    md_jnode_list l = {0};
    MD_TRY(md_jnode_new(p, MD_JN_CONCAT, &n));
    n->pos = (*out)->pos;
    for (md_jnode *part = *out;;) {
        MD_TRY(md_jnodes_add(p, &l, part));
        MD_TRY(md_jnode_over(p, n, part));
        if (!md_jskip_op(p, '~'))
            break;
        MD_TRY(parse_level(p, LEVEL_PRODUCT, &part));
    }
    n->list = l.nodes;
    *out = n;
    return MD_OK;
}

static md_status parse_level(md_jparser *p, enum level level, md_jnode **out)
{
    if (level == LEVEL_UNARY)
        return parse_unary(p, true, out);
    if (level == LEVEL_CONCAT)
        return parse_concat(p, out);
    MD_TRY(parse_level(p, level + 1, out));
    while (at_level(p, level)) {
        const md_jtoken *op = p->t++;
        md_jnode *right;
        MD_TRY(parse_level(p, level + 1, &right));
        MD_TRY(node2(p, MD_JN_BINARY, op->code, *out, right, out));
        (*out)->pos = op->pos;
    }
    return MD_OK;
}

/* The comparison operator at the current token, which is taken; 0 if there is none. */
static int take_comparison(md_jparser *p)
{
    static const int code[] = {MD_JOP('=', '='), MD_JOP('!', '='), MD_JOP('>', '='), MD_JOP('<', '='), '<', '>'};
    for (size_t i = 0; i < sizeof code / sizeof *code; i++)
        if (md_jskip_op(p, code[i]))
            return code[i];
    if (md_jskip_name(p, "in"))
        return MD_JOP_IN;
    if (md_jis_name(p, "not") && p->t[1].type == MD_JT_NAME && p->t[1].n == 2 && memcmp(p->t[1].s, "in", 2) == 0) {
        p->t += 2;
        return MD_JOP_NOT_IN;
    }
    return 0;
}

static md_status parse_compare(md_jparser *p, md_jnode **out)
{
    MD_TRY(parse_level(p, LEVEL_SUM, out));
    md_jnode *n = NULL, *operand;
    md_jnode_list l = {0};
    for (int op;;) {
        const md_jpos pos = p->t->pos;
        if ((op = take_comparison(p)) == 0)
            break;
        if (!n) {
            MD_TRY(node2(p, MD_JN_COMPARE, 0, *out, NULL, &n));
            *out = n;
        }
        MD_TRY(md_jnode_new(p, MD_JN_OPERAND, &operand));
        operand->op = op;
        operand->pos = pos;
        MD_TRY(parse_level(p, LEVEL_SUM, &operand->a));
        MD_TRY(md_jnode_over(p, operand, operand->a));
        MD_TRY(md_jnode_over(p, n, operand));
        MD_TRY(md_jnodes_add(p, &l, operand));
    }
    if (n)
        n->list = l.nodes;
    return MD_OK;
}

static md_status parse_not(md_jparser *p, md_jnode **out)
{
    if (!md_jis_name(p, "not"))
        return parse_compare(p, out);
    md_jnode *n;
    MD_TRY(md_jparse_enter(p));
    MD_TRY(md_jnode_new(p, MD_JN_NOT, &n));
    p->t++;
    MD_TRY(parse_not(p, &n->a));
    p->nest--;
    *out = n;
    return md_jnode_over(p, n, n->a);
}

static md_status parse_and(md_jparser *p, md_jnode **out)
{
    MD_TRY(parse_not(p, out));
    while (md_jskip_name(p, "and")) {
        md_jnode *right;
        MD_TRY(parse_not(p, &right));
        MD_TRY(node2(p, MD_JN_AND, 0, *out, right, out));
    }
    return MD_OK;
}

md_status md_jparse_or(md_jparser *p, md_jnode **out)
{
    MD_TRY(parse_and(p, out));
    while (md_jskip_name(p, "or")) {
        md_jnode *right;
        MD_TRY(parse_and(p, &right));
        MD_TRY(node2(p, MD_JN_OR, 0, *out, right, out));
    }
    return MD_OK;
}

static md_status parse_condition(md_jparser *p, md_jnode **out)
{
    MD_TRY(md_jparse_or(p, out));
    while (md_jskip_name(p, "if")) {
        md_jnode *test, *n;
        MD_TRY(md_jparse_or(p, &test));
        MD_TRY(node2(p, MD_JN_COND, 0, test, *out, &n));
        if (md_jskip_name(p, "else")) {
            MD_TRY(md_jparse_expr(p, &n->c));
            MD_TRY(md_jnode_over(p, n, n->c));
        }
        *out = n;
    }
    return MD_OK;
}

md_status md_jparse_expr(md_jparser *p, md_jnode **out)
{
    *out = NULL;
    MD_TRY(md_jparse_enter(p));
    MD_TRY(parse_condition(p, out));
    p->nest--;
    return MD_OK;
}

/* ---- tuples and targets ---- */

static bool tuple_ends(const md_jparser *p, const char *end_name)
{
    return p->t->type == MD_JT_OUTPUT_END || p->t->type == MD_JT_BLOCK_END || md_jis_op(p, ')') ||
           (end_name && md_jis_name(p, end_name));
}

md_status md_jparse_tuple(md_jparser *p, bool conditional, const char *end_name, md_jnode **out)
{
    md_jnode *first, *tuple, *item;
    MD_TRY(conditional ? md_jparse_expr(p, &first) : md_jparse_or(p, &first));
    *out = first;
    if (!md_jis_op(p, ','))
        return MD_OK;
    md_jnode_list l = {0};
    MD_TRY(node2(p, MD_JN_TUPLE, 0, first, NULL, &tuple));
    MD_TRY(md_jnodes_add(p, &l, first));
    while (md_jskip_op(p, ',') && !tuple_ends(p, end_name)) {
        MD_TRY(conditional ? md_jparse_expr(p, &item) : md_jparse_or(p, &item));
        MD_TRY(md_jnodes_add(p, &l, item));
        MD_TRY(md_jnode_over(p, tuple, item));
    }
    tuple->a = NULL;
    tuple->list = l.nodes;
    *out = tuple;
    return MD_OK;
}

static md_status parse_one_target(md_jparser *p, bool namespaces, md_jnode **out)
{
    static const char *const reserved[] = {"true", "false", "none", "True", "False", "None"};
    if (md_jskip_op(p, '(')) {
        MD_TRY(md_jparse_enter(p));
        MD_TRY(md_jparse_target(p, namespaces, out));
        p->nest--;
        return md_jexpect_op(p, ')');
    }
    md_jnode *n;
    MD_TRY(md_jnode_new(p, MD_JN_NAME, &n));
    if (p->t->type != MD_JT_NAME)
        return md_jparse_fail(p, "a name to assign to");
    for (size_t i = 0; i < sizeof reserved / sizeof *reserved; i++)
        if (md_jis_name(p, reserved[i]))
            return md_jparse_fail(p, "a name that can be assigned to");
    MD_TRY(md_jsymbol(p, p->t->s, p->t->n, &n->op));
    p->t++;
    if (namespaces && md_jskip_op(p, '.')) {
        const md_jstr *name;
        MD_TRY(take_name(p, &name));
        n->kind = MD_JN_NS_ATTR;
        n->value = md_jtext(name);
    }
    *out = n;
    return MD_OK;
}

md_status md_jparse_target(md_jparser *p, bool namespaces, md_jnode **out)
{
    md_jnode *first, *tuple, *item;
    MD_TRY(parse_one_target(p, namespaces, &first));
    *out = first;
    if (!md_jis_op(p, ','))
        return MD_OK;
    md_jnode_list l = {0};
    MD_TRY(node2(p, MD_JN_TUPLE, 0, first, NULL, &tuple));
    tuple->a = NULL;
    MD_TRY(md_jnodes_add(p, &l, first));
    while (md_jskip_op(p, ',') && !tuple_ends(p, "in") && !md_jis_op(p, '=')) {
        MD_TRY(parse_one_target(p, namespaces, &item));
        MD_TRY(md_jnodes_add(p, &l, item));
        MD_TRY(md_jnode_over(p, tuple, item));
    }
    tuple->list = l.nodes;
    *out = tuple;
    return MD_OK;
}
