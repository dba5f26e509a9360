/* SPDX-License-Identifier: Apache-2.0 */
#include "base/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool md_mul(size_t a, size_t b, size_t *out)
{
    return !__builtin_mul_overflow(a, b, out);
}

bool md_add(size_t a, size_t b, size_t *out)
{
    return !__builtin_add_overflow(a, b, out);
}

void *md_calloc(size_t n, size_t size)
{
    size_t bytes;
    if (!md_mul(n, size, &bytes))
        return NULL;
    return calloc(1, bytes ? bytes : 1);
}

void *md_realloc(void *p, size_t n, size_t size)
{
    size_t bytes;
    if (!md_mul(n, size, &bytes))
        return NULL;
    return realloc(p, bytes ? bytes : 1);
}

void md_free(void *p)
{
    free(p);
}

char *md_strdup(const char *s)
{
    const size_t n = strlen(s) + 1;
    char *p = md_calloc(n, 1);
    if (p)
        memcpy(p, s, n);
    return p;
}

void *md_calloc_aligned(size_t align, size_t n, size_t size)
{
    size_t bytes, padded;
    if (!md_mul(n, size, &bytes) || !md_add(bytes, align - 1, &padded))
        return NULL;
    padded = padded / align * align;
    void *p = aligned_alloc(align, padded ? padded : align);
    if (p)
        memset(p, 0, padded ? padded : align);
    return p;
}

/* ---- arena ---- */

#define ARENA_CHUNK ((size_t)64 * 1024)
#define ARENA_ALIGN 64u

struct md_arena_chunk {
    struct md_arena_chunk *next; /* owned */
    size_t cap, len;
    char *bytes; /* ARENA_ALIGN-aligned, inside this allocation */
};

static struct md_arena_chunk *chunk_new(size_t want)
{
    size_t cap = want > ARENA_CHUNK ? want : ARENA_CHUNK, total;
    if (!md_add(cap, sizeof(struct md_arena_chunk) + ARENA_ALIGN, &total))
        return NULL;
    struct md_arena_chunk *c = md_calloc(total, 1);
    if (!c)
        return NULL;
    const uintptr_t start = (uintptr_t)(c + 1);
    c->bytes = (char *)c + (((start + ARENA_ALIGN - 1) / ARENA_ALIGN * ARENA_ALIGN) - (uintptr_t)c);
    c->cap = cap;
    return c;
}

void *md_arena_alloc(md_arena *a, size_t n, size_t size)
{
    size_t bytes;
    if (!md_mul(n, size, &bytes) || bytes > SIZE_MAX - ARENA_ALIGN)
        return NULL;
    const size_t align = bytes >= ARENA_ALIGN ? ARENA_ALIGN : 16;
    struct md_arena_chunk *c = a->head;
    size_t at = c ? (c->len + align - 1) / align * align : 0;
    if (!c || at > c->cap || c->cap - at < bytes) {
        c = chunk_new(bytes);
        if (!c)
            return NULL;
        c->next = a->head;
        a->head = c;
        at = 0;
    }
    c->len = at + bytes;
    a->used += bytes;
    return c->bytes + at;
}

char *md_arena_strndup(md_arena *a, const char *s, size_t n)
{
    char *p = md_arena_alloc(a, n + 1, 1);
    if (p)
        memcpy(p, s, n);
    return p;
}

void md_arena_done(md_arena *a)
{
    for (struct md_arena_chunk *c = a->head, *next; c; c = next) {
        next = c->next;
        md_free(c);
    }
    *a = (md_arena){0};
}

/* ---- buffer ---- */

static bool reserve(md_buf *b, size_t more)
{
    size_t need;
    if (b->failed || !md_add(b->len, more, &need) || !md_add(need, 1, &need)) {
        b->failed = true;
        return false;
    }
    if (need <= b->cap)
        return true;
    size_t cap = b->cap ? b->cap : 64;
    while (cap < need)
        cap = cap > SIZE_MAX / 2 ? need : cap * 2;
    char *p = md_realloc(b->data, cap, 1);
    if (!p) {
        b->failed = true;
        return false;
    }
    b->data = p;
    b->cap = cap;
    return true;
}

void md_buf_append(md_buf *b, const void *p, size_t n)
{
    if (!reserve(b, n))
        return;
    if (n)
        memcpy(b->data + b->len, p, n);
    b->len += n;
    b->data[b->len] = '\0';
}

void md_buf_puts(md_buf *b, const char *s)
{
    md_buf_append(b, s, strlen(s));
}

void md_buf_putc(md_buf *b, char c)
{
    md_buf_append(b, &c, 1);
}

void md_buf_printf(md_buf *b, const char *fmt, ...)
{
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    const int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (n < 0)
        b->failed = true;
    else if (reserve(b, (size_t)n)) {
        vsnprintf(b->data + b->len, (size_t)n + 1, fmt, again);
        b->len += (size_t)n;
    }
    va_end(again);
}

void md_buf_reset(md_buf *b)
{
    b->len = 0;
    b->failed = false;
    if (b->data)
        b->data[0] = '\0';
}

void md_buf_done(md_buf *b)
{
    md_free(b->data);
    *b = (md_buf){0};
}
