/* SPDX-License-Identifier: Apache-2.0 */
#include "kv/disk_index.h"

#include "base/hashmap.h"
#include "base/mem.h"

#include <string.h>

#define BLOCK       4096u
#define FIRST       256
#define PART_SUFFIX ".part"

uint64_t md_kv_index_cost(uint64_t bytes)
{
    return bytes == 0 ? BLOCK : (bytes - 1) / BLOCK * BLOCK + BLOCK;
}

static int32_t *place_of(const md_kv_index *x, const unsigned char *key)
{
    return &x->place[md_siphash(x->seed, key, MD_KV_KEY_BYTES) & x->mask];
}

static bool grow(md_kv_index *x)
{
    const int32_t old = x->capacity, capacity = old > 0 ? 2 * old : FIRST;
    if (old > INT32_MAX / 4)
        return false;
    md_kv_entry *entry = md_realloc(x->entry, (size_t)capacity, sizeof *entry);
    if (!entry)
        return false;
    x->entry = entry;
    int32_t *place = md_calloc((size_t)capacity, sizeof *place);
    if (!place)
        return false;
    md_free(x->place);
    x->place = place;
    x->mask = (uint32_t)capacity - 1;
    memset(place, 0xff, (size_t)capacity * sizeof *place);
    for (int32_t i = x->oldest; i >= 0; i = entry[i].newer) {
        int32_t *at = place_of(x, entry[i].key);
        entry[i].chain = *at;
        *at = i;
    }
    memset(entry + old, 0, (size_t)(capacity - old) * sizeof *entry);
    for (int32_t i = old; i < capacity; i++)
        entry[i].chain = i + 1 < capacity ? i + 1 : x->free;
    x->free = old;
    x->capacity = capacity;
    return true;
}

bool md_kv_index_init(md_kv_index *x)
{
    *x = (md_kv_index){.free = -1, .oldest = -1, .newest = -1};
    md_siphash_seed(x->seed);
    return grow(x);
}

void md_kv_index_done(md_kv_index *x)
{
    md_free(x->entry);
    md_free(x->place);
    *x = (md_kv_index){0};
}

int32_t md_kv_index_find(const md_kv_index *x, const unsigned char key[MD_KV_KEY_BYTES])
{
    int32_t at = *place_of(x, key);
    while (at >= 0 && memcmp(x->entry[at].key, key, MD_KV_KEY_BYTES) != 0)
        at = x->entry[at].chain;
    return at;
}

static void list_put(md_kv_index *x, int32_t i)
{
    x->entry[i].older = x->newest;
    x->entry[i].newer = -1;
    if (x->newest >= 0)
        x->entry[x->newest].newer = i;
    else
        x->oldest = i;
    x->newest = i;
}

static void list_take(md_kv_index *x, int32_t i)
{
    const int32_t older = x->entry[i].older, newer = x->entry[i].newer;
    if (older >= 0)
        x->entry[older].newer = newer;
    else
        x->oldest = newer;
    if (newer >= 0)
        x->entry[newer].older = older;
    else
        x->newest = older;
}

void md_kv_index_touch(md_kv_index *x, int32_t entry)
{
    list_take(x, entry);
    list_put(x, entry);
    x->entry[entry].touched = true;
}

bool md_kv_index_put(md_kv_index *x, const unsigned char key[MD_KV_KEY_BYTES], uint64_t bytes)
{
    int32_t i = md_kv_index_find(x, key);
    if (i >= 0) {
        x->used += md_kv_index_cost(bytes) - md_kv_index_cost(x->entry[i].bytes);
        x->entry[i].bytes = bytes;
        md_kv_index_touch(x, i);
        return true;
    }
    if (x->free < 0 && !grow(x))
        return false;
    i = x->free;
    md_kv_entry *e = &x->entry[i];
    int32_t *place = place_of(x, key);
    x->free = e->chain;
    *e = (md_kv_entry){.bytes = bytes, .chain = *place};
    memcpy(e->key, key, sizeof e->key);
    *place = i;
    list_put(x, i);
    x->used += md_kv_index_cost(bytes);
    x->n++;
    return true;
}

void md_kv_index_remove(md_kv_index *x, int32_t entry)
{
    md_kv_entry *e = &x->entry[entry];
    int32_t *place = place_of(x, e->key);
    while (*place != entry)
        place = &x->entry[*place].chain;
    *place = e->chain;
    list_take(x, entry);
    x->used -= md_kv_index_cost(e->bytes);
    x->n--;
    e->chain = x->free;
    x->free = entry;
}

/* ---- names ---- */

void md_kv_name_of(const unsigned char key[MD_KV_KEY_BYTES], bool part, char name[MD_KV_NAME_BYTES])
{
    static const char digits[] = "0123456789abcdef";
    char *at = name;
    if (part)
        *at++ = '.';
    for (int i = 0; i < MD_KV_KEY_BYTES; i++) {
        *at++ = digits[key[i] >> 4];
        *at++ = digits[key[i] & 15];
    }
    strcpy(at, part ? PART_SUFFIX : "");
}

static int digit_of(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool md_kv_name_parse(const char *name, bool part, unsigned char key[MD_KV_KEY_BYTES])
{
    if (part && *name++ != '.')
        return false;
    for (int i = 0; i < MD_KV_KEY_BYTES; i++) {
        const int high = digit_of(name[0]), low = high < 0 ? -1 : digit_of(name[1]);
        if (low < 0)
            return false;
        key[i] = (unsigned char)(high << 4 | low);
        name += 2;
    }
    return strcmp(name, part ? PART_SUFFIX : "") == 0;
}
