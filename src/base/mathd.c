/* SPDX-License-Identifier: Apache-2.0 */
#include "base/mathd.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

/* fma here is the IEEE operation: exact on every machine, in hardware or not. */

static double power_of_two(int n) /* -1022 <= n <= 1023 */
{
    const uint64_t bits = (uint64_t)(n + 1023) << 52;
    double d;
    memcpy(&d, &bits, sizeof d);
    return d;
}

/* x = n ln 2 + r with |r| <= ln 2 / 2; e^r by its Taylor series, whose 14th term is below 2^-60. */
double md_exp_d(double x)
{
    if (x != x)
        return x;
    if (x > 709.782712893384)
        return HUGE_VAL;
    if (x < -745.2)
        return 0.0;
    const double n = nearbyint(x * 1.4426950408889634074);
    double r = fma(n, -6.93147180369123816490e-01, x); /* ln 2 in two parts, the first with 21 trailing zero bits */
    r = fma(n, -1.90821492927058770002e-10, r);
    double p = 1.0 / 6227020800.0;
    static const double inverse_factorial[] = {
        1.0 / 479001600.0,
        1.0 / 39916800.0,
        1.0 / 3628800.0,
        1.0 / 362880.0,
        1.0 / 40320.0,
        1.0 / 5040.0,
        1.0 / 720.0,
        1.0 / 120.0,
        1.0 / 24.0,
        1.0 / 6.0,
        0.5,
        1.0,
        1.0,
    };
    for (int i = 0; i < 13; i++)
        p = fma(p, r, inverse_factorial[i]);
    const int k = (int)n;
    if (k >= -1022 && k <= 1023)
        return p * power_of_two(k);
    return k > 0 ? p * power_of_two(1023) * power_of_two(k - 1023) : p * power_of_two(-1000) * power_of_two(k + 1000);
}

/* x = 2^e m with m in [sqrt(1/2), sqrt(2)); log m = 2 atanh((m - 1) / (m + 1)) by its odd series. */
double md_log_d(double x)
{
    if (x != x || x < 0.0)
        return NAN;
    if (x == 0.0)
        return -HUGE_VAL;
    if (x > 1.7976931348623157e308)
        return HUGE_VAL;
    int e = 0;
    if (x < 2.2250738585072014e-308) {
        x *= 0x1p60;
        e = -60;
    }
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    e += (int)(bits >> 52) - 1023;
    bits = (bits & 0x000fffffffffffffull) | 0x3ff0000000000000ull;
    double m;
    memcpy(&m, &bits, sizeof m);
    if (m > 1.4142135623730951) {
        m *= 0.5;
        e++;
    }
    const double f = m - 1.0, s = f / (m + 1.0), z = s * s;
    double p = 1.0 / 25.0;
    for (int k = 23; k >= 3; k -= 2)
        p = fma(p, z, 1.0 / (double)k);
    /* log m = f - (f^2/2 - s (f^2/2 + ...)): s = f / (2 + f), so 2 s = f - s f. */
    const double tail = 2.0 * s * z * p, half = 0.5 * f * f;
    const double correction = s * half; /* 2 s = f - f^2/2 + s f^2/2 */
    const double lo = fma((double)e, 1.90821492927058770002e-10, tail + (correction - half));
    return fma((double)e, 6.93147180369123816490e-01, f + lo);
}

double md_pow_d(double x, double y)
{
    return md_exp_d(y * md_log_d(x));
}

/* x = n pi/2 + r by three-part pi/2 (Cody and Waite 1980) with fma, then Taylor series on |r| <= pi/4. */
void md_sincos_d(double x, double *sin_x, double *cos_x)
{
    if (!(x <= 0x1p40 && x >= -0x1p40)) {
        *sin_x = *cos_x = NAN;
        return;
    }
    const double n = nearbyint(x * 0.63661977236758134308);
    double r = fma(n, -1.57079632679489655800e+00, x);
    r = fma(n, -6.12323399573676603587e-17, r);
    r = fma(n, 1.49738490485916983e-33, r);
    const double z = r * r;
    static const double sin_c[] = {
        1.0 / 355687428096000.0, -1.0 / 1307674368000.0, 1.0 / 6227020800.0, -1.0 / 39916800.0,
        1.0 / 362880.0,          -1.0 / 5040.0,          1.0 / 120.0,        -1.0 / 6.0};
    static const double cos_c[] = {1.0 / 20922789888000.0, -1.0 / 87178291200.0, 1.0 / 479001600.0, -1.0 / 3628800.0,
                                   1.0 / 40320.0,          -1.0 / 720.0,         1.0 / 24.0};
    double ps = sin_c[0], pc = -1.0 / 6402373705728000.0;
    for (int i = 1; i < 8; i++)
        ps = fma(ps, z, sin_c[i]);
    for (int i = 0; i < 7; i++)
        pc = fma(pc, z, cos_c[i]);
    const double s = fma(r * z, ps, r), c = fma(z * z, pc, fma(-0.5, z, 1.0));
    switch ((int64_t)n & 3) {
    case 0: *sin_x = s, *cos_x = c; break;
    case 1: *sin_x = c, *cos_x = -s; break;
    case 2: *sin_x = -s, *cos_x = -c; break;
    default: *sin_x = -c, *cos_x = s; break;
    }
}
