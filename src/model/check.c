/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading every weight of a file, in search of what cannot be right. */
#include "model/model.h"

#include "base/status.h"

#include <math.h>
#include <stdio.h>

#define STRIP  4096 /* weights decoded at a time; a multiple of every block */
#define ABSURD 1e6f

static void check_strip(const float *x, int64_t n, md_check_finding *f)
{
    for (int64_t i = 0; i < n; i++) {
        const float a = fabsf(x[i]);
        if (a != a)
            f->nan++;
        else if (a > 3.4028235e38f)
            f->inf++;
        else {
            f->absurd += a > ABSURD;
            f->max_abs = a > f->max_abs ? a : f->max_abs;
        }
    }
}

static void check_tensor(const md_gguf_tensor *t, md_check_finding *f)
{
    float x[STRIP];
    size_t strip_bytes;
    if (!md_type_row_bytes(t->type, STRIP, &strip_bytes))
        return;
    const char *p = t->data;
    for (int64_t at = 0; at < t->n_elements; at += STRIP, p += strip_bytes) {
        const int64_t n = t->n_elements - at < STRIP ? t->n_elements - at : STRIP;
        md_type_decode(t->type, p, x, n);
        check_strip(x, n, f);
    }
}

static md_status check_file(const md_gguf *g, md_check_fn *on_finding, void *user, md_progress_fn *progress,
                            void *progress_user, uint64_t *n_bad, md_error *err)
{
    uint64_t done = 0;
    for (size_t i = 0; i < md_gguf_n_tensors(g); i++) {
        const md_gguf_tensor *t = md_gguf_tensor_at(g, i);
        char name[256];
        snprintf(name, sizeof name, "%.*s", (int)(t->name.n < 255 ? t->name.n : 255), t->name.s);
        md_check_finding f = {.tensor = name};
        check_tensor(t, &f);
        if (f.nan || f.inf || f.absurd) {
            ++*n_bad;
            if (on_finding)
                on_finding(user, &f);
        }
        done += t->bytes;
        if (progress && !progress(progress_user, done, md_gguf_file_bytes(g)))
            return md_fail(err, MD_ERR_CANCELLED, "the check was stopped");
    }
    return MD_OK;
}

md_status md_model_check(const char *path, md_check_fn *on_finding, void *user, md_progress_fn *progress,
                         void *progress_user, uint64_t *n_bad, md_error *err)
{
    *n_bad = 0;
    md_gguf *g;
    MD_TRY(md_gguf_open(path, MD_GGUF_MAP, &g, err));
    const md_status status = check_file(g, on_finding, user, progress, progress_user, n_bad, err);
    md_gguf_close(g);
    return status;
}
