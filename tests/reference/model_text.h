/* SPDX-License-Identifier: Apache-2.0
 *
 * A reference file as text becomes a model file: metadata and tensors in the order written, weights from the names, as
 * tools/reference/weights.py has it. What the test compares with (prompts, rows, columns) comes out as numbers.
 * tools/reference/README.md has the grammar of the lines; a file that says anything else fails the test. One thread. */
#ifndef MD_TEST_MODEL_TEXT_H
#define MD_TEST_MODEL_TEXT_H

#include "format/gguf.h"
#include "support/synth_model.h"

#include <math.h>

enum { REF_MAX_TENSORS = 1024, REF_MAX_PROMPTS = 4, REF_MAX_ROWS = 64, REF_MAX_MARKS = 16 };

/* Expected values of one position (all of them) or of one value (at all positions). */
typedef struct ref_mark {
    bool is_row;
    int index; /* the position of a row, the vocabulary id of a column */
    int n;
    double *value; /* [n], owned */
} ref_mark;

typedef struct ref_prompt {
    int n;
    int32_t token[REF_MAX_ROWS];
    int n_marks;
    ref_mark mark[REF_MAX_MARKS];
} ref_prompt;

typedef struct ref_file {
    char family[64], arch[64], reference[128];
    double tolerance, spread;
    bool hidden; /* the values are hidden states, not logits: the model is an encoder */
    int n_prompts;
    ref_prompt prompt[REF_MAX_PROMPTS];
} ref_file;

typedef struct tensor_row {
    char name[64];
    int n_dims;
    int64_t dim[MD_GGUF_MAX_DIMS];
    size_t n;
    float scale, offset;
    float *value; /* [n] given one by one, owned; NULL: drawn */
} tensor_row;

typedef struct builder {
    const char *path;
    int line;
    char *at; /* rest of the line */
    md_gguf_writer *writer;
    uint64_t seed;
    tensor_row *tensor; /* [REF_MAX_TENSORS], owned */
    int n_tensors;
} builder;

/* The next word of the line, "" at its end. */
static char *word(builder *b)
{
    while (*b->at == ' ')
        b->at++;
    char *start = b->at;
    while (*b->at && *b->at != ' ')
        b->at++;
    if (*b->at)
        *b->at++ = '\0';
    return start;
}

static double number(builder *b)
{
    char *end;
    const char *w = word(b);
    const double v = strtod(w, &end);
    if (end == w || *end)
        fail_msg("%s:%d: '%s' is not a number", b->path, b->line, w);
    return v;
}

/* Decimal to the nearest 32-bit float, in one rounding. */
static float number_f32(builder *b)
{
    char *end;
    const char *w = word(b);
    const float v = strtof(w, &end);
    if (end == w || *end)
        fail_msg("%s:%d: '%s' is not a number", b->path, b->line, w);
    return v;
}

static int integer(builder *b, int min, int max)
{
    const double v = number(b);
    if (v != floor(v) || v < min || v > max)
        fail_msg("%s:%d: %g is not a whole number from %d to %d", b->path, b->line, v, min, max);
    return (int)v;
}

static int count_words(const char *s)
{
    int n = 0;
    for (; *s; s++)
        n += *s != ' ' && (s[1] == ' ' || s[1] == '\0');
    return n;
}

static void copy_word(builder *b, char *to, size_t size)
{
    const char *w = word(b);
    if (strlen(w) == 0 || strlen(w) >= size)
        fail_msg("%s:%d: '%s' has no fitting length", b->path, b->line, w);
    memcpy(to, w, strlen(w) + 1);
}

static void read_array(builder *b, const char *kind, const char *key)
{
    const int n = count_words(b->at);
    int32_t *whole = calloc((size_t)n, sizeof *whole);
    float *real = calloc((size_t)n, sizeof *real);
    uint8_t *flag = calloc((size_t)n, sizeof *flag);
    assert_true(n > 0 && whole && real && flag);
    for (int i = 0; i < n; i++) {
        if (strcmp(kind, "f32[]") == 0)
            real[i] = number_f32(b);
        else
            flag[i] = (uint8_t)(whole[i] = integer(b, INT32_MIN, INT32_MAX));
    }
    if (strcmp(kind, "f32[]") == 0)
        OK(md_gguf_set_array(b->writer, key, MD_GGUF_F32, real, (size_t)n, err));
    else if (strcmp(kind, "bool[]") == 0)
        OK(md_gguf_set_array(b->writer, key, MD_GGUF_BOOL, flag, (size_t)n, err));
    else if (strcmp(kind, "i32[]") == 0)
        OK(md_gguf_set_array(b->writer, key, MD_GGUF_I32, whole, (size_t)n, err));
    else if (strcmp(kind, "u32[]") == 0)
        OK(md_gguf_set_array(b->writer, key, MD_GGUF_U32, whole, (size_t)n, err));
    else
        fail_msg("%s:%d: arrays of '%s' are not known", b->path, b->line, kind);
    free(whole);
    free(real);
    free(flag);
}

static void read_metadata(builder *b, ref_file *out)
{
    const char *kind = word(b), *key = word(b);
    if (strcmp(kind, "str") == 0) {
        OK(md_gguf_set_string(b->writer, key, b->at, err));
        if (strcmp(key, "general.architecture") == 0)
            copy_word(b, out->arch, sizeof out->arch);
    } else if (strcmp(kind, "u32") == 0) {
        OK(md_gguf_set_u32(b->writer, key, (uint32_t)integer(b, 0, INT32_MAX), err));
    } else if (strcmp(kind, "i32") == 0) {
        OK(md_gguf_set_i32(b->writer, key, integer(b, INT32_MIN, INT32_MAX), err));
    } else if (strcmp(kind, "f32") == 0) {
        OK(md_gguf_set_f32(b->writer, key, number_f32(b), err));
    } else if (strcmp(kind, "bool") == 0) {
        OK(md_gguf_set_bool(b->writer, key, integer(b, 0, 1) == 1, err));
    } else {
        read_array(b, kind, key);
    }
}

/* given: the values follow, rather than scale and offset to draw them with. */
static void read_tensor(builder *b, bool given)
{
    assert_true(b->n_tensors < REF_MAX_TENSORS);
    tensor_row *t = &b->tensor[b->n_tensors++];
    *t = (tensor_row){.n = 1};
    copy_word(b, t->name, sizeof t->name);
    t->n_dims = integer(b, 1, MD_GGUF_MAX_DIMS);
    for (int i = 0; i < t->n_dims; i++) {
        t->dim[i] = integer(b, 1, 1 << 20);
        t->n *= (size_t)t->dim[i];
    }
    assert_true(t->n < (size_t)1 << 24);
    OK(md_gguf_add_tensor(b->writer, t->name, MD_TYPE_F32, t->n_dims, t->dim, err));
    if (!given) {
        t->scale = number_f32(b);
        t->offset = number_f32(b);
        return;
    }
    t->value = calloc(t->n, sizeof *t->value);
    assert_non_null(t->value);
    for (size_t i = 0; i < t->n; i++)
        t->value[i] = number_f32(b);
}

static void read_prompt(builder *b, ref_file *out)
{
    assert_true(out->n_prompts < REF_MAX_PROMPTS);
    ref_prompt *p = &out->prompt[out->n_prompts++];
    p->n = integer(b, 1, REF_MAX_ROWS);
    for (int i = 0; i < p->n; i++)
        p->token[i] = integer(b, 0, INT32_MAX);
}

static void read_mark(builder *b, ref_file *out, bool is_row)
{
    assert_true(out->n_prompts > 0);
    ref_prompt *p = &out->prompt[out->n_prompts - 1];
    assert_true(p->n_marks < REF_MAX_MARKS);
    ref_mark *m = &p->mark[p->n_marks++];
    *m = (ref_mark){.is_row = is_row, .index = integer(b, 0, is_row ? p->n - 1 : INT32_MAX), .n = count_words(b->at)};
    if (m->n == 0 || (!is_row && m->n != p->n))
        fail_msg("%s:%d: a column needs %d values", b->path, b->line, p->n);
    m->value = calloc((size_t)m->n, sizeof *m->value);
    assert_non_null(m->value);
    for (int i = 0; i < m->n; i++)
        m->value[i] = number(b);
}

static void read_line(builder *b, ref_file *out)
{
    const char *what = word(b);
    if (strcmp(what, "kv") == 0)
        read_metadata(b, out);
    else if (strcmp(what, "tensor") == 0 || strcmp(what, "values") == 0)
        read_tensor(b, what[0] == 'v');
    else if (strcmp(what, "prompt") == 0)
        read_prompt(b, out);
    else if (strcmp(what, "row") == 0 || strcmp(what, "column") == 0)
        read_mark(b, out, what[0] == 'r');
    else if (strcmp(what, "family") == 0)
        copy_word(b, out->family, sizeof out->family);
    else if (strcmp(what, "reference") == 0)
        snprintf(out->reference, sizeof out->reference, "%s", b->at);
    else if (strcmp(what, "tolerance") == 0)
        out->tolerance = number(b);
    else if (strcmp(what, "spread") == 0)
        out->spread = number(b);
    else if (strcmp(what, "seed") == 0)
        b->seed = (uint64_t)integer(b, 0, INT32_MAX);
    else if (strcmp(what, "hidden") == 0)
        out->hidden = true;
    else if (strcmp(what, "rounding") != 0 && strcmp(what, "second") != 0) /* for readers */
        fail_msg("%s:%d: '%s' is not known", b->path, b->line, what);
}

/* FNV-1a, 64 bits. */
static uint64_t name_hash(const char *name, uint64_t seed)
{
    uint64_t h = 0xcbf29ce484222325ull ^ seed;
    for (; *name; name++)
        h = (h ^ (uint8_t)*name) * 0x100000001b3ull;
    return h;
}

static uint64_t splitmix64(uint64_t x)
{
    x += 0x9e3779b97f4a7c15ull;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
    return x ^ (x >> 31);
}

static void write_tensor(const builder *b, const tensor_row *t)
{
    const uint64_t h = name_hash(t->name, b->seed);
    float *v = t->value ? t->value : calloc(t->n, sizeof *v);
    assert_non_null(v);
    if (!t->value)
        for (size_t i = 0; i < t->n; i++) {
            const float unit = (float)(splitmix64(h + i) >> 40) / 16777216.0f - 0.5f;
            v[i] = unit * t->scale + t->offset;
        }
    OK(md_gguf_data(b->writer, v, t->n * sizeof *v, err));
    free(v);
}

/* Reads the text at `path` and writes the model to `gguf`. */
static void ref_build(const char *path, const char *gguf, ref_file *out)
{
    *out = (ref_file){0};
    size_t size;
    char *text = read_all(path, &size);
    builder b = {.path = path, .tensor = calloc(REF_MAX_TENSORS, sizeof(tensor_row))};
    assert_non_null(b.tensor);
    OK(md_gguf_writer_new(gguf, &b.writer, err));
    for (char *line = text; *line;) {
        char *end = line + strcspn(line, "\n");
        char *next = *end ? end + 1 : end;
        *end = '\0';
        b.line++;
        b.at = line;
        if (*line && *line != '#')
            read_line(&b, out);
        line = next;
    }
    OK(md_gguf_begin(b.writer, err));
    for (int i = 0; i < b.n_tensors; i++)
        write_tensor(&b, &b.tensor[i]);
    OK(md_gguf_commit(b.writer, err));
    md_gguf_writer_close(b.writer);
    free(b.tensor);
    free(text);
    assert_true(out->n_prompts > 0 && out->tolerance > 0 && out->spread > 0 && out->family[0] && out->arch[0]);
}

static void ref_done(ref_file *f)
{
    for (int i = 0; i < f->n_prompts; i++)
        for (int k = 0; k < f->prompt[i].n_marks; k++)
            free(f->prompt[i].mark[k].value);
    *f = (ref_file){0};
}

#endif
