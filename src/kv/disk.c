/* SPDX-License-Identifier: Apache-2.0
 *
 * A folder of kept pages. The caller's thread looks up and reads; the writer makes room, writes and renames. The lock guards
 * the index and the queue's ends and is never held while a file is touched. Order of last use is kept in memory and goes to
 * the files' times when the folder is closed, so that a restart knows it; checksums make up for not syncing. */
#include "kv/disk.h"

#include "base/mem.h"
#include "base/status.h"
#include "kv/disk_file.h"
#include "kv/disk_index.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { MOST_QUEUED = 64 };

struct md_kv_disk {
    md_kv_file_shape shape;
    uint64_t limit;
    int fd; /* owned: the folder */
    md_kv_index index;
    uint64_t saved;

    unsigned char *queue; /* owned, mapped: (n_queue) files of slot_bytes */
    size_t slot_bytes;
    int32_t n_queue, first, n_queued; /* a ring */
    size_t bytes[MOST_QUEUED];        /* of the queued files */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    pthread_t writer;
    bool has_writer, quit;
};

/* ---- the folder ---- */

static md_status check_folder(const char *path, const struct stat *st, md_error *err)
{
    MD_FAIL_IF(
        st->st_uid != geteuid(), MD_ERR_ARGUMENT,
        "'%s' belongs to another user; kept prefixes hold what was asked and answered, so give a folder of your own",
        path);
    MD_FAIL_IF(
        (st->st_mode & 077) != 0, MD_ERR_ARGUMENT,
        "'%s' is open to others (mode %04o); kept prefixes hold what was asked and answered: chmod 700 it, or give "
        "another folder",
        path, (unsigned)(st->st_mode & 07777));
    MD_FAIL_IF((st->st_mode & 0700) != 0700, MD_ERR_ARGUMENT,
               "'%s' cannot be read and written by its owner (mode %04o): chmod 700 it, or give another folder", path,
               (unsigned)(st->st_mode & 07777));
    return MD_OK;
}

static md_status open_folder(const char *path, int *fd, md_error *err)
{
    struct stat st;
    MD_FAIL_IF(mkdir(path, 0700) != 0 && errno != EEXIST, MD_ERR_IO, "cannot make the folder '%s': %s", path,
               strerror(errno));
    *fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    MD_FAIL_IF(*fd < 0, MD_ERR_IO, "cannot open the folder '%s': %s", path, strerror(errno));
    MD_FAIL_IF(fstat(*fd, &st) != 0, MD_ERR_IO, "cannot stat the folder '%s': %s", path, strerror(errno));
    MD_TRY(check_folder(path, &st, err));
    /* File systems without locks are trusted: two processes then only exceed the limit. */
    MD_FAIL_IF(flock(*fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK, MD_ERR_BUSY,
               "'%s' is in use by another process or session: give each a folder of its own", path);
    return MD_OK;
}

typedef struct seen_file {
    unsigned char key[MD_KV_KEY_BYTES];
    uint64_t bytes;
    struct timespec time;
} seen_file;

static int by_time(const void *a, const void *b)
{
    const struct timespec *x = &((const seen_file *)a)->time, *y = &((const seen_file *)b)->time;
    if (x->tv_sec != y->tv_sec)
        return x->tv_sec < y->tv_sec ? -1 : 1;
    return (x->tv_nsec > y->tv_nsec) - (x->tv_nsec < y->tv_nsec);
}

/* All files of ours, into a buffer of seen_file. What is called otherwise is somebody else's and stays. */
static bool list_files(const md_kv_disk *d, DIR *dir, md_buf *out)
{
    for (const struct dirent *e; (e = readdir(dir)) && !out->failed;) {
        seen_file f = {0};
        struct stat st;
        if (md_kv_name_parse(e->d_name, true, f.key))
            (void)unlinkat(d->fd, e->d_name, 0); /* a writer that was killed left it */
        if (!md_kv_name_parse(e->d_name, false, f.key) || fstatat(d->fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0 ||
            !S_ISREG(st.st_mode))
            continue;
        f.bytes = (uint64_t)st.st_size;
        f.time = st.st_mtim;
        md_buf_append(out, &f, sizeof f);
    }
    return !out->failed;
}

static md_status scan(md_kv_disk *d, const char *path, md_error *err)
{
    const int fd = openat(d->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (!dir) {
        const int code = errno;
        if (fd >= 0)
            close(fd);
        return md_fail(err, code == ENOMEM ? MD_ERR_MEMORY : MD_ERR_IO, "cannot read the folder '%s': %s", path,
                       strerror(code));
    }
    md_buf files = {0};
    bool ok = list_files(d, dir, &files);
    closedir(dir);
    const size_t n = files.len / sizeof(seen_file);
    seen_file *f = (seen_file *)(void *)files.data;
    if (ok && n > 0)
        qsort(f, n, sizeof *f, by_time);
    for (size_t i = 0; ok && i < n; i++)
        ok = md_kv_index_put(&d->index, f[i].key, f[i].bytes);
    md_buf_done(&files);
    return ok ? MD_OK : md_fail_memory(err, "the list of kept pages");
}

static void unlink_key(const md_kv_disk *d, const unsigned char *key)
{
    char name[MD_KV_NAME_BYTES];
    md_kv_name_of(key, false, name);
    (void)unlinkat(d->fd, name, 0);
}

/* Removes the files used longest ago until `more` bytes fit; false if they never will. Called with the lock held. */
static bool make_room(md_kv_disk *d, uint64_t more)
{
    while (d->index.used + more > d->limit && d->index.oldest >= 0) {
        unsigned char key[MD_KV_KEY_BYTES];
        memcpy(key, d->index.entry[d->index.oldest].key, sizeof key);
        md_kv_index_remove(&d->index, d->index.oldest);
        pthread_mutex_unlock(&d->lock);
        unlink_key(d, key);
        pthread_mutex_lock(&d->lock);
    }
    return d->index.used + more <= d->limit;
}

/* ---- the writer ---- */

static bool write_file(const md_kv_disk *d, const char *name, const unsigned char *bytes, size_t n)
{
    const int flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
    int fd = openat(d->fd, name, flags, 0600);
    if (fd < 0 && errno == EEXIST && unlinkat(d->fd, name, 0) == 0)
        fd = openat(d->fd, name, flags, 0600);
    if (fd < 0)
        return false;
    while (n > 0) {
        const ssize_t done = write(fd, bytes, n);
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            break;
        bytes += done;
        n -= (size_t)done;
    }
    return close(fd) == 0 && n == 0;
}

/* A queued file into the folder; the lock is held before and after. */
static void save(md_kv_disk *d, unsigned char *file, size_t n)
{
    unsigned char key[MD_KV_KEY_BYTES];
    char part[MD_KV_NAME_BYTES], name[MD_KV_NAME_BYTES];
    md_kv_file_key(file, key);
    md_kv_name_of(key, true, part);
    md_kv_name_of(key, false, name);
    if (!make_room(d, md_kv_index_cost(n)))
        return;
    pthread_mutex_unlock(&d->lock);
    md_kv_file_seal(file);
    const bool written = write_file(d, part, file, n) && renameat(d->fd, part, d->fd, name) == 0;
    if (!written)
        (void)unlinkat(d->fd, part, 0);
    pthread_mutex_lock(&d->lock);
    if (!written)
        return;
    d->saved++;
    if (md_kv_index_put(&d->index, key, n)) {
        md_kv_index_touch(&d->index, md_kv_index_find(&d->index, key));
        return;
    }
    pthread_mutex_unlock(&d->lock);
    unlink_key(d, key); /* what is not in the index is not counted either */
    pthread_mutex_lock(&d->lock);
}

static void *write_queued(void *arg)
{
    md_kv_disk *d = arg;
    pthread_mutex_lock(&d->lock);
    for (;;) {
        if (d->n_queued > 0) {
            save(d, d->queue + (size_t)d->first * d->slot_bytes, d->bytes[d->first]);
            d->first = (d->first + 1) % d->n_queue;
            d->n_queued--;
            pthread_cond_broadcast(&d->changed);
        } else if (d->quit) {
            break;
        } else {
            pthread_cond_wait(&d->changed, &d->lock);
        }
    }
    pthread_mutex_unlock(&d->lock);
    return NULL;
}

/* ---- opened and closed ---- */

static size_t slot_bytes(const md_kv_disk_args *a)
{
    const md_kv_file_shape shape = {a->page_bytes, a->state_bytes};
    return (md_kv_file_bytes(&shape, true) + 63) / 64 * 64;
}

static int32_t slots(const md_kv_disk_args *a)
{
    const size_t n = MD_KV_DISK_QUEUE / slot_bytes(a);
    return n > MOST_QUEUED ? MOST_QUEUED : n < 2 ? 2 : (int32_t)n;
}

static md_status start(md_kv_disk *d, const md_kv_disk_args *args, md_error *err)
{
    d->slot_bytes = slot_bytes(args);
    d->n_queue = slots(args);
    void *queue = mmap(NULL, (size_t)d->n_queue * d->slot_bytes, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    MD_FAIL_IF(queue == MAP_FAILED, MD_ERR_MEMORY, "cannot reserve memory for the queue of pages to be saved: %s",
               strerror(errno));
    d->queue = queue;
    const int code = pthread_create(&d->writer, NULL, write_queued, d);
    MD_FAIL_IF(code != 0, MD_ERR_MEMORY, "cannot start the thread that saves pages: %s", strerror(code));
    d->has_writer = true;
    return MD_OK;
}

md_status md_kv_disk_open(const md_kv_disk_args *args, md_kv_disk **out, md_error *err)
{
    *out = NULL;
    MD_FAIL_IF(args->bytes <= 0, MD_ERR_ARGUMENT, "kept pages in '%s' may take %lld bytes; give a limit above 0",
               args->folder, (long long)args->bytes);
    md_kv_disk *d = md_calloc(1, sizeof *d);
    if (!d)
        return md_fail_memory(err, "the folder of kept pages");
    d->shape = (md_kv_file_shape){args->page_bytes, args->state_bytes};
    d->limit = (uint64_t)args->bytes;
    d->fd = -1;
    pthread_mutex_init(&d->lock, NULL);
    pthread_cond_init(&d->changed, NULL);
    md_status status = md_kv_index_init(&d->index) ? MD_OK : md_fail_memory(err, "the list of kept pages");
    if (status == MD_OK)
        status = open_folder(args->folder, &d->fd, err);
    if (status == MD_OK)
        status = scan(d, args->folder, err);
    if (status == MD_OK) {
        pthread_mutex_lock(&d->lock);
        (void)make_room(d, 0);
        pthread_mutex_unlock(&d->lock);
        status = start(d, args, err);
    }
    if (status != MD_OK) {
        md_kv_disk_close(d);
        return status;
    }
    *out = d;
    return MD_OK;
}

/* The order of last use, as times that ascend. */
static void write_times(const md_kv_disk *d)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    for (int32_t i = d->index.oldest; i >= 0; i = d->index.entry[i].newer) {
        char name[MD_KV_NAME_BYTES];
        const struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, now};
        if (!d->index.entry[i].touched)
            continue;
        md_kv_name_of(d->index.entry[i].key, false, name);
        (void)utimensat(d->fd, name, times, AT_SYMLINK_NOFOLLOW);
        now.tv_nsec = (now.tv_nsec + 1000) % 1000000000;
        now.tv_sec += now.tv_nsec < 1000;
    }
}

void md_kv_disk_close(md_kv_disk *d)
{
    if (!d)
        return;
    if (d->has_writer) {
        pthread_mutex_lock(&d->lock);
        d->quit = true;
        pthread_cond_broadcast(&d->changed);
        pthread_mutex_unlock(&d->lock);
        pthread_join(d->writer, NULL);
        write_times(d);
    }
    if (d->fd >= 0)
        close(d->fd);
    if (d->queue)
        munmap(d->queue, (size_t)d->n_queue * d->slot_bytes);
    md_kv_index_done(&d->index);
    pthread_cond_destroy(&d->changed);
    pthread_mutex_destroy(&d->lock);
    md_free(d);
}

/* ---- asked ---- */

bool md_kv_disk_has(md_kv_disk *d, const unsigned char key[MD_KV_KEY_BYTES], bool *state)
{
    pthread_mutex_lock(&d->lock);
    const int32_t i = md_kv_index_find(&d->index, key);
    const uint64_t bytes = i < 0 ? 0 : d->index.entry[i].bytes;
    pthread_mutex_unlock(&d->lock);
    *state = d->shape.state_bytes > 0 && bytes == md_kv_file_bytes(&d->shape, true);
    return *state || (i >= 0 && bytes == md_kv_file_bytes(&d->shape, false));
}

void md_kv_disk_touch(md_kv_disk *d, const unsigned char key[MD_KV_KEY_BYTES])
{
    pthread_mutex_lock(&d->lock);
    const int32_t i = md_kv_index_find(&d->index, key);
    if (i >= 0)
        md_kv_index_touch(&d->index, i);
    pthread_mutex_unlock(&d->lock);
}

bool md_kv_disk_put(md_kv_disk *d, const unsigned char key[MD_KV_KEY_BYTES], const int32_t token[MD_TILE],
                    const unsigned char *page, const float *state, bool wait)
{
    pthread_mutex_lock(&d->lock);
    while (wait && d->n_queued == d->n_queue)
        pthread_cond_wait(&d->changed, &d->lock);
    const bool room = d->n_queued < d->n_queue;
    const int32_t at = (d->first + d->n_queued) % d->n_queue;
    pthread_mutex_unlock(&d->lock);
    if (!room)
        return false;
    /* The place is nobody else's until it counts as queued. */
    d->bytes[at] = md_kv_file_make(&d->shape, key, token, page, state, d->queue + (size_t)at * d->slot_bytes);
    pthread_mutex_lock(&d->lock);
    d->n_queued++;
    pthread_cond_broadcast(&d->changed);
    pthread_mutex_unlock(&d->lock);
    return true;
}

/* The file is not what its name says, or not there. */
static void forget(md_kv_disk *d, const unsigned char *key)
{
    pthread_mutex_lock(&d->lock);
    const int32_t i = md_kv_index_find(&d->index, key);
    if (i >= 0)
        md_kv_index_remove(&d->index, i);
    pthread_mutex_unlock(&d->lock);
    unlink_key(d, key);
}

bool md_kv_disk_get(md_kv_disk *d, const unsigned char key[MD_KV_KEY_BYTES], const int32_t token[MD_TILE],
                    unsigned char *page, float *state)
{
    char name[MD_KV_NAME_BYTES];
    md_kv_name_of(key, false, name);
    const int fd = openat(d->fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    const bool out_of_files = fd < 0 && (errno == EMFILE || errno == ENFILE);
    const bool ok = fd >= 0 && md_kv_file_read(fd, &d->shape, key, token, page, state);
    if (fd >= 0)
        close(fd);
    if (ok)
        md_kv_disk_touch(d, key);
    else if (!out_of_files)
        forget(d, key);
    return ok;
}

int32_t md_kv_disk_most(const md_kv_disk *d)
{
    const uint64_t n = d->limit / md_kv_index_cost(md_kv_file_bytes(&d->shape, true));
    return n < INT32_MAX ? (int32_t)n : INT32_MAX;
}

uint64_t md_kv_disk_saved(md_kv_disk *d)
{
    pthread_mutex_lock(&d->lock);
    const uint64_t n = d->saved;
    pthread_mutex_unlock(&d->lock);
    return n;
}

uint64_t md_kv_disk_used(md_kv_disk *d)
{
    pthread_mutex_lock(&d->lock);
    const uint64_t n = d->index.used;
    pthread_mutex_unlock(&d->lock);
    return n;
}
