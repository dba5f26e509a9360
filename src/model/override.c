/* SPDX-License-Identifier: Apache-2.0 */
#include "model/override.h"

#include "base/mem.h"
#include "base/status.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define EXAMPLE "such as general.name=str:mine"

/* Texts come from a person: at most this much of one goes into a message. */
#define SHOWN 100

typedef struct override {
    const char *text; /* borrowed: all of it, for messages */
    char *key;        /* owned */
    const char *type; /* borrowed from text */
    size_t type_len;
    const char *value; /* borrowed from text */
} override;

static bool is_type(const override *o, const char *name)
{
    return strlen(name) == o->type_len && memcmp(name, o->type, o->type_len) == 0;
}

static md_status apply_int(const override *o, md_gguf *g, md_error *err)
{
    char *end = NULL;
    errno = 0;
    const bool plain = o->value[0] && o->value[strspn(o->value, "+-0123456789")] == '\0';
    const int64_t v = plain ? strtoll(o->value, &end, 10) : 0;
    MD_FAIL_IF(!plain || *end != '\0', MD_ERR_ARGUMENT, "override '%.*s': '%.*s' is not a whole number", SHOWN, o->text,
               SHOWN, o->value);
    MD_FAIL_IF(errno == ERANGE, MD_ERR_ARGUMENT, "override '%.*s': the number does not fit into 64 bits", SHOWN,
               o->text);
    return md_gguf_override(g, o->key, MD_GGUF_I64, &v, sizeof v, err);
}

static md_status apply_float(const override *o, md_gguf *g, md_error *err)
{
    char *end = NULL;
    const bool plain = o->value[0] && o->value[strspn(o->value, "+-.0123456789eE")] == '\0';
    const float v = plain ? strtof(o->value, &end) : 0.0f;
    MD_FAIL_IF(!plain || end == o->value || *end != '\0', MD_ERR_ARGUMENT, "override '%.*s': '%.*s' is not a number",
               SHOWN, o->text, SHOWN, o->value);
    MD_FAIL_IF(!isfinite(v), MD_ERR_ARGUMENT, "override '%.*s': the number does not fit into a 32-bit float", SHOWN,
               o->text);
    return md_gguf_override(g, o->key, MD_GGUF_F32, &v, sizeof v, err);
}

static md_status apply_bool(const override *o, md_gguf *g, md_error *err)
{
    const bool yes = strcmp(o->value, "true") == 0;
    MD_FAIL_IF(!yes && strcmp(o->value, "false") != 0, MD_ERR_ARGUMENT,
               "override '%.*s': a bool is true or false, not '%.*s'", SHOWN, o->text, SHOWN, o->value);
    const unsigned char v = yes;
    return md_gguf_override(g, o->key, MD_GGUF_BOOL, &v, sizeof v, err);
}

static md_status apply(const override *o, md_gguf *g, md_error *err)
{
    if (is_type(o, "int"))
        return apply_int(o, g, err);
    if (is_type(o, "float"))
        return apply_float(o, g, err);
    if (is_type(o, "bool"))
        return apply_bool(o, g, err);
    if (is_type(o, "str"))
        return md_gguf_override(g, o->key, MD_GGUF_STRING, o->value, strlen(o->value), err);
    return md_fail(err, MD_ERR_ARGUMENT, "override '%.*s': unknown type '%.*s'; the types are bool, int, float and str",
                   SHOWN, o->text, (int)(o->type_len < SHOWN ? o->type_len : SHOWN), o->type);
}

static md_status apply_text(const char *text, md_gguf *g, md_error *err)
{
    const char *equals = strchr(text, '='), *colon = equals ? strchr(equals, ':') : NULL;
    MD_FAIL_IF(!colon || equals == text, MD_ERR_ARGUMENT, "override '%.*s' is not KEY=TYPE:VALUE, " EXAMPLE, SHOWN,
               text);
    const size_t n = (size_t)(equals - text);
    override o = {.text = text, .type = equals + 1, .type_len = (size_t)(colon - equals - 1), .value = colon + 1};
    o.key = md_calloc(n + 1, 1);
    if (!o.key)
        return md_fail_memory(err, "an override");
    memcpy(o.key, text, n);
    const md_status status = apply(&o, g, err);
    md_free(o.key);
    return status;
}

md_status md_override_apply(const md_model_args *args, md_gguf *g, uint64_t *hash, md_error *err)
{
    *hash = 0;
    if (!args || args->n_override == 0)
        return MD_OK;
    uint64_t h = 0xcbf29ce484222325ull; /* FNV-1a; the zero byte between texts counts */
    for (size_t i = 0; i < args->n_override; i++) {
        const char *text = args->override[i];
        MD_TRY(apply_text(text, g, err));
        for (const char *c = text;; c++) {
            h = (h ^ (unsigned char)*c) * 0x100000001b3ull;
            if (!*c)
                break;
        }
    }
    *hash = h ? h : 1;
    return MD_OK;
}
