/* SPDX-License-Identifier: Apache-2.0
 *
 * `medley tokenize`: text to token ids. */
#include "cli/cli.h"

#include <stdlib.h>

static md_status read_text(md_cli *cli, md_buf *text, md_error *err)
{
    const md_options *o = cli->options;
    const char *path = md_opt_text(o, MD_OPT_IN_FILE);
    MD_FAIL_IF(path && o->n_operands > 1, MD_ERR_ARGUMENT,
               "give the text either as an argument or with --file, not both");
    if (o->n_operands < 2)
        return md_cli_read_all(path, text, err);
    md_buf_puts(text, o->operand[1]);
    md_buf_append(text, "", 0);
    return text->failed ? md_fail_memory(err, "the text") : MD_OK;
}

static void print_ids(md_cli *cli, const md_tokens *t)
{
    for (size_t i = 0; i < t->n; i++)
        md_cli_printf(cli, "%s%d", i ? " " : "", (int)t->id[i]);
    md_cli_printf(cli, "\n");
}

static void print_pieces(md_cli *cli, const md_tokenizer *tok, const md_tokens *t)
{
    for (size_t i = 0; i < t->n; i++) {
        size_t n;
        const char *bytes = md_token_bytes(tok, t->id[i], &n);
        json_t *text = md_cli_json_text(bytes, n);
        char *quoted = text ? json_dumps(text, JSON_ENCODE_ANY | JSON_ENSURE_ASCII * cli->out_is_terminal) : NULL;
        md_cli_printf(cli, "%d\t%s\n", (int)t->id[i], quoted ? quoted : "\"\"");
        free(quoted);
        json_decref(text);
    }
}

static md_status print_json(md_cli *cli, const md_tokenizer *tok, const md_tokens *t, md_error *err)
{
    json_t *pieces = json_array();
    for (size_t i = 0; pieces && i < t->n; i++) {
        size_t n;
        const char *bytes = md_token_bytes(tok, t->id[i], &n);
        if (json_array_append_new(pieces, md_cli_json_text(bytes, n)) != 0) {
            json_decref(pieces);
            pieces = NULL;
        }
    }
    return md_cli_write_json(cli, json_pack("{s:o, s:o}", "tokens", md_cli_json_ids(t->id, t->n), "pieces", pieces),
                             err);
}

static md_status tokenize(md_cli *cli, const md_tokenizer *tok, const md_buf *text, md_tokens *ids, md_error *err)
{
    const md_options *o = cli->options;
    const unsigned flags = (md_opt_flag(o, MD_OPT_BOS) ? (unsigned)MD_TOKENIZE_BOS : 0u) |
                           (md_opt_flag(o, MD_OPT_TOKENIZE_SPECIAL) ? (unsigned)MD_TOKENIZE_SPECIAL : 0u);
    MD_TRY(md_tokenize(tok, text->data, text->len, flags, ids, err));
    if (md_opt_flag(o, MD_OPT_JSON))
        return print_json(cli, tok, ids, err);
    if (md_opt_flag(o, MD_OPT_PIECES))
        print_pieces(cli, tok, ids);
    else
        print_ids(cli, ids);
    return MD_OK;
}

md_status md_cli_tokenize(md_cli *cli, md_error *err)
{
    md_buf text = {0};
    md_tokens ids = {0};
    md_model *model = NULL;
    const md_tokenizer *tok;
    md_status status;
    MD_TRY_GOTO(md_cli_open_model(cli, &model, err));
    MD_TRY_GOTO(md_cli_need_tokenizer(model, &tok, err));
    MD_TRY_GOTO(read_text(cli, &text, err));
    MD_TRY_GOTO(tokenize(cli, tok, &text, &ids, err));
fail:
    md_model_close(model);
    md_tokens_done(&ids);
    md_buf_done(&text);
    return status;
}
