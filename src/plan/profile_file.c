/* SPDX-License-Identifier: Apache-2.0
 *
 * A profile as JSON: its key, then numbers, by name. Reading believes nothing: a number that is missing, not positive, not finite
 * or beyond what any machine does makes the whole file useless, and an unknown type or a disk too many is passed over. */
#include "plan/profile.h"

#include "base/file.h"
#include "base/mem.h"
#include "base/status.h"

#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define FILE_BYTES 1000000 /* more is no profile */
#define LEAST      1e-15   /* of every number: a second, or a byte a second */
#define MOST       1e15
#define MOST_TIMES 100.0 /* as long */

/* The plain numbers, by name. */
typedef struct field {
    const char *name;
    size_t at;
} field;
#define FIELD(name)                       \
    {                                     \
#name, offsetof(md_profile, name) \
    }
static const field fields[] = {FIELD(read_1), FIELD(read),   FIELD(touch),   FIELD(copy),  FIELD(loop), FIELD(wake),
                               FIELD(norm),   FIELD(hidden), FIELD(combine), FIELD(fresh), FIELD(pend)};
#define N_FIELDS (sizeof fields / sizeof *fields)

static double *number_of(md_profile *p, const field *f)
{
    return (double *)(void *)((char *)p + f->at);
}

/* ---- reading ---- */

static bool take(const json_t *v, double *out)
{
    if (!json_is_number(v))
        return false;
    *out = json_number_value(v);
    return *out >= LEAST && *out <= MOST;
}

static bool take_all(const json_t *array, double *out, size_t n)
{
    if (!json_is_array(array) || json_array_size(array) != n)
        return false;
    for (size_t i = 0; i < n; i++)
        if (!take(json_array_get(array, i), &out[i]))
            return false;
    return true;
}

static bool text_is(const json_t *root, const char *key, const char *want)
{
    const json_t *v = json_object_get(root, key);
    return json_is_string(v) && strcmp(json_string_value(v), want) == 0;
}

static bool same_key(const md_profile *p, const json_t *root)
{
    const json_t *threads = json_object_get(root, "threads");
    return text_is(root, "cpu", p->cpu) && text_is(root, "isa", p->isa) && text_is(root, "version", p->version) &&
           json_is_integer(threads) && json_integer_value(threads) == p->n_threads;
}

static bool take_types(md_profile *p, json_t *types)
{
    const char *name;
    json_t *v;
    json_object_foreach(types, name, v)
    {
        md_type id;
        if (!md_type_from_name(name, &id))
            continue;
        md_profile_type *t = &p->type[id];
        const json_t *weave = json_object_get(v, "weave");
        double both[2] = {0.0, 0.0};
        if (!take_all(json_object_get(v, "weight"), t->weight, MD_PROFILE_ROWS) || (weave && !take_all(weave, both, 2)))
            return false;
        t->weave_1 = both[0];
        t->weave = both[1];
        t->measured = true;
    }
    return true;
}

static bool take_factors(const json_t *array, double *out)
{
    if (!take_all(array, out, MD_PROFILE_KINDS))
        return false;
    for (int i = 0; i < MD_PROFILE_KINDS; i++)
        if (out[i] < 1.0 || out[i] > MOST_TIMES)
            return false;
    return true;
}

static bool take_disks(md_profile *p, const json_t *disks)
{
    for (size_t i = 0; i < json_array_size(disks) && i < MD_PROFILE_DISKS; i++) {
        const json_t *v = json_array_get(disks, i), *rows = json_object_get(v, "seconds");
        const json_t *device = json_object_get(v, "device");
        if (!json_is_integer(device) || json_array_size(rows) != MD_PROFILE_SIZES)
            return false;
        for (size_t s = 0; s < MD_PROFILE_SIZES; s++)
            if (!take_all(json_array_get(rows, s), p->disk[i].seconds[s], MD_PROFILE_DEPTHS))
                return false;
        md_profile_both *both = &p->disk[i].both;
        if (!take_factors(json_object_get(v, "read"), both->read) ||
            !take_factors(json_object_get(v, "work"), both->work))
            return false;
        p->disk[i].device = (uint64_t)json_integer_value(device);
    }
    return true;
}

static bool take_profile(md_profile *p, json_t *root)
{
    json_t *types = json_object_get(root, "types"), *disks = json_object_get(root, "disks");
    if (!same_key(p, root) || !json_is_object(types) || !json_is_array(disks))
        return false;
    for (size_t i = 0; i < N_FIELDS; i++)
        if (!take(json_object_get(root, fields[i].name), number_of(p, &fields[i])))
            return false;
    const json_t *attend = json_object_get(root, "attend");
    for (size_t i = 0; i < 2; i++)
        if (!take_all(json_array_get(attend, i), p->attend[i], MD_PROFILE_QUERIES))
            return false;
    p->measured = true;
    return take_types(p, types) && take_disks(p, disks);
}

bool md_profile_load(md_profile *p, const char *path)
{
    md_map map;
    if (md_map_open(path, &map, NULL) != MD_OK)
        return false;
    md_profile *found = map.n <= FILE_BYTES ? md_calloc(1, sizeof *found) : NULL;
    json_t *root = found && map.n > 0 ? json_loadb((const char *)map.bytes, map.n, JSON_REJECT_DUPLICATES, NULL) : NULL;
    bool ok = false;
    if (root) {
        md_profile_init(found, p->isa, p->n_threads);
        ok = take_profile(found, root);
        if (ok)
            *p = *found;
    }
    json_decref(root);
    md_free(found);
    md_map_close(&map);
    return ok;
}

/* ---- writing ---- */

static void put_all(md_buf *b, const double *v, size_t n)
{
    for (size_t i = 0; i < n; i++)
        md_buf_printf(b, "%s%.6g", i > 0 ? ", " : "[", v[i]);
    md_buf_puts(b, "]");
}

/* Names of processors have no control characters; quotes and backslashes would end the text. */
static void put_text(md_buf *b, const char *key, const char *text)
{
    md_buf_printf(b, " \"%s\": \"", key);
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            md_buf_putc(b, '\\');
        md_buf_putc(b, *text);
    }
    md_buf_puts(b, "\",\n");
}

static void put_types(md_buf *b, const md_profile *p)
{
    const char *between = "";
    md_buf_puts(b, " \"types\": {");
    for (int i = 0; i < MD_N_TYPES; i++) {
        const md_profile_type *t = &p->type[i];
        if (!t->measured)
            continue;
        md_buf_printf(b, "%s\n  \"%s\": {\"weight\": ", between, md_type_get((md_type)i)->name);
        put_all(b, t->weight, MD_PROFILE_ROWS);
        if (t->weave > 0.0) {
            md_buf_puts(b, ", \"weave\": ");
            put_all(b, (double[]){t->weave_1, t->weave}, 2);
        }
        md_buf_puts(b, "}");
        between = ",";
    }
    md_buf_puts(b, "\n },\n");
}

static void put_disks(md_buf *b, const md_profile *p)
{
    const char *between = "";
    md_buf_puts(b, " \"disks\": [");
    for (int i = 0; i < MD_PROFILE_DISKS; i++) {
        if (p->disk[i].device == 0)
            continue;
        md_buf_printf(b, "%s\n  {\"device\": %" PRIu64 ", \"seconds\": [", between, p->disk[i].device);
        for (int s = 0; s < MD_PROFILE_SIZES; s++) {
            md_buf_puts(b, s > 0 ? ", " : "");
            put_all(b, p->disk[i].seconds[s], MD_PROFILE_DEPTHS);
        }
        md_buf_puts(b, "], \"read\": ");
        put_all(b, p->disk[i].both.read, MD_PROFILE_KINDS);
        md_buf_puts(b, ", \"work\": ");
        put_all(b, p->disk[i].both.work, MD_PROFILE_KINDS);
        md_buf_puts(b, "}");
        between = ",";
    }
    md_buf_puts(b, "\n ]\n}\n");
}

md_status md_profile_save(const md_profile *p, const char *path, md_error *err)
{
    md_buf b = {0};
    md_out *out = NULL;
    md_profile copy = *p;
    md_buf_puts(&b, "{\n");
    put_text(&b, "cpu", p->cpu);
    put_text(&b, "isa", p->isa);
    put_text(&b, "version", p->version);
    md_buf_printf(&b, " \"threads\": %d,\n", (int)p->n_threads);
    for (size_t i = 0; i < N_FIELDS; i++)
        md_buf_printf(&b, " \"%s\": %.6g,\n", fields[i].name, *number_of(&copy, &fields[i]));
    md_buf_puts(&b, " \"attend\": [");
    put_all(&b, p->attend[0], MD_PROFILE_QUERIES);
    md_buf_puts(&b, ", ");
    put_all(&b, p->attend[1], MD_PROFILE_QUERIES);
    md_buf_puts(&b, "],\n");
    put_types(&b, p);
    put_disks(&b, p);
    md_status status = b.failed ? md_fail_memory(err, "a profile") : md_out_open(path, &out, err);
    if (status == MD_OK)
        status = md_out_write(out, b.data, b.len, err);
    if (status == MD_OK)
        status = md_out_commit(out, err);
    md_out_close(out);
    md_buf_done(&b);
    return status;
}
