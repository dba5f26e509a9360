/* SPDX-License-Identifier: Apache-2.0
 *
 * Dicts: in order of insertion, with a hash index from the ninth key on. Keys follow Python: 1, 1.0 and True are one
 * key, lists and dicts cannot be keys. Every comparison is charged, so keys chosen to collide end in MD_ERR_LIMIT. */
#include "text/jinja_text.h"
#include "text/jinja_value.h"

#include <string.h>

enum { SMALL = 8 };

static uint64_t mix(uint64_t h)
{
    h ^= h >> 33;
    h *= 0xff51afd7ed558ccdULL;
    return h ^ h >> 33;
}

static uint64_t hash_bytes(const char *s, size_t n)
{
    uint64_t h = 0xcbf29ce484222325ULL;
    for (size_t i = 0; i < n; i++)
        h = (h ^ (unsigned char)s[i]) * 0x100000001b3ULL;
    return mix(h);
}

static uint64_t hash_float(double f)
{
    if (f >= -9.2e18 && f <= 9.2e18 && f == (double)(int64_t)f)
        return mix((uint64_t)(int64_t)f);
    uint64_t bits;
    memcpy(&bits, &f, sizeof bits);
    return mix(bits);
}

static md_status hash_value(md_jrun *r, md_jval v, int depth, uint64_t *hash)
{
    MD_TRY(md_jcharge(r, 1));
    switch ((enum md_jkind)v.kind) {
    case MD_J_STR: *hash = hash_bytes(v.u.str->s, v.u.str->n); return md_jcharge_bytes(r, v.u.str->n);
    case MD_J_FLOAT: *hash = hash_float(v.u.f); return MD_OK;
    case MD_J_BOOL:
    case MD_J_INT: *hash = mix((uint64_t)md_jas_int(v)); return MD_OK;
    case MD_J_LIST:
        if (v.u.list->flavor != MD_J_TUPLE || depth > MD_J_MAX_VALUE_DEPTH)
            break;
        *hash = v.u.list->n;
        for (size_t i = 0; i < v.u.list->n; i++) {
            uint64_t h;
            MD_TRY(hash_value(r, v.u.list->item[i], depth + 1, &h));
            *hash = mix(*hash * 31 + h);
        }
        return MD_OK;
    case MD_J_DICT: break;
    default: *hash = v.kind; return MD_OK;
    }
    return md_jfail(r, MD_ERR_FORMAT, "a '%s' cannot be a key of a dict", md_jtype_name(v));
}

md_jdict *md_jdict_new(md_jrun *r)
{
    return md_jalloc(r, 1, sizeof(md_jdict));
}

static md_status matches(md_jrun *r, const md_jpair *p, md_jval key, uint64_t hash, bool *same)
{
    *same = false;
    if (!p->live || p->hash != hash)
        return md_jcharge(r, 1);
    return md_jequal(r, p->key, key, same);
}

/* *at is the pair of the key, or SIZE_MAX. */
static md_status find(md_jrun *r, const md_jdict *d, md_jval key, uint64_t hash, size_t *at)
{
    bool same;
    *at = SIZE_MAX;
    if (!d->slot) {
        for (size_t i = 0; i < d->used; i++) {
            MD_TRY(matches(r, &d->pair[i], key, hash, &same));
            if (same) {
                *at = i;
                return MD_OK;
            }
        }
        return MD_OK;
    }
    for (size_t i = hash & (d->n_slots - 1); d->slot[i]; i = (i + 1) & (d->n_slots - 1)) {
        MD_TRY(matches(r, &d->pair[d->slot[i] - 1], key, hash, &same));
        if (same) {
            *at = d->slot[i] - 1;
            return MD_OK;
        }
    }
    return MD_OK;
}

static void index_pair(md_jdict *d, size_t at)
{
    size_t i = d->pair[at].hash & (d->n_slots - 1);
    while (d->slot[i])
        i = (i + 1) & (d->n_slots - 1);
    d->slot[i] = (uint32_t)(at + 1);
}

/* Makes room for one more pair: drops removed ones, doubles if that is not enough, indexes anew. */
static md_status grow(md_jrun *r, md_jdict *d)
{
    const size_t cap = d->n >= d->cap / 2 ? (d->cap ? d->cap * 2 : SMALL) : d->cap;
    if (cap > UINT32_MAX / 4)
        return md_jfail(r, MD_ERR_LIMIT, "a dict grew past %zu keys", d->cap);
    MD_TRY(md_jcharge(r, d->used));
    md_jpair *pair = md_jalloc(r, cap, sizeof *pair);
    if (!pair)
        return r->status;
    size_t used = 0;
    for (size_t i = 0; i < d->used; i++)
        if (d->pair[i].live)
            pair[used++] = d->pair[i];
    d->pair = pair;
    d->used = used;
    d->cap = cap;
    if (cap > SMALL) {
        d->n_slots = cap * 2;
        d->slot = md_jalloc(r, d->n_slots, sizeof *d->slot);
        if (!d->slot)
            return r->status;
        for (size_t i = 0; i < used; i++)
            index_pair(d, i);
    }
    return MD_OK;
}

md_status md_jdict_set(md_jrun *r, md_jdict *d, md_jval key, md_jval value)
{
    uint64_t hash;
    size_t at;
    MD_TRY(hash_value(r, key, 0, &hash));
    MD_TRY(find(r, d, key, hash, &at));
    if (at != SIZE_MAX) {
        d->pair[at].value = value;
        return MD_OK;
    }
    if (d->used == d->cap)
        MD_TRY(grow(r, d));
    d->pair[d->used] = (md_jpair){key, value, hash, true};
    if (d->slot)
        index_pair(d, d->used);
    d->used++;
    d->n++;
    return MD_OK;
}

md_status md_jdict_set_name(md_jrun *r, md_jdict *d, const char *name, md_jval value)
{
    const md_jstr *key = md_jstr_new(r, name, strlen(name), MD_SEGMENT_TEMPLATE);
    if (!key)
        return r->status;
    return md_jdict_set(r, d, md_jtext(key), value);
}

md_status md_jdict_get(md_jrun *r, md_jdict *d, md_jval key, md_jval **value)
{
    uint64_t hash;
    size_t at;
    *value = NULL;
    MD_TRY(hash_value(r, key, 0, &hash));
    MD_TRY(find(r, d, key, hash, &at));
    if (at != SIZE_MAX)
        *value = &d->pair[at].value;
    return MD_OK;
}

md_status md_jdict_remove(md_jrun *r, md_jdict *d, md_jval key, md_jval *value, bool *found)
{
    uint64_t hash;
    size_t at;
    MD_TRY(hash_value(r, key, 0, &hash));
    MD_TRY(find(r, d, key, hash, &at));
    *found = at != SIZE_MAX;
    if (*found) {
        *value = d->pair[at].value;
        d->pair[at].live = false;
        d->n--;
    }
    return MD_OK;
}

void md_jdict_clear(md_jdict *d)
{
    *d = (md_jdict){0};
}

md_status md_jdict_update(md_jrun *r, md_jdict *d, md_jval from)
{
    if (from.kind == MD_J_DICT || from.kind == MD_J_NAMESPACE) {
        const size_t used = from.u.dict->used; /* d may be from itself */
        for (size_t i = 0; i < used; i++)
            if (from.u.dict->pair[i].live)
                MD_TRY(md_jdict_set(r, d, from.u.dict->pair[i].key, from.u.dict->pair[i].value));
        return MD_OK;
    }
    md_jlist *pairs;
    MD_TRY(md_jiterate(r, from, &pairs));
    for (size_t i = 0; i < pairs->n; i++) {
        md_jlist *pair;
        MD_TRY(md_jiterate(r, pairs->item[i], &pair));
        if (pair->n != 2)
            return md_jfail(r, MD_ERR_FORMAT, "a dict is made from pairs, item %zu has %zu parts", i, pair->n);
        MD_TRY(md_jdict_set(r, d, pair->item[0], pair->item[1]));
    }
    return MD_OK;
}

md_status md_jdict_list(md_jrun *r, const md_jdict *d, enum md_jflavor what, md_jlist **out)
{
    md_jlist *l = md_jlist_new(r, d->n, what);
    if (!l)
        return r->status;
    for (size_t i = 0; i < d->used; i++) {
        const md_jpair *p = &d->pair[i];
        if (!p->live)
            continue;
        md_jval v = what == MD_J_VALUES ? p->value : p->key;
        if (what == MD_J_ITEMS) {
            md_jlist *pair = md_jlist_new(r, 2, MD_J_TUPLE);
            if (!pair)
                return r->status;
            pair->item[0] = p->key;
            pair->item[1] = p->value;
            pair->n = 2;
            v = md_jseq(pair);
        }
        MD_TRY(md_jlist_push(r, l, v));
    }
    *out = l;
    return MD_OK;
}
