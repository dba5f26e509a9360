/* SPDX-License-Identifier: Apache-2.0
 *
 * One progress bar on standard error. Also where long work learns that the user wants to stop: every update looks. */
#include "cli/cli.h"
#include "base/sys.h"

#include <string.h>

#define PATIENCE 0.4 /* seconds before anything is drawn */
#define REDRAW   0.1
#define CELLS    30

void md_cli_bar_begin(md_cli_bar *bar, md_cli *cli, const char *label)
{
    *bar = (md_cli_bar){.cli = cli, .label = label, .began = md_sys_seconds()};
}

static void draw(md_cli_bar *bar, double share, double elapsed)
{
    char cells[CELLS + 1];
    const int full = (int)(share * CELLS);
    memset(cells, '#', (size_t)full);
    memset(cells + full, '.', (size_t)(CELLS - full));
    cells[CELLS] = '\0';
    const double left = share > 0.01 ? elapsed / share - elapsed : 0.0;
    fprintf(stderr, "\r%s [%s] %3.0f %%", bar->label, cells, share * 100.0);
    if (left >= 1.0)
        fprintf(stderr, ", %.0f s left", left);
    fputs("\033[K", stderr);
    fflush(stderr);
}

bool md_cli_bar_update(void *user, uint64_t done, uint64_t total)
{
    md_cli_bar *bar = user;
    const double now = md_sys_seconds();
    const bool due = now - bar->began > PATIENCE && now - bar->drawn > REDRAW;
    if (due && bar->cli->err_is_terminal && !bar->cli->quiet && total > 0) {
        draw(bar, done < total ? (double)done / (double)total : 1.0, now - bar->began);
        bar->drawn = now;
    }
    return md_cli_interrupted() == 0;
}

void md_cli_bar_end(md_cli_bar *bar)
{
    if (bar->drawn > 0.0)
        fputs("\r\033[K", stderr);
    bar->drawn = 0.0;
}
