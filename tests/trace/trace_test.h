/* SPDX-License-Identifier: Apache-2.0
 *
 * Small traces for tests, in a folder of the test's own. */
#ifndef MD_TEST_TRACE_TRACE_TEST_H
#define MD_TEST_TRACE_TRACE_TEST_H

#include "support/scratch.h"

#include <medley/trace.h>
#include <stdarg.h>

static inline void ok(md_status s, const md_error *err)
{
    if (s != MD_OK)
        fail_msg("%s", err->message);
}

/* A path in the test's folder; static: at most two at a time. */
static inline const char *in_folder(void **state, const char *name)
{
    static char path[2][600];
    static int turn;
    turn = !turn;
    snprintf(path[turn], sizeof path[turn], "%s/%s", (const char *)*state, name);
    return path[turn];
}

/* Three layers: experts, none, experts of another number, the last of which costs nothing. */
static const md_trace_layer some_layers[3] = {{.n_expert = 4, .n_ffn = 4, .top_k = 2, .expert_bytes = 1000},
                                              {0},
                                              {.n_expert = 6, .n_ffn = 5, .top_k = 1, .expert_bytes = 300}};
static const md_trace_info some_info = {
    .model = "a small one", .identity = 0x0123456789abcdefu, .n_layer = 3, .layer = some_layers};

static inline md_trace_writer *open_writer(const char *path, const md_trace_info *info)
{
    md_trace_writer *w;
    md_error err;
    ok(md_trace_writer_open(path, info, &w, &err), &err);
    return w;
}

static inline void close_writer(md_trace_writer *w)
{
    md_error err;
    ok(md_trace_writer_close(w, &err), &err);
}

static inline md_trace_reader *open_reader(const char *path)
{
    md_trace_reader *r;
    md_error err;
    ok(md_trace_reader_open(path, &r, &err), &err);
    return r;
}

static inline const md_trace_record *next_record(md_trace_reader *r)
{
    const md_trace_record *record;
    md_error err;
    ok(md_trace_reader_next(r, &record, &err), &err);
    return record;
}

static inline void write_bytes(const char *path, const void *bytes, size_t n)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, n, f), n);
    fclose(f);
}

#endif
