/* SPDX-License-Identifier: Apache-2.0
 *
 * Memory and cores granted by made-up machines: cgroup v1, v2, containers, quotas, SMT. */
#include "base/sys.h"
#include "support/scratch.h"

#include <sched.h>

#define MIB ((uint64_t)1 << 20)

static int set_up(void **state)
{
    *state = scratch_new();
    scratch_put(*state, "/proc/meminfo", "MemTotal:       16384 kB\nMemFree: 1 kB\nMemAvailable:    8192 kB\n");
    return 0;
}

/* ---- parsers ---- */

static void test_parse_kb(void **state)
{
    (void)state;
    uint64_t v = 5;
    const char *text = "Name:\tVmHWM: 9 kB\nVmPeak:\t  77 kB\nVmHWM:\t  1752 kB\nVmRSSx: 3 kB\nThreads:\t4\nlast: 2 kB";
    assert_true(md_sys_parse_kb(text, "VmHWM", &v));
    assert_int_equal(v, 1752 * 1024);
    assert_true(md_sys_parse_kb(text, "last", &v));
    assert_int_equal(v, 2048);
    v = 5;
    assert_false(md_sys_parse_kb(text, "VmRSS", &v));
    assert_false(md_sys_parse_kb(text, "Threads", &v));
    assert_false(md_sys_parse_kb("", "VmHWM", &v));
    assert_false(md_sys_parse_kb("\n\n\nVmHWM: kB\n", "VmHWM", &v));
    assert_int_equal(v, 5);
    assert_true(md_sys_parse_kb("\n\nVmHWM: 99999999999999999999999 kB\n", "VmHWM", &v));
    assert_int_equal(v, MD_SYS_UNBOUNDED);
}

static void test_parse_limit(void **state)
{
    (void)state;
    uint64_t v = 5;
    assert_true(md_sys_parse_limit("4096\n", &v));
    assert_int_equal(v, 4096);
    assert_true(md_sys_parse_limit("max\n", &v));
    assert_int_equal(v, MD_SYS_UNBOUNDED);
    v = 5;
    assert_true(md_sys_parse_limit("-1\n", &v));
    assert_int_equal(v, MD_SYS_UNBOUNDED);
    v = 5;
    assert_false(md_sys_parse_limit("\n", &v));
    assert_false(md_sys_parse_limit("-\n", &v));
    assert_int_equal(v, 5);
    assert_true(md_sys_parse_limit("18446744073709551615", &v));
    assert_int_equal(v, UINT64_MAX);
    assert_true(md_sys_parse_limit("184467440737095516160001", &v));
    assert_int_equal(v, UINT64_MAX);
}

static void test_parse_cpu_max(void **state)
{
    (void)state;
    double v = 5;
    assert_true(md_sys_parse_cpu_max("150000 100000\n", &v));
    assert_float_equal(v, 1.5, 0);
    v = 5;
    assert_false(md_sys_parse_cpu_max("max 100000\n", &v));
    assert_false(md_sys_parse_cpu_max("150000\n", &v));
    assert_false(md_sys_parse_cpu_max("150000 0\n", &v));
    assert_false(md_sys_parse_cpu_max("", &v));
    assert_float_equal(v, 5, 0);
}

static void test_parse_cpu_first(void **state)
{
    (void)state;
    int v = 5;
    assert_true(md_sys_parse_cpu_first("3,67\n", &v));
    assert_int_equal(v, 3);
    assert_true(md_sys_parse_cpu_first("10-11\n", &v));
    assert_int_equal(v, 10);
    assert_false(md_sys_parse_cpu_first("\n", &v));
    assert_false(md_sys_parse_cpu_first("99999999999\n", &v));
    assert_int_equal(v, 10);
}

static void expect_cgroup(const char *mounts, const char *paths, const char *controller, int version, const char *mount,
                          const char *path)
{
    md_cgroup g = {0};
    assert_true(md_sys_parse_cgroup(mounts, paths, controller, &g));
    assert_int_equal(g.version, version);
    assert_string_equal(g.mount, mount);
    assert_string_equal(g.path, path);
}

static void test_parse_cgroup(void **state)
{
    (void)state;
    const char *v2 =
        "22 1 0:2 / / rw - ext4 /dev/sda rw\n30 22 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw\n";
    expect_cgroup(v2, "0::/user.slice/a.scope\n", "memory", 2, "/sys/fs/cgroup", "/user.slice/a.scope");
    expect_cgroup(v2, "0::/\n", "memory", 2, "/sys/fs/cgroup", "");

    /* v1 beside an empty v2 tree: the controller lies in v1; two may share one mount */
    const char
        *mixed = "31 2 0:29 / /c/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
                 "32 2 0:30 / /c/memory rw - cgroup cgroup rw,memory\n33 2 0:31 / /c/unified rw - cgroup2 cgroup2 rw\n";
    const char *paths = "9:name=systemd:/x\n4:memory:/jobs/one\n3:cpu,cpuacct:/jobs\n2:cpuset:/s\n0::/elsewhere\n";
    expect_cgroup(mixed, paths, "memory", 1, "/c/memory", "/jobs/one");
    expect_cgroup(mixed, paths, "cpu", 1, "/c/cpu,cpuacct", "/jobs");
    expect_cgroup(mixed, paths, "pids", 2, "/c/unified", "/elsewhere"); /* "cpu" in "cpuset" is no match either */

    /* a container: the mount shows only its own part, with a blank in its name */
    const char *inner = "32 2 0:30 /docker/4f /sys/fs/my\\040cgroup ro - cgroup cgroup rw,memory\n";
    expect_cgroup(inner, "4:memory:/docker/4f/sub\n", "memory", 1, "/sys/fs/my cgroup", "/sub");
    expect_cgroup(inner, "4:memory:/docker/4f\n", "memory", 1, "/sys/fs/my cgroup", "");
    expect_cgroup(inner, "4:memory:/docker/4f2\n", "memory", 1, "/sys/fs/my cgroup", "");
    expect_cgroup(inner, "4:memory:/docker/4f/../../x\n", "memory", 1, "/sys/fs/my cgroup", "");

    md_cgroup g;
    assert_false(md_sys_parse_cgroup("", "", "memory", &g));
    assert_false(md_sys_parse_cgroup(v2, "garbage\n::\n:\n", "memory", &g));
    assert_false(md_sys_parse_cgroup("- - - -\n1 2 3 / /x - cgroup2\n", "0::/\n", "memory", &g));
}

static void test_overlong_paths_are_passed_over(void **state)
{
    (void)state;
    char line[4096], *at = line + sprintf(line, "0::/");
    memset(at, 'a', 3000);
    memcpy(at + 3000, "\n", 2);
    md_cgroup g;
    assert_false(md_sys_parse_cgroup("30 22 0:26 / /c rw - cgroup2 cgroup2 rw\n", line, "memory", &g));
}

/* ---- memory ---- */

static void test_memory_without_cgroups(void **state)
{
    assert_int_equal(md_sys_free_memory_at(*state), 8 * MIB);
    char *empty = scratch_new();
    assert_int_equal(md_sys_free_memory_at(empty), MD_SYS_UNBOUNDED);
    scratch_remove(empty);
}

static void put_v2(void *root)
{
    scratch_put(root, "/proc/self/mountinfo", "30 22 0:26 / /cg rw - cgroup2 cgroup2 rw\n");
    scratch_put(root, "/proc/self/cgroup", "0::/a/b\n");
    scratch_put(root, "/cg/a/b/memory.max", "max\n");
    scratch_put(root, "/cg/a/b/memory.current", "1048576\n");
}

static void test_memory_v2_takes_the_tightest_ancestor(void **state)
{
    put_v2(*state);
    assert_int_equal(md_sys_free_memory_at(*state), 8 * MIB);
    scratch_put(*state, "/cg/a/memory.max", "6291456\n"); /* 6 MiB, 2 used */
    scratch_put(*state, "/cg/a/memory.current", "2097152\n");
    assert_int_equal(md_sys_free_memory_at(*state), 4 * MIB);
    scratch_put(*state, "/cg/a/b/memory.max", "2097152\n"); /* 2 MiB, 1 used */
    assert_int_equal(md_sys_free_memory_at(*state), 1 * MIB);
    scratch_put(*state, "/cg/memory.max", "1048576\n"); /* the top, all used */
    scratch_put(*state, "/cg/memory.current", "1052672\n");
    assert_int_equal(md_sys_free_memory_at(*state), 0);
}

static void test_memory_cache_is_no_use(void **state)
{
    put_v2(*state);
    scratch_put(*state, "/cg/a/b/memory.max", "4194304\n"); /* 4 MiB, 3.5 used, of which 3 are cache */
    scratch_put(*state, "/cg/a/b/memory.current", "3670016\n");
    scratch_put(*state, "/cg/a/b/memory.stat", "anon 524288\nfile 3145728\ninactive_file 3145728\nactive_file 0\n");
    assert_int_equal(md_sys_free_memory_at(*state), 7 * MIB / 2);
    scratch_put(*state, "/cg/a/b/memory.stat", "inactive_file 99999999\n"); /* more than all: counters may lag */
    assert_int_equal(md_sys_free_memory_at(*state), 4 * MIB);
}

static void test_memory_v1(void **state)
{
    scratch_put(*state, "/proc/self/mountinfo", "32 2 0:30 / /cg/memory rw - cgroup cgroup rw,memory\n");
    scratch_put(*state, "/proc/self/cgroup", "4:memory:/a/b\n1:cpu:/\n");
    scratch_put(*state, "/cg/memory/a/b/memory.limit_in_bytes", "9223372036854771712\n"); /* how v1 writes: none */
    scratch_put(*state, "/cg/memory/a/b/memory.usage_in_bytes", "1048576\n");
    assert_int_equal(md_sys_free_memory_at(*state), 8 * MIB);
    scratch_put(*state, "/cg/memory/a/memory.limit_in_bytes", "4194304\n");
    scratch_put(*state, "/cg/memory/a/memory.usage_in_bytes", "3145728\n");
    scratch_put(*state, "/cg/memory/a/memory.stat", "cache 1\ninactive_file 1\ntotal_inactive_file 1048576\n");
    assert_int_equal(md_sys_free_memory_at(*state), 2 * MIB);
}

/* ---- threads ---- */

static void put_siblings(void *root, int cpu, const char *list)
{
    char path[128];
    snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list", cpu);
    scratch_put(root, path, list);
}

static void test_threads_count_cores(void **state)
{
    bool allowed[8] = {true, true, true, true, true, true, true, true};
    assert_int_equal(md_sys_threads_at(*state, allowed, 8), 8); /* nothing known: every CPU is a core */
    for (int cpu = 0; cpu < 8; cpu++) {
        const char *const far[] = {"0,4\n", "1,5\n", "2,6\n", "3,7\n"};
        put_siblings(*state, cpu, far[cpu % 4]);
    }
    assert_int_equal(md_sys_threads_at(*state, allowed, 8), 4);
    allowed[0] = allowed[1] = false; /* their siblings are still ours */
    assert_int_equal(md_sys_threads_at(*state, allowed, 8), 4);
    allowed[4] = allowed[5] = allowed[6] = false;
    assert_int_equal(md_sys_threads_at(*state, allowed, 8), 2);
    for (int cpu = 0; cpu < 8; cpu++) {
        const char *const near[] = {"0-1\n", "2-3\n", "4-5\n", "6-7\n"};
        put_siblings(*state, cpu, near[cpu / 2]);
    }
    assert_int_equal(md_sys_threads_at(*state, allowed, 8), 2); /* 2, 3 and 7 are left */
    memset(allowed, 0, sizeof allowed);
    assert_int_equal(md_sys_threads_at(*state, allowed, 8), 1);
}

static void test_threads_v2_quota(void **state)
{
    const bool allowed[8] = {true, true, true, true, true, true, true, true};
    put_v2(*state);
    scratch_put(*state, "/cg/a/b/cpu.max", "max 100000\n");
    assert_int_equal(md_sys_threads_at(*state, allowed, 8), 8);
    scratch_put(*state, "/cg/a/cpu.max", "250000 100000\n");
    assert_int_equal(md_sys_threads_at(*state, allowed, 8), 3); /* rounded up */
    scratch_put(*state, "/cg/a/b/cpu.max", "200000 100000\n");
    assert_int_equal(md_sys_threads_at(*state, allowed, 8), 2);
    scratch_put(*state, "/cg/a/b/cpu.max", "1000 100000\n");
    assert_int_equal(md_sys_threads_at(*state, allowed, 8), 1);
    scratch_put(*state, "/cg/a/b/cpu.max", "9900000 100000\n"); /* looser than a: a decides */
    assert_int_equal(md_sys_threads_at(*state, allowed, 8), 3);
    assert_int_equal(md_sys_threads_at(*state, allowed, 2), 2); /* and looser than the cpuset */
}

static void test_threads_v1_quota(void **state)
{
    const bool allowed[8] = {true, true, true, true, true, true, true, true};
    scratch_put(*state, "/proc/self/mountinfo", "32 2 0:30 / /cg/cpu rw - cgroup cgroup rw,cpu,cpuacct\n");
    scratch_put(*state, "/proc/self/cgroup", "3:cpu,cpuacct:/a\n");
    scratch_put(*state, "/cg/cpu/a/cpu.cfs_quota_us", "-1\n");
    scratch_put(*state, "/cg/cpu/a/cpu.cfs_period_us", "100000\n");
    assert_int_equal(md_sys_threads_at(*state, allowed, 8), 8);
    scratch_put(*state, "/cg/cpu/cpu.cfs_quota_us", "350000\n");
    scratch_put(*state, "/cg/cpu/cpu.cfs_period_us", "50000\n");
    assert_int_equal(md_sys_threads_at(*state, allowed, 8), 7);
    scratch_put(*state, "/cg/cpu/a/cpu.cfs_quota_us", "110000\n");
    assert_int_equal(md_sys_threads_at(*state, allowed, 8), 2);
}

/* ---- this machine ---- */

static void test_this_machine(void **state)
{
    (void)state;
    cpu_set_t set;
    assert_int_equal(sched_getaffinity(0, sizeof set, &set), 0);
    const int n = md_sys_default_threads();
    assert_in_range(n, 1, CPU_COUNT(&set));
    assert_in_range(md_sys_free_memory(), 1, MD_SYS_UNBOUNDED - 1);

    const uint64_t before = md_sys_peak_rss();
    assert_in_range(before, 100 * 1024, MD_SYS_UNBOUNDED - 1);
    char *p = malloc(64 * MIB);
    assert_non_null(p);
    memset(p, 1, 64 * MIB);
    assert_in_range(md_sys_peak_rss(), before + 32 * MIB, before + 1024 * MIB);
    free(p);

    const double start = md_sys_seconds();
    usleep(20000);
    const double took = md_sys_seconds() - start;
    assert_true(took >= 0.0199 && took < 60);
}

#define ON_MACHINE(f) cmocka_unit_test_setup_teardown(f, set_up, scratch_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse_kb),         cmocka_unit_test(test_parse_limit),
        cmocka_unit_test(test_parse_cpu_max),    cmocka_unit_test(test_parse_cpu_first),
        cmocka_unit_test(test_parse_cgroup),     cmocka_unit_test(test_overlong_paths_are_passed_over),
        ON_MACHINE(test_memory_without_cgroups), ON_MACHINE(test_memory_v2_takes_the_tightest_ancestor),
        ON_MACHINE(test_memory_cache_is_no_use), ON_MACHINE(test_memory_v1),
        ON_MACHINE(test_threads_count_cores),    ON_MACHINE(test_threads_v2_quota),
        ON_MACHINE(test_threads_v1_quota),       cmocka_unit_test(test_this_machine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
