/* SPDX-License-Identifier: Apache-2.0
 *
 * Any bytes as a JSON Schema. What becomes a grammar must be one (the conversion compiles it), and a text taken from it,
 * led by the same bytes, must be JSON. */
#include "text/grammar_match.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void require(bool promise)
{
    if (!promise)
        abort();
}

static void walk(md_gmatch *m, const uint8_t *data, size_t n)
{
    static const char closing[] = "\"}]0e";
    char text[600];
    md_gmatch_start(m);
    for (size_t k = 0; k < sizeof text; k++) {
        uint8_t can[256];
        size_t n_can = 0;
        for (int b = 0; b < 256; b++) {
            md_gmatch_byte(m, 0, 1, (uint8_t)b);
            if (m->path[1] != MD_GSTATE_DEAD)
                can[n_can++] = (uint8_t)b;
        }
        if (m->state[m->path[0]].accepting) {
            json_error_t why;
            json_t *v = json_loadb(text, k, JSON_DECODE_ANY | JSON_ALLOW_NUL, &why);
            require(v != NULL);
            json_decref(v);
        }
        require(n_can > 0 || m->state[m->path[0]].accepting || m->limited);
        if (n_can == 0)
            return;
        uint8_t b = can[data[k % n] % n_can];
        for (size_t c = 0; c < sizeof closing - 1 && k > 200; c++)
            if (memchr(can, closing[c], n_can)) {
                b = (uint8_t)closing[c];
                break;
            }
        text[k] = (char)b;
        md_gmatch_byte(m, 0, 1, b);
        m->path[0] = m->path[1];
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    md_grammar *g;
    md_error err = {0};
    const md_status status = md_grammar_from_schema((const char *)data, n, &g, &err);
    require((status == MD_OK) == (g != NULL));
    require(status == MD_OK || (err.code == status && err.message[0] && status != MD_ERR_INTERNAL));
    md_gmatch m;
    if (g && md_gmatch_init(&m, g, 1)) {
        walk(&m, data, n);
        md_gmatch_done(&m);
    }
    md_grammar_free(g);
    return 0;
}
