/* SPDX-License-Identifier: Apache-2.0
 *
 * Methods of strings, as Python's str has them. Positions count code points. */
#include "text/jinja_run.h"

#include <string.h>
#include <utf8proc.h>

static md_status text_result(md_jrun *r, const md_jstr *s, md_jval *out)
{
    *out = md_jtext(s);
    return s ? MD_OK : r->status;
}

static md_status push_text(md_jrun *r, md_jlist *l, const md_jstr *s)
{
    return s ? md_jlist_push(r, l, md_jtext(s)) : r->status;
}

/* A string argument that may be missing or none. */
static md_status optional_str(md_jrun *r, const md_jval *arg, const char *what, const md_jstr **out)
{
    *out = NULL;
    return arg && arg->kind != MD_J_NONE ? md_jarg_str(r, arg, what, out) : MD_OK;
}

/* ---- case and ends ---- */

static md_status m_upper(md_jrun *r, const md_jcall *c, md_jval *out)
{
    return text_result(r, md_jstr_case(r, c->self.u.str, MD_J_UPPER), out);
}

static md_status m_lower(md_jrun *r, const md_jcall *c, md_jval *out)
{
    return text_result(r, md_jstr_case(r, c->self.u.str, MD_J_LOWER), out);
}

static md_status m_title(md_jrun *r, const md_jcall *c, md_jval *out)
{
    return text_result(r, md_jstr_case(r, c->self.u.str, MD_J_TITLE), out);
}

static md_status m_capitalize(md_jrun *r, const md_jcall *c, md_jval *out)
{
    return text_result(r, md_jstr_case(r, c->self.u.str, MD_J_CAPITALIZE), out);
}

static md_status m_swapcase(md_jrun *r, const md_jcall *c, md_jval *out)
{
    return text_result(r, md_jstr_case(r, c->self.u.str, MD_J_SWAPCASE), out);
}

static md_status strip(md_jrun *r, const md_jcall *c, bool left, bool right, md_jval *out)
{
    const md_jstr *chars;
    MD_TRY(optional_str(r, c->arg[0], "strip", &chars));
    return text_result(r, md_jstr_strip(r, c->self.u.str, chars, left, right), out);
}

static md_status m_strip(md_jrun *r, const md_jcall *c, md_jval *out)
{
    return strip(r, c, true, true, out);
}

static md_status m_lstrip(md_jrun *r, const md_jcall *c, md_jval *out)
{
    return strip(r, c, true, false, out);
}

static md_status m_rstrip(md_jrun *r, const md_jcall *c, md_jval *out)
{
    return strip(r, c, false, true, out);
}

static md_status m_removeprefix(md_jrun *r, const md_jcall *c, md_jval *out)
{
    const md_jstr *s = c->self.u.str, *prefix;
    MD_TRY(md_jarg_str(r, c->arg[0], "removeprefix", &prefix));
    MD_TRY(md_jcharge_bytes(r, prefix->n));
    const size_t cut = md_jstr_starts(s, prefix) ? prefix->n : 0;
    return text_result(r, md_jstr_sub(r, s, cut, s->n - cut), out);
}

static md_status m_removesuffix(md_jrun *r, const md_jcall *c, md_jval *out)
{
    const md_jstr *s = c->self.u.str, *suffix;
    MD_TRY(md_jarg_str(r, c->arg[0], "removesuffix", &suffix));
    MD_TRY(md_jcharge_bytes(r, suffix->n));
    const size_t cut = md_jstr_ends(s, suffix) ? suffix->n : 0;
    return text_result(r, md_jstr_sub(r, s, 0, s->n - cut), out);
}

/* ---- searching ---- */

/* The part of self that start and stop (arguments first and first + 1) leave, and the byte where it begins. */
static md_status window(md_jrun *r, const md_jcall *c, size_t first, const char *what, md_jstr *part, size_t *from)
{
    const md_jstr *s = c->self.u.str;
    *part = *s;
    *from = 0;
    if (!c->arg[first] && !c->arg[first + 1])
        return MD_OK;
    MD_TRY(md_jcharge_bytes(r, s->n));
    const int64_t points = (int64_t)md_jstr_points(s);
    int64_t start = 0, stop = points;
    MD_TRY(md_jarg_int(r, c->arg[first], what, &start));
    MD_TRY(md_jarg_int(r, c->arg[first + 1], what, &stop));
    start = start < 0 ? (start < -points ? 0 : start + points) : start;
    stop = stop < 0 ? (stop < -points ? 0 : stop + points) : stop > points ? points : stop;
    if (start > stop) { /* nothing is found there, not even "" */
        *from = SIZE_MAX;
        *part = (md_jstr){.s = ""};
        return MD_OK;
    }
    *from = md_jpoint_offset(s, (size_t)start);
    part->s = s->s + *from;
    part->n = md_jpoint_offset(s, (size_t)stop) - *from;
    return MD_OK;
}

static md_status find(md_jrun *r, const md_jcall *c, bool last, bool must, md_jval *out)
{
    const md_jstr *what;
    md_jstr part;
    size_t from, at;
    MD_TRY(md_jarg_str(r, c->arg[0], "find", &what));
    MD_TRY(window(r, c, 1, "find", &part, &from));
    MD_TRY(md_jcharge_search(r, part.n));
    if (last)
        MD_TRY(md_jstr_find_last(r, &part, what, &at));
    else
        at = md_jstr_find(&part, what, 0);
    if (from == SIZE_MAX)
        at = SIZE_MAX;
    if (at == SIZE_MAX && must)
        return md_jfail(r, MD_ERR_FORMAT, "index: the text is not in the string");
    *out = md_jint(at == SIZE_MAX ? -1 : (int64_t)md_jpoints(c->self.u.str->s, from + at));
    return MD_OK;
}

static md_status m_find(md_jrun *r, const md_jcall *c, md_jval *out)
{
    return find(r, c, false, false, out);
}

static md_status m_rfind(md_jrun *r, const md_jcall *c, md_jval *out)
{
    return find(r, c, true, false, out);
}

static md_status m_index(md_jrun *r, const md_jcall *c, md_jval *out)
{
    return find(r, c, false, true, out);
}

static md_status m_rindex(md_jrun *r, const md_jcall *c, md_jval *out)
{
    return find(r, c, true, true, out);
}

static md_status m_count(md_jrun *r, const md_jcall *c, md_jval *out)
{
    const md_jstr *what;
    md_jstr part;
    size_t from;
    int64_t count = 0;
    MD_TRY(md_jarg_str(r, c->arg[0], "count", &what));
    MD_TRY(window(r, c, 1, "count", &part, &from));
    MD_TRY(md_jcharge_search(r, part.n));
    if (what->n == 0)
        count = from == SIZE_MAX ? 0 : (int64_t)md_jstr_points(&part) + 1;
    else
        for (size_t at = md_jstr_find(&part, what, 0); at != SIZE_MAX; at = md_jstr_find(&part, what, at + what->n))
            count++;
    *out = md_jint(count);
    return MD_OK;
}

/* startswith and endswith: a string, or a tuple of them. */
static md_status has_end(md_jrun *r, const md_jcall *c, bool front, md_jval *out)
{
    const char *what = front ? "startswith" : "endswith";
    md_jstr part;
    size_t from;
    bool yes = false;
    MD_TRY(window(r, c, 1, what, &part, &from));
    const md_jval *one = c->arg[0];
    size_t n = 1;
    if (one->kind == MD_J_LIST && one->u.list->flavor == MD_J_TUPLE) {
        n = one->u.list->n;
        one = one->u.list->item;
    }
    for (size_t i = 0; i < n && !yes; i++) {
        const md_jstr *end;
        MD_TRY(md_jarg_str(r, &one[i], what, &end));
        MD_TRY(md_jcharge_bytes(r, end->n));
        yes = from != SIZE_MAX && (front ? md_jstr_starts(&part, end) : md_jstr_ends(&part, end));
    }
    *out = md_jbool(yes);
    return MD_OK;
}

static md_status m_startswith(md_jrun *r, const md_jcall *c, md_jval *out)
{
    return has_end(r, c, true, out);
}

static md_status m_endswith(md_jrun *r, const md_jcall *c, md_jval *out)
{
    return has_end(r, c, false, out);
}

/* ---- splitting ---- */

/* At white space, from the front; at most `most` times if that is not negative. */
static md_status split_space(md_jrun *r, const md_jstr *s, int64_t most, md_jlist *l)
{
    for (size_t at = 0;;) {
        while (at < s->n && md_jis_space(md_jpoint(s->s + at, s->n - at)))
            at += md_jpoint_len(s->s + at, s->n - at);
        if (at == s->n)
            return MD_OK;
        const size_t start = at;
        if (most >= 0 && (int64_t)l->n >= most)
            return push_text(r, l, md_jstr_sub(r, s, start, s->n - start));
        while (at < s->n && !md_jis_space(md_jpoint(s->s + at, s->n - at)))
            at += md_jpoint_len(s->s + at, s->n - at);
        MD_TRY(push_text(r, l, md_jstr_sub(r, s, start, at - start)));
    }
}

static md_status split_at(md_jrun *r, const md_jstr *s, const md_jstr *by, int64_t most, md_jlist *l)
{
    size_t at = 0;
    for (size_t hit; most < 0 || (int64_t)l->n < most; at = hit + by->n) {
        hit = md_jstr_find(s, by, at);
        if (hit == SIZE_MAX)
            break;
        MD_TRY(push_text(r, l, md_jstr_sub(r, s, at, hit - at)));
    }
    return push_text(r, l, md_jstr_sub(r, s, at, s->n - at));
}

static void turn_round(md_jlist *l)
{
    for (size_t i = 0; i < l->n / 2; i++) {
        const md_jval v = l->item[i];
        l->item[i] = l->item[l->n - 1 - i];
        l->item[l->n - 1 - i] = v;
    }
}

/* From the back: pieces come in reverse and are turned round at the end. */
static md_status rsplit_at(md_jrun *r, const md_jstr *s, const md_jstr *by, int64_t most, md_jlist *l)
{
    size_t end = s->n;
    while (most < 0 || (int64_t)l->n < most) {
        size_t hit;
        const md_jstr front = {.s = s->s, .n = end};
        MD_TRY(md_jstr_find_last(r, &front, by, &hit));
        if (hit == SIZE_MAX)
            break;
        MD_TRY(push_text(r, l, md_jstr_sub(r, s, hit + by->n, end - hit - by->n)));
        end = hit;
    }
    MD_TRY(push_text(r, l, md_jstr_sub(r, s, 0, end)));
    turn_round(l);
    return MD_OK;
}

/* Where the run of white space, or of anything else, that ends at `end` begins. */
static size_t run_start(const md_jstr *s, size_t end, bool space)
{
    while (end) {
        const size_t len = md_jpoint_len_before(s->s, end);
        if (md_jis_space(md_jpoint(s->s + end - len, len)) != space)
            break;
        end -= len;
    }
    return end;
}

static md_status rsplit_space(md_jrun *r, const md_jstr *s, int64_t most, md_jlist *l)
{
    size_t end = run_start(s, s->n, true);
    while (end && (int64_t)l->n < most) {
        const size_t start = run_start(s, end, false);
        MD_TRY(push_text(r, l, md_jstr_sub(r, s, start, end - start)));
        end = run_start(s, start, true);
    }
    if (end)
        MD_TRY(push_text(r, l, md_jstr_sub(r, s, 0, end)));
    turn_round(l);
    return MD_OK;
}

static md_status split(md_jrun *r, const md_jcall *c, bool from_back, md_jval *out)
{
    const md_jstr *s = c->self.u.str, *by;
    int64_t most = -1;
    md_jlist *l = md_jlist_new(r, 0, MD_J_PLAIN);
    if (!l)
        return r->status;
    *out = md_jseq(l);
    MD_TRY(optional_str(r, c->arg[0], "split", &by));
    MD_TRY(md_jarg_int(r, c->arg[1], "split", &most));
    MD_TRY(md_jcharge_search(r, s->n));
    if (by && by->n == 0)
        return md_jfail(r, MD_ERR_FORMAT, "split needs a separator that is not empty");
    if (by)
        return from_back ? rsplit_at(r, s, by, most, l) : split_at(r, s, by, most, l);
    return from_back && most >= 0 ? rsplit_space(r, s, most, l) : split_space(r, s, most, l);
}

static md_status m_split(md_jrun *r, const md_jcall *c, md_jval *out)
{
    return split(r, c, false, out);
}

static md_status m_rsplit(md_jrun *r, const md_jcall *c, md_jval *out)
{
    return split(r, c, true, out);
}

static md_status partition(md_jrun *r, const md_jcall *c, bool last, md_jval *out)
{
    const md_jstr *s = c->self.u.str, *by;
    size_t at;
    MD_TRY(md_jarg_str(r, c->arg[0], "partition", &by));
    if (by->n == 0)
        return md_jfail(r, MD_ERR_FORMAT, "partition needs a separator that is not empty");
    MD_TRY(md_jcharge_search(r, s->n));
    if (last)
        MD_TRY(md_jstr_find_last(r, s, by, &at));
    else
        at = md_jstr_find(s, by, 0);
    const bool found = at != SIZE_MAX;
    const size_t a = found ? at : last ? 0 : s->n, b = found ? at + by->n : a;
    md_jlist *l = md_jlist_new(r, 3, MD_J_TUPLE);
    if (!l)
        return r->status;
    MD_TRY(push_text(r, l, md_jstr_sub(r, s, 0, a)));
    MD_TRY(push_text(r, l, md_jstr_sub(r, s, a, b - a)));
    MD_TRY(push_text(r, l, md_jstr_sub(r, s, b, s->n - b)));
    *out = md_jseq(l);
    return MD_OK;
}

static md_status m_partition(md_jrun *r, const md_jcall *c, md_jval *out)
{
    return partition(r, c, false, out);
}

static md_status m_rpartition(md_jrun *r, const md_jcall *c, md_jval *out)
{
    return partition(r, c, true, out);
}

static md_status m_splitlines(md_jrun *r, const md_jcall *c, md_jval *out)
{
    md_jlist *l;
    MD_TRY(md_jstr_lines(r, c->self.u.str, md_jarg_true(c->arg[0]), &l));
    *out = md_jseq(l);
    return MD_OK;
}

/* ---- making ---- */

static md_status m_replace(md_jrun *r, const md_jcall *c, md_jval *out)
{
    const md_jstr *old, *now;
    int64_t count = -1;
    MD_TRY(md_jarg_str(r, c->arg[0], "replace", &old));
    MD_TRY(md_jarg_str(r, c->arg[1], "replace", &now));
    MD_TRY(md_jarg_int(r, c->arg[2], "replace", &count));
    return text_result(r, md_jstr_replace(r, c->self.u.str, old, now, count), out);
}

static md_status m_join(md_jrun *r, const md_jcall *c, md_jval *out)
{
    md_jlist *l;
    MD_TRY(md_jiterate(r, *c->arg[0], &l));
    md_jout o = md_jout_new(r);
    for (size_t i = 0; i < l->n && !o.failed; i++) {
        const md_jstr *s;
        MD_TRY(md_jarg_str(r, &l->item[i], "join", &s));
        if (i)
            md_jout_str(&o, c->self.u.str);
        md_jout_str(&o, s);
        MD_TRY(md_jcharge(r, 1));
    }
    return text_result(r, md_jout_finish(&o, false), out);
}

static md_status m_format(md_jrun *r, const md_jcall *c, md_jval *out)
{
    const md_jstr *s;
    MD_TRY(md_jformat_braces(r, c->self.u.str, c, &s));
    return text_result(r, s, out);
}

/* ljust, rjust, center, zfill */
static md_status pad(md_jrun *r, const md_jcall *c, char how, md_jval *out)
{
    static const md_jstr space = {.s = " ", .n = 1};
    const md_jstr *s = c->self.u.str, *fill = &space;
    int64_t width = 0;
    MD_TRY(md_jarg_int(r, c->arg[0], "padding", &width));
    if (how != 'z' && c->arg[1])
        MD_TRY(md_jarg_str(r, c->arg[1], "padding", &fill));
    if (md_jstr_points(fill) != 1)
        return md_jfail(r, MD_ERR_FORMAT, "padding is done with one character");
    const int64_t points = (int64_t)md_jstr_points(s), room = width > points ? width - points : 0;
    const int64_t left = how == 'l' ? 0 : how == 'c' ? room / 2 + (room & width & 1) : room;
    md_jout o = md_jout_new(r);
    size_t at = 0;
    if (how == 'z' && s->n && (s->s[0] == '-' || s->s[0] == '+'))
        md_jout_part(&o, s, at++, 1);
    for (int64_t i = 0; i < left && !o.failed; i++) {
        if (how == 'z')
            md_jout_fill(&o, '0', 1, md_jstr_from(s));
        else
            md_jout_str(&o, fill);
    }
    md_jout_part(&o, s, at, s->n - at);
    for (int64_t i = left; i < room && !o.failed; i++)
        md_jout_str(&o, fill);
    return text_result(r, md_jout_finish(&o, false), out);
}

static md_status m_ljust(md_jrun *r, const md_jcall *c, md_jval *out)
{
    return pad(r, c, 'l', out);
}

static md_status m_rjust(md_jrun *r, const md_jcall *c, md_jval *out)
{
    return pad(r, c, 'r', out);
}

static md_status m_center(md_jrun *r, const md_jcall *c, md_jval *out)
{
    return pad(r, c, 'c', out);
}

static md_status m_zfill(md_jrun *r, const md_jcall *c, md_jval *out)
{
    return pad(r, c, 'z', out);
}

/* ---- questions ---- */

static bool is_letter(int32_t cp)
{
    const utf8proc_category_t k = utf8proc_category(cp);
    return k >= UTF8PROC_CATEGORY_LU && k <= UTF8PROC_CATEGORY_LO;
}

static bool is_digit(int32_t cp)
{
    return utf8proc_category(cp) == UTF8PROC_CATEGORY_ND;
}

static bool is_alnum(int32_t cp)
{
    const utf8proc_category_t k = utf8proc_category(cp);
    return is_letter(cp) || (k >= UTF8PROC_CATEGORY_ND && k <= UTF8PROC_CATEGORY_NO);
}

static bool is_space(int32_t cp)
{
    return md_jis_space((uint32_t)cp);
}

static md_status all(md_jrun *r, const md_jcall *c, bool (*is)(int32_t), md_jval *out)
{
    const md_jstr *s = c->self.u.str;
    bool yes = s->n > 0;
    MD_TRY(md_jcharge_bytes(r, s->n));
    for (size_t at = 0; at < s->n && yes; at += md_jpoint_len(s->s + at, s->n - at))
        yes = is((int32_t)md_jpoint(s->s + at, s->n - at));
    *out = md_jbool(yes);
    return MD_OK;
}

static md_status m_isalpha(md_jrun *r, const md_jcall *c, md_jval *out)
{
    return all(r, c, is_letter, out);
}

static md_status m_isdigit(md_jrun *r, const md_jcall *c, md_jval *out)
{
    return all(r, c, is_digit, out);
}

static md_status m_isalnum(md_jrun *r, const md_jcall *c, md_jval *out)
{
    return all(r, c, is_alnum, out);
}

static md_status m_isspace(md_jrun *r, const md_jcall *c, md_jval *out)
{
    return all(r, c, is_space, out);
}

/* The test of that name, as a method. */
static md_status as_test(md_jrun *r, const md_jcall *c, const char *name, md_jval *out)
{
    const md_jstr str = {.s = name, .n = strlen(name)};
    md_jcall test = {.self = c->self};
    bool yes = false;
    MD_TRY(md_jcall_test(r, md_jtext(&str), &test, &yes));
    *out = md_jbool(yes);
    return MD_OK;
}

static md_status m_isupper(md_jrun *r, const md_jcall *c, md_jval *out)
{
    return as_test(r, c, "upper", out);
}

static md_status m_islower(md_jrun *r, const md_jcall *c, md_jval *out)
{
    return as_test(r, c, "lower", out);
}

const md_jbuiltin md_jstr_methods[] = {
    {"capitalize", m_capitalize, "", 0},
    {"center", m_center, "width fillchar", 1},
    {"count", m_count, "sub start end", 1},
    {"endswith", m_endswith, "suffix start end", 1},
    {"find", m_find, "sub start end", 1},
    {"format", m_format, NULL, 0},
    {"index", m_index, "sub start end", 1},
    {"isalnum", m_isalnum, "", 0},
    {"isalpha", m_isalpha, "", 0},
    {"isdecimal", m_isdigit, "", 0},
    {"isdigit", m_isdigit, "", 0},
    {"islower", m_islower, "", 0},
    {"isnumeric", m_isdigit, "", 0},
    {"isspace", m_isspace, "", 0},
    {"isupper", m_isupper, "", 0},
    {"join", m_join, "iterable", 1},
    {"ljust", m_ljust, "width fillchar", 1},
    {"lower", m_lower, "", 0},
    {"lstrip", m_lstrip, "chars", 0},
    {"partition", m_partition, "sep", 1},
    {"removeprefix", m_removeprefix, "prefix", 1},
    {"removesuffix", m_removesuffix, "suffix", 1},
    {"replace", m_replace, "old new count", 2},
    {"rfind", m_rfind, "sub start end", 1},
    {"rindex", m_rindex, "sub start end", 1},
    {"rjust", m_rjust, "width fillchar", 1},
    {"rpartition", m_rpartition, "sep", 1},
    {"rsplit", m_rsplit, "sep maxsplit", 0},
    {"rstrip", m_rstrip, "chars", 0},
    {"split", m_split, "sep maxsplit", 0},
    {"splitlines", m_splitlines, "keepends", 0},
    {"startswith", m_startswith, "prefix start end", 1},
    {"strip", m_strip, "chars", 0},
    {"swapcase", m_swapcase, "", 0},
    {"title", m_title, "", 0},
    {"upper", m_upper, "", 0},
    {"zfill", m_zfill, "width", 1},
    {NULL, NULL, NULL, 0},
};
