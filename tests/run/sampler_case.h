/* SPDX-License-Identifier: Apache-2.0
 *
 * Samplers for tests: every filter off, and one that must be made. */
#ifndef MD_TEST_SAMPLER_CASE_H
#define MD_TEST_SAMPLER_CASE_H

#include "support/fixtures.h"

#include <medley/sample.h>

static inline md_sampler_args off(void)
{
    md_sampler_args a;
    md_sampler_args_default(&a);
    a.temperature = 1.0f;
    a.top_k = 0;
    a.top_p = 1.0f;
    a.min_p = 0.0f;
    return a;
}

static inline md_sampler *new_sampler(const md_sampler_args *a, int32_t n_vocab)
{
    md_sampler *s;
    md_error err;
    if (md_sampler_new(a, n_vocab, &s, &err) != MD_OK)
        fail_msg("%s", err.message);
    return s;
}

#endif
