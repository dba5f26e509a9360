/* SPDX-License-Identifier: Apache-2.0
 *
 * The parts of `medley trace`. */
#ifndef MD_CLI_TRACE_H
#define MD_CLI_TRACE_H

#include "cli/cli.h"

#include <medley/trace.h>

/* trace_text.c: tables for people. */
void md_cli_trace_show_summary(md_cli *cli, const md_trace_summary *s);
void md_cli_trace_show_affinity(md_cli *cli, const md_trace_affinity *a);
void md_cli_trace_show_simulation(md_cli *cli, const md_trace_simulation *s);

/* trace_json.c: the same for programs; NULL when memory is out. */
json_t *md_cli_trace_json_summary(const md_trace_summary *s);
json_t *md_cli_trace_json_affinity(const md_trace_affinity *a);
json_t *md_cli_trace_json_simulation(const md_trace_simulation *s);

/* trace_svg.c: layers by experts, by their load. Written to a file that appears whole or not at all. */
md_status md_cli_trace_svg(const md_trace_summary *s, const char *path, md_error *err) MD_MUST_USE;

#endif
