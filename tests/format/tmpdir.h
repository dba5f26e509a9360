/* SPDX-License-Identifier: Apache-2.0
 *
 * A folder of its own for a test that writes files: made by setup, emptied and removed by teardown. */
#ifndef MD_TEST_TMPDIR_H
#define MD_TEST_TMPDIR_H

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct tmpdir {
    char path[256];
} tmpdir;

/* For cmocka's setup: *state becomes a tmpdir. */
static inline int tmpdir_setup(void **state)
{
    tmpdir *d = malloc(sizeof *d);
    const char *base = getenv("TMPDIR");
    if (!d)
        return -1;
    snprintf(d->path, sizeof d->path, "%s/medley-test-XXXXXX", base ? base : P_tmpdir);
    *state = d;
    return mkdtemp(d->path) ? 0 : -1;
}

/* How many files the folder holds, hidden ones too; removes them when asked. */
static inline int tmpdir_files(const tmpdir *d, int remove_them)
{
    int count = 0;
    DIR *dir = opendir(d->path);
    if (!dir)
        return -1;
    for (const struct dirent *e; (e = readdir(dir));) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        count++;
        if (remove_them)
            unlinkat(dirfd(dir), e->d_name, 0);
    }
    closedir(dir);
    return count;
}

static inline int tmpdir_teardown(void **state)
{
    tmpdir *d = *state;
    tmpdir_files(d, 1);
    const int failed = rmdir(d->path);
    free(d);
    return failed;
}

/* Path of a file in the folder; static text: use it before the next but three. */
static inline const char *in_tmpdir(const tmpdir *d, const char *name)
{
    static char path[4][512];
    static unsigned turn;
    char *p = path[turn++ % 4];
    snprintf(p, sizeof path[0], "%s/%s", d->path, name);
    return p;
}

#endif
