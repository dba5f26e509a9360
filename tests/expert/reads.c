/* SPDX-License-Identifier: Apache-2.0
 *
 * Which reads bring an expert: neighbours come together, in whatever order they lie; all else comes by itself. */
#include "expert/reads.h"
#include "base/reader.h"
#include "support/fixtures.h"

#define KB 1024u

/* The places of gate, up, down (file, offset, bytes) and what is expected. */
typedef struct kase {
    md_expert_place place[3];
    int n;              /* reads */
    int read[3];        /* which one brings each matrix; -1: it is not there */
    size_t total, room; /* bytes of all reads, of the slot */
} kase;

#define AT(f, o, b)                              \
    {                                            \
        .file = (f), .offset = (o), .bytes = (b) \
    }

static void reads_of(void **state)
{
    (void)state;
    static const kase cases[] = {
        /* side by side from a block's border on */
        {{AT(0, 8 * KB, 3 * KB), AT(0, 11 * KB, 3 * KB), AT(0, 14 * KB, 5 * KB)}, 1, {0, 0, 0}, 11 * KB, 12 * KB},
        /* in another order, with gaps below a block */
        {{AT(0, 12100, 100), AT(0, 4096, 4096), AT(0, 8200, 3000)}, 1, {0, 0, 0}, 8104, 8192},
        /* a whole block between two of them */
        {{AT(0, 0, 4096), AT(0, 8192, 4096), AT(0, 12288, 4096)}, 2, {0, 1, 1}, 12288, 12288},
        {{AT(0, 0, 4096), AT(0, 8191, 4097), AT(0, 12288, 4096)}, 1, {0, 0, 0}, 16384, 16384},
        /* far apart */
        {{AT(0, 0, 100), AT(0, 40960, 100), AT(0, 81920, 100)}, 3, {0, 1, 2}, 300, 3 * 4096},
        /* neighbours by number, but in two files */
        {{AT(0, 0, 4096), AT(1, 4096, 4096), AT(0, 4096, 4096)}, 2, {0, 1, 0}, 12288, 12288},
        /* gate and up in one matrix */
        {{AT(0, 0, 0), AT(0, 4096, 8192), AT(0, 12288, 4096)}, 1, {-1, 0, 0}, 12288, 12288},
        {{AT(0, 0, 0), AT(0, 0, 0), AT(0, 0, 0)}, 0, {-1, -1, -1}, 0, 0},
        /* the first begins inside a block: its buffer has the block's beginning */
        {{AT(0, 4100, 4096), AT(0, 8196, 4096), AT(0, 12292, 4096)}, 1, {0, 0, 0}, 12288, 16384},
        /* places that overlap are read as they are */
        {{AT(0, 0, 4096), AT(0, 2048, 4096), AT(0, 65536, 10)}, 3, {0, 1, 2}, 8202, 4096 + 8192 + 4096},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const kase *c = &cases[i];
        const md_expert_source s = {.gate = c->place[0], .up = c->place[1], .down = c->place[2]};
        md_expert_reads r;
        md_expert_reads_of(&s, &r);
        size_t total = 0;
        assert_int_equal(r.n, c->n);
        assert_int_equal(r.room, c->room);
        for (int k = 0; k < r.n; k++) {
            total += r.read[k].bytes;
            assert_int_equal(r.read[k].at % MD_READER_ALIGN, 0);
            assert_true(r.read[k].at + md_reader_room(r.read[k].offset, r.read[k].bytes) <= r.room);
        }
        assert_int_equal(total, c->total);
        for (int m = 0; m < MD_MATRICES; m++) {
            for (int k = 0; k < r.n; k++)
                assert_int_equal(r.read[k].brings >> m & 1, k == c->read[m]);
            if (c->read[m] < 0)
                continue;
            const md_expert_read *own = &r.read[c->read[m]];
            assert_int_equal(own->file, c->place[m].file);
            assert_true(c->place[m].offset + c->place[m].bytes <= own->offset + own->bytes);
            assert_int_equal(r.matrix_at[m] - own->at,
                             own->offset % MD_READER_ALIGN + c->place[m].offset - own->offset);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(reads_of)};
    return cmocka_run_group_tests_name("expert/reads", tests, NULL, NULL);
}
