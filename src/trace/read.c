/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading a trace, from its own writer or from anybody. What a record claims is checked before it is used: memory is taken only
 * for bytes that are in the file, every number has its bound. The file may grow meanwhile: a record that is not whole yet is
 * the end for now. It may shrink, too: then it simply ends earlier. One thread at a time. */
#include "trace/format.h"

#include "base/file.h"
#include "base/mem.h"
#include "base/status.h"

#include <errno.h>
#include <medley/trace.h>
#include <sys/stat.h>
#include <unistd.h>

enum { WINDOW = 1 << 18 };

struct md_trace_reader {
    md_in file;            /* owned */
    char *path;            /* owned */
    md_trace_info info;    /* points into the two below */
    md_trace_layer *layer; /* owned */
    char *name;            /* owned */
    uint64_t at;           /* where the next record begins */
    unsigned char *bytes;  /* owned, [cap]: the file's bytes [base, base + fill) */
    size_t cap, fill;
    uint64_t base;
    int32_t *row; /* owned: sequences, positions and tokens of a step, or experts */
    size_t row_cap;
    float *weight; /* owned */
    size_t weight_cap;
    uint64_t steps; /* so far */
    int32_t n_rows; /* of the step under way, 0: there was none */
    md_trace_record record;
};

static md_status wrong(const md_trace_reader *r, md_error *err, const char *what)
{
    return md_fail(err, MD_ERR_FORMAT, "'%s' is damaged: %s, in the record at byte %llu", r->path, what,
                   (unsigned long long)r->at);
}

/* ---- bytes ---- */

/* How many bytes the file has from `at` on, now. */
static md_status bytes_left(const md_trace_reader *r, uint64_t *out, md_error *err)
{
    struct stat st;
    MD_FAIL_IF(fstat(r->file.fd, &st) != 0, MD_ERR_IO, "cannot read '%s': %s", r->path, strerror(errno));
    const uint64_t size = st.st_size > 0 ? (uint64_t)st.st_size : 0;
    *out = size > r->at ? size - r->at : 0;
    return MD_OK;
}

/* Drops what lies before `at`. */
static void slide(md_trace_reader *r)
{
    const uint64_t gone = r->at - r->base;
    if (gone >= r->fill) {
        r->fill = 0;
    } else if (gone > 0) {
        memmove(r->bytes, r->bytes + gone, r->fill - (size_t)gone);
        r->fill -= (size_t)gone;
    }
    r->base = r->at;
}

/* *p gets n bytes at `at`, or NULL if the file does not have them (yet). */
static md_status look(md_trace_reader *r, size_t n, const unsigned char **p, md_error *err)
{
    *p = NULL;
    if (r->at - r->base + n > r->fill) {
        uint64_t left;
        MD_TRY(bytes_left(r, &left, err));
        if (left < n)
            return MD_OK;
        slide(r);
        if (n > r->cap) {
            unsigned char *more = md_realloc(r->bytes, n, 1);
            if (!more)
                return md_fail_memory(err, "a record of a trace");
            r->bytes = more;
            r->cap = n;
        }
    }
    while (r->at - r->base + n > r->fill) {
        const ssize_t got = pread(r->file.fd, r->bytes + r->fill, r->cap - r->fill, (off_t)(r->base + r->fill));
        if (got < 0 && errno == EINTR)
            continue;
        MD_FAIL_IF(got < 0, MD_ERR_IO, "cannot read '%s': %s", r->path, strerror(errno));
        if (got == 0)
            return MD_OK; /* it has shrunk */
        r->fill += (size_t)got;
    }
    *p = r->bytes + (r->at - r->base);
    return MD_OK;
}

/* ---- the header ---- */

static md_status read_layers(md_trace_reader *r, const unsigned char *p, md_error *err)
{
    uint64_t all = 0;
    for (int32_t l = 0; l < r->info.n_layer; l++, p += MD_TRACE_LAYER) {
        const uint32_t n_expert = md_get_u32(p), n_ffn = md_get_u32(p + 4), top_k = md_get_u32(p + 8);
        MD_FAIL_IF(n_expert > MD_TRACE_MOST_EXPERTS || n_ffn > n_expert || top_k > n_expert || md_get_u32(p + 12) != 0,
                   MD_ERR_FORMAT, "'%s' is damaged: its layer %d has %u experts, %u of them networks, %u picked",
                   r->path, (int)l, n_expert, n_ffn, top_k);
        r->layer[l] = (md_trace_layer){.n_expert = (int32_t)n_expert,
                                       .n_ffn = (int32_t)n_ffn,
                                       .top_k = (int32_t)top_k,
                                       .expert_bytes = md_get_u64(p + 16)};
        all += n_expert;
    }
    MD_FAIL_IF(all > MD_TRACE_MOST_IN_ALL, MD_ERR_LIMIT, "'%s' claims %llu experts; a trace holds at most %d", r->path,
               (unsigned long long)all, MD_TRACE_MOST_IN_ALL);
    return MD_OK;
}

static md_status read_header(md_trace_reader *r, md_error *err)
{
    const unsigned char *p;
    MD_TRY(look(r, MD_TRACE_HEADER, &p, err));
    MD_FAIL_IF(!p || memcmp(p, MD_TRACE_MAGIC, 8) != 0, MD_ERR_FORMAT, "'%s' is not a trace that medley wrote",
               r->path);
    const uint32_t version = md_get_u32(p + 8), bytes = md_get_u32(p + 12), n_layer = md_get_u32(p + 24);
    const uint32_t name = md_get_u32(p + 28);
    MD_FAIL_IF(version != MD_TRACE_VERSION, MD_ERR_UNSUPPORTED,
               "'%s' is a trace of version %u, but this program reads version %d", r->path, version, MD_TRACE_VERSION);
    const uint64_t layers = (uint64_t)n_layer * MD_TRACE_LAYER;
    MD_FAIL_IF(n_layer < 1 || n_layer > MD_TRACE_MOST_LAYERS || name > MD_TRACE_MOST_NAME ||
                   bytes != MD_TRACE_HEADER + layers + (name + 7) / 8 * 8,
               MD_ERR_FORMAT, "'%s' is damaged: its header of %u bytes claims %u layers and a name of %u bytes",
               r->path, bytes, n_layer, name);
    r->info.identity = md_get_u64(p + 16);
    MD_TRY(look(r, bytes, &p, err));
    MD_FAIL_IF(!p, MD_ERR_FORMAT, "'%s' ends within its header of %u bytes", r->path, bytes);
    r->layer = md_calloc(n_layer, sizeof *r->layer);
    r->name = md_calloc(name + 1, 1);
    if (!r->layer || !r->name)
        return md_fail_memory(err, "a trace");
    memcpy(r->name, p + MD_TRACE_HEADER + layers, name);
    r->info.n_layer = (int32_t)n_layer;
    r->info.layer = r->layer;
    r->info.model = r->name;
    MD_TRY(read_layers(r, p + MD_TRACE_HEADER, err));
    r->at = bytes;
    return MD_OK;
}

md_status md_trace_reader_open(const char *path, md_trace_reader **out, md_error *err)
{
    *out = NULL;
    md_trace_reader *r = md_calloc(1, sizeof *r);
    if (!r)
        return md_fail_memory(err, "a trace");
    r->file.fd = -1;
    r->path = md_strdup(path);
    r->bytes = md_calloc(WINDOW, 1);
    r->cap = WINDOW;
    md_status status = !r->path || !r->bytes ? md_fail_memory(err, "a trace") : md_in_open(r->path, &r->file, err);
    if (status == MD_OK)
        status = read_header(r, err);
    if (status != MD_OK) {
        md_trace_reader_close(r);
        return status;
    }
    *out = r;
    return MD_OK;
}

void md_trace_reader_close(md_trace_reader *r)
{
    if (!r)
        return;
    md_in_close(&r->file);
    md_free(r->path);
    md_free(r->layer);
    md_free(r->name);
    md_free(r->bytes);
    md_free(r->row);
    md_free(r->weight);
    md_free(r);
}

const md_trace_info *md_trace_reader_info(const md_trace_reader *r)
{
    return &r->info;
}

/* ---- records ---- */

/* The head at p: what follows it has *payload bytes. */
static md_status check_head(const md_trace_reader *r, const unsigned char *p, uint64_t *payload, md_error *err)
{
    const uint32_t layer = md_get_u16(p + 2), n = md_get_u32(p + 4);
    if (p[0] < MD_TRACE_STEP || p[0] > MD_TRACE_STEP_END || p[1] != 0)
        return wrong(r, err, "there is no such kind of record");
    const bool of_layer = p[0] == MD_TRACE_ROUTING || p[0] == MD_TRACE_STORE;
    if (of_layer ? layer >= (uint32_t)r->info.n_layer || r->layer[layer].n_expert == 0 : layer != 0)
        return wrong(r, err, "no such layer has experts");
    if (p[0] != MD_TRACE_STEP && r->n_rows == 0)
        return wrong(r, err, "no step has begun");
    switch (p[0]) {
    case MD_TRACE_STEP:
        if (n < 1 || n > MD_TRACE_MOST_ROWS)
            return wrong(r, err, "a step cannot have so many rows");
        *payload = MD_TRACE_STEP_FRONT + (uint64_t)n * MD_TRACE_STEP_ROW;
        return MD_OK;
    case MD_TRACE_ROUTING:
        if (n != (uint32_t)r->n_rows || (uint64_t)n * (uint32_t)r->layer[layer].top_k > MD_TRACE_MOST_CHOICES)
            return wrong(r, err, "its rows are not those of its step");
        *payload = (uint64_t)n * (uint32_t)r->layer[layer].top_k * MD_TRACE_CHOICE;
        return MD_OK;
    default:
        if (n != 0)
            return wrong(r, err, "this kind has no rows");
        *payload = p[0] == MD_TRACE_STORE ? MD_TRACE_STORE_BYTES : MD_TRACE_END_BYTES;
        return MD_OK;
    }
}

static md_status need_rows(md_trace_reader *r, size_t n, size_t n_weights, md_error *err)
{
    if (n > r->row_cap) {
        int32_t *row = md_realloc(r->row, n, sizeof *row);
        if (!row)
            return md_fail_memory(err, "a record of a trace");
        r->row = row;
        r->row_cap = n;
    }
    if (n_weights > r->weight_cap) {
        float *weight = md_realloc(r->weight, n_weights, sizeof *weight);
        if (!weight)
            return md_fail_memory(err, "a record of a trace");
        r->weight = weight;
        r->weight_cap = n_weights;
    }
    return MD_OK;
}

static md_status read_step(md_trace_reader *r, const unsigned char *p, int32_t n, md_trace_record *out, md_error *err)
{
    if (md_get_u64(p) != r->steps)
        return wrong(r, err, "steps are not counted one by one");
    out->step = r->steps;
    out->ns = md_get_u64(p + 8);
    MD_TRY(need_rows(r, 3 * (size_t)n, 0, err));
    p += MD_TRACE_STEP_FRONT;
    for (int32_t i = 0; i < n; i++, p += MD_TRACE_STEP_ROW) {
        const uint32_t sequence = md_get_u32(p), position = md_get_u32(p + 4), token = md_get_u32(p + 8);
        if (sequence > INT32_MAX || position > INT32_MAX || (token > INT32_MAX && token != UINT32_MAX))
            return wrong(r, err, "a sequence, position or token below 0");
        r->row[i] = (int32_t)sequence;
        r->row[n + i] = (int32_t)position;
        r->row[2 * n + i] = token == UINT32_MAX ? -1 : (int32_t)token;
    }
    out->n_rows = n;
    out->sequence = r->row;
    out->position = r->row + n;
    out->token = r->row + 2 * (ptrdiff_t)n;
    return MD_OK;
}

static md_status read_routing(md_trace_reader *r, const unsigned char *p, int32_t n, md_trace_record *out,
                              md_error *err)
{
    const md_trace_layer *y = &r->layer[out->layer];
    const size_t choices = (size_t)n * (size_t)y->top_k;
    MD_TRY(need_rows(r, choices, choices, err));
    for (size_t i = 0; i < choices; i++) {
        const uint32_t expert = md_get_u16(p + 2 * i);
        if (expert != MD_TRACE_EMPTY && expert >= (uint32_t)y->n_expert)
            return wrong(r, err, "its layer has fewer experts");
        r->row[i] = expert == MD_TRACE_EMPTY ? -1 : (int32_t)expert;
        r->weight[i] = md_trace_weight(md_get_u16(p + 2 * (choices + i)));
    }
    out->n_rows = n;
    out->top_k = y->top_k;
    out->expert = r->row;
    out->weight = r->weight;
    return MD_OK;
}

static md_status read_record(md_trace_reader *r, const unsigned char *p, md_trace_record *out, md_error *err)
{
    const unsigned char *payload = p + MD_TRACE_HEAD;
    const int32_t n = (int32_t)md_get_u32(p + 4);
    *out = (md_trace_record){
        .kind = (md_trace_kind)p[0], .offset = r->at, .step = r->steps - 1, .layer = (int32_t)md_get_u16(p + 2)};
    switch (out->kind) {
    case MD_TRACE_STEP: return read_step(r, payload, n, out, err);
    case MD_TRACE_ROUTING: return read_routing(r, payload, n, out, err);
    case MD_TRACE_STORE:
        out->hits = md_get_u32(payload);
        out->misses = md_get_u32(payload + 4);
        out->bytes = md_get_u64(payload + 8);
        out->wait_ns = md_get_u64(payload + 16);
        return MD_OK;
    case MD_TRACE_STEP_END: out->ns = md_get_u64(payload); return MD_OK;
    }
    return MD_OK;
}

md_status md_trace_reader_next(md_trace_reader *r, const md_trace_record **out, md_error *err)
{
    const unsigned char *p;
    uint64_t payload = 0;
    *out = NULL;
    MD_TRY(look(r, MD_TRACE_HEAD, &p, err));
    if (!p)
        return MD_OK;
    MD_TRY(check_head(r, p, &payload, err));
    const size_t whole = MD_TRACE_HEAD + (size_t)payload;
    MD_TRY(look(r, whole, &p, err));
    if (!p)
        return MD_OK;
    md_trace_record record;
    MD_TRY(read_record(r, p, &record, err));
    if (record.kind == MD_TRACE_STEP) {
        r->steps++;
        r->n_rows = record.n_rows;
    }
    r->at += whole;
    r->record = record;
    *out = &r->record;
    return MD_OK;
}
