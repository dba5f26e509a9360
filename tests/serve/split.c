/* SPDX-License-Identifier: Apache-2.0
 *
 * The splitting of answers: the same parts however the text is cut into pieces, and nothing of it lost. */
#include "serve/split.h"
#include "serve/text.h"

#include "support/fixtures.h"

#include <string.h>

/* What came out, as one text: "r(...)", "c(...)" and "f NAME(...)", neighbours of one kind joined. */
typedef struct heard {
    md_buf text;
    char last;
} heard;

static void hear(heard *h, char kind, const char *text, size_t n)
{
    if (h->last != kind && h->last)
        md_buf_putc(&h->text, ')');
    if (h->last != kind)
        md_buf_printf(&h->text, "%c(", kind);
    md_buf_append(&h->text, text, n);
    h->last = kind;
}

static void on_content(void *user, const char *text, size_t n)
{
    hear(user, 'c', text, n);
}

static void on_reasoning(void *user, const char *text, size_t n)
{
    hear(user, 'r', text, n);
}

static void on_call(void *user, const char *name, const char *arguments, size_t n)
{
    heard *h = user;
    if (h->last)
        md_buf_putc(&h->text, ')');
    md_buf_printf(&h->text, "f %s", name);
    md_buf_append(&h->text, arguments, n);
    md_buf_putc(&h->text, ';');
    h->last = 0;
}

static const md_split_fns fns = {on_content, on_reasoning, on_call};

/* In pieces of so many bytes. */
static void expect_cut(const char *text, size_t piece, md_tool_syntax syntax, bool reasons, const char *want)
{
    heard h = {0};
    md_split s;
    const size_t n = strlen(text);
    md_buf_puts(&h.text, "");
    md_split_init(&s, &fns, &h, syntax, reasons);
    for (size_t at = 0; at < n; at += piece)
        md_split_push(&s, text + at, n - at < piece ? n - at : piece);
    md_split_end(&s);
    if (h.last)
        md_buf_putc(&h.text, ')');
    if (strcmp(h.text.data, want) != 0)
        fail_msg("'%s' in pieces of %zu gives '%s', not '%s'", text, piece, h.text.data, want);
    md_buf_done(&h.text);
    md_split_done(&s);
}

static void expect(const char *text, md_tool_syntax syntax, bool reasons, const char *want)
{
    for (size_t piece = 1; piece <= 40; piece++)
        expect_cut(text, piece, syntax, reasons, want);
}

static void plain_text_passes(void **state)
{
    (void)state;
    for (md_tool_syntax s = MD_TOOL_NONE; s <= MD_TOOL_BARE; s = (md_tool_syntax)(s + 1)) {
        expect("hello <b>world</b> [x]", s, false, "c(hello <b>world</b> [x])");
        expect(" \n", s, false, "c( \n)");
        expect("a <think>b</think>", s, false, "c(a <think>b</think>)");
        expect("", s, false, "");
    }
}

static void reasoning_comes_first(void **state)
{
    (void)state;
    expect("<think>why</think>so", MD_TOOL_NONE, false, "r(why)c(so)");
    expect("\n<think>\nwhy\n</think>\n\n so", MD_TOOL_TAGS, false, "r(\nwhy\n)c(so)");
    expect("why</think>so", MD_TOOL_NONE, true, "r(why)c(so)");
    expect("why </thin", MD_TOOL_NONE, true, "r(why </thin)");
    expect("<think></think>", MD_TOOL_NONE, false, "");
    expect("<thinking>", MD_TOOL_NONE, false, "c(<thinking>)");
    expect("<thi", MD_TOOL_NONE, false, "c(<thi)");
    expect("<think>a</think>{\"name\":\"f\",\"parameters\":{}}", MD_TOOL_BARE, false, "r(a)f f{};");
}

static void calls_in_tags(void **state)
{
    (void)state;
    expect("<tool_call>\n{\"name\": \"f\", \"arguments\": {\"x\": [1]}}\n</tool_call>", MD_TOOL_TAGS, false,
           "f f{\"x\":[1]};");
    expect("ok <tool_call>{\"name\":\"f\"}</tool_call>\n<tool_call>{\"name\":\"g\",\"arguments\":\"{}\"}</tool_call>",
           MD_TOOL_TAGS, false, "c(ok )f f{};f g{};");
    expect("<tool_call>{\"name\":\"f\",\"arguments\":{\"s\":\"</tool\"}}", MD_TOOL_TAGS, false,
           "f f{\"s\":\"</tool\"};");
    expect("<tool_call>nothing</tool_call> more", MD_TOOL_TAGS, false, "c(<tool_call>nothing</tool_call> more)");
    expect("<tool_call>{\"name\":5}</tool_call>", MD_TOOL_TAGS, false, "c(<tool_call>{\"name\":5}</tool_call>)");
    expect("<tool_call>{\"na", MD_TOOL_TAGS, false, "c(<tool_call>{\"na)");
    expect("<tool_call>", MD_TOOL_TAGS, false, "c(<tool_call>)");
    expect("<tool_call>{\"name\":\"f\"}</tool_call>", MD_TOOL_NONE, false,
           "c(<tool_call>{\"name\":\"f\"}</tool_call>)");
}

static void calls_in_brackets(void **state)
{
    (void)state;
    expect("[TOOL_CALLS][{\"name\":\"f\",\"arguments\":{}},{\"name\":\"g\",\"arguments\":{\"a\":1}}]", MD_TOOL_BRACKET,
           false, "f f{};f g{\"a\":1};");
    expect("[TOOL_CALLS]f[ARGS]{\"a\": 1}", MD_TOOL_BRACKET, false, "f f{\"a\":1};");
    expect("see [TOOL_CALLS] f{\"a\":1}", MD_TOOL_BRACKET, false, "c(see )f f{\"a\":1};");
    expect("[TOOL_CALLS] oh", MD_TOOL_BRACKET, false, "c([TOOL_CALLS] oh)");
    expect("[TOOL_CALL", MD_TOOL_BRACKET, false, "c([TOOL_CALL)");
}

static void calls_bare(void **state)
{
    (void)state;
    expect("{\"name\": \"f\", \"parameters\": {\"x\": \"y\"}}", MD_TOOL_BARE, false, "f f{\"x\":\"y\"};");
    expect(" \n<|python_tag|>{\"name\":\"f\",\"parameters\":{}}; {\"name\":\"g\",\"parameters\":{}}", MD_TOOL_BARE,
           false, "f f{};f g{};");
    expect("{\"answer\": 42}", MD_TOOL_BARE, false, "c({\"answer\": 42})");
    expect("so {\"name\":\"f\",\"parameters\":{}}", MD_TOOL_BARE, false, "c(so {\"name\":\"f\",\"parameters\":{}})");
    expect("{\"name\":\"f\",\"parameters\":{}} and more", MD_TOOL_BARE, false,
           "c({\"name\":\"f\",\"parameters\":{}} and more)");
    expect("<|py", MD_TOOL_BARE, false, "c(<|py)");
    expect("{", MD_TOOL_BARE, false, "c({)");
}

static void syntax_is_told_by_the_template(void **state)
{
    (void)state;
    static const char tags[] = "{{ '<tool_call>' }}", bracket[] = "{{ \"[TOOL_CALLS]\" }}", none[] = "{{ messages }}";
    assert_int_equal(md_tool_syntax_of(tags, sizeof tags - 1), MD_TOOL_TAGS);
    assert_int_equal(md_tool_syntax_of(bracket, sizeof bracket - 1), MD_TOOL_BRACKET);
    assert_int_equal(md_tool_syntax_of(none, sizeof none - 1), MD_TOOL_BARE);
}

static void a_long_call_takes_no_longer_than_its_length(void **state)
{
    (void)state;
    md_split s;
    heard h = {0};
    md_split_init(&s, &fns, &h, MD_TOOL_TAGS, false);
    md_split_push(&s, "<tool_call>", 11);
    for (int i = 0; i < 4000000; i++) /* by the square of that this would never end */
        md_split_push(&s, "<", 1);
    md_split_end(&s);
    assert_int_equal(h.text.len, 4000000 + 11 + 2);
    md_buf_done(&h.text);
    md_split_done(&s);
}

static void json_is_written(void **state)
{
    (void)state;
    md_buf b = {0};
    md_put_string(&b, "a\"\\\n\t\x01\x7f\xc3\xa9\xff", 10);
    assert_string_equal(b.data, "\"a\\\"\\\\\\n\\t\\u0001\\u007f\xc3\xa9\xEF\xBF\xBD\"");
    md_buf_reset(&b);
    md_put_base64(&b, "Man", 3);
    md_put_base64(&b, "Ma", 2);
    md_put_base64(&b, "M", 1);
    assert_string_equal(b.data, "TWFuTWE=TQ==");
    md_buf_done(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_text_passes),
        cmocka_unit_test(reasoning_comes_first),
        cmocka_unit_test(calls_in_tags),
        cmocka_unit_test(calls_in_brackets),
        cmocka_unit_test(calls_bare),
        cmocka_unit_test(syntax_is_told_by_the_template),
        cmocka_unit_test(a_long_call_takes_no_longer_than_its_length),
        cmocka_unit_test(json_is_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
