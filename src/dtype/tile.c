/* SPDX-License-Identifier: Apache-2.0 */
#include "dtype/tile.h"

bool md_tile_has(md_type t)
{
    switch (t) {
    case MD_TYPE_IQ1_S:
    case MD_TYPE_IQ1_M:
    case MD_TYPE_IQ2_XXS:
    case MD_TYPE_IQ2_XS:
    case MD_TYPE_IQ2_S:
    case MD_TYPE_IQ3_XXS:
    case MD_TYPE_IQ3_S: return false;
    default: return md_type_get(t)->cls == MD_CLASS_QUANT;
    }
}

md_tile_shape md_tile_shape_of(md_type t)
{
    const int bytes = md_type_get(t)->bytes, head = bytes % 4;
    const bool last = t == MD_TYPE_Q3_K || t == MD_TYPE_Q6_K || t == MD_TYPE_TQ1_0 || t == MD_TYPE_TQ2_0;
    return (md_tile_shape){.bytes = bytes, .head = head, .head_at = last ? bytes - head : 0, .words = bytes / 4};
}

void md_tile_weave(md_type t, const void *rows, size_t row_bytes, int64_t n_blocks, void *dst)
{
    const md_tile_shape s = md_tile_shape_of(t);
    const int words_at = s.head_at == 0 ? s.head : 0;
    char *out = dst;
    for (int64_t b = 0; b < n_blocks; b++, out += MD_TILE_ROWS * s.bytes)
        for (int r = 0; r < MD_TILE_ROWS; r++) {
            const char *block = (const char *)rows + (size_t)r * row_bytes + b * s.bytes;
            memcpy(out + r * s.head, block + s.head_at, (size_t)s.head);
            for (int w = 0; w < s.words; w++)
                memcpy(out + MD_TILE_ROWS * s.head + 32 * w + 4 * r, block + words_at + 4 * w, 4);
        }
}
