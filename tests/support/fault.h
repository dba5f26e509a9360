/* SPDX-License-Identifier: Apache-2.0
 *
 * Faults on demand: the Nth allocation or the Nth system call of this program fails. A test program of dep_fault has them
 * linked in (fault.c). Where the C library allows it, allocations made inside other shared libraries (PCRE2, Jansson)
 * count as well, and what is not freed is counted; under sanitizers only our own calls are seen, and LeakSanitizer does
 * the counting. Calls may come from any thread; arming belongs to one. */
#ifndef MD_TEST_FAULT_H
#define MD_TEST_FAULT_H

#include "support/fixtures.h"

#include <medley/error.h>

typedef enum fault_kind {
    FAULT_MEMORY, /* malloc, calloc, realloc and aligned_alloc give NULL; mmap without a file and pthread_create fail */
    FAULT_CALL,   /* open, openat, stat, fstat, mmap of a file, read, write, fsync, linkat, rename and renameat fail */
    FAULT_SHORT,  /* read and write move one byte where more were asked for */
    FAULT_INTERRUPT, /* read and write are interrupted before they moved anything (EINTR) */
} fault_kind;

/* The nth event from now on fails, counted from 0; only that one. */
void fault_arm(fault_kind kind, long nth);
/* Ends it; false if the nth event never came. */
bool fault_disarm(void);
/* While paused, nothing fails and nothing is counted towards the nth: for what a job checks between its steps. */
void fault_pause(bool paused);

/* From now on (or no longer) the file system has no unnamed files: O_TMPFILE is refused. */
void fault_no_unnamed_files(bool none);

/* Bytes asked of the allocator since the program began. */
size_t fault_bytes_asked(void);
/* Allocations that are not freed yet; 0 where they are not counted. */
long fault_live(void);

/* What a test wants to survive. Gives its result as a number, so that two runs can be compared. */
typedef md_status fault_job(void *arg, uint64_t *result, md_error *err);

typedef struct fault_count {
    long refused;  /* rounds that ended with an error */
    long survived; /* rounds that ended well in spite of the fault */
} fault_count;

/* Runs the job without a fault, then with fault 0, 1, 2... until one is no longer reached, each with and without an
 * md_error. Each time the job either fails with `status` and one sentence, or gives the result of the first run: never
 * less without saying so. Nothing may stay allocated. */
fault_count fault_each(fault_kind kind, md_status status, fault_job *job, void *arg);

#endif
