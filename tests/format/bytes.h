/* SPDX-License-Identifier: Apache-2.0
 *
 * GGUF files made byte by byte, right or wrong as the test wants. Little-endian machine assumed, as in the reader. */
#ifndef MD_TEST_GGUF_BYTES_H
#define MD_TEST_GGUF_BYTES_H

#include "base/mem.h"
#include "format/gguf.h"
#include <string.h>

static inline void put_u8(md_buf *b, uint8_t v)
{
    md_buf_append(b, &v, sizeof v);
}

static inline void put_u32(md_buf *b, uint32_t v)
{
    md_buf_append(b, &v, sizeof v);
}

static inline void put_u64(md_buf *b, uint64_t v)
{
    md_buf_append(b, &v, sizeof v);
}

static inline void put_bytes(md_buf *b, const void *s, size_t n)
{
    put_u64(b, n);
    md_buf_append(b, s, n);
}

static inline void put_text(md_buf *b, const char *s)
{
    put_bytes(b, s, strlen(s));
}

static inline void put_header(md_buf *b, uint32_t version, uint64_t n_tensors, uint64_t n_kv)
{
    md_buf_append(b, "GGUF", 4);
    put_u32(b, version);
    put_u64(b, n_tensors);
    put_u64(b, n_kv);
}

/* Key and kind; the value follows. */
static inline void put_key(md_buf *b, const char *key, uint32_t kind)
{
    put_text(b, key);
    put_u32(b, kind);
}

static inline void put_kv_u32(md_buf *b, const char *key, uint32_t v)
{
    put_key(b, key, MD_GGUF_U32);
    put_u32(b, v);
}

/* Key of an array; the elements follow. */
static inline void put_array(md_buf *b, const char *key, uint32_t elem, uint64_t count)
{
    put_key(b, key, MD_GGUF_ARRAY);
    put_u32(b, elem);
    put_u64(b, count);
}

static inline void put_tensor(md_buf *b, const char *name, uint32_t n_dims, const uint64_t *dim, uint32_t type,
                              uint64_t offset)
{
    put_text(b, name);
    put_u32(b, n_dims);
    for (uint32_t i = 0; i < n_dims; i++)
        put_u64(b, dim[i]);
    put_u32(b, type);
    put_u64(b, offset);
}

static inline void pad_to(md_buf *b, size_t alignment)
{
    while (b->len % alignment != 0)
        put_u8(b, 0);
}

static inline void put_zeros(md_buf *b, size_t n)
{
    while (n-- > 0)
        put_u8(b, 0);
}

#endif
