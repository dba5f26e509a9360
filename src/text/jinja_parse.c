/* SPDX-License-Identifier: Apache-2.0
 *
 * Statements, and what both halves of the parser use. Tags of template inheritance (extends, block, include, import)
 * are refused by name: a chat template is one file. */
#include "text/jinja_parse.h"

#include <stdio.h>
#include <string.h>

static md_status parse_body(md_jparser *p, const char *const *ends, md_jnode *over, md_jnodes *out);

/* ---- tokens ---- */

bool md_jis_op(const md_jparser *p, int code)
{
    return p->t->type == MD_JT_OPERATOR && p->t->code == code;
}

static bool token_is(const md_jtoken *t, const char *name)
{
    return t->type == MD_JT_NAME && t->n == strlen(name) && memcmp(t->s, name, t->n) == 0;
}

bool md_jis_name(const md_jparser *p, const char *name)
{
    return token_is(p->t, name);
}

bool md_jskip_op(md_jparser *p, int code)
{
    const bool yes = md_jis_op(p, code);
    p->t += yes;
    return yes;
}

bool md_jskip_name(md_jparser *p, const char *name)
{
    const bool yes = md_jis_name(p, name);
    p->t += yes;
    return yes;
}

static void describe(const md_jtoken *t, char *out, size_t room)
{
    const int n = t->n < 40 ? (int)t->n : 40;
    char code[3] = {(char)(t->code > 0xff ? t->code >> 8 : t->code), (char)(t->code > 0xff ? t->code & 0xff : 0), '\0'};
    switch (t->type) {
    case MD_JT_END: snprintf(out, room, "the end of the template"); break;
    case MD_JT_DATA: snprintf(out, room, "text"); break;
    case MD_JT_OUTPUT_BEGIN: snprintf(out, room, "'{{'"); break;
    case MD_JT_OUTPUT_END: snprintf(out, room, "'}}'"); break;
    case MD_JT_BLOCK_BEGIN: snprintf(out, room, "'{%%'"); break;
    case MD_JT_BLOCK_END: snprintf(out, room, "'%%}'"); break;
    case MD_JT_NAME: snprintf(out, room, "'%.*s'", n, t->s); break;
    case MD_JT_STRING: snprintf(out, room, "the string '%.*s'", n, t->s); break;
    case MD_JT_INT:
    case MD_JT_FLOAT: snprintf(out, room, "a number"); break;
    case MD_JT_OPERATOR: snprintf(out, room, "'%s'", code); break;
    }
}

md_status(md_jparse_fail_at)(md_jparser *p, md_status code, md_jpos pos, const char *fmt, ...)
{
    char what[200];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    return md_fail(p->err, code, MD_JPOS ": %s", pos.line, pos.column, what);
}

md_status(md_jparse_fail)(md_jparser *p, const char *expected)
{
    char found[80];
    describe(p->t, found, sizeof found);
    return md_jparse_fail_at(p, MD_ERR_FORMAT, p->t->pos, "expected %s, found %s", expected, found);
}

md_status md_jexpect_op(md_jparser *p, int code)
{
    const char expected[] = {'\'', (char)code, '\'', '\0'};
    return md_jskip_op(p, code) ? MD_OK : md_jparse_fail(p, expected);
}

static md_status expect_block_end(md_jparser *p)
{
    if (p->t->type != MD_JT_BLOCK_END)
        return md_jparse_fail(p, "'%}'");
    p->t++;
    return MD_OK;
}

/* ---- the tree ---- */

md_status md_jparse_enter(md_jparser *p)
{
    if (++p->nest > MD_J_MAX_NEST)
        return md_jparse_fail_at(p, MD_ERR_LIMIT, p->t->pos, "brackets and blocks are nested too deep");
    return MD_OK;
}

md_status md_jnode_new(md_jparser *p, enum md_jnode_kind kind, md_jnode **out)
{
    md_jnode *n = *out = md_arena_alloc(p->arena, 1, sizeof *n);
    if (!n)
        return md_fail_memory(p->err, "a chat template");
    n->kind = kind;
    n->pos = p->t->pos;
    n->height = 1;
    return MD_OK;
}

md_status md_jnode_over(md_jparser *p, md_jnode *n, const md_jnode *child)
{
    if (child && child->height >= n->height)
        n->height = child->height + 1;
    if (n->height > MD_J_MAX_HEIGHT)
        return md_jparse_fail_at(p, MD_ERR_LIMIT, n->pos, "an expression is built from too many parts");
    return MD_OK;
}

md_status md_jnodes_add(md_jparser *p, md_jnode_list *l, md_jnode *n)
{
    if (l->nodes.n == l->cap) {
        const size_t cap = l->cap ? l->cap * 2 : 4;
        md_jnode **at = md_arena_alloc(p->arena, cap, sizeof(md_jnode *));
        if (!at)
            return md_fail_memory(p->err, "a chat template");
        if (l->nodes.n)
            memcpy(at, l->nodes.at, l->nodes.n * sizeof(md_jnode *));
        l->nodes.at = at;
        l->cap = cap;
    }
    l->nodes.at[l->nodes.n++] = n;
    return MD_OK;
}

md_status md_jparse_str(md_jparser *p, const char *s, size_t n, const md_jstr **out)
{
    md_jstr *str = md_arena_alloc(p->arena, 1, sizeof *str);
    if (!str)
        return md_fail_memory(p->err, "a chat template");
    *str = (md_jstr){.s = s, .n = n, .from = MD_SEGMENT_TEMPLATE};
    *out = str;
    return MD_OK;
}

/* ---- symbols ---- */

static size_t slot_of(const md_jparser *p, const char *s, size_t n)
{
    uint64_t h = 0xcbf29ce484222325ULL;
    for (size_t i = 0; i < n; i++)
        h = (h ^ (unsigned char)s[i]) * 0x100000001b3ULL;
    return (size_t)(h ^ h >> 29) & (p->n_slots - 1);
}

static md_status grow_symbols(md_jparser *p)
{
    const size_t cap = p->symbol_cap ? p->symbol_cap * 2 : 64;
    const md_jstr **symbol = md_arena_alloc(p->arena, cap, sizeof(md_jstr *));
    uint32_t *slot = md_calloc(cap * 2, sizeof *slot);
    if (!symbol || !slot) {
        md_free(slot);
        return md_fail_memory(p->err, "a chat template");
    }
    if (p->n_symbols)
        memcpy(symbol, p->symbol, p->n_symbols * sizeof(md_jstr *));
    md_free(p->slot);
    p->symbol = symbol;
    p->symbol_cap = cap;
    p->slot = slot;
    p->n_slots = cap * 2;
    for (size_t i = 0; i < p->n_symbols; i++) {
        size_t at = slot_of(p, symbol[i]->s, symbol[i]->n);
        while (slot[at])
            at = (at + 1) & (p->n_slots - 1);
        slot[at] = (uint32_t)(i + 1);
    }
    return MD_OK;
}

md_status md_jsymbol(md_jparser *p, const char *s, size_t n, int *symbol)
{
    if (p->n_symbols == p->symbol_cap)
        MD_TRY(grow_symbols(p));
    size_t at = slot_of(p, s, n);
    for (; p->slot[at]; at = (at + 1) & (p->n_slots - 1)) {
        const md_jstr *known = p->symbol[p->slot[at] - 1];
        if (known->n == n && memcmp(known->s, s, n) == 0) {
            *symbol = (int)(p->slot[at] - 1);
            return MD_OK;
        }
    }
    /* NUL-terminated, for messages. */
    const char *name = md_arena_strndup(p->arena, s, n);
    const md_jstr *str = NULL;
    if (!name)
        return md_fail_memory(p->err, "a chat template");
    MD_TRY(md_jparse_str(p, name, n, &str));
    *symbol = (int)p->n_symbols;
    p->symbol[p->n_symbols++] = str;
    p->slot[at] = (uint32_t)p->n_symbols;
    return MD_OK;
}

/* ---- statements ---- */

static md_status over_all(md_jparser *p, md_jnode *n, const md_jnodes *children)
{
    for (size_t i = 0; i < children->n; i++)
        MD_TRY(md_jnode_over(p, n, children->at[i]));
    return MD_OK;
}

/* The end of the tag, the body, and the tag that ends it up to its own end. */
static md_status tagged_body(md_jparser *p, const char *end, md_jnode *n)
{
    const char *const ends[] = {end, NULL};
    MD_TRY(parse_body(p, ends, n, &n->list));
    p->t++;
    return MD_OK;
}

static md_status parse_if(md_jparser *p, md_jnode *n)
{
    static const char *const ends[] = {"elif", "else", "endif", NULL};
    md_jnode_list branches = {0};
    n->kind = MD_JN_IF;
    for (bool more = true; more;) {
        md_jnode *branch;
        MD_TRY(md_jnode_new(p, MD_JN_BRANCH, &branch));
        branch->pos = p->t[-1].pos;
        const bool last = token_is(&p->t[-1], "else");
        if (!last) {
            MD_TRY(md_jparse_tuple(p, false, NULL, &branch->a));
            MD_TRY(md_jnode_over(p, branch, branch->a));
        }
        MD_TRY(parse_body(p, last ? ends + 2 : ends, branch, &branch->list));
        MD_TRY(md_jnodes_add(p, &branches, branch));
        MD_TRY(md_jnode_over(p, n, branch));
        more = !md_jis_name(p, "endif");
        p->t++;
    }
    n->list = branches.nodes;
    return MD_OK;
}

static md_status parse_for(md_jparser *p, md_jnode *n)
{
    static const char *const ends[] = {"else", "endfor", NULL};
    n->kind = MD_JN_FOR;
    MD_TRY(md_jparse_target(p, false, &n->a));
    if (!md_jskip_name(p, "in"))
        return md_jparse_fail(p, "'in'");
    MD_TRY(md_jparse_tuple(p, false, "recursive", &n->b));
    if (md_jskip_name(p, "if"))
        MD_TRY(md_jparse_expr(p, &n->c));
    n->flags = md_jskip_name(p, "recursive") ? MD_JM_RECURSIVE : 0u;
    p->loops++;
    MD_TRY(parse_body(p, ends, n, &n->list));
    p->loops--;
    const bool has_else = md_jskip_name(p, "else");
    if (has_else)
        MD_TRY(parse_body(p, ends + 1, n, &n->rest));
    p->t++;
    MD_TRY(md_jnode_over(p, n, n->a));
    MD_TRY(md_jnode_over(p, n, n->b));
    return md_jnode_over(p, n, n->c);
}

static md_status parse_set(md_jparser *p, md_jnode *n)
{
    MD_TRY(md_jparse_target(p, true, &n->a));
    MD_TRY(md_jnode_over(p, n, n->a));
    if (md_jskip_op(p, '=')) {
        n->kind = MD_JN_SET;
        MD_TRY(md_jparse_tuple(p, true, NULL, &n->b));
        return md_jnode_over(p, n, n->b);
    }
    n->kind = MD_JN_SET_BLOCK;
    MD_TRY(md_jparse_filters(p, NULL, false, &n->b));
    MD_TRY(md_jnode_over(p, n, n->b));
    return tagged_body(p, "endset", n);
}

/* (name, name=default, ...) */
static md_status parse_parameters(md_jparser *p, md_jnode *n)
{
    md_jnode_list l = {0};
    MD_TRY(md_jexpect_op(p, '('));
    while (!md_jis_op(p, ')')) {
        md_jnode *param;
        if (p->t->type != MD_JT_NAME)
            return md_jparse_fail(p, "a parameter's name");
        MD_TRY(md_jnode_new(p, MD_JN_PARAM, &param));
        MD_TRY(md_jsymbol(p, p->t->s, p->t->n, &param->op));
        param->value = md_jtext(p->symbol[param->op]);
        p->t++;
        if (md_jskip_op(p, '=')) {
            MD_TRY(md_jparse_expr(p, &param->a));
            MD_TRY(md_jnode_over(p, param, param->a));
        } else if (l.nodes.n && l.nodes.at[l.nodes.n - 1]->a) {
            return md_jparse_fail(p, "a default, as the parameter before has one");
        }
        MD_TRY(md_jnodes_add(p, &l, param));
        if (!md_jskip_op(p, ','))
            break;
    }
    n->rest = l.nodes;
    return md_jexpect_op(p, ')');
}

static md_status parse_macro_body(md_jparser *p, md_jnode *n, const char *end)
{
    const unsigned outside = p->special;
    const int loops = p->loops;
    p->special = 0;
    p->loops = 0;
    MD_TRY(tagged_body(p, end, n));
    n->flags = p->special;
    p->special |= outside;
    p->loops = loops;
    return MD_OK;
}

static md_status parse_macro(md_jparser *p, md_jnode *n)
{
    n->kind = MD_JN_MACRO;
    if (p->t->type != MD_JT_NAME)
        return md_jparse_fail(p, "the macro's name");
    MD_TRY(md_jsymbol(p, p->t->s, p->t->n, &n->op));
    n->value = md_jtext(p->symbol[n->op]);
    p->t++;
    MD_TRY(parse_parameters(p, n));
    MD_TRY(over_all(p, n, &n->rest));
    return parse_macro_body(p, n, "endmacro");
}

static md_status parse_call_block(md_jparser *p, md_jnode *n)
{
    n->kind = MD_JN_CALL_BLOCK;
    MD_TRY(md_jnode_new(p, MD_JN_MACRO, &n->b));
    n->b->pos = n->pos;
    n->b->op = MD_JS_CALLER;
    n->b->value = md_jtext(p->symbol[MD_JS_CALLER]);
    if (md_jis_op(p, '('))
        MD_TRY(parse_parameters(p, n->b));
    MD_TRY(over_all(p, n->b, &n->b->rest));
    MD_TRY(md_jparse_expr(p, &n->a));
    if (n->a->kind != MD_JN_CALL)
        return md_jparse_fail(p, "a call in {% call %}");
    MD_TRY(parse_macro_body(p, n->b, "endcall"));
    MD_TRY(md_jnode_over(p, n, n->a));
    return md_jnode_over(p, n, n->b);
}

static md_status parse_filter_block(md_jparser *p, md_jnode *n)
{
    n->kind = MD_JN_FILTER_BLOCK;
    MD_TRY(md_jparse_filters(p, NULL, true, &n->b));
    MD_TRY(md_jnode_over(p, n, n->b));
    return tagged_body(p, "endfilter", n);
}

static md_status parse_with(md_jparser *p, md_jnode *n)
{
    md_jnode_list l = {0};
    n->kind = MD_JN_WITH;
    while (p->t->type != MD_JT_BLOCK_END) {
        md_jnode *set;
        if (l.nodes.n)
            MD_TRY(md_jexpect_op(p, ','));
        MD_TRY(md_jnode_new(p, MD_JN_SET, &set));
        MD_TRY(md_jparse_target(p, false, &set->a));
        MD_TRY(md_jexpect_op(p, '='));
        MD_TRY(md_jparse_expr(p, &set->b));
        MD_TRY(md_jnode_over(p, set, set->a));
        MD_TRY(md_jnode_over(p, set, set->b));
        MD_TRY(md_jnodes_add(p, &l, set));
        MD_TRY(md_jnode_over(p, n, set));
    }
    n->rest = l.nodes;
    return tagged_body(p, "endwith", n);
}

static md_status parse_print(md_jparser *p, md_jnode *n)
{
    n->kind = MD_JN_OUTPUT;
    MD_TRY(md_jparse_expr(p, &n->a));
    return md_jnode_over(p, n, n->a);
}

static md_status parse_generation(md_jparser *p, md_jnode *n)
{
    n->kind = MD_JN_SCOPE;
    return tagged_body(p, "endgeneration", n);
}

static md_status parse_jump(md_jparser *p, md_jnode *n)
{
    n->kind = token_is(&p->t[-1], "break") ? MD_JN_BREAK : MD_JN_CONTINUE;
    if (p->loops == 0)
        return md_jparse_fail_at(p, MD_ERR_FORMAT, n->pos, "%s outside of a loop",
                                 n->kind == MD_JN_BREAK ? "break" : "continue");
    return MD_OK;
}

static const struct {
    const char *tag;
    md_status (*parse)(md_jparser *p, md_jnode *n); /* from behind the tag's name to before the last tag's end */
} statements[] = {
    {"if", parse_if},
    {"for", parse_for},
    {"set", parse_set},
    {"macro", parse_macro},
    {"call", parse_call_block},
    {"filter", parse_filter_block},
    {"with", parse_with},
    {"print", parse_print},
    {"break", parse_jump},
    {"continue", parse_jump},
    {"generation", parse_generation},
};

static md_status parse_statement(md_jparser *p, md_jnode **out)
{
    char tag[60];
    MD_TRY(md_jparse_enter(p));
    MD_TRY(md_jnode_new(p, MD_JN_DATA, out));
    for (size_t i = 0; i < sizeof statements / sizeof *statements; i++)
        if (md_jskip_name(p, statements[i].tag)) {
            MD_TRY(statements[i].parse(p, *out));
            p->nest--;
            return expect_block_end(p);
        }
    if (p->t->type != MD_JT_NAME)
        return md_jparse_fail(p, "the name of a tag");
    snprintf(tag, sizeof tag, "%.*s", p->t->n < 40 ? (int)p->t->n : 40, p->t->s);
    if (strncmp(tag, "end", 3) == 0 || strncmp(tag, "el", 2) == 0)
        return md_jparse_fail_at(p, MD_ERR_FORMAT, p->t->pos, "{%% %s %%} ends or continues nothing that is open here",
                                 tag);
    return md_jparse_fail_at(p, MD_ERR_FORMAT, p->t->pos, "the tag {%% %s %%} is not supported", tag);
}

static bool at_end_tag(const md_jparser *p, const char *const *ends)
{
    if (p->t->type != MD_JT_BLOCK_BEGIN)
        return false;
    for (; *ends; ends++)
        if (token_is(&p->t[1], *ends))
            return true;
    return false;
}

/* Text, output and statements up to a tag that is among ends, whose name becomes the current token; or, without ends,
 * to the end of the template. */
static md_status parse_nodes(md_jparser *p, const char *const *ends, md_jnode *over, md_jnodes *out)
{
    md_jnode_list l = {0};
    while (!ends || !at_end_tag(p, ends)) {
        md_jnode *n = NULL;
        if (p->t->type == MD_JT_DATA) {
            const md_jstr *text = NULL;
            MD_TRY(md_jnode_new(p, MD_JN_DATA, &n));
            MD_TRY(md_jparse_str(p, p->t->s, p->t->n, &text));
            n->value = md_jtext(text);
            p->t++;
        } else if (p->t->type == MD_JT_OUTPUT_BEGIN) {
            p->t++;
            MD_TRY(md_jnode_new(p, MD_JN_OUTPUT, &n));
            MD_TRY(md_jparse_tuple(p, true, NULL, &n->a));
            MD_TRY(md_jnode_over(p, n, n->a));
            if (p->t->type != MD_JT_OUTPUT_END)
                return md_jparse_fail(p, "'}}'");
            p->t++;
        } else if (p->t->type == MD_JT_BLOCK_BEGIN) {
            p->t++;
            MD_TRY(parse_statement(p, &n));
        } else if (!ends) {
            break;
        } else {
            while (ends[1])
                ends++;
            return md_jparse_fail_at(p, MD_ERR_FORMAT, p->t->pos,
                                     "{%% %s %%} is missing for the tag at line %d, column %d", ends[0], over->pos.line,
                                     over->pos.column);
        }
        MD_TRY(md_jnodes_add(p, &l, n));
        if (over)
            MD_TRY(md_jnode_over(p, over, n));
    }
    p->t += ends ? 1 : 0;
    *out = l.nodes;
    return MD_OK;
}

static md_status parse_body(md_jparser *p, const char *const *ends, md_jnode *over, md_jnodes *out)
{
    md_jskip_op(p, ':');
    MD_TRY(expect_block_end(p));
    return parse_nodes(p, ends, over, out);
}

static md_status parse_all(md_jparser *p, md_jnodes *out)
{
    static const char *const fixed[MD_JS_FIXED] = {"loop", "caller", "varargs", "kwargs"};
    for (int i = 0; i < MD_JS_FIXED; i++) {
        int symbol;
        MD_TRY(md_jsymbol(p, fixed[i], strlen(fixed[i]), &symbol));
    }
    return parse_nodes(p, NULL, NULL, out);
}

md_status md_jparse(const char *source, size_t n, md_jprogram *out, md_error *err)
{
    *out = (md_jprogram){0};
    MD_FAIL_IF(n > MD_J_MAX_SOURCE, MD_ERR_LIMIT, "the template has %zu bytes, at most %d are allowed", n,
               MD_J_MAX_SOURCE);
    md_jtokens tokens = {0};
    md_jprogram made = {0};
    md_status status = md_jlex(source, n, &made.arena, &tokens, err);
    if (status == MD_OK) {
        md_jparser p = {.t = tokens.at, .arena = &made.arena, .err = err};
        status = parse_all(&p, &made.body);
        made.symbol = p.symbol;
        made.n_symbols = p.n_symbols;
        md_free(p.slot);
    }
    md_jtokens_done(&tokens);
    if (status == MD_OK)
        *out = made;
    else
        md_jprogram_done(&made);
    return status;
}

void md_jprogram_done(md_jprogram *p)
{
    md_arena_done(&p->arena);
    *p = (md_jprogram){0};
}
