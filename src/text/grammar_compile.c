/* SPDX-License-Identifier: Apache-2.0
 *
 * From the tree to the network, back to front: an element is compiled once it is known where it leads. What is repeated
 * a number of times is a chain of copies; to keep a copy small, anything larger than one node becomes a rule first. */
#include "text/grammar_build.h"

#include "base/mem.h"
#include "base/status.h"

static md_status new_node(md_gbuild *b, md_gkind kind, uint32_t arg, uint32_t next, uint32_t *out, md_error *err)
{
    md_grammar *g = b->g;
    if (!md_gbuild_grow(&g->node, g->n_nodes, &b->node_cap, sizeof *g->node, MD_GRAMMAR_NODE_MAX))
        return md_gbuild_full(err, "nodes", g->n_nodes, MD_GRAMMAR_NODE_MAX);
    *out = (uint32_t)g->n_nodes;
    g->node[g->n_nodes++] = (md_gnode){.kind = kind, .arg = arg, .next = next};
    return MD_OK;
}

static md_status compile(md_gbuild *b, uint32_t owner, uint32_t ast, uint32_t next, uint32_t *start, md_error *err);

static md_status compile_alternatives(md_gbuild *b, uint32_t owner, uint32_t ast, uint32_t next, uint32_t *start,
                                      md_error *err)
{
    bool first = true;
    for (uint32_t c = b->ast[ast].child; c; c = b->ast[c].sibling) {
        uint32_t from;
        MD_TRY(compile(b, owner, c, next, &from, err));
        if (!first)
            MD_TRY(new_node(b, MD_G_SPLIT, *start, from, &from, err));
        *start = from;
        first = false;
    }
    return MD_OK;
}

/* The repeated element as one node: itself if it is one, else a call of a rule made for it. */
static md_status shrink(md_gbuild *b, uint32_t owner, uint32_t *ast, md_error *err)
{
    md_gast *a = &b->ast[*ast];
    while ((a->kind == MD_GAST_SEQ || a->kind == MD_GAST_ALT) && a->child && !b->ast[a->child].sibling) {
        *ast = a->child;
        a = &b->ast[*ast];
    }
    if (a->kind <= MD_GAST_TOKEN)
        return MD_OK;
    uint32_t rule;
    const md_gdef d = b->def[owner];
    MD_TRY(md_gbuild_def(b, d.name, d.name_n, d.seen_at, &rule, err));
    /* A copy of the tree's node goes to the rule, which is compiled later; the node itself becomes the call. */
    if (!md_gbuild_grow(&b->ast, b->n_ast, &b->ast_cap, sizeof *b->ast, 2 * MD_GRAMMAR_NODE_MAX))
        return md_gbuild_full(err, "elements", b->n_ast, 2 * MD_GRAMMAR_NODE_MAX);
    a = &b->ast[*ast];
    b->ast[b->n_ast] = *a;
    b->ast[b->n_ast].sibling = 0;
    b->def[rule].ast = (uint32_t)b->n_ast++;
    a->kind = MD_GAST_REF;
    a->a = rule;
    a->child = 0;
    return MD_OK;
}

static md_status compile_repeat(md_gbuild *b, uint32_t owner, const md_gast repeat, uint32_t next, uint32_t *start,
                                md_error *err)
{
    uint32_t child = repeat.child, from = next, copies = repeat.a;
    const bool once = repeat.a <= 1 && (repeat.b <= 1 || repeat.b == MD_GAST_NO_MOST);
    if (!once)
        MD_TRY(shrink(b, owner, &child, err));
    if (repeat.b == MD_GAST_NO_MOST) {
        uint32_t loop, body;
        MD_TRY(new_node(b, MD_G_SPLIT, 0, next, &loop, err));
        MD_TRY(compile(b, owner, child, loop, &body, err));
        b->g->node[loop].arg = body;
        from = copies ? body : loop;
        copies -= copies > 0;
    } else {
        for (uint32_t i = repeat.a; i < repeat.b; i++) {
            MD_TRY(compile(b, owner, child, from, &from, err));
            MD_TRY(new_node(b, MD_G_SPLIT, next, from, &from, err));
        }
    }
    for (; copies > 0; copies--)
        MD_TRY(compile(b, owner, child, from, &from, err));
    *start = from;
    return MD_OK;
}

static md_status compile(md_gbuild *b, uint32_t owner, uint32_t ast, uint32_t next, uint32_t *start, md_error *err)
{
    const md_gast a = b->ast[ast];
    switch ((md_gast_kind)a.kind) {
    case MD_GAST_CHAR: return new_node(b, MD_G_CHAR, a.a, next, start, err);
    case MD_GAST_CLASS: return new_node(b, MD_G_CLASS, a.a, next, start, err);
    case MD_GAST_REF: return new_node(b, MD_G_CALL, a.a, next, start, err);
    case MD_GAST_TOKEN: return new_node(b, a.b ? MD_G_TOKEN_NOT : MD_G_TOKEN, a.a, next, start, err);
    case MD_GAST_ALT: return compile_alternatives(b, owner, ast, next, start, err);
    case MD_GAST_REPEAT: return compile_repeat(b, owner, a, next, start, err);
    case MD_GAST_SEQ: break;
    }
    *start = next;
    for (uint32_t c = a.child; c; c = b->ast[c].sibling)
        MD_TRY(compile(b, owner, c, *start, start, err));
    return MD_OK;
}

md_status md_grammar_compile(md_gbuild *b, md_error *err)
{
    md_grammar *g = b->g;
    size_t cap = 0;
    uint32_t unused;
    MD_TRY(new_node(b, MD_G_ACCEPT, 0, 0, &unused, err));
    for (uint32_t i = 0; i < b->n_def; i++) { /* grows while rules are made for repetitions */
        if (!md_gbuild_grow(&g->rule, g->n_rules, &cap, sizeof *g->rule, MD_GRAMMAR_RULE_MAX))
            return md_gbuild_full(err, "rules", g->n_rules, MD_GRAMMAR_RULE_MAX);
        md_grule r = {.name = b->def[i].name, .name_n = b->def[i].name_n, .node = (uint32_t)g->n_nodes};
        MD_TRY(new_node(b, MD_G_RETURN, i, 0, &r.start, err));
        MD_TRY(compile(b, i, b->def[i].ast, r.start, &r.start, err));
        r.node_end = (uint32_t)g->n_nodes;
        g->rule[g->n_rules++] = r;
    }
    return MD_OK;
}
