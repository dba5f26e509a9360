/* SPDX-License-Identifier: Apache-2.0
 *
 * The trie of special tokens: see the header. Children of a node form a list, at most 256 long. */
#include "text/tok_special.h"

#include "base/mem.h"
#include "base/status.h"

#include <string.h>

static bool grow(md_special *s, size_t n)
{
    if (n <= s->cap)
        return true;
    const size_t cap = n > 2 * s->cap ? n : 2 * s->cap;
    md_special_node *p = md_realloc(s->node, cap, sizeof *p);
    if (!p)
        return false;
    s->node = p;
    s->cap = cap;
    return true;
}

static uint32_t child_of(const md_special *s, uint32_t parent, unsigned char byte)
{
    uint32_t at = s->node[parent].child;
    while (at && s->node[at].byte != byte)
        at = s->node[at].sibling;
    return at;
}

md_status md_special_add(md_special *s, const char *name, size_t n, int32_t id, bool control, md_error *err)
{
    if (n == 0)
        return MD_OK;
    MD_FAIL_IF(n > MD_SPECIAL_MAX_BYTES, MD_ERR_UNSUPPORTED,
               "special token %d has a name of %zu bytes; at most %d are supported", id, n, MD_SPECIAL_MAX_BYTES);
    const size_t base = s->n ? s->n : 257;
    if (base > UINT32_MAX - n || !grow(s, base + n))
        return md_fail_memory(err, "the special tokens");
    for (; s->n < 257; s->n++)
        s->node[s->n] = (md_special_node){.id = -1, .byte = (unsigned char)(s->n - 1)};
    const unsigned char first = (unsigned char)name[0];
    s->any_first[first] = true;
    if (!control)
        s->plain_first[first] = true;
    uint32_t at = 1u + first;
    for (size_t i = 1; i < n; i++) {
        const unsigned char byte = (unsigned char)name[i];
        uint32_t next = child_of(s, at, byte);
        if (!next) {
            next = (uint32_t)s->n++;
            s->node[next] = (md_special_node){.sibling = s->node[at].child, .id = -1, .byte = byte};
            s->node[at].child = next;
        }
        at = next;
    }
    if (s->node[at].id < 0) {
        s->node[at].id = id;
        s->node[at].control = control;
    }
    return MD_OK;
}

void md_special_done(md_special *s)
{
    md_free(s->node);
    *s = (md_special){0};
}

/* The longest name at text[0..n), n > 0, that begins with a byte known to begin one. */
static int32_t longest(const md_special *s, const char *text, size_t n, bool control, size_t *len)
{
    int32_t id = -1;
    uint32_t at = 1u + (unsigned char)text[0];
    for (size_t i = 0;;) {
        const md_special_node *node = &s->node[at];
        i++;
        if (node->id >= 0 && (control || !node->control)) {
            id = node->id;
            *len = i;
        }
        if (i == n)
            return id;
        at = child_of(s, at, (unsigned char)text[i]);
        if (!at)
            return id;
    }
}

int32_t md_special_find(const md_special *s, const char *text, size_t n, size_t from, bool control, size_t *at,
                        size_t *len)
{
    const bool *first = control ? s->any_first : s->plain_first;
    for (size_t i = from; i < n; i++) {
        if (!first[(unsigned char)text[i]])
            continue;
        const int32_t id = longest(s, text + i, n - i, control, len);
        if (id >= 0) {
            *at = i;
            return id;
        }
    }
    return -1;
}
