/* SPDX-License-Identifier: Apache-2.0
 *
 * The input of a batch: what counts as a line, what is refused up front, what stays a line, and in which order they go. */
#include "support/ok.h"
#include "support/scratch.h"

#include "serve/batch_input.h"

#include <string.h>

#define TAIL "\"method\":\"POST\",\"url\":\"/v1/completions\",\"body\":{\"prompt\":\"x\"}}"

static void put(const char *folder, const char *bytes, size_t n)
{
    FILE *f = fopen(scratch_path(folder, "in"), "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

static md_batch_input open_text(const char *folder, const char *bytes, size_t n)
{
    static char path[1024];
    md_batch_input in;
    put(folder, bytes, n);
    snprintf(path, sizeof path, "%s", scratch_path(folder, "in"));
    OK(md_batch_input_open(path, &in, &err));
    return in;
}

static void refused(const char *folder, const char *bytes, size_t n, md_status status, const char *why)
{
    md_batch_input in;
    put(folder, bytes, n);
    assert_int_equal(md_batch_input_open(scratch_path(folder, "in"), &in, &err), status);
    assert_non_null(strstr(err.message, why));
    assert_null(in.line);
    assert_int_equal(in.file.fd, -1);
}

/* The custom_id of a line, or what is wrong with it. */
static const char *look(const md_batch_input *in, size_t line)
{
    static char said[600];
    md_buf text = {0};
    md_batch_request q;
    md_refusal r;
    OK(md_batch_input_read(in, line, &text, &err));
    const bool good = md_batch_request_read(&q, text.data, text.len, &r);
    snprintf(said, sizeof said, "%s", good ? q.custom_id : r.message);
    md_batch_request_done(&q);
    md_buf_done(&text);
    return said;
}

static void lines_and_their_ends(void **state)
{
    static const char text[] = "\xef\xbb\xbf{\"custom_id\":\"a\"," TAIL "\r\n\n  \t\r\n{\"custom_id\":\"b\"," TAIL
                               "\n{\"custom_id\":\"c\"," TAIL;
    md_batch_input in = open_text(*state, text, sizeof text - 1);
    assert_int_equal(in.n, 3);
    assert_int_equal(in.bytes, sizeof text - 1);
    assert_string_equal(look(&in, 0), "a");
    assert_string_equal(look(&in, 1), "b");
    assert_string_equal(look(&in, 2), "c");
    assert_true(in.changed > 1600000000);
    const uint64_t hash = in.hash;
    md_batch_input_close(&in);
    in = open_text(*state, text, sizeof text - 2);
    assert_true(in.hash != hash);
    md_batch_input_close(&in);
}

static void what_is_refused_up_front(void **state)
{
    static const char twice[] = "{\"custom_id\":\"a\"," TAIL "\n{\"custom_id\":\"b\"}\n{\"custom_id\":\"a\"," TAIL "\n";
    refused(*state, "", 0, MD_ERR_ARGUMENT, "there is no request in");
    refused(*state, " \n\r\n", 4, MD_ERR_ARGUMENT, "there is no request in");
    refused(*state, "\xff\xfe{\0", 4, MD_ERR_FORMAT, "UTF-16");
    refused(*state, twice, sizeof twice - 1, MD_ERR_ARGUMENT, "requests 1 and 3");
    md_batch_input in;
    assert_int_equal(md_batch_input_open(*state, &in, &err), MD_ERR_ARGUMENT);
    assert_non_null(strstr(err.message, "is not a file"));
    assert_int_equal(md_batch_input_open(scratch_path(*state, "none"), &in, &err), MD_ERR_IO);
}

static void bad_lines_stay_lines(void **state)
{
    static const struct {
        const char *line, *why;
    } bad[] = {
        {"{", "not JSON"},
        {"[1]", "JSON object"},
        {"{\"custom_id\":\"a\",\"custom_id\":\"b\"}", "not JSON"},
        {"{" TAIL, "needs a 'custom_id'"},
        {"{\"custom_id\":7," TAIL, "needs a 'custom_id'"},
        {"{\"custom_id\":\"\"," TAIL, "has 0 bytes"},
        {"{\"custom_id\":\"p\",\"method\":\"GET\",\"url\":\"/v1/completions\",\"body\":{}}", "'method'"},
        {"{\"custom_id\":\"q\",\"method\":\"POST\",\"url\":\"/v1/models\",\"body\":{}}", "'url'"},
        {"{\"custom_id\":\"r\",\"method\":\"POST\",\"url\":\"/v1/completions\",\"body\":[]}", "'body'"},
        {"{\"custom_id\":\"s\",\"more\":1," TAIL, "no field 'more'"},
        {"{\"custom_id\":\"t\\u0000\"," TAIL, "not JSON"},
        {"{\"custom_id\":\"\xff\"," TAIL, "not JSON"},
    };
    enum { N = sizeof bad / sizeof *bad };
    md_buf text = {0};
    for (size_t i = 0; i < N; i++) {
        md_buf_puts(&text, bad[i].line);
        md_buf_putc(&text, '\n');
    }
    md_buf_append(&text, "{\"custom_id\":\"\0\"}", 17);
    md_batch_input in = open_text(*state, text.data, text.len);
    assert_int_equal(in.n, N + 1);
    for (size_t i = 0; i < N; i++)
        assert_non_null(strstr(look(&in, i), bad[i].why));
    assert_non_null(strstr(look(&in, N), "not JSON"));
    assert_true(in.line[0].id == 0 && in.line[6].id != 0);
    md_buf_done(&text);
    md_batch_input_close(&in);
}

static void a_long_line_is_not_held(void **state)
{
    const size_t n = MD_BATCH_MOST_LINE + 100;
    char *text = malloc(n + 200);
    assert_non_null(text);
    memset(text, ' ', n); /* white space, but too much to look at */
    const int more = snprintf(text + n, 200, "\n{\"custom_id\":\"after\"," TAIL);
    md_batch_input in = open_text(*state, text, n + (size_t)more);
    assert_int_equal(in.n, 2);
    assert_true(in.line[0].n > MD_BATCH_MOST_LINE);
    assert_string_equal(look(&in, 1), "after");
    md_batch_input_close(&in);
    free(text);
}

/* Three prompts of a thousand bytes in common, and others, in turn: they come side by side, in the file's order. */
static void sharers_side_by_side(void **state)
{
    md_buf text = {0};
    for (int i = 0; i < 30; i++) {
        md_buf_printf(
            &text,
            "{\"custom_id\":\"%d\",\"method\":\"POST\",\"url\":\"/v1/chat/completions\",\"body\":{\"messages\":["
            "{\"role\":\"system\",\"content\":\"",
            i);
        for (int k = 0; k < 500; k++)
            md_buf_putc(&text, (char)('a' + (i % 3) * 5 + k % 4));
        md_buf_printf(&text, "\"},{\"role\":\"user\",\"content\":\"%d\"}],\"max_tokens\":%d}}\n", i, i * 10);
    }
    md_batch_input in = open_text(*state, text.data, text.len);
    uint32_t *order = md_batch_input_order(&in);
    assert_non_null(order);
    bool seen[30] = {false};
    for (int i = 0; i < 30; i++) {
        assert_false(seen[order[i]]);
        seen[order[i]] = true;
        if (i % 10)
            assert_int_equal(order[i] % 3, order[i - 1] % 3);
    }
    assert_in_range(in.line[20].tokens, 200 + 100, 200 + 300);
    md_buf_done(&text);
    md_free(order);
    md_batch_input_close(&in);
}

static void many_lines(void **state)
{
    md_buf text = {0};
    for (int i = 0; i < 20000; i++)
        md_buf_printf(&text, "{\"custom_id\":\"number %d\"," TAIL "\n", i);
    md_batch_input in = open_text(*state, text.data, text.len); /* more than one piece of a MiB */
    assert_true(text.len > 1u << 20);
    assert_int_equal(in.n, 20000);
    char want[32];
    for (size_t i = 0; i < in.n; i += 997) {
        snprintf(want, sizeof want, "number %zu", i);
        assert_string_equal(look(&in, i), want);
    }
    md_buf_done(&text);
    md_batch_input_close(&in);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_SCRATCH(lines_and_their_ends),    IN_SCRATCH(what_is_refused_up_front), IN_SCRATCH(bad_lines_stay_lines),
        IN_SCRATCH(a_long_line_is_not_held), IN_SCRATCH(sharers_side_by_side),     IN_SCRATCH(many_lines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
