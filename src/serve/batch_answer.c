/* SPDX-License-Identifier: Apache-2.0
 *
 * Jobs without a connection: each has a reply that nobody sends, from which its answer is taken. */
#include "serve/batch_answer.h"

#include "base/status.h"
#include "serve/http.h"

#include <stdlib.h>
#include <string.h>

/* Requests that wait beside those that run: enough for the scheduler to choose from, few enough to be looked through at each choice. */
#define LEAST_WAITING 32
#define PAGE          64 /* positions */

/* A job that is not answered yet. */
typedef struct entry {
    struct entry *next;
    md_job *job;         /* owned */
    md_batch_item *item; /* borrowed from the run */
} entry;

struct md_batch_model {
    md_server *server;       /* borrowed */
    md_scheduler *scheduler; /* owned */
    int32_t n_vocab, most;
    int64_t created;
    entry *entries; /* owned */
};

/* ---- how many at once ---- */

/* Positions that `running` requests of this batch take, on the average. */
static int64_t positions_of(const md_batch_input *in, int32_t running, int32_t context)
{
    double sum = 0.0;
    for (size_t i = 0; i < in->n; i++)
        sum += in->line[i].tokens < (uint32_t)context ? in->line[i].tokens : (uint32_t)context;
    const double mean = sum / (double)in->n + PAGE;
    const double all = mean * (running < (int64_t)in->n ? (double)running : (double)in->n) + (double)context;
    return all < (double)INT32_MAX / 2 ? (int64_t)all : INT32_MAX / 2;
}

static void fill(const md_model *m, const md_batch_input *in, int32_t running, const md_batch_wish *wish,
                 md_scheduler_args *scheduler, md_session_args *session)
{
    scheduler->n_running = running;
    const int32_t beside = running > LEAST_WAITING ? running : LEAST_WAITING;
    scheduler->n_waiting = beside + MD_JOB_MOST_CHOICES;
    md_scheduler_session_args(m, scheduler, session);
    if (wish->kv_type)
        session->kv_type = *wish->kv_type;
    if (session->hidden_only) /* an encoder, which runs a text in one step */
        return;
    if (wish->context > 0)
        session->n_context = wish->context;
    else if (session->n_context == 0)
        session->n_context = session->n_positions;
    session->n_positions = (int32_t)positions_of(in, running, session->n_context);
}

md_status md_batch_plan(const md_model *m, const md_batch_input *in, const md_batch_wish *wish,
                        md_scheduler_args *scheduler, md_session_args *session, md_error *err)
{
    md_scheduler_args_default(scheduler);
    scheduler->order = MD_ORDER_PREFIX;
    scheduler->share_prefixes = true;
    scheduler->n_chunk = 4096; /* nobody waits for the next token: a step takes all the rows it can */
    int32_t n = wish->running > 0 ? wish->running : MD_BATCH_MOST_RUNNING;
    if (wish->running == 0 && (size_t)n > in->n)
        n = (int32_t)in->n;
    const uint64_t room = md_model_streams(m) ? wish->free_bytes / 4 : wish->free_bytes;
    for (;; n = (n + 1) / 2) {
        md_memory need;
        fill(m, in, n, wish, scheduler, session);
        MD_TRY(md_session_estimate(m, session, &need, err));
        if (wish->running > 0 || n == 1 || (need.kv <= room && need.scratch <= room - need.kv))
            return MD_OK;
    }
}

/* ---- life ---- */

md_status md_batch_model_new(const md_batch_model_args *args, md_batch_model **out, md_error *err)
{
    *out = NULL;
    md_batch_model *b = md_calloc(1, sizeof *b);
    if (!b)
        return md_fail_memory(err, "the batch");
    const int32_t running = args->scheduler->n_running;
    *b = (md_batch_model){.server = args->server,
                          .n_vocab = md_model_get_info(args->server->model)->n_vocab,
                          .most = running + (running > LEAST_WAITING ? running : LEAST_WAITING),
                          .created = args->created};
    const md_status status = md_scheduler_new(args->session, args->scheduler, &b->scheduler, err);
    if (status != MD_OK)
        md_batch_model_free(b);
    else
        *out = b;
    return status;
}

void md_batch_model_free(md_batch_model *b)
{
    if (!b)
        return;
    md_scheduler_free(b->scheduler); /* its requests point to the jobs */
    for (entry *e = b->entries, *next; e; e = next) {
        next = e->next;
        md_job_free(e->job);
        md_free(e);
    }
    md_free(b);
}

void md_batch_model_counts(const md_batch_model *b, md_scheduler_counts *out)
{
    md_scheduler_get_counts(b->scheduler, out);
}

/* ---- giving ---- */

static bool room(void *user)
{
    const md_batch_model *b = user;
    md_scheduler_counts c;
    md_scheduler_get_counts(b->scheduler, &c);
    return c.running + c.waiting < b->most;
}

/* The job of a request's body. */
static bool make(md_batch_model *b, const md_batch_item *item, const md_batch_request *q, md_reply *reply, md_job **out,
                 md_refusal *r)
{
    static md_make_fn *const makers[] = {md_make_chat, md_make_completion, md_make_embeddings}; /* ORDER md_batch_url */
    md_ask ask = {.n_vocab = b->n_vocab, .steady = true, .number = md_batch_item_number(item), .created = b->created};
    char *body = json_dumps(q->body, JSON_COMPACT);
    bool ok = body ? makers[q->url](b->server, reply, &ask, body, strlen(body), out, r) : md_refuse_memory(r);
    free(body);
    md_ask_done(&ask);
    if (ok && (*out)->ask.stream) {
        md_job_free(*out);
        *out = NULL;
        ok = md_refuse(r, 400, "invalid_value", "stream", "'stream' is not possible in a batch");
    }
    return ok;
}

/* A refusal is an answer, unless it tells of the machine. */
static void refuse(md_batch_item *item, const md_refusal *r)
{
    if (r->status < 500) {
        md_batch_refuse(item, r);
        return;
    }
    md_error why;
    md_fail(&why, r->status == 503 ? MD_ERR_MEMORY : MD_ERR_IO, "%s", r->message);
    md_batch_fail(item, &why);
}

/* What a finished job was told. */
static void answer(md_batch_item *item, const md_job *job)
{
    const md_reply *p = job->reply;
    if (p->ready && !p->data.failed && p->status < 500) {
        md_batch_answer(item, p->status, p->data.data, p->data.len);
        return;
    }
    md_error why;
    if (p->ready && p->data.data)
        md_fail(&why, MD_ERR_IO, "request %zu failed: %.300s", md_batch_item_line(item) + 1, p->data.data);
    else
        md_fail_memory(&why, "an answer");
    md_batch_fail(item, &why);
}

static void settle(md_batch_model *b)
{
    for (entry **at = &b->entries; *at;) {
        entry *e = *at;
        if (!md_job_done(e->job)) {
            at = &e->next;
            continue;
        }
        *at = e->next;
        answer(e->item, e->job);
        md_job_free(e->job);
        md_free(e);
    }
}

static void give(void *user, md_batch_item *item, const md_batch_request *q)
{
    md_batch_model *b = user;
    md_refusal r = {0};
    md_job *job = NULL;
    md_reply *reply = md_reply_new(NULL);
    entry *e = md_calloc(1, sizeof *e);
    const bool ok = reply && e ? make(b, item, q, reply, &job, &r) : md_refuse_memory(&r);
    md_reply_release(reply);
    if (!ok) {
        md_free(e);
        refuse(item, &r);
        return;
    }
    md_server_set_job(b->server, job);
    md_job_submit(job, b->scheduler);
    *e = (entry){.next = b->entries, .job = job, .item = item};
    b->entries = e;
}

static md_status step(void *user, bool *idle, md_error *err)
{
    md_batch_model *b = user;
    settle(b); /* those that could not be submitted */
    MD_TRY(md_scheduler_step(b->scheduler, idle, err));
    settle(b);
    return MD_OK;
}

md_batch_engine md_batch_model_engine(md_batch_model *b)
{
    return (md_batch_engine){.user = b, .room = room, .give = give, .step = step};
}
