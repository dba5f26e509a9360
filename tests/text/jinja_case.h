/* SPDX-License-Identifier: Apache-2.0
 *
 * Rendering in one line, for tests of the template language. Expected outputs in the tables of these tests are what
 * Jinja2 3.1.6 gives with trim_blocks, lstrip_blocks and the loopcontrols extension, and json.dumps as tojson. */
#ifndef MD_TEST_JINJA_CASE_H
#define MD_TEST_JINJA_CASE_H

#include "support/fixtures.h"
#include "text/chat_limits.h"

#include <string.h>

/* 2025-06-15 15:06:40 UTC, a Sunday. */
#define JINJA_NOW 1750000000

static const md_jinja_limits jinja_limits = {MD_CHAT_MAX_STEPS, MD_CHAT_MAX_MEMORY, MD_CHAT_MAX_OUTPUT};

typedef struct jinja_case {
    const char *source, *expected;
} jinja_case;

/* Compiles and renders; *out is {0} unless MD_OK. */
static inline md_status jinja_try(const char *source, const char *variables, const md_jinja_limits *limits,
                                  md_rendered *out, md_error *err)
{
    md_template *t = NULL;
    *out = (md_rendered){0};
    *err = (md_error){0};
    md_status status = md_template_new(source, strlen(source), &t, err);
    assert_true((status == MD_OK) == (t != NULL));
    if (t) {
        const md_chat_args args = {.bos_token = "<s>", .eos_token = "</s>", .extra_json = variables, .now = JINJA_NOW};
        status = md_template_render_limited(t, &args, limits ? limits : &jinja_limits, out, err);
    }
    if (status != MD_OK) {
        assert_null(out->text);
        assert_int_equal(err->code, status);
        assert_true(err->message[0] != '\0');
    }
    md_template_free(t);
    return status;
}

static inline void jinja_expect(const char *source, const char *variables, const char *expected)
{
    md_rendered r;
    md_error err;
    if (jinja_try(source, variables, NULL, &r, &err) != MD_OK)
        fail_msg("%s\n  failed: %s", source, err.message);
    if (strcmp(r.text, expected) != 0)
        fail_msg("%s\n  gave:     \"%s\"\n  expected: \"%s\"", source, r.text, expected);
    md_rendered_done(&r);
}

/* Every expression of the table, in {{ }}. */
static inline void jinja_expect_all(const jinja_case *c, size_t n, const char *variables)
{
    char source[512];
    for (size_t i = 0; i < n; i++) {
        const int len = snprintf(source, sizeof source, "{{ %s }}", c[i].source);
        assert_true(len > 0 && (size_t)len < sizeof source);
        jinja_expect(source, variables, c[i].expected);
    }
}

static inline void jinja_refuse_within(const md_jinja_limits *limits, const char *source, const char *variables,
                                       md_status code, const char *says)
{
    md_rendered r;
    md_error err;
    const md_status status = jinja_try(source, variables, limits, &r, &err);
    if (status == MD_OK)
        fail_msg("%.200s\n  gave \"%.200s\" instead of an error with '%s'", source, r.text, says);
    if (status != code || !strstr(err.message, says))
        fail_msg("%.200s\n  gave %s '%s'\n  expected %s with '%s'", source, md_status_name(status), err.message,
                 md_status_name(code), says);
}

static inline void jinja_refuse(const char *source, const char *variables, md_status code, const char *says)
{
    jinja_refuse_within(NULL, source, variables, code, says);
}

/* What the tables of expressions have to work with. */
static const char jinja_variables[] =
    "{\"messages\": [{\"role\": \"user\", \"content\": \"Hi\"}],"
    " \"s\": \"Hello, W\u00f6rld! \u00fcn\u00efcode \u65e5\u672c\", \"e\": \"\", \"n\": null, \"t\": true, \"f\": false,"
    " \"i\": 42, \"neg\": -7, \"x\": 3.5, \"big\": 1e20, \"l\": [3, 1, 2], \"ls\": [\"b\", \"A\", \"c\"],"
    " \"d\": {\"b\": 1, \"a\": {\"c\": [1, 2, {\"z\": null}]}, \"items\": 5},"
    " \"ld\": [{\"n\": \"x\", \"v\": 2}, {\"n\": \"y\", \"v\": 1}, {\"n\": \"X\", \"v\": 3}],"
    " \"mix\": [1, \"a\", null, true, 2.5, [], {}], \"ws\": \"  \\t pad \\n\", \"nl\": \"a\\nb\\n\\nc\","
    " \"q\": \"it's \\\"q\\\"\", \"deep\": {\"a\": {\"b\": {\"c\": 1}}},"
    " \"think\": \"<think>\\nabc\\n</think>\\n\\nans\", \"em\": \"\U0001f600a\U0001f600\","
    " \"tools\": [{\"type\": \"function\", \"function\": {\"name\": \"f\", \"parameters\": {\"type\": \"object\","
    " \"properties\": {\"a\": {\"type\": \"string\", \"description\": \"\u00e9<&>'\\\"\"}}}}}]}";

#endif
