/* SPDX-License-Identifier: Apache-2.0
 *
 * Messages of a chat, as clients send them, into the form that chat templates read. */
#include "serve/ask.h"

#include <stdio.h>
#include <string.h>

/* Where in a request something is, for refusals. */
typedef struct place {
    char at[80];
} place;

static place place_of(const char *name, size_t i)
{
    place p;
    snprintf(p.at, sizeof p.at, "%.48s[%zu]", name, i);
    return p;
}

/* The text of contents in parts, which must all be text. NULL: refused. */
static json_t *join_parts(const json_t *parts, const char *at, md_refusal *r)
{
    md_buf text = {0};
    md_buf_puts(&text, "");
    for (size_t i = 0; i < json_array_size(parts); i++) {
        const json_t *part = json_array_get(parts, i), *said = json_object_get(part, "text");
        const char *type = json_string_value(json_object_get(part, "type"));
        if (!json_is_string(said) && type && strcmp(type, "refusal") == 0)
            said = json_object_get(part, "refusal");
        if (!json_is_string(said)) {
            md_refuse(r, 400, "unsupported_value", at, "'%s.content[%zu]' is of type '%.32s'; only text is possible",
                      at, i, type ? type : "?");
            md_buf_done(&text);
            return NULL;
        }
        md_buf_append(&text, json_string_value(said), json_string_length(said));
    }
    json_t *out = text.failed ? NULL : json_stringn_nocheck(text.data, text.len);
    md_buf_done(&text);
    if (!out)
        md_refuse_memory(r);
    return out;
}

/* One call: arguments that are JSON in a string become what they say. */
static json_t *read_call(const json_t *call, const char *at, md_refusal *r)
{
    const json_t *function = json_object_get(call, "function");
    const json_t *arguments = json_object_get(function, "arguments");
    if (!json_is_string(json_object_get(function, "name")) ||
        (!json_is_string(arguments) && !json_is_object(arguments))) {
        md_refuse(r, 400, "invalid_value", at, "'%s.tool_calls' must have function.name and function.arguments", at);
        return NULL;
    }
    json_t *copy = json_deep_copy(call);
    const char *text = json_string_value(arguments);
    json_t *value = text ? json_loads(text[0] ? text : "{}", JSON_REJECT_DUPLICATES, NULL) : NULL;
    if (copy && json_is_object(value) && json_object_set(json_object_get(copy, "function"), "arguments", value) != 0) {
        json_decref(copy);
        copy = NULL;
    }
    json_decref(value);
    if (!copy)
        md_refuse_memory(r);
    return copy;
}

static bool read_calls(json_t *out, const json_t *calls, const char *at, md_refusal *r)
{
    if (!json_is_array(calls) || json_array_size(calls) > MD_ASK_MOST_TOOLS)
        return md_refuse(r, 400, "invalid_type", at, "'%s.tool_calls' must be a list of at most %d calls", at,
                         MD_ASK_MOST_TOOLS);
    json_t *list = json_array();
    for (size_t i = 0; list && i < json_array_size(calls); i++) {
        json_t *call = read_call(json_array_get(calls, i), at, r);
        if (!call) {
            json_decref(list);
            return false;
        }
        if (json_array_append_new(list, call) != 0) {
            json_decref(list);
            list = NULL;
        }
    }
    if (!list || json_object_set_new(out, "tool_calls", list) != 0)
        return md_refuse_memory(r);
    return true;
}

static bool is_role(const char *role)
{
    static const char *const roles[] = {"system", "developer", "user", "assistant", "tool", "function"};
    for (size_t i = 0; role && i < sizeof roles / sizeof *roles; i++)
        if (strcmp(role, roles[i]) == 0)
            return true;
    return false;
}

static bool read_content(json_t *out, const json_t *content, const char *at, md_refusal *r)
{
    if (!content || json_is_null(content))
        return json_object_set_new(out, "content", json_null()) == 0 || md_refuse_memory(r);
    if (!json_is_string(content) && !json_is_array(content))
        return md_refuse(r, 400, "invalid_type", at, "'%s.content' must be a string or a list of parts", at);
    json_t *text = json_is_string(content) ? json_incref((json_t *)(uintptr_t)content) : join_parts(content, at, r);
    if (!text)
        return false;
    return json_object_set_new(out, "content", text) == 0 || md_refuse_memory(r);
}

static bool copy_text(json_t *out, const json_t *message, const char *key, const char *at, md_refusal *r)
{
    json_t *v = json_object_get(message, key);
    if (!v || json_is_null(v))
        return true;
    if (!json_is_string(v))
        return md_refuse(r, 400, "invalid_type", at, "'%s.%s' must be a string", at, key);
    return json_object_set(out, key, v) == 0 || md_refuse_memory(r);
}

static bool check_keys(const json_t *message, const char *at, md_refusal *r)
{
    static const char *const known[] = {"role",         "content",           "name",          "tool_calls",
                                        "tool_call_id", "reasoning_content", "reasoning",     "refusal",
                                        "audio",        "annotations",       "function_call", "id"};
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)message, key, value)
    {
        bool found = false;
        for (size_t i = 0; i < sizeof known / sizeof *known; i++)
            found |= strcmp(known[i], key) == 0;
        const bool unsupported = strcmp(key, "audio") == 0 || strcmp(key, "function_call") == 0;
        if (!found || (unsupported && !json_is_null(value)))
            return md_refuse(r, 400, found ? "unsupported_field" : "unknown_field", at, "'%s.%.48s' is not %s", at, key,
                             found ? "supported" : "known");
    }
    return true;
}

static bool read_message(json_t *out, const json_t *m, const char *at, md_refusal *r)
{
    const char *role = json_string_value(json_object_get(m, "role"));
    if (!is_role(role))
        return md_refuse(r, 400, "invalid_value", at, "'%s.role' must be system, developer, user, assistant or tool",
                         at);
    if (!check_keys(m, at, r))
        return false;
    /* Templates know no developer: it is the newer name of the same thing. */
    const char *known = strcmp(role, "developer") == 0 ? "system" : role;
    if (json_object_set_new(out, "role", json_string(known)) != 0)
        return md_refuse_memory(r);
    const json_t *calls = json_object_get(m, "tool_calls");
    return read_content(out, json_object_get(m, "content"), at, r) && copy_text(out, m, "name", at, r) &&
           copy_text(out, m, "tool_call_id", at, r) && copy_text(out, m, "reasoning_content", at, r) &&
           (!calls || json_is_null(calls) || read_calls(out, calls, at, r));
}

json_t *md_messages_read(const json_t *list, const char *name, md_refusal *r)
{
    const size_t n = json_array_size(list);
    if (!json_is_array(list) || n == 0 || n > MD_ASK_MOST_MESSAGES) {
        md_refuse(r, 400, "invalid_value", name, "'%s' must be a list of 1 to %d messages", name, MD_ASK_MOST_MESSAGES);
        return NULL;
    }
    json_t *out = json_array();
    for (size_t i = 0; out && i < n; i++) {
        const place p = place_of(name, i);
        json_t *m = json_object();
        const bool ok = m ? read_message(m, json_array_get(list, i), p.at, r) : md_refuse_memory(r);
        if (!ok || json_array_append(out, m) != 0) {
            if (ok)
                md_refuse_memory(r);
            json_decref(out);
            out = NULL;
        }
        json_decref(m);
    }
    if (!out && r->status == 0)
        md_refuse_memory(r);
    return out;
}
