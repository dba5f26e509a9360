/* SPDX-License-Identifier: Apache-2.0
 *
 * Perplexity as the public engines measure it by default: windows without overlap, each starting anew, and in a window of
 * n tokens those at n/2 + 1 .. n - 1 scored. Log likelihoods are summed in double in the order of the ids, with the
 * engine's own exp and log: the figure is as reproducible as the logits. */
#include <medley/eval.h>

#include "base/mathd.h"
#include "base/mem.h"
#include "base/status.h"
#include "base/sys.h"
#include "model/session.h"
#include "run/logprob.h"

#include <math.h>

#define MIN_CTX 8 /* scores 3 tokens; with fewer the error bar of a single window would mean nothing */

typedef struct scoring {
    md_session *session;
    md_seq *q; /* owned */
    const int32_t *tokens;
    int32_t n_ctx, first; /* rows first .. n_ctx - 2 of a window are scored */
    int32_t n_rows, n_logits;
    int32_t bos; /* -1: windows keep their first token */
    size_t n_vocab;
    int32_t *window;            /* owned, [n_ctx] */
    md_seq **seq;               /* owned, [n_rows] */
    uint8_t *want;              /* owned, [n_rows] */
    double sum, sum_of_squares; /* of negative log likelihoods */
    double start;
    md_perplexity so_far;
} scoring;

static md_status score_row(scoring *sc, int32_t batch_row, int32_t row, md_error *err)
{
    const float *logits = md_step_logits(sc->session, batch_row);
    const double nll = md_log_sum(logits, sc->n_vocab) - (double)logits[sc->window[row + 1]];
    MD_FAIL_IF(
        !(nll < INFINITY), MD_ERR_FORMAT,
        "window %d, position %d: the next token's likelihood is not a number above 0: the model's weights are broken",
        sc->so_far.n_windows, row);
    sc->sum += nll;
    sc->sum_of_squares += nll * nll;
    sc->so_far.n_scored++;
    sc->so_far.logits_hash = md_logits_hash(sc->so_far.logits_hash, logits, sc->n_vocab);
    return MD_OK;
}

/* Runs sc->window from an empty sequence. Its last token is only a target. */
static md_status score_window(scoring *sc, md_error *err)
{
    const int32_t n = sc->n_ctx - 1;
    for (int32_t row = 0; row < n;) {
        const bool scored = row >= sc->first;
        const int32_t end = scored ? n : sc->first, most = scored ? sc->n_logits : sc->n_rows;
        const int32_t n_now = end - row < most ? end - row : most;
        for (int32_t i = 0; i < n_now; i++)
            sc->want[i] = scored ? MD_WANT_LOGITS : 0;
        const md_batch b = {.n = n_now, .token = sc->window + row, .seq = sc->seq, .want = sc->want};
        MD_TRY(md_decode(sc->session, &b, err));
        for (int32_t i = 0; scored && i < n_now; i++)
            MD_TRY(score_row(sc, i, row + i, err));
        row += n_now;
    }
    return md_seq_trim(sc->q, 0, err);
}

static void take_stock(scoring *sc)
{
    md_perplexity *p = &sc->so_far;
    const double n = (double)p->n_scored;
    p->n_windows++;
    p->nll = sc->sum / n;
    p->perplexity = md_exp_d(p->nll);
    const double variance = sc->sum_of_squares / n - p->nll * p->nll;
    p->error = variance > 0.0 ? p->perplexity * sqrt(variance / (n - 1.0)) : 0.0;
    p->seconds = md_sys_seconds() - sc->start;
}

static md_status prepare(scoring *sc, size_t n_tokens, md_error *err)
{
    MD_FAIL_IF(sc->n_ctx < MIN_CTX, MD_ERR_ARGUMENT, "a window of %d tokens is too short to score; give at least %d",
               sc->n_ctx, MIN_CTX);
    MD_FAIL_IF(n_tokens < (size_t)sc->n_ctx, MD_ERR_ARGUMENT,
               "the text has %zu tokens, but one window needs %d: give a longer text or a smaller context", n_tokens,
               sc->n_ctx);
    const int32_t free_positions = md_session_free_positions(sc->session), most = sc->session->args.n_context;
    const int32_t room = free_positions < most ? free_positions : most; /* pages may hold more than was asked for */
    MD_FAIL_IF(room < sc->n_ctx, MD_ERR_LIMIT, "a window needs %d positions, but the session has %d free", sc->n_ctx,
               room);
    const md_model *model = md_session_model(sc->session);
    const md_model_info *info = md_model_get_info(model);
    MD_FAIL_IF(
        !info->causal || !info->has_logits || sc->session->args.hidden_only, MD_ERR_UNSUPPORTED,
        "text has no perplexity under '%s' here: it takes a model whose positions see only what comes before, and "
        "logits",
        info->arch);
    const md_tokenizer *t = md_model_tokenizer(model);
    sc->n_vocab = (size_t)info->n_vocab;
    for (size_t i = 0; i < n_tokens; i++)
        MD_FAIL_IF(sc->tokens[i] < 0 || (size_t)sc->tokens[i] >= sc->n_vocab, MD_ERR_ARGUMENT,
                   "token %zu is %d, but the model has tokens 0 to %zu", i, sc->tokens[i], sc->n_vocab - 1);
    sc->bos = t && md_tokenizer_adds_bos(t) ? md_token_bos(t) : -1;
    sc->first = sc->n_ctx / 2;
    sc->n_rows = md_session_max_rows(sc->session);
    sc->n_logits = sc->session->args.n_logits;
    sc->window = md_calloc((size_t)sc->n_ctx, sizeof *sc->window);
    sc->seq = md_calloc((size_t)sc->n_rows, sizeof(md_seq *));
    sc->want = md_calloc((size_t)sc->n_rows, 1);
    if (!sc->window || !sc->seq || !sc->want)
        return md_fail_memory(err, "a perplexity measurement");
    MD_TRY(md_seq_new(sc->session, &sc->q, err));
    for (int32_t i = 0; i < sc->n_rows; i++)
        sc->seq[i] = sc->q;
    return MD_OK;
}

md_status md_eval_perplexity(md_session *s, const int32_t *tokens, size_t n_tokens, int32_t n_ctx,
                             md_perplexity_fn *on_window, void *user, md_perplexity *out, md_error *err)
{
    *out = (md_perplexity){0};
    scoring sc = {.session = s, .tokens = tokens, .n_ctx = n_ctx, .so_far = {.logits_hash = MD_HASH_START}};
    md_status status;
    MD_TRY_GOTO(prepare(&sc, n_tokens, err));
    const size_t n_windows = n_tokens / (size_t)n_ctx;
    sc.start = md_sys_seconds();
    for (size_t w = 0; w < n_windows; w++) {
        for (int32_t i = 0; i < n_ctx; i++)
            sc.window[i] = tokens[w * (size_t)n_ctx + (size_t)i];
        if (sc.bos >= 0)
            sc.window[0] = sc.bos;
        MD_TRY_GOTO(score_window(&sc, err));
        take_stock(&sc);
        if (on_window && !on_window(user, &sc.so_far, (int32_t)n_windows)) {
            status = md_fail(err, MD_ERR_CANCELLED, "measuring was stopped after %zu of %zu windows", w + 1, n_windows);
            goto fail;
        }
    }
    *out = sc.so_far;
fail:
    md_seq_free(sc.q);
    md_free(sc.window);
    md_free(sc.seq);
    md_free(sc.want);
    return status;
}
