/* SPDX-License-Identifier: Apache-2.0
 *
 * How fast this machine reads memory. */
#ifndef MD_BASE_ROOF_H
#define MD_BASE_ROOF_H

#include <medley/error.h>
#include <stdint.h>

/* Bytes a second that n_threads can read from memory together: the best of several passes over more than caches hold; 0
 * where there is no memory for that. */
md_status md_roof_read(int32_t n_threads, double *out, md_error *err) MD_MUST_USE;

#endif
