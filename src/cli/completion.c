/* SPDX-License-Identifier: Apache-2.0
 *
 * Completion scripts for bash, zsh and fish, written from the options table: commands, the options of each, the words
 * of a choice, and files where files are wanted. */
#include "cli/cli.h"

#include <string.h>

static bool belongs(const md_option_spec *spec, int command)
{
    return spec->commands >> command & 1u;
}

/* The words of "a|b|c" with a space after each. */
static void append_words(md_buf *b, const char *choice)
{
    for (; *choice; choice++) {
        if (*choice == '|')
            md_buf_putc(b, ' ');
        else
            md_buf_putc(b, *choice);
    }
}

/* Text inside single quotes of a shell that doubles nothing: the quote is closed, escaped and opened again. */
static void append_quoted(md_buf *b, const char *text)
{
    md_buf_putc(b, '\'');
    for (; *text; text++)
        if (*text == '\'')
            md_buf_puts(b, "'\\''");
        else
            md_buf_putc(b, *text);
    md_buf_putc(b, '\'');
}

static void append_command_names(md_buf *b)
{
    for (int c = 0; c < MD_N_COMMANDS; c++)
        if (!md_command_get_spec((md_command)c)->hidden)
            md_buf_printf(b, "%s ", md_command_get_spec((md_command)c)->name);
}

/* ---- bash ---- */

static void bash_command(md_buf *b, int command)
{
    const md_command_spec *c = md_command_get_spec((md_command)command);
    md_buf_printf(b, "    %s)\n        case $prev in\n", c->name);
    for (int i = 0; i < MD_N_OPTIONS; i++) {
        const md_option_spec *spec = md_option_get_spec((md_option)i);
        if (!belongs(spec, command) || spec->type == MD_OPTION_FLAG)
            continue;
        md_buf_puts(b, "        ");
        if (spec->letter)
            md_buf_printf(b, "-%c|", spec->letter);
        md_buf_printf(b, "--%s) ", spec->name);
        if (spec->type == MD_OPTION_CHOICE) {
            md_buf_puts(b, "COMPREPLY=($(compgen -W '");
            append_words(b, spec->metavar);
            md_buf_puts(b, "' -- \"$cur\")); ");
        } else if (spec->type == MD_OPTION_FILE) {
            md_buf_puts(b, "COMPREPLY=($(compgen -f -- \"$cur\")); ");
        }
        md_buf_puts(b, "return ;;\n");
    }
    md_buf_puts(b, "        esac\n        words='");
    for (int i = 0; i < MD_N_OPTIONS; i++) {
        const md_option_spec *spec = md_option_get_spec((md_option)i);
        if (belongs(spec, command))
            md_buf_printf(b, "--%s%s ", md_cli_is_default_on(spec) ? "no-" : "", spec->name);
    }
    md_buf_puts(b, "'\n");
    if (command == MD_COMMAND_COMPLETION)
        md_buf_puts(b, "        [[ $cur != -* ]] && words='bash zsh fish'\n");
    if (command == MD_COMMAND_HELP) {
        md_buf_puts(b, "        [[ $cur != -* ]] && words='");
        append_command_names(b);
        md_buf_puts(b, "'\n");
    }
    md_buf_puts(b, "        ;;\n");
}

static void bash_script(md_buf *b)
{
    md_buf_puts(b, "# Completion of medley for bash. Made by 'medley completion bash'.\n"
                   "_medley()\n{\n"
                   "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} words=\n"
                   "    COMPREPLY=()\n"
                   "    if ((COMP_CWORD == 1)); then\n"
                   "        COMPREPLY=($(compgen -W '");
    append_command_names(b);
    md_buf_puts(b, "--help --version' -- \"$cur\"))\n        return\n    fi\n    case ${COMP_WORDS[1]} in\n");
    for (int c = 0; c < MD_N_COMMANDS; c++)
        if (!md_command_get_spec((md_command)c)->hidden)
            bash_command(b, c);
    md_buf_puts(b, "    esac\n"
                   "    if [[ $cur == -* || ${COMP_WORDS[1]} == completion || ${COMP_WORDS[1]} == help ]]; then\n"
                   "        COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
                   "    else\n"
                   "        COMPREPLY=($(compgen -f -- \"$cur\"))\n"
                   "    fi\n}\n"
                   "complete -o filenames -F _medley medley\n");
}

/* ---- zsh ---- */

/* The argument of _arguments for one option: '--name=[doc]:metavar:action', brackets and colons escaped. */
static void zsh_option(md_buf *b, const md_option_spec *spec, char letter)
{
    md_buf text = {0};
    const bool flag = spec->type == MD_OPTION_FLAG;
    if (spec->type == MD_OPTION_LIST)
        md_buf_putc(&text, '*');
    if (letter)
        md_buf_printf(&text, "-%c%s[", letter, flag ? "" : "+");
    else
        md_buf_printf(&text, "--%s%s%s[", md_cli_is_default_on(spec) ? "no-" : "", spec->name, flag ? "" : "=");
    md_buf_puts(&text, md_cli_is_default_on(spec) ? "do not " : "");
    for (const char *p = spec->doc; *p; p++) {
        if (*p == '[' || *p == ']' || *p == ':' || *p == '\\')
            md_buf_putc(&text, '\\');
        md_buf_putc(&text, *p);
    }
    md_buf_putc(&text, ']');
    if (spec->type == MD_OPTION_CHOICE) {
        md_buf_printf(&text, ":%s:(", spec->name);
        append_words(&text, spec->metavar);
        md_buf_putc(&text, ')');
    } else if (!flag) {
        md_buf_printf(&text, ":%s:%s", spec->name, spec->type == MD_OPTION_FILE ? "_files" : " ");
    }
    md_buf_puts(b, " \\\n            ");
    append_quoted(b, text.failed ? "" : text.data);
    md_buf_done(&text);
}

static void zsh_command(md_buf *b, int command)
{
    const md_command_spec *c = md_command_get_spec((md_command)command);
    md_buf_printf(b, "    %s)\n        _arguments", c->name);
    for (int i = 0; i < MD_N_OPTIONS; i++) {
        const md_option_spec *spec = md_option_get_spec((md_option)i);
        if (!belongs(spec, command))
            continue;
        if (spec->letter)
            zsh_option(b, spec, spec->letter);
        zsh_option(b, spec, 0);
    }
    md_buf_puts(b, " \\\n            ");
    if (command == MD_COMMAND_COMPLETION) {
        md_buf_puts(b, "'1:shell:(bash zsh fish)'\n");
    } else if (command == MD_COMMAND_HELP) {
        md_buf_puts(b, "'1:command:(");
        append_command_names(b);
        md_buf_puts(b, ")'\n");
    } else {
        md_buf_puts(b, "'*:file:_files'\n");
    }
    md_buf_puts(b, "        ;;\n");
}

static void zsh_script(md_buf *b)
{
    md_buf_puts(b, "#compdef medley\n# Completion of medley for zsh. Made by 'medley completion zsh'.\n"
                   "_medley() {\n"
                   "    if ((CURRENT == 2)); then\n"
                   "        local -a commands=(\n");
    for (int c = 0; c < MD_N_COMMANDS; c++) {
        const md_command_spec *spec = md_command_get_spec((md_command)c);
        if (!spec->hidden)
            md_buf_printf(b, "            '%s:%s'\n", spec->name, spec->summary);
    }
    md_buf_puts(b, "        )\n        _describe command commands\n        return\n    fi\n"
                   "    local command=${words[2]}\n"
                   "    shift words\n    ((CURRENT--))\n"
                   "    case $command in\n");
    for (int c = 0; c < MD_N_COMMANDS; c++)
        if (!md_command_get_spec((md_command)c)->hidden)
            zsh_command(b, c);
    md_buf_puts(b, "    esac\n}\n"
                   "if [[ $zsh_eval_context[-1] == loadautofunc ]]; then\n    _medley \"$@\"\nelse\n"
                   "    compdef _medley medley\nfi\n");
}

/* ---- fish ---- */

static void fish_option(md_buf *b, const md_command_spec *c, const md_option_spec *spec)
{
    md_buf_printf(b, "complete -c medley -n '__fish_seen_subcommand_from %s' -l %s%s", c->name,
                  md_cli_is_default_on(spec) ? "no-" : "", spec->name);
    if (spec->letter)
        md_buf_printf(b, " -s %c", spec->letter);
    if (spec->type == MD_OPTION_CHOICE) {
        md_buf_puts(b, " -x -a '");
        append_words(b, spec->metavar);
        md_buf_putc(b, '\'');
    } else if (spec->type != MD_OPTION_FLAG) {
        md_buf_puts(b, spec->type == MD_OPTION_FILE ? " -r" : " -x");
    }
    md_buf_puts(b, " -d ");
    md_buf doc = {0};
    md_buf_printf(&doc, "%s%s", md_cli_is_default_on(spec) ? "do not " : "", spec->doc);
    append_quoted(b, doc.failed ? "" : doc.data);
    md_buf_done(&doc);
    md_buf_putc(b, '\n');
}

static void fish_script(md_buf *b)
{
    md_buf_puts(b, "# Completion of medley for fish. Made by 'medley completion fish'.\n"
                   "complete -c medley -n __fish_use_subcommand -f\n"
                   "complete -c medley -n __fish_use_subcommand -l help -s h -d 'show help'\n"
                   "complete -c medley -n __fish_use_subcommand -l version -s V -d 'tell the version'\n");
    for (int c = 0; c < MD_N_COMMANDS; c++) {
        const md_command_spec *spec = md_command_get_spec((md_command)c);
        if (spec->hidden)
            continue;
        md_buf_printf(b, "complete -c medley -n __fish_use_subcommand -a %s -d ", spec->name);
        append_quoted(b, spec->summary);
        md_buf_putc(b, '\n');
        for (int i = 0; i < MD_N_OPTIONS; i++)
            if (belongs(md_option_get_spec((md_option)i), c))
                fish_option(b, spec, md_option_get_spec((md_option)i));
    }
    md_buf_puts(b, "complete -c medley -n '__fish_seen_subcommand_from completion' -x -a 'bash zsh fish'\n"
                   "complete -c medley -n '__fish_seen_subcommand_from help' -x -a '");
    append_command_names(b);
    md_buf_puts(b, "'\n");
}

md_status md_cli_completion(md_cli *cli, md_error *err)
{
    static const struct {
        const char *shell;
        void (*write)(md_buf *b);
    } writer[] = {{"bash", bash_script}, {"zsh", zsh_script}, {"fish", fish_script}};
    const char *shell = cli->options->operand[0];
    for (size_t i = 0; i < sizeof writer / sizeof writer[0]; i++) {
        if (strcmp(shell, writer[i].shell) != 0)
            continue;
        md_buf b = {0};
        writer[i].write(&b);
        if (!b.failed)
            md_cli_write(cli, b.data, b.len);
        const bool failed = b.failed;
        md_buf_done(&b);
        return failed ? md_fail_memory(err, "the completion script") : MD_OK;
    }
    return md_fail(err, MD_ERR_ARGUMENT, "no completion script for '%s': the shells are bash, zsh and fish", shell);
}
