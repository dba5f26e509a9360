/* SPDX-License-Identifier: Apache-2.0
 *
 * A small model made for the test program, in a folder of its own that goes when the program does. */
#ifndef MD_TEST_RUN_SMALL_MODEL_H
#define MD_TEST_RUN_SMALL_MODEL_H

#include "support/fixtures.h"

#include <medley/engine.h>
#include <medley/unstable/synth.h>

static char small_dir[256], small_path[300];
static md_model *small_model;

static inline void ok(md_status s, const md_error *err)
{
    if (s != MD_OK)
        fail_msg("%s", err->message);
}

static inline int small_model_make(void **state)
{
    (void)state;
    const char *base = getenv("TMPDIR");
    snprintf(small_dir, sizeof small_dir, "%s/medley-run-XXXXXX", base ? base : P_tmpdir);
    if (!mkdtemp(small_dir))
        return -1;
    snprintf(small_path, sizeof small_path, "%s/model.gguf", small_dir);
    const md_synth_spec spec = {.arch = "llama", .n_expert = 4, .seed = 11};
    md_error err;
    if (md_synth_write(&spec, small_path, &err) != MD_OK ||
        md_model_open(small_path, NULL, &small_model, &err) != MD_OK) {
        print_error("%s\n", err.message);
        return -1;
    }
    return 0;
}

static inline int small_model_remove(void **state)
{
    (void)state;
    md_model_close(small_model);
    remove(small_path);
    return rmdir(small_dir);
}

static inline md_session *new_session(const md_model *m, int32_t n_positions, int32_t n_rows, int32_t n_logits)
{
    md_session_args a;
    md_session_args_default(m, &a);
    a.n_threads = 1;
    a.n_positions = n_positions;
    a.n_rows = n_rows;
    a.n_logits = n_logits;
    md_session *s;
    md_error err;
    ok(md_session_new(m, &a, &s, &err), &err);
    return s;
}

static inline md_seq *new_seq(md_session *s)
{
    md_seq *q;
    md_error err;
    ok(md_seq_new(s, &q, &err), &err);
    return q;
}

#endif
