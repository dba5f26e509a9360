/* SPDX-License-Identifier: Apache-2.0
 *
 * What the tests of the file reader share: files whose bytes follow from their place, reads that check themselves, and every
 * way to read. */
#ifndef MD_TEST_BASE_READER_WAYS_H
#define MD_TEST_BASE_READER_WAYS_H

#include "base/reader_inner.h"
#include "support/scratch.h"

#include <errno.h>

enum { MAX_CONTENT = (3 << 20) + 777 };

/* What every file begins with. Written by the first make_file, only read afterwards. */
static unsigned char content[MAX_CONTENT];

/* On the disk when it returns, so that the page cache can let go of it. */
static inline void make_file(const char *path, size_t n)
{
    assert_true(n <= sizeof content);
    if (content[0] == 0)
        for (size_t i = 0; i < sizeof content; i++)
            content[i] = (unsigned char)((i + 1) * UINT64_C(0x9e3779b97f4a7c15) >> 56);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(content, 1, n, f), n);
    assert_int_equal(fflush(f), 0);
    assert_int_equal(fsync(fileno(f)), 0);
    assert_int_equal(fclose(f), 0);
}

/* ---- ways to read ---- */

typedef struct way {
    md_reader_backend backend;
    bool direct;
} way;

static const way ways[] = {
    {MD_READER_THREADS, false},
    {MD_READER_THREADS, true},
    {MD_READER_URING, false},
    {MD_READER_URING, true},
};
#define EACH_WAY(w) for (const way *w = ways; w < ways + sizeof ways / sizeof ways[0]; w++)

/* NULL: the kernel here has no io_uring. Any other failure is the test's. */
static inline md_reader *reader_open(const way *w, md_reader_args args, const md_reader_hooks *hooks)
{
    md_error err = {0};
    md_reader *r;
    args.backend = w->backend;
    args.direct = w->direct;
    const md_status status = md_reader_new_hooked(&args, hooks, &r, &err);
    if (status == MD_ERR_UNSUPPORTED && w->backend == MD_READER_URING) {
        print_message("skipped: %s\n", err.message);
        return NULL;
    }
    if (status != MD_OK)
        fail_msg("%s", err.message);
    return r;
}

static inline int32_t reader_add(md_reader *r, const char *path)
{
    md_error err = {0};
    int32_t file;
    if (md_reader_add_file(r, path, &file, &err) != MD_OK)
        fail_msg("%s", err.message);
    return file;
}

/* ---- reads ---- */

/* A read with a buffer just large enough, begun by read_set and freed by read_free. */
static inline void read_set(md_read *read, int32_t file, uint64_t offset, size_t n)
{
    const size_t room = md_reader_room(offset, n);
    *read = (md_read){.file = file, .offset = offset, .n = n, .buffer = aligned_alloc(MD_READER_ALIGN, room)};
    assert_non_null(read->buffer);
    memset(read->buffer, 0, room);
}

static inline void read_free(md_read *read)
{
    free(read->buffer);
    read->buffer = NULL;
}

static inline bool read_is_right(const md_read *read)
{
    return read->status == MD_OK && read->offset + read->n <= sizeof content &&
           memcmp(read->buffer + read->offset % MD_READER_ALIGN, content + read->offset, read->n) == 0;
}

static inline void assert_read(md_reader *r, const md_read *read)
{
    md_error err = {0};
    if (md_reader_explain(r, read, &err) != MD_OK)
        fail_msg("%s", err.message);
    if (!read_is_right(read))
        fail_msg("%zu bytes at %llu are wrong", read->n, (unsigned long long)read->offset);
}

/* Fails with the system's `code`, 0 for a file that ends, and a sentence that says so. */
static inline void assert_read_fails(md_reader *r, const md_read *read, int code, const char *says)
{
    md_error err = {0};
    assert_int_equal(read->status, MD_ERR_IO);
    assert_int_equal(read->os_error, code);
    assert_int_equal(md_reader_explain(r, read, &err), MD_ERR_IO);
    if (!strstr(err.message, says))
        fail_msg("'%s' does not say '%s'", err.message, says);
}

/* The one read that is outstanding. */
static inline void await_read(md_reader *r, md_read *read)
{
    assert_ptr_equal(md_reader_done(r, true), read);
    assert_null(md_reader_done(r, true));
}

static inline void read_now(md_reader *r, md_read *read)
{
    md_reader_submit(r, read);
    await_read(r, read);
}

#endif
