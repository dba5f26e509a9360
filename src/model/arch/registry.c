/* SPDX-License-Identifier: Apache-2.0
 *
 * The families, one row each. */
#include "model/arch.h"

#include <string.h>

extern const md_arch md_arch_bailingmoe2, md_arch_ernie4_5, md_arch_gemma2, md_arch_gemma3, md_arch_glm4,
    md_arch_glm4moe, md_arch_gpt_oss, md_arch_granite, md_arch_granitemoe, md_arch_hunyuan_dense, md_arch_hunyuan_moe,
    md_arch_llama, md_arch_mimo2, md_arch_minimax_m2, md_arch_olmoe, md_arch_qwen2, md_arch_qwen2moe, md_arch_qwen3,
    md_arch_qwen3moe, md_arch_seed_oss, md_arch_smollm3, md_arch_step35;

const md_arch *const md_arch_all[] = {
    &md_arch_bailingmoe2,
    &md_arch_ernie4_5,
    &md_arch_gemma2,
    &md_arch_gemma3,
    &md_arch_glm4,
    &md_arch_glm4moe,
    &md_arch_gpt_oss,
    &md_arch_granite,
    &md_arch_granitemoe,
    &md_arch_hunyuan_dense,
    &md_arch_hunyuan_moe,
    &md_arch_llama,
    &md_arch_mimo2,
    &md_arch_minimax_m2,
    &md_arch_olmoe,
    &md_arch_qwen2,
    &md_arch_qwen2moe,
    &md_arch_qwen3,
    &md_arch_qwen3moe,
    &md_arch_seed_oss,
    &md_arch_smollm3,
    &md_arch_step35,
    NULL,
};

const md_arch *md_arch_find(const char *name, size_t n)
{
    for (const md_arch *const *a = md_arch_all; *a; a++)
        if (strlen((*a)->name) == n && memcmp((*a)->name, name, n) == 0)
            return *a;
    return NULL;
}
