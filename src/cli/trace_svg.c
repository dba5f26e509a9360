/* SPDX-License-Identifier: Apache-2.0
 *
 * A trace as a picture: a row for each layer with experts, a column for each expert, darker the more it was used. Cells of one
 * shade are one path, so that large models stay small files. Plain SVG without scripts or outside fonts. */
#include "cli/trace.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

/* Pixels; a cell is narrower where there are many experts. */
enum { LEFT = 56, RIGHT = 24, TOP = 58, WIDTH = 1024, CELL = 14, LEGEND = 56 };
enum { SHADES = 12, MOST_CELLS = 1 << 20 };

/* 0: never used; else by the logarithm of its use to the layer's mean, from an eighth of it to eight times as much. */
static int shade_of(uint64_t count, double mean)
{
    if (count == 0)
        return 0;
    const double octaves = log2((double)count / mean) + 3.0; /* 0 .. 6 */
    const int shade = 1 + (int)(octaves * (SHADES - 1) / 6.0);
    return shade < 1 ? 1 : shade > SHADES - 1 ? SHADES - 1 : shade;
}

/* From white over blue to nearly black, ever darker: it can be read without colour, too. */
static void put_colour(md_buf *b, int shade)
{
    const double t = (double)shade / (SHADES - 1);
    const int red = (int)(255.0 * (1.0 - t) * (1.0 - t)), green = (int)(255.0 - 225.0 * t);
    const int blue = (int)(255.0 - 155.0 * t * t);
    md_buf_printf(b, "#%02x%02x%02x", (unsigned)red, (unsigned)green, (unsigned)blue);
}

typedef struct picture {
    const md_trace_summary *s;
    int32_t rows, columns; /* layers with experts, most experts of one */
    double cell;           /* width */
} picture;

/* All cells of one shade. */
static void put_shade(md_buf *b, const picture *p, int shade)
{
    int32_t row = 0;
    bool any = false;
    for (int32_t l = 0; l < p->s->info.n_layer; l++) {
        const int32_t n = p->s->info.layer[l].n_expert;
        const md_trace_load *load = &p->s->layer[l];
        const double mean = n > 0 ? (double)load->choices / (double)n : 0.0;
        for (int32_t e = 0; e < n; e++) {
            if (shade_of(load->count[e], mean) != shade)
                continue;
            if (!any) {
                md_buf_puts(b, "<path fill=\"");
                put_colour(b, shade);
                md_buf_puts(b, "\" d=\"");
            }
            any = true;
            md_buf_printf(b, "M%.6g %dh%.6gv%dh-%.6gz", LEFT + e * p->cell, TOP + (int)row * CELL, p->cell, (int)CELL,
                          p->cell);
        }
        row += n > 0;
    }
    if (any)
        md_buf_puts(b, "\"/>\n");
}

static void put_labels(md_buf *b, const picture *p)
{
    const int32_t every = (p->rows + 39) / 40;
    int32_t row = 0;
    for (int32_t l = 0; l < p->s->info.n_layer; l++) {
        if (p->s->info.layer[l].n_expert == 0)
            continue;
        if (row % every == 0)
            md_buf_printf(b, "<text x=\"%d\" y=\"%d\" text-anchor=\"end\">%d</text>\n", LEFT - 6,
                          TOP + (int)row * CELL + CELL - 3, (int)l);
        row++;
    }
    int32_t step = 1;
    while (step * p->cell < 36.0)
        step *= 2;
    for (int32_t e = 0; e < p->columns; e += step)
        md_buf_printf(b, "<text x=\"%.6g\" y=\"%d\">%d</text>\n", LEFT + e * p->cell, TOP - 4, (int)e);
}

static void put_legend(md_buf *b, int y)
{
    static const struct {
        int shade;
        const char *text;
    } mark[] = {{0, "never"}, {1, "1/8 of the mean"}, {6, "the mean"}, {SHADES - 1, "8 times the mean"}};
    int x = LEFT;
    for (size_t i = 0; i < sizeof mark / sizeof *mark; i++) {
        md_buf_printf(b, "<rect x=\"%d\" y=\"%d\" width=\"12\" height=\"12\" stroke=\"#999\" fill=\"", x, y);
        put_colour(b, mark[i].shade);
        md_buf_printf(b, "\"/>\n<text x=\"%d\" y=\"%d\">%s</text>\n", x + 18, y + 11, mark[i].text);
        x += 40 + 7 * (int)strlen(mark[i].text);
    }
}

static void put_all(md_buf *b, const picture *p)
{
    const int width = LEFT + (int)ceil(p->columns * p->cell) + RIGHT, bottom = TOP + (int)p->rows * CELL;
    md_buf_printf(b,
                  "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" font-family=\"sans-serif\" "
                  "font-size=\"11\">\n<rect width=\"100%%\" height=\"100%%\" fill=\"#fff\"/>\n",
                  width > 480 ? width : 480, bottom + LEGEND);
    md_buf_puts(b, "<text x=\"16\" y=\"20\" font-size=\"15\">");
    md_cli_svg_text(b, p->s->info.model[0] ? p->s->info.model : "a model");
    md_buf_printf(b,
                  "</text>\n<text x=\"16\" y=\"38\" fill=\"#555\">use of experts (columns) in layers (rows): %" PRIu64
                  " steps, %" PRIu64 " rows</text>\n",
                  p->s->steps, p->s->rows);
    for (int shade = 0; shade < SHADES; shade++)
        put_shade(b, p, shade);
    md_buf_printf(b, "<rect x=\"%d\" y=\"%d\" width=\"%.6g\" height=\"%d\" fill=\"none\" stroke=\"#999\"/>\n",
                  (int)LEFT, (int)TOP, p->columns * p->cell, bottom - TOP);
    put_labels(b, p);
    put_legend(b, bottom + 22);
    md_buf_puts(b, "</svg>\n");
}

md_status md_cli_trace_svg(const md_trace_summary *s, const char *path, md_error *err)
{
    picture p = {.s = s};
    int64_t cells = 0;
    for (int32_t l = 0; l < s->info.n_layer; l++) {
        const int32_t n = s->info.layer[l].n_expert;
        cells += n;
        p.rows += n > 0;
        p.columns = n > p.columns ? n : p.columns;
    }
    MD_FAIL_IF(p.rows == 0, MD_ERR_ARGUMENT, "the trace is of a model without experts: there is nothing to draw");
    MD_FAIL_IF(cells > MOST_CELLS, MD_ERR_LIMIT, "a picture of %lld experts is too large: %d can be drawn",
               (long long)cells, MOST_CELLS);
    p.cell = p.columns * CELL <= WIDTH ? CELL : (double)WIDTH / p.columns;
    md_buf text = {0};
    put_all(&text, &p);
    return md_cli_svg_save(&text, path, err);
}
