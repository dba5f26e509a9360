/* SPDX-License-Identifier: Apache-2.0
 *
 * The user's folders for what the program keeps, and making those on the way to a file. */
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

char *md_cli_user_path(const char *variable, const char *fallback, const char *name)
{
    const char *folder = getenv(variable), *home = getenv("HOME");
    md_buf b = {0};
    if (folder && folder[0] == '/')
        md_buf_printf(&b, "%s/medley/%s", folder, name);
    else if (home && home[0] == '/')
        md_buf_printf(&b, "%s/%s/medley/%s", home, fallback, name);
    if (!b.failed)
        return b.data;
    md_buf_done(&b);
    return NULL;
}

char *md_cli_cache_path(const char *name)
{
    return md_cli_user_path("XDG_CACHE_HOME", ".cache", name);
}
