/* SPDX-License-Identifier: Apache-2.0
 *
 * Feeding and collecting. What an item is answered depends on its line and the engine alone, so runs that were broken off anywhere end
 * in the same bytes. */
#include "serve/batch_run.h"

#include "base/status.h"
#include "serve/batch_hash.h"
#include "serve/text.h"

#include <inttypes.h>
#include <string.h>

typedef struct run {
    const md_batch_run_args *args;
    uint32_t *order; /* owned */
    size_t next;     /* of order */
    md_batch_item *items;
    size_t n_items;
    md_buf text;      /* scratch */
    md_status status; /* what ended it */
    md_error why;
} run;

struct md_batch_item {
    run *owner;
    md_batch_item *previous, *next;
    size_t line;
    char *custom_id; /* owned; NULL: the line has none */
};

/* ---- items ---- */

static md_batch_item *item_new(run *r, size_t line, const char *custom_id)
{
    md_batch_item *i = md_calloc(1, sizeof *i);
    char *id = i && custom_id ? md_strdup(custom_id) : NULL;
    if (!i || (custom_id && !id)) {
        md_free(i);
        return NULL;
    }
    *i = (md_batch_item){.owner = r, .next = r->items, .line = line, .custom_id = id};
    if (r->items)
        r->items->previous = i;
    r->items = i;
    r->n_items++;
    return i;
}

static void item_free(md_batch_item *i)
{
    run *r = i->owner;
    if (i->previous)
        i->previous->next = i->next;
    else
        r->items = i->next;
    if (i->next)
        i->next->previous = i->previous;
    r->n_items--;
    md_free(i->custom_id);
    md_free(i);
}

size_t md_batch_item_line(const md_batch_item *item)
{
    return item->line;
}

uint64_t md_batch_item_number(const md_batch_item *item)
{
    const uint64_t line = item->line;
    const char *id = item->custom_id ? item->custom_id : "";
    return md_batch_hash(md_batch_hash(MD_BATCH_HASH_START, &line, sizeof line), id, strlen(id));
}

/* ---- answers ---- */

static void stop(run *r, const md_error *why)
{
    if (r->status != MD_OK)
        return;
    r->status = why->code;
    r->why = *why;
}

static void put_answer(md_buf *b, const md_batch_item *i, int status, const char *body, size_t n)
{
    const uint64_t number = md_batch_item_number(i);
    md_buf_reset(b);
    md_buf_printf(b, "{\"id\":\"batch_req_%016" PRIx64 "\",\"custom_id\":", number);
    if (i->custom_id)
        md_put_string(b, i->custom_id, strlen(i->custom_id));
    else
        md_buf_puts(b, "null");
    md_buf_printf(b, ",\"response\":{\"status_code\":%d,\"request_id\":\"req_%016" PRIx64 "\",\"body\":", status,
                  number);
    md_buf_append(b, body, n);
    md_buf_puts(b, "},\"error\":null}");
}

void md_batch_answer(md_batch_item *item, int status, const char *body, size_t n)
{
    run *r = item->owner;
    md_error why;
    put_answer(&r->text, item, status, body, n);
    if (r->text.failed) {
        md_fail_memory(&why, "an answer");
        stop(r, &why);
    } else if (r->status == MD_OK && md_journal_add(r->args->journal, item->line, item->custom_id, status != 200,
                                                    r->text.data, r->text.len, &why) != MD_OK) {
        stop(r, &why);
    }
    item_free(item);
}

void md_batch_refuse(md_batch_item *item, const md_refusal *refusal)
{
    md_buf body = {0};
    md_refusal_json(&body, refusal);
    if (body.failed) {
        md_error why;
        md_fail_memory(&why, "an answer");
        md_batch_fail(item, &why);
    } else {
        md_batch_answer(item, refusal->status, body.data, body.len);
    }
    md_buf_done(&body);
}

void md_batch_fail(md_batch_item *item, const md_error *why)
{
    stop(item->owner, why);
    item_free(item);
}

/* ---- feeding ---- */

/* The request of a line; where it is none, q is empty and *refusal says why. */
static md_status read_request(run *r, size_t line, md_batch_request *q, md_refusal *refusal, bool *good, md_error *err)
{
    const md_batch_input *in = r->args->in;
    *q = (md_batch_request){0};
    if (in->line[line].n > MD_BATCH_MOST_LINE) {
        *good = md_refuse(refusal, 400, "line_too_long", NULL,
                          "the line has more than %u bytes, which is the most that is read", MD_BATCH_MOST_LINE);
        return MD_OK;
    }
    md_buf text = {0};
    const md_status status = md_batch_input_read(in, line, &text, err);
    *good = status == MD_OK && md_batch_request_read(q, text.data, text.len, refusal);
    md_buf_done(&text);
    MD_TRY(status);
    if (!*good && refusal->status >= 500)
        return md_fail_memory(err, "a request");
    const char *id = q->custom_id ? q->custom_id : "";
    const uint64_t hash = md_batch_hash(MD_BATCH_HASH_START, id, strlen(id));
    MD_FAIL_IF(q->custom_id ? (hash ? hash : 1) != in->line[line].id : in->line[line].id != 0, MD_ERR_IO,
               "'%s' was changed while it was read: begin anew", in->file.path);
    return MD_OK;
}

static md_status give(run *r, size_t line, md_error *err)
{
    md_batch_request q;
    md_refusal refusal;
    bool good;
    md_status status = read_request(r, line, &q, &refusal, &good, err);
    if (status == MD_OK) {
        md_batch_item *item = item_new(r, line, q.custom_id);
        if (!item)
            status = md_fail_memory(err, "a request");
        else if (good)
            r->args->engine->give(r->args->engine->user, item, &q);
        else
            md_batch_refuse(item, &refusal);
    }
    md_batch_request_done(&q);
    return status;
}

static md_status feed(run *r, md_error *err)
{
    const md_batch_engine *e = r->args->engine;
    const size_t n = r->args->in->n;
    while (r->status == MD_OK && r->next < n && e->room(e->user)) {
        const size_t line = r->order[r->next++];
        if (!md_journal_has(r->args->journal, line))
            MD_TRY(give(r, line, err));
    }
    return MD_OK;
}

static md_status ended(const run *r, md_error *err)
{
    if (r->status != MD_OK && err)
        *err = r->why;
    return r->status;
}

static md_status answer_all(run *r, md_error *err)
{
    const md_batch_run_args *a = r->args;
    const size_t n = a->in->n;
    while (md_journal_n(a->journal) < n) {
        if (a->progress && !a->progress(a->progress_user, md_journal_n(a->journal), n))
            return md_fail(err, MD_ERR_CANCELLED, "the batch was stopped");
        const size_t before = r->next;
        bool idle = false;
        MD_TRY(feed(r, err));
        MD_TRY(ended(r, err));
        MD_FAIL_IF(r->n_items == 0 && r->next == before, MD_ERR_INTERNAL, "there is no room for a single request");
        if (r->n_items > 0)
            MD_TRY(a->engine->step(a->engine->user, &idle, err));
        MD_TRY(ended(r, err));
        MD_FAIL_IF(idle && r->n_items > 0, MD_ERR_INTERNAL, "%zu requests stand still", r->n_items);
        MD_TRY(md_journal_tick(a->journal, err));
    }
    return MD_OK;
}

md_status md_batch_run(const md_batch_run_args *args, md_error *err)
{
    run r = {.args = args, .order = md_batch_input_order(args->in)};
    if (!r.order)
        return md_fail_memory(err, "the order of the requests");
    md_status status = answer_all(&r, err);
    /* what is finished stays so, whatever ended the run */
    const md_status kept = md_journal_commit(args->journal, status == MD_OK ? err : NULL);
    while (r.items)
        item_free(r.items);
    md_buf_done(&r.text);
    md_free(r.order);
    return status == MD_OK ? kept : status;
}

/* ---- the output ---- */

typedef struct writer {
    md_out *out;
    size_t n;
} writer;

static md_status write_line(void *user, size_t line, const char *text, size_t n, md_error *err)
{
    writer *w = user;
    MD_FAIL_IF(line != w->n, MD_ERR_INTERNAL, "the journal has no answer to request %zu", w->n + 1);
    w->n++;
    MD_TRY(md_out_write(w->out, text, n, err));
    return md_out_write(w->out, "\n", 1, err);
}

md_status md_batch_write(const md_batch_input *in, md_journal *j, const char *path, md_error *err)
{
    writer w = {0};
    MD_TRY(md_out_open(path, &w.out, err));
    md_status status = md_journal_each(j, write_line, &w, err);
    if (status == MD_OK && w.n != in->n)
        status = md_fail(err, MD_ERR_INTERNAL, "the journal has no answer to request %zu", w.n + 1);
    if (status == MD_OK)
        status = md_out_commit(w.out, err);
    md_out_close(w.out);
    return status;
}
