/* SPDX-License-Identifier: Apache-2.0
 *
 * Regular expressions as ECMA-262 writes them, to GBNF for the inside of a JSON string: a character that JSON escapes is
 * written escaped. Literals, classes, groups, alternatives and counts are known; anchors only at the ends of the whole
 * alternatives; references, look-around, word borders and Unicode properties are refused. Without anchors a pattern may be
 * found anywhere. Recursion follows groups, at most DEPTH. */
#include "text/schema.h"

#include "base/status.h"
#include "base/utf8.h"

#include <inttypes.h>
#include <string.h>

#define DEPTH  60
#define RANGES 256
#define LAST   0x10ffffu

typedef struct regex {
    const char *s; /* [n] */
    size_t n, at;
    const char *path;
    md_buf *out;
    int depth;
} regex;

typedef struct set {
    md_grange range[RANGES];
    size_t n;
    bool full;
} set;

#define FAIL(what)                                                                                                    \
    return md_fail(err, MD_ERR_UNSUPPORTED, "the pattern at %s cannot be turned into a grammar: %s at character %zu", \
                   r->path, (what), r->at)

static int peek(const regex *r)
{
    return r->at < r->n ? (unsigned char)r->s[r->at] : -1;
}

static bool next_is(const regex *r, const char *text)
{
    const size_t n = strlen(text);
    return r->n - r->at >= n && memcmp(r->s + r->at, text, n) == 0;
}

/* ---- sets ---- */

static void add(set *c, uint32_t lo, uint32_t hi)
{
    if (c->n == RANGES)
        c->full = true;
    else
        c->range[c->n++] = (md_grange){.lo = lo, .hi = hi};
}

static void sort_ranges(set *c)
{
    for (size_t i = 1; i < c->n; i++) { /* few */
        const md_grange x = c->range[i];
        size_t k = i;
        for (; k > 0 && c->range[k - 1].lo > x.lo; k--)
            c->range[k] = c->range[k - 1];
        c->range[k] = x;
    }
}

static void negate(set *c)
{
    const set old = *c;
    uint32_t from = 0;
    c->n = 0;
    for (size_t i = 0; i < old.n; i++) {
        if (old.range[i].lo > from)
            add(c, from, old.range[i].lo - 1);
        from = old.range[i].hi + 1 > from ? old.range[i].hi + 1 : from;
    }
    if (from <= LAST)
        add(c, from, LAST);
}

static void add_all(set *to, set *from, bool negated)
{
    sort_ranges(from);
    if (negated)
        negate(from);
    for (size_t i = 0; i < from->n; i++)
        add(to, from->range[i].lo, from->range[i].hi);
    to->full |= from->full;
}

/* \d, \w, \s and their opposites as ECMA-262 defines them. */
static bool add_shorthand(set *to, int c)
{
    static const md_grange digit[] = {{'0', '9'}}, word[] = {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}},
                           space[] = {{9, 13},          {32, 32},         {0xa0, 0xa0},     {0x1680, 0x1680},
                                      {0x2000, 0x200a}, {0x2028, 0x2029}, {0x202f, 0x202f}, {0x205f, 0x205f},
                                      {0x3000, 0x3000}, {0xfeff, 0xfeff}};
    set from = {0};
    const int lower = c | 0x20;
    if (lower == 'd')
        add(&from, digit[0].lo, digit[0].hi);
    else if (lower == 'w')
        for (size_t i = 0; i < sizeof word / sizeof *word; i++)
            add(&from, word[i].lo, word[i].hi);
    else if (lower == 's')
        for (size_t i = 0; i < sizeof space / sizeof *space; i++)
            add(&from, space[i].lo, space[i].hi);
    else
        return false;
    add_all(to, &from, c != lower);
    return true;
}

static bool has(const set *c, uint32_t cp)
{
    for (size_t i = 0; i < c->n; i++)
        if (c->range[i].lo <= cp && c->range[i].hi >= cp)
            return true;
    return false;
}

/* The parts that a JSON string shows as they are, as a class; true if there are any. */
static bool put_plain(md_buf *out, const set *c)
{
    static const md_grange plain[] = {{0x20, 0x21}, {0x23, 0x5b}, {0x5d, 0xd7ff}, {0xe000, LAST}};
    bool any = false;
    for (size_t i = 0; i < c->n; i++)
        for (size_t k = 0; k < sizeof plain / sizeof *plain; k++) {
            const uint32_t lo = c->range[i].lo > plain[k].lo ? c->range[i].lo : plain[k].lo;
            const uint32_t hi = c->range[i].hi < plain[k].hi ? c->range[i].hi : plain[k].hi;
            if (lo > hi)
                continue;
            md_buf_puts(out, any ? "" : "[");
            any = true;
            md_schema_put_point(out, lo);
            if (hi > lo)
                md_buf_putc(out, '-');
            if (hi > lo)
                md_schema_put_point(out, hi);
        }
    md_buf_puts(out, any ? "]" : "");
    return any;
}

/* One character of the set as JSON writes it. Control characters without a short escape are left out. */
static md_status put_set(regex *r, set *c, md_error *err)
{
    static const char point[] = "\"\\\b\f\n\r\t", name[] = "\"\\bfnrt";
    if (c->full)
        FAIL("a class with more than 256 ranges");
    md_buf_puts(r->out, "(");
    bool any = put_plain(r->out, c);
    for (size_t i = 0; i < sizeof point - 1; i++)
        if (has(c, (unsigned char)point[i])) {
            md_buf_puts(r->out, any ? " | " : "");
            md_schema_put_text(r->out, (const char[]){'\\', name[i]}, 2);
            any = true;
        }
    if (!any)
        FAIL("a class that holds no character");
    md_buf_puts(r->out, ")");
    return MD_OK;
}

/* ---- characters ---- */

static md_status parse_hex(regex *r, int digits, uint32_t *cp, md_error *err)
{
    *cp = 0;
    for (int i = 0; i < digits; i++, r->at++) {
        const int c = peek(r);
        const int d = c >= '0' && c <= '9'                     ? c - '0'
                      : (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10
                                                               : -1;
        if (c < 0 || d < 0)
            FAIL("an escape with too few hexadecimal digits");
        *cp = *cp << 4 | (uint32_t)d;
    }
    return MD_OK;
}

/* Behind a backslash: one code point. */
static md_status parse_escape(regex *r, uint32_t *cp, md_error *err)
{
    static const char name[] = "bfnrtv", value[] = "\b\f\n\r\t\v";
    const int c = peek(r);
    if (c < 0)
        FAIL("a backslash with nothing behind it");
    const char *found = memchr(name, c, sizeof name - 1);
    r->at++;
    if (found && c != 'b') {
        *cp = (unsigned char)value[found - name];
        return MD_OK;
    }
    if (c == 'x' || c == 'u')
        return parse_hex(r, c == 'x' ? 2 : 4, cp, err);
    if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')) {
        r->at--;
        FAIL(c == 'b' || c == 'B'   ? "a word border"
             : c >= '1' && c <= '9' ? "a reference to a group"
                                    : "an unknown escape");
    }
    r->at--;
    const int len = md_utf8_decode(r->s + r->at, r->n - r->at, cp); /* JSON strings are UTF-8 */
    r->at += (size_t)(len ? len : 1);
    return MD_OK;
}

/* One code point or, with a set, a shorthand (*cp is then UINT32_MAX). */
static md_status parse_point(regex *r, set *c, uint32_t *cp, md_error *err)
{
    if (peek(r) == '\\') {
        r->at++;
        if (peek(r) >= 0 && add_shorthand(c, peek(r))) {
            r->at++;
            *cp = UINT32_MAX;
            return MD_OK;
        }
        return parse_escape(r, cp, err);
    }
    const int len = md_utf8_decode(r->s + r->at, r->n - r->at, cp);
    if (len == 0)
        FAIL("nothing, or bytes that are not UTF-8,");
    r->at += (size_t)len;
    return MD_OK;
}

static md_status parse_class(regex *r, md_error *err)
{
    set c = {0};
    r->at++;
    const bool negated = peek(r) == '^';
    r->at += negated;
    while (peek(r) != ']') {
        uint32_t lo, hi;
        if (peek(r) < 0)
            FAIL("a class that does not end");
        MD_TRY(parse_point(r, &c, &lo, err));
        if (lo == UINT32_MAX)
            continue;
        hi = lo;
        if (peek(r) == '-' && r->at + 1 < r->n && r->s[r->at + 1] != ']') {
            r->at++;
            MD_TRY(parse_point(r, &c, &hi, err));
        }
        if (hi < lo || hi == UINT32_MAX)
            FAIL("a range that is none");
        add(&c, lo, hi);
    }
    r->at++;
    set whole = {0};
    add_all(&whole, &c, negated);
    return put_set(r, &whole, err);
}

static md_status parse_single(regex *r, md_error *err)
{
    set c = {0};
    if (peek(r) == '.') { /* any but the ends of lines */
        r->at++;
        add(&c, '\n', '\n');
        add(&c, '\r', '\r');
        add(&c, 0x2028, 0x2029);
        negate(&c);
    } else {
        uint32_t cp;
        MD_TRY(parse_point(r, &c, &cp, err));
        if (cp != UINT32_MAX)
            add(&c, cp, cp);
    }
    return put_set(r, &c, err);
}

/* ---- structure ---- */

static md_status parse_alternatives(regex *r, md_error *err);

static md_status parse_group(regex *r, md_error *err)
{
    r->at++;
    if (next_is(r, "?:"))
        r->at += 2;
    else if (next_is(r, "?<") && !next_is(r, "?<=") && !next_is(r, "?<!")) {
        const char *end = memchr(r->s + r->at, '>', r->n - r->at);
        r->at = end ? (size_t)(end - r->s) + 1 : r->n;
    } else if (peek(r) == '?')
        FAIL("a look-around");
    if (++r->depth > DEPTH)
        FAIL("a group too deep inside others");
    md_buf_puts(r->out, "(");
    MD_TRY(parse_alternatives(r, err));
    if (peek(r) != ')')
        FAIL("a group that does not end");
    md_buf_puts(r->out, ")");
    r->at++;
    r->depth--;
    return MD_OK;
}

static bool parse_number(regex *r, int64_t *out)
{
    *out = 0;
    const size_t from = r->at;
    while (peek(r) >= '0' && peek(r) <= '9' && *out < 1000000)
        *out = 10 * *out + (r->s[r->at++] - '0');
    return r->at > from;
}

static md_status parse_times(regex *r, md_error *err)
{
    const int c = peek(r);
    int64_t least = c == '+', most = c == '?' ? 1 : -1;
    if (c != '*' && c != '+' && c != '?' && c != '{')
        return MD_OK;
    r->at++;
    if (c == '{') {
        if (!parse_number(r, &least))
            FAIL("'{' without a count");
        most = least;
        if (peek(r) == ',') {
            r->at++;
            if (!parse_number(r, &most))
                most = -1;
        }
        if (peek(r) != '}' || (most >= 0 && most < least))
            FAIL("a count that is none");
        r->at++;
    }
    if (peek(r) == '?') /* takes as little as it can: the same strings */
        r->at++;
    if (peek(r) == '*' || peek(r) == '+' || peek(r) == '?' || peek(r) == '{')
        FAIL("a repetition with nothing in front of it");
    md_schema_put_times(r->out, least, most);
    return MD_OK;
}

static bool at_end_anchor(const regex *r)
{
    return peek(r) == '$' && r->depth == 0 && (r->at + 1 == r->n || r->s[r->at + 1] == '|');
}

static md_status parse_sequence(regex *r, md_error *err)
{
    for (int c = peek(r); c >= 0 && c != '|' && c != ')'; c = peek(r)) {
        if (at_end_anchor(r))
            return MD_OK;
        if (c == '^' || c == '$')
            FAIL("an anchor that is not at the end of a whole alternative");
        if (c == '*' || c == '+' || c == '?' || c == '{')
            FAIL("a repetition with nothing in front of it");
        if (c == '(')
            MD_TRY(parse_group(r, err));
        else if (c == '[')
            MD_TRY(parse_class(r, err));
        else
            MD_TRY(parse_single(r, err));
        MD_TRY(parse_times(r, err));
        md_buf_putc(r->out, ' ');
    }
    return MD_OK;
}

/* At the outermost level what is not anchored may have anything around it. */
static md_status parse_alternatives(regex *r, md_error *err)
{
    for (;;) {
        if (r->depth == 0 && peek(r) == '^')
            r->at++;
        else if (r->depth == 0)
            md_buf_puts(r->out, "char* ");
        MD_TRY(parse_sequence(r, err));
        if (at_end_anchor(r))
            r->at++;
        else if (r->depth == 0)
            md_buf_puts(r->out, "char*");
        if (peek(r) != '|')
            return MD_OK;
        md_buf_puts(r->out, " | ");
        r->at++;
    }
}

md_status md_schema_pattern(const char *pattern, size_t n, const char *path, md_buf *out, md_error *err)
{
    regex parsing = {.s = pattern, .n = n, .path = path, .out = out}, *r = &parsing;
    MD_TRY(parse_alternatives(r, err));
    if (r->at < n)
        FAIL("')' without a group");
    return MD_OK;
}
