/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of the bench share: figures of a model. */
#ifndef MD_RUN_BENCH_H
#define MD_RUN_BENCH_H

#include <medley/bench.h>

/* What a step reads and computes, apart from how many experts it needs. */
typedef struct md_bench_work {
    double fixed_bytes;  /* weights of every step, the output matrix included */
    double routed_bytes; /* all routed experts */
    double routed_slots; /* experts of all layers together */
    double token_macs;   /* of a token's weights, without the output matrix */
    double output_macs;
} md_bench_work;
void md_bench_measure_model(const md_model *m, md_bench_work *out);
/* Bytes of keys and values that a row reads which sees `n` positions, itself included; multiply-adds of its attention. */
double md_bench_kv_bytes(const md_model *m, md_kv_type type, int32_t n);
double md_bench_attention_macs(const md_model *m, int32_t n);

#endif
