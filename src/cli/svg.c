/* SPDX-License-Identifier: Apache-2.0
 *
 * What pictures share: text in them, and the file. */
#include "cli/cli.h"

#include <string.h>

void md_cli_svg_text(md_buf *b, const char *s)
{
    md_buf clean = {0};
    md_cli_clean(&clean, s, strlen(s));
    for (size_t i = 0; i < clean.len; i++) {
        const char c = clean.data[i];
        if (c == '<')
            md_buf_puts(b, "&lt;");
        else if (c == '>')
            md_buf_puts(b, "&gt;");
        else if (c == '&')
            md_buf_puts(b, "&amp;");
        else
            md_buf_putc(b, c);
    }
    b->failed |= clean.failed;
    md_buf_done(&clean);
}

md_status md_cli_svg_save(md_buf *text, const char *path, md_error *err)
{
    md_out *out = NULL;
    md_status status = text->failed ? md_fail_memory(err, "a picture") : md_out_open(path, &out, err);
    if (status == MD_OK)
        status = md_out_write(out, text->data, text->len, err);
    if (status == MD_OK)
        status = md_out_commit(out, err);
    md_out_close(out);
    md_buf_done(text);
    return status;
}
