/* SPDX-License-Identifier: Apache-2.0
 *
 * `medley embed`: vectors of texts, one line each, as JSON, or as a file of floats. Texts are operands, or the lines of a file
 * or of standard input; each gets what the model's tokenizer puts around a text. */
#include "cli/cli.h"

#include "base/file.h"
#include "base/sys.h"

#include <errno.h>
#include <medley/embed.h>
#include <string.h>

typedef struct texts {
    md_tokens ids;      /* owned: of all texts, one after another */
    md_embed_input *in; /* owned, [n]; token points into ids */
    size_t n, cap;
    size_t longest; /* tokens */
    size_t n_vectors;
} texts;

static void texts_done(texts *t)
{
    md_tokens_done(&t->ids);
    md_free(t->in);
}

static md_status add_text(const md_tokenizer *tok, const char *s, size_t n, texts *t, md_error *err)
{
    if (t->n == t->cap) {
        const size_t cap = t->cap ? 2 * t->cap : 16;
        md_embed_input *more = md_realloc(t->in, cap, sizeof *more);
        if (!more)
            return md_fail_memory(err, "the texts");
        t->in = more;
        t->cap = cap;
    }
    const size_t before = t->ids.n;
    MD_TRY(md_tokenize(tok, s, n, MD_TOKENIZE_BOS, &t->ids, err));
    const size_t count = t->ids.n - before;
    MD_FAIL_IF(count == 0, MD_ERR_ARGUMENT, "text %zu is empty", t->n + 1);
    t->in[t->n++] = (md_embed_input){.n = count};
    t->longest = count > t->longest ? count : t->longest;
    return MD_OK;
}

/* Lines without their ends; the last one may lack it. */
static md_status add_lines(md_cli *cli, const md_tokenizer *tok, texts *t, md_error *err)
{
    md_buf all = {0};
    md_status status = md_cli_read_all(md_opt_text(cli->options, MD_OPT_EMBED_FILE), &all, err);
    for (size_t at = 0; at < all.len && status == MD_OK;) {
        const char *line = all.data + at, *end = memchr(line, '\n', all.len - at);
        const size_t n = end ? (size_t)(end - line) : all.len - at;
        status = add_text(tok, line, n > 0 && line[n - 1] == '\r' ? n - 1 : n, t, err);
        at += n + 1;
    }
    md_buf_done(&all);
    return status;
}

static md_status read_texts(md_cli *cli, const md_model *m, texts *t, md_error *err)
{
    const md_options *o = cli->options;
    const md_tokenizer *tok;
    MD_FAIL_IF(o->n_operands > 1 && md_opt_given(o, MD_OPT_EMBED_FILE), MD_ERR_ARGUMENT,
               "give the texts either as arguments or with --file, not both");
    MD_TRY(md_cli_need_tokenizer(m, &tok, err));
    if (o->n_operands == 1)
        MD_TRY(add_lines(cli, tok, t, err));
    for (size_t i = 1; i < o->n_operands; i++)
        MD_TRY(add_text(tok, o->operand[i], strlen(o->operand[i]), t, err));
    MD_FAIL_IF(t->n == 0, MD_ERR_ARGUMENT, "there are no texts");
    size_t at = 0;
    for (size_t i = 0; i < t->n; i++) {
        t->in[i].token = t->ids.id + at;
        at += t->in[i].n;
    }
    return MD_OK;
}

static md_status open_session(const md_cli *cli, const md_model *m, size_t longest, md_session **out, md_error *err)
{
    MD_FAIL_IF(longest > 16777216, MD_ERR_LIMIT, "a text has %zu tokens; at most 16777216 are possible", longest);
    md_session_args args;
    md_embed_session_args(m, (int32_t)longest, &args);
    if (md_opt_given(cli->options, MD_OPT_THREADS))
        args.n_threads = (int32_t)md_opt_int(cli->options, MD_OPT_THREADS);
    md_memory need;
    char wants[32], has[32];
    MD_TRY(md_session_estimate(m, &args, &need, err));
    const uint64_t room = md_sys_free_memory();
    MD_FAIL_IF(need.kv > room || need.scratch > room - need.kv, MD_ERR_MEMORY,
               "texts of up to %zu tokens take %s of memory, but only %s is free: give shorter ones", longest,
               md_cli_bytes(wants, sizeof wants, need.kv + need.scratch), md_cli_bytes(has, sizeof has, room));
    if (md_opt_given(cli->options, MD_OPT_ISA))
        args.isa = md_opt_text(cli->options, MD_OPT_ISA);
    return md_session_new(m, &args, out, err);
}

/* ---- output ---- */

static void print_vectors(md_cli *cli, const float *v, size_t n, size_t width)
{
    md_buf line = {0};
    for (size_t i = 0; i < n; i++) {
        md_buf_reset(&line);
        for (size_t j = 0; j < width; j++)
            md_buf_printf(&line, "%s%.9g", j ? " " : "", (double)v[i * width + j]);
        md_buf_putc(&line, '\n');
        if (line.failed) {
            cli->out_error = cli->out_error ? cli->out_error : ENOMEM;
            break;
        }
        md_cli_write(cli, line.data, line.len);
    }
    md_buf_done(&line);
}

static json_t *json_vector(const float *v, size_t width)
{
    json_t *a = json_array();
    for (size_t j = 0; a && j < width; j++)
        if (json_array_append_new(a, json_real((double)v[j])) != 0) {
            json_decref(a);
            return NULL;
        }
    return a;
}

/* A text's vectors: one, or a list of them. */
static json_t *json_text(const md_embed_input *in, const float *v, size_t width, bool each)
{
    if (!each)
        return json_pack("{s:I, s:o}", "tokens", (json_int_t)in->n, "vector", json_vector(v, width));
    json_t *list = json_array();
    for (size_t i = 0; list && i < in->n; i++)
        if (json_array_append_new(list, json_vector(v + i * width, width)) != 0) {
            json_decref(list);
            list = NULL;
        }
    return json_pack("{s:I, s:o}", "tokens", (json_int_t)in->n, "vectors", list);
}

static md_status print_json(md_cli *cli, const texts *t, const float *v, size_t width, md_pooling pooling, bool raw,
                            md_error *err)
{
    const bool each = pooling == MD_POOLING_NONE;
    json_t *list = json_array();
    for (size_t i = 0; list && i < t->n; i++) {
        if (json_array_append_new(list, json_text(&t->in[i], v, width, each)) != 0) {
            json_decref(list);
            list = NULL;
        }
        v += each ? t->in[i].n * width : width;
    }
    return md_cli_write_json(cli,
                             json_pack("{s:s, s:b, s:I, s:o}", "pooling", md_pooling_name(pooling), "normalized",
                                       (int)!raw, "width", (json_int_t)width, "texts", list),
                             err);
}

static md_status write_file(const char *path, const float *v, size_t n, md_error *err)
{
    md_out *out = NULL;
    md_status status;
    MD_TRY_GOTO(md_out_open(path, &out, err));
    MD_TRY_GOTO(md_cli_write_f32(out, v, n, err));
    MD_TRY_GOTO(md_out_commit(out, err));
fail:
    md_out_close(out);
    return status;
}

static void report(const md_cli *cli, const texts *t, md_pooling pooling, double seconds)
{
    char memory[32];
    md_cli_note(cli, "%zu text%s, %zu tokens, %.1f s | pooling %s | peak memory %s", t->n, t->n == 1 ? "" : "s",
                t->ids.n, seconds, md_pooling_name(pooling), md_cli_bytes(memory, sizeof memory, md_sys_peak_rss()));
}

/* ---- together ---- */

static md_status embed_texts(md_cli *cli, const md_model *m, texts *t, md_error *err)
{
    const md_options *o = cli->options;
    const md_model_info *info = md_model_get_info(m);
    const size_t width = (size_t)info->n_embd;
    static const md_pooling poolings[] = {MD_POOLING_NONE, MD_POOLING_MEAN, MD_POOLING_CLS, MD_POOLING_LAST,
                                          MD_POOLING_POWER};
    const md_pooling pooling = md_opt_given(o, MD_OPT_POOLING) ? poolings[md_opt_int(o, MD_OPT_POOLING)]
                                                               : info->pooling;
    md_session *s = NULL;
    float *v = NULL;
    md_cli_bar bar;
    md_status status;
    MD_TRY_GOTO(read_texts(cli, m, t, err));
    for (size_t i = 0; i < t->n; i++)
        t->n_vectors += md_embed_count(m, &t->in[i], pooling);
    MD_TRY_GOTO(open_session(cli, m, t->longest, &s, err));
    v = t->n_vectors <= SIZE_MAX / width ? md_calloc(t->n_vectors * width, sizeof *v) : NULL;
    if (!v) {
        status = md_fail_memory(err, "the vectors");
        goto fail;
    }
    const md_embed_args args = {.pooling = pooling,
                                .power = md_opt_number(o, MD_OPT_POWER),
                                .raw = !md_opt_flag(o, MD_OPT_NORMALIZE),
                                .progress = md_cli_bar_update,
                                .progress_user = &bar};
    const double began = md_sys_seconds();
    md_cli_bar_begin(&bar, cli, "reading");
    status = md_embed(s, t->in, t->n, &args, v, err);
    md_cli_bar_end(&bar);
    MD_TRY_GOTO(status);
    const double seconds = md_sys_seconds() - began;
    if (md_opt_given(o, MD_OPT_RAW_F32))
        MD_TRY_GOTO(write_file(md_opt_text(o, MD_OPT_RAW_F32), v, t->n_vectors * width, err));
    else if (md_opt_flag(o, MD_OPT_JSON))
        MD_TRY_GOTO(print_json(cli, t, v, width, pooling, args.raw, err));
    else
        print_vectors(cli, v, t->n_vectors, width);
    report(cli, t, pooling, seconds);
fail:
    md_session_free(s);
    md_free(v);
    return status;
}

md_status md_cli_embed(md_cli *cli, md_error *err)
{
    MD_FAIL_IF(md_opt_given(cli->options, MD_OPT_RAW_F32) && md_opt_flag(cli->options, MD_OPT_JSON), MD_ERR_ARGUMENT,
               "--raw-f32 and --json are two forms of the same output: give one of them");
    md_cli_catch_interrupts();
    md_model *m = NULL;
    texts t = {0};
    MD_TRY(md_cli_open_model(cli, &m, err));
    md_cli_show_notes(cli, m);
    md_status status = embed_texts(cli, m, &t, err);
    if (status == MD_ERR_CANCELLED)
        status = md_cli_cancelled(err);
    texts_done(&t);
    md_model_close(m);
    return status;
}
