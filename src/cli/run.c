/* SPDX-License-Identifier: Apache-2.0
 *
 * `medley run`: one prompt, one answer; without a prompt and on a terminal, a chat (chat.c). */
#include "cli/run.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The prompt, from where the options say. A file's last line feed belongs to the file, not to the prompt. */
static md_status read_prompt(md_cli *cli, md_buf *out, md_error *err)
{
    const md_options *o = cli->options;
    const char *given = md_opt_text(o, MD_OPT_PROMPT);
    MD_FAIL_IF(given && md_opt_given(o, MD_OPT_RUN_FILE), MD_ERR_ARGUMENT,
               "give the prompt with -p or with --file, not with both");
    if (given) {
        md_buf_append(out, given, strlen(given));
        return out->failed ? md_fail_memory(err, "the prompt") : MD_OK;
    }
    MD_TRY(md_cli_read_all(md_opt_text(o, MD_OPT_RUN_FILE), out, err));
    if (out->len > 0 && out->data[out->len - 1] == '\n')
        out->data[--out->len] = '\0';
    return MD_OK;
}

static md_status report_json(md_talk *t, md_error *err)
{
    json_t *o = json_pack("{s:o, s:s, s:o, s:o}", "text", md_cli_json_text(t->answer.data, t->answer.len), "finish",
                          md_finish_name(t->result.finish), "tokens",
                          md_cli_json_ids(md_talk_tokens(t), (size_t)t->result.n_generated), "figures",
                          md_cli_json_figures(&t->figures));
    return md_cli_write_json(t->cli, o, err);
}

void md_cli_note_full(const md_talk *t, const char *what_else)
{
    md_cli_note(t->cli, "the context of %d tokens is full, so the answer stops here: give more with --ctx%s",
                (int)t->capacity, what_else);
}

void md_cli_note_dropped(const md_talk *t)
{
    if (t->n_dropped > 0)
        md_cli_note(t->cli, "the context of %d tokens was full: the oldest %zu %s dropped, and the rest was read again",
                    (int)t->capacity, t->n_dropped, t->template_ ? "messages were" : "tokens were");
}

void md_cli_note_unfinished(const md_talk *t)
{
    if (t->constraint && (t->result.finish == MD_FINISH_LENGTH || t->result.finish == MD_FINISH_CONTEXT) &&
        !md_constraint_may_end(t->constraint))
        md_cli_note(t->cli, "the answer was cut short: its grammar is not complete");
}

static md_status run_once(md_cli *cli, const md_buf *prompt, md_error *err)
{
    md_talk t;
    MD_TRY(md_talk_open(cli, &t, err));
    const bool json = md_opt_flag(cli->options, MD_OPT_JSON);
    t.stream = !json;
    md_status status;
    MD_TRY_GOTO(md_talk_ask(&t, prompt->data, prompt->len, err));
    if (t.stream && t.last_byte && t.last_byte != '\n')
        md_cli_write(cli, "\n", 1);
    MD_TRY_GOTO(md_cli_flush(cli, err));
    if (t.result.finish == MD_FINISH_CONTEXT)
        md_cli_note_full(&t, "");
    md_cli_note_unfinished(&t);
    md_cli_note_dropped(&t);
    if (json)
        MD_TRY_GOTO(report_json(&t, err));
    else
        md_cli_show_figures(cli, &t.figures);
    if (md_cli_interrupted())
        status = md_cli_cancelled(err);
fail:
    status = md_cli_tracing_end(&t.tracing, status, err);
    if (status != MD_OK && t.last_byte && t.last_byte != '\n') /* the error begins a line of its own */
        md_cli_write(cli, "\n", 1);
    md_talk_close(&t);
    return status;
}

md_status md_cli_run(md_cli *cli, md_error *err)
{
    const md_options *o = cli->options;
    if (!md_opt_given(o, MD_OPT_PROMPT) && !md_opt_given(o, MD_OPT_RUN_FILE) && isatty(STDIN_FILENO)) {
        MD_FAIL_IF(md_opt_flag(o, MD_OPT_JSON), MD_ERR_ARGUMENT, "--json needs a prompt: give -p or --file");
        return md_cli_chat(cli, err);
    }
    md_buf prompt = {0};
    md_status status = read_prompt(cli, &prompt, err);
    if (status == MD_OK) {
        md_cli_catch_interrupts();
        status = run_once(cli, &prompt, err);
    }
    md_buf_done(&prompt);
    return status;
}
