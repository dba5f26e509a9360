/* SPDX-License-Identifier: Apache-2.0
 *
 * How long answers wait while prompts arrive: bench-schedule MODEL [--memory MIB] [--decodes N] [--prompts N] [--prompt TOKENS]
 * [--every SECONDS] [--prefill auto|chunked|layered] [--chunk N] [--target MS] [--draft N] [--ctx N] [--seconds S] [--seed N].
 * N answers of random tokens go on all the time; first alone, then while prompts of so many tokens arrive. Prints one line of JSON:
 * time between an answer's tokens (median, 99th percentile) in both, time to first token of the prompts, tokens per second, bytes
 * of experts read, and a hash of the prompts' logits, which is the same for every way of running them. */
#include "base/sys.h"

#include <medley/scheduler.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 1 << 20 };

typedef struct bench {
    md_scheduler *scheduler;
    int32_t n_vocab;
    double *gap; /* [MOST] seconds between tokens of answers */
    int n_gaps;
    double *first; /* [n_prompts] seconds to a prompt's first token */
    int n_first, n_done;
    uint64_t hash;
    uint32_t seed;
    double decode_tokens;
} bench;

typedef struct stream {
    bench *b;
    md_request *request;
    double last; /* when its last token came; of a prompt: when it was asked */
    bool answer;
} stream;

static void on_event(void *user, md_request *r, const md_request_event *e)
{
    stream *s = user;
    bench *b = s->b;
    const double now = md_sys_seconds();
    (void)r;
    if (e->point == MD_REQUEST_TOKEN && s->answer) {
        if (s->last > 0.0 && b->n_gaps < MOST)
            b->gap[b->n_gaps++] = now - s->last;
        s->last = now;
        b->decode_tokens++;
    } else if (e->point == MD_REQUEST_TOKEN && e->token >= 0) {
        b->first[b->n_first++] = now - s->last;
    } else if (e->point == MD_REQUEST_END && !s->answer) {
        b->hash ^= e->result->logits_hash;
        b->n_done++;
    } else if (e->point == MD_REQUEST_FAILED) {
        fprintf(stderr, "bench-schedule: %s\n", e->error->message);
        exit(1);
    }
}

static void check(md_status status, const md_error *err)
{
    if (status == MD_OK)
        return;
    fprintf(stderr, "bench-schedule: %s\n", err->message);
    exit(1);
}

static void ask(stream *s, int n_prompt, int max_tokens)
{
    bench *b = s->b;
    md_error err;
    int32_t *token = calloc((size_t)n_prompt, sizeof *token);
    if (!token)
        exit(1);
    for (int i = 0; i < n_prompt; i++) {
        b->seed = b->seed * 1664525u + 1013904223u;
        token[i] = (int32_t)((b->seed >> 8) % (uint32_t)b->n_vocab);
    }
    md_sampler_args greedy;
    md_sampler_args_default(&greedy);
    greedy.temperature = 0.0f;
    md_request_args a;
    md_request_args_default(&a);
    a.prompt = token;
    a.n_prompt = (size_t)n_prompt;
    a.max_tokens = max_tokens;
    a.sampler = &greedy;
    a.ignore_eog = true;
    a.hash = !s->answer;
    a.on_event = on_event;
    a.user = s;
    if (!s->answer)
        s->last = md_sys_seconds();
    check(md_request_new(b->scheduler, &a, &s->request, &err), &err);
    free(token);
}

static int by_size(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double at_share(double *v, int n, double share)
{
    if (n == 0)
        return 0.0;
    qsort(v, (size_t)n, sizeof *v, by_size);
    const int i = (int)(share * n);
    return v[i < n ? i : n - 1];
}

static void step(bench *b)
{
    bool idle;
    md_error err;
    check(md_scheduler_step(b->scheduler, &idle, &err), &err);
}

static const char *option(int argc, char **argv, const char *name, const char *usual)
{
    for (int i = 2; i + 1 < argc; i += 2)
        if (strcmp(argv[i], name) == 0)
            return argv[i + 1];
    return usual;
}

int main(int argc, char **argv)
{
    if (argc < 2 || argc % 2 != 0) {
        fprintf(stderr, "usage: bench-schedule MODEL [--OPTION VALUE]...\n");
        return 2;
    }
#define NUMBER(name, usual) atof(option(argc, argv, name, usual))
    const int decodes = (int)NUMBER("--decodes", "16"), n_prompts = (int)NUMBER("--prompts", "4"),
              n_prompt = (int)NUMBER("--prompt", "2048");
    const double every = NUMBER("--every", "1"), seconds = NUMBER("--seconds", "10");
    const char *prefill = option(argc, argv, "--prefill", "auto");
    md_scheduler_args a;
    md_scheduler_args_default(&a);
    a.n_running = decodes + n_prompts;
    a.keep_prefixes = false;
    a.n_chunk = (int32_t)NUMBER("--chunk", "0");
    a.step_seconds = NUMBER("--target", "0") / 1e3;
    a.n_draft = (int32_t)NUMBER("--draft", "0");
    a.prefill = strcmp(prefill, "layered") == 0   ? MD_PREFILL_LAYERED
                : strcmp(prefill, "chunked") == 0 ? MD_PREFILL_CHUNKED
                                                  : MD_PREFILL_AUTO;
    bench b = {.seed = (uint32_t)NUMBER("--seed", "1")};
    md_error err;
    const int64_t memory = (int64_t)(NUMBER("--memory", "0") * 0x1p20);
    md_model *m;
    check(md_model_open(argv[1], &(md_model_args){.memory = memory}, &m, &err), &err);
    md_session_args s;
    md_scheduler_session_args(m, &a, &s);
    s.memory = memory;
    s.n_context = (int32_t)NUMBER("--ctx", "4096");
    s.n_positions = decodes * 1024 + n_prompts * (n_prompt + 128);
    if (s.n_positions < s.n_context)
        s.n_positions = s.n_context;
    s.n_walk = s.n_walk > s.n_context ? s.n_context : s.n_walk;
    md_session *session;
    check(md_session_new(m, &s, &session, &err), &err);
    check(md_scheduler_new(session, &a, &b.scheduler, &err), &err);
    b.n_vocab = md_model_get_info(m)->n_vocab;
    b.gap = calloc(MOST, sizeof *b.gap);
    b.first = calloc((size_t)n_prompts + 1, sizeof *b.first);
    stream *streams = calloc((size_t)(decodes + n_prompts), sizeof *streams);
    if (!b.gap || !b.first || !streams)
        return 1;
    for (int i = 0; i < decodes; i++) {
        streams[i] = (stream){.b = &b, .answer = true};
        ask(&streams[i], 16, -1);
    }
    for (int i = 0; i < 8; i++)
        step(&b);
    b.n_gaps = 0;
    b.decode_tokens = 0.0;
    double began = md_sys_seconds();
    while (md_sys_seconds() - began < seconds)
        step(&b);
    const double alone_rate = b.decode_tokens / (md_sys_seconds() - began);
    const double alone_p50 = at_share(b.gap, b.n_gaps, 0.5), alone_p99 = at_share(b.gap, b.n_gaps, 0.99);
    b.n_gaps = 0;
    b.decode_tokens = 0.0;
    md_stream_counts before, after;
    md_session_stream_counts(session, &before);
    began = md_sys_seconds();
    for (int asked = 0; b.n_done < n_prompts;) {
        if (asked < n_prompts && md_sys_seconds() - began >= every * asked) {
            streams[decodes + asked] = (stream){.b = &b};
            ask(&streams[decodes + asked++], n_prompt, 1);
        }
        step(&b);
    }
    const double took = md_sys_seconds() - began;
    md_session_stream_counts(session, &after);
    md_scheduler_counts c;
    md_scheduler_get_counts(b.scheduler, &c);
    const double p50 = at_share(b.gap, b.n_gaps, 0.5), p99 = at_share(b.gap, b.n_gaps, 0.99);
    printf(
        "{\"model\": \"%s\", \"prefill\": \"%s\", \"target_ms\": %g, \"chunk\": %d, \"decodes\": %d, \"prompts\": %d, "
        "\"prompt_tokens\": %d, \"rows\": %d, \"tbt_alone_p50\": %.4f, \"tbt_alone_p99\": %.4f, \"decode_alone\": %.2f, "
        "\"tbt_p50\": %.4f, \"tbt_p99\": %.4f, \"tbt_p99_ratio\": %.2f, \"decode\": %.2f, \"ttft_p50\": %.3f, \"ttft_max\": %.3f, "
        "\"seconds\": %.2f, \"prompt_rate\": %.1f, \"expert_bytes\": %llu, \"expert_bytes_a_prompt_token\": %.0f, "
        "\"preempted\": %llu, \"logits_hash\": \"%016llx\"}\n",
        strrchr(argv[1], '/') ? strrchr(argv[1], '/') + 1 : argv[1], prefill, a.step_seconds * 1e3, a.n_chunk, decodes,
        n_prompts, n_prompt, md_session_max_rows(session), alone_p50, alone_p99, alone_rate, p50, p99,
        alone_p99 > 0.0 ? p99 / alone_p99 : 0.0, b.decode_tokens / took, at_share(b.first, b.n_first, 0.5),
        at_share(b.first, b.n_first, 1.0), took, n_prompts * n_prompt / took,
        (unsigned long long)(after.bytes - before.bytes),
        (double)(after.bytes - before.bytes) / ((double)n_prompts * n_prompt), (unsigned long long)c.preempted,
        (unsigned long long)b.hash);
    md_scheduler_free(b.scheduler);
    md_session_free(session);
    md_model_close(m);
    free(b.gap);
    free(b.first);
    free(streams);
    return 0;
}
