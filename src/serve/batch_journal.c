/* SPDX-License-Identifier: Apache-2.0
 *
 * The journal's tables, and the checks that make a damaged or foreign one an error. SQLite's write-ahead log holds what was
 * committed last; its lock is held from beginning to end (locking_mode = EXCLUSIVE), which also spares the shared-memory file. Each
 * answer carries a hash of its own, since SQLite checks the log's pages but not those of the table. */
#include "serve/batch_journal.h"

#include "base/mem.h"
#include "base/status.h"
#include "base/sys.h"
#include "serve/batch_hash.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define APPLICATION_ID 0x6d64626a /* "mdbj" */
#define VERSION        1

static const char create_about[] = "CREATE TABLE about (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID";
static const char create_answer[] =
    "CREATE TABLE answer (line INTEGER PRIMARY KEY, custom_id TEXT, failed INTEGER NOT NULL, text TEXT NOT NULL, hash INTEGER NOT NULL)";

struct md_journal {
    sqlite3 *db;       /* owned */
    sqlite3_stmt *add; /* owned */
    char *path;        /* owned */
    uint8_t *has;      /* owned, [n_lines] */
    size_t n_lines, n, n_failed;
    int64_t created;
    size_t group;                  /* answers of a transaction, at most */
    size_t waiting, waiting_bytes; /* answers of the transaction under way */
    double since;                  /* when it began; seconds */
};

/* ---- errors ---- */

static md_status db_error(const md_journal *j, const char *verb, md_error *err)
{
    const int code = sqlite3_errcode(j->db) & 0xff;
    if (code == SQLITE_BUSY || code == SQLITE_LOCKED)
        return md_fail(err, MD_ERR_BUSY, "another process works on the journal '%s': wait until it ends", j->path);
    if (code == SQLITE_NOTADB)
        return md_fail(err, MD_ERR_ARGUMENT, "'%s' is not a journal of medley batch: give another --journal", j->path);
    if (code == SQLITE_CORRUPT)
        return md_fail(err, MD_ERR_FORMAT, "the journal '%s' is damaged: give --restart to begin anew", j->path);
    if (code == SQLITE_NOMEM)
        return md_fail_memory(err, "the journal");
    return md_fail(err, MD_ERR_IO, "cannot %s the journal '%s': %s", verb, j->path, sqlite3_errmsg(j->db));
}

static md_status damaged(const md_journal *j, const char *how, md_error *err)
{
    return md_fail(err, MD_ERR_FORMAT, "the journal '%s' is damaged (%s): give --restart to begin anew", j->path, how);
}

static md_status run(md_journal *j, const char *sql, const char *verb, md_error *err)
{
    return sqlite3_exec(j->db, sql, NULL, NULL, NULL) == SQLITE_OK ? MD_OK : db_error(j, verb, err);
}

/* One number, or one text, of a statement that gives one row. Text: copied to an owned *text, NULL if there is no row. */
static md_status ask(md_journal *j, const char *sql, int64_t *number, char **text, md_error *err)
{
    sqlite3_stmt *s;
    if (sqlite3_prepare_v2(j->db, sql, -1, &s, NULL) != SQLITE_OK)
        return db_error(j, "read", err);
    const int code = sqlite3_step(s);
    md_status status = MD_OK;
    if (code != SQLITE_ROW && code != SQLITE_DONE) {
        status = db_error(j, "read", err);
    } else if (number) {
        *number = code == SQLITE_ROW ? sqlite3_column_int64(s, 0) : 0;
    } else {
        const char *found = code == SQLITE_ROW ? (const char *)sqlite3_column_text(s, 0) : NULL;
        *text = found ? md_strdup(found) : NULL;
        const bool there = code == SQLITE_ROW && sqlite3_column_type(s, 0) != SQLITE_NULL;
        if (there && !*text)
            status = md_fail_memory(err, "the journal");
    }
    sqlite3_finalize(s);
    return status;
}

/* ---- beginning ---- */

bool md_journal_exists(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0;
}

static md_status put_about(md_journal *j, const char *name, const char *value, md_error *err)
{
    char *sql = sqlite3_mprintf("INSERT INTO about VALUES (%Q, %Q)", name, value);
    if (!sql)
        return md_fail_memory(err, "the journal");
    const md_status status = run(j, sql, "write", err);
    sqlite3_free(sql);
    return status;
}

/* The input as the journal names it. */
static void input_text(const md_journal_about *a, char *buf, size_t n)
{
    snprintf(buf, n, "%016" PRIx64 " %" PRIu64 " bytes %zu lines", a->input_hash, a->input_bytes, a->n_lines);
}

static md_status begin_tables(md_journal *j, const md_journal_about *a, md_error *err)
{
    char text[128];
    MD_TRY(run(j, create_about, "begin", err));
    MD_TRY(run(j, create_answer, "begin", err));
    input_text(a, text, sizeof text);
    MD_TRY(put_about(j, "input", text, err));
    MD_TRY(put_about(j, "model", a->model, err));
    MD_TRY(put_about(j, "settings", a->settings, err));
    snprintf(text, sizeof text, "%" PRId64, a->created);
    MD_TRY(put_about(j, "created", text, err));
    snprintf(text, sizeof text, "PRAGMA user_version = %d", VERSION);
    return run(j, text, "begin", err);
}

/* Everything at once: a journal has its tables, or is empty. */
static md_status begin_journal(md_journal *j, const md_journal_about *a, md_error *err)
{
    MD_TRY(run(j, "BEGIN IMMEDIATE", "begin", err));
    MD_TRY(begin_tables(j, a, err));
    j->created = a->created;
    return run(j, "COMMIT", "begin", err);
}

/* ---- going on ---- */

static md_status same(md_journal *j, const char *name, const char *want, const char *what, md_error *err)
{
    char sql[96], *have;
    snprintf(sql, sizeof sql, "SELECT value FROM about WHERE name = '%s'", name);
    MD_TRY(ask(j, sql, NULL, &have, err));
    if (!have)
        return damaged(j, "it does not say what it is about", err);
    const bool equal = strcmp(have, want) == 0;
    md_free(have);
    MD_FAIL_IF(!equal, MD_ERR_ARGUMENT,
               "the journal '%s' was begun with %s: give --restart to begin anew, or another --journal", j->path, what);
    return MD_OK;
}

static md_status check_about(md_journal *j, const md_journal_about *a, md_error *err)
{
    char text[128], *created;
    input_text(a, text, sizeof text);
    MD_TRY(same(j, "input", text, "another input", err));
    MD_TRY(same(j, "model", a->model, "another model", err));
    MD_TRY(same(j, "settings", a->settings, "other settings", err));
    MD_TRY(ask(j, "SELECT value FROM about WHERE name = 'created'", NULL, &created, err));
    const bool read = created && sscanf(created, "%" SCNd64, &j->created) == 1;
    md_free(created);
    return read ? MD_OK : damaged(j, "it does not say when it was begun", err);
}

/* Nothing but our two tables may be in it: statements must mean what they say. */
static md_status check_schema(md_journal *j, md_error *err)
{
    char sql[512];
    int64_t ours, all;
    snprintf(sql, sizeof sql, "SELECT count(*) FROM sqlite_master WHERE sql IN ('%s', '%s')", create_about,
             create_answer);
    MD_TRY(ask(j, sql, &ours, NULL, err));
    MD_TRY(ask(j, "SELECT count(*) FROM sqlite_master", &all, NULL, err));
    return ours == 2 && all == 2 ? MD_OK : damaged(j, "its tables are not those of a journal", err);
}

static md_status check_pages(md_journal *j, md_error *err)
{
    char *found;
    MD_TRY(ask(j, "PRAGMA quick_check(1)", NULL, &found, err));
    const bool good = found && strcmp(found, "ok") == 0;
    md_free(found);
    return good ? MD_OK : damaged(j, "pages of it do not fit together", err);
}

static int64_t answer_hash(int64_t line, bool failed, const char *text, size_t n)
{
    const int64_t head[2] = {line, failed};
    return (int64_t)md_batch_hash(md_batch_hash(MD_BATCH_HASH_START, head, sizeof head), text, n);
}

/* One row of the table, checked. */
static md_status read_answer(const md_journal *j, sqlite3_stmt *s, size_t *line, bool *failed, const char **text,
                             size_t *n, md_error *err)
{
    const int64_t at = sqlite3_column_int64(s, 0);
    *failed = sqlite3_column_int(s, 1) != 0;
    *text = (const char *)sqlite3_column_text(s, 2);
    *n = (size_t)sqlite3_column_bytes(s, 2);
    if (!*text)
        return md_fail_memory(err, "the journal");
    if (at < 0 || (uint64_t)at >= j->n_lines || answer_hash(at, *failed, *text, *n) != sqlite3_column_int64(s, 3))
        return damaged(j, "an answer's hash is wrong", err);
    *line = (size_t)at;
    return MD_OK;
}

static md_status note_answer(void *user, size_t line, const char *text, size_t n, md_error *err)
{
    md_journal *j = user;
    (void)text, (void)n, (void)err;
    j->has[line] = 1;
    j->n++;
    return MD_OK;
}

md_status md_journal_each(md_journal *j, md_journal_fn *fn, void *user, md_error *err)
{
    sqlite3_stmt *s;
    if (sqlite3_prepare_v2(j->db, "SELECT line, failed, text, hash FROM answer ORDER BY line", -1, &s, NULL) !=
        SQLITE_OK)
        return db_error(j, "read", err);
    md_status status = MD_OK;
    while (status == MD_OK) {
        const int code = sqlite3_step(s);
        if (code == SQLITE_DONE)
            break;
        size_t line = 0, n = 0;
        bool failed = false;
        const char *text = NULL;
        status = code != SQLITE_ROW ? db_error(j, "read", err) : read_answer(j, s, &line, &failed, &text, &n, err);
        if (status == MD_OK)
            status = fn(user, line, text, n, err);
    }
    sqlite3_finalize(s);
    return status;
}

static md_status go_on(md_journal *j, const md_journal_about *a, md_error *err)
{
    int64_t version, failed;
    MD_TRY(ask(j, "PRAGMA user_version", &version, NULL, err));
    MD_FAIL_IF(version != VERSION, MD_ERR_ARGUMENT,
               "the journal '%s' is of another release of medley: give --restart to begin anew", j->path);
    MD_TRY(check_pages(j, err));
    MD_TRY(check_schema(j, err));
    MD_TRY(check_about(j, a, err));
    MD_TRY(md_journal_each(j, note_answer, j, err));
    MD_TRY(ask(j, "SELECT count(*) FROM answer WHERE failed", &failed, NULL, err));
    j->n_failed = (size_t)failed;
    return MD_OK;
}

/* ---- opening ---- */

/* The file's own words about what it is, without SQLite, which may not get that far in a damaged one. */
static md_status check_head(const char *path, bool *empty, md_error *err)
{
    unsigned char head[72] = {0};
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    *empty = true;
    if (fd < 0 && errno == ENOENT)
        return MD_OK;
    MD_FAIL_IF(fd < 0, MD_ERR_IO, "cannot open the journal '%s': %s", path, strerror(errno));
    struct stat st;
    const bool known = fstat(fd, &st) == 0, file = known && S_ISREG(st.st_mode);
    const ssize_t got = file ? pread(fd, head, sizeof head, 0) : 0;
    const int failed = !known || got < 0 ? errno : 0;
    close(fd);
    MD_FAIL_IF(failed, MD_ERR_IO, "cannot read the journal '%s': %s", path, strerror(failed));
    const uint32_t id = (uint32_t)head[68] << 24 | (uint32_t)head[69] << 16 | (uint32_t)head[70] << 8 | head[71];
    *empty = file && got == 0;
    const bool ours = got == (ssize_t)sizeof head && memcmp(head, "SQLite format 3", 16) == 0 && id == APPLICATION_ID;
    MD_FAIL_IF(!*empty && !ours, MD_ERR_ARGUMENT, "'%s' is not a journal of medley batch: give another --journal",
               path);
    return MD_OK;
}

static md_status remove_files(const char *path, md_error *err)
{
    static const char *const end[] = {"-wal", "-shm", "-journal", ""}; /* what makes it a journal goes last */
    for (size_t i = 0; i < sizeof end / sizeof *end; i++) {
        md_buf name = {0};
        md_buf_printf(&name, "%s%s", path, end[i]);
        const int failed = name.failed ? ENOMEM : unlink(name.data) != 0 && errno != ENOENT ? errno : 0;
        md_buf_done(&name);
        MD_FAIL_IF(failed, failed == ENOMEM ? MD_ERR_MEMORY : MD_ERR_IO, "cannot remove the journal '%s': %s", path,
                   strerror(failed));
    }
    return MD_OK;
}

static md_status open_db(md_journal *j, md_error *err)
{
    if (sqlite3_open_v2(j->path, &j->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL) !=
        SQLITE_OK)
        return j->db ? db_error(j, "open", err) : md_fail_memory(err, "the journal");
    sqlite3_extended_result_codes(j->db, 1);
    sqlite3_db_config(j->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_db_config(j->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    return run(j, "PRAGMA locking_mode = EXCLUSIVE; PRAGMA synchronous = FULL", "open", err);
}

/* The name comes first, past the log, so that check_head finds it in any file that is not empty. */
static md_status name_db(md_journal *j, md_error *err)
{
    char text[64];
    int64_t pages;
    MD_TRY(ask(j, "PRAGMA page_count", &pages, NULL, err));
    snprintf(text, sizeof text, "PRAGMA application_id = %d", APPLICATION_ID);
    if (pages == 0)
        MD_TRY(run(j, text, "begin", err));
    return run(j, "PRAGMA journal_mode = WAL", "open", err);
}

static md_status open_tables(md_journal *j, const md_journal_about *a, md_error *err)
{
    int64_t pages;
    MD_TRY(open_db(j, err));
    MD_TRY(name_db(j, err));
    MD_TRY(ask(j, "PRAGMA page_count", &pages, NULL, err));
    MD_TRY(pages <= 1 ? begin_journal(j, a, err) : go_on(j, a, err));
    const char *sql = "INSERT INTO answer (line, custom_id, failed, text, hash) VALUES (?, ?, ?, ?, ?)";
    return sqlite3_prepare_v3(j->db, sql, -1, SQLITE_PREPARE_PERSISTENT, &j->add, NULL) == SQLITE_OK
               ? MD_OK
               : db_error(j, "open", err);
}

md_status md_journal_open(const char *path, const md_journal_about *about, bool restart, md_journal **out,
                          md_error *err)
{
    *out = NULL;
    bool empty;
    MD_TRY(check_head(path, &empty, err));
    if (restart)
        MD_TRY(remove_files(path, err));
    md_journal *j = md_calloc(1, sizeof *j);
    if (!j)
        return md_fail_memory(err, "the journal");
    j->n_lines = about->n_lines;
    j->group = MD_JOURNAL_GROUP;
    j->has = md_calloc(about->n_lines, 1);
    j->path = md_strdup(path);
    const md_status status = j->has && j->path ? open_tables(j, about, err) : md_fail_memory(err, "the journal");
    if (status != MD_OK)
        md_journal_close(j);
    else
        *out = j;
    return status;
}

/* ---- what is in it ---- */

int64_t md_journal_created(const md_journal *j)
{
    return j->created;
}

size_t md_journal_n(const md_journal *j)
{
    return j->n;
}

size_t md_journal_n_failed(const md_journal *j)
{
    return j->n_failed;
}

bool md_journal_has(const md_journal *j, size_t line)
{
    return line < j->n_lines && j->has[line];
}

/* ---- adding ---- */

static md_status insert(md_journal *j, size_t line, const char *custom_id, bool failed, const char *text, size_t n,
                        md_error *err)
{
    sqlite3_reset(j->add);
    if (sqlite3_bind_int64(j->add, 1, (int64_t)line) != SQLITE_OK ||
        sqlite3_bind_text(j->add, 2, custom_id, -1, SQLITE_STATIC) != SQLITE_OK ||
        sqlite3_bind_int(j->add, 3, failed) != SQLITE_OK ||
        sqlite3_bind_text64(j->add, 4, text, n, SQLITE_STATIC, SQLITE_UTF8) != SQLITE_OK ||
        sqlite3_bind_int64(j->add, 5, answer_hash((int64_t)line, failed, text, n)) != SQLITE_OK)
        return db_error(j, "write", err);
    const md_status status = sqlite3_step(j->add) == SQLITE_DONE ? MD_OK : db_error(j, "write", err);
    sqlite3_reset(j->add);
    sqlite3_clear_bindings(j->add); /* the texts are the caller's */
    return status;
}

md_status md_journal_add(md_journal *j, size_t line, const char *custom_id, bool failed, const char *text, size_t n,
                         md_error *err)
{
    MD_FAIL_IF(line >= j->n_lines || j->has[line], MD_ERR_INTERNAL, "line %zu was answered twice", line + 1);
    if (j->waiting == 0) {
        MD_TRY(run(j, "BEGIN IMMEDIATE", "write", err));
        j->since = md_sys_seconds();
    }
    MD_TRY(insert(j, line, custom_id, failed, text, n, err));
    j->waiting++;
    j->waiting_bytes += n;
    j->has[line] = 1;
    j->n++;
    j->n_failed += failed;
    return md_journal_tick(j, err);
}

md_status md_journal_tick(md_journal *j, md_error *err)
{
    const bool due = j->waiting >= j->group || j->waiting_bytes >= MD_JOURNAL_BYTES ||
                     (j->waiting > 0 && md_sys_seconds() - j->since >= MD_JOURNAL_SECONDS);
    return due ? md_journal_commit(j, err) : MD_OK;
}

md_status md_journal_commit(md_journal *j, md_error *err)
{
    if (j->waiting == 0)
        return MD_OK;
    MD_TRY(run(j, "COMMIT", "write", err));
    j->waiting = j->waiting_bytes = 0;
    return MD_OK;
}

void md_journal_set_group(md_journal *j, size_t answers)
{
    j->group = answers;
}

/* ---- the end ---- */

void md_journal_close(md_journal *j)
{
    if (!j)
        return;
    sqlite3_finalize(j->add);
    sqlite3_close(j->db); /* what was not committed is rolled back */
    md_free(j->has);
    md_free(j->path);
    md_free(j);
}

md_status md_journal_remove(md_journal *j, md_error *err)
{
    char *path = j->path;
    j->path = NULL;
    md_journal_close(j);
    const md_status status = remove_files(path, err);
    md_free(path);
    return status;
}
