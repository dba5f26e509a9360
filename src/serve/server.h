/* SPDX-License-Identifier: Apache-2.0
 *
 * The server: HTTP in front of a scheduler. Threads: those of libmicrohttpd parse requests, render templates, tokenize, and
 * send; one engine thread owns the session and its scheduler (engine.h). The caller's thread starts and stops all of it, and
 * calls md_server_tick now and then. */
#ifndef MD_SERVE_SERVER_H
#define MD_SERVE_SERVER_H

#include <medley/error.h>
#include <medley/scheduler.h>

typedef struct md_server md_server;

typedef struct md_server_args {
    const md_model *model; /* borrowed */
    md_session *session;   /* borrowed: the server's alone until md_server_free */
    const md_scheduler_args *scheduler;
    const char *name;      /* what the model is called; copied */
    const char *template_; /* [n_template] source of the chat template, or NULL; copied */
    size_t n_template;
    int32_t n_context;              /* most positions of a request; 0: what the session has */
    const char *host;               /* address or name to listen at */
    int port;                       /* 0: any that is free */
    const char *key_file;           /* or NULL; borrowed until md_server_free */
    const char *tls_cert, *tls_key; /* PEM texts, both or none; borrowed until md_server_free */
    const char *const *allow_host;  /* [n_allow_host] names that Host may have beside loopback's; borrowed likewise */
    size_t n_allow_host;
    const char *cors; /* origin whose pages may ask, or NULL; borrowed likewise */
    size_t most_body; /* bytes */
    int32_t most_connections;
} md_server_args;

/* Starts listening and answering. */
md_status md_server_new(const md_server_args *args, md_server **out, md_error *err) MD_MUST_USE;
/* One that does not listen and runs nothing: what is known of a model, for those who make jobs of bodies themselves. */
md_status md_server_new_silent(const md_server_args *args, md_server **out, md_error *err) MD_MUST_USE;
int md_server_port(const md_server *s);
bool md_server_keys_exposed(const md_server *s);
/* To be called some times a second: comments in streams that are silent, connections that dawdle. */
void md_server_tick(md_server *s);
/* Reads the file of API keys again; on failure the keys stay. */
md_status md_server_reload(md_server *s, md_error *err) MD_MUST_USE;
/* No new connections, 503 for what is new or waits; answers that run may go on for so many seconds, or until hurry says so. */
void md_server_stop(md_server *s, double drain_seconds, bool (*hurry)(void));
/* Stops at once what still runs. NULL allowed. */
void md_server_free(md_server *s);

#endif
