/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/watch.h"

#include "base/sys.h"

#include <inttypes.h>
#include <string.h>

void md_watch_init(md_watch *w, md_session *s)
{
    *w = (md_watch){.session = s};
}

static void observe(void *user, const md_event *e)
{
    md_watch *w = user;
    if (e->layer < 0 || e->layer >= w->n_layer)
        return;
    uint32_t *count = w->count + (size_t)e->layer * (size_t)w->n_expert;
    const size_t n = (size_t)e->n_rows * (size_t)e->n_cols;
    for (size_t i = 0; i < n; i++)
        if (e->expert_id[i] >= 0 && e->expert_id[i] < w->n_expert)
            count[e->expert_id[i]]++;
}

static void start(md_watch *w, const md_scheduler *s)
{
    const md_model *m = md_session_model(w->session);
    w->n_layer = md_model_get_info(m)->n_layer;
    w->n_expert = 0;
    for (int32_t i = 0; i < w->n_layer; i++)
        if (md_model_layer_experts(m, i) > w->n_expert)
            w->n_expert = md_model_layer_experts(m, i);
    w->count = md_calloc((size_t)w->n_layer * (size_t)w->n_expert, sizeof *w->count);
    md_error err;
    /* Without counts there are still figures to tell. */
    if (w->count && w->n_expert > 0 &&
        md_session_add_observer(w->session, 1u << MD_POINT_ROUTING, observe, w, &err) != MD_OK)
        w->n_expert = 0;
    if (!w->count)
        w->n_expert = 0;
    w->told = md_sys_seconds();
    md_scheduler_get_counts(s, &w->then);
    md_session_stream_counts(w->session, &w->stream_then);
}

static void stop(md_watch *w)
{
    md_session_remove_observer(w->session, observe, w);
    md_free(w->count);
    w->count = NULL;
}

bool md_watch_add(md_watch *w, md_reply *reply, const md_scheduler *s)
{
    if (w->n == MD_WATCH_MOST) {
        md_refusal r;
        md_refuse(&r, 429, "too_many_listeners", NULL, "%d listen to the experts already", MD_WATCH_MOST);
        md_reply_refuse(reply, &r);
        md_reply_release(reply);
        return false;
    }
    if (w->n == 0)
        start(w, s);
    w->reply[w->n++] = reply;
    md_reply_begin(reply);
    return true;
}

static void put_figures(md_watch *w, const md_scheduler *s, double seconds)
{
    md_scheduler_counts c;
    md_stream_counts d;
    md_buf *b = &w->line;
    md_scheduler_get_counts(s, &c);
    md_session_stream_counts(w->session, &d);
    md_buf_printf(b,
                  "data: {\"seconds\":%.3f,\"tokens_per_second\":%.2f,\"prompt_tokens_per_second\":%.2f,\"running\":%d,"
                  "\"waiting\":%d,\"cached_tokens\":%" PRIu64,
                  seconds, (double)(c.answer_tokens - w->then.answer_tokens) / seconds,
                  (double)(c.prompt_tokens - w->then.prompt_tokens) / seconds, (int)c.running, (int)c.waiting,
                  c.cached_tokens - w->then.cached_tokens);
    md_buf_printf(b, ",\"expert_hits\":%" PRIu64 ",\"expert_misses\":%" PRIu64 ",\"bytes_read\":%" PRIu64,
                  d.hits - w->stream_then.hits, d.misses - w->stream_then.misses, d.bytes - w->stream_then.bytes);
    w->then = c;
    w->stream_then = d;
}

static void put_layers(md_watch *w)
{
    const md_model *m = md_session_model(w->session);
    md_buf *b = &w->line;
    const char *comma = "";
    md_buf_puts(b, ",\"layers\":[");
    for (int32_t i = 0; i < w->n_layer && w->n_expert > 0; i++) {
        const int32_t n = md_model_layer_experts(m, i);
        if (n == 0)
            continue;
        md_buf_printf(b, "%s{\"layer\":%d,\"experts\":[", comma, (int)i);
        for (int32_t k = 0; k < n; k++)
            md_buf_printf(b, k ? ",%" PRIu32 : "%" PRIu32, w->count[(size_t)i * (size_t)w->n_expert + (size_t)k]);
        md_buf_puts(b, "]}");
        comma = ",";
    }
    md_buf_puts(b, "]}\n\n");
    if (w->n_expert > 0)
        memset(w->count, 0, (size_t)w->n_layer * (size_t)w->n_expert * sizeof *w->count);
}

void md_watch_tell(md_watch *w, const md_scheduler *s)
{
    const double now = md_sys_seconds();
    if (w->n == 0 || now - w->told < MD_WATCH_SECONDS)
        return;
    md_buf_reset(&w->line);
    put_figures(w, s, now - w->told);
    put_layers(w);
    w->told = now;
    int kept = 0;
    for (int i = 0; i < w->n; i++) {
        md_reply_look(w->reply[i]);
        if (!md_reply_gone(w->reply[i]) && !w->line.failed && md_reply_write(w->reply[i], w->line.data, w->line.len)) {
            w->reply[kept++] = w->reply[i];
            continue;
        }
        md_reply_end(w->reply[i]);
        md_reply_release(w->reply[i]);
    }
    w->n = kept;
    if (kept == 0)
        stop(w);
}

void md_watch_done(md_watch *w)
{
    if (w->n > 0)
        stop(w);
    for (int i = 0; i < w->n; i++) {
        md_reply_end(w->reply[i]);
        md_reply_release(w->reply[i]);
    }
    md_buf_done(&w->line);
    w->n = 0;
}
