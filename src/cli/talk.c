/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/talk.h"
#include "base/sys.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

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

static md_status push_message(md_talk *t, const char *role, const char *content, size_t n, md_error *err)
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
                                         : push_message(t, "assistant", said.data, said.len, err);
    md_buf_done(&said);
    return status;
}

static void pop_messages(md_talk *t, size_t keep)
{
    while (t->n_messages > keep)
        md_free((char *)(uintptr_t)t->message[--t->n_messages].content);
}

md_status md_talk_reset(md_talk *t, const char *system, md_error *err)
{
    const bool keeps_system = !system && t->n_messages > 0 && strcmp(t->message[0].role, "system") == 0;
    MD_TRY(md_seq_trim(t->seq, 0, err));
    t->past.n = 0;
    pop_messages(t, keeps_system ? 1 : 0);
    if (system && system[0])
        return push_message(t, "system", system, strlen(system), err);
    return MD_OK;
}

md_status md_talk_open(md_cli *cli, md_talk *t, md_error *err)
{
    const md_options *o = cli->options;
    const char *system = md_opt_text(o, MD_OPT_SYSTEM);
    *t = (md_talk){.cli = cli};
    MD_FAIL_IF(md_opt_flag(o, MD_OPT_RAW) && (system || md_opt_given(o, MD_OPT_TEMPLATE)), MD_ERR_ARGUMENT,
               "--raw goes without a chat template: --system and --template make no sense with it");
    MD_FAIL_IF(o->value[MD_OPT_STOP].n_list > 16, MD_ERR_ARGUMENT,
               "--stop was given %zu times; at most 16 are possible", o->value[MD_OPT_STOP].n_list);
    const double began = md_sys_seconds();
    md_status status;
    MD_TRY_GOTO(md_cli_open_model(cli, &t->model, err));
    md_cli_show_notes(cli, t->model);
    MD_TRY_GOTO(md_cli_need_tokenizer(t->model, &t->tokenizer, err));
    MD_TRY_GOTO(compile_template(t, err));
    MD_TRY_GOTO(open_session(t, err));
    MD_TRY_GOTO(open_sampler(t, err));
    if (system)
        MD_TRY_GOTO(md_talk_reset(t, system, err));
    t->figures.load_seconds = md_sys_seconds() - began;
    t->figures.n_threads = md_session_threads(t->session);
    return MD_OK;
fail:
    md_talk_close(t);
    return status;
}

void md_talk_close(md_talk *t)
{
    pop_messages(t, 0);
    md_free(t->message);
    md_buf_done(&t->answer);
    md_tokens_done(&t->past);
    md_sampler_free(t->sampler);
    md_session_free(t->session);
    md_template_free(t->template_);
    md_model_close(t->model);
    *t = (md_talk){0};
}

const int32_t *md_talk_tokens(const md_talk *t)
{
    return md_generated_tokens(t->seq);
}

/* ---- asking ---- */

/* A token's text as a C string; "" for none. Freed by the caller; NULL when memory is out. */
static char *token_name(const md_tokenizer *tok, int32_t id)
{
    size_t n = 0;
    const char *bytes = id >= 0 ? md_token_bytes(tok, id, &n) : NULL;
    char *name = md_calloc(n + 1, 1);
    if (name && n)
        memcpy(name, bytes, n);
    return name;
}

/* All tokens of the conversation with an opening for the answer. */
static md_status render(md_talk *t, md_tokens *out, md_error *err)
{
    char *bos = token_name(t->tokenizer, md_token_bos(t->tokenizer));
    char *eos = token_name(t->tokenizer, md_token_eos(t->tokenizer));
    md_status status = MD_OK;
    md_rendered r = {0};
    if (!bos || !eos) {
        status = md_fail_memory(err, "the conversation");
    } else {
        const md_chat_args args = {.message = t->message,
                                   .n_messages = t->n_messages,
                                   .add_generation_prompt = true,
                                   .bos_token = bos,
                                   .eos_token = eos,
                                   .now = (int64_t)time(NULL)};
        status = md_template_render(t->template_, &args, &r, err);
        if (status == MD_ERR_ARGUMENT) /* what the template itself objects to */
            status = md_fail_within(err, status, "the chat template refuses");
        if (status == MD_OK)
            status = md_rendered_tokenize(&r, t->tokenizer, out, err);
    }
    md_rendered_done(&r);
    md_free(bos);
    md_free(eos);
    return status;
}

/* The conversation so far and the new text behind it. */
static md_status append_raw(md_talk *t, const char *text, size_t n, md_tokens *out, md_error *err)
{
    for (size_t i = 0; i < t->past.n; i++)
        MD_TRY(md_tokens_push(out, t->past.id[i], err));
    /* Names of special tokens count only where the user asked for the raw form, not where a template is missing. */
    const unsigned special = md_opt_flag(t->cli->options, MD_OPT_RAW) ? (unsigned)MD_TOKENIZE_SPECIAL : 0u;
    MD_TRY(md_tokenize(t->tokenizer, text, n, special | (unsigned)(t->past.n ? MD_TOKENIZE_INNER : MD_TOKENIZE_BOS),
                       out, err));
    MD_FAIL_IF(out->n == 0, MD_ERR_ARGUMENT, "the prompt is empty: there is nothing to go on from");
    return MD_OK;
}

static bool on_text(void *user, const char *text, size_t n)
{
    md_talk *t = user;
    md_cli_bar_end(&t->bar);
    md_buf_append(&t->answer, text, n);
    if (t->stream && n) {
        md_cli_write_text(t->cli, text, n);
        t->last_byte = text[n - 1];
    }
    return !t->answer.failed && t->cli->out_error == 0 && !md_cli_interrupted();
}

static bool on_prompt(void *user, size_t done, size_t total)
{
    md_talk *t = user;
    return md_cli_bar_update(&t->bar, done, total);
}

static md_status generate(md_talk *t, const int32_t *prompt, size_t n, md_error *err)
{
    const md_options *o = t->cli->options;
    const md_generate_args args = {
        .prompt = prompt,
        .n_prompt = n,
        .max_tokens = md_opt_given(o, MD_OPT_RUN_MAX_TOKENS) ? (int32_t)md_opt_int(o, MD_OPT_RUN_MAX_TOKENS) : -1,
        .sampler = t->sampler,
        .stop = o->value[MD_OPT_STOP].list,
        .n_stop = o->value[MD_OPT_STOP].n_list,
        .special = md_opt_flag(o, MD_OPT_RUN_SPECIAL),
        .ignore_eog = md_opt_flag(o, MD_OPT_IGNORE_EOG),
        .on_text = on_text,
        .on_prompt = on_prompt,
        .user = t,
    };
    md_buf_reset(&t->answer);
    t->last_byte = '\0';
    md_cli_bar_begin(&t->bar, t->cli, "reading the prompt");
    const md_status status = md_generate(t->seq, &args, &t->result, err);
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
    MD_TRY(md_seq_trim(t->seq, (int32_t)shared, err));
    md_sampler_reset(t->sampler);
    for (size_t i = 0; i < shared; i++)
        md_sampler_accept(t->sampler, all->id[i]);
    return generate(t, all->id + shared, all->n - shared, err);
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
    md_seq_numerics_key(t->seq, f->numerics_key, sizeof f->numerics_key);
}

/* What the conversation consists of after an answer. `all` moves into t. */
static md_status remember(md_talk *t, md_tokens *all, md_error *err)
{
    const int32_t *id = md_talk_tokens(t);
    for (int32_t i = 0; i < t->result.n_generated; i++)
        MD_TRY(md_tokens_push(all, id[i], err));
    if (t->template_)
        MD_TRY(push_answer(t, err));
    const md_tokens old = t->past;
    t->past = *all;
    *all = old;
    return MD_OK;
}

md_status md_talk_ask(md_talk *t, const char *text, size_t n, md_error *err)
{
    const size_t n_messages = t->n_messages;
    md_tokens all = {0};
    md_status status;
    if (t->template_) {
        MD_TRY_GOTO(push_message(t, "user", text, n, err));
        MD_TRY_GOTO(render(t, &all, err));
    } else {
        MD_TRY_GOTO(append_raw(t, text, n, &all, err));
    }
    MD_TRY_GOTO(answer(t, &all, err));
    count(t);
    MD_TRY_GOTO(remember(t, &all, err));
    md_tokens_done(&all);
    return MD_OK;
fail:
    pop_messages(t, n_messages);
    md_tokens_done(&all);
    return status;
}
