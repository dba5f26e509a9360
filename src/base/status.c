/* SPDX-License-Identifier: Apache-2.0 */
#include "base/status.h"

#include "base/utf8.h"

#include <stdio.h>
#include <string.h>

const char *md_status_name(md_status s)
{
    switch (s) {
    case MD_OK: return "ok";
    case MD_ERR_ARGUMENT: return "argument";
    case MD_ERR_IO: return "io";
    case MD_ERR_FORMAT: return "format";
    case MD_ERR_UNSUPPORTED: return "unsupported";
    case MD_ERR_MEMORY: return "memory";
    case MD_ERR_LIMIT: return "limit";
    case MD_ERR_CANCELLED: return "cancelled";
    case MD_ERR_INTERNAL: return "internal";
    case MD_ERR_BUSY: return "busy";
    }
    return "unknown";
}

/* One line of valid UTF-8: control characters and bytes that are no part of a character become '?', and a character
 * that the buffer's end cut in two goes. */
static void clean(char *s)
{
    size_t n = md_utf8_complete(s, strlen(s));
    s[n] = '\0';
    for (size_t i = 0; i < n;) {
        uint32_t cp;
        const int len = md_utf8_decode(s + i, n - i, &cp);
        if (len == 0 || cp < 0x20 || cp == 0x7f)
            s[i] = '?';
        i += len > 0 ? (size_t)len : 1;
    }
}

md_status(md_fail)(md_error *err, md_status code, const char *fmt, ...)
{
    if (!err)
        return code;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(err->message, sizeof err->message, fmt, ap);
    va_end(ap);
    clean(err->message);
    err->code = code;
    return code;
}

md_status(md_fail_within)(md_error *err, md_status code, const char *fmt, ...)
{
    if (!err)
        return code;
    char inner[sizeof err->message];
    snprintf(inner, sizeof inner, "%s", err->message);
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(err->message, sizeof err->message, fmt, ap);
    va_end(ap);
    const size_t n = strlen(err->message), room = sizeof err->message - 1 - n, rest = strlen(inner);
    if (room > 2) { /* cut short where it must be */
        const size_t keep = rest < room - 2 ? rest : room - 2;
        memcpy(err->message + n, ": ", 2);
        memcpy(err->message + n + 2, inner, keep);
        err->message[n + 2 + keep] = '\0';
    }
    clean(err->message);
    err->code = code;
    return code;
}
