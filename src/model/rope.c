/* SPDX-License-Identifier: Apache-2.0
 *
 * Rope frequencies (docs/numerics.md, section 6): plain (Su et al. 2021), linear (Chen et al. 2023), YaRN (Peng et al. 2023)
 * and LongRoPE (Ding et al. 2024), all in double precision by the engine's own functions. */
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

/* YaRN's temperature. Files with a multiplier for all of a head (DeepSeek-V2 2024, and others after it) divide by that one's
 * temperature: latent attention applies it to scores instead (md_rope_score_scale), where both are the same. */
static double yarn_magnitude(const md_hparams *hp)
{
    if (hp->yarn_magnitude != 0.0f)
        return (double)hp->yarn_magnitude;
    const double stretched = md_log_d((double)hp->rope_factor), all = (double)hp->yarn_log;
    if (all != 0.0 && hp->latent.rank > 0)
        return 1.0;
    return (1.0 + 0.1 * stretched) / (1.0 + 0.1 * all * stretched);
}

void md_rope_frequencies(const md_hparams *hp, const md_layer_hparams *l, const float *factors, double *freq,
                         float *magnitude)
{
    const md_rope_scaling scaling = l->rope_scaled ? hp->rope_scaling : MD_ROPE_NO_SCALING;
    const double stretch = scaling == MD_ROPE_NO_SCALING || scaling == MD_ROPE_LONG ? 1.0
                                                                                    : 1.0 / (double)hp->rope_factor;
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
        *magnitude = (float)(hp->rope_attn_factor * yarn_magnitude(hp));
}

float md_rope_score_scale(const md_hparams *hp)
{
    if (hp->rope_scaling != MD_ROPE_YARN || hp->yarn_log == 0.0f || hp->latent.rank == 0)
        return 1.0f;
    const double m = 1.0 + (double)hp->yarn_log * md_log_d((double)hp->rope_factor);
    return (float)(m * m);
}
