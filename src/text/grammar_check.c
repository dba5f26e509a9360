/* SPDX-License-Identifier: Apache-2.0
 *
 * What must hold before a grammar can be matched: every rule can come to an end, and none calls itself before it has read
 * something (left recursion, hidden behind rules that may read nothing as well). Leaves in the rules whether they may
 * read nothing, and a rank by which each comes after those that call it. Linear in the grammar's size; the reachability
 * is that of Dowling and Gallier 1984. */
#include "text/grammar_build.h"

#include "base/mem.h"
#include "base/status.h"

#define NONE UINT32_MAX

typedef struct reach {
    md_grammar *g;
    bool *seen;        /* owned, [n_nodes]: can be reached from the start of its rule */
    uint32_t *waiting; /* owned, [n_nodes]: next call that waits for the same rule */
    uint32_t *head;    /* owned, [n_rules]: first call that waits for the rule */
    bool *done;        /* owned, [n_rules]: the end of the rule has been reached */
    uint32_t *stack;   /* owned, [n_nodes] */
    size_t n_stack;
} reach;

static void visit(reach *r, uint32_t node)
{
    if (r->seen[node])
        return;
    r->seen[node] = true;
    r->stack[r->n_stack++] = node;
}

static void finish(reach *r, uint32_t rule)
{
    if (r->done[rule])
        return;
    r->done[rule] = true;
    for (uint32_t call = r->head[rule]; call != NONE; call = r->waiting[call])
        visit(r, r->g->node[call].next);
}

/* Which nodes can be reached from the start of their rule, by all steps or only by those that read nothing. */
static void run(reach *r, bool reading)
{
    const md_grammar *g = r->g;
    for (size_t i = 0; i < g->n_rules; i++) {
        r->head[i] = NONE;
        r->done[i] = false;
    }
    for (size_t i = 0; i < g->n_nodes; i++)
        r->seen[i] = false;
    r->n_stack = 0;
    for (size_t i = 0; i < g->n_rules; i++)
        visit(r, g->rule[i].start);
    while (r->n_stack > 0) {
        const uint32_t at = r->stack[--r->n_stack];
        const md_gnode *n = &g->node[at];
        if (n->kind == MD_G_SPLIT) {
            visit(r, n->arg);
            visit(r, n->next);
        } else if (n->kind == MD_G_RETURN) {
            finish(r, n->arg);
        } else if (n->kind == MD_G_CALL) {
            r->waiting[at] = r->head[n->arg];
            r->head[n->arg] = at;
            if (r->done[n->arg])
                visit(r, n->next);
        } else if (reading && n->kind != MD_G_ACCEPT) {
            visit(r, n->next);
        }
    }
}

static md_status check_ends(const reach *r, md_error *err)
{
    const md_grammar *g = r->g;
    for (size_t i = 0; i < g->n_rules; i++)
        MD_FAIL_IF(!r->done[i], MD_ERR_FORMAT,
                   "the grammar's rule '%.*s' can never come to an end: each of its alternatives needs itself again",
                   (int)(g->rule[i].name_n < 80 ? g->rule[i].name_n : 80), g->rule[i].name);
    return MD_OK;
}

/* Depth first over the calls that can come before anything is read. r->stack holds the rules on the way, r->waiting the
 * node where each goes on; ranks are given out when a rule is left, from the highest down. */
static md_status rank_rules(reach *r, uint32_t *state, md_error *err)
{
    md_grammar *g = r->g;
    uint32_t rank = (uint32_t)g->n_rules;
    for (uint32_t first = 0; first < g->n_rules; first++) {
        if (state[first])
            continue;
        size_t depth = 0;
        r->stack[depth++] = first;
        state[first] = 1;
        r->head[first] = g->rule[first].node;
        while (depth > 0) {
            const uint32_t rule = r->stack[depth - 1];
            uint32_t at = r->head[rule];
            while (at < g->rule[rule].node_end && !(r->seen[at] && g->node[at].kind == MD_G_CALL))
                at++;
            r->head[rule] = at + 1;
            if (at >= g->rule[rule].node_end) {
                g->rule[rule].rank = --rank;
                state[rule] = 2;
                depth--;
                continue;
            }
            const uint32_t called = g->node[at].arg;
            MD_FAIL_IF(
                state[called] == 1, MD_ERR_FORMAT,
                "the grammar's rule '%.*s' calls itself before it has read anything (left recursion): write it as "
                "a repetition, such as item (\",\" item)*",
                (int)(g->rule[called].name_n < 80 ? g->rule[called].name_n : 80), g->rule[called].name);
            if (state[called] == 0) {
                state[called] = 1;
                r->head[called] = g->rule[called].node;
                r->stack[depth++] = called;
            }
        }
    }
    return MD_OK;
}

md_status md_grammar_check(md_grammar *g, md_error *err)
{
    reach r = {.g = g,
               .seen = md_calloc(g->n_nodes, sizeof *r.seen),
               .waiting = md_calloc(g->n_nodes, sizeof *r.waiting),
               .head = md_calloc(g->n_rules, sizeof *r.head),
               .done = md_calloc(g->n_rules, sizeof *r.done),
               .stack = md_calloc(g->n_nodes, sizeof *r.stack)};
    uint32_t *state = md_calloc(g->n_rules, sizeof *state); /* 0: not seen, 1: on the way, 2: ranked */
    md_status status;
    if (!r.seen || !r.waiting || !r.head || !r.done || !r.stack || !state) {
        status = md_fail_memory(err, "a grammar");
        goto fail;
    }
    run(&r, true);
    MD_TRY_GOTO(check_ends(&r, err));
    run(&r, false);
    for (size_t i = 0; i < g->n_rules; i++)
        g->rule[i].nullable = r.done[i];
    MD_TRY_GOTO(rank_rules(&r, state, err));
fail:
    md_free(r.seen);
    md_free(r.waiting);
    md_free(r.head);
    md_free(r.done);
    md_free(r.stack);
    md_free(state);
    return status;
}
