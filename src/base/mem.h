/* SPDX-License-Identifier: Apache-2.0
 *
 * Allocation: zeroed memory, checked sizes, an arena for things that live as long as a model or a session, and a byte
 * buffer that grows. Nothing here is called inside a decode step (a test counts). Thread-safe as malloc is; arenas and
 * buffers belong to one thread at a time. */
#ifndef MD_BASE_MEM_H
#define MD_BASE_MEM_H

#include <medley/export.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Zeroed memory for n * size bytes; NULL if that overflows or cannot be had. n * size == 0 gives a valid pointer. */
void *md_calloc(size_t n, size_t size) MD_MUST_USE;
/* Grows or shrinks; new bytes are not zeroed. On failure NULL, and p stays valid. */
void *md_realloc(void *p, size_t n, size_t size) MD_MUST_USE;
void md_free(void *p);
char *md_strdup(const char *s) MD_MUST_USE;
/* Zeroed memory at a multiple of `align` (a power of two, at least sizeof(void *)). Freed with md_free. */
void *md_calloc_aligned(size_t align, size_t n, size_t size) MD_MUST_USE;

/* *out = a * b, or a + b; false on overflow. */
bool md_mul(size_t a, size_t b, size_t *out) MD_MUST_USE;
bool md_add(size_t a, size_t b, size_t *out) MD_MUST_USE;

/* --- arena: many small objects, freed together --- */
typedef struct md_arena {
    struct md_arena_chunk *head; /* owned */
    size_t used;                 /* bytes handed out */
} md_arena;
/* Zeroed, 64-byte aligned when n * size >= 64, else 16. NULL when memory is out. An md_arena starts as {0}. */
void *md_arena_alloc(md_arena *a, size_t n, size_t size) MD_MUST_USE;
char *md_arena_strndup(md_arena *a, const char *s, size_t n) MD_MUST_USE;
void md_arena_done(md_arena *a);

/* --- buffer: bytes that grow; data is always NUL-terminated once anything was appended --- */
typedef struct md_buf {
    char *data; /* owned; NULL while empty */
    size_t len; /* without the NUL */
    size_t cap;
    bool failed; /* sticky: an append ran out of memory; check once at the end */
} md_buf;
void md_buf_append(md_buf *b, const void *p, size_t n);
void md_buf_puts(md_buf *b, const char *s);
void md_buf_putc(md_buf *b, char c);
void md_buf_printf(md_buf *b, const char *fmt, ...) MD_PRINTF(2, 3);
void md_buf_reset(md_buf *b); /* keeps the memory */
void md_buf_done(md_buf *b);

#endif
