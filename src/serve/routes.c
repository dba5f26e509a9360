/* SPDX-License-Identifier: Apache-2.0
 *
 * The table of endpoints. ORDER: metrics count by row. */
#include "serve/http.h"

#include <string.h>

static const md_endpoint table[] = {
    {"POST", "/v1/chat/completions", .fn = md_at_chat},
    {"POST", "/v1/completions", .fn = md_at_completions},
    {"POST", "/v1/embeddings", .fn = md_at_embeddings},
    {"POST", "/v1/messages", .fn = md_at_messages},
    {"POST", "/v1/responses", .fn = md_at_responses},
    {"POST", "/v1/rerank", .fn = md_at_rerank},
    {"GET", "/v1/models", .fn = md_at_models},
    {"GET", "/v1/models/", .below = true, .fn = md_at_model},
    {"POST", "/tokenize", .fn = md_at_tokenize},
    {"POST", "/detokenize", .fn = md_at_detokenize},
    {"POST", "/apply-template", .fn = md_at_template},
    {"POST", "/infill", .fn = md_at_infill},
    {"GET", "/health", .open = true, .fn = md_at_health},
    {"GET", "/metrics", .fn = md_at_metrics},
    {"GET", "/props", .fn = md_at_props},
    {"GET", "/slots", .fn = md_at_slots},
    {"GET", "/experts", .fn = md_at_experts},
    {"GET", "/", .below = true, .open = true, .fn = md_at_asset}, /* the last; browsers ask for pages without a key */
};
enum { N_ENDPOINTS = sizeof table / sizeof *table };

static bool matches(const md_endpoint *e, const char *path)
{
    return e->below ? strncmp(e->path, path, strlen(e->path)) == 0 : strcmp(e->path, path) == 0;
}

const md_endpoint *md_endpoint_find(const char *method, const char *path, int *status)
{
    const char *known = strcmp(method, "HEAD") == 0 ? "GET" : method;
    *status = 404;
    for (size_t i = 0; i < N_ENDPOINTS; i++) {
        if (!matches(&table[i], path))
            continue;
        if (strcmp(table[i].method, known) == 0)
            return &table[i];
        if (i < N_ENDPOINTS - 1 || strcmp(path, "/") == 0)
            *status = 405;
        if (i < N_ENDPOINTS - 1)
            return NULL;
    }
    return NULL;
}

const char *md_endpoint_path(size_t i)
{
    return i < N_ENDPOINTS ? table[i].path : NULL;
}

size_t md_endpoint_index(const md_endpoint *e)
{
    return (size_t)(e - table);
}
