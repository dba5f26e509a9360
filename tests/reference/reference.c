/* SPDX-License-Identifier: Apache-2.0
 *
 * Families against another implementation: every .txt of this folder is a tiny model and what another program computes
 * for it. The prompt at once, in pieces and one token at a time must give the same bits, all within the tolerance.
 *
 *   test-reference [--results FILE] [FAMILY...]     all families, or those named
 *
 * The results (family, architecture, largest difference, tolerance, spread, reference; tab-separated) are what
 * tools/models_table.py makes docs/models.md from. */
#include "model_text.h"

#include <dirent.h>

#define FOLDER MD_SOURCE_DIR "/tests/reference"

static FILE *results;

typedef struct rows {
    int n, width;
    float *v; /* [n][width], owned */
} rows;

/* Positions [from, n) in steps of `chunk` rows, after [0, from) at once. */
static rows evaluate(const md_model *m, const ref_prompt *p, bool hidden, int from, int chunk)
{
    const md_model_info *info = md_model_get_info(m);
    rows out = {.n = p->n, .width = hidden ? info->n_embd : info->n_vocab};
    out.v = calloc((size_t)out.n * (size_t)out.width, sizeof *out.v);
    assert_non_null(out.v);
    md_session_args args;
    md_session_args_default(m, &args);
    args.n_threads = 2;
    args.n_positions = args.n_rows = args.n_logits = p->n;
    args.kv_type = MD_KV_F32;
    md_session *s;
    md_seq *q;
    OK(md_session_new(m, &args, &s, err));
    OK(md_seq_new(s, &q, err));
    md_seq *seq[REF_MAX_ROWS];
    uint8_t want[REF_MAX_ROWS];
    for (int i = 0; i < p->n; i++) {
        seq[i] = q;
        want[i] = hidden ? MD_WANT_HIDDEN : MD_WANT_LOGITS;
    }
    for (int at = 0, n; at < p->n; at += n) {
        n = at < from ? from - at : chunk < p->n - at ? chunk : p->n - at;
        OK(md_decode(s, &(md_batch){.n = n, .token = p->token + at, .seq = seq, .want = want}, err));
        for (int i = 0; i < n; i++) {
            const float *row = hidden ? md_step_hidden(s, i) : md_step_logits(s, i);
            assert_non_null(row);
            memcpy(out.v + (size_t)(at + i) * (size_t)out.width, row, (size_t)out.width * sizeof *row);
        }
    }
    md_session_free(s);
    return out;
}

static void same_bits(const rows *a, const rows *b, const char *how)
{
    for (int i = 0; i < a->n; i++)
        if (memcmp(a->v + (size_t)i * (size_t)a->width, b->v + (size_t)i * (size_t)a->width,
                   (size_t)a->width * sizeof *a->v) != 0)
            fail_msg("position %d of %d differs when evaluated %s", i, a->n, how);
}

/* The largest difference to what is expected. */
static double compare(const rows *got, const ref_prompt *p)
{
    double worst = 0;
    for (int k = 0; k < p->n_marks; k++) {
        const ref_mark *m = &p->mark[k];
        assert_true(m->is_row ? m->n == got->width : m->index < got->width);
        for (int i = 0; i < m->n; i++) {
            const size_t at = m->is_row ? (size_t)m->index * (size_t)got->width + (size_t)i
                                        : (size_t)i * (size_t)got->width + (size_t)m->index;
            const double d = fabs((double)got->v[at] - m->value[i]);
            if (!(d <= worst)) /* a NaN too */
                worst = d;
        }
    }
    return worst;
}

static void family(void **state)
{
    const char *name = *state;
    char path[512];
    snprintf(path, sizeof path, FOLDER "/%s.txt", name);
    const char *gguf = temp_path("reference.gguf");
    ref_file f;
    ref_build(path, gguf, &f);
    assert_string_equal(f.family, name);
    md_model *m = NULL;
    md_error e = {0};
    const md_status status = md_model_open(gguf, NULL, &m, &e);
    unlink(gguf); /* the map keeps the file alive */
    if (status != MD_OK)
        fail_msg("%s", e.message);
    double worst = 0;
    for (int i = 0; i < f.n_prompts; i++) {
        const ref_prompt *p = &f.prompt[i];
        rows whole = evaluate(m, p, f.hidden, 0, p->n);
        const double d = compare(&whole, p);
        worst = d > worst || isnan(d) ? d : worst;
        if (!f.hidden) { /* an encoder takes a sequence as one unit */
            rows pieces = evaluate(m, p, false, 0, 5), steps = evaluate(m, p, false, p->n > 8 ? p->n - 8 : 0, 1);
            same_bits(&whole, &pieces, "in pieces of 5");
            same_bits(&whole, &steps, "one token at a time");
            free(pieces.v);
            free(steps.v);
        }
        free(whole.v);
    }
    md_model_close(m);
    if (results)
        fprintf(results, "%s\t%s\t%.3g\t%.3g\t%.3g\t%s\n", f.family, f.arch, worst, f.tolerance, f.spread, f.reference);
    const double tolerance = f.tolerance;
    ref_done(&f);
    if (!(worst <= tolerance))
        fail_msg("largest difference %.3g, allowed %.3g", worst, tolerance);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct CMUnitTest *)a)->name, ((const struct CMUnitTest *)b)->name);
}

/* The name of a reference file without its ending, owned; NULL: the file is none. */
static char *family_of(const char *file)
{
    const size_t n = strlen(file);
    return n > 4 && strcmp(file + n - 4, ".txt") == 0 ? strndup(file, n - 4) : NULL;
}

static int all_families(struct CMUnitTest *test, int max)
{
    int n = 0;
    DIR *d = opendir(FOLDER);
    for (const struct dirent *e; d && (e = readdir(d));) {
        char *name = family_of(e->d_name);
        if (name && n < max)
            test[n++] = (struct CMUnitTest){name, family, NULL, NULL, name};
        else
            free(name);
    }
    if (d)
        closedir(d);
    qsort(test, (size_t)n, sizeof *test, by_name);
    return n;
}

int main(int argc, char **argv)
{
    static struct CMUnitTest test[256];
    int n = 0, at = 1;
    if (argc > 2 && strcmp(argv[1], "--results") == 0) {
        results = fopen(argv[2], "w");
        if (!results) {
            perror(argv[2]);
            return 1;
        }
        at = 3;
    }
    for (; at < argc && n < 256; at++, n++)
        test[n] = (struct CMUnitTest){argv[at], family, NULL, NULL, strdup(argv[at])};
    if (n == 0)
        n = all_families(test, 256);
    if (n == 0) {
        fprintf(stderr, "there are no reference files in %s\n", FOLDER);
        return 1;
    }
    const int failed = _cmocka_run_group_tests("reference", test, (size_t)n, NULL, NULL);
    for (int i = 0; i < n; i++)
        free(test[i].initial_state);
    if (results)
        fclose(results);
    return failed;
}
