/* SPDX-License-Identifier: Apache-2.0
 *
 * A JSON Schema (drafts 6 to 2020-12) on its way to GBNF: what the files schema*.c share. Every subschema becomes a rule
 * of its own, kept once by its text, so recursion by $ref ends; rules wait in a list, so nothing here recurses along a
 * schema's depth except flattening, which is bounded. The promise: all that the grammar gives is JSON that the schema
 * accepts. It need not give all of it: docs/grammar.md says what is left out. */
#ifndef MD_TEXT_SCHEMA_H
#define MD_TEXT_SCHEMA_H

#include "base/mem.h"
#include "text/grammar.h"

#include <jansson.h>

#define MD_SCHEMA_TEXT_MAX 1048576u /* bytes of a schema */
#define MD_SCHEMA_RULE_MAX 20000    /* subschemas */
#define MD_SCHEMA_ALT_MAX  512      /* alternatives of one subschema once anyOf, oneOf and allOf are multiplied out */
#define MD_SCHEMA_DEPTH    32       /* allOf, anyOf, oneOf and $ref inside each other */

/* Shared rules; each brings those it uses. */
enum md_schema_use {
    MD_USE_WS = 1,
    MD_USE_CHAR = 2,
    MD_USE_STRING = 4,
    MD_USE_NUMBER = 8,
    MD_USE_INTEGER = 16,
    MD_USE_VALUE = 32,
    MD_USE_KEY = 64,
};

typedef struct md_schema_rule {
    json_t *schema; /* owned */
    char *name;     /* owned */
    char *path;     /* owned; "#/properties/a", for messages */
} md_schema_rule;

typedef struct md_schema {
    json_t *root;         /* owned */
    json_t *known;        /* owned: text of a subschema to number of its rule */
    md_schema_rule *rule; /* owned, [n_rules] */
    size_t n_rules, rule_cap;
    size_t n_helpers; /* rules made besides */
    md_buf out;       /* the grammar so far, whole lines */
    unsigned use;     /* md_schema_use */
} md_schema;

/* Refuses a keyword by name. */
md_status md_schema_refuse(const char *keyword, const char *path, const char *why, md_error *err);
/* The name of the rule for a subschema, which is made unless it is known. key: what it is called in its parent. */
md_status md_schema_rule_of(md_schema *s, json_t *schema, const char *path, const char *key, const char **name,
                            md_error *err) MD_MUST_USE;

/* --- schema_flatten.c --- */
/* Appends to `out` schemas without $ref, allOf, anyOf, oneOf, const and annotations, of which a value must fit one. None:
 * nothing fits. */
md_status md_schema_flatten(const md_schema *s, json_t *schema, const char *path, int depth, json_t *out,
                            md_error *err) MD_MUST_USE;
/* Types that a flat schema allows, or, with `meant`, those it is taken to mean if it names none. */
enum md_schema_type {
    MD_TYPE_OBJECT = 1,
    MD_TYPE_ARRAY = 2,
    MD_TYPE_STRING = 4,
    MD_TYPE_NUMBER = 8, /* with MD_TYPE_INTEGER: all numbers; alone: impossible */
    MD_TYPE_INTEGER = 16,
    MD_TYPE_BOOLEAN = 32,
    MD_TYPE_NULL = 64,
    MD_TYPE_ALL = 127,
};
unsigned md_schema_types(const json_t *flat, bool meant);
unsigned md_schema_type_of_value(const json_t *value);
/* True for `false` and what contains it in an allOf. */
bool md_schema_impossible(const json_t *schema);

/* --- schema_merge.c --- */
/* A list or an object with the same members. NULL: memory is out. */
json_t *md_schema_copy(json_t *of);
/* *out: a flat schema for what fits both, owned by the caller; NULL if nothing does. */
md_status md_schema_merge(json_t *a, json_t *b, const char *path, json_t **out, md_error *err) MD_MUST_USE;
/* *apart: it is certain that nothing the grammar makes for a flat schema of list a fits one of list b. */
md_status md_schema_all_apart(const md_schema *s, json_t *a, json_t *b, int depth, bool *apart,
                              md_error *err) MD_MUST_USE;

/* --- schema_number.c, schema_string.c, schema_object.c, schema_array.c: one expression for a flat schema --- */
md_status md_schema_number(md_schema *s, const json_t *flat, bool integer, const char *path, md_buf *out,
                           md_error *err) MD_MUST_USE;
md_status md_schema_string(md_schema *s, const json_t *flat, const char *path, md_buf *out, md_error *err) MD_MUST_USE;
md_status md_schema_object(md_schema *s, json_t *flat, const char *path, md_buf *out, md_error *err) MD_MUST_USE;
md_status md_schema_array(md_schema *s, json_t *flat, const char *path, md_buf *out, md_error *err) MD_MUST_USE;
/* The inside of a string that an ECMA-262 pattern finds a match in. */
md_status md_schema_pattern(const char *pattern, size_t n, const char *path, md_buf *out, md_error *err) MD_MUST_USE;

/* --- schema_write.c: pieces of GBNF --- */
/* text[0..n) in quotes. */
void md_schema_put_text(md_buf *out, const char *text, size_t n);
/* A JSON value as the text it has. */
md_status md_schema_put_json(md_buf *out, const json_t *value, md_error *err) MD_MUST_USE;
/* One code point inside a class. */
void md_schema_put_point(md_buf *out, uint32_t cp);
/* A non-negative whole number from lo to hi, without leading zeros. */
void md_schema_put_range(md_buf *out, uint64_t lo, uint64_t hi);
/* "{least,most}"; most < 0: no bound. */
void md_schema_put_times(md_buf *out, int64_t least, int64_t most);
/* Value of a keyword that counts something; `preset` if it is not there. Non-negative whole numbers only. */
md_status md_schema_count(const json_t *flat, const char *keyword, int64_t preset, const char *path, int64_t *out,
                          md_error *err) MD_MUST_USE;
/* Shared rules, one line each, and where they end up being used. */
void md_schema_put_shared(md_buf *out, unsigned use);

#endif
