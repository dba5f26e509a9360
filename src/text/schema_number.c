/* SPDX-License-Identifier: Apache-2.0
 *
 * Numbers between bounds, digit by digit. Bounds of `integer` may be anything a double or 64 bits hold; those of `number`
 * must be whole, and its fractions are short enough that no reader rounds them onto a bound. */
#include "text/schema.h"

#include "base/status.h"

#include <inttypes.h>
#include <math.h>

#define MOST_DIGITS  INT64_C(999999999999999999) /* where no bound is given */
#define NUMBER_BOUND 1e12

typedef struct bound {
    bool given, open; /* open: the end itself is excluded */
    int64_t at;
} bound;

/* The tighter of the two keywords for one end, as a whole number. sign 1: lower end, -1: upper. */
static md_status read_bound(const json_t *flat, bool integer, int sign, const char *path, bound *out, md_error *err)
{
    const char *const keyword[] = {sign > 0 ? "minimum" : "maximum",
                                   sign > 0 ? "exclusiveMinimum" : "exclusiveMaximum"};
    *out = (bound){0};
    for (int open = 0; open < 2; open++) {
        const json_t *v = json_object_get(flat, keyword[open]);
        if (!v)
            continue;
        MD_FAIL_IF(!json_is_number(v), MD_ERR_FORMAT, "'%s' at %s wants a number", keyword[open], path);
        const double x = json_number_value(v), most = integer ? 9.2e18 : NUMBER_BOUND;
        MD_FAIL_IF(fabs(x) > most, MD_ERR_UNSUPPORTED, "'%s' at %s is beyond %g, further than a grammar counts",
                   keyword[open], path, most);
        const bool whole = x == nearbyint(x);
        if (!whole && !integer)
            return md_schema_refuse(keyword[open], path, "a bound of 'number' must be a whole number", err);
        bound b = {.given = true, .open = open && whole};
        b.at = json_is_integer(v) ? json_integer_value(v) : (int64_t)(sign > 0 ? ceil(x) : floor(x));
        if (integer && b.open) {
            b.at += sign;
            b.open = false;
        }
        const bool tighter = sign > 0 ? b.at > out->at : b.at < out->at;
        if (!out->given || tighter || (b.at == out->at && b.open))
            *out = b;
    }
    return MD_OK;
}

static md_status put_integer(const bound *lo, const bound *hi, const char *path, md_buf *out, md_error *err)
{
    int64_t from = lo->given ? lo->at : -MOST_DIGITS, to = hi->given ? hi->at : MOST_DIGITS;
    if (!hi->given && from > to)
        to = INT64_MAX;
    if (!lo->given && to < from)
        from = INT64_MIN;
    MD_FAIL_IF(from > to, MD_ERR_FORMAT, "no integer fits the bounds at %s", path);
    md_buf_puts(out, "(");
    if (from < 0) {
        md_buf_puts(out, "\"-\" ");
        md_schema_put_range(out, to < 0 ? (uint64_t)0 - (uint64_t)to : 1, (uint64_t)0 - (uint64_t)from);
    }
    if (to >= 0) {
        md_buf_puts(out, from < 0 ? " | " : "");
        md_schema_put_range(out, from > 0 ? (uint64_t)from : 0, (uint64_t)to);
    }
    md_buf_puts(out, ")");
    return MD_OK;
}

/* Sizes, without a sign, from lo to hi, of which there is at least one; an open end is excluded. digits: after the
 * point. */
static void put_sizes(md_buf *out, int64_t lo, bool lo_open, int64_t hi, bool hi_open, int digits)
{
    const char *bar = "(";
    if (lo_open && lo < hi) { /* just above lo */
        md_buf_printf(out, "%s\"%" PRId64 ".\" [0-9]{0,%d} [1-9]", bar, lo, digits - 1);
        bar = " | ";
    }
    const int64_t first = lo + lo_open;
    if (first < hi) {
        md_buf_puts(out, bar);
        md_schema_put_range(out, (uint64_t)first, (uint64_t)hi - 1);
        md_buf_printf(out, " (\".\" [0-9]{1,%d})?", digits);
        bar = " | ";
    }
    if (!hi_open && hi >= first) {
        md_buf_printf(out, "%s\"%" PRId64 "\" (\".\" \"0\"{1,%d})?", bar, hi, digits);
    }
    md_buf_puts(out, ")");
}

/* Does the range have any member? */
static bool holds_some(int64_t lo, bool lo_open, int64_t hi, bool hi_open)
{
    return lo < hi || (lo == hi && !lo_open && !hi_open);
}

static md_status put_number(const bound *lo, const bound *hi, const char *path, md_buf *out, md_error *err)
{
    const int64_t most = INT64_C(1000000000000);
    const int64_t from = lo->given ? lo->at : -most, to = hi->given ? hi->at : most;
    int64_t widest = from < 0 ? -from : from;
    widest = (to < 0 ? -to : to) > widest ? (to < 0 ? -to : to) : widest;
    int digits = 15; /* significant ones that a double keeps */
    for (; widest > 0; widest /= 10)
        digits--;
    MD_FAIL_IF(!holds_some(from, lo->open, to, hi->open), MD_ERR_FORMAT, "no number fits the bounds at %s", path);
    md_buf_puts(out, "(");
    const bool negative = from < 0;
    if (negative) {
        md_buf_puts(out, "\"-\" ");
        if (to < 0)
            put_sizes(out, -to, hi->open, -from, lo->open, digits);
        else /* "-0" is 0, which may be excluded */
            put_sizes(out, 0, to == 0 && hi->open, -from, lo->open, digits);
    }
    if (to > 0 || (to == 0 && !hi->open && (from < 0 || !lo->open))) {
        md_buf_puts(out, negative ? " | " : "");
        put_sizes(out, from > 0 ? from : 0, from >= 0 && lo->open, to, hi->open, digits);
    }
    md_buf_puts(out, ")");
    return MD_OK;
}

md_status md_schema_number(md_schema *s, const json_t *flat, bool integer, const char *path, md_buf *out, md_error *err)
{
    bound lo, hi;
    MD_TRY(read_bound(flat, integer, 1, path, &lo, err));
    MD_TRY(read_bound(flat, integer, -1, path, &hi, err));
    if (!lo.given && !hi.given) {
        s->use |= integer ? MD_USE_INTEGER : MD_USE_NUMBER;
        md_buf_puts(out, integer ? "integer" : "number");
        return MD_OK;
    }
    return integer ? put_integer(&lo, &hi, path, out, err) : put_number(&lo, &hi, path, out, err);
}
