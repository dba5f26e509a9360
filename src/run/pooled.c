/* SPDX-License-Identifier: Apache-2.0
 *
 * Pooling, position by position. */
#include "run/pooled.h"

#include "base/status.h"

#include <math.h>
#include <string.h>

md_status md_pooled_resolve(const md_model *m, md_pooling asked, md_pooling *out, md_error *err)
{
    *out = asked == MD_POOLING_MODEL ? md_model_get_info(m)->pooling : asked;
    MD_FAIL_IF(*out < MD_POOLING_NONE || *out > MD_POOLING_RANK, MD_ERR_ARGUMENT, "there is no pooling %d", (int)*out);
    MD_FAIL_IF(
        *out == MD_POOLING_RANK, MD_ERR_UNSUPPORTED,
        "pooling 'rank' is scores of a classifier over pairs of texts, which this version does not compute: ask for "
        "none, mean, cls or last");
    return MD_OK;
}

bool md_pooled_counts(const md_pooled *p, size_t position)
{
    switch (p->pooling) {
    case MD_POOLING_CLS: return position == 0;
    case MD_POOLING_LAST: return position == p->n - 1;
    default: return true;
    }
}

/* sum, times 1 / n, as the next vector. */
static md_status put(md_pooled *p, size_t n, md_error *err)
{
    double squares = 0.0;
    for (int32_t j = 0; j < p->width; j++) {
        p->sum[j] /= (double)n;
        squares += p->sum[j] * p->sum[j];
    }
    MD_FAIL_IF(!(squares < INFINITY), MD_ERR_FORMAT,
               "a hidden state is not a number or out of bounds: the model's weights are broken");
    const double length = p->raw || squares == 0.0 ? 1.0 : sqrt(squares);
    for (int32_t j = 0; j < p->width; j++)
        p->out[j] = (float)(p->sum[j] / length);
    p->out += p->width;
    return MD_OK;
}

md_status md_pooled_add(md_pooled *p, size_t position, const float *hidden, md_error *err)
{
    const bool each = p->pooling == MD_POOLING_NONE, last = position == p->n - 1;
    if (position == 0 || each)
        memset(p->sum, 0, (size_t)p->width * sizeof *p->sum);
    for (int32_t j = 0; hidden && j < p->width; j++)
        p->sum[j] += (double)hidden[j];
    if (each)
        return put(p, 1, err);
    return last ? put(p, p->pooling == MD_POOLING_MEAN ? p->n : 1, err) : MD_OK;
}
