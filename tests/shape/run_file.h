/* SPDX-License-Identifier: Apache-2.0
 *
 * What a model's file says, however it is opened. */
#ifndef MD_TEST_SHAPE_RUN_FILE_H
#define MD_TEST_SHAPE_RUN_FILE_H

#include "support/synth_model.h"

/* The logits of n tokens, `chunk` a step, as a hash; slots: of a layer, 0 for resident experts. */
static inline uint64_t run_file(const char *path, bool map, int32_t slots, int32_t n, int32_t chunk)
{
    enum { MOST_RUN = 64 };
    assert_true(n <= MOST_RUN && n % chunk == 0);
    md_model *m;
    md_session *s;
    md_seq *q;
    const md_model_args open = {.map = map, .n_threads = 2, .stream = slots ? MD_STREAM_ALWAYS : MD_STREAM_NEVER};
    OK(md_model_open(path, &open, &m, err));
    assert_int_equal(md_model_streams(m), slots > 0);
    const int32_t n_vocab = md_model_get_info(m)->n_vocab;
    md_session_args a;
    md_session_args_default(m, &a);
    a.n_positions = a.n_rows = a.n_logits = n;
    a.n_threads = 2;
    a.most_slots = slots;
    OK(md_session_new(m, &a, &s, err));
    OK(md_seq_new(s, &q, err));
    int32_t token[MOST_RUN];
    md_seq *seq[MOST_RUN];
    uint8_t want[MOST_RUN];
    fill_tokens(token, n, n_vocab, 3);
    for (int32_t i = 0; i < n; i++)
        seq[i] = q, want[i] = MD_WANT_LOGITS;
    uint64_t hash = 1;
    for (int32_t at = 0; at < n; at += chunk) {
        OK(md_decode(s, &(md_batch){.n = chunk, .token = token + at, .seq = seq, .want = want}, err));
        for (int32_t i = 0; i < chunk; i++)
            hash = md_logits_hash(hash, md_step_logits(s, i), (size_t)n_vocab);
    }
    md_session_free(s);
    md_model_close(m);
    return hash;
}

#endif
