/* SPDX-License-Identifier: Apache-2.0 */
#include "text/jinja_lex.h"
#include "text/jinja_text.h"
#include "base/utf8.h"

#include <string.h>

enum { MAX_NESTING = 256 }; /* open brackets inside one tag */

typedef struct lexer {
    const char *s; /* the normalised source */
    size_t n, at;
    md_jpos pos; /* of s[counted] */
    size_t counted;
    bool line_starting;     /* the previous tag ended with a line break, or nothing came before */
    char open[MAX_NESTING]; /* closing brackets expected */
    int n_open;
    md_arena *arena;
    md_jtokens *out;
    md_error *err;
} lexer;

/* Places are asked for in the order of the text, so that counting is linear. */
static md_jpos pos_at(lexer *x, size_t at)
{
    for (; x->counted < at; x->counted++) {
        const unsigned char c = (unsigned char)x->s[x->counted];
        if (c == '\n')
            x->pos = (md_jpos){x->pos.line + 1, 1};
        else if ((c & 0xc0) != 0x80)
            x->pos.column++;
    }
    return x->pos;
}

static md_status push(lexer *x, md_jtoken t, size_t at)
{
    md_jtokens *out = x->out;
    if (out->n == out->cap) {
        const size_t cap = out->cap ? out->cap * 2 : 256;
        md_jtoken *p = md_realloc(out->at, cap, sizeof *p);
        if (!p)
            return md_fail_memory(x->err, "a chat template");
        out->at = p;
        out->cap = cap;
    }
    t.pos = pos_at(x, at);
    out->at[out->n++] = t;
    return MD_OK;
}

static md_status push_type(lexer *x, enum md_jtoken_type type, size_t at)
{
    return push(x, (md_jtoken){.type = type}, at);
}

static md_status fail(lexer *x, size_t at, const char *what)
{
    const md_jpos pos = pos_at(x, at);
    return md_fail(x->err, MD_ERR_FORMAT, MD_JPOS ": %s", pos.line, pos.column, what);
}

static bool space_at(const lexer *x, size_t at, size_t *len)
{
    if (at >= x->n)
        return false;
    *len = md_jpoint_len(x->s + at, x->n - at);
    return md_jis_space(md_jpoint(x->s + at, x->n - at));
}

static size_t skip_space(const lexer *x, size_t at)
{
    size_t len;
    while (space_at(x, at, &len))
        at += len;
    return at;
}

static bool starts(const lexer *x, size_t at, const char *with)
{
    const size_t n = strlen(with);
    return at <= x->n && x->n - at >= n && memcmp(x->s + at, with, n) == 0;
}

static bool name_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

/* ---- ends of tags ---- */

/* A tag's end at `at`: '-' eats the white space behind it, a block or comment otherwise one line break unless '+'. */
static bool tag_end(lexer *x, size_t at, const char *mark, bool trims, size_t *next)
{
    const bool minus = starts(x, at, "-") && starts(x, at + 1, mark);
    const bool plus = trims && starts(x, at, "+") && starts(x, at + 1, mark);
    if (!minus && !plus && !starts(x, at, mark))
        return false;
    size_t end = at + (minus || plus) + strlen(mark);
    if (minus)
        end = skip_space(x, end);
    else if (trims && !plus && starts(x, end, "\n"))
        end++;
    *next = end;
    x->line_starting = x->s[end - 1] == '\n';
    return true;
}

/* ---- literals ---- */

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Python's escapes of a string literal. Writes at most as many bytes as it reads; *at moves past the escape. */
static md_status unescape(lexer *x, size_t *at, size_t end, char *out, size_t *n)
{
    static const char plain[] = "\\'\"abfnrtv", value[] = "\\'\"\a\b\f\n\r\t\v";
    const char c = x->s[*at + 1];
    const char *known = strchr(plain, c);
    const size_t digits = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
    uint32_t cp = 0;
    size_t i = *at + 2;
    if (c == '\n') {
        *at = i;
        return MD_OK;
    }
    if (c && known) {
        out[(*n)++] = value[known - plain];
        *at = i;
        return MD_OK;
    }
    if (digits) {
        for (; i < *at + 2 + digits; i++) {
            if (i >= end || hex(x->s[i]) < 0)
                return fail(x, *at, "a \\x, \\u or \\U escape needs 2, 4 or 8 hexadecimal digits");
            cp = cp << 4 | (uint32_t)hex(x->s[i]);
        }
        if (cp > 0x10ffff || (cp >= 0xd800 && cp <= 0xdfff))
            return fail(x, *at, "an escape names a code point that does not exist");
    } else if (c >= '0' && c <= '7') {
        for (i = *at + 1; i < end && i < *at + 4 && x->s[i] >= '0' && x->s[i] <= '7'; i++)
            cp = cp << 3 | (uint32_t)(x->s[i] - '0');
    } else if (c == 'N') {
        return fail(x, *at, "\\N escapes are not supported: write \\u and the number");
    } else { /* an unknown escape stays as it is */
        out[(*n)++] = '\\';
        ++*at;
        return MD_OK;
    }
    *n += (size_t)md_utf8_encode(cp, out + *n);
    *at = i;
    return MD_OK;
}

static md_status lex_string(lexer *x)
{
    const size_t start = x->at;
    const char quote = x->s[start];
    size_t end = start + 1;
    while (end < x->n && x->s[end] != quote)
        end += x->s[end] == '\\' ? 2 : 1;
    if (end >= x->n)
        return fail(x, start, "a string has no end");
    char *text = md_arena_alloc(x->arena, end - start + 4, 1);
    if (!text)
        return md_fail_memory(x->err, "a chat template");
    size_t n = 0;
    for (size_t at = start + 1; at < end;) {
        if (x->s[at] == '\\')
            MD_TRY(unescape(x, &at, end, text, &n));
        else
            text[n++] = x->s[at++];
    }
    x->at = end + 1;
    return push(x, (md_jtoken){.type = MD_JT_STRING, .s = text, .n = n}, start);
}

/* Digits of a base with single underscores between them; 0 if there are none. */
static size_t digit_run(const lexer *x, size_t at, int base)
{
    const size_t start = at;
    while (at < x->n) {
        const size_t digit = at + (at > start && x->s[at] == '_');
        if (digit >= x->n || hex(x->s[digit]) < 0 || hex(x->s[digit]) >= base)
            break;
        at = digit + 1;
    }
    return at - start;
}

/* Length of a float literal at `at`, 0 if it is none: digits with a fraction, an exponent, or both. */
static size_t float_run(const lexer *x, size_t at)
{
    const size_t start = at;
    if (at > 0 && x->s[at - 1] == '.')
        return 0;
    at += digit_run(x, at, 10);
    const size_t whole = at;
    if (starts(x, at, ".") && digit_run(x, at + 1, 10))
        at += 1 + digit_run(x, at + 1, 10);
    if (starts(x, at, "e") || starts(x, at, "E")) {
        const size_t sign = at + 1 + (starts(x, at + 1, "-") || starts(x, at + 1, "+"));
        if (digit_run(x, sign, 10))
            at = sign + digit_run(x, sign, 10);
    }
    return at > whole ? at - start : 0;
}

static md_status lex_number(lexer *x)
{
    const size_t start = x->at;
    md_jtoken t = {.type = MD_JT_FLOAT};
    size_t len = float_run(x, start);
    md_jstr text = {.s = x->s + start, .n = len};
    if (len) {
        if (!md_jread_float(&text, &t.number.f))
            return fail(x, start, "a number cannot be read");
        x->at += len;
        return push(x, t, start);
    }
    const char kind = start + 1 < x->n && x->s[start] == '0' ? (char)(x->s[start + 1] | 0x20) : '\0';
    const int base = kind == 'x' ? 16 : kind == 'o' ? 8 : kind == 'b' ? 2 : 10;
    len = base == 10 ? 0 : digit_run(x, start + 2, base);
    text.n = len ? len + 2 : 0;
    if (!len) {
        text.n = digit_run(x, start, x->s[start] == '0' ? 1 : 10); /* 0 and 00 are numbers, 07 is none */
    }
    t.type = MD_JT_INT;
    if (!md_jread_int(&text, len ? base : 10, &t.number.i))
        return fail(x, start, "an integer does not fit 64 bits");
    x->at += text.n;
    return push(x, t, start);
}

/* ---- inside tags ---- */

static md_status balance(lexer *x, char c)
{
    static const char opening[] = "([{", closing[] = ")]}";
    const char *open = strchr(opening, c), *close = strchr(closing, c);
    if (open) {
        const md_jpos pos = pos_at(x, x->at);
        if (x->n_open == MAX_NESTING)
            return md_fail(x->err, MD_ERR_LIMIT, MD_JPOS ": brackets are nested too deep", pos.line, pos.column);
        x->open[x->n_open++] = closing[open - opening];
    } else if (close) {
        if (x->n_open == 0 || x->open[x->n_open - 1] != c)
            return fail(x, x->at, "a closing bracket has no opening one of its kind");
        x->n_open--;
    }
    return MD_OK;
}

static md_status lex_operator(lexer *x)
{
    static const char *const two[] = {"//", "**", "==", "!=", ">=", "<="};
    for (size_t i = 0; i < sizeof two / sizeof *two; i++)
        if (starts(x, x->at, two[i])) {
            x->at += 2;
            return push(x, (md_jtoken){.type = MD_JT_OPERATOR, .code = MD_JOP(two[i][0], two[i][1])}, x->at - 2);
        }
    const char c = x->s[x->at];
    const md_jpos pos = pos_at(x, x->at);
    if (!c || !strchr("+-/*%~[](){}><=.:|,;", c)) {
        if (c <= ' ' || c > '~')
            return fail(x, x->at, "a character that has no meaning here");
        return md_fail(x->err, MD_ERR_FORMAT, MD_JPOS ": unexpected '%c'", pos.line, pos.column, c);
    }
    MD_TRY(balance(x, c));
    x->at++;
    return push(x, (md_jtoken){.type = MD_JT_OPERATOR, .code = c}, x->at - 1);
}

/* Everything from behind the opening mark to behind the closing one. */
static md_status lex_tag(lexer *x, bool output)
{
    const md_jpos open = x->out->at[x->out->n - 1].pos; /* the mark that was just pushed */
    x->n_open = 0;
    for (;;) {
        x->at = skip_space(x, x->at);
        if (x->at >= x->n)
            return md_fail(x->err, MD_ERR_FORMAT, MD_JPOS ": '%s' is never closed", open.line, open.column,
                           output ? "{{" : "{%");
        size_t next;
        if (x->n_open == 0 && tag_end(x, x->at, output ? "}}" : "%}", !output, &next)) {
            MD_TRY(push_type(x, output ? MD_JT_OUTPUT_END : MD_JT_BLOCK_END, x->at));
            x->at = next;
            return MD_OK;
        }
        const char c = x->s[x->at];
        if (c >= '0' && c <= '9') {
            MD_TRY(lex_number(x));
        } else if (name_char(c)) {
            const size_t from = x->at;
            while (x->at < x->n && name_char(x->s[x->at]))
                x->at++;
            MD_TRY(push(x, (md_jtoken){.type = MD_JT_NAME, .s = x->s + from, .n = x->at - from}, from));
        } else if (c == '"' || c == '\'') {
            MD_TRY(lex_string(x));
        } else {
            MD_TRY(lex_operator(x));
        }
    }
}

/* ---- between tags ---- */

/* Where data[from, to) in front of a tag ends, once the tag's sign and lstrip_blocks had their say. */
static size_t data_end(const lexer *x, size_t from, size_t to, char sign, bool output)
{
    const md_jstr data = {.s = x->s + from, .n = to - from};
    size_t end = data.n;
    if (sign == '-') {
        size_t keep = 0;
        for (size_t at = 0, len = 1; at < data.n; at += len)
            if (!space_at(x, from + at, &len))
                keep = at + len;
        return from + keep;
    }
    if (sign == '+' || output)
        return to;
    const char *newline = data.n ? memrchr(data.s, '\n', data.n) : NULL;
    const size_t line = newline ? (size_t)(newline + 1 - data.s) : 0;
    if ((line > 0 || x->line_starting) && skip_space(x, from + line) >= to)
        end = line;
    return from + end;
}

static md_status push_data(lexer *x, size_t from, size_t to)
{
    if (from == to)
        return MD_OK;
    return push(x, (md_jtoken){.type = MD_JT_DATA, .s = x->s + from, .n = to - from}, from);
}

/* Past "raw" and the end of its tag if {% at `at` begins a raw block. */
static bool raw_begin(lexer *x, size_t at, size_t *next)
{
    at = skip_space(x, at);
    if (!starts(x, at, "raw"))
        return false;
    at = skip_space(x, at + 3);
    if (starts(x, at, "-%}"))
        *next = skip_space(x, at + 3);
    else if (starts(x, at, "%}"))
        *next = at + 2;
    else
        return false;
    x->line_starting = x->s[*next - 1] == '\n';
    return true;
}

static md_status lex_raw(lexer *x, size_t tag)
{
    const size_t from = x->at;
    for (size_t at = from;; at++) {
        const char *open = at < x->n ? memmem(x->s + at, x->n - at, "{%", 2) : NULL;
        if (!open)
            return fail(x, tag, "{% raw %} has no {% endraw %}");
        at = (size_t)(open - x->s);
        const char sign = starts(x, at + 2, "-") ? '-' : starts(x, at + 2, "+") ? '+' : '\0';
        const size_t word = skip_space(x, at + 2 + (sign != '\0'));
        size_t next;
        const bool was_starting = x->line_starting;
        if (starts(x, word, "endraw") && tag_end(x, skip_space(x, word + 6), "%}", true, &next)) {
            const bool now_starting = x->line_starting;
            x->line_starting = was_starting;
            MD_TRY(push_data(x, from, data_end(x, from, at, sign, false)));
            x->line_starting = now_starting;
            x->at = next;
            return MD_OK;
        }
    }
}

static md_status lex_comment(lexer *x, size_t tag)
{
    const size_t start = x->at;
    const char *close = memmem(x->s + start, x->n - start, "#}", 2);
    if (!close)
        return fail(x, tag, "'{#' is never closed");
    size_t at = (size_t)(close - x->s), next = 0;
    if (at > start && (x->s[at - 1] == '-' || x->s[at - 1] == '+'))
        at--;
    (void)tag_end(x, at, "#}", true, &next);
    x->at = next;
    return MD_OK;
}

/* The next "{{", "{%" or "{#" at or after `at`; x->n if there is none. */
static size_t next_tag(const lexer *x, size_t at)
{
    while (at < x->n) {
        const char *brace = memchr(x->s + at, '{', x->n - at);
        if (!brace)
            break;
        at = (size_t)(brace - x->s);
        if (at + 1 < x->n && strchr("{%#", x->s[at + 1]) && x->s[at + 1])
            return at;
        at++;
    }
    return x->n;
}

static md_status lex_all(lexer *x)
{
    while (x->at < x->n) {
        const size_t from = x->at, tag = next_tag(x, from);
        if (tag == x->n) {
            MD_TRY(push_data(x, from, tag));
            break;
        }
        const char kind = x->s[tag + 1];
        const char sign = starts(x, tag + 2, "-") ? '-' : starts(x, tag + 2, "+") ? '+' : '\0';
        MD_TRY(push_data(x, from, data_end(x, from, tag, sign, kind == '{')));
        x->line_starting = false;
        x->at = tag + 2 + (sign != '\0');
        size_t next;
        if (kind == '#') {
            MD_TRY(lex_comment(x, tag));
        } else if (kind == '%' && raw_begin(x, x->at, &next)) {
            x->at = next;
            MD_TRY(lex_raw(x, tag));
        } else {
            MD_TRY(push_type(x, kind == '{' ? MD_JT_OUTPUT_BEGIN : MD_JT_BLOCK_BEGIN, tag));
            MD_TRY(lex_tag(x, kind == '{'));
        }
    }
    return push_type(x, MD_JT_END, x->n);
}

/* Checks that the source is UTF-8 and writes it with "\n" for every line break, without a last one. */
static md_status normalise(const char *source, size_t n, char *out, size_t *out_n, md_error *err)
{
    md_jpos pos = {1, 1};
    size_t m = 0;
    for (size_t at = 0; at < n;) {
        uint32_t cp;
        const int len = md_utf8_decode(source + at, n - at, &cp);
        MD_FAIL_IF(len == 0 || cp == 0, MD_ERR_FORMAT, MD_JPOS ": the template is not UTF-8 text", pos.line,
                   pos.column);
        if (cp == '\r' || cp == '\n') {
            at += cp == '\r' && at + 1 < n && source[at + 1] == '\n' ? 2 : 1;
            out[m++] = '\n';
            pos = (md_jpos){pos.line + 1, 1};
            continue;
        }
        memcpy(out + m, source + at, (size_t)len);
        m += (size_t)len;
        at += (size_t)len;
        pos.column++;
    }
    if (m && out[m - 1] == '\n')
        m--;
    *out_n = m;
    return MD_OK;
}

md_status md_jlex(const char *source, size_t n, md_arena *arena, md_jtokens *out, md_error *err)
{
    *out = (md_jtokens){0};
    char *text = md_arena_alloc(arena, n + 1, 1);
    if (!text)
        return md_fail_memory(err, "a chat template");
    lexer x = {.s = text, .pos = {1, 1}, .line_starting = true, .arena = arena, .out = out, .err = err};
    MD_TRY(normalise(source, n, text, &x.n, err));
    const md_status status = lex_all(&x);
    if (status != MD_OK)
        md_jtokens_done(out);
    return status;
}

void md_jtokens_done(md_jtokens *t)
{
    md_free(t->at);
    *t = (md_jtokens){0};
}
