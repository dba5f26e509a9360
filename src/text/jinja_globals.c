/* SPDX-License-Identifier: Apache-2.0
 *
 * Functions that are there from the start: range, namespace, dict, cycler, joiner, raise_exception, strftime_now.
 * Times are UTC and names of days and months English, whatever the machine's zone and locale. */
#include "text/jinja_run.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* ---- making things ---- */

static md_status g_range(md_jrun *r, const md_jcall *c, md_jval *out)
{
    int64_t a = 0, b = 0, step = 1;
    MD_TRY(md_jarg_int(r, c->arg[0], "range", c->arg[1] ? &a : &b));
    MD_TRY(md_jarg_int(r, c->arg[1], "range", &b));
    MD_TRY(md_jarg_int(r, c->arg[2], "range", &step));
    if (step == 0)
        return md_jfail(r, MD_ERR_FORMAT, "the step of range cannot be zero");
    const uint64_t stride = step < 0 ? 0 - (uint64_t)step : (uint64_t)step;
    const uint64_t span = step < 0 ? (a > b ? (uint64_t)a - (uint64_t)b : 0) : (b > a ? (uint64_t)b - (uint64_t)a : 0);
    const uint64_t n = span ? (span - 1) / stride + 1 : 0;
    if (n > MD_J_MAX_RANGE)
        return md_jfail(r, MD_ERR_LIMIT, "a range of %" PRIu64 " items, at most %d are allowed", n, MD_J_MAX_RANGE);
    md_jlist *l = md_jlist_new(r, (size_t)n, MD_J_RANGE);
    if (!l)
        return r->status;
    for (uint64_t i = 0; i < n; i++)
        MD_TRY(md_jlist_push(r, l, md_jint((int64_t)((uint64_t)a + i * (uint64_t)step))));
    *out = md_jseq(l);
    return MD_OK;
}

static md_status new_dict(md_jrun *r, const md_jcall *c, md_jval *out)
{
    md_jdict *d = md_jdict_new(r);
    if (!d)
        return r->status;
    *out = md_jmap(d);
    if (c->n_positional > 1)
        return md_jfail(r, MD_ERR_FORMAT, "dict and namespace take one dict, and name=value arguments");
    if (c->n_positional)
        MD_TRY(md_jdict_update(r, d, c->positional[0]));
    for (size_t i = 0; i < c->n_named; i++)
        MD_TRY(md_jdict_set(r, d, md_jtext(c->name[i]), c->named[i]));
    return MD_OK;
}

static md_status g_namespace(md_jrun *r, const md_jcall *c, md_jval *out)
{
    MD_TRY(new_dict(r, c, out));
    out->kind = MD_J_NAMESPACE;
    return MD_OK;
}

static md_status bind(md_jrun *r, const md_jbuiltin *b, md_jval self, md_jval *out)
{
    md_jfunc *f = md_jalloc(r, 1, sizeof *f);
    if (!f)
        return r->status;
    *f = (md_jfunc){.builtin = b, .self = self};
    *out = (md_jval){.kind = MD_J_FUNC, .u.func = f};
    return MD_OK;
}

/* A joiner gives "" the first time it is called and its separator from then on; self is [separator, called]. */
static md_status call_joiner(md_jrun *r, const md_jcall *c, md_jval *out)
{
    static const md_jstr empty = {.s = ""};
    md_jlist *state = c->self.u.list;
    (void)r;
    *out = md_jtruth(state->item[1]) ? state->item[0] : md_jtext(&empty);
    state->item[1] = md_jbool(true);
    return MD_OK;
}

static md_status g_joiner(md_jrun *r, const md_jcall *c, md_jval *out)
{
    static const md_jbuiltin joiner = {"joiner", call_joiner, "", 0};
    static const md_jstr comma = {.s = ", ", .n = 2};
    md_jlist *state = md_jlist_new(r, 2, MD_J_PLAIN);
    if (!state)
        return r->status;
    state->item[0] = c->arg[0] ? *c->arg[0] : md_jtext(&comma);
    state->item[1] = md_jbool(false);
    state->n = 2;
    return bind(r, &joiner, md_jseq(state), out);
}

/* A cycler is a namespace of two functions and `current`; self of the functions is [namespace, items, position]. */
static md_status cycler_step(md_jrun *r, const md_jcall *c, bool reset, md_jval *out)
{
    md_jlist *state = c->self.u.list;
    const md_jlist *items = state->item[1].u.list;
    const size_t at = (size_t)state->item[2].u.i, next = reset ? 0 : (at + 1) % items->n;
    *out = reset ? md_jnone() : items->item[at];
    state->item[2] = md_jint((int64_t)next);
    return md_jdict_set_name(r, state->item[0].u.dict, "current", items->item[next]);
}

static md_status cycler_next(md_jrun *r, const md_jcall *c, md_jval *out)
{
    return cycler_step(r, c, false, out);
}

static md_status cycler_reset(md_jrun *r, const md_jcall *c, md_jval *out)
{
    return cycler_step(r, c, true, out);
}

static md_status g_cycler(md_jrun *r, const md_jcall *c, md_jval *out)
{
    static const md_jbuiltin next = {"next", cycler_next, "", 0}, reset = {"reset", cycler_reset, "", 0};
    if (c->n_positional == 0 || c->n_named)
        return md_jfail(r, MD_ERR_FORMAT, "cycler needs values");
    md_jlist *state = md_jlist_new(r, 3, MD_J_PLAIN), *items = md_jlist_new(r, c->n_positional, MD_J_PLAIN);
    md_jdict *d = md_jdict_new(r);
    md_jval f;
    if (!state || !items || !d)
        return r->status;
    for (size_t i = 0; i < c->n_positional; i++)
        MD_TRY(md_jlist_push(r, items, c->positional[i]));
    *out = (md_jval){.kind = MD_J_NAMESPACE, .u.dict = d};
    state->item[0] = *out;
    state->item[1] = md_jseq(items);
    state->item[2] = md_jint(0);
    state->n = 3;
    MD_TRY(bind(r, &next, md_jseq(state), &f));
    MD_TRY(md_jdict_set_name(r, d, "next", f));
    MD_TRY(bind(r, &reset, md_jseq(state), &f));
    MD_TRY(md_jdict_set_name(r, d, "reset", f));
    return md_jdict_set_name(r, d, "current", items->item[0]);
}

/* ---- refusing ---- */

static md_status g_raise_exception(md_jrun *r, const md_jcall *c, md_jval *out)
{
    *out = md_jnone();
    const md_jstr *s = md_jto_str(r, *c->arg[0]);
    if (!s)
        return r->status;
    r->status = MD_ERR_ARGUMENT;
    return md_fail(r->err, MD_ERR_ARGUMENT, "the chat template refuses these messages: %.*s",
                   s->n < 400 ? (int)s->n : 400, s->s);
}

/* ---- time ---- */

typedef struct civil {
    int64_t year;
    int month, day, hour, minute, second; /* month and day from 1 */
    int weekday, yearday;                 /* from 0; 0 is Sunday */
} civil;

/* Days since 1970-01-01 to a date of the Gregorian calendar, by eras of 400 years that begin on 1 March. */
static civil civil_time(int64_t now)
{
    const int64_t days = now / 86400, second = now % 86400;
    const int64_t shifted = days + 719468, era = shifted / 146097, of_era = shifted % 146097;
    const int64_t year_of_era = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    const int64_t of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    const int64_t march = (5 * of_year + 2) / 153;
    civil t = {.day = (int)(of_year - (153 * march + 2) / 5 + 1), .month = (int)(march < 10 ? march + 3 : march - 9)};
    t.year = year_of_era + era * 400 + (t.month <= 2);
    t.hour = (int)(second / 3600);
    t.minute = (int)(second / 60 % 60);
    t.second = (int)(second % 60);
    t.weekday = (int)((days + 4) % 7);
    const bool leap = (t.year % 4 == 0 && t.year % 100 != 0) || t.year % 400 == 0;
    t.yearday = (int)(march < 10 ? of_year + 59 + leap : of_year - 306);
    return t;
}

static const char *const days[] = {"Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"};
static const char *const months[] = {"January", "February", "March",     "April",   "May",      "June",
                                     "July",    "August",   "September", "October", "November", "December"};

enum { ROOM = 64 }; /* bytes of one directive's text */

/* What one directive stands for; false if it is none that is known. pad: '-' no padding, '_' spaces, else zeros. */
static bool directive(const civil *t, char code, char pad, char out[ROOM])
{
    const int hour12 = t->hour % 12 ? t->hour % 12 : 12;
    const char *number = pad == '-' ? "%d" : pad == '_' ? "%2d" : "%02d";
    int v = 0;
    switch (code) {
    case 'Y': snprintf(out, ROOM, "%" PRId64, t->year); return true;
    case 'B': snprintf(out, ROOM, "%s", months[t->month - 1]); return true;
    case 'b':
    case 'h': snprintf(out, ROOM, "%.3s", months[t->month - 1]); return true;
    case 'A': snprintf(out, ROOM, "%s", days[t->weekday]); return true;
    case 'a': snprintf(out, ROOM, "%.3s", days[t->weekday]); return true;
    case 'p': snprintf(out, ROOM, "%s", t->hour < 12 ? "AM" : "PM"); return true;
    case 'F': snprintf(out, ROOM, "%" PRId64 "-%02d-%02d", t->year, t->month, t->day); return true;
    case 'T': snprintf(out, ROOM, "%02d:%02d:%02d", t->hour, t->minute, t->second); return true;
    case 'R': snprintf(out, ROOM, "%02d:%02d", t->hour, t->minute); return true;
    case 'D': snprintf(out, ROOM, "%02d/%02d/%02d", t->month, t->day, (int)(t->year % 100)); return true;
    case 'c':
        snprintf(out, ROOM, "%.3s %.3s %2d %02d:%02d:%02d %" PRId64, days[t->weekday], months[t->month - 1], t->day,
                 t->hour, t->minute, t->second, t->year);
        return true;
    case 'x': snprintf(out, ROOM, "%02d/%02d/%02d", t->month, t->day, (int)(t->year % 100)); return true;
    case 'X': snprintf(out, ROOM, "%02d:%02d:%02d", t->hour, t->minute, t->second); return true;
    case 'f': snprintf(out, ROOM, "000000"); return true;
    case 'z':
    case 'Z': out[0] = '\0'; return true; /* a time without a zone has neither */
    case 'n': snprintf(out, ROOM, "\n"); return true;
    case 't': snprintf(out, ROOM, "\t"); return true;
    case '%': snprintf(out, ROOM, "%%"); return true;
    case 'j': snprintf(out, ROOM, pad == '-' ? "%d" : "%03d", t->yearday + 1); return true;
    case 'w': snprintf(out, ROOM, "%d", t->weekday); return true;
    case 'u': snprintf(out, ROOM, "%d", t->weekday ? t->weekday : 7); return true;
    case 'U': v = (t->yearday + 7 - t->weekday) / 7; break;
    case 'W': v = (t->yearday + 7 - (t->weekday + 6) % 7) / 7; break;
    case 'm': v = t->month; break;
    case 'd': v = t->day; break;
    case 'e':
        v = t->day;
        number = pad ? number : "%2d";
        break;
    case 'H': v = t->hour; break;
    case 'k':
        v = t->hour;
        number = pad ? number : "%2d";
        break;
    case 'I': v = hour12; break;
    case 'l':
        v = hour12;
        number = pad ? number : "%2d";
        break;
    case 'M': v = t->minute; break;
    case 'S': v = t->second; break;
    case 'y': v = (int)(t->year % 100); break;
    default: return false;
    }
    switch (number[1]) {
    case 'd': snprintf(out, ROOM, "%d", v); break;
    case '2': snprintf(out, ROOM, "%2d", v); break;
    default: snprintf(out, ROOM, "%02d", v); break;
    }
    return true;
}

md_status md_jstrftime(md_jrun *r, const md_jcall *c, md_jval *out)
{
    const md_jstr *format;
    MD_TRY(md_jarg_str(r, c->arg[0], "strftime_now", &format));
    if (r->now / 86400 > 3652058LL * 100)
        return md_jfail(r, MD_ERR_ARGUMENT, "the time given for strftime_now is too far away");
    const civil t = civil_time(r->now);
    md_jout o = md_jout_new(r);
    for (size_t at = 0; at < format->n && !o.failed;) {
        char text[ROOM];
        const bool percent = format->s[at] == '%';
        const char flag = percent && at + 1 < format->n ? format->s[at + 1] : '\0';
        const size_t skip = flag == '-' || flag == '_' || flag == '0' ? 2 : 1;
        if (percent && at + skip < format->n && directive(&t, format->s[at + skip], skip == 2 ? flag : '\0', text)) {
            md_jout_puts(&o, text, md_jstr_mark(format, at));
            at += skip + 1;
        } else {
            md_jout_part(&o, format, at++, 1);
        }
    }
    const md_jstr *s = md_jout_finish(&o, false);
    *out = md_jtext(s);
    return s ? MD_OK : r->status;
}

/* ---- the scope they live in ---- */

md_status md_jglobal_set(md_jrun *r, md_jscope *s, const char *name, md_jval v)
{
    MD_TRY(md_jcharge(r, r->program->n_symbols / 16));
    for (size_t i = 0; i < r->program->n_symbols; i++)
        if (md_jstr_is(r->program->symbol[i], name))
            return md_jscope_set(r, s, (int)i, v);
    return MD_OK; /* the template never mentions it */
}

md_status md_jglobals(md_jrun *r, md_jscope *s)
{
    static const md_jbuiltin functions[] = {
        {"range", g_range, "start stop step", 1},
        {"namespace", g_namespace, NULL, 0},
        {"dict", new_dict, NULL, 0},
        {"cycler", g_cycler, NULL, 0},
        {"joiner", g_joiner, "sep", 0},
        {"raise_exception", g_raise_exception, "message", 1},
        {"strftime_now", md_jstrftime, "format", 1},
    };
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
        md_jval f;
        if (functions[i].fn == md_jstrftime && r->now < 0)
            continue;
        MD_TRY(bind(r, &functions[i], md_jnone(), &f));
        MD_TRY(md_jglobal_set(r, s, functions[i].name, f));
    }
    return MD_OK;
}
