/* SPDX-License-Identifier: Apache-2.0
 *
 * The live view on the terminal: a scrolling region (DECSTBM) leaves the lower lines to it, so text above flows and wraps as ever and
 * the cursor is always put back. Drawn from the session's observer, between layers, at most ten times a second. The terminal's size
 * is asked for at every drawing; a size that changed, or a stop by Ctrl-Z, sets the region up anew. Refuses where standard error is
 * no terminal. Leaves nothing behind, whatever ends the answer (interrupt.c looks after signals). */
#include "cli/watch.h"
#include "base/sys.h"

#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define REDRAW 0.1 /* seconds */

struct md_cli_watch {
    md_session *session; /* borrowed */
    md_watch_count count;
    md_watch_view view;
    int32_t height;     /* lines that are the view's now; 0: none */
    bool on;            /* between begin and end */
    double drawn;       /* when, seconds */
    md_buf text, frame; /* the view's lines; all that is sent to the terminal for them */
};

/* ---- the terminal ---- */

static void send(md_cli_watch *w)
{
    if (!w->frame.failed)
        fwrite(w->frame.data ? w->frame.data : "", 1, w->frame.len, stderr);
    md_buf_reset(&w->frame);
}

static void release(md_cli_watch *w)
{
    if (w->height == 0)
        return;
    w->height = 0;
    md_cli_keep_region(false);
    md_buf_puts(&w->frame, MD_CLI_REGION_END);
    send(w);
}

/* Makes room below the cursor, which stays in its place of the text: lines are scrolled up by index, which keeps the column. */
static void reserve(md_cli_watch *w)
{
    const int32_t height = md_watch_height(&w->view);
    if (height == 0)
        return;
    for (int32_t i = 0; i < height; i++)
        md_buf_puts(&w->frame, "\033D");
    md_buf_printf(&w->frame, "\033[%dA\0337\033[1;%dr\0338", (int)height, (int)(w->view.rows - height));
    md_cli_keep_region(true);
    send(w);
    w->height = height;
}

/* Follows the terminal's size. */
static void follow_size(md_cli_watch *w)
{
    struct winsize size;
    const bool known = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 && size.ws_row > 0;
    const int32_t columns = known ? size.ws_col : 80, rows = known ? size.ws_row : 24;
    const bool resumed = md_cli_take_resumed();
    if (columns == w->view.columns && rows == w->view.rows && w->height > 0 && !resumed)
        return;
    release(w);
    w->view.columns = columns;
    w->view.rows = rows;
    reserve(w);
}

static void draw(md_cli_watch *w, double now)
{
    w->drawn = now;
    md_watch_count_look(&w->count, now, &w->view);
    follow_size(w);
    if (w->height == 0)
        return;
    md_buf_reset(&w->text);
    md_watch_render(&w->view, &w->text);
    if (w->text.failed)
        return;
    md_buf_puts(&w->frame, "\0337");
    int32_t row = w->view.rows - w->height + 1;
    for (const char *line = w->text.data, *end; (end = strchr(line, '\n')); line = end + 1, row++) {
        md_buf_printf(&w->frame, "\033[%d;1H", (int)row);
        md_buf_append(&w->frame, line, (size_t)(end - line));
        md_buf_puts(&w->frame, "\033[K");
    }
    md_buf_puts(&w->frame, "\0338");
    send(w);
}

static void observe(void *user, const md_event *e)
{
    md_cli_watch *w = user;
    md_watch_count_event(&w->count, e);
    const double now = md_sys_seconds();
    if (w->on && now - w->drawn >= REDRAW)
        draw(w, now);
}

/* ---- life ---- */

md_status md_cli_watch_check(const md_cli *cli, md_error *err)
{
    if (!md_opt_flag(cli->options, MD_OPT_WATCH))
        return MD_OK;
    MD_FAIL_IF(cli->quiet, MD_ERR_ARGUMENT,
               "--watch shows figures while the model answers and --quiet wants none: give one of them");
    MD_FAIL_IF(
        !cli->err_is_terminal, MD_ERR_ARGUMENT,
        "--watch draws on a terminal, and standard error is none that can move its cursor: leave --watch out, or keep "
        "standard error on the terminal");
    return MD_OK;
}

md_status md_cli_watch_open(const md_cli *cli, md_session *s, md_cli_watch **out, md_error *err)
{
    *out = NULL;
    if (!md_opt_flag(cli->options, MD_OPT_WATCH))
        return MD_OK;
    md_cli_watch *w = md_calloc(1, sizeof *w);
    if (!w)
        return md_fail_memory(err, "the live view");
    const char *no_color = getenv("NO_COLOR");
    w->session = s;
    w->view.color = !no_color || !no_color[0];
    md_status status = md_watch_count_init(&w->count, s, err);
    if (status == MD_OK)
        status = md_session_add_observer(s, MD_WATCH_POINTS, observe, w, err);
    if (status != MD_OK) {
        md_cli_watch_close(w);
        return status;
    }
    *out = w;
    return MD_OK;
}

void md_cli_watch_close(md_cli_watch *w)
{
    if (!w)
        return;
    md_cli_watch_end(w);
    md_session_remove_observer(w->session, observe, w);
    md_watch_count_done(&w->count);
    md_buf_done(&w->text);
    md_buf_done(&w->frame);
    md_free(w);
}

void md_cli_watch_begin(md_cli_watch *w, int64_t n_prompt)
{
    const double now = md_sys_seconds();
    md_watch_count_begin(&w->count, n_prompt, now);
    w->on = true;
    fflush(stdout); /* the cursor is where the text ends */
    draw(w, now);
}

void md_cli_watch_end(md_cli_watch *w)
{
    w->on = false;
    release(w);
}
