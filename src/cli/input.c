/* SPDX-License-Identifier: Apache-2.0
 *
 * Text and token ids from files and pipes: read to the end, whatever they are. */
#include "cli/cli.h"

#include <errno.h>
#include <string.h>

md_status md_cli_read_all(const char *path, md_buf *out, md_error *err)
{
    FILE *f = path ? fopen(path, "rbe") : stdin;
    const char *name = path ? path : "standard input";
    MD_FAIL_IF(!f, MD_ERR_IO, "cannot open '%s': %s", name, strerror(errno));
    char chunk[16384];
    size_t n;
    while ((n = fread(chunk, 1, sizeof chunk, f)) > 0)
        md_buf_append(out, chunk, n);
    const int code = ferror(f) ? errno : 0;
    if (path)
        fclose(f);
    MD_FAIL_IF(code, MD_ERR_IO, "cannot read '%s': %s", name, strerror(code));
    if (!out->failed && !out->data)
        md_buf_append(out, "", 0);
    return out->failed ? md_fail_memory(err, "the input") : MD_OK;
}

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

md_status md_cli_parse_ids(const char *text, size_t n, const char *name, int32_t n_vocab, md_tokens *out, md_error *err)
{
    size_t count = 0;
    for (size_t i = 0;;) {
        while (i < n && is_space(text[i]))
            i++;
        if (i == n)
            return MD_OK;
        const size_t start = i;
        int64_t id = 0;
        bool digits = true;
        for (; i < n && !is_space(text[i]); i++) {
            digits = digits && text[i] >= '0' && text[i] <= '9';
            if (digits && id <= INT32_MAX)
                id = id * 10 + (text[i] - '0');
        }
        count++;
        const int shown = (int)(i - start < 40 ? i - start : 40);
        MD_FAIL_IF(!digits, MD_ERR_ARGUMENT, "%s: item %zu, '%.*s', is not a token id", name, count, shown,
                   text + start);
        MD_FAIL_IF(id >= n_vocab, MD_ERR_ARGUMENT, "%s: item %zu: token id %.*s is not in the vocabulary (0 to %d)",
                   name, count, shown, text + start, (int)n_vocab - 1);
        MD_TRY(md_tokens_push(out, (int32_t)id, err));
    }
}
