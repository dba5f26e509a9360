/* SPDX-License-Identifier: Apache-2.0
 *
 * Lines with editing and history, by libedit. Characters are read here and not by libedit, which would go on reading
 * after the signal that ought to end the line. The user's .editrc is not read. */
#include "cli/line.h"
#include "base/utf8.h"

#include <errno.h>
#include <histedit.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define HISTORY_LINES 1000

struct md_line {
    EditLine *edit;     /* owned */
    History *history;   /* owned */
    char *history_path; /* owned; NULL: not kept */
    const char *prompt; /* borrowed during a read */
};

static char *show_prompt(EditLine *edit)
{
    md_line *l = NULL;
    el_get(edit, EL_CLIENTDATA, (void *)&l);
    return (char *)(uintptr_t)l->prompt; /* libedit does not write to it */
}

/* One byte of the terminal, or -1 once there are no more or the user pressed Ctrl-C. Other signals (a window that
 * changed, a job that came back) are libedit's affair and the read goes on. */
static int next_byte(void)
{
    unsigned char c;
    for (;;) {
        const ssize_t n = read(STDIN_FILENO, &c, 1);
        if (n == 1)
            return c;
        if (n == 0 || errno != EINTR || md_cli_interrupted())
            return -1;
    }
}

static size_t sequence_length(int lead)
{
    return lead < 0xc0 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
}

/* For libedit: 1 and a character, 0 at the end of input, -1 after Ctrl-C. */
static int read_character(EditLine *edit, wchar_t *out)
{
    (void)edit;
    char bytes[4];
    size_t have = 0;
    uint32_t cp = 0xfffd;
    const int lead = next_byte();
    if (lead < 0)
        return md_cli_interrupted() ? -1 : 0;
    bytes[have++] = (char)lead;
    while (have < sequence_length(lead)) {
        const int c = next_byte();
        if (c < 0)
            break;
        bytes[have++] = (char)c;
    }
    if (md_utf8_decode(bytes, have, &cp) == 0)
        cp = 0xfffd;
    *out = (wchar_t)cp;
    return 1;
}

/* With its folder; NULL if there is no home. */
static char *history_path(void)
{
    char *path = md_cli_user_path("XDG_STATE_HOME", ".local/state", "history");
    if (path)
        md_cli_make_folders(path);
    return path;
}

static void open_history(md_line *l)
{
    HistEvent event;
    l->history = history_init();
    if (!l->history)
        return;
    history(l->history, &event, H_SETSIZE, HISTORY_LINES);
    history(l->history, &event, H_SETUNIQUE, 1);
    l->history_path = history_path();
    if (l->history_path)
        history(l->history, &event, H_LOAD, l->history_path); /* none yet: an empty one */
    el_set(l->edit, EL_HIST, history, l->history);
}

md_line *md_line_open(const md_cli *cli)
{
    md_line *l = md_calloc(1, sizeof *l);
    if (!l)
        return NULL;
    (void)setlocale(LC_CTYPE, "C.UTF-8"); /* how libedit tells the width of a character */
    l->edit = el_init("medley", stdin, cli->out_is_terminal ? stdout : stderr, stderr);
    if (!l->edit) {
        md_free(l);
        return NULL;
    }
    el_set(l->edit, EL_CLIENTDATA, l);
    el_set(l->edit, EL_PROMPT, show_prompt);
    el_set(l->edit, EL_EDITOR, "emacs");
    el_set(l->edit, EL_SIGNAL, 1);
    el_set(l->edit, EL_GETCFN, read_character);
    el_set(l->edit, EL_BIND, "^R", "em-inc-search-prev", NULL);
    open_history(l);
    return l;
}

md_line_end md_line_read(md_line *l, const char *prompt, md_buf *out)
{
    int n = 0;
    l->prompt = prompt;
    md_buf_reset(out);
    const char *text = el_gets(l->edit, &n);
    if (md_cli_interrupted())
        return MD_LINE_INTERRUPTED;
    if (!text || n <= 0)
        return MD_LINE_CLOSED;
    const size_t len = strcspn(text, "\n");
    md_buf_append(out, text, len);
    return MD_LINE_TEXT;
}

void md_line_remember(md_line *l, const char *text)
{
    HistEvent event;
    if (!l->history || !text[0])
        return;
    history(l->history, &event, H_ENTER, text);
    if (l->history_path)
        history(l->history, &event, H_SAVE, l->history_path);
}

void md_line_close(md_line *l)
{
    if (!l)
        return;
    if (l->history)
        history_end(l->history);
    el_end(l->edit);
    md_free(l->history_path);
    md_free(l);
}
