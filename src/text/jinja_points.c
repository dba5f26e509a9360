/* SPDX-License-Identifier: Apache-2.0
 *
 * Strings as sequences of code points: length, slices, stripping, case, replacing, lines. */
#include "base/utf8.h"
#include "text/jinja_text.h"

#include <string.h>
#include <utf8proc.h>

size_t md_jpoint_len(const char *s, size_t n)
{
    uint32_t cp;
    const int len = md_utf8_decode(s, n, &cp);
    return len ? (size_t)len : 1;
}

uint32_t md_jpoint(const char *s, size_t n)
{
    uint32_t cp;
    return md_utf8_decode(s, n, &cp) ? cp : 0xfffd;
}

size_t md_jpoints(const char *s, size_t n)
{
    size_t count = 0;
    for (size_t at = 0; at < n; count++)
        at += (unsigned char)s[at] < 0x80 ? 1 : md_jpoint_len(s + at, n - at);
    return count;
}

size_t md_jpoint_offset(const md_jstr *s, size_t points)
{
    size_t at = 0;
    while (points-- && at < s->n)
        at += md_jpoint_len(s->s + at, s->n - at);
    return at;
}

bool md_jis_space(uint32_t cp)
{
    return (cp >= 0x09 && cp <= 0x0d) || (cp >= 0x1c && cp <= 0x20) || cp == 0x85 || cp == 0xa0 || cp == 0x1680 ||
           (cp >= 0x2000 && cp <= 0x200a) || cp == 0x2028 || cp == 0x2029 || cp == 0x202f || cp == 0x205f ||
           cp == 0x3000;
}

/* May the code point at s go? Looking through `chars` is paid for: both strings may be long. */
static bool strippable(md_jrun *r, const char *s, size_t n, const md_jstr *chars)
{
    if (!chars)
        return md_jis_space(md_jpoint(s, n));
    if (md_jcharge_search(r, chars->n) != MD_OK)
        return false;
    return chars->n && memmem(chars->s, chars->n, s, md_jpoint_len(s, n)); /* no code point hides inside another */
}

size_t md_jpoint_len_before(const char *s, size_t end)
{
    for (size_t len = 1; len <= 4 && len <= end; len++) {
        uint32_t cp;
        if ((size_t)md_utf8_decode(s + end - len, len, &cp) == len)
            return len;
    }
    return 1;
}

const md_jstr *md_jstr_strip(md_jrun *r, const md_jstr *s, const md_jstr *chars, bool left, bool right)
{
    size_t start = 0, end = s->n;
    while (left && start < end && strippable(r, s->s + start, end - start, chars))
        start += md_jpoint_len(s->s + start, end - start);
    while (right && end > start) {
        const size_t len = md_jpoint_len_before(s->s, end);
        if (len > end - start || !strippable(r, s->s + end - len, len, chars))
            break;
        end -= len;
    }
    if (md_jcharge_bytes(r, s->n - (end - start)) != MD_OK) /* also if the limit was hit above */
        return NULL;
    return md_jstr_sub(r, s, start, end - start);
}

const md_jstr *md_jstr_slice(md_jrun *r, const md_jstr *s, int64_t start, int64_t step, size_t count)
{
    if (md_jcharge_bytes(r, s->n) != MD_OK)
        return NULL;
    if (count == 0)
        return md_jstr_sub(r, s, 0, 0);
    if (step == 1) {
        const size_t from = md_jpoint_offset(s, (size_t)start);
        const md_jstr rest = {.s = s->s + from, .n = s->n - from};
        return md_jstr_sub(r, s, from, md_jpoint_offset(&rest, count));
    }
    const size_t points = md_jstr_points(s);
    size_t *offset = md_jalloc(r, points + 1, sizeof *offset);
    if (!offset || md_jcharge(r, points) != MD_OK)
        return NULL;
    for (size_t i = 0; i < points; i++)
        offset[i + 1] = offset[i] + md_jpoint_len(s->s + offset[i], s->n - offset[i]);
    md_jout o = md_jout_new(r);
    for (int64_t at = start; count--; at += step)
        md_jout_part(&o, s, offset[at], offset[at + 1] - offset[at]);
    return md_jout_finish(&o, false);
}

/* ---- case ---- */

static uint32_t upper(uint32_t cp)
{
    return (uint32_t)utf8proc_toupper((utf8proc_int32_t)cp);
}

static uint32_t lower(uint32_t cp)
{
    return (uint32_t)utf8proc_tolower((utf8proc_int32_t)cp);
}

static bool is_cased(uint32_t cp)
{
    return upper(cp) != cp || lower(cp) != cp || utf8proc_category((utf8proc_int32_t)cp) == UTF8PROC_CATEGORY_LT;
}

enum { SHARP_S = 0xdf };

static void put_upper(md_jout *o, uint32_t cp, bool rest_is_lower, unsigned char from)
{
    if (cp == SHARP_S)
        md_jout_puts(o, rest_is_lower ? "Ss" : "SS", from);
    else
        md_jout_point(o, rest_is_lower ? (uint32_t)utf8proc_totitle((utf8proc_int32_t)cp) : upper(cp), from);
}

void md_jout_point(md_jout *o, uint32_t cp, unsigned char from)
{
    char bytes[4];
    md_jout_bytes(o, bytes, (size_t)md_utf8_encode(cp, bytes), from);
}

const md_jstr *md_jstr_case(md_jrun *r, const md_jstr *s, enum md_jcase to)
{
    md_jout o = md_jout_new(r);
    bool in_word = false;
    for (size_t at = 0; at < s->n && !o.failed;) {
        uint32_t cp;
        const int len = md_utf8_decode(s->s + at, s->n - at, &cp);
        const unsigned char from = md_jstr_mark(s, at);
        if (len == 0) {
            md_jout_part(&o, s, at++, 1);
            in_word = false;
            continue;
        }
        const bool start = to == MD_J_TITLE ? !in_word : at == 0;
        if (to == MD_J_UPPER || (to == MD_J_SWAPCASE && lower(cp) == cp))
            put_upper(&o, cp, false, from);
        else if (start && (to == MD_J_CAPITALIZE || to == MD_J_TITLE))
            put_upper(&o, cp, true, from);
        else
            md_jout_point(&o, lower(cp), from);
        in_word = is_cased(cp);
        at += (size_t)len;
    }
    return md_jout_finish(&o, false);
}

/* ---- replacing and lines ---- */

/* Python's rule for an empty `old`: `now` goes in front of every code point and at the end. */
static const md_jstr *interleave(md_jrun *r, const md_jstr *s, const md_jstr *now, int64_t count)
{
    md_jout o = md_jout_new(r);
    for (size_t at = 0; !o.failed; count -= count > 0) {
        if (count != 0)
            md_jout_str(&o, now);
        if (at >= s->n)
            break;
        const size_t len = md_jpoint_len(s->s + at, s->n - at);
        md_jout_part(&o, s, at, len);
        at += len;
    }
    return md_jout_finish(&o, false);
}

const md_jstr *md_jstr_replace(md_jrun *r, const md_jstr *s, const md_jstr *old, const md_jstr *now, int64_t count)
{
    if (old->n == 0)
        return interleave(r, s, now, count);
    if (md_jcharge_search(r, s->n) != MD_OK)
        return NULL;
    size_t at = 0, hit = count == 0 ? SIZE_MAX : md_jstr_find(s, old, 0);
    if (hit == SIZE_MAX)
        return s;
    md_jout o = md_jout_new(r);
    while (hit != SIZE_MAX && !o.failed) {
        md_jout_part(&o, s, at, hit - at);
        md_jout_str(&o, now);
        at = hit + old->n;
        count -= count > 0;
        hit = count == 0 ? SIZE_MAX : md_jstr_find(s, old, at);
    }
    md_jout_part(&o, s, at, s->n - at);
    return md_jout_finish(&o, false);
}

/* Bytes of the line end at s, 0 if there is none. */
static size_t line_end(const char *s, size_t n)
{
    if (s[0] == '\r')
        return n > 1 && s[1] == '\n' ? 2 : 1;
    const uint32_t cp = md_jpoint(s, n);
    if ((cp >= 0x0a && cp <= 0x0d) || (cp >= 0x1c && cp <= 0x1e) || cp == 0x85 || cp == 0x2028 || cp == 0x2029)
        return md_jpoint_len(s, n);
    return 0;
}

md_status md_jstr_lines(md_jrun *r, const md_jstr *s, bool keep_ends, md_jlist **out)
{
    md_jlist *l = *out = md_jlist_new(r, 0, MD_J_PLAIN);
    if (!l)
        return r->status;
    MD_TRY(md_jcharge_bytes(r, s->n));
    for (size_t start = 0, at = 0; at < s->n;) {
        const size_t end = line_end(s->s + at, s->n - at);
        const size_t next = at + (end ? end : md_jpoint_len(s->s + at, s->n - at));
        if (end || next == s->n) {
            const size_t stop = !end || keep_ends ? next : at;
            const md_jstr *line = md_jstr_sub(r, s, start, stop - start);
            if (!line)
                return r->status;
            MD_TRY(md_jlist_push(r, l, md_jtext(line)));
            start = next;
        }
        at = next;
    }
    return MD_OK;
}
