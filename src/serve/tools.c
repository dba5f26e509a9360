/* SPDX-License-Identifier: Apache-2.0
 *
 * What answers must follow: a format that was asked for, or the form of a call. Grammars made from several schemas have the
 * names of each one's rules in a space of their own. */
#include "serve/http.h"

#include <stdlib.h>
#include <string.h>

void md_tools_describe(const json_t *tools, md_buf *b)
{
    md_buf_puts(b, "You may call these functions, each given with a JSON Schema of its arguments:\n");
    for (size_t i = 0; i < json_array_size(tools); i++) {
        char *text = json_dumps(json_object_get(json_array_get(tools, i), "function"), JSON_COMPACT);
        if (text)
            md_buf_printf(b, "%s\n", text);
        else
            b->failed = true;
        free(text);
    }
    md_buf_puts(b, "To call one, answer with nothing but a JSON object of this form:\n"
                   "{\"name\": \"FUNCTION\", \"parameters\": {ARGUMENTS}}");
}

/* ---- rules in a space of their own ---- */

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_name(char c)
{
    return is_letter(c) || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

/* Where a quoted text or a class that begins here ends. */
static const char *skip_quoted(const char *p)
{
    const char end = *p == '"' ? '"' : ']';
    for (p++; *p && *p != end; p++)
        if (*p == '\\' && p[1])
            p++;
    return *p ? p + 1 : p;
}

/* Appends a grammar with `space` in front of the names of its rules. */
static void put_rules(md_buf *b, const char *gbnf, const char *space)
{
    for (const char *p = gbnf; *p;) {
        const char *from = p;
        if (*p == '"' || *p == '[') {
            p = skip_quoted(p);
        } else if (is_letter(*p)) {
            md_buf_puts(b, space);
            while (is_name(*p))
                p++;
        } else {
            p++;
        }
        md_buf_append(b, from, (size_t)(p - from));
    }
    md_buf_putc(b, '\n');
}

static bool put_schema(md_buf *b, const char *schema, const char *space, const char *param, md_refusal *r)
{
    md_grammar *g;
    md_error err;
    if (md_grammar_from_schema(schema, strlen(schema), &g, &err) != MD_OK)
        return md_refuse_error(r, param, &err);
    put_rules(b, md_grammar_text(g), space);
    md_grammar_free(g);
    return true;
}

/* ---- calls ---- */

/* A mark: the token of that name where it is a special one, else its text. */
static void put_mark(md_buf *b, const md_server *s, const char *mark)
{
    const int32_t id = md_token_find(s->tokenizer, mark, strlen(mark));
    if (id >= 0 && md_token_is_special(s->tokenizer, id))
        md_buf_printf(b, " <[%d]>", (int)id);
    else
        md_buf_printf(b, " \"%s\"", mark);
}

static bool is_chosen(const md_ask *ask, const char *name)
{
    return ask->tool_choice != MD_TOOLS_NAMED || strcmp(name, ask->tool_name) == 0;
}

/* "call-0 ::= ..." with the rules of its arguments. */
static bool put_call(md_buf *b, const json_t *function, size_t i, const char *key, md_refusal *r)
{
    const json_t *parameters = json_object_get(function, "parameters");
    char space[32];
    snprintf(space, sizeof space, "tool-%zu-", i);
    md_buf_printf(b, "call-%zu ::= \"{\\\"name\\\": \\\"%s\\\", \\\"%s\\\": \" %sroot \"}\"\n", i,
                  json_string_value(json_object_get(function, "name")), key, space);
    char *schema = json_is_object(parameters) && json_object_size(parameters) > 0 ? json_dumps(parameters, JSON_COMPACT)
                                                                                  : strdup("{\"type\":\"object\"}");
    const bool ok = schema ? put_schema(b, schema, space, "tools", r) : md_refuse_memory(r);
    free(schema);
    return ok;
}

static bool put_calls(md_buf *b, const md_server *s, const md_ask *ask, md_refusal *r)
{
    const bool bare = s->tool_syntax == MD_TOOL_BARE;
    md_buf_puts(b, "answer ::=");
    if (s->tool_syntax == MD_TOOL_TAGS) {
        put_mark(b, s, "<tool_call>");
        md_buf_puts(b, " \"\\n\"");
    } else if (s->tool_syntax == MD_TOOL_BRACKET) {
        put_mark(b, s, "[TOOL_CALLS]");
        md_buf_puts(b, " \"[\"");
    }
    const char *bar = " (";
    for (size_t i = 0; i < json_array_size(ask->tools); i++) {
        const json_t *function = json_object_get(json_array_get(ask->tools, i), "function");
        if (is_chosen(ask, json_string_value(json_object_get(function, "name")))) {
            md_buf_printf(b, "%scall-%zu", bar, i);
            bar = " | ";
        }
    }
    md_buf_puts(b, ")");
    if (s->tool_syntax == MD_TOOL_TAGS) {
        md_buf_puts(b, " \"\\n\"");
        put_mark(b, s, "</tool_call>");
    } else if (s->tool_syntax == MD_TOOL_BRACKET) {
        md_buf_puts(b, " \"]\"");
    }
    md_buf_putc(b, '\n');
    for (size_t i = 0; i < json_array_size(ask->tools); i++) {
        const json_t *function = json_object_get(json_array_get(ask->tools, i), "function");
        if (is_chosen(ask, json_string_value(json_object_get(function, "name"))) &&
            !put_call(b, function, i, bare ? "parameters" : "arguments", r))
            return false;
    }
    return true;
}

/* ---- together ---- */

/* "root": the answer, behind reasoning if it has begun. */
static void put_root(md_buf *b, const md_server *s, bool reasons)
{
    md_buf_puts(b, "root ::=");
    if (reasons) {
        md_buf_puts(b, " ([^<] | \"<\" [^/])*");
        put_mark(b, s, "</think>");
        md_buf_puts(b, " [ \\n]{0,4}");
    }
    md_buf_puts(b, " answer\n");
}

bool md_tools_grammar(const md_server *s, const md_ask *ask, bool reasons, md_grammar **out, md_refusal *r)
{
    const bool forced = ask->tools && (ask->tool_choice == MD_TOOLS_REQUIRED || ask->tool_choice == MD_TOOLS_NAMED);
    md_error err;
    md_buf b = {0};
    bool ok = true;
    *out = NULL;
    if (ask->grammar)
        return md_grammar_new(ask->grammar, strlen(ask->grammar), s->tokenizer, out, &err) == MD_OK ||
               md_refuse_error(r, "grammar", &err);
    if (!ask->schema && !forced)
        return true;
    put_root(&b, s, reasons);
    if (forced) {
        ok = put_calls(&b, s, ask, r);
    } else {
        md_buf_puts(&b, "answer ::= schema-root\n");
        ok = put_schema(&b, ask->schema, "schema-", "response_format", r);
    }
    if (ok && b.failed)
        ok = md_refuse_memory(r);
    if (ok && md_grammar_new(b.data, b.len, s->tokenizer, out, &err) != MD_OK)
        ok = md_refuse_error(r, forced ? "tools" : "response_format", &err);
    md_buf_done(&b);
    return ok;
}
