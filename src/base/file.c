/* SPDX-License-Identifier: Apache-2.0 */
#include "base/file.h"
#include "base/mem.h"
#include "base/status.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- reading ---- */

md_status md_map_open_front(const char *path, size_t limit, md_map *out, uint64_t *file_size, md_error *err)
{
    *out = (md_map){0};
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    MD_FAIL_IF(fd < 0, MD_ERR_IO, "cannot open '%s': %s", path, strerror(errno));
    struct stat st;
    md_status status = MD_OK;
    if (fstat(fd, &st) != 0)
        status = md_fail(err, MD_ERR_IO, "cannot stat '%s': %s", path, strerror(errno));
    else if (!S_ISREG(st.st_mode))
        status = md_fail(err, MD_ERR_IO, "'%s' is %s, not a file", path,
                         S_ISDIR(st.st_mode) ? "a directory" : "a device or pipe");
    if (status == MD_OK) {
        *file_size = (uint64_t)st.st_size;
        const size_t n = *file_size > limit ? limit : (size_t)st.st_size;
        if (n > 0) {
            void *p = mmap(NULL, n, PROT_READ, MAP_SHARED, fd, 0);
            if (p == MAP_FAILED)
                status = md_fail(err, MD_ERR_IO, "cannot map '%s': %s", path, strerror(errno));
            else
                *out = (md_map){.bytes = p, .n = n};
        }
    }
    close(fd);
    return status;
}

md_status md_map_open(const char *path, md_map *out, md_error *err)
{
    uint64_t size;
    return md_map_open_front(path, SIZE_MAX / 2, out, &size, err);
}

void md_map_close(md_map *m)
{
    if (m->bytes)
        munmap((void *)(uintptr_t)m->bytes, m->n);
    *m = (md_map){0};
}

void md_map_keep(md_map *m, size_t n)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE), kept = (n + page - 1) / page * page;
    if (!m->bytes || kept == 0 || kept >= m->n)
        return;
    munmap((void *)(uintptr_t)(m->bytes + kept), m->n - kept);
    m->n = kept;
}

void md_map_prefetch(const md_map *m, size_t offset, size_t n)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    if (offset >= m->n)
        return;
    if (n > m->n - offset)
        n = m->n - offset;
    const size_t start = offset / page * page;
    (void)madvise((void *)(uintptr_t)(m->bytes + start), n + (offset - start), MADV_WILLNEED);
}

/* ---- reading by offset ---- */

md_status md_in_open(const char *path, md_in *out, md_error *err)
{
    *out = (md_in){.fd = open(path, O_RDONLY | O_CLOEXEC), .path = path};
    MD_FAIL_IF(out->fd < 0, MD_ERR_IO, "cannot open '%s': %s", path, strerror(errno));
    struct stat st;
    if (fstat(out->fd, &st) != 0) {
        const int code = errno;
        md_in_close(out);
        return md_fail(err, MD_ERR_IO, "cannot stat '%s': %s", path, strerror(code));
    }
    out->n = (uint64_t)st.st_size;
    return MD_OK;
}

md_status md_in_read(const md_in *f, uint64_t offset, void *dst, size_t n, md_error *err)
{
    char *at = dst;
    while (n > 0) {
        const ssize_t got = pread(f->fd, at, n < (size_t)1 << 30 ? n : (size_t)1 << 30, (off_t)offset);
        if (got < 0 && errno == EINTR)
            continue;
        MD_FAIL_IF(got < 0, MD_ERR_IO, "cannot read '%s' at byte %llu: %s", f->path, (unsigned long long)offset,
                   strerror(errno));
        MD_FAIL_IF(got == 0, MD_ERR_IO, "'%s' ends at byte %llu although it was longer a moment ago", f->path,
                   (unsigned long long)offset);
        at += got;
        offset += (uint64_t)got;
        n -= (size_t)got;
    }
    return MD_OK;
}

void md_in_forget(const md_in *f, uint64_t offset, size_t n)
{
    (void)posix_fadvise(f->fd, (off_t)offset, (off_t)n, POSIX_FADV_DONTNEED);
}

void md_in_close(md_in *f)
{
    if (f->fd >= 0)
        close(f->fd);
    f->fd = -1;
}

/* ---- writing ---- */

#define OUT_BUFFER ((size_t)1 << 20)

struct md_out {
    int fd;
    char *path;   /* owned: the target */
    char *folder; /* owned: where it lies */
    char *part;   /* owned: the named temporary file, NULL while the file has no name */
    char *buffer; /* owned */
    size_t fill;
    bool committed;
};

static md_status out_error(const md_out *o, const char *verb, int code, md_error *err)
{
    return md_fail(err, MD_ERR_IO, "cannot %s '%s': %s", verb, o->path, strerror(code));
}

/* A name beside the target that no other writer uses: the process id and the stream's own address tell them apart. */
static char *part_name(const md_out *o)
{
    md_buf b = {0};
    const char *slash = strrchr(o->path, '/');
    md_buf_printf(&b, "%s/.%s.%ld-%zx.part", o->folder, slash ? slash + 1 : o->path, (long)getpid(), (size_t)o >> 4);
    if (b.failed) {
        md_buf_done(&b);
        return NULL;
    }
    return b.data;
}

static md_status out_open_file(md_out *o, md_error *err)
{
    struct stat st;
    MD_FAIL_IF(!o->path[0], MD_ERR_IO, "cannot write a file without a name");
    if (stat(o->path, &st) == 0 && !S_ISREG(st.st_mode))
        return md_fail(err, MD_ERR_IO, "cannot write '%s': it is %s", o->path,
                       S_ISDIR(st.st_mode) ? "a directory" : "not a regular file");
    o->fd = open(o->folder, O_TMPFILE | O_WRONLY | O_CLOEXEC, 0666);
    if (o->fd >= 0)
        return MD_OK;
    if (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL)
        return out_error(o, "write", errno, err);
    o->part = part_name(o);
    if (!o->part)
        return md_fail_memory(err, "an output file");
    o->fd = open(o->part, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0666);
    if (o->fd < 0) {
        const int code = errno;
        md_free(o->part);
        o->part = NULL;
        return out_error(o, "write", code, err);
    }
    return MD_OK;
}

md_status md_out_open(const char *path, md_out **out, md_error *err)
{
    *out = NULL;
    md_out *o = md_calloc(1, sizeof *o);
    if (!o)
        return md_fail_memory(err, "an output file");
    o->fd = -1;
    o->path = md_strdup(path);
    o->folder = md_strdup(path);
    o->buffer = md_calloc(OUT_BUFFER, 1);
    md_status status;
    if (!o->path || !o->folder || !o->buffer) {
        status = md_fail_memory(err, "an output file");
    } else {
        char *slash = strrchr(o->folder, '/');
        if (slash)
            slash[slash == o->folder ? 1 : 0] = '\0';
        else if (path[0])
            strcpy(o->folder, ".");
        status = out_open_file(o, err);
    }
    if (status != MD_OK) {
        md_out_close(o);
        return status;
    }
    *out = o;
    return MD_OK;
}

static md_status out_flush(md_out *o, const char *p, size_t n, md_error *err)
{
    while (n > 0) {
        const ssize_t done = write(o->fd, p, n);
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return out_error(o, "write", done < 0 ? errno : ENOSPC, err);
        p += done;
        n -= (size_t)done;
    }
    return MD_OK;
}

md_status md_out_write(md_out *o, const void *bytes, size_t n, md_error *err)
{
    if (n >= OUT_BUFFER - o->fill) {
        MD_TRY(out_flush(o, o->buffer, o->fill, err));
        o->fill = 0;
        if (n >= OUT_BUFFER)
            return out_flush(o, bytes, n, err);
    }
    if (n)
        memcpy(o->buffer + o->fill, bytes, n);
    o->fill += n;
    return MD_OK;
}

/* Gives the unnamed file its name at once, which leaves nothing behind whenever the process is killed. Where there is such a file already:
 * a name beside it, from which a rename can replace it. */
static md_status out_link(md_out *o, md_error *err)
{
    char from[64];
    snprintf(from, sizeof from, "/proc/self/fd/%d", o->fd);
    if (linkat(AT_FDCWD, from, AT_FDCWD, o->path, AT_SYMLINK_FOLLOW) == 0) {
        o->committed = true;
        return MD_OK;
    }
    if (errno != EEXIST)
        return out_error(o, "write", errno, err);
    char *part = part_name(o);
    if (!part)
        return md_fail_memory(err, "an output file");
    unlink(part);
    if (linkat(AT_FDCWD, from, AT_FDCWD, part, AT_SYMLINK_FOLLOW) != 0) {
        const int code = errno;
        md_free(part);
        return out_error(o, "write", code, err);
    }
    o->part = part;
    return MD_OK;
}

md_status md_out_commit(md_out *o, md_error *err)
{
    MD_TRY(out_flush(o, o->buffer, o->fill, err));
    o->fill = 0;
    if (fsync(o->fd) != 0)
        return out_error(o, "sync", errno, err);
    if (!o->part)
        MD_TRY(out_link(o, err));
    if (!o->committed && rename(o->part, o->path) != 0)
        return out_error(o, "write", errno, err);
    o->committed = true;
    const int dir = open(o->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir >= 0) { /* some file systems cannot sync a folder; the file itself is safe */
        (void)fsync(dir);
        close(dir);
    }
    return MD_OK;
}

void md_out_close(md_out *o)
{
    if (!o)
        return;
    if (o->fd >= 0)
        close(o->fd);
    if (o->part && !o->committed)
        unlink(o->part);
    md_free(o->path);
    md_free(o->folder);
    md_free(o->part);
    md_free(o->buffer);
    md_free(o);
}
