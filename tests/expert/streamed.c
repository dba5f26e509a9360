/* SPDX-License-Identifier: Apache-2.0
 *
 * The streaming store against a plain memory of the same file: what it gives, what it counts, what it keeps, and what it says
 * when the file goes bad. */
#include "base/reader.h"
#include "dtype/tile.h"
#include "expert/streamed.h"
#include "support/scratch.h"
#include "support/synth_model.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LAYERS = 3, EXPERTS = 6, TOP_K = 2, ROWS = 16, COLS = 256, ODD = 37 };

typedef struct world {
    bool together;       /* an expert's matrices are neighbours */
    const char *path;    /* in the test's folder */
    unsigned char *file; /* what the file holds */
    size_t n;
    md_expert_source source[LAYERS][EXPERTS];
    const md_expert_source *table[LAYERS];
    int32_t n_expert[LAYERS], top_k[LAYERS];
    const char *paths[1];
    md_streamed_args args;
} world;

static md_weight matrix_of(md_type type, md_layout layout)
{
    md_weight w = {.type = type, .layout = layout, .rows = ROWS, .cols = COLS};
    assert_true(md_type_row_bytes(type, COLS, &w.row_bytes));
    return w;
}

static md_expert_place next_place(world *w, const md_weight *m, bool weave)
{
    const md_expert_place p = {.offset = w->n, .bytes = (size_t)m->rows * m->row_bytes, .weave = weave};
    w->n += p.bytes + (w->together ? 0 : MD_READER_ALIGN) + ODD; /* nothing begins at a block's border */
    return p;
}

/* Layer 0: woven as it arrives, gate, up and down; layer 1: without experts; layer 2: rows as they are, no gate. */
static void world_init(world *w, const char *folder, bool together)
{
    *w = (world){.n = ODD, .together = together, .path = scratch_path(folder, "experts")};
    for (int l = 0; l < LAYERS; l++) {
        w->n_expert[l] = l == 1 ? 0 : EXPERTS;
        w->top_k[l] = l == 1 ? 0 : TOP_K;
        w->table[l] = l == 1 ? NULL : w->source[l];
        for (int e = 0; e < w->n_expert[l]; e++) {
            md_expert_source *s = &w->source[l][e];
            const md_layout layout = l == 0 ? MD_LAYOUT_TILES : MD_LAYOUT_ROWS;
            s->shape.up = matrix_of(l == 0 ? MD_TYPE_Q4_K : MD_TYPE_F16, layout);
            s->shape.down = matrix_of(l == 0 ? MD_TYPE_Q8_0 : MD_TYPE_F16, layout);
            s->up = next_place(w, &s->shape.up, l == 0);
            s->down = next_place(w, &s->shape.down, l == 0);
            if (l == 0) {
                s->shape.gate = s->shape.up;
                s->gate = next_place(w, &s->shape.gate, true);
            }
            w->n += MD_READER_ALIGN;
        }
    }
    w->file = malloc(w->n);
    for (size_t i = 0; i < w->n; i++)
        w->file[i] = (unsigned char)(i * 2654435761u >> 13);
    FILE *f = fopen(w->path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(w->file, 1, w->n, f), w->n);
    assert_int_equal(fclose(f), 0);
    w->paths[0] = w->path;
    w->args = (md_streamed_args){.n_layer = LAYERS,
                                 .n_expert = w->n_expert,
                                 .top_k = w->top_k,
                                 .source = w->table,
                                 .path = w->paths,
                                 .n_files = 1,
                                 .bytes = SIZE_MAX};
    OK(md_pool_new(2, &w->args.pool, err));
}

static void world_done(world *w)
{
    md_pool_free(w->args.pool);
    free(w->file);
}

static void expect_matrix(const world *w, const md_weight *got, const md_expert_place *p)
{
    const unsigned char *rows = w->file + p->offset;
    if (p->bytes == 0) {
        assert_null(got->data);
        return;
    }
    if (!p->weave) {
        assert_memory_equal(got->data, rows, p->bytes);
        return;
    }
    unsigned char tile[MD_TILE_ROWS * COLS * 2];
    const size_t bytes = MD_TILE_ROWS * got->row_bytes;
    for (size_t at = 0; at < p->bytes; at += bytes) {
        md_tile_weave(got->type, rows + at, got->row_bytes, COLS / md_type_get(got->type)->block, tile);
        assert_memory_equal((const unsigned char *)got->data + at, tile, bytes);
    }
}

/* One step of a layer: all of expert[0..n) are had at the same time and are right; guess [TOP_K] of the next one, or NULL. */
static void use_then(const world *w, md_streamed *s, int32_t layer, const int32_t *expert, int32_t n,
                     const int32_t *guess)
{
    md_expert_store *store = md_streamed_store(s);
    float weight[EXPERTS];
    for (int i = 0; i < n; i++)
        weight[i] = 1.0f / (float)n;
    store->chosen(store, layer, expert, weight, n);
    store->want(store, layer, expert, n);
    if (guess)
        store->expect(store, guess, TOP_K);
    for (int i = 0; i < n; i++) {
        const md_expert *e = store->run(store, layer, expert[i]);
        assert_non_null(e);
        assert_true(store->ready(store, layer, expert[i]));
    }
    for (int i = 0; i < n; i++) {
        const md_expert_source *source = &w->source[layer][expert[i]];
        const md_expert *e = store->run(store, layer, expert[i]);
        expect_matrix(w, &e->gate, &source->gate);
        expect_matrix(w, &e->up, &source->up);
        expect_matrix(w, &e->down, &source->down);
        store->release(store, layer, expert[i]);
        store->release(store, layer, expert[i]);
    }
}

static void use(const world *w, md_streamed *s, int32_t layer, const int32_t *expert, int32_t n)
{
    use_then(w, s, layer, expert, n, NULL);
}

static void gives_what_it_holds(const char *folder, bool together)
{
    static const char *const policies[] = {"medley", "lfu", "lru"};
    world w;
    world_init(&w, folder, together);
    for (int32_t slots = TOP_K; slots <= EXPERTS; slots++)
        for (size_t p = 0; p < sizeof policies / sizeof *policies; p++) {
            md_streamed *s;
            w.args.most_slots = slots;
            w.args.policy = policies[p];
            OK(md_streamed_new(&w.args, &s, err));
            assert_int_equal(md_streamed_slots(s, 0), slots);
            assert_int_equal(md_streamed_slots(s, 1), 0);
            for (uint32_t i = 0; i < 200; i++) {
                const uint32_t r = i * 2654435761u;
                const int32_t first = (int32_t)(r >> 7) % EXPERTS,
                              pair[TOP_K] = {first, (first + 1 + (int32_t)(r >> 13) % (EXPERTS - 1)) % EXPERTS};
                use(&w, s, i % 2 ? 2 : 0, pair, TOP_K);
            }
            const md_streamed_counts c = md_streamed_get_counts(s);
            assert_int_equal(c.hits + c.misses, 200 * TOP_K);
            if (slots == EXPERTS)
                assert_int_equal(c.misses, 2 * EXPERTS); /* each once */
            else
                assert_true(c.misses > 2 * EXPERTS);
            /* layer 0 has three matrices an expert, layer 2 two */
            if (together)
                assert_int_equal(c.reads, c.misses);
            else
                assert_true(c.reads > 2 * c.misses && c.reads < 3 * c.misses);
            md_streamed_free(s);
        }
    world_done(&w);
}

static void gives_what_the_file_holds(void **state)
{
    gives_what_it_holds(*state, false);
}

static void neighbours_come_in_one_read(void **state)
{
    gives_what_it_holds(*state, true);
}

static void bytes_become_slots(void **state)
{
    world w;
    world_init(&w, *state, false);
    size_t least, all;
    md_error error;
    md_streamed *s;
    md_streamed_bytes(&w.args, &least, &all);
    assert_int_equal(all, least * EXPERTS / TOP_K);
    w.args.bytes = least - 1;
    assert_int_equal(md_streamed_new(&w.args, &s, &error), MD_ERR_MEMORY);
    assert_null(s);
    int32_t before = 0;
    for (size_t bytes = least; bytes < all + 100000; bytes += 10000) {
        w.args.bytes = bytes;
        OK(md_streamed_new(&w.args, &s, err));
        int32_t slots = 0;
        for (int32_t l = 0; l < LAYERS; l++) {
            assert_true(md_streamed_slots(s, l) >= w.top_k[l] && md_streamed_slots(s, l) <= w.n_expert[l]);
            slots += md_streamed_slots(s, l);
        }
        assert_true(slots >= before);
        before = slots;
        md_streamed_free(s);
    }
    assert_int_equal(before, 2 * EXPERTS);
    world_done(&w);
}

/* What is wanted or in use stays, whatever comes; what cannot have a slot is refused, not given wrong. */
static void what_is_in_use_stays(void **state)
{
    world w;
    world_init(&w, *state, false);
    w.args.most_slots = TOP_K;
    md_streamed *s;
    OK(md_streamed_new(&w.args, &s, err));
    md_expert_store *store = md_streamed_store(s);
    const int32_t pair[] = {1, 4}, other[] = {2};
    store->chosen(store, 0, pair, (const float[]){0.5f, 0.5f}, 2);
    store->want(store, 0, pair, 2);
    const md_expert *held = store->run(store, 0, 1);
    store->want(store, 0, other, 1);
    assert_null(store->run(store, 0, 2));
    expect_matrix(&w, &held->up, &w.source[0][1].up);
    store->release(store, 0, 1);
    use(&w, s, 0, other, 1);
    md_streamed_free(s);
    world_done(&w);
}

static void a_file_that_changed_is_refused(void **state)
{
    world w;
    world_init(&w, *state, false);
    w.args.most_slots = TOP_K;
    md_streamed *s;
    OK(md_streamed_new(&w.args, &s, err));
    md_expert_store *store = md_streamed_store(s);
    const int32_t pair[] = {0, 1}, rest[] = {2, 3};
    use(&w, s, 0, pair, 2);
    assert_int_equal(truncate(w.path, (off_t)w.n / 2), 0);
    use(&w, s, 0, pair, 2); /* these are there */
    store->chosen(store, 2, rest, (const float[]){0.5f, 0.5f}, 2);
    store->want(store, 2, rest, 2);
    assert_null(store->run(store, 2, 2));
    assert_non_null(strstr(md_streamed_error(s), "changed"));
    md_streamed_free(s);
    world_done(&w);
}

/* Guesses, right and wrong ones, and waves: what is read ahead is never given for another expert, and never takes the slots that
 * a step needs. */
static void read_ahead_changes_nothing(void **state)
{
    world w;
    world_init(&w, *state, false);
    w.args.read_ahead = MD_AHEAD_ALWAYS;
    for (int32_t slots = TOP_K; slots <= EXPERTS; slots++) {
        md_streamed *s;
        w.args.most_slots = slots;
        OK(md_streamed_new(&w.args, &s, err));
        md_expert_store *store = md_streamed_store(s);
        for (uint32_t i = 0; i < 400; i++) {
            const uint32_t r = i * 2654435761u;
            const int32_t first = (int32_t)(r >> 7) % EXPERTS, layer = i % 2 ? 2 : 0,
                          pair[TOP_K] = {first, (first + 1 + (int32_t)(r >> 13) % (EXPERTS - 1)) % EXPERTS},
                          guess[TOP_K] = {(int32_t)(r >> 17) % EXPERTS, i % 3 ? pair[1] : (int32_t)(r >> 21) % EXPERTS};
            use_then(&w, s, layer, pair, TOP_K, guess);
        }
        const md_streamed_counts c = md_streamed_get_counts(s);
        assert_int_equal(c.hits + c.misses, 400 * TOP_K);
        assert_true(c.ahead_used + c.ahead_wasted <= c.ahead);
        assert_true(slots == EXPERTS || c.ahead_used > 0);
        assert_true(c.guesses.guess[MD_GUESS_ROUTER].named >= c.guesses.guess[MD_GUESS_ROUTER].right);
        assert_true(slots == EXPERTS || store->guess >= 0);
        md_streamed_free(s);
    }
    world_done(&w);
}

/* Present is what is in a slot or on its way, and no more once it had to leave. */
static void tells_what_is_present(void **state)
{
    world w;
    world_init(&w, *state, false);
    w.args.most_slots = TOP_K;
    w.args.read_ahead = MD_AHEAD_OFF;
    md_streamed *s;
    OK(md_streamed_new(&w.args, &s, err));
    md_expert_store *store = md_streamed_store(s);
    const int32_t pair[] = {1, 4}, rest[] = {2, 3};
    assert_false(store->present(store, 0, 1));
    store->chosen(store, 0, pair, (const float[]){0.5f, 0.5f}, 2);
    store->want(store, 0, pair, 2);
    assert_true(store->present(store, 0, 1) && store->present(store, 0, 4));
    assert_false(store->present(store, 0, 2) || store->present(store, 2, 1));
    use(&w, s, 0, pair, 2); /* waits until they are there */
    use(&w, s, 0, rest, 2);
    assert_false(store->present(store, 0, 1) || store->present(store, 0, 4));
    assert_true(store->present(store, 0, 2) && store->present(store, 0, 3));
    md_streamed_free(s);
    world_done(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_SCRATCH(gives_what_the_file_holds),  IN_SCRATCH(neighbours_come_in_one_read),
        IN_SCRATCH(bytes_become_slots),         IN_SCRATCH(what_is_in_use_stays),
        IN_SCRATCH(read_ahead_changes_nothing), IN_SCRATCH(a_file_that_changed_is_refused),
        IN_SCRATCH(tells_what_is_present),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
