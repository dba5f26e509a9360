/* SPDX-License-Identifier: Apache-2.0
 *
 * The inside of the mixers that carry a state, for the files that run them. */
#ifndef MD_MODEL_STEP_RECURRENT_H
#define MD_MODEL_STEP_RECURRENT_H

#include "model/session.h"

/* One mixer over the rows of the step. */
typedef struct md_recurrent_job {
    const md_session *s;
    const md_recurrent_spec *r;
    const float *x;   /* what is convolved: rows of n_conv values */
    int64_t x_stride; /* from one row to the next */
    bool silu;        /* over what the convolution gives */
} md_recurrent_job;

/* conv (T, n_conv) from x, each sequence after what its state holds of it; the state to come gets its last inputs. */
void md_step_convolve(const md_recurrent_job *j);

/* They read the rows in h and leave their output in y. */
void md_step_delta(md_session *s, const md_recurrent_spec *r);
void md_step_mamba(md_session *s, const md_recurrent_spec *r);

#endif
