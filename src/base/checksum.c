/* SPDX-License-Identifier: Apache-2.0 */
#include "base/checksum.h"

#include <string.h>

#define STRIPE 32u
#define P1     0x9e3779b185ebca87ull
#define P2     0xc2b2ae3d27d4eb4full
#define P3     0x165667b19e3779f9ull
#define P4     0x85ebca77c2b2ae63ull
#define P5     0x27d4eb2f165667c5ull

static uint64_t rotl(uint64_t x, int r)
{
    return x << r | x >> (64 - r);
}

static uint64_t load64(const unsigned char *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static uint64_t round1(uint64_t acc, uint64_t lane)
{
    return rotl(acc + lane * P2, 31) * P1;
}

void md_checksum_init(md_checksum *c)
{
    *c = (md_checksum){.lane = {P1 + P2, P2, 0, 0 - P1}};
}

static void add_stripe(md_checksum *c, const unsigned char *p)
{
    for (int i = 0; i < 4; i++)
        c->lane[i] = round1(c->lane[i], load64(p + 8 * i));
}

void md_checksum_add(md_checksum *c, const void *bytes, size_t n)
{
    const unsigned char *p = bytes;
    if (n == 0)
        return;
    const size_t held = c->total % STRIPE;
    c->total += n;
    if (held > 0) {
        const size_t take = n < STRIPE - held ? n : STRIPE - held;
        memcpy(c->rest + held, p, take);
        p += take;
        n -= take;
        if (held + take < STRIPE)
            return;
        add_stripe(c, c->rest);
    }
    for (; n >= STRIPE; p += STRIPE, n -= STRIPE)
        add_stripe(c, p);
    if (n > 0)
        memcpy(c->rest, p, n);
}

static uint64_t add_rest(uint64_t h, const unsigned char *p, size_t n)
{
    for (; n >= 8; p += 8, n -= 8)
        h = rotl(h ^ round1(0, load64(p)), 27) * P1 + P4;
    if (n >= 4) {
        uint32_t v;
        memcpy(&v, p, sizeof v);
        h = rotl(h ^ v * P1, 23) * P2 + P3;
        p += 4;
        n -= 4;
    }
    for (; n > 0; p++, n--)
        h = rotl(h ^ *p * P5, 11) * P1;
    return h;
}

uint64_t md_checksum_value(const md_checksum *c)
{
    uint64_t h = P5;
    if (c->total >= STRIPE) {
        h = rotl(c->lane[0], 1) + rotl(c->lane[1], 7) + rotl(c->lane[2], 12) + rotl(c->lane[3], 18);
        for (int i = 0; i < 4; i++)
            h = (h ^ round1(0, c->lane[i])) * P1 + P4;
    }
    h = add_rest(h + c->total, c->rest, c->total % STRIPE);
    h = (h ^ h >> 33) * P2;
    h = (h ^ h >> 29) * P3;
    return h ^ h >> 32;
}
