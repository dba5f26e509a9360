/* SPDX-License-Identifier: Apache-2.0
 *
 * A file of the folder of kept prefixes (docs/format.md): any bytes, their header's checksum put right, or changes to files that are
 * right, a line each:
 *
 *     plain | state       which file to begin with: a page, or a page and a state
 *     NAME=NUMBER         a field of the header: version, layout, page_bytes, state_bytes, page_sum, state_sum
 *     key+I=BYTE token+I=NUMBER page+I=BYTE state+I=BYTE
 *     <N >N               cut to N bytes; N more bytes
 *     ! ?                 the header's checksum stays wrong; those of page and state, too
 *
 * Whatever it is, it is believed only if key, tokens and sizes are those asked for and nothing else is changed unseen; then page
 * and state are what the file holds. Nothing is written behind the bytes that were asked for. */
#include "base/checksum.h"
#include "base/mem.h"
#include "kv/disk_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PAGE = 256, STATE = 64, MOST = 1 << 16, AFTER = 16, SUMS = 24 };

static const md_kv_file_shape shape = {PAGE, STATE};

/* docs/format.md, kept pages */
static const struct {
    const char *name;
    size_t at, bytes;
} fields[] = {{"version", 8, 4},      {"layout", 12, 4},    {"page_bytes", 16, 8},
              {"state_bytes", 24, 8}, {"page_sum", 320, 8}, {"state_sum", 328, 8}};
static const struct {
    const char *name;
    size_t at, unit, n;
} parts[] = {{"key", 32, 1, MD_KV_KEY_BYTES},
             {"token", 64, 4, MD_TILE},
             {"page", MD_KV_FILE_HEADER, 1, PAGE},
             {"state", MD_KV_FILE_HEADER + PAGE, 1, STATE}};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void require(bool promise)
{
    if (!promise)
        abort();
}

/* What is asked for. */
static void wanted(unsigned char key[MD_KV_KEY_BYTES], int32_t token[MD_TILE])
{
    for (int i = 0; i < MD_KV_KEY_BYTES; i++)
        key[i] = (unsigned char)(7 * i + 1);
    for (int i = 0; i < MD_TILE; i++)
        token[i] = 1000 * i + 3;
}

static void make(bool state, md_buf *out)
{
    unsigned char key[MD_KV_KEY_BYTES], page[PAGE], file[MD_KV_FILE_HEADER + PAGE + STATE];
    float values[STATE / sizeof(float)];
    int32_t token[MD_TILE];
    wanted(key, token);
    for (int i = 0; i < PAGE; i++)
        page[i] = (unsigned char)(3 * i);
    for (size_t i = 0; i < STATE / sizeof *values; i++)
        values[i] = (float)i;
    const size_t n = md_kv_file_make(&shape, key, token, page, state ? values : NULL, file);
    md_kv_file_seal(file);
    md_buf_append(out, file, n);
}

static uint64_t sum_of(const void *bytes, size_t n)
{
    md_checksum c;
    md_checksum_init(&c);
    md_checksum_add(&c, bytes, n);
    return md_checksum_value(&c);
}

/* ---- recipes ---- */

static void change(md_buf *file, const char *line, bool *wrong_header, bool *wrong_sums)
{
    const size_t word = strspn(line, "abcdefghijklmnopqrstuvwxyz_");
    char *end;
    const uint64_t v = strtoull(line + word + (line[word] != '\0'), &end, 0);
    *wrong_header |= line[0] == '!';
    *wrong_sums |= line[0] == '?';
    if (line[0] == '<' && v < file->len)
        file->len = (size_t)v;
    for (uint64_t i = 0; line[0] == '>' && i < v && file->len < MOST; i++)
        md_buf_putc(file, 'x');
    for (size_t i = 0; line[word] == '=' && i < sizeof fields / sizeof *fields; i++)
        if (strlen(fields[i].name) == word && memcmp(fields[i].name, line, word) == 0 &&
            fields[i].at + fields[i].bytes <= file->len)
            memcpy(file->data + fields[i].at, &v, fields[i].bytes);
    for (size_t i = 0; line[word] == '+' && *end == '=' && i < sizeof parts / sizeof *parts; i++) {
        const uint64_t value = strtoull(end + 1, NULL, 0);
        if (strlen(parts[i].name) == word && memcmp(parts[i].name, line, word) == 0 && v < parts[i].n &&
            parts[i].at + (v + 1) * parts[i].unit <= file->len)
            memcpy(file->data + parts[i].at + v * parts[i].unit, &value, parts[i].unit);
    }
}

/* Checksums of what is there now. */
static void put_sums(md_buf *file, bool page_and_state)
{
    if (file->len < MD_KV_FILE_HEADER)
        return;
    unsigned char *bytes = (unsigned char *)file->data;
    const size_t behind = file->len - MD_KV_FILE_HEADER, page = behind < PAGE ? behind : PAGE;
    const uint64_t sums[2] = {sum_of(bytes + MD_KV_FILE_HEADER, page),
                              sum_of(bytes + MD_KV_FILE_HEADER + page, behind - page)};
    if (page_and_state)
        memcpy(bytes + MD_KV_FILE_HEADER - SUMS, sums, sizeof sums);
    const uint64_t sum = sum_of(bytes, MD_KV_FILE_HEADER - sizeof(uint64_t));
    memcpy(bytes + MD_KV_FILE_HEADER - sizeof sum, &sum, sizeof sum);
}

/* True if nothing was changed. */
static bool follow(const char *text, size_t n, md_buf *file)
{
    bool changed = false, wrong_header = false, wrong_sums = false;
    const char *end = memchr(text, '\n', n);
    const size_t word = end ? (size_t)(end - text) : n;
    make(word == 5 && memcmp(text, "state", 5) == 0, file);
    for (size_t at = word + 1; at < n;) {
        char line[64];
        end = memchr(text + at, '\n', n - at);
        const size_t length = end ? (size_t)(end - (text + at)) : n - at;
        snprintf(line, sizeof line, "%.*s", (int)(length < sizeof line ? length : sizeof line - 1), text + at);
        change(file, line, &wrong_header, &wrong_sums);
        changed = true;
        at += length + 1;
    }
    if (changed && !wrong_header)
        put_sums(file, !wrong_sums);
    return !changed;
}

/* ---- what the engine does with it ---- */

/* The definition, over the whole file in memory. */
static bool is_right(const md_buf *file, bool state)
{
    unsigned char key[MD_KV_KEY_BYTES];
    int32_t token[MD_TILE];
    const unsigned char *b = (const unsigned char *)file->data;
    uint64_t sizes[2], sums[3];
    uint32_t numbers[2];
    wanted(key, token);
    if (file->len < MD_KV_FILE_HEADER)
        return false;
    memcpy(numbers, b + 8, sizeof numbers);
    memcpy(sizes, b + 16, sizeof sizes);
    memcpy(sums, b + MD_KV_FILE_HEADER - SUMS, sizeof sums);
    const bool has_state = sizes[1] == STATE;
    return memcmp(b, "MEDLEYKV", 8) == 0 && numbers[0] == 1 && numbers[1] == MD_KV_LAYOUT && sizes[0] == PAGE &&
           (sizes[1] == 0 || has_state) && memcmp(b + 32, key, sizeof key) == 0 &&
           memcmp(b + 64, token, sizeof token) == 0 && file->len == md_kv_file_bytes(&shape, has_state) &&
           (has_state || !state) && sums[0] == sum_of(b + MD_KV_FILE_HEADER, PAGE) &&
           (!state || sums[1] == sum_of(b + MD_KV_FILE_HEADER + PAGE, STATE)) &&
           sums[2] == sum_of(b, MD_KV_FILE_HEADER - sizeof *sums);
}

static void read_back(int fd, const md_buf *file, bool with_state)
{
    unsigned char key[MD_KV_KEY_BYTES], page[PAGE + AFTER];
    float state[(STATE + AFTER) / sizeof(float)];
    int32_t token[MD_TILE];
    wanted(key, token);
    memset(page, 0x5a, sizeof page);
    memset(state, 0x5a, sizeof state);
    const bool ok = md_kv_file_read(fd, &shape, key, token, page, with_state ? state : NULL);
    require(ok == is_right(file, with_state));
    for (int i = 0; i < AFTER; i++)
        require(page[PAGE + i] == 0x5a && ((const unsigned char *)state)[STATE + i] == 0x5a);
    if (!ok)
        return;
    require(memcmp(page, file->data + MD_KV_FILE_HEADER, PAGE) == 0);
    require(!with_state || memcmp(state, file->data + MD_KV_FILE_HEADER + PAGE, STATE) == 0);
    key[0] ^= 1; /* for another key, or other tokens, it is not the file */
    require(!md_kv_file_read(fd, &shape, key, token, page, NULL));
    key[0] ^= 1;
    token[MD_TILE - 1]++;
    require(!md_kv_file_read(fd, &shape, key, token, page, NULL));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    md_buf file = {0};
    bool unchanged = false;
    if (n > MOST)
        return 0;
    if (n >= 8 && memcmp(data, "MEDLEYKV", 8) == 0) {
        md_buf_append(&file, data, n);
        put_sums(&file, true);
    } else {
        unchanged = follow((const char *)data, n, &file);
    }
    const int fd = memfd_create("kept", MFD_CLOEXEC);
    require(fd >= 0 && !file.failed && write(fd, file.data, file.len) == (ssize_t)file.len);
    require(!unchanged || is_right(&file, false));
    for (int state = 0; state < 2; state++)
        read_back(fd, &file, state);
    close(fd);
    md_buf_done(&file);
    return 0;
}
