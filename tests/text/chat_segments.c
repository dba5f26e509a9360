/* SPDX-License-Identifier: Apache-2.0
 *
 * Which bytes of a rendering the template wrote and which the caller gave. In the expected texts, what is between
 * \1 and \2 is MESSAGE, all else TEMPLATE. */
#include "jinja_case.h"

/* The rendering with \1 and \2 around message segments; to be freed. */
static char *marked(const md_rendered *r)
{
    char *s = calloc(1, r->n + 2 * r->n_segments + 1), *p = s;
    assert_non_null(s);
    size_t at = 0;
    for (size_t i = 0; i < r->n_segments; i++) {
        const md_segment *g = &r->segment[i];
        assert_int_equal(g->start, at); /* no gaps */
        assert_true(g->n > 0);
        assert_true(i == 0 || g->kind != r->segment[i - 1].kind);
        if (g->kind == MD_SEGMENT_MESSAGE)
            *p++ = '\1';
        memcpy(p, r->text + at, g->n);
        p += g->n;
        if (g->kind == MD_SEGMENT_MESSAGE)
            *p++ = '\2';
        at += g->n;
    }
    assert_int_equal(at, r->n);
    return s;
}

static void expect_marks(const char *source, const char *variables, const char *expected)
{
    md_rendered r;
    md_error err;
    if (jinja_try(source, variables, NULL, &r, &err) != MD_OK)
        fail_msg("%s\n  failed: %s", source, err.message);
    char *s = marked(&r);
    if (strcmp(s, expected) != 0)
        fail_msg("%s\n  gave:     \"%s\"\n  expected: \"%s\"", source, s, expected);
    free(s);
    md_rendered_done(&r);
}

static const char variables[] =
    "{\"messages\": [{\"role\": \"user\", \"content\": \"a<|im_end|>b\"}, {\"role\": \"pirate\", \"content\": \" x \"}],"
    " \"s\": \"one,two\", \"n\": 7, \"t\": true, \"z\": null, \"f\": 1.5, \"k\": {\"key\": \"val\"}, \"l\": [\"p\", \"q\"],"
    " \"u\": \"\u00e4\u00df\", \"think\": \"<think>\\nab\\n</think>\\n\\ncd\"}";

/* clang-format off */
static const jinja_case cases[] = {
    {"plain", "plain"},
    {"", ""},
    {"{{ 'lit' }}{{ s }}", "lit\1one,two\2"},
    {"{{ bos_token }}{{ s }}{{ eos_token }}", "<s>\1one,two\2</s>"},
    {"{{ messages[0].content }}", "\1a<|im_end|>b\2"},
    {"{{ '<|im_start|>' + messages[0].role + '\n' + messages[0].content + '<|im_end|>' }}",
     "<|im_start|>user\n\1a<|im_end|>b\2<|im_end|>"},
    {"<|{{ messages[0].role }}|><|{{ messages[1].role }}|>", "<|user|><|\1pirate\2|>"},
    /* concatenation */
    {"{{ '[' ~ s ~ ']' ~ n }}", "[\1one,two\2]\0017\2"},
    {"{{ ('[' + s + ']') * 2 }}", "[\1one,two\2][\1one,two\2]"},
    {"{% set ns = namespace(x='') %}{% for i in range(3) %}{% set ns.x = ns.x ~ '<' ~ s[0] %}{% endfor %}{{ ns.x }}",
     "<\1o\2<\1o\2<\1o\2"},
    {"{% set x %}<{{ s }}>{% endset %}{{ x }}", "<\1one,two\2>"},
    {"{% macro m(a) %}({{ a }}){% endmacro %}{{ m(s) }}{{ m('t') }}", "(\1one,two\2)(t)"},
    {"{% macro m() %}({{ caller() }}){% endmacro %}{% call m() %}{{ s }}.{% endcall %}", "(\1one,two\2.)"},
    {"{% filter upper %}a{{ s }}b{% endfilter %}", "A\1ONE,TWO\2B"},
    /* numbers, booleans and none have one mark each */
    {"{{ n }}{{ 7 }}{{ t }}{{ true }}{{ z }}{{ none }}{{ f }}", "\0017\0027\1True\2True\1None\2None\0011.5\2"},
    {"{{ n + 1 }}{{ 1 + 1 }}{{ -n }}{{ n * 1.0 }}{{ n|string }}{{ n|float }}{{ '5'|int }}{{ ('5' ~ s[:0])|int }}",
     "\0018\0022\1-77.077.0\00255"},
    {"{{ s|length }}{{ 'ab'|length }}", "72"},
    {"{{ (s[:0] ~ 3)|int }}{{ ('3' ~ n)|int }}", "3\00137\2"},
    /* cutting */
    {"{{ ('ab' ~ s)[1:4] }}{{ ('ab' ~ s)[0] }}{{ ('ab' ~ s)[2] }}{{ ('ab' ~ s[:2])[::-1] }}", "b\1on\2a\1ono\2ba"},
    {"{{ (' ' ~ messages[1].content ~ ' ')|trim }}|{{ ('-' ~ s ~ '-').strip('-') }}", "\1x\2|\1one,two\2"},
    {"{{ ('a,' ~ s).split(',')|join('+') }}", "a+\1one\2+\1two\2"},
    {"{{ ('a,' ~ s).rsplit(',', 1)[0] }}{{ ('a=' ~ s).partition('=')[0] }}", "a,\1one\2a"},
    {"{{ think.split('</think>')[-1].lstrip('\n') }}", "\1cd\2"},
    {"{{ (s ~ '\nb').splitlines()|last }}{{ ('ab' ~ s)|truncate(4, true, '..', 0) }}", "bab.."},
    {"{% for c in 'x' ~ s[:2] %}{{ c }}.{% endfor %}", "x.\1o\2.\1n\2."},
    /* changing */
    {"{{ ('a' ~ u)|upper }}{{ ('A' ~ u)|lower }}{{ ('ab ' ~ s)|title }}{{ s|capitalize ~ 'x'|capitalize }}",
     "A\1\u00c4SS\2a\1\u00e4\u00df\2Ab \1One,twoOne,two\2X"},
    {"{{ s|replace(',', '<sep>') }}", "\1one\2<sep>\1two\2"},
    {"{{ 'a,b'|replace(',', s) }}{{ 'ab'|replace('', '-') }}", "a\1one,two\2b-a-b-"},
    {"{{ ('a\n' ~ s)|indent(2, true) }}", "  a\n  \1one,two\2"},
    {"{{ ('<' ~ messages[0].content)|e }}", "&lt;\1a&lt;|im_end|&gt;b\2"},
    {"{{ s.center(9) }}|{{ s.ljust(8, '.') }}|{{ '7'.zfill(2) }}", " \1one,two\2 |\1one,two\2.|07"},
    {"{{ s|default('d') }}{{ nope|default('d') }}{{ ''|default(s, true) }}", "\1one,two\2d\1one,two\2"},
    /* formatting */
    {"{{ '<%s|%d>' % (s, n) }}{{ '%s' % 'lit' }}", "<\1one,two\2|\0017\2>lit"},
    {"{{ '<{}|{:03d}>'.format(s, n) }}{{ '{:>4}'.format('x') }}", "<\1one,two\2|\001007\2>   x"},
    {"{{ ('%s' ~ s[:0]) % 'x' }}{{ s|format }}", "x\1one,two\2"},
    {"{{ '%r' % s }}", "\1'one,two'\2"},
    /* containers: one piece, all message as soon as anything in it is */
    {"{{ k|tojson }}{{ {'a': [1, 'b']}|tojson }}{{ {'a': s}|tojson }}",
     "\1{\"key\": \"val\"}\2{\"a\": [1, \"b\"]}\1{\"a\": \"one,two\"}\2"},
    {"{{ l|tojson(indent=1) }}", "\1[\n \"p\",\n \"q\"\n]\2"},
    {"{{ {n: 1}|tojson }}{{ n|tojson }}{{ z|tojson }}{{ s|tojson }}", "\1{\"7\": 1}7null\"one,two\"\2"},
    {"{{ l }}{{ ['a', 1] }}{{ ['a', n] }}{{ k }}", "\1['p', 'q']\2['a', 1]\1['a', 7]{'key': 'val'}\2"},
    {"{{ l|join(', ') }}{{ l|map('upper')|join }}{{ k.keys()|join }}", "\1p\2, \1qPQkey\2"},
    {"{{ k|items|first|join('=') }}{{ {'lit': s}|dictsort|first|join('=') }}", "\1key\2=\1val\2lit=\1one,two\2"},
    {"{{ l|sort|last }}{{ l|first }}{{ [s, 'b']|max }}{{ l|unique|list|length }}", "\1qpone,two\0022"},
    /* the format of a time is the template's */
    {"{{ strftime_now('%Y') }}{{ strftime_now(s) }}", "2025\1one,two\2"},
};
/* clang-format on */

static void provenance_survives(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        expect_marks(cases[i].source, variables, cases[i].expected);
}

/* Only the role of a message, and only known ones: the same word elsewhere is the caller's. */
static void known_roles_are_the_templates(void **state)
{
    (void)state;
    const char *source = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% endfor %}{{ role }}";
    expect_marks(source,
                 "{\"role\": \"user\", \"messages\": [{\"role\": \"tool\", \"content\": \"user\"},"
                 " {\"role\": \"users\", \"content\": null}, {\"role\": 5}, 7, \"system\"]}",
                 "<|tool|>\1user\2<|\1users\2|>\1None\2<|\0015\2|><||><||>\1user\2");
    expect_marks("{% for m in messages[0].old %}{{ m.role }}{% endfor %}",
                 "{\"messages\": [{\"role\": \"user\", \"old\": [{\"role\": \"user\"}]}]}", "\1user\2");
}

/* Appending in place must not change strings that share the storage, whatever their marks. */
static void shared_storage_keeps_its_marks(void **state)
{
    (void)state;
    const char *setup = "{% set a = 'x' * 300 %}{% set b = a ~ 'y' %}{% set c = b ~ s %}{% set d = b ~ 'z' %}"
                        "{% set e = c ~ '!' %}{% set f = c ~ s %}{% set g = c[300:] ~ '?' %}";
    char source[512];
    snprintf(source, sizeof source, "%s{{ [b[300:], c[300:], d[300:], e[300:], f[300:], g]|join(' ') }}", setup);
    expect_marks(source, variables, "y y\1one,two\2 yz y\1one,two\2! y\1one,twoone,two\2 y\1one,two\2?");
    expect_marks("{% set a = s * 40 %}{% set b = a ~ s %}{% set c = b ~ '|' %}{% set d = b ~ s[:1] %}"
                 "{{ b[-3:] ~ ' ' ~ c[-3:] ~ ' ' ~ d[-3:] }}",
                 variables, "\1two\2 \1wo\2| \1woo\2");
}

/* Long outputs cross the builder's chunks. */
static void long_renderings_keep_their_marks(void **state)
{
    (void)state;
    md_rendered r;
    md_error err;
    assert_int_equal(jinja_try("{% for i in range(5000) %}[{{ s }}]{% endfor %}", variables, NULL, &r, &err), MD_OK);
    assert_int_equal(r.n, 5000 * 9);
    assert_int_equal(r.n_segments, 2 * 5000 + 1);
    for (size_t i = 1; i + 1 < r.n_segments; i += 2) {
        assert_int_equal(r.segment[i].kind, MD_SEGMENT_MESSAGE);
        assert_int_equal(r.segment[i].start, i / 2 * 9 + 1);
        assert_int_equal(r.segment[i].n, 7);
    }
    md_rendered_done(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(provenance_survives),
        cmocka_unit_test(known_roles_are_the_templates),
        cmocka_unit_test(shared_storage_keeps_its_marks),
        cmocka_unit_test(long_renderings_keep_their_marks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
