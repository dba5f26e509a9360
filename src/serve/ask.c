/* SPDX-License-Identifier: Apache-2.0
 *
 * What the forms of a request for an answer have in common. */
#include "serve/ask.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void md_ask_default(md_ask *a)
{
    *a = (md_ask){.n = 1,
                  .max_tokens = -1,
                  .top_logprobs = -1,
                  .n_vocab = a->n_vocab,
                  .steady = a->steady,
                  .number = a->number,
                  .created = a->created};
    md_sampler_args_default(&a->sampler);
}

void md_ask_done(md_ask *a)
{
    json_decref(a->messages);
    json_decref(a->tools);
    json_decref(a->root);
    free(a->schema);
    md_free(a->bias);
    *a = (md_ask){.n_vocab = a->n_vocab};
}

void md_ask_forget(md_ask *a)
{
    static const char *const texts[] = {"messages", "prompt",       "input",        "instructions",
                                        "system",   "input_prefix", "input_suffix", "chat_template_kwargs"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        json_object_del(a->root, texts[i]);
    json_decref(a->messages);
    a->messages = NULL;
    a->prompt = a->template_kwargs = NULL;
    a->prefix = a->suffix = NULL;
}

/* ---- single fields ---- */

bool md_ask_seed(void *base, const char *name, const json_t *value, md_refusal *r)
{
    md_ask *a = base;
    if (!json_is_integer(value))
        return md_refuse(r, 400, "invalid_type", name, "'%s' must be an integer", name);
    a->seed = (uint64_t)json_integer_value(value);
    a->seeded = json_integer_value(value) != -1; /* -1 asks for a random one, here as elsewhere */
    return true;
}

static bool add_stop(md_ask *a, const char *name, const json_t *value, md_refusal *r)
{
    if (!json_is_string(value))
        return md_refuse(r, 400, "invalid_type", name, "'%s' must be a string or a list of strings", name);
    const size_t n = json_string_length(value);
    if (n == 0 || n > MD_ASK_MOST_STOP_BYTES)
        return md_refuse(r, 400, "out_of_range", name, "a text of '%s' has %zu bytes, but must have 1 to %d", name, n,
                         MD_ASK_MOST_STOP_BYTES);
    if (a->n_stop == MD_ASK_MOST_STOPS)
        return md_refuse(r, 400, "out_of_range", name, "'%s' has more than %d texts", name, MD_ASK_MOST_STOPS);
    a->stop[a->n_stop++] = json_string_value(value);
    return true;
}

bool md_ask_stop(void *base, const char *name, const json_t *value, md_refusal *r)
{
    md_ask *a = base;
    if (!json_is_array(value))
        return add_stop(a, name, value, r);
    for (size_t i = 0; i < json_array_size(value); i++)
        if (!add_stop(a, name, json_array_get(value, i), r))
            return false;
    return true;
}

static bool add_bias(md_ask *a, const char *name, int64_t token, const json_t *value, md_refusal *r)
{
    if (token < 0 || token >= a->n_vocab)
        return md_refuse(r, 400, "out_of_range", name, "'%s' names token %lld; there are 0 to %d", name,
                         (long long)token, (int)a->n_vocab - 1);
    const bool forbids = json_is_false(value);
    if (!json_is_number(value) && !forbids)
        return md_refuse(r, 400, "invalid_type", name, "'%s' must give a number to each token", name);
    const double x = forbids ? -HUGE_VAL : json_number_value(value);
    if (!forbids && !(fabs(x) <= 1000.0))
        return md_refuse(r, 400, "out_of_range", name, "'%s' gives %.9g to token %lld; -1000 to 1000 is possible", name,
                         x, (long long)token);
    /* -100 bans, by the API's own words. */
    a->bias[a->sampler.n_bias++] = (md_logit_bias){.token = (int32_t)token, .bias = x <= -100.0 ? -INFINITY : (float)x};
    return true;
}

static bool bias_object(md_ask *a, const char *name, const json_t *value, md_refusal *r)
{
    const char *key;
    json_t *v;
    json_object_foreach((json_t *)(uintptr_t)value, key, v)
    {
        const bool number = key[0] && strspn(key, "0123456789") == strlen(key) && strlen(key) <= 10;
        if (!number)
            return md_refuse(r, 400, "invalid_value", name, "'%s' names tokens by their numbers, not '%.32s'", name,
                             key);
        if (!add_bias(a, name, strtoll(key, NULL, 10), v, r))
            return false;
    }
    return true;
}

static bool bias_list(md_ask *a, const char *name, const json_t *value, md_refusal *r)
{
    for (size_t i = 0; i < json_array_size(value); i++) {
        const json_t *pair = json_array_get(value, i), *token = json_array_get(pair, 0);
        if (json_array_size(pair) != 2 || !json_is_integer(token))
            return md_refuse(r, 400, "invalid_type", name, "'%s' as a list wants pairs of a token and a number", name);
        if (!add_bias(a, name, json_integer_value(token), json_array_get(pair, 1), r))
            return false;
    }
    return true;
}

bool md_ask_bias(void *base, const char *name, const json_t *value, md_refusal *r)
{
    md_ask *a = base;
    if (!json_is_object(value) && !json_is_array(value))
        return md_refuse(r, 400, "invalid_type", name, "'%s' must be an object of tokens and numbers", name);
    const size_t n = json_is_object(value) ? json_object_size(value) : json_array_size(value);
    if (n > MD_ASK_MOST_BIASES)
        return md_refuse(r, 400, "out_of_range", name, "'%s' names %zu tokens; at most %d are possible", name, n,
                         MD_ASK_MOST_BIASES);
    md_free(a->bias);
    a->sampler.n_bias = 0;
    a->bias = md_calloc(n, sizeof *a->bias);
    if (!a->bias)
        return md_refuse_memory(r);
    a->sampler.bias = a->bias;
    return json_is_object(value) ? bias_object(a, name, value, r) : bias_list(a, name, value, r);
}

static bool read_breakers(void *base, const char *name, const json_t *value, md_refusal *r)
{
    md_ask *a = base;
    const size_t n = json_array_size(value), most = sizeof a->breaker / sizeof *a->breaker;
    if (!json_is_array(value) || n > most)
        return md_refuse(r, 400, "invalid_type", name, "'%s' must be a list of at most %zu strings", name, most);
    for (size_t i = 0; i < n; i++) {
        a->breaker[i] = json_string_value(json_array_get(value, i));
        if (!a->breaker[i])
            return md_refuse(r, 400, "invalid_type", name, "'%s' must be a list of strings", name);
    }
    a->sampler.dry_breaker = a->breaker;
    a->sampler.n_dry_breaker = n;
    return true;
}

bool md_ask_stream_options(void *base, const char *name, const json_t *value, md_refusal *r)
{
    static const md_field table[] = {{"include_usage", MD_FIELD_BOOL, offsetof(md_ask, include_usage)},
                                     {"include_obfuscation", MD_FIELD_IGNORE},
                                     {0}};
    (void)name;
    if (!json_is_object(value))
        return md_refuse(r, 400, "invalid_type", name, "'%s' must be an object", name);
    return md_fields_read(value, table, base, "stream_options.", r);
}

bool md_ask_take_schema(md_ask *a, const json_t *schema, md_refusal *r)
{
    free(a->schema);
    a->schema = json_dumps(schema, JSON_COMPACT | JSON_ENCODE_ANY);
    return a->schema || md_refuse_memory(r);
}

/* {"type":"json_schema","json_schema":{"name","schema","strict"}} and its kin. */
bool md_ask_format(void *base, const char *name, const json_t *value, md_refusal *r)
{
    md_ask *a = base;
    const char *type = json_string_value(json_object_get(value, "type"));
    if (!type)
        return md_refuse(r, 400, "invalid_type", name, "'%s' must be an object with a 'type'", name);
    if (strcmp(type, "text") == 0)
        return true;
    const json_t *inner = json_object_get(value, "json_schema"), *schema = json_object_get(value, "schema");
    if (inner)
        schema = json_object_get(inner, "schema");
    json_t *any = NULL;
    if (strcmp(type, "json_object") == 0 && !schema)
        schema = any = json_pack("{s:s}", "type", "object");
    else if (strcmp(type, "json_object") != 0 && strcmp(type, "json_schema") != 0)
        return md_refuse(r, 400, "invalid_value", name,
                         "'%s.type' is '%.32s', but must be text, json_object or json_schema", name, type);
    if (!json_is_object(schema) && !json_is_boolean(schema)) {
        json_decref(any);
        return md_refuse(r, 400, "invalid_value", name, "'%s' has no schema in 'json_schema.schema'", name);
    }
    const bool ok = md_ask_take_schema(a, schema, r);
    json_decref(any);
    return ok;
}

static bool read_schema(void *base, const char *name, const json_t *value, md_refusal *r)
{
    if (!json_is_object(value))
        return md_refuse(r, 400, "invalid_type", name, "'%s' must be a JSON Schema", name);
    return md_ask_take_schema(base, value, r);
}

/* ---- the table ---- */

#define AT(field)      offsetof(md_ask, field)
#define SAMPLER(field) offsetof(md_ask, sampler.field)

const md_field md_ask_common[] = {
    {"model", MD_FIELD_TEXT, AT(model)},
    {"stream", MD_FIELD_BOOL, AT(stream)},
    {"temperature", MD_FIELD_FLOAT, SAMPLER(temperature), 0, 100},
    {"top_p", MD_FIELD_FLOAT, SAMPLER(top_p), 0, 1, MD_FIELD_OPEN_MIN},
    {"top_k", MD_FIELD_INT, SAMPLER(top_k), -1, 1000000000},
    {"min_p", MD_FIELD_FLOAT, SAMPLER(min_p), 0, 1, MD_FIELD_OPEN_MAX},
    {"typical_p", MD_FIELD_FLOAT, SAMPLER(typical_p), 0, 1, MD_FIELD_OPEN_MIN},
    {"top_n_sigma", MD_FIELD_FLOAT, SAMPLER(top_n_sigma), 0, 1000},
    {"xtc_probability", MD_FIELD_FLOAT, SAMPLER(xtc_probability), 0, 1},
    {"xtc_threshold", MD_FIELD_FLOAT, SAMPLER(xtc_threshold), 0, 1, MD_FIELD_OPEN_MIN},
    {"mirostat", MD_FIELD_INT, SAMPLER(mirostat), 0, 2},
    {"mirostat_tau", MD_FIELD_FLOAT, SAMPLER(mirostat_tau), 0, 100},
    {"mirostat_eta", MD_FIELD_FLOAT, SAMPLER(mirostat_eta), 0, 100},
    {"repeat_penalty", MD_FIELD_FLOAT, SAMPLER(repetition_penalty), 0, 100, MD_FIELD_OPEN_MIN},
    {"repetition_penalty", MD_FIELD_FLOAT, SAMPLER(repetition_penalty), 0, 100, MD_FIELD_OPEN_MIN},
    {"presence_penalty", MD_FIELD_FLOAT, SAMPLER(presence_penalty), -100, 100},
    {"frequency_penalty", MD_FIELD_FLOAT, SAMPLER(frequency_penalty), -100, 100},
    {"repeat_last_n", MD_FIELD_INT, SAMPLER(penalty_last), 0, 4096},
    {"dry_multiplier", MD_FIELD_FLOAT, SAMPLER(dry_multiplier), 0, 1000},
    {"dry_base", MD_FIELD_FLOAT, SAMPLER(dry_base), 1, 100},
    {"dry_allowed_length", MD_FIELD_INT, SAMPLER(dry_allowed_length), 1, 1000000},
    {"dry_penalty_last_n", MD_FIELD_INT, SAMPLER(dry_penalty_last), 0, 1048576},
    {"dry_sequence_breakers", MD_FIELD_CALL, .fn = read_breakers},
    {"seed", MD_FIELD_CALL, .fn = md_ask_seed},
    {"logit_bias", MD_FIELD_CALL, .fn = md_ask_bias},
    {"grammar", MD_FIELD_TEXT, AT(grammar)},
    {"json_schema", MD_FIELD_CALL, .fn = read_schema},
    {"response_format", MD_FIELD_CALL, .fn = md_ask_format},
    {"stream_options", MD_FIELD_CALL, .fn = md_ask_stream_options},
    {"ignore_eos", MD_FIELD_BOOL, AT(ignore_eog)},
    {"priority", MD_FIELD_INT, AT(priority), -1000, 1000},
    {"user", MD_FIELD_IGNORE},
    {"metadata", MD_FIELD_IGNORE},
    {"store", MD_FIELD_IGNORE},
    {"service_tier", MD_FIELD_IGNORE},
    {"safety_identifier", MD_FIELD_IGNORE},
    {"prompt_cache_key", MD_FIELD_IGNORE},
    {"prompt_cache_retention", MD_FIELD_IGNORE},
    {"cache_prompt", MD_FIELD_IGNORE},
    {"verbosity", MD_FIELD_IGNORE},
    {0},
};

bool md_ask_fields(md_ask *a, const md_field *own, md_refusal *r)
{
    const char *key;
    json_t *value;
    json_object_foreach(a->root, key, value)
    {
        const md_field *f = own;
        while (f->name && strcmp(f->name, key) != 0)
            f++;
        if (!f->name)
            for (f = md_ask_common; f->name && strcmp(f->name, key) != 0;)
                f++;
        if (!f->name)
            return md_refuse(r, 400, "unknown_field", key, "there is no field '%.64s' here", key);
        if (!md_field_read(f, value, a, "", r))
            return false;
    }
    return true;
}

bool md_ask_check(md_ask *a, md_refusal *r)
{
    if (a->sampler.top_k < 0)
        a->sampler.top_k = 0;
    if (a->schema && a->grammar)
        return md_refuse(r, 400, "invalid_value", "grammar", "give 'grammar' or 'response_format', not both");
    const bool forced = a->tool_choice == MD_TOOLS_REQUIRED || a->tool_choice == MD_TOOLS_NAMED;
    if (forced && !a->tools)
        return md_refuse(r, 400, "invalid_value", "tool_choice",
                         "'tool_choice' asks for a call, but there are no 'tools'");
    if (forced && (a->schema || a->grammar))
        return md_refuse(r, 400, "invalid_value", "tool_choice",
                         "'tool_choice' asks for a call, and a format for something else: give one of them");
    if (a->tool_choice == MD_TOOLS_NONE) {
        json_decref(a->tools);
        a->tools = NULL;
    }
    return true;
}
