/* SPDX-License-Identifier: Apache-2.0
 *
 * A plan as a table for people, and as a sentence. */
#include "cli/plan.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

/* Three digits that say something. */
static const char *speed(char *buf, size_t n, double v)
{
    snprintf(buf, n, "%.*f", v < 10.0 ? 2 : v < 100.0 ? 1 : 0, v);
    return buf;
}

/* --memory takes whole MiB, which are never more than the row has. */
static uint64_t mebibytes(uint64_t bytes)
{
    return bytes >> 20;
}

static const char *with_unit(char *buf, size_t n, double bytes_a_second)
{
    snprintf(buf, n, "%.2f GB/s", bytes_a_second * 1e-9);
    return buf;
}

static void show_head(md_cli *cli, const md_plan *p)
{
    const md_model_info *info = md_plan_info(p);
    const md_plan_machine *m = md_plan_get_machine(p);
    char size[32], one[32], all[32], disk[32];
    md_buf name = {0};
    md_cli_clean(&name, info->name, strlen(info->name));
    md_cli_printf(cli, "%s (%s), %s\n", name.len > 0 && !name.failed ? name.data : "no name", info->arch,
                  md_cli_bytes(size, sizeof size, info->file_bytes));
    md_cli_printf(cli,
                  "%s, %d threads, %s kernels; memory gives %s (one thread %s), the disk %s (64 KiB in %.0f us)%s\n\n",
                  m->cpu, (int)m->n_threads, m->isa, with_unit(all, sizeof all, m->memory_read),
                  with_unit(one, sizeof one, m->memory_read_1), with_unit(disk, sizeof disk, m->disk_read),
                  m->disk_latency * 1e6, m->measured ? "; measured just now" : "");
    md_buf_done(&name);
}

static void show_row(md_cli *cli, const md_plan *p, const md_plan_row *r)
{
    char memory[32], room[32] = "all", first[16], prompt[16], generation[16];
    if (r->experts > 0 && !r->resident)
        snprintf(room, sizeof room, "%.0f %%", 100.0 * (double)r->slots / (double)r->experts);
    else if (r->experts == 0)
        snprintf(room, sizeof room, "-");
    md_cli_printf(cli, "%12s%s %6.0f %% %8s %8.1f %9s %8s %-6s %9s %-6s %6.1f %% %8.1f\n",
                  md_cli_bytes(memory, sizeof memory, r->memory), r->available ? " " : "!",
                  100.0 * (double)r->memory / (double)md_plan_info(p)->file_bytes, room, r->load_seconds,
                  speed(first, sizeof first, r->first_prompt), speed(prompt, sizeof prompt, r->prompt),
                  md_plan_limit_name(r->prompt_limit), speed(generation, sizeof generation, r->generation),
                  md_plan_limit_name(r->generation_limit), 100.0 * r->hit_rate, r->token_bytes * 1e-6);
}

char *md_cli_plan_advice(const md_plan *p, const char *command)
{
    const md_plan_row *best = md_plan_best(p);
    char speed_text[16], size[32];
    md_buf b = {0};
    if (!best)
        md_buf_printf(&b, "this machine has too little memory for it now: %s are needed at least",
                      md_cli_bytes(size, sizeof size, md_plan_least(p)));
    else if (best->resident)
        md_buf_printf(&b, "all of it fits into memory: 'medley run %s' should write %s tokens/s", command,
                      speed(speed_text, sizeof speed_text, best->generation));
    else
        md_buf_printf(&b, "'medley run %s --memory %" PRIu64 "M' should write %s tokens/s, held back by %s", command,
                      mebibytes(best->memory), speed(speed_text, sizeof speed_text, best->generation),
                      best->generation_limit == MD_PLAN_DISK     ? "the disk"
                      : best->generation_limit == MD_PLAN_MEMORY ? "the memory's bandwidth"
                                                                 : "the cores");
    if (!b.failed)
        return b.data;
    md_buf_done(&b);
    return NULL;
}

void md_cli_plan_text(md_cli *cli, const md_plan *p, const char *command)
{
    char least[32];
    bool short_of = false;
    show_head(cli, p);
    md_cli_printf(cli, "%12s  %8s %8s %8s %9s %15s %16s %8s %8s\n%12s  %8s %8s %8s %9s %15s %16s %8s %8s\n", "memory",
                  "of", "experts", "loading", "first", "later prompts", "generation", "hits", "disk MB", "", "the file",
                  "in slots", "s", "prompt", "tokens/s", "tokens/s", "", "a token");
    for (size_t i = 0; i < md_plan_n_rows(p); i++) {
        show_row(cli, p, md_plan_get_row(p, i));
        short_of |= !md_plan_get_row(p, i)->available;
    }
    if (short_of)
        md_cli_printf(cli, "\n! more than this machine has free now\n");
    md_cli_printf(cli, "\nat least: %s; beside each speed: what limits it most\n",
                  md_cli_bytes(least, sizeof least, md_plan_least(p)));
    if (md_plan_routing_text(p)[0]) {
        md_buf text = {0};
        md_cli_clean(&text, md_plan_routing_text(p), strlen(md_plan_routing_text(p)));
        if (!text.failed)
            md_cli_printf(cli, "%s\n", text.data);
        md_buf_done(&text);
    }
    char *advice = md_cli_plan_advice(p, command);
    if (advice) {
        md_buf text = {0};
        md_cli_clean(&text, advice, strlen(advice));
        if (!text.failed)
            md_cli_printf(cli, "%s\n", text.data);
        md_buf_done(&text);
    }
    md_free(advice);
}
