/* SPDX-License-Identifier: Apache-2.0
 *
 * The table of tensor types, and the type ids that are refused by name: what was withdrawn from GGUF, what was never
 * meant for files, and what one engine writes for itself. Constant tables; thread-safe. */
#include "dtype/dtype.h"

#include "base/status.h"
#include "dtype/blocks.h"
#include <strings.h>

static const md_type_info types[MD_N_TYPES] = {
#define MD_TYPE(NAME, id, name, block, bytes, cls, act) \
    [MD_TYPE_##NAME] = {name, id, block, bytes, MD_CLASS_##cls, MD_ACT_##act},
#include "dtype/types.def"
#undef MD_TYPE
};

typedef enum refusal { WITHDRAWN, INTERNAL, ONE_ENGINE } refusal;

static const char *const refusal_text[] = {
    [WITHDRAWN] = "was withdrawn from GGUF; make the file anew with a current converter",
    [INTERNAL] = "is for values in flight, not for files; requantize to a public type",
    [ONE_ENGINE] = "exists in one engine only; requantize to a public type",
};

typedef struct refused_type {
    uint32_t gguf_id;
    refusal why;
    const char *name;
} refused_type;

// clang-format off
static const refused_type refused[] = {
    {4, WITHDRAWN, "Q4_2"}, {5, WITHDRAWN, "Q4_3"}, {9, INTERNAL, "Q8_1"}, {15, INTERNAL, "Q8_K"},
    {31, WITHDRAWN, "Q4_0_4_4"}, {32, WITHDRAWN, "Q4_0_4_8"}, {33, WITHDRAWN, "Q4_0_8_8"},
    {36, ONE_ENGINE, "I2_S, once IQ4_NL_4_4"}, /* withdrawn, then taken by the BitNet engine for another layout */
    {37, WITHDRAWN, "IQ4_NL_4_8"}, {38, WITHDRAWN, "IQ4_NL_8_8"},
    {97, ONE_ENGINE, "Q8_0_X4"}, {98, ONE_ENGINE, "Q8_1_X4"}, {99, ONE_ENGINE, "Q8_2_X4"}, {133, ONE_ENGINE, "Q6_0"},
    {134, ONE_ENGINE, "IQ1_BN"}, {135, ONE_ENGINE, "IQ2_BN"}, {136, ONE_ENGINE, "Q8_K64"},
    {137, ONE_ENGINE, "IQ2_K"}, {138, ONE_ENGINE, "IQ3_K"}, {139, ONE_ENGINE, "IQ4_K"}, {140, ONE_ENGINE, "IQ5_K"},
    {141, ONE_ENGINE, "IQ6_K"}, {142, ONE_ENGINE, "IQ2_TN"}, {143, ONE_ENGINE, "IQ1_TN"},
    {144, ONE_ENGINE, "IQ4_KS"}, {145, ONE_ENGINE, "IQ2_KS"}, {146, ONE_ENGINE, "IQ4_KSS"},
    {147, ONE_ENGINE, "Q8_K16"}, {148, ONE_ENGINE, "Q8_K32"}, {149, ONE_ENGINE, "Q8_KR8"},
    {150, ONE_ENGINE, "Q8_K128"}, {151, ONE_ENGINE, "Q8_KV"}, {152, ONE_ENGINE, "IQ5_KS"},
    {153, ONE_ENGINE, "IQ2_KT"}, {154, ONE_ENGINE, "IQ3_KT"}, {155, ONE_ENGINE, "IQ4_KT"},
    {156, ONE_ENGINE, "IQ3_KS"}, {157, ONE_ENGINE, "IQ2_KL"}, {158, ONE_ENGINE, "IQ1_KT"},
    {202, ONE_ENGINE, "Q4_0_R8"}, {206, ONE_ENGINE, "Q5_0_R4"}, {208, ONE_ENGINE, "Q8_0_R8"},
    {210, ONE_ENGINE, "Q2_K_R4"}, {211, ONE_ENGINE, "Q3_K_R4"}, {212, ONE_ENGINE, "Q4_K_R4"},
    {213, ONE_ENGINE, "Q5_K_R4"}, {214, ONE_ENGINE, "Q6_K_R4"}, {216, ONE_ENGINE, "IQ2_XXS_R4"},
    {217, ONE_ENGINE, "IQ2_XS_R4"}, {218, ONE_ENGINE, "IQ3_XXS_R4"}, {219, ONE_ENGINE, "IQ1_S_R4"},
    {220, ONE_ENGINE, "IQ4_NL_R4"}, {221, ONE_ENGINE, "IQ3_S_R4"}, {222, ONE_ENGINE, "IQ2_S_R4"},
    {223, ONE_ENGINE, "IQ4_XS_R8"}, {229, ONE_ENGINE, "IQ1_M_R4"}, {230, ONE_ENGINE, "BF16_R16"},
    {233, ONE_ENGINE, "Q6_0_R4"}, {335, ONE_ENGINE, "IQ2_BN_R4"}, {337, ONE_ENGINE, "IQ2_K_R4"},
    {338, ONE_ENGINE, "IQ3_K_R4"}, {339, ONE_ENGINE, "IQ4_K_R4"}, {340, ONE_ENGINE, "IQ5_K_R4"},
    {344, ONE_ENGINE, "IQ4_KS_R4"}, {352, ONE_ENGINE, "IQ5_KS_R4"}, {353, ONE_ENGINE, "MXFP4_R8"},
    {397, ONE_ENGINE, "Q8_K_R16"}, {398, ONE_ENGINE, "Q8_KV_R8"}, {399, ONE_ENGINE, "Q8_K_R8"},
};
// clang-format on

const md_type_info *md_type_get(md_type t)
{
    return (unsigned)t < MD_N_TYPES ? &types[t] : NULL;
}

md_status md_type_from_gguf(uint32_t id, const char *what, md_type *out, md_error *err)
{
    for (int t = 0; t < MD_N_TYPES; t++) {
        if (types[t].gguf_id == id) {
            *out = (md_type)t;
            return MD_OK;
        }
    }
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        MD_FAIL_IF(refused[i].gguf_id == id, MD_ERR_UNSUPPORTED, "tensor '%s': type %u (%s) %s", what, (unsigned)id,
                   refused[i].name, refusal_text[refused[i].why]);
    return md_fail(err, MD_ERR_FORMAT, "tensor '%s': unknown type %u; the file is damaged, or newer than this program",
                   what, (unsigned)id);
}

bool md_type_from_name(const char *name, md_type *out)
{
    for (int t = 0; t < MD_N_TYPES; t++) {
        if (strcasecmp(types[t].name, name) == 0) {
            *out = (md_type)t;
            return true;
        }
    }
    return false;
}

bool md_type_row_bytes(md_type t, int64_t n, size_t *bytes)
{
    const md_type_info *info = md_type_get(t);
    if (!info || n < 0 || n % info->block != 0)
        return false;
    const uint64_t blocks = (uint64_t)(n / info->block);
    if (blocks > SIZE_MAX / (size_t)info->bytes)
        return false;
    *bytes = (size_t)blocks * (size_t)info->bytes;
    return true;
}

/* The structs of blocks.h against the table. */
enum table_bytes {
#define MD_TYPE(NAME, id, name, block, bytes, cls, act) BYTES_##NAME = (bytes),
#include "dtype/types.def"
#undef MD_TYPE
};
#define SAME_BYTES(NAME, block) _Static_assert(sizeof(block) == BYTES_##NAME && _Alignof(block) == 1, #NAME)
SAME_BYTES(Q4_0, md_block_q4_0);
SAME_BYTES(Q4_1, md_block_q4_1);
SAME_BYTES(Q5_0, md_block_q5_0);
SAME_BYTES(Q5_1, md_block_q5_1);
SAME_BYTES(Q8_0, md_block_q8_0);
SAME_BYTES(IQ4_NL, md_block_iq4_nl);
SAME_BYTES(MXFP4, md_block_mxfp4);
SAME_BYTES(NVFP4, md_block_nvfp4);
SAME_BYTES(Q1_0, md_block_q1_0);
SAME_BYTES(Q2_0, md_block_q2_0);
SAME_BYTES(Q2_K, md_block_q2_k);
SAME_BYTES(Q3_K, md_block_q3_k);
SAME_BYTES(Q4_K, md_block_q4_k);
SAME_BYTES(Q5_K, md_block_q5_k);
SAME_BYTES(Q6_K, md_block_q6_k);
SAME_BYTES(IQ1_S, md_block_iq1_s);
SAME_BYTES(IQ1_M, md_block_iq1_m);
SAME_BYTES(IQ2_XXS, md_block_iq2_xxs);
SAME_BYTES(IQ2_XS, md_block_iq2_xs);
SAME_BYTES(IQ2_S, md_block_iq2_s);
SAME_BYTES(IQ3_XXS, md_block_iq3_xxs);
SAME_BYTES(IQ3_S, md_block_iq3_s);
SAME_BYTES(IQ4_XS, md_block_iq4_xs);
SAME_BYTES(TQ1_0, md_block_tq1_0);
SAME_BYTES(TQ2_0, md_block_tq2_0);
