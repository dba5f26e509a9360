/* SPDX-License-Identifier: Apache-2.0
 *
 * Bodies of /v1/messages, the form of Anthropic's API: written anew in the form of chats, then read as such. */
#include "serve/ask.h"

#include <stdio.h>
#include <string.h>

/* What is read before it becomes messages and tools. */
typedef struct draft {
    const json_t *messages, *system, *tools, *choice;
} draft;

/* The text of a string or of a list of text blocks, or NULL: refused. */
static json_t *text_of(const json_t *value, const char *name, md_refusal *r)
{
    md_buf b = {0};
    if (json_is_string(value))
        return json_incref((json_t *)(uintptr_t)value);
    md_buf_puts(&b, "");
    bool ok = json_is_array(value);
    for (size_t i = 0; ok && i < json_array_size(value); i++) {
        const json_t *block = json_array_get(value, i), *text = json_object_get(block, "text");
        ok = json_is_string(text);
        if (ok)
            md_buf_append(&b, json_string_value(text), json_string_length(text));
    }
    json_t *out = ok && !b.failed ? json_stringn_nocheck(b.data, b.len) : NULL;
    md_buf_done(&b);
    if (!ok)
        md_refuse(r, 400, "invalid_value", name, "'%s' must be a string or a list of text blocks", name);
    else if (!out)
        md_refuse_memory(r);
    return out;
}

static bool append(json_t *list, json_t *owned, md_refusal *r)
{
    return (owned && json_array_append_new(list, owned) == 0) || md_refuse_memory(r);
}

/* ---- blocks ---- */

static json_t *call_of(const json_t *block)
{
    return json_pack("{s:O, s:s, s:{s:O, s:O}}", "id", json_object_get(block, "id"), "type", "function", "function",
                     "name", json_object_get(block, "name"), "arguments", json_object_get(block, "input"));
}

static bool put_result(json_t *out, const json_t *block, const char *at, md_refusal *r)
{
    const json_t *content = json_object_get(block, "content"), *id = json_object_get(block, "tool_use_id");
    json_t *text = content && !json_is_null(content) ? text_of(content, at, r) : json_string("");
    if (!text)
        return r->status == 0 ? md_refuse_memory(r) : false;
    if (!json_is_string(id)) {
        json_decref(text);
        return md_refuse(r, 400, "invalid_value", at, "'%s' has no 'tool_use_id'", at);
    }
    return append(out, json_pack("{s:s, s:O, s:o}", "role", "tool", "tool_call_id", id, "content", text), r);
}

/* Adds what a block says to text, calls or, results of tools, to the messages themselves. */
static bool put_block(const json_t *block, md_buf *text, md_buf *thought, json_t *calls, json_t *out, const char *at,
                      md_refusal *r)
{
    const char *type = json_string_value(json_object_get(block, "type"));
    const json_t *said = json_object_get(block, "text"), *thinking = json_object_get(block, "thinking");
    if (type && strcmp(type, "text") == 0 && json_is_string(said)) {
        md_buf_append(text, json_string_value(said), json_string_length(said));
        return true;
    }
    if (type && strcmp(type, "thinking") == 0 && json_is_string(thinking)) {
        md_buf_append(thought, json_string_value(thinking), json_string_length(thinking));
        return true;
    }
    if (type && strcmp(type, "tool_result") == 0)
        return put_result(out, block, at, r);
    if (type && strcmp(type, "tool_use") == 0 && json_is_string(json_object_get(block, "name")) &&
        json_is_object(json_object_get(block, "input")) && json_is_string(json_object_get(block, "id")))
        return append(calls, call_of(block), r);
    return md_refuse(r, 400, "unsupported_value", at, "'%s' holds a block of type '%.32s' that cannot be read here", at,
                     type ? type : "?");
}

/* A message of blocks: results of tools first, as messages of their own; then what else it says. */
static bool put_blocks(json_t *out, const json_t *role, const json_t *blocks, const char *at, md_refusal *r)
{
    md_buf text = {0}, thought = {0};
    json_t *calls = json_array(), *message = NULL;
    md_buf_puts(&text, "");
    md_buf_puts(&thought, "");
    bool ok = calls || md_refuse_memory(r);
    const size_t before = json_array_size(out);
    for (size_t i = 0; ok && i < json_array_size(blocks); i++)
        ok = put_block(json_array_get(blocks, i), &text, &thought, calls, out, at, r);
    const bool only_results = json_array_size(out) > before && text.len == 0 && json_array_size(calls) == 0;
    if (ok && !only_results && !text.failed && !thought.failed) {
        message = json_pack("{s:O, s:s%}", "role", role, "content", text.data, text.len);
        if (message && thought.len > 0)
            json_object_set_new(message, "reasoning_content", json_stringn(thought.data, thought.len));
        if (message && json_array_size(calls) > 0)
            json_object_set(message, "tool_calls", calls);
        ok = append(out, message, r);
    }
    json_decref(calls);
    md_buf_done(&text);
    md_buf_done(&thought);
    return ok;
}

static bool put_message(json_t *out, const json_t *m, const char *at, md_refusal *r)
{
    json_t *role = json_object_get(m, "role");
    const json_t *content = json_object_get(m, "content");
    const char *name = json_string_value(role);
    if (!name || (strcmp(name, "user") != 0 && strcmp(name, "assistant") != 0))
        return md_refuse(r, 400, "invalid_value", at, "'%s.role' must be user or assistant", at);
    if (json_is_string(content))
        return append(out, json_pack("{s:O, s:O}", "role", role, "content", content), r);
    if (json_is_array(content))
        return put_blocks(out, role, content, at, r);
    return md_refuse(r, 400, "invalid_type", at, "'%s.content' must be a string or a list of blocks", at);
}

static json_t *list_messages(const draft *d, md_refusal *r)
{
    json_t *out = json_array();
    bool ok = out || md_refuse_memory(r);
    if (ok && d->system) {
        json_t *text = text_of(d->system, "system", r);
        ok = text && append(out, json_pack("{s:s, s:o}", "role", "system", "content", text), r);
    }
    if (ok && (!json_is_array(d->messages) || json_array_size(d->messages) == 0))
        ok = md_refuse(r, 400, d->messages ? "invalid_value" : "missing_field", "messages",
                       "'messages' must be a list of at least one message");
    for (size_t i = 0; ok && i < json_array_size(d->messages); i++) {
        char at[48];
        snprintf(at, sizeof at, "messages[%zu]", i);
        ok = put_message(out, json_array_get(d->messages, i), at, r);
    }
    if (ok)
        return out;
    json_decref(out);
    return NULL;
}

/* ---- tools ---- */

static json_t *list_tools(const json_t *tools, md_refusal *r)
{
    json_t *out = json_array();
    bool ok = out || md_refuse_memory(r);
    for (size_t i = 0; ok && i < json_array_size(tools); i++) {
        const json_t *tool = json_array_get(tools, i), *description = json_object_get(tool, "description");
        const char *type = json_string_value(json_object_get(tool, "type"));
        if ((type && strcmp(type, "custom") != 0) || !json_is_object(json_object_get(tool, "input_schema"))) {
            ok = md_refuse(r, 400, "unsupported_value", "tools", "'tools[%zu]' must have a name and an 'input_schema'",
                           i);
            break;
        }
        ok = append(out,
                    json_pack("{s:s, s:{s:O?, s:s, s:O}}", "type", "function", "function", "name",
                              json_object_get(tool, "name"), "description",
                              json_is_string(description) ? json_string_value(description) : "", "parameters",
                              json_object_get(tool, "input_schema")),
                    r);
    }
    if (ok)
        return out;
    json_decref(out);
    return NULL;
}

static bool read_choice(md_ask *a, const json_t *choice, md_refusal *r)
{
    static const char *const words[] = {"auto", "none", "any", "tool"}; /* ORDER of md_tool_choice */
    const char *type = json_string_value(json_object_get(choice, "type"));
    for (int i = 0; type && i < 4; i++)
        if (strcmp(type, words[i]) == 0) {
            a->tool_choice = (md_tool_choice)i;
            a->tool_name = json_string_value(json_object_get(choice, "name"));
            if (a->tool_choice != MD_TOOLS_NAMED || a->tool_name)
                return true;
        }
    return md_refuse(r, 400, "invalid_value", "tool_choice",
                     "'tool_choice.type' must be auto, any, none or tool, with its name");
}

static bool read_thinking(void *base, const char *name, const json_t *value, md_refusal *r)
{
    const char *type = json_string_value(json_object_get(value, "type"));
    (void)base;
    return (type && (strcmp(type, "enabled") == 0 || strcmp(type, "disabled") == 0 || strcmp(type, "adaptive") == 0)) ||
           md_refuse(r, 400, "invalid_value", name, "'%s.type' must be enabled or disabled", name);
}

static bool keep(void *base, const char *name, const json_t *value, md_refusal *r)
{
    (void)base; /* read from the root afterwards */
    (void)name;
    (void)value;
    (void)r;
    return true;
}

/* What the fields mean as a chat. */
static bool read_draft(md_ask *a, md_refusal *r)
{
    const draft d = {json_object_get(a->root, "messages"), json_object_get(a->root, "system"),
                     json_object_get(a->root, "tools"), json_object_get(a->root, "tool_choice")};
    const char *thinking = json_string_value(json_object_get(json_object_get(a->root, "thinking"), "type"));
    json_t *messages = list_messages(&d, r);
    a->messages = messages ? md_messages_read(messages, "messages", r) : NULL;
    json_decref(messages);
    if (!a->messages || (d.choice && !read_choice(a, d.choice, r)))
        return false;
    if (json_array_size(d.tools) > 0) {
        json_t *tools = list_tools(d.tools, r);
        const bool ok = tools && md_ask_take_tools(a, tools, "tools", r);
        json_decref(tools);
        if (!ok)
            return false;
    }
    if (!thinking)
        return true;
    json_t *kwargs = json_pack("{s:b}", "enable_thinking", strcmp(thinking, "disabled") != 0);
    a->template_kwargs = kwargs;
    return (kwargs && json_object_set_new(a->root, "chat_template_kwargs", kwargs) == 0) || md_refuse_memory(r);
}

bool md_ask_messages(md_ask *a, const char *body, size_t n, md_refusal *r)
{
    static const md_field table[] = {
        {"messages", MD_FIELD_CALL, .fn = keep},
        {"system", MD_FIELD_CALL, .fn = keep},
        {"tools", MD_FIELD_CALL, .fn = keep},
        {"tool_choice", MD_FIELD_CALL, .fn = keep},
        {"thinking", MD_FIELD_CALL, .fn = read_thinking},
        {"max_tokens", MD_FIELD_INT, offsetof(md_ask, max_tokens), 1, 1000000000},
        {"stop_sequences", MD_FIELD_CALL, .fn = md_ask_stop},
        {"container", MD_FIELD_REFUSE},
        {"mcp_servers", MD_FIELD_REFUSE},
        {0},
    };
    md_ask_default(a);
    a->root = md_fields_parse(body, n, r);
    if (!a->root || !md_ask_fields(a, table, r))
        return false;
    if (a->max_tokens < 0)
        return md_refuse(r, 400, "missing_field", "max_tokens", "'max_tokens' is missing");
    return read_draft(a, r) && md_ask_check(a, r) && md_ask_check_named(a, r);
}
