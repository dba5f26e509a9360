/* SPDX-License-Identifier: Apache-2.0
 *
 * `medley trace`: what a trace tells. The library finds it out; here options are read, and results are shown as tables, as
 * JSON, or as a picture. */
#include "cli/trace.h"

#include <stdlib.h>
#include <string.h>

#define MOST_POLICIES 16
#define MOST_SLOTS    64

typedef md_status tool_fn(md_cli *cli, const char *path, md_error *err);

/* ---- summary, heatmap, affinity ---- */

static md_status summary(md_cli *cli, const char *path, md_error *err)
{
    md_trace_summary *s;
    MD_TRY(md_trace_summarise(path, md_opt_text(cli->options, MD_OPT_AGAINST), &s, err));
    md_status status = MD_OK;
    if (md_opt_flag(cli->options, MD_OPT_JSON))
        status = md_cli_write_json(cli, md_cli_trace_json_summary(s), err);
    else
        md_cli_trace_show_summary(cli, s);
    md_trace_summary_free(s);
    return status;
}

static md_status heatmap(md_cli *cli, const char *path, md_error *err)
{
    const char *out = md_opt_text(cli->options, MD_OPT_HEATMAP_OUT);
    md_trace_summary *s;
    MD_TRY(md_cli_check_output(cli, path, out, err));
    MD_TRY(md_trace_summarise(path, NULL, &s, err));
    const md_status status = md_cli_trace_svg(s, out, err);
    md_trace_summary_free(s);
    return status;
}

static md_status affinity(md_cli *cli, const char *path, md_error *err)
{
    md_trace_affinity *a;
    MD_TRY(md_trace_find_affinity(path, (size_t)md_opt_int(cli->options, MD_OPT_PAIRS), &a, err));
    md_status status = MD_OK;
    if (md_opt_flag(cli->options, MD_OPT_JSON))
        status = md_cli_write_json(cli, md_cli_trace_json_affinity(a), err);
    else
        md_cli_trace_show_affinity(cli, a);
    md_trace_affinity_free(a);
    return status;
}

/* ---- simulate ---- */

/* "lru,lfu"; "all" is NULL. list points into copy, which the caller frees. */
static md_status read_policies(const char *text, char **copy, const char **list, md_trace_simulate_args *args,
                               md_error *err)
{
    if (strcmp(text, "all") == 0)
        return MD_OK;
    *copy = md_strdup(text);
    if (!*copy)
        return md_fail_memory(err, "names of policies");
    args->policy = list;
    for (char *at = *copy, *comma; at; at = comma ? comma + 1 : NULL) {
        MD_FAIL_IF(args->n_policies == MOST_POLICIES, MD_ERR_ARGUMENT, "--policy has more than %d names",
                   MOST_POLICIES);
        comma = strchr(at, ',');
        if (comma)
            *comma = '\0';
        list[args->n_policies++] = at;
    }
    return MD_OK;
}

/* "8,16" */
static md_status read_slots(const char *text, int32_t *slots, size_t *n, md_error *err)
{
    for (const char *at = text;; at++) {
        char *end = NULL;
        const long v = *at >= '0' && *at <= '9' ? strtol(at, &end, 10) : 0;
        MD_FAIL_IF(v < 1 || v > 65536 || (*end && *end != ','), MD_ERR_ARGUMENT,
                   "--slots is '%s', but must be whole numbers from 1 to 65536 with commas between them", text);
        MD_FAIL_IF(*n == MOST_SLOTS, MD_ERR_ARGUMENT, "--slots has more than %d numbers", MOST_SLOTS);
        slots[(*n)++] = (int32_t)v;
        if (!*end)
            return MD_OK;
        at = end;
    }
}

static md_status replay(md_cli *cli, const char *path, md_trace_simulate_args *args, md_error *err)
{
    md_trace_simulation *s;
    md_cli_bar bar;
    md_cli_catch_interrupts();
    md_cli_bar_begin(&bar, cli, "replaying");
    args->progress = md_cli_bar_update;
    args->progress_user = &bar;
    md_status status = md_trace_simulate(path, args, &s, err);
    md_cli_bar_end(&bar);
    if (status == MD_ERR_CANCELLED)
        return md_cli_cancelled(err);
    MD_TRY(status);
    if (md_opt_flag(cli->options, MD_OPT_JSON))
        status = md_cli_write_json(cli, md_cli_trace_json_simulation(s), err);
    else
        md_cli_trace_show_simulation(cli, s);
    md_trace_simulation_free(s);
    return status;
}

static md_status simulate(md_cli *cli, const char *path, md_error *err)
{
    const md_options *o = cli->options;
    md_trace_simulate_args args = {0};
    const char *list[MOST_POLICIES];
    int32_t slots[MOST_SLOTS];
    char *copy = NULL;
    args.slots = slots;
    md_status status = read_policies(md_opt_text(o, MD_OPT_POLICY), &copy, list, &args, err);
    if (status == MD_OK && md_opt_given(o, MD_OPT_SLOTS))
        status = read_slots(md_opt_text(o, MD_OPT_SLOTS), slots, &args.n_slots, err);
    if (status == MD_OK && md_opt_given(o, MD_OPT_TRACE_MEMORY))
        status = md_cli_parse_size("--memory", md_opt_text(o, MD_OPT_TRACE_MEMORY), 0, &args.memory, err);
    if (status == MD_OK)
        status = replay(cli, path, &args, err);
    md_free(copy);
    return status;
}

/* ---- together ---- */

static const struct {
    const char *name;
    tool_fn *run;
    unsigned options; /* bits of own[] */
} tools[] = {{"summary", summary, 1 | 2},
             {"heatmap", heatmap, 4 | 8},
             {"affinity", affinity, 2 | 16},
             {"simulate", simulate, 2 | 32 | 64 | 128}};

/* Options that only some tools have; ORDER of the bits above. */
static const md_option own[] = {MD_OPT_AGAINST, MD_OPT_JSON,   MD_OPT_HEATMAP_OUT, MD_OPT_FORCE,
                                MD_OPT_PAIRS,   MD_OPT_POLICY, MD_OPT_SLOTS,       MD_OPT_TRACE_MEMORY};

md_status md_cli_trace(md_cli *cli, md_error *err)
{
    const md_options *o = cli->options;
    size_t tool = 0;
    while (tool < sizeof tools / sizeof *tools && strcmp(tools[tool].name, o->operand[0]) != 0)
        tool++;
    MD_FAIL_IF(tool == sizeof tools / sizeof *tools, MD_ERR_ARGUMENT,
               "unknown tool '%s'; there are summary, heatmap, affinity and simulate", o->operand[0]);
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        MD_FAIL_IF(md_opt_given(o, own[i]) && !(tools[tool].options >> i & 1), MD_ERR_ARGUMENT,
                   "--%s does not go with 'medley trace %s'", md_option_get_spec(own[i])->name, tools[tool].name);
    return tools[tool].run(cli, o->operand[1], err);
}
