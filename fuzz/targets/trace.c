/* SPDX-License-Identifier: Apache-2.0
 *
 * Any bytes as a trace: through the reader, and through all that is learned from traces. An input that begins with "MEDLEYTR" is
 * the file itself; any other is what follows a small, good header. Whatever happens: no crash, an error is one sentence, what is
 * lent is readable and within its bounds, the same file reads the same way twice, and what is
 * counted adds up. */
#include "base/mem.h"
#include "trace/format.h"

#include <medley/trace.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { MAX_FILE = 1 << 16, MOST_EXPERTS = 1024 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void require(bool promise)
{
    if (!promise)
        abort();
}

static void check_error(md_status status, const md_error *err)
{
    require(status == MD_OK || status == MD_ERR_FORMAT || status == MD_ERR_UNSUPPORTED || status == MD_ERR_LIMIT ||
            status == MD_ERR_ARGUMENT);
    require(status == MD_OK || (err->code == status && err->message[0] && !strchr(err->message, '\n')));
}

/* Three layers, as far as the format goes: six experts of which five are networks, none, four. */
static void put_header(md_buf *out)
{
    unsigned char b[MD_TRACE_HEADER + 3 * MD_TRACE_LAYER] = MD_TRACE_MAGIC;
    md_put_u32(b + 8, MD_TRACE_VERSION);
    md_put_u32(b + 12, sizeof b);
    md_put_u32(b + 24, 3);
    unsigned char *y = b + MD_TRACE_HEADER;
    md_put_u32(y, 6);
    md_put_u32(y + 4, 5);
    md_put_u32(y + 8, 2);
    md_put_u64(y + 16, 1000);
    y += 2 * (size_t)MD_TRACE_LAYER;
    md_put_u32(y, 4);
    md_put_u32(y + 4, 4);
    md_put_u32(y + 8, 1);
    md_put_u64(y + 16, 500);
    md_buf_append(out, b, sizeof b);
}

/* ---- the reader ---- */

static uint64_t look_at(const md_trace_record *r, const md_trace_info *info)
{
    uint64_t sum = r->offset + (uint64_t)r->kind;
    require(r->layer >= 0 && r->layer < info->n_layer);
    for (int32_t i = 0; r->kind == MD_TRACE_STEP && i < r->n_rows; i++) {
        require(r->sequence[i] >= 0 && r->position[i] >= 0 && r->token[i] >= -1);
        sum = sum * 31 + (uint64_t)r->sequence[i] + (uint64_t)r->position[i];
    }
    for (int64_t i = 0; r->kind == MD_TRACE_ROUTING && i < (int64_t)r->n_rows * r->top_k; i++) {
        require(r->expert[i] >= -1 && r->expert[i] < info->layer[r->layer].n_expert);
        sum = sum * 31 + (uint64_t)(r->expert[i] + 1) + (r->weight[i] > 0.5f);
    }
    return sum;
}

/* Reads to the end; *records and the sum tell how. False if it does not open. */
static bool read_all(const char *path, uint64_t *sum, uint64_t *records, bool *small)
{
    md_trace_reader *reader;
    md_error err = {0};
    md_status status = md_trace_reader_open(path, &reader, &err);
    check_error(status, &err);
    require((status == MD_OK) == (reader != NULL));
    *sum = *records = 0;
    if (!reader)
        return false;
    const md_trace_info *info = md_trace_reader_info(reader);
    int64_t experts = 0;
    require(strlen(info->model) <= MD_TRACE_MOST_NAME);
    for (int32_t l = 0; l < info->n_layer; l++)
        experts += info->layer[l].n_expert;
    *small = experts <= MOST_EXPERTS;
    for (const md_trace_record *r;; ++*records) {
        status = md_trace_reader_next(reader, &r, &err);
        check_error(status, &err);
        require(status == MD_OK || !r);
        if (!r)
            break;
        *sum = *sum * 37 + look_at(r, info);
    }
    md_trace_reader_close(reader);
    return true;
}

/* ---- what is learned from it ---- */

static void study(const char *path)
{
    md_trace_summary *s;
    md_trace_affinity *a;
    md_trace_simulation *x;
    md_error err = {0};
    check_error(md_trace_summarise(path, path, &s, &err), &err);
    for (int32_t l = 0; s && l < s->info.n_layer; l++) {
        uint64_t choices = 0;
        for (int32_t e = 0; e < s->info.layer[l].n_expert; e++)
            choices += s->layer[l].count[e];
        require(choices == s->layer[l].choices && s->layer[l].divergence <= 0.0);
    }
    md_trace_summary_free(s);
    check_error(md_trace_find_affinity(path, 5, &a, &err), &err);
    require(!a || (a->n_pairs <= 5 && a->total.by_last_token <= 1.0));
    md_trace_affinity_free(a);
    check_error(md_trace_simulate(path, NULL, &x, &err), &err);
    for (size_t i = 0; x && i < x->n_replays; i++)
        require(x->replay[i].hits + x->replay[i].misses == x->needs);
    md_trace_simulation_free(x);
}

static void try_file(const md_buf *bytes)
{
    char path[64];
    uint64_t sum, again, records, fewer;
    bool small = false;
    const int fd = memfd_create("trace", MFD_CLOEXEC);
    require(fd >= 0 && write(fd, bytes->data, bytes->len) == (ssize_t)bytes->len);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (read_all(path, &sum, &records, &small)) {
        require(read_all(path, &again, &fewer, &small) && again == sum && fewer == records);
        if (small)
            study(path);
        require(ftruncate(fd, (off_t)bytes->len - 1) == 0);
        if (read_all(path, &again, &fewer, &small))
            require(fewer <= records && fewer + 1 >= records);
    }
    close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    md_buf bytes = {0};
    if (n > MAX_FILE)
        return 0;
    if (n < 8 || memcmp(data, MD_TRACE_MAGIC, 8) != 0)
        put_header(&bytes);
    md_buf_append(&bytes, data, n);
    if (!bytes.failed && bytes.len > 0)
        try_file(&bytes);
    md_buf_done(&bytes);
    return 0;
}
