/* SPDX-License-Identifier: Apache-2.0
 *
 * A plan: an outline of the model, what the machine can do, and a prediction for each budget. One calling thread; a finished plan is
 * immutable. */
#include "plan/plan.h"

#include "base/status.h"
#include "base/sys.h"

#include <stdio.h>

#define MANY (UINT64_C(1) << 60) /* bytes that are enough for anything */
#define SPARE \
    ((uint64_t)3 << 20) /* what reading weights leaves behind; and a process does not hold the same from run to run */

static const int shares[] = {100, 85, 70, 60, 50, 40, 25}; /* percent of the model's size */
#define N_SHARES (sizeof shares / sizeof *shares)

const char *md_plan_limit_name(md_plan_limit l)
{
    return l == MD_PLAN_DISK ? "disk" : l == MD_PLAN_CORES ? "cores" : "memory";
}

/* ---- rows ---- */

static md_status find_least(md_plan *p, md_error *err)
{
    const bool resident = !p->m->stream;
    md_session_args s = md_plan_session_args(p, resident);
    md_memory m;
    s.memory = (int64_t)MANY;
    MD_TRY(md_plan_estimate(p, &s, &m, err));
    p->least = (resident ? m.total : m.total - m.slots + p->m->stream->least) + SPARE;
    return MD_OK;
}

static md_status add_row(md_plan *p, bool resident, uint64_t memory, md_error *err)
{
    md_plan_row *row = &p->row[p->n_rows];
    md_session_args s = md_plan_session_args(p, resident);
    *row = (md_plan_row){.resident = resident, .n_rows = s.n_rows};
    p->n_positions = s.n_positions;
    s.memory = resident ? 0 : (int64_t)memory;
    MD_TRY(md_plan_estimate(p, &s, &row->need, err));
    row->memory = resident ? row->need.total : memory;
    row->available = row->memory <= p->have;
    p->n_rows++;
    return MD_OK;
}

/* By memory, large first; the resident one stays ahead. */
static void sort_rows(md_plan *p)
{
    for (size_t i = 2; i < p->n_rows; i++)
        for (size_t at = i; at > 1 && p->row[at - 1].memory < p->row[at].memory; at--) {
            const md_plan_row row = p->row[at];
            p->row[at] = p->row[at - 1];
            p->row[at - 1] = row;
        }
}

/* What each budget would be spent on: before anything is measured, so that one that is too small is refused at once, and while the
 * process holds no more than one that is about to run the model. */
static md_status add_rows(md_plan *p, md_error *err)
{
    const md_plan_args *a = &p->args;
    MD_TRY(find_least(p, err));
    MD_TRY(add_row(p, true, 0, err));
    if (!p->m->stream) {
        for (size_t i = 0; i < a->n_memory; i++)
            MD_FAIL_IF(
                a->memory[i] < p->least, MD_ERR_MEMORY,
                "%.1f MiB are needed, since this model has no experts that could stay in the file, but only %.1f MiB are allowed",
                (double)p->least / 0x1p20, (double)a->memory[i] / 0x1p20);
        return MD_OK;
    }
    for (size_t i = 0; i < a->n_memory; i++)
        MD_TRY(add_row(p, false, a->memory[i], err));
    for (size_t i = 0; i < N_SHARES; i++) {
        const uint64_t memory = p->m->info.file_bytes / 100 * (uint64_t)shares[i];
        if (memory > p->least)
            MD_TRY(add_row(p, false, memory, err));
    }
    MD_TRY(add_row(p, false, p->least, err));
    sort_rows(p);
    return MD_OK;
}

static md_status settle(md_plan *p, const md_plan_args *args, md_error *err)
{
    md_plan_args *a = &p->args;
    *a = *args;
    a->n_threads = a->n_threads > 0 ? a->n_threads : md_sys_default_threads();
    a->n_prompt = a->n_prompt != 0 ? a->n_prompt : 512;
    a->batch = a->batch != 0 ? a->batch : 1;
    MD_FAIL_IF(a->n_threads > MD_POOL_MAX_THREADS, MD_ERR_ARGUMENT, "the number of threads is %d, outside 1 to %d",
               (int)a->n_threads, MD_POOL_MAX_THREADS);
    MD_FAIL_IF(a->n_prompt < 1 || a->n_prompt > 1 << 20, MD_ERR_ARGUMENT, "a prompt's size is %d, outside 1 to %d",
               (int)a->n_prompt, 1 << 20);
    MD_FAIL_IF(a->batch < 1 || a->batch > 4096, MD_ERR_ARGUMENT, "the batch is %d, outside 1 to 4096", (int)a->batch);
    MD_FAIL_IF(a->n_memory > MD_PLAN_BUDGETS - N_SHARES - 2, MD_ERR_ARGUMENT, "%zu budgets are more than %zu",
               a->n_memory, MD_PLAN_BUDGETS - N_SHARES - 2);
    for (size_t i = 0; i < a->n_memory; i++)
        MD_FAIL_IF(a->memory[i] == 0 || a->memory[i] > MANY, MD_ERR_ARGUMENT, "a budget of %llu bytes makes no sense",
                   (unsigned long long)a->memory[i]);
    return MD_OK;
}

static void say_routing(md_plan *p)
{
    if (!p->m->stream)
        return;
    if (p->args.trace)
        snprintf(p->routing_text, sizeof p->routing_text, "routing of %s", p->args.trace);
    else
        snprintf(
            p->routing_text, sizeof p->routing_text,
            "even routing: every token chooses among all experts alike; a model with favourites hits more often (--trace)");
}

static md_status plan_fill(md_plan *p, const char *model, const md_plan_args *args, md_error *err)
{
    const double began = md_sys_seconds();
    const md_model_args open = {.override = args->override, .n_override = args->n_override};
    p->have = md_sys_own_memory();
    MD_TRY(settle(p, args, err));
    MD_TRY(md_model_outline(model, &open, &p->m, err));
    p->open_seconds = md_sys_seconds() - began;
    MD_FAIL_IF(!p->m->spec.causal || !p->m->spec.output.data, MD_ERR_UNSUPPORTED,
               "'%s' writes no text, so there is no speed of it to plan", p->m->info.arch);
    MD_TRY(md_plan_work_fill(p->m, &p->arena, &p->work, err));
    MD_TRY(add_rows(p, err));
    MD_TRY(md_plan_routing_init(&p->routing, p->args.trace, &p->work, &p->arena, err));
    md_plan_costs c = {.f32_kv = p->args.f32_kv, .read_ahead = !p->args.no_read_ahead};
    MD_TRY(md_plan_know_machine(p, model, &c.disk, err));
    c.profile = p->profile;
    for (size_t i = 0; i < p->n_rows; i++)
        MD_TRY(md_plan_predict(p, &c, &p->row[i], err));
    say_routing(p);
    return MD_OK;
}

md_status md_plan_new(const char *model, const md_plan_args *args, md_plan **out, md_error *err)
{
    *out = NULL;
    md_plan *p = md_calloc(1, sizeof *p);
    if (!p)
        return md_fail_memory(err, "a plan");
    const md_status status = plan_fill(p, model, args ? args : &(md_plan_args){0}, err);
    if (status != MD_OK) {
        md_plan_free(p);
        return status;
    }
    *out = p;
    return MD_OK;
}

void md_plan_free(md_plan *p)
{
    if (!p)
        return;
    md_plan_routing_done(&p->routing);
    md_model_close(p->m);
    md_arena_done(&p->arena);
    md_free(p);
}

/* ---- what it tells ---- */

const md_model_info *md_plan_info(const md_plan *p)
{
    return &p->m->info;
}

const md_plan_machine *md_plan_get_machine(const md_plan *p)
{
    return &p->machine;
}

size_t md_plan_n_rows(const md_plan *p)
{
    return p->n_rows;
}

const md_plan_row *md_plan_get_row(const md_plan *p, size_t i)
{
    return &p->row[i];
}

uint64_t md_plan_least(const md_plan *p)
{
    return p->least;
}

const md_plan_row *md_plan_best(const md_plan *p)
{
    const md_plan_row *best = NULL;
    for (size_t i = 0; i < p->n_rows; i++)
        if (p->row[i].available && (!best || p->row[i].generation > best->generation))
            best = &p->row[i];
    return best;
}

const char *md_plan_routing_text(const md_plan *p)
{
    return p->routing_text;
}
