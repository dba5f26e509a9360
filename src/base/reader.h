/* SPDX-License-Identifier: Apache-2.0
 *
 * Reads pieces of files in the background, past the page cache where the file system allows it: by io_uring where the kernel
 * permits, else by threads that call pread. A large read goes out in pieces, so that many are in flight and an urgent read
 * overtakes one that is half way. Short reads are continued, interrupted ones tried again; where O_DIRECT is refused, the page
 * cache is used and emptied behind each piece. Knows nothing about what it reads. Nothing allocates once files are added.
 *
 * Threading: everything but new and free may be called from any thread at any time, submit and done under a lock of the
 * caller's, too: only md_reader_done with `wait` blocks, the rest holds a lock of the reader's own for moments and never
 * waits for a disk (add_file opens a file). A thread that waits is woken by a completion, or by the last outstanding read
 * being cancelled. Order: urgent reads before others, each kind in the order of submission; completions come as they come. */
#ifndef MD_BASE_READER_H
#define MD_BASE_READER_H

#include <medley/error.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MD_READER_ALIGN     4096u               /* of buffers, and of what is read from a file */
#define MD_READER_PIECE     ((size_t)256 << 10) /* of a large read, unless asked otherwise */
#define MD_READER_MAX_DEPTH 128

typedef struct md_reader md_reader;

typedef enum md_reader_backend {
    MD_READER_AUTO,    /* io_uring, or threads where that is not to be had; nobody is told but by md_reader_describe */
    MD_READER_URING,   /* io_uring or an error (MD_ERR_UNSUPPORTED) */
    MD_READER_THREADS, /* as many threads as `depth` */
} md_reader_backend;

typedef struct md_reader_args {
    md_reader_backend backend;
    int32_t depth; /* pieces in flight, 1..MD_READER_MAX_DEPTH */
    int32_t
        background; /* at most so many of them for reads that are not urgent, so that urgent ones find the disk's queue
                         * short; 0: all */
    size_t piece;   /* bytes of a piece, a multiple of MD_READER_ALIGN up to 1 GiB; 0: MD_READER_PIECE */
    bool direct;    /* past the page cache where the file system can */
} md_reader_args;

/* One read. From submit until md_reader_done gives it back, or cancel takes it back, or md_reader_free returns, the struct and
 * its buffer are the reader's. Starts as {0} but for what the caller sets; may be used again afterwards. */
typedef struct md_read {
    int32_t file; /* of md_reader_add_file */
    bool urgent;
    uint64_t offset; /* any */
    size_t n;        /* any */
    /* Borrowed, at a multiple of MD_READER_ALIGN, md_reader_room(offset, n) bytes: whole blocks may be read, and the wanted bytes
     * begin at buffer + offset % MD_READER_ALIGN. What lies around them is undefined afterwards. */
    unsigned char *buffer;
    void *user; /* the caller's */

    /* When it is done: MD_OK; MD_ERR_IO, then what the system said, 0 if the file ended too early; MD_ERR_ARGUMENT for a read
     * that cannot be (no such file, a buffer that is not aligned, an end past 2^63). */
    md_status status;
    int os_error;

    struct md_read *next,
        *prev;         /* the reader's, as are the rest; `next` is free for the caller's use while the read is */
    size_t begun;      /* bytes that are read or in flight */
    int32_t in_flight; /* pieces */
    int32_t place;     /* which list it is in */
} md_read;

/* Bytes that the buffer of a read must have; SIZE_MAX if there is no such number. */
size_t md_reader_room(uint64_t offset, size_t n);

md_status md_reader_new(const md_reader_args *args, md_reader **out, md_error *err) MD_MUST_USE;
/* Waits for what is in flight; reads that have not started never do. No other thread may be in a call. NULL allowed. */
void md_reader_free(md_reader *r);

/* Opens a file (a directory, a device or a missing file is an error that names it). Files are numbered from 0. They stay open,
 * so one that is replaced under its name is still read as it was. */
md_status md_reader_add_file(md_reader *r, const char *path, int32_t *file, md_error *err) MD_MUST_USE;
uint64_t md_reader_file_size(md_reader *r, int32_t file); /* when it was added */
/* Whether somebody wrote to the file or cut it since it was added (its size or time of change differ, or cannot be had). A
 * system call, no more. */
bool md_reader_file_changed(md_reader *r, int32_t file);

/* Tells the kernel once about memory that reads will go to, which spares it work at each read (io_uring only). All its pages
 * are taken at once and stay in memory until the reader goes; the memory must live as long. False where it is refused (limits of
 * locked memory) or means nothing: reads go there all the same. */
bool md_reader_register(md_reader *r, void *memory, size_t n);

void md_reader_submit(md_reader *r, md_read *read);
/* Makes a read urgent of which some still waits; false if none does, or it was urgent. */
bool md_reader_promote(md_reader *r, md_read *read);
/* Takes back a read that has not started; false if it has: then it will be done. */
bool md_reader_cancel(md_reader *r, md_read *read);
/* A read that is done, or NULL if there is none; with `wait`, NULL only if none is outstanding. */
md_read *md_reader_done(md_reader *r, bool wait);
/* The sentence for a read that is done; returns its status. */
md_status md_reader_explain(md_reader *r, const md_read *read, md_error *err);

uint64_t md_reader_bytes(md_reader *r); /* read from files so far, for figures */
/* "io_uring, direct", "io_uring, registered, direct", "4 threads, buffered"; "partly direct" where files differ. Writes to buf,
 * returns it; 64 bytes are enough. */
const char *md_reader_describe(md_reader *r, char *buf, size_t n);

#endif
