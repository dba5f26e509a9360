/* SPDX-License-Identifier: Apache-2.0
 *
 * Formatting with % and format(), JSON, and the global functions. */
#include "jinja_case.h"

/* clang-format off */
static const jinja_case formats[] = {
    {"\"%s-%d\"|format(\"a\",3)", "a-3"},
    {"\"%(a)s\"|format(a=5)", "5"},
    {"\"%s\"|format([1,2])", "[1, 2]"},
    {"\"{} and {}\".format(1,\"b\")", "1 and b"},
    {"\"{0}{1}{0}\".format(\"a\",\"b\")", "aba"},
    {"\"{x}-{y}\".format(x=1,y=2)", "1-2"},
    {"\"{0.b}{0[b]}\".format(d)", "11"},
    {"\"{:>5}|{:<5}|{:^5}\".format(\"a\",\"b\",\"c\")", "    a|b    |  c  "},
    {"\"{:05d}\".format(42)", "00042"},
    {"\"{:+d}\".format(42)", "+42"},
    {"\"{:.2f}\".format(3.14159)", "3.14"},
    {"\"{:10.3f}|\".format(3.14159)", "     3.142|"},
    {"\"{:x}{:X}{:#x}{:b}{:o}\".format(255,255,255,5,8)", "ffFF0xff10110"},
    {"\"{:,}\".format(1234567)", "1,234,567"},
    {"\"{:,.2f}\".format(1234567.891)", "1,234,567.89"},
    {"\"{:e}\".format(12345.678)", "1.234568e+04"},
    {"\"{:g}\".format(0.00001234)", "1.234e-05"},
    {"\"{:%}\".format(0.25)", "25.000000%"},
    {"\"{!r}\".format(\"a'b\")", "\"a'b\""},
    {"\"{!s:>4}\".format(\"a\")", "   a"},
    {"\"{{}}\".format()", "{}"},
    {"\"{:*^9}\".format(\"mid\")", "***mid***"},
    {"\"{:.3}\".format(\"abcdef\")", "abc"},
    {"\"{}\".format([1,\"a\"])", "[1, 'a']"},
    {"\"{}\".format(none)", "None"},
    {"\"%s %s\" % (\"a\", 1)", "a 1"},
    {"\"%d\" % 3.7", "3"},
    {"\"%5d|%-5d|%05d\" % (1,2,3)", "    1|2    |00003"},
    {"\"%+d % d\" % (5,6)", "+5  6"},
    {"\"%.2f\" % 3.14159", "3.14"},
    {"\"%x %X %o %#x\" % (255,255,8,255)", "ff FF 10 0xff"},
    {"\"%e %g\" % (12345.678, 0.0001)", "1.234568e+04 0.0001"},
    {"\"%r\" % \"a'b\"", "\"a'b\""},
    {"\"%s\" % none", "None"},
    {"\"%%\" % ()", "%"},
    {"\"%(a)s %(b)d\" % {\"a\":1,\"b\":2}", "1 2"},
    {"\"%c%c\" % (65,\"B\")", "AB"},
    {"\"%s\" % \"x\"", "x"},
    {"\"%10s|%-10s|\" % (\"a\",\"b\")", "         a|b         |"},
    {"\"%.3s\" % \"abcdef\"", "abc"},
    {"\"%*d\" % (5,42)", "   42"},
    {"\"%s\" % ([1,2],)", "[1, 2]"},
    {"\"%s\"|format(undefinedvar)", ""},
    {"\"{0.__class__}\".format(1)", ""},
    {"'%s' % d.b", "1"},
    {"'{:d}'.format(true)", "1"},
    {"'{}'.format(true)", "True"},
    {"'%d' % true", "1"},
    {"'%05.1f' % 3.14159", "003.1"},
    {"'%5.1f|' % 3.14159", "  3.1|"},
    {"'%-8.3e|' % 314.159", "3.142e+02|"},
    {"'{:<8}|{:>8}|{:^8}|'.format(1,2.5,'x')", "1       |     2.5|   x    |"},
    {"'{:08.3f}'.format(-3.14159)", "-003.142"},
    {"'{:+.1e}'.format(12345)", "+1.2e+04"},
    {"'{:5}|{:<5}|'.format(3,3)", "    3|3    |"},
    {"'{:5}|'.format(true)", "    1|"},
    {"'{:.0f}'.format(2.5)", "2"},
    {"'{:g} {:g}'.format(1e10, 100000)", "1e+10 100000"},
    {"'{:.3g}'.format(1234.5)", "1.23e+03"},
    {"'{: d}'.format(5)", " 5"},
    {"'{a[0]}{a[1]}'.format(a=[1,2])", "12"},
    {"'%s' % namespace(a=1)", "<Namespace {'a': 1}>"},
    {"'%-5s|%5s|' % ('é','日本')", "é    |   日本|"},
    {"'{:<4}|{:>4}|'.format('é','日')", "é   |   日|"},
    {"'%i %u' % (1, 2)", "1 2"},
    {"'%G %E %F' % (0.00001, 1.5, 2.5)", "1E-05 1.500000E+00 2.500000"},
    {"'%#o %#X' % (8, 255)", "0o10 0XFF"},
    {"'%+.1f % .1f' % (1.25, 2.0)", "+1.2  2.0"},
    {"'%05d|%-5d|%+05d' % (-3, -3, 3)", "-0003|-3   |+0003"},
    {"'%.5d' % 42", "00042"},
    {"'{:_}'.format(1234567)", "1_234_567"},
    {"'{:=+6d}'.format(42)", "+   42"},
    {"'{:<05d}|{:^05d}|{:*=+6d}|{:=5}|{:x<5}|{:05.1f}|{:<05}|'.format(42,42,42,-7,-7,-1.5,'a')",
     "42000|04200|+***42|-   7|-7xxx|-01.5|a0000|"},
    {"'%05s|%-05d|%05.1f' % ('a',42,-1.5)", "    a|42   |-01.5"},
    {"'{:05}'.format('ab')", "ab000"},
    {"'{:c}'.format(65)", "A"},
    {"'{:G}'.format(1e-10)", "1E-10"},
    {"'{:F}'.format(1.5)", "1.500000"},
    {"'{:#o} {:#b}'.format(8, 5)", "0o10 0b101"},
    {"'{0[a][b]}'.format({'a': {'b': 1}})", "1"},
    {"'{0.a.b} {1[0]}'.format({'a': {'b': 1}}, [5])", "1 5"},
    {"'{!r:>6}'.format('a')", "   'a'"},
    {"'{:.1%}'.format(0.256)", "25.6%"},
    {"'%s' % d.a", "{'c': [1, 2, {'z': None}]}"},
};

static const jinja_case json[] = {
    {"d|tojson", "{\"b\": 1, \"a\": {\"c\": [1, 2, {\"z\": null}]}, \"items\": 5}"},
    {"tools|tojson",
     "[{\"type\": \"function\", \"function\": {\"name\": \"f\", \"parameters\": {\"type\": \"object\","
     " \"properties\": {\"a\": {\"type\": \"string\", \"description\": \"é<&>'\\\"\"}}}}}]"},
    {"tools|tojson(indent=4)",
     "[\n    {\n        \"type\": \"function\",\n        \"function\": {\n            \"name\": \"f\","
     "\n            \"parameters\": {\n                \"type\": \"object\",\n                \"properties\": "
     "{\n                    \"a\": {\n                        \"type\": \"string\",\n                "
     "        \"description\": \"é<&>'\\\"\"\n                    }\n                }\n            }\n"
     "        }\n    }\n]"},
    {"tools|tojson(indent=2)",
     "[\n  {\n    \"type\": \"function\",\n    \"function\": {\n      \"name\": \"f\",\n      \"parameters\": "
     "{\n        \"type\": \"object\",\n        \"properties\": {\n          \"a\": {\n            \"type\": "
     "\"string\",\n            \"description\": \"é<&>'\\\"\"\n          }\n        }\n      }\n    }\n"
     "  }\n]"},
    {"tools|tojson(separators=(\",\",\":\"))",
     "[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":{\"type\":\"object\",\"properties\":{\"a"
     "\":{\"type\":\"string\",\"description\":\"é<&>'\\\"\"}}}}}]"},
    {"tools|tojson(indent=2,separators=(\",\",\": \"))",
     "[\n  {\n    \"type\": \"function\",\n    \"function\": {\n      \"name\": \"f\",\n      \"parameters\": "
     "{\n        \"type\": \"object\",\n        \"properties\": {\n          \"a\": {\n            \"type\": "
     "\"string\",\n            \"description\": \"é<&>'\\\"\"\n          }\n        }\n      }\n    }\n"
     "  }\n]"},
    {"d|tojson(sort_keys=true)", "{\"a\": {\"c\": [1, 2, {\"z\": null}]}, \"b\": 1, \"items\": 5}"},
    {"d|tojson(indent=\"\\t\")",
     "{\n\t\"b\": 1,\n\t\"a\": {\n\t\t\"c\": [\n\t\t\t1,\n\t\t\t2,\n\t\t\t{\n\t\t\t\t\"z\": null\n\t\t\t}"
     "\n\t\t]\n\t},\n\t\"items\": 5\n}"},
    {"mix|tojson", "[1, \"a\", null, true, 2.5, [], {}]"},
    {"s|tojson", "\"Hello, Wörld! ünïcode 日本\""},
    {"s|tojson(ensure_ascii=true)", "\"Hello, W\\u00f6rld! \\u00fcn\\u00efcode \\u65e5\\u672c\""},
    {"em|tojson(ensure_ascii=true)", "\"\\ud83d\\ude00a\\ud83d\\ude00\""},
    {"q|tojson", "\"it's \\\"q\\\"\""},
    {"\"\\x01\\x7f\\n\\t\\r\\b\\f\\\\/\"|tojson", "\"\\u0001\177\\n\\t\\r\\b\\f\\\\/\""},
    {"1.0|tojson", "1.0"},
    {"big|tojson", "1e+20"},
    {"1e16|tojson", "1e+16"},
    {"-0.0|tojson", "-0.0"},
    {"[]|tojson", "[]"},
    {"{}|tojson", "{}"},
    {"[]|tojson(indent=2)", "[]"},
    {"{}|tojson(indent=2)", "{}"},
    {"[[],{}]|tojson(indent=2)", "[\n  [],\n  {}\n]"},
    {"{\"a\":(1,2)}|tojson", "{\"a\": [1, 2]}"},
    {"{1:2, none:3, true:4, 1.5:5}|tojson", "{\"1\": 4, \"null\": 3, \"1.5\": 5}"},
    {"i|tojson", "42"},
    {"n|tojson", "null"},
    {"t|tojson", "true"},
    {"l|tojson|length", "9"},
    {"[1,[2,[3]]]|tojson(indent=1)", "[\n 1,\n [\n  2,\n  [\n   3\n  ]\n ]\n]"},
    {"{\"a\":{\"b\":[]}}|tojson(indent=2)", "{\n  \"a\": {\n    \"b\": []\n  }\n}"},
    {"l|tojson|tojson", "\"[3, 1, 2]\""},
    {"[1,2]|tojson(indent=0)", "[\n1,\n2\n]"},
    {"[1,[2]]|tojson(indent=\"--\")", "[\n--1,\n--[\n----2\n--]\n]"},
    {"{\"b\":1,\"a\":2}|tojson(sort_keys=true,indent=1)", "{\n \"a\": 2,\n \"b\": 1\n}"},
    {"\"</script>\"|tojson", "\"</script>\""},
    {"\"\\u2028\"|tojson", "\"\342\200\250\""},
    {"(1e308*10)|tojson", "Infinity"},
    {"[true,false,none]|tojson", "[true, false, null]"},
};

static const jinja_case globals[] = {
    {"range(10)|slice(3)|list", "[[0, 1, 2, 3], [4, 5, 6], [7, 8, 9]]"},
    {"range(5)|list", "[0, 1, 2, 3, 4]"},
    {"range(2,5)|list", "[2, 3, 4]"},
    {"range(5,2,-1)|list", "[5, 4, 3]"},
    {"range(0,10,3)|list", "[0, 3, 6, 9]"},
    {"range(0)|list", "[]"},
    {"range(3)|length", "3"},
    {"range(5)[1]", "1"},
    {"range(10)[2:4]|list", "[2, 3]"},
    {"3 in range(5)", "True"},
    {"dict(a=1,b=2)", "{'a': 1, 'b': 2}"},
    {"dict({\"x\":1},y=2)", "{'x': 1, 'y': 2}"},
    {"dict([(\"a\",1),(\"b\",2)])", "{'a': 1, 'b': 2}"},
    {"dict(a=1,**{\"b\":2})", "{'a': 1, 'b': 2}"},
    {"strftime_now(\"%Y-%m-%d\")", "2025-06-15"},
    {"strftime_now(\"%d %b %Y %H:%M:%S %j %a %A %B %p %I %y %%\")",
     "15 Jun 2025 15:06:40 166 Sun Sunday June PM 03 25 %"},
    {"strftime_now(\"%-d/%-m %e|%D %F %T %R\")", "15/6 15|06/15/25 2025-06-15 15:06:40 15:06"},
    {"strftime_now(\"%w %u %U %W\")", "0 7 24 23"},
    {"joiner(\",\")()", ""},
    {"namespace(a=1).a", "1"},
    {"namespace(a=1).b", ""},
    {"namespace({\"a\":2},b=3).b", "3"},
    {"cycler(\"a\",\"b\").next()", "a"},
    {"cycler(\"a\",\"b\").current", "a"},
    {"namespace(a=1)", "<Namespace {'a': 1}>"},
    {"namespace() == namespace()", "False"},
    {"'x' if namespace() else 'y'", "x"},
    {"strftime_now('%c|%x|%X|%f|%z|%Z|%n|%t|%k|%l|%h|%-I')",
     "Sun Jun 15 15:06:40 2025|06/15/25|15:06:40|000000|||\n|\t|15| 3|Jun|3"},
};

/* clang-format on */

static void all_formats(void **state)
{
    (void)state;
    jinja_expect_all(formats, sizeof formats / sizeof *formats, jinja_variables);
}

static void all_json(void **state)
{
    (void)state;
    jinja_expect_all(json, sizeof json / sizeof *json, jinja_variables);
}

static void all_globals(void **state)
{
    (void)state;
    jinja_expect_all(globals, sizeof globals / sizeof *globals, jinja_variables);
}

/* A cycle must not be followed for ever; keys of every kind become strings. */
static void json_has_limits(void **state)
{
    (void)state;
    jinja_refuse("{% set l = [] %}{% set _ = l.append(l) %}{{ l|tojson }}", "{}", MD_ERR_LIMIT, "contains itself");
    jinja_refuse("{% set d = {} %}{% set _ = d.update(a=[d]) %}{{ d|tojson(indent=2) }}", "{}", MD_ERR_LIMIT,
                 "contains itself");
    jinja_refuse("{{ {(1, 2): 3}|tojson }}", "{}", MD_ERR_FORMAT, "cannot be a key in JSON");
    jinja_refuse("{{ range|tojson }}", "{}", MD_ERR_FORMAT, "cannot be written as JSON");
    jinja_refuse("{{ [1]|tojson(separators=(1, 2)) }}", "{}", MD_ERR_FORMAT, "needs a string");
    jinja_refuse("{{ [1]|tojson(separators=',') }}", "{}", MD_ERR_FORMAT, "two strings");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_formats),
        cmocka_unit_test(all_json),
        cmocka_unit_test(all_globals),
        cmocka_unit_test(json_has_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
