/* SPDX-License-Identifier: Apache-2.0
 *
 * The input of a batch: one JSON object a line. The file is read once from beginning to end, and of each line only MD_BATCH_LINE_BYTES
 * are kept; lines are read again when their turn comes. Lines of nothing but white space do not count; a byte order mark, CRLF
 * and a last line without an end are fine. What cannot be read as a request stays a line, whose answer says why. */
#ifndef MD_SERVE_BATCH_INPUT_H
#define MD_SERVE_BATCH_INPUT_H

#include "base/file.h"
#include "serve/refusal.h"

#include <jansson.h>

#define MD_BATCH_MOST_LINE  (8u << 20) /* bytes of a line; a longer one is refused, alone */
#define MD_BATCH_MOST_LINES 4000000u
#define MD_BATCH_MOST_ID    512u /* bytes of a custom_id */
#define MD_BATCH_PREFIXES   7

typedef struct md_batch_line {
    uint64_t offset;
    uint32_t n;      /* bytes, without the end; more than MD_BATCH_MOST_LINE: too long */
    uint32_t tokens; /* that it may take, prompt and answer: a guess by its bytes */
    uint64_t id;     /* hash of its custom_id; 0: it has none */
    uint64_t prefix
        [MD_BATCH_PREFIXES]; /* hashes of the first 256, 512, 1024... bytes of its prompt, or of all of a shorter one */
} md_batch_line;
#define MD_BATCH_LINE_BYTES sizeof(md_batch_line)

typedef struct md_batch_input {
    md_in file;
    md_batch_line *line; /* owned, [n] in the file's order */
    size_t n, cap;
    uint64_t hash, bytes; /* of the whole file */
    int64_t changed;      /* Unix time of its last change */
} md_batch_input;

/* Reads and indexes a file, whose path is borrowed. MD_ERR_ARGUMENT: there is no request in it, or two have the same custom_id. */
md_status md_batch_input_open(const char *path, md_batch_input *out, md_error *err) MD_MUST_USE;
void md_batch_input_close(md_batch_input *in); /* {.file.fd = -1} allowed */
/* A line's bytes, put into text. MD_ERR_IO as well if it is not what it was. Not for lines that are too long. */
md_status md_batch_input_read(const md_batch_input *in, size_t line, md_buf *text, md_error *err) MD_MUST_USE;
/* The order to answer them in: lines that begin alike side by side. Owned [n], or NULL when memory is out. */
uint32_t *md_batch_input_order(const md_batch_input *in);

/* --- one line --- */
typedef enum md_batch_url { MD_BATCH_CHAT, MD_BATCH_COMPLETION, MD_BATCH_EMBEDDING } md_batch_url;

typedef struct md_batch_request {
    json_t *root;          /* owned */
    const char *custom_id; /* NULL: there is none */
    md_batch_url url;
    const json_t *body; /* an object */
} md_batch_request;
/* Pure. False: refused, and custom_id is given if there is one; to be freed either way. */
bool md_batch_request_read(md_batch_request *q, const char *text, size_t n, md_refusal *r);
void md_batch_request_done(md_batch_request *q); /* {0} allowed */

#endif
