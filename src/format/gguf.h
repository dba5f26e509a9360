/* SPDX-License-Identifier: Apache-2.0
 *
 * GGUF, versions 2 and 3: bytes and names, no meaning. The reader is a pure function of (bytes, length) under a thin
 * file layer that maps one file or the parts of a split one; every offset, count and size is checked before use. The
 * writer streams tensors into a file that appears whole or not at all.
 * Threads: an open md_gguf is immutable and may be shared; a writer belongs to one thread. */
#ifndef MD_FORMAT_GGUF_H
#define MD_FORMAT_GGUF_H

#include "base/file.h"
#include "dtype/dtype.h"
#include <medley/error.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MD_GGUF_MAX_DIMS 4

/* Ids as on disk. ORDER GGUF_VALUE */
typedef enum md_gguf_kind {
    MD_GGUF_U8 = 0,
    MD_GGUF_I8 = 1,
    MD_GGUF_U16 = 2,
    MD_GGUF_I16 = 3,
    MD_GGUF_U32 = 4,
    MD_GGUF_I32 = 5,
    MD_GGUF_F32 = 6,
    MD_GGUF_BOOL = 7,
    MD_GGUF_STRING = 8,
    MD_GGUF_ARRAY = 9,
    MD_GGUF_U64 = 10,
    MD_GGUF_I64 = 11,
    MD_GGUF_F64 = 12,
} md_gguf_kind;

typedef struct md_str {
    const char *s; /* borrowed from the file; not NUL-terminated */
    size_t n;      /* bytes */
} md_str;

typedef struct md_gguf_kv {
    md_str key;
    md_gguf_kind kind;     /* MD_GGUF_ARRAY for arrays */
    md_gguf_kind elem;     /* kind of the elements of an array, else kind; never ARRAY: arrays of arrays are refused */
    uint64_t count;        /* of arrays: elements; else 1 */
    const void *data;      /* borrowed: raw little-endian value(s), maybe unaligned; strings keep their length prefix */
    size_t bytes;          /* size of what data points to */
    const md_str *strings; /* string arrays: the elements, decoded once at open; else NULL. Owned by the md_gguf */
} md_gguf_kv;

typedef struct md_gguf_tensor {
    md_str name;
    md_type type;
    int n_dims;                    /* 1..MD_GGUF_MAX_DIMS */
    int64_t dim[MD_GGUF_MAX_DIMS]; /* innermost (contiguous) first; 1 beyond n_dims; all >= 1 */
    int64_t n_elements;
    uint64_t file_offset; /* absolute, in part `part` */
    size_t bytes;
    int part;         /* index of the split file, 0-based */
    const void *data; /* borrowed from the map; NULL when opened header-only */
    /* Slices, those of the last dimension, that do not follow each other: bytes from one to the next in the file, and at
     * `data`. 0: they do, as in every tensor that md_gguf_divide did not make. */
    uint64_t file_stride;
    size_t data_stride;
} md_gguf_tensor;

typedef struct md_gguf md_gguf;

/* How much to open. */
typedef enum md_gguf_mode {
    MD_GGUF_MAP,    /* map all parts; tensor data available */
    MD_GGUF_HEADER, /* header and tensor table only: tensor data may lie beyond the end of a cut-off file */
} md_gguf_mode;

/* Opens PATH. When PATH is a part of a split file (split.count > 1; name ends in -00001-of-000NN.gguf) the other parts
 * are found beside it, whichever part was named, and the tables are joined. */
md_status md_gguf_open(const char *path, md_gguf_mode mode, md_gguf **out, md_error *err) MD_MUST_USE;
/* The same over bytes that the caller keeps alive, at any address; the entry point of the fuzzer. `what` names them in
 * errors. A part of a split file is taken alone. */
md_status md_gguf_parse(const void *bytes, size_t n, const char *what, md_gguf_mode mode, md_gguf **out,
                        md_error *err) MD_MUST_USE;
void md_gguf_close(md_gguf *g); /* NULL allowed */

int md_gguf_version(const md_gguf *g);
uint32_t md_gguf_alignment(const md_gguf *g);
uint64_t md_gguf_file_bytes(const md_gguf *g); /* all parts together */
int md_gguf_n_parts(const md_gguf *g);
const char *md_gguf_part_path(const md_gguf *g, int part); /* borrowed */
size_t md_gguf_n_kv(const md_gguf *g);
const md_gguf_kv *md_gguf_kv_at(const md_gguf *g, size_t i);
const md_gguf_kv *md_gguf_find(const md_gguf *g, const char *key); /* NULL when absent; O(1) expected */
size_t md_gguf_n_tensors(const md_gguf *g);
const md_gguf_tensor *md_gguf_tensor_at(const md_gguf *g, size_t i);
const md_gguf_tensor *md_gguf_find_tensor(const md_gguf *g, const char *name); /* NULL when absent; O(1) expected */

/* Scalar reads. `out` is untouched when the key is absent (returns MD_OK and sets *found to false; found may be NULL);
 * a key of the wrong kind or a value out of range is MD_ERR_FORMAT naming key, kind and value. Integers of any width
 * convert when the value fits; f32 also accepts f64 and integers. */
md_status md_gguf_u32(const md_gguf *g, const char *key, uint32_t *out, bool *found, md_error *err) MD_MUST_USE;
md_status md_gguf_f32(const md_gguf *g, const char *key, float *out, bool *found, md_error *err) MD_MUST_USE;
md_status md_gguf_bool(const md_gguf *g, const char *key, bool *out, bool *found, md_error *err) MD_MUST_USE;
md_status md_gguf_string(const md_gguf *g, const char *key, md_str *out, bool *found, md_error *err) MD_MUST_USE;
/* Element i of an integer (any width, bool counts), float or string array; or the scalar itself for a scalar key with
 * i ignored. Same conversions. `i` beyond the array is MD_ERR_FORMAT. */
md_status md_gguf_array_i64(const md_gguf_kv *kv, uint64_t i, int64_t *out, md_error *err) MD_MUST_USE;
md_status md_gguf_array_f32(const md_gguf_kv *kv, uint64_t i, float *out, md_error *err) MD_MUST_USE;
md_status md_gguf_array_str(const md_gguf_kv *kv, uint64_t i, md_str *out, md_error *err) MD_MUST_USE;

/* Gives key another value in memory, a scalar of `kind` (never an array): v[0..n) in native layout, or the text of a
 * string. A new key comes last. Only while nobody else uses g. Keys of the file's layout are MD_ERR_ARGUMENT. */
md_status md_gguf_override(md_gguf *g, const char *key, md_gguf_kind kind, const void *v, size_t n,
                           md_error *err) MD_MUST_USE;

/* A tensor inside of another, which is I8 of two dimensions: each of that one's rows holds a slice (of the last dimension),
 * `offset` bytes behind its beginning. Rows and offsets are multiples of 32. */
typedef struct md_gguf_view {
    md_str name; /* borrowed for g's life */
    md_type type;
    int n_dims; /* 2..MD_GGUF_MAX_DIMS; of them, dim[n_dims - 1] is the other tensor's number of rows */
    int64_t dim[MD_GGUF_MAX_DIMS];
    size_t tensor; /* index of the other tensor */
    uint64_t offset;
} md_gguf_view;
/* Puts views into the places of the tensors that they lie in: ascending by `tensor` and, of one, by `offset`. What is not inside,
 * overlaps or has a name that is taken is MD_ERR_FORMAT; then g is good for nothing but close. Like overrides, only while nobody
 * else uses g; before md_gguf_set_data. */
md_status md_gguf_divide(md_gguf *g, const md_gguf_view *view, size_t n, md_error *err) MD_MUST_USE;
/* Bytes that follow each other without a gap: of one slice where slices lie apart, else all. */
size_t md_gguf_slice_bytes(const md_gguf_tensor *t);
/* Where byte `at` of a tensor is in its file; it and the rest of its slice follow each other there. */
uint64_t md_gguf_file_place(const md_gguf_tensor *t, uint64_t at);

/* Says where the bytes of tensor i are from now on, all following each other: memory of the caller's that outlives g. Like
 * overrides, only while nobody else uses g. */
void md_gguf_set_data(md_gguf *g, size_t i, const void *data);
/* Lets go of the map of all tensor data; header and keys stay. Tensors whose data was not set elsewhere have none (NULL). */
void md_gguf_keep_header(md_gguf *g);

/* "u8", "f32", "string"... Never NULL. */
const char *md_gguf_kind_name(md_gguf_kind kind);
bool md_str_eq(md_str a, const char *b);

/* --- writing ---
 * Order of calls: new, then any number of set/copy (keys) and add_tensor (table), then begin, then for each tensor in
 * table order exactly its bytes through data (in pieces as small as wanted), then commit. Anything else is an
 * MD_ERR_ARGUMENT. Until commit the target file is untouched; close without commit leaves nothing behind. A write that
 * fails (MD_ERR_IO) leaves only close to be called. Version 3, little-endian, alignment 32 unless set. */
typedef struct md_gguf_writer md_gguf_writer;
md_status md_gguf_writer_new(const char *path, md_gguf_writer **out, md_error *err) MD_MUST_USE;
/* A power of two from 32 to 65536 that tensors begin at multiples of, in the file. Before any tensor is added. */
md_status md_gguf_set_alignment(md_gguf_writer *w, uint32_t alignment, md_error *err) MD_MUST_USE;
md_status md_gguf_set_u32(md_gguf_writer *w, const char *key, uint32_t v, md_error *err) MD_MUST_USE;
md_status md_gguf_set_u64(md_gguf_writer *w, const char *key, uint64_t v, md_error *err) MD_MUST_USE;
md_status md_gguf_set_i32(md_gguf_writer *w, const char *key, int32_t v, md_error *err) MD_MUST_USE;
md_status md_gguf_set_f32(md_gguf_writer *w, const char *key, float v, md_error *err) MD_MUST_USE;
md_status md_gguf_set_bool(md_gguf_writer *w, const char *key, bool v, md_error *err) MD_MUST_USE;
md_status md_gguf_set_string(md_gguf_writer *w, const char *key, const char *v, md_error *err) MD_MUST_USE;
md_status md_gguf_set_strings(md_gguf_writer *w, const char *key, const md_str *v, size_t n, md_error *err) MD_MUST_USE;
md_status md_gguf_set_array(md_gguf_writer *w, const char *key, md_gguf_kind elem, const void *v, size_t n,
                            md_error *err) MD_MUST_USE; /* numeric kinds; v in native layout */
/* Copies a key as it is. Setting or copying a key that is already there replaces its value in place. Keys that say how
 * the source file was laid out (general.alignment, split.*) are passed over: they would be false of the new file. */
md_status md_gguf_copy_kv(md_gguf_writer *w, const md_gguf_kv *kv, md_error *err) MD_MUST_USE;
/* name: 1 to 63 bytes, what every engine can read. */
md_status md_gguf_add_tensor(md_gguf_writer *w, const char *name, md_type type, int n_dims, const int64_t *dim,
                             md_error *err) MD_MUST_USE;
md_status md_gguf_begin(md_gguf_writer *w, md_error *err) MD_MUST_USE;
md_status md_gguf_data(md_gguf_writer *w, const void *bytes, size_t n, md_error *err) MD_MUST_USE;
/* Syncs and renames into place. The writer is spent afterwards (still close it). */
md_status md_gguf_commit(md_gguf_writer *w, md_error *err) MD_MUST_USE;
/* The same without any data: what begin wrote is the whole file, good for MD_GGUF_HEADER only. */
md_status md_gguf_commit_header(md_gguf_writer *w, md_error *err) MD_MUST_USE;
/* Total size the file will have; valid after begin, 0 before. */
uint64_t md_gguf_writer_bytes(const md_gguf_writer *w);
void md_gguf_writer_close(md_gguf_writer *w); /* NULL allowed */

#endif
