/* SPDX-License-Identifier: Apache-2.0
 *
 * What `run` asks of sampling.c. */
#ifndef MD_CLI_SAMPLING_H
#define MD_CLI_SAMPLING_H

#include "cli/cli.h"

#include <medley/grammar.h>
#include <medley/sample.h>

/* DRY, top-n-sigma, XTC and mirostat as the options have them. What args points to belongs to the options, or is static. */
void md_cli_read_sampling(const md_options *o, const md_tokenizer *t, md_sampler_args *args);
/* --grammar or --json-schema; both NULL without. The caller frees them, the constraint first. */
md_status md_cli_open_constraint(const md_options *o, const md_tokenizer *t, int32_t n_vocab, md_grammar **grammar,
                                 md_constraint **constraint, md_error *err) MD_MUST_USE;

#endif
