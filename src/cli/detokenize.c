/* SPDX-License-Identifier: Apache-2.0
 *
 * `medley detokenize`: token ids to text, byte for byte; a line feed is added only on a terminal. Reads the vocabulary
 * only: a file without weights will do. */
#include "cli/cli.h"

static md_status read_ids(md_cli *cli, int32_t n_vocab, md_tokens *ids, md_error *err)
{
    const md_options *o = cli->options;
    const char *path = md_opt_text(o, MD_OPT_IN_FILE);
    MD_FAIL_IF(path && o->n_operands > 1, MD_ERR_ARGUMENT, "give the ids either as arguments or with --file, not both");
    md_buf text = {0};
    md_status status = MD_OK;
    if (o->n_operands < 2)
        status = md_cli_read_all(path, &text, err);
    for (size_t i = 1; i < o->n_operands; i++)
        md_buf_printf(&text, "%s ", o->operand[i]);
    if (status == MD_OK && text.failed)
        status = md_fail_memory(err, "the ids");
    const char *name = o->n_operands > 1 ? "the arguments" : path ? path : "standard input";
    if (status == MD_OK)
        status = md_cli_parse_ids(text.data, text.len, name, n_vocab, ids, err);
    md_buf_done(&text);
    return status;
}

static md_status write_all(md_cli *cli, md_detok *d, const md_tokens *ids, md_error *err)
{
    const char *text;
    size_t n;
    char last = '\n';
    for (size_t i = 0; i <= ids->n; i++) {
        if (i < ids->n)
            MD_TRY(md_detok_push(d, ids->id[i], &text, &n, err));
        else
            MD_TRY(md_detok_finish(d, &text, &n, err));
        md_cli_write_text(cli, text, n);
        if (n)
            last = text[n - 1];
    }
    if (cli->out_is_terminal && last != '\n')
        md_cli_write(cli, "\n", 1);
    return MD_OK;
}

md_status md_cli_detokenize(md_cli *cli, md_error *err)
{
    md_tokens ids = {0};
    md_tokenizer *tok = NULL;
    md_detok *d = NULL;
    md_status status;
    MD_TRY_GOTO(md_tokenizer_open(cli->options->operand[0], &tok, err));
    MD_TRY_GOTO(read_ids(cli, md_tokenizer_size(tok), &ids, err));
    d = md_detok_new(tok, md_opt_flag(cli->options, MD_OPT_RUN_SPECIAL), true);
    status = d ? write_all(cli, d, &ids, err) : md_fail_memory(err, "the detokenizer");
fail:
    md_detok_free(d);
    md_tokenizer_free(tok);
    md_tokens_done(&ids);
    return status;
}
