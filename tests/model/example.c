/* SPDX-License-Identifier: Apache-2.0
 *
 * examples/complete.c, as a user would run it: it prints text, stops on its own, and says what is wrong. */
#include "support/synth_model.h"

#include <sys/wait.h>

static char model_path[512];

static int run(const char *arguments, char *out, size_t n)
{
    char command[2048];
    snprintf(command, sizeof command, "'%s' %s 2>&1", MD_EXAMPLE, arguments);
    FILE *p = popen(command, "r");
    assert_non_null(p);
    const size_t got = fread(out, 1, n - 1, p);
    out[got] = '\0';
    const int status = pclose(p);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void completes(void **state)
{
    (void)state;
    char arguments[1024], first[4096], again[4096];
    snprintf(arguments, sizeof arguments, "'%s' 'Hello there' 12", model_path);
    assert_int_equal(run(arguments, first, sizeof first), 0);
    assert_int_equal(run(arguments, again, sizeof again), 0);
    assert_true(strlen(first) > 1);
    assert_string_equal(first, again);
}

static void says_what_is_wrong(void **state)
{
    (void)state;
    char out[4096];
    assert_int_equal(run("", out, sizeof out), 2);
    assert_int_equal(run("/nowhere/model.gguf Hello", out, sizeof out), 1);
    assert_non_null(strstr(out, "/nowhere/model.gguf"));
}

int main(void)
{
    snprintf(model_path, sizeof model_path, "%s", temp_path("example.gguf"));
    md_error e = {0};
    if (md_synth_write(&(md_synth_spec){.arch = "qwen3moe", .seed = 3}, model_path, &e) != MD_OK) {
        fprintf(stderr, "%s\n", e.message);
        return 1;
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test(completes), cmocka_unit_test(says_what_is_wrong)};
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(model_path);
    return failed;
}
