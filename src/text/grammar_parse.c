/* SPDX-License-Identifier: Apache-2.0
 *
 * GBNF to a tree. Refuses what is malformed with line and column, rules that are defined twice or not at all, classes
 * that hold nothing, and groups too deep inside each other; recursion follows groups only. */
#include "text/grammar_build.h"

#include "base/mem.h"
#include "base/status.h"
#include "base/utf8.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

typedef struct parser {
    md_gbuild *b;
    const char *s; /* [n] the text */
    size_t n, at;
    int depth; /* groups around here */
} parser;

#define FAIL(at, ...) return md_gbuild_fail(p->b, (at), err, __VA_ARGS__)

/* ---- shared with the compiler ---- */

bool md_gbuild_grow(void *p, size_t n, size_t *cap, size_t size, size_t max)
{
    if (n < *cap)
        return true;
    if (n >= max)
        return false;
    const size_t more = *cap < 32 ? 64 : 2 * *cap;
    void *old;
    memcpy(&old, p, sizeof old);
    void *grown = md_realloc(old, more, size);
    if (!grown)
        return false;
    memcpy(p, &grown, sizeof grown);
    *cap = more;
    return true;
}

md_status md_gbuild_fail(const md_gbuild *b, size_t at, md_error *err, const char *fmt, ...)
{
    char what[400];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    size_t line = 1, column = 1;
    for (size_t i = 0; i < at; i++) {
        const bool feed = b->g->text[i] == '\n';
        line += feed;
        column = feed ? 1 : column + ((b->g->text[i] & 0xc0) != 0x80);
    }
    return md_fail(err, MD_ERR_FORMAT, "grammar, line %zu, column %zu: %s", line, column, what);
}

md_status md_gbuild_full(md_error *err, const char *what, size_t n, size_t max)
{
    if (n < max)
        return md_fail_memory(err, "a grammar");
    return md_fail(err, MD_ERR_LIMIT, "the grammar needs more than %zu %s: lower its counts of repetition or split it",
                   max, what);
}

md_status md_gbuild_def(md_gbuild *b, const char *name, size_t n, size_t at, uint32_t *out, md_error *err)
{
    if (!md_gbuild_grow(&b->def, b->n_def, &b->def_cap, sizeof *b->def, MD_GRAMMAR_RULE_MAX))
        return md_gbuild_full(err, "rules", b->n_def, MD_GRAMMAR_RULE_MAX);
    *out = (uint32_t)b->n_def;
    b->def[b->n_def++] = (md_gdef){.name = name, .name_n = (uint32_t)n, .seen_at = (uint32_t)at};
    return MD_OK;
}

/* ---- small parts ---- */

static char peek(const parser *p)
{
    return p->at < p->n ? p->s[p->at] : '\0';
}

static bool is_name(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Blanks and comments; line feeds too where they end nothing. */
static void skip_space(parser *p, bool feeds)
{
    for (; p->at < p->n; p->at++) {
        const char c = p->s[p->at];
        if (c == '#')
            while (p->at + 1 < p->n && p->s[p->at + 1] != '\n')
                p->at++;
        else if (c != ' ' && c != '\t' && !(c == '\r' && (feeds || (p->at + 1 < p->n && p->s[p->at + 1] == '\n'))) &&
                 !(c == '\n' && feeds))
            break;
    }
}

static void after_element(parser *p)
{
    skip_space(p, p->depth > 0);
}

static md_status new_ast(parser *p, md_gast a, uint32_t *out, md_error *err)
{
    md_gbuild *b = p->b;
    if (!md_gbuild_grow(&b->ast, b->n_ast, &b->ast_cap, sizeof *b->ast, MD_GRAMMAR_NODE_MAX))
        return md_gbuild_full(err, "elements", b->n_ast, MD_GRAMMAR_NODE_MAX);
    *out = (uint32_t)b->n_ast;
    b->ast[b->n_ast++] = a;
    return MD_OK;
}

/* Adds an element behind the others of `list`. */
static void append(parser *p, uint32_t list, uint32_t element)
{
    p->b->ast[element].sibling = p->b->ast[list].child;
    p->b->ast[list].child = element;
}

static md_status parse_name(parser *p, uint32_t *rule, md_error *err)
{
    const size_t from = p->at;
    while (p->at < p->n && is_name(p->s[p->at]))
        p->at++;
    const char *name = p->s + from;
    const size_t n = p->at - from;
    md_gbuild *b = p->b;
    const size_t *known = md_hashmap_get(&b->by_name, name, n);
    if (known) {
        *rule = (uint32_t)*known;
        return MD_OK;
    }
    MD_TRY(md_gbuild_def(b, name, n, from, rule, err));
    bool added;
    return md_hashmap_put(&b->by_name, name, n, *rule, &added) ? MD_OK : md_fail_memory(err, "a grammar");
}

/* ---- characters ---- */

static int hex_digit(char c)
{
    return is_digit(c) ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static md_status parse_hex(parser *p, size_t digits, uint32_t *cp, md_error *err)
{
    const size_t from = p->at - 2;
    uint32_t v = 0;
    for (size_t i = 0; i < digits; i++) {
        const int d = hex_digit(peek(p));
        if (d < 0)
            FAIL(from, "\\%c wants %zu hexadecimal digits", p->s[from + 1], digits);
        v = v << 4 | (uint32_t)d;
        p->at++;
    }
    if (v > 0x10ffff)
        FAIL(from, "U+%X is beyond the last character, U+10FFFF", v);
    *cp = v;
    return MD_OK;
}

static md_status parse_escape(parser *p, uint32_t *cp, md_error *err)
{
    const char c = p->at + 1 < p->n ? p->s[p->at + 1] : '\0';
    static const char plain[] = "\\\"[]-", short_[] = "trn";
    const char *found;
    if (c == '\0')
        FAIL(p->at, "a backslash with nothing to escape; write \\\\ for a backslash");
    p->at += 2;
    if (c == 'x' || c == 'u' || c == 'U')
        return parse_hex(p, c == 'x' ? 2 : c == 'u' ? 4 : 8, cp, err);
    if ((found = strchr(short_, c)))
        *cp = (uint32_t)(unsigned char)"\t\r\n"[found - short_];
    else if (strchr(plain, c))
        *cp = (uint32_t)(unsigned char)c;
    else
        FAIL(p->at - 2, "unknown escape \\%c; there are \\n \\r \\t \\\\ \\\" \\[ \\] \\- \\xHH \\uHHHH \\UHHHHHHHH",
             c >= 0x20 && c < 0x7f ? c : '?');
    return MD_OK;
}

/* One character of a literal or a class, escaped or as it is. */
static md_status parse_char(parser *p, uint32_t *cp, md_error *err)
{
    if (peek(p) == '\\')
        return parse_escape(p, cp, err);
    const int len = md_utf8_decode(p->s + p->at, p->n - p->at, cp);
    if (len == 0)
        FAIL(p->at, "bytes that are not UTF-8");
    p->at += (size_t)len;
    return MD_OK;
}

static md_status parse_literal(parser *p, uint32_t *out, md_error *err)
{
    const size_t from = p->at++;
    MD_TRY(new_ast(p, (md_gast){.kind = MD_GAST_SEQ}, out, err));
    while (peek(p) != '"') {
        if (p->at >= p->n)
            FAIL(from, "a text in quotes does not end");
        uint32_t cp, ast;
        const size_t at = p->at;
        MD_TRY(parse_char(p, &cp, err));
        if (cp >= 0xd800 && cp <= 0xdfff)
            FAIL(at, "U+%X is half of a surrogate pair, not a character; use \\U with the whole one", cp);
        MD_TRY(new_ast(p, (md_gast){.kind = MD_GAST_CHAR, .a = cp}, &ast, err));
        append(p, *out, ast);
    }
    p->at++;
    return MD_OK;
}

static md_status push_range(parser *p, uint32_t lo, uint32_t hi, md_error *err)
{
    md_grammar *g = p->b->g;
    if (!md_gbuild_grow(&g->range, g->n_ranges, &p->b->range_cap, sizeof *g->range, MD_GRAMMAR_RANGE_MAX))
        return md_gbuild_full(err, "ranges of characters", g->n_ranges, MD_GRAMMAR_RANGE_MAX);
    g->range[g->n_ranges++] = (md_grange){.lo = lo, .hi = hi};
    return MD_OK;
}

static md_status add_class(parser *p, size_t from, size_t first, bool negated, uint32_t *out, md_error *err)
{
    uint32_t class_;
    MD_TRY(md_gbuild_class(p->b, first, negated, &class_, err));
    if (p->b->g->class_[class_].n == 0)
        FAIL(from, "this class of characters holds none");
    return new_ast(p, (md_gast){.kind = MD_GAST_CLASS, .a = class_}, out, err);
}

static md_status parse_class(parser *p, uint32_t *out, md_error *err)
{
    const size_t from = p->at++, first = p->b->g->n_ranges;
    const bool negated = peek(p) == '^';
    p->at += negated;
    while (peek(p) != ']') {
        if (p->at >= p->n)
            FAIL(from, "a class of characters does not end");
        const size_t at = p->at;
        uint32_t lo, hi;
        MD_TRY(parse_char(p, &lo, err));
        hi = lo;
        if (peek(p) == '-' && p->at + 1 < p->n && p->s[p->at + 1] != ']') {
            p->at++;
            MD_TRY(parse_char(p, &hi, err));
        }
        if (hi < lo)
            FAIL(at, "a range from U+%X down to U+%X", lo, hi);
        MD_TRY(push_range(p, lo, hi, err));
    }
    p->at++;
    return add_class(p, from, first, negated, out, err);
}

/* ---- tokens ---- */

static md_status parse_token_id(parser *p, size_t from, int32_t *id, md_error *err)
{
    int64_t v = 0;
    p->at++;
    const size_t digits = p->at;
    while (is_digit(peek(p)) && v <= INT32_MAX)
        v = 10 * v + (p->s[p->at++] - '0');
    if (p->at == digits || p->at + 1 >= p->n || p->s[p->at] != ']' || p->s[p->at + 1] != '>')
        FAIL(from, "a token by number is written <[123]>");
    p->at += 2;
    const md_tokenizer *t = p->b->tokenizer;
    if (v > INT32_MAX || (t && v >= md_tokenizer_size(t)))
        FAIL(from, "there is no token of that number; the vocabulary has %d", t ? md_tokenizer_size(t) : INT32_MAX);
    *id = (int32_t)v;
    return MD_OK;
}

static md_status parse_token_name(parser *p, size_t from, int32_t *id, md_error *err)
{
    const char *start = p->s + p->at - 1, *end = memchr(start, '>', p->n - p->at + 1);
    if (!end || memchr(start, '\n', (size_t)(end - start)))
        FAIL(from, "a token by name does not end in '>'");
    const size_t n = (size_t)(end - start) + 1;
    const int shown = n < 80 ? (int)n : 80;
    p->at += n - 1;
    if (!p->b->tokenizer)
        FAIL(from, "token %.*s is given by name, and there is no vocabulary to look it up in", shown, start);
    md_tokens found = {0};
    const md_status status = md_tokenize(p->b->tokenizer, start, n, MD_TOKENIZE_SPECIAL | MD_TOKENIZE_INNER, &found,
                                         err);
    const size_t n_found = found.n;
    *id = n_found == 1 ? found.id[0] : -1;
    md_tokens_done(&found);
    MD_TRY(status);
    if (n_found != 1)
        FAIL(from, "%.*s is not one token of the vocabulary but %zu; write it in quotes as text", shown, start,
             n_found);
    return MD_OK;
}

static md_status parse_token(parser *p, uint32_t *out, md_error *err)
{
    const size_t from = p->at;
    const bool negated = peek(p) == '!';
    p->at += negated;
    if (peek(p) != '<')
        FAIL(from, "'!' stands before a token only: !<name> or !<[123]>");
    p->at++;
    int32_t id = 0;
    if (peek(p) == '[')
        MD_TRY(parse_token_id(p, from, &id, err));
    else
        MD_TRY(parse_token_name(p, from, &id, err));
    if (id > p->b->g->last_token)
        p->b->g->last_token = id;
    return new_ast(p, (md_gast){.kind = MD_GAST_TOKEN, .a = (uint32_t)id, .b = negated}, out, err);
}

/* ---- repetition ---- */

static md_status parse_count(parser *p, uint32_t *out, md_error *err)
{
    uint64_t v = 0;
    const size_t from = p->at;
    while (is_digit(peek(p))) {
        v = 10 * v + (uint64_t)(p->s[p->at++] - '0');
        if (v > MD_GRAMMAR_NODE_MAX)
            return md_gbuild_full(err, "nodes", v, MD_GRAMMAR_NODE_MAX);
    }
    if (p->at == from)
        FAIL(from, "a number is missing; a repetition is written {3}, {3,} or {3,5}");
    *out = (uint32_t)v;
    after_element(p);
    return MD_OK;
}

/* At '*', '+', '?' or '{': how often. */
static md_status parse_times(parser *p, uint32_t *least, uint32_t *most, md_error *err)
{
    const size_t from = p->at;
    const char c = p->s[p->at++];
    *least = c == '+';
    *most = c == '?' ? 1 : MD_GAST_NO_MOST;
    if (c != '{')
        return MD_OK;
    after_element(p);
    MD_TRY(parse_count(p, least, err));
    *most = *least;
    if (peek(p) == ',') {
        p->at++;
        after_element(p);
        *most = MD_GAST_NO_MOST;
        if (peek(p) != '}')
            MD_TRY(parse_count(p, most, err));
    }
    if (peek(p) != '}')
        FAIL(p->at, "'}' is missing; a repetition is written {3}, {3,} or {3,5}");
    p->at++;
    if (*most < *least)
        FAIL(from, "a repetition of at least %u and at most %u times", *least, *most);
    return MD_OK;
}

/* The last element of the sequence becomes a repetition of itself. */
static md_status parse_repeat(parser *p, uint32_t seq, md_error *err)
{
    const uint32_t last = p->b->ast[seq].child;
    if (last == 0)
        FAIL(p->at, "'%c' with nothing in front of it to repeat", p->s[p->at]);
    if (p->b->ast[last].kind == MD_GAST_REPEAT)
        FAIL(p->at, "'%c' right behind another repetition; put the first one in parentheses", p->s[p->at]);
    md_gast repeat = {.kind = MD_GAST_REPEAT, .child = last};
    MD_TRY(parse_times(p, &repeat.a, &repeat.b, err));
    uint32_t out;
    repeat.sibling = p->b->ast[last].sibling;
    MD_TRY(new_ast(p, repeat, &out, err));
    p->b->ast[last].sibling = 0;
    p->b->ast[seq].child = out;
    return MD_OK;
}

/* ---- sequences, alternatives, rules ---- */

static md_status parse_alternatives(parser *p, uint32_t *out, md_error *err);

static md_status parse_group(parser *p, uint32_t *out, md_error *err)
{
    const size_t from = p->at++;
    MD_FAIL_IF(p->depth >= MD_GRAMMAR_GROUP_MAX, MD_ERR_LIMIT,
               "the grammar has more than %d groups inside each other: make some of them rules", MD_GRAMMAR_GROUP_MAX);
    p->depth++;
    skip_space(p, true);
    MD_TRY(parse_alternatives(p, out, err));
    if (peek(p) != ')')
        FAIL(p->at < p->n ? p->at : from, p->at < p->n ? "')' or an element is expected here" : "a group does not end");
    p->at++;
    p->depth--;
    return MD_OK;
}

static md_status parse_reference(parser *p, uint32_t *out, md_error *err)
{
    uint32_t rule;
    MD_TRY(parse_name(p, &rule, err));
    return new_ast(p, (md_gast){.kind = MD_GAST_REF, .a = rule}, out, err);
}

static md_status parse_any(parser *p, uint32_t *out, md_error *err)
{
    const size_t first = p->b->g->n_ranges;
    MD_TRY(push_range(p, 0, 0x10ffff, err));
    return add_class(p, p->at++, first, false, out, err);
}

static md_status parse_sequence(parser *p, uint32_t *out, md_error *err)
{
    MD_TRY(new_ast(p, (md_gast){.kind = MD_GAST_SEQ}, out, err));
    for (;; after_element(p)) {
        const char c = peek(p);
        uint32_t element = 0;
        if (c == '"')
            MD_TRY(parse_literal(p, &element, err));
        else if (c == '[')
            MD_TRY(parse_class(p, &element, err));
        else if (c == '(')
            MD_TRY(parse_group(p, &element, err));
        else if (c == '<' || c == '!')
            MD_TRY(parse_token(p, &element, err));
        else if (c == '.')
            MD_TRY(parse_any(p, &element, err));
        else if (is_name(c))
            MD_TRY(parse_reference(p, &element, err));
        else if (c == '*' || c == '+' || c == '?' || c == '{')
            MD_TRY(parse_repeat(p, *out, err));
        else
            return MD_OK;
        if (element)
            append(p, *out, element);
    }
}

static md_status parse_alternatives(parser *p, uint32_t *out, md_error *err)
{
    MD_TRY(new_ast(p, (md_gast){.kind = MD_GAST_ALT}, out, err));
    for (;;) {
        uint32_t seq;
        MD_TRY(parse_sequence(p, &seq, err));
        append(p, *out, seq);
        if (peek(p) != '|')
            return MD_OK;
        p->at++;
        skip_space(p, true);
    }
}

static md_status parse_rule(parser *p, md_error *err)
{
    const size_t from = p->at;
    uint32_t rule, ast;
    if (!is_name(peek(p)))
        FAIL(from, "a rule, name ::= ..., is expected here");
    MD_TRY(parse_name(p, &rule, err));
    const md_gdef *d = &p->b->def[rule];
    if (d->ast)
        FAIL(from, "rule '%.*s' is defined a second time", (int)(d->name_n < 80 ? d->name_n : 80), d->name);
    skip_space(p, false);
    if (p->n - p->at < 3 || memcmp(p->s + p->at, "::=", 3) != 0)
        FAIL(p->at, "'::=' is expected after the name of a rule");
    p->at += 3;
    skip_space(p, true);
    MD_TRY(parse_alternatives(p, &ast, err));
    p->b->def[rule].ast = ast;
    if (p->at < p->n && peek(p) != '\n' && peek(p) != '\r')
        FAIL(p->at, "an element, '|' or the end of the line is expected here");
    skip_space(p, true);
    return MD_OK;
}

md_status md_grammar_parse(md_gbuild *b, md_error *err)
{
    parser parsing = {.b = b, .s = b->g->text, .n = strlen(b->g->text)}, *p = &parsing;
    uint32_t root;
    MD_TRY(new_ast(p, (md_gast){0}, &root, err)); /* 0 is nothing */
    skip_space(p, true);
    while (p->at < p->n)
        MD_TRY(parse_rule(p, err));
    for (size_t i = 0; i < b->n_def; i++)
        if (!b->def[i].ast)
            FAIL(b->def[i].seen_at, "rule '%.*s' is used and not defined",
                 (int)(b->def[i].name_n < 80 ? b->def[i].name_n : 80), b->def[i].name);
    const size_t *found = md_hashmap_get(&b->by_name, "root", 4);
    MD_FAIL_IF(!found, MD_ERR_FORMAT, "the grammar has no rule 'root' to begin with");
    b->g->root = (uint32_t)*found;
    return MD_OK;
}
