/* SPDX-License-Identifier: Apache-2.0
 *
 * The engine's thread: takes jobs from the mailbox, looks whether their clients are still there, runs a step, lets go of what has
 * ended, and publishes what others may see. The lock is never held during a step. */
#include "serve/engine.h"

#include "serve/guard.h"
#include "serve/text.h"
#include "serve/watch.h"

#include "base/status.h"
#include "base/sys.h"

#include <pthread.h>
#include <string.h>
#include <time.h>

struct md_engine {
    md_session *session;     /* borrowed */
    md_scheduler *scheduler; /* owned */
    pthread_t thread;
    bool started;
    md_watch watch;      /* the thread's own */
    md_running *running; /* owned, [most_running]: the thread's own */
    int32_t most_running;

    pthread_mutex_t lock; /* of all below */
    pthread_cond_t wake;
    md_job *inbox, **inbox_end; /* owned, in order of arrival */
    int32_t n_inbox, most_jobs;
    md_job *active; /* owned; changed by the thread alone */
    int32_t n_active;
    md_reply *listener[MD_WATCH_MOST]; /* held, [n_listeners]: for the thread to take */
    int n_listeners;
    bool draining, quit, kicked;
    md_engine_view view;
    md_buf slots; /* JSON */
};

/* ---- what others see ---- */

static void put_slots(md_engine *e, md_buf *b)
{
    const int32_t n = md_scheduler_get_running(e->scheduler, e->running, e->most_running);
    md_buf_putc(b, '[');
    for (int32_t i = 0; i < n; i++) {
        const md_running *r = &e->running[i];
        md_buf_printf(b,
                      "%s{\"id\":%d,\"n_prompt\":%d,\"n_prompt_done\":%d,\"n_generated\":%d,\"client\":", i ? "," : "",
                      (int)i, (int)r->n_prompt, (int)r->n_done, (int)r->n_generated);
        md_put_string(b, r->client, strnlen(r->client, MD_CLIENT_SHOWN));
        md_buf_putc(b, '}');
    }
    md_buf_putc(b, ']');
}

static void publish(md_engine *e)
{
    md_engine_view v = {0};
    md_scheduler_get_counts(e->scheduler, &v.counts);
    md_session_stream_counts(e->session, &v.stream);
    pthread_mutex_lock(&e->lock);
    v.jobs = e->n_active + e->n_inbox;
    e->view = v;
    md_buf_reset(&e->slots);
    put_slots(e, &e->slots);
    pthread_mutex_unlock(&e->lock);
}

void md_engine_look(md_engine *e, md_engine_view *out)
{
    pthread_mutex_lock(&e->lock);
    *out = e->view;
    out->jobs = e->n_active + e->n_inbox;
    pthread_mutex_unlock(&e->lock);
}

void md_engine_slots(md_engine *e, md_buf *b)
{
    pthread_mutex_lock(&e->lock);
    md_buf_append(b, e->slots.data ? e->slots.data : "[]", e->slots.data ? e->slots.len : 2);
    pthread_mutex_unlock(&e->lock);
}

bool md_engine_idle(md_engine *e)
{
    pthread_mutex_lock(&e->lock);
    const bool idle = e->n_active + e->n_inbox == 0;
    pthread_mutex_unlock(&e->lock);
    return idle;
}

/* ---- the thread ---- */

static void wait_for_work(md_engine *e)
{
    while (!e->inbox && !e->kicked && !e->quit && e->n_listeners == 0) {
        if (e->watch.n == 0) {
            pthread_cond_wait(&e->wake, &e->lock);
            continue;
        }
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_nsec += (long)(MD_WATCH_SECONDS * 1e9);
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        if (pthread_cond_timedwait(&e->wake, &e->lock, &until) != 0)
            return;
    }
}

static void refuse_stopping(md_refusal *r)
{
    md_refuse(r, 503, "stopping", NULL, "the server is stopping: ask another one");
    r->retry_after = 5;
}

/* Takes what lies in the mailbox. */
static md_job *take_inbox(md_engine *e, bool idle, bool *quit, bool *draining)
{
    pthread_mutex_lock(&e->lock);
    if (idle)
        wait_for_work(e);
    md_job *jobs = e->inbox;
    e->inbox = NULL;
    e->inbox_end = &e->inbox;
    e->n_inbox = 0;
    e->kicked = false;
    *quit = e->quit;
    *draining = e->draining;
    for (md_job *j = jobs, *next; j; j = next) { /* they stay visible to md_engine_tick */
        next = j->arrived_next = j->next;
        j->next = e->active;
        e->active = j;
        e->n_active++;
    }
    const int n = e->n_listeners;
    md_reply *listener[MD_WATCH_MOST];
    memcpy(listener, e->listener, sizeof listener);
    e->n_listeners = 0;
    pthread_mutex_unlock(&e->lock);
    for (int i = 0; i < n; i++)
        md_watch_add(&e->watch, listener[i], e->scheduler);
    return jobs;
}

/* In the order in which they came. */
static void submit_new(md_engine *e, md_job *jobs)
{
    for (; jobs; jobs = jobs->arrived_next)
        md_job_submit(jobs, e->scheduler);
}

/* Those whose clients have gone, and, when the server stops, those that have not begun or may not go on. */
static void look_at_clients(md_engine *e, bool quit, bool draining)
{
    for (md_job *j = e->active; j; j = j->next) {
        if (j->failed)
            continue;
        md_reply_look(j->reply);
        md_refusal r;
        if (md_reply_gone(j->reply)) {
            md_job_cancel(j);
        } else if (quit || (draining && !j->moving)) {
            refuse_stopping(&r);
            md_job_fail(j, &r);
        }
    }
}

static void reap(md_engine *e)
{
    md_job *done = NULL;
    pthread_mutex_lock(&e->lock);
    for (md_job **at = &e->active; *at;) {
        md_job *j = *at;
        if (!md_job_done(j)) {
            at = &j->next;
            continue;
        }
        *at = j->next;
        j->next = done;
        done = j;
        e->n_active--;
    }
    pthread_mutex_unlock(&e->lock);
    while (done) {
        md_job *next = done->next;
        md_job_free(done);
        done = next;
    }
}

static void *run(void *arg)
{
    md_engine *e = arg;
    bool idle = true, quit = false, draining = false;
    md_error err;
    while (!quit || e->active) {
        submit_new(e, take_inbox(e, idle, &quit, &draining));
        look_at_clients(e, quit, draining);
        if (md_scheduler_step(e->scheduler, &idle, &err) != MD_OK) {
            /* The requests of the step were told. What comes again at once must not take the processor from the rest. */
            nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
            idle = false;
        }
        reap(e);
        publish(e);
        md_watch_tell(&e->watch, e->scheduler);
    }
    md_watch_done(&e->watch);
    return NULL;
}

/* ---- from outside ---- */

md_status md_engine_new(const md_engine_args *args, md_engine **out, md_error *err)
{
    *out = NULL;
    md_engine *e = md_calloc(1, sizeof *e);
    if (!e)
        return md_fail_memory(err, "the server's engine");
    e->session = args->session;
    e->most_jobs = args->most_jobs;
    e->inbox_end = &e->inbox;
    md_watch_init(&e->watch, args->session);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&e->lock, NULL);
    pthread_cond_init(&e->wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    md_status status = md_scheduler_new(args->session, args->scheduler, &e->scheduler, err);
    if (status == MD_OK) {
        e->most_running = args->scheduler->n_running;
        e->running = md_calloc((size_t)e->most_running, sizeof *e->running);
        if (!e->running)
            status = md_fail_memory(err, "the server's engine");
    }
    if (status == MD_OK) {
        publish(e);
        e->started = pthread_create(&e->thread, NULL, run, e) == 0;
        if (!e->started)
            status = md_fail(err, MD_ERR_MEMORY, "the system gives no thread for the engine");
    }
    if (status != MD_OK)
        md_engine_free(e);
    else
        *out = e;
    return status;
}

void md_engine_post(md_engine *e, md_job *job)
{
    md_refusal r = {0};
    pthread_mutex_lock(&e->lock);
    if (e->draining || e->quit) {
        refuse_stopping(&r);
    } else if (e->n_inbox >= e->most_jobs) {
        md_refuse(&r, 429, "queue_full", NULL, "%d requests wait already: ask again later", (int)e->n_inbox);
        r.retry_after = 1;
    } else {
        job->next = NULL;
        *e->inbox_end = job;
        e->inbox_end = &job->next;
        e->n_inbox++;
        pthread_cond_signal(&e->wake);
    }
    pthread_mutex_unlock(&e->lock);
    if (r.status != 0) {
        md_reply_refuse(job->reply, &r);
        md_job_free(job);
    }
}

bool md_engine_watch(md_engine *e, md_reply *reply)
{
    pthread_mutex_lock(&e->lock);
    const bool room = e->n_listeners < MD_WATCH_MOST && !e->draining && !e->quit;
    if (room) {
        e->listener[e->n_listeners++] = md_reply_hold(reply);
        pthread_cond_signal(&e->wake);
    }
    pthread_mutex_unlock(&e->lock);
    return room;
}

void md_engine_kick(md_engine *e)
{
    pthread_mutex_lock(&e->lock);
    e->kicked = true;
    pthread_cond_signal(&e->wake);
    pthread_mutex_unlock(&e->lock);
}

void md_engine_tick(md_engine *e)
{
    const double now = md_sys_seconds();
    pthread_mutex_lock(&e->lock);
    for (int list = 0; list < 2; list++)
        for (const md_job *j = list ? e->inbox : e->active; j; j = j->next) {
            md_reply_look(j->reply);
            if (j->ask.stream)
                md_reply_ping(j->reply, now);
        }
    pthread_mutex_unlock(&e->lock);
}

void md_engine_drain(md_engine *e)
{
    pthread_mutex_lock(&e->lock);
    e->draining = e->kicked = true;
    pthread_cond_signal(&e->wake);
    pthread_mutex_unlock(&e->lock);
}

void md_engine_close(md_engine *e)
{
    if (!e || !e->started)
        return;
    pthread_mutex_lock(&e->lock);
    e->draining = e->quit = true;
    pthread_cond_signal(&e->wake);
    pthread_mutex_unlock(&e->lock);
    pthread_join(e->thread, NULL);
    e->started = false;
    for (int i = 0; i < e->n_listeners; i++) { /* came after the thread's last look */
        md_reply_end(e->listener[i]);
        md_reply_release(e->listener[i]);
    }
    e->n_listeners = 0;
}

void md_engine_free(md_engine *e)
{
    if (!e)
        return;
    md_engine_close(e);
    md_scheduler_free(e->scheduler);
    md_buf_done(&e->slots);
    md_free(e->running);
    pthread_cond_destroy(&e->wake);
    pthread_mutex_destroy(&e->lock);
    md_free(e);
}
