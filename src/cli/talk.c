/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/talk.h"
#include "cli/sampling.h"
#include "base/sys.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define NEARLY_FULL 8 /* positions left when an answer stops for turns to be dropped */

/* ---- opening ---- */

static md_status compile_template(md_talk *t, md_error *err)
{
    const md_options *o = t->cli->options;
    const char *given = md_opt_text(o, MD_OPT_TEMPLATE);
    if (md_opt_flag(o, MD_OPT_RAW))
        return MD_OK;
    if (given && strchr(given, '{'))
        return md_template_new(given, strlen(given), &t->template_, err);
    if (given) {
        md_buf source = {0};
        md_status status = md_cli_read_all(given, &source, err);
        if (status == MD_OK && md_template_new(source.data, source.len, &t->template_, err) != MD_OK)
            status = md_fail_within(err, MD_ERR_FORMAT, "'%s'", given);
        md_buf_done(&source);
        return status;
    }
    size_t n;
    const char *own = md_model_chat_template(t->model, &n);
    if (!own) {
        MD_FAIL_IF(md_opt_given(o, MD_OPT_SYSTEM), MD_ERR_ARGUMENT,
                   "--system needs a chat template, and the model has none: give --template");
        md_cli_note(t->cli, "note: the model has no chat template; it goes on from the text as it is");
        return MD_OK;
    }
    if (md_template_new(own, n, &t->template_, err) != MD_OK)
        return md_fail_within(err, MD_ERR_FORMAT, "the model's chat template (--raw or --template go without it)");
    return MD_OK;
}

static md_status open_session(md_talk *t, md_error *err)
{
    const md_options *o = t->cli->options;
    md_session_args args;
    md_session_args_default(t->model, &args);
    if (md_opt_given(o, MD_OPT_RUN_CTX))
        args.n_positions = (int32_t)md_opt_int(o, MD_OPT_RUN_CTX);
    if (md_opt_given(o, MD_OPT_THREADS))
        args.n_threads = (int32_t)md_opt_int(o, MD_OPT_THREADS);
    args.kv_type = (md_kv_type)md_opt_int(o, MD_OPT_RUN_KV_TYPE);
    args.n_sequences = 1;
    MD_TRY(md_cli_open_session(t->cli, t->model, &args, &t->session, err));
    MD_TRY(md_cli_tracing_begin(t->cli, t->model, t->session, &t->tracing, err));
    MD_TRY(md_cli_warm(t->cli, t->model, t->session, err));
    MD_TRY(md_cli_watch_open(t->cli, t->session, &t->watch, err));
    t->capacity = md_session_free_positions(t->session);
    MD_TRY(md_seq_new(t->session, &t->seq, err));
    return md_cli_mask_experts(t->cli, t->model, t->seq, err);
}

/* "ID=X" */
static md_status read_bias(const char *text, int32_t n_vocab, md_logit_bias *out, md_error *err)
{
    char *end = NULL;
    const bool digit = text[0] >= '0' && text[0] <= '9';
    errno = 0;
    const long id = digit ? strtol(text, &end, 10) : 0;
    const char *value = digit && *end == '=' ? end + 1 : NULL;
    char *tail = NULL;
    const float bias = value ? strtof(value, &tail) : 0.0f;
    MD_FAIL_IF(!value || tail == value || *tail != '\0' || isnan(bias), MD_ERR_ARGUMENT,
               "--logit-bias wants ID=X, such as 42=-1.5 or 42=-inf, not '%s'", text);
    MD_FAIL_IF(errno == ERANGE || id >= n_vocab, MD_ERR_ARGUMENT,
               "--logit-bias %s: there is no such token; the vocabulary has ids 0 to %d", text, (int)n_vocab - 1);
    *out = (md_logit_bias){.token = (int32_t)id, .bias = bias};
    return MD_OK;
}

static md_status pick_seed(const md_options *o, uint64_t *seed, md_error *err)
{
    if (md_opt_given(o, MD_OPT_RUN_SEED)) {
        *seed = (uint64_t)md_opt_int(o, MD_OPT_RUN_SEED);
        return MD_OK;
    }
    MD_FAIL_IF(getrandom(seed, sizeof *seed, 0) != (ssize_t)sizeof *seed, MD_ERR_IO,
               "the system gives no random number: give --seed");
    *seed &= 0xffffffffu; /* short enough to type again */
    return MD_OK;
}

static md_status open_sampler(md_talk *t, md_error *err)
{
    const md_options *o = t->cli->options;
    const md_option_value *biases = &o->value[MD_OPT_LOGIT_BIAS];
    const int32_t n_vocab = md_model_get_info(t->model)->n_vocab;
    md_sampler_args args;
    md_sampler_args_default(&args);
    MD_TRY(pick_seed(o, &args.seed, err));
    args.temperature = (float)md_opt_number(o, MD_OPT_TEMP);
    args.top_k = (int32_t)md_opt_int(o, MD_OPT_RUN_TOP_K);
    args.top_p = (float)md_opt_number(o, MD_OPT_TOP_P);
    args.min_p = (float)md_opt_number(o, MD_OPT_MIN_P);
    args.typical_p = (float)md_opt_number(o, MD_OPT_TYPICAL);
    args.repetition_penalty = (float)md_opt_number(o, MD_OPT_REPEAT_PENALTY);
    args.presence_penalty = (float)md_opt_number(o, MD_OPT_PRESENCE_PENALTY);
    args.frequency_penalty = (float)md_opt_number(o, MD_OPT_FREQUENCY_PENALTY);
    args.penalty_last = (int32_t)md_opt_int(o, MD_OPT_PENALTY_LAST);
    md_cli_read_sampling(o, t->tokenizer, &args);
    t->figures.seed = args.temperature > 0.0f ? (int64_t)args.seed : -1;
    md_logit_bias *bias = md_calloc(biases->n_list, sizeof *bias);
    if (!bias)
        return md_fail_memory(err, "the logit biases");
    md_status status = MD_OK;
    for (size_t i = 0; i < biases->n_list && status == MD_OK; i++)
        status = read_bias(biases->list[i], n_vocab, &bias[i], err);
    args.bias = bias;
    args.n_bias = biases->n_list;
    if (status == MD_OK)
        status = md_sampler_new(&args, n_vocab, &t->sampler, err);
    md_free(bias);
    return status;
}

/* ---- messages ---- */

md_status md_talk_push(md_talk *t, const char *role, const char *content, size_t n, md_error *err)
{
    const char *nul = memchr(content, '\0', n);
    MD_FAIL_IF(nul, MD_ERR_ARGUMENT,
               "the text holds a zero byte (at offset %zu), which no chat template can carry: use --raw",
               (size_t)(nul - content));
    char *copy = md_calloc(n + 1, 1);
    md_message *more = md_realloc(t->message, t->n_messages + 1, sizeof *more);
    if (more)
        t->message = more;
    if (!copy || !more) {
        md_free(copy);
        return md_fail_memory(err, "the conversation");
    }
    memcpy(copy, content, n);
    t->message[t->n_messages++] = (md_message){.role = role, .content = copy};
    return MD_OK;
}

/* A model may say a zero byte, which a message cannot hold: it is left out. */
static md_status push_answer(md_talk *t, md_error *err)
{
    md_buf said = {0};
    md_buf_append(&said, "", 0);
    for (size_t i = 0; i < t->answer.len; i++)
        if (t->answer.data[i])
            md_buf_putc(&said, t->answer.data[i]);
    const md_status status = said.failed ? md_fail_memory(err, "the conversation")
                                         : md_talk_push(t, "assistant", said.data, said.len, err);
    md_buf_done(&said);
    return status;
}

void md_talk_pop(md_talk *t, size_t keep)
{
    while (t->n_messages > keep)
        md_free((char *)(uintptr_t)t->message[--t->n_messages].content);
}

md_status md_talk_reset(md_talk *t, const char *system, md_error *err)
{
    const bool keeps_system = !system && t->n_messages > 0 && strcmp(t->message[0].role, "system") == 0;
    MD_TRY(md_seq_trim(t->seq, 0, err));
    t->past.n = 0;
    t->kept_from = 0;
    md_talk_pop(t, keeps_system ? 1 : 0);
    if (system && system[0])
        return md_talk_push(t, "system", system, strlen(system), err);
    return MD_OK;
}

static md_status need_answers(const md_model *m, md_error *err)
{
    const md_model_info *info = md_model_get_info(m);
    MD_FAIL_IF(!info->causal || !info->has_logits, MD_ERR_UNSUPPORTED,
               "'%s' is an encoder, which makes vectors of texts and does not answer: use 'medley embed'", info->arch);
    return MD_OK;
}

md_status md_talk_open(md_cli *cli, md_talk *t, md_error *err)
{
    const md_options *o = cli->options;
    const char *system = md_opt_text(o, MD_OPT_SYSTEM);
    *t = (md_talk){.cli = cli, .overflow = (md_talk_overflow)md_opt_int(o, MD_OPT_CTX_OVERFLOW)};
    MD_FAIL_IF(md_opt_flag(o, MD_OPT_RAW) && (system || md_opt_given(o, MD_OPT_TEMPLATE)), MD_ERR_ARGUMENT,
               "--raw goes without a chat template: --system and --template make no sense with it");
    MD_FAIL_IF(o->value[MD_OPT_STOP].n_list > 16, MD_ERR_ARGUMENT,
               "--stop was given %zu times; at most 16 are possible", o->value[MD_OPT_STOP].n_list);
    MD_FAIL_IF(system && md_opt_given(o, MD_OPT_LOAD), MD_ERR_ARGUMENT,
               "--load brings a conversation with its own system message: --system makes no sense with it");
    MD_TRY(md_cli_watch_check(cli, err));
    const double began = md_sys_seconds();
    md_status status;
    MD_TRY_GOTO(md_cli_open_model(cli, &t->model, err));
    md_cli_show_notes(cli, t->model);
    MD_TRY_GOTO(need_answers(t->model, err));
    MD_TRY_GOTO(md_cli_need_tokenizer(t->model, &t->tokenizer, err));
    MD_TRY_GOTO(compile_template(t, err));
    MD_TRY_GOTO(open_session(t, err));
    MD_TRY_GOTO(open_sampler(t, err));
    MD_TRY_GOTO(md_cli_open_constraint(o, t->tokenizer, md_model_get_info(t->model)->n_vocab, &t->grammar,
                                       &t->constraint, err));
    if (system)
        MD_TRY_GOTO(md_talk_reset(t, system, err));
    if (md_opt_given(o, MD_OPT_LOAD))
        MD_TRY_GOTO(md_talk_load(t, md_opt_text(o, MD_OPT_LOAD), err));
    t->figures.load_seconds = md_sys_seconds() - began;
    t->figures.n_threads = md_session_threads(t->session);
    return MD_OK;
fail:
    md_talk_close(t);
    return status;
}

void md_talk_close(md_talk *t)
{
    md_error err = {0};
    if (md_cli_tracing_end(&t->tracing, MD_OK, &err) != MD_OK)
        md_cli_complain(&err);
    md_cli_watch_close(t->watch);
    md_talk_pop(t, 0);
    md_free(t->message);
    md_buf_done(&t->answer);
    md_tokens_done(&t->said);
    md_free(t->file);
    md_tokens_done(&t->past);
    md_sampler_free(t->sampler);
    md_constraint_free(t->constraint);
    md_grammar_free(t->grammar);
    md_cli_keep_uses(t->cli, t->model, t->session);
    md_session_free(t->session);
    md_template_free(t->template_);
    md_model_close(t->model);
    *t = (md_talk){0};
}

const int32_t *md_talk_tokens(const md_talk *t)
{
    return t->said.id;
}

/* ---- asking ---- */

static bool on_text(void *user, const char *text, size_t n)
{
    md_talk *t = user;
    md_cli_bar_end(&t->bar);
    md_buf_append(&t->answer, text, n);
    if (t->stream && n) {
        md_cli_write_text(t->cli, text, n);
        t->last_byte = text[n - 1];
    }
    /* Stopping here, between two pieces, lets the answer go on as if nothing had been; a full context could end it in
     * the middle of a character. */
    t->overflowed = md_seq_length(t->seq) + NEARLY_FULL >= t->capacity && md_talk_can_drop(t);
    return !t->overflowed && !t->answer.failed && t->cli->out_error == 0 && !md_cli_interrupted();
}

static bool on_prompt(void *user, size_t done, size_t total)
{
    md_talk *t = user;
    return t->watch ? md_cli_interrupted() == 0 : md_cli_bar_update(&t->bar, done, total);
}

static md_status generate(md_talk *t, const int32_t *prompt, size_t n, md_error *err)
{
    const md_options *o = t->cli->options;
    const md_generate_args args = {
        .prompt = prompt,
        .n_prompt = n,
        .max_tokens = md_opt_given(o, MD_OPT_RUN_MAX_TOKENS)
                          ? (int32_t)(md_opt_int(o, MD_OPT_RUN_MAX_TOKENS) - (int64_t)t->said.n)
                          : -1,
        .sampler = t->sampler,
        .constraint = t->constraint,
        .stop = o->value[MD_OPT_STOP].list,
        .n_stop = o->value[MD_OPT_STOP].n_list,
        .special = md_opt_flag(o, MD_OPT_RUN_SPECIAL),
        .ignore_eog = md_opt_flag(o, MD_OPT_IGNORE_EOG),
        .on_text = on_text,
        .on_prompt = on_prompt,
        .user = t,
    };
    md_cli_bar_begin(&t->bar, t->cli, "reading the prompt");
    if (t->watch)
        md_cli_watch_begin(t->watch, (int64_t)n);
    const md_status status = md_generate(t->seq, &args, &t->result, err);
    if (t->watch)
        md_cli_watch_end(t->watch);
    md_cli_bar_end(&t->bar);
    MD_TRY(status);
    return t->answer.failed ? md_fail_memory(err, "the answer") : MD_OK;
}

/* Feeds what of `all` the sequence does not hold, and answers. */
static md_status answer(md_talk *t, const md_tokens *all, md_error *err)
{
    const size_t held = (size_t)md_seq_length(t->seq);
    size_t shared = 0;
    while (shared < held && shared < t->past.n && shared + 1 < all->n && all->id[shared] == t->past.id[shared])
        shared++;
    if (md_seq_trim(t->seq, (int32_t)shared, NULL) != MD_OK) { /* not every state can go back */
        shared = 0;
        MD_TRY(md_seq_trim(t->seq, 0, err));
    }
    md_sampler_reset(t->sampler);
    for (size_t i = 0; i < shared; i++)
        md_sampler_accept(t->sampler, all->id[i]);
    if (t->constraint) { /* anew for every answer; the tokens said so far come first where turns were dropped */
        md_constraint_reset(t->constraint);
        for (size_t i = 0; i < t->said.n; i++)
            MD_TRY(md_constraint_accept(t->constraint, t->said.id[i], err));
    }
    return generate(t, all->id + shared, all->n - shared, err);
}

/* How many tokens of a piece of an answer say what was shown of it, n_shown bytes: the others were held back, and would
 * be said again. What the last one says beyond that is shown now. */
static md_status settle_piece(md_talk *t, const int32_t *id, size_t n, size_t n_shown, size_t *n_said, md_error *err)
{
    md_detok *d = md_detok_new(t->tokenizer, md_opt_flag(t->cli->options, MD_OPT_RUN_SPECIAL), false);
    md_buf text = {0};
    md_status status = d ? MD_OK : md_fail_memory(err, "the answer");
    const char *piece;
    size_t piece_n;
    *n_said = 0;
    while (status == MD_OK && text.len < n_shown && *n_said < n) {
        if (id[*n_said] >= md_tokenizer_size(t->tokenizer)) { /* padding of the vocabulary has no text */
            ++*n_said;
            continue;
        }
        status = md_detok_push(d, id[(*n_said)++], &piece, &piece_n, err);
        if (status == MD_OK)
            md_buf_append(&text, piece, piece_n);
    }
    if (status == MD_OK && text.len > n_shown)
        on_text(t, text.data + n_shown, text.len - n_shown);
    md_buf_done(&text);
    md_detok_free(d);
    return status;
}

/* One piece of the answer: what md_generate makes in one go. */
static md_status answer_piece(md_talk *t, md_tokens *all, md_error *err)
{
    const md_generate_result before = t->result;
    const size_t shown = t->answer.len;
    t->overflowed = false;
    MD_TRY(answer(t, all, err));
    t->fed = true;
    const int32_t *id = md_generated_tokens(t->seq);
    size_t n = (size_t)t->result.n_generated;
    if (t->overflowed)
        MD_TRY(settle_piece(t, id, n, t->answer.len - shown, &n, err));
    t->overflowed |= t->result.finish == MD_FINISH_CONTEXT && md_talk_can_drop(t);
    for (size_t i = 0; i < n; i++) {
        MD_TRY(md_tokens_push(&t->said, id[i], err));
        MD_TRY(md_tokens_push(all, id[i], err));
    }
    t->result.n_prompt += before.n_prompt;
    t->result.n_generated = (int32_t)t->said.n;
    t->result.prompt_seconds += before.prompt_seconds;
    t->result.generate_seconds += before.generate_seconds;
    return MD_OK;
}

static bool said_enough(const md_talk *t)
{
    const md_options *o = t->cli->options;
    return md_opt_given(o, MD_OPT_RUN_MAX_TOKENS) && t->said.n >= (size_t)md_opt_int(o, MD_OPT_RUN_MAX_TOKENS);
}

/* The whole answer: drops turns and goes on as often as the context fills. `all` becomes prompt and answer. */
static md_status answer_all(md_talk *t, md_tokens *all, md_error *err)
{
    for (;;) {
        MD_TRY(answer_piece(t, all, err));
        if (!t->overflowed || md_cli_interrupted())
            break;
        if (said_enough(t)) {
            t->result.finish = MD_FINISH_LENGTH;
            break;
        }
        MD_TRY(md_talk_shrink(t, 1, all, err));
        MD_TRY(md_seq_trim(t->seq, 0, err)); /* it held what was dropped */
        t->result.finish = MD_FINISH_CONTEXT;
        if (all->n + NEARLY_FULL >= (size_t)t->capacity)
            break;
    }
    MD_FAIL_IF(t->overflow == MD_TALK_ERROR && t->result.finish == MD_FINISH_CONTEXT, MD_ERR_LIMIT,
               "the context of %d tokens is full after %d tokens of the answer: give more with --ctx", (int)t->capacity,
               (int)t->result.n_generated);
    return MD_OK;
}

static void count(md_talk *t)
{
    const md_generate_result *r = &t->result;
    md_cli_figures *f = &t->figures;
    f->n_prompt += r->n_prompt;
    f->n_generated += r->n_generated;
    f->prompt_seconds += r->prompt_seconds;
    f->generate_seconds += r->generate_seconds;
    f->logits_hash = r->logits_hash;
    md_session_stream_counts(t->session, &f->stream);
    md_seq_numerics_key(t->seq, f->numerics_key, sizeof f->numerics_key);
}

static void begin_answer(md_talk *t)
{
    md_buf_reset(&t->answer);
    t->result = (md_generate_result){0};
    t->said.n = 0;
    t->n_dropped = 0;
    t->last_byte = '\0';
    t->fed = false;
}

md_status md_talk_ask(md_talk *t, const char *text, size_t n, md_error *err)
{
    const size_t n_messages = t->n_messages, kept_from = t->kept_from;
    md_tokens all = {0};
    md_status status;
    begin_answer(t);
    if (t->template_)
        MD_TRY_GOTO(md_talk_push(t, "user", text, n, err));
    MD_TRY_GOTO(md_talk_prompt(t, text, n, &all, err));
    MD_TRY_GOTO(answer_all(t, &all, err));
    count(t);
    if (t->template_)
        MD_TRY_GOTO(push_answer(t, err));
    md_tokens_done(&t->past);
    t->past = all;
    return MD_OK;
fail:
    md_talk_pop(t, n_messages);
    t->kept_from = kept_from;
    if (t->fed) {                                               /* the sequence holds what was not said */
        const md_status emptied = md_seq_trim(t->seq, 0, NULL); /* this much can always be forgotten */
        (void)emptied;
    }
    md_tokens_done(&all);
    return status;
}
