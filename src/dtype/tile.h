/* SPDX-License-Identifier: Apache-2.0
 *
 * Tiles: eight rows of a quantized matrix woven together, so that one SIMD lane owns one row. Nothing is recomputed: a tile is
 * a rearrangement of the eight rows' bytes, as large as they are, the same for every instruction set, and it can be undone.
 *
 * A block of B bytes is cut into a head of B mod 4 bytes (its half-precision scale, at the block's front or at its end; one
 * byte in MXFP4) and words of 4 bytes. A block of a tile is the eight heads, then word after word, each for all eight rows:
 * byte j of word w of row r lies at 8 * head + 32 * w + 4 * r + j. Blocks follow each other along K, tiles along N.
 * Pure functions; thread-safe. */
#ifndef MD_DTYPE_TILE_H
#define MD_DTYPE_TILE_H

#include "dtype/dtype.h"
#include <string.h>

#define MD_TILE_ROWS 8

/* How the rows of a matrix lie. Part of a packed file's format: the numbers are fixed. */
typedef enum md_layout {
    MD_LAYOUT_ROWS = 0,  /* as in any GGUF file */
    MD_LAYOUT_TILES = 1, /* in tiles */
} md_layout;

/* Where the pieces of a type's block are. */
typedef struct md_tile_shape {
    int bytes;   /* of a block of one row */
    int head;    /* bytes of its head: 0, 1 or 2 */
    int head_at; /* offset of the head in a block: 0, or bytes - head */
    int words;   /* words of 4 bytes */
} md_tile_shape;

/* Does medley lay rows of this type in tiles? False for FLOAT and DATA types, and for those that look up codebooks (IQ1, IQ2,
 * IQ3), whose products run over rows as they are. */
bool md_tile_has(md_type t);
md_tile_shape md_tile_shape_of(md_type t); /* of a type that has tiles */

/* Eight rows of n_blocks blocks, row_bytes apart, into a tile of 8 * n_blocks * bytes bytes at dst. */
void md_tile_weave(md_type t, const void *rows, size_t row_bytes, int64_t n_blocks, void *dst);
/* Blocks [first, first + n) of row `lane` of the tile, as they lay in the row. */
static inline void md_tile_take(md_tile_shape s, const void *tile, int lane, int64_t first, int64_t n, void *dst)
{
    const char *src = (const char *)tile + first * MD_TILE_ROWS * s.bytes;
    char *out = dst;
    const int words_at = s.head_at == 0 ? s.head : 0;
    for (int64_t b = 0; b < n; b++, src += MD_TILE_ROWS * s.bytes, out += s.bytes) {
        memcpy(out + s.head_at, src + lane * s.head, (size_t)s.head);
        for (int w = 0; w < s.words; w++)
            memcpy(out + words_at + 4 * w, src + MD_TILE_ROWS * s.head + 32 * w + 4 * lane, 4);
    }
}

#endif
