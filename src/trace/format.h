/* SPDX-License-Identifier: Apache-2.0
 *
 * Sizes and bounds of the trace format, version 1, and its numbers as bytes; docs/trace.md draws the whole. Everything is
 * little-endian, whatever the machine. Knows nothing of what records mean. */
#ifndef MD_TRACE_FORMAT_H
#define MD_TRACE_FORMAT_H

#include <stdint.h>
#include <string.h>

#define MD_TRACE_MAGIC "MEDLEYTR"
enum {
    MD_TRACE_VERSION = 1,
    MD_TRACE_HEADER = 32, /* bytes before the layers: magic, version, header's bytes, identity, layers, name's bytes */
    MD_TRACE_LAYER = 24,  /* of a layer in the header */
    MD_TRACE_HEAD = 8,    /* that begin a record: kind, 0, layer, rows */
    MD_TRACE_STEP_FRONT = 16,  /* of a step, before its rows: number, time */
    MD_TRACE_STEP_ROW = 12,    /* sequence, position, token */
    MD_TRACE_CHOICE = 4,       /* expert, weight */
    MD_TRACE_STORE_BYTES = 24, /* hits, misses, bytes, wait */
    MD_TRACE_END_BYTES = 8,    /* time */
    MD_TRACE_EMPTY = 0xffff,   /* a slot without an expert */
};

/* Bounds that every trace keeps, so that a hostile one cannot ask for more memory than its own bytes justify. */
enum {
    MD_TRACE_MOST_LAYERS = 65535,
    MD_TRACE_MOST_EXPERTS = 65534,   /* of a layer */
    MD_TRACE_MOST_IN_ALL = 1 << 22,  /* experts of all layers */
    MD_TRACE_MOST_NAME = 4096,       /* bytes */
    MD_TRACE_MOST_ROWS = 65536,      /* of a step */
    MD_TRACE_MOST_CHOICES = 1 << 24, /* of a step at a layer */
};

static inline void md_put_u16(unsigned char *p, uint32_t v)
{
    p[0] = (unsigned char)v;
    p[1] = (unsigned char)(v >> 8);
}

static inline void md_put_u32(unsigned char *p, uint32_t v)
{
    md_put_u16(p, v);
    md_put_u16(p + 2, v >> 16);
}

static inline void md_put_u64(unsigned char *p, uint64_t v)
{
    md_put_u32(p, (uint32_t)v);
    md_put_u32(p + 4, (uint32_t)(v >> 32));
}

static inline uint32_t md_get_u16(const unsigned char *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8;
}

static inline uint32_t md_get_u32(const unsigned char *p)
{
    return md_get_u16(p) | md_get_u16(p + 2) << 16;
}

static inline uint64_t md_get_u64(const unsigned char *p)
{
    return md_get_u32(p) | (uint64_t)md_get_u32(p + 4) << 32;
}

/* A weight is the upper half of a float32 (bfloat16), rounded to nearest, ties to even; a NaN stays one. */
static inline uint32_t md_trace_weight_bits(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    if ((bits & 0x7fffffff) > 0x7f800000)
        return bits >> 16 | 0x40;
    return (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}

static inline float md_trace_weight(uint32_t half)
{
    const uint32_t bits = half << 16;
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

#endif
