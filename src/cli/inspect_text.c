/* SPDX-License-Identifier: Apache-2.0
 *
 * `medley inspect` for people. Names and values come from the file: they are cleaned of control characters wherever
 * they go. */
#include "cli/inspect.h"

#include <stdlib.h>
#include <string.h>

static int64_t number(const json_t *o, const char *key)
{
    return json_integer_value(json_object_get(o, key));
}

static const char *text(const json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));
    return s ? s : "";
}

static void append_clean(md_buf *b, const char *s)
{
    md_cli_clean(b, s, strlen(s));
}

static void line(md_buf *b, const char *label, const char *value)
{
    if (!value[0])
        return;
    md_buf_printf(b, "%-16s", label);
    append_clean(b, value);
    md_buf_putc(b, '\n');
}

static void show_shape(md_buf *b, const json_t *all)
{
    if (!json_is_true(json_object_get(all, "causal")))
        md_buf_printf(b, "%-16sencoder: every position sees the whole sequence; pooling %s\n", "kind",
                      text(all, "pooling"));
    md_buf_printf(b, "%-16s%d layers, width %d, %d heads (%d for keys and values) of %d\n", "shape",
                  (int)number(all, "layers"), (int)number(all, "embedding"), (int)number(all, "heads"),
                  (int)number(all, "kv_heads"), (int)number(all, "head_size"));
    if (number(all, "ffn") > 0)
        md_buf_printf(b, "%-16swidth %d\n", "dense ffn", (int)number(all, "ffn"));
    if (number(all, "experts") > 0)
        md_buf_printf(b, "%-16s%d, %d used per token, %d shared, width %d\n", "experts", (int)number(all, "experts"),
                      (int)number(all, "experts_used"), (int)number(all, "experts_shared"),
                      (int)number(all, "expert_ffn"));
    line(b, "router", text(all, "router"));
    md_buf_printf(b, "%-16s%d tokens\n", "trained context", (int)number(all, "trained_context"));
}

static void show_text_side(md_buf *b, const json_t *all)
{
    const char *tokenizer = text(all, "tokenizer");
    md_buf_printf(b, "%-16s", "tokenizer");
    append_clean(b, tokenizer[0] ? tokenizer : "none");
    md_buf_printf(b, ", %d tokens\n%-16s", (int)number(all, "vocabulary"), "chat template");
    const char *front = text(all, "chat_template_front");
    const bool has = json_is_true(json_object_get(all, "has_chat_template"));
    md_buf_puts(b, has ? "yes" : "no");
    if (has && front[0]) {
        size_t n = strcspn(front, "\n");
        md_buf_puts(b, ": ");
        if (n > 70) /* at a character's start */
            for (n = 70; n > 0 && ((unsigned char)front[n] & 0xc0) == 0x80;)
                n--;
        md_cli_clean(b, front, n);
        if (front[n])
            md_buf_puts(b, " ...");
    }
    md_buf_putc(b, '\n');
}

static void show_sizes(md_buf *b, const json_t *all)
{
    char count[32], active[32], bytes[32];
    const int64_t total = number(all, "weights"), used = number(all, "weights_active");
    md_buf_printf(b, "%-16s%s", "weights", md_cli_count(count, sizeof count, (uint64_t)total));
    md_buf_printf(b, ", %s active per token\n", md_cli_count(active, sizeof active, (uint64_t)used));
    const bool packed = json_is_true(json_object_get(all, "packed")),
               streaming = json_is_true(json_object_get(all, "for_streaming"));
    md_buf_printf(b, "%-16s%s%s%s\n", "file", md_cli_bytes(bytes, sizeof bytes, (uint64_t)number(all, "file_bytes")),
                  packed ? ", packed" : "", streaming ? " for streaming" : "");

    const char *key;
    json_t *size;
    md_buf_printf(b, "\n%-28s %8s %18s %12s\n", "part", "tensors", "weights", "size");
    json_object_foreach(json_object_get(all, "parts"), key, size)
        md_buf_printf(b, "%-28s %8d %18s %12s\n", key, (int)number(size, "tensors"),
                      md_cli_count(count, sizeof count, (uint64_t)number(size, "weights")),
                      md_cli_bytes(bytes, sizeof bytes, (uint64_t)number(size, "bytes")));
    md_buf_printf(b, "\n%-28s %8s %18s %12s\n", "type", "tensors", "", "size");
    json_object_foreach(json_object_get(all, "types"), key, size)
        md_buf_printf(b, "%-28s %8d %18s %12s\n", key, (int)number(size, "tensors"), "",
                      md_cli_bytes(bytes, sizeof bytes, (uint64_t)number(size, "bytes")));
}

static void show_metadata(md_buf *b, const json_t *list)
{
    size_t i;
    json_t *m;
    md_buf_puts(b, "\nmetadata\n");
    json_array_foreach(list, i, m)
    {
        char *value = json_dumps(json_object_get(m, "value"), JSON_ENCODE_ANY | JSON_REAL_PRECISION(9));
        append_clean(b, text(m, "key"));
        md_buf_printf(b, " (%s", text(m, "kind"));
        if (number(m, "count") != 1)
            md_buf_printf(b, ", %lld", (long long)number(m, "count"));
        md_buf_puts(b, ") = ");
        append_clean(b, value ? value : "");
        md_buf_puts(b, json_is_true(json_object_get(m, "whole")) ? "\n" : " ...\n");
        free(value);
    }
}

static void show_tensors(md_buf *b, const json_t *list)
{
    size_t i, k;
    json_t *t, *dim;
    md_buf_puts(b, "\ntensors\n");
    json_array_foreach(list, i, t)
    {
        char bytes[32];
        md_buf shape = {0};
        json_array_foreach(json_object_get(t, "shape"), k, dim)
            md_buf_printf(&shape, "%s%lld", k ? " x " : "", (long long)json_integer_value(dim));
        const size_t start = b->len;
        append_clean(b, text(t, "name"));
        const size_t used = b->len - start;
        md_buf_printf(b, "%*s %-8s %-22s %12s  %s\n", used < 36 ? (int)(36 - used) : 0, "", text(t, "type"),
                      shape.data ? shape.data : "", md_cli_bytes(bytes, sizeof bytes, (uint64_t)number(t, "bytes")),
                      text(t, "part"));
        md_buf_done(&shape);
    }
}

static void show_memory(md_buf *b, const json_t *m)
{
    char weights[32], kv[32], scratch[32], total[32];
    md_buf_printf(b, "\n%-16s%s for a context of %d: weights %s, keys and values (%s) %s, scratch %s\n", "memory",
                  md_cli_bytes(total, sizeof total, (uint64_t)number(m, "total")), (int)number(m, "context"),
                  md_cli_bytes(weights, sizeof weights, (uint64_t)number(m, "weights")), text(m, "kv_type"),
                  md_cli_bytes(kv, sizeof kv, (uint64_t)number(m, "kv")),
                  md_cli_bytes(scratch, sizeof scratch, (uint64_t)number(m, "scratch")));
}

static void show_check(md_buf *b, const json_t *list)
{
    size_t i;
    json_t *f;
    md_buf_printf(b, "\n%-16s%s\n", "check",
                  json_array_size(list) ? "bad weights:" : "every weight is a reasonable number");
    json_array_foreach(list, i, f)
    {
        append_clean(b, text(f, "tensor"));
        md_buf_printf(b, ": %lld NaN, %lld infinite, %lld beyond 1e6; largest finite %g\n", (long long)number(f, "nan"),
                      (long long)number(f, "inf"), (long long)number(f, "absurd"),
                      json_number_value(json_object_get(f, "max_abs")));
    }
}

md_status md_cli_inspect_text(md_cli *cli, const json_t *all, md_error *err)
{
    md_buf b = {0};
    line(&b, "architecture", text(all, "architecture"));
    line(&b, "name", text(all, "name"));
    show_shape(&b, all);
    show_text_side(&b, all);
    show_sizes(&b, all);
    if (json_object_get(all, "memory"))
        show_memory(&b, json_object_get(all, "memory"));
    if (json_object_get(all, "metadata"))
        show_metadata(&b, json_object_get(all, "metadata"));
    if (json_object_get(all, "tensors"))
        show_tensors(&b, json_object_get(all, "tensors"));
    if (json_object_get(all, "check"))
        show_check(&b, json_object_get(all, "check"));
    if (!b.failed)
        md_cli_write(cli, b.data, b.len);
    const bool failed = b.failed;
    md_buf_done(&b);
    return failed ? md_fail_memory(err, "the description") : MD_OK;
}
