/* SPDX-License-Identifier: Apache-2.0 */
#include "model/weights.h"

#include "base/pool.h"
#include "base/region.h"
#include "base/status.h"
#include "base/sys.h"
#include "base/checksum.h"
#include "model/packed.h"
#include "model/stream.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

/* Below this, starting threads costs more than it saves. */
#define WORTH_THREADS ((uint64_t)16 << 20)
/* Pieces between two times that the page cache is emptied of a streamed model's file. */
#define FORGET_EVERY  4

typedef struct piece {
    uint32_t tensor;
    bool weave;
    size_t at, n;
} piece;

typedef struct load_job {
    md_model *m;
    const md_model_args *args;
    md_in *in;           /* (n_parts) */
    piece *piece;        /* (n) */
    uint64_t *sum;       /* (n) checksums, or NULL */
    unsigned char *work; /* (threads, work_bytes) rows on their way into tiles */
    size_t n, work_bytes;
    uint64_t total;     /* bytes of this step's tensors */
    uint64_t whole;     /* of all tensors: what progress goes up to */
    atomic_ullong done; /* of all tensors */
    atomic_bool stop;
    pthread_mutex_t lock; /* of the two below */
    md_status status;
    md_error error;
} load_job;

/* ---- pieces ---- */

static bool is_plain(const md_gguf_tensor *t)
{
    return md_type_get(t->type)->cls != MD_CLASS_QUANT;
}

static bool wanted(const md_model *m, size_t i, bool plain)
{
    const bool is = is_plain(md_gguf_tensor_at(m->file, i));
    if (m->streamed && md_stream_is(md_gguf_tensor_at(m->file, i)))
        return false;
    return plain ? is : !is && m->layout[i] != MD_LAYOUT_UNUSED;
}

static size_t row_bytes(const md_gguf_tensor *t)
{
    size_t n = 0;
    (void)!md_type_row_bytes(t->type, t->dim[0], &n);
    return n;
}

md_weights_cut md_weights_cut_of(const md_gguf_tensor *t, md_layout layout, bool apart)
{
    const size_t tile = MD_TILE_ROWS * row_bytes(t), slices = apart ? (size_t)t->dim[t->n_dims - 1] : 1;
    md_weights_cut c = {.stretch = t->bytes / slices, .piece = MD_PACKED_PIECE};
    if (layout == MD_LAYOUT_TILES)
        c.piece = tile > MD_PACKED_PIECE ? tile : MD_PACKED_PIECE / tile * tile;
    c.per_stretch = (c.stretch + c.piece - 1) / c.piece;
    c.n = c.per_stretch * slices;
    return c;
}

size_t md_weights_piece_at(const md_weights_cut *c, size_t i, size_t *bytes)
{
    const size_t at = i % c->per_stretch * c->piece;
    *bytes = c->stretch - at < c->piece ? c->stretch - at : c->piece;
    return i / c->per_stretch * c->stretch + at;
}

md_status md_weights_read(const md_in *in, const md_gguf_tensor *t, size_t at, void *dst, size_t n, md_error *err)
{
    const size_t slice = md_gguf_slice_bytes(t);
    for (size_t done = 0; done < n;) {
        const size_t left = slice - (at + done) % slice, some = n - done < left ? n - done : left;
        MD_TRY(md_in_read(in, md_gguf_file_place(t, at + done), (char *)dst + done, some, err));
        done += some;
    }
    return MD_OK;
}

void md_weights_weave(const md_gguf_tensor *t, const void *rows, size_t n, void *dst)
{
    const size_t row = row_bytes(t), tile = MD_TILE_ROWS * row;
    const int64_t blocks = t->dim[0] / md_type_get(t->type)->block;
    for (size_t at = 0; at < n; at += tile)
        md_tile_weave(t->type, (const char *)rows + at, row, blocks, (char *)dst + at);
}

/* Counts the pieces, and lists them if there is a list. */
static size_t cut(const md_model *m, bool plain, load_job *j)
{
    size_t n = 0;
    for (size_t i = 0; i < md_gguf_n_tensors(m->file); i++) {
        if (!wanted(m, i, plain))
            continue;
        const md_gguf_tensor *t = md_gguf_tensor_at(m->file, i);
        const md_layout layout = plain ? MD_LAYOUT_ROWS : (md_layout)m->layout[i];
        const bool weave = layout == MD_LAYOUT_TILES && !m->packed.is;
        const md_weights_cut c = md_weights_cut_of(t, layout, t->file_stride > 0);
        for (size_t k = 0; k < c.n; k++, n++) {
            size_t bytes;
            const size_t at = md_weights_piece_at(&c, k, &bytes);
            if (j->piece)
                j->piece[n] = (piece){.tensor = (uint32_t)i, .weave = weave, .at = at, .n = bytes};
            else
                j->total += bytes;
            if (weave && bytes > j->work_bytes)
                j->work_bytes = bytes;
        }
    }
    return n;
}

/* ---- reading ---- */

static md_status load_piece(const load_job *j, const piece *p, uint64_t *sum, unsigned char *work, md_error *err)
{
    const md_gguf_tensor *t = md_gguf_tensor_at(j->m->file, p->tensor);
    unsigned char *dst = (unsigned char *)(uintptr_t)t->data + p->at;
    MD_TRY(md_weights_read(&j->in[t->part], t, p->at, p->weave ? work : dst, p->n, err));
    if (p->weave)
        md_weights_weave(t, work, p->n, dst);
    if (sum) {
        md_checksum c;
        md_checksum_init(&c);
        md_checksum_add(&c, dst, p->n);
        *sum = md_checksum_value(&c);
    }
    return MD_OK;
}

static void fail_once(load_job *j, md_status status, const md_error *error)
{
    pthread_mutex_lock(&j->lock);
    if (j->status == MD_OK) {
        j->status = status;
        j->error = *error;
    }
    pthread_mutex_unlock(&j->lock);
    atomic_store(&j->stop, true);
}

/* Only the thread that called reports progress. */
static void load_items(void *ctx, int64_t first, int64_t last, int thread)
{
    load_job *j = ctx;
    for (int64_t i = first; i < last && !atomic_load(&j->stop); i++) {
        md_error error = {0};
        const md_status status = load_piece(j, &j->piece[i], j->sum ? &j->sum[i] : NULL,
                                            j->work + (size_t)thread * j->work_bytes, &error);
        if (status != MD_OK)
            fail_once(j, status, &error);
        const uint64_t done = atomic_fetch_add(&j->done, j->piece[i].n) + j->piece[i].n;
        if (j->m->streamed && i % FORGET_EVERY == 0) {
            const md_gguf_tensor *t = md_gguf_tensor_at(j->m->file, j->piece[i].tensor);
            md_in_forget(&j->in[t->part], 0, (size_t)j->in[t->part].n);
        }
        if (thread == 0 && j->args && j->args->progress && !j->args->progress(j->args->progress_user, done, j->whole)) {
            md_fail(&error, MD_ERR_CANCELLED, "loading was stopped");
            fail_once(j, MD_ERR_CANCELLED, &error);
        }
    }
}

static md_status open_parts(load_job *j, md_error *err)
{
    const md_gguf *g = j->m->file;
    const int n = md_gguf_n_parts(g);
    j->in = md_calloc((size_t)n, sizeof *j->in);
    if (!j->in)
        return md_fail_memory(err, "a model's files");
    for (int i = 0; i < n; i++)
        j->in[i].fd = -1;
    for (int i = 0; i < n; i++)
        MD_TRY(md_in_open(md_gguf_part_path(g, i), &j->in[i], err));
    return MD_OK;
}

static md_status check_sums(const load_job *j, md_error *err)
{
    const md_gguf *g = j->m->file;
    for (size_t i = 0, end; j->sum && i < j->n; i = end) {
        const uint32_t tensor = j->piece[i].tensor;
        for (end = i; end < j->n && j->piece[end].tensor == tensor; end++)
            ;
        MD_TRY(md_packed_check(g, tensor, j->sum + i, end - i, err));
    }
    return MD_OK;
}

static int threads_for(const load_job *j)
{
    const int most = j->args && j->args->n_threads > 0 ? j->args->n_threads : md_sys_default_threads();
    return j->total < WORTH_THREADS ? 1 : most < MD_POOL_MAX_THREADS ? most : MD_POOL_MAX_THREADS;
}

static md_status load_all(load_job *j, md_error *err)
{
    const int n_threads = threads_for(j);
    md_pool *pool;
    MD_TRY(open_parts(j, err));
    j->work = md_calloc((size_t)n_threads, j->work_bytes);
    if (!j->work)
        return md_fail_memory(err, "the reading of weights");
    MD_TRY(md_pool_new(n_threads, &pool, err));
    md_pool_run(pool, (int64_t)j->n, 1, load_items, j);
    md_pool_free(pool);
    if (j->status != MD_OK)
        return md_fail(err, j->status, "%s", j->error.message);
    return check_sums(j, err);
}

static uint64_t all_bytes(const md_gguf *g)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < md_gguf_n_tensors(g); i++)
        sum += md_gguf_tensor_at(g, i)->bytes;
    return sum;
}

static md_status load(md_model *m, const md_model_args *args, bool plain, md_error *err)
{
    load_job j = {.m = m, .args = args, .whole = all_bytes(m->file)};
    atomic_init(&j.done, m->read);
    md_status status = MD_OK;
    j.n = cut(m, plain, &j);
    if (j.n == 0)
        return MD_OK;
    j.piece = md_calloc(j.n, sizeof *j.piece);
    if (m->packed.is)
        j.sum = md_calloc(j.n, sizeof *j.sum);
    pthread_mutex_init(&j.lock, NULL);
    if (!j.piece || (m->packed.is && !j.sum)) {
        status = md_fail_memory(err, "the list of weights");
    } else {
        cut(m, plain, &j);
        status = load_all(&j, err);
    }
    for (int i = 0; j.in && i < md_gguf_n_parts(m->file); i++) {
        if (m->streamed && j.in[i].fd >= 0)
            md_in_forget(&j.in[i], 0, (size_t)j.in[i].n); /* what was read stays in memory once */
        md_in_close(&j.in[i]);
    }
    m->read = atomic_load(&j.done);
    pthread_mutex_destroy(&j.lock);
    md_free(j.in);
    md_free(j.piece);
    md_free(j.sum);
    md_free(j.work);
    return status;
}

/* ---- the two steps ---- */

static size_t aligned(size_t n)
{
    return (n + 63) / 64 * 64;
}

/* Bytes that stay in memory, and of experts that could stay in the file. */
static void weigh(const md_model *m, size_t *here, size_t *experts)
{
    *here = *experts = 0;
    for (size_t i = 0; i < md_gguf_n_tensors(m->file); i++) {
        const md_gguf_tensor *t = md_gguf_tensor_at(m->file, i);
        *(md_stream_is(t) ? experts : here) += aligned(t->bytes);
    }
}

static bool decide(const md_model_args *args, size_t here, size_t experts, uint64_t room)
{
    const md_stream wish = args ? args->stream : MD_STREAM_AUTO;
    if (experts == 0 || wish == MD_STREAM_NEVER)
        return false;
    return wish == MD_STREAM_ALWAYS || (args && args->memory > 0) || here + experts > room;
}

/* Every tensor gets its address: in memory that its bytes will be read to, or in a stretch without memory. */
static md_status place(md_model *m, size_t here, size_t experts, md_error *err)
{
    if (here > 0)
        MD_TRY(md_region_new(here, &m->weights, err));
    if (m->streamed)
        MD_TRY(md_region_reserve(experts, &m->elsewhere, err));
    size_t at = 0, away = 0;
    for (size_t i = 0; i < md_gguf_n_tensors(m->file); i++) {
        const md_gguf_tensor *t = md_gguf_tensor_at(m->file, i);
        const bool leaves = m->streamed && md_stream_is(t);
        md_gguf_set_data(m->file, i, leaves ? m->elsewhere.bytes + away : m->weights.bytes + at);
        *(leaves ? &away : &at) += aligned(t->bytes);
    }
    return MD_OK;
}

md_status md_weights_begin(md_model *m, const md_model_args *args, md_error *err)
{
    size_t here, experts;
    weigh(m, &here, &experts);
    const uint64_t room = md_sys_free_memory();
    m->streamed = decide(args, here, experts, room);
    if (m->outline) /* its memory is never touched, so it takes none */
        return place(m, here, experts, err);
    if (!m->streamed)
        here += experts;
    MD_FAIL_IF(
        here > room, MD_ERR_MEMORY,
        "the weights take %.2f GiB and only %.2f GiB of memory is free: leave them in the file (--mmap), which is "
        "slower, or take a smaller model",
        (double)here / 0x1p30, (double)room / 0x1p30);
    MD_FAIL_IF(
        m->streamed && args && args->memory > 0 && here > (uint64_t)args->memory, MD_ERR_MEMORY,
        "what must stay in memory, all weights but those of routed experts, takes %.1f MiB; only %.1f MiB are allowed",
        (double)here / 0x1p20, (double)args->memory / 0x1p20);
    MD_TRY(place(m, here, experts, err));
    md_gguf_keep_header(m->file); /* what was touched of the map would count as memory beside the weights */
    return load(m, args, true, err);
}

md_status md_weights_finish(md_model *m, const md_model_args *args, md_error *err)
{
    MD_TRY(load(m, args, false, err));
    const uint64_t whole = all_bytes(m->file); /* tensors that nobody uses were passed over */
    if (args && args->progress && !args->progress(args->progress_user, whole, whole))
        return md_fail(err, MD_ERR_CANCELLED, "loading was stopped");
    return MD_OK;
}
