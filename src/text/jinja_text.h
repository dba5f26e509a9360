/* SPDX-License-Identifier: Apache-2.0
 *
 * Text of the template language: marked strings, the builder that makes them, code points, and values as text.
 * A byte that does not belong to valid UTF-8 counts as one code point of its own and passes through unchanged.
 * Functions that return a string return NULL on failure, with r->status set. */
#ifndef MD_TEXT_JINJA_TEXT_H
#define MD_TEXT_JINJA_TEXT_H

#include "text/jinja_value.h"

/* --- strings --- */
const md_jstr *md_jstr_new(md_jrun *r, const char *s, size_t n, unsigned char from) MD_MUST_USE;  /* copies */
const md_jstr *md_jstr_wrap(md_jrun *r, const char *s, size_t n, unsigned char from) MD_MUST_USE; /* borrows s */
const md_jstr *md_jstr_sub(md_jrun *r, const md_jstr *s, size_t start, size_t n) MD_MUST_USE;     /* shares bytes */
const md_jstr *md_jstr_concat(md_jrun *r, const md_jstr *a, const md_jstr *b) MD_MUST_USE;
const md_jstr *md_jstr_escape(md_jrun *r, const md_jstr *s) MD_MUST_USE; /* for HTML; not marked as escaped */
/* s with its `escaped` as told; shares bytes. */
const md_jstr *md_jstr_as_escaped(md_jrun *r, const md_jstr *s, bool escaped) MD_MUST_USE;
unsigned char md_jstr_from(const md_jstr *s); /* MESSAGE if any byte is */
static inline unsigned char md_jstr_mark(const md_jstr *s, size_t at)
{
    return s->mark ? s->mark[at] : s->from;
}
bool md_jstr_same(const md_jstr *a, const md_jstr *b);
bool md_jstr_is(const md_jstr *a, const char *literal);
int md_jstr_order(const md_jstr *a, const md_jstr *b); /* by code point: -1, 0, 1 */
/* Byte offset of the first occurrence of what at or after start; SIZE_MAX if there is none. */
size_t md_jstr_find(const md_jstr *s, const md_jstr *what, size_t start);
/* *at gets the byte offset of the last one, or SIZE_MAX. */
md_status md_jstr_find_last(md_jrun *r, const md_jstr *s, const md_jstr *what, size_t *at) MD_MUST_USE;
bool md_jstr_starts(const md_jstr *s, const md_jstr *with);
bool md_jstr_ends(const md_jstr *s, const md_jstr *with);

/* --- code points --- */
size_t md_jpoint_len(const char *s, size_t n);          /* bytes of the one at s; n > 0 */
size_t md_jpoint_len_before(const char *s, size_t end); /* of the one that ends at s + end; end > 0 */
uint32_t md_jpoint(const char *s, size_t n);            /* its value; U+FFFD for a stray byte */
size_t md_jpoints(const char *s, size_t n);
static inline size_t md_jstr_points(const md_jstr *s)
{
    return md_jpoints(s->s, s->n);
}
size_t md_jpoint_offset(const md_jstr *s, size_t points); /* byte offset of a code point, at most s->n */
bool md_jis_space(uint32_t cp);                           /* Python's str.isspace */
/* Removes white space, or the code points of `chars` (may be NULL), from the ends. */
const md_jstr *md_jstr_strip(md_jrun *r, const md_jstr *s, const md_jstr *chars, bool left, bool right) MD_MUST_USE;
/* Python's s[start:stop:step] over code points; stop is one past, already clamped by md_jslice_bounds. */
const md_jstr *md_jstr_slice(md_jrun *r, const md_jstr *s, int64_t start, int64_t step, size_t count) MD_MUST_USE;
enum md_jcase { MD_J_UPPER, MD_J_LOWER, MD_J_CAPITALIZE, MD_J_TITLE, MD_J_SWAPCASE };
/* Case by code point (simple mappings, and German sharp s); TITLE as str.title() does. */
const md_jstr *md_jstr_case(md_jrun *r, const md_jstr *s, enum md_jcase to) MD_MUST_USE;
/* Every occurrence, or the first `count` if that is not negative. */
const md_jstr *md_jstr_replace(md_jrun *r, const md_jstr *s, const md_jstr *old, const md_jstr *now,
                               int64_t count) MD_MUST_USE;
/* Lines without their ends, as str.splitlines. */
md_status md_jstr_lines(md_jrun *r, const md_jstr *s, bool keep_ends, md_jlist **out) MD_MUST_USE;

/* --- building text; failures are sticky and show at the end --- */
typedef struct md_jchunk {
    struct md_jchunk *next;
    char *s;
    unsigned char *mark; /* NULL while all is `from` */
    unsigned char from;
    size_t n, cap;
} md_jchunk;

typedef struct md_jout {
    md_jrun *r;
    md_jchunk *first, *last;
    size_t n;
    bool failed; /* r->status says why */
} md_jout;

static inline md_jout md_jout_new(md_jrun *r)
{
    return (md_jout){.r = r};
}
void md_jout_bytes(md_jout *o, const char *s, size_t n, unsigned char from);
void md_jout_puts(md_jout *o, const char *s, unsigned char from);
void md_jout_part(md_jout *o, const md_jstr *s, size_t start, size_t n);
void md_jout_str(md_jout *o, const md_jstr *s);
void md_jout_point(md_jout *o, uint32_t cp, unsigned char from);
void md_jout_fill(md_jout *o, char c, size_t n, unsigned char from);
/* str(v), and repr(v). */
void md_jout_value(md_jout *o, md_jval v);
void md_jout_repr(md_jout *o, md_jval v);
/* One string of all that was written; if `blend` and any byte is MESSAGE, all of it is. */
const md_jstr *md_jout_finish(md_jout *o, bool blend) MD_MUST_USE;

/* str(v): v itself if it is a string. */
const md_jstr *md_jto_str(md_jrun *r, md_jval v) MD_MUST_USE;
/* Python's repr of a float, the shortest that reads back the same. */
enum { MD_J_FLOAT_ROOM = 48 };
void md_jfloat_text(double f, char out[MD_J_FLOAT_ROOM]);
/* Reads Python's int(text, base) or float(text); false if it is none, or does not fit. */
bool md_jread_int(const md_jstr *s, int base, int64_t *i);
bool md_jread_float(const md_jstr *s, double *f);

#endif
