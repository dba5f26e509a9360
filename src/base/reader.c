/* SPDX-License-Identifier: Apache-2.0
 *
 * The reader's queues. A read waits in the urgent or the background list while some of it has not begun, is in no list while
 * only transfers are under way, and ends in the list of those done. Lists are linked through the reads, so nothing
 * allocates. A read that failed begins no further piece and is done when its last transfer ends: its buffer is then its
 * owner's for certain. */
#include "base/reader_inner.h"

#include "base/mem.h"
#include "base/status.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

/* Attempts at a transfer that is interrupted, or put off, without a byte: more than any system needs. */
#define MAX_ATTEMPTS 1000

size_t md_reader_room(uint64_t offset, size_t n)
{
    size_t room;
    if (n == 0)
        return 0;
    if (!md_add((size_t)(offset % MD_READER_ALIGN), n, &room) || !md_add(room, MD_READER_ALIGN - 1, &room))
        return SIZE_MAX;
    return room / MD_READER_ALIGN * MD_READER_ALIGN;
}

/* ---- lists ---- */

static void append(md_reader_list *l, md_read *read, int32_t place)
{
    read->next = NULL;
    read->prev = l->tail;
    if (l->tail)
        l->tail->next = read;
    else
        l->head = read;
    l->tail = read;
    read->place = place;
}

static void take_out(md_reader_list *l, md_read *read, int32_t place)
{
    if (read->prev)
        read->prev->next = read->next;
    else
        l->head = read->next;
    if (read->next)
        read->next->prev = read->prev;
    else
        l->tail = read->prev;
    read->next = read->prev = NULL;
    read->place = place;
}

/* The list in which it waits; NULL: none. */
static md_reader_list *waits_in(md_reader *r, const md_read *read)
{
    return read->place == MD_PLACE_URGENT ? &r->urgent : read->place == MD_PLACE_BACKGROUND ? &r->waiting : NULL;
}

static void enqueue(md_reader *r, md_read *read)
{
    append(read->urgent ? &r->urgent : &r->waiting, read, read->urgent ? MD_PLACE_URGENT : MD_PLACE_BACKGROUND);
}

static void complete(md_reader *r, md_read *read)
{
    append(&r->done, read, MD_PLACE_DONE);
    pthread_cond_signal(&r->arrived);
}

/* ---- pieces ---- */

/* The list whose first read is next; NULL: nothing can begin now. */
static md_reader_list *next_list(md_reader *r)
{
    if (r->quit)
        return NULL;
    if (r->urgent.head)
        return &r->urgent;
    return r->waiting.head && r->background_flight < r->background ? &r->waiting : NULL;
}

bool md_reader_take(md_reader *r, md_piece *p)
{
    md_reader_list *l = next_list(r);
    if (!l)
        return false;
    md_read *read = l->head;
    const md_reader_file *f = &r->file[read->file];
    const size_t left = md_reader_room(read->offset, read->n) - read->begun, ask = left < r->piece ? left : r->piece;
    const uint64_t at = read->offset / MD_READER_ALIGN * MD_READER_ALIGN + read->begun;
    const uint64_t wanted = read->offset + read->n - at;
    *p = (md_piece){.read = read,
                    .at = at,
                    .to = read->buffer + read->begun,
                    .ask = ask,
                    .need = wanted < ask ? (size_t)wanted : ask,
                    .fd = f->direct_fd,
                    .direct = true,
                    .background = read->place == MD_PLACE_BACKGROUND};
    if (f->direct_fd < 0 || f->refused)
        md_reader_go_plain(r, p);
    read->begun += ask;
    read->in_flight++;
    r->background_flight += p->background;
    if (ask == left)
        take_out(l, read, MD_PLACE_BEGUN);
    return true;
}

int64_t md_reader_received(md_reader *r, const md_piece *p, int64_t got)
{
    if (r->hooks.result)
        got = r->hooks.result(r->hooks.ctx, p, got);
    if (got > 0 && !p->direct && r->direct) { /* whole pages, or the last would stay */
        const uint64_t end = (p->at + (uint64_t)got + MD_READER_ALIGN - 1) / MD_READER_ALIGN * MD_READER_ALIGN;
        (void)posix_fadvise(p->fd, (off_t)p->at, (off_t)(end - p->at), POSIX_FADV_DONTNEED);
    }
    return got;
}

static bool end_piece(md_reader *r, const md_piece *p)
{
    md_read *read = p->read;
    read->in_flight--;
    r->background_flight -= p->background;
    if (read->in_flight == 0 && read->place == MD_PLACE_BEGUN)
        complete(r, read);
    return true;
}

/* code: an errno; 0: the file ended. The first failure of a read is the one that counts. */
static bool fail_piece(md_reader *r, const md_piece *p, int code)
{
    md_read *read = p->read;
    md_reader_list *l = waits_in(r, read);
    if (l)
        take_out(l, read, MD_PLACE_BEGUN);
    if (read->status == MD_OK) {
        read->status = MD_ERR_IO;
        read->os_error = code;
    }
    return end_piece(r, p);
}

static bool move_on(md_reader *r, md_piece *p, size_t got)
{
    if (got > p->ask)
        got = p->ask;
    r->bytes += got;
    if (got >= p->need)
        return end_piece(r, p);
    p->at += got;
    p->to += got;
    p->ask -= got;
    p->need -= got;
    p->attempts = 0;
    md_reader_go_plain(r, p); /* any byte may be next now, which a direct read cannot begin at */
    return false;
}

bool md_reader_settle(md_reader *r, md_piece *p, int64_t got)
{
    if (got > 0)
        return move_on(r, p, (size_t)got);
    const int code = (int)-got;
    if (code == EINVAL && p->direct) {
        r->file[p->read->file].refused = true;
        md_reader_go_plain(r, p);
        return false;
    }
    if ((code == EINTR || code == EAGAIN) && ++p->attempts < MAX_ATTEMPTS)
        return false;
    return fail_piece(r, p, code);
}

/* ---- life ---- */

static md_status check_args(const md_reader_args *a, md_error *err)
{
    MD_FAIL_IF(a->depth < 1 || a->depth > MD_READER_MAX_DEPTH, MD_ERR_ARGUMENT,
               "%d reads in flight asked for; between 1 and %d are possible", (int)a->depth, MD_READER_MAX_DEPTH);
    MD_FAIL_IF(a->background < 0 || a->background > a->depth, MD_ERR_ARGUMENT,
               "%d of %d reads in flight cannot be for the background", (int)a->background, (int)a->depth);
    MD_FAIL_IF(a->piece % MD_READER_ALIGN != 0 || a->piece > (size_t)1 << 30, MD_ERR_ARGUMENT,
               "a read cannot go out in pieces of %zu bytes; multiples of %u up to 1 GiB are possible", a->piece,
               MD_READER_ALIGN);
    return MD_OK;
}

static md_status start(md_reader *r, md_reader_backend backend, md_error *err)
{
#ifdef MD_WITH_URING
    if (backend != MD_READER_THREADS) {
        md_error why;
        const md_status status = md_reader_uring_start(r, &why);
        if (status == MD_OK)
            return MD_OK;
        if (status != MD_ERR_UNSUPPORTED || backend == MD_READER_URING)
            return md_fail(err, status, "%s", why.message);
    }
#else
    MD_FAIL_IF(backend == MD_READER_URING, MD_ERR_UNSUPPORTED, "this build reads files without io_uring");
#endif
    return md_reader_threads_start(r, err);
}

md_status md_reader_new_hooked(const md_reader_args *args, const md_reader_hooks *hooks, md_reader **out, md_error *err)
{
    *out = NULL;
    MD_TRY(check_args(args, err));
    md_reader *r = md_calloc(1, sizeof *r);
    if (!r)
        return md_fail_memory(err, "a reader of files");
    r->depth = args->depth;
    r->background = args->background ? args->background : args->depth;
    r->piece = args->piece ? args->piece : MD_READER_PIECE;
    r->direct = args->direct;
    if (hooks)
        r->hooks = *hooks;
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->arrived, NULL);
    pthread_cond_init(&r->work, NULL);
    const md_status status = start(r, args->backend, err);
    if (status != MD_OK) {
        md_reader_free(r);
        return status;
    }
    *out = r;
    return MD_OK;
}

md_status md_reader_new(const md_reader_args *args, md_reader **out, md_error *err)
{
    return md_reader_new_hooked(args, NULL, out, err);
}

/* pieces: of what waits now. */
static void wake(md_reader *r, size_t pieces)
{
#ifdef MD_WITH_URING
    if (r->ring) {
        md_reader_uring_wake(r);
        return;
    }
#endif
    md_reader_threads_wake(r, pieces);
}

void md_reader_free(md_reader *r)
{
    if (!r)
        return;
    pthread_mutex_lock(&r->lock);
    r->quit = true;
    pthread_mutex_unlock(&r->lock);
#ifdef MD_WITH_URING
    if (r->ring)
        md_reader_uring_stop(r);
#endif
    md_reader_threads_stop(r);
    md_reader_close_files(r);
    pthread_cond_destroy(&r->work);
    pthread_cond_destroy(&r->arrived);
    pthread_mutex_destroy(&r->lock);
    md_free(r);
}

bool md_reader_register(md_reader *r, void *memory, size_t n)
{
#ifdef MD_WITH_URING
    if (r->ring && n > 0)
        return md_reader_uring_register(r, memory, n);
#endif
    (void)r, (void)memory, (void)n;
    return false;
}

/* ---- reads ---- */

static size_t pieces_left(const md_reader *r, const md_read *read)
{
    return (md_reader_room(read->offset, read->n) - read->begun + r->piece - 1) / r->piece;
}

static bool possible(const md_reader *r, const md_read *read)
{
    return read->file >= 0 && read->file < r->n_files && (uintptr_t)read->buffer % MD_READER_ALIGN == 0 &&
           (read->buffer || read->n == 0) && read->offset < (uint64_t)INT64_MAX / 2 && read->n < SIZE_MAX / 4;
}

void md_reader_submit(md_reader *r, md_read *read)
{
    pthread_mutex_lock(&r->lock);
    read->status = possible(r, read) ? MD_OK : MD_ERR_ARGUMENT;
    read->os_error = 0;
    read->begun = 0;
    read->in_flight = 0;
    r->outstanding++;
    const size_t pieces = read->status == MD_OK ? pieces_left(r, read) : 0;
    if (pieces > 0)
        enqueue(r, read);
    else
        complete(r, read);
    pthread_mutex_unlock(&r->lock);
    if (pieces > 0)
        wake(r, pieces);
}

bool md_reader_promote(md_reader *r, md_read *read)
{
    pthread_mutex_lock(&r->lock);
    const bool waits = read->place == MD_PLACE_BACKGROUND;
    const size_t pieces = waits ? pieces_left(r, read) : 0;
    if (waits) {
        take_out(&r->waiting, read, MD_PLACE_NONE);
        read->urgent = true;
        enqueue(r, read);
    }
    pthread_mutex_unlock(&r->lock);
    if (waits)
        wake(r, pieces);
    return waits;
}

bool md_reader_cancel(md_reader *r, md_read *read)
{
    pthread_mutex_lock(&r->lock);
    md_reader_list *l = waits_in(r, read);
    const bool taken = l && read->begun == 0;
    if (taken) {
        take_out(l, read, MD_PLACE_NONE);
        if (--r->outstanding == 0)
            pthread_cond_broadcast(&r->arrived);
    }
    pthread_mutex_unlock(&r->lock);
    return taken;
}

md_read *md_reader_done(md_reader *r, bool wait)
{
    pthread_mutex_lock(&r->lock);
    while (!r->done.head && wait && r->outstanding > 0)
        pthread_cond_wait(&r->arrived, &r->lock);
    md_read *read = r->done.head;
    if (read) {
        take_out(&r->done, read, MD_PLACE_NONE);
        if (--r->outstanding == 0)
            pthread_cond_broadcast(&r->arrived); /* whoever else waits, waits for nothing now */
    }
    pthread_mutex_unlock(&r->lock);
    return read;
}

uint64_t md_reader_bytes(md_reader *r)
{
    pthread_mutex_lock(&r->lock);
    const uint64_t bytes = r->bytes;
    pthread_mutex_unlock(&r->lock);
    return bytes;
}

const char *md_reader_describe(md_reader *r, char *buf, size_t n)
{
    char how[32];
    pthread_mutex_lock(&r->lock);
    snprintf(how, sizeof how, r->n_threads == 1 ? "%d thread" : "%d threads", (int)r->n_threads);
    const char *by = how;
#ifdef MD_WITH_URING
    if (r->ring)
        by = md_reader_uring_registered(r) ? "io_uring, registered" : "io_uring";
#endif
    int32_t direct = 0;
    for (int32_t i = 0; i < r->n_files; i++)
        direct += r->file[i].direct_fd >= 0 && !r->file[i].refused;
    const bool all = r->direct && direct == r->n_files;
    snprintf(buf, n, "%s, %s", by, all ? "direct" : direct ? "partly direct" : "buffered");
    pthread_mutex_unlock(&r->lock);
    return buf;
}
