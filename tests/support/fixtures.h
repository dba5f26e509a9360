/* SPDX-License-Identifier: Apache-2.0
 *
 * Where tests find things. MD_CONFORMANCE_DIR is the Meson option `conformance` ("" when absent). */
#ifndef MD_TEST_FIXTURES_H
#define MD_TEST_FIXTURES_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* Path of a conformance file, e.g. fixture("models/%s.gguf", name); the text is static: use it before the next call.
 * Skips the calling test (counted by cmocka) when the fixtures are not there. */
static inline const char *fixture(const char *fmt, ...)
{
    static char path[1024];
    if (MD_CONFORMANCE_DIR[0] == '\0')
        skip();
    int n = snprintf(path, sizeof path, "%s/", MD_CONFORMANCE_DIR);
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(path + n, sizeof path - (size_t)n, fmt, ap);
    va_end(ap);
    if (access(path, R_OK) != 0)
        fail_msg("fixture %s is missing", path);
    return path;
}

/* The whole file in malloc'ed memory; fails the test if it cannot be read. */
static inline void *read_all(const char *path, size_t *size)
{
    FILE *f = fopen(path, "rb");
    if (!f)
        fail_msg("cannot open %s", path);
    struct stat st;
    if (fstat(fileno(f), &st) != 0)
        fail_msg("cannot stat %s", path);
    char *p = malloc((size_t)st.st_size + 1);
    assert_non_null(p);
    *size = fread(p, 1, (size_t)st.st_size, f);
    p[*size] = '\0';
    fclose(f);
    assert_int_equal(*size, st.st_size);
    return p;
}

#endif
