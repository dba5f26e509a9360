/* SPDX-License-Identifier: Apache-2.0
 *
 * Latent attention (docs/numerics.md, section 7): the way of queries, keys and values into the latent space, and out of it. */
#include "model/session.h"

#include <string.h>

typedef struct latent_job {
    const md_session *s;
    const md_attn_spec *a;
} latent_job;

/* Heads' unrotated queries to (H, T, nope), or to (T, H, nope) where the matrix is turned; keys normed and rotated in place by
 * key_row. */
static void gather_items(void *ctx, int64_t first, int64_t last, int thread)
{
    (void)thread;
    const latent_job *j = ctx;
    const md_session *s = j->s;
    const md_attn_spec *a = j->a;
    const md_latent_spec *la = a->latent;
    const int64_t own = la->dim_nope + la->n_rot, t = s->n_rows;
    for (int64_t i = first; i < last; i++) {
        for (int64_t h = 0; h < a->n_head; h++) {
            const int64_t to = la->k_turned ? i * a->n_head + h : h * t + i;
            memcpy(s->s.latent + to * la->dim_nope, s->s.att + i * a->n_head * own + h * own,
                   (size_t)la->dim_nope * sizeof(float));
        }
        float *k = s->s.k + i * a->dim_k;
        md_norm_row(s->ops.kern, &la->kv_norm, k, k, la->rank);
    }
}

/* The rotated parts, behind what was taken into the latent space. */
static void place_items(void *ctx, int64_t first, int64_t last, int thread)
{
    (void)thread;
    const latent_job *j = ctx;
    const md_session *s = j->s;
    const md_attn_spec *a = j->a;
    const md_latent_spec *la = a->latent;
    const int64_t own = la->dim_nope + la->n_rot;
    for (int64_t i = first; i < last; i++)
        for (int64_t h = 0; h < a->n_head; h++) {
            float *q = s->s.q + (i * a->n_head + h) * a->dim_k;
            if (!la->k_turned)
                memcpy(q, s->s.latent_q + (i * a->n_head + h) * la->rank, (size_t)la->rank * sizeof *q);
            memcpy(q + la->rank, s->s.att + (i * a->n_head + h) * own + la->dim_nope, (size_t)la->n_rot * sizeof *q);
        }
}

/* q (T, H, rank + n_rot) and k (T, rank + n_rot) from the rows in h. Uses att for queries as projected. */
void md_step_latent_in(md_session *s, const md_attn_spec *a)
{
    const md_latent_spec *la = a->latent;
    latent_job j = {.s = s, .a = a};
    const md_matmul_part part[] = {
        {.w = &la->kv_a, .out = s->s.k, .ld = la->kv_a.rows},
        la->q_a.data ? (md_matmul_part){.w = &la->q_a, .out = s->s.q_rank, .ld = la->q_a.rows}
                     : (md_matmul_part){.w = &a->q, .out = s->s.att, .ld = a->q.rows},
    };
    md_matmul_parts(&s->ops, part, 2, &s->s.in);
    if (la->q_a.data) {
        md_norm_rows(&s->ops, &la->q_a_norm, s->s.q_rank, s->s.q_rank, s->n_rows, la->q_a.rows);
        md_rows_set(&s->s.in, s->s.q_rank, s->n_rows, la->q_a.rows);
        md_matmul(&s->ops, &a->q, &s->s.in, s->s.att, a->q.rows);
    }
    md_pool_run(s->pool, s->n_rows, 2, gather_items, &j);
    s->q_stride = (int64_t)a->n_head * a->dim_k;
    if (la->k_turned) {
        md_matmul_heads_turned(&s->ops, &la->k_up, la->k_first, la->k_stride, s->s.latent, s->n_rows, la->dim_nope,
                               a->n_head, s->s.widened, s->s.q, a->dim_k);
    } else {
        md_rows_set(&s->s.heads, s->s.latent, (int64_t)s->n_rows * a->n_head, la->dim_nope);
        md_matmul_heads(&s->ops, &la->k_up, la->k_first, la->k_stride, la->rank, &s->s.heads, a->n_head, s->s.latent_q);
    }
    md_pool_run(s->pool, s->n_rows, 2, place_items, &j);
}

/* (T, H, rank) to (H, T, rank). */
static void turn_items(void *ctx, int64_t first, int64_t last, int thread)
{
    (void)thread;
    const latent_job *j = ctx;
    const md_session *s = j->s;
    const md_attn_spec *a = j->a;
    for (int64_t i = first; i < last; i++)
        for (int64_t h = 0; h < a->n_head; h++)
            memcpy(s->s.latent + (h * s->n_rows + i) * a->dim_v, s->s.att + (i * a->n_head + h) * a->dim_v,
                   (size_t)a->dim_v * sizeof(float));
}

/* att (T, H, rank) to att (T, H * dim_v). */
void md_step_latent_out(md_session *s, const md_attn_spec *a)
{
    const md_latent_spec *la = a->latent;
    latent_job j = {.s = s, .a = a};
    md_pool_run(s->pool, s->n_rows, 2, turn_items, &j);
    md_rows_set(&s->s.heads, s->s.latent, (int64_t)s->n_rows * a->n_head, la->rank);
    md_matmul_heads(&s->ops, &la->v_up, la->v_first, la->v_stride, la->dim_v, &s->s.heads, a->n_head, s->s.att);
}
