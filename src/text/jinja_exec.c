/* SPDX-License-Identifier: Apache-2.0
 *
 * Statements: output, conditions, loops, assignments, macros. Scopes are Jinja2's: a for loop, a macro, a call, set,
 * filter, with or generation block has its own; an if has none. */
#include "text/jinja_run.h"

/* ---- assignment ---- */

md_status md_jassign(md_jrun *r, md_jscope *s, const md_jnode *target, md_jval v)
{
    if (target->kind == MD_JN_NAME)
        return md_jscope_set(r, s, target->op, v);
    if (target->kind == MD_JN_NS_ATTR) {
        md_jval ns;
        MD_TRY(md_jscope_get(r, s, target->op, &ns));
        if (ns.kind != MD_J_NAMESPACE)
            return md_jfail(r, MD_ERR_FORMAT, "only attributes of a namespace can be set, '%s' is a '%s'",
                            r->program->symbol[target->op]->s, md_jtype_name(ns));
        return md_jdict_set(r, ns.u.dict, target->value, v);
    }
    md_jlist *parts;
    MD_TRY(md_jiterate(r, v, &parts));
    if (parts->n != target->list.n)
        return md_jfail(r, MD_ERR_FORMAT, "%zu values for %zu names", parts->n, target->list.n);
    for (size_t i = 0; i < target->list.n; i++)
        MD_TRY(md_jassign(r, s, target->list.at[i], parts->item[i]));
    return MD_OK;
}

/* ---- bodies rendered to a string ---- */

static md_status capture(md_jrun *r, md_jscope *s, const md_jnodes *body, md_jval *out)
{
    md_jout o = md_jout_new(r);
    enum md_jflow flow = MD_JF_NEXT;
    MD_TRY(md_jexec(r, s, body, &o, &flow));
    const md_jstr *text = md_jout_finish(&o, false);
    *out = md_jtext(text);
    return text ? MD_OK : r->status;
}

static md_status exec_set_block(md_jrun *r, md_jscope *s, const md_jnode *n)
{
    md_jval v;
    md_jscope *inner = md_jscope_new(r, s);
    if (!inner)
        return r->status;
    MD_TRY(capture(r, inner, &n->list, &v));
    if (n->b)
        MD_TRY(md_jeval_filters(r, inner, n->b, v, &v));
    return md_jassign(r, s, n->a, v);
}

static md_status exec_filter_block(md_jrun *r, md_jscope *s, const md_jnode *n, md_jout *o)
{
    md_jval v;
    md_jscope *inner = md_jscope_new(r, s);
    if (!inner)
        return r->status;
    MD_TRY(capture(r, inner, &n->list, &v));
    MD_TRY(md_jeval_filters(r, inner, n->b, v, &v));
    md_jout_value(o, v);
    return MD_OK;
}

/* ---- macros ---- */

static md_status macro_value(md_jrun *r, md_jscope *s, const md_jnode *n, md_jval *out)
{
    md_jfunc *f = md_jalloc(r, 1, sizeof *f);
    if (!f)
        return r->status;
    *f = (md_jfunc){.macro = n, .scope = s};
    for (md_jscope *outer = s; outer && !outer->captured; outer = outer->up)
        outer->captured = true;
    *out = (md_jval){.kind = MD_J_FUNC, .u.func = f};
    return MD_OK;
}

/* The argument for a parameter, by position or name; NULL if none was given. Marks named ones as used. */
static const md_jval *macro_arg(const md_jcall *c, size_t index, const md_jstr *name, bool *used)
{
    if (index < c->n_positional)
        return &c->positional[index];
    for (size_t i = 0; i < c->n_named; i++)
        if (!used[i] && md_jstr_same(c->name[i], name)) {
            used[i] = true;
            return &c->named[i];
        }
    return NULL;
}

/* What parameters did not take: caller, varargs and kwargs, if the body asks for them. */
static md_status macro_rest(md_jrun *r, const md_jnode *m, md_jscope *s, const md_jcall *c, const bool *used)
{
    md_jlist *varargs = md_jlist_new(r, 0, MD_J_TUPLE);
    md_jdict *kwargs = md_jdict_new(r);
    if (!varargs || !kwargs)
        return r->status;
    for (size_t i = m->rest.n; i < c->n_positional; i++)
        MD_TRY(md_jlist_push(r, varargs, c->positional[i]));
    for (size_t i = 0; i < c->n_named; i++) {
        if (used[i])
            continue;
        if (md_jstr_is(c->name[i], "caller") && m->flags & MD_JM_CALLER)
            MD_TRY(md_jscope_set(r, s, MD_JS_CALLER, c->named[i]));
        else
            MD_TRY(md_jdict_set(r, kwargs, md_jtext(c->name[i]), c->named[i]));
    }
    if (varargs->n && !(m->flags & MD_JM_VARARGS))
        return md_jfail(r, MD_ERR_FORMAT, "the macro '%s' takes at most %zu arguments, not %zu", m->value.u.str->s,
                        m->rest.n, c->n_positional);
    if (kwargs->n && !(m->flags & MD_JM_KWARGS))
        return md_jfail(r, MD_ERR_FORMAT, "the macro '%s' takes no argument '%.*s'", m->value.u.str->s,
                        kwargs->pair[0].key.u.str->n < 60 ? (int)kwargs->pair[0].key.u.str->n : 60,
                        kwargs->pair[0].key.u.str->s);
    if (m->flags & MD_JM_VARARGS)
        MD_TRY(md_jscope_set(r, s, MD_JS_VARARGS, md_jseq(varargs)));
    if (m->flags & MD_JM_KWARGS)
        MD_TRY(md_jscope_set(r, s, MD_JS_KWARGS, md_jmap(kwargs)));
    return MD_OK;
}

md_status md_jcall_macro(md_jrun *r, const md_jfunc *f, const md_jcall *c, md_jval *out)
{
    const md_jnode *m = f->macro;
    const md_jpos call = r->pos;
    md_jscope *s = md_jscope_new(r, f->scope);
    bool *used = md_jalloc(r, c->n_named + 1, sizeof *used);
    if (!s || !used)
        return r->status;
    for (size_t i = 0; i < m->rest.n; i++) {
        const md_jnode *param = m->rest.at[i];
        const md_jval *arg = macro_arg(c, i, param->value.u.str, used);
        md_jval v = md_jundefined(param->value.u.str);
        if (arg)
            v = *arg;
        else if (param->a)
            MD_TRY(md_jeval(r, s, param->a, &v));
        MD_TRY(md_jscope_set(r, s, param->op, v));
    }
    r->pos = call;
    MD_TRY(macro_rest(r, m, s, c, used));
    return capture(r, s, &m->list, out);
}

/* {% call(x) f(...) %}body{% endcall %}: f gets the body as `caller`. */
static md_status exec_call_block(md_jrun *r, md_jscope *s, const md_jnode *n, md_jout *o)
{
    md_jval callee, caller, v;
    md_jcall c = {0};
    MD_TRY(macro_value(r, s, n->b, &caller));
    MD_TRY(md_jeval(r, s, n->a->a, &callee));
    MD_TRY(md_jeval_args(r, s, n->a->args, &c));
    const md_jstr **name = md_jalloc(r, c.n_named + 1, sizeof(md_jstr *));
    md_jval *named = md_jalloc(r, c.n_named + 1, sizeof *named);
    if (!name || !named)
        return r->status;
    for (size_t i = 0; i < c.n_named; i++) {
        name[i] = c.name[i];
        named[i] = c.named[i];
    }
    name[c.n_named] = r->program->symbol[MD_JS_CALLER];
    named[c.n_named++] = caller;
    c.name = name;
    c.named = named;
    r->pos = n->a->pos;
    MD_TRY(md_jcall_value(r, callee, &c, &v));
    md_jout_value(o, v);
    return MD_OK;
}

/* ---- loops ---- */

/* Draws the next item that passes the condition. */
static md_status draw(md_jrun *r, md_jloop *l, md_jval *item, bool *more)
{
    while (l->at < l->source->n) {
        *item = l->source->item[l->at++];
        *more = true;
        if (!l->node->c || l->filtered)
            return MD_OK;
        md_jval passes;
        md_jscope *s = md_jscope_new(r, l->scope);
        if (!s)
            return r->status;
        r->pos = l->node->a->pos;
        MD_TRY(md_jassign(r, s, l->node->a, *item));
        MD_TRY(md_jeval(r, s, l->node->c, &passes));
        if (md_jtruth(passes))
            return MD_OK;
    }
    *more = false;
    return MD_OK;
}

static md_status peek(md_jrun *r, md_jloop *l)
{
    return l->has_after ? MD_OK : draw(r, l, &l->after, &l->has_after);
}

md_status md_jloop_next(md_jrun *r, md_jloop *l, bool *more)
{
    md_jval item;
    MD_TRY(peek(r, l));
    *more = l->has_after;
    if (!*more)
        return MD_OK;
    item = l->after;
    l->has_after = false;
    l->index0++;
    l->before = l->index0 ? l->current : md_jundefined(NULL);
    l->current = item;
    return MD_OK;
}

/* Items of the whole loop; draws all that are left if a condition decides which those are. */
static md_status loop_length(md_jrun *r, md_jloop *l, int64_t *length)
{
    if (l->node->c && !l->filtered) {
        md_jlist *rest = md_jlist_new(r, 0, MD_J_PLAIN);
        bool more = rest != NULL;
        if (!rest)
            return r->status;
        while (more) {
            md_jval item;
            MD_TRY(draw(r, l, &item, &more));
            if (more)
                MD_TRY(md_jlist_push(r, rest, item));
        }
        l->source = rest;
        l->at = 0;
        l->filtered = true;
    }
    *length = l->index0 + 1 + l->has_after + (int64_t)(l->source->n - l->at);
    return MD_OK;
}

static md_status loop_cycle(md_jrun *r, const md_jcall *c, md_jval *out)
{
    if (c->n_positional == 0)
        return md_jfail(r, MD_ERR_FORMAT, "loop.cycle needs values");
    *out = c->positional[(size_t)c->self.u.loop->index0 % c->n_positional];
    return MD_OK;
}

static md_status loop_changed(md_jrun *r, const md_jcall *c, md_jval *out)
{
    md_jloop *l = c->self.u.loop;
    md_jlist *now = md_jlist_new(r, c->n_positional, MD_J_TUPLE);
    if (!now)
        return r->status;
    for (size_t i = 0; i < c->n_positional; i++)
        MD_TRY(md_jlist_push(r, now, c->positional[i]));
    bool same = false;
    if (l->has_changed)
        MD_TRY(md_jequal(r, l->changed, md_jseq(now), &same));
    l->changed = md_jseq(now);
    l->has_changed = true;
    *out = md_jbool(!same);
    return MD_OK;
}

static const md_jbuiltin loop_methods[] = {
    {"cycle", loop_cycle, NULL, 0},
    {"changed", loop_changed, NULL, 0},
};

static md_status loop_method(md_jrun *r, md_jval self, const md_jbuiltin *method, md_jval *out)
{
    md_jfunc *f = md_jalloc(r, 1, sizeof *f);
    if (!f)
        return r->status;
    *f = (md_jfunc){.builtin = method, .self = self};
    *out = (md_jval){.kind = MD_J_FUNC, .u.func = f};
    return MD_OK;
}

/* first, last, previtem, nextitem */
static md_status loop_neighbour(md_jrun *r, md_jloop *l, const md_jstr *name, md_jval *out, bool *found)
{
    if (md_jstr_is(name, "first")) {
        *out = md_jbool(l->index0 == 0);
    } else if (md_jstr_is(name, "previtem")) {
        *out = l->before;
    } else if (md_jstr_is(name, "last") || md_jstr_is(name, "nextitem")) {
        MD_TRY(peek(r, l));
        *out = md_jstr_is(name, "last") ? md_jbool(!l->has_after) : l->has_after ? l->after : md_jundefined(name);
    } else {
        *found = false;
    }
    return MD_OK;
}

md_status md_jloop_attr(md_jrun *r, md_jval self, const md_jstr *name, md_jval *out, bool *found)
{
    md_jloop *l = self.u.loop;
    int64_t length = 0;
    *found = true;
    for (size_t i = 0; i < sizeof loop_methods / sizeof *loop_methods; i++)
        if (md_jstr_is(name, loop_methods[i].name))
            return loop_method(r, self, &loop_methods[i], out);
    if (md_jstr_is(name, "index") || md_jstr_is(name, "index0")) {
        *out = md_jint(l->index0 + (md_jstr_is(name, "index") ? 1 : 0));
        return MD_OK;
    }
    if (md_jstr_is(name, "depth") || md_jstr_is(name, "depth0")) {
        *out = md_jint(l->depth0 + (md_jstr_is(name, "depth") ? 1 : 0));
        return MD_OK;
    }
    const bool back = md_jstr_is(name, "revindex"), back0 = md_jstr_is(name, "revindex0");
    if (!back && !back0 && !md_jstr_is(name, "length"))
        return loop_neighbour(r, l, name, out, found);
    MD_TRY(loop_length(r, l, &length));
    *out = md_jint(back ? length - l->index0 : back0 ? length - l->index0 - 1 : length);
    return MD_OK;
}

/* *ran: some item's body ran to its end, so that `else` does not. In Jinja2, break and continue do not count. */
static md_status run_loop(md_jrun *r, md_jscope *s, md_jloop *l, md_jout *o, bool *ran)
{
    const md_jval self = {.kind = MD_J_LOOP, .u.loop = l};
    md_jscope *inner = NULL;
    *ran = false;
    for (;;) {
        bool more;
        enum md_jflow flow = MD_JF_NEXT;
        MD_TRY(md_jloop_next(r, l, &more));
        if (!more)
            return MD_OK;
        if (inner && !inner->captured)
            inner->n = 0;
        else if (!(inner = md_jscope_new(r, s)))
            return r->status;
        MD_TRY(md_jscope_set(r, inner, MD_JS_LOOP, self));
        r->pos = l->node->a->pos;
        MD_TRY(md_jassign(r, inner, l->node->a, l->current));
        MD_TRY(md_jexec(r, inner, &l->node->list, o, &flow));
        if (flow == MD_JF_BREAK)
            return MD_OK;
        *ran |= flow == MD_JF_NEXT;
    }
}

/* The loop and its `else` over items, as seen from scope s. */
static md_status loop_over(md_jrun *r, md_jscope *s, const md_jnode *n, md_jval items, int depth0, md_jout *o,
                           enum md_jflow *flow)
{
    bool ran;
    md_jloop *l = md_jalloc(r, 1, sizeof *l);
    if (!l)
        return r->status;
    *l = (md_jloop){.node = n, .scope = s, .index0 = -1, .depth0 = depth0};
    MD_TRY(md_jiterate(r, items, &l->source));
    MD_TRY(run_loop(r, s, l, o, &ran));
    if (ran || n->rest.n == 0)
        return MD_OK;
    md_jscope *inner = md_jscope_new(r, s);
    return inner ? md_jexec(r, inner, &n->rest, o, flow) : r->status;
}

static md_status exec_for(md_jrun *r, md_jscope *s, const md_jnode *n, md_jout *o, enum md_jflow *flow)
{
    md_jval items;
    MD_TRY(md_jeval(r, s, n->b, &items));
    r->pos = n->b->pos;
    return loop_over(r, s, n, items, 0, o, flow);
}

md_status md_jcall_loop(md_jrun *r, md_jval loop, const md_jcall *c, md_jval *out)
{
    const md_jloop *l = loop.u.loop;
    enum md_jflow flow = MD_JF_NEXT;
    if (!(l->node->flags & MD_JM_RECURSIVE))
        return md_jfail(r, MD_ERR_FORMAT, "this loop is not marked 'recursive' and cannot be called");
    if (c->n_positional != 1 || c->n_named)
        return md_jfail(r, MD_ERR_FORMAT, "a recursive loop is called with one value to iterate");
    md_jout o = md_jout_new(r);
    MD_TRY(loop_over(r, l->scope, l->node, c->positional[0], l->depth0 + 1, &o, &flow));
    const md_jstr *text = md_jout_finish(&o, false);
    *out = md_jtext(text);
    return text ? MD_OK : r->status;
}

/* ---- the rest ---- */

static md_status exec_if(md_jrun *r, md_jscope *s, const md_jnode *n, md_jout *o, enum md_jflow *flow)
{
    for (size_t i = 0; i < n->list.n; i++) {
        const md_jnode *branch = n->list.at[i];
        md_jval v = md_jbool(true);
        if (branch->a)
            MD_TRY(md_jeval(r, s, branch->a, &v));
        if (md_jtruth(v))
            return md_jexec(r, s, &branch->list, o, flow);
    }
    return MD_OK;
}

/* {% with %} and blocks that only have a scope. */
static md_status exec_scope(md_jrun *r, md_jscope *s, const md_jnode *n, md_jout *o, enum md_jflow *flow)
{
    md_jscope *inner = md_jscope_new(r, s);
    if (!inner)
        return r->status;
    for (size_t i = 0; i < n->rest.n; i++) {
        md_jval v;
        MD_TRY(md_jeval(r, s, n->rest.at[i]->b, &v));
        MD_TRY(md_jassign(r, inner, n->rest.at[i]->a, v));
    }
    return md_jexec(r, inner, &n->list, o, flow);
}

static md_status exec_output(md_jrun *r, md_jscope *s, const md_jnode *n, md_jout *o)
{
    md_jval v;
    MD_TRY(md_jeval(r, s, n->a, &v));
    r->pos = n->pos;
    md_jout_value(o, v);
    return MD_OK;
}

static md_status exec_set(md_jrun *r, md_jscope *s, const md_jnode *n)
{
    md_jval v;
    MD_TRY(md_jeval(r, s, n->b, &v));
    r->pos = n->a->pos;
    return md_jassign(r, s, n->a, v);
}

static md_status exec_macro(md_jrun *r, md_jscope *s, const md_jnode *n)
{
    md_jval v;
    MD_TRY(macro_value(r, s, n, &v));
    return md_jscope_set(r, s, n->op, v);
}

static md_status exec_one(md_jrun *r, md_jscope *s, const md_jnode *n, md_jout *o, enum md_jflow *flow)
{
    switch (n->kind) {
    case MD_JN_DATA: md_jout_str(o, n->value.u.str); return MD_OK;
    case MD_JN_OUTPUT: return exec_output(r, s, n, o);
    case MD_JN_IF: return exec_if(r, s, n, o, flow);
    case MD_JN_FOR: return exec_for(r, s, n, o, flow);
    case MD_JN_SET: return exec_set(r, s, n);
    case MD_JN_SET_BLOCK: return exec_set_block(r, s, n);
    case MD_JN_MACRO: return exec_macro(r, s, n);
    case MD_JN_CALL_BLOCK: return exec_call_block(r, s, n, o);
    case MD_JN_FILTER_BLOCK: return exec_filter_block(r, s, n, o);
    case MD_JN_WITH:
    case MD_JN_SCOPE: return exec_scope(r, s, n, o, flow);
    case MD_JN_BREAK: *flow = MD_JF_BREAK; return MD_OK;
    case MD_JN_CONTINUE: *flow = MD_JF_CONTINUE; return MD_OK;
    default: return md_jfail(r, MD_ERR_INTERNAL, "an expression stands where a statement should");
    }
}

md_status md_jexec(md_jrun *r, md_jscope *s, const md_jnodes *body, md_jout *o, enum md_jflow *flow)
{
    for (size_t i = 0; i < body->n && *flow == MD_JF_NEXT; i++) {
        MD_TRY(md_jenter(r, body->at[i]->pos));
        MD_TRY(exec_one(r, s, body->at[i], o, flow));
        if (o->failed)
            return r->status;
        r->depth--;
    }
    return MD_OK;
}
