/* SPDX-License-Identifier: Apache-2.0
 *
 * Opening and closing a model, and what it says of itself. */
#include "model/model.h"

#include "base/status.h"
#include "model/override.h"
#include "model/tokenizer_load.h"
#include "model/stream.h"
#include "model/weights.h"
#include "text/vocab.h"

#include <medley/version.h>

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define MD_STR_(x) #x
#define MD_STR(x)  MD_STR_(x)

const char *md_version(void)
{
    return MD_STR(MD_VERSION_MAJOR) "." MD_STR(MD_VERSION_MINOR) "." MD_STR(MD_VERSION_PATCH);
}

void md_note(md_model *m, const char *fmt, ...)
{
    char line[256];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    if (m->notes.n == m->notes.cap) {
        const size_t cap = m->notes.cap ? m->notes.cap * 2 : 8;
        char **more = md_arena_alloc(&m->arena, cap, sizeof *more);
        if (!more)
            return;
        if (m->notes.n)
            memcpy(more, m->notes.text, m->notes.n * sizeof *more);
        m->notes.text = more;
        m->notes.cap = cap;
    }
    char *text = md_arena_strndup(&m->arena, line, strlen(line));
    if (text)
        m->notes.text[m->notes.n++] = text;
}

/* Header, family, and the weights bound; where they are read into memory, those of plain numbers are there before binding and
 * the rest after it. */
static md_status load(md_model *m, const md_model_args *args, md_error *err)
{
    MD_TRY(md_packed_open(m->file, &m->packed, err));
    m->identity = m->packed.is ? m->packed.identity : m->outline ? 0 : md_model_identity(m->file);
    MD_TRY(md_override_apply(args, m->file, &m->overrides, err));
    MD_TRY(md_hparams_arch(m->file, &m->arch, err));
    md_hparams hp;
    MD_TRY(md_hparams_read(m->file, m->arch, &m->arena, &hp, err));
    m->mapped = args && args->map;
    if (!m->mapped)
        MD_TRY(md_weights_begin(m, args, err));
    MD_TRY(md_model_bind(m, &hp, err));
    MD_TRY(m->mapped || m->outline ? MD_OK : md_weights_finish(m, args, err));
    return m->streamed ? md_stream_plan_new(m, err) : MD_OK;
}

/* What the files of a model hold at least, if they are whole. */
static uint64_t bytes_named(const md_gguf *g)
{
    uint64_t sum = 0;
    for (int part = 0; part < md_gguf_n_parts(g); part++) {
        uint64_t end = 0;
        for (size_t i = 0; i < md_gguf_n_tensors(g); i++) {
            const md_gguf_tensor *t = md_gguf_tensor_at(g, i);
            if (t->part == part && t->file_offset + t->bytes > end)
                end = t->file_offset + t->bytes;
        }
        sum += end;
    }
    const uint64_t there = md_gguf_file_bytes(g);
    return sum > there ? sum : there;
}

static md_status model_fill(md_model *m, const char *path, const md_model_args *args, md_error *err)
{
    MD_TRY(md_gguf_open(path, m->outline ? MD_GGUF_HEADER : MD_GGUF_MAP, &m->file, err));
    MD_TRY(load(m, args, err));
    MD_TRY(md_info_fill(m->file, m->arch, &m->arena, &m->info, err));
    if (m->outline)
        m->info.file_bytes = bytes_named(m->file);
    const md_status tokenizer = md_tokenizer_from_gguf(m->file, &m->tokenizer, &m->tokenizer_error);
    MD_FAIL_IF(tokenizer == MD_ERR_MEMORY, tokenizer, "%s", m->tokenizer_error.message);
    if (tokenizer != MD_OK)
        md_note(m, "no tokenizer: %s", m->tokenizer_error.message);
    else if (md_tokenizer_size(m->tokenizer) > m->spec.n_vocab)
        return md_fail(err, MD_ERR_FORMAT, "the tokenizer has %d tokens but the embedding only %d rows",
                       md_tokenizer_size(m->tokenizer), m->spec.n_vocab);
    return MD_OK;
}

static md_status open_as(bool outline, const char *path, const md_model_args *args, md_model **out, md_error *err)
{
    *out = NULL;
    md_model *m = md_calloc(1, sizeof *m);
    if (!m)
        return md_fail_memory(err, "a model");
    m->outline = outline;
    const md_status status = model_fill(m, path, args, err);
    if (status != MD_OK) {
        md_model_close(m);
        if (err && !strstr(err->message, path) && status != MD_ERR_CANCELLED && status != MD_ERR_ARGUMENT)
            return md_fail_within(err, status, "%s", path);
        return status;
    }
    *out = m;
    return MD_OK;
}

md_status md_model_open(const char *path, const md_model_args *args, md_model **out, md_error *err)
{
    return open_as(false, path, args, out, err);
}

md_status md_model_outline(const char *path, const md_model_args *args, md_model **out, md_error *err)
{
    const md_model_args header = {.override = args ? args->override : NULL,
                                  .n_override = args ? args->n_override : 0,
                                  .stream = MD_STREAM_ALWAYS};
    return open_as(true, path, &header, out, err);
}

void md_model_close(md_model *m)
{
    if (!m)
        return;
    md_tokenizer_free(m->tokenizer);
    md_gguf_close(m->file);
    md_region_free(&m->weights);
    md_region_free(&m->elsewhere);
    md_arena_done(&m->arena);
    md_free(m);
}

bool md_model_streams(const md_model *m)
{
    return m->streamed;
}

const md_model_info *md_model_get_info(const md_model *m)
{
    return &m->info;
}

uint64_t md_model_get_identity(const md_model *m)
{
    return m->identity;
}

int32_t md_model_layer_experts(const md_model *m, int32_t layer)
{
    return layer >= 0 && layer < m->spec.n_layer ? m->spec.layer[layer].ffn.router.n_expert : 0;
}

const md_tokenizer *md_model_tokenizer(const md_model *m)
{
    return m->tokenizer;
}

const char *md_model_tokenizer_error(const md_model *m)
{
    return m->tokenizer ? "" : m->tokenizer_error.message;
}

const char *md_model_chat_template(const md_model *m, size_t *n)
{
    md_str s = {0};
    bool found = false;
    *n = 0;
    if (md_gguf_string(m->file, "tokenizer.chat_template", &s, &found, NULL) != MD_OK || !found)
        return NULL;
    *n = s.n;
    return s.s;
}

size_t md_model_n_notes(const md_model *m)
{
    return m->notes.n;
}

const char *md_model_note(const md_model *m, size_t i)
{
    return m->notes.text[i];
}
