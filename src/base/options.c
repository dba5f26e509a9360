/* SPDX-License-Identifier: Apache-2.0 */
#include "base/options.h"
#include "base/mem.h"
#include "base/status.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const md_command_spec command_table[MD_N_COMMANDS] = {
#define MD_COMMAND(id, ...) [MD_COMMAND_##id] = {__VA_ARGS__},
#include "base/options.def"
#undef MD_COMMAND
};

#define OPEN_MIN MD_OPTION_OPEN_MIN
#define OPEN_MAX MD_OPTION_OPEN_MAX
#define C(id)    (1u << MD_COMMAND_##id)
static const md_option_spec option_table[MD_N_OPTIONS] = {
#define MD_OPTION(id, name, letter, type, ...) [MD_OPT_##id] = {name, letter, MD_OPTION_##type, __VA_ARGS__},
#include "base/options.def"
#undef MD_OPTION
};
#undef C

const md_command_spec *md_command_get_spec(md_command c)
{
    return &command_table[c];
}

const md_option_spec *md_option_get_spec(md_option o)
{
    return &option_table[o];
}

md_command md_command_find(const char *name)
{
    for (int c = 0; c < MD_N_COMMANDS; c++)
        if (strcmp(command_table[c].name, name) == 0)
            return (md_command)c;
    return MD_N_COMMANDS;
}

/* ---- what was probably meant ---- */

#define NAME_MAX_LEN 32u

/* Edits (insert, drop, replace) between two names (Levenshtein 1966); names longer than any of ours are infinitely far. */
static size_t edit_distance(const char *a, size_t na, const char *b, size_t nb)
{
    if (na > NAME_MAX_LEN || nb > NAME_MAX_LEN)
        return SIZE_MAX;
    size_t row[NAME_MAX_LEN + 1];
    for (size_t j = 0; j <= nb; j++)
        row[j] = j;
    for (size_t i = 1; i <= na; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= nb; j++) {
            const size_t replace = diagonal + (a[i - 1] != b[j - 1]);
            const size_t insert = row[j - 1] + 1, drop = row[j] + 1;
            diagonal = row[j];
            row[j] = replace < insert ? replace : insert;
            row[j] = drop < row[j] ? drop : row[j];
        }
    }
    return row[nb];
}

static bool is_near(size_t distance, size_t length)
{
    return distance <= 1 + length / 4;
}

const char *md_command_nearest(const char *name)
{
    size_t best = SIZE_MAX;
    const char *nearest = NULL;
    for (int c = 0; c < MD_N_COMMANDS; c++) {
        const char *candidate = command_table[c].name;
        const size_t d = edit_distance(name, strlen(name), candidate, strlen(candidate));
        if (!command_table[c].hidden && is_near(d, strlen(candidate)) && d < best) {
            best = d;
            nearest = candidate;
        }
    }
    return nearest;
}

static const char *nearest_option(const char *name, size_t n, unsigned commands)
{
    size_t best = SIZE_MAX;
    const char *nearest = NULL;
    for (int i = 0; i < MD_N_OPTIONS; i++) {
        const char *candidate = option_table[i].name;
        if (!(option_table[i].commands & commands))
            continue;
        const size_t d = edit_distance(name, n, candidate, strlen(candidate));
        if (is_near(d, strlen(candidate)) && d < best) {
            best = d;
            nearest = candidate;
        }
    }
    return nearest;
}

/* ---- ranges and values ---- */

static const char *choice_range(const md_option_spec *spec, char *buf, size_t n)
{
    md_buf text = {0};
    md_buf_puts(&text, "one of ");
    for (const char *p = spec->metavar; *p; p++)
        if (*p == '|')
            md_buf_puts(&text, ", ");
        else
            md_buf_putc(&text, *p);
    snprintf(buf, n, "%s", text.failed ? spec->metavar : text.data);
    md_buf_done(&text);
    return buf;
}

const char *md_option_range(const md_option_spec *spec, char *buf, size_t n)
{
    if (n)
        buf[0] = '\0';
    if (spec->type == MD_OPTION_CHOICE)
        return choice_range(spec, buf, n);
    if (spec->type != MD_OPTION_INT && spec->type != MD_OPTION_FLOAT)
        return buf;
    if (spec->open == 0)
        snprintf(buf, n, "%.17g to %.17g", spec->min, spec->max);
    else
        snprintf(buf, n, "%s %.17g and %s %.17g", spec->open & OPEN_MIN ? "above" : "at least", spec->min,
                 spec->open & OPEN_MAX ? "below" : "at most", spec->max);
    return buf;
}

/* i counts for INT, x for FLOAT: near 2^53 a double cannot tell whole numbers apart. */
static bool in_range(const md_option_spec *spec, long long i, double x)
{
    if (spec->type == MD_OPTION_INT)
        return i >= (long long)spec->min && i <= (long long)spec->max;
    const bool above = spec->open & OPEN_MIN ? x > spec->min : x >= spec->min;
    const bool below = spec->open & OPEN_MAX ? x < spec->max : x <= spec->max;
    return above && below;
}

static md_status read_number(const md_option_spec *spec, const char *text, md_option_value *v, md_error *err)
{
    char range[96];
    const bool integer = spec->type == MD_OPTION_INT;
    char *end = NULL;
    errno = 0;
    /* strtod takes hexadecimal numbers, "inf" and leading white space too: only plain decimal numbers are welcome. */
    const bool plain = text[0] && text[strspn(text, integer ? "+-0123456789" : "+-.0123456789eE")] == '\0';
    const long long i = plain && integer ? strtoll(text, &end, 10) : 0;
    const double x = !plain ? 0.0 : integer ? (double)i : strtod(text, &end);
    if (!plain || end == text || *end != '\0')
        return md_fail(err, MD_ERR_ARGUMENT, "--%s wants a %s, not '%s' (%s)", spec->name,
                       integer ? "whole number" : "number", text, md_option_range(spec, range, sizeof range));
    const bool overflow = errno == ERANGE && fabs(x) >= 1.0; /* a float too small to tell from 0 is 0 */
    if (overflow || !in_range(spec, i, x))
        return md_fail(err, MD_ERR_ARGUMENT, "--%s %s is out of range: it must be %s", spec->name, text,
                       md_option_range(spec, range, sizeof range));
    v->integer = i;
    v->number = x;
    return MD_OK;
}

static md_status read_choice(const md_option_spec *spec, const char *text, md_option_value *v, md_error *err)
{
    const size_t n = strlen(text);
    const char *word = spec->metavar;
    for (int64_t index = 0;; index++) {
        const size_t len = strcspn(word, "|");
        if (len == n && memcmp(word, text, n) == 0) {
            v->integer = index;
            v->text = text;
            return MD_OK;
        }
        if (word[len] == '\0')
            break;
        word += len + 1;
    }
    char range[96];
    return md_fail(err, MD_ERR_ARGUMENT, "--%s '%s' is not known: it must be %s", spec->name, text,
                   md_option_range(spec, range, sizeof range));
}

static md_status read_list(const char *text, md_option_value *v, md_error *err)
{
    const char **list = md_realloc(v->list, v->n_list + 1, sizeof *list);
    if (!list)
        return md_fail_memory(err, "the command line");
    v->list = list;
    list[v->n_list++] = text;
    return MD_OK;
}

md_status md_option_read(const md_option_spec *spec, const char *text, md_option_value *v, md_error *err)
{
    switch (spec->type) {
    case MD_OPTION_FLAG: v->integer = strcmp(text, "on") == 0; return MD_OK;
    case MD_OPTION_INT:
    case MD_OPTION_FLOAT: return read_number(spec, text, v, err);
    case MD_OPTION_CHOICE: return read_choice(spec, text, v, err);
    case MD_OPTION_LIST: return read_list(text, v, err);
    case MD_OPTION_FILE:
        MD_FAIL_IF(!text[0], MD_ERR_ARGUMENT, "--%s wants a file name, not an empty text", spec->name);
        v->text = text;
        return MD_OK;
    case MD_OPTION_TEXT: v->text = text; return MD_OK;
    }
    return md_fail(err, MD_ERR_INTERNAL, "--%s has no type", spec->name);
}

/* ---- parsing ---- */

typedef struct parser {
    md_options *out;
    int n, next;
    const char *const *arg;
} parser;

/* The option called name[0..n) among those of the command; negated: its --no-name form. MD_N_OPTIONS if none. */
static md_option find_long(const char *name, size_t n, unsigned commands, bool *negated)
{
    *negated = false;
    for (int i = 0; i < MD_N_OPTIONS; i++) {
        const md_option_spec *spec = &option_table[i];
        if (!(spec->commands & commands))
            continue;
        if (strlen(spec->name) == n && memcmp(spec->name, name, n) == 0)
            return (md_option)i;
        if (spec->type == MD_OPTION_FLAG && n == strlen(spec->name) + 3 && memcmp(name, "no-", 3) == 0 &&
            memcmp(name + 3, spec->name, n - 3) == 0) {
            *negated = true;
            return (md_option)i;
        }
    }
    return MD_N_OPTIONS;
}

static md_status unknown_option(const parser *p, const char *name, size_t n, md_error *err)
{
    const md_command_spec *here = &command_table[p->out->command];
    bool negated;
    const md_option elsewhere = find_long(name, n, ~0u, &negated);
    for (int c = 0; elsewhere != MD_N_OPTIONS && c < MD_N_COMMANDS; c++)
        if ((option_table[elsewhere].commands >> c & 1u) && !command_table[c].hidden)
            return md_fail(err, MD_ERR_ARGUMENT, "'medley %s' has no option --%.*s; 'medley %s' has", here->name,
                           (int)n, name, command_table[c].name);
    const char *nearest = nearest_option(name, n, 1u << p->out->command);
    if (nearest)
        return md_fail(err, MD_ERR_ARGUMENT, "unknown option --%.*s; did you mean --%s?", (int)n, name, nearest);
    return md_fail(err, MD_ERR_ARGUMENT, "unknown option --%.*s; 'medley %s --help' lists those there are", (int)n,
                   name, here->name);
}

/* Stores one option; value NULL means that none was attached and the next argument is taken if one is needed. */
static md_status store(parser *p, md_option id, bool negated, const char *value, md_error *err)
{
    const md_option_spec *spec = &option_table[id];
    md_option_value *v = &p->out->value[id];
    if (spec->type == MD_OPTION_FLAG) {
        MD_FAIL_IF(value, MD_ERR_ARGUMENT, "--%s%s takes no value, but '%s' was given", negated ? "no-" : "",
                   spec->name, value);
        v->integer = !negated;
    } else {
        if (!value) {
            MD_FAIL_IF(p->next >= p->n, MD_ERR_ARGUMENT, "--%s wants a value: --%s %s", spec->name, spec->name,
                       spec->metavar);
            value = p->arg[p->next++];
        }
        MD_TRY(md_option_read(spec, value, v, err));
    }
    v->given = true;
    return MD_OK;
}

static md_status parse_long(parser *p, const char *text, md_error *err)
{
    const size_t n = strcspn(text, "=");
    bool negated;
    const md_option id = find_long(text, n, 1u << p->out->command, &negated);
    if (id == MD_N_OPTIONS)
        return unknown_option(p, text, n, err);
    return store(p, id, negated, text[n] == '=' ? text + n + 1 : NULL, err);
}

static md_status parse_short(parser *p, const char *text, md_error *err)
{
    for (int i = 0; i < MD_N_OPTIONS; i++) {
        const md_option_spec *spec = &option_table[i];
        if (spec->letter == text[0] && spec->commands >> p->out->command & 1u)
            return store(p, (md_option)i, false, text[1] ? text + 1 : NULL, err);
    }
    return md_fail(err, MD_ERR_ARGUMENT, "unknown option -%c; 'medley %s --help' lists those there are", text[0],
                   command_table[p->out->command].name);
}

static md_status set_presets(md_options *o, md_error *err)
{
    for (int i = 0; i < MD_N_OPTIONS; i++) {
        const md_option_spec *spec = &option_table[i];
        if ((spec->commands >> o->command & 1u) && spec->preset[0] && spec->preset[0] != '(')
            MD_TRY(md_option_read(spec, spec->preset, &o->value[i], err));
    }
    return MD_OK;
}

static md_status check_operands(const md_options *o, md_error *err)
{
    const md_command_spec *spec = &command_table[o->command];
    if (md_opt_flag(o, MD_OPT_SHOW_HELP))
        return MD_OK;
    MD_FAIL_IF(o->n_operands < (size_t)spec->min_operands, MD_ERR_ARGUMENT,
               "'medley %s' wants %s; 'medley %s --help' shows how it is used", spec->name, spec->operands, spec->name);
    MD_FAIL_IF(o->n_operands > (size_t)spec->max_operands, MD_ERR_ARGUMENT,
               "'%s' is one argument too many for 'medley %s %s'", o->operand[spec->max_operands], spec->name,
               spec->operands);
    return MD_OK;
}

static md_status parse_all(parser *p, md_error *err)
{
    bool options = true;
    MD_TRY(set_presets(p->out, err));
    while (p->next < p->n) {
        const char *a = p->arg[p->next++];
        if (!options || a[0] != '-' || a[1] == '\0')
            p->out->operand[p->out->n_operands++] = a;
        else if (a[1] != '-')
            MD_TRY(parse_short(p, a + 1, err));
        else if (a[2] != '\0')
            MD_TRY(parse_long(p, a + 2, err));
        else
            options = false;
    }
    return check_operands(p->out, err);
}

md_status md_options_parse(md_command command, int n, const char *const *arg, md_options *out, md_error *err)
{
    *out = (md_options){.command = command};
    out->operand = md_calloc((size_t)n, sizeof *out->operand);
    if (!out->operand)
        return md_fail_memory(err, "the command line");
    parser p = {.out = out, .n = n, .arg = arg};
    const md_status status = parse_all(&p, err);
    if (status != MD_OK)
        md_options_done(out);
    return status;
}

void md_options_done(md_options *o)
{
    for (int i = 0; i < MD_N_OPTIONS; i++)
        md_free((void *)o->value[i].list);
    md_free((void *)o->operand);
    *o = (md_options){0};
}
