/* SPDX-License-Identifier: Apache-2.0
 *
 * Profiles: between the points that were measured, to a file and back, files that are damaged or hostile, and one real measuring. */
#include "made_up.h"

#include <math.h>
#include <medley/unstable/plan.h>
#include <string.h>

static void between_points_there_are_lines(void **state)
{
    md_profile *p = made_up_profile(*state);
    for (double rows = 1; rows <= 512; rows += 7)
        assert_true(fabs(md_profile_weight(p, MD_TYPE_Q4_K, rows) - (3e-11 + 1e-11 * rows)) < 1e-16);
    assert_true(md_profile_weight(p, MD_TYPE_Q4_K, 1024) == 2.0 * p->type[MD_TYPE_Q4_K].weight[MD_PROFILE_ROWS - 1]);
    assert_true(md_profile_weight(p, MD_TYPE_Q4_K, 0.5) == p->type[MD_TYPE_Q4_K].weight[0]);
    const md_profile_disk *d = &p->disk[0];
    assert_true(md_profile_read(d, 0.0, 1e6) == 0.0);
    assert_true(fabs(md_profile_read(d, 4.0, 1 << 20) - d->seconds[2][1]) < 1e-12);
    assert_true(fabs(md_profile_read(d, 32.0, 1 << 20) - 2.0 * d->seconds[2][2]) < 1e-12);
    assert_true(fabs(md_profile_read(d, 1.0, 8 << 20) - 2.0 * d->seconds[3][0]) < 1e-12);
    double before = 0.0;
    for (double n = 0.5; n < 40; n += 0.5) {
        const double now = md_profile_read(d, n, 300000.0);
        assert_true(now >= before && now > 0.0);
        before = now;
    }
    assert_true(md_profile_disk_rate(d) > 4e8 && md_profile_disk_rate(d) < 5e8);
    assert_true(md_profile_busy_read(d, 1.0) == 1.4 && md_profile_busy_read(d, 0.5) == 1.4);
    assert_true(md_profile_busy_read(d, 16.0) == 1.1 && md_profile_busy_read(d, 400.0) == 1.1);
    assert_true(fabs(md_profile_busy_work(d, 8.5) - 1.225) < 1e-12);
    assert_ptr_equal(md_profile_disk_of(p, d->device), d);
    assert_null(md_profile_disk_of(p, d->device + 1));
    free(p);
}

/* What six digits keep. */
static bool near(double a, double b)
{
    return fabs(a / b - 1.0) < 1e-5;
}

static void to_a_file_and_back(void **state)
{
    const char *path = scratch_path(*state, "p.json");
    md_profile *p = made_up_profile(*state), *q = calloc(1, sizeof *q);
    p->type[MD_TYPE_IQ2_XS].weave = p->type[MD_TYPE_IQ2_XS].weave_1 = 0.0; /* has no tiles */
    p->type[MD_TYPE_Q5_0] = (md_profile_type){0};                          /* was not measured */
    snprintf(p->cpu, sizeof p->cpu, "a \"quoted\" \\ name");
    OK(md_profile_save(p, path, err));
    md_profile_init(q, p->isa, p->n_threads);
    assert_false(md_profile_load(q, path)); /* another processor */
    memcpy(q->cpu, p->cpu, sizeof p->cpu);
    char *text = NULL;
    size_t n;
    text = read_all(path, &n);
    assert_non_null(strstr(text, "a \\\"quoted\\\" \\\\ name"));
    free(text);
    md_profile_init(p, p->isa, p->n_threads); /* the true name */
    free(p);
    p = made_up_profile(*state);
    p->type[MD_TYPE_Q5_0] = (md_profile_type){0};
    OK(md_profile_save(p, path, err));
    md_profile_init(q, p->isa, p->n_threads);
    assert_true(md_profile_load(q, path));
    assert_true(q->measured && q->read == p->read && q->wake == p->wake);
    assert_false(q->type[MD_TYPE_Q5_0].measured);
    assert_true(near(q->type[MD_TYPE_Q4_K].weave, p->type[MD_TYPE_Q4_K].weave));
    for (int i = 0; i < MD_PROFILE_ROWS; i++)
        assert_true(near(q->type[MD_TYPE_Q4_K].weight[i], p->type[MD_TYPE_Q4_K].weight[i]));
    for (int i = 0; i < MD_PROFILE_QUERIES; i++)
        assert_true(near(q->attend[0][i], p->attend[0][i]) && near(q->attend[1][i], p->attend[1][i]));
    assert_int_equal(q->disk[0].device, p->disk[0].device);
    assert_int_equal(q->disk[1].device, 0);
    for (int s = 0; s < MD_PROFILE_SIZES; s++)
        for (int d = 0; d < MD_PROFILE_DEPTHS; d++)
            assert_true(near(q->disk[0].seconds[s][d], p->disk[0].seconds[s][d]));
    for (int i = 0; i < MD_PROFILE_KINDS; i++)
        assert_true(near(q->disk[0].both.read[i], p->disk[0].both.read[i]) &&
                    near(q->disk[0].both.work[i], p->disk[0].both.work[i]));
    free(q);
    free(p);
}

static void write_text(const char *path, const char *text, size_t n)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, n, f), n);
    fclose(f);
}

/* Loads it; whatever it is, what was there stays unless it is taken. */
static bool takes(const md_profile *like, const char *path)
{
    md_profile *q = calloc(1, sizeof *q), *before = calloc(1, sizeof *before);
    md_profile_init(q, like->isa, like->n_threads);
    *before = *q;
    const bool taken = md_profile_load(q, path);
    if (!taken)
        assert_memory_equal(q, before, sizeof *q);
    free(q);
    free(before);
    return taken;
}

static void damaged_files_are_no_profiles(void **state)
{
    const char *path = scratch_path(*state, "p.json"), *bad = scratch_path(*state, "bad.json");
    md_profile *p = made_up_profile(*state);
    size_t n;
    OK(md_profile_save(p, path, err));
    char *text = read_all(path, &n);
    assert_true(takes(p, path));
    assert_false(takes(p, scratch_path(*state, "none.json")));
    assert_false(takes(p, *state)); /* a folder */
    for (size_t cut = 0; cut + 2 < n; cut += 97) {
        write_text(bad, text, cut);
        assert_false(takes(p, bad));
    }
    static const char *const numbers[] = {"-1", "0", "1e300", "1e-300", "\"1\"", "null", "[]", "{}", "true", "9e999"};
    static const char *const keys[] = {
        "\"read\": ",   "\"wake\": ",      "\"combine\": ", "\"attend\": [[", "\"weight\": [",
        "\"weave\": [", "\"seconds\": [[", "\"fresh\": ",   "\"read\": [",    "\"work\": ["};
    for (size_t k = 0; k < sizeof keys / sizeof *keys; k++)
        for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
            char *at = strstr(text, keys[k]);
            assert_non_null(at);
            at += strlen(keys[k]);
            char *other = malloc(n + 16);
            const size_t front = (size_t)(at - text), skip = strcspn(at, ",]\n");
            const int length = snprintf(other, n + 16, "%.*s%s%s", (int)front, text, numbers[i], at + skip);
            write_text(bad, other, (size_t)length);
            assert_false(takes(p, bad));
            free(other);
        }
    p->disk[0].both.work[1] = 0.5; /* nobody is faster for being disturbed */
    OK(md_profile_save(p, path, err));
    assert_false(takes(p, path));
    p->disk[0].both.work[1] = 1.25;
    static const char *const other_keys[][2] = {
        {"\"threads\": 2", "\"threads\": 3"}, {"\"version\": \"", "\"version\": \"9"}, {"\"isa\": \"", "\"isa\": \"x"}};
    for (size_t i = 0; i < 3; i++) {
        char *at = strstr(text, other_keys[i][0]), *other = malloc(n + 16);
        assert_non_null(at);
        const int length = snprintf(other, n + 16, "%.*s%s%s", (int)(at - text), text, other_keys[i][1],
                                    at + strlen(other_keys[i][0]));
        write_text(bad, other, (size_t)length);
        assert_false(takes(p, bad));
        free(other);
    }
    free(text);
    free(p);
}

static bool count_calls(void *user, uint64_t done, uint64_t total)
{
    assert_true(done <= total);
    ++*(int *)user;
    return true;
}

static bool stop_at_once(void *user, uint64_t done, uint64_t total)
{
    (void)user, (void)done, (void)total;
    return false;
}

/* A damaged profile is replaced by one that was measured, which is then taken as it is. */
static void a_damaged_profile_is_measured_again(void **state)
{
    const char *folder = *state, *header = scratch_path(folder, "header.gguf"), *path = made_up_path(folder);
    int calls = 0;
    md_error e = {0};
    OK(md_synth_write_header(&(md_synth_spec){.arch = "qwen3moe", .type = "Q8_0", .n_embd = 256, .n_ff_exp = 256},
                             header, err));
    write_text(path, "{\"cpu\": ", 8);
    md_plan_args args = {.folder = folder, .n_threads = MADE_UP_THREADS, .progress = stop_at_once};
    md_plan *p = NULL;
    assert_int_equal(md_plan_new(header, &args, &p, &e), MD_ERR_CANCELLED);
    args.progress = count_calls;
    args.progress_user = &calls;
    OK(md_plan_new(header, &args, &p, err));
    assert_true(calls > 5);
    const md_plan_machine *m = md_plan_get_machine(p);
    assert_true(m->measured && m->memory_read > 1e7 && m->disk_read > 1e5 && m->disk_latency > 0.0);
    md_plan_free(p);
    calls = 0;
    OK(md_plan_new(header, &args, &p, err));
    assert_false(md_plan_get_machine(p)->measured);
    assert_int_equal(calls, 0);
    md_plan_free(p);
    /* another weight type is measured when it is met, and nothing else */
    OK(md_synth_write_header(&(md_synth_spec){.arch = "qwen3moe", .type = "Q4_0", .n_embd = 256, .n_ff_exp = 256},
                             header, err));
    OK(md_plan_new(header, &args, &p, err));
    assert_int_equal(calls, 1);
    md_plan_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_SCRATCH(between_points_there_are_lines),
        IN_SCRATCH(to_a_file_and_back),
        IN_SCRATCH(damaged_files_are_no_profiles),
        IN_SCRATCH(a_damaged_profile_is_measured_again),
    };
    return cmocka_run_group_tests_name("profile", tests, NULL, NULL);
}
