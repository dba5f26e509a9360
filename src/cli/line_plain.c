/* SPDX-License-Identifier: Apache-2.0
 *
 * Lines without editing: the terminal's own. No history. */
#include "cli/line.h"

#include <stdlib.h>

struct md_line {
    FILE *out;  /* where the prompt goes */
    char *text; /* owned */
    size_t cap;
};

md_line *md_line_open(const md_cli *cli)
{
    md_line *l = md_calloc(1, sizeof *l);
    if (l)
        l->out = cli->out_is_terminal ? stdout : stderr;
    return l;
}

md_line_end md_line_read(md_line *l, const char *prompt, md_buf *out)
{
    md_buf_reset(out);
    fputs(prompt, l->out);
    fflush(l->out);
    const ssize_t n = getline(&l->text, &l->cap, stdin);
    if (n < 0) {
        clearerr(stdin);
        return md_cli_interrupted() ? MD_LINE_INTERRUPTED : MD_LINE_CLOSED;
    }
    md_buf_append(out, l->text, n > 0 && l->text[n - 1] == '\n' ? (size_t)n - 1 : (size_t)n);
    return MD_LINE_TEXT;
}

void md_line_remember(md_line *l, const char *text)
{
    (void)l;
    (void)text;
}

void md_line_close(md_line *l)
{
    if (!l)
        return;
    free(l->text);
    md_free(l);
}
