/* SPDX-License-Identifier: Apache-2.0
 *
 * Finding lines, and what is kept of each. */
#include "serve/batch_input.h"

#include "base/status.h"
#include "serve/batch_hash.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define PIECE        ((size_t)1 << 20)
#define FIRST_PREFIX 256u /* bytes; each next one is twice as long */
#define USUAL_ANSWER 256u /* tokens, where no bound is given */
#define TOKEN_BYTES  3u   /* at least, in most texts */

/* ---- prefixes ---- */

/* Hashes a prompt's bytes as they come, and notes the hash at the borders. */
typedef struct prefix {
    uint64_t hash, at[MD_BATCH_PREFIXES];
    size_t n; /* bytes so far */
    int done; /* borders passed */
} prefix;

static void prefix_add(prefix *p, const char *text, size_t n)
{
    while (n > 0 && p->done < MD_BATCH_PREFIXES) {
        const size_t border = (size_t)FIRST_PREFIX << p->done, left = border - p->n, take = n < left ? n : left;
        p->hash = md_batch_hash(p->hash, text, take);
        p->n += take;
        text += take;
        n -= take;
        if (p->n == border)
            p->at[p->done++] = p->hash;
    }
    p->n += n;
}

/* Strings of a value in their order: roles and contents of messages, parts of contents, prompts. */
static void prefix_add_json(prefix *p, const json_t *value)
{
    const char *key;
    json_t *inner;
    if (json_is_string(value))
        prefix_add(p, json_string_value(value), json_string_length(value) + 1);
    else if (json_is_integer(value)) { /* a token id */
        const json_int_t id = json_integer_value(value);
        prefix_add(p, (const char *)&id, sizeof id);
    } else if (json_is_array(value))
        for (size_t i = 0; i < json_array_size(value); i++)
            prefix_add_json(p, json_array_get(value, i));
    else if (json_is_object(value))
        json_object_foreach((json_t *)(uintptr_t)value, key, inner)
        {
            prefix_add(p, key, strlen(key) + 1);
            prefix_add_json(p, inner);
        }
}

static void note_prefix(const md_batch_request *q, md_batch_line *line)
{
    static const char *const front[] = {"tools", "messages", "prompt", "input"};
    prefix p = {.hash = md_batch_hash(MD_BATCH_HASH_START, &q->url, sizeof q->url)};
    for (size_t i = 0; i < sizeof front / sizeof *front; i++)
        prefix_add_json(&p, json_object_get(q->body, front[i]));
    for (int i = 0; i < MD_BATCH_PREFIXES; i++)
        line->prefix[i] = i < p.done ? p.at[i] : p.hash;
    uint64_t answer = q->url == MD_BATCH_EMBEDDING ? 0 : USUAL_ANSWER;
    static const char *const bound[] = {"max_tokens", "max_completion_tokens"};
    for (int i = 0; i < 2; i++) {
        const json_t *most = json_object_get(q->body, bound[i]);
        if (json_is_integer(most) && json_integer_value(most) >= 0)
            answer = (uint64_t)json_integer_value(most);
    }
    const uint64_t tokens = p.n / TOKEN_BYTES + 16 + (answer < UINT32_MAX ? answer : UINT32_MAX);
    line->tokens = tokens < UINT32_MAX ? (uint32_t)tokens : UINT32_MAX;
}

/* ---- lines ---- */

static md_status add_line(md_batch_input *in, const md_batch_line *line, md_error *err)
{
    MD_FAIL_IF(in->n == MD_BATCH_MOST_LINES, MD_ERR_LIMIT, "'%s' has more than %u requests: divide it", in->file.path,
               MD_BATCH_MOST_LINES);
    if (in->n == in->cap) {
        const size_t cap = in->cap ? 2 * in->cap : 256;
        md_batch_line *more = md_realloc(in->line, cap, sizeof *more);
        if (!more)
            return md_fail_memory(err, "the index of the requests");
        in->line = more;
        in->cap = cap;
    }
    in->line[in->n++] = *line;
    return MD_OK;
}

static bool is_blank(const char *text, size_t n)
{
    size_t i = 0;
    while (i < n && (text[i] == ' ' || text[i] == '\t' || text[i] == '\r'))
        i++;
    return i == n;
}

static md_status take_line(md_batch_input *in, uint64_t offset, const char *text, size_t n, md_error *err)
{
    if (offset == 0 && n >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) {
        text += 3;
        n -= 3;
        offset = 3;
    }
    if (n <= MD_BATCH_MOST_LINE && is_blank(text, n))
        return MD_OK;
    md_batch_line line = {.offset = offset, .n = (uint32_t)(n <= MD_BATCH_MOST_LINE ? n : MD_BATCH_MOST_LINE + 1u)};
    md_batch_request q = {0};
    md_refusal r = {0};
    if (n <= MD_BATCH_MOST_LINE && md_batch_request_read(&q, text, n, &r))
        note_prefix(&q, &line);
    const bool memory = r.status >= 500;
    if (q.custom_id) {
        const uint64_t id = md_batch_hash(MD_BATCH_HASH_START, q.custom_id, strlen(q.custom_id));
        line.id = id ? id : 1;
    }
    md_batch_request_done(&q);
    return memory ? md_fail_memory(err, "a line") : add_line(in, &line, err);
}

/* The line under way: its bytes as long as it is not too long. */
typedef struct scan {
    md_buf line;
    uint64_t offset; /* where it begins */
    uint64_t n;      /* its bytes so far */
} scan;

static void scan_more(scan *s, const char *p, size_t n)
{
    const uint64_t room = s->n <= MD_BATCH_MOST_LINE ? MD_BATCH_MOST_LINE + 1u - s->n : 0;
    md_buf_append(&s->line, p, n < room ? n : (size_t)room);
    s->n += n;
}

static md_status scan_end(md_batch_input *in, scan *s, uint64_t next, md_error *err)
{
    if (s->line.failed)
        return md_fail_memory(err, "a line");
    if (s->n > 0)
        MD_TRY(take_line(in, s->offset, s->line.data,
                         s->n <= MD_BATCH_MOST_LINE ? (size_t)s->n : (size_t)MD_BATCH_MOST_LINE + 1u, err));
    md_buf_reset(&s->line);
    s->n = 0;
    s->offset = next;
    return MD_OK;
}

static md_status scan_piece(md_batch_input *in, scan *s, uint64_t at, const char *p, size_t n, md_error *err)
{
    for (size_t i = 0; i < n;) {
        const char *end = memchr(p + i, '\n', n - i);
        const size_t take = end ? (size_t)(end - p) - i : n - i;
        scan_more(s, p + i, take);
        i += take;
        if (end)
            MD_TRY(scan_end(in, s, at + ++i, err));
    }
    return MD_OK;
}

static md_status scan_file(md_batch_input *in, md_error *err)
{
    scan s = {0};
    char *piece = md_calloc(1, PIECE);
    md_status status = piece ? MD_OK : md_fail_memory(err, "reading the requests");
    in->hash = MD_BATCH_HASH_START;
    in->bytes = in->file.n;
    for (uint64_t at = 0; status == MD_OK && at < in->bytes;) {
        const size_t n = in->bytes - at < PIECE ? (size_t)(in->bytes - at) : PIECE;
        status = md_in_read(&in->file, at, piece, n, err);
        if (status == MD_OK) {
            in->hash = md_batch_hash(in->hash, piece, n);
            status = scan_piece(in, &s, at, piece, n, err);
        }
        at += n;
    }
    if (status == MD_OK)
        status = scan_end(in, &s, in->bytes, err);
    md_buf_done(&s.line);
    md_free(piece);
    return status;
}

md_status md_batch_input_read(const md_batch_input *in, size_t line, md_buf *text, md_error *err)
{
    const md_batch_line *l = &in->line[line];
    md_buf_reset(text);
    char *bytes = md_calloc(l->n, 1);
    if (!bytes)
        return md_fail_memory(err, "a line");
    const md_status status = md_in_read(&in->file, l->offset, bytes, l->n, err);
    if (status == MD_OK)
        md_buf_append(text, bytes, l->n);
    md_free(bytes);
    MD_TRY(status);
    return text->failed ? md_fail_memory(err, "a line") : MD_OK;
}

/* ---- names ---- */

typedef struct name {
    uint64_t id;
    uint32_t line;
} name;

static int compare_names(const void *a, const void *b)
{
    const name *x = a, *y = b;
    if (x->id != y->id)
        return x->id < y->id ? -1 : 1;
    return (x->line > y->line) - (x->line < y->line);
}

/* The custom_id of a line that has one, owned. */
static md_status id_of(const md_batch_input *in, size_t line, char **out, md_error *err)
{
    md_buf text = {0};
    md_batch_request q = {0};
    md_refusal r = {0};
    *out = NULL;
    md_status status = md_batch_input_read(in, line, &text, err);
    if (status == MD_OK) {
        md_batch_request_read(&q, text.data, text.len, &r);
        *out = r.status >= 500 ? NULL : md_strdup(q.custom_id ? q.custom_id : "");
        if (!*out)
            status = md_fail_memory(err, "a custom_id");
    }
    md_batch_request_done(&q);
    md_buf_done(&text);
    return status;
}

static md_status check_two(const md_batch_input *in, size_t a, size_t b, md_error *err)
{
    char *id_a = NULL, *id_b = NULL;
    md_status status = id_of(in, a, &id_a, err);
    if (status == MD_OK)
        status = id_of(in, b, &id_b, err);
    if (status == MD_OK && strcmp(id_a, id_b) == 0)
        status = md_fail(err, MD_ERR_ARGUMENT,
                         "requests %zu and %zu of '%s' have the same custom_id '%.100s': give each its own", a + 1,
                         b + 1, in->file.path, id_a);
    md_free(id_a);
    md_free(id_b);
    return status;
}

/* Equal hashes are looked at; they stand side by side once sorted. */
static md_status check_names(const md_batch_input *in, md_error *err)
{
    name *all = md_calloc(in->n, sizeof *all);
    if (!all)
        return md_fail_memory(err, "the index of the requests");
    for (size_t i = 0; i < in->n; i++)
        all[i] = (name){.id = in->line[i].id, .line = (uint32_t)i};
    qsort(all, in->n, sizeof *all, compare_names);
    md_status status = MD_OK;
    for (size_t i = 1; i < in->n && status == MD_OK; i++)
        if (all[i].id != 0 && all[i].id == all[i - 1].id)
            status = check_two(in, all[i - 1].line, all[i].line, err);
    md_free(all);
    return status;
}

/* ---- the whole ---- */

static md_status open_file(const char *path, md_batch_input *in, md_error *err)
{
    struct stat st;
    MD_FAIL_IF(stat(path, &st) == 0 && !S_ISREG(st.st_mode), MD_ERR_ARGUMENT,
               "'%s' is not a file: requests are read more than once, so they must lie in one", path);
    MD_TRY(md_in_open(path, &in->file, err));
    in->changed = fstat(in->file.fd, &st) == 0 ? (int64_t)st.st_mtime : 0;
    unsigned char mark[2] = {0};
    if (in->file.n >= 2)
        MD_TRY(md_in_read(&in->file, 0, mark, 2, err));
    MD_FAIL_IF((mark[0] == 0xff && mark[1] == 0xfe) || (mark[0] == 0xfe && mark[1] == 0xff), MD_ERR_FORMAT,
               "'%s' is UTF-16: write it as UTF-8", path);
    return MD_OK;
}

md_status md_batch_input_open(const char *path, md_batch_input *out, md_error *err)
{
    *out = (md_batch_input){.file.fd = -1};
    md_status status = open_file(path, out, err);
    if (status == MD_OK)
        status = scan_file(out, err);
    if (status == MD_OK && out->n == 0)
        status = md_fail(err, MD_ERR_ARGUMENT, "there is no request in '%s'", path);
    if (status == MD_OK)
        status = check_names(out, err);
    if (status != MD_OK)
        md_batch_input_close(out);
    return status;
}

void md_batch_input_close(md_batch_input *in)
{
    md_in_close(&in->file);
    md_free(in->line);
    *in = (md_batch_input){.file.fd = -1};
}

/* ---- order ---- */

typedef struct place {
    const md_batch_line *line;
    uint32_t at;
} place;

static int compare_places(const void *a, const void *b)
{
    const place *x = a, *y = b;
    for (int i = 0; i < MD_BATCH_PREFIXES; i++)
        if (x->line->prefix[i] != y->line->prefix[i])
            return x->line->prefix[i] < y->line->prefix[i] ? -1 : 1;
    return (x->at > y->at) - (x->at < y->at);
}

uint32_t *md_batch_input_order(const md_batch_input *in)
{
    place *all = md_calloc(in->n, sizeof *all);
    uint32_t *order = md_calloc(in->n, sizeof *order);
    if (all && order) {
        for (size_t i = 0; i < in->n; i++)
            all[i] = (place){.line = &in->line[i], .at = (uint32_t)i};
        qsort(all, in->n, sizeof *all, compare_places);
        for (size_t i = 0; i < in->n; i++)
            order[i] = all[i].at;
        md_free(all);
        return order;
    }
    md_free(all);
    md_free(order);
    return NULL;
}
