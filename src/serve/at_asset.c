/* SPDX-License-Identifier: Apache-2.0
 *
 * GET / and everything below that no other endpoint has: files that were built in (assets.h). */
#include "serve/http.h"

#include "serve/assets.h"

#include <string.h>

void md_at_asset(md_exchange *x)
{
    const char *name = x->rest[0] ? x->rest : "index.html";
    for (size_t i = 0; i < md_n_assets; i++)
        if (strcmp(md_assets[i].name, name) == 0) {
            md_buf b = {0};
            md_buf_append(&b, md_assets[i].bytes, md_assets[i].n);
            md_exchange_text(x, md_assets[i].type, &b);
            return;
        }
    md_refusal r;
    md_refuse(&r, 404, "not_found", NULL, "there is nothing at GET /%.128s", x->rest);
    md_exchange_refuse(x, &r);
}
