/* SPDX-License-Identifier: Apache-2.0
 *
 * Answers that follow a form: a grammar, written as GBNF or derived from a JSON Schema (docs/grammar.md defines both),
 * and a constraint, which walks through a grammar with an answer and tells which tokens may come next. What is allowed
 * depends on grammar, vocabulary and the tokens so far alone. */
#ifndef MEDLEY_GRAMMAR_H
#define MEDLEY_GRAMMAR_H

#include <medley/error.h>
#include <medley/tokenizer.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Immutable once made: any number of threads and constraints may use one. */
typedef struct md_grammar md_grammar;

/* Compiles GBNF text[0..n). t resolves tokens by name (<think>); NULL if the grammar names none. MD_ERR_FORMAT names line
 * and column; MD_ERR_LIMIT: the grammar is larger or nested deeper than docs/grammar.md allows. */
MD_API MD_MUST_USE md_status md_grammar_new(const char *text, size_t n, const md_tokenizer *t, md_grammar **out,
                                            md_error *err);
/* The same from a JSON Schema: everything that the grammar gives is JSON that the schema accepts. MD_ERR_UNSUPPORTED names
 * the keyword that cannot be honoured, and where it is. */
MD_API MD_MUST_USE md_status md_grammar_from_schema(const char *json, size_t n, md_grammar **out, md_error *err);
/* The grammar as GBNF: the text given, or the one made from the schema. Borrowed, NUL-terminated. */
MD_API const char *md_grammar_text(const md_grammar *g);
MD_API void md_grammar_free(md_grammar *g); /* NULL allowed */

/* One answer on its way through a grammar. One thread at a time. */
typedef struct md_constraint md_constraint;

/* g and t are borrowed and must outlive it. n_vocab: tokens that the model knows, at least 1; those beyond the
 * tokenizer's are never allowed. All memory is taken here. */
MD_API MD_MUST_USE md_status md_constraint_new(const md_grammar *g, const md_tokenizer *t, int32_t n_vocab,
                                               md_constraint **out, md_error *err);
MD_API void md_constraint_free(md_constraint *c); /* NULL allowed */
MD_API int32_t md_constraint_n_vocab(const md_constraint *c);
/* Back to the start of the grammar. */
MD_API void md_constraint_reset(md_constraint *c);
/* Which tokens may come next: bit id % 32 of word id / 32, [n_vocab] bits. A token that ends an answer is among them where
 * the answer may end. Borrowed, valid until the next call on c. May be all zero: no token of the vocabulary fits. */
MD_API const uint32_t *md_constraint_mask(md_constraint *c);
/* Goes on by one token. MD_ERR_ARGUMENT if it is not allowed here; c is then as it was. */
MD_API MD_MUST_USE md_status md_constraint_accept(md_constraint *c, int32_t token, md_error *err);
/* True if the answer so far is complete. */
MD_API bool md_constraint_may_end(const md_constraint *c);
/* True if it is complete and nothing can follow. */
MD_API bool md_constraint_must_end(md_constraint *c);
/* True if, since the last reset, something that the grammar has was withheld because it went over the limits on depth or
 * alternatives (docs/grammar.md). */
MD_API bool md_constraint_limited(const md_constraint *c);

#ifdef __cplusplus
}
#endif
#endif
