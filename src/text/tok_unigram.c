/* SPDX-License-Identifier: Apache-2.0
 *
 * SentencePiece unigram: text is normalised, then cut into the pieces whose scores have the greatest sum (Viterbi), the
 * first found of equals. A character that no piece can say costs more than any piece; a run of such becomes byte tokens
 * or one unknown token. Where no piece crosses a mark, words are cut one by one, which is the same. Kudo, "Subword
 * Regularization", 2018. */
#include "text/tok.h"

#include "base/status.h"
#include "base/utf8.h"

#include <float.h>
#include <string.h>

#define UNKNOWN   (-1)
#define UNREACHED (-2)

#define UNKNOWN_PENALTY 10.0 /* below the worst score, as SentencePiece has it */
#define REPLACEMENT     "\xef\xbf\xbd"
#define MAX_PIECE       1024 /* bytes; bounds the work on a text by the text whatever the vocabulary */

md_status md_unigram_init(md_tokenizer *t, const md_vocab *v, md_error *err)
{
    double worst = DBL_MAX;
    t->merge_spaces = v->merge_spaces > 0;
    MD_TRY(md_charsmap_init(&t->charsmap, v->charsmap, v->charsmap ? v->charsmap_bytes : 0, err));
    MD_TRY(md_trie_init(&t->pieces, (size_t)t->n_tokens, err));
    for (int32_t i = 0; i < t->n_tokens; i++) {
        size_t n;
        const char *name = md_strings_at(&t->name, (size_t)i, &n);
        if (t->type[i] == MD_TOKEN_NORMAL && t->score[i] < worst)
            worst = t->score[i];
        if (n > 0 && n <= MAX_PIECE && md_tok_is_text(t, i))
            MD_TRY(md_trie_add(&t->pieces, MD_TRIE_ROOT, name, n, i, err));
    }
    t->unk_score = (worst < DBL_MAX ? worst : 0) - UNKNOWN_PENALTY;
    return MD_OK;
}

/* --- normalising --- */

/* What the text at i becomes: *to[0..*n_to). Returns how many bytes that takes. */
static size_t normal_form(const md_tokenizer *t, const char *s, size_t n, const char **to, size_t *n_to)
{
    const size_t replaced = md_charsmap_match(&t->charsmap, s, n, to, n_to);
    if (replaced)
        return replaced;
    uint32_t cp;
    const int valid = md_utf8_decode(s, n, &cp);
    *to = valid ? s : REPLACEMENT;
    *n_to = valid ? (size_t)valid : strlen(REPLACEMENT);
    return valid ? (size_t)valid : 1;
}

static bool is_space(const char *s, size_t n)
{
    return n == 1 && *s == ' ';
}

/* Fills e->escaped. */
static md_status normalize(md_encoder *e, const char *s, size_t n, bool prefix, md_error *err)
{
    const bool merge = e->t->merge_spaces;
    bool begun = false, after_space = merge;
    md_escaped_reset(e);
    for (size_t i = 0, len; i < n; i += len) {
        const char *to;
        size_t n_to;
        len = normal_form(e->t, s + i, n - i, &to, &n_to);
        if (!begun && merge && is_space(to, n_to))
            continue;
        if (!begun && prefix)
            md_escaped_put(e, MD_SPACE_MARK, 3, i, i);
        begun = true;
        for (; after_space && n_to > 0 && *to == ' '; n_to--)
            to++;
        for (size_t k = 0; k < n_to; k++)
            md_escaped_put(e, to[k] == ' ' ? MD_SPACE_MARK : to + k, to[k] == ' ' ? 3 : 1, i, i + len);
        if (n_to > 0)
            after_space = merge && to[n_to - 1] == ' ';
        e->work += len;
    }
    while (merge && e->escaped.len >= 3 && memcmp(e->escaped.data + e->escaped.len - 3, MD_SPACE_MARK, 3) == 0)
        e->escaped.len -= 3; /* their spans stay behind, unused */
    return md_escaped_check(e, err);
}

/* --- the best path --- */

static md_status reserve_path(md_encoder *e, size_t n, md_error *err)
{
    MD_FAIL_IF(n >= UINT32_MAX, MD_ERR_LIMIT, "a text of %zu bytes is too long to tokenize", n);
    if (n < e->path_cap)
        return MD_OK;
    md_free(e->path);
    e->path_cap = 0;
    e->path = md_calloc(n + n / 2 + 1, sizeof *e->path);
    if (!e->path)
        return md_fail_memory(err, "tokenizing a long text");
    e->path_cap = n + n / 2 + 1;
    return MD_OK;
}

/* Offers a piece [from, to) for the best path to `to`. */
static void offer(md_path_node *path, uint32_t from, size_t to, int32_t id, double score)
{
    const double sum = path[from].score + score;
    if (path[to].id == UNREACHED || sum > path[to].score)
        path[to] = (md_path_node){.score = sum, .id = id, .from = from};
}

/* Offers every piece that begins with the character at i, or else the unknown token for it. */
static void offer_pieces(md_encoder *e, const char *s, size_t n, size_t i, size_t char_bytes)
{
    const md_tokenizer *t = e->t;
    bool says_char = false;
    uint32_t node = MD_TRIE_ROOT;
    size_t k = i;
    while (k < n) {
        node = md_trie_step(&t->pieces, node, (unsigned char)s[k++]);
        if (node == MD_TRIE_NONE)
            break;
        const int32_t id = t->pieces.id[node];
        if (id < 0)
            continue;
        offer(e->path, (uint32_t)i, k, id, t->type[id] == MD_TOKEN_USER_DEFINED ? 0.0 : (double)t->score[id]);
        says_char = says_char || k - i == char_bytes;
    }
    e->work += k - i;
    if (!says_char)
        offer(e->path, (uint32_t)i, i + char_bytes, UNKNOWN, t->unk_score);
}

/* Turns the links of the best path around: afterwards path[i] is the piece that begins at i, and `from` its end. */
static void reverse(md_path_node *path, size_t n)
{
    uint32_t at = (uint32_t)n;
    md_path_node piece = path[n];
    while (at > 0) {
        const uint32_t from = piece.from;
        const md_path_node before = path[from];
        path[from] = (md_path_node){.id = piece.id, .from = at};
        piece = before;
        at = from;
    }
}

/* Tokens of s[0..n), n > 0: valid UTF-8 in e->escaped. */
static md_status best_path(md_encoder *e, const char *s, size_t n, md_error *err)
{
    MD_TRY(reserve_path(e, n, err));
    md_path_node *path = e->path;
    for (size_t i = 0; i <= n; i++)
        path[i] = (md_path_node){.id = UNREACHED};
    for (size_t i = 0, len; i < n; i += len) {
        uint32_t cp;
        const int valid = md_utf8_decode(s + i, n - i, &cp);
        len = valid ? (size_t)valid : 1; /* a hostile normalisation may hold anything */
        offer_pieces(e, s, n, i, len);
    }
    reverse(path, n);
    for (size_t i = 0, end; i < n; i = end) {
        end = path[i].from;
        if (path[i].id != UNKNOWN) {
            MD_TRY(md_emit(e, path[i].id, s + i, end - i, MD_TOKEN_CHOSEN, MD_NO_RANK, err));
            continue;
        }
        while (end < n && path[end].id == UNKNOWN)
            end = path[end].from;
        MD_TRY(md_emit_fallback(e, s + i, end - i, err));
    }
    return MD_OK;
}

md_status md_encode_unigram(md_encoder *e, const char *text, size_t n, bool prefix, md_error *err)
{
    MD_TRY(normalize(e, text, n, prefix, err));
    e->piece++;
    const size_t all = e->escaped.len;
    for (size_t i = 0, len; i < all; i += len) {
        len = e->t->spaces_lead ? md_marked_word(e->escaped.data + i, all - i) : all - i;
        MD_TRY(best_path(e, e->escaped.data + i, len, err));
    }
    return MD_OK;
}
