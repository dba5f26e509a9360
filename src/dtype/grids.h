/* SPDX-License-Identifier: Apache-2.0
 *
 * The codebooks of the IQ1, IQ2 and IQ3 tensor types: an entry is one word of 8 (or 4) signed bytes, byte j (from the
 * low end) for weight j. The IQ2 and IQ3 entries are positive and below 64; the signs are stored beside the indices.
 * The IQ1 entries are 8 times the published -1, 0, 1, so that the shift of +-1/8 that comes on top is the integer 1.
 * The definitions are written by tools/make_grids.py. Constant data; thread-safe. */
#ifndef MD_DTYPE_GRIDS_H
#define MD_DTYPE_GRIDS_H

#include <stdint.h>

extern const uint64_t md_grid_iq2_xxs[256]; /* 8, 25, 43 */
extern const uint64_t md_grid_iq2_xs[512];  /* 8, 25, 43 */
extern const uint64_t md_grid_iq2_s[1024];  /* 8, 25, 43 */
extern const uint32_t md_grid_iq3_xxs[256]; /* 4, 12, 20, ... 62 */
extern const uint32_t md_grid_iq3_s[512];   /* 1, 3, 5, ... 15 */
extern const uint64_t md_grid_iq1[2048];    /* -8, 0, 8; IQ1_S and IQ1_M */

/* Byte j is 0xff where bit j of the index is set, else 0. */
extern const uint64_t md_bit_masks[256];
/* The same for 7 bits, and an eighth that makes the number of set bits even: how three of the types store signs. */
extern const uint64_t md_even_masks[128];

#endif
