/* SPDX-License-Identifier: Apache-2.0
 *
 * Writing JSON, piece by piece, into a buffer: what is said of each token is too small and too frequent for trees of values.
 * Pure functions. */
#ifndef MD_SERVE_TEXT_H
#define MD_SERVE_TEXT_H

#include "base/mem.h"

/* Appends a JSON string of any bytes: what is not UTF-8 becomes U+FFFD. */
void md_put_string(md_buf *b, const char *s, size_t n);
/* The same without the quotes around it. */
void md_put_escaped(md_buf *b, const char *s, size_t n);
/* A JSON number; what is not finite is the largest there is, since JSON has no other. */
void md_put_number(md_buf *b, double x);
/* The bytes in Base64 (RFC 4648), without quotes. */
void md_put_base64(md_buf *b, const void *bytes, size_t n);

/* Length of the longest end of s[0..n) that `word` begins with, but is not all of it. */
size_t md_held_back(const char *s, size_t n, const char *word);

#endif
