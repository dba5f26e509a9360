/* SPDX-License-Identifier: Apache-2.0
 *
 * Who goes next, and the clients that requests are from. A client's counter goes on where the least served of the others stands when
 * it comes back, so that nobody saves up (Sheng et al. 2024, "Fairness in Serving Large Language Models"). */
#include "run/scheduler.h"

#include "model/session.h"

#include <string.h>

/* What a prompt token costs beside one of an answer. */
#define PROMPT_SHARE 0.25

/* ---- clients ---- */

md_client *md_client_get(md_scheduler *s, const char *name)
{
    double least = -1.0;
    for (md_client *c = s->clients; c; c = c->next) {
        if (strcmp(c->name, name) == 0) {
            c->n_requests++;
            return c;
        }
        least = least < 0.0 || c->served < least ? c->served : least;
    }
    const size_t n = strlen(name) + 1;
    md_client *c = md_calloc(1, sizeof *c + n);
    if (!c)
        return NULL;
    memcpy(c->name, name, n);
    c->n_requests = 1;
    c->served = least > 0.0 ? least : 0.0;
    c->next = s->clients;
    s->clients = c;
    return c;
}

void md_client_put(md_scheduler *s, md_client *c)
{
    if (--c->n_requests > 0)
        return;
    md_client **at = &s->clients;
    while (*at != c)
        at = &(*at)->next;
    *at = c->next;
    md_free(c);
}

void md_client_serve(md_request *r, int32_t prompt_tokens, int32_t answer_tokens)
{
    r->client->served += PROMPT_SHARE * prompt_tokens + answer_tokens;
}

/* ---- order ---- */

static int32_t common(const md_request *a, const md_request *b)
{
    const int32_t n = a->n_known < b->n_known ? a->n_known : b->n_known;
    int32_t i = 0;
    while (i < n && a->token[i] == b->token[i])
        i++;
    return i;
}

/* Does somebody compute at this moment what r begins with, so that waiting spares r at least a page? */
static bool better_wait(const md_scheduler *s, const md_request *r)
{
    if (!s->prefixes || r->embed)
        return false;
    int32_t known = -1;
    for (const md_request *o = s->running.first; o; o = o->next) {
        if (o->embed || o->prefix_kept || !o->seq || (!s->args.share_prefixes && o->client != r->client))
            continue;
        const int32_t same = common(o, r);
        if (same < MD_TILE)
            continue;
        if (known < 0)
            known = md_prefixes_match(s->prefixes, o->seq, md_request_scope(r), r->token, (size_t)r->n_known);
        if (same >= known + MD_TILE)
            return true;
    }
    return false;
}

/* Is a before b, for those that answer at once? */
static bool fairer(const md_request *a, const md_request *b)
{
    if (a->preempted != b->preempted)
        return a->preempted;
    if (a->priority != b->priority)
        return a->priority > b->priority;
    if (a->client != b->client && a->client->served != b->client->served)
        return a->client->served < b->client->served;
    return a->number < b->number;
}

/* For offline work: like the one that began last, so that what they share is computed once and soon let go; then in the order of
 * their texts, which puts sharers side by side. */
static bool nearer(const md_request *a, const md_request *b, const md_request *last)
{
    if (a->preempted != b->preempted)
        return a->preempted;
    if (a->priority != b->priority)
        return a->priority > b->priority;
    if (last) {
        const int32_t with_a = common(a, last), with_b = common(b, last);
        if (with_a != with_b && (with_a >= MD_TILE || with_b >= MD_TILE))
            return with_a > with_b;
    }
    if (a->cap - a->n_prompt != b->cap - b->n_prompt) /* long answers begin early */
        return a->cap - a->n_prompt > b->cap - b->n_prompt;
    return a->number < b->number;
}

md_request *md_order_next(md_scheduler *s)
{
    md_request *best = NULL;
    for (md_request *r = s->waiting.first; r; r = r->next) {
        const bool before = !best ||
                            (s->args.order == MD_ORDER_PREFIX ? nearer(r, best, s->running.last) : fairer(r, best));
        if (before && !better_wait(s, r))
            best = r;
    }
    return best;
}
