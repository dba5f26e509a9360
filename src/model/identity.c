/* SPDX-License-Identifier: Apache-2.0
 *
 * Which model a file holds: what saved conversations and packed files name. */
#include "model/model.h"

#include "base/checksum.h"

#define SAMPLE 256u /* bytes of each tensor that count */

/* Metadata, tensor table and a piece of every tensor: fine-tunes of one model differ in their weights alone. */
uint64_t md_model_identity(const md_gguf *g)
{
    md_checksum c;
    md_checksum_init(&c);
    for (size_t i = 0; i < md_gguf_n_kv(g); i++) {
        const md_gguf_kv *kv = md_gguf_kv_at(g, i);
        const uint64_t shape[4] = {kv->key.n, (uint64_t)kv->kind, (uint64_t)kv->elem, kv->count};
        md_checksum_add(&c, shape, sizeof shape);
        md_checksum_add(&c, kv->key.s, kv->key.n);
        md_checksum_add(&c, kv->data, kv->bytes);
    }
    for (size_t i = 0; i < md_gguf_n_tensors(g); i++) {
        const md_gguf_tensor *t = md_gguf_tensor_at(g, i);
        const uint64_t shape[3] = {t->name.n, (uint64_t)t->type, t->file_offset};
        const size_t n = t->bytes < SAMPLE ? t->bytes : SAMPLE;
        md_checksum_add(&c, shape, sizeof shape);
        md_checksum_add(&c, t->name.s, t->name.n);
        md_checksum_add(&c, t->dim, sizeof t->dim);
        md_checksum_add(&c, (const unsigned char *)t->data + (t->bytes - n) / 2, n);
    }
    return md_checksum_value(&c);
}
