/* SPDX-License-Identifier: Apache-2.0
 *
 * What the machine grants this process: memory, cores, time. Linux only: everything is read from /proc and /sys at the
 * call, nothing is kept. What cannot be read counts as no bound, so a missing file never refuses work. The parsers are
 * pure functions of text, and the readers take the root of the tree they read, so tests give them trees of their own.
 * Thread-safe. */
#ifndef MD_BASE_SYS_H
#define MD_BASE_SYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MD_SYS_UNBOUNDED UINT64_MAX

/* Most physical memory this process has held at once, in bytes (VmHWM); 0 if the system does not tell. */
uint64_t md_sys_peak_rss(void);
/* Physical memory that this process holds now, in bytes (VmRSS); 0 if the system does not tell. */
uint64_t md_sys_rss(void);
/* Bytes that can be taken now without swapping or being killed: the least of MemAvailable and, for the memory cgroup of
 * this process and each of its ancestors, limit minus use. Cache that the kernel drops first (inactive_file) is no use.
 * MD_SYS_UNBOUNDED if nothing is known. */
uint64_t md_sys_free_memory(void);
/* What this process holds now and can still take. MD_SYS_UNBOUNDED if nothing is known. */
uint64_t md_sys_own_memory(void);

/* Threads worth starting, at least 1: physical cores (SMT siblings count once) among the CPUs this process may run on,
 * and at most its CPU quota, rounded up. */
int md_sys_default_threads(void);
/* Seconds since some fixed point, never going back. */
double md_sys_seconds(void);

/* --- the same under another root: "" is this system, "/x" reads /x/proc/meminfo and so on --- */
uint64_t md_sys_free_memory_at(const char *root);
/* allowed: [n_cpu], the CPUs the process may run on. */
int md_sys_threads_at(const char *root, const bool *allowed, int n_cpu);

/* --- pure parsers; text is NUL-terminated, out is untouched when they return false --- */

/* "MemAvailable:  123 kB" of /proc/meminfo and /proc/PID/status, in bytes. key without the colon. */
bool md_sys_parse_kb(const char *text, const char *key, uint64_t *bytes);
/* "total_inactive_file 4096": one line of a memory.stat. */
bool md_sys_parse_stat(const char *text, const char *key, uint64_t *value);
/* One number, or "max" for no limit. A negative number (cgroup v1) is no limit, too. */
bool md_sys_parse_limit(const char *text, uint64_t *value);
/* CPUs' worth of time from a cgroup v2 cpu.max ("50000 100000"); false when there is no quota. */
bool md_sys_parse_cpu_max(const char *text, double *cpus);
/* The first CPU of a list such as "0,64" or "3-4". */
bool md_sys_parse_cpu_first(const char *text, int *cpu);

/* Where the files of one cgroup controller lie for this process. */
typedef struct md_cgroup {
    int version;      /* 1 or 2 */
    char mount[1024]; /* "/sys/fs/cgroup/memory" */
    char path[1024];  /* below the mount, "" or "/a/b" */
} md_cgroup;
/* From /proc/self/mountinfo and /proc/self/cgroup: the version 1 hierarchy of `controller` ("memory", "cpu") if one is
 * mounted, else version 2. False if there is neither. */
bool md_sys_parse_cgroup(const char *mountinfo, const char *cgroup, const char *controller, md_cgroup *out);

#endif
