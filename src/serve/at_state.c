/* SPDX-License-Identifier: Apache-2.0
 *
 * GET /health, /metrics, /slots and /experts: how the server is. */
#include "serve/http.h"

#include "base/sys.h"

#include <inttypes.h>

void md_at_health(md_exchange *x)
{
    md_buf b = {0};
    md_buf_puts(&b, "{\"status\":\"ok\"}");
    md_exchange_json(x, &b);
}

/* ---- metrics ---- */

static void put(md_buf *b, const char *name, const char *kind, const char *help, double value)
{
    md_buf_printf(b, "# HELP medley_%s %s\n# TYPE medley_%s %s\nmedley_%s %.17g\n", name, help, name, kind, name,
                  value);
}

static void put_scheduler(md_buf *b, const md_scheduler_counts *c)
{
    static const char counter[] = "counter", gauge[] = "gauge";
    put(b, "running", gauge, "Requests that take part in steps.", c->running);
    put(b, "waiting", gauge, "Requests that wait for a place.", c->waiting);
    put(b, "engine_requests_total", counter, "Requests to the engine: one for each choice.", (double)c->requests);
    put(b, "engine_ended_total", counter, "Of these, those that ended.", (double)c->ended);
    put(b, "engine_failed_total", counter, "Of these, those that failed.", (double)c->failed);
    put(b, "engine_cancelled_total", counter, "Of these, those whose clients went away or that were stopped.",
        (double)c->cancelled);
    put(b, "engine_preempted_total", counter, "Times that a request gave its place back.", (double)c->preempted);
    put(b, "steps_total", counter, "Steps of the engine.", (double)c->steps);
    put(b, "busy_seconds_total", counter, "Seconds in steps.", c->busy_seconds);
    put(b, "prompt_tokens_total", counter, "Prompt tokens that were computed.", (double)c->prompt_tokens);
    put(b, "cached_tokens_total", counter, "Prompt tokens that were there already.", (double)c->cached_tokens);
    put(b, "answer_tokens_total", counter, "Tokens of answers.", (double)c->answer_tokens);
    put(b, "drafted_tokens_total", counter, "Tokens that were drafted.", (double)c->drafted);
    put(b, "accepted_tokens_total", counter, "Drafted tokens that proved right.", (double)c->accepted);
    put(b, "kv_pages", gauge, "Pages of keys and values.", (double)c->pages);
    put(b, "kv_prefix_pages", gauge, "Pages that only kept prefixes hold.", (double)c->prefix_pages);
    put(b, "kv_pages_restored_total", counter, "Pages that came back from the folder.", (double)c->pages_restored);
    put(b, "kv_pages_saved_total", counter, "Pages that went to the folder.", (double)c->pages_saved);
    put(b, "prefill_chunk_tokens", gauge, "Prompt tokens that the next step may have beside answers.", c->chunk);
}

static void put_stream(md_buf *b, const md_stream_counts *c)
{
    static const char counter[] = "counter";
    if (c->experts == 0)
        return;
    put(b, "expert_hits_total", counter, "Experts that steps found in memory.", (double)c->hits);
    put(b, "expert_misses_total", counter, "Experts that were read for a step.", (double)c->misses);
    put(b, "expert_bytes_read_total", counter, "Bytes of experts read from files.", (double)c->bytes);
    put(b, "expert_wait_seconds_total", counter, "Seconds that steps waited for experts.", c->wait);
    put(b, "expert_slots", "gauge", "Experts that there is room for.", (double)c->slots);
}

void md_at_metrics(md_exchange *x)
{
    md_engine_view v;
    md_buf b = {0};
    md_engine_look(x->server->engine, &v);
    md_metrics_write(&x->server->metrics, md_endpoint_path, &b);
    put_scheduler(&b, &v.counts);
    put_stream(&b, &v.stream);
    put(&b, "resident_bytes", "gauge", "Memory that the process holds.", (double)md_sys_rss());
    put(&b, "uptime_seconds", "gauge", "Since the start.", md_sys_seconds() - x->server->began);
    md_exchange_text(x, "text/plain; version=0.0.4; charset=utf-8", &b);
}

/* ---- slots, experts ---- */

void md_at_slots(md_exchange *x)
{
    md_engine_view v;
    md_buf b = {0};
    md_engine_look(x->server->engine, &v);
    md_buf_printf(&b, "{\"parallel\":%d,\"running\":%d,\"waiting\":%d,\"jobs\":%d,\"slots\":",
                  (int)x->server->scheduler.n_running, (int)v.counts.running, (int)v.counts.waiting, (int)v.jobs);
    md_engine_slots(x->server->engine, &b);
    md_buf_putc(&b, '}');
    md_exchange_json(x, &b);
}

void md_at_experts(md_exchange *x)
{
    md_refusal r;
    if (md_engine_watch(x->server->engine, x->reply))
        return;
    md_refuse(&r, 503, "stopping", NULL, "nobody can listen to the experts now");
    md_exchange_refuse(x, &r);
}
