/* SPDX-License-Identifier: Apache-2.0
 *
 * Text on its way out, watched for stop strings: what could still become one is held back, so that no part of a stop
 * string is ever shown, however the text is cut into pieces. Pieces given out are whole UTF-8 characters if the pieces
 * put in join to whole characters. Fixed memory, O(n_stop) steps a byte (Knuth, Morris and Pratt 1977). */
#ifndef MD_RUN_STOP_H
#define MD_RUN_STOP_H

#include <medley/error.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MD_STOP_MAX       16  /* stop strings */
#define MD_STOP_BYTES_MAX 256 /* of one */

typedef bool md_text_fn(void *user, const char *text, size_t n);

typedef struct md_stop_string {
    const char *s; /* borrowed */
    size_t n;
    size_t matched;                   /* longest prefix that the text so far ends with */
    uint16_t fail[MD_STOP_BYTES_MAX]; /* fail[i]: longest proper prefix that s[0..i] ends with */
} md_stop_string;

typedef struct md_stop {
    md_stop_string string[MD_STOP_MAX];
    size_t n_strings;
    md_text_fn *on_text; /* may be NULL */
    void *user;
    char held[1024]; /* text not given out yet */
    size_t n_held;
} md_stop;

typedef enum md_stop_verdict {
    MD_STOP_GO_ON,
    MD_STOP_FOUND,   /* the text before the stop string has been given out; give no more in */
    MD_STOP_REFUSED, /* on_text returned false */
} md_stop_verdict;

/* The strings must outlive *st; they are checked (1 to 256 bytes of UTF-8, at most 16). */
md_status md_stop_init(md_stop *st, const char *const *stop, size_t n_stop, md_text_fn *on_text, void *user,
                       md_error *err) MD_MUST_USE;
/* The stop string that is complete first ends the text; of several that end together, the one that began first. */
md_stop_verdict md_stop_feed(md_stop *st, const char *text, size_t n) MD_MUST_USE;
/* The text is over: gives out what was held back. */
md_stop_verdict md_stop_finish(md_stop *st) MD_MUST_USE;

#endif
