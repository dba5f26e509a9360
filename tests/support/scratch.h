/* SPDX-License-Identifier: Apache-2.0
 *
 * A folder for one test: made empty under TMPDIR, removed with everything in it. */
#ifndef MD_TEST_SCRATCH_H
#define MD_TEST_SCRATCH_H

#include "support/fixtures.h"

#include <dirent.h>
#include <ftw.h>
#include <string.h>
#include <sys/stat.h>

static inline char *scratch_new(void) /* freed by scratch_remove */
{
    const char *base = getenv("TMPDIR");
    char *path = malloc(512);
    assert_non_null(path);
    snprintf(path, 512, "%s/medley-test-XXXXXX", base && base[0] ? base : "/tmp");
    assert_non_null(mkdtemp(path));
    return path;
}

static inline int scratch_remove_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    (void)st, (void)kind, (void)at;
    return remove(path);
}

static inline void scratch_remove(char *path)
{
    assert_int_equal(nftw(path, scratch_remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
    free(path);
}

/* For cmocka: *state becomes the folder's path. */
static inline int scratch_setup(void **state)
{
    *state = scratch_new();
    return 0;
}

static inline int scratch_teardown(void **state)
{
    scratch_remove(*state);
    return 0;
}

#define IN_SCRATCH(test) cmocka_unit_test_setup_teardown(test, scratch_setup, scratch_teardown)

/* Path of a file in the folder; static text: use it before the next but three. */
static inline const char *scratch_path(const char *folder, const char *name)
{
    static char path[4][1024];
    static unsigned turn;
    char *p = path[turn++ % 4];
    snprintf(p, sizeof path[0], "%s/%s", folder, name);
    return p;
}

/* Writes text to folder + path, making the folders on the way. */
static inline void scratch_put(const char *folder, const char *path, const char *text)
{
    char name[1024];
    snprintf(name, sizeof name, "%s%s", folder, path);
    for (char *slash = name + strlen(folder) + 1; (slash = strchr(slash, '/')); *slash++ = '/') {
        *slash = '\0';
        mkdir(name, 0777);
    }
    FILE *f = fopen(name, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, strlen(text), f), strlen(text));
    assert_int_equal(fclose(f), 0);
}

/* How many names the folder holds; the hidden ones count. */
static inline int scratch_count(const char *folder)
{
    DIR *d = opendir(folder);
    assert_non_null(d);
    int n = -2; /* . and .. */
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

#endif
