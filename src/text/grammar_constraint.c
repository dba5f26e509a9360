/* SPDX-License-Identifier: Apache-2.0
 *
 * A grammar over a vocabulary. A mask comes from one walk through the tree of the vocabulary's texts with the matcher;
 * masks are kept by state, and a grammar comes back to few states, so most steps copy nothing and walk nowhere. Tokens
 * that end an answer are allowed where the grammar may end, or where it asks for one by name and may end behind it. */
#include "base/mem.h"
#include "base/status.h"
#include "text/grammar_match.h"
#include "text/grammar_trie.h"

#include <string.h>

#define MASKS 64 /* kept */

typedef struct kept_mask {
    uint64_t epoch; /* of the matcher; 0: free */
    uint16_t state;
    bool goes_on; /* some token that is no end is allowed */
} kept_mask;

struct md_constraint {
    const md_tokenizer *tokenizer; /* borrowed */
    md_gtrie trie;
    md_gmatch match; /* path[0]: where the answer is */
    int32_t n_vocab; /* bits of a mask */
    int32_t n_known; /* tokens of the tokenizer among them */
    size_t n_words;
    uint32_t *bits; /* owned, [MASKS + 1][n_words]; the last one stays zero */
    kept_mask kept[MASKS];
    size_t next;  /* slot to be given up next */
    int32_t *eog; /* owned, [n_eog] tokens that end an answer */
    size_t n_eog;
    bool ended; /* such a token was accepted */
};

static uint32_t *words_of(const md_constraint *c, size_t slot)
{
    return c->bits + slot * c->n_words;
}

static inline void set_bit(uint32_t *bits, uint32_t id)
{
    bits[id >> 5] |= 1u << (id & 31);
}

static md_status find_ends(md_constraint *c, md_error *err)
{
    for (int32_t id = 0; id < c->n_known; id++)
        c->n_eog += md_token_is_eog(c->tokenizer, id);
    c->eog = md_calloc(c->n_eog + 1, sizeof *c->eog);
    if (!c->eog)
        return md_fail_memory(err, "a grammar's vocabulary");
    size_t n = 0;
    for (int32_t id = 0; id < c->n_known; id++)
        if (md_token_is_eog(c->tokenizer, id))
            c->eog[n++] = id;
    return MD_OK;
}

md_status md_constraint_new(const md_grammar *g, const md_tokenizer *t, int32_t n_vocab, md_constraint **out,
                            md_error *err)
{
    *out = NULL;
    MD_FAIL_IF(n_vocab < 1, MD_ERR_ARGUMENT, "a grammar needs a vocabulary of at least 1 token, not %d", n_vocab);
    MD_FAIL_IF(g->last_token >= n_vocab, MD_ERR_ARGUMENT, "the grammar names token %d, but the vocabulary has 0 to %d",
               (int)g->last_token, n_vocab - 1);
    md_constraint *c = md_calloc(1, sizeof *c);
    if (!c)
        return md_fail_memory(err, "a grammar's vocabulary");
    const int32_t size = md_tokenizer_size(t);
    c->tokenizer = t;
    c->n_vocab = n_vocab;
    c->n_known = size < n_vocab ? size : n_vocab;
    c->n_words = ((size_t)n_vocab + 31) / 32;
    c->bits = md_calloc((MASKS + 1) * c->n_words, sizeof *c->bits);
    md_status status = find_ends(c, err);
    if (status == MD_OK &&
        (!c->bits || !md_gtrie_init(&c->trie, t, n_vocab) || !md_gmatch_init(&c->match, g, c->trie.max_depth)))
        status = md_fail_memory(err, "a grammar's vocabulary");
    if (status != MD_OK) {
        md_constraint_free(c);
        return status;
    }
    md_constraint_reset(c);
    *out = c;
    return MD_OK;
}

void md_constraint_free(md_constraint *c)
{
    if (!c)
        return;
    md_gmatch_done(&c->match);
    md_gtrie_done(&c->trie);
    md_free(c->bits);
    md_free(c->eog);
    md_free(c);
}

int32_t md_constraint_n_vocab(const md_constraint *c)
{
    return c->n_vocab;
}

void md_constraint_reset(md_constraint *c)
{
    md_gmatch_start(&c->match);
    c->ended = false;
}

bool md_constraint_limited(const md_constraint *c)
{
    return c->match.limited;
}

bool md_constraint_may_end(const md_constraint *c)
{
    return c->ended || c->match.state[c->match.path[0]].accepting;
}

/* ---- masks ---- */

/* Sets the bits of all tokens whose bytes the grammar can read from here. */
static void walk(md_constraint *c, uint32_t *bits)
{
    const md_gtrie *t = &c->trie;
    md_gmatch *m = &c->match;
    for (size_t i = 0; i < t->n;) {
        const md_gtrie_node *n = &t->node[i];
        const size_t depth = n->depth;
        uint16_t next = m->to[m->path[depth - 1]][n->byte];
        if (next == MD_GSTATE_NEW) {
            md_gmatch_byte(m, depth - 1, depth, n->byte);
            next = m->path[depth];
        }
        if (next == MD_GSTATE_DEAD) {
            i = n->end;
            continue;
        }
        m->path[depth] = next;
        for (uint32_t k = n[0].token; k < n[1].token; k++)
            set_bit(bits, (uint32_t)t->token[k]);
        i++;
    }
}

/* Tokens that the grammar asks for as such. */
static void ask(md_constraint *c, uint32_t *bits)
{
    const md_gmatch *m = &c->match;
    const md_gstate *s = &m->state[m->path[0]];
    int64_t all_but = -1; /* -1: no "any token but", -2: two different ones, which is any token */
    for (uint32_t i = 0; i < s->n; i++) {
        const md_gnode *n = &m->g->node[m->item[s->first + i].node & ~MD_G_MID];
        if (n->kind == MD_G_TOKEN && n->arg < (uint32_t)c->n_known)
            set_bit(bits, n->arg);
        else if (n->kind == MD_G_TOKEN_NOT)
            all_but = all_but == -1 || all_but == (int64_t)n->arg ? (int64_t)n->arg : -2;
    }
    if (all_but == -1)
        return;
    for (int32_t id = 0; id < c->n_known; id++)
        if (id != all_but)
            set_bit(bits, (uint32_t)id);
}

/* May this token end the answer here? */
static bool may_end_with(md_constraint *c, int32_t id)
{
    if (md_constraint_may_end(c))
        return true;
    md_gmatch_token(&c->match, 0, 1, (uint32_t)id, false);
    return c->match.state[c->match.path[1]].accepting;
}

/* The slot that holds the mask of path[0]. */
static size_t mask_slot(md_constraint *c)
{
    for (size_t i = 0; i < MASKS; i++)
        if (c->kept[i].epoch == c->match.epoch && c->kept[i].state == c->match.path[0])
            return i;
    const size_t slot = c->next;
    c->next = (c->next + 1) % MASKS;
    uint32_t *bits = words_of(c, slot);
    memset(bits, 0, c->n_words * sizeof *bits);
    walk(c, bits);
    ask(c, bits);
    for (size_t i = 0; i < c->n_eog; i++)
        bits[c->eog[i] >> 5] &= ~(1u << (c->eog[i] & 31));
    bool goes_on = false;
    for (size_t i = 0; i < c->n_words && !goes_on; i++)
        goes_on = bits[i] != 0;
    for (size_t i = 0; i < c->n_eog; i++)
        if (may_end_with(c, c->eog[i]))
            set_bit(bits, (uint32_t)c->eog[i]);
    c->kept[slot] = (kept_mask){.epoch = c->match.epoch, .state = c->match.path[0], .goes_on = goes_on};
    return slot;
}

const uint32_t *md_constraint_mask(md_constraint *c)
{
    return words_of(c, c->ended ? MASKS : mask_slot(c));
}

bool md_constraint_must_end(md_constraint *c)
{
    return c->ended || (md_constraint_may_end(c) && !c->kept[mask_slot(c)].goes_on);
}

/* ---- going on ---- */

/* path[depth] = path[0] after the bytes of a token. Dead at once for what is no text. */
static size_t read_text(md_constraint *c, int32_t token)
{
    size_t n = 0;
    const char *s = md_token_bytes(c->tokenizer, token, &n);
    if (n == 0 || n > c->trie.max_depth || md_token_is_special(c->tokenizer, token)) {
        c->match.path[1] = MD_GSTATE_DEAD;
        return 1;
    }
    for (size_t i = 0; i < n; i++)
        md_gmatch_byte(&c->match, i, i + 1, (uint8_t)s[i]);
    return n;
}

md_status md_constraint_accept(md_constraint *c, int32_t token, md_error *err)
{
    MD_FAIL_IF(token < 0 || token >= c->n_vocab, MD_ERR_ARGUMENT, "token %d is not in a vocabulary of %d tokens", token,
               c->n_vocab);
    const bool known = token < c->n_known && !c->ended;
    if (known && md_token_is_eog(c->tokenizer, token)) {
        MD_FAIL_IF(!may_end_with(c, token), MD_ERR_ARGUMENT, "the grammar does not let the answer end here");
        c->ended = true;
        return MD_OK;
    }
    md_gmatch *m = &c->match;
    const size_t depth = known ? read_text(c, token) : 1;
    if (known) {
        md_gmatch_token(m, 0, depth + 1, (uint32_t)token, true);
        md_gmatch_join(m, depth + 2);
    }
    MD_FAIL_IF(!known || m->path[depth + 2] == MD_GSTATE_DEAD, MD_ERR_ARGUMENT,
               "the grammar does not allow token %d here", token);
    m->path[0] = m->path[depth + 2];
    return MD_OK;
}
