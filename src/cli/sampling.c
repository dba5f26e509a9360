/* SPDX-License-Identifier: Apache-2.0
 *
 * The options of `run` about choosing tokens that take more than a number: DRY with its breakers, and what an answer must
 * look like (--grammar, --json-schema). */
#include "cli/sampling.h"

#include <stdlib.h>
#include <string.h>

void md_cli_read_sampling(const md_options *o, const md_tokenizer *t, md_sampler_args *args)
{
    static const char *const breakers[] = {"\n", ":", "\"", "*"};
    const md_option_value *given = &o->value[MD_OPT_DRY_BREAKER];
    args->dry_multiplier = (float)md_opt_number(o, MD_OPT_DRY_MULTIPLIER);
    args->dry_base = (float)md_opt_number(o, MD_OPT_DRY_BASE);
    args->dry_allowed_length = (int32_t)md_opt_int(o, MD_OPT_DRY_ALLOWED_LENGTH);
    args->dry_penalty_last = (int32_t)md_opt_int(o, MD_OPT_DRY_PENALTY_LAST);
    args->dry_breaker = given->n_list ? given->list : (const char *const *)breakers;
    args->n_dry_breaker = given->n_list ? given->n_list : sizeof breakers / sizeof *breakers;
    if (given->n_list == 1 && strcmp(given->list[0], "none") == 0)
        args->n_dry_breaker = 0;
    args->tokenizer = t;
    args->top_n_sigma = (float)md_opt_number(o, MD_OPT_TOP_N_SIGMA);
    args->xtc_probability = (float)md_opt_number(o, MD_OPT_XTC_PROBABILITY);
    args->xtc_threshold = (float)md_opt_number(o, MD_OPT_XTC_THRESHOLD);
    args->mirostat = (int32_t)md_opt_int(o, MD_OPT_MIROSTAT);
    args->mirostat_tau = (float)md_opt_number(o, MD_OPT_MIROSTAT_ENT);
    args->mirostat_eta = (float)md_opt_number(o, MD_OPT_MIROSTAT_LR);
}

/* Is this the thing itself and not the name of a file? */
static bool is_text(const char *given, bool schema)
{
    return schema ? given[strspn(given, " \t\r\n")] == '{' : strstr(given, "::=") != NULL;
}

static md_status compile(const char *text, size_t n, bool schema, const md_tokenizer *t, md_grammar **out,
                         md_error *err)
{
    return schema ? md_grammar_from_schema(text, n, out, err) : md_grammar_new(text, n, t, out, err);
}

static md_status read_grammar(const char *given, bool schema, const md_tokenizer *t, md_grammar **out, md_error *err)
{
    if (is_text(given, schema))
        return compile(given, strlen(given), schema, t, out, err);
    md_buf text = {0};
    md_status status = md_cli_read_all(given, &text, err);
    if (status == MD_OK) {
        status = compile(text.data ? text.data : "", text.len, schema, t, out, err);
        if (status != MD_OK)
            status = md_fail_within(err, status, "'%s'", given);
    }
    md_buf_done(&text);
    return status;
}

md_status md_cli_open_constraint(const md_options *o, const md_tokenizer *t, int32_t n_vocab, md_grammar **grammar,
                                 md_constraint **constraint, md_error *err)
{
    const char *gbnf = md_opt_text(o, MD_OPT_GRAMMAR), *schema = md_opt_text(o, MD_OPT_JSON_SCHEMA);
    *grammar = NULL;
    *constraint = NULL;
    MD_FAIL_IF(gbnf && schema, MD_ERR_ARGUMENT, "give --grammar or --json-schema, not both");
    if (!gbnf && !schema)
        return MD_OK;
    MD_TRY(read_grammar(gbnf ? gbnf : schema, !gbnf, t, grammar, err));
    const md_status status = md_constraint_new(*grammar, t, n_vocab, constraint, err);
    if (status != MD_OK) {
        md_grammar_free(*grammar);
        *grammar = NULL;
    }
    return status;
}
