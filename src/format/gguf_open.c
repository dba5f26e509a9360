/* SPDX-License-Identifier: Apache-2.0
 *
 * Opening: one file, the parts of a split one, or bytes in memory; and the look-ups. In a split model split.count is
 * above 1; its parts are named NAME-00001-of-000NN.gguf and must lie in one folder. The keys of the model are those of
 * the first part; the tensor tables of all parts are joined in order. */
#include "format/gguf_inner.h"
#include "base/status.h"

#include <stdio.h>
#include <string.h>

bool md_str_eq(md_str a, const char *b)
{
    const size_t n = strlen(b);
    return a.n == n && (n == 0 || memcmp(a.s, b, n) == 0);
}

/* ---- names of parts: PREFIX-%05d-of-%05d.gguf ---- */

#define PART_SUFFIX     "-%05d-of-%05d.gguf"
#define PART_SUFFIX_LEN 20
#define PART_COUNT_MAX  99999

typedef struct part_name {
    int prefix_len; /* of the path, without the suffix */
    int no, count;  /* 1-based, as in the name */
} part_name;

static bool five_digits(const char *s, int *v)
{
    *v = 0;
    for (int i = 0; i < 5; i++) {
        if (s[i] < '0' || s[i] > '9')
            return false;
        *v = *v * 10 + (s[i] - '0');
    }
    return true;
}

static bool parse_part_name(const char *path, part_name *out)
{
    const size_t n = strlen(path);
    if (n < PART_SUFFIX_LEN || n > 1 << 20)
        return false;
    const char *s = path + n - PART_SUFFIX_LEN;
    out->prefix_len = (int)(n - PART_SUFFIX_LEN);
    return s[0] == '-' && five_digits(s + 1, &out->no) && memcmp(s + 6, "-of-", 4) == 0 &&
           five_digits(s + 10, &out->count) && strcmp(s + 15, ".gguf") == 0;
}

/* ---- parts ---- */

static void part_done(md_gguf_part *p)
{
    md_map_close(&p->map);
    md_hashmap_done(&p->key);
}

static md_status part_open(md_gguf *g, md_gguf_part *p, int index, const char *path, md_gguf_mode mode, md_error *err)
{
    p->path = md_arena_strndup(&g->arena, path, strlen(path));
    if (!p->path)
        return md_fail_memory(err, "a GGUF file");
    MD_TRY(md_map_open(path, &p->map, err));
    p->bytes = p->map.bytes;
    p->n = p->map.n;
    return md_gguf_read_part(p, index, mode, &g->arena, err);
}

/* An integer key of the split, or `otherwise` when it is not there. */
static md_status split_key(const md_gguf_part *p, const char *key, int64_t otherwise, int64_t *v, md_error *err)
{
    *v = otherwise;
    const md_gguf_kv *kv = md_gguf_part_find(p, key);
    if (!kv)
        return MD_OK;
    if (kv->kind == MD_GGUF_ARRAY)
        return md_fail(err, MD_ERR_FORMAT, "'%s': key '%s' is an array, not a number", p->path, key);
    const md_status status = md_gguf_array_i64(kv, 0, v, err);
    return status == MD_OK ? MD_OK : md_fail_within(err, status, "'%s'", p->path);
}

/* The part that was named agrees with its own name, from which the names of the others follow. */
static md_status check_part_name(const md_gguf_part *p, int64_t no, int64_t count, part_name *name, md_error *err)
{
    if (no < 0 || no >= count || count > PART_COUNT_MAX)
        return md_fail(err, MD_ERR_FORMAT,
                       "'%s': says it is part %lld of %lld (split.no counts from 0): the file is damaged", p->path,
                       (long long)no, (long long)count);
    const long long no1 = (long long)no + 1;
    if (!parse_part_name(p->path, name))
        return md_fail(
            err, MD_ERR_FORMAT,
            "'%s' is part %lld of %lld of a split model: its name must end in -%05lld-of-%05lld.gguf, or the others "
            "cannot be found",
            p->path, no1, (long long)count, no1, (long long)count);
    if (name->no != no1 || name->count != count)
        return md_fail(err, MD_ERR_FORMAT,
                       "'%s' is named as part %d of %d but says inside that it is part %lld of %lld: restore its name",
                       p->path, name->no, name->count, no1, (long long)count);
    return MD_OK;
}

/* Part `index` beside the one that was named. */
static md_status open_sibling(md_gguf *g, const md_gguf_part *named, const part_name *name, int index,
                              md_gguf_mode mode, md_error *err)
{
    md_buf path = {0};
    md_buf_printf(&path, "%.*s" PART_SUFFIX, name->prefix_len, named->path, index + 1, name->count);
    md_gguf_part *p = &g->part[index];
    md_status status;
    int64_t no = 0, count = 0;
    if (path.failed) {
        status = md_fail_memory(err, "a GGUF file");
        goto fail;
    }
    status = part_open(g, p, index, path.data, mode, err);
    if (status == MD_ERR_IO)
        md_fail_within(err, status, "part %d of %d cannot be read (all parts belong into one folder)", index + 1,
                       name->count);
    if (status != MD_OK)
        goto fail;
    MD_TRY_GOTO(split_key(p, MD_GGUF_KEY_SPLIT_NO, -1, &no, err));
    MD_TRY_GOTO(split_key(p, MD_GGUF_KEY_SPLIT_COUNT, -1, &count, err));
    if (no != index || count != name->count)
        status = md_fail(
            err, MD_ERR_FORMAT,
            "'%s' says inside that it is part %lld of %lld, not %d of %d: the parts do not belong together", p->path,
            (long long)no + 1, (long long)count, index + 1, name->count);
fail:
    md_buf_done(&path);
    return status;
}

/* Part 0 of g is the file that was named; when it belongs to a split model, puts it in its place among the others. */
static md_status open_siblings(md_gguf *g, md_gguf_mode mode, md_error *err)
{
    int64_t no, count;
    part_name name = {0};
    MD_TRY(split_key(&g->part[0], MD_GGUF_KEY_SPLIT_COUNT, 1, &count, err));
    if (count <= 1)
        return MD_OK;
    MD_TRY(split_key(&g->part[0], MD_GGUF_KEY_SPLIT_NO, -1, &no, err));
    MD_TRY(check_part_name(&g->part[0], no, count, &name, err));
    md_gguf_part *part = md_calloc((size_t)count, sizeof *part);
    if (!part)
        return md_fail_memory(err, "the parts of a GGUF file");
    part[no] = g->part[0];
    md_free(g->part);
    g->part = part;
    g->n_parts = (int)count;
    for (size_t i = 0; i < part[no].n_tensors; i++)
        part[no].tensor[i].part = (int)no;
    for (int i = 0; i < g->n_parts; i++)
        if (i != no)
            MD_TRY(open_sibling(g, &part[no], &name, i, mode, err));
    return MD_OK;
}

/* ---- joining ---- */

static md_status join_tensors(md_gguf *g, md_error *err)
{
    for (int i = 0; i < g->n_parts; i++)
        g->n_tensors += g->part[i].n_tensors; /* each is below the size of a file: no overflow */
    if (g->n_parts == 1) {
        g->tensor = g->part[0].tensor;
        return MD_OK;
    }
    int64_t expected;
    MD_TRY(split_key(&g->part[0], MD_GGUF_KEY_SPLIT_TENSORS, (int64_t)g->n_tensors, &expected, err));
    MD_FAIL_IF(expected != (int64_t)g->n_tensors, MD_ERR_FORMAT,
               "'%s': the %d parts have %zu tensors, but split.tensors.count says %lld: download them again",
               g->part[0].path, g->n_parts, g->n_tensors, (long long)expected);
    md_gguf_tensor *all = md_arena_alloc(&g->arena, g->n_tensors, sizeof *all), *at = all;
    if (!all)
        return md_fail_memory(err, "the tensor table of a GGUF file");
    for (int i = 0; i < g->n_parts; i++) {
        if (g->part[i].n_tensors)
            memcpy(at, g->part[i].tensor, g->part[i].n_tensors * sizeof *at);
        at += g->part[i].n_tensors;
    }
    g->tensor = all;
    return MD_OK;
}

static md_status index_names(md_gguf *g, md_error *err)
{
    if (!md_hashmap_reserve(&g->name, g->n_tensors))
        return md_fail_memory(err, "the tensor table of a GGUF file");
    for (size_t i = 0; i < g->n_tensors; i++) {
        bool added;
        if (!md_hashmap_put(&g->name, g->tensor[i].name.s, g->tensor[i].name.n, i, &added))
            return md_fail_memory(err, "the tensor table of a GGUF file");
        MD_FAIL_IF(!added, MD_ERR_FORMAT,
                   "'%s': tensor '%.*s' is there twice: the file is damaged or was made by a faulty tool",
                   g->part[g->tensor[i].part].path, MD_STR_ARGS(g->tensor[i].name));
    }
    return MD_OK;
}

static md_status finish(md_gguf *g, md_error *err)
{
    MD_TRY(join_tensors(g, err));
    return index_names(g, err);
}

static md_gguf *gguf_new(void)
{
    md_gguf *g = md_calloc(1, sizeof *g);
    if (!g)
        return NULL;
    g->part = md_calloc(1, sizeof *g->part);
    g->n_parts = g->part ? 1 : 0;
    if (g->part)
        return g;
    md_free(g);
    return NULL;
}

md_status md_gguf_open(const char *path, md_gguf_mode mode, md_gguf **out, md_error *err)
{
    *out = NULL;
    md_gguf *g = gguf_new();
    if (!g)
        return md_fail_memory(err, "a GGUF file");
    md_status status;
    MD_TRY_GOTO(part_open(g, &g->part[0], 0, path, mode, err));
    MD_TRY_GOTO(open_siblings(g, mode, err));
    MD_TRY_GOTO(finish(g, err));
    *out = g;
    return MD_OK;
fail:
    md_gguf_close(g);
    return status;
}

md_status md_gguf_parse(const void *bytes, size_t n, const char *what, md_gguf_mode mode, md_gguf **out, md_error *err)
{
    *out = NULL;
    md_gguf *g = gguf_new();
    if (!g)
        return md_fail_memory(err, "a GGUF file");
    md_gguf_part *p = &g->part[0];
    md_status status;
    p->bytes = bytes;
    p->n = n;
    p->path = md_arena_strndup(&g->arena, what, strlen(what));
    if (!p->path) {
        status = md_fail_memory(err, "a GGUF file");
        goto fail;
    }
    MD_TRY_GOTO(md_gguf_read_part(p, 0, mode, &g->arena, err));
    MD_TRY_GOTO(finish(g, err));
    *out = g;
    return MD_OK;
fail:
    md_gguf_close(g);
    return status;
}

void md_gguf_close(md_gguf *g)
{
    if (!g)
        return;
    for (int i = 0; i < g->n_parts; i++)
        part_done(&g->part[i]);
    md_free(g->part);
    md_hashmap_done(&g->name);
    md_arena_done(&g->arena);
    md_free(g);
}

/* ---- look-ups ---- */

int md_gguf_version(const md_gguf *g)
{
    return (int)g->part[0].version;
}

uint32_t md_gguf_alignment(const md_gguf *g)
{
    return g->part[0].alignment;
}

uint64_t md_gguf_file_bytes(const md_gguf *g)
{
    uint64_t sum = 0;
    for (int i = 0; i < g->n_parts; i++)
        sum += g->part[i].n;
    return sum;
}

int md_gguf_n_parts(const md_gguf *g)
{
    return g->n_parts;
}

const char *md_gguf_part_path(const md_gguf *g, int part)
{
    return g->part[part].path;
}

size_t md_gguf_n_kv(const md_gguf *g)
{
    return g->part[0].n_kv;
}

const md_gguf_kv *md_gguf_kv_at(const md_gguf *g, size_t i)
{
    return &g->part[0].kv[i];
}

const md_gguf_kv *md_gguf_part_find(const md_gguf_part *part, const char *key)
{
    const size_t *i = md_hashmap_get(&part->key, key, strlen(key));
    return i ? &part->kv[*i] : NULL;
}

const md_gguf_kv *md_gguf_find(const md_gguf *g, const char *key)
{
    return md_gguf_part_find(&g->part[0], key);
}

size_t md_gguf_n_tensors(const md_gguf *g)
{
    return g->n_tensors;
}

const md_gguf_tensor *md_gguf_tensor_at(const md_gguf *g, size_t i)
{
    return &g->tensor[i];
}

const md_gguf_tensor *md_gguf_find_tensor(const md_gguf *g, const char *name)
{
    const size_t *i = md_hashmap_get(&g->name, name, strlen(name));
    return i ? &g->tensor[*i] : NULL;
}
