/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/refusal.h"

#include "serve/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

bool md_refuse(md_refusal *r, int status, const char *code, const char *param, const char *fmt, ...)
{
    va_list ap;
    *r = (md_refusal){.status = status, .code = code};
    snprintf(r->param, sizeof r->param, "%s", param ? param : "");
    va_start(ap, fmt);
    vsnprintf(r->message, sizeof r->message, fmt, ap);
    va_end(ap);
    return false;
}

bool md_refuse_error(md_refusal *r, const char *param, const md_error *err)
{
    switch (err->code) {
    case MD_ERR_ARGUMENT:
    case MD_ERR_FORMAT:
    case MD_ERR_UNSUPPORTED: return md_refuse(r, 400, NULL, param, "%s", err->message);
    case MD_ERR_LIMIT: return md_refuse(r, 400, "context_length_exceeded", param, "%s", err->message);
    case MD_ERR_MEMORY: return md_refuse(r, 503, NULL, param, "%s", err->message);
    case MD_ERR_BUSY:
        md_refuse(r, 429, "queue_full", param, "%s", err->message);
        r->retry_after = 1;
        return false;
    default: return md_refuse(r, 500, NULL, param, "%s", err->message);
    }
}

bool md_refuse_memory(md_refusal *r)
{
    return md_refuse(r, 503, NULL, NULL, "the server is out of memory for this request");
}

const char *md_refusal_type(int status)
{
    switch (status) {
    case 401: return "authentication_error";
    case 403: return "permission_error";
    case 404: return "not_found_error";
    case 429: return "rate_limit_error";
    default: return status >= 500 ? "server_error" : "invalid_request_error";
    }
}

static void put_or_null(md_buf *b, const char *s)
{
    if (s && s[0])
        md_put_string(b, s, strlen(s));
    else
        md_buf_puts(b, "null");
}

void md_refusal_json(md_buf *b, const md_refusal *r)
{
    md_buf_puts(b, "{\"error\":{\"message\":");
    md_put_string(b, r->message, strlen(r->message));
    md_buf_printf(b, ",\"type\":\"%s\",\"param\":", md_refusal_type(r->status));
    put_or_null(b, r->param);
    md_buf_puts(b, ",\"code\":");
    put_or_null(b, r->code);
    md_buf_puts(b, "}}");
}
