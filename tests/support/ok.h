/* SPDX-License-Identifier: Apache-2.0
 *
 * For programs with one error for all their tests: OK(call) fails the test with the library's sentence. */
#ifndef MD_TEST_OK_H
#define MD_TEST_OK_H

#include "support/fixtures.h"
#include <medley/error.h>

static md_error err;

#define OK(x)                                    \
    do {                                         \
        if ((x) != MD_OK)                        \
            fail_msg("%s: %s", #x, err.message); \
    } while (0)

#endif
