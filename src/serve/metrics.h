/* SPDX-License-Identifier: Apache-2.0
 *
 * What the server counts by itself, in Prometheus' text form: requests by endpoint and status, and how long clients wait for the
 * first token and between two. Thread-safe. */
#ifndef MD_SERVE_METRICS_H
#define MD_SERVE_METRICS_H

#include "base/mem.h"

#include <pthread.h>
#include <stdint.h>

#define MD_METRICS_BOUNDS    14
#define MD_METRICS_ENDPOINTS 32
#define MD_METRICS_STATUSES  16

typedef struct md_histogram {
    uint64_t count[MD_METRICS_BOUNDS + 1]; /* of each bucket; the last is beyond all bounds */
    double sum;
} md_histogram;

typedef struct md_metrics {
    pthread_mutex_t lock;
    uint64_t requests[MD_METRICS_ENDPOINTS][MD_METRICS_STATUSES];
    md_histogram first_token, between_tokens;
} md_metrics;

bool md_metrics_init(md_metrics *m);
void md_metrics_done(md_metrics *m);
/* endpoint: its row in the table of endpoints. */
void md_metrics_request(md_metrics *m, size_t endpoint, int status);
void md_metrics_first_token(md_metrics *m, double seconds);
void md_metrics_between_tokens(md_metrics *m, double seconds);
/* Appends all of it; path gives the name of an endpoint, NULL beyond the last. */
void md_metrics_write(md_metrics *m, const char *(*path)(size_t endpoint), md_buf *b);

#endif
