/* SPDX-License-Identifier: Apache-2.0
 *
 * Hidden states of a text's positions, in order, becoming one vector, or one each. Sums are in double and in the order of the
 * positions, so steps and batch mates do not change a bit (docs/numerics.md, section 13). */
#ifndef MD_RUN_POOLED_H
#define MD_RUN_POOLED_H

#include <medley/embed.h>

typedef struct md_pooled {
    md_pooling pooling; /* none, mean, cls, last or power */
    double power;       /* of power */
    bool raw;           /* vectors as they come; else each is divided by its length */
    int32_t width;
    size_t n;    /* positions of the text under way */
    double *sum; /* borrowed, [width] */
    float *out;  /* borrowed: where the next vector goes; moves on */
} md_pooled;

/* Sets pooling and power to what is meant. MD_ERR_UNSUPPORTED for rank. */
md_status md_pooled_set(md_pooled *p, const md_model *m, md_pooling asked, double power, md_error *err) MD_MUST_USE;
/* Does the state of this position count? */
bool md_pooled_counts(const md_pooled *p, size_t position);
/* The state of the next position; NULL if it does not count. MD_ERR_FORMAT if it is not made of numbers. */
md_status md_pooled_add(md_pooled *p, size_t position, const float *hidden, md_error *err) MD_MUST_USE;

#endif
