/* SPDX-License-Identifier: Apache-2.0
 *
 * Token vectors by layer (docs/numerics.md, section 12): each token brings one for every layer, mixed from a table and a
 * projection of its embedding; at a layer's end it is gated by the stream and added to it. */
#include "model/session.h"

#include <math.h>

typedef struct token_job {
    const md_session *s;
    const int32_t *token;
    int32_t layer;
} token_job;

/* Table rows times sqrt(width), plus the normed projection, all times 1/sqrt(2). Rows without a token take token 0's. */
static void mix_items(void *ctx, int64_t first, int64_t last, int thread)
{
    (void)thread;
    const token_job *j = ctx;
    const md_session *s = j->s;
    const md_spec *sp = &s->model->spec;
    const md_token_layer_spec *t = &sp->token_layer;
    const md_kern *kern = s->ops.kern;
    const int64_t w = t->width, all = w * sp->n_layer;
    float table[1 << 10];
    for (int64_t i = first; i < last; i++) {
        const size_t id = j->token ? (size_t)j->token[i] : 0;
        const char *row = (const char *)t->embed.data + id * t->embed.row_bytes;
        float *x = s->s.token + i * all;
        kern->scale(x, 1.0f / sqrtf((float)sp->n_embd), all);
        for (int32_t l = 0; l < sp->n_layer; l++)
            md_norm_row(kern, &t->project_norm, x + l * w, x + l * w, w);
        const int64_t block = md_type_get(t->embed.type)->block, piece = (1 << 10) / block * block;
        for (int64_t at = 0; at < all; at += piece) {
            const int64_t n = all - at < piece ? all - at : piece;
            size_t skip = 0;
            (void)!md_type_row_bytes(t->embed.type, at, &skip);
            md_type_decode(t->embed.type, row + skip, table, n);
            kern->scale(table, sqrtf((float)w), n);
            kern->add(x + at, table, n);
        }
        kern->scale(x, 0.70710678f, all);
    }
}

void md_step_token_layers(md_session *s, const int32_t *token)
{
    const md_spec *sp = &s->model->spec;
    const md_token_layer_spec *t = &sp->token_layer;
    if (t->width == 0)
        return;
    token_job j = {.s = s, .token = token};
    md_rows_set(&s->s.in, s->s.x, s->n_rows, sp->n_embd);
    md_matmul(&s->ops, &t->project, &s->s.in, s->s.token, t->project.rows);
    md_pool_run(s->pool, s->n_rows, 1, mix_items, &j);
}

static void gate_items(void *ctx, int64_t first, int64_t last, int thread)
{
    (void)thread;
    const token_job *j = ctx;
    const md_session *s = j->s;
    const md_spec *sp = &s->model->spec;
    const int64_t w = sp->token_layer.width;
    for (int64_t i = first; i < last; i++) {
        float *gate = s->s.token_gate + i * w;
        s->ops.kern->gelu(gate, w);
        s->ops.kern->mul_into(gate, s->s.token + (i * sp->n_layer + j->layer) * w, w);
    }
}

void md_step_token_layer(md_session *s, int32_t layer)
{
    const md_spec *sp = &s->model->spec;
    const md_layer *l = &sp->layer[layer];
    const int64_t w = sp->token_layer.width, d = sp->n_embd;
    if (w == 0)
        return;
    token_job j = {.s = s, .layer = layer};
    md_rows_set(&s->s.in, s->s.x, s->n_rows, d);
    md_matmul(&s->ops, &l->token_gate, &s->s.in, s->s.token_gate, w);
    md_pool_run(s->pool, s->n_rows, 8, gate_items, &j);
    md_rows_set(&s->s.mid, s->s.token_gate, s->n_rows, w);
    md_matmul(&s->ops, &l->token_project, &s->s.mid, s->s.y, d);
    md_norm_rows(&s->ops, &l->token_norm, s->s.y, s->s.y, s->n_rows, d);
    md_residual(&s->ops, s->s.x, s->s.y, s->n_rows, d, 1.0f);
}
