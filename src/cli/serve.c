/* SPDX-License-Identifier: Apache-2.0
 *
 * `medley serve`: opens model and session, starts the server (src/serve/), and waits for signals: SIGTERM and SIGINT stop it
 * with grace, a second one at once; SIGHUP reads the API keys again. */
#include "cli/cli.h"
#include "serve/server.h"

#include <string.h>
#include <time.h>

#define TICK_NS     100000000
#define HTTP_BYTES  (32 << 20) /* connections, requests and answers on their way; of --memory */
#define USUAL_DRAFT 4
#define KV_SHARE    8    /* of --memory: what keys and values get is one part of so many */
#define LEAST_ROOM  2048 /* positions */

typedef struct serving {
    md_cli *cli;
    md_model *model;     /* owned */
    md_session *session; /* owned */
    md_model *small;     /* owned: that drafts, or NULL */
    md_session *drafter; /* owned */
    md_buf template_, cert, key;
    char *name; /* owned */
    md_scheduler_args scheduler;
    md_server_args args;
    md_cli_tracing tracing;
    md_server *server; /* owned */
} serving;

/* ---- options ---- */

static md_status read_size(const md_options *o, md_option which, const char *name, uint64_t *out, md_error *err)
{
    return md_cli_parse_size(name, md_opt_text(o, which), 0, out, err);
}

static md_status read_scheduler(const md_options *o, md_scheduler_args *a, md_error *err)
{
    md_scheduler_args_default(a);
    uint64_t bytes;
    a->n_running = (int32_t)md_opt_int(o, MD_OPT_PARALLEL);
    a->n_waiting = (int32_t)md_opt_int(o, MD_OPT_QUEUE);
    a->prefill = (md_prefill)md_opt_int(o, MD_OPT_PREFILL);
    a->step_seconds = md_opt_number(o, MD_OPT_TBT_TARGET) / 1000.0;
    a->n_draft = (int32_t)md_opt_int(o, MD_OPT_DRAFT);
    a->share_prefixes = md_opt_flag(o, MD_OPT_SHARE_PREFIXES);
    a->kv_folder = md_opt_text(o, MD_OPT_KV_DISK);
    MD_TRY(read_size(o, MD_OPT_KV_DISK_SIZE, "--kv-disk-size", &bytes, err));
    a->kv_folder_bytes = (int64_t)bytes;
    return MD_OK;
}

static md_status read_template(serving *v, md_error *err)
{
    const char *given = md_opt_text(v->cli->options, MD_OPT_TEMPLATE);
    if (given && !strchr(given, '{')) {
        MD_TRY(md_cli_read_all(given, &v->template_, err));
        v->args.template_ = v->template_.data;
        v->args.n_template = v->template_.len;
    } else if (given) {
        v->args.template_ = given;
        v->args.n_template = strlen(given);
    } else {
        v->args.template_ = md_model_chat_template(v->model, &v->args.n_template);
        if (!v->args.template_ && md_model_get_info(v->model)->has_logits)
            md_cli_note(v->cli, "note: the model has no chat template, so there are no chats; --template gives one");
    }
    return MD_OK;
}

static md_status read_tls(serving *v, md_error *err)
{
    const char *cert = md_opt_text(v->cli->options, MD_OPT_TLS_CERT),
               *key = md_opt_text(v->cli->options, MD_OPT_TLS_KEY);
    MD_FAIL_IF(!cert != !key, MD_ERR_ARGUMENT, "--tls-cert and --tls-key go together");
    if (!cert)
        return MD_OK;
    MD_TRY(md_cli_read_all(cert, &v->cert, err));
    MD_TRY(md_cli_read_all(key, &v->key, err));
    v->args.tls_cert = v->cert.data;
    v->args.tls_key = v->key.data;
    return MD_OK;
}

static md_status read_args(serving *v, md_error *err)
{
    const md_options *o = v->cli->options;
    const md_option_value *hosts = &o->value[MD_OPT_ALLOW_HOST];
    uint64_t body;
    MD_TRY(read_scheduler(o, &v->scheduler, err));
    MD_TRY(read_size(o, MD_OPT_MAX_BODY, "--max-body", &body, err));
    MD_FAIL_IF(body > 1u << 30, MD_ERR_ARGUMENT, "--max-body may be 1G at most");
    v->name = md_opt_given(o, MD_OPT_ALIAS) ? md_strdup(md_opt_text(o, MD_OPT_ALIAS))
                                            : md_cli_model_name(o->operand[0]);
    if (!v->name)
        return md_fail_memory(err, "the model's name");
    v->args = (md_server_args){.scheduler = &v->scheduler,
                               .name = v->name,
                               .host = md_opt_text(o, MD_OPT_HOST),
                               .port = (int)md_opt_int(o, MD_OPT_PORT),
                               .key_file = md_opt_text(o, MD_OPT_API_KEY_FILE),
                               .allow_host = hosts->list,
                               .n_allow_host = hosts->n_list,
                               .cors = md_opt_text(o, MD_OPT_CORS),
                               .most_body = (size_t)body,
                               .most_connections = (int32_t)md_opt_int(o, MD_OPT_CONNECTIONS)};
    return read_tls(v, err);
}

/* ---- starting ---- */

/* The model that drafts comes first: what it takes is then not free any more. */
static md_status open_small(serving *v, md_error *err)
{
    const md_options *o = v->cli->options;
    if (!md_opt_given(o, MD_OPT_DRAFT_MODEL))
        return MD_OK;
    MD_FAIL_IF(md_opt_given(o, MD_OPT_MEMORY), MD_ERR_ARGUMENT,
               "--draft-model and --memory do not go together: memory of a second model is not counted yet");
    if (v->scheduler.n_draft == 0)
        v->scheduler.n_draft = USUAL_DRAFT;
    return md_model_open(md_opt_text(o, MD_OPT_DRAFT_MODEL), &(md_model_args){.stream = MD_STREAM_NEVER}, &v->small,
                         err);
}

static md_status open_drafter(serving *v, const md_session_args *session, md_error *err)
{
    md_session_args args;
    md_scheduler_drafter_args(v->small, &v->scheduler, session, &args);
    MD_TRY(md_session_new(v->small, &args, &v->drafter, err));
    v->scheduler.drafter = v->drafter;
    return MD_OK;
}

/* Under a bound, keys and values get an eighth of it unless the user says otherwise: experts' slots need the rest more. */
static md_status fit_room(const serving *v, md_session_args *args, md_error *err)
{
    const md_options *o = v->cli->options;
    int64_t bound;
    MD_TRY(md_cli_memory(v->cli, &bound, err));
    if (bound == 0 || md_opt_given(o, MD_OPT_ROOM) || md_opt_given(o, MD_OPT_SERVE_CTX))
        return MD_OK;
    md_memory need;
    MD_TRY(md_session_estimate(v->model, args, &need, err));
    const double most = (double)bound / KV_SHARE * args->n_positions / (double)(need.kv > 0 ? need.kv : 1);
    if (most >= args->n_positions)
        return MD_OK;
    const int32_t room = most > LEAST_ROOM ? (int32_t)most : LEAST_ROOM;
    args->n_positions = room < args->n_positions ? room : args->n_positions;
    args->n_context = args->n_context < args->n_positions ? args->n_context : args->n_positions;
    return MD_OK;
}

static md_status open_session(serving *v, md_error *err)
{
    const md_options *o = v->cli->options;
    md_session_args args;
    md_scheduler_session_args(v->model, &v->scheduler, &args);
    if (md_opt_given(o, MD_OPT_SERVE_CTX)) {
        const int32_t had = args.n_context ? args.n_context : args.n_positions;
        const int32_t full = had > 0 ? args.n_positions / had : 1;
        const int64_t context = md_opt_int(o, MD_OPT_SERVE_CTX), room = context * (full > 0 ? full : 1);
        args.n_context = (int32_t)context;
        args.n_positions = room > INT32_MAX ? INT32_MAX : (int32_t)room;
    }
    if (md_opt_given(o, MD_OPT_ROOM))
        args.n_positions = (int32_t)md_opt_int(o, MD_OPT_ROOM);
    if (args.n_context > args.n_positions)
        args.n_context = args.n_positions;
    if (md_opt_given(o, MD_OPT_THREADS))
        args.n_threads = (int32_t)md_opt_int(o, MD_OPT_THREADS);
    if (md_opt_given(o, MD_OPT_RUN_KV_TYPE))
        args.kv_type = (md_kv_type)md_opt_int(o, MD_OPT_RUN_KV_TYPE);
    MD_TRY(fit_room(v, &args, err));
    v->args.n_context = args.n_context ? args.n_context : args.n_positions;
    args.others = md_scheduler_bytes(v->model, &v->scheduler, &args) + HTTP_BYTES;
    MD_TRY(md_cli_open_session(v->cli, v->model, &args, &v->session, err));
    if (v->small)
        MD_TRY(open_drafter(v, &args, err));
    return md_cli_warm(v->cli, v->model, v->session, err);
}

static void show_start(const serving *v)
{
    const md_server_args *a = &v->args;
    const md_model_info *info = md_model_get_info(v->model);
    char weights[32];
    md_cli_note(v->cli, "  model     %s (%s, %s%s)", v->name, info->arch,
                md_cli_count(weights, sizeof weights, info->weights),
                md_model_streams(v->model) ? ", experts streamed" : "");
    md_cli_note(v->cli, "  threads   %d", (int)md_session_threads(v->session));
    md_cli_note(v->cli, "  requests  %d at once of up to %d tokens each, %d in all; %d may wait",
                (int)v->scheduler.n_running, (int)a->n_context, (int)md_session_free_positions(v->session),
                (int)v->scheduler.n_waiting);
    md_cli_note(v->cli, "  prefill   %s", md_prefill_name(v->scheduler.prefill));
    md_cli_note(v->cli, "  keys      %s", a->key_file ? "needed" : "none needed");
    if (a->key_file && md_server_keys_exposed(v->server))
        md_cli_note(v->cli, "warning: everybody on this machine may read '%s': chmod o-r", a->key_file);
    if (!a->key_file && strncmp(a->host, "127.", 4) != 0 && strcmp(a->host, "localhost") != 0 &&
        strcmp(a->host, "::1") != 0)
        md_cli_note(v->cli, "warning: anybody who reaches %s may ask: give --api-key-file", a->host);
}

static md_status announce(const serving *v, md_error *err)
{
    const bool v6 = strchr(v->args.host, ':') != NULL;
    md_buf url = {0};
    md_buf_printf(&url, "%s://%s%s%s:%d", v->args.tls_cert ? "https" : "http", v6 ? "[" : "", v->args.host,
                  v6 ? "]" : "", md_server_port(v->server));
    md_status status = MD_OK;
    if (url.failed)
        status = md_fail_memory(err, "the server's address");
    else if (md_opt_flag(v->cli->options, MD_OPT_JSON))
        status = md_cli_write_json(v->cli,
                                   json_pack("{s:o, s:s, s:i}", "model", md_cli_json_text(v->name, strlen(v->name)),
                                             "url", url.data, "port", md_server_port(v->server)),
                                   err);
    else
        md_cli_printf(v->cli, "serving %s on %s\n", v->name, url.data);
    md_buf_done(&url);
    MD_TRY(status);
    return md_cli_flush(v->cli, err);
}

/* ---- running ---- */

/* The signals that came after the first. */
static bool hurry(void)
{
    return md_cli_interrupted() != 0;
}

static void wait_for_signals(serving *v)
{
    int hangups = md_cli_hangups();
    md_error err;
    while (!md_cli_interrupted()) {
        nanosleep(&(struct timespec){.tv_nsec = TICK_NS}, NULL);
        md_server_tick(v->server);
        if (md_cli_hangups() == hangups)
            continue;
        hangups = md_cli_hangups();
        if (md_server_reload(v->server, &err) == MD_OK)
            md_cli_note(v->cli, "the API keys were read again");
        else
            md_cli_note(v->cli, "the API keys stay as they were: %s", err.message);
    }
}

static md_status serve(serving *v, md_error *err)
{
    MD_TRY(read_args(v, err));
    MD_TRY(open_small(v, err));
    MD_TRY(md_cli_open_model(v->cli, &v->model, err));
    md_cli_show_notes(v->cli, v->model);
    v->args.model = v->model;
    MD_TRY(read_template(v, err));
    MD_TRY(open_session(v, err));
    v->args.session = v->session;
    MD_TRY(md_cli_tracing_begin(v->cli, v->model, v->session, &v->tracing, err));
    MD_TRY(md_server_new(&v->args, &v->server, err));
    show_start(v);
    MD_TRY(announce(v, err));
    wait_for_signals(v);
    const double drain = md_opt_number(v->cli->options, MD_OPT_DRAIN);
    md_cli_note(v->cli, "stopping: what runs may go on for %g s; a second signal ends it", drain);
    md_cli_forget_interrupt();
    md_server_stop(v->server, drain, hurry);
    return MD_OK;
}

md_status md_cli_serve(md_cli *cli, md_error *err)
{
    serving v = {.cli = cli};
    md_cli_catch_interrupts();
    md_cli_catch_hangups();
    md_status status = serve(&v, err);
    md_server_free(v.server);
    status = md_cli_tracing_end(&v.tracing, status, err);
    md_cli_keep_uses(cli, v.model, v.session);
    md_session_free(v.session);
    md_session_free(v.drafter);
    md_model_close(v.model);
    md_model_close(v.small);
    if (v.key.data)
        explicit_bzero(v.key.data, v.key.len);
    md_buf_done(&v.template_);
    md_buf_done(&v.cert);
    md_buf_done(&v.key);
    md_free(v.name);
    return status;
}
