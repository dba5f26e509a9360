/* SPDX-License-Identifier: Apache-2.0
 *
 * Any bytes as a grammar and a text to match with it: what stands before the first zero byte is GBNF, the rest is read
 * byte by byte. Whatever they are it must end, a place that was reached must have a way on or be complete, and going the
 * same way twice must lead to the same. */
#include "text/grammar_match.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void require(bool promise)
{
    if (!promise)
        abort();
}

/* How far the text can be read; adds up what was allowed on the way. */
static size_t read_text(md_gmatch *m, const uint8_t *text, size_t n, uint64_t *seen)
{
    md_gmatch_start(m);
    for (size_t i = 0; i < n; i++) {
        bool any = m->state[m->path[0]].accepting, tokens = false;
        const md_gstate s = m->state[m->path[0]];
        for (uint32_t k = 0; k < s.n; k++)
            tokens |= m->g->node[m->item[s.first + k].node & ~MD_G_MID].kind >= MD_G_TOKEN;
        if (i < 64)
            for (int b = 0; b < 256; b++) {
                md_gmatch_byte(m, 0, 1, (uint8_t)b);
                any |= m->path[1] != MD_GSTATE_DEAD;
                *seen = *seen * 31 + (m->path[1] != MD_GSTATE_DEAD);
            }
        require(i >= 64 || any || tokens || m->limited || m->path[0] == MD_GSTATE_DEAD);
        md_gmatch_byte(m, 0, 1, text[i]);
        if (m->path[1] == MD_GSTATE_DEAD)
            return i;
        m->path[0] = m->path[1];
    }
    return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    const uint8_t *end = n ? memchr(data, 0, n) : NULL;
    const size_t n_grammar = end ? (size_t)(end - data) : n;
    md_grammar *g;
    md_error err = {0};
    const md_status status = md_grammar_new((const char *)data, n_grammar, NULL, &g, &err);
    require((status == MD_OK) == (g != NULL));
    require(status == MD_OK || (err.code == status && err.message[0] && status != MD_ERR_INTERNAL));
    md_gmatch m;
    if (g && md_gmatch_init(&m, g, 1)) {
        size_t n_text = end ? n - n_grammar - 1 : 0;
        n_text = n_text < 2000 ? n_text : 2000;
        uint64_t once = 0, again = 0;
        const size_t far = read_text(&m, end ? end + 1 : data, n_text, &once);
        require(read_text(&m, end ? end + 1 : data, n_text, &again) == far && once == again);
        md_gmatch_done(&m);
    }
    md_grammar_free(g);
    return 0;
}
