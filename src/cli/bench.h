/* SPDX-License-Identifier: Apache-2.0
 *
 * Within `medley bench`: what bench.c has bench_svg.c draw. */
#ifndef MD_CLI_BENCH_H
#define MD_CLI_BENCH_H

#include "cli/cli.h"

#include <medley/bench.h>

/* Writes the results as a picture. The file appears whole or not at all. */
md_status md_cli_bench_svg(const md_bench *b, const char *title, const char *path, md_error *err) MD_MUST_USE;

#endif
