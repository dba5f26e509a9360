/* SPDX-License-Identifier: Apache-2.0
 *
 * Where the program keeps what it can do without: $XDG_CACHE_HOME/medley, else ~/.cache/medley. And folders on the way to a file. */
#include "cli/cli.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

void md_cli_make_folders(char *path)
{
    for (char *p = path + 1; *p; p++)
        if (*p == '/') {
            *p = '\0';
            (void)mkdir(path, 0700); /* one that cannot be made shows when the file is written */
            *p = '/';
        }
}

char *md_cli_cache_path(const char *name)
{
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    md_buf b = {0};
    if (cache && cache[0] == '/')
        md_buf_printf(&b, "%s/medley/%s", cache, name);
    else if (home && home[0] == '/')
        md_buf_printf(&b, "%s/.cache/medley/%s", home, name);
    if (b.failed || !b.data)
        md_buf_reset(&b);
    if (b.failed || b.len == 0) {
        md_buf_done(&b);
        return NULL;
    }
    return b.data;
}
