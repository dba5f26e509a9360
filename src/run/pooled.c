/* SPDX-License-Identifier: Apache-2.0
 *
 * Pooling, position by position. */
#include "run/pooled.h"

#include "base/mathd.h"
#include "base/status.h"

#include <math.h>
#include <string.h>

#define USUAL_POWER 3.0

md_status md_pooled_set(md_pooled *p, const md_model *m, md_pooling asked, double power, md_error *err)
{
    p->pooling = asked == MD_POOLING_MODEL ? md_model_get_info(m)->pooling : asked;
    p->power = power == 0.0 ? USUAL_POWER : power;
    MD_FAIL_IF(p->pooling < MD_POOLING_NONE || p->pooling > MD_POOLING_POWER, MD_ERR_ARGUMENT, "there is no pooling %d",
               (int)p->pooling);
    MD_FAIL_IF(
        p->pooling == MD_POOLING_RANK, MD_ERR_UNSUPPORTED,
        "pooling 'rank' is scores of a classifier over pairs of texts, which this version does not compute: ask for "
        "none, mean, cls, last or power");
    MD_FAIL_IF(!(p->power >= 1.0 && p->power <= 32.0), MD_ERR_ARGUMENT,
               "the power of a generalised mean is %g; give a number from 1 (the mean) to 32", power);
    return MD_OK;
}

/* x to the power, its sign kept. */
static double signed_power(double x, double power)
{
    return power == 1.0 || x == 0.0 ? x : x > 0.0 ? md_pow_d(x, power) : -md_pow_d(-x, power);
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
        if (p->pooling == MD_POOLING_POWER)
            p->sum[j] = signed_power(p->sum[j], 1.0 / p->power);
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
    const double power = p->pooling == MD_POOLING_POWER ? p->power : 1.0;
    for (int32_t j = 0; hidden && j < p->width; j++)
        p->sum[j] += signed_power((double)hidden[j], power);
    if (each)
        return put(p, 1, err);
    const bool all = p->pooling == MD_POOLING_MEAN || p->pooling == MD_POOLING_POWER;
    return last ? put(p, all ? p->n : 1, err) : MD_OK;
}
