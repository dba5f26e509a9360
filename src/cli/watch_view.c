/* SPDX-License-Identifier: Apache-2.0
 *
 * The live view as text: a line of figures, a map of layers by experts, a line that explains the map. Numbers in, lines out; nothing
 * here knows a terminal. A map that does not fit shows groups of layers and of experts: how much the most used one of a group was
 * used, how many of the group's uses were misses. */
#include "cli/watch.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

enum {
    LEAST_COLUMNS = 24,
    LEAST_ROWS = 8,
    LABEL = 8, /* columns before the map */
    MOST_MAP_ROWS = 16,
    MOST_WIDTH = 3, /* columns of an expert where there are few */
    SHADES = 4
};

typedef enum tint { TINT_NONE, TINT_FAINT, TINT_HIT, TINT_MISS } tint;
static const char *const tint_code[] = {"\033[0m", "\033[0;2m", "\033[0;32m", "\033[0;31m"};
static const char *const shade_text[SHADES] = {"\u2591", "\u2592", "\u2593", "\u2588"};
static const char *const miss_text[SHADES] = {"-", "=", "x", "X"}; /* where there is no colour */

/* Text in columns, as far as they go. */
typedef struct line {
    md_buf *out;
    int32_t room; /* columns left */
    bool color;
    tint now;
} line;

static line line_begin(const md_watch_view *v, md_buf *out)
{
    /* The last column stays free: a terminal may clear it when the rest of the line is cleared. */
    return (line){.out = out, .room = v->columns - 1, .color = v->color};
}

static void put(line *l, tint t, const char *text, int32_t columns)
{
    if (columns > l->room)
        return;
    if (l->color && t != l->now)
        md_buf_puts(l->out, tint_code[t]);
    l->now = t;
    md_buf_puts(l->out, text);
    l->room -= columns;
}

static void line_end(line *l)
{
    if (l->color && l->now != TINT_NONE)
        md_buf_puts(l->out, tint_code[TINT_NONE]);
    md_buf_putc(l->out, '\n');
}

/* ---- figures ---- */

/* A figure, whole or not at all; once one has no room none follows. */
static void put_figure(line *l, const char *text)
{
    const int32_t n = (int32_t)strlen(text);
    if (n > l->room)
        l->room = 0;
    put(l, TINT_NONE, text, n);
}

static void put_figures(const md_watch_view *v, md_buf *out)
{
    char text[96];
    line l = line_begin(v, out);
    if (v->prompt)
        snprintf(text, sizeof text, "prompt %" PRId64 " of %" PRId64, v->done, v->total);
    else
        snprintf(text, sizeof text, "answer %" PRId64, v->done);
    put_figure(&l, text);
    if (v->rate >= 0.0) {
        snprintf(text, sizeof text, " | %.1f tokens/s", v->rate);
        put_figure(&l, text);
    }
    if (v->streamed) {
        if (v->hits >= 0.0) {
            snprintf(text, sizeof text, " | hits %.0f %%", 100.0 * v->hits);
            put_figure(&l, text);
        }
        snprintf(text, sizeof text, " | disk %.0f MB/s", v->bytes * 1e-6);
        put_figure(&l, text);
        snprintf(text, sizeof text, " | waiting %.0f %%", 100.0 * v->waiting);
        put_figure(&l, text);
        snprintf(text, sizeof text, " | slots %" PRIu64 " of %" PRIu64, v->slots, v->experts);
        put_figure(&l, text);
    }
    line_end(&l);
}

/* ---- the map ---- */

typedef struct map {
    int32_t rows, columns; /* groups of layers, groups of experts */
    int32_t most;          /* experts of a layer */
    int32_t width;         /* columns of the terminal that a group takes */
    float top;             /* the greatest use of all */
} map;

static map map_of(const md_watch_view *v)
{
    map m = {.rows = v->n_layers};
    const int32_t high = v->rows / 3 < MOST_MAP_ROWS ? v->rows / 3 : MOST_MAP_ROWS, wide = v->columns - 1 - LABEL;
    for (int32_t i = 0; i < v->n_layers; i++)
        m.most = v->layer[i].n_experts > m.most ? v->layer[i].n_experts : m.most;
    m.rows = m.rows < high ? m.rows : high;
    m.columns = m.most < wide ? m.most : wide;
    m.width = m.columns > 0 ? wide / m.columns : 0;
    m.width = m.width < MOST_WIDTH ? m.width : MOST_WIDTH;
    return m;
}

/* Where group g of n begins among `all`. */
static int32_t group_start(int32_t g, int32_t n, int32_t all)
{
    return (int32_t)((int64_t)g * all / n);
}

typedef struct cell {
    float most, used, missed;
    int32_t there, experts;
} cell;

static cell cell_of(const md_watch_view *v, const map *m, int32_t row, int32_t column)
{
    cell c = {0};
    for (int32_t i = group_start(row, m->rows, v->n_layers); i < group_start(row + 1, m->rows, v->n_layers); i++)
        for (int32_t e = group_start(column, m->columns, m->most);
             e < group_start(column + 1, m->columns, m->most) && e < v->layer[i].n_experts; e++) {
            const md_watch_expert *x = &v->layer[i].expert[e];
            c.most = x->used > c.most ? x->used : c.most;
            c.used += x->used;
            c.missed += x->missed;
            c.there += x->present;
            c.experts++;
        }
    return c;
}

static void put_cell(const md_watch_view *v, const map *m, const cell *c, line *l)
{
    const float share = m->top > 0.0f ? c->most / m->top : 0.0f;
    const char *text = " ";
    tint t = TINT_NONE;
    if (share > 0.03f) { /* what was used five seconds ago is forgotten */
        const int shade = share > 0.5f ? 3 : share > 0.25f ? 2 : share > 0.1f ? 1 : 0;
        const bool miss = c->missed * 2.0f > c->used;
        t = miss ? TINT_MISS : TINT_HIT;
        text = miss && !v->color ? miss_text[shade] : shade_text[shade];
    } else if (c->there * 2 > c->experts) {
        t = TINT_FAINT;
        text = "\u00b7";
    }
    for (int32_t i = 0; i < m->width; i++)
        put(l, t, text, 1);
}

static void put_map(const md_watch_view *v, md_buf *out)
{
    map m = map_of(v);
    for (int32_t i = 0; i < v->n_layers; i++)
        for (int32_t e = 0; e < v->layer[i].n_experts; e++)
            m.top = fmaxf(m.top, v->layer[i].expert[e].used);
    for (int32_t row = 0; row < m.rows; row++) {
        char label[32], range[24];
        line l = line_begin(v, out);
        const int32_t first = v->layer[group_start(row, m.rows, v->n_layers)].layer;
        const int32_t last = v->layer[group_start(row + 1, m.rows, v->n_layers) - 1].layer;
        snprintf(range, sizeof range, first == last ? "%d" : "%d-%d", (int)first, (int)last);
        snprintf(label, sizeof label, "%*.*s ", LABEL - 1, LABEL - 1, range);
        put(&l, TINT_NONE, label, LABEL);
        for (int32_t column = 0; column < m.columns; column++) {
            const cell c = cell_of(v, &m, row, column);
            put_cell(v, &m, &c, &l);
        }
        line_end(&l);
    }
}

static void put_legend(const md_watch_view *v, md_buf *out)
{
    line l = line_begin(v, out);
    put(&l, TINT_NONE, "layers by experts", 17);
    put(&l, TINT_NONE, ": ", 2);
    put(&l, TINT_HIT, "\u2591\u2592\u2593\u2588", 4);
    put(&l, TINT_NONE, " used lately", 12);
    if (v->streamed) {
        put(&l, TINT_NONE, ", ", 2);
        put(&l, TINT_MISS, v->color ? "\u2591\u2592\u2593\u2588" : "-=xX", 4);
        put(&l, TINT_NONE, " and read for it", 16);
        put(&l, TINT_NONE, ", \u00b7 in memory", 13);
    }
    line_end(&l);
}

/* ---- together ---- */

int32_t md_watch_height(const md_watch_view *v)
{
    if (v->columns < LEAST_COLUMNS || v->rows < LEAST_ROWS)
        return 0;
    return v->n_layers > 0 ? map_of(v).rows + 2 : 1;
}

void md_watch_render(const md_watch_view *v, md_buf *out)
{
    if (md_watch_height(v) == 0)
        return;
    put_figures(v, out);
    if (v->n_layers == 0)
        return;
    put_map(v, out);
    put_legend(v, out);
}
