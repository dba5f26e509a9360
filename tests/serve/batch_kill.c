/* SPDX-License-Identifier: Apache-2.0
 *
 * Batches that are killed: a child process ends without another word before, within or after its nth change to any file (of the
 * journal: SQLite's writes, truncations and removals; of the output: writes, syncs, links, renames; of removing the journal), and
 * another one goes on. At 1,000 such points the output must be that of a run that nobody disturbed, and what was
 * committed must not be answered again. */
#include "batch_fake.h"
#include "support/scratch.h"

#include <sqlite3.h>
#include <sys/wait.h>

#define LINES  60
#define GROUP  4
#define POINTS 1000

/* ---- points ---- */

static long points, kill_at = -1;

/* Is this the one? Then half of what was to be written may still be. */
static bool point(void)
{
    return points++ == kill_at;
}

static void end_here(void)
{
    _exit(137);
}

ssize_t __real_write(int fd, const void *p, size_t n);
int __real_fsync(int fd);
int __real_linkat(int a, const char *from, int b, const char *to, int flags);
int __real_rename(const char *from, const char *to);
int __real_unlink(const char *path);
ssize_t __wrap_write(int fd, const void *p, size_t n);
int __wrap_fsync(int fd);
int __wrap_linkat(int a, const char *from, int b, const char *to, int flags);
int __wrap_rename(const char *from, const char *to);
int __wrap_unlink(const char *path);

static int log_fd = -1;

ssize_t __wrap_write(int fd, const void *p, size_t n)
{
    if (fd != log_fd && point()) {
        if (kill_at % 2 && __real_write(fd, p, n / 2) < 0)
            abort();
        end_here();
    }
    return __real_write(fd, p, n);
}

/* A killed process loses nothing that it wrote, so nothing needs to reach the disk here. */
int __wrap_fsync(int fd)
{
    (void)fd;
    if (point())
        end_here();
    return 0;
}

int __wrap_linkat(int a, const char *from, int b, const char *to, int flags)
{
    if (point())
        end_here();
    return __real_linkat(a, from, b, to, flags);
}

int __wrap_rename(const char *from, const char *to)
{
    if (point())
        end_here();
    return __real_rename(from, to);
}

int __wrap_unlink(const char *path)
{
    if (point())
        end_here();
    return __real_unlink(path);
}

/* ---- SQLite's files, with points ---- */

typedef struct file {
    sqlite3_file base;
    sqlite3_file *real; /* behind it */
} file;

static sqlite3_vfs *system_files, files;

static sqlite3_file *real(sqlite3_file *f)
{
    return ((file *)(void *)f)->real;
}

static int f_close(sqlite3_file *f)
{
    return real(f)->pMethods->xClose(real(f));
}

static int f_read(sqlite3_file *f, void *p, int n, sqlite3_int64 at)
{
    return real(f)->pMethods->xRead(real(f), p, n, at);
}

static int f_write(sqlite3_file *f, const void *p, int n, sqlite3_int64 at)
{
    if (point()) {
        if (kill_at % 2)
            real(f)->pMethods->xWrite(real(f), p, n / 2, at);
        end_here();
    }
    return real(f)->pMethods->xWrite(real(f), p, n, at);
}

static int f_truncate(sqlite3_file *f, sqlite3_int64 n)
{
    if (point())
        end_here();
    return real(f)->pMethods->xTruncate(real(f), n);
}

static int f_sync(sqlite3_file *f, int flags)
{
    (void)f, (void)flags;
    if (point())
        end_here();
    return SQLITE_OK;
}

static int f_size(sqlite3_file *f, sqlite3_int64 *n)
{
    return real(f)->pMethods->xFileSize(real(f), n);
}

static int f_lock(sqlite3_file *f, int how)
{
    return real(f)->pMethods->xLock(real(f), how);
}

static int f_unlock(sqlite3_file *f, int how)
{
    return real(f)->pMethods->xUnlock(real(f), how);
}

static int f_check(sqlite3_file *f, int *out)
{
    return real(f)->pMethods->xCheckReservedLock(real(f), out);
}

static int f_control(sqlite3_file *f, int op, void *arg)
{
    return real(f)->pMethods->xFileControl(real(f), op, arg);
}

static int f_sector(sqlite3_file *f)
{
    return real(f)->pMethods->xSectorSize(real(f));
}

static int f_kind(sqlite3_file *f)
{
    return real(f)->pMethods->xDeviceCharacteristics(real(f));
}

static int v_open(sqlite3_vfs *v, const char *name, sqlite3_file *f, int flags, int *out)
{
    static const sqlite3_io_methods methods = {1,      f_close,  f_read,  f_write,   f_truncate, f_sync, f_size,
                                               f_lock, f_unlock, f_check, f_control, f_sector,   f_kind};
    (void)v;
    file *mine = (file *)(void *)f;
    mine->real = (sqlite3_file *)(void *)(mine + 1);
    if (point())
        end_here();
    const int code = system_files->xOpen(system_files, name, mine->real, flags, out);
    mine->base.pMethods = code == SQLITE_OK ? &methods : NULL;
    return code;
}

static int v_delete(sqlite3_vfs *v, const char *name, int sync)
{
    (void)v;
    if (point())
        end_here();
    return system_files->xDelete(system_files, name, sync);
}

static void put_points_into_sqlite(void)
{
    system_files = sqlite3_vfs_find(NULL);
    files = *system_files;
    files.zName = "points";
    files.szOsFile = (int)sizeof(file) + system_files->szOsFile;
    files.xOpen = v_open;
    files.xDelete = v_delete;
    assert_int_equal(sqlite3_vfs_register(&files, 1), SQLITE_OK);
}

/* ---- runs ---- */

static const char *folder;

static const char *in_folder(const char *name)
{
    return scratch_path(folder, name);
}

/* One run in a process of its own; false: it was killed. */
static bool run(long at)
{
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        md_error why;
        put_points_into_sqlite();
        log_fd = open(in_folder("log"), O_WRONLY | O_APPEND | O_CREAT, 0600);
        fake f = {.log = log_fd};
        points = 0;
        kill_at = at;
        const md_status status = fake_batch(in_folder("in.jsonl"), in_folder("out.jsonl"), in_folder("journal"), GROUP,
                                            &f, &why);
        if (status != MD_OK)
            fprintf(stderr, "point %ld: %s\n", at, why.message);
        _exit(status == MD_OK ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_true(WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == 137);
    return WEXITSTATUS(status) == 0;
}

static char *read_file(const char *name, size_t *n)
{
    FILE *f = fopen(in_folder(name), "rb");
    *n = 0;
    if (!f)
        return NULL;
    char *text = calloc(1, 1 << 16);
    assert_non_null(text);
    *n = fread(text, 1, (1 << 16) - 1, f);
    fclose(f);
    return text;
}

/* How often each line was answered by all runs so far; gives the sum. */
static size_t count_answers(int *count)
{
    size_t n, sum = 0;
    char *text = read_file("log", &n);
    memset(count, 0, LINES * sizeof *count);
    for (char *at = text; at && *at; at = strchr(at, '\n') + 1, sum++) {
        const long line = strtol(at, NULL, 10);
        assert_in_range(line, 0, LINES - 1);
        count[line]++;
    }
    free(text);
    return sum;
}

/* Who is killed between giving a file a name beside the output and renaming it, which only happens where there is an output already,
 * leaves that name behind. */
static void remove_parts(void)
{
    DIR *d = opendir(folder);
    assert_non_null(d);
    for (const struct dirent *e; (e = readdir(d)) != NULL;) {
        const size_t n = strlen(e->d_name);
        if (n > 5 && strcmp(e->d_name + n - 5, ".part") == 0)
            assert_int_equal(__real_unlink(in_folder(e->d_name)), 0);
    }
    closedir(d);
}

static void check_whole(const char *want, size_t n_want, int kills)
{
    size_t n;
    int count[LINES];
    char *have = read_file("out.jsonl", &n);
    assert_non_null(have);
    assert_int_equal(n, n_want);
    assert_memory_equal(have, want, n);
    free(have);
    remove_parts();
    assert_int_equal(scratch_count(folder), 3); /* input, output, log: no journal, nothing half done */
    /* a kill costs what was not committed: a group that was full but for its commit, and what the last step added */
    assert_true(count_answers(count) <= (size_t)(LINES + kills * (GROUP + 3)));
    for (int i = 0; i < LINES; i++)
        assert_true(count[i] >= 1);
}

static void make_input(void)
{
    FILE *f = fopen(in_folder("in.jsonl"), "w");
    assert_non_null(f);
    for (int i = 0; i < LINES; i++)
        fprintf(
            f,
            "{\"custom_id\":\"line %d\",\"method\":\"POST\",\"url\":\"/v1/completions\",\"body\":{\"prompt\":\"%d and so on\"%s}}\n",
            i, i % 7,
            i % 11 == 5   ? ",\"status\":400"
            : i % 13 == 1 ? ",\"now\":true"
                          : "");
    assert_int_equal(fclose(f), 0);
}

static void forget(void)
{
    unlink(in_folder("out.jsonl"));
    unlink(in_folder("log"));
}

static void killed_at_every_point(void **state)
{
    folder = *state;
    make_input();
    assert_true(run(-1));
    size_t n;
    int count[LINES];
    char *want = read_file("out.jsonl", &n);
    assert_int_equal(count_answers(count), LINES);
    check_whole(want, n, 0);
    int kills = 0;
    /* every point once, then pairs and more of them until there were enough: the later ones meet journals that were mended */
    for (int round = 0; kills < POINTS; round++) {
        bool reached = true;
        for (long at = round; reached; at += 1 + round) {
            int here = 0;
            forget();
            for (int again = 0; again <= round && !run(at + 17 * again); again++)
                here++;
            if (here == 0)
                reached = false;
            else if (here == round + 1)
                assert_true(run(-1));
            check_whole(want, n, here);
            kills += here;
        }
    }
    print_message("%d kills\n", kills);
    free(want);
}

int main(void)
{
    const struct CMUnitTest tests[] = {IN_SCRATCH(killed_at_every_point)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
