/* SPDX-License-Identifier: Apache-2.0
 *
 * The bench's results as a picture: a bar for each test, cut into the parts of a step by their share of the time, with the
 * median beside it and the spread as a whisker. Plain SVG without scripts or outside fonts. */
#include "cli/bench.h"

#include <string.h>

/* Pixels. */
enum { LEFT = 170, BARS = 560, RIGHT = 130, TOP = 64, ROW = 30, BAR = 18, LEGEND = 44 };

/* ORDER md_step_part. Colours that stay apart for eyes that see few (Okabe & Ito 2008). */
static const char *const colours[MD_STEP_N_PARTS] = {"#0072b2", "#56b4e9", "#f0e442", "#e69f00", "#009e73", "#999999"};

static void put_legend(md_buf *b, int y)
{
    int x = LEFT;
    for (int p = 0; p < MD_STEP_N_PARTS; p++) {
        const char *name = md_step_part_name((md_step_part)p);
        md_buf_printf(b, "<rect x=\"%d\" y=\"%d\" width=\"12\" height=\"12\" fill=\"%s\"/>\n", x, y, colours[p]);
        md_buf_printf(b, "<text x=\"%d\" y=\"%d\">%s</text>\n", x + 17, y + 11, name);
        x += 30 + 7 * (int)strlen(name);
    }
}

static void put_row(md_buf *b, const md_bench_result *r, double scale, bool many_threads, int y)
{
    double sum = 0.0, x = LEFT;
    for (int p = 0; p < MD_STEP_N_PARTS; p++)
        sum += r->part_seconds[p];
    char threads[24] = "";
    if (many_threads)
        snprintf(threads, sizeof threads, " (%d thr)", (int)r->n_threads);
    md_buf_printf(b, "<text x=\"%d\" y=\"%d\" text-anchor=\"end\">%s%s</text>\n", LEFT - 8, y + 14, r->test, threads);
    for (int p = 0; p < MD_STEP_N_PARTS && sum > 0.0; p++) {
        const double width = r->median * scale * r->part_seconds[p] / sum;
        if (width > 0.0)
            md_buf_printf(b, "<rect x=\"%.1f\" y=\"%d\" width=\"%.1f\" height=\"%d\" fill=\"%s\"/>\n", x, y, width,
                          (int)BAR, colours[p]);
        x += width;
    }
    const double low = LEFT + r->lowest * scale, high = LEFT + r->highest * scale;
    md_buf_printf(b, "<path d=\"M%.1f %dv10m0 -5H%.1fm0 -5v10\" stroke=\"#000\" fill=\"none\"/>\n", low, y + 4, high);
    md_buf_printf(b, "<text x=\"%.1f\" y=\"%d\">%.1f", (high > x ? high : x) + 8, y + 14, r->median);
    if (r->share > 0.0)
        md_buf_printf(b, " (%.0f %% of roof)", r->share * 100.0);
    md_buf_puts(b, "</text>\n");
}

/* Prompts are many times faster than generation: each of the two has bars of its own scale. */
static double largest(const md_bench *b, bool prompt)
{
    double most = 0.0;
    for (size_t i = 0; i < md_bench_n_results(b); i++) {
        const md_bench_result *r = md_bench_get_result(b, i);
        if ((r->n_prompt > 0) == prompt && r->highest > most)
            most = r->highest;
    }
    return most;
}

static void put_all(md_buf *out, const md_bench *b, const char *title)
{
    const size_t n = md_bench_n_results(b);
    const md_bench_machine *m = md_bench_get_machine(b);
    const int width = LEFT + BARS + RIGHT;
    bool many_threads = false;
    for (size_t i = 1; i < n; i++)
        many_threads |= md_bench_get_result(b, i)->n_threads != md_bench_get_result(b, 0)->n_threads;
    md_buf_printf(out,
                  "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%zu\" font-family=\"sans-serif\" "
                  "font-size=\"12\">\n<rect width=\"100%%\" height=\"100%%\" fill=\"#fff\"/>\n",
                  width, TOP + n * ROW + LEGEND);
    md_buf_puts(out, "<text x=\"16\" y=\"24\" font-size=\"15\">");
    md_cli_svg_text(out, title);
    md_buf_puts(out, ": tokens a second</text>\n<text x=\"16\" y=\"44\" fill=\"#555\">");
    md_cli_svg_text(out, m->cpu);
    if (!many_threads)
        md_buf_printf(out, ", threads: %d", (int)md_bench_get_result(b, 0)->n_threads);
    md_buf_printf(out, ", %s kernels</text>\n", m->isa);
    for (size_t i = 0; i < n; i++) {
        const md_bench_result *r = md_bench_get_result(b, i);
        put_row(out, r, BARS / largest(b, r->n_prompt > 0), many_threads, TOP + (int)i * ROW);
    }
    put_legend(out, TOP + (int)n * ROW + 14);
    md_buf_puts(out, "</svg>\n");
}

md_status md_cli_bench_svg(const md_bench *b, const char *title, const char *path, md_error *err)
{
    md_buf text = {0};
    put_all(&text, b, title[0] ? title : "a model");
    return md_cli_svg_save(&text, path, err);
}
