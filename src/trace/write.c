/* SPDX-License-Identifier: Apache-2.0
 *
 * Writing a trace: records are laid into a buffer that goes to the file when it is full, so that between two writes nothing but
 * memory is touched. A disk that fails never stops what is traced: the first error is kept until the trace is closed, and
 * nothing is written after it. One thread at a time. */
#include "trace/format.h"

#include "base/mem.h"
#include "base/status.h"
#include "base/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <medley/trace.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BUFFER = 1 << 18 };

struct md_trace_writer {
    int fd;
    char *path;            /* owned */
    md_trace_layer *layer; /* owned, [n_layer] */
    int32_t n_layer;
    int32_t n_rows; /* of the step under way; 0: there was none */
    uint64_t steps;
    double began;
    unsigned char *buffer; /* owned, [BUFFER] */
    size_t fill;
    md_error error; /* the first failure; code MD_OK: none */
    bool broken;    /* the file takes no more */
    uint64_t dropped;
};

/* ---- bytes ---- */

static void keep_write_error(md_trace_writer *w, int code)
{
    w->broken = true;
    if (w->error.code == MD_OK)
        (void)md_fail(&w->error, MD_ERR_IO, "cannot write the trace '%s': %s", w->path, strerror(code));
}

void md_trace_writer_flush(md_trace_writer *w)
{
    size_t at = 0;
    while (at < w->fill && !w->broken) {
        const ssize_t n = write(w->fd, w->buffer + at, w->fill - at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            keep_write_error(w, n < 0 ? errno : ENOSPC);
        else
            at += (size_t)n;
    }
    w->fill = 0;
}

/* Room for n bytes, n <= BUFFER, that the caller fills. */
static unsigned char *room(md_trace_writer *w, size_t n)
{
    if (n > BUFFER - w->fill)
        md_trace_writer_flush(w);
    unsigned char *p = w->buffer + w->fill;
    w->fill += n;
    return p;
}

static void put_head(md_trace_writer *w, md_trace_kind kind, int32_t layer, int32_t n_rows)
{
    unsigned char *p = room(w, MD_TRACE_HEAD);
    p[0] = (unsigned char)kind;
    p[1] = 0;
    md_put_u16(p + 2, (uint32_t)layer);
    md_put_u32(p + 4, (uint32_t)n_rows);
}

/* ---- opening ---- */

static md_status check_info(const md_trace_info *info, md_error *err)
{
    uint64_t all = 0;
    MD_FAIL_IF(info->n_layer < 1 || info->n_layer > MD_TRACE_MOST_LAYERS, MD_ERR_ARGUMENT,
               "a trace has 1 to %d layers, not %d", MD_TRACE_MOST_LAYERS, (int)info->n_layer);
    for (int32_t l = 0; l < info->n_layer; l++) {
        const md_trace_layer *y = &info->layer[l];
        MD_FAIL_IF(y->n_expert < 0 || y->n_expert > MD_TRACE_MOST_EXPERTS || y->n_ffn < 0 || y->n_ffn > y->n_expert ||
                       y->top_k < 0 || y->top_k > y->n_expert,
                   MD_ERR_ARGUMENT, "layer %d cannot be traced: %d experts, %d of them networks, %d picked", (int)l,
                   (int)y->n_expert, (int)y->n_ffn, (int)y->top_k);
        all += (uint64_t)y->n_expert;
    }
    MD_FAIL_IF(all > MD_TRACE_MOST_IN_ALL, MD_ERR_LIMIT, "a trace holds at most %d experts, not %llu",
               MD_TRACE_MOST_IN_ALL, (unsigned long long)all);
    return MD_OK;
}

static void put_header(const md_trace_info *info, md_buf *out)
{
    static const unsigned char zeros[8];
    unsigned char b[MD_TRACE_HEADER] = MD_TRACE_MAGIC;
    const size_t length = strlen(info->model);
    const size_t name = length < MD_TRACE_MOST_NAME ? length : MD_TRACE_MOST_NAME, padding = (8 - name % 8) % 8;
    md_put_u32(b + 8, MD_TRACE_VERSION);
    md_put_u32(b + 12, (uint32_t)(MD_TRACE_HEADER + (size_t)info->n_layer * MD_TRACE_LAYER + name + padding));
    md_put_u64(b + 16, info->identity);
    md_put_u32(b + 24, (uint32_t)info->n_layer);
    md_put_u32(b + 28, (uint32_t)name);
    md_buf_append(out, b, sizeof b);
    for (int32_t l = 0; l < info->n_layer; l++) {
        unsigned char y[MD_TRACE_LAYER] = {0};
        md_put_u32(y, (uint32_t)info->layer[l].n_expert);
        md_put_u32(y + 4, (uint32_t)info->layer[l].n_ffn);
        md_put_u32(y + 8, (uint32_t)info->layer[l].top_k);
        md_put_u64(y + 16, info->layer[l].expert_bytes);
        md_buf_append(out, y, sizeof y);
    }
    md_buf_append(out, info->model, name);
    md_buf_append(out, zeros, padding);
}

/* Is the file empty, or a trace? */
static md_status may_replace(const md_trace_writer *w, bool *out, md_error *err)
{
    char magic[8];
    size_t n = 0;
    while (n < sizeof magic) {
        const ssize_t got = pread(w->fd, magic + n, sizeof magic - n, (off_t)n);
        if (got < 0 && errno == EINTR)
            continue;
        MD_FAIL_IF(got < 0, MD_ERR_IO, "cannot read '%s', which a trace is to replace: %s", w->path, strerror(errno));
        if (got == 0)
            break;
        n += (size_t)got;
    }
    *out = n == 0 || (n == sizeof magic && memcmp(magic, MD_TRACE_MAGIC, sizeof magic) == 0);
    return MD_OK;
}

/* Opens the file for writing, empty. What is there is only lost if it was a trace: a model named by mistake stays. */
static md_status open_file(md_trace_writer *w, md_error *err)
{
    struct stat st;
    bool replace = false;
    w->fd = open(w->path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    MD_FAIL_IF(w->fd < 0 || fstat(w->fd, &st) != 0, MD_ERR_IO, "cannot write the trace '%s': %s", w->path,
               strerror(errno));
    MD_FAIL_IF(!S_ISREG(st.st_mode), MD_ERR_IO, "cannot write the trace '%s': it is not a regular file", w->path);
    MD_TRY(may_replace(w, &replace, err));
    MD_FAIL_IF(!replace, MD_ERR_ARGUMENT, "'%s' exists and is no trace: name another file, or remove it", w->path);
    MD_FAIL_IF(ftruncate(w->fd, 0) != 0, MD_ERR_IO, "cannot write the trace '%s': %s", w->path, strerror(errno));
    return MD_OK;
}

static void writer_free(md_trace_writer *w)
{
    if (w->fd >= 0)
        close(w->fd);
    md_free(w->path);
    md_free(w->layer);
    md_free(w->buffer);
    md_free(w);
}

static md_status writer_fill(md_trace_writer *w, const char *path, const md_trace_info *info, md_error *err)
{
    md_buf header = {0};
    w->path = md_strdup(path);
    w->layer = md_calloc((size_t)info->n_layer, sizeof *w->layer);
    w->buffer = md_calloc(BUFFER, 1);
    put_header(info, &header);
    md_status status = MD_OK;
    if (!w->path || !w->layer || !w->buffer || header.failed) {
        status = md_fail_memory(err, "a trace");
    } else {
        memcpy(w->layer, info->layer, (size_t)info->n_layer * sizeof *w->layer);
        w->n_layer = info->n_layer;
        status = open_file(w, err);
    }
    for (size_t at = 0; status == MD_OK && at < header.len; at += BUFFER) {
        const size_t n = header.len - at < BUFFER ? header.len - at : BUFFER;
        memcpy(room(w, n), header.data + at, n);
    }
    md_buf_done(&header);
    if (status == MD_OK)
        md_trace_writer_flush(w); /* a reader may look at once; and a disk that is full now is told now */
    if (status == MD_OK && w->broken)
        status = md_fail(err, w->error.code, "%s", w->error.message);
    return status;
}

md_status md_trace_writer_open(const char *path, const md_trace_info *info, md_trace_writer **out, md_error *err)
{
    *out = NULL;
    MD_TRY(check_info(info, err));
    md_trace_writer *w = md_calloc(1, sizeof *w);
    if (!w)
        return md_fail_memory(err, "a trace");
    w->fd = -1;
    w->began = md_sys_seconds();
    const md_status status = writer_fill(w, path, info, err);
    if (status != MD_OK) {
        writer_free(w);
        return status;
    }
    *out = w;
    return MD_OK;
}

/* ---- records ---- */

/* A record that makes no sense is the caller's fault, and dropped. */
static bool drop_unless(md_trace_writer *w, bool sense, const char *what, int32_t layer)
{
    if (sense && !w->broken)
        return false;
    if (!sense && w->error.code == MD_OK)
        (void)md_fail(&w->error, MD_ERR_ARGUMENT,
                      "the trace '%s' was given %s that makes no sense (step %llu, layer %d)", w->path, what,
                      (unsigned long long)w->steps, (int)layer);
    w->dropped++;
    return true;
}

void md_trace_write_step(md_trace_writer *w, int32_t n, const int32_t *sequence, const int32_t *position,
                         const int32_t *token)
{
    if (drop_unless(w, n >= 1 && n <= MD_TRACE_MOST_ROWS, "a step", 0))
        return;
    const double seconds = md_sys_seconds() - w->began;
    put_head(w, MD_TRACE_STEP, 0, n);
    unsigned char *p = room(w, MD_TRACE_STEP_FRONT);
    md_put_u64(p, w->steps++);
    md_put_u64(p + 8, seconds > 0.0 ? (uint64_t)(seconds * 1e9) : 0);
    for (int32_t i = 0; i < n; i++) {
        p = room(w, MD_TRACE_STEP_ROW);
        md_put_u32(p, (uint32_t)(sequence[i] >= 0 ? sequence[i] : 0));
        md_put_u32(p + 4, (uint32_t)(position[i] >= 0 ? position[i] : 0));
        md_put_u32(p + 8, token && token[i] >= 0 ? (uint32_t)token[i] : UINT32_MAX);
    }
    w->n_rows = n;
}

void md_trace_write_routing(md_trace_writer *w, int32_t layer, int32_t n, const int32_t *expert, const float *weight)
{
    const md_trace_layer *y = layer >= 0 && layer < w->n_layer ? &w->layer[layer] : NULL;
    if (drop_unless(w, y && y->top_k > 0 && n == w->n_rows && (int64_t)n * y->top_k <= MD_TRACE_MOST_CHOICES,
                    "a routing", layer))
        return;
    const int64_t choices = (int64_t)n * y->top_k;
    for (int64_t i = 0; i < choices; i++)
        if (drop_unless(w, expert[i] >= -1 && expert[i] < y->n_expert, "an expert", layer))
            return;
    put_head(w, MD_TRACE_ROUTING, layer, n);
    for (int64_t i = 0; i < choices; i++)
        md_put_u16(room(w, 2), expert[i] < 0 ? MD_TRACE_EMPTY : (uint32_t)expert[i]);
    for (int64_t i = 0; i < choices; i++)
        md_put_u16(room(w, 2), md_trace_weight_bits(weight[i]));
}

void md_trace_write_store(md_trace_writer *w, int32_t layer, uint32_t hits, uint32_t misses, uint64_t bytes,
                          uint64_t wait_ns)
{
    if (drop_unless(w, w->n_rows > 0 && layer >= 0 && layer < w->n_layer && w->layer[layer].n_expert > 0,
                    "a store's record", layer))
        return;
    put_head(w, MD_TRACE_STORE, layer, 0);
    unsigned char *p = room(w, MD_TRACE_STORE_BYTES);
    md_put_u32(p, hits);
    md_put_u32(p + 4, misses);
    md_put_u64(p + 8, bytes);
    md_put_u64(p + 16, wait_ns);
}

void md_trace_write_step_end(md_trace_writer *w, uint64_t ns)
{
    if (drop_unless(w, w->n_rows > 0, "the end of no step", 0))
        return;
    put_head(w, MD_TRACE_STEP_END, 0, 0);
    md_put_u64(room(w, MD_TRACE_END_BYTES), ns);
}

md_status md_trace_writer_close(md_trace_writer *w, md_error *err)
{
    if (!w)
        return MD_OK;
    md_trace_writer_flush(w);
    const int fd = w->fd;
    w->fd = -1;
    if (close(fd) != 0 && !w->broken)
        keep_write_error(w, errno);
    const md_status status = w->error.code;
    if (w->broken)
        (void)md_fail(err, status, "%s; it ends before that", w->error.message);
    else if (status != MD_OK)
        (void)md_fail(err, status, "%s; %llu records are missing", w->error.message, (unsigned long long)w->dropped);
    writer_free(w);
    return status;
}
