/* SPDX-License-Identifier: Apache-2.0
 *
 * `medley batch`: the answers to a file of requests, in a journal until all are there (src/serve/batch_run.h). */
#include "cli/cli.h"
#include "base/sys.h"
#include "serve/batch_answer.h"
#include "serve/batch_hash.h"

#include <inttypes.h>
#include <medley/version.h>
#include <string.h>

typedef struct batch {
    md_cli *cli;
    const char *in_path, *out_path;
    char *journal_path; /* owned */
    md_batch_input in;
    md_model *model; /* owned, as all below */
    md_session *session;
    md_server *server;
    md_buf template_;
    char *name;
    md_journal *journal;
    md_batch_model *engine;
    md_scheduler_args scheduler;
    int32_t context;
    size_t resumed; /* answers that the journal had */
    md_cli_bar bar;
    char label[96];
    double began, seconds; /* of answering */
} batch;

/* ---- beginning ---- */

static md_status read_names(batch *b, md_error *err)
{
    const md_options *o = b->cli->options;
    b->in_path = md_opt_text(o, MD_OPT_BATCH_IN);
    b->out_path = md_opt_text(o, MD_OPT_BATCH_OUT);
    MD_FAIL_IF(!b->in_path, MD_ERR_ARGUMENT, "no input was named: give -i FILE");
    MD_FAIL_IF(!b->out_path, MD_ERR_ARGUMENT, "no output was named: give -o FILE");
    md_buf path = {0};
    md_buf_printf(&path, "%s.journal", b->out_path);
    const char *given = md_opt_text(o, MD_OPT_JOURNAL);
    b->journal_path = path.failed ? NULL : md_strdup(given ? given : path.data);
    md_buf_done(&path);
    if (!b->journal_path)
        return md_fail_memory(err, "the journal's name");
    MD_FAIL_IF(strcmp(b->journal_path, b->out_path) == 0 || strcmp(b->journal_path, b->in_path) == 0, MD_ERR_ARGUMENT,
               "--journal is the input or the output: name another file");
    /* who goes on was let to replace the output when the journal was begun */
    if (!md_journal_exists(b->journal_path) || md_opt_flag(o, MD_OPT_RESTART))
        return md_cli_check_output(b->cli, b->in_path, b->out_path, err);
    return MD_OK;
}

static md_status open_session(batch *b, md_error *err)
{
    const md_options *o = b->cli->options;
    md_session_args args;
    int64_t bound;
    MD_TRY(md_cli_memory(b->cli, &bound, err));
    const uint64_t all = md_sys_free_memory(), own = md_sys_rss();
    const uint64_t allowed = bound > 0 ? (uint64_t)bound > own ? (uint64_t)bound - own : 0 : all / 2;
    const md_kv_type kv_type = (md_kv_type)md_opt_int(o, MD_OPT_RUN_KV_TYPE);
    const md_batch_wish wish = {
        .running = md_opt_given(o, MD_OPT_BATCH_PARALLEL) ? (int32_t)md_opt_int(o, MD_OPT_BATCH_PARALLEL) : 0,
        .context = md_opt_given(o, MD_OPT_SERVE_CTX) ? (int32_t)md_opt_int(o, MD_OPT_SERVE_CTX) : 0,
        .kv_type = md_opt_given(o, MD_OPT_RUN_KV_TYPE) ? &kv_type : NULL,
        .free_bytes = allowed < all ? allowed : all};
    MD_TRY(md_batch_plan(b->model, &b->in, &wish, &b->scheduler, &args, err));
    if (md_opt_given(o, MD_OPT_THREADS))
        args.n_threads = (int32_t)md_opt_int(o, MD_OPT_THREADS);
    b->context = args.n_context > 0 ? args.n_context : args.n_positions;
    MD_TRY(md_cli_open_session(b->cli, b->model, &args, &b->session, err));
    MD_TRY(md_cli_warm(b->cli, b->model, b->session, err));
    const md_server_args server = {.model = b->model,
                                   .session = b->session,
                                   .scheduler = &b->scheduler,
                                   .name = b->name,
                                   .template_ = b->template_.data,
                                   .n_template = b->template_.len,
                                   .n_context = b->context};
    return md_server_new_silent(&server, &b->server, err);
}

/* --template, or the model's own. */
static md_status read_template(batch *b, md_error *err)
{
    const char *given = md_opt_text(b->cli->options, MD_OPT_TEMPLATE);
    if (given && !strchr(given, '{'))
        return md_cli_read_all(given, &b->template_, err);
    size_t n = 0;
    const char *own = given ? given : md_model_chat_template(b->model, &n);
    if (own)
        md_buf_append(&b->template_, own, given ? strlen(given) : n);
    return b->template_.failed ? md_fail_memory(err, "the chat template") : MD_OK;
}

/* Everything but model and input that answers depend on. */
static md_status put_settings(const batch *b, md_buf *text, md_error *err)
{
    char key[256];
    md_seq *q;
    MD_TRY(md_seq_new(b->session, &q, err));
    md_seq_numerics_key(q, key, sizeof key);
    md_seq_free(q);
    const uint64_t form = md_batch_hash(MD_BATCH_HASH_START, b->template_.data, b->template_.len);
    md_buf_printf(text, "medley %s, %s, context %d, template %016" PRIx64 ", named %s", md_version(), key,
                  (int)b->context, form, b->name);
    return text->failed ? md_fail_memory(err, "the settings") : MD_OK;
}

static md_status open_journal(batch *b, md_error *err)
{
    char model[32];
    md_buf settings = {0};
    snprintf(model, sizeof model, "%016" PRIx64, md_model_get_identity(b->model));
    md_status status = put_settings(b, &settings, err);
    const md_journal_about about = {.input_hash = b->in.hash,
                                    .input_bytes = b->in.bytes,
                                    .n_lines = b->in.n,
                                    .model = model,
                                    .settings = settings.data,
                                    .created = b->in.changed};
    if (status == MD_OK)
        status = md_journal_open(b->journal_path, &about, md_opt_flag(b->cli->options, MD_OPT_RESTART), &b->journal,
                                 err);
    md_buf_done(&settings);
    MD_TRY(status);
    b->resumed = md_journal_n(b->journal);
    if (b->resumed > 0)
        md_cli_note(b->cli, "going on: %zu of %zu requests are answered in '%s'", b->resumed, b->in.n, b->journal_path);
    return MD_OK;
}

static md_status open_all(batch *b, md_error *err)
{
    const md_options *o = b->cli->options;
    MD_TRY(read_names(b, err));
    MD_TRY(md_batch_input_open(b->in_path, &b->in, err));
    b->name = md_opt_given(o, MD_OPT_ALIAS) ? md_strdup(md_opt_text(o, MD_OPT_ALIAS))
                                            : md_cli_model_name(o->operand[0]);
    if (!b->name)
        return md_fail_memory(err, "the model's name");
    MD_TRY(md_cli_open_model(b->cli, &b->model, err));
    md_cli_show_notes(b->cli, b->model);
    MD_TRY(read_template(b, err));
    MD_TRY(open_session(b, err));
    MD_TRY(open_journal(b, err));
    return md_batch_model_new(&(md_batch_model_args){.server = b->server,
                                                     .session = b->session,
                                                     .scheduler = &b->scheduler,
                                                     .created = md_journal_created(b->journal)},
                              &b->engine, err);
}

/* ---- answering ---- */

static bool progress(void *user, size_t done, size_t total)
{
    batch *b = user;
    md_scheduler_counts c;
    md_batch_model_counts(b->engine, &c);
    const double seconds = md_sys_seconds() - b->began;
    const double tokens = (double)(c.prompt_tokens + c.cached_tokens + c.answer_tokens);
    snprintf(b->label, sizeof b->label, "%zu of %zu requests, %.0f tokens/s", done, total,
             seconds > 0.0 ? tokens / seconds : 0.0);
    /* what the journal had costs no time, and says nothing of the time that is left */
    return md_cli_bar_update(&b->bar, done - b->resumed, total - b->resumed);
}

static md_status answer(batch *b, md_error *err)
{
    const md_batch_engine engine = md_batch_model_engine(b->engine);
    const md_batch_run_args args = {
        .in = &b->in, .journal = b->journal, .engine = &engine, .progress = progress, .progress_user = b};
    md_cli_bar_begin(&b->bar, b->cli, b->label);
    b->began = md_sys_seconds();
    const md_status status = md_batch_run(&args, err);
    b->seconds = md_sys_seconds() - b->began;
    md_cli_bar_end(&b->bar);
    if (status != MD_OK)
        md_cli_note(b->cli, "%zu of %zu requests are answered and kept in '%s': the same command goes on from there",
                    md_journal_n(b->journal), b->in.n, b->journal_path);
    return status == MD_ERR_CANCELLED ? md_cli_cancelled(err) : status;
}

static md_status finish(batch *b, md_error *err)
{
    MD_TRY(md_batch_write(&b->in, b->journal, b->out_path, err));
    md_journal *j = b->journal;
    b->journal = NULL;
    if (!md_opt_flag(b->cli->options, MD_OPT_KEEP_JOURNAL))
        return md_journal_remove(j, err);
    md_journal_close(j);
    return MD_OK;
}

/* ---- what was done ---- */

static double per_second(const batch *b, uint64_t tokens)
{
    return b->seconds > 0.0 ? (double)tokens / b->seconds : 0.0;
}

static md_status report(batch *b, size_t failed, md_error *err)
{
    md_scheduler_counts c;
    md_stream_counts stream;
    md_batch_model_counts(b->engine, &c);
    md_session_stream_counts(b->session, &stream);
    const uint64_t prompt = c.prompt_tokens + c.cached_tokens, all = prompt + c.answer_tokens;
    if (md_opt_flag(b->cli->options, MD_OPT_JSON))
        return md_cli_write_json(
            b->cli,
            json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:f, s:f, s:f, s:I, s:I, s:I}", "lines", (json_int_t)b->in.n,
                      "ok", (json_int_t)(b->in.n - failed), "failed", (json_int_t)failed, "resumed_lines",
                      (json_int_t)b->resumed, "prompt_tokens", (json_int_t)prompt, "cached_tokens",
                      (json_int_t)c.cached_tokens, "answer_tokens", (json_int_t)c.answer_tokens, "seconds", b->seconds,
                      "tokens_per_second", per_second(b, all), "answer_tokens_per_second",
                      per_second(b, c.answer_tokens), "steps", (json_int_t)c.steps, "parallel",
                      (json_int_t)b->scheduler.n_running, "expert_bytes_read", (json_int_t)stream.bytes),
            err);
    md_cli_note(b->cli, "%zu requests: %zu answered, %zu refused; %zu of them were in the journal", b->in.n,
                b->in.n - failed, failed, b->resumed);
    md_cli_note(b->cli,
                "%" PRIu64 " prompt tokens (%" PRIu64 " from the cache), %" PRIu64
                " answer tokens, %.1f s, %.1f tokens/s, up to %d at once",
                prompt, c.cached_tokens, c.answer_tokens, b->seconds, per_second(b, all), (int)b->scheduler.n_running);
    md_cli_show_stream(b->cli, &stream);
    return MD_OK;
}

static md_status run(batch *b, md_error *err)
{
    MD_TRY(open_all(b, err));
    MD_TRY(answer(b, err));
    const size_t failed = md_journal_n_failed(b->journal);
    MD_TRY(finish(b, err));
    return report(b, failed, err);
}

md_status md_cli_batch(md_cli *cli, md_error *err)
{
    batch b = {.cli = cli, .in.file.fd = -1};
    md_cli_catch_interrupts();
    const md_status status = run(&b, err);
    md_batch_model_free(b.engine);
    md_journal_close(b.journal);
    md_server_free(b.server);
    md_cli_keep_uses(cli, b.model, b.session);
    md_session_free(b.session);
    md_model_close(b.model);
    md_batch_input_close(&b.in);
    md_buf_done(&b.template_);
    md_free(b.name);
    md_free(b.journal_path);
    return status;
}
