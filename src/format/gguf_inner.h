/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of the GGUF reader share. Nothing outside src/format/ includes this. */
#ifndef MD_FORMAT_GGUF_INNER_H
#define MD_FORMAT_GGUF_INNER_H

#include "base/hashmap.h"
#include "base/mem.h"
#include "format/gguf.h"

#if !defined(__BYTE_ORDER__) || __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "GGUF is little-endian on disk and is read in place: a big-endian machine needs a converting reader"
#endif

#define MD_GGUF_ALIGNMENT         32u /* when the file does not say */
#define MD_GGUF_KEY_ALIGNMENT     "general.alignment"
#define MD_GGUF_KEY_SPLIT_NO      "split.no"
#define MD_GGUF_KEY_SPLIT_COUNT   "split.count"
#define MD_GGUF_KEY_SPLIT_TENSORS "split.tensors.count"

/* For "%.*s": names are hostile and may be huge, so at most 80 bytes of one go into a message. */
#define MD_STR_ARGS(str) ((str).n > 80 ? 80 : (int)(str).n), (str).s

/* One file of a model, or the bytes of md_gguf_parse. */
typedef struct md_gguf_part {
    char *path;                 /* owned by the arena; names the bytes in errors */
    md_map map;                 /* owned; empty when the bytes are the caller's */
    const unsigned char *bytes; /* borrowed from map or the caller */
    size_t n;
    uint32_t version;
    uint32_t alignment;
    md_gguf_kv *kv;         /* owned by the arena */
    md_gguf_tensor *tensor; /* owned by the arena */
    size_t n_kv, n_tensors;
    md_hashmap key; /* owned: key to index in kv */
} md_gguf_part;

struct md_gguf {
    md_arena arena;
    md_gguf_part *part; /* owned, [n_parts] */
    int n_parts;
    md_gguf_tensor *tensor; /* owned by the arena: the tables of all parts, one after another */
    size_t n_tensors;
    md_hashmap name; /* owned: tensor name to index in tensor */
};

/* Reads header, keys and tensor table of part->bytes[0..n) and checks all of it. Fills the part from `version` on; what
 * it allocated is freed with the arena and md_hashmap_done, on failure too. `index` goes into the tensors. */
md_status md_gguf_read_part(md_gguf_part *part, int index, md_gguf_mode mode, md_arena *arena,
                            md_error *err) MD_MUST_USE;

/* Bytes of one value; 0 for strings and arrays, whose size is their own. */
size_t md_gguf_kind_size(md_gguf_kind kind);

const md_gguf_kv *md_gguf_part_find(const md_gguf_part *part, const char *key);

#endif
