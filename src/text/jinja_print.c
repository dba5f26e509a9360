/* SPDX-License-Identifier: Apache-2.0
 *
 * Values as text, as Python's str() and repr() write them, and numbers read from text. Independent of the locale. */
#include "text/jinja_text.h"
#include "base/utf8.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <utf8proc.h>

/* ---- floats ---- */

/* The fewest digits that read back as f: its digits without a point, and the exponent of the first. */
static int shortest(double f, char digits[20])
{
    char text[40];
    int exponent = 0;
    /* The decimal point of the locale may be anything: strtod reads it back, the digits are taken without it. */
    for (int precision = 0; precision < 17; precision++) {
        snprintf(text, sizeof text, "%.*e", precision, f);
        if (strtod(text, NULL) == f)
            break;
    }
    size_t n = 0;
    for (const char *p = text; *p; p++) {
        if (*p == 'e') {
            exponent = atoi(p + 1);
            break;
        }
        if (*p >= '0' && *p <= '9')
            digits[n++] = *p;
    }
    while (n > 1 && digits[n - 1] == '0')
        n--;
    digits[n] = '\0';
    return exponent;
}

void md_jfloat_text(double f, char out[MD_J_FLOAT_ROOM])
{
    if (isnan(f) || isinf(f)) {
        snprintf(out, MD_J_FLOAT_ROOM, "%s", isnan(f) ? "nan" : f < 0 ? "-inf" : "inf");
        return;
    }
    char digits[20];
    const int exponent = shortest(fabs(f), digits);
    const int n = (int)strlen(digits);
    const char *sign = signbit(f) ? "-" : "";
    if (exponent < -4 || exponent >= 16)
        snprintf(out, MD_J_FLOAT_ROOM, "%s%c%s%se%c%02d", sign, digits[0], n > 1 ? "." : "", digits + 1,
                 exponent < 0 ? '-' : '+', abs(exponent));
    else if (exponent < 0)
        snprintf(out, MD_J_FLOAT_ROOM, "%s0.%.*s%s", sign, -exponent - 1, "0000", digits);
    else if (n <= exponent + 1)
        snprintf(out, MD_J_FLOAT_ROOM, "%s%s%.*s.0", sign, digits, exponent + 1 - n, "0000000000000000");
    else
        snprintf(out, MD_J_FLOAT_ROOM, "%s%.*s.%s", sign, exponent + 1, digits, digits + exponent + 1);
}

/* ---- values ---- */

static void repr_depth(md_jout *o, md_jval v, int depth);

static void give_up(md_jout *o)
{
    md_jfail(o->r, MD_ERR_LIMIT, "a value is nested more than %d levels deep, or contains itself",
             MD_J_MAX_VALUE_DEPTH);
    o->failed = true;
}

static bool printable(uint32_t cp)
{
    if (cp == ' ')
        return true;
    switch (utf8proc_category((utf8proc_int32_t)cp)) {
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
    case UTF8PROC_CATEGORY_ZS: return false;
    default: return true;
    }
}

static void repr_point(md_jout *o, const md_jstr *s, size_t at, size_t len, char quote)
{
    const uint32_t cp = md_jpoint(s->s + at, len);
    const unsigned char from = md_jstr_mark(s, at);
    static const char plain[] = "\n\r\t\\", name[] = "nrt\\";
    const char *special = cp && cp < 0x80 ? strchr(plain, (int)cp) : NULL;
    char text[16];
    if (special)
        snprintf(text, sizeof text, "\\%c", name[special - plain]);
    else if (cp == (uint32_t)quote)
        snprintf(text, sizeof text, "\\%c", quote);
    else if (printable(cp)) {
        md_jout_part(o, s, at, len);
        return;
    } else
        snprintf(text, sizeof text,
                 cp < 0x100     ? "\\x%02" PRIx32
                 : cp < 0x10000 ? "\\u%04" PRIx32
                                : "\\U%08" PRIx32,
                 cp);
    md_jout_puts(o, text, from);
}

static void repr_str(md_jout *o, const md_jstr *s)
{
    const bool single = s->n && memchr(s->s, '\'', s->n), twice = s->n && memchr(s->s, '"', s->n);
    const char quote = single && !twice ? '"' : '\'';
    const unsigned char from = md_jstr_from(s);
    md_jout_fill(o, quote, 1, from);
    for (size_t at = 0; at < s->n && !o->failed;) {
        const size_t len = md_jpoint_len(s->s + at, s->n - at);
        repr_point(o, s, at, len, quote);
        at += len;
    }
    md_jout_fill(o, quote, 1, from);
}

static void repr_list(md_jout *o, const md_jlist *l, int depth)
{
    static const char *const open[] = {"[", "(", "[", "[", "dict_keys([", "dict_values([", "dict_items(["};
    static const char *const close[] = {"]", ")", "]", "]", "])", "])", "])"};
    md_jout_puts(o, open[l->flavor], MD_SEGMENT_TEMPLATE);
    for (size_t i = 0; i < l->n && !o->failed; i++) {
        md_jout_puts(o, i ? ", " : "", MD_SEGMENT_TEMPLATE);
        repr_depth(o, l->item[i], depth + 1);
    }
    md_jout_puts(o, l->flavor == MD_J_TUPLE && l->n == 1 ? ",)" : close[l->flavor], MD_SEGMENT_TEMPLATE);
}

static void repr_dict(md_jout *o, const md_jdict *d, int depth)
{
    const char *between = "";
    md_jout_puts(o, "{", MD_SEGMENT_TEMPLATE);
    for (size_t i = 0; i < d->used && !o->failed; i++) {
        if (!d->pair[i].live)
            continue;
        md_jout_puts(o, between, MD_SEGMENT_TEMPLATE);
        repr_depth(o, d->pair[i].key, depth + 1);
        md_jout_puts(o, ": ", MD_SEGMENT_TEMPLATE);
        repr_depth(o, d->pair[i].value, depth + 1);
        between = ", ";
    }
    md_jout_puts(o, "}", MD_SEGMENT_TEMPLATE);
}

static void repr_number(md_jout *o, md_jval v)
{
    char text[MD_J_FLOAT_ROOM];
    if (v.kind == MD_J_FLOAT)
        md_jfloat_text(v.u.f, text);
    else
        snprintf(text, sizeof text, "%" PRId64, v.u.i);
    md_jout_puts(o, text, v.from);
}

static void repr_depth(md_jout *o, md_jval v, int depth)
{
    if (o->failed)
        return;
    if (depth > MD_J_MAX_VALUE_DEPTH) {
        give_up(o);
        return;
    }
    switch ((enum md_jkind)v.kind) {
    case MD_J_UNDEFINED: md_jout_puts(o, "Undefined", MD_SEGMENT_TEMPLATE); break;
    case MD_J_NONE: md_jout_puts(o, "None", v.from); break;
    case MD_J_BOOL: md_jout_puts(o, v.u.b ? "True" : "False", v.from); break;
    case MD_J_INT:
    case MD_J_FLOAT: repr_number(o, v); break;
    case MD_J_STR: repr_str(o, v.u.str); break;
    case MD_J_LIST: repr_list(o, v.u.list, depth); break;
    case MD_J_DICT: repr_dict(o, v.u.dict, depth); break;
    case MD_J_NAMESPACE:
        md_jout_puts(o, "<Namespace ", MD_SEGMENT_TEMPLATE);
        repr_dict(o, v.u.dict, depth);
        md_jout_puts(o, ">", MD_SEGMENT_TEMPLATE);
        break;
    case MD_J_FUNC: md_jout_puts(o, "<function>", MD_SEGMENT_TEMPLATE); break;
    case MD_J_LOOP: md_jout_puts(o, "<LoopContext>", MD_SEGMENT_TEMPLATE); break;
    }
}

/* The text of a container is one piece: its brackets and quotes count as message as soon as anything in it does. */
static void blended(md_jout *o, md_jval v)
{
    if (v.kind != MD_J_LIST && v.kind != MD_J_DICT && v.kind != MD_J_NAMESPACE) {
        repr_depth(o, v, 0);
        return;
    }
    md_jout inner = md_jout_new(o->r);
    repr_depth(&inner, v, 0);
    const md_jstr *s = md_jout_finish(&inner, true);
    if (s)
        md_jout_str(o, s);
    else
        o->failed = true;
}

void md_jout_repr(md_jout *o, md_jval v)
{
    blended(o, v);
}

void md_jout_value(md_jout *o, md_jval v)
{
    if (v.kind == MD_J_STR)
        md_jout_str(o, v.u.str);
    else if (v.kind != MD_J_UNDEFINED)
        blended(o, v);
}

const md_jstr *md_jto_str(md_jrun *r, md_jval v)
{
    if (v.kind == MD_J_STR)
        return v.u.str;
    md_jout o = md_jout_new(r);
    md_jout_value(&o, v);
    return md_jout_finish(&o, false);
}

/* ---- numbers from text ---- */

/* Copies s without surrounding white space and without underscores between digits; false if it does not fit. */
static bool compact(const md_jstr *s, char *out, size_t room)
{
    size_t start = 0, end = s->n, n = 0;
    while (start < end && md_jis_space((unsigned char)s->s[start]))
        start++;
    while (end > start && md_jis_space((unsigned char)s->s[end - 1]))
        end--;
    for (size_t i = start; i < end; i++) {
        const char c = s->s[i];
        if (c == '_' && n && i + 1 < end && s->s[i - 1] != '_' && s->s[i + 1] != '_')
            continue;
        if (n + 1 >= room || c <= ' ' || c > '~' || c == '_')
            return false;
        out[n++] = c;
    }
    out[n] = '\0';
    return n > 0;
}

static int digit_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'z' ? c - 'a' + 10 : 99;
}

bool md_jread_int(const md_jstr *s, int base, int64_t *i)
{
    char text[80];
    if (!compact(s, text, sizeof text) || base < 0 || base == 1 || base > 36)
        return false;
    const char *p = text;
    const bool negative = *p == '-';
    p += *p == '-' || *p == '+';
    const char kind = p[0] == '0' ? (char)(p[1] | 0x20) : '\0';
    const int prefixed = kind == 'x' ? 16 : kind == 'o' ? 8 : kind == 'b' ? 2 : 0;
    if (prefixed && (base == 0 || base == prefixed)) {
        base = prefixed;
        p += 2;
    }
    if (base == 0)
        base = 10;
    if (!*p)
        return false;
    int64_t v = 0;
    for (; *p; p++) {
        const int d = digit_value(*p);
        if (d >= base || __builtin_mul_overflow(v, base, &v) || __builtin_sub_overflow(v, d, &v))
            return false;
    }
    return negative ? (*i = v, true) : !__builtin_sub_overflow((int64_t)0, v, i);
}

bool md_jread_float(const md_jstr *s, double *f)
{
    char text[400];
    if (!compact(s, text, sizeof text))
        return false;
    const char *p = text + (*text == '-' || *text == '+');
    if (strcasecmp(p, "inf") == 0 || strcasecmp(p, "infinity") == 0 || strcasecmp(p, "nan") == 0) {
        *f = (p[0] | 0x20) == 'n' ? (double)NAN : *text == '-' ? -(double)INFINITY : (double)INFINITY;
        return true;
    }
    if (strspn(p, "0123456789.eE+-") != strlen(p) || !strpbrk(p, "0123456789"))
        return false;
    /* strtod reads the decimal point of the locale: give it that one. */
    char *point = strchr(text, '.'), *end;
    char local[4];
    snprintf(local, sizeof local, "%.1f", 0.5);
    if (point)
        *point = local[1];
    *f = strtod(text, &end);
    return *end == '\0';
}
