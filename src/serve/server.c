/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/server.h"

#include "serve/http.h"
#include "serve/listen.h"

#include "base/status.h"
#include "base/sys.h"

#include <microhttpd.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LAST_WORDS_SECONDS 1.0 /* for what was said to be sent */

/* A token's text as a C string, "" for none; NULL when memory is out. */
static char *token_name(const md_tokenizer *t, int32_t id)
{
    size_t n = 0;
    const char *bytes = id >= 0 ? md_token_bytes(t, id, &n) : NULL;
    char *name = md_calloc(n + 1, 1);
    if (name && n)
        memcpy(name, bytes, n);
    return name;
}

static bool is_special(const md_tokenizer *t, const char *mark)
{
    const int32_t id = md_token_find(t, mark, strlen(mark));
    return id >= 0 && md_token_is_special(t, id);
}

static md_status open_template(md_server *s, const md_server_args *args, md_error *err)
{
    static const char *const marks[] = {"<think>", "</think>", "<tool_call>", "[TOOL_CALLS]", "<|python_tag|>"};
    s->tool_syntax = MD_TOOL_BARE;
    for (size_t i = 0; i < sizeof marks / sizeof *marks; i++)
        s->hides_marks |= is_special(s->tokenizer, marks[i]);
    if (!args->template_)
        return MD_OK;
    s->tool_syntax = md_tool_syntax_of(args->template_, args->n_template);
    s->template_has_tools = memmem(args->template_, args->n_template, "tools", 5) != NULL;
    s->template_source = md_calloc(args->n_template + 1, 1);
    if (!s->template_source)
        return md_fail_memory(err, "the chat template");
    memcpy(s->template_source, args->template_, args->n_template);
    return md_template_new(args->template_, args->n_template, &s->template_, err);
}

static md_status take_args(md_server *s, const md_server_args *args, md_error *err)
{
    s->model = args->model;
    s->args = *args;
    s->scheduler = *args->scheduler;
    s->args.scheduler = &s->scheduler;
    s->tokenizer = md_model_tokenizer(args->model);
    s->port = args->port;
    s->began = md_sys_seconds();
    s->began_at = (int64_t)time(NULL);
    MD_FAIL_IF(!s->tokenizer, MD_ERR_UNSUPPORTED, "this model cannot be given text: %s",
               md_model_tokenizer_error(args->model));
    s->name = md_strdup(args->name);
    s->bos = token_name(s->tokenizer, md_token_bos(s->tokenizer));
    s->eos = token_name(s->tokenizer, md_token_eos(s->tokenizer));
    if (!s->name || !s->bos || !s->eos)
        return md_fail_memory(err, "the server");
    return open_template(s, args, err);
}

md_status md_server_new_silent(const md_server_args *args, md_server **out, md_error *err)
{
    *out = NULL;
    md_server *s = md_calloc(1, sizeof *s);
    if (!s)
        return md_fail_memory(err, "the server");
    s->listen_fd = -1;
    pthread_mutex_init(&s->lock, NULL);
    md_status status = md_metrics_init(&s->metrics) ? MD_OK : md_fail_memory(err, "the server");
    if (status == MD_OK)
        status = md_keys_init(&s->keys, NULL, err);
    if (status == MD_OK)
        status = take_args(s, args, err);
    if (status != MD_OK)
        md_server_free(s);
    else
        *out = s;
    return status;
}

md_status md_server_new(const md_server_args *args, md_server **out, md_error *err)
{
    *out = NULL;
    md_server *s = md_calloc(1, sizeof *s);
    if (!s)
        return md_fail_memory(err, "the server");
    s->listen_fd = -1;
    md_status status = MD_OK;
    pthread_mutex_init(&s->lock, NULL);
    if (!md_metrics_init(&s->metrics))
        status = md_fail_memory(err, "the server");
    if (status == MD_OK)
        status = md_keys_init(&s->keys, args->key_file, err);
    if (status == MD_OK)
        status = take_args(s, args, err);
    if (status == MD_OK)
        status = md_listen(args->host, &s->port, &s->listen_fd, err);
    if (status == MD_OK)
        status = md_engine_new(&(md_engine_args){.session = args->session,
                                                 .scheduler = &s->scheduler,
                                                 .most_jobs = s->scheduler.n_waiting},
                               &s->engine, err);
    if (status == MD_OK)
        status = md_http_start(s, err);
    if (status != MD_OK)
        md_server_free(s);
    else
        *out = s;
    return status;
}

int md_server_port(const md_server *s)
{
    return s->port;
}

bool md_server_keys_exposed(const md_server *s)
{
    return md_keys_exposed(&s->keys);
}

md_status md_server_reload(md_server *s, md_error *err)
{
    return md_keys_reload(&s->keys, err);
}

void md_server_tick(md_server *s)
{
    md_engine_tick(s->engine);
    md_peers_tick(s);
}

void md_server_stop(md_server *s, double drain_seconds, bool (*hurry)(void))
{
    const double until = md_sys_seconds() + drain_seconds;
    const int fd = MHD_quiesce_daemon(s->daemon);
    if (fd >= 0) {
        close(fd);
        s->listen_fd = -1;
    }
    md_engine_drain(s->engine);
    while (!md_engine_idle(s->engine) && md_sys_seconds() < until && !hurry()) {
        md_server_tick(s);
        nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
    }
}

void md_server_free(md_server *s)
{
    if (!s)
        return;
    const bool listening = s->daemon != NULL;
    md_engine *engine = s->engine;
    md_engine_close(engine); /* ends all replies: no connection stays suspended */
    if (s->daemon) {
        const double until = md_sys_seconds() + LAST_WORDS_SECONDS;
        while (md_peers_busy(s) && md_sys_seconds() < until)
            nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
        MHD_stop_daemon(s->daemon);
    }
    if (s->listen_fd >= 0 && !listening)
        close(s->listen_fd);
    md_engine_free(engine);
    md_template_free(s->template_);
    md_free(s->template_source);
    md_free(s->name);
    md_free(s->bos);
    md_free(s->eos);
    md_keys_done(&s->keys);
    md_metrics_done(&s->metrics);
    pthread_mutex_destroy(&s->lock);
    md_free(s);
}
