/* SPDX-License-Identifier: Apache-2.0 */
#include "base/utf8.h"

/* Length that a lead byte promises, 0 if it cannot lead. 0xc0, 0xc1 would be overlong, 0xf5.. beyond U+10FFFF. */
static int promised(unsigned char c)
{
    if (c < 0x80)
        return 1;
    if (c < 0xc2)
        return 0;
    if (c < 0xe0)
        return 2;
    if (c < 0xf0)
        return 3;
    return c < 0xf5 ? 4 : 0;
}

/* May byte c stand second after lead? Excludes overlong forms, surrogates and values past U+10FFFF. */
static int second_ok(unsigned char lead, unsigned char c)
{
    switch (lead) {
    case 0xe0: return c >= 0xa0 && c <= 0xbf;
    case 0xed: return c >= 0x80 && c <= 0x9f;
    case 0xf0: return c >= 0x90 && c <= 0xbf;
    case 0xf4: return c >= 0x80 && c <= 0x8f;
    default: return c >= 0x80 && c <= 0xbf;
    }
}

int md_utf8_decode(const char *s, size_t n, uint32_t *cp)
{
    if (n == 0)
        return 0;
    const unsigned char *u = (const unsigned char *)s;
    const int len = promised(u[0]);
    if (len == 0 || (size_t)len > n)
        return 0;
    if (len == 1) {
        *cp = u[0];
        return 1;
    }
    if (!second_ok(u[0], u[1]))
        return 0;
    uint32_t v = u[0] & (0x7fu >> len);
    for (int i = 1; i < len; i++) {
        if ((u[i] & 0xc0) != 0x80)
            return 0;
        v = v << 6 | (u[i] & 0x3fu);
    }
    *cp = v;
    return len;
}

int md_utf8_encode(uint32_t cp, char out[4])
{
    if (cp < 0x80) {
        out[0] = (char)cp;
        return 1;
    }
    const int len = cp < 0x800 ? 2 : cp < 0x10000 ? 3 : 4;
    for (int i = len - 1; i > 0; i--, cp >>= 6)
        out[i] = (char)(0x80 | (cp & 0x3f));
    out[0] = (char)((0xf00u >> len & 0xff) | cp);
    return len;
}

size_t md_utf8_complete(const char *s, size_t n)
{
    const unsigned char *u = (const unsigned char *)s;
    for (size_t back = 1; back <= 3 && back <= n; back++) {
        const unsigned char c = u[n - back];
        if ((c & 0xc0) == 0x80)
            continue; /* a continuation byte: look further left for its lead */
        const int len = promised(c);
        if (len == 0 || (size_t)len <= back)
            return n;
        if (back >= 2 && !second_ok(c, u[n - back + 1]))
            return n;
        return n - back;
    }
    return n;
}
