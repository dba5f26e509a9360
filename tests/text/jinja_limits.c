/* SPDX-License-Identifier: Apache-2.0
 *
 * Templates that mean harm: each must end with MD_ERR_LIMIT, soon, without using up the stack. And the reverse: work
 * that is merely large gets done. */
#include "jinja_case.h"

#include <pthread.h>

/* One text `count` times between two others; to be freed. */
static char *repeated(const char *before, const char *text, size_t count, const char *after)
{
    const size_t n = strlen(text);
    char *s = malloc(strlen(before) + n * count + strlen(after) + 1);
    assert_non_null(s);
    char *p = stpcpy(s, before);
    for (size_t i = 0; i < count; i++)
        p = stpcpy(p, text);
    strcpy(p, after);
    return s;
}

static void refuse_repeated(const char *before, const char *text, size_t count, const char *after, const char *says)
{
    char *s = repeated(before, text, count, after);
    jinja_refuse(s, "{}", MD_ERR_LIMIT, says);
    free(s);
}

static void refuse_nested(const char *before, const char *open, size_t count, const char *close, const char *after)
{
    char *opened = repeated(before, open, count, "1"), *s = repeated(opened, close, count, after);
    jinja_refuse(s, "{}", MD_ERR_LIMIT, "nested too deep");
    free(opened);
    free(s);
}

static void source_that_nests_or_grows(void **state)
{
    (void)state;
    refuse_repeated("{{ ", "(", 5000, "", "nested too deep");
    refuse_repeated("{{ ", "not ", 5000, "1 }}", "nested too deep");
    refuse_repeated("{{ ", "- ", 5000, "1 }}", "nested too deep");
    refuse_repeated("{{ 1", " if 0 else 1", 5000, " }}", "nested too deep");
    refuse_repeated("", "{% if 1 %}", 5000, "", "nested too deep");
    refuse_nested("{{ ", "[", 200, "]", " }}");
    refuse_nested("{{ ", "{1:", 200, "}", " }}");
    refuse_nested("{{ x", "[1", 200, "]", " }}");
    refuse_nested("{{ f", "(f", 200, ")", " }}");
    refuse_nested("{% set ", "(", 200, ")", " = 1 %}");
    refuse_repeated("{{ 1", "+1", 5000, " }}", "too many parts");
    refuse_repeated("{{ 1", "|int", 5000, " }}", "too many parts");
    refuse_repeated("{{ a", ".b", 5000, " }}", "too many parts");
    refuse_repeated("{{ 1", " and 1", 5000, " }}", "too many parts");
    refuse_repeated("", "x", (1 << 20) + 1, "", "at most 1048576 are allowed");
}

static void source_that_is_merely_long(void **state)
{
    (void)state;
    char *s = repeated("{{ 1", "+1", 389, " }}");
    jinja_expect(s, "{}", "390");
    free(s);
    s = repeated("{{ ('x'", " ~ 'x'", 20000, ")|length }}");
    jinja_expect(s, "{}", "20001");
    free(s);
    s = repeated("{% if 0 %}", "{% elif 0 %}", 20000, "{% else %}last{% endif %}");
    jinja_expect(s, "{}", "last");
    free(s);
    s = repeated("{{ ", "(", 40, "1");
    char *t = repeated(s, ")", 40, " }}");
    jinja_expect(t, "{}", "1");
    free(t);
    free(s);
}

/* clang-format off */
static const jinja_case hostile[] = {
    {"{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}", "steps"},
    {"{% for a in range(100000) %}{% for b in range(100000) %}0123456789abcdef0123456789abcdef{% endfor %}{% endfor %}",
     "output"},
    {"{{ range(100001) }}", "at most 100000"},
    {"{{ range(-9223372036854775807, 9223372036854775807) }}", "at most 100000"},
    {"{% set ns = namespace(s='x') %}{% for a in range(99) %}{% set ns.s = ns.s + ns.s %}{% endfor %}", "string grew"},
    {"{% set ns = namespace(s='x') %}{% for a in range(99) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}", "string grew"},
    {"{% set ns = namespace(l=[1]) %}{% for a in range(99) %}{% set ns.l = ns.l + ns.l %}{% endfor %}", "memory"},
    {"{% set ns = namespace(s='x') %}{% for a in range(99) %}{% set ns.s = ns.s|replace('x', 'xx') %}{% endfor %}", ""},
    {"{{ 'x' * 1000000000000 }}", ""},
    {"{{ [1] * 1000000000000 }}", ""},
    {"{{ 'x'|center(1000000000000) }}", ""},
    {"{{ 'x'.ljust(1000000000000) }}", ""},
    {"{{ '1'.zfill(1000000000000) }}", ""},
    {"{{ 'x'|indent(1000000000000, true) }}", ""},
    {"{{ [1]|tojson(indent=1000000000000) }}", ""},
    {"{{ [1]|batch(1000000000000, 0)|list }}", ""},
    {"{{ [1]|slice(1000000000000)|list }}", ""},
    {"{{ '%1000000000000d' % 1 }}", "width or precision"},
    {"{{ '{:1000000000000}'.format(1) }}", "width or precision"},
    {"{{ 2 ** 64 }}", "64 bits"},
    {"{{ 9999999999 ** 9999999999 }}", "64 bits"},
    {"{{ 9223372036854775807 + 1 }}", "64 bits"},
    {"{{ -9223372036854775807 - 2 }}", "64 bits"},
    {"{{ 9223372036854775807 * 2 }}", "64 bits"},
    {"{{ (-9223372036854775807 - 1) // -1 }}", "64 bits"},
    {"{{ -(-9223372036854775807 - 1) }}", "64 bits"},
    {"{{ (-9223372036854775807 - 1)|abs }}", "64 bits"},
    {"{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "calls itself"},
    {"{% macro a() %}{{ b() }}{% endmacro %}{% macro b() %}{{ a() }}{% endmacro %}{{ b() }}", "calls itself"},
    {"{% macro m(x) %}{% for i in [1] %}{% set q %}{{ m(x + 1) }}{% endset %}{% endfor %}{% endmacro %}{{ m(1) }}",
     "calls itself"},
    {"{% macro m() %}{% call m() %}{{ m() }}{% endcall %}{{ caller() if caller }}{% endmacro %}{{ m() }}", "calls itself"},
    {"{% macro m(x) %}{{ (((m(x)|upper)|trim)[0:])|e }}{% endmacro %}{{ m(1) }}", "calls itself"},
    {"{% for x in [1] recursive %}{{ loop([x]) }}{% endfor %}", "calls itself"},
    {"{% for x in [1] recursive %}{% for y in [1] %}{% endfor %}{% set q %}{{ loop([x])|upper }}{% endset %}{% endfor %}",
     "calls itself"},
    {"{% for x in [1, 2] recursive %}{{ loop([x] * (30 - loop.depth)) if loop.depth < 30 }}{% endfor %}", ""},
    {"{% set s = '<' * 1000000 %}{% for i in range(9999) %}{{ (s|e)|length }}{% endfor %}", ""},
    {"{% set ns = namespace(s='<') %}{% for i in range(99) %}{% set ns.s = ns.s|safe + ns.s ~ '' %}{% endfor %}", ""},
    {"{% macro m(n) %}{% if n %}{{ m(n - 1) }}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(60) }}", ""},
    {"{% set l = [] %}{{ l.append(l) }}{{ l }}", "contains itself"},
    {"{% set l = [] %}{% for i in range(9) %}{{ l.append(l) }}{% endfor %}{{ l }}", "contains itself"},
    {"{% set a = [] %}{% set b = [] %}{{ a.append(b) }}{{ b.append(a) }}{{ a == b }}", "contains itself"},
    {"{% set a = [] %}{% set b = [] %}{{ a.append(b) }}{{ b.append(a) }}{{ a < b }}", "contains itself"},
    {"{% set d = {} %}{{ d.update(a=d) }}{{ d }}", "contains itself"},
    {"{% set l = [1] %}{% for i in l %}{{ l.append(i) }}{% endfor %}", ""},
    {"{% set s = 'a' * 1000000 %}{% set n = 'b' ~ 'a' * 500000 %}{% for i in range(9999) %}{{ s.rfind(n) }}{% endfor %}",
     "steps"},
    {"{% set s = 'a' * 1000000 %}{% set n = 'a' * 500000 ~ 'b' %}{% for i in range(9999) %}{{ n in s }}{% endfor %}",
     "steps"},
    {"{{ ('a' * 1000000).strip('b' * 1000000 ~ 'a') }}", "steps"},
};
/* clang-format on */

static void running_templates_that_mean_harm(void **state)
{
    (void)state;
    md_jinja_limits limits = jinja_limits;
    limits.steps /= 8; /* for the sake of the clock */
    limits.output /= 16;
    limits.memory /= 8;
    for (size_t i = 0; i < sizeof hostile / sizeof *hostile; i++)
        jinja_refuse_within(&limits, hostile[i].source, "{}", MD_ERR_LIMIT, hostile[i].expected);
    jinja_refuse(hostile[0].source, "{}", MD_ERR_LIMIT, "16000000 steps");
    refuse_repeated("{{ 'a'|map(", "'map', ", 3000, "'upper')|list }}", "levels deep");
}

/* clang-format off */
static const jinja_case large[] = {
    {"{% set ns = namespace(s='') %}{% for a in range(100000) %}{% set ns.s = ns.s ~ '0123456789' %}{% endfor %}{{ ns.s|length }}",
     "1000000"},
    {"{% set ns = namespace(s='') %}{% for a in range(50000) %}{% set ns.s = ns.s + text + '0123456789' %}{% endfor %}{{ ns.s|length }}",
     "750000"},
    {"{% set d = {} %}{% for i in range(100000) %}{% set _ = d.update({i: i}) %}{% endfor %}{{ d|length }} {{ d[77777] }}",
     "100000 77777"},
    {"{{ (range(100000)|list|sort(reverse=true))[0] }}", "99999"},
    {"{{ ('a,' * 500000).split(',')|length }} {{ ('a,' * 500000).rsplit(',')|length }}", "500001 500001"},
    {"{{ ('a ' * 100000).rsplit(none, 100000)|length }} {{ ('a' * 1000000)|list|length }}", "100000 1000000"},
    {"{{ range(100000)|list|tojson|length }}", "688890"},
    {"{% set l = [] %}{% for i in range(100000) %}{% set _ = l.append(i % 7) %}{% endfor %}{{ l|unique|list }}",
     "[0, 1, 2, 3, 4, 5, 6]"},
};
/* clang-format on */

static void running_templates_that_are_merely_large(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof large / sizeof *large; i++)
        jinja_expect(large[i].source, "{\"text\": \"hello\"}", large[i].expected);
}

static const char busy[] =
    "{% macro m(x) %}<{{ x|upper }}>{% endmacro %}{% set ns = namespace(s='') %}"
    "{% for k, v in d.items() %}{% set ns.s = ns.s ~ m(k) ~ (v|tojson(indent=2)) %}{% endfor %}"
    "{{ ns.s|replace('<', '(')|trim }}{{ [3, 1, 2]|sort|join(',') }}{{ '%s %d'|format('a', 3) }}"
    "{{ 'a b c'.split()|map('upper')|list }}{{ '{:>5}'.format('x') }}{{ messages[0].content[::-1] }}";
static const char busy_variables[] =
    "{\"d\": {\"a\": [1, {\"b\": null}], \"c\": \"text\"}, \"messages\": [{\"role\": \"user\", \"content\": \"abc\"}]}";

/* However little there is, the end is either the whole result or MD_ERR_LIMIT. */
static void every_smaller_limit_is_clean(void **state)
{
    (void)state;
    md_rendered r;
    md_error err;
    size_t done = 0;
    for (int which = 0; which < 3; which++)
        for (size_t limit = 0; limit < 400000; limit += 1 + limit / 64) {
            md_jinja_limits limits = jinja_limits;
            if (which == 0)
                limits.steps = limit;
            else if (which == 1)
                limits.memory = limit;
            else
                limits.output = limit;
            const md_status status = jinja_try(busy, busy_variables, &limits, &r, &err);
            assert_true(status == MD_OK || status == MD_ERR_LIMIT);
            md_rendered_done(&r);
            if (status == MD_OK) {
                assert_true(limit > 50);
                done++;
                break;
            }
        }
    assert_int_equal(done, 3);
}

static void *run_deep(void *source)
{
    md_rendered r;
    md_error err;
    return (void *)(uintptr_t)jinja_try(source, "{}", NULL, &r, &err);
}

/* A thread with the 2 MiB of stack that some servers give out is enough for the deepest template. */
static void the_deepest_template_fits_a_small_stack(void **state)
{
    (void)state;
    static char deep[] = "{% macro m(x) %}{% if x %}{% for i in [1] %}{% set q %}"
                         "{{ [[m(x + 1)|upper]|join|trim, {'a': m(x)}]|tojson }}{% endset %}{{ q }}{% endfor %}"
                         "{% endif %}{% endmacro %}{{ m(1) }}";
    pthread_attr_t attr;
    pthread_t thread;
    void *status = NULL;
    assert_int_equal(pthread_attr_init(&attr), 0);
    assert_int_equal(pthread_attr_setstacksize(&attr, (size_t)2 << 20), 0);
    assert_int_equal(pthread_create(&thread, &attr, run_deep, deep), 0);
    assert_int_equal(pthread_join(thread, &status), 0);
    pthread_attr_destroy(&attr);
    assert_int_equal((uintptr_t)status, MD_ERR_LIMIT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(source_that_nests_or_grows),       cmocka_unit_test(source_that_is_merely_long),
        cmocka_unit_test(running_templates_that_mean_harm), cmocka_unit_test(running_templates_that_are_merely_large),
        cmocka_unit_test(every_smaller_limit_is_clean),     cmocka_unit_test(the_deepest_template_fits_a_small_stack),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
