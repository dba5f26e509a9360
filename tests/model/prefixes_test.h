/* SPDX-License-Identifier: Apache-2.0
 *
 * What tests of kept prefixes share: a model of each kind of past, and what an undisturbed run of a text gives. */
#ifndef MD_TEST_MODEL_PREFIXES_TEST_H
#define MD_TEST_MODEL_PREFIXES_TEST_H

#include "model/prefixes.h"
#include "model/recurrent_models.h"
#include "model/session.h"

enum { N = 200, N_POSITIONS = 16 * MD_TILE };

#define SMALL .n_layer = 2, .n_embd = 32, .n_head = 2, .n_ff = 32, .n_vocab = 300, .n_ctx = 512

/* Pasts that are keys and values alone: of all positions, of a window, latent, by round of a recursion. Then states: of routers with
 * a capacity, and of the mixers of recurrent_models.h. */
static const md_synth_spec attending[] = {
    {.arch = "qwen3moe", SMALL, .n_expert = 4, .seed = 3},
    {.arch = "gpt-oss", SMALL, .n_expert = 4, .window = 12, .seed = 4},
    {.arch = "deepseek2", SMALL, .n_expert = 4, .seed = 5},
    {.arch = "medley-moe", SMALL, .n_expert = 4, .router = "recursion", .seed = 6},
    {.arch = "medley-moe", SMALL, .n_expert = 4, .router = "rmoe", .seed = 7},
    {.arch = "medley-moe", SMALL, .n_expert = 4, .router = "capacity-drop", .seed = 8},
};
enum { N_ATTENDING = sizeof attending / sizeof *attending, N_KINDS = N_ATTENDING + N_MODELS };

static md_model *subject[N_KINDS];
static char kind_path[N_KINDS][600]; /* their files stay while tests run */
static int32_t prompt[N];            /* tokens that all models have */

static inline bool has_state(int k)
{
    return subject[k]->spec.state_floats > 0;
}

static inline md_model *open_kind(int k)
{
    md_model *m;
    OK(md_model_open(kind_path[k], NULL, &m, err));
    return m;
}

static inline int open_kinds(void **state)
{
    (void)state;
    for (int k = 0; k < N_KINDS; k++) {
        char name[32];
        snprintf(name, sizeof name, "prefixes-%d.gguf", k);
        snprintf(kind_path[k], sizeof kind_path[k], "%s", temp_path(name));
        if (k < N_ATTENDING)
            OK(md_synth_write(&attending[k], kind_path[k], err));
        else
            write_model(&models[k - N_ATTENDING], kind_path[k]);
        subject[k] = open_kind(k);
    }
    fill_tokens(prompt, N, N_VOCAB, 1);
    assert_true(!has_state(0) && !has_state(1) && !has_state(2) && has_state(5) && has_state(N_KINDS - 1));
    return 0;
}

static inline int close_kinds(void **state)
{
    (void)state;
    for (int k = 0; k < N_KINDS; k++) {
        md_model_close(subject[k]);
        unlink(kind_path[k]);
    }
    return 0;
}

/* prompt, but another token at each of [from, N). */
static inline void part_from(int32_t *token, int from)
{
    for (int i = 0; i < N; i++)
        token[i] = i < from ? prompt[i] : (prompt[i] + 1 + i % 7) % N_VOCAB;
}

static inline md_session *session_with(const md_model *m, int32_t positions, int32_t sequences)
{
    md_session_args args;
    md_session *s;
    md_session_args_default(m, &args);
    args.n_threads = 1;
    args.n_positions = positions;
    args.n_context = positions < 4 * MD_TILE ? positions : 4 * MD_TILE;
    args.n_rows = args.n_logits = N;
    args.n_sequences = sequences;
    OK(md_session_new(m, &args, &s, err));
    return s;
}

static inline md_session *session_of(int k)
{
    return session_with(subject[k], N_POSITIONS, 8);
}

static inline md_seq *seq_of(md_session *s)
{
    md_seq *q;
    OK(md_seq_new(s, &q, err));
    return q;
}

static inline md_prefixes *prefixes_of(md_session *s)
{
    md_prefixes *p;
    OK(md_prefixes_new(s, &(md_prefixes_args){.state_bytes = 1 << 24}, &p, err));
    return p;
}

/* Tokens [from, to), in one step; the hash of the logits of each goes to rows[from..to). */
static inline void feed(md_session *s, md_seq *q, const int32_t *token, int from, int to, uint64_t *rows)
{
    md_seq *seq[N];
    uint8_t want[N];
    if (from >= to)
        return;
    for (int i = 0; i < to - from; i++) {
        seq[i] = q;
        want[i] = MD_WANT_LOGITS;
    }
    OK(md_decode(s, &(md_batch){.n = to - from, .token = token + from, .seq = seq, .want = want}, err));
    for (int i = from; i < to && rows; i++)
        rows[i] = md_logits_hash(MD_HASH_START, md_step_logits(s, i - from), (size_t)s->model->spec.n_vocab);
}

/* [from, to) as a scheduler runs it: where there are states, a step ends at each page's border, and what there is is kept. */
static inline void feed_and_keep(md_prefixes *p, md_seq *q, const char *client, const int32_t *token, int to,
                                 uint64_t *rows)
{
    md_session *s = md_seq_session(q);
    for (int at = md_seq_length(q); at < to;) {
        const int border = (at / MD_TILE + 1) * MD_TILE;
        const int end = s->model->spec.state_floats > 0 && border < to ? border : to;
        feed(s, q, token, at, end, rows);
        md_prefixes_add(p, q, client, token, (size_t)end);
        at = end;
    }
}

/* What a session that keeps nothing gives. */
static inline void expected_rows(const md_model *m, const int32_t *token, int n, uint64_t *rows)
{
    md_session *s = session_with(m, 4 * MD_TILE, 1);
    feed(s, seq_of(s), token, 0, n, rows);
    md_session_free(s);
}

static inline int32_t take(md_prefixes *p, md_seq *q, const char *client, const int32_t *token, int n)
{
    int32_t taken;
    const int32_t foretold = md_prefixes_match(p, q, client, token, (size_t)n);
    OK(md_prefixes_take(p, q, client, token, (size_t)n, &taken, err));
    assert_int_equal(taken, foretold);
    assert_int_equal(taken, md_seq_length(q));
    return taken;
}

/* A sequence that takes what it can get of token[0..n) and runs the rest: bits as of a run alone. How many it took. */
static inline int32_t take_and_run(md_prefixes *p, md_session *s, const char *client, const int32_t *token, int n)
{
    uint64_t rows[N], expected[N];
    md_seq *q = seq_of(s);
    const int32_t taken = take(p, q, client, token, n);
    feed_and_keep(p, q, client, token, n, rows);
    expected_rows(s->model, token, n, expected);
    for (int i = taken; i < n; i++)
        if (rows[i] != expected[i])
            fail_msg("%d of %d tokens taken: position %d differs", taken, n, i);
    md_seq_free(q);
    return taken;
}

#endif
