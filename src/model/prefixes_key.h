/* SPDX-License-Identifier: Apache-2.0
 *
 * By what kept prefixes are told apart: SHA-256 (FIPS 180-4) over everything that the bits of a page depend on, chained page by
 * page, so that a key stands for all tokens up to its page's end. */
#ifndef MD_MODEL_PREFIXES_KEY_H
#define MD_MODEL_PREFIXES_KEY_H

#include "kv/prefix.h"
#include <medley/engine.h>

/* Which model it is: its header, tensor table, the first 4 KiB of each tensor, sizes and times of its files; or, of the
 * whole, all bytes and no times. Reads the files by their paths. */
md_status md_prefix_model(const md_model *m, bool whole, unsigned char id[MD_KV_KEY_BYTES], md_error *err) MD_MUST_USE;
/* What pages must have in common to stand for each other, tokens aside: model, release, layout, numerics, expert mask,
 * client. */
void md_prefix_scope(const md_seq *q, const unsigned char model[MD_KV_KEY_BYTES], const char *client,
                     unsigned char scope[MD_KV_KEY_BYTES]);
/* The key of a page behind one with the key `before`, or of a scope's first page. key may be `before`. */
void md_prefix_key(const unsigned char before[MD_KV_KEY_BYTES], const int32_t token[MD_TILE],
                   unsigned char key[MD_KV_KEY_BYTES]);

#endif
