/* SPDX-License-Identifier: Apache-2.0
 *
 * The reader's threads, for where there is no io_uring: each takes a piece, reads it with pread and settles it. */
#include "base/reader_inner.h"

#include "base/mem.h"
#include "base/status.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

static int64_t transfer(const md_piece *p)
{
    const ssize_t got = pread(p->fd, p->to, p->ask, (off_t)p->at);
    return got < 0 ? -(int64_t)errno : (int64_t)got;
}

static void *run(void *arg)
{
    md_reader *r = arg;
    md_piece p;
    pthread_mutex_lock(&r->lock);
    while (!r->quit) {
        if (!md_reader_take(r, &p)) {
            pthread_cond_wait(&r->work, &r->lock);
            continue;
        }
        int64_t got;
        do {
            pthread_mutex_unlock(&r->lock);
            got = md_reader_received(r, &p, transfer(&p));
            pthread_mutex_lock(&r->lock);
        } while (!md_reader_settle(r, &p, got));
    }
    pthread_mutex_unlock(&r->lock);
    return NULL;
}

/* Fewer threads than asked for will do. */
md_status md_reader_threads_start(md_reader *r, md_error *err)
{
    r->thread = md_calloc((size_t)r->depth, sizeof *r->thread);
    if (!r->thread)
        return md_fail_memory(err, "threads that read files");
    int code = 0;
    for (int32_t n = 0; n < r->depth && code == 0; n++) {
        code = pthread_create(&r->thread[n], NULL, run, r);
        r->n_threads += code == 0;
    }
    MD_FAIL_IF(r->n_threads == 0, MD_ERR_MEMORY, "cannot start a thread that reads files: %s", strerror(code));
    return MD_OK;
}

/* A thread for each piece, if so many sleep; those at work look for more before they sleep. */
void md_reader_threads_wake(md_reader *r, size_t pieces)
{
    for (size_t i = 0; i < pieces && i < (size_t)r->n_threads; i++)
        pthread_cond_signal(&r->work);
}

void md_reader_threads_stop(md_reader *r)
{
    pthread_cond_broadcast(&r->work);
    for (int32_t i = 0; i < r->n_threads; i++)
        pthread_join(r->thread[i], NULL);
    md_free(r->thread);
}
