/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/metrics.h"

#include <inttypes.h>

static const double bounds[MD_METRICS_BOUNDS] = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1,
                                                 0.25,  0.5,    1,     2.5,  5,     10,   30};
static const int statuses[MD_METRICS_STATUSES] = {200, 204, 400, 401, 403, 404, 405, 408,
                                                  411, 413, 415, 422, 429, 500, 503, 0};

bool md_metrics_init(md_metrics *m)
{
    *m = (md_metrics){0};
    return pthread_mutex_init(&m->lock, NULL) == 0;
}

void md_metrics_done(md_metrics *m)
{
    pthread_mutex_destroy(&m->lock);
}

void md_metrics_request(md_metrics *m, size_t endpoint, int status)
{
    size_t i = 0;
    while (i < MD_METRICS_STATUSES - 1 && statuses[i] != status)
        i++;
    if (endpoint >= MD_METRICS_ENDPOINTS)
        return;
    pthread_mutex_lock(&m->lock);
    m->requests[endpoint][i]++;
    pthread_mutex_unlock(&m->lock);
}

static void observe(md_metrics *m, md_histogram *h, double seconds)
{
    size_t i = 0;
    while (i < MD_METRICS_BOUNDS && seconds > bounds[i])
        i++;
    pthread_mutex_lock(&m->lock);
    h->count[i]++;
    h->sum += seconds;
    pthread_mutex_unlock(&m->lock);
}

void md_metrics_first_token(md_metrics *m, double seconds)
{
    observe(m, &m->first_token, seconds);
}

void md_metrics_between_tokens(md_metrics *m, double seconds)
{
    observe(m, &m->between_tokens, seconds);
}

static void write_histogram(const md_histogram *h, const char *name, const char *help, md_buf *b)
{
    uint64_t sum = 0;
    md_buf_printf(b, "# HELP %s %s\n# TYPE %s histogram\n", name, help, name);
    for (size_t i = 0; i < MD_METRICS_BOUNDS; i++) {
        sum += h->count[i];
        md_buf_printf(b, "%s_bucket{le=\"%g\"} %" PRIu64 "\n", name, bounds[i], sum);
    }
    sum += h->count[MD_METRICS_BOUNDS];
    md_buf_printf(b, "%s_bucket{le=\"+Inf\"} %" PRIu64 "\n%s_sum %.9g\n%s_count %" PRIu64 "\n", name, sum, name, h->sum,
                  name, sum);
}

void md_metrics_write(md_metrics *m, const char *(*path)(size_t endpoint), md_buf *b)
{
    pthread_mutex_lock(&m->lock);
    md_buf_puts(b, "# HELP medley_requests_total Answered HTTP requests.\n# TYPE medley_requests_total counter\n");
    for (size_t e = 0; e < MD_METRICS_ENDPOINTS && path(e); e++)
        for (size_t i = 0; i < MD_METRICS_STATUSES; i++)
            if (m->requests[e][i] > 0)
                md_buf_printf(b, "medley_requests_total{endpoint=\"%s\",status=\"%d\"} %" PRIu64 "\n", path(e),
                              statuses[i], m->requests[e][i]);
    write_histogram(&m->first_token, "medley_time_to_first_token_seconds",
                    "From a request's arrival to its first token.", b);
    write_histogram(&m->between_tokens, "medley_time_between_tokens_seconds", "Between two tokens of one answer.", b);
    pthread_mutex_unlock(&m->lock);
}
