/* SPDX-License-Identifier: Apache-2.0
 *
 * `medley plan`: what its files share. */
#ifndef MD_CLI_PLAN_H
#define MD_CLI_PLAN_H

#include "cli/cli.h"

#include <medley/unstable/plan.h>

/* The table, what follows from it, and how it came about (plan_text.c). command: what names the model, "model.gguf". */
void md_cli_plan_text(md_cli *cli, const md_plan *p, const char *command);
/* What to do, one sentence; freed with md_free, NULL when memory is out. */
char *md_cli_plan_advice(const md_plan *p, const char *command);

#endif
