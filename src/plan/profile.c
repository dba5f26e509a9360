/* SPDX-License-Identifier: Apache-2.0
 *
 * What a profile says between and beyond the points that were measured. */
#include "plan/profile.h"

#include "base/cpu.h"
#include <medley/version.h>

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

const double md_profile_rows[] = {1, 4, 16, 64, 512};
const double md_profile_queries[] = {1, 8, 32, 128};
const double md_profile_sizes[] = {64 << 10, 256 << 10, 1 << 20, 4 << 20};
const double md_profile_depths[] = {1, 4, 16};

void md_profile_init(md_profile *p, const char *isa, int32_t n_threads)
{
    const md_cpu cpu = md_cpu_detect();
    *p = (md_profile){.n_threads = n_threads};
    snprintf(p->cpu, sizeof p->cpu, "%s", cpu.name[0] ? cpu.name : "unknown");
    snprintf(p->isa, sizeof p->isa, "%s", isa);
    snprintf(p->version, sizeof p->version, "%s", md_version());
}

/* A line between the two points around x; beyond the last one, y grows with x; before the first one it is the first. */
static double along(const double *at, const double *y, int n, double x)
{
    if (x <= at[0])
        return y[0];
    if (x >= at[n - 1])
        return y[n - 1] * x / at[n - 1];
    int i = 1;
    while (i < n - 1 && at[i] < x)
        i++;
    return y[i - 1] + (y[i] - y[i - 1]) * (x - at[i - 1]) / (at[i] - at[i - 1]);
}

double md_profile_weight(const md_profile *p, md_type type, double rows)
{
    return along(md_profile_rows, p->type[type].weight, MD_PROFILE_ROWS, rows);
}

double md_profile_attend(const md_profile *p, bool f32, double queries)
{
    const double *y = p->attend[f32];
    if (queries >= md_profile_queries[MD_PROFILE_QUERIES - 1])
        return y[MD_PROFILE_QUERIES - 1];
    return along(md_profile_queries, y, MD_PROFILE_QUERIES, queries);
}

/* Of one size: beyond the deepest queue the disk goes on at the same rate. */
static double reads_of(const md_profile_disk *d, int size, double n)
{
    return along(md_profile_depths, d->seconds[size], MD_PROFILE_DEPTHS, n);
}

double md_profile_read(const md_profile_disk *d, double n, double bytes)
{
    double seconds[MD_PROFILE_SIZES] = {0};
    if (n <= 0.0)
        return 0.0;
    for (int s = 0; s < MD_PROFILE_SIZES; s++)
        seconds[s] = reads_of(d, s, n > 1.0 ? n : 1.0);
    return along(md_profile_sizes, seconds, MD_PROFILE_SIZES, bytes);
}

static double between(const double *kind, double rows)
{
    static const double at[MD_PROFILE_KINDS] = {1.0, 16.0};
    return rows >= at[1] ? kind[1] : along(at, kind, MD_PROFILE_KINDS, rows);
}

double md_profile_busy_read(const md_profile_disk *d, double rows)
{
    return between(d->both.read, rows);
}

double md_profile_busy_work(const md_profile_disk *d, double rows)
{
    return between(d->both.work, rows);
}

double md_profile_disk_rate(const md_profile_disk *d)
{
    double best = 0.0;
    for (int s = 0; s < MD_PROFILE_SIZES; s++)
        for (int n = 0; n < MD_PROFILE_DEPTHS; n++)
            best = fmax(best, md_profile_sizes[s] * md_profile_depths[n] / d->seconds[s][n]);
    return best;
}

uint64_t md_profile_device(const char *path)
{
    struct stat st;
    return path && stat(path, &st) == 0 ? (uint64_t)st.st_dev : 0;
}

const md_profile_disk *md_profile_disk_of(const md_profile *p, uint64_t device)
{
    for (int i = 0; i < MD_PROFILE_DISKS; i++)
        if (p->disk[i].device == device)
            return &p->disk[i];
    return NULL;
}
