/* SPDX-License-Identifier: Apache-2.0
 *
 * What the forms of answers share. */
#ifndef MD_SERVE_FORM_H
#define MD_SERVE_FORM_H

#include "serve/job.h"

/* "stop", "length", "tool_calls" */
const char *md_finish_reason(const md_choice *c);
/* Appends "usage":{...} in the form of chat and completions. */
void md_put_usage(md_buf *b, const md_job *j);
/* A token's text as a JSON string. */
void md_put_token(md_buf *b, const md_job *j, int32_t token);
/* Appends data: {"error":...} to the job's line and sends it. */
void md_form_fail(md_job *j, const md_refusal *r);
/* Content that is nothing but white space beside calls. */
bool md_content_is_blank(const md_choice *c);
#define MD_FINGERPRINT "medley"

#endif
