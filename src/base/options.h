/* SPDX-License-Identifier: Apache-2.0
 *
 * The program's command line, from the table in options.def: parsing with bounds, and the table itself for whoever
 * prints help or completions. Knows nothing about what the options do. A parsed md_options borrows from argv and may be
 * read from any thread. */
#ifndef MD_BASE_OPTIONS_H
#define MD_BASE_OPTIONS_H

#include <medley/error.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum md_command {
#define MD_COMMAND(id, ...) MD_COMMAND_##id,
#include "base/options.def"
#undef MD_COMMAND
    MD_N_COMMANDS
} md_command;

typedef enum md_option {
#define MD_OPTION(id, ...) MD_OPT_##id,
#include "base/options.def"
#undef MD_OPTION
    MD_N_OPTIONS
} md_option;

typedef enum md_option_type {
    MD_OPTION_FLAG,
    MD_OPTION_INT,
    MD_OPTION_FLOAT,
    MD_OPTION_TEXT,
    MD_OPTION_FILE,
    MD_OPTION_CHOICE,
    MD_OPTION_LIST,
} md_option_type;

enum { MD_OPTION_OPEN_MIN = 1, MD_OPTION_OPEN_MAX = 2 }; /* the end itself is excluded */

typedef struct md_command_spec {
    const char *name, *operands; /* "run", "MODEL [TEXT]" */
    int min_operands, max_operands;
    bool hidden; /* for developers: not in lists and completions */
    const char *summary, *examples;
} md_command_spec;

typedef struct md_option_spec {
    const char *name;
    char letter; /* 0: none */
    md_option_type type;
    const char *preset; /* default: text to parse, "(description)" or "" */
    double min, max;
    unsigned open;     /* MD_OPTION_OPEN_* */
    unsigned commands; /* bits 1 << md_command */
    const char *metavar, *doc;
} md_option_spec;

const md_command_spec *md_command_get_spec(md_command c); /* c < MD_N_COMMANDS */
const md_option_spec *md_option_get_spec(md_option o);    /* o < MD_N_OPTIONS */
/* The command of that name, hidden ones too, or MD_N_COMMANDS. */
md_command md_command_find(const char *name);
/* The visible command nearest to a mistyped name, or NULL if none is near. */
const char *md_command_nearest(const char *name);
/* "1 to 256", "above 0 and at most 1", "one of f32, f16, q8_0"; "" when anything goes. Writes to buf, returns it. */
const char *md_option_range(const md_option_spec *spec, char *buf, size_t n);

typedef struct md_option_value {
    bool given;        /* on the command line */
    int64_t integer;   /* INT; FLAG: 0 or 1; CHOICE: index of the word */
    double number;     /* FLOAT, and INT again */
    const char *text;  /* TEXT, FILE, CHOICE: borrowed; NULL when there is none */
    const char **list; /* LIST: owned array of borrowed texts */
    size_t n_list;
} md_option_value;

typedef struct md_options {
    md_command command;
    md_option_value value[MD_N_OPTIONS]; /* options of other commands stay zero */
    const char **operand;                /* owned array [n_operands] of borrowed texts */
    size_t n_operands;
} md_options;

/* Parses the n arguments that follow the command's name. --name=value, --name value, -x value, -xvalue; "--" ends the
 * options; a flag may be undone by --no-name; the last of several wins. Errors are one sentence that names the option,
 * the value and what is allowed. With --help among the arguments, missing operands are no error. On failure *out is
 * empty. */
md_status md_options_parse(md_command command, int n, const char *const *arg, md_options *out,
                           md_error *err) MD_MUST_USE;
void md_options_done(md_options *o);

/* Reads one value as the command line would. Touches only *v, whose list grows for a LIST. */
md_status md_option_read(const md_option_spec *spec, const char *text, md_option_value *v, md_error *err) MD_MUST_USE;

static inline bool md_opt_flag(const md_options *o, md_option id)
{
    return o->value[id].integer != 0;
}
static inline bool md_opt_given(const md_options *o, md_option id)
{
    return o->value[id].given;
}
static inline int64_t md_opt_int(const md_options *o, md_option id)
{
    return o->value[id].integer;
}
static inline double md_opt_number(const md_options *o, md_option id)
{
    return o->value[id].number;
}
static inline const char *md_opt_text(const md_options *o, md_option id)
{
    return o->value[id].text;
}

#endif
