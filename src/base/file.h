/* SPDX-License-Identifier: Apache-2.0
 *
 * Files: mapped for reading; written aside, synced and renamed. */
#ifndef MD_BASE_FILE_H
#define MD_BASE_FILE_H

#include <medley/error.h>
#include <stddef.h>
#include <stdint.h>

typedef struct md_map {
    const unsigned char *bytes; /* owned by the map, read-only; NULL for an empty file */
    size_t n;
} md_map;

/* Maps the whole of a regular file (a directory, a device or a missing file is an error that names it). */
md_status md_map_open(const char *path, md_map *out, md_error *err) MD_MUST_USE;
/* Maps at most the first `limit` bytes and reports the file's real size in *file_size. */
md_status md_map_open_front(const char *path, size_t limit, md_map *out, uint64_t *file_size,
                            md_error *err) MD_MUST_USE;
void md_map_close(md_map *m);
/* Keeps the first n bytes mapped and lets go of the rest (whole pages of it). */
void md_map_keep(md_map *m, size_t n);
/* Asks the kernel to bring [offset, offset+n) in soon. A hint: cannot fail. */
void md_map_prefetch(const md_map *m, size_t offset, size_t n);

/* A file read by offset, without a map: a file that is cut short meanwhile is an error, not a signal. May be read from any
 * number of threads at once. */
typedef struct md_in {
    int fd;           /* owned; -1: none */
    const char *path; /* borrowed */
    uint64_t n;       /* bytes when it was opened */
} md_in;
md_status md_in_open(const char *path, md_in *out, md_error *err) MD_MUST_USE;
/* Exactly n bytes at offset; fewer are MD_ERR_IO. */
md_status md_in_read(const md_in *f, uint64_t offset, void *dst, size_t n, md_error *err) MD_MUST_USE;
/* Lets the page cache forget [offset, offset + n). A hint. */
void md_in_forget(const md_in *f, uint64_t offset, size_t n);
void md_in_close(md_in *f); /* one that was not opened ({.fd = -1}) allowed */

/* An output file that appears whole or not at all, even if the process is killed: bytes go to an unnamed file in the
 * target's folder (a named ".NAME.part" where the file system has no unnamed files) until commit renames it in place.
 * One thread at a time. */
typedef struct md_out md_out;
md_status md_out_open(const char *path, md_out **out, md_error *err) MD_MUST_USE;
md_status md_out_write(md_out *o, const void *bytes, size_t n, md_error *err) MD_MUST_USE;
md_status md_out_commit(md_out *o, md_error *err) MD_MUST_USE; /* flush, fsync, rename, fsync of the folder */
void md_out_close(md_out *o);                                  /* NULL allowed; without commit nothing stays behind */

#endif
