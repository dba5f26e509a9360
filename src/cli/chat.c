/* SPDX-License-Identifier: Apache-2.0
 *
 * The chat of `medley run`. Ctrl-C stops an answer, or clears the line being typed (twice: leaves); Ctrl-D leaves. What
 * goes wrong with one question is told and the chat goes on. */
#include "cli/run.h"
#include "cli/line.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct chat {
    md_talk talk;
    md_line *line; /* owned */
    bool leave;
} chat;

/* ---- commands ---- */

typedef md_status chat_fn(chat *c, const char *argument, md_error *err);

static md_status help(chat *c, const char *argument, md_error *err);

static void show_loaded(const chat *c)
{
    fprintf(stderr, "A conversation of %zu messages was loaded; %d tokens need not be read again.\n",
            c->talk.n_messages, (int)md_seq_length(c->talk.seq));
}

static md_status reset(chat *c, const char *argument, md_error *err)
{
    (void)argument;
    MD_TRY(md_talk_reset(&c->talk, NULL, err));
    fputs("The conversation is forgotten.\n", stderr);
    return MD_OK;
}

static md_status set_system(chat *c, const char *argument, md_error *err)
{
    MD_FAIL_IF(!c->talk.template_, MD_ERR_ARGUMENT, "/system needs a chat template, and there is none");
    MD_TRY(md_talk_reset(&c->talk, argument, err));
    fputs(argument[0] ? "The conversation starts anew with this system message.\n"
                      : "The conversation starts anew without a system message.\n",
          stderr);
    return MD_OK;
}

static md_status save(chat *c, const char *argument, md_error *err)
{
    MD_FAIL_IF(!argument[0], MD_ERR_ARGUMENT, "/save wants a file name");
    MD_TRY(md_talk_save(&c->talk, argument, err));
    fprintf(stderr, "%zu messages were saved.\n", c->talk.n_messages);
    return MD_OK;
}

static md_status load(chat *c, const char *argument, md_error *err)
{
    MD_FAIL_IF(!argument[0], MD_ERR_ARGUMENT, "/load wants a file name");
    MD_TRY(md_talk_load(&c->talk, argument, err));
    show_loaded(c);
    return MD_OK;
}

static md_status tokens(chat *c, const char *argument, md_error *err)
{
    (void)argument;
    (void)err;
    fprintf(stderr, "The conversation has %zu tokens; the context has room for %d.\n", c->talk.past.n,
            (int)c->talk.capacity);
    return MD_OK;
}

static md_status leave(chat *c, const char *argument, md_error *err)
{
    (void)argument;
    (void)err;
    c->leave = true;
    return MD_OK;
}

static const struct {
    const char *name, *operand, *doc;
    chat_fn *fn;
} command[] = {
    {"/help", "", "show this list", help},
    {"/reset", "", "forget the conversation; the system message stays", reset},
    {"/system", "TEXT", "start anew with another system message", set_system},
    {"/save", "FILE", "write the conversation with its keys and values; FILE.json: its messages as JSON", save},
    {"/load", "FILE", "go on with a saved conversation", load},
    {"/tokens", "", "tell how full the context is", tokens},
    {"/exit", "", "leave (Ctrl-D does so too)", leave},
};

static md_status help(chat *c, const char *argument, md_error *err)
{
    (void)c;
    (void)argument;
    (void)err;
    for (size_t i = 0; i < sizeof command / sizeof command[0]; i++)
        fprintf(stderr, "  %-8s %-5s %s\n", command[i].name, command[i].operand, command[i].doc);
    fputs("A backslash at the end of a line goes on in the next. Ctrl-C stops an answer.\n", stderr);
    return MD_OK;
}

static md_status run_chat_command(chat *c, const char *text, md_error *err)
{
    const size_t n = strcspn(text, " \t\n");
    const char *argument = text + n;
    argument += strspn(argument, " \t\n");
    for (size_t i = 0; i < sizeof command / sizeof command[0]; i++)
        if (strlen(command[i].name) == n && memcmp(command[i].name, text, n) == 0) {
            MD_FAIL_IF(argument[0] && !command[i].operand[0], MD_ERR_ARGUMENT, "%s takes no argument", command[i].name);
            return command[i].fn(c, argument, err);
        }
    return md_fail(err, MD_ERR_ARGUMENT,
                   "unknown command '%.*s'; /help lists those there are (a space in front makes it text)",
                   (int)(n < 40 ? n : 40), text);
}

/* ---- turns ---- */

/* Reads lines as long as they end in a backslash. */
static md_line_end read_turn(chat *c, md_buf *turn)
{
    md_buf part = {0};
    md_line_end end;
    bool more = false;
    md_buf_reset(turn);
    do {
        end = md_line_read(c->line, more ? "... " : "> ", &part);
        if (end != MD_LINE_TEXT)
            break;
        more = part.len > 0 && part.data[part.len - 1] == '\\';
        md_buf_append(turn, part.data, more ? part.len - 1 : part.len);
        if (more)
            md_buf_putc(turn, '\n');
        md_line_remember(c->line, part.data ? part.data : "");
    } while (more);
    md_buf_done(&part);
    return end == MD_LINE_CLOSED && turn->len > 0 ? MD_LINE_TEXT : end;
}

static md_status ask(chat *c, const md_buf *turn, md_error *err)
{
    md_talk *t = &c->talk;
    md_cli_forget_interrupt();
    const md_status status = md_talk_ask(t, turn->data, turn->len, err);
    if (t->last_byte && t->last_byte != '\n')
        md_cli_write(t->cli, "\n", 1);
    MD_TRY(md_cli_flush(t->cli, err));
    if (md_cli_interrupted())
        fputs("(stopped)\n", stderr);
    if (md_cli_interrupted() == SIGTERM)
        c->leave = true;
    if (status == MD_ERR_LIMIT) /* the whole conversation is the prompt: there is more to do than to shorten it */
        return md_fail_within(err, status, "the conversation is too long (/reset forgets it, --ctx makes room)");
    if (status == MD_OK && t->result.finish == MD_FINISH_CONTEXT)
        md_cli_note_full(t, ", or /reset");
    if (status == MD_OK)
        md_cli_note_unfinished(t);
    md_cli_note_dropped(t);
    return status;
}

static void take_turn(chat *c, const md_buf *turn)
{
    md_error err = {0};
    const md_status status = turn->data[0] == '/' ? run_chat_command(c, turn->data, &err) : ask(c, turn, &err);
    if (status != MD_OK)
        md_cli_complain(&err);
    if (c->talk.cli->out_error != 0)
        c->leave = true;
}

static void talk_on(chat *c)
{
    md_buf turn = {0};
    int presses = 0; /* of Ctrl-C, one after another */
    while (!c->leave && presses < 2) {
        md_cli_forget_interrupt();
        const md_line_end end = read_turn(c, &turn);
        if (md_cli_interrupted() == SIGTERM)
            break;
        if (end == MD_LINE_INTERRUPTED) {
            fputs(++presses < 2 ? "\n(Ctrl-C again, or Ctrl-D, leaves)\n" : "\n", stderr);
        } else if (end == MD_LINE_CLOSED) {
            fputc('\n', stderr);
            c->leave = true;
        } else {
            presses = 0;
            if (turn.len > 0 && !turn.failed)
                take_turn(c, &turn);
        }
    }
    md_buf_done(&turn);
}

md_status md_cli_chat(md_cli *cli, md_error *err)
{
    chat c = {0};
    md_cli_catch_interrupts();
    MD_TRY(md_talk_open(cli, &c.talk, err));
    md_status status = MD_OK;
    c.talk.stream = true;
    c.line = md_line_open(cli);
    if (c.line) {
        const char *name = md_model_get_info(c.talk.model)->name;
        md_cli_note(cli, "%s: /help lists the commands, Ctrl-D leaves", name[0] ? name : cli->options->operand[0]);
        if (c.talk.file)
            show_loaded(&c);
        talk_on(&c);
        md_cli_show_figures(cli, &c.talk.figures);
    } else {
        status = md_fail_memory(err, "the command line");
    }
    if (status == MD_OK && md_cli_interrupted() == SIGTERM)
        status = md_cli_cancelled(err);
    md_line_close(c.line);
    md_talk_close(&c.talk);
    return status;
}
