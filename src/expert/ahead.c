/* SPDX-License-Identifier: Apache-2.0 */
#include "expert/ahead.h"

#include "base/mem.h"
#include "base/status.h"
#include "expert/trial.h"

#include <string.h>

enum {
    RANKS = 16,             /* guesses of a row that are told apart; later ones count as the last */
    TABLE_BYTES = 16 << 20, /* most of the affinity table; a model with a larger one does without */
};
/* How fast the share of right guesses forgets, and where it starts. */
#define FORGET 0.03f
#define PRIOR  0.5f
/* Guesses that are read when tried: how likely they must be. */
static const float likely_enough[] = {2.0f, 0.5f, 0.2f}; /* ORDER md_way */

typedef struct guess_list {
    uint8_t *rank; /* [most experts] 1 + the best rank of a row that names it; 0: not named */
    bool any;
    float right[RANKS]; /* of late */
} guess_list;

struct md_ahead {
    md_ahead_mode mode;
    int32_t n_layer, most_experts, most_k;
    int32_t *n_expert, *top_k,
        *next;           /* owned, [n_layer]; next: the layer with experts after this one, around the end */
    int32_t first, last; /* layers with experts; -1: none */
    uint16_t **affinity; /* owned, [n_layer] into table: [experts][experts of the next]; NULL: none is kept */
    uint16_t *table;     /* owned */
    int32_t *chosen;     /* owned, [n_layer][ROWS][most_k] of the last step */
    int32_t *n_rows;     /* owned, [n_layer] of it; 0: none, or too many */
    int32_t target;      /* -1: none */
    bool judged;         /* the target's guesses are there to be judged */
    guess_list guess[MD_N_GUESSES];
    uint8_t *ranks; /* owned: of all guesses */
    bool *absent;   /* owned, [most experts] when the guesses were made */
    float *score;   /* owned, [most experts] */
    md_trial trial;
    md_ahead_figures figures;
};

/* ---- making ---- */

static int32_t next_of(int32_t n_layer, const int32_t *n_expert, int32_t layer)
{
    for (int32_t i = 1; i <= n_layer; i++)
        if (n_expert[(layer + i) % n_layer] > 0)
            return (layer + i) % n_layer;
    return -1;
}

static size_t table_items(int32_t n_layer, const int32_t *n_expert)
{
    size_t n = 0;
    for (int32_t l = 0; l < n_layer; l++)
        if (n_expert[l] > 0)
            n += (size_t)n_expert[l] * (size_t)n_expert[next_of(n_layer, n_expert, l)];
    return n * sizeof(uint16_t) <= TABLE_BYTES ? n : 0;
}

static int32_t largest(const int32_t *x, int32_t n)
{
    int32_t most = 1;
    for (int32_t i = 0; i < n; i++)
        most = x[i] > most ? x[i] : most;
    return most;
}

size_t md_ahead_bytes(int32_t n_layer, const int32_t *n_expert, const int32_t *top_k)
{
    const size_t e = (size_t)largest(n_expert, n_layer), k = (size_t)largest(top_k, n_layer), l = (size_t)n_layer;
    return sizeof(md_ahead) + table_items(n_layer, n_expert) * sizeof(uint16_t) +
           l * MD_AHEAD_ROWS * k * sizeof(int32_t) + l * (4 * sizeof(int32_t) + sizeof(uint16_t *)) +
           e * (MD_N_GUESSES + sizeof(bool) + sizeof(float));
}

static void lay_out(md_ahead *a, const int32_t *n_expert, const int32_t *top_k)
{
    size_t at = 0;
    a->first = a->last = a->target = -1;
    for (int32_t l = 0; l < a->n_layer; l++) {
        a->n_expert[l] = n_expert[l];
        a->top_k[l] = top_k[l];
        a->next[l] = next_of(a->n_layer, n_expert, l);
        if (n_expert[l] == 0)
            continue;
        a->first = a->first < 0 ? l : a->first;
        a->last = l;
        a->affinity[l] = a->table ? a->table + at : NULL;
        at += (size_t)n_expert[l] * (size_t)n_expert[a->next[l]];
    }
    for (int g = 0; g < MD_N_GUESSES; g++) {
        a->guess[g].rank = a->ranks + (size_t)g * (size_t)a->most_experts;
        for (int r = 0; r < RANKS; r++)
            a->guess[g].right[r] = PRIOR;
    }
}

md_status md_ahead_new(md_ahead_mode mode, int32_t n_layer, const int32_t *n_expert, const int32_t *top_k,
                       md_ahead **out, md_error *err)
{
    *out = NULL;
    md_ahead *a = md_calloc(1, sizeof *a);
    if (!a)
        return md_fail_memory(err, "reading ahead");
    const size_t items = table_items(n_layer, n_expert), l = (size_t)n_layer;
    a->mode = mode;
    a->n_layer = n_layer;
    a->most_experts = largest(n_expert, n_layer);
    a->most_k = largest(top_k, n_layer);
    a->n_expert = md_calloc(l, sizeof *a->n_expert);
    a->top_k = md_calloc(l, sizeof *a->top_k);
    a->next = md_calloc(l, sizeof *a->next);
    a->affinity = md_calloc(l, sizeof *a->affinity);
    a->table = items > 0 ? md_calloc(items, sizeof *a->table) : NULL;
    a->chosen = md_calloc(l * MD_AHEAD_ROWS * (size_t)a->most_k, sizeof *a->chosen);
    a->n_rows = md_calloc(l, sizeof *a->n_rows);
    a->ranks = md_calloc((size_t)a->most_experts, MD_N_GUESSES);
    a->absent = md_calloc((size_t)a->most_experts, sizeof *a->absent);
    a->score = md_calloc((size_t)a->most_experts, sizeof *a->score);
    if (!a->n_expert || !a->top_k || !a->next || !a->affinity || (items > 0 && !a->table) || !a->chosen || !a->n_rows ||
        !a->ranks || !a->absent || !a->score) {
        md_ahead_free(a);
        return md_fail_memory(err, "reading ahead");
    }
    lay_out(a, n_expert, top_k);
    md_trial_init(&a->trial);
    *out = a;
    return MD_OK;
}

void md_ahead_free(md_ahead *a)
{
    if (!a)
        return;
    md_free(a->n_expert);
    md_free(a->top_k);
    md_free(a->next);
    md_free(a->affinity);
    md_free(a->table);
    md_free(a->chosen);
    md_free(a->n_rows);
    md_free(a->ranks);
    md_free(a->absent);
    md_free(a->score);
    md_free(a);
}

/* ---- guesses ---- */

static md_way way_of(const md_ahead *a)
{
    return a->mode == MD_AHEAD_OFF ? MD_WAY_NONE : a->mode == MD_AHEAD_ALWAYS ? MD_WAY_BOLD : md_trial_way(&a->trial);
}

bool md_ahead_trying(const md_ahead *a)
{
    return a->target >= 0 && way_of(a) != MD_WAY_NONE;
}

static void name_one(guess_list *g, int32_t expert, int32_t rank)
{
    const uint8_t r = (uint8_t)(1 + (rank < RANKS ? rank : RANKS - 1));
    if (g->rank[expert] == 0 || r < g->rank[expert])
        g->rank[expert] = r;
    g->any = true;
}

static void name_rows(md_ahead *a, guess_list *g, const int32_t *expert, int64_t n)
{
    const int32_t k = a->top_k[a->target];
    for (int64_t i = 0; i < n; i++)
        if (expert[i] >= 0 && expert[i] < a->n_expert[a->target])
            name_one(g, expert[i], (int32_t)(i % k));
}

static int32_t *chosen_at(const md_ahead *a, int32_t layer)
{
    return a->chosen + (int64_t)layer * MD_AHEAD_ROWS * a->most_k;
}

/* Those that followed this row's experts most often. */
static void name_followers(md_ahead *a, int32_t layer, const int32_t *expert)
{
    const int32_t n = a->n_expert[a->target], k = a->top_k[a->target];
    memset(a->score, 0, (size_t)n * sizeof *a->score);
    for (int32_t i = 0; i < a->top_k[layer]; i++) {
        if (expert[i] < 0 || expert[i] >= a->n_expert[layer])
            continue;
        const uint16_t *follows = a->affinity[layer] + (size_t)expert[i] * (size_t)n;
        float sum = 1.0f;
        for (int32_t f = 0; f < n; f++)
            sum += follows[f];
        for (int32_t f = 0; f < n; f++)
            a->score[f] += follows[f] / sum;
    }
    for (int32_t rank = 0; rank < k; rank++) {
        int32_t best = 0;
        for (int32_t f = 1; f < n; f++)
            best = a->score[f] > a->score[best] ? f : best;
        if (a->score[best] <= 0.0f)
            break;
        a->score[best] = 0.0f;
        name_one(&a->guess[MD_GUESS_AFFINITY], best, rank);
    }
}

static void begin_guesses(md_ahead *a, int32_t layer, int32_t rows)
{
    a->target = rows > 0 ? a->next[layer] : -1; /* known even where nothing is guessed */
    a->judged = false;
    for (int g = 0; g < MD_N_GUESSES; g++) {
        a->guess[g].any = false;
        memset(a->guess[g].rank, 0, (size_t)a->most_experts);
    }
    if (!md_ahead_trying(a))
        return;
    if (a->n_rows[a->target] == rows)
        name_rows(a, &a->guess[MD_GUESS_LAST], chosen_at(a, a->target), (int64_t)rows * a->top_k[a->target]);
    for (int32_t r = 0; a->table && r < rows; r++)
        name_followers(a, layer, chosen_at(a, layer) + r * a->top_k[layer]);
}

void md_ahead_router(md_ahead *a, const int32_t *expert, int64_t n)
{
    if (a->target >= 0)
        name_rows(a, &a->guess[MD_GUESS_ROUTER], expert, n);
}

/* ---- what became of them ---- */

static bool is_chosen(const int32_t *expert, int64_t n, int32_t e)
{
    for (int64_t i = 0; i < n; i++)
        if (expert[i] == e)
            return true;
    return false;
}

static void judge(md_ahead *a, const int32_t *expert, int64_t n)
{
    for (int32_t e = 0; e < a->n_expert[a->target]; e++) {
        if (!a->absent[e])
            continue;
        const bool right = is_chosen(expert, n, e);
        a->figures.needed += right;
        for (int g = 0; g < MD_N_GUESSES; g++) {
            guess_list *list = &a->guess[g];
            if (list->rank[e] == 0)
                continue;
            float *share = &list->right[list->rank[e] - 1];
            *share += FORGET * ((right ? 1.0f : 0.0f) - *share);
            a->figures.guess[g].named++;
            a->figures.guess[g].right += right;
        }
    }
}

/* One more time that an expert of this layer followed one of the layer before; counts that are full are halved. */
static void follow(uint16_t *row, int32_t n, int32_t expert)
{
    if (++row[expert] < UINT16_MAX)
        return;
    for (int32_t f = 0; f < n; f++)
        row[f] /= 2;
}

static void learn(md_ahead *a, int32_t layer, const int32_t *expert, int32_t rows)
{
    int32_t before = layer;
    for (int32_t l = 0; l < a->n_layer; l++)
        before = a->n_expert[l] > 0 && a->next[l] == layer ? l : before;
    if (!a->table || a->n_rows[before] != rows)
        return;
    const int32_t *past = chosen_at(a, before), n = a->n_expert[layer], k = a->top_k[layer],
                  k_before = a->top_k[before];
    for (int32_t r = 0; r < rows; r++)
        for (int32_t i = 0; i < k_before; i++) {
            const int32_t e = past[r * k_before + i];
            for (int32_t j = 0; e >= 0 && e < a->n_expert[before] && j < k; j++)
                if (expert[r * k + j] >= 0 && expert[r * k + j] < n)
                    follow(a->affinity[before] + (size_t)e * (size_t)n, n, expert[r * k + j]);
        }
}

/* Learns, and keeps what was chosen. Returns the rows, 0: too many to guess for. */
static int32_t note(md_ahead *a, int32_t layer, const int32_t *expert, int64_t n)
{
    const int64_t all_rows = n / a->top_k[layer];
    const int32_t rows = all_rows <= MD_AHEAD_ROWS && all_rows * a->top_k[layer] == n ? (int32_t)all_rows : 0;
    if (rows > 0)
        learn(a, layer, expert, rows);
    memcpy(chosen_at(a, layer), expert, (size_t)(rows > 0 ? n : 0) * sizeof *expert);
    a->n_rows[layer] = rows;
    return rows;
}

void md_ahead_teach(md_ahead *a, int32_t layer, const int32_t *expert, int64_t n)
{
    for (int64_t at = 0, most = (int64_t)MD_AHEAD_ROWS * a->top_k[layer]; at < n; at += most)
        (void)note(a, layer, expert + at, n - at < most ? n - at : most);
}

void md_ahead_chosen(md_ahead *a, int32_t layer, const int32_t *expert, int64_t n, double now)
{
    if (a->judged && layer == a->target)
        judge(a, expert, n);
    const int32_t rows = note(a, layer, expert, n);
    if (layer == a->first && a->mode == MD_AHEAD_AUTO)
        md_trial_begin(&a->trial, rows, now);
    if (layer == a->last && a->mode == MD_AHEAD_AUTO)
        md_trial_end(&a->trial, now); /* guesses from here on are the next step's */
    begin_guesses(a, layer, rows);
}

/* ---- what to read ---- */

int32_t md_ahead_target(const md_ahead *a)
{
    return a->target;
}

int32_t md_ahead_next(const md_ahead *a, int32_t layer)
{
    return a->next[layer];
}

/* How likely an expert is: as the guess about it that is most often right. */
static float chance(const md_ahead *a, int32_t expert)
{
    float best = 0.0f;
    for (int g = 0; g < MD_N_GUESSES; g++) {
        const uint8_t rank = a->guess[g].rank[expert];
        const float right = rank > 0 ? a->guess[g].right[rank - 1] : 0.0f;
        best = right > best ? right : best;
    }
    return best;
}

int32_t md_ahead_pick(md_ahead *a, const bool *absent, int32_t *out, int32_t most)
{
    if (!md_ahead_trying(a))
        return 0;
    const int32_t n = a->n_expert[a->target];
    const float enough = likely_enough[way_of(a)];
    memcpy(a->absent, absent, (size_t)n * sizeof *absent);
    a->judged = true;
    for (int32_t e = 0; e < n; e++)
        a->score[e] = absent[e] ? chance(a, e) : 0.0f;
    int32_t picked = 0;
    while (picked < most) {
        int32_t best = 0;
        for (int32_t e = 1; e < n; e++)
            best = a->score[e] > a->score[best] ? e : best;
        if (a->score[best] < enough)
            break;
        a->score[best] = 0.0f;
        out[picked++] = best;
    }
    return picked;
}

md_ahead_figures md_ahead_get_figures(const md_ahead *a)
{
    md_ahead_figures f = a->figures;
    f.on = a->mode == MD_AHEAD_ALWAYS;
    if (a->mode == MD_AHEAD_AUTO)
        md_trial_figures(&a->trial, &f.with_step, &f.without, &f.on);
    return f;
}
