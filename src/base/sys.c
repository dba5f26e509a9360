/* SPDX-License-Identifier: Apache-2.0 */
#include "base/sys.h"
#include "base/mem.h"

#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* ---- parsing ---- */

/* A decimal number at *s, moved past it; the largest value if it is too large. */
static bool number(const char **s, uint64_t *out)
{
    const char *p = *s;
    uint64_t v = 0;
    if (*p < '0' || *p > '9')
        return false;
    for (; *p >= '0' && *p <= '9'; p++)
        if (__builtin_mul_overflow(v, (uint64_t)10, &v) || __builtin_add_overflow(v, (uint64_t)(*p - '0'), &v))
            v = UINT64_MAX; /* every further digit overflows again */
    *s = p;
    *out = v;
    return true;
}

/* What follows `key` and then `after` at the start of a line, blanks skipped; NULL if no line begins so. */
static const char *line_value(const char *text, const char *key, char after)
{
    const size_t n = strlen(key);
    for (const char *line = text; line && *line; line = strchr(line, '\n')) {
        if (*line == '\n' && !*++line)
            break;
        if (strncmp(line, key, n) == 0 && line[n] == after)
            return line + n + 1 + strspn(line + n + 1, " \t");
    }
    return NULL;
}

bool md_sys_parse_kb(const char *text, const char *key, uint64_t *bytes)
{
    const char *s = line_value(text, key, ':');
    uint64_t kb;
    if (!s || !number(&s, &kb) || strncmp(s, " kB", 3) != 0)
        return false;
    if (__builtin_mul_overflow(kb, (uint64_t)1024, bytes))
        *bytes = MD_SYS_UNBOUNDED;
    return true;
}

bool md_sys_parse_stat(const char *text, const char *key, uint64_t *value)
{
    const char *s = line_value(text, key, ' ');
    return s && number(&s, value);
}

bool md_sys_parse_limit(const char *text, uint64_t *value)
{
    const bool none = strncmp(text, "max", 3) == 0 || (text[0] == '-' && text[1] >= '0' && text[1] <= '9');
    if (!none)
        return number(&text, value);
    *value = MD_SYS_UNBOUNDED;
    return true;
}

bool md_sys_parse_cpu_max(const char *text, double *cpus)
{
    uint64_t quota, period;
    if (!number(&text, &quota) || *text++ != ' ' || !number(&text, &period) || quota == 0 || period == 0)
        return false;
    *cpus = (double)quota / (double)period;
    return true;
}

bool md_sys_parse_cpu_first(const char *text, int *cpu)
{
    uint64_t v;
    if (!number(&text, &v) || v > INT_MAX)
        return false;
    *cpu = (int)v;
    return true;
}

/* Does the comma-separated list[0..n) hold word? */
static bool list_has(const char *list, size_t n, const char *word)
{
    const size_t len = strlen(word);
    for (size_t at = 0; at <= n;) {
        size_t end = at;
        while (end < n && list[end] != ',')
            end++;
        if (end - at == len && memcmp(list + at, word, len) == 0)
            return true;
        at = end + 1;
    }
    return false;
}

/* The path of this process in one hierarchy, from lines "ID:CONTROLLERS:PATH"; version 2 has ID 0 and no controllers. */
static bool cgroup_path(const char *text, const char *controller, int version, char *out, size_t cap)
{
    for (const char *line = text; line && *line; line = strchr(line, '\n'), line = line ? line + 1 : NULL) {
        const size_t n = strcspn(line, "\n");
        const char *list = memchr(line, ':', n);
        const char *path = list ? memchr(list + 1, ':', n - (size_t)(list + 1 - line)) : NULL;
        if (!path)
            continue;
        const size_t list_n = (size_t)(path - list - 1);
        const bool ours = version == 2 ? strncmp(line, "0::", 3) == 0 : list_has(list + 1, list_n, controller);
        const size_t path_n = n - (size_t)(path + 1 - line);
        if (ours && path_n < cap) {
            memcpy(out, path + 1, path_n);
            out[path_n] = '\0';
            return true;
        }
    }
    return false;
}

/* Copies one blank-ended field of mountinfo, in which blanks and backslashes are written as \ooo. */
static bool mount_field(const char *s, size_t n, char *out, size_t cap)
{
    size_t at = 0;
    for (size_t i = 0; i < n; i++) {
        if (at + 1 >= cap)
            return false;
        if (s[i] == '\\' && n - i >= 4) {
            out[at++] = (char)((s[i + 1] - '0') * 64 + (s[i + 2] - '0') * 8 + (s[i + 3] - '0'));
            i += 3;
        } else {
            out[at++] = s[i];
        }
    }
    out[at] = '\0';
    return true;
}

/* One line of mountinfo: "ID PARENT MAJOR:MINOR ROOT MOUNT OPTIONS [TAGS] - TYPE SOURCE SUPEROPTIONS". True if it mounts
 * the hierarchy asked for; root and mount get the two paths. */
static bool mount_line(const char *line, size_t n, const char *controller, int version, char *root, char *mount,
                       size_t cap)
{
    enum { ROOT = 3, MOUNT = 4, MAX_FIELDS = 32 };
    struct {
        const char *s;
        size_t n;
    } field[MAX_FIELDS];
    int n_fields = 0, dash = -1;
    for (size_t at = 0; at < n && n_fields < MAX_FIELDS;) {
        size_t end = at;
        while (end < n && line[end] != ' ')
            end++;
        if (end - at == 1 && line[at] == '-' && dash < 0)
            dash = n_fields;
        field[n_fields].s = line + at;
        field[n_fields++].n = end - at;
        at = end + 1;
    }
    if (dash <= MOUNT || dash + 3 >= n_fields)
        return false;
    const char *const type = version == 2 ? "cgroup2" : "cgroup";
    if (field[dash + 1].n != strlen(type) || memcmp(field[dash + 1].s, type, field[dash + 1].n) != 0)
        return false;
    if (version == 1 && !list_has(field[dash + 3].s, field[dash + 3].n, controller))
        return false;
    return mount_field(field[ROOT].s, field[ROOT].n, root, cap) &&
           mount_field(field[MOUNT].s, field[MOUNT].n, mount, cap);
}

/* A container often sees only its own part of the tree: the mount shows `root`, and paths are counted from the top. What
 * lies outside the mount (or climbs out of it) cannot be read; the mount's own top is the best there is. */
static void path_below(char *path, const char *root)
{
    const size_t n = strcmp(root, "/") == 0 ? 0 : strlen(root);
    const bool inside = strncmp(path, root, n) == 0 && (path[n] == '/' || path[n] == '\0') && !strstr(path, "/..");
    if (inside)
        memmove(path, path + n, strlen(path + n) + 1);
    if (!inside || strcmp(path, "/") == 0)
        path[0] = '\0';
}

bool md_sys_parse_cgroup(const char *mountinfo, const char *cgroup, const char *controller, md_cgroup *out)
{
    for (int version = 1; version <= 2; version++) {
        md_cgroup found = {.version = version};
        char root[sizeof found.path];
        if (!cgroup_path(cgroup, controller, version, found.path, sizeof found.path))
            continue;
        for (const char *line = mountinfo; line && *line; line = strchr(line, '\n'), line = line ? line + 1 : NULL) {
            if (!mount_line(line, strcspn(line, "\n"), controller, version, root, found.mount, sizeof found.mount))
                continue;
            path_below(found.path, root);
            *out = found;
            return true;
        }
    }
    return false;
}

/* ---- reading ---- */

/* The text of root + path; NULL if it cannot be read or holds nothing. Freed with md_free. */
static char *slurp(const char *root, const char *path)
{
    md_buf name = {0}, text = {0};
    md_buf_puts(&name, root);
    md_buf_puts(&name, path);
    const int fd = name.failed ? -1 : open(name.data, O_RDONLY | O_CLOEXEC);
    md_buf_done(&name);
    if (fd < 0)
        return NULL;
    char piece[4096];
    for (ssize_t n; (n = read(fd, piece, sizeof piece)) > 0;)
        md_buf_append(&text, piece, (size_t)n);
    close(fd);
    if (text.failed)
        md_buf_done(&text);
    return text.data;
}

/* slurp() of a file of a cgroup: mount + the first `depth` bytes of its path + "/" + name. */
static char *slurp_cgroup(const char *root, const md_cgroup *g, size_t depth, const char *name)
{
    md_buf path = {0};
    md_buf_puts(&path, g->mount);
    md_buf_append(&path, g->path, depth);
    md_buf_putc(&path, '/');
    md_buf_puts(&path, name);
    char *text = path.failed ? NULL : slurp(root, path.data);
    md_buf_done(&path);
    return text;
}

static bool find_cgroup(const char *root, const char *controller, md_cgroup *out)
{
    char *const mounts = slurp(root, "/proc/self/mountinfo");
    char *const paths = slurp(root, "/proc/self/cgroup");
    const bool found = mounts && paths && md_sys_parse_cgroup(mounts, paths, controller, out);
    md_free(mounts);
    md_free(paths);
    return found;
}

/* One step up a path of g->path's first `depth` bytes; false at the top. */
static bool parent(const md_cgroup *g, size_t *depth)
{
    if (*depth == 0)
        return false;
    while (*depth > 0 && g->path[--*depth] != '/')
        ;
    return true;
}

static uint64_t read_number(const char *root, const md_cgroup *g, size_t depth, const char *name, uint64_t otherwise)
{
    char *const text = slurp_cgroup(root, g, depth, name);
    uint64_t v = otherwise;
    if (text)
        (void)md_sys_parse_limit(text, &v);
    md_free(text);
    return v;
}

/* Limit minus use of one cgroup. */
static uint64_t cgroup_free(const char *root, const md_cgroup *g, size_t depth)
{
    const bool v2 = g->version == 2;
    const uint64_t limit = read_number(root, g, depth, v2 ? "memory.max" : "memory.limit_in_bytes", MD_SYS_UNBOUNDED);
    if (limit == MD_SYS_UNBOUNDED)
        return MD_SYS_UNBOUNDED;
    uint64_t used = read_number(root, g, depth, v2 ? "memory.current" : "memory.usage_in_bytes", 0), cache = 0;
    char *const stat = slurp_cgroup(root, g, depth, "memory.stat");
    if (stat && !md_sys_parse_stat(stat, "total_inactive_file", &cache))
        (void)md_sys_parse_stat(stat, "inactive_file", &cache);
    md_free(stat);
    used -= cache < used ? cache : used;
    return used < limit ? limit - used : 0;
}

uint64_t md_sys_free_memory_at(const char *root)
{
    uint64_t least = MD_SYS_UNBOUNDED;
    char *const meminfo = slurp(root, "/proc/meminfo");
    if (meminfo)
        (void)md_sys_parse_kb(meminfo, "MemAvailable", &least);
    md_free(meminfo);
    md_cgroup g;
    if (!find_cgroup(root, "memory", &g))
        return least;
    size_t depth = strlen(g.path);
    do {
        const uint64_t here = cgroup_free(root, &g, depth);
        least = here < least ? here : least;
    } while (parent(&g, &depth));
    return least;
}

uint64_t md_sys_free_memory(void)
{
    return md_sys_free_memory_at("");
}

static uint64_t own_status(const char *key)
{
    uint64_t bytes = 0;
    char *const status = slurp("", "/proc/self/status");
    if (status)
        (void)md_sys_parse_kb(status, key, &bytes);
    md_free(status);
    return bytes;
}

uint64_t md_sys_peak_rss(void)
{
    return own_status("VmHWM");
}

uint64_t md_sys_rss(void)
{
    return own_status("VmRSS");
}

uint64_t md_sys_own_memory(void)
{
    const uint64_t holds = md_sys_rss(), free_now = md_sys_free_memory();
    return free_now > MD_SYS_UNBOUNDED - holds ? MD_SYS_UNBOUNDED : free_now + holds;
}

double md_sys_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* ---- threads ---- */

/* The core a CPU belongs to, named by its first SMT sibling; the CPU itself where the system does not tell. */
static int core_of(const char *root, int cpu)
{
    char path[96];
    snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list", cpu);
    char *const text = slurp(root, path);
    int first = cpu;
    if (text)
        (void)md_sys_parse_cpu_first(text, &first);
    md_free(text);
    return first;
}

static int count_cores(const char *root, const bool *allowed, int n_cpu)
{
    int n = 0, others = 0;
    bool *const seen = md_calloc((size_t)n_cpu, sizeof *seen);
    for (int cpu = 0; cpu < n_cpu; cpu++) {
        if (!allowed[cpu])
            continue;
        const int core = core_of(root, cpu);
        if (!seen || core >= n_cpu) {
            others++;
        } else if (!seen[core]) {
            seen[core] = true;
            n++;
        }
    }
    md_free(seen);
    return n + others;
}

/* CPUs' worth of time granted by the tightest cgroup on the way up; 0 when there is no quota. */
static double cpu_quota(const char *root)
{
    md_cgroup g;
    if (!find_cgroup(root, "cpu", &g))
        return 0;
    double least = 0;
    size_t depth = strlen(g.path);
    do {
        double here = 0;
        if (g.version == 2) {
            char *const text = slurp_cgroup(root, &g, depth, "cpu.max");
            if (text)
                (void)md_sys_parse_cpu_max(text, &here);
            md_free(text);
        } else {
            const uint64_t quota = read_number(root, &g, depth, "cpu.cfs_quota_us", MD_SYS_UNBOUNDED);
            const uint64_t period = read_number(root, &g, depth, "cpu.cfs_period_us", 0);
            if (quota != MD_SYS_UNBOUNDED && period > 0)
                here = (double)quota / (double)period;
        }
        if (here > 0 && (least == 0 || here < least))
            least = here;
    } while (parent(&g, &depth));
    return least;
}

int md_sys_threads_at(const char *root, const bool *allowed, int n_cpu)
{
    int n = count_cores(root, allowed, n_cpu);
    const double quota = cpu_quota(root);
    if (quota > 0 && quota < (double)n) {
        n = (int)quota;
        n += (double)n < quota;
    }
    return n > 0 ? n : 1;
}

int md_sys_default_threads(void)
{
    enum { MAX_CPU = 16384 }; /* twice what Linux can be built for */
    cpu_set_t *const set = CPU_ALLOC(MAX_CPU);
    bool *const allowed = md_calloc(MAX_CPU, sizeof *allowed);
    int n = 1;
    if (set && allowed && sched_getaffinity(0, CPU_ALLOC_SIZE(MAX_CPU), set) == 0) {
        for (int cpu = 0; cpu < MAX_CPU; cpu++)
            allowed[cpu] = CPU_ISSET_S(cpu, CPU_ALLOC_SIZE(MAX_CPU), set);
        n = md_sys_threads_at("", allowed, MAX_CPU);
    }
    CPU_FREE(set);
    md_free(allowed);
    return n;
}
