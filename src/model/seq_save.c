/* SPDX-License-Identifier: Apache-2.0
 *
 * Sequences in files (docs/format.md, saved sequences): what was computed comes back bit for bit, or not at all. A file
 * carries the identity of the model, the numerics key and the release it was made under, and a checksum over all of it;
 * it is hostile until every size is checked. An open md_saved is immutable and may be shared by threads. */
#include "model/session.h"

#include "base/file.h"
#include "base/status.h"
#include "base/checksum.h"

#include <inttypes.h>
#include <medley/version.h>
#include <stdio.h>
#include <string.h>

#if !defined(__BYTE_ORDER__) || __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "saved sequences are little-endian and are read in place: a big-endian machine needs a converting reader"
#endif

#define MAGIC       "MEDLEYSQ"
#define VERSION     1u
#define OWN_BLOCKS  4
#define CHECKSUM_AT sizeof(uint64_t) /* from the end */

/* As on disk. Behind it, each padded with zeros to a multiple of 8: key, tokens, text, state; then pages, checksum. */
typedef struct header {
    char magic[8];
    uint32_t version, kv_layout;
    uint64_t model, model_bytes; /* identity, size of all parts of the file */
    uint64_t page_bytes;
    uint32_t length, reserved; /* positions; zero */
    uint64_t n_key, n_tokens, n_text, n_state;
} header;
_Static_assert(sizeof(header) == 80, "the header is the file's own");

struct md_saved {
    md_map map; /* owned */
    char *path; /* owned */
    header h;
    const char *key, *text; /* borrowed from map, as are the others; not NUL-terminated */
    const int32_t *token;
    const unsigned char *state, *pages;
};

/* ---- what is saved beside pages ---- */

typedef struct block {
    void *bytes;
    size_t n;
} block;

static bool is_masked(const md_seq *q, size_t n)
{
    for (size_t i = 0; q->mask && i < n; i++)
        if (q->mask[i] != MD_EXPERT_NORMAL)
            return true;
    return false;
}

/* Everything else that a sequence is, in file order, in place: saving reads it and loading fills it. Sequences with the
 * same model and numerics key have the same blocks. State of a further kind is one more block here. */
static int own_blocks(const md_seq *q, block out[OWN_BLOCKS])
{
    const md_spec *sp = &q->session->model->spec;
    const size_t mask_bytes = (size_t)sp->n_layer * (size_t)sp->max.expert;
    int n = 0;
    if (is_masked(q, mask_bytes))
        out[n++] = (block){q->mask, mask_bytes};
    if (q->state)
        out[n++] = (block){q->state, (size_t)sp->state_floats * sizeof *q->state};
    return n;
}

static size_t own_bytes(const md_seq *q)
{
    block own[OWN_BLOCKS];
    size_t sum = 0;
    for (int i = own_blocks(q, own) - 1; i >= 0; i--)
        sum += own[i].n;
    return sum;
}

/* ---- under what it was made ---- */

/* The numerics key, and the release: what a key leaves unsaid may change between two. */
static size_t full_key(const md_seq *q, char *buf, size_t n)
{
    char key[256];
    md_seq_numerics_key(q, key, sizeof key);
    snprintf(buf, n, "medley=%s %s", md_version(), key);
    return strlen(buf);
}

/* ---- writing ---- */

typedef struct writer {
    md_out *out;
    md_checksum sum;
} writer;

static md_status put(writer *w, const void *bytes, size_t n, md_error *err)
{
    if (n == 0)
        return MD_OK;
    md_checksum_add(&w->sum, bytes, n);
    return md_out_write(w->out, bytes, n, err);
}

static md_status pad(writer *w, size_t n, md_error *err)
{
    static const unsigned char zeros[8];
    return put(w, zeros, (8 - n % 8) % 8, err);
}

static md_status put_padded(writer *w, const void *bytes, size_t n, md_error *err)
{
    MD_TRY(put(w, bytes, n, err));
    return pad(w, n, err);
}

static md_status write_all(writer *w, const md_seq *q, const md_seq_save_args *a, md_error *err)
{
    const md_session *s = q->session;
    char key[384];
    const header h = {
        .magic = {'M', 'E', 'D', 'L', 'E', 'Y', 'S', 'Q'},
        .version = VERSION,
        .kv_layout = MD_KV_LAYOUT,
        .model = s->model->identity,
        .model_bytes = md_gguf_file_bytes(s->model->file),
        .page_bytes = md_kv_pool_page_bytes(s->kv),
        .length = (uint32_t)q->table.length,
        .n_key = full_key(q, key, sizeof key),
        .n_tokens = a->n_tokens,
        .n_text = a->n_text,
        .n_state = own_bytes(q),
    };
    MD_TRY(put(w, &h, sizeof h, err));
    MD_TRY(put_padded(w, key, (size_t)h.n_key, err));
    MD_TRY(put_padded(w, a->token, a->n_tokens * sizeof *a->token, err));
    MD_TRY(put_padded(w, a->text, a->n_text, err));
    block own[OWN_BLOCKS];
    const int n_own = own_blocks(q, own);
    for (int i = 0; i < n_own; i++)
        MD_TRY(put(w, own[i].bytes, own[i].n, err));
    MD_TRY(pad(w, (size_t)h.n_state, err));
    for (int32_t i = 0; i < md_kv_pages_of(q->table.length); i++)
        MD_TRY(put(w, md_kv_table_page(s->kv, &q->table, i), (size_t)h.page_bytes, err));
    const uint64_t sum = md_checksum_value(&w->sum);
    MD_TRY(md_out_write(w->out, &sum, sizeof sum, err));
    return md_out_commit(w->out, err);
}

md_status md_seq_save(const md_seq *q, const md_seq_save_args *args, const char *path, md_error *err)
{
    static const md_seq_save_args nothing;
    const md_seq_save_args *a = args ? args : &nothing;
    MD_FAIL_IF(q->session->stepping || q->walking, MD_ERR_ARGUMENT,
               "a step is under way in this session: finish or abandon it first");
    MD_FAIL_IF(q->adapter, MD_ERR_UNSUPPORTED, "a sequence with an adapter cannot be saved");
    MD_FAIL_IF(
        q->session->args.on_miss != MD_ON_MISS_READ, MD_ERR_UNSUPPORTED,
        "this session leaves out or replaces experts that are not in memory (--on-miss), so its keys and values are "
        "not the model's own and are not saved: save the messages alone (a name that ends in .json), or run without it");
    MD_FAIL_IF(a->n_tokens > SIZE_MAX / 8, MD_ERR_ARGUMENT, "%zu tokens are more than a file can hold", a->n_tokens);
    MD_FAIL_IF(a->n_tokens > 0 && a->n_tokens < (size_t)q->table.length, MD_ERR_ARGUMENT,
               "%zu tokens were given for a sequence of %d positions: give all of them, or none", a->n_tokens,
               q->table.length);
    writer w = {0};
    md_checksum_init(&w.sum);
    md_status status = md_out_open(path, &w.out, err);
    if (status == MD_OK)
        status = write_all(&w, q, a, err);
    md_out_close(w.out);
    return status;
}

/* ---- reading ---- */

/* Takes n units of `unit` bytes and their padding off what is left of the file. */
static bool take(size_t *left, uint64_t n, size_t unit)
{
    if (n > *left / unit)
        return false;
    const size_t bytes = (size_t)n * unit, padded = bytes + (8 - bytes % 8) % 8;
    if (padded > *left)
        return false;
    *left -= padded;
    return true;
}

/* Do the sizes of the header add up to the file's? */
static bool sizes_agree(const header *h, size_t file)
{
    if (h->length > INT32_MAX || h->reserved != 0 || h->page_bytes == 0 || h->page_bytes % 8 != 0 ||
        file < sizeof *h + CHECKSUM_AT)
        return false;
    size_t left = file - sizeof *h - CHECKSUM_AT;
    return take(&left, h->n_key, 1) && take(&left, h->n_tokens, sizeof(int32_t)) && take(&left, h->n_text, 1) &&
           take(&left, h->n_state, 1) && h->page_bytes <= SIZE_MAX &&
           take(&left, (uint64_t)md_kv_pages_of((int32_t)h->length), (size_t)h->page_bytes) && left == 0 &&
           (h->n_tokens == 0 || h->n_tokens >= h->length);
}

static const void *section(const unsigned char **at, uint64_t bytes)
{
    const unsigned char *p = *at;
    *at += bytes + (8 - bytes % 8) % 8;
    return p;
}

static md_status check_file(md_saved *s, md_error *err)
{
    const md_map *map = &s->map;
    MD_FAIL_IF(map->n < sizeof s->h || memcmp(map->bytes, MAGIC, sizeof s->h.magic) != 0, MD_ERR_FORMAT,
               "'%s' is not a saved conversation or sequence", s->path);
    memcpy(&s->h, map->bytes, sizeof s->h);
    MD_FAIL_IF(s->h.version != VERSION, MD_ERR_UNSUPPORTED,
               "'%s' was saved in version %u of its format, and this medley reads version %u", s->path, s->h.version,
               VERSION);
    MD_FAIL_IF(!sizes_agree(&s->h, map->n), MD_ERR_FORMAT,
               "'%s' is cut off or damaged: its %zu bytes are not what its header promises", s->path, map->n);
    md_checksum c;
    uint64_t sum;
    md_checksum_init(&c);
    md_checksum_add(&c, map->bytes, map->n - CHECKSUM_AT);
    memcpy(&sum, map->bytes + map->n - CHECKSUM_AT, sizeof sum);
    MD_FAIL_IF(sum != md_checksum_value(&c), MD_ERR_FORMAT, "'%s' is damaged: its checksum does not match", s->path);
    const unsigned char *at = map->bytes + sizeof s->h;
    s->key = section(&at, s->h.n_key);
    s->token = section(&at, s->h.n_tokens * sizeof *s->token);
    s->text = section(&at, s->h.n_text);
    s->state = section(&at, s->h.n_state);
    s->pages = at;
    return MD_OK;
}

md_status md_saved_open(const char *path, md_saved **out, md_error *err)
{
    *out = NULL;
    md_saved *s = md_calloc(1, sizeof *s);
    if (!s)
        return md_fail_memory(err, "a saved sequence");
    s->path = md_strdup(path);
    md_status status = s->path ? md_map_open(path, &s->map, err) : md_fail_memory(err, "a saved sequence");
    if (status == MD_OK)
        status = check_file(s, err);
    if (status != MD_OK) {
        md_saved_close(s);
        return status;
    }
    *out = s;
    return MD_OK;
}

void md_saved_close(md_saved *s)
{
    if (!s)
        return;
    md_map_close(&s->map);
    md_free(s->path);
    md_free(s);
}

int32_t md_saved_length(const md_saved *s)
{
    return (int32_t)s->h.length;
}

const int32_t *md_saved_tokens(const md_saved *s, size_t *n)
{
    *n = (size_t)s->h.n_tokens;
    return s->token;
}

const char *md_saved_text(const md_saved *s, size_t *n)
{
    *n = (size_t)s->h.n_text;
    return s->text;
}

/* ---- into a sequence ---- */

/* Would q, having run the same tokens, hold the very bytes that were saved? */
static md_status check_same(const md_seq *q, const md_saved *s, md_error *err)
{
    const md_session *session = q->session;
    char key[384];
    const size_t n = full_key(q, key, sizeof key);
    MD_FAIL_IF(s->h.model_bytes != md_gguf_file_bytes(session->model->file) || s->h.model != session->model->identity,
               MD_ERR_UNSUPPORTED, "'%s' was saved under another model", s->path);
    MD_FAIL_IF(s->h.n_key != n || memcmp(s->key, key, n) != 0, MD_ERR_UNSUPPORTED,
               "'%s' was saved under other numerics: then '%.*s', now '%s'", s->path,
               (int)(s->h.n_key < 160 ? s->h.n_key : 160), s->key, key);
    MD_FAIL_IF(s->h.kv_layout != MD_KV_LAYOUT || s->h.page_bytes != md_kv_pool_page_bytes(session->kv) ||
                   s->h.n_state != own_bytes(q),
               MD_ERR_UNSUPPORTED, "'%s' was saved by a medley that keeps keys and values in another way", s->path);
    const size_t mask_bytes = (size_t)session->model->spec.n_layer * (size_t)session->model->spec.max.expert;
    MD_FAIL_IF(is_masked(q, mask_bytes) && memcmp(s->state, q->mask, mask_bytes) != 0, MD_ERR_FORMAT,
               "'%s' is damaged: the experts it switches are not those of its numerics key", s->path);
    for (uint64_t i = 0; i < s->h.n_tokens; i++)
        MD_FAIL_IF(s->token[i] < 0 || s->token[i] >= session->model->spec.n_vocab, MD_ERR_FORMAT,
                   "'%s': token %" PRIu64 " is %d, but the model has tokens 0 to %d", s->path, i, s->token[i],
                   session->model->spec.n_vocab - 1);
    return MD_OK;
}

md_status md_seq_load(md_seq *q, const md_saved *s, md_error *err)
{
    md_session *session = q->session;
    MD_FAIL_IF(session->stepping || q->walking, MD_ERR_ARGUMENT,
               "a step is under way in this session: finish or abandon it first");
    MD_TRY(check_same(q, s, err));
    MD_FAIL_IF(!md_kv_table_fill(session->kv, &q->table, (int32_t)s->h.length, s->pages), MD_ERR_LIMIT,
               "'%s' has %u positions, but the context has no room for them: give more context", s->path, s->h.length);
    block own[OWN_BLOCKS];
    const unsigned char *at = s->state;
    const int n_own = own_blocks(q, own);
    for (int i = 0; i < n_own; at += own[i++].n)
        memcpy(own[i].bytes, at, own[i].n);
    return MD_OK;
}
