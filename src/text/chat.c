/* SPDX-License-Identifier: Apache-2.0
 *
 * Chat templates: compiling, the variables a template sees, rendering to marked segments.
 *
 * Marks at the source: what the template wrote and bos_token and eos_token are TEMPLATE, all else is MESSAGE. One
 * exception: the role of a message counts as TEMPLATE if it is one of the names in `known_roles`, since templates build
 * special tokens from them ("<|" + role + "|>"), and a fixed list of words cannot be abused. */
#include <medley/chat.h>

#include "base/mem.h"
#include "base/status.h"
#include "text/chat_limits.h"
#include "text/jinja_run.h"

#include <string.h>

struct md_template {
    md_jprogram program;
};

md_status md_template_new(const char *source, size_t n, md_template **out, md_error *err)
{
    MD_FAIL_IF(!out || (!source && n), MD_ERR_ARGUMENT, "md_template_new needs a source and a place for the template");
    *out = NULL;
    md_template *t = md_calloc(1, sizeof *t);
    if (!t)
        return md_fail_memory(err, "a chat template");
    const md_status status = md_jparse(source ? source : "", n, &t->program, err);
    if (status != MD_OK) {
        md_free(t);
        return status == MD_ERR_MEMORY ? status : md_fail_within(err, status, "chat template");
    }
    *out = t;
    return MD_OK;
}

void md_template_free(md_template *t)
{
    if (!t)
        return;
    md_jprogram_done(&t->program);
    md_free(t);
}

void md_rendered_done(md_rendered *r)
{
    if (!r)
        return;
    md_free(r->text);
    md_free(r->segment);
    *r = (md_rendered){0};
}

/* ---- variables ---- */

static const char *const known_roles[] = {"system",    "user",     "assistant", "tool",
                                          "developer", "function", "ipython",   "observation"};

static md_status text_value(md_jrun *r, const char *s, unsigned char from, md_jval *out)
{
    const md_jstr *str = md_jstr_new(r, s, strlen(s), from);
    *out = md_jtext(str);
    return str ? MD_OK : r->status;
}

/* Marks the role of a message as the template's if it is a known one. */
static md_status settle_role(md_jrun *r, md_jdict *message)
{
    static const md_jstr key = {.s = "role", .n = 4};
    md_jval *role;
    MD_TRY(md_jdict_get(r, message, md_jtext(&key), &role));
    if (!role || role->kind != MD_J_STR)
        return MD_OK;
    for (size_t i = 0; i < sizeof known_roles / sizeof *known_roles; i++)
        if (md_jstr_is(role->u.str, known_roles[i]))
            return text_value(r, known_roles[i], MD_SEGMENT_TEMPLATE, role);
    return MD_OK;
}

static md_status settle_roles(md_jrun *r, md_jval messages)
{
    for (size_t i = 0; messages.kind == MD_J_LIST && i < messages.u.list->n; i++)
        if (messages.u.list->item[i].kind == MD_J_DICT)
            MD_TRY(settle_role(r, messages.u.list->item[i].u.dict));
    return MD_OK;
}

static md_status plain_messages(md_jrun *r, const md_chat_args *args, md_jval *out)
{
    md_jlist *l = md_jlist_new(r, args->n_messages, MD_J_PLAIN);
    if (!l)
        return r->status;
    for (size_t i = 0; i < args->n_messages; i++) {
        md_jval role = md_jnone(), content = md_jnone();
        md_jdict *message = md_jdict_new(r);
        if (!message)
            return r->status;
        if (args->message[i].role)
            MD_TRY(text_value(r, args->message[i].role, MD_SEGMENT_MESSAGE, &role));
        if (args->message[i].content)
            MD_TRY(text_value(r, args->message[i].content, MD_SEGMENT_MESSAGE, &content));
        MD_TRY(md_jdict_set_name(r, message, "role", role));
        MD_TRY(md_jdict_set_name(r, message, "content", content));
        MD_TRY(md_jlist_push(r, l, md_jmap(message)));
    }
    *out = md_jseq(l);
    return MD_OK;
}

/* The caller's variables by name: extra_json, then what has an argument of its own. */
static md_status gather(md_jrun *r, const md_chat_args *args, md_jdict *vars)
{
    static const char *const own[] = {"add_generation_prompt", "bos_token", "eos_token"};
    static const md_jstr messages_key = {.s = "messages", .n = 8};
    md_jval v, *messages, *given;
    /* Where there is no such thing these are none rather than undefined: published templates rely on it. */
    MD_TRY(md_jdict_set_name(r, vars, "tools", md_jnone()));
    MD_TRY(md_jdict_set_name(r, vars, "documents", md_jnone()));
    if (args->extra_json) {
        MD_TRY(md_jfrom_json(r, args->extra_json, &v));
        if (v.kind != MD_J_DICT)
            return md_fail(r->err, MD_ERR_ARGUMENT, "the variables for the template must be one JSON object");
        MD_TRY(md_jdict_update(r, vars, v));
    }
    MD_TRY(md_jdict_get(r, vars, md_jtext(&messages_key), &messages));
    if (messages)
        v = *messages;
    else
        MD_TRY(plain_messages(r, args, &v));
    MD_TRY(settle_roles(r, v));
    MD_TRY(md_jdict_set_name(r, vars, "messages", v));
    for (size_t i = 0; i < sizeof own / sizeof *own; i++) {
        const md_jstr key = {.s = own[i], .n = strlen(own[i])};
        MD_TRY(md_jdict_get(r, vars, md_jtext(&key), &given));
        if (given)
            return md_fail(r->err, MD_ERR_ARGUMENT, "'%s' has an argument of its own and cannot be set by the JSON",
                           own[i]);
    }
    MD_TRY(md_jdict_set_name(r, vars, "add_generation_prompt", md_jbool(args->add_generation_prompt)));
    MD_TRY(text_value(r, args->bos_token ? args->bos_token : "", MD_SEGMENT_TEMPLATE, &v));
    MD_TRY(md_jdict_set_name(r, vars, "bos_token", v));
    MD_TRY(text_value(r, args->eos_token ? args->eos_token : "", MD_SEGMENT_TEMPLATE, &v));
    return md_jdict_set_name(r, vars, "eos_token", v);
}

/* Binds the variables that the template mentions. */
static md_status set_variables(md_jrun *r, const md_chat_args *args)
{
    md_jdict *vars = md_jdict_new(r);
    if (!vars)
        return r->status;
    MD_TRY(gather(r, args, vars));
    MD_TRY(md_jglobals(r, r->globals));
    for (size_t i = 0; i < r->program->n_symbols; i++) {
        md_jval *v;
        MD_TRY(md_jdict_get(r, vars, md_jtext(r->program->symbol[i]), &v));
        if (v)
            MD_TRY(md_jscope_set(r, r->globals, (int)i, *v));
    }
    return MD_OK;
}

/* ---- rendering ---- */

/* Walks the runs of equal marks; without room for them it only counts. */
static size_t runs(const md_jstr *s, md_segment *segment)
{
    size_t n = 0;
    for (size_t at = 0, end; at < s->n; at = end, n++) {
        const unsigned char kind = md_jstr_mark(s, at);
        if (!s->mark)
            end = s->n;
        else
            for (end = at + 1; end < s->n && s->mark[end] == kind;)
                end++;
        if (segment)
            segment[n] = (md_segment){(md_segment_kind)kind, at, end - at};
    }
    return n;
}

static md_status hand_over(const md_jstr *s, md_rendered *out, md_error *err)
{
    md_rendered made = {.n = s->n, .n_segments = runs(s, NULL)};
    made.text = md_calloc(s->n + 1, 1);
    made.segment = md_calloc(made.n_segments, sizeof *made.segment);
    if (!made.text || !made.segment) {
        md_rendered_done(&made);
        return md_fail_memory(err, "a rendered chat");
    }
    memcpy(made.text, s->s, s->n);
    runs(s, made.segment);
    *out = made;
    return MD_OK;
}

static md_status run(md_jrun *r, const md_chat_args *args, md_rendered *out)
{
    enum md_jflow flow = MD_JF_NEXT;
    r->globals = md_jscope_new(r, NULL);
    if (!r->globals)
        return r->status;
    MD_TRY(set_variables(r, args));
    md_jscope *s = md_jscope_new(r, r->globals);
    if (!s)
        return r->status;
    md_jout o = md_jout_new(r);
    MD_TRY(md_jexec(r, s, &r->program->body, &o, &flow));
    const md_jstr *text = md_jout_finish(&o, false);
    return text ? hand_over(text, out, r->err) : r->status;
}

md_status md_template_render_limited(const md_template *t, const md_chat_args *args, const md_jinja_limits *limits,
                                     md_rendered *out, md_error *err)
{
    if (out)
        *out = (md_rendered){0};
    MD_FAIL_IF(!t || !args || !out || (!args->message && args->n_messages), MD_ERR_ARGUMENT,
               "md_template_render needs a template, its arguments and a place for the result");
    md_jrun r = {.limit = *limits, .program = &t->program, .err = err, .now = args->now, .pos = {1, 1}};
    const md_status status = run(&r, args, out);
    md_arena_done(&r.arena);
    if (status == MD_OK || status == MD_ERR_ARGUMENT || status == MD_ERR_MEMORY)
        return status;
    return md_fail_within(err, status, "chat template");
}

md_status md_template_render(const md_template *t, const md_chat_args *args, md_rendered *out, md_error *err)
{
    const md_jinja_limits limits = {MD_CHAT_MAX_STEPS, MD_CHAT_MAX_MEMORY, MD_CHAT_MAX_OUTPUT};
    return md_template_render_limited(t, args, &limits, out, err);
}
