/* SPDX-License-Identifier: Apache-2.0
 *
 * `medley inspect`: what a model file holds, from its header alone; --check reads every weight, --memory opens the
 * model. What is shown is gathered in one JSON object first; text is a view of it (inspect_text.c). */
#include "cli/inspect.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* ---- the header ---- */

typedef struct type_size {
    const char *type; /* borrowed from the description */
    uint64_t tensors, bytes;
} type_size;

static int larger_first(const void *a, const void *b)
{
    const type_size *x = a, *y = b;
    return x->bytes != y->bytes ? (x->bytes < y->bytes ? 1 : -1) : strcmp(x->type, y->type);
}

static json_t *json_types(const md_description *d)
{
    type_size size[64] = {0}; /* more than there are tensor types */
    size_t n = 0;
    for (size_t i = 0; i < md_description_n_tensors(d); i++) {
        md_tensor_info t;
        md_description_tensor(d, i, &t);
        size_t k = 0;
        while (k < n && strcmp(size[k].type, t.type) != 0)
            k++;
        if (k == n && n++ == 64)
            return NULL;
        size[k].type = t.type;
        size[k].tensors++;
        size[k].bytes += t.bytes;
    }
    qsort(size, n, sizeof size[0], larger_first);
    json_t *types = json_object();
    for (size_t k = 0; types && k < n; k++)
        json_object_set_new(
            types, size[k].type,
            json_pack("{s:I, s:I}", "tensors", (json_int_t)size[k].tensors, "bytes", (json_int_t)size[k].bytes));
    return types;
}

static json_t *json_parts(const md_model_info *info)
{
    json_t *parts = json_object();
    for (int p = 0; parts && p < MD_N_PARTS; p++) {
        const md_part_size *s = &info->part[p];
        if (s->tensors > 0)
            json_object_set_new(parts, md_part_name((md_part)p),
                                json_pack("{s:I, s:I, s:I}", "tensors", (json_int_t)s->tensors, "weights",
                                          (json_int_t)s->weights, "bytes", (json_int_t)s->bytes));
    }
    return parts;
}

static json_t *json_string_of(const char *s)
{
    return md_cli_json_text(s, strlen(s));
}

/* The front of the chat template as the metadata shows it, or null. */
static json_t *json_template(const md_description *d)
{
    for (size_t i = 0; i < md_description_n_metadata(d); i++) {
        md_metadata_info m;
        md_description_metadata(d, i, &m);
        if (strcmp(m.key, "tokenizer.chat_template") == 0)
            return json_loads(m.value, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    }
    return json_null();
}

static json_t *json_header(const md_description *d)
{
    const md_model_info *i = md_description_info(d);
    return json_pack(
        "{s:o, s:o, s:o, s:o, s:b, s:b, s:b, s:o, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:I, s:I, s:I, s:b, s:b, s:s, s:o, s:o}",
        "architecture", json_string_of(i->arch), "name", json_string_of(i->name), "tokenizer",
        json_string_of(i->tokenizer), "router", json_string_of(i->router), "packed", (int)i->packed, "for_streaming",
        (int)i->for_streaming, "has_chat_template", (int)i->has_chat_template, "chat_template_front", json_template(d),
        "layers", (int)i->n_layer, "embedding", (int)i->n_embd, "vocabulary", (int)i->n_vocab, "trained_context",
        (int)i->n_ctx_train, "heads", (int)i->n_head, "kv_heads", (int)i->n_head_kv, "head_size", (int)i->n_head_dim,
        "ffn", (int)i->n_ff, "experts", (int)i->n_expert, "experts_used", (int)i->n_expert_used, "experts_shared",
        (int)i->n_expert_shared, "expert_ffn", (int)i->n_ff_expert, "weights", (json_int_t)i->weights, "weights_active",
        (json_int_t)i->weights_active, "file_bytes", (json_int_t)i->file_bytes, "causal", (int)i->causal, "has_logits",
        (int)i->has_logits, "pooling", md_pooling_name(i->pooling), "parts", json_parts(i), "types", json_types(d));
}

static json_t *json_tensors(const md_description *d)
{
    json_t *list = json_array();
    for (size_t i = 0; list && i < md_description_n_tensors(d); i++) {
        md_tensor_info t;
        md_description_tensor(d, i, &t);
        json_t *shape = json_array();
        for (int k = 0; shape && k < t.n_dims; k++)
            json_array_append_new(shape, json_integer(t.dim[k]));
        json_array_append_new(list, json_pack("{s:o, s:s, s:o, s:I, s:I, s:i, s:s}", "name", json_string_of(t.name),
                                              "type", t.type, "shape", shape, "bytes", (json_int_t)t.bytes, "offset",
                                              (json_int_t)t.offset, "file", (int)t.file, "part", md_part_name(t.part)));
    }
    return list;
}

static json_t *json_metadata(const md_description *d)
{
    json_t *list = json_array();
    for (size_t i = 0; list && i < md_description_n_metadata(d); i++) {
        md_metadata_info m;
        md_description_metadata(d, i, &m);
        json_t *value = json_loads(m.value, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
        if (!value) /* numbers that JSON has no word for: nan, inf */
            value = json_string_of(m.value);
        json_array_append_new(list, json_pack("{s:o, s:s, s:I, s:o, s:b}", "key", json_string_of(m.key), "kind", m.kind,
                                              "count", (json_int_t)m.count, "value", value, "whole", (int)m.whole));
    }
    return list;
}

/* ---- --memory and --check ---- */

static md_status estimate(md_cli *cli, json_t **out, md_error *err)
{
    const md_options *o = cli->options;
    md_model *m = NULL;
    MD_TRY(md_cli_open_model(cli, &m, err));
    md_session_args args;
    md_session_args_default(m, &args);
    if (md_opt_given(o, MD_OPT_RUN_CTX))
        args.n_positions = (int32_t)md_opt_int(o, MD_OPT_RUN_CTX);
    if (md_opt_given(o, MD_OPT_THREADS))
        args.n_threads = (int32_t)md_opt_int(o, MD_OPT_THREADS);
    args.kv_type = (md_kv_type)md_opt_int(o, MD_OPT_RUN_KV_TYPE);
    md_memory mem;
    const md_status status = md_session_estimate(m, &args, &mem, err);
    md_model_close(m);
    MD_TRY(status);
    *out = json_pack("{s:i, s:s, s:I, s:I, s:I, s:I, s:I, s:I}", "context", (int)args.n_positions, "kv_type",
                     md_kv_type_name(args.kv_type), "weights", (json_int_t)mem.weights, "kv", (json_int_t)mem.kv,
                     "scratch", (json_int_t)mem.scratch, "slots", (json_int_t)mem.slots, "program",
                     (json_int_t)mem.program, "total", (json_int_t)mem.total);
    return MD_OK;
}

static void on_finding(void *user, const md_check_finding *f)
{
    json_array_append_new(user, json_pack("{s:o, s:I, s:I, s:I, s:f}", "tensor", json_string_of(f->tensor), "nan",
                                          (json_int_t)f->nan, "inf", (json_int_t)f->inf, "absurd",
                                          (json_int_t)f->absurd, "max_abs", (double)f->max_abs));
}

static md_status check(md_cli *cli, json_t *findings, md_error *err)
{
    uint64_t n_bad = 0;
    md_cli_bar bar;
    md_cli_catch_interrupts();
    md_cli_bar_begin(&bar, cli, "checking");
    const md_status status = md_model_check(cli->options->operand[0], on_finding, findings, md_cli_bar_update, &bar,
                                            &n_bad, err);
    md_cli_bar_end(&bar);
    return status == MD_ERR_CANCELLED ? md_cli_cancelled(err) : status;
}

/* ---- together ---- */

static md_status gather(md_cli *cli, const md_description *d, json_t **out, md_error *err)
{
    const md_options *o = cli->options;
    *out = json_header(d);
    if (!*out)
        return md_fail_memory(err, "the description");
    if (md_opt_flag(o, MD_OPT_METADATA))
        json_object_set_new(*out, "metadata", json_metadata(d));
    if (md_opt_flag(o, MD_OPT_TENSORS))
        json_object_set_new(*out, "tensors", json_tensors(d));
    if (md_opt_flag(o, MD_OPT_MEMORY)) {
        json_t *memory = NULL;
        MD_TRY(estimate(cli, &memory, err));
        json_object_set_new(*out, "memory", memory);
    }
    if (md_opt_flag(o, MD_OPT_CHECK)) {
        json_t *findings = json_array();
        json_object_set_new(*out, "check", findings);
        if (findings)
            MD_TRY(check(cli, findings, err));
    }
    return MD_OK;
}

md_status md_cli_inspect(md_cli *cli, md_error *err)
{
    const md_options *o = cli->options;
    MD_FAIL_IF(
        (md_opt_given(o, MD_OPT_RUN_CTX) || md_opt_given(o, MD_OPT_RUN_KV_TYPE) || md_opt_given(o, MD_OPT_THREADS)) &&
            !md_opt_flag(o, MD_OPT_MEMORY),
        MD_ERR_ARGUMENT, "--ctx, --kv-type and --threads say what --memory estimates: give --memory with them");
    md_description *d = NULL;
    json_t *all = NULL;
    md_status status;
    const md_model_args args = md_cli_model_args(cli);
    MD_TRY_GOTO(md_model_describe(o->operand[0], &args, &d, err));
    MD_TRY_GOTO(gather(cli, d, &all, err));
    const size_t n_bad = json_array_size(json_object_get(all, "check"));
    if (md_opt_flag(o, MD_OPT_JSON))
        MD_TRY_GOTO(md_cli_write_json(cli, json_incref(all), err));
    else
        MD_TRY_GOTO(md_cli_inspect_text(cli, all, err));
    if (n_bad > 0)
        status = md_fail(err, MD_ERR_FORMAT, "'%s': %zu tensor%s hold%s NaN, infinite or absurdly large weights",
                         o->operand[0], n_bad, n_bad == 1 ? "" : "s", n_bad == 1 ? "s" : "");
fail:
    json_decref(all);
    md_description_free(d);
    return status;
}
