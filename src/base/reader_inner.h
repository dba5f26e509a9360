/* SPDX-License-Identifier: Apache-2.0
 *
 * What the parts of the reader share: its queues (reader.c), its files (reader_file.c) and its two backends, which take pieces,
 * move bytes without the lock held, and settle what came of it. Tests put themselves between the system and the reader with
 * hooks. Functions marked (locked) are called with r->lock held. */
#ifndef MD_BASE_READER_INNER_H
#define MD_BASE_READER_INNER_H

#include "base/reader.h"

#include <pthread.h>
#include <time.h>

/* One transfer under way. The backend owns it; `at`, `to`, `ask` and `need` move on when a transfer was short. */
typedef struct md_piece {
    md_read *read;     /* borrowed */
    uint64_t at;       /* in the file */
    unsigned char *to; /* borrowed */
    size_t ask;        /* bytes to ask for */
    size_t need;       /* until the last wanted byte of this piece, at most `ask` */
    int fd;
    bool direct;
    bool background;  /* counts as such until it ends, even if its read is promoted meanwhile */
    int32_t attempts; /* in a row that moved nothing */
} md_piece;

/* The system as tests want it. Zeroed: as it is. */
typedef struct md_reader_hooks {
    void *ctx;
    /* Called without the lock by the backend's threads after each transfer: what it gave (bytes, or minus an errno) in, what it
     * is to have given out. May block, so that a piece stays in flight. NULL: none. */
    int64_t (*result)(void *ctx, const md_piece *p, int64_t got);
    int ring_error;     /* an errno: making a ring fails with it */
    int register_error; /* an errno: registering memory fails with it */
    bool no_direct;     /* files cannot be opened with O_DIRECT */
} md_reader_hooks;

typedef struct md_reader_list {
    md_read *head, *tail;
} md_reader_list;

typedef struct md_reader_file {
    char *path;    /* owned */
    int fd;        /* owned: through the page cache */
    int direct_fd; /* owned: past it; -1: none */
    bool refused;  /* the file system takes no direct reads although the file was opened for them */
    uint64_t size; /* when it was added, as is the next */
    struct timespec changed;
} md_reader_file;

/* Where a read is: md_read.place. */
enum { MD_PLACE_NONE, MD_PLACE_URGENT, MD_PLACE_BACKGROUND, MD_PLACE_BEGUN /* all pieces are */, MD_PLACE_DONE };

struct md_reader {
    int32_t depth, background;
    size_t piece;
    bool direct; /* asked for */
    md_reader_hooks hooks;

    pthread_mutex_t lock; /* of everything below but the backends' own */
    pthread_cond_t arrived;
    md_reader_list urgent, waiting, done;
    int64_t outstanding;       /* submitted, not given back */
    int32_t background_flight; /* pieces */
    uint64_t bytes;
    bool quit;
    md_reader_file *file; /* owned, [n_files] */
    int32_t n_files, cap_files;

    struct md_reader_ring *ring; /* owned; NULL: threads */
    pthread_cond_t work;         /* for threads */
    pthread_t *thread;           /* owned, [n_threads] */
    int32_t n_threads;
};

md_status md_reader_new_hooked(const md_reader_args *args, const md_reader_hooks *hooks, md_reader **out,
                               md_error *err) MD_MUST_USE;

/* (locked) The next piece to transfer; false if there is none now, or the reader quits. */
bool md_reader_take(md_reader *r, md_piece *p);
/* After each transfer, without the lock: got is bytes or minus an errno; returns what settle is to have. */
int64_t md_reader_received(md_reader *r, const md_piece *p, int64_t got);
/* (locked) True: the piece has ended. False: it is to be transferred as it now stands. */
bool md_reader_settle(md_reader *r, md_piece *p, int64_t got);

/* (locked) Makes the piece a read through the page cache, from where it stands. */
void md_reader_go_plain(const md_reader *r, md_piece *p);
void md_reader_close_files(md_reader *r);

/* Threads */
md_status md_reader_threads_start(md_reader *r, md_error *err) MD_MUST_USE;
void md_reader_threads_wake(md_reader *r, size_t pieces); /* that wait now */
void md_reader_threads_stop(md_reader *r);                /* r->quit is set; returns when no transfer is under way */

/* io_uring. A start that fails leaves r->ring NULL. */
#ifdef MD_WITH_URING
md_status md_reader_uring_start(md_reader *r, md_error *err) MD_MUST_USE;
void md_reader_uring_wake(md_reader *r);
void md_reader_uring_stop(md_reader *r); /* likewise */
bool md_reader_uring_register(md_reader *r, unsigned char *memory, size_t n);
bool md_reader_uring_registered(const md_reader *r); /* (locked) some memory is */
#endif

#endif
