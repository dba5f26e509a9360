/* SPDX-License-Identifier: Apache-2.0
 *
 * libmicrohttpd's side: connections, bodies, who may ask, and responses. A request that is refused is still read to its end,
 * within bounds, so that the client gets to see why. */
#include "serve/http.h"
#include "serve/listen.h"

#include "base/status.h"
#include "base/sys.h"

#include <microhttpd.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define MOST_DROPPED (64u << 20) /* bytes of a body that are read only to be dropped */
#define BLOCK        (32u << 10)

/* ---- answering ---- */

void md_exchange_refuse(md_exchange *x, const md_refusal *r)
{
    md_reply_refuse(x->reply, r);
}

void md_exchange_text(md_exchange *x, const char *type, md_buf *body)
{
    md_refusal r;
    if (body->failed) {
        md_refuse_memory(&r);
        md_exchange_refuse(x, &r);
    } else {
        md_reply_whole(x->reply, 200, type, body);
    }
    md_buf_done(body);
}

void md_exchange_json(md_exchange *x, md_buf *body)
{
    md_exchange_text(x, "application/json", body);
}

void md_server_set_job(md_server *s, md_job *job)
{
    md_ask_forget(&job->ask);
    job->metrics = &s->metrics;
    job->model = s->name;
    job->tokenizer = s->tokenizer;
    job->n_embd = md_model_get_info(s->model)->n_embd;
    job->n_context = s->args.n_context;
}

void md_exchange_post(md_exchange *x, md_job *job)
{
    md_server_set_job(x->server, job);
    memcpy(job->client, x->client, sizeof x->client);
    md_engine_post(x->server->engine, job);
}

void md_exchange_make(md_exchange *x, md_make_fn *make)
{
    md_ask ask = {.n_vocab = md_model_get_info(x->server->model)->n_vocab};
    md_refusal r = {0};
    md_job *j = NULL;
    if (make(x->server, x->reply, &ask, x->body.data, x->body.len, &j, &r))
        md_exchange_post(x, j);
    else
        md_exchange_refuse(x, &r);
    md_ask_done(&ask);
}

/* ---- who may ask ---- */

static const char *header(struct MHD_Connection *c, const char *name)
{
    return MHD_lookup_connection_value(c, MHD_HEADER_KIND, name);
}

static const char *given_key(struct MHD_Connection *c)
{
    const char *bearer = header(c, "Authorization");
    if (bearer && strncasecmp(bearer, "Bearer ", 7) == 0)
        return bearer + 7 + strspn(bearer + 7, " ");
    return header(c, "x-api-key");
}

static bool check_host(const md_server *s, struct MHD_Connection *c, md_refusal *r)
{
    const char *host = header(c, "Host");
    const char *const own[] = {s->args.host};
    if (md_host_allowed(host, s->args.allow_host, s->args.n_allow_host) || md_host_allowed(host, own, 1))
        return true;
    return md_refuse(r, 403, "host_not_allowed", NULL,
                     "requests for the host '%.128s' are not answered: start the server with --allow-host to allow it",
                     host ? host : "");
}

static bool check_body(const md_exchange *x, struct MHD_Connection *c, md_refusal *r)
{
    const char *length = header(c, "Content-Length"), *coding = header(c, "Transfer-Encoding");
    if (strcmp(x->at->method, "POST") != 0)
        return true;
    if (!length && !coding)
        return md_refuse(r, 411, "length_required", NULL, "the request has neither Content-Length nor chunks");
    if (!md_is_json_type(header(c, "Content-Type")))
        return md_refuse(r, 415, "unsupported_media_type", NULL, "the body must be of type application/json");
    return true;
}

/* Everything that headers tell. */
static bool check(md_exchange *x, struct MHD_Connection *c, const char *method, const char *path, md_refusal *r)
{
    md_server *s = x->server;
    int status;
    if (!check_host(s, c, r))
        return false;
    x->at = md_endpoint_find(method, path, &status);
    const char *key = given_key(c);
    x->key = md_keys_find(&s->keys, key);
    if (x->key > 0)
        md_keys_client(key, x->client);
    if (x->key == 0 && !(x->at && x->at->open))
        return md_refuse(r, 401, "invalid_api_key", NULL,
                         "an API key is needed, as 'Authorization: Bearer KEY' or 'x-api-key: KEY'");
    if (!x->at && status == 405)
        return md_refuse(r, 405, "method_not_allowed", NULL, "%.16s is not possible at %.128s", method, path);
    if (!x->at)
        return md_refuse(r, 404, "not_found", NULL, "there is nothing at %.16s %.128s", method, path);
    x->rest = path + strlen(x->at->path);
    return check_body(x, c, r);
}

/* ---- responses ---- */

static ssize_t read_stream(void *cls, uint64_t at, char *to, size_t n)
{
    (void)at;
    const long got = md_reply_take(cls, to, n);
    return got == -1 ? MHD_CONTENT_READER_END_OF_STREAM : got < 0 ? MHD_CONTENT_READER_END_WITH_ERROR : got;
}

static void free_stream(void *cls)
{
    md_reply_release(cls);
}

static void add_headers(const md_exchange *x, struct MHD_Response *response, const md_reply *p)
{
    char seconds[16];
    MHD_add_response_header(response, "Content-Type", p->type ? p->type : "application/json");
    MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
    if (p->stream)
        MHD_add_response_header(response, "Cache-Control", "no-cache");
    if (p->status == 401)
        MHD_add_response_header(response, "WWW-Authenticate", "Bearer");
    if (p->retry_after > 0) {
        snprintf(seconds, sizeof seconds, "%d", (int)p->retry_after);
        MHD_add_response_header(response, "Retry-After", seconds);
    }
    if (p->status == 503)
        MHD_add_response_header(response, "Connection", "close");
    if (x->server->args.cors) {
        MHD_add_response_header(response, "Access-Control-Allow-Origin", x->server->args.cors);
        MHD_add_response_header(response, "Vary", "Origin");
    }
    if (p->type && strncmp(p->type, "text/html", 9) == 0) {
        MHD_add_response_header(response, "Content-Security-Policy",
                                "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
                                "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
                                "require-trusted-types-for 'script'; trusted-types 'none'");
        MHD_add_response_header(response, "Referrer-Policy", "no-referrer");
    }
}

/* The reply is ready. */
static enum MHD_Result respond(md_exchange *x, struct MHD_Connection *c)
{
    md_reply *p = x->reply;
    struct MHD_Response *response;
    if (!p->ready)
        return MHD_NO; /* nobody listens any more */
    if (p->stream) {
        response = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, BLOCK, read_stream, md_reply_hold(p),
                                                     free_stream);
        if (!response)
            md_reply_release(p);
    } else {
        response = MHD_create_response_from_buffer(p->data.len, p->data.data ? p->data.data : (void *)(uintptr_t) "",
                                                   MHD_RESPMEM_MUST_COPY);
    }
    if (!response)
        return MHD_NO;
    add_headers(x, response, p);
    md_metrics_request(&x->server->metrics, x->at ? md_endpoint_index(x->at) : MD_METRICS_ENDPOINTS - 1, p->status);
    const enum MHD_Result queued = MHD_queue_response(c, (unsigned)p->status, response);
    MHD_destroy_response(response);
    return queued;
}

/* What a browser asks before a page of another origin may ask. */
static enum MHD_Result preflight(md_exchange *x, struct MHD_Connection *c)
{
    struct MHD_Response *response = MHD_create_response_from_buffer(0, (void *)(uintptr_t) "", MHD_RESPMEM_PERSISTENT);
    if (!response)
        return MHD_NO;
    MHD_add_response_header(response, "Access-Control-Allow-Origin", x->server->args.cors);
    MHD_add_response_header(response, "Access-Control-Allow-Methods", "GET, POST");
    MHD_add_response_header(response, "Access-Control-Allow-Headers", "Authorization, Content-Type, x-api-key");
    MHD_add_response_header(response, "Access-Control-Max-Age", "600");
    MHD_add_response_header(response, "Vary", "Origin");
    const enum MHD_Result queued = MHD_queue_response(c, 204, response);
    MHD_destroy_response(response);
    return queued;
}

/* ---- requests ---- */

static md_exchange *exchange_new(md_server *s, struct MHD_Connection *c)
{
    md_exchange *x = md_calloc(1, sizeof *x);
    if (!x)
        return NULL;
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(c, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    x->server = s;
    x->peer = info ? info->socket_context : NULL;
    x->reply = md_reply_new(c);
    if (x->reply)
        return x;
    md_free(x);
    return NULL;
}

static void take_body(md_exchange *x, const char *data, size_t n)
{
    const size_t most = x->server->args.most_body;
    x->received += n;
    if (x->refusal.status != 0)
        return;
    if (x->received > most)
        md_refuse(&x->refusal, 413, "body_too_large", NULL, "the body is larger than the %zu bytes that are possible",
                  most);
    else
        md_buf_append(&x->body, data, n);
    if (x->body.failed)
        md_refuse_memory(&x->refusal);
    if (x->refusal.status != 0)
        md_buf_done(&x->body);
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *c, const char *path, const char *method,
                                  const char *version, const char *data, size_t *n, void **state)
{
    md_server *s = cls;
    md_exchange *x = *state;
    (void)version;
    if (!x) {
        x = exchange_new(s, c);
        if (!x)
            return MHD_NO;
        *state = x;
        check(x, c, method, path, &x->refusal);
        return MHD_YES;
    }
    if (*n > 0) {
        take_body(x, data, *n);
        *n = 0;
        return x->received <= s->args.most_body + MOST_DROPPED ? MHD_YES : MHD_NO;
    }
    if (x->peer)
        md_peer_has_request(s, x->peer, true);
    if (!x->answered) {
        x->answered = true;
        const bool asks = s->args.cors && strcmp(method, "OPTIONS") == 0;
        if (asks && x->refusal.status != 403)
            return preflight(x, c);
        if (x->refusal.status != 0)
            md_exchange_refuse(x, &x->refusal);
        else
            x->at->fn(x);
        md_buf_done(&x->body);
    }
    return md_reply_wait(x->reply) ? respond(x, c) : MHD_YES;
}

static void on_completed(void *cls, struct MHD_Connection *c, void **state, enum MHD_RequestTerminationCode how)
{
    md_server *s = cls;
    md_exchange *x = *state;
    (void)c;
    (void)how;
    if (!x)
        return;
    *state = NULL;
    if (x->peer)
        md_peer_has_request(s, x->peer, false);
    md_reply_leave(x->reply);
    md_engine_kick(s->engine);
    md_reply_release(x->reply);
    md_buf_done(&x->body);
    md_free(x);
}

static void on_connection(void *cls, struct MHD_Connection *c, void **context, enum MHD_ConnectionNotificationCode what)
{
    if (what == MHD_CONNECTION_NOTIFY_STARTED) {
        const union MHD_ConnectionInfo *info = MHD_get_connection_info(c, MHD_CONNECTION_INFO_CONNECTION_FD);
        *context = md_peer_new(cls, info ? info->connect_fd : -1);
    } else if (*context) {
        md_peer_free(cls, *context);
        *context = NULL;
    }
}

static void drop_log(void *cls, const char *fmt, va_list ap)
{
    (void)cls; /* what clients do wrong is no news */
    (void)fmt;
    (void)ap;
}

md_status md_http_start(md_server *s, md_error *err)
{
    const unsigned tls = s->args.tls_cert ? MHD_USE_TLS : 0;
    struct MHD_OptionItem more[] = {{MHD_OPTION_END, 0, NULL}, {MHD_OPTION_END, 0, NULL}, {MHD_OPTION_END, 0, NULL}};
    MD_FAIL_IF(tls && MHD_is_feature_supported(MHD_FEATURE_TLS) != MHD_YES, MD_ERR_UNSUPPORTED,
               "this libmicrohttpd has no TLS: go without --tls-cert, or put a proxy in front");
    if (tls) {
        more[0] = (struct MHD_OptionItem){MHD_OPTION_HTTPS_MEM_CERT, 0, (void *)(uintptr_t)s->args.tls_cert};
        more[1] = (struct MHD_OptionItem){MHD_OPTION_HTTPS_MEM_KEY, 0, (void *)(uintptr_t)s->args.tls_key};
    }
    s->daemon = MHD_start_daemon(
        MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG | tls, 0, NULL, NULL, on_request,
        s, MHD_OPTION_EXTERNAL_LOGGER, drop_log, NULL, MHD_OPTION_LISTEN_SOCKET, s->listen_fd,
        MHD_OPTION_THREAD_POOL_SIZE, (unsigned)MD_HTTP_THREADS, MHD_OPTION_CONNECTION_LIMIT,
        (unsigned)s->args.most_connections, MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)MD_HTTP_IDLE_SECONDS,
        MHD_OPTION_NOTIFY_COMPLETED, on_completed, s, MHD_OPTION_NOTIFY_CONNECTION, on_connection, s, MHD_OPTION_ARRAY,
        more, MHD_OPTION_END);
    MD_FAIL_IF(!s->daemon && tls, MD_ERR_ARGUMENT, "the server does not start: look at --tls-cert and --tls-key");
    MD_FAIL_IF(!s->daemon, MD_ERR_IO, "the server does not start");
    return MD_OK;
}
