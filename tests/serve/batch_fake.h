/* SPDX-License-Identifier: Apache-2.0
 *
 * An engine that answers batches without a model: some requests at a time, out of order, each with what its custom_id says. A
 * body {"status":400} is refused, {"now":true} is answered at once, {"broken":true} fails the run. */
#ifndef MD_TEST_BATCH_FAKE_H
#define MD_TEST_BATCH_FAKE_H

#include "support/fixtures.h"

#include "serve/batch_run.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define FAKE_ROOM 8

typedef struct fake {
    struct {
        md_batch_item *item;
        int status;
        char body[128];
    } held[FAKE_ROOM];
    int n, turn;
    int log; /* where lines are noted as they are answered, or -1 */
    size_t answered, most_held;
} fake;

static inline bool fake_room(void *user)
{
    return ((fake *)user)->n < FAKE_ROOM;
}

static inline void fake_note(fake *f, const md_batch_item *item)
{
    char line[32];
    const int n = snprintf(line, sizeof line, "%zu\n", md_batch_item_line(item));
    f->answered++;
    if (f->log >= 0 && write(f->log, line, (size_t)n) != n)
        abort();
}

static inline void fake_give(void *user, md_batch_item *item, const md_batch_request *q)
{
    fake *f = user;
    const json_t *status = json_object_get(q->body, "status");
    if (json_object_get(q->body, "broken")) {
        md_batch_fail(item, &(md_error){.code = MD_ERR_IO, .message = "the disk is gone"});
        return;
    }
    if (json_object_get(q->body, "now")) {
        fake_note(f, item);
        md_batch_answer(item, 200, "{\"now\":true}", 12);
        return;
    }
    f->held[f->n].item = item;
    f->held[f->n].status = status ? (int)json_integer_value(status) : 200;
    snprintf(f->held[f->n].body, sizeof f->held[f->n].body, "{\"to\":\"%.64s\",\"number\":\"%llx\"}", q->custom_id,
             (unsigned long long)md_batch_item_number(item));
    f->n++;
    f->most_held = (size_t)f->n > f->most_held ? (size_t)f->n : f->most_held;
}

/* Up to three of those it holds, never the oldest first. */
static inline md_status fake_step(void *user, bool *idle, md_error *why)
{
    fake *f = user;
    (void)why;
    *idle = f->n == 0;
    for (int i = 0; i < 3 && f->n > 0; i++) {
        const int at = (f->turn++ * 5 + 3) % f->n;
        fake_note(f, f->held[at].item);
        md_batch_answer(f->held[at].item, f->held[at].status, f->held[at].body, strlen(f->held[at].body));
        f->held[at] = f->held[--f->n];
    }
    return MD_OK;
}

/* Input, journal, run, output, as the program does it. group 0: the usual one. */
static inline md_status fake_batch(const char *in_path, const char *out_path, const char *journal_path, size_t group,
                                   fake *f, md_error *why)
{
    md_batch_input in;
    md_journal *j = NULL;
    md_status status = md_batch_input_open(in_path, &in, why);
    const md_journal_about about = {.input_hash = in.hash,
                                    .input_bytes = in.bytes,
                                    .n_lines = in.n,
                                    .model = "fake",
                                    .settings = "none",
                                    .created = in.changed};
    const md_batch_engine engine = {.user = f, .room = fake_room, .give = fake_give, .step = fake_step};
    if (status == MD_OK)
        status = md_journal_open(journal_path, &about, false, &j, why);
    if (status == MD_OK && group > 0)
        md_journal_set_group(j, group);
    if (status == MD_OK)
        status = md_batch_run(&(md_batch_run_args){.in = &in, .journal = j, .engine = &engine}, why);
    if (status == MD_OK)
        status = md_batch_write(&in, j, out_path, why);
    if (status == MD_OK) {
        status = md_journal_remove(j, why);
        j = NULL;
    }
    md_journal_close(j);
    md_batch_input_close(&in);
    return status;
}

#endif
