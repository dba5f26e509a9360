/* SPDX-License-Identifier: Apache-2.0
 *
 * The merge loop of byte-pair encoding: the pair of lowest rank merges first, the leftmost of equals. Long words use a
 * linked list and a heap of candidate pairs, O(n log n) whatever the text; short words, nearly all of them, a scan of
 * an array that fits a few cache lines. Sennrich, Haddow, Birch, "Neural Machine Translation of Rare Words with Subword
 * Units", 2016; Kudo, Richardson, "SentencePiece", 2018. */
#include "text/tok.h"

#include "base/status.h"

#include <string.h>

void md_merge_scratch_done(md_merge_scratch *s)
{
    md_free(s->symbol);
    md_free(s->heap);
    *s = (md_merge_scratch){0};
}

md_status md_merge_reserve(md_merge_scratch *s, size_t n, md_error *err)
{
    if (n <= s->cap)
        return MD_OK;
    MD_FAIL_IF(n >= MD_NO_SYMBOL, MD_ERR_LIMIT, "a word of %zu bytes is too long to tokenize", n);
    const size_t cap = n + n / 2 < MD_NO_SYMBOL ? n + n / 2 : n;
    md_free(s->symbol);
    s->cap = 0;
    s->symbol = md_calloc(cap, sizeof *s->symbol);
    if (!s->symbol)
        return md_fail_memory(err, "tokenizing a long word");
    s->cap = cap;
    return MD_OK;
}

/* --- heap: smallest on top --- */

static void heap_push(md_merge_scratch *s, uint64_t key)
{
    size_t i = s->heap_n++;
    while (i > 0) {
        const size_t parent = (i - 1) / 2;
        if (s->heap[parent] <= key)
            break;
        s->heap[i] = s->heap[parent];
        i = parent;
    }
    s->heap[i] = key;
}

static uint64_t heap_pop(md_merge_scratch *s)
{
    const uint64_t top = s->heap[0];
    const uint64_t last = s->heap[--s->heap_n];
    size_t i = 0;
    for (size_t child; (child = 2 * i + 1) < s->heap_n; i = child) {
        if (child + 1 < s->heap_n && s->heap[child + 1] < s->heap[child])
            child++;
        if (s->heap[child] >= last)
            break;
        s->heap[i] = s->heap[child];
    }
    s->heap[i] = last;
    return top;
}

/* --- long words --- */

/* Unsigned numbers that fall as the scores rise. */
static uint32_t rank_of_score(float score)
{
    uint32_t bits;
    score += 0.0f; /* -0 is 0 */
    memcpy(&bits, &score, sizeof bits);
    return bits >> 31 ? bits : ~(bits | 0x80000000u);
}

/* What the bytes of two neighbours are called in a SentencePiece vocabulary decides what they become. */
static void spm_pair(const md_tokenizer *t, const char *word, md_symbol *a, const md_symbol *b)
{
    const size_t n = (size_t)a->n + b->n;
    if (n > t->max_piece)
        return;
    const int32_t id = md_string_table_find(&t->by_name, word + a->start, n);
    if (id < 0 || !md_tok_is_text(t, id))
        return;
    a->merged = id;
    a->rank = rank_of_score(t->score[id]);
}

/* Looks up what symbol i and its successor merge into, and queues it. */
static void queue_pair(const md_tokenizer *t, md_merge_scratch *s, const char *word, uint32_t i)
{
    md_symbol *a = &s->symbol[i];
    a->rank = MD_NO_RANK;
    if (a->next == MD_NO_SYMBOL)
        return;
    s->work++;
    const md_symbol *b = &s->symbol[a->next];
    if (t->kind == MD_TOK_SPM) {
        spm_pair(t, word, a, b);
    } else if (a->id >= 0 && b->id >= 0) {
        const md_merge *m = md_merge_table_find(&t->merges, a->id, b->id);
        if (m) {
            a->merged = m->id;
            a->rank = m->rank;
        }
    }
    if (a->rank != MD_NO_RANK)
        heap_push(s, (uint64_t)a->rank << 32 | i);
}

static void merge_at(const md_tokenizer *t, md_merge_scratch *s, const char *word, uint32_t i)
{
    md_symbol *a = &s->symbol[i];
    md_symbol *b = &s->symbol[a->next];
    a->id = a->merged;
    a->made = a->rank;
    a->n += b->n;
    b->rank = MD_NO_RANK;
    a->next = b->next;
    if (a->next != MD_NO_SYMBOL)
        s->symbol[a->next].prev = i;
    if (a->prev != MD_NO_SYMBOL)
        queue_pair(t, s, word, a->prev);
    queue_pair(t, s, word, i);
}

md_status md_merge_run(const md_tokenizer *t, md_merge_scratch *s, const char *word, size_t n, md_error *err)
{
    /* At most n - 1 pairs at first; each of at most n - 1 merges takes one out and puts two in. */
    if (s->heap_cap < 2 * n) {
        md_free(s->heap);
        s->heap_cap = 0;
        s->heap = md_calloc(n, 2 * sizeof *s->heap);
        if (!s->heap)
            return md_fail_memory(err, "tokenizing a long word");
        s->heap_cap = 2 * n;
    }
    s->heap_n = 0;
    for (size_t i = 0; i < n; i++) {
        s->symbol[i].prev = i ? (uint32_t)(i - 1) : MD_NO_SYMBOL;
        s->symbol[i].next = i + 1 < n ? (uint32_t)(i + 1) : MD_NO_SYMBOL;
        s->symbol[i].made = MD_NO_RANK;
    }
    for (size_t i = 0; i < n; i++)
        queue_pair(t, s, word, (uint32_t)i);
    while (s->heap_n) {
        const uint64_t top = heap_pop(s);
        const uint32_t i = (uint32_t)top;
        /* A pair whose halves have changed since it was queued has another rank now, or none. */
        if (s->symbol[i].rank == (uint32_t)(top >> 32))
            merge_at(t, s, word, i);
    }
    return MD_OK;
}

/* --- short words --- */

typedef struct short_pair {
    uint32_t rank;
    int32_t merged;
} short_pair;

static short_pair pair_of(const md_merge_table *merges, int32_t left, int32_t right)
{
    const md_merge *m = md_merge_table_find(merges, left, right);
    return m ? (short_pair){m->rank, m->id} : (short_pair){MD_NO_RANK, -1};
}

size_t md_merge_short(const md_merge_table *merges, int32_t *id, size_t n)
{
    short_pair pair[MD_MERGE_SHORT];
    for (size_t i = 0; i + 1 < n; i++)
        pair[i] = pair_of(merges, id[i], id[i + 1]);
    while (n > 1) {
        size_t best = 0;
        for (size_t i = 1; i + 1 < n; i++)
            if (pair[i].rank < pair[best].rank)
                best = i;
        if (pair[best].rank == MD_NO_RANK)
            break;
        id[best] = pair[best].merged;
        n--;
        memmove(id + best + 1, id + best + 2, (n - best - 1) * sizeof *id);
        if (best + 1 < n) {
            memmove(pair + best + 1, pair + best + 2, (n - best - 2) * sizeof *pair);
            pair[best] = pair_of(merges, id[best], id[best + 1]);
        }
        if (best > 0)
            pair[best - 1] = pair_of(merges, id[best - 1], id[best]);
    }
    return n;
}
