/* SPDX-License-Identifier: Apache-2.0
 *
 * The store whose experts are always there. */
#include "expert/expert.h"

static void want(md_expert_store *s, int32_t layer, const int32_t *expert, int32_t n)
{
    (void)s;
    (void)layer;
    (void)expert;
    (void)n;
}

static bool ready(md_expert_store *s, int32_t layer, int32_t expert)
{
    (void)s;
    (void)layer;
    (void)expert;
    return true;
}

static const md_expert *run(md_expert_store *s, int32_t layer, int32_t expert)
{
    return &((md_resident_store *)s)->table[layer][expert];
}

static void release(md_expert_store *s, int32_t layer, int32_t expert)
{
    (void)s;
    (void)layer;
    (void)expert;
}

void md_resident_store_init(md_resident_store *s, const md_expert *const *table)
{
    *s = (md_resident_store){.store = {.want = want, .ready = ready, .run = run, .release = release}, .table = table};
}
