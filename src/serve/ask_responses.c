/* SPDX-License-Identifier: Apache-2.0
 *
 * Bodies of /v1/responses: a list of items, written anew as messages of a chat. Nothing is kept from one request to the next. */
#include "serve/ask.h"

#include <stdio.h>
#include <string.h>

static bool append(json_t *list, json_t *owned, md_refusal *r)
{
    return (owned && json_array_append_new(list, owned) == 0) || md_refuse_memory(r);
}

/* ---- items ---- */

static bool put_message(json_t *out, const json_t *item, const char *at, md_refusal *r)
{
    const json_t *role = json_object_get(item, "role"), *content = json_object_get(item, "content");
    if (!json_is_string(role) || (!json_is_string(content) && !json_is_array(content)))
        return md_refuse(r, 400, "invalid_value", at, "'%s' must have a role and a content", at);
    return append(out, json_pack("{s:O, s:O}", "role", role, "content", content), r);
}

/* Calls that follow one another belong to one message of the assistant. */
static bool put_call(json_t *out, const json_t *item, const char *at, md_refusal *r)
{
    const json_t *id = json_object_get(item, "call_id"), *name = json_object_get(item, "name");
    const json_t *arguments = json_object_get(item, "arguments");
    if (!json_is_string(id) || !json_is_string(name) || !json_is_string(arguments))
        return md_refuse(r, 400, "invalid_value", at, "'%s' must have call_id, name and arguments", at);
    json_t *last = json_array_get(out, json_array_size(out) - 1);
    const char *role = json_string_value(json_object_get(last, "role"));
    if (!role || strcmp(role, "assistant") != 0) {
        if (!append(out, json_pack("{s:s, s:s}", "role", "assistant", "content", ""), r))
            return false;
        last = json_array_get(out, json_array_size(out) - 1);
    }
    if (!json_object_get(last, "tool_calls") && json_object_set_new(last, "tool_calls", json_array()) != 0)
        return md_refuse_memory(r);
    return append(json_object_get(last, "tool_calls"),
                  json_pack("{s:O, s:s, s:{s:O, s:O}}", "id", id, "type", "function", "function", "name", name,
                            "arguments", arguments),
                  r);
}

static bool put_output(json_t *out, const json_t *item, const char *at, md_refusal *r)
{
    const json_t *id = json_object_get(item, "call_id"), *output = json_object_get(item, "output");
    if (!json_is_string(id) || (!json_is_string(output) && !json_is_array(output)))
        return md_refuse(r, 400, "invalid_value", at, "'%s' must have call_id and output", at);
    return append(out, json_pack("{s:s, s:O, s:O}", "role", "tool", "tool_call_id", id, "content", output), r);
}

static bool put_item(json_t *out, const json_t *item, const char *at, md_refusal *r)
{
    const char *type = json_string_value(json_object_get(item, "type"));
    if (!type || strcmp(type, "message") == 0)
        return put_message(out, item, at, r);
    if (strcmp(type, "function_call") == 0)
        return put_call(out, item, at, r);
    if (strcmp(type, "function_call_output") == 0)
        return put_output(out, item, at, r);
    if (strcmp(type, "reasoning") == 0) /* templates leave earlier reasoning out */
        return true;
    return md_refuse(r, 400, "unsupported_value", at, "'%s' is of type '%.32s', which is not supported", at, type);
}

static bool read_input(md_ask *a, const json_t *input, const json_t *instructions, md_refusal *r)
{
    json_t *out = json_array();
    bool ok = out || md_refuse_memory(r);
    if (ok && instructions && !json_is_null(instructions) && !json_is_string(instructions))
        ok = md_refuse(r, 400, "invalid_type", "instructions", "'instructions' must be a string");
    if (ok && json_is_string(instructions))
        ok = append(out, json_pack("{s:s, s:O}", "role", "system", "content", instructions), r);
    if (ok && json_is_string(input))
        ok = append(out, json_pack("{s:s, s:O}", "role", "user", "content", input), r);
    else if (ok && !json_is_array(input))
        ok = md_refuse(r, 400, input ? "invalid_type" : "missing_field", "input",
                       "'input' must be a string or a list of items");
    for (size_t i = 0; ok && i < json_array_size(input); i++) {
        char at[48];
        snprintf(at, sizeof at, "input[%zu]", i);
        ok = put_item(out, json_array_get(input, i), at, r);
    }
    if (ok) {
        a->messages = md_messages_read(out, "input", r);
        ok = a->messages != NULL;
    }
    json_decref(out);
    return ok;
}

/* ---- fields ---- */

/* Tools lie flat here: {"type":"function","name","parameters"}. */
static bool read_tools(void *base, const char *name, const json_t *value, md_refusal *r)
{
    json_t *out = json_array();
    bool ok = out || md_refuse_memory(r);
    if (ok && !json_is_array(value))
        ok = md_refuse(r, 400, "invalid_type", name, "'%s' must be a list", name);
    for (size_t i = 0; ok && i < json_array_size(value); i++) {
        const json_t *tool = json_array_get(value, i);
        const char *type = json_string_value(json_object_get(tool, "type"));
        if (!type || strcmp(type, "function") != 0)
            ok = md_refuse(r, 400, "unsupported_value", name,
                           "'%s[%zu]' is of type '%.32s'; only functions are possible", name, i, type ? type : "?");
        else
            ok = append(out, json_pack("{s:s, s:O}", "type", "function", "function", tool), r);
    }
    ok = ok && md_ask_take_tools(base, out, name, r);
    json_decref(out);
    return ok;
}

static bool read_text(void *base, const char *name, const json_t *value, md_refusal *r)
{
    static const md_field table[] = {
        {"format", MD_FIELD_CALL, .fn = md_ask_format}, {"verbosity", MD_FIELD_IGNORE}, {0}};
    if (!json_is_object(value))
        return md_refuse(r, 400, "invalid_type", name, "'%s' must be an object", name);
    return md_fields_read(value, table, base, "text.", r);
}

static bool must_be_false(void *base, const char *name, const json_t *value, md_refusal *r)
{
    (void)base;
    return json_is_false(value) || md_refuse(r, 400, "unsupported_value", name, "'%s' is not supported", name);
}

static bool read_truncation(void *base, const char *name, const json_t *value, md_refusal *r)
{
    const char *how = json_string_value(value);
    (void)base;
    return (how && strcmp(how, "disabled") == 0) ||
           md_refuse(r, 400, "unsupported_value", name, "'%s' must be disabled", name);
}

bool md_ask_responses(md_ask *a, const char *body, size_t n, md_refusal *r)
{
    static const md_field table[] = {
        {"input", MD_FIELD_IGNORE}, /* read below, with the instructions in front */
        {"instructions", MD_FIELD_IGNORE},
        {"max_output_tokens", MD_FIELD_INT, offsetof(md_ask, max_tokens), 1, 1000000000},
        {"tools", MD_FIELD_CALL, .fn = read_tools},
        {"tool_choice", MD_FIELD_CALL, .fn = md_ask_tool_choice},
        {"text", MD_FIELD_CALL, .fn = read_text},
        {"truncation", MD_FIELD_CALL, .fn = read_truncation},
        {"background", MD_FIELD_CALL, .fn = must_be_false},
        {"previous_response_id", MD_FIELD_REFUSE},
        {"conversation", MD_FIELD_REFUSE},
        {"prompt", MD_FIELD_REFUSE},
        {"top_logprobs", MD_FIELD_REFUSE},
        {"include", MD_FIELD_IGNORE},
        {"reasoning", MD_FIELD_IGNORE},
        {"parallel_tool_calls", MD_FIELD_IGNORE},
        {"max_tool_calls", MD_FIELD_IGNORE},
        {0},
    };
    md_ask_default(a);
    a->root = md_fields_parse(body, n, r);
    if (!a->root || !md_ask_fields(a, table, r))
        return false;
    return read_input(a, json_object_get(a->root, "input"), json_object_get(a->root, "instructions"), r) &&
           md_ask_check(a, r) && md_ask_check_named(a, r);
}
