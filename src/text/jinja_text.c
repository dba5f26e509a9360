/* SPDX-License-Identifier: Apache-2.0
 *
 * Marked strings and the builder that makes them.
 *
 * Concatenation leaves room behind a long result and the next concatenation onto that result appends in place. The
 * bytes behind a string's end belong to nobody, so the older string stays what it was. */
#include "text/jinja_text.h"

#include <string.h>

/* ---- strings ---- */

const md_jstr *md_jstr_wrap(md_jrun *r, const char *s, size_t n, unsigned char from)
{
    md_jstr *str = md_jalloc(r, 1, sizeof *str);
    if (str)
        *str = (md_jstr){.s = s, .n = n, .from = from};
    return str;
}

const md_jstr *md_jstr_new(md_jrun *r, const char *s, size_t n, unsigned char from)
{
    char *copy = md_jalloc(r, n + 1, 1);
    if (!copy || md_jcharge_bytes(r, n) != MD_OK)
        return NULL;
    if (n)
        memcpy(copy, s, n);
    return md_jstr_wrap(r, copy, n, from);
}

const md_jstr *md_jstr_sub(md_jrun *r, const md_jstr *s, size_t start, size_t n)
{
    if (start == 0 && n == s->n)
        return s;
    md_jstr *sub = md_jalloc(r, 1, sizeof *sub);
    if (sub)
        *sub = (md_jstr){s->s + start, n, s->mark ? s->mark + start : NULL, s->from, s->grow, s->escaped};
    return sub;
}

const md_jstr *md_jstr_as_escaped(md_jrun *r, const md_jstr *s, bool escaped)
{
    if (s->escaped == escaped)
        return s;
    md_jstr *same = md_jalloc(r, 1, sizeof *same);
    if (!same)
        return NULL;
    *same = *s;
    same->escaped = escaped;
    return same;
}

const md_jstr *md_jstr_escape(md_jrun *r, const md_jstr *s)
{
    md_jout o = md_jout_new(r);
    for (size_t at = 0; at < s->n && !o.failed; at++) {
        const char *entity = s->s[at] == '&'    ? "&amp;"
                             : s->s[at] == '<'  ? "&lt;"
                             : s->s[at] == '>'  ? "&gt;"
                             : s->s[at] == '\'' ? "&#39;"
                             : s->s[at] == '"'  ? "&#34;"
                                                : NULL;
        if (entity)
            md_jout_puts(&o, entity, md_jstr_mark(s, at));
        else
            md_jout_part(&o, s, at, 1);
    }
    return md_jout_finish(&o, false);
}

unsigned char md_jstr_from(const md_jstr *s)
{
    if (!s->mark)
        return s->from;
    return memchr(s->mark, MD_SEGMENT_MESSAGE, s->n) ? MD_SEGMENT_MESSAGE : MD_SEGMENT_TEMPLATE;
}

static void put_marks(unsigned char *to, const md_jstr *s)
{
    if (s->mark)
        memcpy(to, s->mark, s->n);
    else
        memset(to, s->from, s->n);
}

/* Is b's text appended to a's storage without a mark array? */
static bool plain_append(const md_jstr *a, const md_jstr *b)
{
    return !a->grow->mark && !a->mark && !b->mark && a->from == b->from;
}

/* Appends b where a's storage has room right behind a. */
static const md_jstr *append_in_place(md_jrun *r, const md_jstr *a, const md_jstr *b)
{
    md_jgrow *g = a->grow;
    const size_t start = (size_t)(a->s - g->s);
    md_jstr *str = md_jalloc(r, 1, sizeof *str);
    if (!str)
        return NULL;
    if (!plain_append(a, b) && !g->mark) {
        g->mark = md_jalloc(r, g->cap, 1);
        if (!g->mark)
            return NULL;
        memset(g->mark, a->from, g->used); /* no marks so far: the storage was of one kind */
    }
    memcpy(g->s + g->used, b->s, b->n);
    if (g->mark)
        put_marks(g->mark + g->used, b);
    g->used += b->n;
    *str = (md_jstr){a->s, a->n + b->n, g->mark ? g->mark + start : NULL, a->from, g, false};
    return str;
}

enum { GROW_FROM = 256 }; /* bytes: shorter results get no spare room */

const md_jstr *md_jstr_concat(md_jrun *r, const md_jstr *a, const md_jstr *b)
{
    if (a->n == 0)
        return b;
    if (b->n == 0)
        return a;
    const size_t n = a->n + b->n; /* neither is longer than limit.output */
    if (n > r->limit.output) {
        md_jfail(r, MD_ERR_LIMIT, "a string grew past %zu bytes", r->limit.output);
        return NULL;
    }
    if (md_jcharge_bytes(r, b->n) != MD_OK)
        return NULL;
    if (a->grow && a->s + a->n == a->grow->s + a->grow->used && a->grow->cap - a->grow->used >= b->n)
        return append_in_place(r, a, b);
    if (md_jcharge_bytes(r, a->n) != MD_OK)
        return NULL;
    const bool mixed = a->mark || b->mark || a->from != b->from;
    const size_t cap = n < GROW_FROM ? n : n * 2;
    char *s = md_jalloc(r, cap, 1);
    unsigned char *mark = mixed ? md_jalloc(r, cap, 1) : NULL;
    md_jgrow *grow = cap > n ? md_jalloc(r, 1, sizeof *grow) : NULL;
    md_jstr *str = md_jalloc(r, 1, sizeof *str);
    if (!s || !str || (mixed && !mark) || (cap > n && !grow))
        return NULL;
    memcpy(s, a->s, a->n);
    memcpy(s + a->n, b->s, b->n);
    if (mark) {
        put_marks(mark, a);
        put_marks(mark + a->n, b);
    }
    if (grow)
        *grow = (md_jgrow){s, mark, n, cap};
    *str = (md_jstr){s, n, mark, a->from, grow, false};
    return str;
}

bool md_jstr_same(const md_jstr *a, const md_jstr *b)
{
    return a == b || (a->n == b->n && (a->n == 0 || memcmp(a->s, b->s, a->n) == 0));
}

bool md_jstr_is(const md_jstr *a, const char *literal)
{
    return a->n == strlen(literal) && memcmp(a->s, literal, a->n) == 0;
}

int md_jstr_order(const md_jstr *a, const md_jstr *b)
{
    /* The bytes of UTF-8 sort as its code points do. */
    const size_t n = a->n < b->n ? a->n : b->n;
    const int d = n ? memcmp(a->s, b->s, n) : 0;
    if (d != 0)
        return d < 0 ? -1 : 1;
    return (a->n > b->n) - (a->n < b->n);
}

size_t md_jstr_find(const md_jstr *s, const md_jstr *what, size_t start)
{
    if (start > s->n || what->n > s->n - start)
        return SIZE_MAX;
    if (what->n == 0)
        return start;
    const char *p = what->n == 1 ? memchr(s->s + start, what->s[0], s->n - start)
                                 : memmem(s->s + start, s->n - start, what->s, what->n);
    return p ? (size_t)(p - s->s) : SIZE_MAX;
}

md_status md_jstr_find_last(md_jrun *r, const md_jstr *s, const md_jstr *what, size_t *at)
{
    *at = what->n ? SIZE_MAX : s->n;
    if (what->n == 0 || what->n > s->n)
        return MD_OK;
    for (size_t end = s->n - what->n + 1; end;) {
        const char *p = memrchr(s->s, what->s[0], end);
        const size_t hit = p ? (size_t)(p - s->s) : 0;
        MD_TRY(md_jcharge_bytes(r, end - hit + what->n)); /* candidates that fail late pay for it */
        if (!p)
            return MD_OK;
        if (memcmp(p, what->s, what->n) == 0) {
            *at = hit;
            return MD_OK;
        }
        end = hit;
    }
    return MD_OK;
}

bool md_jstr_starts(const md_jstr *s, const md_jstr *with)
{
    return s->n >= with->n && (with->n == 0 || memcmp(s->s, with->s, with->n) == 0);
}

bool md_jstr_ends(const md_jstr *s, const md_jstr *with)
{
    return s->n >= with->n && (with->n == 0 || memcmp(s->s + s->n - with->n, with->s, with->n) == 0);
}

/* ---- builder ---- */

enum { CHUNK = 112, CHUNK_MAX = 1 << 20 };

static md_jchunk *chunk_add(md_jout *o, size_t want, unsigned char from)
{
    size_t cap = o->last ? o->last->cap * 2 : CHUNK;
    if (cap > CHUNK_MAX)
        cap = CHUNK_MAX;
    if (cap < want)
        cap = want;
    md_jchunk *c = md_jalloc(o->r, 1, sizeof *c);
    if (c)
        c->s = md_jalloc(o->r, cap, 1);
    if (!c || !c->s) {
        o->failed = true;
        return NULL;
    }
    c->cap = cap;
    c->from = from;
    if (o->last)
        o->last->next = c;
    else
        o->first = c;
    o->last = c;
    return c;
}

/* Gives the chunk a mark array if bytes of another kind are about to come. */
static bool chunk_mark(md_jout *o, md_jchunk *c, bool other)
{
    if (c->mark || !other)
        return true;
    c->mark = md_jalloc(o->r, c->cap, 1);
    if (!c->mark) {
        o->failed = true;
        return false;
    }
    memset(c->mark, c->from, c->n);
    return true;
}

static void put(md_jout *o, const char *s, size_t n, const unsigned char *mark, unsigned char from)
{
    if (o->failed || n == 0)
        return;
    if (n > o->r->limit.output - o->n) {
        md_jfail(o->r, MD_ERR_LIMIT, "the output grew past %zu bytes", o->r->limit.output);
        o->failed = true;
        return;
    }
    if (md_jcharge_bytes(o->r, n) != MD_OK) {
        o->failed = true;
        return;
    }
    o->n += n;
    while (n) {
        md_jchunk *c = o->last;
        if (!c || c->n == c->cap)
            c = chunk_add(o, n < CHUNK_MAX ? n : CHUNK_MAX, from);
        if (!c || !chunk_mark(o, c, mark || c->from != from))
            return;
        const size_t part = n < c->cap - c->n ? n : c->cap - c->n;
        memcpy(c->s + c->n, s, part);
        if (c->mark && mark)
            memcpy(c->mark + c->n, mark, part);
        else if (c->mark)
            memset(c->mark + c->n, from, part);
        c->n += part;
        s += part;
        n -= part;
        if (mark)
            mark += part;
    }
}

void md_jout_bytes(md_jout *o, const char *s, size_t n, unsigned char from)
{
    put(o, s, n, NULL, from);
}

void md_jout_puts(md_jout *o, const char *s, unsigned char from)
{
    put(o, s, strlen(s), NULL, from);
}

void md_jout_part(md_jout *o, const md_jstr *s, size_t start, size_t n)
{
    put(o, s->s + start, n, s->mark ? s->mark + start : NULL, s->from);
}

void md_jout_str(md_jout *o, const md_jstr *s)
{
    put(o, s->s, s->n, s->mark, s->from);
}

void md_jout_fill(md_jout *o, char c, size_t n, unsigned char from)
{
    char some[64];
    memset(some, c, sizeof some);
    while (n && !o->failed) {
        const size_t part = n < sizeof some ? n : sizeof some;
        put(o, some, part, NULL, from);
        n -= part;
    }
}

/* Copies all chunks' text, and marks if any chunk has them or two differ. */
static bool flatten(const md_jout *o, char *s, unsigned char *mark)
{
    size_t at = 0;
    bool mixed = false;
    for (const md_jchunk *c = o->first; c; c = c->next) {
        mixed |= c->mark != NULL || c->from != o->first->from;
        if (s)
            memcpy(s + at, c->s, c->n);
        if (mark && c->mark)
            memcpy(mark + at, c->mark, c->n);
        else if (mark)
            memset(mark + at, c->from, c->n);
        at += c->n;
    }
    return mixed;
}

const md_jstr *md_jout_finish(md_jout *o, bool blend)
{
    if (o->failed)
        return NULL;
    md_jstr *str = md_jalloc(o->r, 1, sizeof *str);
    if (!str)
        return NULL;
    if (!o->first) {
        *str = (md_jstr){.s = "", .from = MD_SEGMENT_TEMPLATE};
        return str;
    }
    *str = (md_jstr){o->first->s, o->n, o->first->mark, o->first->from, NULL, false};
    if (o->first->next) {
        const bool mixed = flatten(o, NULL, NULL);
        char *s = md_jalloc(o->r, o->n, 1);
        unsigned char *mark = mixed ? md_jalloc(o->r, o->n, 1) : NULL;
        if (!s || (mixed && !mark) || md_jcharge_bytes(o->r, o->n) != MD_OK)
            return NULL;
        flatten(o, s, mark);
        str->s = s;
        str->mark = mark;
    }
    if (blend && md_jstr_from(str) == MD_SEGMENT_MESSAGE) {
        str->from = MD_SEGMENT_MESSAGE;
        str->mark = NULL;
    }
    return str;
}
