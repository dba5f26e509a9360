/* SPDX-License-Identifier: Apache-2.0
 *
 * Requests as they are parsed: what arrives in an md_ask, and what is refused. */
#include "serve/ask.h"

#include "support/fixtures.h"

#include <math.h>
#include <string.h>

typedef bool parser(md_ask *a, const char *body, size_t n, md_refusal *r);

/* Must be accepted. */
static md_ask parse(parser *fn, const char *body)
{
    md_ask a = {.n_vocab = 1000};
    md_refusal r = {0};
    if (!fn(&a, body, strlen(body), &r))
        fail_msg("%s: %s", body, r.message);
    return a;
}

static void refuse(parser *fn, const char *body, const char *param)
{
    md_ask a = {.n_vocab = 1000};
    md_refusal r = {0};
    if (fn(&a, body, strlen(body), &r))
        fail_msg("%s was accepted", body);
    assert_int_equal(r.status, 400);
    if (strcmp(r.param, param) != 0)
        fail_msg("%s: blames '%s', not '%s' (%s)", body, r.param, param, r.message);
    assert_true(r.message[0] != '\0');
    md_ask_done(&a);
}

#define MESSAGES "\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]"

static void samplers_arrive(void **state)
{
    (void)state;
    md_ask a = parse(md_ask_chat,
                     "{" MESSAGES ",\"temperature\":0.25,\"top_k\":7,\"top_p\":0.5,\"min_p\":0.125,\"seed\":-2,"
                     "\"repeat_penalty\":1.5,\"dry_multiplier\":0.5,\"mirostat\":2,\"n\":3,\"max_completion_tokens\":9,"
                     "\"presence_penalty\":-1,\"stop\":[\"a\",\"bc\"],\"logit_bias\":{\"5\":2,\"6\":-100},"
                     "\"dry_sequence_breakers\":[\"!\"],\"priority\":4}");
    assert_true(a.sampler.temperature == 0.25f && a.sampler.top_k == 7 && a.sampler.top_p == 0.5f &&
                a.sampler.min_p == 0.125f);
    assert_true(a.sampler.repetition_penalty == 1.5f && a.sampler.dry_multiplier == 0.5f && a.sampler.mirostat == 2);
    assert_true(a.sampler.presence_penalty == -1.0f && a.n == 3 && a.max_tokens == 9 && a.priority == 4);
    assert_true(a.seeded && a.seed == (uint64_t)-2);
    assert_int_equal(a.n_stop, 2);
    assert_string_equal(a.stop[1], "bc");
    assert_int_equal(a.sampler.n_bias, 2);
    for (size_t i = 0; i < 2; i++)
        assert_true(a.bias[i].token == 5 ? a.bias[i].bias == 2.0f : isinf(a.bias[i].bias));
    assert_int_equal(a.sampler.n_dry_breaker, 1);
    md_ask_done(&a);
}

static void what_is_not_said_is_the_program_s_own(void **state)
{
    (void)state;
    md_sampler_args own;
    md_sampler_args_default(&own);
    md_ask a = parse(md_ask_chat, "{" MESSAGES ",\"temperature\":null,\"seed\":null}");
    assert_true(a.sampler.temperature == own.temperature && a.sampler.top_k == own.top_k && !a.seeded &&
                a.max_tokens == -1);
    md_ask_done(&a);
    a = parse(md_ask_completion, "{\"prompt\":\"x\"}");
    assert_int_equal(a.max_tokens, 16);
    md_ask_done(&a);
    a = parse(md_ask_chat, "{" MESSAGES ",\"top_k\":-1,\"seed\":-1}");
    assert_true(a.sampler.top_k == 0 && !a.seeded);
    md_ask_done(&a);
}

static void messages_become_what_templates_read(void **state)
{
    (void)state;
    md_ask a = parse(
        md_ask_chat,
        "{\"messages\":[{\"role\":\"developer\",\"content\":[{\"type\":\"text\",\"text\":\"a\"},{\"type\":\"text\","
        "\"text\":\"b\"}]},{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":\"1\",\"type\":\"function\","
        "\"function\":{\"name\":\"f\",\"arguments\":\"{\\\"x\\\":1}\"}}]},{\"role\":\"tool\",\"tool_call_id\":\"1\","
        "\"content\":\"c\"}]}");
    char *text = json_dumps(a.messages, JSON_COMPACT | JSON_SORT_KEYS);
    assert_string_equal(
        text, "[{\"content\":\"ab\",\"role\":\"system\"},{\"content\":null,\"role\":\"assistant\",\"tool_calls\":"
              "[{\"function\":{\"arguments\":{\"x\":1},\"name\":\"f\"},\"id\":\"1\",\"type\":\"function\"}]},"
              "{\"content\":\"c\",\"role\":\"tool\",\"tool_call_id\":\"1\"}]");
    free(text);
    md_ask_done(&a);
}

static void formats_become_schemas(void **state)
{
    (void)state;
    md_ask a = parse(md_ask_chat,
                     "{" MESSAGES ",\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"n\","
                     "\"schema\":{\"type\":\"integer\"}}}}");
    assert_string_equal(a.schema, "{\"type\":\"integer\"}");
    md_ask_done(&a);
    a = parse(md_ask_chat, "{" MESSAGES ",\"response_format\":{\"type\":\"json_object\"}}");
    assert_string_equal(a.schema, "{\"type\":\"object\"}");
    md_ask_done(&a);
    a = parse(md_ask_chat, "{" MESSAGES ",\"response_format\":{\"type\":\"text\"}}");
    assert_null(a.schema);
    md_ask_done(&a);
    refuse(md_ask_chat, "{" MESSAGES ",\"grammar\":\"root ::= \\\"a\\\"\",\"json_schema\":{}}", "grammar");
}

#define TOOL(name) "{\"type\":\"function\",\"function\":{\"name\":\"" name "\",\"parameters\":{}}}"

static void tools_are_checked(void **state)
{
    (void)state;
    md_ask a = parse(md_ask_chat,
                     "{" MESSAGES ",\"tools\":[" TOOL("f") "," TOOL("g") "],\"tool_choice\":{\"type\":\"function\","
                                                                         "\"function\":{\"name\":\"g\"}}}");
    assert_true(a.tool_choice == MD_TOOLS_NAMED && json_array_size(a.tools) == 2);
    md_ask_done(&a);
    a = parse(md_ask_chat, "{" MESSAGES ",\"tools\":[" TOOL("f") "],\"tool_choice\":\"none\"}");
    assert_null(a.tools);
    md_ask_done(&a);
    refuse(md_ask_chat, "{" MESSAGES ",\"tools\":[" TOOL("f") "],\"tool_choice\":{\"function\":{\"name\":\"h\"}}}",
           "tool_choice");
    refuse(md_ask_chat, "{" MESSAGES ",\"tools\":[" TOOL("f\\n") "]}", "tools[0]");
    refuse(md_ask_chat, "{" MESSAGES ",\"tools\":[" TOOL("f") "],\"tool_choice\":\"required\",\"json_schema\":{}}",
           "tool_choice");
}

static void numbers_are_bounded(void **state)
{
    (void)state;
    static const struct {
        const char *field, *bad[4];
    } rows[] = {{"temperature", {"-0.1", "101", "\"1\"", "true"}},
                {"top_p", {"0", "1.1", "[]", "-1"}},
                {"min_p", {"1", "-0.1", "{}", "2"}},
                {"n", {"0", "129", "1.5", "1e99"}},
                {"max_tokens", {"-2", "1e10", "0.5", "\"x\""}},
                {"seed", {"1.5", "\"1\"", "[]", "true"}},
                {"top_k", {"-2", "1e10", "0.5", "false"}},
                {"stream", {"0", "1", "\"true\"", "[]"}}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (int k = 0; k < 4; k++) {
            char body[256];
            snprintf(body, sizeof body, "{" MESSAGES ",\"%s\":%s}", rows[i].field, rows[i].bad[k]);
            refuse(md_ask_chat, body, rows[i].field);
        }
    refuse(md_ask_chat, "{" MESSAGES ",\"max_tokens\":99999999999999999999}", "");
    refuse(md_ask_chat, "{" MESSAGES ",\"temperature\":1e400}", "");
}

static void deep_json_is_refused(void **state)
{
    (void)state;
    char body[20000];
    memset(body, '[', sizeof body - 1);
    body[sizeof body - 1] = '\0';
    refuse(md_ask_chat, body, "");
}

static void completions_take_every_prompt(void **state)
{
    (void)state;
    static const char *const good[] = {"\"x\"", "[1,2]", "[\"x\",\"y\"]", "[[1],[2]]"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        char body[64];
        snprintf(body, sizeof body, "{\"prompt\":%s,\"logprobs\":%zu}", good[i], i);
        md_ask a = parse(md_ask_completion, body);
        assert_true(a.logprobs && a.top_logprobs == (int32_t)i);
        md_ask_done(&a);
    }
    refuse(md_ask_completion, "{\"prompt\":\"x\",\"suffix\":\"y\"}", "suffix");
    refuse(md_ask_completion, "{\"prompt\":\"x\",\"messages\":[]}", "messages");
    refuse(md_ask_completion, "{}", "prompt");
    refuse(md_ask_infill, "{\"input_prefix\":\"x\"}", "input_suffix");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(samplers_arrive),
        cmocka_unit_test(what_is_not_said_is_the_program_s_own),
        cmocka_unit_test(messages_become_what_templates_read),
        cmocka_unit_test(formats_become_schemas),
        cmocka_unit_test(tools_are_checked),
        cmocka_unit_test(numbers_are_bounded),
        cmocka_unit_test(deep_json_is_refused),
        cmocka_unit_test(completions_take_every_prompt),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
