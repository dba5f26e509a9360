/* SPDX-License-Identifier: Apache-2.0
 *
 * Filters on text and numbers. Filters on sequences are in jinja_seq.c. Autoescaping is off: what `safe` and
 * `escape` give prints as it is, but '+' escapes what is added to it. */
#include "text/jinja_run.h"
#include "base/utf8.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

static md_status text_result(md_jrun *r, const md_jstr *s, md_jval *out)
{
    *out = md_jtext(s);
    return s ? MD_OK : r->status;
}

/* The filtered value as text, as Python's str() gives it. */
static md_status self_text(md_jrun *r, const md_jcall *c, const md_jstr **out)
{
    *out = md_jto_str(r, c->self);
    return *out ? MD_OK : r->status;
}

/* ---- case and white space ---- */

static md_status change_case(md_jrun *r, const md_jcall *c, enum md_jcase to, md_jval *out)
{
    const md_jstr *s;
    MD_TRY(self_text(r, c, &s));
    return text_result(r, md_jstr_case(r, s, to), out);
}

static md_status f_upper(md_jrun *r, const md_jcall *c, md_jval *out)
{
    return change_case(r, c, MD_J_UPPER, out);
}

static md_status f_lower(md_jrun *r, const md_jcall *c, md_jval *out)
{
    return change_case(r, c, MD_J_LOWER, out);
}

static md_status f_capitalize(md_jrun *r, const md_jcall *c, md_jval *out)
{
    return change_case(r, c, MD_J_CAPITALIZE, out);
}

static bool starts_word(uint32_t cp)
{
    return cp == '-' || cp == '(' || cp == '{' || cp == '[' || cp == '<' || md_jis_space(cp);
}

/* Words begin behind white space, '-' and opening brackets: not quite str.title(). */
static md_status f_title(md_jrun *r, const md_jcall *c, md_jval *out)
{
    const md_jstr *s;
    MD_TRY(self_text(r, c, &s));
    md_jout o = md_jout_new(r);
    for (size_t at = 0, next; at < s->n && !o.failed; at = next) {
        const bool separator = starts_word(md_jpoint(s->s + at, s->n - at));
        next = at + md_jpoint_len(s->s + at, s->n - at);
        while (next < s->n && !separator && !starts_word(md_jpoint(s->s + next, s->n - next)))
            next += md_jpoint_len(s->s + next, s->n - next);
        const md_jstr *word = md_jstr_sub(r, s, at, next - at);
        word = word ? md_jstr_case(r, word, MD_J_CAPITALIZE) : NULL;
        if (!word)
            return r->status;
        md_jout_str(&o, word);
    }
    return text_result(r, md_jout_finish(&o, false), out);
}

static md_status f_trim(md_jrun *r, const md_jcall *c, md_jval *out)
{
    const md_jstr *s, *chars = NULL;
    MD_TRY(self_text(r, c, &s));
    if (c->arg[0] && c->arg[0]->kind != MD_J_NONE)
        MD_TRY(md_jarg_str(r, c->arg[0], "the filter trim", &chars));
    return text_result(r, md_jstr_strip(r, s, chars, true, true), out);
}

static md_status f_center(md_jrun *r, const md_jcall *c, md_jval *out)
{
    const md_jstr *s;
    int64_t width = 80;
    MD_TRY(self_text(r, c, &s));
    MD_TRY(md_jarg_int(r, c->arg[0], "the filter center", &width));
    const int64_t points = (int64_t)md_jstr_points(s), room = width > points ? width - points : 0;
    const int64_t left = room / 2 + (room & width & 1);
    md_jout o = md_jout_new(r);
    md_jout_fill(&o, ' ', (size_t)left, MD_SEGMENT_TEMPLATE);
    md_jout_str(&o, s);
    md_jout_fill(&o, ' ', (size_t)(room - left), MD_SEGMENT_TEMPLATE);
    return text_result(r, md_jout_finish(&o, false), out);
}

/* ---- replacing, cutting, indenting ---- */

static md_status f_replace(md_jrun *r, const md_jcall *c, md_jval *out)
{
    const md_jstr *s;
    int64_t count = -1;
    MD_TRY(self_text(r, c, &s));
    MD_TRY(md_jarg_int(r, c->arg[2], "the filter replace", &count));
    const md_jstr *old = md_jto_str(r, *c->arg[0]), *now = old ? md_jto_str(r, *c->arg[1]) : NULL;
    if (!now)
        return r->status;
    return text_result(r, md_jstr_replace(r, s, old, now, count), out);
}

static md_status f_truncate(md_jrun *r, const md_jcall *c, md_jval *out)
{
    static const md_jstr dots = {.s = "...", .n = 3};
    const md_jstr *s, *end = &dots;
    int64_t length = 255, leeway = 5;
    size_t points;
    MD_TRY(md_jarg_int(r, c->arg[0], "the filter truncate", &length));
    MD_TRY(md_jarg_int(r, c->arg[3], "the filter truncate", &leeway));
    if (c->arg[2])
        MD_TRY(md_jarg_str(r, c->arg[2], "the filter truncate", &end));
    const int64_t end_points = (int64_t)md_jstr_points(end);
    if (length < end_points || leeway < 0)
        return md_jfail(r, MD_ERR_FORMAT,
                        "the filter truncate needs a length of at least its end's, and no negative leeway");
    MD_TRY(md_jlength(r, c->self, &points));
    *out = c->self;
    if (points <= (uint64_t)length + (uint64_t)leeway)
        return MD_OK;
    MD_TRY(md_jarg_str(r, &c->self, "the filter truncate", &s));
    size_t keep = md_jpoint_offset(s, (size_t)(length - end_points));
    if (!md_jarg_true(c->arg[1])) {
        const char *space = keep ? memrchr(s->s, ' ', keep) : NULL;
        keep = space ? (size_t)(space - s->s) : keep;
    }
    const md_jstr *front = md_jstr_sub(r, s, 0, keep);
    if (!front)
        return r->status;
    return text_result(r, md_jstr_concat(r, front, end), out);
}

static md_status f_indent(md_jrun *r, const md_jcall *c, md_jval *out)
{
    const md_jstr *s, *indent = NULL;
    int64_t width = 4;
    md_jlist *lines;
    MD_TRY(md_jarg_str(r, &c->self, "the filter indent", &s));
    if (c->arg[0] && c->arg[0]->kind == MD_J_STR)
        indent = c->arg[0]->u.str;
    else
        MD_TRY(md_jarg_int(r, c->arg[0], "the filter indent", &width));
    if (!indent) {
        md_jout spaces = md_jout_new(r);
        md_jout_fill(&spaces, ' ', width > 0 ? (size_t)width : 0, MD_SEGMENT_TEMPLATE);
        indent = md_jout_finish(&spaces, false);
        if (!indent)
            return r->status;
    }
    /* A line break at the end counts as the start of one more, empty, line. */
    MD_TRY(md_jstr_lines(r, s, false, &lines));
    const char last = s->n ? s->s[s->n - 1] : '\n';
    const bool blank = md_jarg_true(c->arg[2]), one_more = last == '\n' || last == '\r';
    md_jout o = md_jout_new(r);
    for (size_t i = 0; i < lines->n + one_more && !o.failed; i++) {
        const md_jstr *line = i < lines->n ? lines->item[i].u.str : NULL;
        if (i)
            md_jout_bytes(&o, "\n", 1, MD_SEGMENT_TEMPLATE);
        if (i == 0 ? md_jarg_true(c->arg[1]) : blank || (line && line->n))
            md_jout_str(&o, indent);
        if (line)
            md_jout_str(&o, line);
    }
    return text_result(r, md_jout_finish(&o, false), out);
}

static md_status f_safe(md_jrun *r, const md_jcall *c, md_jval *out)
{
    const md_jstr *s;
    MD_TRY(self_text(r, c, &s));
    return text_result(r, md_jstr_as_escaped(r, s, true), out);
}

static md_status f_forceescape(md_jrun *r, const md_jcall *c, md_jval *out)
{
    const md_jstr *s;
    MD_TRY(self_text(r, c, &s));
    s = md_jstr_escape(r, s);
    return text_result(r, s ? md_jstr_as_escaped(r, s, true) : NULL, out);
}

static md_status f_escape(md_jrun *r, const md_jcall *c, md_jval *out)
{
    return c->self.kind == MD_J_STR && c->self.u.str->escaped ? f_safe(r, c, out) : f_forceescape(r, c, out);
}

static md_status f_format(md_jrun *r, const md_jcall *c, md_jval *out)
{
    const md_jstr *s, *text;
    md_jval values;
    MD_TRY(self_text(r, c, &s));
    if (c->n_positional && c->n_named)
        return md_jfail(r, MD_ERR_FORMAT, "the filter format takes values or name=value, not both");
    if (c->n_named) {
        md_jdict *d = md_jdict_new(r);
        for (size_t i = 0; d && i < c->n_named; i++)
            MD_TRY(md_jdict_set(r, d, md_jtext(c->name[i]), c->named[i]));
        values = md_jmap(d);
    } else {
        md_jlist *l = md_jlist_new(r, c->n_positional, MD_J_TUPLE);
        for (size_t i = 0; l && i < c->n_positional; i++)
            MD_TRY(md_jlist_push(r, l, c->positional[i]));
        values = md_jseq(l);
    }
    if (values.kind == MD_J_LIST ? !values.u.list : !values.u.dict)
        return r->status;
    MD_TRY(md_jformat_percent(r, s, values, &text));
    return text_result(r, text, out);
}

static md_status f_string(md_jrun *r, const md_jcall *c, md_jval *out)
{
    return text_result(r, md_jto_str(r, c->self), out);
}

static bool word_point(uint32_t cp)
{
    const utf8proc_category_t k = utf8proc_category((utf8proc_int32_t)cp);
    return cp == '_' || (k >= UTF8PROC_CATEGORY_LU && k <= UTF8PROC_CATEGORY_LO) ||
           (k >= UTF8PROC_CATEGORY_ND && k <= UTF8PROC_CATEGORY_NO);
}

static md_status f_wordcount(md_jrun *r, const md_jcall *c, md_jval *out)
{
    const md_jstr *s;
    int64_t count = 0;
    bool inside = false;
    MD_TRY(self_text(r, c, &s));
    MD_TRY(md_jcharge(r, s->n));
    for (size_t at = 0; at < s->n; at += md_jpoint_len(s->s + at, s->n - at)) {
        const bool word = word_point(md_jpoint(s->s + at, s->n - at));
        count += word && !inside;
        inside = word;
    }
    *out = md_jint(count);
    return MD_OK;
}

/* ---- numbers ---- */

static bool float_to_int(double f, int64_t *i)
{
    const bool fits = f > -9223372036854775808.0 && f < 9223372036854775808.0;
    if (fits)
        *i = (int64_t)f;
    return fits;
}

static md_status f_int(md_jrun *r, const md_jcall *c, md_jval *out)
{
    int64_t i = 0, base = 10;
    double f;
    if (c->self.kind == MD_J_UNDEFINED)
        return md_jfail_undefined(r, c->self);
    MD_TRY(md_jarg_int(r, c->arg[1], "the filter int", &base));
    if (c->self.kind == MD_J_STR)
        MD_TRY(md_jcharge_bytes(r, c->self.u.str->n)); /* white space around a number has no limit */
    bool ok = false;
    if (c->self.kind == MD_J_STR)
        ok = md_jread_int(c->self.u.str, base < 0 || base > 36 ? -1 : (int)base, &i) ||
             (md_jread_float(c->self.u.str, &f) && float_to_int(f, &i));
    else if (c->self.kind == MD_J_FLOAT)
        ok = float_to_int(c->self.u.f, &i);
    else if (md_jis_integral(c->self))
        ok = (i = md_jas_int(c->self), true);
    *out = ok ? md_jint(i) : c->arg[0] ? *c->arg[0] : md_jint(0);
    if (ok)
        out->from = md_jfrom(c->self);
    return MD_OK;
}

static md_status f_float(md_jrun *r, const md_jcall *c, md_jval *out)
{
    double f = 0;
    if (c->self.kind == MD_J_UNDEFINED)
        return md_jfail_undefined(r, c->self);
    bool ok = md_jis_number(c->self);
    if (c->self.kind == MD_J_STR)
        MD_TRY(md_jcharge_bytes(r, c->self.u.str->n));
    if (ok)
        f = md_jas_float(c->self);
    else if (c->self.kind == MD_J_STR)
        ok = md_jread_float(c->self.u.str, &f);
    *out = ok ? md_jfloat(f) : c->arg[0] ? *c->arg[0] : md_jfloat(0);
    if (ok)
        out->from = md_jfrom(c->self);
    return MD_OK;
}

static md_status self_number(md_jrun *r, const md_jcall *c, const char *what)
{
    if (c->self.kind == MD_J_UNDEFINED)
        return md_jfail_undefined(r, c->self);
    if (!md_jis_number(c->self))
        return md_jfail(r, MD_ERR_FORMAT, "%s needs a number, not a '%s'", what, md_jtype_name(c->self));
    return MD_OK;
}

static md_status f_abs(md_jrun *r, const md_jcall *c, md_jval *out)
{
    MD_TRY(self_number(r, c, "the filter abs"));
    *out = c->self;
    if (c->self.kind == MD_J_FLOAT)
        out->u.f = fabs(c->self.u.f);
    else if (md_jas_int(c->self) < 0)
        MD_TRY(md_jbinary(r, '-', md_jint(0), c->self, out));
    else
        *out = md_jint(md_jas_int(c->self));
    out->from = c->self.from;
    return MD_OK;
}

/* Python's round(): the nearest with that many decimals, ties to even. printf rounds the exact value so. */
static double round_decimals(double f, int64_t decimals)
{
    char text[400];
    if (!isfinite(f) || decimals > 300)
        return f;
    if (decimals < 0) {
        const double scale = pow(10, (double)(decimals < -300 ? 300 : -decimals));
        return nearbyint(f / scale) * scale;
    }
    snprintf(text, sizeof text, "%.*f", decimals > 40 ? 40 : (int)decimals, f);
    return strtod(text, NULL);
}

static md_status f_round(md_jrun *r, const md_jcall *c, md_jval *out)
{
    int64_t decimals = 0;
    const md_jstr *method = NULL;
    MD_TRY(self_number(r, c, "the filter round"));
    MD_TRY(md_jarg_int(r, c->arg[0], "the filter round", &decimals));
    if (c->arg[1])
        MD_TRY(md_jarg_str(r, c->arg[1], "the filter round", &method));
    *out = c->self;
    if (!method || md_jstr_is(method, "common")) {
        if (c->self.kind == MD_J_FLOAT)
            out->u.f = round_decimals(c->self.u.f, decimals);
        else if (decimals >= 0)
            *out = md_jint(md_jas_int(c->self));
        else
            *out = md_jint((int64_t)round_decimals((double)md_jas_int(c->self), decimals));
    } else if (md_jstr_is(method, "ceil") || md_jstr_is(method, "floor")) {
        const double scale = pow(10, (double)decimals), f = md_jas_float(c->self) * scale;
        *out = md_jfloat((md_jstr_is(method, "ceil") ? ceil(f) : floor(f)) / scale);
    } else {
        return md_jfail(r, MD_ERR_FORMAT, "the filter round knows the methods common, ceil and floor");
    }
    out->from = c->self.from;
    return MD_OK;
}

/* ---- any value ---- */

static md_status f_default(md_jrun *r, const md_jcall *c, md_jval *out)
{
    (void)r;
    const bool missing = c->self.kind == MD_J_UNDEFINED || (md_jarg_true(c->arg[1]) && !md_jtruth(c->self));
    static const md_jstr empty = {.s = ""};
    *out = !missing ? c->self : c->arg[0] ? *c->arg[0] : md_jtext(&empty);
    return MD_OK;
}

static md_status f_length(md_jrun *r, const md_jcall *c, md_jval *out)
{
    size_t n;
    MD_TRY(md_jlength(r, c->self, &n));
    *out = md_jint((int64_t)n);
    return MD_OK;
}

static md_status f_attr(md_jrun *r, const md_jcall *c, md_jval *out)
{
    const md_jstr *name;
    MD_TRY(md_jarg_str(r, c->arg[0], "the filter attr", &name));
    if (c->self.kind == MD_J_DICT && !md_jmethod_find(c->self, name)) {
        *out = md_jundefined(name);
        return MD_OK;
    }
    return md_jget_attr(r, c->self, name, out);
}

const md_jbuiltin md_jtext_filters[] = {
    {"abs", f_abs, "", 0},
    {"attr", f_attr, "name", 1},
    {"capitalize", f_capitalize, "", 0},
    {"center", f_center, "width", 0},
    {"count", f_length, "", 0},
    {"d", f_default, "default_value boolean", 0},
    {"default", f_default, "default_value boolean", 0},
    {"e", f_escape, "", 0},
    {"escape", f_escape, "", 0},
    {"float", f_float, "default", 0},
    {"forceescape", f_forceescape, "", 0},
    {"format", f_format, NULL, 0},
    {"indent", f_indent, "width first blank", 0},
    {"int", f_int, "default base", 0},
    {"length", f_length, "", 0},
    {"lower", f_lower, "", 0},
    {"replace", f_replace, "old new count", 2},
    {"round", f_round, "precision method", 0},
    {"safe", f_safe, "", 0},
    {"string", f_string, "", 0},
    {"title", f_title, "", 0},
    {"tojson", md_jto_json, "ensure_ascii indent separators sort_keys", 0},
    {"trim", f_trim, "chars", 0},
    {"truncate", f_truncate, "length killwords end leeway", 0},
    {"upper", f_upper, "", 0},
    {"wordcount", f_wordcount, "", 0},
    {NULL, NULL, NULL, 0},
};
