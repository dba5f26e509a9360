/* SPDX-License-Identifier: Apache-2.0
 *
 * The normalisation table: see the header. The bytes hold the size of the trie (32 bits, little-endian, as are the
 * units), the units, and the replacements. A unit holds a label (the byte that leads to it; bit 31 marks a value
 * instead), whether a sequence ends there (bit 8), and the distance to its children (22 bits, or the same times 256 if
 * bit 9 is set). */
#include "text/tok_charsmap.h"

#include "base/mem.h"
#include "base/status.h"

#include <string.h>

/* The tables of NFKC, with and without case folding, reach 12 and 33. */
#define MAX_SEQUENCE    128
#define MAX_REPLACEMENT 255

static uint32_t little_endian(const unsigned char *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static md_status check_replacements(const char *s, size_t n, md_error *err)
{
    MD_FAIL_IF(n == 0 || s[n - 1] != '\0', MD_ERR_FORMAT, "the normalisation table's last replacement has no end");
    for (size_t i = 0; i < n;) {
        const size_t len = strlen(s + i);
        MD_FAIL_IF(len > MAX_REPLACEMENT, MD_ERR_UNSUPPORTED,
                   "the normalisation table has a replacement of %zu bytes; at most %d are supported", len,
                   MAX_REPLACEMENT);
        i += len + 1;
    }
    return MD_OK;
}

md_status md_charsmap_init(md_charsmap *m, const void *bytes, size_t n, md_error *err)
{
    *m = (md_charsmap){0};
    if (n == 0)
        return MD_OK;
    const unsigned char *p = bytes;
    MD_FAIL_IF(n < 4, MD_ERR_FORMAT, "a normalisation table of %zu bytes is cut short", n);
    const size_t trie = little_endian(p);
    MD_FAIL_IF(trie == 0 || trie % 4 != 0 || trie >= n - 4, MD_ERR_FORMAT,
               "a normalisation table of %zu bytes claims a trie of %zu", n, trie);
    m->n_units = trie / 4;
    m->n_text = n - 4 - trie;
    m->unit = md_calloc(m->n_units, sizeof *m->unit);
    m->text = md_calloc(m->n_text, 1);
    if (!m->unit || !m->text)
        return md_fail_memory(err, "the normalisation table");
    for (size_t i = 0; i < m->n_units; i++)
        m->unit[i] = little_endian(p + 4 + 4 * i);
    memcpy(m->text, p + 4 + trie, m->n_text);
    return check_replacements(m->text, m->n_text, err);
}

void md_charsmap_done(md_charsmap *m)
{
    md_free(m->unit);
    md_free(m->text);
    *m = (md_charsmap){0};
}

static size_t children(uint32_t unit)
{
    return (size_t)(unit >> 10) << ((unit & 0x200u) >> 6);
}

size_t md_charsmap_match(const md_charsmap *m, const char *s, size_t n, const char **to, size_t *n_to)
{
    size_t longest = 0;
    if (m->n_units == 0)
        return 0;
    size_t at = children(m->unit[0]);
    for (size_t i = 0; i < n && i < MAX_SEQUENCE && s[i] != '\0'; i++) {
        const unsigned char byte = (unsigned char)s[i];
        at ^= byte;
        if (at >= m->n_units || (m->unit[at] & 0x800000ffu) != byte)
            break;
        const bool ends = m->unit[at] & 0x100u;
        at ^= children(m->unit[at]);
        if (!ends)
            continue;
        const size_t value = at < m->n_units ? m->unit[at] & 0x7fffffffu : m->n_text;
        if (value >= m->n_text)
            break;
        *to = m->text + value;
        *n_to = strlen(*to); /* the last byte of the replacements is a NUL */
        longest = i + 1;
    }
    return longest;
}
