/* SPDX-License-Identifier: Apache-2.0
 *
 * The bench: one session for each number of threads, in it the tests one after the other, each run once to warm up and then
 * as often as asked. Only steps are timed; filling a sequence to its depth and going back to it are not. While warming up,
 * the experts that steps need are counted. Tokens are random but the same in every run, so logits must be too; or fresh ones in
 * each, so that a cache of experts cannot know them.
 * One calling thread. */
#include "run/bench.h"

#include "base/cpu.h"
#include "base/mem.h"
#include "base/rng.h"
#include "base/roof.h"
#include "base/status.h"
#include "base/sys.h"
#include "base/checksum.h"
#include "model/session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TOKEN_SEED   0x6d65646c6579u
#define PAGE         64 /* positions; room is taken in whole pages */
#define ROOF_SECONDS 3.0

typedef struct bench_test {
    md_bench_result r;
    double *sample; /* of the arena, [repeat]; what r.sample shows */
} bench_test;

struct md_bench {
    md_bench_machine machine;
    bench_test *test; /* owned, [n] */
    size_t n, cap;
    md_arena arena;
};

/* A run of the bench under way. */
typedef struct bencher {
    const md_model *m;
    const md_bench_args *args; /* with no list empty */
    md_bench *out;
    md_bench_work work;
    double roof, roof_now, roof_at; /* of the test under way; the last one measured, and when */
    int32_t roof_threads;
    md_session *session;     /* owned, of the number of threads under way */
    int32_t most_rows;       /* of a step, all tests */
    int32_t *token;          /* owned, [most_rows] */
    md_seq **row_seq, **seq; /* owned, [most_rows]; [most_batch] */
    md_snapshot **snapshot;  /* owned, [most_batch] */
    uint8_t *want;           /* owned, [most_rows] */
    uint8_t *used;           /* owned, [most experts of a layer] */
    int32_t most_batch;
    uint64_t seed;           /* of the run's tokens */
    double experts;          /* that the warm-up's steps needed, all layers together */
    uint64_t runs, all_runs; /* done, and to do */
} bencher;

void md_bench_args_default(md_bench_args *args)
{
    *args = (md_bench_args){.repeat = 5, .n_rows = 512, .measure_memory = true, .kv_type = MD_KV_F16};
}

/* ---- the plan ---- */

typedef struct list {
    const char *what;
    const int32_t **item;
    size_t *n;
    int32_t usual, min, max;
} list;

/* Lists that were not given become what is usual. */
static md_status settle(md_bench_args *a, md_error *err)
{
    static const int32_t usual[] = {512, 128, 0, 1, 0};
    const list lists[] = {
        {"a prompt's size", &a->prompt, &a->n_prompt, 0, 0, 1 << 20},
        {"the number of tokens to generate", &a->generate, &a->n_generate, 1, 0, 1 << 20},
        {"the depth", &a->depth, &a->n_depth, 2, 0, 1 << 24},
        {"the batch", &a->batch, &a->n_batch, 3, 1, 4096},
        {"the number of threads", &a->threads, &a->n_threads, 4, 0, MD_POOL_MAX_THREADS},
    };
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        const list *l = &lists[i];
        if (!*l->item) {
            *l->item = &usual[l->usual];
            *l->n = 1;
        }
        for (size_t j = 0; j < *l->n; j++)
            MD_FAIL_IF((*l->item)[j] < l->min || (*l->item)[j] > l->max, MD_ERR_ARGUMENT, "%s is %d, outside %d to %d",
                       l->what, (*l->item)[j], l->min, l->max);
    }
    MD_FAIL_IF(a->repeat < 1 || a->repeat > 1000, MD_ERR_ARGUMENT, "%d repetitions were asked for; give 1 to 1000",
               a->repeat);
    MD_FAIL_IF(a->n_rows < 1 || a->n_rows > 65536, MD_ERR_ARGUMENT,
               "the number of rows of a step is %d, outside 1 to 65536", a->n_rows);
    return MD_OK;
}

static void name_test(md_bench_result *r)
{
    if (r->n_prompt > 0) {
        snprintf(r->test, sizeof r->test, "pp%d", r->n_prompt);
        return;
    }
    char depth[16] = "", batch[16] = "";
    if (r->depth > 0)
        snprintf(depth, sizeof depth, "d%d", r->depth);
    if (r->batch > 1)
        snprintf(batch, sizeof batch, "b%d", r->batch);
    snprintf(r->test, sizeof r->test, "tg%d%s%s%s%s", r->n_generate, depth[0] || batch[0] ? "@" : "", depth,
             depth[0] && batch[0] ? "," : "", batch);
}

static md_status add_test(bencher *b, md_bench_result r, md_error *err)
{
    md_bench *out = b->out;
    if (out->n == out->cap) {
        const size_t cap = out->cap ? 2 * out->cap : 16;
        bench_test *grown = md_realloc(out->test, cap, sizeof *grown);
        if (!grown)
            return md_fail_memory(err, "the bench's tests");
        out->test = grown;
        out->cap = cap;
    }
    double *sample = md_arena_alloc(&out->arena, (size_t)b->args->repeat, sizeof *sample);
    if (!sample)
        return md_fail_memory(err, "the bench's samples");
    r.repeat = b->args->repeat;
    r.sample = sample;
    name_test(&r);
    out->test[out->n++] = (bench_test){.r = r, .sample = sample};
    return MD_OK;
}

static md_status plan(bencher *b, md_error *err)
{
    const md_bench_args *a = b->args;
    for (size_t t = 0; t < a->n_threads; t++) {
        const int32_t threads = a->threads[t] > 0 ? a->threads[t] : md_sys_default_threads();
        for (size_t i = 0; i < a->n_prompt; i++)
            if (a->prompt[i] > 0)
                MD_TRY(add_test(b, (md_bench_result){.n_threads = threads, .n_prompt = a->prompt[i], .batch = 1}, err));
        for (size_t d = 0; d < a->n_depth; d++)
            for (size_t n = 0; n < a->n_batch; n++)
                for (size_t i = 0; i < a->n_generate; i++)
                    if (a->generate[i] > 0)
                        MD_TRY(add_test(b,
                                        (md_bench_result){.n_threads = threads,
                                                          .n_generate = a->generate[i],
                                                          .depth = a->depth[d],
                                                          .batch = a->batch[n]},
                                        err));
    }
    MD_FAIL_IF(b->out->n == 0, MD_ERR_ARGUMENT, "nothing to measure: every prompt and every generation has 0 tokens");
    b->all_runs = b->out->n * (uint64_t)(a->repeat + 1);
    return MD_OK;
}

/* What the largest test of all needs. */
static md_session_args session_args(const bencher *b)
{
    md_session_args s;
    md_session_args_default(b->m, &s);
    s.kv_type = b->args->kv_type;
    s.isa = b->args->isa;
    s.memory = b->args->memory;
    s.read_ahead = b->args->read_ahead;
    s.on_miss = b->args->on_miss;
    s.on_miss_share = b->args->on_miss_share;
    s.n_positions = PAGE;
    s.n_rows = b->most_rows;
    s.rows_grow = false;
    s.n_logits = b->most_batch;
    s.n_sequences = 2 * b->most_batch;
    for (size_t i = 0; i < b->out->n; i++) {
        const md_bench_result *r = &b->out->test[i].r;
        const int64_t length = (int64_t)r->depth + r->n_prompt + r->n_generate;
        const int64_t room = r->batch * ((length + PAGE - 1) / PAGE * PAGE + PAGE);
        if (room > s.n_positions)
            s.n_positions = room < INT32_MAX ? (int32_t)room : INT32_MAX;
    }
    return s;
}

static md_status take_memory(bencher *b, md_error *err)
{
    int32_t longest = 1;
    b->most_batch = 1;
    for (size_t i = 0; i < b->out->n; i++) {
        const md_bench_result *r = &b->out->test[i].r;
        const int32_t length = r->n_prompt > r->depth ? r->n_prompt : r->depth;
        longest = length > longest ? length : longest;
        b->most_batch = r->batch > b->most_batch ? r->batch : b->most_batch;
    }
    b->most_rows = longest < b->args->n_rows ? longest : b->args->n_rows;
    b->most_rows = b->most_batch > b->most_rows ? b->most_batch : b->most_rows;
    const size_t rows = (size_t)b->most_rows, batch = (size_t)b->most_batch;
    b->token = md_calloc(rows, sizeof *b->token);
    b->row_seq = md_calloc(rows, sizeof *b->row_seq);
    b->want = md_calloc(rows, sizeof *b->want);
    b->seq = md_calloc(batch, sizeof *b->seq);
    b->snapshot = md_calloc(batch, sizeof *b->snapshot);
    b->used = md_calloc((size_t)b->m->spec.max.expert + 1, 1);
    const bool ok = b->token && b->row_seq && b->want && b->seq && b->snapshot && b->used;
    return ok ? MD_OK : md_fail_memory(err, "the bench's steps");
}

/* ---- steps ---- */

static int32_t token_at(const bencher *b, int32_t seq, int32_t pos)
{
    return (int32_t)(md_philox(b->seed, (uint64_t)pos, (uint64_t)seq).v[0] % (uint32_t)b->m->spec.n_vocab);
}

static md_status tell(bencher *b, md_error *err)
{
    const md_bench_args *a = b->args;
    MD_FAIL_IF(a->progress && !a->progress(a->progress_user, b->runs, b->all_runs), MD_ERR_CANCELLED,
               "the bench was stopped");
    return MD_OK;
}

/* Feeds one sequence its tokens up to `end`, with the last one's logits if they are wanted. */
static md_status feed(bencher *b, int32_t index, int32_t end, bool logits, md_error *err)
{
    md_seq *q = b->seq[index];
    for (int32_t at = md_seq_length(q); at < end;) {
        const int32_t n = end - at < b->most_rows ? end - at : b->most_rows;
        for (int32_t i = 0; i < n; i++) {
            b->token[i] = token_at(b, index, at + i);
            b->row_seq[i] = q;
            b->want[i] = logits && at + i == end - 1 ? MD_WANT_LOGITS : 0;
        }
        const md_batch batch = {.n = n, .token = b->token, .seq = b->row_seq, .want = b->want};
        MD_TRY(md_decode(b->session, &batch, err));
        MD_TRY(tell(b, err));
        at += n;
    }
    return MD_OK;
}

/* Experts that the rows of the last step chose, each counted once a layer. */
static double count_experts(const bencher *b, int32_t rows)
{
    const int32_t *expert;
    const float *weight;
    int32_t k;
    double count = 0.0;
    for (int32_t layer = 0; layer < b->m->spec.n_layer; layer++) {
        memset(b->used, 0, (size_t)b->m->spec.max.expert + 1);
        for (int32_t row = 0; row < rows; row++) {
            if (!md_step_routing(b->session, row, layer, &expert, &weight, &k))
                continue;
            for (int32_t i = 0; i < k; i++)
                if (expert[i] >= 0 && !b->used[expert[i]]) {
                    b->used[expert[i]] = 1;
                    count++;
                }
        }
    }
    return count;
}

static md_status generate(bencher *b, const md_bench_result *r, bool warm_up, md_error *err)
{
    for (int32_t i = 0; i < r->batch; i++) {
        b->row_seq[i] = b->seq[i];
        b->want[i] = MD_WANT_LOGITS | (warm_up ? MD_WANT_ROUTING : 0);
    }
    const md_batch batch = {.n = r->batch, .token = b->token, .seq = b->row_seq, .want = b->want};
    for (int32_t step = 0; step < r->n_generate; step++) {
        for (int32_t i = 0; i < r->batch; i++)
            b->token[i] = token_at(b, i, r->depth + step);
        MD_TRY(md_decode(b->session, &batch, err));
        MD_TRY(tell(b, err));
        if (warm_up)
            b->experts += count_experts(b, r->batch);
    }
    return MD_OK;
}

static uint64_t hash_logits(const bencher *b, const md_bench_result *r, uint64_t hash)
{
    const size_t n = (size_t)b->m->spec.n_vocab;
    if (r->n_prompt > 0)
        return md_logits_hash(hash, md_step_logits(b->session, (r->n_prompt - 1) % b->most_rows), n);
    for (int32_t i = 0; i < r->batch; i++)
        hash = md_logits_hash(hash, md_step_logits(b->session, i), n);
    return hash;
}

/* ---- a test ---- */

/* Run k of a test has tokens of its own if asked for: no two tests, no two runs share them. */
static uint64_t seed_of(const bencher *b, const md_bench_result *r, int32_t k)
{
    md_checksum c;
    if (!b->args->fresh)
        return TOKEN_SEED;
    md_checksum_init(&c);
    md_checksum_add(&c, r->test, strlen(r->test));
    md_checksum_add(&c, &k, sizeof k);
    return md_checksum_value(&c);
}

static md_status begin_sequences(bencher *b, const md_bench_result *r, md_error *err)
{
    b->seed = seed_of(b, r, 0);
    for (int32_t i = 0; i < r->batch; i++) {
        MD_TRY(md_seq_new(b->session, &b->seq[i], err));
        MD_TRY(feed(b, i, r->depth, false, err));
        MD_TRY(md_seq_snapshot(b->seq[i], &b->snapshot[i], err));
    }
    return MD_OK;
}

static void end_sequences(bencher *b)
{
    for (int32_t i = 0; i < b->most_batch; i++) {
        md_snapshot_free(b->snapshot[i]);
        md_seq_free(b->seq[i]);
        b->snapshot[i] = NULL;
        b->seq[i] = NULL;
    }
}

/* Run k of a test; 0 warms up. */
static md_status run_once(bencher *b, const md_bench_result *r, int32_t k, double *seconds, md_error *err)
{
    b->seed = seed_of(b, r, k);
    for (int32_t i = 0; i < r->batch; i++)
        MD_TRY(md_seq_restore(b->seq[i], b->snapshot[i], err));
    const double began = md_sys_seconds();
    MD_TRY(r->n_prompt > 0 ? feed(b, 0, r->n_prompt, true, err) : generate(b, r, k == 0, err));
    *seconds = md_sys_seconds() - began;
    b->runs++;
    return MD_OK;
}

static int by_size(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static md_status summarize(md_bench_result *r, md_error *err)
{
    const size_t n = (size_t)r->repeat;
    double *sorted = md_calloc(n, sizeof *sorted);
    if (!sorted)
        return md_fail_memory(err, "the bench's samples");
    memcpy(sorted, r->sample, n * sizeof *sorted);
    qsort(sorted, n, sizeof *sorted, by_size);
    r->lowest = sorted[0];
    r->highest = sorted[n - 1];
    r->median = 0.5 * (sorted[(n - 1) / 2] + sorted[n / 2]);
    md_free(sorted);
    return MD_OK;
}

static void work_out(const bencher *b, md_bench_result *r)
{
    const int32_t steps = r->n_prompt > 0 ? r->n_prompt : r->n_generate;
    double kv = 0.0, attention = 0.0;
    for (int32_t i = 0; i < steps; i++) {
        kv += md_bench_kv_bytes(b->m, b->args->kv_type, r->depth + i + 1);
        attention += md_bench_attention_macs(b->m, r->depth + i + 1);
    }
    r->macs = b->work.token_macs + attention / steps + b->work.output_macs / (r->n_prompt > 0 ? steps : 1);
    if (r->n_prompt > 0)
        return;
    const double experts = b->work.routed_slots > 0.0 ? b->experts / steps / b->work.routed_slots : 0.0;
    r->step_bytes = b->work.fixed_bytes + experts * b->work.routed_bytes + kv / steps * r->batch;
    r->bytes_per_second = r->step_bytes * r->median / r->batch;
    r->roof = b->roof;
    r->share = b->roof > 0.0 ? r->bytes_per_second / b->roof : 0.0;
}

/* Was this test run before, with another number of threads, and did it end with other logits? */
static void compare_threads(const md_bench *out, size_t i)
{
    md_bench_result *r = &out->test[i].r;
    for (const bench_test *other = out->test; other < out->test + i; other++)
        if (strcmp(other->r.test, r->test) == 0 && other->r.logits_hash != r->logits_hash)
            r->same_bits = false;
}

/* What the store did since it had done `io`. */
static void count_stream(const bencher *b, md_stream_counts *io)
{
    const md_stream_counts before = *io;
    md_session_stream_counts(b->session, io);
    io->hits -= before.hits;
    io->misses -= before.misses;
    io->bytes -= before.bytes;
    io->wait -= before.wait;
    io->ahead -= before.ahead;
    io->ahead_used -= before.ahead_used;
    io->ahead_late -= before.ahead_late;
    io->ahead_wasted -= before.ahead_wasted;
    io->needed -= before.needed;
    io->on_miss_uses -= before.on_miss_uses;
    io->on_miss_rows -= before.on_miss_rows;
    io->on_miss_weight -= before.on_miss_weight;
    for (int g = 0; g < MD_STREAM_N_GUESSES; g++) {
        io->guess_named[g] -= before.guess_named[g];
        io->guess_right[g] -= before.guess_right[g];
    }
}

static md_status measure(bencher *b, md_bench_result *r, double *sample, md_error *err)
{
    md_counters before, after;
    const double tokens = r->n_prompt > 0 ? r->n_prompt : (double)r->n_generate * r->batch;
    double seconds;
    b->experts = 0.0;
    MD_TRY(run_once(b, r, 0, &seconds, err));
    r->logits_hash = hash_logits(b, r, MD_HASH_START);
    r->same_bits = true;
    md_session_counters(b->session, &before);
    md_session_stream_counts(b->session, &r->stream);
    for (int32_t i = 0; i < r->repeat; i++) {
        MD_TRY(run_once(b, r, i + 1, &seconds, err));
        sample[i] = tokens / seconds;
        const uint64_t hash = hash_logits(b, r, b->args->fresh ? r->logits_hash : MD_HASH_START);
        r->same_bits &= b->args->fresh || hash == r->logits_hash;
        r->logits_hash = hash;
    }
    count_stream(b, &r->stream);
    md_session_counters(b->session, &after);
    for (int p = 0; p < MD_STEP_N_PARTS; p++)
        r->part_seconds[p] = (after.part_seconds[p] - before.part_seconds[p]) / (tokens * r->repeat);
    return summarize(r, err);
}

/* Before and after a test, since a machine that others use is not the same all the time; but not again at once. */
static md_status read_roof(bencher *b, const md_bench_result *r, md_error *err)
{
    if (r->n_generate == 0 || !b->args->measure_memory || b->m->streamed) /* then the budget has no room for it */
        return MD_OK;
    if (r->n_threads != b->roof_threads || md_sys_seconds() - b->roof_at > ROOF_SECONDS) {
        MD_TRY(md_roof_read(r->n_threads, &b->roof_now, err));
        b->roof_threads = r->n_threads;
        b->roof_at = md_sys_seconds();
    }
    b->roof = b->roof_now > b->roof ? b->roof_now : b->roof;
    return MD_OK;
}

static md_status run_test(bencher *b, size_t i, md_error *err)
{
    md_bench_result *r = &b->out->test[i].r;
    md_status status = begin_sequences(b, r, err);
    b->roof = 0.0;
    if (status == MD_OK)
        status = read_roof(b, r, err);
    if (status == MD_OK)
        status = measure(b, r, b->out->test[i].sample, err);
    if (status == MD_OK)
        status = read_roof(b, r, err);
    end_sequences(b);
    if (status != MD_OK)
        return md_fail_within(err, status, "%s", r->test);
    work_out(b, r);
    compare_threads(b->out, i);
    return MD_OK;
}

static void close_session(bencher *b)
{
    if (b->session && b->args->session_ends)
        b->args->session_ends(b->args->session_user, b->session);
    md_session_free(b->session);
    b->session = NULL;
}

/* A session for that many threads. */
static md_status open_session(bencher *b, int32_t n_threads, md_error *err)
{
    close_session(b);
    md_session_args args = session_args(b);
    args.n_threads = n_threads;
    md_memory need;
    MD_TRY(md_session_estimate(b->m, &args, &need, err));
    const uint64_t room = md_sys_free_memory();
    MD_FAIL_IF(
        need.kv > room || need.scratch > room - need.kv, MD_ERR_MEMORY,
        "keys and values of %d positions take %.1f MiB and a step %.1f MiB, but only %.1f MiB of memory are free: "
        "give a smaller depth or batch",
        args.n_positions, (double)need.kv / 0x1p20, (double)need.scratch / 0x1p20, (double)room / 0x1p20);
    MD_TRY(md_session_new(b->m, &args, &b->session, err));
    b->out->machine.isa = b->session->args.isa;
    return b->args->session_begins ? b->args->session_begins(b->args->session_user, b->session, err) : MD_OK;
}

static md_status run_tests(bencher *b, md_error *err)
{
    for (size_t i = 0; i < b->out->n; i++) {
        const int32_t n_threads = b->out->test[i].r.n_threads;
        if (!b->session || md_session_threads(b->session) != n_threads)
            MD_TRY(open_session(b, n_threads, err));
        MD_TRY(run_test(b, i, err));
    }
    return MD_OK;
}

/* ---- the whole ---- */

static void describe_machine(md_bench_machine *machine)
{
    const md_cpu cpu = md_cpu_detect();
    snprintf(machine->cpu, sizeof machine->cpu, "%s", cpu.name[0] ? cpu.name : "unknown");
    machine->cores = md_sys_default_threads();
    machine->memory = md_sys_free_memory();
}

static void bencher_done(bencher *b)
{
    close_session(b);
    md_free(b->token);
    md_free(b->row_seq);
    md_free(b->want);
    md_free(b->seq);
    md_free(b->snapshot);
    md_free(b->used);
}

md_status md_bench_run(const md_model *m, const md_bench_args *args, md_bench **out, md_error *err)
{
    *out = NULL;
    MD_FAIL_IF(!m->info.has_logits || !m->info.causal, MD_ERR_UNSUPPORTED,
               "a model of architecture '%s' writes no text, and only that is measured", m->info.arch);
    md_bench_args settled = *args;
    MD_TRY(settle(&settled, err));
    bencher b = {.m = m, .args = &settled, .out = md_calloc(1, sizeof *b.out)};
    if (!b.out)
        return md_fail_memory(err, "a bench");
    describe_machine(&b.out->machine);
    md_bench_measure_model(m, &b.work);
    md_status status = plan(&b, err);
    if (status == MD_OK)
        status = take_memory(&b, err);
    if (status == MD_OK)
        status = run_tests(&b, err);
    bencher_done(&b);
    if (status != MD_OK) {
        md_bench_free(b.out);
        return status;
    }
    *out = b.out;
    return MD_OK;
}

void md_bench_free(md_bench *b)
{
    if (!b)
        return;
    md_arena_done(&b->arena);
    md_free(b->test);
    md_free(b);
}

const md_bench_machine *md_bench_get_machine(const md_bench *b)
{
    return &b->machine;
}

size_t md_bench_n_results(const md_bench *b)
{
    return b->n;
}

const md_bench_result *md_bench_get_result(const md_bench *b, size_t i)
{
    return &b->test[i].r;
}
