/* SPDX-License-Identifier: Apache-2.0
 *
 * The writer: keys and the tensor table are gathered, then the header goes out at once and tensor data is streamed
 * behind it, counted to the byte. Invariants: the offsets in the table are fixed when a tensor is added; a write that
 * failed leaves the writer good for nothing but close. Refuses what other readers could not open. */
#include "format/gguf_inner.h"
#include "base/status.h"

#include <string.h>

#define KEY_BYTES_MAX  65535 /* of the format */
#define NAME_BYTES_MAX 63    /* of the public engines; the format says 64 */
#define ALIGNMENT_MAX  65536

typedef enum writer_stage {
    STAGE_TABLE, /* keys and tensors are gathered */
    STAGE_DATA,  /* the header is out */
    STAGE_SPENT, /* committed, or a write failed */
} writer_stage;

typedef struct writer_kv {
    md_str key; /* owned by the arena */
    md_gguf_kind kind, elem;
    uint64_t count;
    void *data; /* owned; as on disk */
    size_t bytes;
} writer_kv;

typedef struct writer_tensor {
    char *name; /* owned by the arena */
    md_type type;
    int n_dims;
    int64_t dim[MD_GGUF_MAX_DIMS];
    uint64_t offset; /* from the start of the data */
    uint64_t bytes;
} writer_tensor;

struct md_gguf_writer {
    md_out *out;
    writer_stage stage;
    md_arena arena;
    writer_kv *kv; /* owned, [n_kv] */
    size_t n_kv, cap_kv;
    writer_tensor *tensor; /* owned, [n_tensors] */
    size_t n_tensors, cap_tensors;
    md_hashmap key, name;
    uint64_t data_bytes; /* of all tensors, each padded to the alignment */
    uint64_t total;      /* of the file */
    uint32_t alignment;  /* of tensors */
    size_t current;      /* tensor that data goes to */
    uint64_t done;       /* bytes of it that are written */
};

static uint64_t padded(const md_gguf_writer *w, uint64_t n)
{
    return (n + w->alignment - 1) / w->alignment * w->alignment;
}

static md_status check_stage(const md_gguf_writer *w, writer_stage stage, const char *what, md_error *err)
{
    static const char *const now[] = {"before begin", "after begin", "after commit or a failed write"};
    MD_FAIL_IF(w->stage != stage, MD_ERR_ARGUMENT, "%s %s: the order is keys and tensors, begin, data, commit", what,
               now[w->stage]);
    return MD_OK;
}

/* Room for one more element. */
static bool grow(void **p, size_t n, size_t *cap, size_t size)
{
    if (n < *cap)
        return true;
    const size_t more = *cap ? *cap * 2 : 16;
    void *grown = md_realloc(*p, more, size);
    if (!grown)
        return false;
    *p = grown;
    *cap = more;
    return true;
}

md_status md_gguf_writer_new(const char *path, md_gguf_writer **out, md_error *err)
{
    *out = NULL;
    md_gguf_writer *w = md_calloc(1, sizeof *w);
    if (!w)
        return md_fail_memory(err, "a GGUF writer");
    w->alignment = MD_GGUF_ALIGNMENT;
    const md_status status = md_out_open(path, &w->out, err);
    if (status != MD_OK) {
        md_gguf_writer_close(w);
        return status;
    }
    *out = w;
    return MD_OK;
}

void md_gguf_writer_close(md_gguf_writer *w)
{
    if (!w)
        return;
    md_out_close(w->out);
    for (size_t i = 0; i < w->n_kv; i++)
        md_free(w->kv[i].data);
    md_free(w->kv);
    md_free(w->tensor);
    md_hashmap_done(&w->key);
    md_hashmap_done(&w->name);
    md_arena_done(&w->arena);
    md_free(w);
}

/* ---- keys ---- */

/* Where the key's entry is, a new empty one if need be. */
static writer_kv *entry(md_gguf_writer *w, md_str key)
{
    const size_t *at = md_hashmap_get(&w->key, key.s, key.n);
    if (at)
        return &w->kv[*at];
    void *kv = w->kv;
    const bool room = grow(&kv, w->n_kv, &w->cap_kv, sizeof *w->kv);
    w->kv = kv;
    char *own = room ? md_arena_strndup(&w->arena, key.s, key.n) : NULL;
    bool added;
    if (!own || !md_hashmap_put(&w->key, own, key.n, w->n_kv, &added))
        return NULL;
    w->kv[w->n_kv] = (writer_kv){.key = {own, key.n}};
    return &w->kv[w->n_kv++];
}

static md_status check_key(const md_gguf_writer *w, md_str key, md_error *err)
{
    MD_TRY(check_stage(w, STAGE_TABLE, "a key was set", err));
    MD_FAIL_IF(key.n == 0 || key.n > KEY_BYTES_MAX, MD_ERR_ARGUMENT, "key '%.*s' has %zu bytes, but a key has 1 to %d",
               MD_STR_ARGS(key), key.n, KEY_BYTES_MAX);
    MD_FAIL_IF(md_str_eq(key, MD_GGUF_KEY_ALIGNMENT), MD_ERR_ARGUMENT,
               "key '" MD_GGUF_KEY_ALIGNMENT "' cannot be set: the writer aligns to %u", w->alignment);
    return MD_OK;
}

/* Takes over value->data (malloc'ed, as on disk; NULL: memory was out), also on failure. */
static md_status put(md_gguf_writer *w, md_str key, const writer_kv *value, md_error *err)
{
    md_status status = check_key(w, key, err);
    if (status == MD_OK) {
        writer_kv *e = value->data ? entry(w, key) : NULL;
        if (e) {
            const md_str own = e->key;
            md_free(e->data);
            *e = *value;
            e->key = own;
            return MD_OK;
        }
        status = md_fail_memory(err, "the keys of a GGUF file");
    }
    md_free(value->data);
    return status;
}

/* The keys that say how a file is laid out are the writer's own. */
static bool is_layout_key(md_str key)
{
    return md_str_eq(key, MD_GGUF_KEY_ALIGNMENT) || md_str_eq(key, MD_GGUF_KEY_SPLIT_NO) ||
           md_str_eq(key, MD_GGUF_KEY_SPLIT_COUNT) || md_str_eq(key, MD_GGUF_KEY_SPLIT_TENSORS);
}

static void *copy_of(const void *p, size_t n)
{
    void *copy = md_calloc(n, 1);
    if (copy && n)
        memcpy(copy, p, n);
    return copy;
}

static md_status put_scalar(md_gguf_writer *w, const char *key, md_gguf_kind kind, const void *v, md_error *err)
{
    const size_t bytes = md_gguf_kind_size(kind);
    return put(w, (md_str){key, strlen(key)},
               &(writer_kv){.kind = kind, .elem = kind, .count = 1, .data = copy_of(v, bytes), .bytes = bytes}, err);
}

md_status md_gguf_set_u32(md_gguf_writer *w, const char *key, uint32_t v, md_error *err)
{
    return put_scalar(w, key, MD_GGUF_U32, &v, err);
}

md_status md_gguf_set_u64(md_gguf_writer *w, const char *key, uint64_t v, md_error *err)
{
    return put_scalar(w, key, MD_GGUF_U64, &v, err);
}

md_status md_gguf_set_i32(md_gguf_writer *w, const char *key, int32_t v, md_error *err)
{
    return put_scalar(w, key, MD_GGUF_I32, &v, err);
}

md_status md_gguf_set_f32(md_gguf_writer *w, const char *key, float v, md_error *err)
{
    return put_scalar(w, key, MD_GGUF_F32, &v, err);
}

md_status md_gguf_set_bool(md_gguf_writer *w, const char *key, bool v, md_error *err)
{
    const unsigned char byte = v;
    return put_scalar(w, key, MD_GGUF_BOOL, &byte, err);
}

static void append_string(md_buf *b, md_str s)
{
    const uint64_t n = s.n;
    md_buf_append(b, &n, sizeof n);
    md_buf_append(b, s.s, s.n);
}

/* n strings as on disk; kind is STRING (n == 1) or ARRAY. */
static md_status put_strings(md_gguf_writer *w, const char *key, md_gguf_kind kind, const md_str *v, size_t n,
                             md_error *err)
{
    md_buf b = {0};
    md_buf_append(&b, "", 0); /* so that an empty array, too, has an address */
    for (size_t i = 0; i < n; i++)
        append_string(&b, v[i]);
    if (b.failed)
        md_buf_done(&b);
    return put(w, (md_str){key, strlen(key)},
               &(writer_kv){.kind = kind, .elem = MD_GGUF_STRING, .count = n, .data = b.data, .bytes = b.len}, err);
}

md_status md_gguf_set_string(md_gguf_writer *w, const char *key, const char *v, md_error *err)
{
    return put_strings(w, key, MD_GGUF_STRING, &(md_str){v, strlen(v)}, 1, err);
}

md_status md_gguf_set_strings(md_gguf_writer *w, const char *key, const md_str *v, size_t n, md_error *err)
{
    return put_strings(w, key, MD_GGUF_ARRAY, v, n, err);
}

md_status md_gguf_set_array(md_gguf_writer *w, const char *key, md_gguf_kind elem, const void *v, size_t n,
                            md_error *err)
{
    size_t bytes;
    MD_FAIL_IF((unsigned)elem > MD_GGUF_F64 || md_gguf_kind_size(elem) == 0, MD_ERR_ARGUMENT,
               "key '%s': an array of kind %s cannot be set this way", key, md_gguf_kind_name(elem));
    MD_FAIL_IF(!md_mul(n, md_gguf_kind_size(elem), &bytes), MD_ERR_ARGUMENT,
               "key '%s': an array of %zu values is too large", key, n);
    return put(w, (md_str){key, strlen(key)},
               &(writer_kv){.kind = MD_GGUF_ARRAY, .elem = elem, .count = n, .data = copy_of(v, bytes), .bytes = bytes},
               err);
}

md_status md_gguf_copy_kv(md_gguf_writer *w, const md_gguf_kv *kv, md_error *err)
{
    MD_TRY(check_stage(w, STAGE_TABLE, "a key was copied", err));
    if (is_layout_key(kv->key))
        return MD_OK;
    return put(w, kv->key,
               &(writer_kv){.kind = kv->kind,
                            .elem = kv->elem,
                            .count = kv->count,
                            .data = copy_of(kv->data, kv->bytes),
                            .bytes = kv->bytes},
               err);
}

md_status md_gguf_set_alignment(md_gguf_writer *w, uint32_t alignment, md_error *err)
{
    MD_TRY(check_stage(w, STAGE_TABLE, "the alignment was set", err));
    MD_FAIL_IF(w->n_tensors > 0 || alignment < MD_GGUF_ALIGNMENT || alignment > ALIGNMENT_MAX ||
                   (alignment & (alignment - 1)) != 0,
               MD_ERR_ARGUMENT,
               "an alignment of %u was set behind %zu tensors: give a power of two from %u to %d, before all tensors",
               alignment, w->n_tensors, MD_GGUF_ALIGNMENT, ALIGNMENT_MAX);
    w->alignment = alignment;
    return MD_OK;
}

/* ---- tensor table ---- */

/* Checks a shape and computes its size; fails with the tensor's name. */
static md_status tensor_bytes(const char *name, md_type type, int n_dims, const int64_t *dim, uint64_t *bytes,
                              md_error *err)
{
    MD_FAIL_IF((unsigned)type >= MD_N_TYPES, MD_ERR_ARGUMENT, "tensor '%s' has no valid type", name);
    MD_FAIL_IF(n_dims < 1 || n_dims > MD_GGUF_MAX_DIMS, MD_ERR_ARGUMENT,
               "tensor '%s' has %d dimensions, but 1 to %d are allowed", name, n_dims, MD_GGUF_MAX_DIMS);
    for (int i = 0; i < n_dims; i++)
        MD_FAIL_IF(dim[i] < 1, MD_ERR_ARGUMENT, "tensor '%s' has %lld as dimension %d, but at least 1 is needed", name,
                   (long long)dim[i], i);
    size_t n;
    MD_FAIL_IF(!md_type_row_bytes(type, dim[0], &n), MD_ERR_ARGUMENT,
               "tensor '%s' has rows of %lld values, which %s cannot hold: its blocks are of %d", name,
               (long long)dim[0], md_type_get(type)->name, md_type_get(type)->block);
    for (int i = 1; i < n_dims; i++)
        MD_FAIL_IF(!md_mul(n, (size_t)dim[i], &n), MD_ERR_ARGUMENT, "tensor '%s' is too large", name);
    *bytes = n;
    return MD_OK;
}

md_status md_gguf_add_tensor(md_gguf_writer *w, const char *name, md_type type, int n_dims, const int64_t *dim,
                             md_error *err)
{
    MD_TRY(check_stage(w, STAGE_TABLE, "a tensor was added", err));
    const size_t n = strlen(name);
    MD_FAIL_IF(n == 0 || n > NAME_BYTES_MAX, MD_ERR_ARGUMENT,
               "tensor name '%.80s' has %zu bytes, but other engines read 1 to %d", name, n, NAME_BYTES_MAX);
    writer_tensor t = {.type = type, .n_dims = n_dims, .offset = w->data_bytes};
    MD_TRY(tensor_bytes(name, type, n_dims, dim, &t.bytes, err));
    uint64_t end;
    MD_FAIL_IF(__builtin_add_overflow(w->data_bytes, t.bytes, &end) || end > INT64_MAX / 2, MD_ERR_ARGUMENT,
               "tensor '%s' is too large for a file", name);
    MD_FAIL_IF(md_hashmap_get(&w->name, name, n), MD_ERR_ARGUMENT, "tensor '%s' was added before", name);
    memcpy(t.dim, dim, (size_t)n_dims * sizeof *dim);

    void *tensor = w->tensor;
    const bool room = grow(&tensor, w->n_tensors, &w->cap_tensors, sizeof *w->tensor);
    w->tensor = tensor;
    bool added;
    t.name = room ? md_arena_strndup(&w->arena, name, n) : NULL;
    if (!t.name || !md_hashmap_put(&w->name, t.name, n, w->n_tensors, &added))
        return md_fail_memory(err, "the tensor table of a GGUF file");
    w->tensor[w->n_tensors++] = t;
    w->data_bytes = padded(w, end);
    return MD_OK;
}

/* ---- the file ---- */

/* The whole header, padded to where the data begins. */
static void append_header(const md_gguf_writer *w, md_buf *b)
{
    const uint32_t version = 3;
    const bool aligned = w->alignment != MD_GGUF_ALIGNMENT;
    const uint64_t n_tensors = w->n_tensors, n_kv = w->n_kv + aligned;
    md_buf_append(b, "GGUF", 4);
    md_buf_append(b, &version, sizeof version);
    md_buf_append(b, &n_tensors, sizeof n_tensors);
    md_buf_append(b, &n_kv, sizeof n_kv);
    for (size_t i = 0; i < w->n_kv; i++) {
        const writer_kv *kv = &w->kv[i];
        const uint32_t kind = kv->kind, elem = kv->elem;
        append_string(b, kv->key);
        md_buf_append(b, &kind, sizeof kind);
        if (kv->kind == MD_GGUF_ARRAY) {
            md_buf_append(b, &elem, sizeof elem);
            md_buf_append(b, &kv->count, sizeof kv->count);
        }
        md_buf_append(b, kv->data, kv->bytes);
    }
    if (aligned) {
        append_string(b, (md_str){MD_GGUF_KEY_ALIGNMENT, strlen(MD_GGUF_KEY_ALIGNMENT)});
        md_buf_append(b, &(uint32_t){MD_GGUF_U32}, sizeof(uint32_t));
        md_buf_append(b, &w->alignment, sizeof w->alignment);
    }
    for (size_t i = 0; i < w->n_tensors; i++) {
        const writer_tensor *t = &w->tensor[i];
        const uint32_t n_dims = (uint32_t)t->n_dims, type = md_type_get(t->type)->gguf_id;
        append_string(b, (md_str){t->name, strlen(t->name)});
        md_buf_append(b, &n_dims, sizeof n_dims);
        md_buf_append(b, t->dim, (size_t)t->n_dims * sizeof *t->dim);
        md_buf_append(b, &type, sizeof type);
        md_buf_append(b, &t->offset, sizeof t->offset);
    }
    while (!b->failed && b->len % w->alignment != 0)
        md_buf_putc(b, 0);
}

/* Writes; after a failure only close is left. */
static md_status emit(md_gguf_writer *w, const void *bytes, size_t n, md_error *err)
{
    const md_status status = md_out_write(w->out, bytes, n, err);
    if (status != MD_OK)
        w->stage = STAGE_SPENT;
    return status;
}

md_status md_gguf_begin(md_gguf_writer *w, md_error *err)
{
    MD_TRY(check_stage(w, STAGE_TABLE, "begin was called", err));
    md_buf header = {0};
    append_header(w, &header);
    md_status status = header.failed ? md_fail_memory(err, "the header of a GGUF file") : MD_OK;
    if (status == MD_OK)
        status = emit(w, header.data, header.len, err);
    if (status == MD_OK) {
        w->total = header.len + w->data_bytes;
        w->stage = STAGE_DATA;
    }
    md_buf_done(&header);
    return status;
}

md_status md_gguf_data(md_gguf_writer *w, const void *bytes, size_t n, md_error *err)
{
    static const unsigned char zeros[ALIGNMENT_MAX] = {0};
    MD_TRY(check_stage(w, STAGE_DATA, "tensor data was given", err));
    if (n == 0)
        return MD_OK;
    MD_FAIL_IF(w->current == w->n_tensors, MD_ERR_ARGUMENT, "%zu bytes more than the tensors have were given", n);
    const writer_tensor *t = &w->tensor[w->current];
    MD_FAIL_IF(n > t->bytes - w->done, MD_ERR_ARGUMENT, "tensor '%s' was given %zu bytes more, but lacks only %llu",
               t->name, n, (unsigned long long)(t->bytes - w->done));
    MD_TRY(emit(w, bytes, n, err));
    w->done += n;
    if (w->done < t->bytes)
        return MD_OK;
    w->current++;
    w->done = 0;
    return emit(w, zeros, (size_t)(padded(w, t->bytes) - t->bytes), err);
}

md_status md_gguf_commit(md_gguf_writer *w, md_error *err)
{
    MD_TRY(check_stage(w, STAGE_DATA, "commit was called", err));
    MD_FAIL_IF(w->current < w->n_tensors, MD_ERR_ARGUMENT,
               "commit was called, but tensor '%s' has only %llu of its %llu bytes", w->tensor[w->current].name,
               (unsigned long long)w->done, (unsigned long long)w->tensor[w->current].bytes);
    w->stage = STAGE_SPENT;
    return md_out_commit(w->out, err);
}

md_status md_gguf_commit_header(md_gguf_writer *w, md_error *err)
{
    MD_TRY(check_stage(w, STAGE_DATA, "commit was called", err));
    MD_FAIL_IF(w->current > 0 || w->done > 0, MD_ERR_ARGUMENT, "a header was to be all of the file, but it has data");
    w->stage = STAGE_SPENT;
    return md_out_commit(w->out, err);
}

uint64_t md_gguf_writer_bytes(const md_gguf_writer *w)
{
    return w->total;
}
