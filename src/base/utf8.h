/* SPDX-License-Identifier: Apache-2.0
 *
 * UTF-8 as bytes on the wire: strict decoding (no overlong forms, no surrogates, at most U+10FFFF). */
#ifndef MD_BASE_UTF8_H
#define MD_BASE_UTF8_H

#include <stddef.h>
#include <stdint.h>

/* Decodes one code point at s[0..n): returns its length in bytes (1-4) and stores it, or 0 if the bytes there are not
 * the start of a valid, complete sequence. */
int md_utf8_decode(const char *s, size_t n, uint32_t *cp);
/* Writes cp (at most U+10FFFF) to out, at most 4 bytes; returns the length. */
int md_utf8_encode(uint32_t cp, char out[4]);
/* How many bytes at the front of s[0..n) can be shown now: everything but a sequence at the very end that is valid so
 * far and incomplete. Invalid bytes count as complete. */
size_t md_utf8_complete(const char *s, size_t n);

#endif
