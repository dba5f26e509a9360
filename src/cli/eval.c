/* SPDX-License-Identifier: Apache-2.0
 *
 * `medley eval`: perplexity of a text (--text), or the logits (of an encoder, the hidden states) and expert choices of
 * given token ids (--token-ids), the form in which engines are compared. Output files appear whole or not at all. Keys and
 * values default to F32 here: what is measured is the model. */
#include "cli/cli.h"
#include "base/sys.h"

#include <inttypes.h>
#include <medley/eval.h>
#include <string.h>

/* Logits kept at once: enough to feed many rows, bounded for large vocabularies. */
#define LOGITS_BYTES ((int64_t)64 << 20)

static int32_t min_i32(int64_t a, int64_t b)
{
    return (int32_t)(a < b ? a : b);
}

/* A session for one sequence of n_positions. Every row of a step wants logits with --token-ids, `chunk` rows a step (0:
 * as many as fit well); with --text only some do. A model that is not causal takes all of the sequence in one step. */
static md_status open_session(md_cli *cli, const md_model *m, int32_t n_positions, int32_t chunk, md_session **out,
                              md_error *err)
{
    const md_options *o = cli->options;
    md_session_args args;
    md_session_args_default(m, &args);
    args.n_positions = n_positions;
    args.n_sequences = 1;
    args.kv_type = (md_kv_type)md_opt_int(o, MD_OPT_EVAL_KV_TYPE);
    if (md_opt_given(o, MD_OPT_THREADS))
        args.n_threads = (int32_t)md_opt_int(o, MD_OPT_THREADS);
    const md_model_info *info = md_model_get_info(m);
    args.hidden_only = !info->has_logits;
    const int64_t fit = LOGITS_BYTES / ((int64_t)info->n_vocab * (int64_t)sizeof(float) + 1);
    args.n_logits = min_i32(args.n_rows, fit > 1 ? fit : 1);
    /* Missing experts are left out of tokens that come alone: as in generation, those that are scored do. */
    if (chunk == 0 && !md_cli_is_exact(cli))
        chunk = 1;
    if (chunk > 0)
        args.n_logits = chunk;
    if (md_opt_given(o, MD_OPT_TOKEN_IDS))
        args.n_rows = args.n_logits;
    if (!info->causal)
        args.n_rows = args.n_logits = n_positions;
    args.n_rows = min_i32(args.n_rows, n_positions);
    args.n_logits = min_i32(args.n_logits, args.n_rows);
    return md_cli_open_session(cli, m, &args, out, err);
}

/* ---- --text ---- */

static bool on_window(void *user, const md_perplexity *p, int32_t n_total)
{
    return md_cli_bar_update(user, (uint64_t)p->n_windows, (uint64_t)n_total);
}

static md_status read_tokens(md_cli *cli, const md_model *m, md_tokens *ids, md_error *err)
{
    const md_tokenizer *tok;
    md_buf text = {0};
    MD_TRY(md_cli_need_tokenizer(m, &tok, err));
    md_status status = md_cli_read_all(md_opt_text(cli->options, MD_OPT_EVAL_TEXT), &text, err);
    if (status == MD_OK)
        status = md_tokenize(tok, text.data, text.len, MD_TOKENIZE_BOS, ids, err);
    md_buf_done(&text);
    if (status == MD_OK && md_opt_given(cli->options, MD_OPT_EVAL_MAX_TOKENS))
        ids->n = (size_t)min_i32((int64_t)ids->n, md_opt_int(cli->options, MD_OPT_EVAL_MAX_TOKENS));
    return status;
}

static md_status report_text(md_cli *cli, const md_perplexity *p, int32_t n_ctx, const md_session *s, const char *key,
                             md_error *err)
{
    char hash[17];
    md_stream_counts stream;
    md_session_stream_counts(s, &stream);
    snprintf(hash, sizeof hash, "%016" PRIx64, p->logits_hash);
    if (md_opt_flag(cli->options, MD_OPT_JSON))
        return md_cli_write_json(
            cli,
            md_cli_json_add_stream(json_pack("{s:f, s:f, s:f, s:I, s:i, s:i, s:f, s:s, s:s}", "perplexity",
                                             p->perplexity, "error", p->error, "nll", p->nll, "scored_tokens",
                                             (json_int_t)p->n_scored, "windows", (int)p->n_windows, "context",
                                             (int)n_ctx, "seconds", p->seconds, "logits_hash", hash, "numerics_key",
                                             key),
                                   &stream),
            err);
    md_cli_printf(cli, "perplexity %.4f +- %.4f over %" PRId64 " tokens in %d windows of %d\n", p->perplexity, p->error,
                  p->n_scored, (int)p->n_windows, (int)n_ctx);
    char memory[32];
    md_cli_note(cli, "%.1f s | peak memory %s | logits %s | %s", p->seconds,
                md_cli_bytes(memory, sizeof memory, md_sys_peak_rss()), hash, key);
    md_cli_show_stream(cli, &stream);
    return MD_OK;
}

/* The numerics key of a sequence with no mask, which is what the windows run with. */
static md_status plain_key(md_session *s, char *key, size_t n, md_error *err)
{
    md_seq *q = NULL;
    MD_TRY(md_seq_new(s, &q, err));
    md_seq_numerics_key(q, key, n);
    md_seq_free(q);
    return MD_OK;
}

static md_status eval_text(md_cli *cli, const md_model *m, md_error *err)
{
    const md_options *o = cli->options;
    const int32_t n_ctx = (int32_t)md_opt_int(o, MD_OPT_EVAL_CTX);
    const md_model_info *info = md_model_get_info(m);
    MD_FAIL_IF(
        !info->causal || !info->has_logits, MD_ERR_UNSUPPORTED,
        "'%s' is an encoder: every position sees what follows, so text has no perplexity under it; 'medley embed' "
        "makes vectors with it",
        info->arch);
    md_tokens ids = {0};
    md_session *s = NULL;
    md_cli_tracing tracing = {0};
    md_perplexity result;
    md_cli_bar bar;
    char key[256];
    md_status status;
    MD_FAIL_IF(md_opt_given(o, MD_OPT_EXPERTS_OFF) || md_opt_given(o, MD_OPT_EXPERTS_ON), MD_ERR_ARGUMENT,
               "--experts-off and --experts-on work with --token-ids, not with --text");
    MD_TRY_GOTO(read_tokens(cli, m, &ids, err));
    MD_TRY_GOTO(open_session(cli, m, n_ctx, 0, &s, err));
    MD_TRY_GOTO(md_cli_tracing_begin(cli, m, s, &tracing, err));
    MD_TRY_GOTO(plain_key(s, key, sizeof key, err));
    md_cli_bar_begin(&bar, cli, "scoring");
    status = md_eval_perplexity(s, ids.id, ids.n, n_ctx, on_window, &bar, &result, err);
    md_cli_bar_end(&bar);
    MD_TRY_GOTO(status);
    MD_TRY_GOTO(report_text(cli, &result, n_ctx, s, key, err));
fail:
    status = md_cli_tracing_end(&tracing, status, err);
    md_session_free(s);
    md_tokens_done(&ids);
    return status;
}

/* ---- --token-ids ---- */

/* What is written and hashed of a row: logits, or hidden states if the model has no logits. */
static int32_t row_width(const md_model_info *info)
{
    return info->has_logits ? info->n_vocab : info->n_embd;
}

typedef struct id_run {
    md_cli *cli;
    const md_model *model;
    md_session *session; /* owned */
    md_cli_tracing tracing;
    md_seq *seq;      /* owned by the session */
    md_tokens ids;    /* owned */
    md_out *logits;   /* owned; NULL: not wanted */
    md_out *routing;  /* owned; NULL: not wanted */
    md_buf *layer;    /* owned, [n_layer]: the text of "[[1, 2], [3, 4]" so far; NULL: not wanted */
    md_seq **row_seq; /* owned, [max rows] */
    uint8_t *want;    /* owned, [max rows] */
    uint64_t hash;
} id_run;

static int32_t layer_count(const id_run *r)
{
    return md_model_get_info(r->model)->n_layer;
}

static md_status open_id_run(id_run *r, md_error *err)
{
    const md_options *o = r->cli->options;
    const char *path = md_opt_text(o, MD_OPT_TOKEN_IDS);
    const int64_t chunk = md_opt_flag(o, MD_OPT_STEP) ? 1 : md_opt_int(o, MD_OPT_CHUNK);
    const md_model_info *info = md_model_get_info(r->model);
    MD_FAIL_IF(chunk > 0 && !info->causal, MD_ERR_ARGUMENT,
               "every position of this model sees the whole sequence, which is one step: leave out --%s",
               md_opt_flag(o, MD_OPT_STEP) ? "step" : "chunk");
    md_buf text = {0};
    md_status status = md_cli_read_all(path, &text, err);
    if (status == MD_OK)
        status = md_cli_parse_ids(text.data, text.len, path, md_model_get_info(r->model)->n_vocab, &r->ids, err);
    md_buf_done(&text);
    MD_TRY(status);
    MD_FAIL_IF(r->ids.n == 0, MD_ERR_ARGUMENT, "'%s' holds no token ids", path);
    MD_FAIL_IF(r->ids.n > 16777216, MD_ERR_LIMIT, "'%s' holds %zu token ids; at most 16777216 can be fed", path,
               r->ids.n);
    MD_TRY(open_session(r->cli, r->model, (int32_t)r->ids.n, (int32_t)chunk, &r->session, err));
    MD_TRY(md_cli_tracing_begin(r->cli, r->model, r->session, &r->tracing, err));
    MD_TRY(md_seq_new(r->session, &r->seq, err));
    MD_TRY(md_cli_mask_experts(r->cli, r->model, r->seq, err));
    if (md_opt_given(o, MD_OPT_LOGITS_OUT))
        MD_TRY(md_out_open(md_opt_text(o, MD_OPT_LOGITS_OUT), &r->logits, err));
    if (md_opt_given(o, MD_OPT_ROUTING_OUT)) {
        MD_TRY(md_out_open(md_opt_text(o, MD_OPT_ROUTING_OUT), &r->routing, err));
        r->layer = md_calloc((size_t)layer_count(r), sizeof *r->layer);
    }
    const size_t rows = (size_t)md_session_max_rows(r->session);
    r->row_seq = md_calloc(rows, sizeof(md_seq *));
    r->want = md_calloc(rows, sizeof *r->want);
    if (!r->row_seq || !r->want || (r->routing && !r->layer))
        return md_fail_memory(err, "the rows of a step");
    for (size_t i = 0; i < rows; i++) {
        r->row_seq[i] = r->seq;
        r->want[i] = (uint8_t)((info->has_logits ? MD_WANT_LOGITS : MD_WANT_HIDDEN) |
                               (r->routing ? MD_WANT_ROUTING : 0));
    }
    r->hash = MD_HASH_START;
    return MD_OK;
}

static void close_id_run(id_run *r)
{
    for (int32_t l = 0; r->layer && l < layer_count(r); l++)
        md_buf_done(&r->layer[l]);
    md_free(r->layer);
    md_out_close(r->logits);
    md_out_close(r->routing);
    md_session_free(r->session);
    md_tokens_done(&r->ids);
    md_free((void *)r->row_seq);
    md_free(r->want);
}

/* Adds the experts of one row to every routed layer's text; empty slots are left out. */
static void note_routing(id_run *r, int32_t row)
{
    for (int32_t l = 0; l < layer_count(r); l++) {
        const int32_t *expert;
        const float *weight;
        int32_t k;
        if (!md_step_routing(r->session, row, l, &expert, &weight, &k) || k == 0)
            continue;
        md_buf *b = &r->layer[l];
        md_buf_puts(b, b->len ? ", [" : "[[");
        bool first = true;
        for (int32_t i = 0; i < k; i++) {
            if (expert[i] < 0)
                continue;
            md_buf_printf(b, "%s%d", first ? "" : ", ", (int)expert[i]);
            first = false;
        }
        md_buf_putc(b, ']');
    }
}

static md_status take_rows(id_run *r, int32_t n, md_error *err)
{
    const md_model_info *info = md_model_get_info(r->model);
    const size_t width = (size_t)row_width(info);
    for (int32_t i = 0; i < n; i++) {
        const float *row = info->has_logits ? md_step_logits(r->session, i) : md_step_hidden(r->session, i);
        r->hash = md_logits_hash(r->hash, row, width);
        if (r->logits)
            MD_TRY(md_cli_write_f32(r->logits, row, width, err));
        if (r->layer)
            note_routing(r, i);
    }
    return MD_OK;
}

static md_status feed_all(id_run *r, md_error *err)
{
    md_cli_bar bar;
    md_cli_bar_begin(&bar, r->cli, "feeding");
    md_status status = MD_OK;
    const size_t rows = (size_t)md_session_max_rows(r->session);
    for (size_t at = 0; at < r->ids.n && status == MD_OK;) {
        const size_t left = r->ids.n - at;
        const int32_t n = (int32_t)(left < rows ? left : rows);
        const md_batch batch = {.n = n, .token = r->ids.id + at, .seq = r->row_seq, .want = r->want};
        status = md_decode(r->session, &batch, err);
        if (status == MD_OK)
            status = take_rows(r, n, err);
        at += (size_t)n;
        if (status == MD_OK && !md_cli_bar_update(&bar, at, r->ids.n))
            status = md_cli_cancelled(err);
    }
    md_cli_bar_end(&bar);
    return status;
}

static md_status write_routing(id_run *r, md_error *err)
{
    md_buf all = {0};
    md_buf_puts(&all, "{\"experts\": {");
    bool first = true;
    for (int32_t l = 0; l < layer_count(r); l++) {
        const md_buf *b = &r->layer[l];
        all.failed = all.failed || b->failed;
        if (b->len == 0)
            continue;
        md_buf_printf(&all, "%s\n\"%d\": ", first ? "" : ",", (int)l);
        md_buf_append(&all, b->data, b->len);
        md_buf_putc(&all, ']');
        first = false;
    }
    md_buf_puts(&all, "}}\n");
    const md_status status = all.failed ? md_fail_memory(err, "the expert choices")
                                        : md_out_write(r->routing, all.data, all.len, err);
    md_buf_done(&all);
    return status;
}

static md_status report_ids(id_run *r, double seconds, md_error *err)
{
    const md_model_info *info = md_model_get_info(r->model);
    char key[256], hash[17], memory[32];
    md_stream_counts stream;
    md_session_stream_counts(r->session, &stream);
    md_seq_numerics_key(r->seq, key, sizeof key);
    snprintf(hash, sizeof hash, "%016" PRIx64, r->hash);
    if (md_opt_flag(r->cli->options, MD_OPT_JSON))
        return md_cli_write_json(
            r->cli,
            md_cli_json_add_stream(json_pack("{s:I, s:i, s:f, s:s, s:s}", "tokens", (json_int_t)r->ids.n,
                                             info->has_logits ? "vocabulary" : "width", (int)row_width(info), "seconds",
                                             seconds, info->has_logits ? "logits_hash" : "hidden_hash", hash,
                                             "numerics_key", key),
                                   &stream),
            err);
    md_cli_note(r->cli, "%zu tokens, %.1f tokens/s | peak memory %s | %s %s | %s", r->ids.n,
                seconds > 0.0 ? (double)r->ids.n / seconds : 0.0,
                md_cli_bytes(memory, sizeof memory, md_sys_peak_rss()), info->has_logits ? "logits" : "hidden states",
                hash, key);
    md_cli_show_stream(r->cli, &stream);
    return MD_OK;
}

static md_status eval_ids(md_cli *cli, const md_model *m, md_error *err)
{
    id_run r = {.cli = cli, .model = m};
    md_status status;
    MD_TRY_GOTO(open_id_run(&r, err));
    const double began = md_sys_seconds();
    MD_TRY_GOTO(feed_all(&r, err));
    const double seconds = md_sys_seconds() - began;
    if (r.routing)
        MD_TRY_GOTO(write_routing(&r, err));
    if (r.logits)
        MD_TRY_GOTO(md_out_commit(r.logits, err));
    if (r.routing)
        MD_TRY_GOTO(md_out_commit(r.routing, err));
    MD_TRY_GOTO(report_ids(&r, seconds, err));
fail:
    status = md_cli_tracing_end(&r.tracing, status, err);
    close_id_run(&r);
    return status;
}

/* ---- together ---- */

static md_status check_choice(const md_options *o, md_error *err)
{
    static const md_option text_only[] = {MD_OPT_EVAL_CTX, MD_OPT_EVAL_MAX_TOKENS};
    static const md_option ids_only[] = {MD_OPT_LOGITS_OUT, MD_OPT_ROUTING_OUT, MD_OPT_CHUNK, MD_OPT_STEP};
    const bool text = md_opt_given(o, MD_OPT_EVAL_TEXT), ids = md_opt_given(o, MD_OPT_TOKEN_IDS);
    MD_FAIL_IF(text == ids, MD_ERR_ARGUMENT, "give either --text FILE or --token-ids FILE%s", text ? ", not both" : "");
    for (size_t i = 0; i < sizeof text_only / sizeof text_only[0]; i++)
        MD_FAIL_IF(ids && md_opt_given(o, text_only[i]), MD_ERR_ARGUMENT,
                   "--%s works with --text, not with --token-ids", md_option_get_spec(text_only[i])->name);
    for (size_t i = 0; i < sizeof ids_only / sizeof ids_only[0]; i++)
        MD_FAIL_IF(text && md_opt_given(o, ids_only[i]), MD_ERR_ARGUMENT,
                   "--%s works with --token-ids, not with --text", md_option_get_spec(ids_only[i])->name);
    MD_FAIL_IF(md_opt_flag(o, MD_OPT_STEP) && md_opt_given(o, MD_OPT_CHUNK), MD_ERR_ARGUMENT,
               "--step is --chunk 1: give one of them");
    return MD_OK;
}

md_status md_cli_eval(md_cli *cli, md_error *err)
{
    MD_TRY(check_choice(cli->options, err));
    md_cli_catch_interrupts();
    md_model *m = NULL;
    MD_TRY(md_cli_open_model(cli, &m, err));
    md_cli_show_notes(cli, m);
    const bool text = md_opt_given(cli->options, MD_OPT_EVAL_TEXT);
    md_status status = text ? eval_text(cli, m, err) : eval_ids(cli, m, err);
    if (status == MD_ERR_CANCELLED)
        status = md_cli_cancelled(err);
    md_model_close(m);
    return status;
}
