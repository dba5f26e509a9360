/* SPDX-License-Identifier: Apache-2.0
 *
 * Every quantized type as small integers under float scales: the one place that knows the bits of the formats. The
 * exact decoder and the integer matrix products are both built on these functions, which are inline so that they are
 * compiled with the flags of whoever includes them: fixed trip counts, no branches on data, loads at any address.
 *
 *   md_expand_<type>(block, e)          types with blocks of 256: Q256 activations
 *   md_expand_<type>(block, group, e)   the others, 32 weights at a time: Q32 activations
 *
 * All codes lie in -127..127, but for a stored -128 in Q8_0. The value of a weight is computed in float in the order
 * written at the struct, no steps fused. For finite scales every product in it is exact: d, sub and code never have
 * more than 24 significant bits together. So the one rounding is that of the minimum, and any order of the factors
 * gives the same bits; infinite scales too. A NaN scale gives NaNs, whose sign may differ from that of a formula
 * written another way. */
#ifndef MD_DTYPE_EXPAND_H
#define MD_DTYPE_EXPAND_H

#include "dtype/dtype.h"
#include "dtype/expand_base.h"
#include "dtype/expand_iq.h"
#include "dtype/expand_k.h"
#include "dtype/expand_legacy.h"

/* True for the types with a minimum per group: the second term of md_expand256, or m of md_expand32. */
static inline bool md_type_has_min(md_type t)
{
    return t == MD_TYPE_Q4_1 || t == MD_TYPE_Q5_1 || t == MD_TYPE_Q2_K || t == MD_TYPE_Q4_K || t == MD_TYPE_Q5_K;
}

#endif
