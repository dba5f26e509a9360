/* SPDX-License-Identifier: Apache-2.0
 *
 * `medley --help`, `medley COMMAND --help`, `medley help [COMMAND]`: all from the options table. */
#include "cli/cli.h"

#include <medley/version.h>
#include <string.h>

#define DOC_COLUMN 30
#define WIDTH      100

/* Writes words of text from column `at` on, wrapped to WIDTH with DOC_COLUMN spaces in front. */
static void append_wrapped(md_buf *b, const char *text, size_t at)
{
    while (*text) {
        const size_t word = strcspn(text, " ");
        if (at + word + 1 > WIDTH && at > DOC_COLUMN) {
            md_buf_printf(b, "\n%*s", DOC_COLUMN, "");
            at = DOC_COLUMN;
        } else if (at > DOC_COLUMN) {
            md_buf_putc(b, ' ');
            at++;
        }
        md_buf_append(b, text, word);
        at += word;
        text += word;
        text += strspn(text, " ");
    }
    md_buf_putc(b, '\n');
}

bool md_cli_is_default_on(const md_option_spec *spec)
{
    return spec->type == MD_OPTION_FLAG && strcmp(spec->preset, "on") == 0;
}

void md_cli_option_doc(md_buf *b, const md_option_spec *spec)
{
    char range[96];
    md_option_range(spec, range, sizeof range);
    const bool numeric = spec->type == MD_OPTION_INT || spec->type == MD_OPTION_FLOAT;
    const bool shown_preset = spec->preset[0] && spec->type != MD_OPTION_FLAG;
    md_buf_printf(b, "%s%s", md_cli_is_default_on(spec) ? "do not " : "", spec->doc);
    if (shown_preset || numeric)
        md_buf_puts(b, " [");
    if (shown_preset) {
        const size_t n = strlen(spec->preset);
        const bool words = spec->preset[0] == '(';
        md_buf_printf(b, "default: %.*s", (int)(words ? n - 2 : n), spec->preset + words);
    }
    if (numeric)
        md_buf_printf(b, "%s%s", shown_preset ? "; " : "", range);
    if (shown_preset || numeric)
        md_buf_putc(b, ']');
}

static void append_doc(md_buf *b, const md_option_spec *spec)
{
    md_buf doc = {0};
    md_cli_option_doc(&doc, spec);
    append_wrapped(b, doc.failed ? spec->doc : doc.data, DOC_COLUMN);
    md_buf_done(&doc);
}

static void append_option(md_buf *b, const md_option_spec *spec)
{
    const size_t start = b->len;
    if (spec->letter)
        md_buf_printf(b, "  -%c, ", spec->letter);
    else
        md_buf_puts(b, "      ");
    md_buf_printf(b, "--%s%s%s%s", md_cli_is_default_on(spec) ? "no-" : "", spec->name, spec->metavar[0] ? " " : "",
                  spec->metavar);
    const size_t used = b->len - start;
    if (used + 2 > DOC_COLUMN)
        md_buf_printf(b, "\n%*s", DOC_COLUMN, "");
    else
        md_buf_printf(b, "%*s", (int)(DOC_COLUMN - used), "");
    append_doc(b, spec);
}

void md_cli_help_command(md_cli *cli, md_command command)
{
    const md_command_spec *c = md_command_get_spec(command);
    md_buf b = {0};
    md_buf_printf(&b, "Usage: medley %s%s%s [options]\n\n%c%s.\n\nOptions:\n", c->name, c->operands[0] ? " " : "",
                  c->operands, c->summary[0] - 'a' + 'A', c->summary + 1);
    for (int i = 0; i < MD_N_OPTIONS; i++)
        if (md_option_get_spec((md_option)i)->commands >> command & 1u)
            append_option(&b, md_option_get_spec((md_option)i));
    md_buf_printf(&b, "\n%s:\n%s", strstr(c->examples, "\n  ") ? "Examples" : "Example", c->examples);
    md_cli_write(cli, b.data, b.len);
    md_buf_done(&b);
}

void md_cli_help_all(md_cli *cli)
{
    md_cli_printf(cli,
                  "medley %s: runs and reshapes language models made of many experts, on CPUs.\n\n"
                  "Usage: medley COMMAND ...\n\nCommands:\n",
                  md_version());
    for (int i = 0; i < MD_N_COMMANDS; i++) {
        const md_command_spec *c = md_command_get_spec((md_command)i);
        if (!c->hidden)
            md_cli_printf(cli, "  %-12s %s\n", c->name, c->summary);
    }
    md_cli_printf(cli,
                  "\n'medley COMMAND --help' lists the options of a command; 'medley --version' tells the version.\n\n"
                  "Examples:\n");
    for (int i = 0; i < MD_N_COMMANDS; i++) {
        const md_command_spec *c = md_command_get_spec((md_command)i);
        if (!c->hidden && i != MD_COMMAND_HELP)
            md_cli_printf(cli, "%.*s\n", (int)strcspn(c->examples, "\n"), c->examples);
    }
}

md_status md_cli_help(md_cli *cli, md_error *err)
{
    const md_options *o = cli->options;
    if (o->n_operands == 0) {
        md_cli_help_all(cli);
        return MD_OK;
    }
    const md_command command = md_command_find(o->operand[0]);
    MD_FAIL_IF(command == MD_N_COMMANDS, MD_ERR_ARGUMENT, "unknown command '%s'; 'medley --help' lists those there are",
               o->operand[0]);
    md_cli_help_command(cli, command);
    return MD_OK;
}
