/* SPDX-License-Identifier: Apache-2.0
 *
 * What is wrong with a template is said with its line: when it is compiled, or when the fault is met. */
#include "jinja_case.h"

typedef struct error_case {
    const char *source, *says;
} error_case;

/* clang-format off */
static const error_case syntax[] = {
    {"a\nb {{ 1 + }}", "line 2: expected an expression, found '}}'"},
    {"{{ }}", "line 1: expected an expression, found '}}'"},
    {"{% %}", "line 1: expected the name of a tag"},
    {"\n\n{% if true %}\nx", "line 4: {% endif %} is missing for the tag on line 3"},
    {"{% for i in l %}{% if i %}{% endfor %}", "line 1: {% endfor %} ends or continues nothing that is open"},
    {"{% endif %}", "{% endif %} ends or continues nothing that is open"},
    {"{% else %}", "{% else %} ends or continues nothing that is open"},
    {"{% include 'x' %}", "the tag {% include %} is not supported"},
    {"{% extends 'x' %}", "the tag {% extends %} is not supported"},
    {"{# one\ntwo #}\n{# three", "line 3: '{#' is never closed"},
    {"a\n{{ x", "line 2: '{{' is never closed"},
    {"a\n{% if x", "line 2: '{%' is never closed"},
    {"{% raw %}\n{{ x }}", "{% raw %} has no {% endraw %}"},
    {"{{ 'abc }}", "a string has no end"},
    {"{{ \"abc\\\" }}", "a string has no end"},
    {"{{ '\\x4' }}", "hexadecimal digits"},
    {"{{ '\\ud800' }}", "a code point that does not exist"},
    {"{{ '\\U00110000' }}", "a code point that does not exist"},
    {"{{ '\\N{BULLET}' }}", "\\N escapes are not supported"},
    {"{{ 99999999999999999999 }}", "an integer does not fit 64 bits"},
    {"{{ a b }}", "expected '}}', found 'b'"},
    {"{{ a ? b }}", "unexpected '?'"},
    {"{{ \xc3\xa9 }}", "unexpected a character that has no meaning here"},
    {"{{ ( }}", "a closing bracket has no opening one of its kind"},
    {"{{ [1,2 }}", "a closing bracket has no opening one of its kind"},
    {"{{ (1, 2] }}", "a closing bracket has no opening one of its kind"},
    {"{{ {'a': 1, 'b'} }}", "expected ':', found '}'"},
    {"{{ x | }}", "expected a name"},
    {"{{ x is }}", "expected a name"},
    {"{{ x is string is true }}", "'is' cannot be chained"},
    {"{{ x. }}", "expected a name"},
    {"{{ x[1 }}", "a closing bracket"},
    {"{{ f(a=1, 2) }}", "expected arguments in the order"},
    {"{{ f(**a, 1) }}", "expected arguments in the order"},
    {"{{ f(*a, *b) }}", "expected arguments in the order"},
    {"{% set = 1 %}", "expected a name to assign to"},
    {"{% set x = %}", "expected an expression"},
    {"{% set true = 1 %}", "expected a name that can be assigned to, found 'true'"},
    {"{% set 'x' = 1 %}", "found the string 'x'"},
    {"{% set x = 1", "'{%' is never closed"},
    {"{% set x %}y", "{% endset %} is missing"},
    {"{% for %}{% endfor %}", "expected a name to assign to"},
    {"{% for x of y %}{% endfor %}", "expected 'in', found 'of'"},
    {"{% for x in y recursive %}{% endfor %}", "recursive loops are not supported"},
    {"{% for x in l %}{% endfor x %}", "expected '%}', found 'x'"},
    {"{% break %}", "break outside of a loop"},
    {"{% for x in l %}{% macro m() %}{% continue %}{% endmacro %}{% endfor %}", "continue outside of a loop"},
    {"{% macro %}{% endmacro %}", "expected the macro's name"},
    {"{% macro m(1) %}{% endmacro %}", "expected a parameter's name, found a number"},
    {"{% macro m(a=1, b) %}{% endmacro %}", "expected a default"},
    {"{% macro m() %}", "{% endmacro %} is missing"},
    {"{% call s %}{% endcall %}", "expected a call in {% call %}"},
    {"{% call f() %}", "{% endcall %} is missing"},
    {"{% filter %}{% endfilter %}", "expected a name"},
    {"{% with a %}{% endwith %}", "expected '=', found '%}'"},
    {"{% generation %}", "{% endgeneration %} is missing"},
    {"{% if %}{% endif %}", "expected an expression"},
    {"\xff", "line 1: the template is not UTF-8 text"},
    {"ok\n\xc3(", "line 2: the template is not UTF-8 text"},
};

static const error_case faults[] = {
    {"\n{{ nope.x }}", "line 2: 'nope' is undefined"},
    {"{{ d.a.b.c }}", "'b' is undefined"},
    {"{{ d['zz']['y'] }}", "'zz' is undefined"},
    {"{{ l[9].x }}", "an undefined value is used"},
    {"{{ nope() }}", "'nope' is undefined"},
    {"{{ nope + 1 }}", "'nope' is undefined"},
    {"{{ 1 - nope }}", "'nope' is undefined"},
    {"{{ -nope }}", "'nope' is undefined"},
    {"{{ nope < 1 }}", "'nope' is undefined"},
    {"{{ nope[1:] }}", "'nope' is undefined"},
    {"{{ nope|tojson }}", "'nope' is undefined"},
    {"{{ nope|int }}", "'nope' is undefined"},
    {"{{ nope|abs }}", "'nope' is undefined"},
    {"{{ 'x'.startswith(nope) }}", "'nope' is undefined"},
    {"{% macro m(a) %}\n{{ a.b }}\n{% endmacro %}\n{{ m() }}", "line 2: 'a' is undefined"},
    {"{{ 1 + 'a' }}", "'+' does not work between 'int' and 'str'"},
    {"{{ 'a' + 1 }}", "'+' does not work between 'str' and 'int'"},
    {"{{ [] + (1,) }}", "'+' does not work between 'list' and 'tuple'"},
    {"{{ {} // 2 }}", "'//' does not work between 'dict' and 'int'"},
    {"{{ -'a' }}", "a 'str' has no sign"},
    {"{{ 1 / 0 }}", "division by zero"},
    {"{{ 1 // 0 }}", "division by zero"},
    {"{{ 1.5 % 0 }}", "division by zero"},
    {"{{ 0 ** -1 }}", "division by zero"},
    {"{{ 'a' < 1 }}", "'str' and 'int' cannot be compared"},
    {"{{ none > none }}", "cannot be compared"},
    {"{{ 1 in 5 }}", "'int' cannot be searched with 'in'"},
    {"{{ 1 in 'a' }}", "'in' looks for a string in a string"},
    {"{{ 5[1:] }}", "a 'int' cannot be sliced"},
    {"{{ [1][::0] }}", "the step of a slice cannot be zero"},
    {"{{ [1]['a':] }}", "slices take integers"},
    {"{{ l() }}", "a 'list' cannot be called"},
    {"{{ {[1]: 2} }}", "a 'list' cannot be a key of a dict"},
    {"{{ x|nope }}", "there is no filter 'nope'"},
    {"{{ 1 is nope }}", "there is no test 'nope'"},
    {"{{ l|map('nope')|list }}", "there is no filter 'nope'"},
    {"{{ l|select('nope')|list }}", "there is no test 'nope'"},
    {"{{ l|map(1)|list }}", "a filter or test is named by a string"},
    {"{{ l|map }}", "the filter map needs"},
    {"{{ l|map(attribute='a', x=1) }}", "the filter map takes"},
    {"{{ l|selectattr }}", "need the name of an attribute"},
    {"{{ 'a'|upper(1) }}", "'upper' takes at most 0 arguments, not 1"},
    {"{{ 'a'|replace('b') }}", "'replace' needs 2 arguments"},
    {"{{ 'a'|trim(nope=1) }}", "'trim' has no argument 'nope'"},
    {"{{ 'a'|trim('b', chars='c') }}", "'trim' has no argument 'chars', or has it already"},
    {"{{ 'a'|indent([]) }}", "the filter indent needs an integer"},
    {"{{ 1|indent }}", "the filter indent needs a string"},
    {"{{ 'abcdefghij'|truncate(2) }}", "the filter truncate needs a length"},
    {"{{ 'a'|abs }}", "the filter abs needs a number"},
    {"{{ 1.5|round(0, 'up') }}", "common, ceil and floor"},
    {"{{ 5|length }}", "'int' has no length"},
    {"{{ 5|list }}", "'int' cannot be iterated"},
    {"{{ 5|items }}", "the filter items needs a dict"},
    {"{{ 5|dictsort }}", "the filter dictsort needs a dict"},
    {"{{ d|dictsort(by='x') }}", "sorts by 'key' or 'value'"},
    {"{{ [1, 'a']|sort }}", "'str' and 'int' cannot be compared"},
    {"{{ [1, 'a']|max }}", "cannot be compared"},
    {"{{ [[]]|unique|list }}", "cannot be a key of a dict"},
    {"{{ l|batch(0)|list }}", "need a positive number"},
    {"{{ 'a' is odd }}", "neither odd nor even"},
    {"{{ 5 is divisibleby 0 }}", "division by zero"},
    {"{{ ''.join([1]) }}", "join needs a string"},
    {"{{ 'a'.split('') }}", "a separator that is not empty"},
    {"{{ 'a'.partition('') }}", "a separator that is not empty"},
    {"{{ 'a'.index('b') }}", "the text is not in the string"},
    {"{{ 'a'.ljust(5, 'xy') }}", "one character"},
    {"{{ [1].index(2) }}", "the list has no such item"},
    {"{{ [].pop() }}", "the list has no such item"},
    {"{{ [1].remove(2) }}", "the list has no such item"},
    {"{{ {}.pop('a') }}", "the dict has no such key"},
    {"{% set t = (1,) %}{{ t.append(2) }}", "a tuple cannot be changed"},
    {"{{ {}.update([1]) }}", "'int' cannot be iterated"},
    {"{{ {}.update([[1]]) }}", "a dict is made from pairs"},
    {"{{ '%d' % 'x' }}", "a format wants a number"},
    {"{{ '%s %s' % 'x' }}", "more fields than there are values"},
    {"{{ '%s' % (1, 2) }}", "fewer fields than there are values"},
    {"{{ '%(a)s' % 1 }}", "needs a dict"},
    {"{{ '%(a)s' % {} }}", "a value that is not there"},
    {"{{ '%' % 1 }}", "a field that cannot be read"},
    {"{{ '%y' % 1 }}", "a field that cannot be read"},
    {"{{ '%c' % 1114112 }}", "a field that cannot be read"},
    {"{{ '{'.format() }}", "without its other half"},
    {"{{ '}'.format() }}", "without its other half"},
    {"{{ '{}'.format() }}", "more fields than there are values"},
    {"{{ '{a}'.format(b=1) }}", "a value that is not there"},
    {"{{ '{:z}'.format(1) }}", "a field that cannot be read"},
    {"{{ '{!x}'.format(1) }}", "a field that cannot be read"},
    {"{{ 'a'|format(1, b=2) }}", "not both"},
    {"{{ range(0, 5, 0) }}", "the step of range cannot be zero"},
    {"{{ range('a') }}", "range needs an integer"},
    {"{{ range() }}", "'range' needs 1 arguments"},
    {"{{ dict(1, 2) }}", "dict and namespace take one dict"},
    {"{{ cycler() }}", "cycler needs values"},
    {"{{ dict(**1) }}", "** needs a dict"},
    {"{{ dict(**{1: 2}) }}", "must be strings"},
    {"{{ dict(*5) }}", "'int' cannot be iterated"},
    {"{% for i in l %}{{ loop.cycle() }}{% endfor %}", "loop.cycle needs values"},
    {"{% for a, b in [(1, 2, 3)] %}{% endfor %}", "3 values for 2 names"},
    {"{% for a in none %}{% endfor %}", "'NoneType' cannot be iterated"},
    {"{% set d.y = 1 %}", "only attributes of a namespace can be set, 'd' is a 'dict'"},
    {"{% macro m() %}{% endmacro %}{{ m(1) }}", "the macro 'm' takes at most 0 arguments, not 1"},
    {"{% macro m(a) %}{% endmacro %}{{ m(b=1) }}", "the macro 'm' takes no argument 'b'"},
    {"{% call s() %}{% endcall %}", "a 'str' cannot be called"},
};
/* clang-format on */

static const char variables[] = "{\"l\": [1, 2], \"d\": {\"a\": {}}, \"s\": \"text\", \"x\": 1}";

static void faults_of_syntax_have_lines(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof syntax / sizeof *syntax; i++)
        jinja_refuse(syntax[i].source, variables, MD_ERR_FORMAT, syntax[i].says);
}

static void faults_at_run_time_have_lines(void **state)
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
static void lines_are_counted(void **state)
{
    (void)state;
    jinja_refuse("a\r\nb\rc\n{{ y.z }}", variables, MD_ERR_FORMAT, "line 4: 'y' is undefined");
    jinja_refuse("{# a\nb #}\n{% raw %}\n\n{% endraw %}\n{{ y.z }}", variables, MD_ERR_FORMAT, "line 6:");
    jinja_refuse("{%- if true -%}\n\n\n{{ y.z }}{% endif %}", variables, MD_ERR_FORMAT, "line 4:");
    jinja_refuse("{{ 'a\nb' ~\n y.z }}", variables, MD_ERR_FORMAT, "line 3:");
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
        cmocka_unit_test(faults_of_syntax_have_lines),
        cmocka_unit_test(faults_at_run_time_have_lines),
        cmocka_unit_test(what_is_not_reached_does_not_matter),
        cmocka_unit_test(lines_are_counted),
        cmocka_unit_test(messages_are_one_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
