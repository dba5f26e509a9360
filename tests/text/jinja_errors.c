/* SPDX-License-Identifier: Apache-2.0
 *
 * What is wrong with a template is said with line and column: when it is compiled, or when the fault is met. */
#include "jinja_case.h"

typedef struct error_case {
    const char *source, *says;
} error_case;

/* clang-format off */
static const error_case syntax[] = {
    {"a\nb {{ 1 + }}", "line 2, column 10: expected an expression, found '}}'"},
    {"{{ }}", "line 1, column 4: expected an expression, found '}}'"},
    {"{% %}", "line 1, column 4: expected the name of a tag, found '%}'"},
    {"\n\n{% if true %}\nx", "line 4, column 2: {% endif %} is missing for the tag at line 3, column 4"},
    {"{% for i in l %}{% if i %}{% endfor %}", "line 1, column 30: {% endfor %} ends or continues nothing that is open here"},
    {"{% endif %}", "line 1, column 4: {% endif %} ends or continues nothing that is open here"},
    {"{% else %}", "line 1, column 4: {% else %} ends or continues nothing that is open here"},
    {"{% include 'x' %}", "line 1, column 4: the tag {% include %} is not supported"},
    {"{% extends 'x' %}", "line 1, column 4: the tag {% extends %} is not supported"},
    {"{# one\ntwo #}\n{# three", "line 3, column 1: '{#' is never closed"},
    {"a\n{{ x", "line 2, column 1: '{{' is never closed"},
    {"a\n{% if x", "line 2, column 1: '{%' is never closed"},
    {"{% raw %}\n{{ x }}", "line 1, column 1: {% raw %} has no {% endraw %}"},
    {"{{ 'abc }}", "line 1, column 4: a string has no end"},
    {"{{ \"abc\\\" }}", "line 1, column 4: a string has no end"},
    {"{{ '\\x4' }}", "line 1, column 5: a \\x, \\u or \\U escape needs 2, 4 or 8 hexadecimal digits"},
    {"{{ '\\ud800' }}", "line 1, column 5: an escape names a code point that does not exist"},
    {"{{ '\\U00110000' }}", "line 1, column 5: an escape names a code point that does not exist"},
    {"{{ '\\N{BULLET}' }}", "line 1, column 5: \\N escapes are not supported: write \\u and the number"},
    {"{{ 99999999999999999999 }}", "line 1, column 4: an integer does not fit 64 bits"},
    {"{{ a b }}", "line 1, column 6: expected '}}', found 'b'"},
    {"{{ a ? b }}", "line 1, column 6: unexpected '?'"},
    {"{{ \xc3\xa9 }}", "line 1, column 4: a character that has no meaning here"},
    {"{{ ( }}", "line 1, column 6: a closing bracket has no opening one of its kind"},
    {"{{ [1,2 }}", "line 1, column 9: a closing bracket has no opening one of its kind"},
    {"{{ (1, 2] }}", "line 1, column 9: a closing bracket has no opening one of its kind"},
    {"{{ {'a': 1, 'b'} }}", "line 1, column 16: expected ':', found '}'"},
    {"{{ x | }}", "line 1, column 8: expected a name, found '}}'"},
    {"{{ x is }}", "line 1, column 9: expected a name, found '}}'"},
    {"{{ x is string is true }}", "line 1, column 16: expected one test only: 'is' cannot be chained, found 'is'"},
    {"{{ x. }}", "line 1, column 7: expected a name, found '}}'"},
    {"{{ x[1 }}", "line 1, column 8: a closing bracket has no opening one of its kind"},
    {"{{ f(a=1, 2) }}", "line 1, column 11: expected arguments in the order: values, name=value, *list, **dict, found a number"},
    {"{{ f(**a, 1) }}", "line 1, column 11: expected arguments in the order: values, name=value, *list, **dict, found a number"},
    {"{{ f(*a, *b) }}", "line 1, column 11: expected arguments in the order: values, name=value, *list, **dict, found 'b'"},
    {"{% set = 1 %}", "line 1, column 8: expected a name to assign to, found '='"},
    {"{% set x = %}", "line 1, column 12: expected an expression, found '%}'"},
    {"{% set true = 1 %}", "line 1, column 8: expected a name that can be assigned to, found 'true'"},
    {"{% set 'x' = 1 %}", "line 1, column 8: expected a name to assign to, found the string 'x'"},
    {"{% set x = 1", "line 1, column 1: '{%' is never closed"},
    {"{% set x %}y", "line 1, column 13: {% endset %} is missing for the tag at line 1, column 4"},
    {"{% for %}{% endfor %}", "line 1, column 8: expected a name to assign to, found '%}'"},
    {"{% for x of y %}{% endfor %}", "line 1, column 10: expected 'in', found 'of'"},
    {"{% for x in l %}{% endfor x %}", "line 1, column 27: expected '%}', found 'x'"},
    {"{% break %}", "line 1, column 4: break outside of a loop"},
    {"{% for x in l %}{% macro m() %}{% continue %}{% endmacro %}{% endfor %}", "line 1, column 35: continue outside of a loop"},
    {"{% macro %}{% endmacro %}", "line 1, column 10: expected the macro's name, found '%}'"},
    {"{% macro m(1) %}{% endmacro %}", "line 1, column 12: expected a parameter's name, found a number"},
    {"{% macro m(a=1, b) %}{% endmacro %}", "line 1, column 18: expected a default, as the parameter before has one, found ')'"},
    {"{% macro m() %}", "line 1, column 16: {% endmacro %} is missing for the tag at line 1, column 4"},
    {"{% call s %}{% endcall %}", "line 1, column 11: expected a call in {% call %}, found '%}'"},
    {"{% call f() %}", "line 1, column 15: {% endcall %} is missing for the tag at line 1, column 4"},
    {"{% filter %}{% endfilter %}", "line 1, column 11: expected a name, found '%}'"},
    {"{% with a %}{% endwith %}", "line 1, column 11: expected '=', found '%}'"},
    {"{% generation %}", "line 1, column 17: {% endgeneration %} is missing for the tag at line 1, column 4"},
    {"{% if %}{% endif %}", "line 1, column 7: expected an expression, found '%}'"},
    {"\xff", "line 1, column 1: the template is not UTF-8 text"},
    {"ok\n\xc3(", "line 2, column 1: the template is not UTF-8 text"},
};

static const error_case faults[] = {
    {"\n{{ nope.x }}", "line 2, column 8: 'nope' is undefined"},
    {"{{ d.a.b.c }}", "line 1, column 9: 'b' is undefined"},
    {"{{ d['zz']['y'] }}", "line 1, column 11: 'zz' is undefined"},
    {"{{ l[9].x }}", "line 1, column 8: an undefined value is used"},
    {"{{ nope() }}", "line 1, column 8: 'nope' is undefined"},
    {"{{ nope + 1 }}", "line 1, column 9: 'nope' is undefined"},
    {"{{ 1 - nope }}", "line 1, column 6: 'nope' is undefined"},
    {"{{ -nope }}", "line 1, column 4: 'nope' is undefined"},
    {"{{ nope < 1 }}", "line 1, column 9: 'nope' is undefined"},
    {"{{ nope[1:] }}", "line 1, column 8: 'nope' is undefined"},
    {"{{ nope|tojson }}", "line 1, column 9: 'nope' is undefined"},
    {"{{ nope|int }}", "line 1, column 9: 'nope' is undefined"},
    {"{{ nope|abs }}", "line 1, column 9: 'nope' is undefined"},
    {"{{ 'x'.startswith(nope) }}", "line 1, column 18: 'nope' is undefined"},
    {"{% macro m(a) %}\n{{ a.b }}\n{% endmacro %}\n{{ m() }}", "line 2, column 5: 'a' is undefined"},
    {"{{ 1 + 'a' }}", "line 1, column 6: '+' does not work between 'int' and 'str'"},
    {"{{ 'a' + 1 }}", "line 1, column 8: '+' does not work between 'str' and 'int'"},
    {"{{ [] + (1,) }}", "line 1, column 7: '+' does not work between 'list' and 'tuple'"},
    {"{{ {} // 2 }}", "line 1, column 7: '//' does not work between 'dict' and 'int'"},
    {"{{ -'a' }}", "line 1, column 4: a 'str' has no sign"},
    {"{{ 1 / 0 }}", "line 1, column 6: division by zero"},
    {"{{ 1 // 0 }}", "line 1, column 6: division by zero"},
    {"{{ 1.5 % 0 }}", "line 1, column 8: division by zero"},
    {"{{ 0 ** -1 }}", "line 1, column 6: division by zero"},
    {"{{ 'a' < 1 }}", "line 1, column 8: 'str' and 'int' cannot be compared"},
    {"{{ none > none }}", "line 1, column 9: 'NoneType' and 'NoneType' cannot be compared"},
    {"{{ 1 in 5 }}", "line 1, column 6: 'int' cannot be searched with 'in'"},
    {"{{ 1 in 'a' }}", "line 1, column 6: 'in' looks for a string in a string, not for a 'int'"},
    {"{{ 5[1:] }}", "line 1, column 5: a 'int' cannot be sliced"},
    {"{{ [1][::0] }}", "line 1, column 7: the step of a slice cannot be zero"},
    {"{{ [1]['a':] }}", "line 1, column 8: slices take integers, not a 'str'"},
    {"{{ l() }}", "line 1, column 5: a 'list' cannot be called"},
    {"{{ {[1]: 2} }}", "line 1, column 5: a 'list' cannot be a key of a dict"},
    {"{{ x|nope }}", "line 1, column 6: there is no filter 'nope'"},
    {"{{ 1 is nope }}", "line 1, column 9: there is no test 'nope'"},
    {"{{ l|map('nope')|list }}", "line 1, column 6: there is no filter 'nope'"},
    {"{{ l|select('nope')|list }}", "line 1, column 6: there is no test 'nope'"},
    {"{{ l|map(1)|list }}", "line 1, column 6: a filter or test is named by a string, not by a 'int'"},
    {"{{ l|map }}", "line 1, column 6: the filter map needs the name of a filter, or attribute="},
    {"{{ l|map(attribute='a', x=1) }}", "line 1, column 6: the filter map takes attribute= and default=, nothing else by name"},
    {"{{ l|selectattr }}", "line 1, column 6: selectattr and rejectattr need the name of an attribute"},
    {"{{ 'a'|upper(1) }}", "line 1, column 8: 'upper' takes at most 0 arguments, not 1"},
    {"{{ 'a'|replace('b') }}", "line 1, column 8: 'replace' needs 2 arguments"},
    {"{{ 'a'|trim(nope=1) }}", "line 1, column 8: 'trim' has no argument 'nope', or has it already"},
    {"{{ 'a'|trim('b', chars='c') }}", "line 1, column 8: 'trim' has no argument 'chars', or has it already"},
    {"{{ 'a'|indent([]) }}", "line 1, column 8: the filter indent needs an integer, not a 'list'"},
    {"{{ 1|indent }}", "line 1, column 6: the filter indent needs a string, not a 'int'"},
    {"{{ 'abcdefghij'|truncate(2) }}", "line 1, column 17: the filter truncate needs a length of at least its end's, and no negative leeway"},
    {"{{ 'a'|abs }}", "line 1, column 8: the filter abs needs a number, not a 'str'"},
    {"{{ 1.5|round(0, 'up') }}", "line 1, column 8: the filter round knows the methods common, ceil and floor"},
    {"{{ 5|length }}", "line 1, column 6: 'int' has no length"},
    {"{{ 5|list }}", "line 1, column 6: 'int' cannot be iterated"},
    {"{{ 5|items }}", "line 1, column 6: the filter items needs a dict, not a 'int'"},
    {"{{ 5|dictsort }}", "line 1, column 6: the filter dictsort needs a dict, not a 'int'"},
    {"{{ d|dictsort(by='x') }}", "line 1, column 6: the filter dictsort sorts by 'key' or 'value'"},
    {"{{ [1, 'a']|sort }}", "line 1, column 13: 'str' and 'int' cannot be compared"},
    {"{{ [1, 'a']|max }}", "line 1, column 13: 'str' and 'int' cannot be compared"},
    {"{{ [[]]|unique|list }}", "line 1, column 9: a 'list' cannot be a key of a dict"},
    {"{{ l|batch(0)|list }}", "line 1, column 6: the filters batch and slice need a positive number"},
    {"{{ 'a' is odd }}", "line 1, column 11: a string is neither odd nor even nor divisible"},
    {"{{ 5 is divisibleby 0 }}", "line 1, column 9: division by zero"},
    {"{{ ''.join([1]) }}", "line 1, column 11: join needs a string, not a 'int'"},
    {"{{ 'a'.split('') }}", "line 1, column 13: split needs a separator that is not empty"},
    {"{{ 'a'.partition('') }}", "line 1, column 17: partition needs a separator that is not empty"},
    {"{{ 'a'.index('b') }}", "line 1, column 13: index: the text is not in the string"},
    {"{{ 'a'.ljust(5, 'xy') }}", "line 1, column 13: padding is done with one character"},
    {"{{ [1].index(2) }}", "line 1, column 13: the list has no such item"},
    {"{{ [].pop() }}", "line 1, column 10: pop: the list has no such item"},
    {"{{ [1].remove(2) }}", "line 1, column 14: the list has no such item"},
    {"{{ {}.pop('a') }}", "line 1, column 10: pop: the dict has no such key"},
    {"{% set t = (1,) %}{{ t.append(2) }}", "line 1, column 30: a tuple cannot be changed"},
    {"{{ {}.update([1]) }}", "line 1, column 13: 'int' cannot be iterated"},
    {"{{ {}.update([[1]]) }}", "line 1, column 13: a dict is made from pairs, item 0 has 1 parts"},
    {"{{ '%d' % 'x' }}", "line 1, column 9: a format wants a number, not a 'str'"},
    {"{{ '%s %s' % 'x' }}", "line 1, column 12: a format has more fields than there are values"},
    {"{{ '%s' % (1, 2) }}", "line 1, column 9: a format has fewer fields than there are values"},
    {"{{ '%(a)s' % 1 }}", "line 1, column 12: a format names its values, so it needs a dict"},
    {"{{ '%(a)s' % {} }}", "line 1, column 12: a format names a value that is not there"},
    {"{{ '%' % 1 }}", "line 1, column 8: a format has a field that cannot be read, or fits no such value"},
    {"{{ '%y' % 1 }}", "line 1, column 9: a format has a field that cannot be read, or fits no such value"},
    {"{{ '%c' % 1114112 }}", "line 1, column 9: a format has a field that cannot be read, or fits no such value"},
    {"{{ '{'.format() }}", "line 1, column 14: a format has a '{' or '}' without its other half, or a field in a field"},
    {"{{ '}'.format() }}", "line 1, column 14: a format has a '{' or '}' without its other half, or a field in a field"},
    {"{{ '{}'.format() }}", "line 1, column 15: a format has more fields than there are values"},
    {"{{ '{a}'.format(b=1) }}", "line 1, column 16: a format names a value that is not there"},
    {"{{ '{:z}'.format(1) }}", "line 1, column 17: a format has a field that cannot be read, or fits no such value"},
    {"{{ '{!x}'.format(1) }}", "line 1, column 17: a format has a field that cannot be read, or fits no such value"},
    {"{{ 'a'|format(1, b=2) }}", "line 1, column 8: the filter format takes values or name=value, not both"},
    {"{{ range(0, 5, 0) }}", "line 1, column 9: the step of range cannot be zero"},
    {"{{ range('a') }}", "line 1, column 9: range needs an integer, not a 'str'"},
    {"{{ range() }}", "line 1, column 9: 'range' needs 1 arguments"},
    {"{{ dict(1, 2) }}", "line 1, column 8: dict and namespace take one dict, and name=value arguments"},
    {"{{ cycler() }}", "line 1, column 10: cycler needs values"},
    {"{{ dict(**1) }}", "line 1, column 11: ** needs a dict, not a 'int'"},
    {"{{ dict(**{1: 2}) }}", "line 1, column 11: the keys of a ** argument must be strings"},
    {"{{ dict(*5) }}", "line 1, column 10: 'int' cannot be iterated"},
    {"{% for i in l %}{{ loop.cycle() }}{% endfor %}", "line 1, column 30: loop.cycle needs values"},
    {"{% for a, b in [(1, 2, 3)] %}{% endfor %}", "line 1, column 8: 3 values for 2 names"},
    {"{% for a in none %}{% endfor %}", "line 1, column 13: 'NoneType' cannot be iterated"},
    {"{% set d.y = 1 %}", "line 1, column 8: only attributes of a namespace can be set, 'd' is a 'dict'"},
    {"{% macro m() %}{% endmacro %}{{ m(1) }}", "line 1, column 34: the macro 'm' takes at most 0 arguments, not 1"},
    {"{% macro m(a) %}{% endmacro %}{{ m(b=1) }}", "line 1, column 35: the macro 'm' takes no argument 'b'"},
    {"{% call s() %}{% endcall %}", "line 1, column 10: a 'str' cannot be called"},
    {"{% for x in l %}{{ loop(l) }}{% endfor %}", "line 1, column 24: this loop is not marked 'recursive'"},
    {"{% for x in l recursive %}{{ loop() }}{% endfor %}", "line 1, column 34: a recursive loop is called with one value"},
    {"{% for x in l recursive %}{{ loop(x) }}{% endfor %}", "line 1, column 34: 'int' cannot be iterated"},
    /* far from the start, inside other things, behind characters of several bytes, tabs and line breaks of all kinds */
    {"{% macro m(a) %}\n  {{ a|upper + 1 }}\n{% endmacro %}\n\n{{ m('x') }}", "line 2, column 14: '+' does not work"},
    {"{% macro m(a) %}{{ a }}{% endmacro %}\n{{ m('x',\n  nope.y) }}", "line 3, column 7: 'nope' is undefined"},
    {"{% macro m(a=1 + 'b') %}{{ a }}{% endmacro %}\n{{ m() }}", "line 1, column 16: '+' does not work"},
    {"\xc3\xa9\xe6\x97\xa5\xf0\x9f\x98\x80{{ 1|nope }}", "line 1, column 9: there is no filter 'nope'"},
    {"\t\t{{ 1|nope }}", "line 1, column 8: there is no filter 'nope'"},
    {"a\r\nb\rc\n{{ 1|nope }}", "line 4, column 6: there is no filter 'nope'"},
    {"{% for i in l -%}\n   {%- if i == 2 %}\n   {{ l[i].x.y }}\n{% endif %}{% endfor %}", "line 3, column 11: an undefined value"},
    {"{% set t %}\n{{ 'a'|trim|int|nope }}{% endset %}", "line 2, column 17: there is no filter 'nope'"},
    {"{% filter\n  nope %}x{% endfilter %}", "line 2, column 3: there is no filter 'nope'"},
    {"{{ [1,\n 2]\n | map('upper')\n | join(',') ~ (none.a.b) }}", "line 4, column 23: 'a' is undefined"},
    {"{% call(q) s.nope() %}{% endcall %}", "line 1, column 18: 'nope' is undefined"},
    {"{% if x and\n   (1 < 2 < 'a') %}{% endif %}", "line 2, column 11: 'int' and 'str' cannot be compared"},
    {"{# one\n two #}{% set a = 1 %}{% raw %}\n{{ %}\n{% endraw %}{{ a[nope.x] }}", "line 4, column 22: 'nope'"},
};
/* clang-format on */

static const char variables[] = "{\"l\": [1, 2], \"d\": {\"a\": {}}, \"s\": \"text\", \"x\": 1}";

static void faults_of_syntax_have_places(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof syntax / sizeof *syntax; i++)
        jinja_refuse(syntax[i].source, variables, MD_ERR_FORMAT, syntax[i].says);
}

static void faults_at_run_time_have_places(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++)
        jinja_refuse(faults[i].source, variables, MD_ERR_FORMAT, faults[i].says);
}

/* Unknown filters and tests matter only where they are reached, as in Jinja2. */
static void what_is_not_reached_does_not_matter(void **state)
{
    (void)state;
    jinja_expect("{% if false %}{{ x|nope }}{{ x is nope }}{{ y.z }}{% endif %}ok", variables, "ok");
    jinja_expect("{{ 'a' if true else x|nope }}", variables, "a");
    jinja_expect("{{ false and y.z }}{{ true or y.z }}", variables, "FalseTrue");
}

/* Lines are counted through every kind of line break, comments and raw blocks. */
static void places_are_counted(void **state)
{
    (void)state;
    jinja_refuse("a\r\nb\rc\n{{ y.z }}", variables, MD_ERR_FORMAT, "line 4, column 5: 'y' is undefined");
    jinja_refuse("{# a\nb #}\n{% raw %}\n\n{% endraw %}\n{{ y.z }}", variables, MD_ERR_FORMAT, "line 6, column 5:");
    jinja_refuse("{%- if true -%}\n\n\n{{ y.z }}{% endif %}", variables, MD_ERR_FORMAT, "line 4, column 5:");
    jinja_refuse("{{ 'a\nb' ~\n y.z }}", variables, MD_ERR_FORMAT, "line 3, column 3:");
}

/* An error is one line of text, whatever the template holds. */
static void messages_are_one_line(void **state)
{
    (void)state;
    md_rendered r;
    md_error err;
    assert_int_equal(jinja_try("{{ raise_exception('one\ntwo\x01') }}", variables, NULL, &r, &err), MD_ERR_ARGUMENT);
    assert_non_null(strstr(err.message, "one?two?"));
    assert_null(strchr(err.message, '\n'));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(faults_of_syntax_have_places),
        cmocka_unit_test(faults_at_run_time_have_places),
        cmocka_unit_test(what_is_not_reached_does_not_matter),
        cmocka_unit_test(places_are_counted),
        cmocka_unit_test(messages_are_one_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
