/* SPDX-License-Identifier: Apache-2.0
 *
 * What routers carry from layer to layer. RMoE (Qiu et al. 2024, "Layerwise Recurrent Router for Mixture-of-Experts"): a
 * gated recurrent unit shared by all layers, whose state after layer l, times that layer's matrix, is layer l's logits.
 *   r = sigmoid(W_r x + U_r h), z = sigmoid(W_z x + U_z h), n = tanh(W_n x + r * (U_n h)), h' = (1 - z) n + z h
 * with the biases of both products in them. */
#include "route/route.h"

#include <math.h>

void md_gru_step(const md_kern *kern, float *in, const float *carried, float *state, int64_t h)
{
    float *reset = in, *update = in + h, *fresh = in + 2 * h;
    kern->add(in, carried, 2 * h);
    kern->sigmoid(in, 2 * h);
    for (int64_t i = 0; i < h; i++)
        fresh[i] = 2.0f * fmaf(reset[i], carried[2 * h + i], fresh[i]);
    kern->exp(fresh, h);
    for (int64_t i = 0; i < h; i++) {
        const float n = 1.0f - 2.0f / (fresh[i] + 1.0f);
        state[i] = fmaf(update[i], state[i] - n, n);
    }
}
