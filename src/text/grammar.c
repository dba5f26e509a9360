/* SPDX-License-Identifier: Apache-2.0
 *
 * A grammar from its text. The tree that the parser makes goes when the network is done. */
#include "text/grammar_build.h"

#include "base/mem.h"
#include "base/status.h"

#include <string.h>

static md_status build(md_gbuild *b, md_error *err)
{
    MD_TRY(md_grammar_parse(b, err));
    MD_TRY(md_grammar_compile(b, err));
    return md_grammar_check(b->g, err);
}

md_status md_grammar_new(const char *text, size_t n, const md_tokenizer *t, md_grammar **out, md_error *err)
{
    *out = NULL;
    MD_FAIL_IF(n > MD_GRAMMAR_TEXT_MAX, MD_ERR_LIMIT, "the grammar has %zu bytes; at most %u are possible", n,
               MD_GRAMMAR_TEXT_MAX);
    MD_FAIL_IF(n > 0 && memchr(text, '\0', n), MD_ERR_FORMAT,
               "the grammar holds a zero byte; write \\x00 for the character");
    md_grammar *g = md_calloc(1, sizeof *g);
    char *copy = md_calloc(n + 1, 1);
    if (!g || !copy) {
        md_free(g);
        md_free(copy);
        return md_fail_memory(err, "a grammar");
    }
    if (n > 0)
        memcpy(copy, text, n);
    g->text = copy;
    g->last_token = -1;
    md_gbuild b = {.g = g, .tokenizer = t};
    const md_status status = build(&b, err);
    md_free(b.ast);
    md_free(b.def);
    md_hashmap_done(&b.by_name);
    if (status == MD_OK)
        *out = g;
    else
        md_grammar_free(g);
    return status;
}

void md_grammar_free(md_grammar *g)
{
    if (!g)
        return;
    md_free(g->text);
    md_free(g->node);
    md_free(g->class_);
    md_free(g->range);
    md_free(g->rule);
    md_free(g);
}

const char *md_grammar_text(const md_grammar *g)
{
    return g->text;
}
