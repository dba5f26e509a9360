/* SPDX-License-Identifier: Apache-2.0
 *
 * Tensor types: what a block holds, scalar decode and encode. The decoders are exact: they give the values that every
 * public engine agrees on (scale product first, then times the code, no contraction).
 * Pure functions; thread-safe. */
#ifndef MD_DTYPE_DTYPE_H
#define MD_DTYPE_DTYPE_H

#include <medley/error.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum md_type {
#define MD_TYPE(NAME, id, name, block, bytes, cls, act) MD_TYPE_##NAME,
#include "dtype/types.def"
#undef MD_TYPE
    MD_N_TYPES
} md_type;

typedef enum md_type_class { MD_CLASS_FLOAT, MD_CLASS_QUANT, MD_CLASS_DATA } md_type_class;
typedef enum md_act_kind { MD_ACT_NONE, MD_ACT_F32, MD_ACT_Q32, MD_ACT_Q256 } md_act_kind;

typedef struct md_type_info {
    const char *name; /* as the field writes it: "Q4_K" */
    uint32_t gguf_id;
    int block; /* weights in a block */
    int bytes; /* bytes of a block */
    md_type_class cls;
    md_act_kind act;
} md_type_info;

const md_type_info *md_type_get(md_type t); /* never NULL for t < MD_N_TYPES */
/* Finds the type with a GGUF id. Ids that were withdrawn, are not for files, or belong to one engine only are refused by
 * name: "tensor 'blk.0.attn_q.weight': type 137 (IQ2_K) exists in one engine only; ...". `what` is the tensor's name. */
md_status md_type_from_gguf(uint32_t id, const char *what, md_type *out, md_error *err) MD_MUST_USE;
/* Case-insensitive; false when there is no such type. */
bool md_type_from_name(const char *name, md_type *out);
/* Bytes of n weights; false if n is negative or not a multiple of the block, or on overflow. */
bool md_type_row_bytes(md_type t, int64_t n, size_t *bytes) MD_MUST_USE;

/* dst[i] = value of weight i, for n weights (a multiple of the block); src may be unaligned. FLOAT and QUANT types, and
 * DATA types converted to float. For NVFP4 without its per-tensor scale, which is another tensor's. */
void md_type_decode(md_type t, const void *src, float *dst, int64_t n);
/* True if md_type_encode exists for t: F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0. */
bool md_type_can_encode(md_type t);
/* Rounds n floats (a multiple of the block) to type t; round to nearest. Non-finite input is the caller's fault. */
void md_type_encode(md_type t, const float *src, void *dst, int64_t n);

/* IEEE 754 binary16 and bfloat16, exact both ways (to half: round to nearest even, overflow to infinity). */
float md_half_to_float(uint16_t h);
uint16_t md_float_to_half(float f);
float md_bf16_to_float(uint16_t h);
uint16_t md_float_to_bf16(float f);

#endif
