/* SPDX-License-Identifier: Apache-2.0
 *
 * The file that keeps how much experts were used, between runs: magic, version, the model's identity, a number for every expert
 * and a checksum, all little-endian (docs/format.md). It is read whole and trusted in nothing. */
#include "model/session.h"

#include "base/file.h"
#include "base/status.h"
#include "base/checksum.h"

#include <string.h>

static const char magic[8] = "MEDLEYHO";
enum { VERSION = 1 };

typedef struct uses_head {
    char magic[8];
    uint32_t version, zero;
    uint64_t identity, n;
} uses_head;

static uint64_t checksum_of(const uses_head *head, const void *uses, size_t bytes)
{
    md_checksum c;
    md_checksum_init(&c);
    md_checksum_add(&c, head, sizeof *head);
    md_checksum_add(&c, uses, bytes);
    return md_checksum_value(&c);
}

static md_status write_uses(const md_session *s, const char *path, const float *uses, size_t n, md_error *err)
{
    uses_head head = {.version = VERSION, .identity = s->model->identity, .n = n};
    memcpy(head.magic, magic, sizeof magic);
    const uint64_t sum = checksum_of(&head, uses, n * sizeof *uses);
    md_out *out;
    MD_TRY(md_out_open(path, &out, err));
    md_status status = md_out_write(out, &head, sizeof head, err);
    if (status == MD_OK)
        status = md_out_write(out, uses, n * sizeof *uses, err);
    if (status == MD_OK)
        status = md_out_write(out, &sum, sizeof sum, err);
    if (status == MD_OK)
        status = md_out_commit(out, err);
    md_out_close(out);
    return status;
}

md_status md_session_save_uses(const md_session *s, const char *path, md_error *err)
{
    MD_FAIL_IF(!s->streamed, MD_ERR_UNSUPPORTED, "no experts are streamed, so there are no uses to save");
    const size_t n = md_streamed_n_counts(s->streamed);
    float *uses = md_calloc(n, sizeof *uses);
    if (!uses)
        return md_fail_memory(err, "the uses of experts");
    md_streamed_uses(s->streamed, uses);
    const md_status status = write_uses(s, path, uses, n, err);
    md_free(uses);
    return status;
}

static md_status take_uses(md_session *s, const char *path, const md_map *map, md_error *err)
{
    const size_t n = md_streamed_n_counts(s->streamed);
    uses_head head;
    uint64_t sum;
    MD_FAIL_IF(map->n < sizeof head || memcmp(map->bytes, magic, sizeof magic) != 0, MD_ERR_FORMAT,
               "'%s' holds no uses of experts", path);
    memcpy(&head, map->bytes, sizeof head);
    MD_FAIL_IF(head.version != VERSION, MD_ERR_UNSUPPORTED, "'%s' is of version %u; this program reads version %d",
               path, head.version, VERSION);
    MD_FAIL_IF(head.identity != s->model->identity || head.n != n, MD_ERR_UNSUPPORTED, "'%s' is of another model",
               path);
    MD_FAIL_IF(map->n != sizeof head + n * sizeof(float) + sizeof sum, MD_ERR_FORMAT, "'%s' is cut off or too long",
               path);
    memcpy(&sum, map->bytes + map->n - sizeof sum, sizeof sum);
    MD_FAIL_IF(sum != checksum_of(&head, map->bytes + sizeof head, n * sizeof(float)), MD_ERR_FORMAT,
               "'%s' is damaged: its checksum is wrong", path);
    float *uses = md_calloc(n, sizeof *uses);
    if (!uses)
        return md_fail_memory(err, "the uses of experts");
    memcpy(uses, map->bytes + sizeof head, n * sizeof *uses);
    const md_status status = md_streamed_set_uses(s->streamed, uses, n, err);
    md_free(uses);
    return status;
}

md_status md_session_load_uses(md_session *s, const char *path, md_error *err)
{
    MD_FAIL_IF(!s->streamed, MD_ERR_UNSUPPORTED, "no experts are streamed, so their uses mean nothing");
    md_map map;
    MD_TRY(md_map_open(path, &map, err));
    const md_status status = take_uses(s, path, &map, err);
    md_map_close(&map);
    return status;
}

void md_session_warm(md_session *s, double pinned)
{
    if (s->streamed)
        md_streamed_warm(s->streamed, pinned);
}

void md_session_teach(md_session *s, int32_t layer, const int32_t *expert, const float *weight, int64_t n)
{
    md_streamed_teach(s->streamed, layer, expert, weight, n);
}
