/* SPDX-License-Identifier: Apache-2.0
 *
 * Standard output and standard error. Text that came out of a model or a model file is hostile: on a terminal an escape
 * sequence could retitle windows, move the cursor over what was written before, or make the terminal type. */
#include "cli/cli.h"
#include "base/utf8.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define REPLACEMENT "\xEF\xBF\xBD" /* U+FFFD */

void md_cli_write(md_cli *cli, const char *p, size_t n)
{
    if (cli->out_error == 0 && n > 0 && fwrite(p, 1, n, stdout) != n)
        cli->out_error = errno ? errno : EIO;
}

static void append_format(md_buf *b, const char *fmt, va_list ap)
{
    char *text = NULL;
    const int n = vasprintf(&text, fmt, ap);
    if (n < 0) {
        b->failed = true;
        return;
    }
    md_buf_append(b, text, (size_t)n);
    free(text);
}

void md_cli_printf(md_cli *cli, const char *fmt, ...)
{
    md_buf b = {0};
    va_list ap;
    va_start(ap, fmt);
    append_format(&b, fmt, ap);
    va_end(ap);
    if (b.failed && cli->out_error == 0)
        cli->out_error = ENOMEM;
    md_cli_write(cli, b.data, b.len);
    md_buf_done(&b);
}

/* C0 and C1 controls and DEL. */
static bool is_control(uint32_t cp)
{
    return cp < 0x20 || (cp >= 0x7f && cp < 0xa0);
}

static void clean(md_buf *b, const char *p, size_t n, bool keep_layout)
{
    for (size_t i = 0; i < n;) {
        uint32_t cp = 0;
        const int len = md_utf8_decode(p + i, n - i, &cp);
        const bool layout = cp == '\n' || cp == '\t';
        if (len == 0 || (is_control(cp) && !(layout && keep_layout)))
            md_buf_puts(b, REPLACEMENT);
        else
            md_buf_append(b, p + i, (size_t)len);
        i += len == 0 ? 1 : (size_t)len;
    }
}

void md_cli_clean(md_buf *b, const char *p, size_t n)
{
    clean(b, p, n, false);
}

void md_cli_write_text(md_cli *cli, const char *p, size_t n)
{
    if (cli->out_is_terminal) {
        md_buf b = {0};
        clean(&b, p, n, true);
        if (b.failed && cli->out_error == 0)
            cli->out_error = ENOMEM;
        md_cli_write(cli, b.data, b.len);
        md_buf_done(&b);
    } else {
        md_cli_write(cli, p, n);
    }
    if (cli->out_error == 0 && fflush(stdout) != 0)
        cli->out_error = errno;
}

json_t *md_cli_json_text(const char *p, size_t n)
{
    json_t *whole = json_stringn(n ? p : "", n);
    if (whole)
        return whole;
    md_buf b = {0};
    for (size_t i = 0; i < n;) {
        uint32_t cp;
        const int len = md_utf8_decode(p + i, n - i, &cp);
        if (len == 0)
            md_buf_puts(&b, REPLACEMENT);
        else
            md_buf_append(&b, p + i, (size_t)len);
        i += len == 0 ? 1 : (size_t)len;
    }
    json_t *mended = b.failed ? NULL : json_stringn(b.data, b.len);
    md_buf_done(&b);
    return mended;
}

json_t *md_cli_json_ids(const int32_t *id, size_t n)
{
    json_t *array = json_array();
    for (size_t i = 0; array && i < n; i++)
        if (json_array_append_new(array, json_integer(id[i])) != 0) {
            json_decref(array);
            return NULL;
        }
    return array;
}

md_status md_cli_write_json(md_cli *cli, json_t *owned, md_error *err)
{
    /* On a terminal nothing but ASCII, and DEL, which Jansson lets through, spelt out: nothing can act on it. */
    const size_t flags = JSON_INDENT(1) | JSON_REAL_PRECISION(9) | (cli->out_is_terminal ? JSON_ENSURE_ASCII : 0);
    char *text = owned ? json_dumps(owned, flags) : NULL;
    json_decref(owned);
    if (!text)
        return md_fail_memory(err, "the JSON output");
    const char *rest = text;
    for (const char *del; cli->out_is_terminal && (del = strchr(rest, 0x7f)) != NULL; rest = del + 1) {
        md_cli_write(cli, rest, (size_t)(del - rest));
        md_cli_write(cli, "\\u007f", 6);
    }
    md_cli_write(cli, rest, strlen(rest));
    md_cli_write(cli, "\n", 1);
    free(text);
    return MD_OK;
}

md_status md_cli_write_f32(md_out *out, const float *x, size_t n, md_error *err)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, &x[i], sizeof bits);
        const unsigned char le[4] = {(unsigned char)bits, (unsigned char)(bits >> 8), (unsigned char)(bits >> 16),
                                     (unsigned char)(bits >> 24)};
        MD_TRY(md_out_write(out, le, sizeof le, err));
    }
    return MD_OK;
}

md_status md_cli_flush(md_cli *cli, md_error *err)
{
    if (cli->out_error == 0 && fflush(stdout) != 0)
        cli->out_error = errno;
    if (cli->out_error == EPIPE || (cli->out_error == EINTR && md_cli_interrupted()))
        return md_cli_cancelled(err);
    MD_FAIL_IF(cli->out_error, MD_ERR_IO, "cannot write standard output: %s", strerror(cli->out_error));
    return MD_OK;
}

static void to_stderr(const char *front, const char *text)
{
    md_buf b = {0};
    md_buf_puts(&b, front);
    md_cli_clean(&b, text, strlen(text));
    md_buf_putc(&b, '\n');
    if (b.failed)
        fputs("medley: out of memory\n", stderr);
    else
        fwrite(b.data, 1, b.len, stderr);
    md_buf_done(&b);
}

void md_cli_complain(const md_error *e)
{
    if (e->message[0])
        to_stderr("medley: ", e->message);
}

void md_cli_note(const md_cli *cli, const char *fmt, ...)
{
    if (cli->quiet)
        return;
    md_buf b = {0};
    va_list ap;
    va_start(ap, fmt);
    append_format(&b, fmt, ap);
    va_end(ap);
    to_stderr("", b.failed ? "out of memory" : b.data);
    md_buf_done(&b);
}

static const char *scaled(char *buf, size_t n, uint64_t value, uint64_t base, const char *const unit[5])
{
    double x = (double)value;
    int i = 0;
    for (; i < 4 && x >= (double)base; i++)
        x /= (double)base;
    snprintf(buf, n, i == 0 ? "%.0f%s" : "%.1f%s", x, unit[i]);
    return buf;
}

const char *md_cli_bytes(char *buf, size_t n, uint64_t bytes)
{
    static const char *const unit[5] = {" bytes", " KiB", " MiB", " GiB", " TiB"};
    return scaled(buf, n, bytes, 1024, unit);
}

const char *md_cli_count(char *buf, size_t n, uint64_t count)
{
    static const char *const unit[5] = {"", " thousand", " million", " billion", " trillion"};
    return scaled(buf, n, count, 1000, unit);
}

md_status md_cli_check_output(md_cli *cli, const char *in, const char *out, md_error *err)
{
    MD_FAIL_IF(!out, MD_ERR_ARGUMENT, "no output was named: give -o FILE");
    struct stat a, b;
    if (stat(out, &b) != 0)
        return MD_OK;
    MD_FAIL_IF(stat(in, &a) == 0 && a.st_dev == b.st_dev && a.st_ino == b.st_ino, MD_ERR_ARGUMENT,
               "'%s' is the input itself: name another output", out);
    MD_FAIL_IF(S_ISREG(b.st_mode) && !md_opt_flag(cli->options, MD_OPT_FORCE), MD_ERR_ARGUMENT,
               "'%s' exists: give --force to replace it", out);
    return MD_OK;
}
