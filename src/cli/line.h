/* SPDX-License-Identifier: Apache-2.0
 *
 * A line typed by a person: with editing and history where libedit is there (line_edit.c), plainly where not
 * (line_plain.c). Signal handlers must be installed without SA_RESTART, or Ctrl-C goes unnoticed. */
#ifndef MD_CLI_LINE_H
#define MD_CLI_LINE_H

#include "cli/cli.h"

typedef struct md_line md_line;

typedef enum md_line_end {
    MD_LINE_TEXT,
    MD_LINE_INTERRUPTED, /* Ctrl-C: what was typed is gone */
    MD_LINE_CLOSED,      /* Ctrl-D, or no more input */
} md_line_end;

/* NULL when memory is out. */
md_line *md_line_open(const md_cli *cli);
/* Reads one line into *out (emptied first), without its line feed. */
md_line_end md_line_read(md_line *l, const char *prompt, md_buf *out);
/* Adds a line to the history, and to its file ($XDG_STATE_HOME/medley/history, readable by the user only). */
void md_line_remember(md_line *l, const char *text);
void md_line_close(md_line *l); /* NULL allowed */

#endif
