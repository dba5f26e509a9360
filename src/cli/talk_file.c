/* SPDX-License-Identifier: Apache-2.0
 *
 * Conversations in files. What the library saves (md_seq_save) carries our JSON as its text, so that a conversation can
 * be read again where its keys and values are of no use; a .json file is that text alone:
 *   {"messages": [{"role": ..., "content": ...}...], "kept_from": 0}    with a chat template
 *   {"text": "..."}                                                     without one */
#include "cli/talk.h"
#include "base/file.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool is_json(const char *path)
{
    const size_t n = strlen(path);
    return n > 5 && strcmp(path + n - 5, ".json") == 0;
}

static md_status remember_file(md_talk *t, const char *path, md_error *err)
{
    char *copy = md_strdup(path);
    if (!copy)
        return md_fail_memory(err, "a file name");
    md_free(t->file);
    t->file = copy;
    return MD_OK;
}

/* ---- saving ---- */

static json_t *json_messages(const md_talk *t)
{
    json_t *list = json_array();
    for (size_t i = 0; list && i < t->n_messages; i++) {
        const md_message *m = &t->message[i];
        json_array_append_new(list, json_pack("{s:s, s:o}", "role", m->role, "content",
                                              md_cli_json_text(m->content, strlen(m->content))));
    }
    return json_pack("{s:o, s:I}", "messages", list, "kept_from", (json_int_t)t->kept_from);
}

/* The text of the past tokens, special ones by name. */
static json_t *json_raw(const md_talk *t)
{
    md_detok *d = md_detok_new(t->tokenizer, true, true);
    md_buf text = {0};
    const char *piece = "";
    size_t n = 0;
    bool ok = d != NULL;
    const int32_t bos = md_token_bos(t->tokenizer);
    for (size_t i = t->past.n > 0 && t->past.id[0] == bos; ok && i < t->past.n; i++) {
        if (t->past.id[i] >= md_tokenizer_size(t->tokenizer)) /* padding of the vocabulary has no text */
            continue;
        ok = md_detok_push(d, t->past.id[i], &piece, &n, NULL) == MD_OK;
        if (ok)
            md_buf_append(&text, piece, n);
    }
    if (ok && md_detok_finish(d, &piece, &n, NULL) == MD_OK)
        md_buf_append(&text, piece, n);
    json_t *all = ok && !text.failed
                      ? json_pack("{s:o}", "text", md_cli_json_text(text.data ? text.data : "", text.len))
                      : NULL;
    md_buf_done(&text);
    md_detok_free(d);
    return all;
}

static md_status write_text(const char *path, const char *text, md_error *err)
{
    md_out *out = NULL;
    md_status status = md_out_open(path, &out, err);
    if (status == MD_OK)
        status = md_out_write(out, text, strlen(text), err);
    if (status == MD_OK)
        status = md_out_write(out, "\n", 1, err);
    if (status == MD_OK)
        status = md_out_commit(out, err);
    md_out_close(out);
    return status;
}

md_status md_talk_save(md_talk *t, const char *path, md_error *err)
{
    MD_FAIL_IF(access(path, F_OK) == 0 && !(t->file && strcmp(t->file, path) == 0), MD_ERR_ARGUMENT,
               "'%s' exists and is not this conversation's file: name another", path);
    json_t *all = t->template_ ? json_messages(t) : json_raw(t);
    char *text = all ? json_dumps(all, JSON_INDENT(is_json(path) ? 1 : 0)) : NULL;
    json_decref(all);
    if (!text)
        return md_fail_memory(err, "the conversation");
    const md_seq_save_args args = {.token = t->past.id, .n_tokens = t->past.n, .text = text, .n_text = strlen(text)};
    const md_status status = is_json(path) ? write_text(path, text, err) : md_seq_save(t->seq, &args, path, err);
    free(text);
    MD_TRY(status);
    return remember_file(t, path, err);
}

/* ---- loading ---- */

/* Roles live as long as the program: messages borrow them. NULL for one that no template knows. */
static const char *known_role(const char *name)
{
    static const char *const roles[] = {"system",    "user",     "assistant", "tool",
                                        "developer", "function", "ipython",   "observation"};
    for (size_t i = 0; name && i < sizeof roles / sizeof roles[0]; i++)
        if (strcmp(name, roles[i]) == 0)
            return roles[i];
    return NULL;
}

static md_status push_all(md_talk *t, const json_t *list, const char *path, md_error *err)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *m = json_array_get(list, i), *content = json_object_get(m, "content");
        const char *role = known_role(json_string_value(json_object_get(m, "role")));
        MD_FAIL_IF(!role || !json_is_string(content), MD_ERR_FORMAT,
                   "'%s': message %zu is not a known role with a text as its content", path, i + 1);
        MD_TRY(md_talk_push(t, role, json_string_value(content), json_string_length(content), err));
    }
    return MD_OK;
}

/* The form of the conversation is t's own. */
static md_status check_form(const md_talk *t, const json_t *all, const char *path, md_error *err)
{
    const bool messages = json_is_array(json_object_get(all, "messages"));
    MD_FAIL_IF(!messages && !json_is_string(json_object_get(all, "text")), MD_ERR_FORMAT,
               "'%s' holds no conversation: it has neither \"messages\" nor \"text\"", path);
    MD_FAIL_IF(messages && !t->template_, MD_ERR_ARGUMENT,
               "'%s' was made with a chat template, and there is none now: leave out --raw, or give --template", path);
    MD_FAIL_IF(!messages && t->template_, MD_ERR_ARGUMENT, "'%s' was made without a chat template: give --raw", path);
    return MD_OK;
}

/* The sequence becomes what was saved, if it was saved under what runs now. *done: it did. */
static md_status take_state(md_talk *t, const md_saved *saved, md_tokens *past, bool *done, md_error *err)
{
    size_t n;
    const int32_t *id = md_saved_tokens(saved, &n);
    md_error why = {0};
    for (size_t i = 0; i < n; i++)
        MD_TRY(md_tokens_push(past, id[i], err));
    const md_status status = md_seq_load(t->seq, saved, &why);
    *done = status == MD_OK;
    if (status == MD_ERR_UNSUPPORTED || status == MD_ERR_LIMIT) {
        past->n = 0;
        md_cli_note(t->cli, "note: %s; the text is read again before the next answer", why.message);
        return MD_OK;
    }
    if (status != MD_OK && err)
        *err = why;
    return status;
}

/* Makes the conversation anew in `fresh`; saved may be NULL: then there are only messages or text. */
static md_status take(md_talk *t, md_talk *fresh, const md_saved *saved, const json_t *all, const char *path,
                      md_error *err)
{
    const json_t *text = json_object_get(all, "text");
    bool has_state = false;
    MD_TRY(check_form(t, all, path, err));
    if (t->template_) {
        const json_int_t from = json_integer_value(json_object_get(all, "kept_from"));
        MD_TRY(push_all(fresh, json_object_get(all, "messages"), path, err));
        fresh->kept_from = from > 0 && (size_t)from < fresh->n_messages ? (size_t)from : 0;
    }
    if (saved)
        MD_TRY(take_state(t, saved, &fresh->past, &has_state, err));
    if (has_state)
        return MD_OK;
    if (!t->template_)
        MD_TRY(md_talk_tokenize(t, json_string_value(text), json_string_length(text), false, &fresh->past, err));
    return md_seq_trim(t->seq, 0, err);
}

static void swap_conversations(md_talk *a, md_talk *b)
{
    const md_talk old = *a;
    a->message = b->message;
    a->n_messages = b->n_messages;
    a->kept_from = b->kept_from;
    a->past = b->past;
    b->message = old.message;
    b->n_messages = old.n_messages;
    b->past = old.past;
}

static md_status load_text(md_talk *t, const md_saved *saved, const char *text, size_t n, const char *path,
                           md_error *err)
{
    json_error_t where;
    md_talk fresh = {.cli = t->cli};
    json_t *all = json_loadb(text, n, 0, &where);
    md_status status = MD_OK;
    if (!all)
        status = md_fail(err, MD_ERR_FORMAT, "'%s' holds no conversation: line %d: %s", path, where.line, where.text);
    if (status == MD_OK)
        status = take(t, &fresh, saved, all, path, err);
    if (status == MD_OK)
        swap_conversations(t, &fresh);
    md_talk_pop(&fresh, 0);
    md_free(fresh.message);
    md_tokens_done(&fresh.past);
    json_decref(all);
    return status;
}

md_status md_talk_load(md_talk *t, const char *path, md_error *err)
{
    if (is_json(path)) {
        md_buf text = {0};
        md_status status = md_cli_read_all(path, &text, err);
        if (status == MD_OK)
            status = load_text(t, NULL, text.data, text.len, path, err);
        md_buf_done(&text);
        MD_TRY(status);
    } else {
        md_saved *saved;
        size_t n;
        MD_TRY(md_saved_open(path, &saved, err));
        const char *text = md_saved_text(saved, &n);
        const md_status status = load_text(t, saved, text, n, path, err);
        md_saved_close(saved);
        MD_TRY(status);
    }
    return remember_file(t, path, err);
}
