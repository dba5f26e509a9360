/* SPDX-License-Identifier: Apache-2.0 */
#include "kv/disk_file.h"

#include "base/checksum.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#if !defined(__BYTE_ORDER__) || __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "kept pages are little-endian and are read in place: a big-endian machine needs a converting reader"
#endif

#define MAGIC   "MEDLEYKV"
#define VERSION 1u

/* As on disk; the page follows, then the state. */
typedef struct header {
    char magic[8];
    uint32_t version, kv_layout;
    uint64_t page_bytes, state_bytes; /* state_bytes 0: none follows */
    unsigned char key[MD_KV_KEY_BYTES];
    int32_t token[MD_TILE];
    uint64_t page_sum, state_sum; /* XXH64 of page and state */
    uint64_t sum;                 /* XXH64 of the header up to here */
} header;
_Static_assert(sizeof(header) == MD_KV_FILE_HEADER, "the header is the file's own");

static uint64_t sum_of(const void *bytes, size_t n)
{
    md_checksum c;
    md_checksum_init(&c);
    md_checksum_add(&c, bytes, n);
    return md_checksum_value(&c);
}

size_t md_kv_file_bytes(const md_kv_file_shape *shape, bool state)
{
    return sizeof(header) + shape->page_bytes + (state ? shape->state_bytes : 0);
}

size_t md_kv_file_make(const md_kv_file_shape *shape, const unsigned char key[MD_KV_KEY_BYTES],
                       const int32_t token[MD_TILE], const unsigned char *page, const float *state, unsigned char *out)
{
    header h = {.magic = {'M', 'E', 'D', 'L', 'E', 'Y', 'K', 'V'},
                .version = VERSION,
                .kv_layout = MD_KV_LAYOUT,
                .page_bytes = shape->page_bytes,
                .state_bytes = state ? shape->state_bytes : 0};
    memcpy(h.key, key, sizeof h.key);
    memcpy(h.token, token, sizeof h.token);
    memcpy(out, &h, sizeof h);
    memcpy(out + sizeof h, page, shape->page_bytes);
    if (state)
        memcpy(out + sizeof h + shape->page_bytes, state, shape->state_bytes);
    return md_kv_file_bytes(shape, state != NULL);
}

void md_kv_file_seal(unsigned char *file)
{
    header h;
    memcpy(&h, file, sizeof h);
    h.page_sum = sum_of(file + sizeof h, (size_t)h.page_bytes);
    h.state_sum = sum_of(file + sizeof h + h.page_bytes, (size_t)h.state_bytes);
    h.sum = sum_of(&h, offsetof(header, sum));
    memcpy(file, &h, sizeof h);
}

void md_kv_file_key(const unsigned char *file, unsigned char key[MD_KV_KEY_BYTES])
{
    memcpy(key, file + offsetof(header, key), MD_KV_KEY_BYTES);
}

static bool read_at(int fd, void *to, size_t n, uint64_t at)
{
    unsigned char *p = to;
    while (n > 0) {
        const ssize_t got = pread(fd, p, n < (size_t)1 << 30 ? n : (size_t)1 << 30, (off_t)at);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return false;
        p += got;
        at += (uint64_t)got;
        n -= (size_t)got;
    }
    return true;
}

/* Is it the header of the file that is asked for, and has the file the size that goes with it? */
static bool header_suits(const header *h, const md_kv_file_shape *shape, const unsigned char *key, const int32_t *token,
                         uint64_t size)
{
    return memcmp(h->magic, MAGIC, sizeof h->magic) == 0 && h->version == VERSION && h->kv_layout == MD_KV_LAYOUT &&
           h->sum == sum_of(h, offsetof(header, sum)) && h->page_bytes == shape->page_bytes &&
           (h->state_bytes == 0 || h->state_bytes == shape->state_bytes) && memcmp(h->key, key, sizeof h->key) == 0 &&
           memcmp(h->token, token, sizeof h->token) == 0 && size == md_kv_file_bytes(shape, h->state_bytes > 0);
}

bool md_kv_file_read(int fd, const md_kv_file_shape *shape, const unsigned char key[MD_KV_KEY_BYTES],
                     const int32_t token[MD_TILE], unsigned char *page, float *state)
{
    struct stat st;
    header h;
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_size < (off_t)sizeof h || !read_at(fd, &h, sizeof h, 0) ||
        !header_suits(&h, shape, key, token, (uint64_t)st.st_size) || (state && h.state_bytes == 0))
        return false;
    if (page && (!read_at(fd, page, shape->page_bytes, sizeof h) || sum_of(page, shape->page_bytes) != h.page_sum))
        return false;
    return !state || (read_at(fd, state, shape->state_bytes, sizeof h + shape->page_bytes) &&
                      sum_of(state, shape->state_bytes) == h.state_sum);
}
