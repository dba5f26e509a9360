/* SPDX-License-Identifier: Apache-2.0
 *
 * Which tables there are, and which one this machine gets. A table is filled from the reference kernels in the compilation for
 * its instruction set, then overwritten with the hand-written ones. */
#include "kern/kern.h"

#include "base/cpu.h"

#include <pthread.h>
#include <stdbool.h>
#include <string.h>

typedef void fill_fn(md_kern *k);
fill_fn md_scalar_table_fill;
#if defined(__x86_64__)
fill_fn md_avx2_table_fill, md_avx2_overwrite, md_avx512_table_fill, md_avx512_overwrite, md_avx512vnni_table_fill,
    md_avx512vnni_overwrite;
#elif defined(__aarch64__)
fill_fn md_neon_table_fill, md_neon_overwrite, md_neondot_table_fill, md_neondot_overwrite;
#endif

static bool has_scalar(const md_cpu *c)
{
    (void)c;
    return true;
}

#if defined(__x86_64__)
static bool has_avx2(const md_cpu *c)
{
    return c->avx2 && c->fma && c->f16c;
}

static bool has_avx512(const md_cpu *c)
{
    return has_avx2(c) && c->avx512;
}

static bool has_avx512vnni(const md_cpu *c)
{
    return has_avx512(c) && c->avx512_vnni;
}
#elif defined(__aarch64__)
static bool has_neon(const md_cpu *c)
{
    return c->neon;
}

static bool has_neondot(const md_cpu *c)
{
    return c->neon && c->dotprod;
}
#endif

/* Best last. */
static const struct row {
    bool (*has)(const md_cpu *c);
    fill_fn *fill, *overwrite;
} rows[] = {
    {has_scalar, md_scalar_table_fill, NULL},
#if defined(__x86_64__)
    {has_avx2, md_avx2_table_fill, md_avx2_overwrite},
    {has_avx512, md_avx512_table_fill, md_avx512_overwrite},
    {has_avx512vnni, md_avx512vnni_table_fill, md_avx512vnni_overwrite},
#elif defined(__aarch64__)
    {has_neon, md_neon_table_fill, md_neon_overwrite},
    {has_neondot, md_neondot_table_fill, md_neondot_overwrite},
#endif
};
enum { N_ROWS = sizeof rows / sizeof *rows };

/* The one mutable state of the library: filled once, then only read. */
static md_kern tables[N_ROWS];
static const char *names[N_ROWS + 1];
static int n_tables;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void fill(void)
{
    const md_cpu cpu = md_cpu_detect();
    for (int i = 0; i < N_ROWS; i++) {
        if (!rows[i].has(&cpu))
            continue;
        rows[i].fill(&tables[n_tables]);
        if (rows[i].overwrite)
            rows[i].overwrite(&tables[n_tables]);
        names[n_tables] = tables[n_tables].isa;
        n_tables++;
    }
}

const md_kern *md_kern_get(const char *isa)
{
    pthread_once(&once, fill);
    for (int i = n_tables - 1; i >= 0; i--)
        if (!isa || strcmp(tables[i].isa, isa) == 0)
            return &tables[i];
    return NULL;
}

const char *const *md_kern_names(void)
{
    pthread_once(&once, fill);
    return names;
}
