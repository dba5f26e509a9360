/* SPDX-License-Identifier: Apache-2.0
 *
 * Elementary functions in double precision by fixed polynomials and nothing but IEEE add, multiply, fma, divide and
 * square root: the same bits on every machine and C library. Within a few units in the last place of a double over the
 * ranges used (rope angles, frequencies, random numbers); not for hot loops. */
#ifndef MD_BASE_MATHD_H
#define MD_BASE_MATHD_H

double md_exp_d(double x);                                /* 0 below -745, infinity above 709.8 */
double md_log_d(double x);                                /* x > 0 finite; -infinity for 0; NaN below */
double md_pow_d(double x, double y);                      /* x > 0 */
void md_sincos_d(double x, double *sin_x, double *cos_x); /* |x| <= 2^40; NaN beyond */

#endif
