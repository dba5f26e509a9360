/* SPDX-License-Identifier: Apache-2.0
 *
 * The public calls of chat templates: arguments, variables from JSON, time, refusals, many threads on one template. */
#include "jinja_case.h"

#include <pthread.h>

static char *render(const char *source, const md_chat_args *args)
{
    md_template *t;
    md_rendered r;
    md_error err = {0};
    if (md_template_new(source, strlen(source), &t, &err) != MD_OK || md_template_render(t, args, &r, &err) != MD_OK)
        fail_msg("%s: %s", source, err.message);
    md_template_free(t);
    char *text = r.text;
    r.text = NULL;
    assert_int_equal(strlen(text), r.n);
    md_rendered_done(&r);
    assert_null(r.segment);
    assert_int_equal(r.n + r.n_segments, 0);
    return text;
}

static void expect_text(const char *source, const md_chat_args *args, const char *expected)
{
    char *text = render(source, args);
    assert_string_equal(text, expected);
    free(text);
}

static void expect_refusal(const char *source, const md_chat_args *args, md_status code, const char *says)
{
    md_template *t;
    md_error err = {0};
    md_rendered r = {.n = 1};
    assert_int_equal(md_template_new(source, strlen(source), &t, &err), MD_OK);
    assert_int_equal(md_template_render(t, args, &r, &err), code);
    assert_null(r.text);
    assert_int_equal(r.n, 0);
    if (!strstr(err.message, says))
        fail_msg("'%s' does not say '%s'", err.message, says);
    assert_int_equal(md_template_render(t, args, &r, NULL), code); /* an error may go nowhere */
    md_template_free(t);
}

static const md_message two[] = {{"user", "Hi"}, {"assistant", NULL}};

static void messages_come_as_an_array(void **state)
{
    (void)state;
    const md_chat_args args = {
        .message = two, .n_messages = 2, .add_generation_prompt = true, .bos_token = "[B]", .eos_token = "[E]"};
    expect_text("{{ bos_token }}{% for m in messages %}{{ m.role }}={{ m.content }};{% endfor %}{{ eos_token }}"
                "{{ add_generation_prompt }}{{ messages|tojson }}",
                &args,
                "[B]user=Hi;assistant=None;[E]True[{\"role\": \"user\", \"content\": \"Hi\"},"
                " {\"role\": \"assistant\", \"content\": null}]");
    const md_chat_args none = {.now = -1};
    expect_text("{{ messages }}{{ bos_token }}{{ eos_token }}{{ add_generation_prompt }}{{ tools }}{{ documents }}",
                &none, "[]FalseNoneNone");
}

static void variables_come_as_json(void **state)
{
    (void)state;
    md_chat_args args = {.message = two, .n_messages = 2};
    args.extra_json =
        "{\"tools\": [{\"a\": [1, -2.5, 1e3, true, null, \"\\u00e4\\u0000\"]}], \"enable_thinking\": false}";
    expect_text("{{ tools }}{{ enable_thinking }}{{ messages|length }}", &args,
                "[{'a': [1, -2.5, 1000.0, True, None, '\u00e4\\x00']}]False2");
    args.extra_json = "{\"messages\": [{\"role\": \"tool\", \"content\": \"x\", \"name\": \"f\"}]}";
    expect_text("{% for m in messages %}{{ m.name }}{{ m.content }}{% endfor %}", &args, "fx");
    args.extra_json = "{\"zeta\": 1, \"alpha\": {\"y\": 1, \"x\": 2}}"; /* keys stay in their order */
    expect_text("{{ alpha }}{{ zeta }}", &args, "{'y': 1, 'x': 2}1");
    args.extra_json = "{\"range\": 5}"; /* variables win over functions, as in Jinja2 */
    expect_text("{{ range }}", &args, "5");
}

static void bad_arguments_are_refused(void **state)
{
    (void)state;
    md_chat_args args = {.message = two, .n_messages = 2};
    static const struct {
        const char *json, *says;
    } bad[] = {
        {"", "no JSON"},
        {"{", "no JSON"},
        {"{\"a\": }", "no JSON"},
        {"[1]", "one JSON object"},
        {"{\"a\": 99999999999999999999}", "no JSON"},
        {"{\"bos_token\": \"x\"}", "'bos_token' has an argument of its own"},
        {"{\"eos_token\": \"x\"}", "'eos_token' has an argument of its own"},
        {"{\"add_generation_prompt\": true}", "'add_generation_prompt' has an argument of its own"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        args.extra_json = bad[i].json;
        expect_refusal("x", &args, MD_ERR_ARGUMENT, bad[i].says);
    }
    char deep[300] = "{\"a\": ";
    memset(deep + 6, '[', 100);
    memset(deep + 106, ']', 100);
    deep[206] = '}';
    args.extra_json = deep;
    expect_refusal("x", &args, MD_ERR_LIMIT, "nested more than");
    args.extra_json = NULL;
    args.message = NULL;
    expect_refusal("x", &args, MD_ERR_ARGUMENT, "needs a template");
    md_template *t = NULL;
    md_rendered r;
    assert_int_equal(md_template_new(NULL, 5, &t, NULL), MD_ERR_ARGUMENT);
    assert_null(t);
    assert_int_equal(md_template_render(NULL, &args, &r, NULL), MD_ERR_ARGUMENT);
    md_template_free(NULL);
    md_rendered_done(NULL);
    assert_int_equal(md_template_new(NULL, 0, &t, NULL), MD_OK);
    md_template_free(t);
}

/* Any bytes in a message come through; a stray byte is one character. */
static void messages_need_not_be_utf8(void **state)
{
    (void)state;
    const md_message odd[] = {{"user", "a\xff\xc3z"}};
    const md_chat_args args = {.message = odd, .n_messages = 1};
    expect_text("{{ messages[0].content }}|{{ messages[0].content|length }}|{{ messages[0].content[::-1] }}|"
                "{{ messages[0].content|upper }}",
                &args,
                "a\xff\xc3z|4|z\xc3\xff"
                "a|A\xff\xc3Z");
}

static void time_is_an_argument(void **state)
{
    (void)state;
    static const struct {
        int64_t now;
        const char *expected;
    } times[] = {
        {0, "1970-01-01 00:00:00 Thursday 001"},          {951782400, "2000-02-29 00:00:00 Tuesday 060"},
        {978307199, "2000-12-31 23:59:59 Sunday 366"},    {1709164800, "2024-02-29 00:00:00 Thursday 060"},
        {1735689599, "2024-12-31 23:59:59 Tuesday 366"},  {4107542400, "2100-03-01 00:00:00 Monday 060"},
        {253402300799, "9999-12-31 23:59:59 Friday 365"},
    };
    for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
        const md_chat_args args = {.now = times[i].now};
        expect_text("{{ strftime_now('%Y-%m-%d %H:%M:%S %A %j') }}", &args, times[i].expected);
    }
    const md_chat_args without = {.now = -1};
    expect_text("{{ strftime_now is defined }}", &without, "False");
    const md_chat_args far = {.now = INT64_MAX};
    expect_refusal("{{ strftime_now('%Y') }}", &far, MD_ERR_ARGUMENT, "too far away");
}

static void refusals_of_the_template(void **state)
{
    (void)state;
    const md_chat_args args = {.message = two, .n_messages = 2};
    expect_refusal("\n{{ raise_exception('Only ' ~ messages[0].content) }}", &args, MD_ERR_ARGUMENT, "Only Hi");
    expect_refusal("\n{{ messages[5].content }}", &args, MD_ERR_FORMAT, "chat template: line 2, column 15: ");
    char *source = malloc(5000);
    assert_non_null(source);
    snprintf(source, 5000, "{{ raise_exception('%04000d') }}", 7); /* longer than an error may be */
    expect_refusal(source, &args, MD_ERR_ARGUMENT, "0000");
    free(source);
}

static void *render_often(void *t)
{
    const md_chat_args args = {.message = two, .n_messages = 2};
    for (int i = 0; i < 200; i++) {
        md_rendered r;
        md_error err;
        if (md_template_render(t, &args, &r, &err) != MD_OK || strcmp(r.text, "user:HI user:HI ") != 0)
            return t;
        md_rendered_done(&r);
    }
    return NULL;
}

static void threads_share_a_template(void **state)
{
    (void)state;
    static const char source[] = "{% set ns = namespace(s='') %}{% macro m(x) %}{{ x.role ~ ':' ~ x.content|upper }} "
                                 "{% endmacro %}{% for i in range(2) %}{% set ns.s = ns.s ~ m(messages[0]) %}"
                                 "{% endfor %}{{ ns.s }}";
    md_template *t;
    md_error err;
    pthread_t thread[3];
    assert_int_equal(md_template_new(source, sizeof source - 1, &t, &err), MD_OK);
    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, render_often, t), 0);
    for (int i = 0; i < 3; i++) {
        void *wrong = NULL;
        assert_int_equal(pthread_join(thread[i], &wrong), 0);
        assert_null(wrong);
    }
    md_template_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_come_as_an_array), cmocka_unit_test(variables_come_as_json),
        cmocka_unit_test(bad_arguments_are_refused), cmocka_unit_test(messages_need_not_be_utf8),
        cmocka_unit_test(time_is_an_argument),       cmocka_unit_test(refusals_of_the_template),
        cmocka_unit_test(threads_share_a_template),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
