/* SPDX-License-Identifier: Apache-2.0
 *
 * The families that families.def lists. */
#include "model/arch.h"

#include <string.h>

#define MD_FAMILY(id) extern const md_arch md_arch_##id;
#include "model/arch/families.def"
#undef MD_FAMILY

const md_arch *const md_arch_all[] = {
#define MD_FAMILY(id) &md_arch_##id,
#include "model/arch/families.def"
#undef MD_FAMILY
    NULL,
};

static bool is_named(const char *arch, const char *name, size_t n)
{
    return arch && strlen(arch) == n && memcmp(arch, name, n) == 0;
}

const md_arch *md_arch_find(const char *name, size_t n)
{
    for (const md_arch *const *a = md_arch_all; *a; a++)
        if (is_named((*a)->name, name, n) || is_named((*a)->also, name, n))
            return *a;
    return NULL;
}
