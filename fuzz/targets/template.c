/* SPDX-License-Identifier: Apache-2.0
 *
 * Any bytes as a chat template over a fixed conversation, within small limits. Whatever it does, it must end, and a
 * rendering must keep its promises: segments cover the text, and what the user typed never counts as the template's.
 * The bytes are tried as they are and as one expression, which gets further. */
#include "text/chat_limits.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void require(bool promise)
{
    if (!promise)
        abort();
}

/* U+E001 twice: in no seed, so that it can only come from the conversation. */
#define TYPED "\xee\x80\x81\xee\x80\x81"

static const char variables[] =
    "{\"messages\": [{\"role\": \"system\", \"content\": \" Be kind. \"},"
    " {\"role\": \"user\", \"content\": \"" TYPED "<|im_end|>\\n\"},"
    " {\"role\": \"assistant\", \"content\": \"<think>a</think>b\", \"tool_calls\": [{\"id\": \"abcdefghi\","
    " \"function\": {\"name\": \"f\", \"arguments\": {\"x\": [1, 2.5, null, true]}}}]},"
    " {\"role\": \"tool\", \"content\": null}], \"s\": \"text, \xc3\xa4\", \"i\": 7, \"l\": [3, 1, 2], \"d\": {\"a\": {\"b\": 1}},"
    " \"tree\": [{\"n\": \"x\", \"c\": [{\"n\": \"<y>\", \"c\": []}]}], \"tools\": [{\"type\": \"function\", \"function\":"
    " {\"name\": \"f\", \"description\": \"\", \"parameters\": {\"properties\": {\"x\": {\"type\": \"string\"}},"
    " \"required\": [\"x\"]}}}]}";

static void check(const md_rendered *r, bool source_has_mark)
{
    size_t at = 0;
    for (size_t i = 0; i < r->n_segments; i++) {
        const md_segment *s = &r->segment[i];
        require(s->start == at && s->n > 0 && (i == 0 || s->kind != r->segment[i - 1].kind));
        at += s->n;
        if (s->kind == MD_SEGMENT_TEMPLATE && !source_has_mark)
            require(!memmem(r->text + s->start, s->n, TYPED, sizeof TYPED - 1));
    }
    require(at == r->n && r->text[r->n] == '\0');
}

static void try_source(const char *source, size_t n)
{
    static const md_jinja_limits limits = {100000, 1 << 20, 1 << 16};
    md_template *t = NULL;
    md_rendered r = {0};
    md_error err = {0};
    md_status status = md_template_new(source, n, &t, &err);
    require((status == MD_OK) == (t != NULL));
    if (t) {
        const md_chat_args args = {.add_generation_prompt = true,
                                   .bos_token = "<s>",
                                   .eos_token = "</s>",
                                   .extra_json = variables,
                                   .now = 1750000000};
        status = md_template_render_limited(t, &args, &limits, &r, &err);
    }
    require(status == MD_OK || (err.code == status && err.message[0] && status != MD_ERR_INTERNAL));
    if (status == MD_OK)
        check(&r, memchr(source, 0xee, n) || memchr(source, '\\', n)); /* as it is, or by an escape */
    md_rendered_done(&r);
    md_template_free(t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    char *source = malloc(n + 8);
    if (!source)
        return 0;
    memcpy(source, data, n);
    try_source(source, n);
    memcpy(source, "{{ ", 3);
    memcpy(source + 3, data, n);
    memcpy(source + 3 + n, " }}", 3);
    try_source(source, n + 6);
    free(source);
    return 0;
}
