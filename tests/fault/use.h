/* SPDX-License-Identifier: Apache-2.0
 *
 * What a program does with a model from opening to an answer, folded into one number: the prompt through the chat
 * template and the tokenizer, a session, two sequences that share their past, a step, a generated answer. */
#ifndef MD_TEST_FAULT_USE_H
#define MD_TEST_FAULT_USE_H

#include "support/fixtures.h"

#include "base/status.h"
#include <medley/chat.h>
#include <medley/engine.h>
#include <medley/generate.h>
#include <medley/sample.h>
#include <string.h>

/* The `fail:` way: every function frees what it took, whatever happened. */
#define TRY(call)            \
    do {                     \
        status = (call);     \
        if (status != MD_OK) \
            goto done;       \
    } while (0)

static inline uint64_t fold(uint64_t hash, const void *bytes, size_t n)
{
    const unsigned char *p = bytes;
    for (size_t i = 0; i < n; i++)
        hash = (hash ^ p[i]) * 0x100000001b3ull;
    return hash;
}

static inline md_status prompt_of(const md_model *m, md_tokens *out, md_error *err)
{
    static const md_message messages[] = {{"system", "Be kind."}, {"user", "Hello, 12 \xc3\xa4pfel!\n"}};
    const md_tokenizer *t = md_model_tokenizer(m);
    md_template *template = NULL;
    md_rendered text = {0};
    size_t n;
    const char *source = md_model_chat_template(m, &n);
    md_status status = MD_OK;
    if (!t || !source)
        return MD_OK; /* nothing in, nothing out: the caller's number tells */
    const md_chat_args args = {.message = messages,
                               .n_messages = 2,
                               .add_generation_prompt = true,
                               .bos_token = "",
                               .eos_token = "",
                               .extra_json = "{\"tools\": [{\"name\": \"f\", \"x\": [1, 2.5, null, true]}]}"};
    TRY(md_template_new(source, n, &template, err));
    TRY(md_template_render(template, &args, &text, err));
    TRY(md_rendered_tokenize(&text, t, out, err));
done:
    md_rendered_done(&text);
    md_template_free(template);
    return status;
}

static inline md_status show_answer(const md_tokenizer *t, const int32_t *id, int32_t n, uint64_t *hash, md_error *err)
{
    const char *text;
    size_t bytes;
    md_status status = MD_OK;
    md_detok *d = md_detok_new(t, true, false);
    if (!d)
        return md_fail_memory(err, "the text of an answer");
    for (int32_t i = 0; i < n; i++) {
        TRY(md_detok_push(d, id[i], &text, &bytes, err));
        *hash = fold(*hash, text, bytes);
    }
done:
    md_detok_free(d);
    return status;
}

/* A step on a sequence whose past another one shares, so that pages are copied. */
static inline md_status step_on_fork(md_session *s, const md_seq *q, uint64_t *hash, md_error *err)
{
    const int32_t token = 5;
    md_seq *fork = NULL;
    md_snapshot *past = NULL;
    md_status status;
    TRY(md_seq_snapshot(q, &past, err));
    TRY(md_seq_fork(q, &fork, err));
    TRY(md_decode(s, &(md_batch){.n = 1, .token = &token, .seq = &fork}, err));
    *hash = fold(*hash, md_step_logits(s, 0), 4 * sizeof(float));
    TRY(md_seq_restore(fork, past, err));
done:
    md_seq_free(fork);
    md_snapshot_free(past);
    return status;
}

static inline md_status answer(md_session *s, md_seq *q, const md_tokens *prompt, uint64_t *hash, md_error *err)
{
    const md_model *m = md_session_model(s);
    md_sampler_args args;
    md_sampler *sampler = NULL;
    md_generate_result r;
    md_status status;
    md_sampler_args_default(&args);
    TRY(md_sampler_new(&args, md_model_get_info(m)->n_vocab, &sampler, err));
    const md_generate_args g = {.prompt = prompt->id,
                                .n_prompt = prompt->n,
                                .max_tokens = 3,
                                .sampler = sampler,
                                .stop = (const char *const[]){"stop"},
                                .n_stop = 1,
                                .ignore_eog = true};
    TRY(md_generate(q, &g, &r, err));
    *hash = fold(*hash, &r.logits_hash, sizeof r.logits_hash);
    TRY(show_answer(md_model_tokenizer(m), md_generated_tokens(q), r.n_generated, hash, err));
done:
    md_sampler_free(sampler);
    return status;
}

/* *hash stays 0 if the model cannot say anything. */
static inline md_status use_model(const md_model *m, int32_t n_threads, uint64_t *hash, md_error *err)
{
    md_session_args args;
    md_session *s = NULL;
    md_seq *q = NULL;
    md_tokens prompt = {0};
    md_status status;
    TRY(prompt_of(m, &prompt, err));
    if (prompt.n == 0)
        goto done;
    md_session_args_default(m, &args);
    args.n_threads = n_threads;
    args.n_positions = 256;
    args.n_rows = 16;
    args.most_slots = 3; /* if experts are streamed */
    TRY(md_session_new(m, &args, &s, err));
    TRY(md_seq_new(s, &q, err));
    *hash = fold(1, prompt.id, prompt.n * sizeof *prompt.id);
    TRY(answer(s, q, &prompt, hash, err));
    TRY(step_on_fork(s, q, hash, err));
done:
    md_seq_free(q);
    md_session_free(s);
    md_tokens_done(&prompt);
    return status;
}

static inline md_status open_and_use(const char *path, md_stream stream, int32_t n_threads, uint64_t *hash,
                                     md_error *err)
{
    const md_model_args args = {.stream = stream};
    md_model *m = NULL;
    md_status status;
    TRY(md_model_open(path, &args, &m, err));
    TRY(use_model(m, n_threads, hash, err));
done:
    md_model_close(m);
    return status;
}

#endif
