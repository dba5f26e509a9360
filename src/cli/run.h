/* SPDX-License-Identifier: Apache-2.0
 *
 * The two forms of `medley run`. */
#ifndef MD_CLI_RUN_H
#define MD_CLI_RUN_H

#include "cli/talk.h"

/* Talks with the person at the terminal until they leave. */
md_status md_cli_chat(md_cli *cli, md_error *err);
/* Says so if the last answer was cut short of what its grammar asks for. */
void md_cli_note_unfinished(const md_talk *t);
/* Says that the context is full and what helps. */
void md_cli_note_full(const md_talk *t, const char *what_else);
/* Says what the last answer dropped, if it did. */
void md_cli_note_dropped(const md_talk *t);

#endif
