/* SPDX-License-Identifier: Apache-2.0
 *
 * Rows of weights, whatever their layout. */
#include "ops/ops.h"

/* Bytes of a row that are taken out of its tile at a time: whole blocks of any type. */
#define TAKEN 4096

void md_weight_row(const md_weight *w, int64_t r, float *y)
{
    if (w->layout == MD_LAYOUT_ROWS) {
        md_type_decode(w->type, (const char *)w->data + (size_t)r * w->row_bytes, y, w->cols);
        return;
    }
    const md_tile_shape s = md_tile_shape_of(w->type);
    const int block = md_type_get(w->type)->block;
    const int64_t n = w->cols / block, most = TAKEN / s.bytes;
    const char *tile = (const char *)w->data + (size_t)(r / MD_TILE_ROWS) * MD_TILE_ROWS * w->row_bytes;
    char buf[TAKEN];
    for (int64_t b = 0; b < n; b += most) {
        const int64_t take = n - b < most ? n - b : most;
        md_tile_take(s, tile, (int)(r % MD_TILE_ROWS), b, take, buf);
        md_type_decode(w->type, buf, y + b * block, take * block);
    }
}
