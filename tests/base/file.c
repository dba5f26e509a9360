/* SPDX-License-Identifier: Apache-2.0
 *
 * Mapped files, and output files that appear whole or not at all: after an error, a lost process, a full disk. */
#include "base/file.h"
#include "support/scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/wait.h>

enum { NOBODY = 65534 };

static const char *in(void **state, const char *name)
{
    return scratch_path(*state, name);
}

static void assert_content(const char *path, const void *bytes, size_t n)
{
    size_t got;
    void *p = read_all(path, &got);
    assert_int_equal(got, n);
    assert_memory_equal(p, bytes, n);
    free(p);
}

static md_out *open_out(const char *path)
{
    md_error err = {0};
    md_out *o;
    if (md_out_open(path, &o, &err) != MD_OK)
        fail_msg("%s", err.message);
    return o;
}

/* ---- reading ---- */

static void test_map_shows_the_whole_file(void **state)
{
    md_error err = {0};
    md_map m;
    scratch_put(*state, "/a", "twelve bytes");
    assert_int_equal(md_map_open(in(state, "a"), &m, &err), MD_OK);
    assert_int_equal(m.n, 12);
    assert_memory_equal(m.bytes, "twelve bytes", 12);
    md_map_prefetch(&m, 0, 12);
    md_map_prefetch(&m, 5, SIZE_MAX); /* hints past the end are cut, not passed on */
    md_map_prefetch(&m, SIZE_MAX, 1);
    md_map_close(&m);
    assert_null(m.bytes);
    md_map_close(&m);
}

static void test_map_front(void **state)
{
    md_error err = {0};
    md_map m;
    uint64_t size;
    scratch_put(*state, "/a", "twelve bytes");
    assert_int_equal(md_map_open_front(in(state, "a"), 6, &m, &size, &err), MD_OK);
    assert_int_equal(m.n, 6);
    assert_int_equal(size, 12);
    md_map_close(&m);
    assert_int_equal(md_map_open_front(in(state, "a"), 0, &m, &size, &err), MD_OK);
    assert_null(m.bytes);
    md_map_close(&m);
}

static void test_map_of_an_empty_file(void **state)
{
    md_error err = {0};
    md_map m;
    scratch_put(*state, "/empty", "");
    assert_int_equal(md_map_open(in(state, "empty"), &m, &err), MD_OK);
    assert_null(m.bytes);
    assert_int_equal(m.n, 0);
    md_map_close(&m);
}

static void expect_no_map(const char *path, const char *says)
{
    md_error err = {0};
    md_map m = {.n = 1};
    assert_int_equal(md_map_open(path, &m, &err), MD_ERR_IO);
    assert_null(m.bytes);
    assert_int_equal(m.n, 0);
    assert_non_null(strstr(err.message, path));
    assert_non_null(strstr(err.message, says));
}

static void test_map_refuses_what_is_no_file(void **state)
{
    expect_no_map(in(state, "absent"), "No such file");
    expect_no_map(*state, "a directory");
    expect_no_map("/dev/null", "a device");
    expect_no_map("", "cannot open");
}

/* ---- writing ---- */

/* Sizes on both sides of the stream's own buffer of 1 MiB, in one write and in many. */
static void test_out_writes_every_byte(void **state)
{
    enum { MIB = 1 << 20 };
    static const size_t sizes[] = {0, 1, MIB - 1, MIB, MIB + 1, 3 * MIB + 17};
    unsigned char *bytes = malloc(3 * MIB + 17);
    assert_non_null(bytes);
    for (size_t i = 0; i < 3 * MIB + 17; i++)
        bytes[i] = (unsigned char)(i * 2654435761u >> 13);
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++)
        for (size_t piece = 1000; piece <= 4 * MIB; piece *= 33) {
            md_error err = {0};
            md_out *o = open_out(in(state, "out"));
            for (size_t at = 0; at < sizes[s]; at += piece)
                assert_int_equal(md_out_write(o, bytes + at, sizes[s] - at < piece ? sizes[s] - at : piece, &err),
                                 MD_OK);
            assert_int_equal(md_out_write(o, NULL, 0, &err), MD_OK);
            assert_int_equal(md_out_commit(o, &err), MD_OK);
            md_out_close(o);
            assert_content(in(state, "out"), bytes, sizes[s]);
            assert_int_equal(scratch_count(*state), 1);
        }
    free(bytes);
}

static void test_out_without_commit_leaves_nothing(void **state)
{
    md_error err = {0};
    md_out *o = open_out(in(state, "out"));
    assert_int_equal(md_out_write(o, "half", 4, &err), MD_OK);
    assert_int_not_equal(access(in(state, "out"), F_OK), 0); /* not to be seen while it is written */
    md_out_close(o);
    assert_int_equal(scratch_count(*state), 0);
    md_out_close(NULL);
}

static void test_out_replaces_only_at_commit(void **state)
{
    md_error err = {0};
    scratch_put(*state, "/out", "old");
    md_out *o = open_out(in(state, "out"));
    assert_int_equal(md_out_write(o, "new", 3, &err), MD_OK);
    assert_content(in(state, "out"), "old", 3);
    md_out_close(o);
    assert_content(in(state, "out"), "old", 3);

    o = open_out(in(state, "out"));
    assert_int_equal(md_out_write(o, "new", 3, &err), MD_OK);
    assert_int_equal(md_out_commit(o, &err), MD_OK);
    md_out_close(o);
    assert_content(in(state, "out"), "new", 3);
    assert_int_equal(scratch_count(*state), 1);
}

/* A reader that mapped the old file keeps it. */
static void test_out_over_a_mapped_file(void **state)
{
    md_error err = {0};
    md_map m;
    scratch_put(*state, "/out", "old weights");
    assert_int_equal(md_map_open(in(state, "out"), &m, &err), MD_OK);
    md_out *o = open_out(in(state, "out"));
    assert_int_equal(md_out_write(o, "x", 1, &err), MD_OK);
    assert_int_equal(md_out_commit(o, &err), MD_OK);
    md_out_close(o);
    assert_memory_equal(m.bytes, "old weights", 11);
    md_map_close(&m);
    assert_content(in(state, "out"), "x", 1);
}

static void test_two_writers_of_one_name(void **state)
{
    md_error err = {0};
    md_out *a = open_out(in(state, "out")), *b = open_out(in(state, "out"));
    assert_int_equal(md_out_write(a, "first", 5, &err), MD_OK);
    assert_int_equal(md_out_write(b, "second", 6, &err), MD_OK);
    assert_int_equal(md_out_commit(b, &err), MD_OK);
    assert_int_equal(md_out_commit(a, &err), MD_OK);
    md_out_close(a);
    md_out_close(b);
    assert_content(in(state, "out"), "first", 5); /* the last to commit, whole */
    assert_int_equal(scratch_count(*state), 1);
}

static void test_out_in_the_working_folder(void **state)
{
    md_error err = {0};
    const int before = open(".", O_RDONLY | O_DIRECTORY);
    assert_true(before >= 0);
    assert_int_equal(chdir(*state), 0);
    md_out *o = open_out("plain-name");
    assert_int_equal(md_out_write(o, "x", 1, &err), MD_OK);
    assert_int_equal(md_out_commit(o, &err), MD_OK);
    md_out_close(o);
    assert_int_equal(fchdir(before), 0);
    close(before);
    assert_content(in(state, "plain-name"), "x", 1);
}

static void expect_no_out(const char *path, const char *says)
{
    md_error err = {0};
    md_out *o = (md_out *)&err;
    assert_int_equal(md_out_open(path, &o, &err), MD_ERR_IO);
    assert_null(o);
    assert_non_null(strstr(err.message, path));
    if (!strstr(err.message, says))
        fail_msg("'%s' does not say '%s'", err.message, says);
}

static void test_out_refuses_bad_targets(void **state)
{
    expect_no_out(*state, "a directory");
    expect_no_out("/dev/null", "not a regular file");
    expect_no_out("", "");
    char path[1024];
    snprintf(path, sizeof path, "%s/no/such/folder", (const char *)*state);
    expect_no_out(path, "No such file");
    scratch_put(*state, "/file", "");
    snprintf(path, sizeof path, "%s/file/below", (const char *)*state);
    expect_no_out(path, "Not a directory");
    assert_int_equal(scratch_count(*state), 1);
}

static void test_out_in_an_unwritable_folder(void **state)
{
    const bool root = geteuid() == 0; /* whom no mode stops */
    assert_int_equal(chmod(*state, 0555), 0);
    if (root)
        assert_int_equal(seteuid(NOBODY), 0);
    expect_no_out(in(state, "out"), "Permission denied");
    if (root)
        assert_int_equal(seteuid(0), 0);
    assert_int_equal(chmod(*state, 0755), 0);
    assert_int_equal(scratch_count(*state), 0);
}

/* The process dies in the middle: the old file is whole. A leftover is allowed only where the file system has no unnamed
 * files, and then under a hidden name. */
static void test_killed_while_writing(void **state)
{
    scratch_put(*state, "/out", "old");
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        md_out *o;
        char bytes[4096] = {1};
        if (md_out_open(in(state, "out"), &o, NULL) != MD_OK)
            _exit(1);
        for (int i = 0; i < 1000; i++)
            if (md_out_write(o, bytes, sizeof bytes, NULL) != MD_OK)
                _exit(2);
        raise(SIGKILL);
    }
    int how;
    assert_int_equal(waitpid(child, &how, 0), child);
    assert_true(WIFSIGNALED(how) && WTERMSIG(how) == SIGKILL);
    assert_content(in(state, "out"), "old", 3);
    const int unnamed = open(*state, O_TMPFILE | O_WRONLY, 0600);
    if (unnamed >= 0) {
        close(unnamed);
        assert_int_equal(scratch_count(*state), 1);
    }
}

/* On a file system of 2 MiB of its own, in a mount namespace that ends with the child. Exit code 0: all as promised; 77:
 * not allowed to mount here. */
static int fill_a_disk(const char *folder)
{
    if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("tmpfs", folder, "tmpfs", 0, "size=2m") != 0)
        return 77;
    char path[1024], bytes[65536] = {1};
    snprintf(path, sizeof path, "%s/out", folder);
    md_error err = {0};
    md_out *o;
    if (md_out_open(path, &o, &err) != MD_OK || md_out_write(o, "old", 3, &err) != MD_OK ||
        md_out_commit(o, &err) != MD_OK)
        return 1;
    md_out_close(o);
    if (md_out_open(path, &o, &err) != MD_OK)
        return 2;
    md_status status = MD_OK;
    for (int i = 0; i < 64 && status == MD_OK; i++) /* 4 MiB */
        status = md_out_write(o, bytes, sizeof bytes, &err);
    if (status == MD_OK)
        status = md_out_commit(o, &err);
    md_out_close(o);
    if (status != MD_ERR_IO || !strstr(err.message, path) || !strstr(err.message, "No space left"))
        return 3;
    size_t n;
    char *p = read_all(path, &n);
    const bool whole = n == 3 && memcmp(p, "old", 3) == 0;
    free(p);
    return whole && scratch_count(folder) == 1 ? 0 : 4;
}

static void test_full_disk(void **state)
{
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
        _exit(fill_a_disk(*state));
    int how;
    assert_int_equal(waitpid(child, &how, 0), child);
    assert_true(WIFEXITED(how));
    if (WEXITSTATUS(how) == 77)
        skip();
    assert_int_equal(WEXITSTATUS(how), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_SCRATCH(test_map_shows_the_whole_file),    IN_SCRATCH(test_map_front),
        IN_SCRATCH(test_map_of_an_empty_file),        IN_SCRATCH(test_map_refuses_what_is_no_file),
        IN_SCRATCH(test_out_writes_every_byte),       IN_SCRATCH(test_out_without_commit_leaves_nothing),
        IN_SCRATCH(test_out_replaces_only_at_commit), IN_SCRATCH(test_out_over_a_mapped_file),
        IN_SCRATCH(test_two_writers_of_one_name),     IN_SCRATCH(test_out_in_the_working_folder),
        IN_SCRATCH(test_out_refuses_bad_targets),     IN_SCRATCH(test_out_in_an_unwritable_folder),
        IN_SCRATCH(test_killed_while_writing),        IN_SCRATCH(test_full_disk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
