/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading JSON byte by byte: a failed allocation shows in errno only until Jansson reads its next number, which sets it to
 * zero; but before it does it asks for another byte. */
#include "text/json_load.h"

#include <errno.h>

typedef struct source {
    const char *text;
    size_t n, at;
    bool no_memory; /* sticky */
} source;

static size_t next_byte(void *to, size_t room, void *from)
{
    source *s = from;
    s->no_memory |= errno == ENOMEM;
    if (room == 0 || s->at == s->n || s->no_memory)
        return 0;
    *(char *)to = s->text[s->at++];
    return 1;
}

json_t *md_json_load(const char *text, size_t n, size_t flags, json_error_t *why, bool *no_memory)
{
    source s = {.text = text, .n = n};
    const int before = errno;
    errno = 0;
    json_t *out = json_load_callback(next_byte, &s, flags, why);
    *no_memory = s.no_memory || errno == ENOMEM;
    errno = before;
    if (!*no_memory)
        return out;
    json_decref(out);
    return NULL;
}
