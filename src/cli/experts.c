/* SPDX-License-Identifier: Apache-2.0
 *
 * --experts-off and --experts-on: "3:17,5:0-7,*:2" onto a sequence. The library judges layers and experts; here only
 * the spelling is checked. */
#include "cli/cli.h"

#include <string.h>

typedef struct expert_range {
    int32_t layer; /* -1: every layer with experts */
    int32_t first, last;
} expert_range;

/* Which layers have a router, from the names of the tensors ("blk.3.ffn_gate_inp.weight"). */
typedef struct layer_set {
    bool *has; /* owned, [n] */
    int32_t n;
} layer_set;

/* A whole number of at most 9 digits at *p, which moves behind it; -1 if there is none. */
static int32_t take_number(const char **p)
{
    int32_t value = -1;
    for (int digits = 0; **p >= '0' && **p <= '9'; ++*p) {
        if (++digits > 9)
            return -1;
        value = (value < 0 ? 0 : value) * 10 + (**p - '0');
    }
    return value;
}

/* One item of the list, up to a comma or the end. */
static bool take_range(const char **p, expert_range *out)
{
    out->layer = -1;
    if (**p == '*')
        ++*p;
    else if ((out->layer = take_number(p)) < 0)
        return false;
    if (**p != ':')
        return false;
    ++*p;
    out->first = out->last = take_number(p);
    if (**p == '-') {
        ++*p;
        out->last = take_number(p);
    }
    return out->first >= 0 && out->last >= out->first && (**p == ',' || **p == '\0');
}

static md_status find_routed(const md_cli *cli, int32_t n_layer, layer_set *out, md_error *err)
{
    *out = (layer_set){.has = md_calloc((size_t)n_layer, sizeof *out->has), .n = n_layer};
    if (!out->has)
        return md_fail_memory(err, "the expert lists");
    md_description *d = NULL;
    const md_model_args args = md_cli_model_args(cli);
    MD_TRY(md_model_describe(cli->options->operand[0], &args, &d, err));
    for (size_t i = 0; i < md_description_n_tensors(d); i++) {
        md_tensor_info t;
        md_description_tensor(d, i, &t);
        const char *p = t.name;
        if (t.part != MD_PART_ROUTER || strncmp(p, "blk.", 4) != 0)
            continue;
        p += 4;
        const int32_t layer = take_number(&p);
        if (layer >= 0 && layer < n_layer)
            out->has[layer] = true;
    }
    md_description_free(d);
    return MD_OK;
}

static md_status apply_layer(md_seq *q, int32_t layer, const expert_range *r, md_expert_state state, md_error *err)
{
    for (int32_t e = r->first; e <= r->last; e++)
        MD_TRY(md_seq_mask_expert(q, layer, e, state, err));
    return MD_OK;
}

static md_status apply_range(md_seq *q, const layer_set *routed, const expert_range *r, md_expert_state state,
                             md_error *err)
{
    if (r->layer >= 0)
        return apply_layer(q, r->layer, r, state, err);
    bool any = false;
    for (int32_t l = 0; l < routed->n; l++)
        if (routed->has[l]) {
            any = true;
            MD_TRY(apply_layer(q, l, r, state, err));
        }
    MD_FAIL_IF(!any, MD_ERR_ARGUMENT, "'*' names every layer with experts, but this model has none");
    return MD_OK;
}

static md_status apply_option(md_cli *cli, md_option id, md_expert_state state, const layer_set *routed, md_seq *q,
                              md_error *err)
{
    const md_option_value *v = &cli->options->value[id];
    const char *name = md_option_get_spec(id)->name;
    for (size_t i = 0; i < v->n_list; i++) {
        const char *p = v->list[i];
        do {
            const char *item = p;
            expert_range r;
            MD_FAIL_IF(!take_range(&p, &r), MD_ERR_ARGUMENT,
                       "--%s wants layer:expert or layer:first-last, separated by commas, not '%s'", name, item);
            if (apply_range(q, routed, &r, state, err) != MD_OK)
                return md_fail_within(err, err ? err->code : MD_ERR_ARGUMENT, "--%s", name);
        } while (*p++ == ',');
    }
    return MD_OK;
}

md_status md_cli_mask_experts(md_cli *cli, const md_model *m, md_seq *q, md_error *err)
{
    const md_options *o = cli->options;
    if (!md_opt_given(o, MD_OPT_EXPERTS_OFF) && !md_opt_given(o, MD_OPT_EXPERTS_ON))
        return MD_OK;
    layer_set routed = {0};
    md_status status = find_routed(cli, md_model_get_info(m)->n_layer, &routed, err);
    if (status == MD_OK)
        status = apply_option(cli, MD_OPT_EXPERTS_OFF, MD_EXPERT_OFF, &routed, q, err);
    if (status == MD_OK)
        status = apply_option(cli, MD_OPT_EXPERTS_ON, MD_EXPERT_FORCED, &routed, q, err);
    md_free(routed.has);
    return status;
}
