/* SPDX-License-Identifier: Apache-2.0
 *
 * What a layer's choice tells of the next one's: for each pair of neighbouring layers with experts a table of how often expert a
 * here went with expert b there, learned from the first half of the rows. The second half is guessed from it, from mere
 * popularity, and from what the sequence's last token chose; that is what a predictor for read-ahead would be worth. */
#include "run/trace.h"

#include "base/status.h"

#include <math.h>
#include <string.h>

#define MOST_TABLE_BYTES ((uint64_t)2 << 30)
#define MOST_PAIRS       1000

/* A layer and the one with experts before it. */
typedef struct neighbours {
    int32_t before, layer;
    uint32_t *together;             /* in the arena, [experts before][experts here] */
    uint32_t *alone_before, *alone; /* [experts]: in rows of the first half */
    uint64_t learned;               /* rows */
    uint64_t right[3];              /* of guesses: by affinity, popularity, last token */
    uint64_t choices;
} neighbours;
enum { BY_AFFINITY, BY_POPULARITY, BY_LAST_TOKEN };

typedef struct finder {
    md_trace_affinity out; /* first: what callers see */
    md_arena arena;
    md_trace_info info;
    neighbours *link; /* [n_link], in the arena */
    int32_t n_link;
    int32_t *link_to; /* [n_layer] index of the link that leads to a layer, -1 */
    md_trace_past past;
    md_trace_rows rows;
    int32_t *last; /* owned, [last_cap] experts of the layer before in this step, of n_last rows */
    size_t last_cap;
    int32_t last_layer, n_last, last_k; /* last_layer -1: none yet */
    float *score;                       /* in the arena, [most experts] */
    uint64_t row, all_rows;             /* of earlier steps; all that count, the first half to learn from */
} finder;

/* ---- tables ---- */

static md_status make_link(finder *f, int32_t before, int32_t layer, uint64_t *bytes, md_error *err)
{
    const size_t a = (size_t)f->info.layer[before].n_expert, b = (size_t)f->info.layer[layer].n_expert;
    neighbours *l = &f->link[f->n_link];
    *bytes += a * b * sizeof *l->together;
    MD_FAIL_IF(
        *bytes > MOST_TABLE_BYTES, MD_ERR_LIMIT,
        "the affinity of %zu experts of layer %d and %zu of layer %d, and of the layers before, takes more than 2 GiB",
        a, (int)before, b, (int)layer);
    *l = (neighbours){.before = before, .layer = layer};
    l->together = md_arena_alloc(&f->arena, a * b, sizeof *l->together);
    l->alone_before = md_arena_alloc(&f->arena, a, sizeof *l->alone_before);
    l->alone = md_arena_alloc(&f->arena, b, sizeof *l->alone);
    if (!l->together || !l->alone_before || !l->alone)
        return md_fail_memory(err, "a table of affinity");
    f->link_to[layer] = f->n_link++;
    return MD_OK;
}

static md_status make_tables(finder *f, const md_trace_info *from, md_error *err)
{
    MD_TRY(md_trace_copy_info(from, &f->arena, &f->info, err));
    const size_t n = (size_t)from->n_layer;
    uint64_t bytes = 0;
    int32_t before = -1, most = 0;
    f->link = md_arena_alloc(&f->arena, n, sizeof *f->link);
    f->link_to = md_arena_alloc(&f->arena, n, sizeof *f->link_to);
    if (!f->link || !f->link_to)
        return md_fail_memory(err, "a table of affinity");
    for (int32_t l = 0; l < from->n_layer; l++) {
        f->link_to[l] = -1;
        if (from->layer[l].n_expert == 0)
            continue;
        MD_TRY(md_trace_check_size(from, l, err));
        most = from->layer[l].n_expert > most ? from->layer[l].n_expert : most;
        if (before >= 0)
            MD_TRY(make_link(f, before, l, &bytes, err));
        before = l;
    }
    f->score = md_arena_alloc(&f->arena, (size_t)most, sizeof *f->score);
    if (!f->score)
        return md_fail_memory(err, "a table of affinity");
    return md_trace_past_init(&f->past, &f->info, err);
}

/* ---- learning ---- */

static void learn(const finder *f, neighbours *l, const int32_t *a, int32_t n_a, const int32_t *b, int32_t n_b)
{
    const size_t width = (size_t)f->info.layer[l->layer].n_expert;
    l->learned++;
    for (int32_t i = 0; i < n_a; i++)
        if (a[i] >= 0)
            l->alone_before[a[i]]++;
    for (int32_t j = 0; j < n_b; j++)
        if (b[j] >= 0)
            l->alone[b[j]]++;
    for (int32_t i = 0; i < n_a; i++)
        for (int32_t j = 0; j < n_b && a[i] >= 0; j++)
            if (b[j] >= 0)
                l->together[(size_t)a[i] * width + (size_t)b[j]]++;
}

/* ---- guessing ---- */

/* How many of b[0..n_b) are among the n_guess experts of highest score; ties to the lower one. An expert that was guessed loses its
 * score. */
static uint64_t guessed(const finder *f, int32_t width, int32_t n_guess, const int32_t *b, int32_t n_b)
{
    uint64_t right = 0;
    for (int32_t g = 0; g < n_guess; g++) {
        int32_t best = 0;
        for (int32_t e = 1; e < width; e++)
            best = f->score[e] > f->score[best] ? e : best;
        for (int32_t j = 0; j < n_b; j++)
            right += b[j] == best;
        f->score[best] = -1.0f;
    }
    return right;
}

static void guess(finder *f, neighbours *l, const int32_t *a, int32_t n_a, const int32_t *b, int32_t n_b,
                  const uint16_t *before)
{
    const int32_t width = f->info.layer[l->layer].n_expert;
    int32_t chosen = 0;
    for (int32_t j = 0; j < n_b; j++)
        chosen += b[j] >= 0;
    l->choices += (uint64_t)chosen;
    memset(f->score, 0, (size_t)width * sizeof *f->score);
    for (int32_t i = 0; i < n_a; i++) {
        if (a[i] < 0 || l->alone_before[a[i]] == 0)
            continue;
        const uint32_t *row = l->together + (size_t)a[i] * (size_t)width;
        const float scale = 1.0f / (float)l->alone_before[a[i]];
        for (int32_t e = 0; e < width; e++)
            f->score[e] += (float)row[e] * scale;
    }
    l->right[BY_AFFINITY] += guessed(f, width, chosen, b, n_b);
    for (int32_t e = 0; e < width; e++)
        f->score[e] = (float)l->alone[e];
    l->right[BY_POPULARITY] += guessed(f, width, chosen, b, n_b);
    if (before)
        l->right[BY_LAST_TOKEN] += (uint64_t)md_trace_past_common(&f->past, l->layer, b, before);
}

/* ---- reading ---- */

static md_status keep_last(finder *f, const md_trace_record *r, md_error *err)
{
    const size_t n = (size_t)r->n_rows * (size_t)r->top_k;
    if (n >= f->last_cap) { /* never NULL, even for layers without slots */
        int32_t *last = md_realloc(f->last, n + 1, sizeof *last);
        if (!last)
            return md_fail_memory(err, "a trace's rows");
        f->last = last;
        f->last_cap = n + 1;
    }
    if (n > 0)
        memcpy(f->last, r->expert, n * sizeof *f->last);
    f->last_layer = r->layer;
    f->n_last = r->n_rows;
    f->last_k = r->top_k;
    return MD_OK;
}

/* A record is looked at if the layer before had one in this step. A layer that comes again (rounds) counts once. */
static md_status add_routing(finder *f, const md_trace_record *r, md_error *err)
{
    neighbours *l = f->link_to[r->layer] >= 0 ? &f->link[f->link_to[r->layer]] : NULL;
    if (r->layer == f->last_layer)
        return MD_OK;
    const bool follows = l && l->before == f->last_layer && f->n_last == r->n_rows;
    for (int32_t i = 0; i < r->n_rows; i++) {
        const int32_t *b = r->expert + (ptrdiff_t)i * r->top_k;
        const int32_t sequence = f->rows.sequence[i], position = f->rows.position[i];
        if (follows && f->row + (uint64_t)i < f->all_rows / 2)
            learn(f, l, f->last + (ptrdiff_t)i * f->last_k, f->last_k, b, r->top_k);
        else if (follows)
            guess(f, l, f->last + (ptrdiff_t)i * f->last_k, f->last_k, b, r->top_k,
                  md_trace_past_get(&f->past, r->layer, sequence, position));
        md_trace_past_set(&f->past, r->layer, sequence, position, b);
    }
    return keep_last(f, r, err);
}

static md_status count_rows(const char *path, uint64_t *rows, md_error *err)
{
    md_trace_reader *reader;
    const md_trace_record *r = NULL;
    *rows = 0;
    MD_TRY(md_trace_reader_open(path, &reader, err));
    md_status status;
    while ((status = md_trace_reader_next(reader, &r, err)) == MD_OK && r)
        *rows += r->kind == MD_TRACE_STEP ? (uint64_t)r->n_rows : 0;
    md_trace_reader_close(reader);
    return status;
}

/* The second pass takes as many rows as the first one saw, should the file have grown. */
static md_status read_all(finder *f, md_trace_reader *reader, md_error *err)
{
    const md_trace_record *r = NULL;
    md_status status = make_tables(f, md_trace_reader_info(reader), err);
    f->last_layer = -1;
    while (status == MD_OK && (status = md_trace_reader_next(reader, &r, err)) == MD_OK && r) {
        if (r->kind == MD_TRACE_STEP) {
            f->row += (uint64_t)f->rows.n;
            f->last_layer = -1;
            if (f->row >= f->all_rows)
                break;
            status = md_trace_rows_keep(&f->rows, r, err);
        } else if (r->kind == MD_TRACE_ROUTING) {
            status = add_routing(f, r, err);
        }
    }
    return status;
}

/* ---- results ---- */

typedef struct ranked {
    double gain;
    md_trace_pair pair;
} ranked;

/* Keeps the list sorted, best first; earlier pairs win ties. */
static void rank_pair(ranked *list, size_t *n, size_t most, const ranked *one)
{
    size_t at = *n;
    if (*n == most && one->gain <= list[most - 1].gain)
        return;
    if (*n == most)
        at--;
    else
        (*n)++;
    for (; at > 0 && list[at - 1].gain < one->gain; at--)
        list[at] = list[at - 1];
    list[at] = *one;
}

static void rank_link(const finder *f, const neighbours *l, ranked *list, size_t *n, size_t most)
{
    const int32_t n_a = f->info.layer[l->before].n_expert, n_b = f->info.layer[l->layer].n_expert;
    const double rows = (double)l->learned;
    for (int32_t a = 0; a < n_a; a++)
        for (int32_t b = 0; b < n_b; b++) {
            const uint32_t c = l->together[(size_t)a * (size_t)n_b + (size_t)b];
            if (c == 0)
                continue;
            const double probability = (double)c / (double)l->alone_before[a];
            const double lift = probability * rows / (double)l->alone[b];
            const ranked one = {.gain = (double)c / rows * log2(lift),
                                .pair = {.layer = l->before,
                                         .expert = a,
                                         .next_layer = l->layer,
                                         .next_expert = b,
                                         .count = c,
                                         .probability = probability,
                                         .lift = lift}};
            if (one.gain > 0.0)
                rank_pair(list, n, most, &one);
        }
}

static md_status find_pairs(finder *f, size_t most, md_error *err)
{
    size_t n = 0;
    ranked *list = md_arena_alloc(&f->arena, most, sizeof *list);
    md_trace_pair *pair = md_arena_alloc(&f->arena, most, sizeof *pair);
    if (!list || !pair)
        return md_fail_memory(err, "pairs of experts");
    for (int32_t i = 0; i < f->n_link && most > 0; i++)
        rank_link(f, &f->link[i], list, &n, most);
    for (size_t i = 0; i < n; i++)
        pair[i] = list[i].pair;
    f->out.pair = pair;
    f->out.n_pairs = n;
    return MD_OK;
}

static double share(uint64_t part, uint64_t all)
{
    return all > 0 ? (double)part / (double)all : 0.0;
}

static md_status find_guesses(finder *f, md_error *err)
{
    md_trace_guess *guess_of = md_arena_alloc(&f->arena, (size_t)f->n_link, sizeof *guess_of);
    uint64_t right[3] = {0}, choices = 0;
    if (!guess_of)
        return md_fail_memory(err, "guesses of experts");
    for (int32_t i = 0; i < f->n_link; i++) {
        const neighbours *l = &f->link[i];
        guess_of[i] = (md_trace_guess){.layer = l->before,
                                       .next_layer = l->layer,
                                       .choices = l->choices,
                                       .by_affinity = share(l->right[BY_AFFINITY], l->choices),
                                       .by_popularity = share(l->right[BY_POPULARITY], l->choices),
                                       .by_last_token = share(l->right[BY_LAST_TOKEN], l->choices)};
        choices += l->choices;
        for (int k = 0; k < 3; k++)
            right[k] += l->right[k];
    }
    f->out.guess = guess_of;
    f->out.n_guesses = (size_t)f->n_link;
    f->out.total = (md_trace_guess){.layer = -1,
                                    .next_layer = -1,
                                    .choices = choices,
                                    .by_affinity = share(right[BY_AFFINITY], choices),
                                    .by_popularity = share(right[BY_POPULARITY], choices),
                                    .by_last_token = share(right[BY_LAST_TOKEN], choices)};
    return MD_OK;
}

static void finder_free(finder *f)
{
    if (!f)
        return;
    md_trace_past_done(&f->past);
    md_trace_rows_done(&f->rows);
    md_free(f->last);
    md_arena_done(&f->arena);
    md_free(f);
}

md_status md_trace_find_affinity(const char *path, size_t max_pairs, md_trace_affinity **out, md_error *err)
{
    md_trace_reader *reader = NULL;
    uint64_t rows;
    *out = NULL;
    MD_FAIL_IF(max_pairs > MOST_PAIRS, MD_ERR_ARGUMENT, "at most %d pairs can be listed, not %zu", MOST_PAIRS,
               max_pairs);
    MD_TRY(count_rows(path, &rows, err));
    MD_TRY(md_trace_reader_open(path, &reader, err));
    finder *f = md_calloc(1, sizeof *f);
    md_status status = f ? MD_OK : md_fail_memory(err, "a table of affinity");
    if (f) {
        f->all_rows = rows;
        status = read_all(f, reader, err);
    }
    md_trace_reader_close(reader);
    if (status == MD_OK)
        status = find_pairs(f, max_pairs, err);
    if (status == MD_OK)
        status = find_guesses(f, err);
    if (status != MD_OK) {
        finder_free(f);
        return status;
    }
    *out = &f->out;
    return MD_OK;
}

void md_trace_affinity_free(md_trace_affinity *a)
{
    finder_free((finder *)a);
}
