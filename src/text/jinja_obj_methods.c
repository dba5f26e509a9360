/* SPDX-License-Identifier: Apache-2.0
 *
 * Methods of lists and dicts, as Python has them, those that change them included. */
#include "text/jinja_run.h"

#include <string.h>

/* ---- lists ---- */

static md_status changeable(md_jrun *r, const md_jlist *l)
{
    if (l->flavor != MD_J_PLAIN)
        return md_jfail(r, MD_ERR_FORMAT, "a tuple cannot be changed");
    return MD_OK;
}

static md_status l_append(md_jrun *r, const md_jcall *c, md_jval *out)
{
    *out = md_jnone();
    MD_TRY(changeable(r, c->self.u.list));
    return md_jlist_push(r, c->self.u.list, *c->arg[0]);
}

static md_status l_extend(md_jrun *r, const md_jcall *c, md_jval *out)
{
    md_jlist *more;
    *out = md_jnone();
    MD_TRY(changeable(r, c->self.u.list));
    MD_TRY(md_jiterate(r, *c->arg[0], &more));
    const size_t n = more->n; /* it may be the list itself */
    for (size_t i = 0; i < n; i++)
        MD_TRY(md_jlist_push(r, c->self.u.list, more->item[i]));
    return MD_OK;
}

static md_status l_insert(md_jrun *r, const md_jcall *c, md_jval *out)
{
    md_jlist *l = c->self.u.list;
    int64_t at = 0;
    *out = md_jnone();
    MD_TRY(changeable(r, l));
    MD_TRY(md_jarg_int(r, c->arg[0], "insert", &at));
    const int64_t n = (int64_t)l->n;
    at = at < -n ? 0 : at < 0 ? at + n : at > n ? n : at;
    MD_TRY(md_jcharge(r, l->n));
    MD_TRY(md_jlist_push(r, l, *c->arg[1]));
    memmove(l->item + at + 1, l->item + at, (size_t)(n - at) * sizeof *l->item);
    l->item[at] = *c->arg[1];
    return MD_OK;
}

static md_status take_out(md_jrun *r, md_jlist *l, size_t at)
{
    MD_TRY(md_jcharge(r, 1 + (l->n - at) / 4));
    memmove(l->item + at, l->item + at + 1, (l->n - at - 1) * sizeof *l->item);
    l->n--;
    return MD_OK;
}

static md_status l_pop(md_jrun *r, const md_jcall *c, md_jval *out)
{
    md_jlist *l = c->self.u.list;
    int64_t index = -1;
    size_t at;
    MD_TRY(changeable(r, l));
    MD_TRY(md_jarg_int(r, c->arg[0], "pop", &index));
    if (!md_jindex(index, l->n, &at))
        return md_jfail(r, MD_ERR_FORMAT, "pop: the list has no such item");
    *out = l->item[at];
    return take_out(r, l, at);
}

static md_status search(md_jrun *r, const md_jcall *c, size_t *at)
{
    const md_jlist *l = c->self.u.list;
    for (*at = 0; *at < l->n; ++*at) {
        bool equal;
        MD_TRY(md_jequal(r, l->item[*at], *c->arg[0], &equal));
        if (equal)
            return MD_OK;
    }
    return md_jfail(r, MD_ERR_FORMAT, "the list has no such item");
}

static md_status l_remove(md_jrun *r, const md_jcall *c, md_jval *out)
{
    size_t at;
    *out = md_jnone();
    MD_TRY(changeable(r, c->self.u.list));
    MD_TRY(search(r, c, &at));
    return take_out(r, c->self.u.list, at);
}

static md_status l_index(md_jrun *r, const md_jcall *c, md_jval *out)
{
    size_t at;
    MD_TRY(search(r, c, &at));
    *out = md_jint((int64_t)at);
    return MD_OK;
}

static md_status l_count(md_jrun *r, const md_jcall *c, md_jval *out)
{
    const md_jlist *l = c->self.u.list;
    int64_t count = 0;
    for (size_t i = 0; i < l->n; i++) {
        bool equal;
        MD_TRY(md_jequal(r, l->item[i], *c->arg[0], &equal));
        count += equal;
    }
    *out = md_jint(count);
    return MD_OK;
}

static md_status l_reverse(md_jrun *r, const md_jcall *c, md_jval *out)
{
    md_jlist *l = c->self.u.list;
    *out = md_jnone();
    MD_TRY(changeable(r, l));
    MD_TRY(md_jcharge(r, l->n));
    for (size_t i = 0; i < l->n / 2; i++) {
        const md_jval v = l->item[i];
        l->item[i] = l->item[l->n - 1 - i];
        l->item[l->n - 1 - i] = v;
    }
    return MD_OK;
}

static md_status l_clear(md_jrun *r, const md_jcall *c, md_jval *out)
{
    *out = md_jnone();
    MD_TRY(changeable(r, c->self.u.list));
    c->self.u.list->n = 0;
    return MD_OK;
}

static md_status l_copy(md_jrun *r, const md_jcall *c, md_jval *out)
{
    md_jlist *l = md_jlist_copy(r, c->self.u.list, c->self.u.list->flavor);
    *out = md_jseq(l);
    return l ? MD_OK : r->status;
}

const md_jbuiltin md_jlist_methods[] = {
    {"append", l_append, "object", 1},
    {"clear", l_clear, "", 0},
    {"copy", l_copy, "", 0},
    {"count", l_count, "value", 1},
    {"extend", l_extend, "iterable", 1},
    {"index", l_index, "value", 1},
    {"insert", l_insert, "index object", 2},
    {"pop", l_pop, "index", 0},
    {"remove", l_remove, "value", 1},
    {"reverse", l_reverse, "", 0},
    {NULL, NULL, NULL, 0},
};

/* ---- dicts ---- */

static md_status d_get(md_jrun *r, const md_jcall *c, md_jval *out)
{
    md_jval *value;
    MD_TRY(md_jdict_get(r, c->self.u.dict, *c->arg[0], &value));
    *out = value ? *value : c->arg[1] ? *c->arg[1] : md_jnone();
    return MD_OK;
}

static md_status view(md_jrun *r, const md_jcall *c, enum md_jflavor what, md_jval *out)
{
    md_jlist *l;
    MD_TRY(md_jdict_list(r, c->self.u.dict, what, &l));
    *out = md_jseq(l);
    return MD_OK;
}

static md_status d_keys(md_jrun *r, const md_jcall *c, md_jval *out)
{
    return view(r, c, MD_J_KEYS, out);
}

static md_status d_values(md_jrun *r, const md_jcall *c, md_jval *out)
{
    return view(r, c, MD_J_VALUES, out);
}

static md_status d_items(md_jrun *r, const md_jcall *c, md_jval *out)
{
    return view(r, c, MD_J_ITEMS, out);
}

static md_status d_pop(md_jrun *r, const md_jcall *c, md_jval *out)
{
    bool found;
    MD_TRY(md_jdict_remove(r, c->self.u.dict, *c->arg[0], out, &found));
    if (!found && !c->arg[1])
        return md_jfail(r, MD_ERR_FORMAT, "pop: the dict has no such key");
    if (!found)
        *out = *c->arg[1];
    return MD_OK;
}

static md_status d_setdefault(md_jrun *r, const md_jcall *c, md_jval *out)
{
    md_jval *value;
    MD_TRY(md_jdict_get(r, c->self.u.dict, *c->arg[0], &value));
    *out = value ? *value : c->arg[1] ? *c->arg[1] : md_jnone();
    return value ? MD_OK : md_jdict_set(r, c->self.u.dict, *c->arg[0], *out);
}

/* update(dict or pairs, name=value...) */
static md_status d_update(md_jrun *r, const md_jcall *c, md_jval *out)
{
    *out = md_jnone();
    if (c->n_positional > 1)
        return md_jfail(r, MD_ERR_FORMAT, "'update' takes one dict, and name=value arguments");
    if (c->n_positional)
        MD_TRY(md_jdict_update(r, c->self.u.dict, c->positional[0]));
    for (size_t i = 0; i < c->n_named; i++)
        MD_TRY(md_jdict_set(r, c->self.u.dict, md_jtext(c->name[i]), c->named[i]));
    return MD_OK;
}

static md_status d_clear(md_jrun *r, const md_jcall *c, md_jval *out)
{
    (void)r;
    *out = md_jnone();
    md_jdict_clear(c->self.u.dict);
    return MD_OK;
}

static md_status d_copy(md_jrun *r, const md_jcall *c, md_jval *out)
{
    md_jdict *d = md_jdict_new(r);
    if (!d)
        return r->status;
    *out = md_jmap(d);
    return md_jdict_update(r, d, c->self);
}

const md_jbuiltin md_jdict_methods[] = {
    {"clear", d_clear, "", 0},
    {"copy", d_copy, "", 0},
    {"get", d_get, "key default", 1},
    {"items", d_items, "", 0},
    {"keys", d_keys, "", 0},
    {"pop", d_pop, "key default", 1},
    {"setdefault", d_setdefault, "key default", 1},
    {"update", d_update, NULL, 0},
    {"values", d_values, "", 0},
    {NULL, NULL, NULL, 0},
};
