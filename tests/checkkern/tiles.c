/* SPDX-License-Identifier: Apache-2.0
 *
 * Tiles: weaving rows and taking them out again, and the products of every type that has tiles, on every table, against the
 * scalar table's products with the same rows as they lay in the file, bit for bit: shapes, gather lists, ranges of rows,
 * unaligned weights, any data. (Those are held against the definition in mul.c.) */
#include "checkkern/check.h"
#include "checkkern/weights.h"

enum { MAX_ROWS = 40, MAX_TOKENS = 140 };

static size_t row_bytes_of(md_type t, int64_t k)
{
    size_t bytes;
    assert_true(md_type_row_bytes(t, k, &bytes));
    return bytes;
}

/* `rows` (n_rows, row_bytes) woven into tiles at dst. */
static void weave(md_type t, const void *rows, int n_rows, size_t row_bytes, void *dst)
{
    const int64_t n_blocks = (int64_t)row_bytes / md_type_get(t)->bytes;
    for (int r = 0; r < n_rows; r += MD_TILE_ROWS)
        md_tile_weave(t, (const char *)rows + (size_t)r * row_bytes, row_bytes, n_blocks,
                      (char *)dst + (size_t)r * row_bytes);
}

/* ---- the layout ---- */

static void tiles_have_the_bytes_of_their_rows_where_they_should(void **state)
{
    (void)state;
    for (int type = 0; type < MD_N_TYPES; type++) {
        const md_type t = (md_type)type;
        if (!md_tile_has(t))
            continue;
        const md_tile_shape s = md_tile_shape_of(t);
        assert_int_equal(s.bytes, md_type_get(t)->bytes);
        assert_int_equal(s.head + 4 * s.words, s.bytes);
        assert_true(s.head_at == 0 || s.head_at + s.head == s.bytes);
        const int n_blocks = 1 + random_below(4), words_at = s.head_at == 0 ? s.head : 0;
        const size_t row_bytes = (size_t)(n_blocks * s.bytes);
        const tight rows = tight_new(row_bytes * MD_TILE_ROWS, (size_t)random_below(4));
        guarded tile = guarded_new(row_bytes * MD_TILE_ROWS, (size_t)random_below(4));
        const uint8_t *row = rows.data, *woven = tile.data;
        random_fill(rows.data, row_bytes * MD_TILE_ROWS);
        md_tile_weave(t, rows.data, row_bytes, n_blocks, tile.data);
        for (int r = 0; r < MD_TILE_ROWS; r++)
            for (int b = 0; b < n_blocks; b++) {
                const uint8_t *in = row + (size_t)r * row_bytes + (size_t)b * s.bytes;
                const uint8_t *out = woven + (size_t)b * s.bytes * MD_TILE_ROWS;
                assert_memory_equal(out + r * s.head, in + s.head_at, (size_t)s.head);
                for (int w = 0; w < s.words; w++)
                    assert_memory_equal(out + 8 * s.head + 32 * w + 4 * r, in + words_at + 4 * w, 4);
            }
        guarded_done(&tile, describe("weaving %s", md_type_get(t)->name));
        free(rows.base);
    }
}

static void rows_come_out_of_tiles_as_they_went_in(void **state)
{
    (void)state;
    for (int type = 0; type < MD_N_TYPES; type++) {
        const md_type t = (md_type)type;
        if (!md_tile_has(t))
            continue;
        const md_tile_shape s = md_tile_shape_of(t);
        const int n_blocks = 5;
        const size_t row_bytes = (size_t)(n_blocks * s.bytes);
        const tight rows = tight_new(row_bytes * MD_TILE_ROWS, 1), tile = tight_new(row_bytes * MD_TILE_ROWS, 3);
        random_fill(rows.data, row_bytes * MD_TILE_ROWS);
        md_tile_weave(t, rows.data, row_bytes, n_blocks, tile.data);
        for (int r = 0; r < MD_TILE_ROWS; r++)
            for (int first = 0; first <= n_blocks; first++)
                for (int n = 0; first + n <= n_blocks; n++) {
                    const char *what = describe("%s row %d blocks %d, %d of them", md_type_get(t)->name, r, first, n);
                    guarded got = guarded_new((size_t)(n * s.bytes), (size_t)random_below(4));
                    md_tile_take(s, tile.data, r, first, n, got.data);
                    const char *row = (const char *)rows.data + (size_t)r * row_bytes;
                    if (memcmp(got.data, row + (size_t)(first * s.bytes), (size_t)(n * s.bytes)) != 0)
                        fail_msg("%s: not what was woven in", what);
                    guarded_done(&got, what);
                }
        free(rows.base);
        free(tile.base);
    }
}

/* ---- products ---- */

typedef enum payload { PAYLOAD_MODEL, PAYLOAD_ZERO, PAYLOAD_BITS, PAYLOAD_ONES, N_PAYLOADS } payload;
static const char *const payload_names[N_PAYLOADS] = {"tamed scales", "zero", "random bits",
                                                      "all bits set, tamed scales"};

/* What activation codes are made of. */
typedef enum codes { CODES_FLOATS, CODES_LARGEST, CODES_OPPOSED, N_CODES } codes;
static const char *const code_names[N_CODES] = {"of floats", "all +-127", "signed as the weights"};

typedef struct problem {
    md_type type;
    int64_t k, n_tokens, n_act;
    int n_rows;
    size_t row_bytes;
    tight rows, tiles, code, scale, sum, isum, list;
    md_act act;
} problem;

static void make_weights(problem *p, payload kind)
{
    const size_t n = p->row_bytes * (size_t)p->n_rows;
    p->rows = tight_new(n, (size_t)random_below(4));
    p->tiles = tight_new(n, (size_t)random_below(64));
    switch (kind) {
    case PAYLOAD_ZERO: memset(p->rows.data, 0, n); break;
    case PAYLOAD_BITS: random_fill(p->rows.data, n); break;
    case PAYLOAD_ONES:
        memset(p->rows.data, random_below(2) ? 0xff : 0x80, n);
        for (size_t at = 0; at < n; at += (size_t)md_type_get(p->type)->bytes)
            tame_block(p->type, (uint8_t *)p->rows.data + at, random_u64);
        break;
    default: random_weights(p->type, p->rows.data, p->k * p->n_rows, random_u64); break;
    }
    weave(p->type, p->rows.data, p->n_rows, p->row_bytes, p->tiles.data);
}

/* Sums of each `group` codes, in the order of the codes. */
static void sum_codes(const int8_t *code, int64_t n, int group, int16_t *sum)
{
    for (int64_t i = 0; i < n; i += group) {
        int s = 0;
        for (int j = 0; j < group; j++)
            s += code[i + j];
        sum[i / group] = (int16_t)s;
    }
}

/* Codes that make integer sums as large as they can be: the largest of all, all of one sign along runs of columns. */
static void push_codes(problem *p, codes kind)
{
    int8_t *code = p->code.data;
    const int64_t n = p->k * p->n_act;
    const int run = 1 << random_below(8);
    for (int64_t i = 0; i < n; i++)
        code[i] = (int8_t)((kind == CODES_LARGEST ? random_u32() & 1 : i / run & 1) ? 127 : -127);
    if (p->act.kind == MD_ACT_Q256) {
        sum_codes(code, n, 16, p->sum.data);
        return;
    }
    sum_codes(code, n, 32, p->isum.data);
    for (int64_t i = 0; i < n / 32; i++)
        ((float *)p->sum.data)[i] = p->act.scale[i] * (float)p->act.isum[i];
}

static void make_activations(problem *p, fill f, codes kind)
{
    const md_act_kind act = md_type_get(p->type)->act;
    const int64_t n = p->k * p->n_act, block = act == MD_ACT_Q32 ? 32 : 256;
    tight x;
    const float *values = tight_floats(&x, n, 0, f);
    p->code = tight_new((size_t)n, (size_t)random_below(4));
    p->scale = tight_new((size_t)(n / block) * 4, 4);
    p->act = (md_act){.kind = act, .k = p->k, .code = p->code.data, .scale = p->scale.data};
    if (act == MD_ACT_Q32) {
        p->sum = tight_new((size_t)(n / 32) * 4, 4);
        p->isum = tight_new((size_t)(n / 32) * 2, 2);
        p->act.sum32 = p->sum.data;
        p->act.isum = p->isum.data;
        scalar_table()->quantize32(values, n, p->code.data, p->scale.data, p->sum.data, p->isum.data);
    } else {
        p->sum = tight_new((size_t)(n / 16) * 2, 2);
        p->act.sum16 = p->sum.data;
        scalar_table()->quantize256(values, n, p->code.data, p->scale.data, p->sum.data);
    }
    if (kind != CODES_FLOATS)
        push_codes(p, kind);
    free(x.base);
}

static problem problem_new(md_type type, int64_t k, int n_rows, int64_t n_tokens, bool gathered, payload w, fill f,
                           codes c)
{
    problem p = {.type = type, .k = k, .n_rows = n_rows, .n_tokens = n_tokens, .n_act = gathered ? 5 : n_tokens};
    p.row_bytes = row_bytes_of(type, k);
    make_weights(&p, w);
    make_activations(&p, f, c);
    if (gathered) {
        p.list = tight_new((size_t)n_tokens * sizeof(int32_t), 0);
        for (int64_t t = 0; t < n_tokens; t++)
            ((int32_t *)p.list.data)[t] = random_below((int)p.n_act);
    }
    return p;
}

static void problem_done(problem *p)
{
    free(p->rows.base);
    free(p->tiles.base);
    free(p->code.base);
    free(p->scale.base);
    free(p->sum.base);
    free(p->isum.base);
    free(p->list.base);
}

static md_product product_of(const problem *p, bool tiles, int64_t first, int64_t last, float *out, int64_t ld)
{
    return (md_product){.w = tiles ? p->tiles.data : p->rows.data,
                        .row_bytes = p->row_bytes,
                        .first = first,
                        .last = last,
                        .act = &p->act,
                        .rows = p->list.data,
                        .n_rows = p->n_tokens,
                        .out = out,
                        .ld_out = ld};
}

/* Rows [first, last): what lies inside equals `expected` (n_tokens, n_rows), what lies outside is untouched. */
static void check_range(const md_kern *kern, const problem *p, const float *expected, int64_t first, int64_t last,
                        const char *what)
{
    const int64_t ld = p->n_rows + random_below(3);
    const size_t n = (size_t)(p->n_tokens * ld) * sizeof(float);
    guarded out = guarded_new(n, (size_t)random_below(4) * 4);
    const tight before = tight_copy(out.data, n, 0);
    const float *y = out.data, *old = before.data;
    const md_product m = product_of(p, true, first, last, out.data, ld);
    kern->mul_tiles[p->type](&m);
    for (int64_t t = 0; t < p->n_tokens; t++)
        for (int64_t r = 0; r < ld; r++) {
            const int64_t at = t * ld + r;
            if (r >= first && r < last)
                expect_same_floats(expected + t * p->n_rows + r, y + at, 1, what);
            else if (bits_of(y[at]) != bits_of(old[at]))
                fail_msg("%s: rows [%d, %d): row %d was written", what, (int)first, (int)last, (int)r);
        }
    guarded_done(&out, what);
    free(before.base);
}

static void check_problem(const md_kern *kern, const problem *p, const char *what)
{
    const int64_t n = p->n_rows, from = random_below(p->n_rows / 8) * 8,
                  to = from + random_below((p->n_rows - (int)from) / 8 + 1) * 8;
    float *expected = malloc((size_t)(p->n_tokens * n) * sizeof *expected);
    assert_non_null(expected);
    const md_product m = product_of(p, false, 0, n, expected, n);
    scalar_table()->mul[p->type](&m);
    check_range(kern, p, expected, 0, n, what);
    check_range(kern, p, expected, n - 8, n, what);
    check_range(kern, p, expected, from, to, what);
    free(expected);
}

/* Numbers of blocks that end inside, at and beyond the strips that kernels cut rows into. */
static int64_t length_of(md_type t, int i)
{
    static const int64_t q32[] = {1, 2, 3, 7, 8, 9, 17, 67}, q256[] = {1, 2, 3, 5, 8, 9, 11, 17};
    const md_type_info *info = md_type_get(t);
    if (info->act == MD_ACT_Q256)
        return q256[i] * 256;
    return (q32[i] * 32 + info->block - 1) / info->block * info->block;
}

static const int row_counts[] = {8, 16, 24, MAX_ROWS};

static void every_type_with_tiles_has_a_product_and_no_other(void **state)
{
    const md_kern *kern = table_of(state);
    for (int t = 0; t < MD_N_TYPES; t++)
        assert_int_equal(kern->mul_tiles[t] != NULL, md_tile_has((md_type)t));
}

static void products_equal_the_scalar_ones_at_every_number_of_tokens(void **state)
{
    static const int64_t counts[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 17, 33, MAX_TOKENS};
    const md_kern *kern = table_of(state);
    for (int type = 0; type < MD_N_TYPES; type++)
        for (int i = 0; md_tile_has((md_type)type) && i < COUNT(counts); i++) {
            const md_type t = (md_type)type;
            const int n_rows = row_counts[i % COUNT(row_counts)];
            const int64_t k = length_of(t, random_below(6));
            problem p = problem_new(t, k, n_rows, counts[i], random_below(2), PAYLOAD_MODEL, FILL_UNIT, CODES_FLOATS);
            check_problem(kern, &p,
                          describe("%s %s k=%d rows=%d tokens=%d%s", kern->isa, md_type_get(t)->name, (int)k, n_rows,
                                   (int)counts[i], p.list.data ? " gathered" : ""));
            problem_done(&p);
        }
}

static void products_equal_the_scalar_ones_at_every_length(void **state)
{
    const md_kern *kern = table_of(state);
    for (int type = 0; type < MD_N_TYPES; type++)
        for (int i = 0; md_tile_has((md_type)type) && i < 8; i++)
            for (int many = 0; many < 2; many++) {
                const md_type t = (md_type)type;
                const int n_rows = row_counts[random_below(3)];
                const int64_t k = length_of(t, i), n_tokens = many ? 5 + random_below(9) : 1 + random_below(4);
                problem p = problem_new(t, k, n_rows, n_tokens, random_below(2), PAYLOAD_MODEL, FILL_UNIT,
                                        CODES_FLOATS);
                check_problem(kern, &p,
                              describe("%s %s k=%d rows=%d tokens=%d%s", kern->isa, md_type_get(t)->name, (int)k,
                                       n_rows, (int)n_tokens, p.list.data ? " gathered" : ""));
                problem_done(&p);
            }
}

static void products_equal_the_scalar_ones_on_any_data(void **state)
{
    const md_kern *kern = table_of(state);
    for (int type = 0; type < MD_N_TYPES; type++)
        for (int w = 0; md_tile_has((md_type)type) && w < N_PAYLOADS; w++)
            for (int f = 0; f < N_FILLS + N_CODES - 1; f++) {
                const md_type t = (md_type)type;
                const codes c = f < N_FILLS ? CODES_FLOATS : (codes)(CODES_LARGEST + f - N_FILLS);
                const fill values = f < N_FILLS ? (fill)f : FILL_UNIT;
                const int64_t k = length_of(t, 1 + random_below(4)), n_tokens = 1 + random_below(11);
                problem p = problem_new(t, k, row_counts[random_below(3)], n_tokens, random_below(2), (payload)w,
                                        values, c);
                check_problem(kern, &p,
                              describe("%s %s k=%d tokens=%d weights: %s, activations: %s, codes: %s", kern->isa,
                                       md_type_get(t)->name, (int)k, (int)n_tokens, payload_names[w],
                                       fill_names[values], code_names[c]));
                problem_done(&p);
            }
}

/* More rows and tokens than any kernel takes at a time. */
static void large_products_equal_the_scalar_ones(void **state)
{
    static const md_type types[] = {MD_TYPE_Q4_0, MD_TYPE_Q8_0, MD_TYPE_Q4_K, MD_TYPE_Q6_K};
    const md_kern *kern = table_of(state);
    for (int i = 0; i < COUNT(types); i++) {
        problem p = problem_new(types[i], 512, 600, MAX_TOKENS, false, PAYLOAD_MODEL, FILL_UNIT, CODES_FLOATS);
        check_problem(kern, &p, describe("%s %s large", kern->isa, md_type_get(types[i])->name));
        problem_done(&p);
    }
}

int main(void)
{
    seed_from_environment();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tiles_have_the_bytes_of_their_rows_where_they_should),
        cmocka_unit_test(rows_come_out_of_tiles_as_they_went_in),
        EACH_TABLE(every_type_with_tiles_has_a_product_and_no_other),
        EACH_TABLE(products_equal_the_scalar_ones_at_every_number_of_tokens),
        EACH_TABLE(products_equal_the_scalar_ones_at_every_length),
        EACH_TABLE(products_equal_the_scalar_ones_on_any_data),
        EACH_TABLE(large_products_equal_the_scalar_ones),
    };
    return cmocka_run_group_tests_name("checkkern tiles", tests, NULL, NULL);
}
