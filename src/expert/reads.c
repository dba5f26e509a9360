/* SPDX-License-Identifier: Apache-2.0 */
#include "expert/reads.h"

#include "base/reader.h"

/* The matrices that are there, by file and offset; returns how many. */
static int in_order(const md_expert_source *s, int order[MD_MATRICES])
{
    int n = 0;
    for (int m = 0; m < MD_MATRICES; m++) {
        const md_expert_place *p = md_place_of(s, m);
        if (p->bytes == 0)
            continue;
        int k = n++;
        for (; k > 0; k--) {
            const md_expert_place *q = md_place_of(s, order[k - 1]);
            if (q->file < p->file || (q->file == p->file && q->offset <= p->offset))
                break;
            order[k] = order[k - 1];
        }
        order[k] = m;
    }
    return n;
}

/* Does p lie so close behind the read that both are one? */
static bool joins(const md_expert_read *r, const md_expert_place *p)
{
    const uint64_t end = r->offset + r->bytes;
    return r->file == p->file && p->offset >= end && p->offset - end < MD_READER_ALIGN;
}

void md_expert_reads_of(const md_expert_source *s, md_expert_reads *out)
{
    int order[MD_MATRICES];
    const int n = in_order(s, order);
    *out = (md_expert_reads){0};
    for (int i = 0; i < n; i++) {
        const md_expert_place *p = md_place_of(s, order[i]);
        if (out->n == 0 || !joins(&out->read[out->n - 1], p))
            out->read[out->n++] = (md_expert_read){.file = p->file, .offset = p->offset};
        md_expert_read *r = &out->read[out->n - 1];
        r->bytes = (size_t)(p->offset - r->offset) + p->bytes;
        r->brings |= 1u << order[i];
    }
    for (int i = 0; i < out->n; i++) {
        md_expert_read *r = &out->read[i];
        r->at = out->room;
        out->room += md_reader_room(r->offset, r->bytes);
        for (int m = 0; m < MD_MATRICES; m++)
            if (r->brings >> m & 1)
                out->matrix_at[m] = r->at + (size_t)(r->offset % MD_READER_ALIGN) +
                                    (size_t)(md_place_of(s, m)->offset - r->offset);
    }
}
