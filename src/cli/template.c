/* SPDX-License-Identifier: Apache-2.0
 *
 * `medley template`: messages and tools from JSON files through a chat template, as text, tokens or marked pieces.
 * Whatever JSON or template is wrong is told with its file, line and column. */
#include "cli/cli.h"

#include <errno.h>
#include <medley/chat.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct job {
    md_cli *cli;
    md_model *model;         /* owned; NULL: a template of its own, without a model */
    const md_tokenizer *tok; /* of the model; NULL: none, or none that works */
    md_template *template_;  /* owned */
    const char *file;        /* where it is from, for errors; NULL: the model or the command line */
    json_t *variables;       /* owned: messages, tools and what --set gives */
    char *bos, *eos;         /* owned */
    md_rendered rendered;    /* owned */
    md_tokens tokens;        /* owned */
} job;

/* ---- JSON from files and the command line ---- */

/* Reads one JSON value; name says in errors where it comes from. */
static md_status parse_json(const char *text, size_t n, const char *name, json_t **out, md_error *err)
{
    json_error_t why;
    errno = 0;
    *out = json_loadb(text, n, JSON_DECODE_ANY | JSON_ALLOW_NUL, &why);
    if (!*out && errno == ENOMEM) /* Jansson would call it bad syntax */
        return md_fail_memory(err, "JSON");
    MD_FAIL_IF(!*out, MD_ERR_ARGUMENT, "%s is no JSON: line %d, column %d: %s", name, why.line > 0 ? why.line : 1,
               why.column > 0 ? why.column : 1, why.text);
    return MD_OK;
}

/* path NULL: standard input. */
static md_status read_json(const char *path, json_t **out, md_error *err)
{
    char name[256];
    md_buf text = {0};
    snprintf(name, sizeof name, path ? "'%.240s'" : "standard input", path ? path : "");
    md_status status = md_cli_read_all(path, &text, err);
    if (status == MD_OK)
        status = parse_json(text.data, text.len, name, out, err);
    md_buf_done(&text);
    return status;
}

static md_status put(json_t *variables, const char *name, json_t *owned, md_error *err)
{
    if (json_object_set_new(variables, name, owned) != 0)
        return md_fail_memory(err, "the variables of the template");
    return MD_OK;
}

/* A list of messages, or an object that has one among other variables. */
static md_status take_messages(job *j, const char *path, md_error *err)
{
    json_t *given = NULL;
    MD_TRY(read_json(path, &given, err));
    if (json_is_array(given))
        return put(j->variables, "messages", given, err);
    const bool good = json_is_array(json_object_get(given, "messages"));
    const bool copied = good && json_object_update(j->variables, given) == 0;
    json_decref(given);
    MD_FAIL_IF(!good, MD_ERR_ARGUMENT,
               "%s%s%s must hold a list of messages, or an object with such a list as 'messages'", path ? "'" : "",
               path ? path : "standard input", path ? "'" : "");
    return copied ? MD_OK : md_fail_memory(err, "the variables of the template");
}

static md_status take_tools(job *j, const char *path, md_error *err)
{
    json_t *given = NULL;
    MD_TRY(read_json(path, &given, err));
    if (json_is_array(given))
        return put(j->variables, "tools", given, err);
    json_decref(given);
    return md_fail(err, MD_ERR_ARGUMENT, "'%s' must hold a list of tools", path);
}

/* The text of one of the two tokens that templates write by name. */
static md_status set_token(const char *name, const json_t *value, char **token, md_error *err)
{
    MD_FAIL_IF(!json_is_string(value), MD_ERR_ARGUMENT, "--set %s wants a text, such as '\"<s>\"'", name);
    const size_t n = json_string_length(value);
    char *copy = md_calloc(n + 1, 1);
    if (!copy)
        return md_fail_memory(err, "the variables of the template");
    memcpy(copy, json_string_value(value), n);
    md_free(*token);
    *token = copy;
    return MD_OK;
}

/* NAME=JSON */
static md_status take_setting(job *j, const char *text, md_error *err)
{
    const char *equals = strchr(text, '=');
    char name[128], where[160];
    const size_t n = equals ? (size_t)(equals - text) : 0;
    MD_FAIL_IF(n == 0 || n >= sizeof name, MD_ERR_ARGUMENT,
               "--set wants NAME=JSON, such as enable_thinking=false, not '%s'", text);
    memcpy(name, text, n);
    name[n] = '\0';
    MD_FAIL_IF(strcmp(name, "add_generation_prompt") == 0, MD_ERR_ARGUMENT,
               "--set cannot change add_generation_prompt: use --no-generation-prompt");
    snprintf(where, sizeof where, "the value of --set %s", name);
    json_t *value = NULL;
    MD_TRY(parse_json(equals + 1, strlen(equals + 1), where, &value, err));
    char **token = strcmp(name, "bos_token") == 0 ? &j->bos : strcmp(name, "eos_token") == 0 ? &j->eos : NULL;
    if (!token)
        return put(j->variables, name, value, err);
    const md_status status = set_token(name, value, token, err);
    json_decref(value);
    return status;
}

static md_status gather(job *j, md_error *err)
{
    const md_options *o = j->cli->options;
    const md_option_value *settings = &o->value[MD_OPT_SET];
    j->variables = json_object();
    if (!j->variables)
        return md_fail_memory(err, "the variables of the template");
    MD_TRY(take_messages(j, md_opt_text(o, MD_OPT_MESSAGES), err));
    if (md_opt_given(o, MD_OPT_TOOLS))
        MD_TRY(take_tools(j, md_opt_text(o, MD_OPT_TOOLS), err));
    for (size_t i = 0; i < settings->n_list; i++)
        MD_TRY(take_setting(j, settings->list[i], err));
    return MD_OK;
}

/* ---- the template and its model ---- */

static md_status name_of_token(const job *j, int32_t id, char **out, md_error *err)
{
    size_t n = 0;
    const char *bytes = j->tok && id >= 0 ? md_token_bytes(j->tok, id, &n) : NULL;
    *out = md_calloc(n + 1, 1);
    if (!*out)
        return md_fail_memory(err, "the variables of the template");
    if (n)
        memcpy(*out, bytes, n);
    return MD_OK;
}

static md_status open_model(job *j, md_error *err)
{
    const md_options *o = j->cli->options;
    const bool wants_tokens = md_opt_flag(o, MD_OPT_TOKENS);
    if (o->n_operands == 0) {
        MD_FAIL_IF(!md_opt_given(o, MD_OPT_TEMPLATE), MD_ERR_ARGUMENT,
                   "'medley template' wants a MODEL, or a template with --template");
        MD_FAIL_IF(wants_tokens, MD_ERR_ARGUMENT, "--tokens needs a MODEL, whose tokenizer makes them");
    } else {
        MD_TRY(md_cli_open_model(j->cli, &j->model, err));
        j->tok = md_model_tokenizer(j->model);
        if (wants_tokens)
            MD_TRY(md_cli_need_tokenizer(j->model, &j->tok, err));
    }
    MD_TRY(name_of_token(j, j->tok ? md_token_bos(j->tok) : -1, &j->bos, err));
    return name_of_token(j, j->tok ? md_token_eos(j->tok) : -1, &j->eos, err);
}

static md_status compile_file(job *j, const char *path, md_error *err)
{
    md_buf source = {0};
    j->file = path;
    md_status status = md_cli_read_all(path, &source, err);
    if (status == MD_OK) {
        status = md_template_new(source.data, source.len, &j->template_, err);
        if (status != MD_OK)
            status = md_fail_within(err, status, "'%s'", path);
    }
    md_buf_done(&source);
    return status;
}

static md_status compile(job *j, md_error *err)
{
    const char *given = md_opt_text(j->cli->options, MD_OPT_TEMPLATE);
    if (given && strchr(given, '{'))
        return md_template_new(given, strlen(given), &j->template_, err);
    if (given)
        return compile_file(j, given, err);
    size_t n;
    const char *own = md_model_chat_template(j->model, &n);
    MD_FAIL_IF(!own, MD_ERR_UNSUPPORTED, "the model has no chat template: give --template");
    const md_status status = md_template_new(own, n, &j->template_, err);
    return status == MD_OK ? status : md_fail_within(err, status, "the model");
}

static md_status render(job *j, md_error *err)
{
    char *variables = json_dumps(j->variables, JSON_COMPACT);
    if (!variables)
        return md_fail_memory(err, "the variables of the template");
    const md_chat_args args = {.add_generation_prompt = md_opt_flag(j->cli->options, MD_OPT_GENERATION_PROMPT),
                               .bos_token = j->bos,
                               .eos_token = j->eos,
                               .extra_json = variables,
                               .now = (int64_t)time(NULL)};
    md_status status = md_template_render(j->template_, &args, &j->rendered, err);
    free(variables);
    if (j->file && (status == MD_ERR_FORMAT || status == MD_ERR_LIMIT))
        status = md_fail_within(err, status, "'%s'", j->file);
    MD_TRY(status);
    return md_opt_flag(j->cli->options, MD_OPT_TOKENS) ? md_rendered_tokenize(&j->rendered, j->tok, &j->tokens, err)
                                                       : MD_OK;
}

/* ---- output ---- */

static json_t *json_segments(const md_rendered *r)
{
    json_t *list = json_array();
    for (size_t i = 0; list && i < r->n_segments; i++) {
        const md_segment *s = &r->segment[i];
        json_t *one = json_pack("{s:s, s:o}", "from", s->kind == MD_SEGMENT_TEMPLATE ? "template" : "message", "text",
                                md_cli_json_text(r->text + s->start, s->n));
        if (json_array_append_new(list, one) != 0) {
            json_decref(list);
            list = NULL;
        }
    }
    return list;
}

static md_status print(job *j, md_error *err)
{
    const md_rendered *r = &j->rendered;
    const bool tokens = md_opt_flag(j->cli->options, MD_OPT_TOKENS);
    if (md_opt_flag(j->cli->options, MD_OPT_JSON)) {
        json_t *ids = tokens ? md_cli_json_ids(j->tokens.id, j->tokens.n) : NULL;
        if (tokens && !ids)
            return md_fail_memory(err, "the answer");
        return md_cli_write_json(j->cli,
                                 json_pack("{s:o, s:o, s:o*}", "text", md_cli_json_text(r->text, r->n), "segments",
                                           json_segments(r), "tokens", ids),
                                 err);
    }
    if (tokens) {
        for (size_t i = 0; i < j->tokens.n; i++)
            md_cli_printf(j->cli, "%s%d", i ? " " : "", (int)j->tokens.id[i]);
        md_cli_write(j->cli, "\n", 1);
        return MD_OK;
    }
    md_cli_write_text(j->cli, r->text, r->n);
    if (j->cli->out_is_terminal && r->n > 0 && r->text[r->n - 1] != '\n')
        md_cli_write(j->cli, "\n", 1);
    return MD_OK;
}

md_status md_cli_template(md_cli *cli, md_error *err)
{
    job j = {.cli = cli};
    md_status status;
    MD_TRY_GOTO(open_model(&j, err));
    MD_TRY_GOTO(compile(&j, err));
    MD_TRY_GOTO(gather(&j, err));
    MD_TRY_GOTO(render(&j, err));
    MD_TRY_GOTO(print(&j, err));
fail:
    md_tokens_done(&j.tokens);
    md_rendered_done(&j.rendered);
    md_free(j.bos);
    md_free(j.eos);
    json_decref(j.variables);
    md_template_free(j.template_);
    md_model_close(j.model);
    return status;
}
