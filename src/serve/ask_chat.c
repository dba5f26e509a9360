/* SPDX-License-Identifier: Apache-2.0
 *
 * Bodies of /v1/chat/completions and /v1/completions, and tools. */
#include "serve/ask.h"

#include <stdio.h>
#include <string.h>

/* ---- tools ---- */

static bool is_tool_name(const char *s)
{
    const size_t n = s ? strlen(s) : 0;
    return n > 0 && n <= 64 && strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.") == n;
}

bool md_ask_take_tools(md_ask *a, const json_t *list, const char *name, md_refusal *r)
{
    const size_t n = json_array_size(list);
    if (!json_is_array(list) || n > MD_ASK_MOST_TOOLS)
        return md_refuse(r, 400, "invalid_type", name, "'%s' must be a list of at most %d tools", name,
                         MD_ASK_MOST_TOOLS);
    if (n == 0)
        return true;
    for (size_t i = 0; i < n; i++) {
        const json_t *tool = json_array_get(list, i), *function = json_object_get(tool, "function");
        const char *type = json_string_value(json_object_get(tool, "type"));
        char at[64];
        snprintf(at, sizeof at, "%s[%zu]", name, i);
        if (!type || strcmp(type, "function") != 0)
            return md_refuse(r, 400, "unsupported_value", at, "'%s.type' must be 'function'", at);
        if (!is_tool_name(json_string_value(json_object_get(function, "name"))))
            return md_refuse(r, 400, "invalid_value", at,
                             "'%s.function.name' must be 1 to 64 letters, digits, '_', '-' or '.'", at);
        const json_t *parameters = json_object_get(function, "parameters");
        if (parameters && !json_is_object(parameters) && !json_is_null(parameters))
            return md_refuse(r, 400, "invalid_type", at, "'%s.function.parameters' must be a JSON Schema", at);
    }
    json_decref(a->tools);
    a->tools = json_deep_copy(list);
    return a->tools || md_refuse_memory(r);
}

bool md_ask_tools(void *base, const char *name, const json_t *value, md_refusal *r)
{
    return md_ask_take_tools(base, value, name, r);
}

bool md_ask_tool_choice(void *base, const char *name, const json_t *value, md_refusal *r)
{
    md_ask *a = base;
    static const char *const words[] = {"auto", "none", "required"}; /* ORDER of md_tool_choice */
    const char *word = json_string_value(value);
    for (int i = 0; word && i < 3; i++)
        if (strcmp(word, words[i]) == 0) {
            a->tool_choice = (md_tool_choice)i;
            return true;
        }
    const json_t *function = json_object_get(value, "function");
    const char *tool = json_string_value(json_object_get(function ? function : value, "name"));
    if (word || !tool)
        return md_refuse(r, 400, "invalid_value", name, "'%s' must be auto, none, required, or name a function", name);
    a->tool_choice = MD_TOOLS_NAMED;
    a->tool_name = tool;
    return true;
}

bool md_ask_check_named(const md_ask *a, md_refusal *r)
{
    if (a->tool_choice != MD_TOOLS_NAMED)
        return true;
    for (size_t i = 0; i < json_array_size(a->tools); i++) {
        const json_t *function = json_object_get(json_array_get(a->tools, i), "function");
        if (strcmp(json_string_value(json_object_get(function, "name")), a->tool_name) == 0)
            return true;
    }
    return md_refuse(r, 400, "invalid_value", "tool_choice", "'tool_choice' names '%.64s', which is not among 'tools'",
                     a->tool_name);
}

/* ---- chat ---- */

static bool read_messages(void *base, const char *name, const json_t *value, md_refusal *r)
{
    md_ask *a = base;
    json_decref(a->messages);
    a->messages = md_messages_read(value, name, r);
    return a->messages != NULL;
}

static bool read_kwargs(void *base, const char *name, const json_t *value, md_refusal *r)
{
    static const char *const ours[] = {"messages", "tools", "bos_token", "eos_token", "add_generation_prompt"};
    md_ask *a = base;
    if (!json_is_object(value))
        return md_refuse(r, 400, "invalid_type", name, "'%s' must be an object", name);
    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++)
        if (json_object_get(value, ours[i]))
            return md_refuse(r, 400, "invalid_value", name, "'%s' may not set '%s'", name, ours[i]);
    a->template_kwargs = value;
    return true;
}

/* A field that asks for what we do anyway may say so. */
static bool read_modalities(void *base, const char *name, const json_t *value, md_refusal *r)
{
    const char *only = json_string_value(json_array_get(value, 0));
    (void)base;
    if (json_array_size(value) == 1 && only && strcmp(only, "text") == 0)
        return true;
    return md_refuse(r, 400, "unsupported_value", name, "'%s' must be [\"text\"]: there is nothing else here", name);
}

static bool read_effort(void *base, const char *name, const json_t *value, md_refusal *r)
{
    (void)base;
    return json_is_string(value) || md_refuse(r, 400, "invalid_type", name, "'%s' must be a string", name);
}

#define AT(field) offsetof(md_ask, field)

bool md_ask_chat(md_ask *a, const char *body, size_t n, md_refusal *r)
{
    static const md_field table[] = {
        {"messages", MD_FIELD_CALL, .fn = read_messages},
        {"n", MD_FIELD_INT, AT(n), 1, MD_ASK_MOST_CHOICES},
        {"max_tokens", MD_FIELD_INT, AT(max_tokens), -1, 1000000000},
        {"max_completion_tokens", MD_FIELD_INT, AT(max_tokens), -1, 1000000000},
        {"stop", MD_FIELD_CALL, .fn = md_ask_stop},
        {"logprobs", MD_FIELD_BOOL, AT(logprobs)},
        {"top_logprobs", MD_FIELD_INT, AT(top_logprobs), 0, MD_ASK_MOST_LOGPROBS},
        {"tools", MD_FIELD_CALL, .fn = md_ask_tools},
        {"tool_choice", MD_FIELD_CALL, .fn = md_ask_tool_choice},
        {"chat_template_kwargs", MD_FIELD_CALL, .fn = read_kwargs},
        {"modalities", MD_FIELD_CALL, .fn = read_modalities},
        {"reasoning_effort", MD_FIELD_CALL, .fn = read_effort},
        {"parallel_tool_calls", MD_FIELD_IGNORE},
        {"audio", MD_FIELD_REFUSE},
        {"prediction", MD_FIELD_IGNORE},
        {"web_search_options", MD_FIELD_REFUSE},
        {"functions", MD_FIELD_REFUSE},
        {"function_call", MD_FIELD_REFUSE},
        {0},
    };
    md_ask_default(a);
    a->root = md_fields_parse(body, n, r);
    if (!a->root || !md_ask_fields(a, table, r))
        return false;
    if (!a->messages)
        return md_refuse(r, 400, "missing_field", "messages", "'messages' is missing");
    if (a->top_logprobs >= 0 && !a->logprobs)
        return md_refuse(r, 400, "invalid_value", "top_logprobs", "'top_logprobs' needs 'logprobs': true");
    return md_ask_check(a, r) && md_ask_check_named(a, r);
}

/* ---- completions ---- */

static bool read_logprobs(void *base, const char *name, const json_t *value, md_refusal *r)
{
    md_ask *a = base;
    const md_field count = {"logprobs", MD_FIELD_INT, AT(top_logprobs), 0, MD_ASK_MOST_LOGPROBS};
    if (json_is_boolean(value)) {
        a->logprobs = json_is_true(value);
        return true;
    }
    a->logprobs = true;
    (void)name;
    return md_field_read(&count, value, a, "", r);
}

static bool read_echo(void *base, const char *name, const json_t *value, md_refusal *r)
{
    (void)base;
    return json_is_false(value) || md_refuse(r, 400, "unsupported_field", name, "'%s' is not supported", name);
}

static bool read_best_of(void *base, const char *name, const json_t *value, md_refusal *r)
{
    (void)base;
    return (json_is_integer(value) && json_integer_value(value) == 1) ||
           md_refuse(r, 400, "unsupported_field", name, "'%s' is not supported beyond 1", name);
}

bool md_ask_completion(md_ask *a, const char *body, size_t n, md_refusal *r)
{
    static const md_field table[] = {
        {"prompt", MD_FIELD_VALUE, AT(prompt)},
        {"n", MD_FIELD_INT, AT(n), 1, MD_ASK_MOST_CHOICES},
        {"max_tokens", MD_FIELD_INT, AT(max_tokens), -1, 1000000000},
        {"n_predict", MD_FIELD_INT, AT(max_tokens), -1, 1000000000},
        {"stop", MD_FIELD_CALL, .fn = md_ask_stop},
        {"logprobs", MD_FIELD_CALL, .fn = read_logprobs},
        {"echo", MD_FIELD_CALL, .fn = read_echo},
        {"best_of", MD_FIELD_CALL, .fn = read_best_of},
        {"suffix", MD_FIELD_REFUSE},
        {0},
    };
    md_ask_default(a);
    a->max_tokens = 16; /* the API's default for this form */
    a->root = md_fields_parse(body, n, r);
    if (!a->root || !md_ask_fields(a, table, r))
        return false;
    if (!a->prompt)
        return md_refuse(r, 400, "missing_field", "prompt", "'prompt' is missing");
    return md_ask_check(a, r);
}

/* ---- infill ---- */

bool md_ask_infill(md_ask *a, const char *body, size_t n, md_refusal *r)
{
    static const md_field table[] = {
        {"input_prefix", MD_FIELD_TEXT, AT(prefix)},
        {"input_suffix", MD_FIELD_TEXT, AT(suffix)},
        {"prompt", MD_FIELD_VALUE, AT(prompt)},
        {"input_extra", MD_FIELD_VALUE, AT(extra)},
        {"n", MD_FIELD_INT, AT(n), 1, MD_ASK_MOST_CHOICES},
        {"n_predict", MD_FIELD_INT, AT(max_tokens), -1, 1000000000},
        {"max_tokens", MD_FIELD_INT, AT(max_tokens), -1, 1000000000},
        {"stop", MD_FIELD_CALL, .fn = md_ask_stop},
        {0},
    };
    md_ask_default(a);
    a->root = md_fields_parse(body, n, r);
    if (!a->root || !md_ask_fields(a, table, r))
        return false;
    if (!a->prefix || !a->suffix)
        return md_refuse(r, 400, "missing_field", a->prefix ? "input_suffix" : "input_prefix", "'%s' is missing",
                         a->prefix ? "input_suffix" : "input_prefix");
    return md_ask_check(a, r);
}
