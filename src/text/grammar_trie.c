/* SPDX-License-Identifier: Apache-2.0 */
#include "text/grammar_trie.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

typedef struct entry {
    const char *s;
    size_t n;
    int32_t id;
} entry;

static int by_bytes(const void *pa, const void *pb)
{
    const entry *a = pa, *b = pb;
    const int order = memcmp(a->s, b->s, a->n < b->n ? a->n : b->n);
    if (order != 0)
        return order;
    return a->n != b->n ? (a->n > b->n) - (a->n < b->n) : (a->id > b->id) - (a->id < b->id);
}

static size_t shared(const entry *a, const entry *b)
{
    size_t n = 0;
    while (n < a->n && n < b->n && a->s[n] == b->s[n])
        n++;
    return n;
}

/* Text tokens, in the order of their bytes. */
static size_t gather(entry *e, const md_tokenizer *tok, int32_t n_vocab)
{
    const int32_t size = md_tokenizer_size(tok);
    size_t n = 0;
    for (int32_t id = 0; id < size && id < n_vocab; id++) {
        entry x = {.id = id};
        x.s = md_token_bytes(tok, id, &x.n);
        if (x.n > 0 && !md_token_is_special(tok, id))
            e[n++] = x;
    }
    if (n > 1)
        qsort(e, n, sizeof *e, by_bytes);
    return n;
}

/* Lays out the nodes. open: [max_depth] the node at each depth that is still growing. */
static void lay_out(md_gtrie *t, const entry *e, uint32_t *open)
{
    size_t depth = 0;
    t->n = 0;
    for (size_t i = 0; i < t->n_tokens; i++) {
        const size_t keep = i ? shared(&e[i - 1], &e[i]) : 0;
        while (depth > keep)
            t->node[open[--depth]].end = (uint32_t)t->n;
        for (; depth < e[i].n; depth++) {
            open[depth] = (uint32_t)t->n;
            t->node[t->n++] = (md_gtrie_node){
                .token = (uint32_t)i, .depth = (uint32_t)depth + 1, .byte = (uint8_t)e[i].s[depth]};
        }
        t->token[i] = e[i].id;
    }
    while (depth > 0)
        t->node[open[--depth]].end = (uint32_t)t->n;
    t->node[t->n] = (md_gtrie_node){.token = (uint32_t)t->n_tokens};
}

bool md_gtrie_init(md_gtrie *t, const md_tokenizer *tok, int32_t n_vocab)
{
    *t = (md_gtrie){0};
    entry *e = md_calloc((size_t)md_tokenizer_size(tok) + 1, sizeof *e);
    if (!e)
        return false;
    t->n_tokens = gather(e, tok, n_vocab);
    size_t n_nodes = 0;
    for (size_t i = 0; i < t->n_tokens; i++) {
        n_nodes += e[i].n - (i ? shared(&e[i - 1], &e[i]) : 0);
        t->max_depth = e[i].n > t->max_depth ? e[i].n : t->max_depth;
    }
    uint32_t *open = md_calloc(t->max_depth + 1, sizeof *open);
    t->node = n_nodes < UINT32_MAX ? md_calloc(n_nodes + 1, sizeof *t->node) : NULL;
    t->token = md_calloc(t->n_tokens + 1, sizeof *t->token);
    const bool ok = open && t->node && t->token;
    if (ok)
        lay_out(t, e, open);
    else
        md_gtrie_done(t);
    md_free(open);
    md_free(e);
    return ok;
}

void md_gtrie_done(md_gtrie *t)
{
    md_free(t->node);
    md_free(t->token);
    *t = (md_gtrie){0};
}
