/* SPDX-License-Identifier: Apache-2.0
 *
 * Arrays: items by place (prefixItems, or the older items with a list) and then all alike, between two counts. Items that
 * the schema says nothing about come only where the least count asks for them. */
#include "text/schema.h"

#include "base/status.h"

#include <string.h>

typedef struct plan {
    json_t *prefix; /* borrowed list, or NULL */
    size_t n_prefix;
    json_t *rest;        /* borrowed schema of the items behind it; NULL: none may follow */
    int64_t least, most; /* most < 0: no bound */
} plan;

static md_status make_plan(const json_t *flat, const char *path, plan *p, md_error *err)
{
    json_t *items = json_object_get(flat, "items"), *prefix = json_object_get(flat, "prefixItems");
    if (json_is_array(items)) { /* as before 2020-12 */
        MD_FAIL_IF(prefix, MD_ERR_FORMAT, "'items' at %s is a list, and there is 'prefixItems' too", path);
        prefix = items;
        items = json_object_get(flat, "additionalItems");
    }
    MD_FAIL_IF(prefix && !json_is_array(prefix), MD_ERR_FORMAT, "'prefixItems' at %s wants a list", path);
    MD_TRY(md_schema_count(flat, "minItems", 0, path, &p->least, err));
    MD_TRY(md_schema_count(flat, "maxItems", -1, path, &p->most, err));
    p->prefix = prefix;
    p->n_prefix = json_array_size(prefix);
    p->rest = items;
    for (size_t i = 0; i < p->n_prefix; i++)
        if (md_schema_impossible(json_array_get(prefix, i))) { /* the array ends before it */
            p->n_prefix = i;
            p->rest = json_false();
        }
    if (!items && p->n_prefix > 0 && p->least <= (int64_t)p->n_prefix)
        p->rest = json_false();
    if (p->rest && md_schema_impossible(p->rest))
        p->most = p->most < 0 || p->most > (int64_t)p->n_prefix ? (int64_t)p->n_prefix : p->most;
    if (!p->rest)
        p->rest = json_true();
    if (p->most >= 0 && (int64_t)p->n_prefix > p->most)
        p->n_prefix = (size_t)p->most;
    MD_FAIL_IF(p->most >= 0 && p->most < p->least, MD_ERR_FORMAT, "no array fits the counts of items at %s", path);
    return MD_OK;
}

/* Items behind n_before others, all alike. */
static void put_rest(md_buf *out, const char *name, int64_t n_before, int64_t least, int64_t most)
{
    least = least > n_before ? least - n_before : 0;
    most = most < 0 ? -1 : most - n_before;
    if (most == 0)
        return;
    if (n_before > 0) {
        md_buf_printf(out, " (\",\" ws %s)", name);
        md_schema_put_times(out, least, most);
        return;
    }
    md_buf_printf(out, "(%s (\",\" ws %s)", name, name);
    md_schema_put_times(out, least > 0 ? least - 1 : 0, most < 0 ? -1 : most - 1);
    md_buf_puts(out, least > 0 ? " ws)" : " ws)?");
}

/* Item after item; from the first on that may be missing, each is in a group with all that follow. */
static md_status put_prefix(md_schema *s, const plan *p, const char *path, md_buf *out, size_t *open, md_error *err)
{
    for (size_t i = 0; i < p->n_prefix; i++) {
        char key[48];
        snprintf(key, sizeof key, "prefixItems/%zu", i);
        const char *name;
        MD_TRY(md_schema_rule_of(s, json_array_get(p->prefix, i), path, key, &name, err));
        if ((int64_t)i >= p->least) {
            md_buf_puts(out, i ? " (" : "(");
            (*open)++;
        }
        md_buf_printf(out, i ? " \",\" ws %s" : "%s", name);
    }
    return MD_OK;
}

md_status md_schema_array(md_schema *s, json_t *flat, const char *path, md_buf *out, md_error *err)
{
    plan p = {0};
    MD_TRY(make_plan(flat, path, &p, err));
    s->use |= MD_USE_WS;
    if (p.most == 0) {
        md_buf_puts(out, "\"[\" ws \"]\"");
        return MD_OK;
    }
    const char *rest = NULL;
    if (p.most < 0 || p.most > (int64_t)p.n_prefix)
        MD_TRY(md_schema_rule_of(s, p.rest, path, "items", &rest, err));
    md_buf_puts(out, "\"[\" ws ");
    size_t open = 0;
    MD_TRY(put_prefix(s, &p, path, out, &open, err));
    if (rest)
        put_rest(out, rest, (int64_t)p.n_prefix, p.least, p.most);
    for (; open > 0; open--)
        md_buf_puts(out, ")?");
    md_buf_puts(out, p.n_prefix > 0 ? " ws \"]\"" : " \"]\"");
    return MD_OK;
}
