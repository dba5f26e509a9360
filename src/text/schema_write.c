/* SPDX-License-Identifier: Apache-2.0
 *
 * Pieces of GBNF, and the rules that all schemas share. White space is bounded, so that a model cannot lose itself in
 * it; numbers have few enough digits for any reader to keep them. */
#include "text/schema.h"

#include "base/status.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

void md_schema_put_text(md_buf *out, const char *text, size_t n)
{
    md_buf_putc(out, '"');
    for (size_t i = 0; i < n; i++) {
        const unsigned char c = (unsigned char)text[i];
        if (c == '"' || c == '\\')
            md_buf_printf(out, "\\%c", c);
        else if (c < 0x20 || c == 0x7f)
            md_buf_printf(out, "\\x%02X", c);
        else
            md_buf_putc(out, text[i]);
    }
    md_buf_putc(out, '"');
}

md_status md_schema_put_json(md_buf *out, const json_t *value, md_error *err)
{
    char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
    if (!text)
        return md_fail_memory(err, "a grammar");
    md_schema_put_text(out, text, strlen(text));
    free(text);
    return MD_OK;
}

void md_schema_put_point(md_buf *out, uint32_t cp)
{
    if ((cp >= '0' && cp <= '9') || (cp >= 'A' && cp <= 'Z') || (cp >= 'a' && cp <= 'z'))
        md_buf_putc(out, (char)cp);
    else if (cp < 0x100)
        md_buf_printf(out, "\\x%02" PRIX32, cp);
    else if (cp < 0x10000)
        md_buf_printf(out, "\\u%04" PRIX32, cp);
    else
        md_buf_printf(out, "\\U%08" PRIX32, cp);
}

void md_schema_put_times(md_buf *out, int64_t least, int64_t most)
{
    if (most < 0)
        md_buf_printf(out, "{%" PRId64 ",}", least);
    else
        md_buf_printf(out, "{%" PRId64 ",%" PRId64 "}", least, most);
}

/* ---- ranges of numbers ---- */

static bool all_are(const char *s, size_t n, char c)
{
    for (size_t i = 0; i < n; i++)
        if (s[i] != c)
            return false;
    return true;
}

static void put_digit_range(md_buf *out, char from, char to, size_t more)
{
    md_buf_printf(out, "[%c-%c]", from, to);
    if (more > 0)
        md_buf_printf(out, " [0-9]{%zu}", more);
}

/* Numbers of n digits from a to b. */
static void put_digits(md_buf *out, const char *a, const char *b, size_t n)
{
    static const char zeros[] = "00000000000000000000", nines[] = "99999999999999999999";
    while (n > 0 && *a == *b) {
        md_buf_printf(out, "\"%c\" ", *a);
        a++;
        b++;
        n--;
    }
    if (n == 0)
        return;
    const bool low = all_are(a + 1, n - 1, '0'), high = all_are(b + 1, n - 1, '9');
    const char from = (char)(*a + !low), to = (char)(*b - !high);
    const char *bar = "(";
    if (!low) {
        md_buf_printf(out, "(\"%c\" ", *a);
        put_digits(out, a + 1, nines, n - 1);
        bar = " | ";
    }
    if (from <= to) {
        md_buf_puts(out, bar);
        put_digit_range(out, from, to, n - 1);
        bar = " | ";
    }
    if (!high) {
        md_buf_printf(out, "%s\"%c\" ", bar, *b);
        put_digits(out, zeros, b + 1, n - 1);
    }
    md_buf_puts(out, ")");
}

void md_schema_put_range(md_buf *out, uint64_t lo, uint64_t hi)
{
    const char *bar = "(";
    uint64_t first = 1; /* of the numbers with `n` digits */
    for (size_t n = 1; n <= 20; n++) {
        const uint64_t last = n == 20 ? UINT64_MAX : 10 * first - 1, from = n == 1 ? 0 : first;
        if (lo <= last && hi >= from) {
            char a[24], b[24];
            snprintf(a, sizeof a, "%" PRIu64, lo > from ? lo : from);
            snprintf(b, sizeof b, "%" PRIu64, hi < last ? hi : last);
            md_buf_puts(out, bar);
            put_digits(out, a, b, n);
            bar = " | ";
        }
        if (n < 20)
            first *= 10;
    }
    md_buf_puts(out, ")");
}

/* ---- keywords ---- */

md_status md_schema_count(const json_t *flat, const char *keyword, int64_t preset, const char *path, int64_t *out,
                          md_error *err)
{
    const json_t *v = json_object_get(flat, keyword);
    *out = preset;
    if (!v)
        return MD_OK;
    const double number = json_number_value(v);
    MD_FAIL_IF(!json_is_number(v) || number < 0 || number > 1e9 || number != (double)(int64_t)number, MD_ERR_FORMAT,
               "'%s' at %s wants a whole number from 0 to 1000000000", keyword, path);
    *out = (int64_t)number;
    return MD_OK;
}

static const struct {
    unsigned use, needs;
    const char *line;
} shared[] = {
    {MD_USE_VALUE, MD_USE_STRING | MD_USE_NUMBER | MD_USE_WS,
     "value ::= \"{\" ws (string \":\" ws value (\",\" ws string \":\" ws value)* ws)? \"}\" |"
     " \"[\" ws (value (\",\" ws value)* ws)? \"]\" | string | number | \"true\" | \"false\" | \"null\"\n"},
    {MD_USE_STRING, MD_USE_CHAR, "string ::= \"\\\"\" char* \"\\\"\"\n"},
    /* One code point: escapes of halves of surrogate pairs are left out. */
    {MD_USE_CHAR, 0,
     "char ::= [^\"\\\\\\x00-\\x1F] | \"\\\\\" ([\"\\\\/bfnrt] | \"u\" ([0-9a-cA-CeEfF] [0-9a-fA-F]{3} |"
     " [dD] [0-7] [0-9a-fA-F]{2}))\n"},
    {MD_USE_NUMBER, 0, "number ::= \"-\"? (\"0\" | [1-9] [0-9]{0,15}) (\".\" [0-9]{1,16})? ([eE] [-+]? [0-9]{1,2})?\n"},
    {MD_USE_INTEGER, 0, "integer ::= \"-\"? (\"0\" | [1-9] [0-9]{0,17})\n"},
    {MD_USE_KEY, 0, "key-char ::= [^\"\\\\\\x00-\\x1F\\x7F]\n"},
    {MD_USE_WS, 0, "ws ::= (\" \" | \"\\n\" [ \\t]{0,20})?\n"},
};

void md_schema_put_shared(md_buf *out, unsigned use)
{
    for (size_t i = 0; i < sizeof shared / sizeof *shared; i++)
        if (use & shared[i].use) {
            use |= shared[i].needs; /* those come later in the table */
            md_buf_puts(out, shared[i].line);
        }
}
