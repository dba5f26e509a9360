/* SPDX-License-Identifier: Apache-2.0
 *
 * Measuring a machine: each figure is the best of some passes, or of many the lower quartile, since whatever else runs can only add. Here are memory, loops and what
 * is done to single floats; measure_kern.c and measure_disk.c have the rest. Takes some seconds; one calling thread. */
#include "plan/profile.h"

#include "base/mem.h"
#include "base/region.h"
#include "base/roof.h"
#include "base/status.h"
#include "base/sys.h"

#include <math.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#define PASSES     5
#define TOUCH      ((size_t)256 << 20)
#define FRESH      ((size_t)32 << 20)
#define TOUCH_STEP ((size_t)2 << 20)
#define COPY       ((size_t)32 << 20) /* more than caches hold... */
#define COPY_STEP  ((size_t)1 << 20)  /* ...into what they do */
#define WIDTH      2048
#define N_ROWS     4096 /* more than caches hold: rows of a prompt come from memory and go there */
#define N_PARTS    8
#define SPIN       5e-6 /* seconds of an item */
#define SPINS      4    /* items a thread */
#define LOOPS      200
#define WAKES      30
#define PAUSE_NS   400000

md_status md_measuring_tell(md_measuring *m, md_error *err)
{
    const md_profile_needs *n = m->needs;
    m->done++;
    MD_FAIL_IF(n->progress && !n->progress(n->progress_user, m->done, m->all), MD_ERR_CANCELLED,
               "measuring was stopped");
    return MD_OK;
}

double md_measuring_typical(double *pass, int n)
{
    for (int i = 1; i < n; i++)
        for (int at = i; at > 0 && pass[at - 1] > pass[at]; at--) {
            const double x = pass[at];
            pass[at] = pass[at - 1];
            pass[at - 1] = x;
        }
    return pass[n / 4];
}

double md_measuring_middle(double *pass, int n)
{
    double sum = 0.0;
    (void)md_measuring_typical(pass, n);
    for (int i = n / 4; i < n - n / 4; i++)
        sum += pass[i];
    return sum / (n - n / 4 * 2);
}

/* ---- memory ---- */

static void touch_items(void *ctx, int64_t first, int64_t last, int thread)
{
    (void)thread;
    memset((unsigned char *)ctx + (size_t)first * TOUCH_STEP, 1, (size_t)(last - first) * TOUCH_STEP);
}

/* Once: what was given back a moment ago is taken again faster than what nobody had for long. */
static md_status measure_touch(md_measuring *m, md_error *err)
{
    md_region region;
    MD_TRY(md_region_new(TOUCH, &region, err));
    const double began = md_sys_seconds();
    md_pool_run(m->pool, TOUCH / TOUCH_STEP, 1, touch_items, region.bytes);
    m->profile->touch = (md_sys_seconds() - began) / (double)TOUCH;
    md_region_free(&region);
    return MD_OK;
}

/* Memory as keys and values have it. */
static md_status measure_fresh(md_measuring *m, md_error *err)
{
    void *p = mmap(NULL, FRESH, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    MD_FAIL_IF(p == MAP_FAILED, MD_ERR_MEMORY, "measuring this machine takes 0.5 GiB of memory, which is not free");
    const double began = md_sys_seconds();
    md_pool_run(m->pool, FRESH / TOUCH_STEP, 1, touch_items, p);
    m->profile->fresh = (md_sys_seconds() - began) / (double)FRESH;
    munmap(p, FRESH);
    return MD_OK;
}

static md_status measure_copy(md_measuring *m, md_error *err)
{
    unsigned char *from = md_calloc(COPY, 1), *to = md_calloc(COPY_STEP, 1);
    double best = INFINITY;
    if (from && to) {
        memset(from, 1, COPY);
        for (int pass = 0; pass < PASSES; pass++) {
            const double began = md_sys_seconds();
            for (size_t at = 0; at < COPY; at += COPY_STEP)
                memcpy(to, from + at, COPY_STEP);
            best = fmin(best, md_sys_seconds() - began);
        }
        m->profile->copy = best / (double)COPY;
    }
    const bool ok = from && to;
    md_free(from);
    md_free(to);
    return ok ? MD_OK : md_fail_memory(err, "measuring this machine");
}

static md_status measure_memory(md_measuring *m, md_error *err)
{
    md_profile *p = m->profile;
    MD_TRY(md_roof_read(1, &p->read_1, err));
    MD_TRY(md_measuring_tell(m, err));
    MD_TRY(md_roof_read(p->n_threads, &p->read, err));
    MD_FAIL_IF(p->read_1 <= 0.0 || p->read <= 0.0, MD_ERR_MEMORY,
               "measuring this machine takes 0.5 GiB of memory, which is not free");
    MD_TRY(md_measuring_tell(m, err));
    MD_TRY(measure_touch(m, err));
    MD_TRY(measure_fresh(m, err));
    MD_TRY(measure_copy(m, err));
    return md_measuring_tell(m, err);
}

/* ---- loops ---- */

static void spin_items(void *ctx, int64_t first, int64_t last, int thread)
{
    (void)ctx;
    (void)thread;
    for (int64_t i = first; i < last; i++)
        for (const double began = md_sys_seconds(); md_sys_seconds() - began < SPIN;)
            ;
}

/* What a loop takes beyond its items' time, n times. */
static double beyond(const md_measuring *m, int n, bool pause)
{
    const int64_t items = (int64_t)SPINS * m->profile->n_threads;
    double sum = 0.0;
    for (int i = 0; i < n; i++) {
        if (pause)
            nanosleep(&(struct timespec){.tv_nsec = PAUSE_NS}, NULL);
        const double began = md_sys_seconds();
        md_pool_run(m->pool, items, 1, spin_items, NULL);
        sum += md_sys_seconds() - began - SPIN * SPINS;
    }
    return sum / n;
}

static md_status measure_loops(md_measuring *m, md_error *err)
{
    md_profile *p = m->profile;
    p->loop = p->wake = INFINITY;
    for (int pass = 0; pass < PASSES; pass++) {
        p->loop = fmin(p->loop, fmax(beyond(m, LOOPS, false), 1e-7));
        p->wake = fmin(p->wake, fmax(beyond(m, WAKES, true), 1e-7));
    }
    p->wake = fmax(p->wake, p->loop);
    return md_measuring_tell(m, err);
}

/* ---- floats ---- */

typedef struct float_work {
    float *x, *y; /* owned, (N_ROWS, WIDTH) */
    double *sums; /* owned, (N_ROWS, WIDTH) */
    int8_t code[WIDTH];
    float scale[WIDTH / 256];
    int16_t sum[WIDTH / 16];
} float_work;

typedef void float_fn(const md_kern *k, float_work *w, int64_t row);

static void norm_row(const md_kern *k, float_work *w, int64_t row)
{
    k->rms_norm(w->x + row * WIDTH, w->x, w->y + row * WIDTH, WIDTH, 1e-6f);
    k->add(w->x + row * WIDTH, w->y + row * WIDTH, WIDTH);
}

static void hidden_row(const md_kern *k, float_work *w, int64_t row)
{
    float *y = w->y + row * WIDTH;
    k->silu_mul(w->x + row * WIDTH, y, y, WIDTH);
    k->quantize256(y, WIDTH, w->code, w->scale, w->sum);
}

static void combine_row(const md_kern *k, float_work *w, int64_t row)
{
    const float *part[N_PARTS], weight[N_PARTS] = {0.1f, 0.2f, 0.3f, 0.4f, 0.5f, 0.6f, 0.7f, 0.8f};
    for (int i = 0; i < N_PARTS; i++)
        part[i] = w->x + (row + i) % N_ROWS * WIDTH;
    k->combine(part, weight, N_PARTS, w->y + row * WIDTH, WIDTH);
}

/* What expert/output.c does between waves, whose weights drive the sums out of caches. */
static void pend_row(const md_kern *k, float_work *w, int64_t row)
{
    (void)k;
    const float *x = w->x + row * WIDTH;
    double *sum = w->sums + row * WIDTH;
    for (int64_t i = 0; i < WIDTH; i++)
        sum[i] += 0.1 * (double)x[i];
}

static double seconds_a_float(const md_kern *k, float_work *w, float_fn *fn)
{
    double best = INFINITY;
    for (int pass = 0; pass < PASSES; pass++) {
        for (int64_t i = 0; i < N_ROWS * WIDTH; i++)
            w->x[i] = w->y[i] = 0.001f * (float)(i % 1000);
        const double began = md_sys_seconds();
        for (int64_t row = 0; row < N_ROWS; row++)
            fn(k, w, row);
        best = fmin(best, md_sys_seconds() - began);
    }
    return best / N_ROWS / WIDTH;
}

static md_status measure_floats(md_measuring *m, md_error *err)
{
    float_work *w = md_calloc(1, sizeof *w);
    bool ok = w != NULL;
    if (ok) {
        w->x = md_calloc((size_t)N_ROWS * WIDTH, sizeof *w->x);
        w->y = md_calloc((size_t)N_ROWS * WIDTH, sizeof *w->y);
        w->sums = md_calloc((size_t)N_ROWS * WIDTH, sizeof *w->sums);
        ok = w->x && w->y && w->sums;
    }
    if (ok) {
        m->profile->norm = seconds_a_float(m->kern, w, norm_row);
        m->profile->hidden = seconds_a_float(m->kern, w, hidden_row);
        m->profile->combine = seconds_a_float(m->kern, w, combine_row) / N_PARTS;
        m->profile->pend = seconds_a_float(m->kern, w, pend_row);
    }
    if (w) {
        md_free(w->x);
        md_free(w->y);
        md_free(w->sums);
    }
    md_free(w);
    return ok ? md_measuring_tell(m, err) : md_fail_memory(err, "measuring this machine");
}

/* ---- all of it ---- */

static md_status measure_machine(md_measuring *m, md_error *err)
{
    if (m->profile->measured)
        return MD_OK;
    MD_TRY(measure_memory(m, err));
    MD_TRY(measure_loops(m, err));
    MD_TRY(measure_floats(m, err));
    MD_TRY(md_measure_attention(m, err));
    m->profile->measured = true;
    return MD_OK;
}

/* The disk takes the first free place, or else the last one. */
static md_status measure_disk_of(md_measuring *m, uint64_t device, md_error *err)
{
    int at = 0;
    while (at < MD_PROFILE_DISKS - 1 && m->profile->disk[at].device != 0)
        at++;
    md_profile_disk found = {.device = device};
    MD_TRY(md_measure_disk(m, m->needs->disk_file, &found, err));
    m->profile->disk[at] = found;
    return MD_OK;
}

md_status md_profile_fill(md_profile *p, const md_profile_needs *needs, bool *any, md_error *err)
{
    md_measuring m = {.profile = p, .needs = needs, .kern = md_kern_get(p->isa)};
    const uint64_t device = md_profile_device(needs->disk_file);
    const bool disk = device != 0 && !md_profile_disk_of(p, device);
    MD_FAIL_IF(!m.kern, MD_ERR_ARGUMENT, "there are no kernels '%s' on this machine", p->isa);
    uint64_t types = 0;
    for (int i = 0; i < MD_N_TYPES; i++)
        types += needs->type[i] && !p->type[i].measured;
    m.all = types + (disk ? MD_PROFILE_SIZES + 1 : 0) + (p->measured ? 0 : 7);
    *any = m.all > 0;
    if (!*any)
        return MD_OK;
    MD_TRY(md_pool_new(p->n_threads, &m.pool, err));
    md_status status = measure_machine(&m, err);
    if (status == MD_OK)
        status = md_measure_types(&m, err);
    if (status == MD_OK && disk)
        status = measure_disk_of(&m, device, err);
    md_pool_free(m.pool);
    return status;
}
