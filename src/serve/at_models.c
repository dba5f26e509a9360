/* SPDX-License-Identifier: Apache-2.0
 *
 * GET /v1/models, /v1/models/ID and /props: what is served. */
#include "serve/http.h"

#include "serve/text.h"

#include <inttypes.h>
#include <medley/version.h>
#include <string.h>

static void put_model(md_buf *b, const md_server *s)
{
    const md_model_info *info = md_model_get_info(s->model);
    md_buf_puts(b, "{\"id\":");
    md_put_string(b, s->name, strlen(s->name));
    md_buf_printf(
        b, ",\"object\":\"model\",\"created\":%" PRId64 ",\"owned_by\":\"medley\",\"meta\":{\"arch\":", s->began_at);
    md_put_string(b, info->arch, strlen(info->arch));
    md_buf_printf(b,
                  ",\"n_vocab\":%d,\"n_ctx_train\":%d,\"n_embd\":%d,\"n_params\":%" PRIu64
                  ",\"n_params_active\":%" PRIu64 ",\"n_expert\":%d,\"n_expert_used\":%d}}",
                  (int)info->n_vocab, (int)info->n_ctx_train, (int)info->n_embd, info->weights, info->weights_active,
                  (int)info->n_expert, (int)info->n_expert_used);
}

void md_at_models(md_exchange *x)
{
    md_buf b = {0};
    md_buf_puts(&b, "{\"object\":\"list\",\"data\":[");
    put_model(&b, x->server);
    md_buf_puts(&b, "]}");
    md_exchange_json(x, &b);
}

void md_at_model(md_exchange *x)
{
    md_refusal r;
    md_buf b = {0};
    if (strcmp(x->rest, x->server->name) != 0) {
        md_refuse(&r, 404, "model_not_found", "model", "there is no model '%.128s' here, only '%.128s'", x->rest,
                  x->server->name);
        md_exchange_refuse(x, &r);
        return;
    }
    put_model(&b, x->server);
    md_exchange_json(x, &b);
}

void md_at_props(md_exchange *x)
{
    const md_server *s = x->server;
    md_buf b = {0};
    md_buf_puts(&b, "{\"model\":");
    put_model(&b, s);
    md_buf_printf(&b, ",\"version\":\"%s\",\"n_ctx\":%d,\"parallel\":%d,\"queue\":%d,\"prefill\":\"%s\",\"draft\":%d",
                  md_version(), (int)s->args.n_context, (int)s->scheduler.n_running, (int)s->scheduler.n_waiting,
                  md_prefill_name(s->scheduler.prefill), (int)s->scheduler.n_draft);
    md_buf_puts(&b, ",\"chat_template\":");
    if (s->template_source)
        md_put_string(&b, s->template_source, strlen(s->template_source));
    else
        md_buf_puts(&b, "null");
    md_buf_puts(&b, ",\"bos_token\":");
    md_put_string(&b, s->bos, strlen(s->bos));
    md_buf_puts(&b, ",\"eos_token\":");
    md_put_string(&b, s->eos, strlen(s->eos));
    md_buf_putc(&b, '}');
    md_exchange_json(x, &b);
}
