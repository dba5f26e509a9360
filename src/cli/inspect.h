/* SPDX-License-Identifier: Apache-2.0
 *
 * The two halves of `medley inspect`: gathering and showing. */
#ifndef MD_CLI_INSPECT_H
#define MD_CLI_INSPECT_H

#include "cli/cli.h"

/* Shows the object that inspect.c gathered as text. */
md_status md_cli_inspect_text(md_cli *cli, const json_t *all, md_error *err);

#endif
