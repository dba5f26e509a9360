/* SPDX-License-Identifier: Apache-2.0
 *
 * What tests of splitting rules share. */
#ifndef MD_TEST_PRETOK_CASE_H
#define MD_TEST_PRETOK_CASE_H

#include "text/pretok.h"

#include <stdbool.h>
#include <string.h>

/* Has an earlier rule the same steps? */
static inline bool seen_before(size_t r)
{
    const md_pretok_rule *b = md_pretok_rule_at(r);
    for (size_t i = 0; i < r; i++) {
        const md_pretok_rule *a = md_pretok_rule_at(i);
        bool same = true;
        for (int k = 0; k < MD_PRETOK_MAX_STEPS && same; k++)
            same = a->step[k].op == b->step[k].op &&
                   (a->step[k].op == MD_PRETOK_END || strcmp(a->step[k].pattern, b->step[k].pattern) == 0);
        if (same)
            return true;
    }
    return false;
}

#endif
