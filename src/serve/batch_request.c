/* SPDX-License-Identifier: Apache-2.0
 *
 * One line of a batch as a request. What is in its body is for whoever answers it. */
#include "serve/batch_input.h"

#include <string.h>

static bool read_id(md_batch_request *q, md_refusal *r)
{
    const json_t *id = json_object_get(q->root, "custom_id");
    if (!json_is_string(id))
        return md_refuse(r, 400, "invalid_custom_id", "custom_id", "the line needs a 'custom_id', which is a string");
    if (json_string_length(id) == 0 || json_string_length(id) > MD_BATCH_MOST_ID)
        return md_refuse(r, 400, "invalid_custom_id", "custom_id", "'custom_id' has %zu bytes; give it 1 to %u",
                         json_string_length(id), MD_BATCH_MOST_ID);
    q->custom_id = json_string_value(id);
    return true;
}

static bool read_url(md_batch_request *q, md_refusal *r)
{
    static const char *const known[] = {"/v1/chat/completions", "/v1/completions",
                                        "/v1/embeddings"}; /* ORDER md_batch_url */
    const char *url = json_string_value(json_object_get(q->root, "url"));
    for (int i = 0; url && i < 3; i++)
        if (strcmp(url, known[i]) == 0) {
            q->url = (md_batch_url)i;
            return true;
        }
    return md_refuse(r, 400, "invalid_url", "url",
                     "'url' must be /v1/chat/completions, /v1/completions or /v1/embeddings");
}

static bool read_rest(md_batch_request *q, md_refusal *r)
{
    static const char *const known[] = {"custom_id", "method", "url", "body"};
    const char *method = json_string_value(json_object_get(q->root, "method")), *key;
    json_t *value;
    if (!method || strcmp(method, "POST") != 0)
        return md_refuse(r, 400, "invalid_method", "method", "'method' must be POST");
    q->body = json_object_get(q->root, "body");
    if (!json_is_object(q->body))
        return md_refuse(r, 400, "invalid_body", "body", "'body' must be a JSON object");
    json_object_foreach(q->root, key, value)
    {
        size_t i = 0;
        while (i < 4 && strcmp(key, known[i]) != 0)
            i++;
        if (i == 4)
            return md_refuse(r, 400, "unknown_field", key, "there is no field '%.64s' in a line of a batch", key);
    }
    return true;
}

bool md_batch_request_read(md_batch_request *q, const char *text, size_t n, md_refusal *r)
{
    json_error_t why;
    *q = (md_batch_request){0};
    /* Jansson does not tell a lack of memory from a mistake: what is one is so the second time */
    for (int i = 0; i < 2 && !q->root; i++)
        q->root = json_loadb(n ? text : "", n, JSON_REJECT_DUPLICATES, &why);
    if (!q->root)
        return md_refuse(r, 400, "invalid_json", NULL, "the line is not JSON: column %d: %s", why.column, why.text);
    if (!json_is_object(q->root))
        return md_refuse(r, 400, "invalid_type", NULL, "the line must be a JSON object");
    return read_id(q, r) && read_url(q, r) && read_rest(q, r);
}

void md_batch_request_done(md_batch_request *q)
{
    json_decref(q->root);
    *q = (md_batch_request){0};
}
