/* SPDX-License-Identifier: Apache-2.0
 *
 * What a machine can do, measured by small pieces of work that know nothing of the model to be planned. A profile belongs to one
 * processor, set of kernels, number of threads and release; each weight type and disk is measured when it is first asked for.
 * A file of a profile may come from anywhere: numbers that cannot be are as good as no profile. */
#ifndef MD_PLAN_PROFILE_H
#define MD_PLAN_PROFILE_H

#include "dtype/dtype.h"
#include "kern/kern.h"
#include "base/pool.h"
#include <medley/model.h>
#include <stdbool.h>

enum {
    MD_PROFILE_ROWS = 5,    /* numbers of rows that meet a weight: md_profile_rows */
    MD_PROFILE_QUERIES = 4, /* queries that meet a tile of keys: md_profile_queries */
    MD_PROFILE_SIZES = 4,   /* of a read: md_profile_sizes */
    MD_PROFILE_DEPTHS = 3,  /* reads at once: md_profile_depths */
    MD_PROFILE_DISKS = 8,   /* of which a profile knows */
};
extern const double md_profile_rows[MD_PROFILE_ROWS], md_profile_queries[MD_PROFILE_QUERIES],
    md_profile_sizes[MD_PROFILE_SIZES], md_profile_depths[MD_PROFILE_DEPTHS];

/* A weight type. */
typedef struct md_profile_type {
    bool measured;
    double weight
        [MD_PROFILE_ROWS]; /* seconds of all threads for one weight that comes from memory and meets so many rows */
    double weave_1, weave; /* seconds a byte to make tiles of rows, by one thread and by all; 0: has no tiles */
} md_profile_type;

/* What reads and computing do to each other while both are at work: how many times as long either takes, against it alone, where
 * one row meets the weights and where many do. */
enum { MD_PROFILE_KINDS = 2 };
typedef struct md_profile_both {
    double read[MD_PROFILE_KINDS], work[MD_PROFILE_KINDS]; /* from 1 */
} md_profile_both;

typedef struct md_profile_disk {
    uint64_t device; /* 0: no entry */
    md_profile_both both;
    double seconds[MD_PROFILE_SIZES]
                  [MD_PROFILE_DEPTHS]; /* until so many reads of that size, asked for at once, are there */
} md_profile_disk;

typedef struct md_profile {
    /* the key */
    char cpu[64], isa[16], version[16];
    int32_t n_threads;
    /* the rest */
    bool measured;       /* but for types and disks */
    double read_1, read; /* bytes a second from memory, one thread and all */
    double touch, fresh; /* seconds a byte for all threads to take fresh memory, in large pages and in small ones */
    double copy;         /* seconds a byte for one thread to read a file that is in the page cache */
    double loop, wake;   /* seconds that handing out a loop costs: soon after the last one, and once threads sleep */
    double norm, hidden, combine,
        pend; /* seconds of one thread for a float of: norm and residual; activation and codes; a weighted sum;
                                         * the same where sums wait in double precision */
    double
        attend[2]
              [MD_PROFILE_QUERIES]; /* F16, F32: seconds of one thread for a query, a key and one of their dimensions */
    md_profile_type type[MD_N_TYPES];
    md_profile_disk disk[MD_PROFILE_DISKS];
} md_profile;

/* The key of this machine. isa: of the table of kernels. */
void md_profile_init(md_profile *p, const char *isa, int32_t n_threads);

/* Reads a profile of the same key into p. False, p being as it was, if there is none that can be used. */
bool md_profile_load(md_profile *p, const char *path);
md_status md_profile_save(const md_profile *p, const char *path, md_error *err) MD_MUST_USE;

/* What is to be measured. */
typedef struct md_profile_needs {
    bool type[MD_N_TYPES];
    const char *disk_file; /* NULL: no disk */
    md_progress_fn *progress;
    void *progress_user;
} md_profile_needs;
/* Measures what p lacks. *any: whether that was something. */
md_status md_profile_fill(md_profile *p, const md_profile_needs *needs, bool *any, md_error *err) MD_MUST_USE;

/* --- what it says --- */
/* Seconds for one weight of the type that meets so many rows, from 1. */
double md_profile_weight(const md_profile *p, md_type type, double rows);
/* Seconds of one thread for a query, a key and a dimension, where so many queries meet a tile. */
double md_profile_attend(const md_profile *p, bool f32, double queries);
/* Seconds until n reads of `bytes` each, asked for at once, are there. */
double md_profile_read(const md_profile_disk *d, double n, double bytes);
/* How many times as long reads take while products of so many rows are computed, and those while reads are under way. */
double md_profile_busy_read(const md_profile_disk *d, double rows);
double md_profile_busy_work(const md_profile_disk *d, double rows);
/* Bytes a second at best. */
double md_profile_disk_rate(const md_profile_disk *d);
/* The device that a file or folder lies on; 0: there is none such, or path is NULL. */
uint64_t md_profile_device(const char *path);
/* NULL: not measured. */
const md_profile_disk *md_profile_disk_of(const md_profile *p, uint64_t device);

/* --- inside --- */
typedef struct md_measuring {
    md_profile *profile;
    const md_kern *kern;
    md_pool *pool;
    const md_profile_needs *needs;
    uint64_t done, all; /* parts of the work */
} md_measuring;
/* A part is done: MD_ERR_CANCELLED once the caller wants no more. */
md_status md_measuring_tell(md_measuring *m, md_error *err) MD_MUST_USE;
/* What most passes take: their lower quartile, since others on the machine only add. Sorts. */
double md_measuring_typical(double *pass, int n);
/* What many passes take together, without those that stick out: the mean of their middle half. For what changes from one moment to
 * the next, as disks do, and is used many times. Sorts. */
double md_measuring_middle(double *pass, int n);
/* Bytes that are no wild number, whatever weight they are taken for. */
void md_measuring_fill(unsigned char *p, size_t n);
/* Reads that never end: what is done begins anew elsewhere. */
typedef struct md_disk_reads md_disk_reads;
void md_disk_reads_begin(md_disk_reads *r);
/* Begins anew what is done, and waits for one if asked to; adds to *bytes. */
md_status md_disk_reads_go_on(md_disk_reads *r, bool wait, double *bytes, md_error *err) MD_MUST_USE;
void md_disk_reads_end(md_disk_reads *r);
md_status md_measure_both(md_measuring *m, md_disk_reads *r, md_profile_both *out, md_error *err) MD_MUST_USE;
md_status md_measure_types(md_measuring *m, md_error *err) MD_MUST_USE;
md_status md_measure_attention(md_measuring *m, md_error *err) MD_MUST_USE;
md_status md_measure_disk(md_measuring *m, const char *path, md_profile_disk *out, md_error *err) MD_MUST_USE;

#endif
