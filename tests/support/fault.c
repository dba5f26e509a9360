/* SPDX-License-Identifier: Apache-2.0
 *
 * The allocator and the system calls of a test program, between its code and the C library: by the linker's --wrap, and
 * for allocations, where MD_FAULT_INTERPOSE is set, by taking the allocator's names, which shared libraries call too. */
#include "support/fault.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

static struct {
    _Atomic int kind; /* -1: nothing is armed */
    atomic_bool paused, no_unnamed;
    atomic_long left; /* events that go well still; below 0 once it failed */
    atomic_size_t asked;
    atomic_long live;
} fault = {.kind = -1};

static bool fails(fault_kind kind)
{
    return atomic_load(&fault.kind) == (int)kind && !atomic_load(&fault.paused) &&
           atomic_fetch_sub(&fault.left, 1) == 0;
}

void fault_arm(fault_kind kind, long nth)
{
    atomic_store(&fault.left, nth);
    atomic_store(&fault.kind, (int)kind);
}

bool fault_disarm(void)
{
    atomic_store(&fault.kind, -1);
    return atomic_load(&fault.left) < 0;
}

void fault_pause(bool paused)
{
    atomic_store(&fault.paused, paused);
}

void fault_no_unnamed_files(bool none)
{
    atomic_store(&fault.no_unnamed, none);
}

size_t fault_bytes_asked(void)
{
    return atomic_load(&fault.asked);
}

long fault_live(void)
{
    return atomic_load(&fault.live);
}

/* ---- allocations ---- */

#ifdef MD_FAULT_INTERPOSE
#pragma GCC visibility push(default) /* or shared libraries would not find them */
#define OURS(name)   name
#define THEIRS(name) __libc_##name
#define COUNT_LIVE   1
void *__libc_memalign(size_t align, size_t n);
void __libc_free(void *p);
void free(void *p);
static inline void *aligned(size_t align, size_t n)
{
    return __libc_memalign(align, n);
}
void free(void *p)
{
    if (p)
        atomic_fetch_sub(&fault.live, 1);
    __libc_free(p);
}
#else
#define OURS(name)   __wrap_##name
#define THEIRS(name) __real_##name
#define COUNT_LIVE   0
void *__real_aligned_alloc(size_t align, size_t n);
static inline void *aligned(size_t align, size_t n)
{
    return __real_aligned_alloc(align, n);
}
#endif

void *THEIRS(malloc)(size_t n);
void *THEIRS(calloc)(size_t n, size_t size);
void *THEIRS(realloc)(void *p, size_t n);
void *OURS(malloc)(size_t n);
void *OURS(calloc)(size_t n, size_t size);
void *OURS(realloc)(void *p, size_t n);
void *OURS(aligned_alloc)(size_t align, size_t n);

static bool refuse(size_t n)
{
    atomic_fetch_add(&fault.asked, n);
    if (!fails(FAULT_MEMORY))
        return false;
    errno = ENOMEM;
    return true;
}

static void *given(void *p)
{
    if (COUNT_LIVE && p)
        atomic_fetch_add(&fault.live, 1);
    return p;
}

void *OURS(malloc)(size_t n)
{
    return refuse(n) ? NULL : given(THEIRS(malloc)(n));
}

void *OURS(calloc)(size_t n, size_t size)
{
    return refuse(n * size) ? NULL : given(THEIRS(calloc)(n, size));
}

void *OURS(realloc)(void *p, size_t n)
{
    if (refuse(n))
        return NULL;
    void *grown = THEIRS(realloc)(p, n);
    return p ? grown : given(grown);
}

void *OURS(aligned_alloc)(size_t align, size_t n)
{
    return refuse(n) ? NULL : given(aligned(align, n));
}

#ifdef MD_FAULT_INTERPOSE
#pragma GCC visibility pop
#endif

/* ---- system calls ---- */

#define WRAP(type, name, ...)        \
    type __real_##name(__VA_ARGS__); \
    type __wrap_##name(__VA_ARGS__); \
    type __wrap_##name(__VA_ARGS__)

/* FAULT_CALL's part in a call: true after setting errno. */
static bool call_fails(int code)
{
    if (!fails(FAULT_CALL))
        return false;
    errno = code;
    return true;
}

static bool interrupted(void)
{
    if (!fails(FAULT_INTERRUPT))
        return false;
    errno = EINTR;
    return true;
}

/* The mode is passed on always: open ignores it where it has no meaning. */
WRAP(int, open64, const char *path, int flags, unsigned mode)
{
    if ((flags & O_TMPFILE) == O_TMPFILE && atomic_load(&fault.no_unnamed)) {
        errno = EOPNOTSUPP;
        return -1;
    }
    return call_fails(EMFILE) ? -1 : __real_open64(path, flags, mode);
}

WRAP(int, stat64, const char *path, struct stat *st)
{
    return call_fails(EIO) ? -1 : __real_stat64(path, st);
}

WRAP(int, fstat64, int fd, struct stat *st)
{
    return call_fails(EIO) ? -1 : __real_fstat64(fd, st);
}

WRAP(void *, mmap64, void *at, size_t n, int prot, int flags, int fd, off_t offset)
{
    const bool file = !(flags & MAP_ANONYMOUS);
    if (!fails(file ? FAULT_CALL : FAULT_MEMORY))
        return __real_mmap64(at, n, prot, flags, fd, offset);
    errno = ENOMEM;
    return MAP_FAILED;
}

WRAP(ssize_t, read, int fd, void *to, size_t n)
{
    if (call_fails(EIO) || interrupted())
        return -1;
    return __real_read(fd, to, n > 1 && fails(FAULT_SHORT) ? 1 : n);
}

WRAP(ssize_t, pread64, int fd, void *to, size_t n, off_t at)
{
    if (call_fails(EIO) || interrupted())
        return -1;
    return __real_pread64(fd, to, n > 1 && fails(FAULT_SHORT) ? 1 : n, at);
}

WRAP(ssize_t, write, int fd, const void *from, size_t n)
{
    if (call_fails(ENOSPC) || interrupted())
        return -1;
    return __real_write(fd, from, n > 1 && fails(FAULT_SHORT) ? 1 : n);
}

WRAP(int, pthread_create, pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *), void *arg)
{
    return fails(FAULT_MEMORY) ? EAGAIN : __real_pthread_create(thread, attr, run, arg);
}

WRAP(int, fsync, int fd)
{
    return call_fails(EIO) ? -1 : __real_fsync(fd);
}

WRAP(int, linkat, int from_fd, const char *from, int to_fd, const char *to, int flags)
{
    return call_fails(ENOSPC) ? -1 : __real_linkat(from_fd, from, to_fd, to, flags);
}

WRAP(int, rename, const char *from, const char *to)
{
    return call_fails(EACCES) ? -1 : __real_rename(from, to);
}

WRAP(int, openat64, int folder, const char *path, int flags, unsigned mode)
{
    return call_fails(EMFILE) ? -1 : __real_openat64(folder, path, flags, mode);
}

WRAP(int, renameat, int from_fd, const char *from, int to_fd, const char *to)
{
    return call_fails(EACCES) ? -1 : __real_renameat(from_fd, from, to_fd, to);
}

/* ---- sweeps ---- */

static const char *const kind_name[] = {
    [FAULT_MEMORY] = "allocation",
    [FAULT_CALL] = "system call",
    [FAULT_SHORT] = "short transfer",
    [FAULT_INTERRUPT] = "interrupted transfer",
};

/* One sentence on one line that was not cut off, and the same code beside it. */
static void check_sentence(const char *fault_name, long nth, md_status status, const md_error *err)
{
    const size_t n = strlen(err->message);
    if (err->code != status || n < 10 || n >= sizeof err->message - 1 || strpbrk(err->message, "\n\r"))
        fail_msg("%s %ld: status %s, code %s, message '%s'", fault_name, nth, md_status_name(status),
                 md_status_name(err->code), err->message);
}

fault_count fault_each(fault_kind kind, md_status status, fault_job *job, void *arg)
{
    enum { MOST = 100000 };
    const char *name = kind_name[kind];
    fault_count count = {0};
    uint64_t whole = 0;
    md_error first = {0};
    if (job(arg, &whole, &first) != MD_OK)
        fail_msg("without a fault: %s", first.message);
    for (long round = 0; round < 2L * MOST; round++) {
        const long nth = round / 2, live = fault_live();
        md_error err = {0};
        uint64_t result = 0;
        fault_arm(kind, nth);
        const md_status got = job(arg, &result, round % 2 ? NULL : &err);
        const bool reached = fault_disarm();
        if (fault_live() != live)
            fail_msg("%s %ld fails: %ld allocations are left behind", name, nth, fault_live() - live);
        if (got == MD_OK && result != whole)
            fail_msg("%s %ld fails: part of the result is missing and nothing says so", name, nth);
        if (got != MD_OK && (got != status || !reached))
            fail_msg("%s %ld fails: status %s: %s", name, nth, md_status_name(got), err.message);
        if (got != MD_OK && round % 2 == 0)
            check_sentence(name, nth, got, &err);
        if (!reached)
            return count;
        count.refused += got != MD_OK && round % 2 == 0;
        count.survived += got == MD_OK && round % 2 == 0;
    }
    fail_msg("a job of more than %d events", MOST);
    return count;
}
