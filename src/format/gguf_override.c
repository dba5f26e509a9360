/* SPDX-License-Identifier: Apache-2.0
 *
 * Changing an open file in memory, its keys and where its tensors are: the file itself is never written. Only before the md_gguf is shared: whoever
 * opened it changes it, and hands it on. Keys that say how the file is laid out are refused, for they have done their
 * work by then. */
#include "format/gguf_inner.h"
#include "base/status.h"

#include <string.h>

static bool is_layout_key(const char *key)
{
    return strcmp(key, MD_GGUF_KEY_ALIGNMENT) == 0 || strncmp(key, "split.", 6) == 0;
}

/* The value as the file would hold it, in the arena: a string with its length in front. */
static bool store_value(md_gguf *g, md_gguf_kv *kv, const void *v, size_t n)
{
    const bool text = kv->kind == MD_GGUF_STRING;
    const size_t prefix = text ? sizeof(uint64_t) : 0;
    unsigned char *data = n < SIZE_MAX - prefix ? md_arena_alloc(&g->arena, prefix + n, 1) : NULL;
    if (!data)
        return false;
    if (text)
        memcpy(data, &(uint64_t){n}, prefix);
    if (n)
        memcpy(data + prefix, v, n);
    kv->data = data;
    kv->bytes = prefix + n;
    return true;
}

/* Room for one key more behind those there are. */
static bool append_kv(md_gguf_part *p, md_arena *arena, const md_gguf_kv *kv)
{
    md_gguf_kv *more = md_arena_alloc(arena, p->n_kv + 1, sizeof *more);
    bool added;
    if (!more || !md_hashmap_put(&p->key, kv->key.s, kv->key.n, p->n_kv, &added))
        return false;
    if (p->n_kv)
        memcpy(more, p->kv, p->n_kv * sizeof *more);
    more[p->n_kv++] = *kv;
    p->kv = more;
    return true;
}

md_status md_gguf_override(md_gguf *g, const char *key, md_gguf_kind kind, const void *v, size_t n, md_error *err)
{
    md_gguf_part *p = &g->part[0]; /* whose keys are the model's */
    MD_FAIL_IF(!key[0], MD_ERR_ARGUMENT, "a key without a name cannot be overridden");
    MD_FAIL_IF(is_layout_key(key), MD_ERR_ARGUMENT,
               "key '%s' says how the file is laid out, which cannot be overridden", key);
    md_gguf_kv kv = {.kind = kind, .elem = kind, .count = 1};
    const size_t *known = md_hashmap_get(&p->key, key, strlen(key));
    if (!store_value(g, &kv, v, n))
        return md_fail_memory(err, "a metadata key");
    if (known) {
        kv.key = p->kv[*known].key;
        p->kv[*known] = kv;
        return MD_OK;
    }
    const char *name = md_arena_strndup(&g->arena, key, strlen(key));
    kv.key = (md_str){name, strlen(key)};
    return name && append_kv(p, &g->arena, &kv) ? MD_OK : md_fail_memory(err, "a metadata key");
}

void md_gguf_set_data(md_gguf *g, size_t i, const void *data)
{
    g->tensor[i].data = data;
    g->tensor[i].data_stride = 0;
}

/* Data lies behind everything else of a part. */
void md_gguf_keep_header(md_gguf *g)
{
    for (size_t i = 0; i < g->n_tensors; i++) {
        md_gguf_tensor *t = &g->tensor[i];
        const md_gguf_part *p = &g->part[t->part];
        if (p->map.bytes && t->data == p->bytes + t->file_offset)
            t->data = NULL;
    }
    for (int k = 0; k < g->n_parts; k++) {
        md_gguf_part *p = &g->part[k];
        uint64_t first = p->n;
        for (size_t i = 0; i < p->n_tensors; i++)
            first = p->tensor[i].file_offset < first ? p->tensor[i].file_offset : first;
        md_map_keep(&p->map, (size_t)first);
    }
}
