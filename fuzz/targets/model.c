/* SPDX-License-Identifier: Apache-2.0
 *
 * Models from hostile files: opened, described, and run for a few tokens if they open. An input that begins with "GGUF" is
 * the file itself. Any other is a recipe, a few lines of text from which a file is made:
 *
 *   qwen3moe                      the family
 *   expert_count=4                a key of the family: a number, several (an array), or text in quotes
 *   tokenizer.ggml.model="gpt2"   a key with a dot that begins "general.", "tokenizer." or "split." is taken as it is
 *   blk.0.attn_q.weight:8         a tensor's type, by its id on disk
 *   blk.0.attn_q.weight:0:32,64   its type and its sizes
 *   -output.weight                a tensor that shall be missing
 *
 * What the family needs beyond that is put in as the engine's own complaints ask for it, so that mutations of a line or
 * two still reach the binder and the step. Whatever happens: no crash, no endless loop, and an error is a sentence. */
#include "base/mem.h"
#include "dtype/dtype.h"
#include "format/gguf.h"
#include "model/arch.h"

#include <medley/engine.h>
#include <medley/model.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { F32 = 0 }; /* its id on disk, and every tensor's type unless the recipe says otherwise */
enum { MAX_KEYS = 96, MAX_TENSORS = 256, MAX_VALUES = 64, MAX_REPAIRS = 600, MAX_NAME = 96 };
#define MAX_FILE   ((size_t)1 << 20)
#define MAX_MEMORY ((int64_t)64 << 20) /* that a session may ask for */

typedef struct key {
    char name[MAX_NAME];
    bool text;
    char value[MAX_NAME]; /* of a text */
    double number[MAX_VALUES];
    size_t n; /* numbers; above 1: an array */
} key;

typedef struct tensor {
    char name[MAX_NAME];
    uint32_t type;
    bool absent, sized; /* sized: the recipe says how large, so leave it */
    uint32_t n_dims;
    uint64_t dim[MD_GGUF_MAX_DIMS];
} tensor;

typedef struct recipe {
    char family[MAX_NAME];
    key key[MAX_KEYS];
    tensor tensor[MAX_TENSORS];
    size_t n_keys, n_tensors;
    bool opens; /* as a family's smallest model */
} recipe;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void require(bool promise)
{
    if (!promise)
        abort();
}

static void check_error(md_status status, const md_error *err)
{
    require(status == MD_OK ||
            (err->code == status && err->message[0] && !strchr(err->message, '\n') && status != MD_ERR_INTERNAL));
}

/* ---- recipes ---- */

static void set_name(char out[MAX_NAME], const char *s, size_t n)
{
    snprintf(out, MAX_NAME, "%.*s", (int)(n < MAX_NAME ? n : MAX_NAME - 1), s);
}

static tensor *tensor_of(recipe *r, const char *name)
{
    for (size_t i = 0; i < r->n_tensors; i++)
        if (strcmp(r->tensor[i].name, name) == 0)
            return &r->tensor[i];
    if (r->n_tensors == MAX_TENSORS || !name[0])
        return NULL;
    tensor *t = &r->tensor[r->n_tensors++];
    *t = (tensor){.n_dims = 1, .dim = {1, 1, 1, 1}};
    set_name(t->name, name, strlen(name));
    return t;
}

static key *key_of(recipe *r, const char *name)
{
    for (size_t i = 0; i < r->n_keys; i++)
        if (strcmp(r->key[i].name, name) == 0)
            return &r->key[i];
    if (r->n_keys == MAX_KEYS || !name[0])
        return NULL;
    key *k = &r->key[r->n_keys++];
    *k = (key){.n = 0};
    set_name(k->name, name, strlen(name));
    return k;
}

/* "key=1", "key=1,2.5,-3", "key="text"". */
static void read_key(recipe *r, char *line, char *equals)
{
    char name[1024];
    *equals = '\0';
    const char *value = equals + 1;
    const bool whole = !strncmp(line, "general.", 8) || !strncmp(line, "tokenizer.", 10) || !strncmp(line, "split.", 6);
    snprintf(name, sizeof name, "%s%s%s", whole ? "" : r->family, whole ? "" : ".", line);
    name[MAX_NAME - 1] = '\0';
    key *k = key_of(r, name);
    if (!k)
        return;
    k->n = 0;
    k->text = value[0] == '"';
    if (k->text)
        set_name(k->value, value + 1, strcspn(value + 1, "\""));
    for (char *end; !k->text && k->n < MAX_VALUES; value = end + 1) {
        k->number[k->n++] = strtod(value, &end);
        if (*end != ',')
            break;
    }
}

/* "name:type" or "name:type:d0,d1,d2,d3". */
static void read_tensor(recipe *r, char *line, char *colon)
{
    *colon = '\0';
    tensor *t = tensor_of(r, line);
    if (!t)
        return;
    char *end;
    t->type = (uint32_t)strtoul(colon + 1, &end, 10);
    if (*end != ':')
        return;
    t->sized = true;
    t->n_dims = 0;
    do
        t->dim[t->n_dims++] = strtoull(end + 1, &end, 10);
    while (*end == ',' && t->n_dims < MD_GGUF_MAX_DIMS);
}

static void read_line(recipe *r, char *line)
{
    char *equals = strchr(line, '='), *colon = strchr(line, ':');
    if (line[0] == '-') {
        tensor *t = tensor_of(r, line + 1);
        if (t)
            t->absent = true;
    } else if (equals) {
        read_key(r, line, equals);
    } else if (colon) {
        read_tensor(r, line, colon);
    }
}

static void read_lines(recipe *r, const char *text, size_t n)
{
    for (size_t at = 0; at < n;) {
        const char *end = memchr(text + at, '\n', n - at);
        const size_t length = end ? (size_t)(end - (text + at)) : n - at;
        char line[512];
        snprintf(line, sizeof line, "%.*s", (int)(length < sizeof line ? length : sizeof line - 1), text + at);
        read_line(r, line);
        at += length + 1;
    }
}

/* ---- a file from a recipe ---- */

static void put(md_buf *b, uint64_t v, size_t bytes)
{
    md_buf_append(b, &v, bytes); /* little-endian, as the engine itself demands */
}

static void put_text(md_buf *b, const char *s)
{
    put(b, strlen(s), 8);
    md_buf_puts(b, s);
}

/* Whole numbers are i64, others f64; the reader converts to what is asked for. */
static void put_number(md_buf *b, double v, bool whole)
{
    const int64_t i = whole ? (int64_t)v : 0;
    md_buf_append(b, whole ? (const void *)&i : &v, 8);
}

static bool is_whole(double v)
{
    return v >= -9e18 && v <= 9e18 && (double)(int64_t)v == v;
}

static void put_key(md_buf *b, const key *k)
{
    bool whole = true;
    for (size_t i = 0; i < k->n; i++)
        whole &= is_whole(k->number[i]);
    const uint32_t kind = k->text ? MD_GGUF_STRING : whole ? MD_GGUF_I64 : MD_GGUF_F64;
    put_text(b, k->name);
    put(b, k->n > 1 ? MD_GGUF_ARRAY : kind, 4);
    if (k->n > 1) {
        put(b, kind, 4);
        put(b, k->n, 8);
    }
    if (k->text)
        put_text(b, k->value);
    for (size_t i = 0; i < k->n; i++)
        put_number(b, k->number[i], whole);
}

/* Bytes of a tensor's data; 0 if that is nonsense or too much, which the reader shall find out. */
static size_t data_bytes(const tensor *t)
{
    uint64_t rows = 1;
    size_t row;
    md_type type;
    if (md_type_from_gguf(t->type, t->name, &type, NULL) != MD_OK || t->dim[0] > MAX_FILE ||
        !md_type_row_bytes(type, (int64_t)t->dim[0], &row) || row == 0)
        return 0;
    for (uint32_t i = 1; i < t->n_dims; i++) {
        if (t->dim[i] > MAX_FILE || rows > MAX_FILE)
            return 0;
        rows *= t->dim[i];
    }
    return rows > MAX_FILE / row ? 0 : (size_t)rows * row;
}

/* Small numbers of both signs; other types get bytes from all over their codes. */
static void put_data(md_buf *b, const tensor *t, size_t bytes)
{
    static float number[17 * 64];
    static unsigned char code[61 * 64];
    if (number[0] == 0.0f) {
        for (size_t i = 0; i < sizeof number / sizeof *number; i++)
            number[i] = (float)(int)(i * 37 % 17) / 8.0f - 1.0f;
        for (size_t i = 0; i < sizeof code; i++)
            code[i] = (unsigned char)(i * 37 % 61);
    }
    const size_t piece = t->type == F32 ? sizeof number : sizeof code;
    for (size_t n; bytes > 0; bytes -= n) {
        n = bytes < piece ? bytes : piece;
        md_buf_append(b, t->type == F32 ? (const void *)number : code, n);
    }
}

static void align(md_buf *b)
{
    md_buf_append(b, (char[32]){0}, (32 - b->len % 32) % 32);
}

static void make_file(const recipe *r, md_buf *b)
{
    size_t there = 0, offset = 0;
    for (size_t i = 0; i < r->n_tensors; i++)
        there += !r->tensor[i].absent;
    md_buf_reset(b);
    md_buf_puts(b, "GGUF");
    put(b, 3, 4);
    put(b, there, 8);
    put(b, r->n_keys + 1, 8);
    put_text(b, "general.architecture");
    put(b, MD_GGUF_STRING, 4);
    put_text(b, r->family);
    for (size_t i = 0; i < r->n_keys; i++)
        put_key(b, &r->key[i]);
    for (size_t i = 0; i < r->n_tensors; i++) {
        const tensor *t = &r->tensor[i];
        if (t->absent)
            continue;
        put_text(b, t->name);
        put(b, t->n_dims, 4);
        for (uint32_t d = 0; d < t->n_dims; d++)
            put(b, t->dim[d], 8);
        put(b, t->type, 4);
        put(b, offset, 8);
        offset += (data_bytes(t) + 31) / 32 * 32;
    }
    align(b);
    for (size_t i = 0; i < r->n_tensors && b->len <= MAX_FILE; i++)
        if (!r->tensor[i].absent) {
            put_data(b, &r->tensor[i], data_bytes(&r->tensor[i]));
            align(b);
        }
}

/* ---- what the engine does with a file ---- */

static void step(md_session *s, md_seq *const *seq, int32_t n, int32_t n_vocab)
{
    int32_t token[4];
    md_error err = {0};
    for (int32_t i = 0; i < n; i++)
        token[i] = (i * 3 + 1) % n_vocab;
    const md_status status = md_decode(s, &(md_batch){.n = n, .token = token, .seq = seq}, &err);
    check_error(status, &err);
    if (status == MD_OK) {
        const float *logits = md_step_logits(s, n - 1);
        require(logits != NULL);
        (void)*(const volatile float *)&logits[n_vocab - 1];
    }
}

static void run(const md_model *m)
{
    md_session_args args;
    md_session *s = NULL;
    md_seq *a = NULL, *b = NULL;
    md_error err = {0};
    md_session_args_default(m, &args);
    args.n_threads = 1;
    args.n_positions = 128;
    args.n_rows = 4;
    args.n_sequences = 2;
    args.memory = MAX_MEMORY;
    md_status status = md_session_new(m, &args, &s, &err);
    if (status == MD_OK)
        status = md_seq_new(s, &a, &err);
    if (status == MD_OK) {
        const int32_t n_vocab = md_model_get_info(m)->n_vocab;
        step(s, (md_seq *const[]){a, a, a}, 3, n_vocab);
        status = md_seq_fork(a, &b, &err);
        if (status == MD_OK)
            step(s, (md_seq *const[]){a, b}, 2, n_vocab);
    }
    check_error(status, &err);
    md_seq_free(b);
    md_seq_free(a);
    md_session_free(s);
}

static void describe(const char *path)
{
    md_description *d;
    md_error err = {0};
    check_error(md_model_describe(path, NULL, &d, &err), &err);
    for (size_t i = 0; d && i < md_description_n_metadata(d); i++) {
        md_metadata_info info;
        md_description_metadata(d, i, &info);
        require(info.key && info.kind && info.value);
    }
    md_description_free(d);
}

/* Opens the bytes as a model; true if it opens. */
static bool try_file(const void *bytes, size_t n, bool all, md_error *err)
{
    char path[64];
    const int fd = memfd_create("model", MFD_CLOEXEC);
    require(fd >= 0 && write(fd, bytes, n) == (ssize_t)n);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    md_model *m;
    *err = (md_error){0};
    const md_status status = md_model_open(path, NULL, &m, err);
    check_error(status, err);
    require((status == MD_OK) == (m != NULL));
    if (m && all)
        run(m);
    if (all)
        describe(path);
    md_model_close(m);
    close(fd);
    return status == MD_OK;
}

/* ---- repairs ---- */

/* The text between `before` and the next quote; false if the message has no such thing. */
static bool quoted(const char *message, const char *before, char name[MAX_NAME])
{
    const char *at = strstr(message, before);
    if (!at)
        return false;
    at += strlen(before);
    set_name(name, at, strcspn(at, "'"));
    return true;
}

/* The "[a, b, c]" after "expected". */
static void resize(tensor *t, const char *message)
{
    const char *at = strstr(message, "expected [");
    if (!at || t->sized)
        return;
    char *end = (char *)(uintptr_t)at + strlen("expected ");
    uint32_t n = 0;
    for (t->n_dims = 1; n < MD_GGUF_MAX_DIMS && *end && *end != ']'; n++) {
        t->dim[n] = strtoull(end + 1, &end, 10);
        t->n_dims = t->dim[n] != 1 ? n + 1 : t->n_dims;
    }
}

/* A tensor of a further layer begins with the sizes of the first layer's. */
static void like_first_layer(const recipe *r, tensor *t)
{
    const char *rest = strncmp(t->name, "blk.", 4) == 0 ? strchr(t->name + 4, '.') : NULL;
    if (!rest)
        return;
    for (size_t i = 0; i < r->n_tensors; i++) {
        const tensor *of = &r->tensor[i];
        if (strncmp(of->name, "blk.0", 5) == 0 && strcmp(of->name + 5, rest) == 0) {
            t->n_dims = of->n_dims;
            memcpy(t->dim, of->dim, sizeof t->dim);
        }
    }
}

/* Mends what the message complains of; false if it does not know how. */
static bool repair(recipe *r, const char *message)
{
    char name[MAX_NAME];
    if (quoted(message, "lacks '", name)) {
        key *k = key_of(r, name);
        if (!k || k->n > 0 || k->text)
            return false;
        k->number[k->n++] = strstr(name, "length") ? 32 : strstr(name, "block_count") ? 1 : 2;
        return true;
    }
    if (!quoted(message, "tensor '", name))
        return false;
    const size_t before = r->n_tensors;
    tensor *t = tensor_of(r, name);
    if (!t || t->absent || t->sized)
        return false;
    if (strstr(message, "is missing")) {
        like_first_layer(r, t);
        return r->n_tensors > before;
    }
    const tensor old = *t;
    resize(t, message);
    return memcmp(&old, t, sizeof old) != 0;
}

/* Opens the recipe's file, mending it until it does or cannot be mended. */
static bool mend(recipe *r, md_buf *file)
{
    md_error err = {0};
    for (int i = 0; i < MAX_REPAIRS; i++) {
        make_file(r, file);
        if (file->failed || file->len > MAX_FILE)
            return false;
        if (try_file(file->data, file->len, false, &err))
            return true;
        if (!repair(r, err.message))
            return false;
    }
    return false;
}

/* A family's smallest model, mended once: recipes start from it. NULL for an unknown family. */
static const recipe *family_model(const char *family)
{
    enum { MAX_FAMILIES = 256 };
    static recipe *made[MAX_FAMILIES];
    for (int i = 0; i < MAX_FAMILIES && md_arch_all[i]; i++) {
        if (strcmp(md_arch_all[i]->name, family) != 0)
            continue;
        if (made[i])
            return made[i];
        made[i] = calloc(1, sizeof *made[i]);
        require(made[i] != NULL);
        set_name(made[i]->family, family, strlen(family));
        tensor *t = tensor_of(made[i], "token_embd.weight");
        t->n_dims = 2;
        t->dim[0] = 32;
        t->dim[1] = 64;
        md_buf file = {0};
        made[i]->opens = mend(made[i], &file);
        md_buf_done(&file);
        return made[i];
    }
    return NULL;
}

static void try_recipe(const char *text, size_t n)
{
    char family[MAX_NAME];
    recipe *r = calloc(1, sizeof *r);
    md_buf file = {0};
    md_error err = {0};
    require(r != NULL);
    const char *end = memchr(text, '\n', n);
    set_name(family, text, end ? (size_t)(end - text) : n);
    const recipe *known = family_model(family);
    if (known)
        *r = *known;
    set_name(r->family, family, strlen(family));
    if (end)
        read_lines(r, end + 1, n - (size_t)(end + 1 - text));
    mend(r, &file);
    if (!file.failed && file.len <= MAX_FILE)
        try_file(file.data, file.len, true, &err);
    md_buf_done(&file);
    free(r);
}

#ifdef MD_FUZZ_REPLAY
/* The complaints still lead to whole models: most families open from their name alone. */
static void check_repairs(void)
{
    size_t families = 0, open = 0;
    for (; md_arch_all[families]; families++) {
        const recipe *r = family_model(md_arch_all[families]->name);
        open += r->opens;
        if (!r->opens)
            printf("%s does not open from its name alone\n", r->family);
    }
    printf("%zu of %zu families open from their names alone\n", open, families);
    require(open * 2 > families);
}
#else
static void check_repairs(void)
{
}
#endif

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static bool checked;
    md_error err;
    if (!checked)
        check_repairs();
    checked = true;
    if (n >= 4 && memcmp(data, "GGUF", 4) == 0)
        try_file(data, n, true, &err);
    else if (n <= 4096)
        try_recipe((const char *)data, n);
    return 0;
}
