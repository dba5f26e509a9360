/* SPDX-License-Identifier: Apache-2.0
 *
 * From JSON Schema to a grammar: the list of rules to be made, and what a rule says for each type. */
#include "text/schema.h"

#include "base/status.h"
#include "text/json_load.h"

#include <stdlib.h>
#include <string.h>

md_status md_schema_refuse(const char *keyword, const char *path, const char *why, md_error *err)
{
    return md_fail(err, MD_ERR_UNSUPPORTED,
                   "the JSON Schema keyword '%.60s' at %.200s cannot be turned into a grammar here: %s", keyword, path,
                   why);
}

/* ---- the list of rules ---- */

/* "person-s3": letters of the key, so that the grammar can be read, and a number. */
static char *rule_name(const char *key, size_t number)
{
    md_buf name = {0};
    for (size_t i = 0; key[i] && name.len < 40; i++) {
        const char c = key[i];
        const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        md_buf_putc(&name, letter ? c : '-');
    }
    md_buf_printf(&name, "-s%zu", number);
    if (name.failed)
        md_buf_done(&name);
    return name.data; /* moved out */
}

static md_status add_rule(md_schema *s, json_t *schema, char *name, char *path, md_error *err)
{
    md_schema_rule *more = s->rule;
    if (s->n_rules == s->rule_cap) {
        more = md_realloc(s->rule, 2 * s->rule_cap + 16, sizeof *more);
        if (more)
            s->rule_cap = 2 * s->rule_cap + 16;
    }
    if (!more || !name || !path) {
        md_free(name);
        md_free(path);
        s->rule = more ? more : s->rule;
        return md_fail_memory(err, "a grammar");
    }
    s->rule = more;
    s->rule[s->n_rules++] = (md_schema_rule){.schema = json_incref(schema), .name = name, .path = path};
    return MD_OK;
}

static bool is_any(const json_t *schema)
{
    return json_is_true(schema) || (json_is_object(schema) && json_object_size(schema) == 0);
}

md_status md_schema_rule_of(md_schema *s, json_t *schema, const char *path, const char *key, const char **name,
                            md_error *err)
{
    *name = "value";
    if (is_any(schema)) {
        s->use |= MD_USE_VALUE;
        return MD_OK;
    }
    char *text = json_dumps(schema, JSON_ENCODE_ANY | JSON_COMPACT);
    if (!text)
        return md_fail_memory(err, "a grammar");
    const json_t *known = json_object_get(s->known, text);
    size_t number = s->n_rules;
    md_status status = MD_OK;
    if (known) {
        number = (size_t)json_integer_value(known);
    } else if (number >= MD_SCHEMA_RULE_MAX) {
        status = md_fail(err, MD_ERR_LIMIT, "the schema comes to more than %d rules", MD_SCHEMA_RULE_MAX);
    } else {
        md_buf where = {0};
        md_buf_printf(&where, "%.400s/%s", path, key);
        if (where.failed)
            md_buf_done(&where);
        status = add_rule(s, schema, rule_name(key, number), where.data, err);
        if (status == MD_OK && json_object_set_new(s->known, text, json_integer((json_int_t)number)) != 0)
            status = md_fail_memory(err, "a grammar");
    }
    free(text);
    if (status == MD_OK)
        *name = s->rule[number].name;
    return status;
}

/* ---- one alternative ---- */

/* Lists of values: those of a type that is allowed. Conditions on them beyond that are not looked into. */
static md_status put_values(json_t *flat, const char *path, md_buf *out, md_error *err)
{
    const json_t *list = json_object_get(flat, "enum");
    const char *name;
    json_t *v;
    json_object_foreach(flat, name, v)
    {
        if (strcmp(name, "enum") != 0 && strcmp(name, "type") != 0)
            return md_schema_refuse(
                name, path, "it stands beside a list of values; leave it out, and list only what it allows", err);
    }
    const unsigned types = md_schema_types(flat, false);
    const char *bar = "";
    for (size_t i = 0; i < json_array_size(list); i++) {
        v = json_array_get(list, i);
        if (!(md_schema_type_of_value(v) & types))
            continue;
        md_buf_puts(out, bar);
        MD_TRY(md_schema_put_json(out, v, err));
        bar = " | ";
    }
    MD_FAIL_IF(*bar == '\0', MD_ERR_FORMAT, "none of the values at %s has the type asked for", path);
    return MD_OK;
}

static md_status put_type(md_schema *s, json_t *flat, unsigned type, const char *path, md_buf *out, md_error *err)
{
    switch (type) {
    case MD_TYPE_OBJECT: return md_schema_object(s, flat, path, out, err);
    case MD_TYPE_ARRAY: return md_schema_array(s, flat, path, out, err);
    case MD_TYPE_STRING: return md_schema_string(s, flat, path, out, err);
    case MD_TYPE_NUMBER: return md_schema_number(s, flat, false, path, out, err);
    case MD_TYPE_INTEGER: return md_schema_number(s, flat, true, path, out, err);
    case MD_TYPE_BOOLEAN: md_buf_puts(out, "\"true\" | \"false\""); return MD_OK;
    default: md_buf_puts(out, "\"null\""); return MD_OK;
    }
}

static md_status check_type(const json_t *flat, const char *path, md_error *err)
{
    const json_t *type = json_object_get(flat, "type");
    const size_t n = json_array_size(type);
    bool known = !type || n > 0 || json_is_string(type);
    for (size_t i = 0; i < (n ? n : 1) && known && type; i++) {
        json_t *one = json_pack("{s:O}", "type", n ? json_array_get(type, i) : type);
        if (!one)
            return md_fail_memory(err, "a grammar");
        known = md_schema_types(one, false) != 0;
        json_decref(one);
    }
    MD_FAIL_IF(!known, MD_ERR_FORMAT,
               "'type' at %s wants object, array, string, number, integer, boolean, null or a list of them", path);
    return MD_OK;
}

static md_status put_alternative(md_schema *s, json_t *flat, const char *path, md_buf *out, md_error *err)
{
    MD_TRY(check_type(flat, path, err));
    if (json_object_get(flat, "enum"))
        return put_values(flat, path, out, err);
    unsigned types = md_schema_types(flat, true);
    if (types == MD_TYPE_ALL) {
        s->use |= MD_USE_VALUE;
        md_buf_puts(out, "value");
        return MD_OK;
    }
    if (types & MD_TYPE_NUMBER)
        types &= ~(unsigned)MD_TYPE_INTEGER; /* among the numbers */
    const char *bar = "";
    for (unsigned type = 1; type < MD_TYPE_ALL; type <<= 1)
        if (types & type) {
            md_buf_puts(out, bar);
            MD_TRY(put_type(s, flat, type, path, out, err));
            bar = " | ";
        }
    return MD_OK;
}

static md_status put_rule(md_schema *s, size_t number, md_error *err)
{
    const md_schema_rule r = s->rule[number]; /* the list may move */
    json_t *alts = json_array();
    md_buf line = {0};
    md_status status = alts ? md_schema_flatten(s, r.schema, r.path, 0, alts, err) : md_fail_memory(err, "a grammar");
    if (status == MD_OK && json_array_size(alts) == 0)
        status = md_fail(err, MD_ERR_FORMAT, "no value fits the schema at %s", r.path);
    md_buf_printf(&line, "%s ::= ", r.name);
    for (size_t i = 0; i < json_array_size(alts) && status == MD_OK; i++) {
        md_buf_puts(&line, i ? " | " : "");
        status = put_alternative(s, json_array_get(alts, i), r.path, &line, err);
    }
    md_buf_putc(&line, '\n');
    if (status == MD_OK && (line.failed || s->out.failed))
        status = md_fail_memory(err, "a grammar");
    if (status == MD_OK && s->out.len + line.len > MD_GRAMMAR_TEXT_MAX)
        status = md_fail(err, MD_ERR_LIMIT, "the schema comes to a grammar of more than %u bytes", MD_GRAMMAR_TEXT_MAX);
    if (status == MD_OK)
        md_buf_append(&s->out, line.data, line.len);
    md_buf_done(&line);
    json_decref(alts);
    return status;
}

/* ---- the whole ---- */

static md_status convert(md_schema *s, md_grammar **out, md_error *err)
{
    s->known = json_object();
    if (!s->known)
        return md_fail_memory(err, "a grammar");
    MD_TRY(add_rule(s, s->root, md_strdup("root"), md_strdup("#"), err));
    for (size_t i = 0; i < s->n_rules; i++)
        MD_TRY(put_rule(s, i, err));
    md_schema_put_shared(&s->out, s->use);
    if (s->out.failed)
        return md_fail_memory(err, "a grammar");
    const md_status status = md_grammar_new(s->out.data, s->out.len, NULL, out, err);
    return status == MD_OK ? MD_OK : md_fail_within(err, status, "the grammar made from the schema");
}

md_status md_grammar_from_schema(const char *json, size_t n, md_grammar **out, md_error *err)
{
    *out = NULL;
    MD_FAIL_IF(n > MD_SCHEMA_TEXT_MAX, MD_ERR_LIMIT, "the JSON Schema has %zu bytes; at most %u are possible", n,
               MD_SCHEMA_TEXT_MAX);
    json_error_t why;
    bool no_memory;
    md_schema s = {.root = md_json_load(json, n, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, &why, &no_memory)};
    if (no_memory)
        return md_fail_memory(err, "a grammar");
    if (!s.root)
        return md_fail(err, MD_ERR_FORMAT, "the JSON Schema is not JSON: line %d, column %d: %s", why.line, why.column,
                       why.text);
    const md_status status = convert(&s, out, err);
    for (size_t i = 0; i < s.n_rules; i++) {
        json_decref(s.rule[i].schema);
        md_free(s.rule[i].name);
        md_free(s.rule[i].path);
    }
    md_free(s.rule);
    md_buf_done(&s.out);
    json_decref(s.known);
    json_decref(s.root);
    return status;
}
