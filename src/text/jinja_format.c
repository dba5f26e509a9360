/* SPDX-License-Identifier: Apache-2.0
 *
 * Python's two ways of formatting: "..." % values and "...".format(values). Fields inside fields are not supported.
 * What is between the fields keeps its marks, and so does what is put into them. */
#include "text/jinja_run.h"
#include "base/utf8.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MAX_WIDTH = 1 << 20, MAX_PRECISION = 100, NUMBER_ROOM = 512 };

/* How one value is to be written. */
typedef struct spec {
    bool left, center, inner; /* where the value stands; inner: fill goes between sign and digits; else at the right */
    bool sign, space, alternate;
    char fill[5];
    char group;               /* ',' or '_' between thousands, or 0 */
    int64_t width, precision; /* precision -1: not given */
    char type;                /* 0: not given */
} spec;

static md_status bad_spec(md_jrun *r)
{
    return md_jfail(r, MD_ERR_FORMAT, "a format has a field that cannot be read, or fits no such value");
}

/* ---- numbers ---- */

static void int_digits(uint64_t v, unsigned base, bool upper, char out[72])
{
    char reversed[72];
    int n = 0;
    do
        reversed[n++] = (upper ? "0123456789ABCDEF" : "0123456789abcdef")[v % base];
    while (v /= base);
    for (int i = 0; i < n; i++)
        out[i] = reversed[n - 1 - i];
    out[n] = '\0';
}

/* Digits of |f|, no sign. */
static md_status float_digits(md_jrun *r, double f, const spec *s, char out[NUMBER_ROOM])
{
    const int precision = s->precision < 0 ? 6 : (int)s->precision;
    f = fabs(f);
    if (s->type == 0 && s->precision < 0) {
        md_jfloat_text(f, out);
        return MD_OK;
    }
    switch (s->type) {
    case 'e': snprintf(out, NUMBER_ROOM, "%.*e", precision, f); break;
    case 'E': snprintf(out, NUMBER_ROOM, "%.*E", precision, f); break;
    case 'f': snprintf(out, NUMBER_ROOM, "%.*f", precision, f); break;
    case 'F': snprintf(out, NUMBER_ROOM, "%.*F", precision, f); break;
    case 'G': snprintf(out, NUMBER_ROOM, "%.*G", precision, f); break;
    case '%': snprintf(out, NUMBER_ROOM, "%.*f%%", precision, f * 100); break;
    case 'g':
    case 0: snprintf(out, NUMBER_ROOM, "%.*g", precision, f); break;
    default: return bad_spec(r);
    }
    for (char *p = out; *p; p++) /* the decimal point of the locale */
        if (!strchr("0123456789+-eE%infaINFA", *p))
            *p = '.';
    return MD_OK;
}

static void group_digits(char text[NUMBER_ROOM], char by)
{
    const size_t whole = strspn(text, "0123456789"), n = strlen(text);
    for (size_t at = whole; at > 3 && n + whole / 3 + 1 < NUMBER_ROOM; at -= 3) {
        memmove(text + at - 2, text + at - 3, strlen(text) - (at - 3) + 1);
        text[at - 3] = by;
    }
}

/* Sign and prefix, then digits, padded to the width. */
static void put_number(md_jout *o, const char *prefix, const char *digits, const spec *s, unsigned char from)
{
    const int64_t n = (int64_t)(strlen(prefix) + strlen(digits)), room = s->width > n ? s->width - n : 0;
    const int64_t before = s->left || s->inner ? 0 : s->center ? room / 2 : room, inner = s->inner ? room : 0;
    for (int64_t i = 0; i < before && !o->failed; i++)
        md_jout_puts(o, s->fill, MD_SEGMENT_TEMPLATE);
    md_jout_puts(o, prefix, from);
    for (int64_t i = 0; i < inner && !o->failed; i++)
        md_jout_puts(o, s->fill, from);
    md_jout_puts(o, digits, from);
    for (int64_t i = before + inner; i < room && !o->failed; i++)
        md_jout_puts(o, s->fill, MD_SEGMENT_TEMPLATE);
}

static md_status put_int(md_jrun *r, md_jout *o, int64_t i, const spec *s, unsigned char from)
{
    char digits[NUMBER_ROOM], prefix[4] = "";
    const unsigned base = s->type == 'x' || s->type == 'X' ? 16 : s->type == 'o' ? 8 : s->type == 'b' ? 2 : 10;
    int_digits(i < 0 ? 0 - (uint64_t)i : (uint64_t)i, base, s->type == 'X', digits);
    if (i >= 0 && !s->sign && !s->space)
        prefix[0] = '\0';
    else
        snprintf(prefix, sizeof prefix, "%s", i < 0 ? "-" : s->sign ? "+" : " ");
    if (s->alternate && base != 10)
        snprintf(prefix + strlen(prefix), sizeof prefix - strlen(prefix), "0%c", s->type);
    if (s->group)
        group_digits(digits, s->group);
    if (s->precision > (int64_t)strlen(digits)) { /* of %d: at least that many digits */
        const size_t more = (size_t)s->precision - strlen(digits);
        memmove(digits + more, digits, strlen(digits) + 1);
        memset(digits, '0', more);
    }
    put_number(o, prefix, digits, s, from);
    return o->failed ? r->status : MD_OK;
}

static md_status put_float(md_jrun *r, md_jout *o, double f, const spec *s, unsigned char from)
{
    char digits[NUMBER_ROOM];
    const char *prefix = signbit(f) && !isnan(f) ? "-" : s->sign ? "+" : s->space ? " " : "";
    MD_TRY(float_digits(r, f, s, digits));
    if (s->group)
        group_digits(digits, s->group);
    put_number(o, prefix, digits, s, from);
    return o->failed ? r->status : MD_OK;
}

static void put_text(md_jout *o, const md_jstr *text, const spec *s)
{
    size_t n = text->n;
    if (md_jcharge_bytes(o->r, n) != MD_OK) { /* a precision may drop most of it again */
        o->failed = true;
        return;
    }
    int64_t points = (int64_t)md_jstr_points(text);
    if (s->precision >= 0 && points > s->precision) {
        n = md_jpoint_offset(text, (size_t)s->precision);
        points = s->precision;
    }
    const int64_t room = s->width > points ? s->width - points : 0;
    const int64_t before = s->left ? 0 : s->center ? room / 2 : room;
    for (int64_t i = 0; i < before && !o->failed; i++)
        md_jout_puts(o, s->fill, MD_SEGMENT_TEMPLATE);
    md_jout_part(o, text, 0, n);
    for (int64_t i = before; i < room && !o->failed; i++)
        md_jout_puts(o, s->fill, MD_SEGMENT_TEMPLATE);
}

static md_status put_repr(md_jrun *r, md_jout *o, md_jval v, const spec *s)
{
    md_jout inner = md_jout_new(r);
    md_jout_repr(&inner, v);
    const md_jstr *text = md_jout_finish(&inner, false);
    if (!text)
        return r->status;
    put_text(o, text, s);
    return o->failed ? r->status : MD_OK;
}

static md_status put_str(md_jrun *r, md_jout *o, md_jval v, const spec *s)
{
    const md_jstr *text = md_jto_str(r, v);
    if (!text)
        return r->status;
    put_text(o, text, s);
    return o->failed ? r->status : MD_OK;
}

static md_status put_char(md_jrun *r, md_jout *o, md_jval v, const spec *s)
{
    char bytes[4];
    if (v.kind == MD_J_STR && md_jstr_points(v.u.str) == 1)
        return put_str(r, o, v, s);
    if (!md_jis_integral(v) || md_jas_int(v) < 0 || md_jas_int(v) > 0x10ffff ||
        (md_jas_int(v) >= 0xd800 && md_jas_int(v) <= 0xdfff))
        return bad_spec(r);
    const md_jstr one = {.s = bytes, .n = (size_t)md_utf8_encode((uint32_t)md_jas_int(v), bytes), .from = v.from};
    put_text(o, &one, s);
    return o->failed ? r->status : MD_OK;
}

/* ---- digits in formats ---- */

static md_status read_number(md_jrun *r, const md_jstr *f, size_t *at, int64_t most, int64_t *out)
{
    int64_t v = 0;
    for (; *at < f->n && f->s[*at] >= '0' && f->s[*at] <= '9'; ++*at) {
        v = v * 10 + (f->s[*at] - '0');
        if (v > most)
            return md_jfail(r, MD_ERR_LIMIT, "a format asks for a width or precision of more than %" PRId64, most);
    }
    *out = v;
    return MD_OK;
}

/* ---- percent ---- */

typedef struct percent {
    md_jval values;
    size_t next; /* of a tuple, or 0 and 1 of a single value */
    bool by_name;
} percent;

static md_status next_value(md_jrun *r, percent *p, md_jval *out)
{
    const bool tuple = p->values.kind == MD_J_LIST && p->values.u.list->flavor == MD_J_TUPLE;
    if (p->next >= (tuple ? p->values.u.list->n : 1))
        return md_jfail(r, MD_ERR_FORMAT, "a format has more fields than there are values");
    *out = tuple ? p->values.u.list->item[p->next] : p->values;
    p->next++;
    return MD_OK;
}

/* A width or precision: digits, or '*' for the next value. */
static md_status percent_size(md_jrun *r, percent *p, const md_jstr *f, size_t *at, int64_t most, int64_t *out)
{
    md_jval v;
    if (*at >= f->n || f->s[*at] != '*')
        return read_number(r, f, at, most, out);
    ++*at;
    MD_TRY(next_value(r, p, &v));
    MD_TRY(md_jarg_int(r, &v, "a format", out));
    return *out < -most || *out > most ? bad_spec(r) : MD_OK;
}

static md_status percent_spec(md_jrun *r, percent *p, const md_jstr *f, size_t *at, spec *s)
{
    *s = (spec){.precision = -1, .fill = " "};
    bool zero = false;
    for (; *at < f->n && f->s[*at] && strchr("-+ 0#", f->s[*at]); ++*at) {
        s->left |= f->s[*at] == '-';
        s->sign |= f->s[*at] == '+';
        s->space |= f->s[*at] == ' ';
        zero |= f->s[*at] == '0';
        s->alternate |= f->s[*at] == '#';
    }
    MD_TRY(percent_size(r, p, f, at, MAX_WIDTH, &s->width));
    if (s->width < 0) {
        s->left = true;
        s->width = -s->width;
    }
    if (*at < f->n && f->s[*at] == '.') {
        ++*at;
        MD_TRY(percent_size(r, p, f, at, MAX_WIDTH, &s->precision));
        s->precision = s->precision < 0 ? 0 : s->precision;
    }
    while (*at < f->n && f->s[*at] && strchr("hlL", f->s[*at]))
        ++*at;
    if (*at >= f->n)
        return bad_spec(r);
    s->type = f->s[(*at)++];
    s->inner = zero && !s->left && !strchr("srac", s->type);
    if (s->inner)
        s->fill[0] = '0';
    if (s->precision > MAX_PRECISION && !strchr("sra", s->type))
        return bad_spec(r);
    return MD_OK;
}

static md_status percent_value(md_jrun *r, md_jout *o, md_jval v, spec *s)
{
    if (v.kind == MD_J_UNDEFINED && s->type != 's' && s->type != 'r')
        return md_jfail_undefined(r, v);
    switch (s->type) {
    case 's': return put_str(r, o, v, s);
    case 'r':
    case 'a': return put_repr(r, o, v, s);
    case 'c': return put_char(r, o, v, s);
    default: break;
    }
    if (!md_jis_number(v))
        return md_jfail(r, MD_ERR_FORMAT, "a format wants a number, not a '%s'", md_jtype_name(v));
    if (strchr("eEfFgG", s->type))
        return put_float(r, o, md_jas_float(v), s, v.from);
    if (!strchr("diuxXo", s->type) || (v.kind == MD_J_FLOAT && (strchr("xXo", s->type) || !(fabs(v.u.f) < 9.2e18))))
        return bad_spec(r);
    return put_int(r, o, v.kind == MD_J_FLOAT ? (int64_t)v.u.f : md_jas_int(v), s, v.from);
}

/* "(name)" behind a '%': the value of that key. */
static md_status named_value(md_jrun *r, percent *p, const md_jstr *f, size_t *at, md_jval *out)
{
    const char *close = memchr(f->s + *at, ')', f->n - *at);
    if (!close || p->values.kind != MD_J_DICT)
        return md_jfail(r, MD_ERR_FORMAT, "a format names its values, so it needs a dict");
    const size_t end = (size_t)(close - f->s);
    const md_jstr name = {.s = f->s + *at + 1, .n = end - *at - 1};
    md_jval *value;
    MD_TRY(md_jdict_get(r, p->values.u.dict, md_jtext(&name), &value));
    if (!value)
        return md_jfail(r, MD_ERR_FORMAT, "a format names a value that is not there");
    *out = *value;
    *at = end + 1;
    p->by_name = true;
    return MD_OK;
}

static md_status percent_field(md_jrun *r, percent *p, const md_jstr *f, size_t *at, md_jout *o)
{
    spec s;
    md_jval v;
    const bool named = *at < f->n && f->s[*at] == '(';
    if (named)
        MD_TRY(named_value(r, p, f, at, &v));
    MD_TRY(percent_spec(r, p, f, at, &s));
    if (s.type == '%') {
        md_jout_part(o, f, *at - 1, 1);
        return MD_OK;
    }
    if (!named)
        MD_TRY(next_value(r, p, &v));
    return percent_value(r, o, v, &s);
}

md_status md_jformat_percent(md_jrun *r, const md_jstr *f, md_jval values, const md_jstr **out)
{
    percent p = {.values = values};
    md_jout o = md_jout_new(r);
    for (size_t at = 0; at < f->n && !o.failed;) {
        const char *sign = memchr(f->s + at, '%', f->n - at);
        const size_t end = sign ? (size_t)(sign - f->s) : f->n;
        md_jout_part(&o, f, at, end - at);
        at = end + 1;
        if (sign)
            MD_TRY(percent_field(r, &p, f, &at, &o));
    }
    const bool tuple = values.kind == MD_J_LIST && values.u.list->flavor == MD_J_TUPLE;
    const bool mapping = values.kind == MD_J_DICT || values.kind == MD_J_UNDEFINED ||
                         (values.kind == MD_J_LIST && !tuple);
    if (!p.by_name && !mapping && p.next < (tuple ? values.u.list->n : 1))
        return md_jfail(r, MD_ERR_FORMAT, "a format has fewer fields than there are values");
    *out = md_jout_finish(&o, false);
    return *out ? MD_OK : r->status;
}

/* ---- braces ---- */

static bool is_align(char c)
{
    return c == '<' || c == '>' || c == '^' || c == '=';
}

/* [[fill]align][sign][#][0][width][,][.precision][type] */
static md_status brace_spec(md_jrun *r, const md_jstr *f, size_t at, size_t end, bool number, spec *s)
{
    const md_jstr text = {.s = f->s, .n = end};
    *s = (spec){.precision = -1, .fill = " ", .left = !number};
    const size_t first = at < end ? md_jpoint_len(f->s + at, end - at) : 0;
    const bool filled = first && at + first < end && is_align(f->s[at + first]);
    if (filled) {
        memset(s->fill, 0, sizeof s->fill);
        memcpy(s->fill, f->s + at, first);
        at += first;
        if (!s->fill[0])
            return bad_spec(r);
    }
    const bool aligned = at < end && is_align(f->s[at]);
    if (aligned) {
        s->left = f->s[at] == '<';
        s->center = f->s[at] == '^';
        s->inner = f->s[at] == '=';
        at++;
    }
    if (at < end && (f->s[at] == '+' || f->s[at] == '-' || f->s[at] == ' ')) {
        s->sign = f->s[at] == '+';
        s->space = f->s[at] == ' ';
        at++;
    }
    s->alternate = at < end && f->s[at] == '#';
    at += s->alternate;
    if (at < end && f->s[at] == '0' && !filled) {
        s->fill[0] = '0';
        s->inner |= number && !aligned;
    }
    MD_TRY(read_number(r, &text, &at, MAX_WIDTH, &s->width));
    if (at < end && (f->s[at] == ',' || f->s[at] == '_'))
        s->group = f->s[at++];
    if (at < end && f->s[at] == '.') {
        at++;
        MD_TRY(read_number(r, &text, &at, number ? MAX_PRECISION : MAX_WIDTH, &s->precision));
    }
    if (at < end)
        s->type = f->s[at++];
    return at == end ? MD_OK : bad_spec(r);
}

static md_status brace_value(md_jrun *r, md_jout *o, md_jval v, const md_jstr *f, size_t at, size_t end)
{
    spec s;
    if (at == end) {
        md_jout_value(o, v);
        return o->failed ? r->status : MD_OK;
    }
    MD_TRY(brace_spec(r, f, at, end, md_jis_number(v), &s));
    if (v.kind == MD_J_STR && (s.type == 0 || s.type == 's'))
        return put_str(r, o, v, &s);
    if (!md_jis_number(v))
        return bad_spec(r);
    if (s.type == 'c')
        return put_char(r, o, v, &s);
    if (v.kind == MD_J_FLOAT || (s.type && strchr("eEfFgG%", s.type)))
        return put_float(r, o, md_jas_float(v), &s, v.from);
    if ((s.type && !strchr("dbxXon", s.type)) || s.precision >= 0)
        return bad_spec(r);
    return put_int(r, o, md_jas_int(v), &s, v.from);
}

/* The value of "name", "0" or "" followed by .attribute and [item]. */
static md_status brace_lookup(md_jrun *r, const md_jcall *c, const md_jstr *f, size_t at, size_t end, size_t *automatic,
                              md_jval *out)
{
    size_t stop = at;
    while (stop < end && f->s[stop] != '.' && f->s[stop] != '[')
        stop++;
    const md_jstr name = {.s = f->s + at, .n = stop - at};
    int64_t index = (int64_t)*automatic;
    if (name.n == 0 || md_jread_int(&name, 10, &index)) {
        *automatic += name.n == 0;
        if (index < 0 || (uint64_t)index >= c->n_positional)
            return md_jfail(r, MD_ERR_FORMAT, "a format has more fields than there are values");
        *out = c->positional[index];
    } else {
        size_t i = 0;
        MD_TRY(md_jcharge(r, 1 + c->n_named / 8));
        while (i < c->n_named && !md_jstr_same(c->name[i], &name))
            i++;
        if (i == c->n_named)
            return md_jfail(r, MD_ERR_FORMAT, "a format names a value that is not there");
        *out = c->named[i];
    }
    for (at = stop; at < end; at = stop) {
        const bool item = f->s[at] == '[';
        stop = ++at;
        while (stop < end && (item ? f->s[stop] != ']' : f->s[stop] != '.' && f->s[stop] != '['))
            stop++;
        const md_jstr *part = md_jstr_new(r, f->s + at, stop - at, MD_SEGMENT_TEMPLATE);
        if (!part)
            return r->status;
        if (item)
            MD_TRY(md_jget_item(r, *out, md_jread_int(part, 10, &index) ? md_jint(index) : md_jtext(part), out));
        else
            MD_TRY(md_jget_attr(r, *out, part, out));
        stop += item;
    }
    return MD_OK;
}

/* at is behind '{', end at '}'. */
static md_status brace_field(md_jrun *r, const md_jcall *c, const md_jstr *f, size_t at, size_t end, size_t *automatic,
                             md_jout *o)
{
    size_t name_end = at;
    md_jval v;
    while (name_end < end && f->s[name_end] != '!' && f->s[name_end] != ':') {
        if (f->s[name_end] == '[')
            while (name_end < end && f->s[name_end] != ']')
                name_end++;
        name_end += name_end < end;
    }
    MD_TRY(brace_lookup(r, c, f, at, name_end, automatic, &v));
    at = name_end;
    if (at < end && f->s[at] == '!') {
        if (at + 1 >= end || !strchr("sra", f->s[at + 1]))
            return bad_spec(r);
        md_jout text = md_jout_new(r);
        if (f->s[at + 1] == 's')
            md_jout_value(&text, v);
        else
            md_jout_repr(&text, v);
        v = md_jtext(md_jout_finish(&text, false));
        if (!v.u.str)
            return r->status;
        at += 2;
    }
    if (at < end && f->s[at++] != ':')
        return bad_spec(r);
    return brace_value(r, o, v, f, at, end);
}

md_status md_jformat_braces(md_jrun *r, const md_jstr *f, const md_jcall *c, const md_jstr **out)
{
    size_t automatic = 0;
    md_jout o = md_jout_new(r);
    for (size_t at = 0; at < f->n && !o.failed;) {
        const char b = f->s[at];
        if (b != '{' && b != '}') {
            size_t end = at;
            while (end < f->n && f->s[end] != '{' && f->s[end] != '}')
                end++;
            md_jout_part(&o, f, at, end - at);
            at = end;
            continue;
        }
        if (at + 1 < f->n && f->s[at + 1] == b) {
            md_jout_part(&o, f, at, 1);
            at += 2;
            continue;
        }
        const char *close = b == '{' ? memchr(f->s + at, '}', f->n - at) : NULL;
        if (!close || memchr(f->s + at + 1, '{', (size_t)(close - f->s) - at - 1))
            return md_jfail(r, MD_ERR_FORMAT,
                            "a format has a '{' or '}' without its other half, or a field in a field");
        const size_t end = (size_t)(close - f->s);
        MD_TRY(brace_field(r, c, f, at + 1, end, &automatic, &o));
        at = end + 1;
    }
    *out = md_jout_finish(&o, false);
    return *out ? MD_OK : r->status;
}
