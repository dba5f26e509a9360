/* SPDX-License-Identifier: Apache-2.0
 *
 * Measuring speed: how fast a model reads prompts and writes tokens, what a step spends its time on, and how near that is to
 * what the memory allows. docs/bench.md explains the figures. */
#ifndef MEDLEY_BENCH_H
#define MEDLEY_BENCH_H

#include <medley/engine.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What to measure: each list is borrowed during the call; NULL: its default. Every size of `prompt` is a test, and so is every
 * combination of `generate`, `depth` and `batch`; all of them are run for each number of threads. Tokens are random, the
 * same in every run unless fresh ones are asked for. */
typedef struct md_bench_args {
    const int32_t *prompt; /* tokens of a prompt, read from an empty sequence; 0: no such test [512] */
    size_t n_prompt;
    const int32_t *generate; /* tokens written one after another; 0: no such test [128] */
    size_t n_generate;
    const int32_t *depth; /* tokens that each sequence holds before [0] */
    size_t n_depth;
    const int32_t *batch; /* sequences that are decoded together [1] */
    size_t n_batch;
    const int32_t *threads; /* 0: as many as sessions take by themselves [0] */
    size_t n_threads;
    int32_t repeat; /* times that each test is measured, 1 to 1000, after one run that is not */
    int32_t n_rows; /* most rows of a step, so how a long prompt is cut, 1 to 65536 */
    /* What memory can do, too, about half a second before and after a test; not where experts are streamed. [true] */
    bool measure_memory;
    int64_t memory; /* as in md_session_args, for models whose experts are streamed [0] */
    md_read_ahead read_ahead;
    md_on_miss on_miss;  /* as in md_session_args; then same_bits need not hold */
    float on_miss_share; /* as in md_session_args */
    /* Each run of a test, the one to warm up included, has tokens of its own: streamed experts that one run brought are of no use to the
     * next but by the model's own habits. [false] */
    bool fresh;
    md_kv_type kv_type;
    const char *isa;          /* as in md_session_args */
    md_progress_fn *progress; /* may be NULL; unit: runs */
    void *progress_user;
    /* There is one session for each number of threads: the first is called when one has been made, and ends the bench unless
     * MD_OK; the other one before it goes, whenever the first was called for it. Either may be NULL. */
    md_status (*session_begins)(void *user, md_session *s, md_error *err);
    void (*session_ends)(void *user, md_session *s);
    void *session_user;
} md_bench_args;
MD_API void md_bench_args_default(md_bench_args *args); /* the defaults above, 5 repetitions, 512 rows, F16 */

typedef struct md_bench_machine {
    char cpu[64];    /* what the processor calls itself, "unknown" if it does not */
    const char *isa; /* kernels that were used, "avx2" */
    int32_t cores;   /* that this process may use: as many threads as sessions take by themselves */
    uint64_t memory; /* bytes that were free before the model's sessions */
} md_bench_machine;

typedef struct md_bench_result {
    char test[48]; /* "pp512", "tg128", "tg128@d4096", "tg128@b4", "tg128@d4096,b4" */
    int32_t n_prompt, n_generate, depth, batch, n_threads;
    int32_t repeat;
    const double *sample;                 /* [repeat] tokens a second, of all sequences together, in order */
    double median, lowest, highest;       /* of them */
    double part_seconds[MD_STEP_N_PARTS]; /* of a token, over all repetitions */
    double macs; /* multiply-adds of a token's products and attention; output matrix: for tokens that get logits */
    /* Generation only, else 0: bytes of weights (experts that no row chose left out), keys and values that a step reads, on
     * average; bytes a second at the median; what this many threads can read from memory in a second (0: not
     * measured); the share of it. */
    double step_bytes, bytes_per_second, roof, share;
    md_stream_counts stream; /* of all repetitions together; experts: 0 unless they are streamed */
    uint64_t logits_hash;    /* of the last step's logits, row after row; of all runs with fresh tokens */
    bool same_bits; /* every repetition had them, and, where another number of threads ran the test, it had too */
} md_bench_result;

typedef struct md_bench md_bench;
/* Runs the tests, prompts first. MD_ERR_ARGUMENT names a size that makes no sense; MD_ERR_UNSUPPORTED: the model has no
 * logits. The model must be causal. */
MD_API MD_MUST_USE md_status md_bench_run(const md_model *m, const md_bench_args *args, md_bench **out, md_error *err);
MD_API void md_bench_free(md_bench *b); /* NULL allowed */
MD_API const md_bench_machine *md_bench_get_machine(const md_bench *b);
MD_API size_t md_bench_n_results(const md_bench *b);
MD_API const md_bench_result *md_bench_get_result(const md_bench *b, size_t i); /* i < n_results */

#ifdef __cplusplus
}
#endif
#endif
