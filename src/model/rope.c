/* SPDX-License-Identifier: Apache-2.0
 *
 * Rope frequencies (docs/numerics.md, section 6): plain (Su et al. 2021), linear (Chen et al. 2023) and YaRN (Peng et al.
 * 2023), all in double precision by the engine's own functions. */
#include "model/hparams.h"

#include "base/mathd.h"

#include <math.h>

#define TAU 6.283185307179586477

/* The pair whose wave turns `turns` times within the original context: YaRN's ramp runs between two of these. */
static double yarn_pair(const md_hparams *hp, const md_layer_hparams *l, double turns)
{
    return l->n_rot * md_log_d(hp->rope_ctx_orig / (turns * TAU)) / (2.0 * md_log_d(l->rope_base));
}

/* 1 where a frequency is kept, 0 where it is stretched. */
static double yarn_keep(double low, double high, int32_t pair)
{
    const double width = high - low > 0.001 ? high - low : 0.001, y = (pair - low) / width;
    return 1.0 - (y < 0.0 ? 0.0 : y > 1.0 ? 1.0 : y);
}

void md_rope_frequencies(const md_hparams *hp, const md_layer_hparams *l, const float *factors, double *freq,
                         float *magnitude)
{
    const md_rope_scaling scaling = l->rope_scaled ? hp->rope_scaling : MD_ROPE_NO_SCALING;
    const double stretch = scaling == MD_ROPE_NO_SCALING ? 1.0 : 1.0 / (double)hp->rope_factor;
    const bool yarn = scaling == MD_ROPE_YARN;
    double low = 0.0, high = 0.0;
    if (yarn) {
        low = floor(yarn_pair(hp, l, hp->yarn_beta_fast));
        high = ceil(yarn_pair(hp, l, hp->yarn_beta_slow));
        low = low > 0.0 ? low : 0.0;
        high = high < l->n_rot - 1 ? high : l->n_rot - 1;
    }
    for (int32_t i = 0; i < l->n_rot / 2; i++) {
        double f = md_pow_d(l->rope_base, -2.0 * i / l->n_rot);
        if (factors)
            f /= factors[i];
        const double keep = yarn ? yarn_keep(low, high, i) * hp->yarn_ext_factor : 0.0;
        freq[i] = f * stretch * (1.0 - keep) + f * keep;
    }
    *magnitude = l->rope_scaled ? hp->rope_attn_factor : 1.0f;
    if (yarn && hp->yarn_ext_factor != 0.0f)
        *magnitude = (float)(hp->rope_attn_factor * (1.0 + 0.1 * md_log_d(1.0 / stretch)));
}
