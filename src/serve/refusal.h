/* SPDX-License-Identifier: Apache-2.0
 *
 * Why a request is not answered, in the terms of the API: an HTTP status, the field that is to blame, and one sentence.
 * Pure functions of their arguments. */
#ifndef MD_SERVE_REFUSAL_H
#define MD_SERVE_REFUSAL_H

#include "base/mem.h"

#include <medley/error.h>

typedef struct md_refusal {
    int status;          /* 400, 401...; 0: nothing was refused */
    const char *code;    /* static: "unknown_field", or NULL */
    int32_t retry_after; /* seconds; 0: not told */
    char param[96];      /* the field, "messages[2].role", or "" */
    char message[512];
} md_refusal;

/* Fills r. Always false, so that `return md_refuse(...)` reads naturally. code is static or NULL; param may be NULL. */
bool md_refuse(md_refusal *r, int status, const char *code, const char *param, const char *fmt, ...) MD_PRINTF(5, 6);
/* What the library said. Arguments, formats and limits are the caller's fault (400), a full queue is 429. */
bool md_refuse_error(md_refusal *r, const char *param, const md_error *err);
bool md_refuse_memory(md_refusal *r); /* 503 */

/* "invalid_request_error", "rate_limit_error"...: the API's type of an HTTP status. Static. */
const char *md_refusal_type(int status);
/* Appends {"error":{"message","type","param","code"}}. */
void md_refusal_json(md_buf *b, const md_refusal *r);

#endif
