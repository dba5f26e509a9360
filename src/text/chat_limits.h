/* SPDX-License-Identifier: Apache-2.0
 *
 * What one rendering may use, and rendering with limits of one's own (tests, fuzzing). */
#ifndef MD_TEXT_CHAT_LIMITS_H
#define MD_TEXT_CHAT_LIMITS_H

#include "text/jinja_value.h"

/* About a second of work; room for conversations of several megabytes. Stated in docs/templates.md. */
#define MD_CHAT_MAX_STEPS  ((uint64_t)16 * 1000 * 1000)
#define MD_CHAT_MAX_MEMORY ((size_t)128 * 1024 * 1024)
#define MD_CHAT_MAX_OUTPUT ((size_t)16 * 1024 * 1024)

/* md_template_render within the given limits. */
md_status md_template_render_limited(const md_template *t, const md_chat_args *args, const md_jinja_limits *limits,
                                     md_rendered *out, md_error *err) MD_MUST_USE;

#endif
