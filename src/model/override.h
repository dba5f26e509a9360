/* SPDX-License-Identifier: Apache-2.0
 *
 * Metadata overrides in their text form (docs/cli.md): "KEY=TYPE:VALUE". */
#ifndef MD_MODEL_OVERRIDE_H
#define MD_MODEL_OVERRIDE_H

#include "format/gguf.h"
#include <medley/model.h>

/* Applies args->override to an open file that nobody else has seen yet. args may be NULL. *hash: of all of them in order,
 * never 0; 0 when there are none. */
md_status md_override_apply(const md_model_args *args, md_gguf *g, uint64_t *hash, md_error *err) MD_MUST_USE;

#endif
