/* SPDX-License-Identifier: Apache-2.0
 *
 * JSON Schemas as grammars: texts that each must and must not allow; random texts of each, which must be JSON; and what is
 * refused, by keyword and place. Whether values fit their schema is decided here by hand, one list a keyword. */
#include "text/grammar_case.h"

#include <jansson.h>

typedef struct fit {
    const char *schema;
    const char *fits[8];
    const char *unfit[8];
} fit;

#define D \
    "\"$defs\": {\"n\": {\"type\": \"object\", \"properties\": {\"v\": {\"type\": \"integer\"}, \"next\": {\"$ref\": \"#/$defs/n\"}}, \"required\": [\"v\"]}}"

static const fit fits[] = {
    {"{\"type\": \"integer\"}", {"0", "-7", "120"}, {"", "01", "1.5", "-", "\"1\"", "1e3"}},
    {"{\"type\": \"number\"}", {"0", "-1.50", "12e-3", "3E+10"}, {".5", "1.", "+1", "00", "1e", "NaN"}},
    {"{\"type\": \"string\"}",
     {"\"\"", "\"a\xc3\xa4\"", "\"\\n\\u00e4\\\"\""},
     {"\"", "\"\n\"", "\"\\x\"", "\"\\ud800\""}},
    {"{\"type\": \"boolean\"}", {"true", "false"}, {"null", "True"}},
    {"{\"type\": [\"null\", \"boolean\"]}", {"true", "null"}, {"0"}},
    {"{\"enum\": [\"a\\\"\", 1, null, {\"b\": [2]}], \"title\": \"t\"}",
     {"\"a\\\"\"", "1", "null", "{\"b\":[2]}"},
     {"2", "\"a\""}},
    {"{\"const\": \"\xc3\xa4\"}", {"\"\xc3\xa4\""}, {"\"a\""}},
    {"{\"type\": \"string\", \"enum\": [\"x\", 1]}", {"\"x\""}, {"1"}},
    {"true", {"{\"a\": [1, \"b\", null]}", "[]", "\"x\"", "-1"}, {"", "x", "[1,]"}},
    /* integers */
    {"{\"type\": \"integer\", \"minimum\": 3, \"maximum\": 120}",
     {"3", "9", "10", "99", "120"},
     {"2", "121", "0", "-3", "1000"}},
    {"{\"type\": \"integer\", \"minimum\": -12, \"exclusiveMaximum\": 5}", {"-12", "-9", "0", "4"}, {"-13", "5", "10"}},
    {"{\"type\": \"integer\", \"exclusiveMinimum\": 1.5, \"maximum\": 1e2}", {"2", "100"}, {"1", "101"}},
    {"{\"type\": \"integer\", \"maximum\": -5}", {"-5", "-123456"}, {"-4", "0", "5"}},
    {"{\"type\": \"integer\", \"minimum\": 1000000000000000000}",
     {"1000000000000000000", "9223372036854775807"},
     {"999999999999999999", "9223372036854775808"}},
    /* numbers */
    {"{\"type\": \"number\", \"minimum\": 0, \"maximum\": 1}",
     {"0", "0.25", "1", "1.0", "0.0"},
     {"1.01", "-0.5", "2", "1e0"}},
    {"{\"type\": \"number\", \"exclusiveMinimum\": 0, \"exclusiveMaximum\": 2}",
     {"0.001", "1", "1.99"},
     {"0", "0.0", "2", "2.0"}},
    {"{\"type\": \"number\", \"minimum\": -3, \"maximum\": -1}",
     {"-1", "-2.5", "-3", "-3.0"},
     {"-0.5", "-3.1", "1", "2"}},
    {"{\"type\": \"number\", \"minimum\": -1, \"exclusiveMaximum\": 0}", {"-1", "-0.5"}, {"0", "-0", "0.1", "-0.0"}},
    /* strings */
    {"{\"type\": \"string\", \"minLength\": 2, \"maxLength\": 3}",
     {"\"ab\"", "\"\xf0\x9f\x98\x80\xc3\xa4\\n\""},
     {"\"a\"", "\"abcd\""}},
    {"{\"type\": \"string\", \"pattern\": \"^[a-c]{2}\\\\d+$\"}",
     {"\"ab1\"", "\"cc90\""},
     {"\"ad1\"", "\"ab\"", "\"xab1\""}},
    {"{\"type\": \"string\", \"pattern\": \"b|^c\"}", {"\"abc\"", "\"b\"", "\"cxx\""}, {"\"a\"", "\"xc\""}},
    {"{\"type\": \"string\", \"pattern\": \"^(?:\\\"|\\\\\\\\|\\\\n|[^\\\\w\\\\s]){2}$\"}",
     {"\"\\\"\\\\\"", "\"\\n-\""},
     {"\"a-\"", "\"\"\"", "\"  \""}},
    {"{\"format\": \"date\"}",
     {"\"2024-02-29\"", "\"1999-12-31\"", "\"2000-02-29\""},
     {"\"2023-02-29\"", "\"1900-02-29\"", "\"2023-04-31\"", "\"0000-01-01\""}},
    {"{\"format\": \"date-time\"}",
     {"\"2024-01-01T23:59:59Z\"", "\"2024-01-01T00:00:00.25-03:30\""},
     {"\"2024-01-01T24:00:00Z\"", "\"2024-01-01T00:00:00\""}},
    {"{\"format\": \"time\"}", {"\"12:30:00Z\""}, {"\"12:60:00Z\"", "\"12:30Z\""}},
    {"{\"format\": \"uuid\"}", {"\"123e4567-e89b-12d3-a456-426614174000\""}, {"\"123e4567e89b12d3a456426614174000\""}},
    {"{\"format\": \"ipv4\"}", {"\"255.0.10.199\""}, {"\"256.0.0.1\"", "\"01.0.0.0\"", "\"1.2.3\""}},
    {"{\"format\": \"email\"}", {"\"a.b@example.org\""}, {"\"a@b\"", "\"@example.org\"", "\"a@-b.org\""}},
    /* arrays */
    {"{\"type\": \"array\", \"items\": {\"type\": \"integer\"}}",
     {"[]", "[1]", "[1, 2,3]", "[\n  1\n]"},
     {"[\"a\"]", "[1,]", "[1"}},
    {"{\"items\": {\"type\": \"null\"}, \"minItems\": 1, \"maxItems\": 2}",
     {"[null]", "[null,null]"},
     {"[]", "[null,null,null]"}},
    {"{\"items\": {\"type\": \"null\"}, \"maxItems\": 0}", {"[]"}, {"[null]"}},
    {"{\"prefixItems\": [{\"type\": \"integer\"}, {\"type\": \"string\"}], \"items\": {\"type\": \"null\"}, \"minItems\": 1}",
     {"[1]", "[1,\"a\"]", "[1,\"a\",null,null]"},
     {"[]", "[\"a\"]", "[1,null]"}},
    {"{\"prefixItems\": [{\"type\": \"integer\"}], \"items\": false}", {"[]", "[1]"}, {"[1,2]"}},
    {"{\"items\": [{\"type\": \"integer\"}], \"additionalItems\": {\"type\": \"null\"}, \"maxItems\": 2}",
     {"[1,null]"},
     {"[1,2]", "[1,null,null]"}},
    /* objects */
    {"{\"type\": \"object\", \"properties\": {\"a\": {\"type\": \"integer\"}, \"b\": {\"type\": \"null\"}}, \"required\": [\"b\"]}",
     {"{\"a\": 1, \"b\": null}", "{\"b\":null}"},
     {"{}", "{\"a\":1}", "{\"b\":null,\"b\":null}", "{\"b\":null,\"c\":1}"}},
    {"{\"properties\": {\"a\": {\"type\": \"integer\"}, \"b\": {\"type\": \"null\"}, \"c\": {\"type\": \"null\"}}}",
     {"{}", "{\"a\":1}", "{\"c\":null}", "{\"a\":1,\"c\":null}", "{\"b\":null,\"c\":null}"},
     {"{,}", "{\"a\":1,}", "{\"a\":null}"}},
    {"{\"properties\": {\"ab\": {\"type\": \"integer\"}, \"a\": {\"type\": \"integer\"}}, \"additionalProperties\": {\"type\": \"null\"}}",
     {"{\"a\":1,\"b\":null}", "{\"abc\":null,\"\":null}", "{\"b\":null}", "{}"},
     {"{\"a\":null}", "{\"ab\":null}", "{\"b\":1}", "{\"\\u0061\":null}"}},
    {"{\"required\": [\"x\"], \"additionalProperties\": {\"type\": \"integer\"}}",
     {"{\"x\":1}", "{\"x\":1,\"y\":2}"},
     {"{}", "{\"y\":1}", "{\"x\":1,\"x\":2}"}},
    {"{\"type\": \"object\", \"properties\": {\"a\": false, \"b\": {\"type\": \"null\"}}}",
     {"{}", "{\"b\":null}"},
     {"{\"a\":1}"}},
    {"{\"type\": \"object\", \"additionalProperties\": false}", {"{}"}, {"{\"a\":1}"}},
    {"{\"type\": \"object\"}", {"{}", "{\"a\": {\"b\": []}}"}, {"[]"}},
    /* combinations */
    {"{\"anyOf\": [{\"type\": \"null\"}, {\"type\": \"integer\"}]}", {"null", "1"}, {"\"a\""}},
    {"{\"type\": \"object\", \"properties\": {\"a\": {\"type\": \"null\"}, \"b\": {\"type\": \"null\"}}, \"anyOf\": [{\"required\": [\"a\"]}, {\"required\": [\"b\"]}]}",
     {"{\"a\":null}", "{\"b\":null}", "{\"a\":null,\"b\":null}"},
     {"{}"}},
    {"{\"oneOf\": [{\"properties\": {\"k\": {\"const\": 1}, \"x\": {\"type\": \"null\"}}, \"required\": [\"k\", \"x\"]}, {\"properties\": {\"k\": {\"const\": 2}}, \"required\": [\"k\"]}]}",
     {"{\"k\":1,\"x\":null}", "{\"k\":2}"},
     {"{\"k\":1}", "{\"k\":3}"}},
    {"{\"allOf\": [{\"properties\": {\"a\": {\"type\": \"integer\", \"minimum\": 3}}, \"required\": [\"a\"]}, {\"properties\": {\"a\": {\"maximum\": 5}, \"b\": {\"type\": \"null\"}}}]}",
     {"{\"a\":3}", "{\"a\":5,\"b\":null}"},
     {"{\"a\":2}", "{\"a\":6}", "{\"b\":null}"}},
    {"{\"allOf\": [{\"properties\": {\"a\": {\"type\": \"null\"}}, \"additionalProperties\": false}, {\"properties\": {\"b\": {\"type\": \"null\"}}}]}",
     {"{}", "{\"a\":null}"},
     {"{\"b\":null}"}},
    {"{\"allOf\": [{\"type\": [\"integer\", \"string\"]}, {\"type\": [\"number\", \"null\"]}]}",
     {"1"},
     {"1.5", "\"a\"", "null"}},
    {"{\"$ref\": \"#/$defs/n\", " D "}",
     {"{\"v\":1}", "{\"v\":1,\"next\":{\"v\":2,\"next\":{\"v\":3}}}"},
     {"{}", "{\"v\":1,\"next\":{}}"}},
    {"{\"$defs\": {\"a/b\": {\"type\": \"null\"}, \"c d\": {\"$ref\": \"#/$defs/a~1b\"}}, \"$ref\": \"#/$defs/c%20d\"}",
     {"null"},
     {"1"}},
    {"{\"type\": \"array\", \"items\": {\"$ref\": \"#\"}}", {"[]", "[[],[[]]]"}, {"[1]"}},
};

static md_grammar *from_schema(const char *schema)
{
    md_grammar *g;
    md_error err = {0};
    if (md_grammar_from_schema(schema, strlen(schema), &g, &err) != MD_OK)
        fail_msg("%s: %s", schema, err.message);
    return g;
}

static void a_schema_allows_what_fits_it(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof fits / sizeof *fits; i++) {
        md_grammar *g = from_schema(fits[i].schema);
        md_gmatch m;
        match_begin(&m, g);
        for (int k = 0; k < 8 && fits[i].fits[k]; k++)
            if (!match_whole(&m, fits[i].fits[k], strlen(fits[i].fits[k])))
                fail_msg("%s: refuses %s\n%s", fits[i].schema, fits[i].fits[k], md_grammar_text(g));
        for (int k = 0; k < 8 && fits[i].unfit[k]; k++)
            if (match_whole(&m, fits[i].unfit[k], strlen(fits[i].unfit[k])))
                fail_msg("%s: allows %s\n%s", fits[i].schema, fits[i].unfit[k], md_grammar_text(g));
        md_gmatch_done(&m);
        md_grammar_free(g);
    }
}

static void whatever_comes_out_is_json(void **state)
{
    (void)state;
    uint64_t x = 7;
    int whole = 0;
    static char text[3000];
    for (size_t i = 0; i < sizeof fits / sizeof *fits; i++) {
        md_grammar *g = from_schema(fits[i].schema);
        md_gmatch m;
        match_begin(&m, g);
        for (int round = 0; round < 12; round++) {
            const int n = match_walk(&m, &x, "\"}]", text, sizeof text);
            if (n < 0)
                continue;
            json_error_t why;
            json_t *v = json_loadb(text, (size_t)n, JSON_DECODE_ANY | JSON_ALLOW_NUL, &why);
            if (!v)
                fail_msg("%s gave %.*s, which is not JSON: %s", fits[i].schema, n, text, why.text);
            json_decref(v);
            whole++;
        }
        md_gmatch_done(&m);
        md_grammar_free(g);
    }
    assert_true(whole > 200);
}

static void what_cannot_be_honoured_is_refused_by_name_and_place(void **state)
{
    (void)state;
    static const struct {
        const char *schema, *says;
        md_status code;
    } bad[] = {
        {"{\"not\": {}}", "'not' at #", MD_ERR_UNSUPPORTED},
        {"{\"properties\": {\"a\": {\"items\": {\"uniqueItems\": true}}}}", "'uniqueItems' at #/a/items",
         MD_ERR_UNSUPPORTED},
        {"{\"minlength\": 3}", "'minlength'", MD_ERR_UNSUPPORTED},
        {"{\"if\": {}}", "'if'", MD_ERR_UNSUPPORTED},
        {"{\"type\": \"integer\", \"multipleOf\": 3}", "'multipleOf'", MD_ERR_UNSUPPORTED},
        {"{\"type\": \"number\", \"minimum\": 0.5}", "'minimum' at # cannot", MD_ERR_UNSUPPORTED},
        {"{\"type\": \"object\", \"minProperties\": 1}", "'minProperties'", MD_ERR_UNSUPPORTED},
        {"{\"patternProperties\": {\"a\": {}}}", "'patternProperties'", MD_ERR_UNSUPPORTED},
        {"{\"format\": \"iri\"}", "the format 'iri'", MD_ERR_UNSUPPORTED},
        {"{\"pattern\": \"a\", \"maxLength\": 3}", "'pattern'", MD_ERR_UNSUPPORTED},
        {"{\"pattern\": \"(?=a)\"}", "a look-around", MD_ERR_UNSUPPORTED},
        {"{\"pattern\": \"(a)\\\\1\"}", "a reference to a group", MD_ERR_UNSUPPORTED},
        {"{\"pattern\": \"a\\\\b\"}", "a word border", MD_ERR_UNSUPPORTED},
        {"{\"pattern\": \"a^b\"}", "an anchor", MD_ERR_UNSUPPORTED},
        {"{\"pattern\": \"(a\"}", "a group that does not end", MD_ERR_UNSUPPORTED},
        {"{\"pattern\": \"a)\"}", "')' without a group", MD_ERR_UNSUPPORTED},
        {"{\"pattern\": \"[z-a]\"}", "a range that is none", MD_ERR_UNSUPPORTED},
        {"{\"pattern\": \"a**\"}", "nothing in front of it", MD_ERR_UNSUPPORTED},
        {"{\"oneOf\": [{\"type\": \"integer\"}, {\"type\": \"number\"}]}", "alternatives 1 and 2 at once",
         MD_ERR_UNSUPPORTED},
        {"{\"enum\": [\"abc\"], \"minLength\": 2}", "'minLength'", MD_ERR_UNSUPPORTED},
        {"{\"$ref\": \"http://example.org/s\"}", "only places in the same schema", MD_ERR_UNSUPPORTED},
        {"{\"$ref\": \"#/nowhere\"}", "there is nothing", MD_ERR_FORMAT},
        {"{\"$ref\": \"#\"}", "or to itself", MD_ERR_LIMIT},
        {"{\"properties\": {\"a\": {\"$ref\": \"#\"}}, \"required\": [\"a\"]}", "can never come to an end",
         MD_ERR_FORMAT},
        {"false", "no value fits the schema at #", MD_ERR_FORMAT},
        {"{\"allOf\": [{\"type\": \"null\"}, {\"type\": \"integer\"}]}", "no value fits", MD_ERR_FORMAT},
        {"{\"type\": \"integer\", \"minimum\": 3, \"maximum\": 2}", "no integer fits", MD_ERR_FORMAT},
        {"{\"type\": \"string\", \"minLength\": 3, \"maxLength\": 2}", "no string fits", MD_ERR_FORMAT},
        {"{\"items\": {}, \"minItems\": 3, \"maxItems\": 2}", "no array fits", MD_ERR_FORMAT},
        {"{\"required\": [\"a\"], \"properties\": {\"a\": false}}", "'a' is required and cannot be there",
         MD_ERR_FORMAT},
        {"{\"type\": \"strin\"}", "'type' at #", MD_ERR_FORMAT},
        {"{\"type\": \"string\", \"maxLength\": -1}", "'maxLength' at #", MD_ERR_FORMAT},
        {"{\"type\": \"string\", \"maxLength\": 900000}", "more than 524288 nodes", MD_ERR_LIMIT},
        {"{\"properties\": 3}", "'properties' at #", MD_ERR_FORMAT},
        {"{\"items\": 3}", "a schema is an object, true or false, and at #/items", MD_ERR_FORMAT},
        {"{\"type\": \"null\"", "not JSON: line 1", MD_ERR_FORMAT},
        {"{\"type\": \"null\", \"type\": \"null\"}", "not JSON", MD_ERR_FORMAT},
        {"", "not JSON", MD_ERR_FORMAT},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        md_error err = {0};
        md_grammar *g = (md_grammar *)&err;
        const md_status status = md_grammar_from_schema(bad[i].schema, strlen(bad[i].schema), &g, &err);
        if (status != bad[i].code || !strstr(err.message, bad[i].says))
            fail_msg("%s: %d, '%s' does not say '%s'", bad[i].schema, status, err.message, bad[i].says);
        assert_null(g);
    }
}

/* Alternatives multiply: 2^n of them are refused, not made. */
static void combinations_are_bounded(void **state)
{
    (void)state;
    char schema[4096] = "{\"allOf\": [";
    for (int i = 0; i < 24; i++) {
        char part[128];
        snprintf(part, sizeof part, "%s{\"anyOf\": [{\"required\": [\"a%d\"]}, {\"required\": [\"b%d\"]}]}",
                 i ? "," : "", i, i);
        strcat(schema, part);
    }
    strcat(schema, "]}");
    md_grammar *g;
    md_error err = {0};
    assert_int_equal(md_grammar_from_schema(schema, strlen(schema), &g, &err), MD_ERR_LIMIT);
    assert_non_null(strstr(err.message, "more than 512 alternatives"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_schema_allows_what_fits_it),
        cmocka_unit_test(whatever_comes_out_is_json),
        cmocka_unit_test(what_cannot_be_honoured_is_refused_by_name_and_place),
        cmocka_unit_test(combinations_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
