/* SPDX-License-Identifier: Apache-2.0
 *
 * JSON text to Jansson's values, whole or not at all. Jansson's own readers call it bad syntax when memory is out, or leave
 * a byte out of a word and go on. */
#ifndef MD_TEXT_JSON_LOAD_H
#define MD_TEXT_JSON_LOAD_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/* Owned by the caller. NULL: *no_memory says whether memory is out; if not, *why says what is wrong with the text. */
json_t *md_json_load(const char *text, size_t n, size_t flags, json_error_t *why, bool *no_memory);

#endif
