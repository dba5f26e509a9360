/* SPDX-License-Identifier: Apache-2.0
 *
 * Which tables there are, and which one this machine gets. */
#include "kern/kern.h"

#include "base/cpu.h"

#include <pthread.h>
#include <stdbool.h>
#include <string.h>

void md_scalar_table_fill(md_kern *k);
#if defined(__x86_64__)
void md_avx2_table_fill(md_kern *k);
#endif

/* Best last. ORDER TABLES */
enum { SCALAR, AVX2, N_TABLES };
/* The one mutable state of the library: filled once, then only read. */
static md_kern tables[N_TABLES];
static const char *names[N_TABLES + 1];
static int best;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void fill(void)
{
    int n = 0;
    md_scalar_table_fill(&tables[SCALAR]);
    names[n++] = tables[SCALAR].isa;
#if defined(__x86_64__)
    const md_cpu cpu = md_cpu_detect();
    if (cpu.avx2 && cpu.fma && cpu.f16c) {
        md_avx2_table_fill(&tables[AVX2]);
        names[n++] = tables[AVX2].isa;
        best = AVX2;
    }
#endif
    names[n] = NULL;
}

const md_kern *md_kern_get(const char *isa)
{
    pthread_once(&once, fill);
    if (!isa)
        return &tables[best];
    for (int i = 0; i < N_TABLES; i++)
        if (tables[i].isa && strcmp(tables[i].isa, isa) == 0)
            return &tables[i];
    return NULL;
}

const char *const *md_kern_names(void)
{
    pthread_once(&once, fill);
    return names;
}
