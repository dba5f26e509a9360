/* SPDX-License-Identifier: Apache-2.0
 *
 * From messages, texts and token ids to the tokens that a model reads. */
#include "serve/http.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ---- chat ---- */

/* The messages with a text about the tools in their system message, or NULL when memory is out. */
static json_t *with_tools(const md_ask *ask)
{
    md_buf text = {0};
    const json_t *first = json_array_get(ask->messages, 0);
    const bool system = first && strcmp(json_string_value(json_object_get(first, "role")), "system") == 0;
    const char *said = system ? json_string_value(json_object_get(first, "content")) : NULL;
    if (said)
        md_buf_printf(&text, "%s\n\n", said);
    md_tools_describe(ask->tools, &text);
    json_t *list = json_copy(ask->messages);
    json_t *message = text.failed ? NULL : json_pack("{s:s, s:s}", "role", "system", "content", text.data);
    md_buf_done(&text);
    const bool ok = list && message &&
                    (system ? json_array_set_new(list, 0, message) : json_array_insert_new(list, 0, message)) == 0;
    if (!ok) {
        if (!list || !message)
            json_decref(message);
        json_decref(list);
        return NULL;
    }
    return list;
}

/* Arguments of calls as texts, for templates that join them to others. */
static json_t *with_texts(const json_t *messages)
{
    json_t *list = json_deep_copy(messages);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *calls = json_object_get(json_array_get(list, i), "tool_calls");
        for (size_t k = 0; k < json_array_size(calls); k++) {
            json_t *function = json_object_get(json_array_get(calls, k), "function");
            char *text = json_dumps(json_object_get(function, "arguments"), JSON_COMPACT | JSON_ENCODE_ANY);
            if (json_is_object(json_object_get(function, "arguments")) && text)
                json_object_set_new(function, "arguments", json_string(text));
            free(text);
        }
    }
    return list;
}

static bool has_calls(const json_t *messages)
{
    for (size_t i = 0; i < json_array_size(messages); i++)
        if (json_object_get(json_array_get(messages, i), "tool_calls"))
            return true;
    return false;
}

static md_status render(const md_server *s, const md_ask *ask, const json_t *messages, md_rendered *out, md_error *err)
{
    json_t *extra = ask->template_kwargs ? json_copy((json_t *)(uintptr_t)ask->template_kwargs) : json_object();
    char *text = NULL;
    if (extra && json_object_set(extra, "messages", (json_t *)(uintptr_t)messages) == 0 &&
        (!ask->tools || !s->template_has_tools || json_object_set(extra, "tools", ask->tools) == 0))
        text = json_dumps(extra, JSON_COMPACT);
    json_decref(extra);
    if (!text) {
        *err = (md_error){.code = MD_ERR_MEMORY, .message = "out of memory for the messages"};
        return MD_ERR_MEMORY;
    }
    const md_chat_args args = {.add_generation_prompt = true,
                               .bos_token = s->bos,
                               .eos_token = s->eos,
                               .extra_json = text,
                               .now = ask->steady ? ask->created : (int64_t)time(NULL)};
    const md_status status = md_template_render(s->template_, &args, out, err);
    free(text);
    return status;
}

bool md_prompt_render(const md_server *s, const md_ask *ask, md_rendered *out, md_refusal *r)
{
    md_error err;
    if (!s->template_)
        return md_refuse(r, 400, "no_template", "messages",
                         "the model has no chat template: ask /v1/completions, or start the server with --template");
    json_t *messages = ask->tools && !s->template_has_tools ? with_tools(ask) : json_incref(ask->messages);
    if (!messages)
        return md_refuse_memory(r);
    md_status status = render(s, ask, messages, out, &err);
    if (status != MD_OK && status != MD_ERR_MEMORY && has_calls(messages)) {
        md_error other;
        json_t *texts = with_texts(messages);
        if (texts && render(s, ask, texts, out, &other) == MD_OK)
            status = MD_OK;
        json_decref(texts);
    }
    json_decref(messages);
    return status == MD_OK || md_refuse_error(r, "messages", &err);
}

/* Does the text end in "<think>" and white space? */
static bool ends_thinking(const char *text, size_t n)
{
    static const char think[] = "<think>";
    while (n > 0 && strchr(" \t\r\n", text[n - 1]))
        n--;
    return n >= sizeof think - 1 && memcmp(text + n - (sizeof think - 1), think, sizeof think - 1) == 0;
}

bool md_prompt_chat(const md_server *s, const md_ask *ask, md_tokens *out, bool *reasons, md_refusal *r)
{
    md_rendered text;
    md_error err;
    if (!md_prompt_render(s, ask, &text, r))
        return false;
    *reasons = ends_thinking(text.text, text.n);
    const md_status status = md_rendered_tokenize(&text, s->tokenizer, out, &err);
    md_rendered_done(&text);
    if (status != MD_OK)
        return md_refuse_error(r, "messages", &err);
    return out->n > 0 ||
           md_refuse(r, 400, "invalid_value", "messages", "the chat template makes nothing of the messages");
}

/* ---- completions ---- */

bool md_prompt_ids(const md_server *s, const json_t *list, const char *name, md_tokens *out, md_refusal *r)
{
    const int32_t n_vocab = md_model_get_info(s->model)->n_vocab;
    md_error err;
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *v = json_array_get(list, i);
        const json_int_t id = json_integer_value(v);
        if (!json_is_integer(v) || id < 0 || id >= n_vocab)
            return md_refuse(r, 400, "invalid_value", name, "'%s[%zu]' must be a token id from 0 to %d", name, i,
                             (int)n_vocab - 1);
        if (md_tokens_push(out, (int32_t)id, &err) != MD_OK)
            return md_refuse_error(r, name, &err);
    }
    return true;
}

bool md_prompt_value(const md_server *s, const json_t *value, const char *name, md_tokens *out, md_refusal *r)
{
    md_error err;
    if (json_is_array(value) && !md_prompt_ids(s, value, name, out, r))
        return false;
    if (!json_is_array(value) && !json_is_string(value))
        return md_refuse(r, 400, "invalid_type", name, "'%s' must be a string, a list of token ids, or a list of these",
                         name);
    if (json_is_string(value) &&
        md_tokenize(s->tokenizer, json_string_value(value), json_string_length(value),
                    (unsigned)MD_TOKENIZE_BOS | (unsigned)MD_TOKENIZE_SPECIAL, out, &err) != MD_OK)
        return md_refuse_error(r, name, &err);
    return out->n > 0 ||
           md_refuse(r, 400, "invalid_value", name, "'%s' is empty: there is nothing to go on from", name);
}
