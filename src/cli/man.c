/* SPDX-License-Identifier: Apache-2.0
 *
 * `medley man [COMMAND]`: manual pages in man(7), from the options table and the few sentences below. For the build, which
 * installs what it prints. */
#include "cli/cli.h"

#include <ctype.h>
#include <medley/version.h>
#include <string.h>

/* What a page says beyond a command's summary. A command without an entry has only that. */
static const char *const description[MD_N_COMMANDS] = {
    [MD_COMMAND_RUN] =
        "Answers one prompt, or, without one and on a terminal, chats. Without a prompt and with standard input from "
        "elsewhere, standard input is the prompt. By default a prompt is a user's message in the model's own chat "
        "template; names of special tokens in it stay plain text. With --raw, or if the model has no template, the model "
        "goes on from the text as it is. In a chat, /help lists the commands: /save and /load keep conversations with "
        "all that was computed for them.",
    [MD_COMMAND_INSPECT] =
        "Tells architecture, shape, weights in all and active per token, sizes by part and by tensor type, router, "
        "tokenizer and chat template. Reads the header only, unless --check or --memory is given.",
    [MD_COMMAND_TOKENIZE] = "Prints the token ids of a text on one line. Any bytes are text.",
    [MD_COMMAND_DETOKENIZE] =
        "Prints the text of token ids, byte for byte: tokenize and detokenize in a pipe give the text back.",
    [MD_COMMAND_EVAL] =
        "With --text: perplexity over windows of --ctx tokens without overlap, the second half of each scored. With "
        "--token-ids: feeds the ids as they are and writes out logits and chosen experts.",
    [MD_COMMAND_UPCYCLE] =
        "Makes a mixture of experts from a dense model: each expert is a copy of the layer's feed-forward block, and a "
        "router is drawn at random. With --drop-ratio a share of every expert's neurons is drawn anew. Works on "
        "quantized files as they are.",
    [MD_COMMAND_COMPLETION] = "Prints a completion script for a shell.",
};

/* ---- man(7) ---- */

#define LINE 72 /* escapes may take a line a little further */

/* Text in which every character stands for itself, also at the start of a line; quotes and dashes stay ASCII. */
static void put_n(md_buf *b, const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        switch (text[i]) {
        case '\\': md_buf_puts(b, "\\e"); break;
        case '-': md_buf_puts(b, "\\-"); break;
        case '\'': md_buf_puts(b, "\\(aq"); break;
        case '`': md_buf_puts(b, "\\(ga"); break;
        case '^': md_buf_puts(b, "\\(ha"); break;
        case '~': md_buf_puts(b, "\\(ti"); break;
        case '"': md_buf_puts(b, "\\(dq"); break;
        case '.':
            if (b->len > 0 && b->data[b->len - 1] == '\n')
                md_buf_puts(b, "\\&");
            md_buf_putc(b, '.');
            break;
        default: md_buf_putc(b, text[i]);
        }
    }
}

static void put(md_buf *b, const char *text)
{
    put_n(b, text, strlen(text));
}

static void put_section(md_buf *b, const char *name)
{
    md_buf_printf(b, ".SH %s\n", name);
}

/* Prose, in lines of at most LINE bytes where words allow; ends of sentences are ends of lines, as man(7) has it. */
static void put_prose(md_buf *b, const char *text)
{
    size_t start = b->len;
    for (const char *word = text; *word;) {
        const size_t n = strcspn(word, " ");
        const bool ends = n > 0 && word[n - 1] == '.';
        put_n(b, word, n);
        word += n + (word[n] == ' ');
        if (*word && !ends && b->len - start + strcspn(word, " ") < LINE) {
            md_buf_putc(b, ' ');
        } else {
            md_buf_putc(b, '\n');
            start = b->len;
        }
    }
}

static void put_title(md_buf *b, const char *suffix)
{
    md_buf_puts(b, ".\\\" Made by 'medley man' from its options table.\n.TH MEDLEY");
    for (const char *p = suffix; *p; p++)
        if (*p == '-')
            md_buf_puts(b, "\\-");
        else
            md_buf_putc(b, (char)toupper((unsigned char)*p));
    md_buf_printf(b, " 1 \"\" \"medley %s\" \"User Commands\"\n", md_version());
}

static void put_exit_status(md_buf *b)
{
    static const char *const rows[][2] = {
        {"0", "done"},
        {"1", "failed; one line on standard error says what, where and what to do"},
        {"2", "wrong use"},
        {"128 + N", "stopped by signal N: 130 after Ctrl-C"},
    };
    put_section(b, "EXIT STATUS");
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        md_buf_printf(b, ".TP\n.B %s\n", rows[i][0]);
        put(b, rows[i][1]);
        md_buf_putc(b, '\n');
    }
}

/* Examples are lines with two blanks in front, as --help shows them. */
static void put_examples(md_buf *b, const char *text)
{
    for (const char *line = text; *line;) {
        const size_t n = strcspn(line, "\n"), indent = strspn(line, " ");
        put_n(b, line + indent, n - indent);
        md_buf_putc(b, '\n');
        line += n + (line[n] == '\n');
    }
}

static void put_option(md_buf *b, const md_option_spec *spec)
{
    md_buf doc = {0};
    md_buf_puts(b, ".TP\n");
    if (spec->letter)
        md_buf_printf(b, "\\fB\\-%c\\fR, ", spec->letter);
    md_buf_puts(b, "\\fB\\-\\-");
    put(b, md_cli_is_default_on(spec) ? "no-" : "");
    put(b, spec->name);
    md_buf_puts(b, "\\fR");
    if (spec->metavar[0]) {
        md_buf_puts(b, " \\fI");
        put(b, spec->metavar);
        md_buf_puts(b, "\\fR");
    }
    md_buf_putc(b, '\n');
    md_cli_option_doc(&doc, spec);
    put_prose(b, doc.failed ? spec->doc : doc.data);
    md_buf_done(&doc);
}

static void put_see_also(md_buf *b, int own)
{
    bool first = true;
    put_section(b, "SEE ALSO");
    if (own != MD_N_COMMANDS) {
        md_buf_puts(b, ".BR medley (1)");
        first = false;
    }
    for (int c = 0; c < MD_N_COMMANDS; c++) {
        const md_command_spec *spec = md_command_get_spec((md_command)c);
        if (spec->hidden || c == own)
            continue;
        md_buf_printf(b, "%s.BR medley\\-%s (1)", first ? "" : ",\n", spec->name);
        first = false;
    }
    md_buf_putc(b, '\n');
}

/* ---- pages ---- */

static void command_page(md_buf *b, md_command command)
{
    const md_command_spec *c = md_command_get_spec(command);
    char suffix[40];
    snprintf(suffix, sizeof suffix, "-%s", c->name);
    put_title(b, suffix);
    put_section(b, "NAME");
    md_buf_printf(b, "medley\\-%s \\- ", c->name);
    put(b, c->summary);
    md_buf_putc(b, '\n');
    put_section(b, "SYNOPSIS");
    md_buf_printf(b, "\\fBmedley %s\\fR", c->name);
    if (c->operands[0]) {
        md_buf_puts(b, " \\fI");
        put(b, c->operands);
        md_buf_puts(b, "\\fR");
    }
    md_buf_puts(b, " [\\fIoptions\\fR]\n");
    put_section(b, "DESCRIPTION");
    if (description[command]) {
        put_prose(b, description[command]);
    } else {
        md_buf_putc(b, (char)toupper((unsigned char)c->summary[0]));
        put(b, c->summary + 1);
        md_buf_puts(b, ".\n");
    }
    put_section(b, "OPTIONS");
    for (int i = 0; i < MD_N_OPTIONS; i++)
        if (md_option_get_spec((md_option)i)->commands >> command & 1u)
            put_option(b, md_option_get_spec((md_option)i));
    put_section(b, "EXAMPLES");
    md_buf_puts(b, ".nf\n");
    put_examples(b, c->examples);
    md_buf_puts(b, ".fi\n");
    put_exit_status(b);
    put_see_also(b, command);
}

static void put_commands(md_buf *b)
{
    put_section(b, "COMMANDS");
    for (int c = 0; c < MD_N_COMMANDS; c++) {
        const md_command_spec *spec = md_command_get_spec((md_command)c);
        if (spec->hidden)
            continue;
        md_buf_printf(b, ".TP\n\\fB%s\\fR ", spec->name);
        put(b, spec->operands);
        md_buf_putc(b, '\n');
        put(b, spec->summary);
        md_buf_printf(b, ": see\n.BR medley\\-%s (1)\n", spec->name);
    }
}

static void program_page(md_buf *b)
{
    put_title(b, "");
    put_section(b, "NAME");
    md_buf_puts(b, "medley \\- run and reshape language models made of many experts, on CPUs\n");
    put_section(b, "SYNOPSIS");
    md_buf_puts(b, "\\fBmedley\\fR \\fICOMMAND\\fR [\\fIoptions\\fR]\n");
    put_section(b, "DESCRIPTION");
    put_prose(b, "One program, one command a job. Standard output carries the result and nothing else; progress, notes "
                 "and figures go to standard error. Files that a command writes appear whole or not at all.");
    put_commands(b);
    put_section(b, "OPTIONS");
    md_buf_puts(b, ".TP\n\\fB\\-h\\fR, \\fB\\-\\-help\\fR\nlist the commands\n"
                   ".TP\n\\fB\\-V\\fR, \\fB\\-\\-version\\fR\ntell the version\n.PP\n");
    put_prose(b, "Options of commands may be written --name=value, --name value, -x value or -xvalue. A flag is undone "
                 "by --no-name. Of several the last one counts. -- ends the options.");
    put_section(b, "EXAMPLES");
    md_buf_puts(b, ".nf\n");
    for (int c = 0; c < MD_N_COMMANDS; c++)
        if (!md_command_get_spec((md_command)c)->hidden && c != MD_COMMAND_HELP) {
            const char *all = md_command_get_spec((md_command)c)->examples;
            md_buf line = {0};
            md_buf_append(&line, all, strcspn(all, "\n") + 1);
            put_examples(b, line.failed ? "" : line.data);
            md_buf_done(&line);
        }
    md_buf_puts(b, ".fi\n");
    put_exit_status(b);
    put_section(b, "ENVIRONMENT");
    md_buf_puts(b,
                ".TP\n.BR XDG_STATE_HOME ,\\  HOME\nwhere the history of chats is kept\n"
                ".TP\n.BR XDG_CACHE_HOME ,\\  HOME\nwhere the profile of the machine and the uses of experts are kept\n"
                ".TP\n.B TERM\nwhether progress is shown\n");
    put_see_also(b, MD_N_COMMANDS);
}

md_status md_cli_man(md_cli *cli, md_error *err)
{
    const md_options *o = cli->options;
    md_buf b = {0};
    if (o->n_operands == 0) {
        program_page(&b);
    } else {
        const md_command command = md_command_find(o->operand[0]);
        MD_FAIL_IF(command == MD_N_COMMANDS, MD_ERR_ARGUMENT, "there is no command '%s' to write a page of",
                   o->operand[0]);
        command_page(&b, command);
    }
    if (!b.failed)
        md_cli_write(cli, b.data, b.len);
    const bool failed = b.failed;
    md_buf_done(&b);
    return failed ? md_fail_memory(err, "the page") : MD_OK;
}
