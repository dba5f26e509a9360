/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/split.h"

#include "serve/text.h"

#include <stdlib.h>
#include <string.h>

#define THINK     "<think>"
#define THINK_END "</think>"
#define CALL      "<tool_call>"
#define CALL_END  "</tool_call>"
#define BRACKET   "[TOOL_CALLS]"
#define PYTHON    "<|python_tag|>"
#define ARGS      "[ARGS]"
#define WHITE     " \t\r\n"

md_tool_syntax md_tool_syntax_of(const char *source, size_t n)
{
    if (memmem(source, n, CALL, strlen(CALL)))
        return MD_TOOL_TAGS;
    if (memmem(source, n, "TOOL_CALLS]", strlen("TOOL_CALLS]")))
        return MD_TOOL_BRACKET;
    return MD_TOOL_BARE;
}

void md_split_init(md_split *s, const md_split_fns *fns, void *user, md_tool_syntax syntax, bool reasons)
{
    *s = (md_split){.fns = fns, .user = user, .syntax = syntax, .state = reasons ? MD_SPLIT_REASONING : MD_SPLIT_START};
}

void md_split_done(md_split *s)
{
    md_buf_done(&s->held);
}

static size_t white(const char *p, size_t n)
{
    size_t i = 0;
    while (i < n && strchr(WHITE, p[i]) && p[i])
        i++;
    return i;
}

/* ---- calls ---- */

static const json_t *arguments_of(const json_t *call)
{
    static const char *const names[] = {"arguments", "parameters", "args"};
    for (size_t i = 0; i < 3; i++)
        if (json_object_get(call, names[i]))
            return json_object_get(call, names[i]);
    return NULL;
}

/* Arguments as a text must be an object, too. */
static bool is_object_text(const json_t *text)
{
    json_t *v = json_is_string(text) ? json_loads(json_string_value(text), 0, NULL) : NULL;
    const bool is = json_is_object(v);
    json_decref(v);
    return is;
}

static bool is_call(const json_t *call)
{
    const json_t *arguments = arguments_of(call);
    return json_is_string(json_object_get(call, "name")) &&
           (json_is_object(arguments) || !arguments || is_object_text(arguments));
}

static void give_call(md_split *s, const json_t *call)
{
    const json_t *arguments = arguments_of(call);
    const char *name = json_string_value(json_object_get(call, "name"));
    if (json_is_object(arguments)) {
        char *text = json_dumps(arguments, JSON_COMPACT);
        if (text)
            s->fns->call(s->user, name, text, strlen(text));
        free(text);
        return;
    }
    const char *text = arguments ? json_string_value(arguments) : "{}";
    s->fns->call(s->user, name, text, strlen(text));
}

/* All of text is calls: objects, or lists of them, one after another, ';' and white space between. Gives them out if so. */
static bool give_calls(md_split *s, const char *text, size_t n)
{
    json_t *all = json_array();
    bool ok = all != NULL;
    for (size_t at = white(text, n); ok && at < n;) {
        json_error_t why;
        json_t *v = json_loadb(text + at, n - at, JSON_DISABLE_EOF_CHECK, &why);
        at += v ? (size_t)why.position : 0;
        ok = v && (json_is_array(v) ? json_array_extend(all, v) : json_array_append(all, v)) == 0;
        json_decref(v);
        at += white(text + at, n - at);
        if (at < n && text[at] == ';')
            at += 1 + white(text + at + 1, n - at - 1);
    }
    ok = ok && json_array_size(all) > 0;
    for (size_t i = 0; ok && i < json_array_size(all); i++)
        ok = is_call(json_array_get(all, i));
    for (size_t i = 0; ok && i < json_array_size(all); i++)
        give_call(s, json_array_get(all, i));
    json_decref(all);
    return ok;
}

/* NAME[ARGS]{...}, or NAME{...} */
static bool give_named(md_split *s, const char *text, size_t n)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.";
    char name[65];
    size_t k = 0, skip = white(text, n);
    text += skip;
    n -= skip;
    while (k < n && k < sizeof name - 1 && text[k] && strchr(letters, text[k]))
        k++;
    if (k == 0)
        return false;
    memcpy(name, text, k);
    name[k] = '\0';
    if (n - k >= strlen(ARGS) && memcmp(text + k, ARGS, strlen(ARGS)) == 0)
        k += strlen(ARGS);
    json_t *v = json_loadb(text + k, n - k, 0, NULL);
    char *arguments = json_is_object(v) ? json_dumps(v, JSON_COMPACT) : NULL;
    if (arguments)
        s->fns->call(s->user, name, arguments, strlen(arguments));
    json_decref(v);
    free(arguments);
    return arguments != NULL;
}

/* ---- text ---- */

static void give(md_split *s, void (*fn)(void *, const char *, size_t), const char *text, size_t n)
{
    if (n > 0)
        fn(s->user, text, n);
}

static void give_content(md_split *s, const char *text, size_t n)
{
    s->said |= white(text, n) < n;
    give(s, s->fns->content, text, n);
}

static void drop(md_split *s, size_t n)
{
    memmove(s->held.data, s->held.data + n, s->held.len - n + 1);
    s->held.len -= n;
}

static const char *find(const md_split *s, const char *mark)
{
    return memmem(s->held.data, s->held.len, mark, strlen(mark));
}

/* Gives out what stands before a mark and drops both; without the mark, what cannot be part of it. */
static bool pass(md_split *s, const char *mark, void (*fn)(md_split *, const char *, size_t))
{
    const char *at = find(s, mark);
    const size_t n = at ? (size_t)(at - s->held.data) : s->held.len - md_held_back(s->held.data, s->held.len, mark);
    fn(s, s->held.data, n);
    drop(s, n + (at ? strlen(mark) : 0));
    return at != NULL;
}

static void give_reasoning(md_split *s, const char *text, size_t n)
{
    give(s, s->fns->reasoning, text, n);
}

/* Each of these does what can be done now, and tells whether the state has changed. */

static bool at_start(md_split *s)
{
    const size_t blank = white(s->held.data, s->held.len), n = s->held.len - blank;
    const size_t k = n < strlen(THINK) ? n : strlen(THINK);
    if (memcmp(s->held.data + blank, THINK, k) != 0) {
        s->state = MD_SPLIT_CONTENT;
        return true;
    }
    if (n < strlen(THINK))
        return false;
    drop(s, blank + strlen(THINK));
    s->state = MD_SPLIT_REASONING;
    return true;
}

static bool in_gap(md_split *s)
{
    drop(s, white(s->held.data, s->held.len));
    if (s->held.len > 0)
        s->state = MD_SPLIT_CONTENT;
    return s->held.len > 0;
}

/* The whole answer may be a call: as long as it begins like one, all of it is held back. */
static bool bare_content(md_split *s)
{
    const size_t blank = white(s->held.data, s->held.len), n = s->held.len - blank;
    const char *p = s->held.data + blank;
    const size_t k = n < strlen(PYTHON) ? n : strlen(PYTHON);
    if (!s->said && (n == 0 || (k < strlen(PYTHON) && memcmp(p, PYTHON, k) == 0)))
        return false;
    if (!s->said && (*p == '{' || memcmp(p, PYTHON, k) == 0)) {
        s->state = MD_SPLIT_REST;
        return true;
    }
    give_content(s, s->held.data, s->held.len);
    s->said = true;
    drop(s, s->held.len);
    return false;
}

static bool in_content(md_split *s)
{
    switch (s->syntax) {
    case MD_TOOL_TAGS:
        if (!pass(s, CALL, give_content))
            return false;
        s->state = MD_SPLIT_CALL;
        return true;
    case MD_TOOL_BRACKET:
        if (!pass(s, BRACKET, give_content))
            return false;
        s->state = MD_SPLIT_REST;
        return true;
    case MD_TOOL_BARE: return bare_content(s);
    default:
        give_content(s, s->held.data, s->held.len);
        drop(s, s->held.len);
        return false;
    }
}

static bool in_call(md_split *s)
{
    const char *from = s->held.data + s->scanned;
    const char *end = memmem(from, s->held.len - s->scanned, CALL_END, strlen(CALL_END));
    if (!end) {
        s->scanned = s->held.len - md_held_back(s->held.data, s->held.len, CALL_END);
        return false;
    }
    s->scanned = 0;
    const size_t n = (size_t)(end - s->held.data);
    if (!give_calls(s, s->held.data, n)) { /* no call after all */
        give_content(s, CALL, strlen(CALL));
        give_content(s, s->held.data, n + strlen(CALL_END));
        s->state = MD_SPLIT_CONTENT;
    } else {
        s->state = MD_SPLIT_GAP;
    }
    drop(s, n + strlen(CALL_END));
    return true;
}

static bool advance(md_split *s)
{
    if (s->held.len == 0)
        return false;
    switch (s->state) {
    case MD_SPLIT_START: return at_start(s);
    case MD_SPLIT_REASONING:
        if (!pass(s, THINK_END, give_reasoning))
            return false;
        s->state = MD_SPLIT_GAP;
        return true;
    case MD_SPLIT_GAP: return in_gap(s);
    case MD_SPLIT_CONTENT: return in_content(s);
    case MD_SPLIT_CALL: return in_call(s);
    default: return false;
    }
}

void md_split_push(md_split *s, const char *text, size_t n)
{
    if (n == 0)
        return;
    md_buf_append(&s->held, text, n);
    while (!s->held.failed && advance(s))
        ;
}

/* What was held back to the end: calls, if they can be read as such. */
static bool give_rest(md_split *s)
{
    const char *p = s->held.data;
    size_t n = s->held.len;
    const size_t skip = white(p, n);
    if (s->syntax == MD_TOOL_BARE && n - skip >= strlen(PYTHON) && memcmp(p + skip, PYTHON, strlen(PYTHON)) == 0) {
        p += skip + strlen(PYTHON);
        n -= skip + strlen(PYTHON);
    }
    return give_calls(s, p, n) || (s->syntax == MD_TOOL_BRACKET && give_named(s, p, n));
}

void md_split_end(md_split *s)
{
    if (s->held.failed || (s->held.len == 0 && s->state != MD_SPLIT_CALL))
        return;
    switch (s->state) {
    case MD_SPLIT_REASONING: give_reasoning(s, s->held.data, s->held.len); break;
    case MD_SPLIT_GAP: break;
    case MD_SPLIT_CALL:
        if (s->held.len > 0 && give_calls(s, s->held.data, s->held.len)) /* only its end mark is missing */
            break;
        give_content(s, CALL, strlen(CALL));
        give_content(s, s->held.data ? s->held.data : "", s->held.len);
        break;
    case MD_SPLIT_REST:
        if (give_rest(s))
            break;
        if (s->syntax == MD_TOOL_BRACKET)
            give_content(s, BRACKET, strlen(BRACKET));
        give_content(s, s->held.data, s->held.len);
        break;
    default: give_content(s, s->held.data, s->held.len); break;
    }
    md_buf_reset(&s->held);
}
