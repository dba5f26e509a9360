/* SPDX-License-Identifier: Apache-2.0
 *
 * A request's JSON object, field by field, by a table: what is not in the table is refused by its name, numbers are checked
 * against their bounds, null counts as not given. Pure functions; values are borrowed from the object. */
#ifndef MD_SERVE_FIELDS_H
#define MD_SERVE_FIELDS_H

#include "serve/refusal.h"

#include <jansson.h>

typedef enum md_field_kind {
    MD_FIELD_FLOAT,  /* float */
    MD_FIELD_INT,    /* int32_t; 7.0 counts as 7 */
    MD_FIELD_SEED,   /* uint64_t; negative ones wrap */
    MD_FIELD_BOOL,   /* bool */
    MD_FIELD_TEXT,   /* const char * */
    MD_FIELD_VALUE,  /* const json_t * */
    MD_FIELD_CALL,   /* fn reads it */
    MD_FIELD_IGNORE, /* known, and makes no difference here */
    MD_FIELD_REFUSE, /* known, and not to be had */
} md_field_kind;

typedef bool md_field_fn(void *base, const char *name, const json_t *value, md_refusal *r);

enum { MD_FIELD_OPEN_MIN = 1, MD_FIELD_OPEN_MAX = 2 }; /* the end itself is excluded */

typedef struct md_field {
    const char *name;
    md_field_kind kind;
    size_t offset; /* in what the table is about */
    double min, max;
    unsigned open; /* MD_FIELD_OPEN_* */
    md_field_fn *fn;
} md_field;

/* Reads object into base by the rows of `table`, which ends with a row without a name. `where` is put in front of names in
 * refusals: "", or "response_format.". False: refused, base is partly filled. */
bool md_fields_read(const json_t *object, const md_field *table, void *base, const char *where, md_refusal *r);
/* One value by one row. */
bool md_field_read(const md_field *f, const json_t *value, void *base, const char *where, md_refusal *r);

/* The body as a JSON object, owned by the caller, or NULL: refused. */
json_t *md_fields_parse(const char *body, size_t n, md_refusal *r);

#endif
