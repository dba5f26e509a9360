/* SPDX-License-Identifier: Apache-2.0 */
#include "model/prefixes_key.h"

#include "base/file.h"
#include "base/mem.h"
#include "base/status.h"
#include "model/session.h"

#include <errno.h>
#include <medley/version.h>
#include <sha2.h>
#include <string.h>
#include <sys/stat.h>

#define SAMPLE 4096u /* bytes of each tensor */
#define PIECE  ((size_t)1 << 20)

/* Fields with their lengths, so that no two lists of fields look alike. */
static void hash_field(SHA2_CTX *c, const void *bytes, size_t n)
{
    const uint64_t length = n;
    SHA256Update(c, (const uint8_t *)&length, sizeof length);
    if (n > 0)
        SHA256Update(c, bytes, n);
}

static void hash_number(SHA2_CTX *c, uint64_t v)
{
    hash_field(c, &v, sizeof v);
}

/* ---- the model ---- */

static md_status hash_stretch(SHA2_CTX *c, const md_in *in, uint64_t at, uint64_t n, unsigned char *piece,
                              md_error *err)
{
    hash_number(c, n);
    while (n > 0) {
        const size_t now = n < PIECE ? (size_t)n : PIECE;
        MD_TRY(md_in_read(in, at, piece, now, err));
        SHA256Update(c, piece, now);
        at += now;
        n -= now;
    }
    return MD_OK;
}

/* Header and tensor table end where the first tensor begins. */
static uint64_t header_bytes(const md_gguf *g, int part, uint64_t file_bytes)
{
    uint64_t n = file_bytes;
    for (size_t i = 0; i < md_gguf_n_tensors(g); i++) {
        const md_gguf_tensor *t = md_gguf_tensor_at(g, i);
        if (t->part == part && t->file_offset < n)
            n = t->file_offset;
    }
    return n;
}

static md_status hash_samples(SHA2_CTX *c, const md_gguf *g, int part, const md_in *in, unsigned char *piece,
                              md_error *err)
{
    for (size_t i = 0; i < md_gguf_n_tensors(g); i++) {
        const md_gguf_tensor *t = md_gguf_tensor_at(g, i);
        const size_t slice = md_gguf_slice_bytes(t);
        if (t->part == part)
            MD_TRY(hash_stretch(c, in, t->file_offset, slice < SAMPLE ? slice : SAMPLE, piece, err));
    }
    return MD_OK;
}

static md_status hash_part(SHA2_CTX *c, const md_gguf *g, int part, bool whole, const md_in *in, unsigned char *piece,
                           md_error *err)
{
    struct stat st;
    if (whole)
        return hash_stretch(c, in, 0, in->n, piece, err);
    MD_FAIL_IF(fstat(in->fd, &st) != 0, MD_ERR_IO, "cannot stat '%s': %s", in->path, strerror(errno));
    hash_number(c, in->n);
    hash_number(c, (uint64_t)st.st_mtim.tv_sec);
    hash_number(c, (uint64_t)st.st_mtim.tv_nsec);
    MD_TRY(hash_stretch(c, in, 0, header_bytes(g, part, in->n), piece, err));
    return hash_samples(c, g, part, in, piece, err);
}

md_status md_prefix_model(const md_model *m, bool whole, unsigned char id[MD_KV_KEY_BYTES], md_error *err)
{
    SHA2_CTX c;
    SHA256Init(&c);
    hash_number(&c, whole);
    hash_number(&c, m->identity); /* of what was opened, should the path lead elsewhere by now */
    unsigned char *piece = md_calloc(PIECE, 1);
    md_status status = piece ? MD_OK : md_fail_memory(err, "a model's identity");
    for (int part = 0; status == MD_OK && part < md_gguf_n_parts(m->file); part++) {
        md_in in = {.fd = -1};
        status = md_in_open(md_gguf_part_path(m->file, part), &in, err);
        if (status == MD_OK)
            status = hash_part(&c, m->file, part, whole, &in, piece, err);
        md_in_close(&in);
    }
    md_free(piece);
    SHA256Final(id, &c);
    return status;
}

/* ---- scopes and pages ---- */

static bool is_masked(const md_seq *q, size_t n)
{
    for (size_t i = 0; q->mask && i < n; i++)
        if (q->mask[i] != MD_EXPERT_NORMAL)
            return true;
    return false;
}

void md_prefix_scope(const md_seq *q, const unsigned char model[MD_KV_KEY_BYTES], const char *client,
                     unsigned char scope[MD_KV_KEY_BYTES])
{
    const md_session *s = q->session;
    const size_t mask_bytes = (size_t)s->model->spec.n_layer * (size_t)s->model->spec.max.expert;
    char key[256];
    SHA2_CTX c;
    md_seq_numerics_key(q, key, sizeof key);
    SHA256Init(&c);
    hash_field(&c, md_version(), strlen(md_version()));
    hash_field(&c, model, MD_KV_KEY_BYTES);
    hash_number(&c, MD_KV_LAYOUT);
    hash_number(&c, md_kv_pool_page_bytes(s->kv));
    hash_number(&c, (uint64_t)s->model->spec.state_floats);
    hash_field(&c, key, strlen(key));
    hash_field(&c, q->mask, is_masked(q, mask_bytes) ? mask_bytes : 0);
    hash_field(&c, client, strlen(client));
    SHA256Final(scope, &c);
}

void md_prefix_key(const unsigned char before[MD_KV_KEY_BYTES], const int32_t token[MD_TILE],
                   unsigned char key[MD_KV_KEY_BYTES])
{
    SHA2_CTX c;
    SHA256Init(&c);
    SHA256Update(&c, before, MD_KV_KEY_BYTES);
    SHA256Update(&c, (const uint8_t *)token, MD_TILE * sizeof *token);
    SHA256Final(key, &c);
}
