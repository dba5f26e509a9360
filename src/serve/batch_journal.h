/* SPDX-License-Identifier: Apache-2.0
 *
 * What a batch has answered so far, in a file that outlives the process (SQLite): which input, model and settings it is about, and the
 * answer to each line that is finished. Nothing that was committed is lost or stands there twice, whenever the process is killed;
 * what was not is only work to be done again. One process holds a journal at a time; one thread.
 *
 * Grouped commits: at the latest a second after the first answer that waits, or once MD_JOURNAL_GROUP of them or
 * MD_JOURNAL_BYTES wait. Each commit is synced, so that a power failure costs no more than a kill. */
#ifndef MD_SERVE_BATCH_JOURNAL_H
#define MD_SERVE_BATCH_JOURNAL_H

#include <medley/error.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MD_JOURNAL_SECONDS 1.0
#define MD_JOURNAL_GROUP   256
#define MD_JOURNAL_BYTES   (8u << 20)

typedef struct md_journal md_journal;

/* What answers depend on. A journal that was begun with anything else is refused. */
typedef struct md_journal_about {
    uint64_t input_hash, input_bytes;
    size_t n_lines;
    const char *model, *settings; /* one line of text each; borrowed during the call */
    int64_t created; /* Unix time that all answers carry: the one given when the journal was begun counts */
} md_journal_about;

/* Is there one, of whatever is in it? */
bool md_journal_exists(const char *path);
/* Begins a journal, or goes on with the one that is there. MD_ERR_ARGUMENT: it is about something else, or is no journal;
 * MD_ERR_FORMAT: it is damaged; MD_ERR_BUSY: another process holds it. It is left as it is then. restart: an old journal is
 * removed first, damaged or not, as long as it is one. */
md_status md_journal_open(const char *path, const md_journal_about *about, bool restart, md_journal **out,
                          md_error *err) MD_MUST_USE;
int64_t md_journal_created(const md_journal *j);
/* Answers in it, and those of them that are failures. */
size_t md_journal_n(const md_journal *j);
size_t md_journal_n_failed(const md_journal *j);
/* Is there an answer to this line? Lines count from 0. */
bool md_journal_has(const md_journal *j, size_t line);

/* Adds an answer, one line of text without its end, and commits if it is time. A line is answered once: MD_ERR_INTERNAL otherwise.
 * custom_id may be NULL. */
md_status md_journal_add(md_journal *j, size_t line, const char *custom_id, bool failed, const char *text, size_t n,
                         md_error *err) MD_MUST_USE;
/* Commits if it is time. */
md_status md_journal_tick(md_journal *j, md_error *err) MD_MUST_USE;
md_status md_journal_commit(md_journal *j, md_error *err) MD_MUST_USE;
/* Commits after so many answers in place of MD_JOURNAL_GROUP; for tests. */
void md_journal_set_group(md_journal *j, size_t answers);

/* All committed answers in the order of their lines. */
typedef md_status md_journal_fn(void *user, size_t line, const char *text, size_t n, md_error *err);
md_status md_journal_each(md_journal *j, md_journal_fn *fn, void *user, md_error *err) MD_MUST_USE;

/* Closes it without a commit. NULL allowed. */
void md_journal_close(md_journal *j);
/* Closes it and removes its file. */
md_status md_journal_remove(md_journal *j, md_error *err) MD_MUST_USE;

#endif
