/* SPDX-License-Identifier: Apache-2.0
 *
 * From logits to text, token by token. */
#include "run/answer.h"

#include "base/status.h"
#include "run/sample.h"

#include <medley/engine.h>

md_status md_answer_check(const int32_t *prompt, size_t n, int32_t max_tokens, int32_t n_vocab, md_error *err)
{
    MD_FAIL_IF(n == 0 || !prompt, MD_ERR_ARGUMENT, "the prompt is empty; give at least 1 token");
    MD_FAIL_IF(max_tokens < -1, MD_ERR_ARGUMENT, "the most tokens to make is %d; give 0 or more, or -1 for no bound",
               max_tokens);
    for (size_t i = 0; i < n; i++)
        MD_FAIL_IF(prompt[i] < 0 || prompt[i] >= n_vocab, MD_ERR_ARGUMENT,
                   "prompt token %zu is %d, but the model has tokens 0 to %d", i, prompt[i], n_vocab - 1);
    return MD_OK;
}

md_status md_answer_init(md_answer *a, const md_answer_args *args, int32_t n_vocab, md_error *err)
{
    *a = (md_answer){.args = *args, .n_vocab = (size_t)n_vocab, .hash = MD_HASH_START};
    MD_TRY(md_stop_init(&a->stop, args->stop, args->n_stop, args->on_text, args->user, err));
    if (args->tokenizer) {
        a->detok = md_detok_new(args->tokenizer, args->special, false);
        if (!a->detok)
            return md_fail_memory(err, "an answer");
    }
    return MD_OK;
}

void md_answer_done(md_answer *a)
{
    md_detok_free(a->detok);
    a->detok = NULL;
}

static md_finish finish_of(md_stop_verdict v, md_finish otherwise)
{
    return v == MD_STOP_FOUND ? MD_FINISH_STOP : v == MD_STOP_REFUSED ? MD_FINISH_CANCELLED : otherwise;
}

static md_status show(md_answer *a, int32_t token, md_stop_verdict *verdict, md_error *err)
{
    *verdict = MD_STOP_GO_ON;
    /* Vocabularies may be padded beyond the tokenizer's: such tokens have no text. */
    if (!a->detok || token >= md_tokenizer_size(a->args.tokenizer))
        return MD_OK;
    const char *text;
    size_t n;
    MD_TRY(md_detok_push(a->detok, token, &text, &n, err));
    *verdict = md_stop_feed(&a->stop, text, n);
    return MD_OK;
}

md_status md_answer_end(md_answer *a, md_finish finish, md_error *err)
{
    md_stop_verdict verdict = MD_STOP_GO_ON;
    if (a->detok) {
        const char *text;
        size_t n;
        MD_TRY(md_detok_finish(a->detok, &text, &n, err));
        verdict = md_stop_feed(&a->stop, text, n);
        if (verdict == MD_STOP_GO_ON)
            verdict = md_stop_finish(&a->stop);
    }
    a->finish = finish_of(verdict, finish);
    a->over = true;
    return MD_OK;
}

/* *done: by the constraint there is no next token. */
static md_status choose(md_answer *a, const float *logits, int32_t pos, int32_t *token, bool *done, md_error *err)
{
    md_constraint *c = a->args.constraint;
    *done = c && md_constraint_must_end(c);
    if (!c || *done)
        return *done ? MD_OK : md_sample(a->args.sampler, logits, pos, token, err);
    const uint32_t *mask = md_constraint_mask(c);
    bool any = false;
    for (size_t i = 0; i < (a->n_vocab + 31) / 32 && !any; i++)
        any = mask[i] != 0;
    const bool limited = md_constraint_limited(c);
    MD_FAIL_IF(
        !any, limited ? MD_ERR_LIMIT : MD_ERR_FORMAT,
        limited ? "after %d tokens of the answer the grammar goes on only beyond its limits on depth or "
                  "alternatives: make it simpler"
                : "after %d tokens of the answer the grammar allows none of the model's tokens: its vocabulary lacks "
                  "a character that the grammar asks for",
        (int)a->n);
    return md_sample_masked(a->args.sampler, logits, mask, pos, token, err);
}

/* Does this token end the answer? With a constraint it always does: it was allowed only where the grammar may end. */
static bool ends(const md_answer *a, int32_t token)
{
    const md_answer_args *g = &a->args;
    return g->tokenizer && (!g->ignore_eog || g->constraint) && md_token_is_eog(g->tokenizer, token);
}

md_status md_answer_next(md_answer *a, const float *logits, int32_t pos, int32_t *token, md_error *err)
{
    *token = -1;
    if (a->args.hash)
        a->hash = md_logits_hash(a->hash, logits, a->n_vocab);
    if (a->n == a->args.max_tokens)
        return md_answer_end(a, MD_FINISH_LENGTH, err);
    int32_t next = -1;
    bool done;
    MD_TRY(choose(a, logits, pos, &next, &done, err));
    if (done || ends(a, next))
        return md_answer_end(a, done ? MD_FINISH_GRAMMAR : MD_FINISH_EOG, err);
    if (a->args.constraint)
        MD_TRY(md_constraint_accept(a->args.constraint, next, err));
    md_sampler_accept(a->args.sampler, next);
    *token = next;
    a->n++;
    md_stop_verdict verdict;
    MD_TRY(show(a, next, &verdict, err));
    if (verdict != MD_STOP_GO_ON) {
        a->finish = finish_of(verdict, MD_FINISH_CANCELLED);
        a->over = true;
        return MD_OK;
    }
    return a->n == a->args.max_tokens ? md_answer_end(a, MD_FINISH_LENGTH, err) : MD_OK;
}
