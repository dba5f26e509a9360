/* SPDX-License-Identifier: Apache-2.0
 *
 * `medley tokenize`: text to token ids, bare, with their texts, or with where each comes from. Reads the vocabulary
 * only: a file without weights will do. */
#include "cli/cli.h"

#include "base/utf8.h"

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

/* --- --explain --- */

/* A character of a token, in quotes: what cannot be shown as it is becomes an escape. */
static void print_char(md_buf *b, const char *s, int len, uint32_t cp)
{
    if (cp == '\n')
        md_buf_puts(b, "\\n");
    else if (cp == '\t')
        md_buf_puts(b, "\\t");
    else if (cp == '"' || cp == '\\')
        md_buf_printf(b, "\\%c", (int)cp);
    else if (cp < 0x20 || cp == 0x7f)
        md_buf_printf(b, "\\x%02x", (unsigned)cp);
    else if (cp >= 0x80 && cp < 0xa0)
        md_buf_printf(b, "\\u%04x", (unsigned)cp);
    else
        md_buf_append(b, s, (size_t)len);
}

static void print_bytes(md_buf *b, const char *s, size_t n)
{
    md_buf_putc(b, '"');
    for (size_t i = 0; i < n;) {
        uint32_t cp;
        const int len = md_utf8_decode(s + i, n - i, &cp);
        if (len)
            print_char(b, s + i, len, cp);
        else
            md_buf_printf(b, "\\x%02x", (unsigned)(unsigned char)s[i]);
        i += len ? (size_t)len : 1;
    }
    md_buf_putc(b, '"');
}

/* "merged 17", "chosen -7.25", "added". */
static void print_how(md_buf *b, const md_tokenizer *tok, int32_t id, const md_token_note *note)
{
    float score;
    md_buf_puts(b, md_token_how_name(note->how));
    if (note->rank >= 0)
        md_buf_printf(b, " %d", (int)note->rank);
    else if ((note->how == MD_TOKEN_MERGED || note->how == MD_TOKEN_CHOSEN) && md_token_score(tok, id, &score))
        md_buf_printf(b, " %g", (double)score);
}

static md_status print_notes(md_cli *cli, const md_tokenizer *tok, const md_tokens *t, const md_token_notes *notes,
                             md_error *err)
{
    md_buf line = {0};
    for (size_t i = 0; i < t->n && !line.failed; i++) {
        const md_token_note *note = &notes->at[i];
        size_t n;
        const char *bytes = md_token_bytes(tok, t->id[i], &n);
        md_buf_reset(&line);
        md_buf_printf(&line, "%d\t", (int)t->id[i]);
        print_bytes(&line, bytes, n);
        md_buf_printf(&line, "\t%zu-%zu\t%s\t", note->begin, note->end, md_token_type_name(tok, t->id[i]));
        if (note->piece >= 0)
            md_buf_printf(&line, "%lld\t", (long long)note->piece);
        else
            md_buf_puts(&line, "-\t");
        print_how(&line, tok, t->id[i], note);
        md_buf_putc(&line, '\n');
        md_cli_write(cli, line.data, line.len);
    }
    const bool failed = line.failed;
    md_buf_done(&line);
    return failed ? md_fail_memory(err, "the explanation") : MD_OK;
}

/* The bytes of a token in hexadecimal digits: exact where its text is not. */
static json_t *json_hex(const char *s, size_t n)
{
    md_buf hex = {0};
    md_buf_append(&hex, "", 0);
    for (size_t i = 0; i < n; i++)
        md_buf_printf(&hex, "%02x", (unsigned)(unsigned char)s[i]);
    json_t *out = hex.failed ? NULL : json_stringn(hex.data, hex.len);
    md_buf_done(&hex);
    return out;
}

static json_t *json_note(const md_tokenizer *tok, int32_t id, const md_token_note *note)
{
    size_t n;
    float score;
    const char *bytes = md_token_bytes(tok, id, &n);
    json_t *o = json_pack("{s:i, s:o, s:o, s:I, s:I, s:s, s:s}", "id", (int)id, "text", md_cli_json_text(bytes, n),
                          "bytes", json_hex(bytes, n), "begin", (json_int_t)note->begin, "end", (json_int_t)note->end,
                          "kind", md_token_type_name(tok, id), "how", md_token_how_name(note->how));
    int bad = o == NULL;
    if (!bad && note->piece >= 0)
        bad |= json_object_set_new(o, "piece", json_integer(note->piece));
    if (!bad && note->rank >= 0)
        bad |= json_object_set_new(o, "rank", json_integer(note->rank));
    if (!bad && md_token_score(tok, id, &score))
        bad |= json_object_set_new(o, "score", json_real((double)score));
    if (!bad)
        return o;
    json_decref(o);
    return NULL;
}

static md_status print_json_notes(md_cli *cli, const md_tokenizer *tok, const md_tokens *t, const md_token_notes *notes,
                                  md_error *err)
{
    json_t *list = json_array();
    for (size_t i = 0; list && i < t->n; i++)
        if (json_array_append_new(list, json_note(tok, t->id[i], &notes->at[i])) != 0) {
            json_decref(list);
            list = NULL;
        }
    return md_cli_write_json(
        cli,
        json_pack("{s:s, s:s, s:o}", "model", md_tokenizer_kind(tok), "rule", md_tokenizer_pre(tok), "tokens", list),
        err);
}

static md_status explain(md_cli *cli, const md_tokenizer *tok, const md_buf *text, unsigned flags, md_tokens *ids,
                         md_error *err)
{
    md_token_notes notes = {0};
    md_status status = md_tokenize_explain(tok, text->data, text->len, flags, ids, &notes, err);
    if (status == MD_OK)
        status = md_opt_flag(cli->options, MD_OPT_JSON) ? print_json_notes(cli, tok, ids, &notes, err)
                                                        : print_notes(cli, tok, ids, &notes, err);
    md_token_notes_done(&notes);
    return status;
}

static md_status tokenize(md_cli *cli, const md_tokenizer *tok, const md_buf *text, md_tokens *ids, md_error *err)
{
    const md_options *o = cli->options;
    const unsigned flags = (md_opt_flag(o, MD_OPT_BOS) ? (unsigned)MD_TOKENIZE_BOS : 0u) |
                           (md_opt_flag(o, MD_OPT_TOKENIZE_SPECIAL) ? (unsigned)MD_TOKENIZE_SPECIAL : 0u);
    if (md_opt_flag(o, MD_OPT_EXPLAIN))
        return explain(cli, tok, text, flags, ids, err);
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
    md_tokenizer *tok = NULL;
    md_status status;
    MD_TRY_GOTO(md_tokenizer_open(cli->options->operand[0], &tok, err));
    MD_TRY_GOTO(read_text(cli, &text, err));
    MD_TRY_GOTO(tokenize(cli, tok, &text, &ids, err));
fail:
    md_tokenizer_free(tok);
    md_tokens_done(&ids);
    md_buf_done(&text);
    return status;
}
