/* SPDX-License-Identifier: Apache-2.0
 *
 * Statements of the template language: white space control, scopes, loops, macros, blocks, objects that change. */
#include "jinja_case.h"

static const char variables[] =
    "{\"messages\": [{\"role\": \"user\", \"content\": \"Hi\"}, {\"role\": \"assistant\", \"content\": \"yo\"}],"
    " \"l\": [1, 2, 3], \"d\": {\"a\": 1, \"b\": 2}, \"n\": null, \"s\": \"str\","
    " \"users\": [{\"n\": \"a\", \"k\": [1]}, {\"n\": \"b\", \"k\": []}]}";

/* clang-format off */
static const jinja_case statements[] = {
    {"a\n{% if true %}\nb\n{% endif %}\nc\n", "a\nb\nc"},
    {"a\n  {% if true %}  \n  b\n  {% endif %}\nc", "a\n  \n  b\nc"},
    {"a\n  {%+ if true %}\n  b\n  {%+ endif %}\nc", "a\n    b\n  c"},
    {"a {%- if true -%}   b   {%- endif -%}  c", "abc"},
    {"a\n\n{%- if true %}\n\nb{% endif +%}\n\nc", "a\nb\n\nc"},
    {"  {# comment #}  \n x {#- c -#}  y {# a\nb #}\nz {#+ q +#}\n!", "  \n xy z \n!"},
    {"{% raw %}{{ x }}{% if %}{% endraw %}|", "{{ x }}{% if %}|"},
    {"a  {%- raw -%}  {{ x }}  {%- endraw -%}  b", "a{{ x }}b"},
    {"x\n  {% raw %}\n  {{ y }}\n  {% endraw %}\nz", "x\n\n  {{ y }}\nz"},
    {"x\n  {%+ raw %}\n  {{ y }}\n  {%+ endraw +%}\nz", "x\n  \n  {{ y }}\n  \nz"},
    {"{{- 1 -}}  x  {{- 2 }}\n{{ 3 }}\n", "1x2\n3"},
    {"a\r\nb\rc\n\n", "a\nb\nc\n"},
    {"\n", ""},
    {"", ""},
    {"{{ 'x' }}\n\n", "x\n"},
    {"   {{ 'x' }}   \n   {% set a = 1 %}   \n{{ a }}", "   x   \n   \n1"},
    {"{% set a = 1 %}{% set b, c = 2, 3 %}{{ a }}{{ b }}{{ c }}", "123"},
    {"{% set a = 1, 2 %}{{ a }}", "(1, 2)"},
    {"{% set (a, b) = (1,2) %}{{ a ~ b }}", "12"},
    {"{% set a %}block {{ 1 + 1 }}{% endset %}[{{ a }}]", "[block 2]"},
    {"{% set a | upper %}block{% endset %}[{{ a }}]", "[BLOCK]"},
    {"{% set a | trim | replace('b','c') %}  abb {% endset %}[{{ a }}]", "[acc]"},
    {"{% set ns = namespace(x=1) %}{% for i in l %}{% set ns.x = ns.x + i %}{% endfor %}{{ ns.x }}", "7"},
    {"{% set x = 1 %}{% for i in l %}{% set x = i %}{{ x }}{% endfor %}{{ x }}", "1231"},
    {"{% set x = 1 %}{% for i in l %}{{ x }}{% set x = x + 10 %}{{ x }} {% endfor %}{{ x }}", "111 111 111 1"},
    {"{% set x = 1 %}{% if true %}{% set x = 2 %}{% endif %}{{ x }}", "2"},
    {"{% for i in l %}{{ i }}{% if not loop.last %}, {% endif %}{% endfor %}", "1, 2, 3"},
    {"{% for i in l %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first "
     "}}{{ loop.last }}{{ loop.length }}{{ loop.depth }}{{ loop.depth0 }}|{% endfor %}",
     "1032TrueFalse310|2121FalseFalse310|3210FalseTrue310|"},
    {"{% for i in l %}{{ loop.previtem }}-{{ loop.nextitem }} {{ loop.previtem is defined }}{{ loop.nextitem "
     "is undefined }}|{% endfor %}",
     "-2 FalseFalse|1-3 TrueFalse|2- TrueTrue|"},
    {"{% for i in l %}{{ loop.cycle('a','b') }}{% endfor %}", "aba"},
    {"{% for i in [1,1,2] %}{{ loop.changed(i) }}{% endfor %}", "TrueFalseTrue"},
    {"{% for i in [] %}x{% else %}empty{% endfor %}", "empty"},
    {"{% for i in l if i > 5 %}x{% else %}none{% endfor %}", "none"},
    {"{% for i in l if i != 2 %}{{ i }}:{{ loop.index }}/{{ loop.length }}{{ loop.last }} {% endfor %}",
     "1:1/2False 3:2/2True "},
    {"{% set ns = namespace(stop=false) %}{% for i in l if not ns.stop %}{{ i }}{% if i == 2 %}{% set "
     "ns.stop = true %}{% endif %}{% endfor %}",
     "12"},
    {"{% set ns = namespace(stop=false) %}{% for i in l if not ns.stop %}{{ i }}{{ loop.last }}{% if i "
     "== 1 %}{% set ns.stop = true %}{% endif %}{% endfor %}",
     "1False2True"},
    {"{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}", "a=1;b=2;"},
    {"{% for k, v in d|items %}{{ k }}={{ v }};{% endfor %}", "a=1;b=2;"},
    {"{% for k in d %}{{ k }}{% endfor %}", "ab"},
    {"{% for (a, b) in [(1,2),[3,4]] %}{{ a }}{{ b }}{% endfor %}", "1234"},
    {"{% for c in 'héy' %}{{ c }}.{% endfor %}", "h.é.y."},
    {"{% for i in l %}{% if i == 2 %}{% continue %}{% endif %}{{ i }}{% endfor %}", "13"},
    {"{% for i in l %}{% if i == 2 %}{% break %}{% endif %}{{ i }}{% else %}E{% endfor %}", "1"},
    {"{% for i in l %}{% break %}{% else %}E{% endfor %}", "E"},
    {"{% for i in l %}{% for j in l %}{% if j > i %}{% break %}{% endif %}{{ i }}{{ j }} {% endfor %}{% "
     "endfor %}",
     "11 21 22 31 32 33 "},
    {"{% for u in users %}{{ u.n }}{% for k in u.k %}{{ k }}{{ loop.index }}{% else %}-{% endfor %}{{ "
     "loop.index }}{% endfor %}",
     "a111b-2"},
    {"{% for i in undefinedx %}x{% else %}E{% endfor %}", "E"},
    {"{% for i in l[::-1] %}{{ i }}{% endfor %}", "321"},
    {"{% for i in range(3) if i is odd %}{{ i }}{% endfor %}", "1"},
    {"{% for x in l|reverse %}{{ x }}{{ loop.length }}{% endfor %}", "332313"},
    {"{% for x in l|select('odd') %}{{ x }}{{ loop.last }}{% endfor %}", "1False3True"},
    {"{% set g = l|map('string') %}{{ g|join }}-{{ g|join }}", "123-"},
    {"{% if l|select('gt',5) %}yes{% endif %}", "yes"},
    {"{% if d.items() %}y{% endif %}{% if {}.items() %}z{% endif %}", "y"},
    {"{% macro m(a, b=2, c='x') %}[{{ a }}{{ b }}{{ c }}]{% endmacro %}{{ m(1) }}{{ m(1,3) }}{{ m(1,c=5) "
     "}}{{ m(c=1,a=2,b=3) }}{{ m() }}",
     "[12x][13x][125][231][2x]"},
    {"{% macro m(a, b=a) %}{{ a }}{{ b }}{% endmacro %}{{ m(1) }}", "11"},
    {"{% macro m() %}{{ varargs }}{{ kwargs }}{% endmacro %}{{ m(1,2,x=3) }}", "(1, 2){'x': 3}"},
    {"{% macro m() %}{{ caller() }}{% endmacro %}{% call m() %}body{% endcall %}", "body"},
    {"{% macro m() %}{{ caller('u', 2) }}{% endmacro %}{% call(a, b=1) m() %}body {{ a }}{{ b }}{% endcall "
     "%}",
     "body u2"},
    {"{% macro m() %}{{ caller is defined }}{% if caller %}C{% endif %}{% endmacro %}{{ m() }}", "False"},
    {"{% macro fact(n) %}{% if n <= 1 %}1{% else %}{{ n * fact(n-1)|int }}{% endif %}{% endmacro %}{{ "
     "fact(10) }}",
     "3628800"},
    {"{% macro m() %}{{ x }}{% endmacro %}{% set x = 5 %}{{ m() }}", "5"},
    {"{% macro m() %}{% set y = 1 %}{{ y }}{% endmacro %}{{ m() }}{{ y is defined }}", "1False"},
    {"{% macro a() %}A{{ b() }}{% endmacro %}{% macro b() %}B{% endmacro %}{{ a() }}", "AB"},
    {"{% for i in l %}{% macro m() %}{{ i }}{% endmacro %}{{ m() }}{% endfor %}", "123"},
    {"{% macro m(x) %}{{ x }}{% endmacro %}{{ m.name }}{{ m is callable }}{{ [m][0](3) }}", "mTrue3"},
    {"{% macro m(x) -%}\n  {{ x }}\n{%- endmacro %}[{{ m(' a ')|trim }}]", "[a]"},
    {"{% filter upper %}abc {{ s }}{% endfilter %}", "ABC STR"},
    {"{% filter upper|replace('A','z') %}abc{% endfilter %}", "zBC"},
    {"{% filter indent(2) %}a\nb{% endfilter %}", "a\n  b"},
    {"{% with a = 1, b = 2 %}{{ a + b }}{% endwith %}{{ a is defined }}", "3False"},
    {"{% with %}{% set q = 1 %}{{ q }}{% endwith %}{{ q is defined }}", "1False"},
    {"{% set a = 1 %}{% with a = 2, b = a %}{{ a }}{{ b }}{% endwith %}{{ a }}", "211"},
    {"{% generation %}x{{ s }}{% endgeneration %}", "xstr"},
    {"{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}{{ m.content }}{% endgeneration "
     "%}{% else %}{{ m.content }}{% endif %}{% endfor %}",
     "Hiyo"},
    {"{% print 1 + 1 %}", "2"},
    {"{% if 0 %}a{% elif 1 %}b{% elif 2 %}c{% else %}d{% endif %}", "b"},
    {"{% if n %}a{% elif '' %}b{% else %}d{% endif %}", "d"},
    {"{% if (1, 2) %}t{% endif %}", "t"},
    {"{{ 1, 2 }}", "(1, 2)"},
    {"{{ (1 if true else 2) ~ 'x' }}", "1x"},
    {"{% set l2 = [] %}{% for i in l %}{% set _ = l2.append(i * 2) %}{% endfor %}{{ l2 }}", "[2, 4, 6]"},
    {"{% set l2 = [1] %}{{ l2.extend([2,3]) }}{{ l2 }}{{ l2.pop() }}{{ l2.pop(0) }}{{ l2 }}{{ l2.insert(0,"
     "'z') }}{{ l2 }}{{ l2.reverse() }}{{ l2 }}{{ l2.remove('z') }}{{ l2 }}{{ l2.clear() }}{{ l2 }}",
     "None[1, 2, 3]31[2]None['z', 2]None[2, 'z']None[2]None[]"},
    {"{% set l2 = [1,2] %}{{ l2.extend(l2) }}{{ l2 }}{{ l2.insert(-1,9) }}{{ l2.insert(-100,8) }}{{ l2.insert(100,"
     "7) }}{{ l2 }}",
     "None[1, 2, 1, 2]NoneNoneNone[8, 1, 2, 1, 9, 2, 7]"},
    {"{% set d2 = {'x':1} %}{{ d2.update({'y':2}) }}{{ d2.update(z=3) }}{{ d2 }}{{ d2.pop('x') }}{{ d2.pop('q',"
     " 5) }}{{ d2 }}{{ d2.setdefault('y',9) }}{{ d2.setdefault('w',9) }}{{ d2 }}{{ d2.clear() }}{{ d2 "
     "}}",
     "NoneNone{'x': 1, 'y': 2, 'z': 3}15{'y': 2, 'z': 3}29{'y': 2, 'z': 3, 'w': 9}None{}"},
    {"{% set d2 = {'x':1} %}{% set d3 = d2 %}{{ d3.update(a=1) }}{{ d2 }}", "None{'x': 1, 'a': 1}"},
    {"{% set d2 = dict(d, c=3) %}{{ d2 }}{{ d }}", "{'a': 1, 'b': 2, 'c': 3}{'a': 1, 'b': 2}"},
    {"{% set d2 = {} %}{{ d2.update([('a',1)]) }}{{ d2 }}", "None{'a': 1}"},
    {"{% set s2 = 'x' %}{% set s2 = s2 ~ 'y' %}{% set s2 = s2 + 'z' %}{{ s2 }}", "xyz"},
    {"{% set a = 'x' ~ 'y' %}{% set b = a ~ '1' %}{% set c = a ~ '2' %}{{ a }}{{ b }}{{ c }}", "xyxy1xy2"},
    {"{%- set ns = namespace() -%}{% set ns.a = 1 %}{{ ns.a }}{{ ns.b is defined }}{{ ns['a'] }}", "1False1"},
    {"{% set ns = namespace(l=[]) %}{% set ns.l = ns.l + [1] %}{{ ns.l }}", "[1]"},
    {"{% set ns = namespace(a=1) %}{% set ns.a, b = 5, 6 %}{{ ns.a }}{{ b }}", "56"},
    {"{% set j = joiner(', ') %}{{ '' if false }}{% for i in l %}{{ j() }}{{ i }}{% endfor %}", "1, 2, 3"},
    {"{% set c = cycler('a','b') %}{{ c.next() }}{{ c.next() }}{{ c.next() }}{{ c.current }}{{ c.reset() "
     "}}{{ c.current }}",
     "ababNonea"},
    {"{% if false %}{{ raise_exception('boom') }}{% endif %}ok", "ok"},
    {"{% if false %}{{ s|nope }}{% endif %}ok", "ok"},
    {"{% set loop = 1 %}{{ loop }}", "1"},
    {"{{ {'a': 1}.items()|list }}{{ {'a': 1}['a'] }}", "[('a', 1)]1"},
    {"{{ {'a': {'b': 1}}.a.b }}{{ {} }}{{ {'x':{}} }}", "1{}{'x': {}}"},
    {"{% set content = messages[0].content %}{{ content.split('</think>')[-1].lstrip('\\n') }}", "Hi"},
    {"{{ messages[1:] | map(attribute='content') | join(' ') }}", "yo"},
    {"{% set messages = messages[1:] %}{{ messages|length }}{{ messages[0].role }}", "1assistant"},
    {"{% for message in messages %}{% set content = message.content %}{% if loop.index0 == 0 and s is "
     "defined %}{% set content = s ~ content %}{% endif %}{{ content }}{% endfor %}",
     "strHiyo"},
    {"{% for m in messages[::-1] %}{% set index = (messages|length - 1) - loop.index0 %}{{ index }}{{ "
     "m.role }}{% endfor %}",
     "1assistant0user"},
    {"{% for m in messages -%}\n  {{ m.role }}\n{%- endfor %}", "userassistant"},
    {"{% for m in messages +%}\n  {{ m.role }}\n{% endfor %}", "\n  user\n\n  assistant\n"},
    {"\t{% if true %}\n\tx\n\t{% endif %}\n", "\tx\n"},
    {"x {% if true %} y {% endif %} z\n  {% set a = 1 %}  w", "x  y  z\n  w"},
    {"{% if true %}   \n   {% if true %}\n x{% endif %}{% endif %}", "   \n x"},
    {"\302\240{% if true %}x{% endif %}", "x"},
    {"a\n\302\240 {% if true %}x{% endif %}", "a\nx"},
    {"{{ '{{' }}{{ '%}' }}{{ \"#}\" }}", "{{%}#}"},
    {"{{ {'a':{'b':1}}}}", "{'a': {'b': 1}}"},
    {"{{ {'a':1}['a']}}", "1"},
    {"{%- if messages[0]['role'] == 'user' -%}\n    u\n{%- endif -%}\n\n{{- 'x' -}}\n\n y", "uxy"},
    {"{{ 1 }}", "1"},
    {"{{ dict(*[[('a',1)]]) }}{{ dict(**{'b':2}) }}{{ range(*[1,4])|list }}", "{'a': 1}{'b': 2}[1, 2, 3]"},
    {"{{ 'a'|replace(*['a','b']) }}", "b"},
    {"{{ s|replace(old='s', new='S') }}", "Str"},
    {"{{ 'x'|default(default_value='y') }}{{ undefinedq|default(default_value='y') }}", "xy"},
    {"{{ s.split(sep='t') }}{{ 'a b c'.split(maxsplit=1) }}", "['s', 'r']['a', 'b c']"},
    {"{{ l|join(',') if l else 'none' }}", "1,2,3"},
    {"{{ not (l and d) }}{{ not l or d }}", "False{'a': 1, 'b': 2}"},
    {"{{ loop is defined }}{% for i in l %}{{ loop is defined }}{% endfor %}", "FalseTrueTrueTrue"},
    {"{% for i in l %}{% set outer = loop %}{% for j in l %}{{ outer.index }}{{ loop.index }} {% endfor "
     "%}{% endfor %}",
     "11 12 13 21 22 23 31 32 33 "},
    {"{% for i in l %}{{ loop.index is odd }}{{ loop.index % 2 == 0 }}{% endfor %}", "TrueFalseFalseTrueTrueFalse"},
    {"{% for item in [[1,[2,3]]] %}{% for a in item[1] %}{{ a }}{% endfor %}{% endfor %}", "23"},
    {"{% for a, (b, c) in [[1,[2,3]]] %}{{ a }}{{ b }}{{ c }}{% endfor %}", "123"},
    {"{% set x = none %}{{ x }}{{ x is none }}{{ x or 'd' }}", "NoneTrued"},
    {"{%if true%}x{%endif%}{{1}}{{-1}}{{- 1}}{{+1}}", "x1111"},
    {"{% if not false and true %}1{% endif %}{% if not (false and true) %}2{% endif %}", "12"},
    {"{% set a = [1,2,3] if true else [] %}{{ a[-1] }}", "3"},
    {"{% set m = {'k': [1, {'z': 'v'}]} %}{{ m.k[1].z }}{{ m['k'][1]['z'] }}{{ m.k.1.z }}", "vvv"},
    {"{% macro outer(x) %}{% macro inner(y) %}{{ x }}{{ y }}{% endmacro %}{{ inner(2) }}{% endmacro %}"
     "{{ outer(1) }}",
     "12"},
    {"{% macro p(params) %}{% for k, v in params.items() %}{{ k }}:{% if v is mapping %}{{ '{' }}{{ p(v) "
     "}}{{ '}' }}{% else %}{{ v }}{% endif %};{% endfor %}{% endmacro %}{{ p({'a':1,'b':{'c':2,'d':{'e':3}"
     "}}) }}",
     "a:1;b:{c:2;d:{e:3;};};"},
    {"{% set a = '  x  ' %}{{ a | trim ~ '|' }}{{ (a ~ '|') | trim }}", "x|x  |"},
    {"{{ 'A' 'B' ~ 'C' }}{{ '%s' | format('x') }}{{ '-' * 10 }}", "ABCx----------"},
    {"line1\n{{ 'x' }}\n{% for i in l %}\n- {{ i }}\n{% endfor %}\nend\n", "line1\nx\n- 1\n- 2\n- 3\nend"},
    {"line1\n    {%- for i in l %}\n    - {{ i }}\n    {%- endfor %}\nend\n", "line1    - 1    - 2    - 3end"},
    {"{{ '\\n' }}|{{ \"\\n\" }}|{{ '\\\\n' }}|{{ 'a\nb' }}", "\n|\n|\\n|a\nb"},
    {"{% set x = 1 %}\n\n{% set y = 2 %}\n\nz", "\n\nz"},
    {"{% if true -%}\n\n x \n\n{%- else -%} q {%- endif %}", "x"},
    {"{%- for i in l -%}{{ i }}{%- endfor -%}", "123"},
    {"{{ bos_token }}{{ eos_token }}{{ add_generation_prompt }}{{ tools }}{{ documents is none }}",
     "<s></s>FalseNoneTrue"},
    {"{% for i in l %}{% set _ = l.append(9) if l|length < 5 %}{{ i }}{% endfor %}{{ l }}", "12399[1, 2, 3, 9, 9]"},
    {"{{ l.append(1) }}", "None"},
    {"{% set q = caller %}{{ q is defined }}", "False"},
    {"{% macro m(a) %}{{ a }}{{ caller() }}{% endmacro %}{% for i in l %}{% call m(i) %}<{{ i }}>{% endcall "
     "%}{% endfor %}",
     "1<1>2<2>3<3>"},
    {"{% for i in l %}{% filter upper %}a{{ i }}{% endfilter %}{% endfor %}", "A1A2A3"},
    {"{% set a %}{% for i in l %}{{ i }}{% endfor %}{% endset %}{{ a|length }}", "3"},
    {"{% set a %}{% set b = 1 %}{% endset %}{{ b is defined }}{{ a == '' }}", "FalseTrue"},
    {"{{ 'x' if l is iterable and l is not mapping and l is not string else 'y' }}", "x"},
};
/* clang-format on */

static void all_statements(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof statements / sizeof *statements; i++)
        jinja_expect(statements[i].source, variables, statements[i].expected);
}

static const char tree[] =
    "{\"tree\": [{\"n\": \"a\", \"c\": [{\"n\": \"b\", \"c\": []}, {\"n\": \"c\", \"c\": [{\"n\": \"d\", \"c\": []}]}]},"
    " {\"n\": \"e\", \"c\": []}], \"s\": \"<i>\"}";

/* clang-format off */
static const jinja_case recursive[] = {
    {"{% for t in tree recursive %}{{ t.n }}({{ loop(t.c) }}){% endfor %}", "a(b()c(d()))e()"},
    {"{% for t in tree recursive %}{{ loop.depth }}{{ loop.depth0 }}{{ t.n }}{{ loop.index }}/"
     "{{ loop.length }}{{ loop.last }};{{ loop(t.c) if t.c }}{% else %}none{% endfor %}",
     "10a1/2False;21b1/2False;21c2/2True;32d1/1True;10e2/2True;"},
    {"{% for t in tree recursive %}{{ t.n }}{{ loop(t.c) }}{% else %}-{% endfor %}", "ab-cd-e-"},
    {"{% for t in tree if t.n != 'b' recursive %}{{ t.n }}[{{ loop(t.c)|upper }}]{% endfor %}", "a[C[D[]]]e[]"},
    {"{% for t in tree recursive %}{% set x = loop(t.c) %}{{ x|length }}{{ t.n }}{% endfor %}", "4a0e"},
    {"{% for t in tree recursive %}{% set outer = loop %}"
     "{% for q in t.c %}{{ q.n }}{{ loop.index }}<{{ outer(q.c) }}>{% endfor %}{% endfor %}",
     "b1<>c2<>"},
    {"{% for t in tree recursive %}{% if t.n == 'c' %}{% break %}{% endif %}{{ t.n }}{{ loop(t.c) }}"
     "{% endfor %}",
     "abe"},
    {"{% set n = namespace(k=0) %}{% for t in tree recursive %}"
     "{% set n.k = n.k + 1 %}{{ n.k }}{{ loop(t.c) }}{% endfor %}{{ n.k }}",
     "123455"},
    {"{% for k, v in {'a': {'b': {'c': {}}}}.items() recursive %}{{ k }}:{{ loop(v.items()) }};"
     "{% endfor %}",
     "a:b:c:;;;"},
    {"{% for t in tree recursive %}{{ loop.changed(t.n) }}{{ loop.previtem.n if loop.previtem }}"
     "{{ loop(t.c) }}{% endfor %}",
     "TrueTrueTruebTrueTruea"},
    {"{% macro show(ts) %}{% for t in ts recursive %}{{ t.n }}{{ loop(t.c) }}{% endfor %}"
     "{% endmacro %}{{ show(tree) }}",
     "abcde"},
};

/* What `safe` and `escape` give escapes what + adds to it. */
static const jinja_case escaped[] = {
    {"{{ '<b>'|safe + s }}", "<b>&lt;i&gt;"},
    {"{{ s + '<b>'|safe }}", "&lt;i&gt;<b>"},
    {"{{ ('<b>'|safe ~ s) + s }}", "<b><i><i>"},
    {"{{ s|e + '<b>' }}", "&lt;i&gt;&lt;b&gt;"},
    {"{{ s|e|e }}", "&lt;i&gt;"},
    {"{{ s|e|forceescape }}", "&amp;lt;i&amp;gt;"},
    {"{{ s|escape is escaped }}{{ s|safe is escaped }}{{ s is escaped }}", "TrueTrueFalse"},
    {"{{ ('<b>'|safe)[1:] + '<' }}", "b>&lt;"},
    {"{{ ('<b>'|safe)|trim + '<' }}", "<b>&lt;"},
    {"{{ ('<b>'|safe) + 'x' + '\"' }}", "<b>x&#34;"},
    {"{{ ['<'|safe, '>']|join + '&' }}", "<>&"},
    {"{{ ('' ~ '<'|safe) + '<' }}", "<<"},
    {"{{ 'a'|safe == 'a' }}{{ ('<'|safe + '>')|tojson }}", "True\"<&gt;\""},
    {"{% set x %}<{{ s|safe }}>{% endset %}{{ x + '&' }}", "<<i>>&"},
    {"{% macro m() %}<{% endmacro %}{{ m()|safe + m() }}", "<&lt;"},
    {"{{ ('<b>'|safe)|string + '<' }}", "<b>&lt;"},
    {"{{ ('<x>'|safe).strip('<') + '<' }}", "x>&lt;"},
    {"{{ ('<,>'|safe).split(',')[0] + '<' }}", "<&lt;"},
    {"{{ ('<'|safe)|replace('<','>') + '<' }}", "><"},
    {"{{ ('<'|safe)|default('x') + '<' }}", "<&lt;"},
    {"{{ 5|safe + '<' }}", "5&lt;"},
    {"{{ 5|e + '<' }}", "5&lt;"},
};
/* clang-format on */

static void loops_call_themselves(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof recursive / sizeof *recursive; i++)
        jinja_expect(recursive[i].source, tree, recursive[i].expected);
}

static void escaped_text_escapes_what_is_added(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof escaped / sizeof *escaped; i++)
        jinja_expect(escaped[i].source, tree, escaped[i].expected);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_statements),
        cmocka_unit_test(loops_call_themselves),
        cmocka_unit_test(escaped_text_escapes_what_is_added),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
