/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/text.h"

#include "base/utf8.h"

#include <float.h>
#include <math.h>
#include <string.h>

static bool is_plain(unsigned char c)
{
    return c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
}

static void put_control(md_buf *b, unsigned char c)
{
    static const char names[] = "btn\vfr"; /* of 8 to 13; 11 has none */
    if (c == '"' || c == '\\')
        md_buf_printf(b, "\\%c", c);
    else if (c >= 8 && c <= 13 && c != 11)
        md_buf_printf(b, "\\%c", names[c - 8]);
    else
        md_buf_printf(b, "\\u%04x", c);
}

void md_put_escaped(md_buf *b, const char *s, size_t n)
{
    size_t i = 0;
    while (i < n) {
        size_t run = i;
        while (run < n && is_plain((unsigned char)s[run]))
            run++;
        if (run > i)
            md_buf_append(b, s + i, run - i);
        i = run;
        if (i == n)
            break;
        uint32_t cp;
        const int length = (unsigned char)s[i] < 0x80 ? 0 : md_utf8_decode(s + i, n - i, &cp);
        if (length > 0)
            md_buf_append(b, s + i, (size_t)length);
        else if ((unsigned char)s[i] < 0x80)
            put_control(b, (unsigned char)s[i]);
        else
            md_buf_puts(b, "\xEF\xBF\xBD");
        i += length > 0 ? (size_t)length : 1;
    }
}

void md_put_string(md_buf *b, const char *s, size_t n)
{
    md_buf_putc(b, '"');
    md_put_escaped(b, s, n);
    md_buf_putc(b, '"');
}

void md_put_number(md_buf *b, double x)
{
    if (isnan(x))
        md_buf_puts(b, "null");
    else
        md_buf_printf(b, "%.9g", isinf(x) ? copysign((double)FLT_MAX, x) : x);
}

void md_put_base64(md_buf *b, const void *bytes, size_t n)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *p = bytes;
    for (size_t i = 0; i < n; i += 3) {
        const size_t left = n - i;
        const unsigned word = (unsigned)p[i] << 16 | (left > 1 ? (unsigned)p[i + 1] << 8 : 0) |
                              (left > 2 ? (unsigned)p[i + 2] : 0);
        const char four[4] = {digits[word >> 18], digits[word >> 12 & 63], left > 1 ? digits[word >> 6 & 63] : '=',
                              left > 2 ? digits[word & 63] : '='};
        md_buf_append(b, four, sizeof four);
    }
}

size_t md_held_back(const char *s, size_t n, const char *word)
{
    const size_t most = strlen(word) - 1;
    for (size_t k = n < most ? n : most; k > 0; k--)
        if (memcmp(s + n - k, word, k) == 0)
            return k;
    return 0;
}
