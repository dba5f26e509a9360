/* SPDX-License-Identifier: Apache-2.0
 *
 * The reader's files: each is open twice, for direct reads where the file system has them, and through the page cache for
 * what direct reads cannot do. */
#include "base/reader_inner.h"

#include "base/mem.h"
#include "base/status.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void md_reader_go_plain(const md_reader *r, md_piece *p)
{
    p->fd = r->file[p->read->file].fd;
    p->direct = false;
    p->ask = p->need;
}

static void close_file(md_reader_file *f)
{
    if (f->fd >= 0)
        close(f->fd);
    if (f->direct_fd >= 0)
        close(f->direct_fd);
    md_free(f->path);
}

void md_reader_close_files(md_reader *r)
{
    for (int32_t i = 0; i < r->n_files; i++)
        close_file(&r->file[i]);
    md_free(r->file);
}

/* The same file again, past the page cache; -1 where that is not possible, whatever the reason. */
static int open_direct(const char *path, const struct stat *is)
{
    const int fd = open(path, O_RDONLY | O_DIRECT | O_CLOEXEC);
    if (fd < 0)
        return -1;
    struct stat st;
    if (fstat(fd, &st) == 0 && st.st_dev == is->st_dev && st.st_ino == is->st_ino)
        return fd;
    close(fd); /* another took its name just now */
    return -1;
}

/* Fills *f as far as it gets; the caller closes it. */
static md_status open_file(const md_reader *r, const char *path, md_reader_file *f, md_error *err)
{
    struct stat st;
    f->fd = open(path, O_RDONLY | O_CLOEXEC);
    MD_FAIL_IF(f->fd < 0, MD_ERR_IO, "cannot open '%s': %s", path, strerror(errno));
    MD_FAIL_IF(fstat(f->fd, &st) != 0, MD_ERR_IO, "cannot stat '%s': %s", path, strerror(errno));
    MD_FAIL_IF(!S_ISREG(st.st_mode), MD_ERR_IO, "'%s' is %s, not a file", path,
               S_ISDIR(st.st_mode) ? "a directory" : "a device or pipe");
    f->size = (uint64_t)st.st_size;
    f->changed = st.st_mtim;
    f->path = md_strdup(path);
    if (!f->path)
        return md_fail_memory(err, "a file's name");
    if (r->direct) { /* what is read is large and read once: nothing is to be read ahead into the cache */
        (void)posix_fadvise(f->fd, 0, 0, POSIX_FADV_RANDOM);
        if (!r->hooks.no_direct)
            f->direct_fd = open_direct(path, &st);
    }
    return MD_OK;
}

static bool grow(md_reader *r)
{
    if (r->n_files < r->cap_files)
        return true;
    const int32_t cap = r->cap_files ? r->cap_files * 2 : 4;
    md_reader_file *p = r->n_files < INT32_MAX / 2 ? md_realloc(r->file, (size_t)cap, sizeof *p) : NULL;
    if (!p)
        return false;
    r->file = p;
    r->cap_files = cap;
    return true;
}

md_status md_reader_add_file(md_reader *r, const char *path, int32_t *file, md_error *err)
{
    *file = -1;
    md_reader_file f = {.fd = -1, .direct_fd = -1};
    md_status status = open_file(r, path, &f, err);
    if (status == MD_OK) {
        pthread_mutex_lock(&r->lock);
        if (grow(r)) {
            r->file[r->n_files] = f;
            *file = r->n_files++;
        } else {
            status = md_fail_memory(err, "the list of files to read");
        }
        pthread_mutex_unlock(&r->lock);
    }
    if (status != MD_OK)
        close_file(&f);
    return status;
}

/* A copy: the list may grow meanwhile. Its path lives as long as the reader. */
static bool file_of(md_reader *r, int32_t file, md_reader_file *out)
{
    pthread_mutex_lock(&r->lock);
    const bool there = file >= 0 && file < r->n_files;
    if (there)
        *out = r->file[file];
    pthread_mutex_unlock(&r->lock);
    return there;
}

uint64_t md_reader_file_size(md_reader *r, int32_t file)
{
    md_reader_file f;
    return file_of(r, file, &f) ? f.size : 0;
}

bool md_reader_file_changed(md_reader *r, int32_t file)
{
    md_reader_file f;
    struct stat st;
    if (!file_of(r, file, &f) || fstat(f.fd, &st) != 0)
        return true;
    return (uint64_t)st.st_size != f.size || st.st_mtim.tv_sec != f.changed.tv_sec ||
           st.st_mtim.tv_nsec != f.changed.tv_nsec;
}

md_status md_reader_explain(md_reader *r, const md_read *read, md_error *err)
{
    md_reader_file f;
    const unsigned long long at = read->offset;
    if (read->status == MD_OK)
        return MD_OK;
    if (read->status == MD_ERR_ARGUMENT || !file_of(r, read->file, &f))
        return md_fail(err, MD_ERR_ARGUMENT, "a read of %zu bytes at byte %llu of file %d is not possible", read->n, at,
                       (int)read->file);
    MD_FAIL_IF(read->os_error != 0, MD_ERR_IO, "cannot read %zu bytes of '%s' at byte %llu: %s", read->n, f.path, at,
               strerror(read->os_error));
    return md_fail(err, MD_ERR_IO, "'%s' ends before byte %llu although it had %llu bytes when it was opened", f.path,
                   at + read->n, (unsigned long long)f.size);
}
