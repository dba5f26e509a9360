/* SPDX-License-Identifier: Apache-2.0
 *
 * The options table: every bound of every option from both sides, every default, no name or letter that means two things
 * to one command, and the forms in which options may be written. */
#include "support/fixtures.h"

#include "base/options.h"

#include <math.h>
#include <string.h>

#define COUNT(a) (sizeof(a) / sizeof(a)[0])

static void each_numeric(void (*check)(const md_option_spec *spec))
{
    int n = 0;
    for (int i = 0; i < MD_N_OPTIONS; i++) {
        const md_option_spec *spec = md_option_get_spec((md_option)i);
        if (spec->type == MD_OPTION_INT || spec->type == MD_OPTION_FLOAT) {
            check(spec);
            n++;
        }
    }
    assert_true(n > 20);
}

static void accepts(const md_option_spec *spec, double x)
{
    char text[64];
    md_error err = {0};
    md_option_value v = {0};
    snprintf(text, sizeof text, "%.17g", x);
    if (md_option_read(spec, text, &v, &err) != MD_OK)
        fail_msg("--%s %s: %s", spec->name, text, err.message);
    assert_true(v.number == x);
    if (spec->type == MD_OPTION_INT)
        assert_true((double)v.integer == x);
}

static void refuses(const md_option_spec *spec, double x)
{
    char text[64], range[96];
    md_error err = {0};
    md_option_value v = {0};
    /* 2^53 + 1 is no double: the text of a bound of 2^53 is changed by hand. */
    snprintf(text, sizeof text, "%.17g", x);
    if (x == 9007199254740992.0)
        snprintf(text, sizeof text, "9007199254740993");
    if (md_option_read(spec, text, &v, &err) == MD_OK)
        fail_msg("--%s %s was accepted", spec->name, text);
    assert_int_equal(err.code, MD_ERR_ARGUMENT);
    assert_non_null(strstr(err.message, spec->name));
    assert_non_null(strstr(err.message, text));
    assert_non_null(strstr(err.message, md_option_range(spec, range, sizeof range)));
}

static void check_bounds(const md_option_spec *spec)
{
    assert_true(spec->min < spec->max);
    const bool integer = spec->type == MD_OPTION_INT;
    const double below = integer ? spec->min - 1 : nextafter(spec->min, -INFINITY);
    const double above = integer ? spec->max + 1 : nextafter(spec->max, INFINITY);
    refuses(spec, above);
    refuses(spec, below);
    if (spec->open & MD_OPTION_OPEN_MIN)
        refuses(spec, spec->min);
    else
        accepts(spec, spec->min);
    if (spec->open & MD_OPTION_OPEN_MAX)
        refuses(spec, spec->max);
    else
        accepts(spec, spec->max);
    accepts(spec, integer ? spec->min + 1 : (spec->min + spec->max) / 2);
}

static void every_bound(void **state)
{
    (void)state;
    each_numeric(check_bounds);
}

static void check_nonsense(const md_option_spec *spec)
{
    static const char *const nonsense[] = {"",
                                           " ",
                                           "x",
                                           "1x",
                                           "nan",
                                           "inf",
                                           "-inf",
                                           "0x10",
                                           "1 2",
                                           "--1",
                                           "1e400",
                                           "-1e400",
                                           "99999999999999999999999",
                                           "-99999999999999999999999",
                                           " 1",
                                           "1 "};
    for (size_t i = 0; i < COUNT(nonsense); i++) {
        md_option_value v = {0};
        md_error err = {0};
        if (md_option_read(spec, nonsense[i], &v, &err) == MD_OK)
            fail_msg("--%s '%s' was accepted", spec->name, nonsense[i]);
        assert_non_null(strstr(err.message, spec->name));
    }
}

static void nonsense_is_refused(void **state)
{
    (void)state;
    each_numeric(check_nonsense);
}

static void defaults_are_allowed(void **state)
{
    (void)state;
    for (int i = 0; i < MD_N_OPTIONS; i++) {
        const md_option_spec *spec = md_option_get_spec((md_option)i);
        md_option_value v = {0};
        md_error err = {0};
        if (spec->type == MD_OPTION_FLAG)
            assert_true(strcmp(spec->preset, "on") == 0 || strcmp(spec->preset, "off") == 0);
        if (spec->preset[0] && spec->preset[0] != '(' && md_option_read(spec, spec->preset, &v, &err) != MD_OK)
            fail_msg("--%s: default: %s", spec->name, err.message);
        if (spec->preset[0] == '(')
            assert_int_equal(spec->preset[strlen(spec->preset) - 1], ')');
    }
}

static void every_word_of_a_choice(void **state)
{
    (void)state;
    for (int i = 0; i < MD_N_OPTIONS; i++) {
        const md_option_spec *spec = md_option_get_spec((md_option)i);
        if (spec->type != MD_OPTION_CHOICE)
            continue;
        char words[128], *rest = words, *word;
        snprintf(words, sizeof words, "%s", spec->metavar);
        for (int64_t index = 0; (word = strsep(&rest, "|")) != NULL; index++) {
            md_option_value v = {0};
            assert_int_equal(md_option_read(spec, word, &v, NULL), MD_OK);
            assert_int_equal(v.integer, index);
            char longer[130];
            snprintf(longer, sizeof longer, "%sx", word);
            assert_int_equal(md_option_read(spec, longer, &v, NULL), MD_ERR_ARGUMENT);
        }
        md_option_value v = {0};
        assert_int_equal(md_option_read(spec, "", &v, NULL), MD_ERR_ARGUMENT);
    }
}

static void names_mean_one_thing(void **state)
{
    (void)state;
    for (int i = 0; i < MD_N_OPTIONS; i++) {
        const md_option_spec *a = md_option_get_spec((md_option)i);
        assert_true(a->name[0] && a->doc[0] && a->commands);
        assert_int_equal(a->type == MD_OPTION_FLAG, a->metavar[0] == '\0');
        for (int j = 0; j < i; j++) {
            const md_option_spec *b = md_option_get_spec((md_option)j);
            if (!(a->commands & b->commands))
                continue;
            assert_string_not_equal(a->name, b->name);
            if (a->letter)
                assert_int_not_equal(a->letter, b->letter);
        }
    }
}

/* ---- the forms ---- */

static md_status parse(md_command command, md_options *o, md_error *err, const char *const *arg)
{
    int n = 0;
    while (arg[n])
        n++;
    return md_options_parse(command, n, arg, o, err);
}
#define PARSE(command, o, err, ...) parse(command, o, err, (const char *[]){__VA_ARGS__, NULL})

static void forms(void **state)
{
    (void)state;
    md_options o;
    md_error err = {0};
    assert_int_equal(PARSE(MD_COMMAND_RUN, &o, &err, "--temp=0.5", "m", "--top-k", "7", "-n5", "-c", "64", "--stop=a",
                           "--stop", "b", "--json", "--presence-penalty", "-1.5"),
                     MD_OK);
    assert_true(md_opt_number(&o, MD_OPT_TEMP) == 0.5);
    assert_int_equal(md_opt_int(&o, MD_OPT_RUN_TOP_K), 7);
    assert_int_equal(md_opt_int(&o, MD_OPT_RUN_MAX_TOKENS), 5);
    assert_int_equal(md_opt_int(&o, MD_OPT_RUN_CTX), 64);
    assert_true(md_opt_number(&o, MD_OPT_PRESENCE_PENALTY) == -1.5);
    assert_int_equal(o.value[MD_OPT_STOP].n_list, 2);
    assert_string_equal(o.value[MD_OPT_STOP].list[0], "a");
    assert_string_equal(o.value[MD_OPT_STOP].list[1], "b");
    assert_true(md_opt_flag(&o, MD_OPT_JSON));
    assert_true(md_opt_given(&o, MD_OPT_JSON));
    assert_false(md_opt_given(&o, MD_OPT_TOP_P));
    assert_true(md_opt_number(&o, MD_OPT_TOP_P) == 0.95);
    assert_int_equal(o.n_operands, 1);
    assert_string_equal(o.operand[0], "m");
    md_options_done(&o);
}

static void last_one_wins_and_flags_can_be_undone(void **state)
{
    (void)state;
    md_options o;
    assert_int_equal(PARSE(MD_COMMAND_RUN, &o, NULL, "m", "--temp", "1", "--temp", "2", "--json", "--no-json"), MD_OK);
    assert_true(md_opt_number(&o, MD_OPT_TEMP) == 2.0);
    assert_false(md_opt_flag(&o, MD_OPT_JSON));
    md_options_done(&o);
    assert_int_equal(PARSE(MD_COMMAND_TOKENIZE, &o, NULL, "m"), MD_OK);
    assert_true(md_opt_flag(&o, MD_OPT_BOS));
    md_options_done(&o);
    assert_int_equal(PARSE(MD_COMMAND_TOKENIZE, &o, NULL, "m", "--no-bos"), MD_OK);
    assert_false(md_opt_flag(&o, MD_OPT_BOS));
    md_options_done(&o);
}

static void dashes(void **state)
{
    (void)state;
    md_options o;
    assert_int_equal(PARSE(MD_COMMAND_TOKENIZE, &o, NULL, "--", "m", "--json"), MD_OK);
    assert_int_equal(o.n_operands, 2);
    assert_string_equal(o.operand[1], "--json");
    assert_false(md_opt_flag(&o, MD_OPT_JSON));
    md_options_done(&o);
    assert_int_equal(PARSE(MD_COMMAND_TOKENIZE, &o, NULL, "m", "-"), MD_OK); /* a lone dash is text */
    assert_string_equal(o.operand[1], "-");
    md_options_done(&o);
}

static void same_name_in_two_commands(void **state)
{
    (void)state;
    md_options o;
    assert_int_equal(PARSE(MD_COMMAND_UPCYCLE, &o, NULL, "m", "-o", "out"), MD_OK);
    assert_int_equal(md_opt_int(&o, MD_OPT_UPCYCLE_TOP_K), 2);
    assert_int_equal(md_opt_int(&o, MD_OPT_RUN_TOP_K), 0); /* not this command's: untouched */
    md_options_done(&o);
    assert_int_equal(PARSE(MD_COMMAND_EVAL, &o, NULL, "m"), MD_OK);
    assert_string_equal(md_opt_text(&o, MD_OPT_EVAL_KV_TYPE), "f32");
    assert_int_equal(md_opt_int(&o, MD_OPT_EVAL_CTX), 512);
    md_options_done(&o);
}

static void errors_say_what_to_do(void **state)
{
    (void)state;
    static const struct {
        md_command command;
        const char *arg[3];
        const char *says;
    } c[] = {
        {MD_COMMAND_RUN, {"m", "--promt"}, "did you mean --prompt?"},
        {MD_COMMAND_RUN, {"m", "--tensors"}, "'medley inspect' has"},
        {MD_COMMAND_RUN, {"m", "--qqqqqqqqqqqqq"}, "'medley run --help'"},
        {MD_COMMAND_RUN, {"m", "-Z"}, "unknown option -Z"},
        {MD_COMMAND_RUN, {"m", "-n"}, "wants a value: --max-tokens N"},
        {MD_COMMAND_RUN, {"m", "--json=1"}, "takes no value"},
        {MD_COMMAND_RUN, {"m", "--no-json=1"}, "--no-json takes no value"},
        {MD_COMMAND_RUN, {"m", "--no-temp"}, "unknown option --no-temp"},
        {MD_COMMAND_RUN, {"m", "other"}, "'other' is one argument too many"},
        {MD_COMMAND_RUN, {"--json"}, "wants MODEL"},
        {MD_COMMAND_RUN, {"m", "--file="}, "not an empty text"},
        {MD_COMMAND_RUN, {"m", "--layers"}, "no option --layers; 'medley synth' has"},
    };
    for (size_t i = 0; i < COUNT(c); i++) {
        md_options o;
        md_error err = {0};
        assert_int_equal(parse(c[i].command, &o, &err, c[i].arg), MD_ERR_ARGUMENT);
        if (!strstr(err.message, c[i].says))
            fail_msg("'%s' does not say \"%s\"", err.message, c[i].says);
        assert_null(o.operand);
        assert_int_equal(o.n_operands, 0);
    }
}

static void commands_are_found(void **state)
{
    (void)state;
    for (int i = 0; i < MD_N_COMMANDS; i++) {
        const md_command_spec *spec = md_command_get_spec((md_command)i);
        assert_int_equal(md_command_find(spec->name), i);
        assert_true(spec->min_operands <= spec->max_operands);
        assert_true(spec->summary[0] >= 'a' && spec->summary[0] <= 'z');
        assert_non_null(strchr(spec->examples, '\n'));
    }
    assert_int_equal(md_command_find("ru"), MD_N_COMMANDS);
    assert_string_equal(md_command_nearest("ru"), "run");
    assert_string_equal(md_command_nearest("upcicle"), "upcycle");
    assert_string_equal(md_command_nearest("benhc"), "bench");
    const char *near = md_command_nearest("man"); /* hidden commands are not offered */
    assert_true(!near || strcmp(near, "man") != 0);
    assert_null(md_command_nearest("a-name-that-is-much-longer-than-any-of-the-commands"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_bound),
        cmocka_unit_test(nonsense_is_refused),
        cmocka_unit_test(defaults_are_allowed),
        cmocka_unit_test(every_word_of_a_choice),
        cmocka_unit_test(names_mean_one_thing),
        cmocka_unit_test(forms),
        cmocka_unit_test(last_one_wins_and_flags_can_be_undone),
        cmocka_unit_test(dashes),
        cmocka_unit_test(same_name_in_two_commands),
        cmocka_unit_test(errors_say_what_to_do),
        cmocka_unit_test(commands_are_found),
    };
    return cmocka_run_group_tests_name("cli-options", tests, NULL, NULL);
}
