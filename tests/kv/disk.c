/* SPDX-License-Identifier: Apache-2.0
 *
 * A folder of kept pages: what is put comes back, also after it was closed; the limit holds and what was not used goes first;
 * whose folder is refused; every damage and every lie of a file. */
#include "kv/disk.h"
#include "base/checksum.h"
#include "kv/disk_file.h"
#include "kv/disk_index.h"
#include "support/ok.h"
#include "support/scratch.h"

#include <fcntl.h>

enum { PAGE = 6000, STATE = 500 };

static const md_kv_file_shape shape = {PAGE, STATE};

typedef struct sample {
    unsigned char key[MD_KV_KEY_BYTES];
    int32_t token[MD_TILE];
    unsigned char page[PAGE];
    float state[STATE / sizeof(float)];
} sample;

/* Everything about it follows from its number. */
static sample sample_of(unsigned number)
{
    sample s;
    uint32_t x = number * 2654435761u + 1;
    unsigned char *at = (unsigned char *)&s;
    for (size_t i = 0; i < sizeof s; i++) {
        x = x * 1664525u + 1013904223u;
        at[i] = (unsigned char)(x >> 24);
    }
    return s;
}

static md_status open_at(const char *folder, int64_t bytes, md_kv_disk **out, md_error *e)
{
    return md_kv_disk_open(
        &(md_kv_disk_args){.folder = folder, .bytes = bytes, .page_bytes = PAGE, .state_bytes = STATE}, out, e);
}

static md_kv_disk *opened(const char *folder, int64_t bytes)
{
    md_kv_disk *d;
    OK(open_at(folder, bytes, &d, &err));
    return d;
}

static void put(md_kv_disk *d, unsigned number, bool state)
{
    const sample s = sample_of(number);
    assert_true(md_kv_disk_put(d, s.key, s.token, s.page, state ? s.state : NULL, true));
}

/* 0: not there, 1: the page, 2: with its state. What there is must be what was put. */
static int look(md_kv_disk *d, unsigned number)
{
    const sample s = sample_of(number);
    sample got = {0};
    bool state;
    if (!md_kv_disk_has(d, s.key, &state))
        return 0;
    if (!md_kv_disk_get(d, s.key, s.token, got.page, state ? got.state : NULL))
        return 0;
    assert_memory_equal(got.page, s.page, PAGE);
    if (state)
        assert_memory_equal(got.state, s.state, STATE);
    return state ? 2 : 1;
}

static const char *path_of(const char *folder, unsigned number)
{
    const sample s = sample_of(number);
    char name[MD_KV_NAME_BYTES];
    md_kv_name_of(s.key, false, name);
    return scratch_path(folder, name);
}

static void write_bytes(const char *path, const void *bytes, size_t n)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

/* ---- what is put comes back ---- */

static void pages_come_back_after_a_restart(void **state)
{
    md_kv_disk *d = opened(*state, 1 << 20);
    for (unsigned i = 0; i < 40; i++)
        put(d, i, i % 3 == 0);
    md_kv_disk_close(d);
    assert_int_equal(scratch_count(*state), 40);
    d = opened(*state, 1 << 20);
    for (unsigned i = 0; i < 40; i++)
        assert_int_equal(look(d, i), i % 3 == 0 ? 2 : 1);
    assert_int_equal(look(d, 40), 0);
    assert_int_equal(md_kv_disk_used(d), 40 * 8192);
    put(d, 1, true); /* now with a state */
    md_kv_disk_close(d);
    d = opened(*state, 1 << 20);
    assert_int_equal(look(d, 1), 2);
    float room[STATE / sizeof(float)];
    const sample s = sample_of(3);
    assert_true(md_kv_disk_get(d, s.key, s.token, NULL, room)); /* the state alone */
    assert_memory_equal(room, s.state, STATE);
    md_kv_disk_close(d);
}

/* What the writer takes at most is bounded, and who does not wait is told. */
static void a_full_queue_says_so(void **state)
{
    enum { BIG = 4 << 20 };
    md_kv_disk *d;
    unsigned char *page = calloc(BIG, 1);
    assert_non_null(page);
    OK(md_kv_disk_open(&(md_kv_disk_args){.folder = *state, .bytes = 6 * (int64_t)BIG, .page_bytes = BIG}, &d, &err));
    unsigned done = 0;
    for (; done < 2000; done++) {
        const sample s = sample_of(done);
        if (!md_kv_disk_put(d, s.key, s.token, page, NULL, false))
            break;
    }
    assert_true(done >= 15 && done < 2000);
    md_kv_disk_close(d);
    assert_int_equal(scratch_count(*state), 5); /* six with their headers are more than the limit */
    free(page);
}

/* ---- the limit ---- */

static void what_was_not_used_goes_first(void **state)
{
    md_kv_disk *d = opened(*state, 10 * 8192 + 4096);
    for (unsigned i = 0; i < 10; i++)
        put(d, i, false);
    md_kv_disk_close(d);
    d = opened(*state, 10 * 8192 + 4096);
    for (unsigned i = 0; i < 10; i++)
        assert_int_equal(look(d, 9 - i), 1); /* the other way round */
    md_kv_disk_touch(d, sample_of(8).key);
    md_kv_disk_close(d);
    d = opened(*state, 10 * 8192 + 4096); /* the order outlives the process */
    for (unsigned i = 10; i < 13; i++)
        put(d, i, false);
    md_kv_disk_close(d);
    d = opened(*state, 10 * 8192 + 4096);
    for (unsigned i = 0; i < 13; i++)
        assert_int_equal(look(d, i), i != 9 && i != 7 && i != 6);
    assert_int_equal(scratch_count(*state), 10);
    md_kv_disk_close(d);
    d = opened(*state, 3 * 8192); /* a smaller limit */
    assert_int_equal(scratch_count(*state), 3);
    assert_int_equal(md_kv_disk_used(d), 3 * 8192);
    md_kv_disk_close(d);
    d = opened(*state, 4096); /* no page fits */
    put(d, 50, false);
    md_kv_disk_close(d);
    assert_int_equal(scratch_count(*state), 0);
    md_error e = {0};
    assert_int_equal(open_at(*state, 0, &d, &e), MD_ERR_ARGUMENT);
}

/* Files without content cost a block each, or a folder could have any number of them. */
static void many_small_files_count(void **state)
{
    enum { N = 3000 };
    for (unsigned i = 0; i < N; i++)
        write_bytes(path_of(*state, i), "", 0);
    md_kv_disk *d = opened(*state, 100 * 4096);
    assert_int_equal(scratch_count(*state), 100);
    for (unsigned i = 0; i < N; i++)
        assert_int_equal(look(d, i), 0);
    md_kv_disk_close(d);
}

/* ---- whose folder ---- */

static void expect_refusal(const char *folder, md_status code, const char *words)
{
    md_kv_disk *d;
    md_error e = {0};
    assert_int_equal(open_at(folder, 1 << 20, &d, &e), code);
    assert_null(d);
    if (!strstr(e.message, words) || !strstr(e.message, folder))
        fail_msg("'%s' is not in '%s'", words, e.message);
}

static void the_folder_must_be_ours_alone(void **state)
{
    const char *at = scratch_path(*state, "pages");
    struct stat st;
    md_kv_disk *d = opened(at, 1 << 20); /* made */
    assert_int_equal(stat(at, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
    expect_refusal(at, MD_ERR_BUSY, "in use");
    md_kv_disk_close(d);
    static const mode_t open_modes[] = {0755, 0770, 0701, 0710, 0720, 0777};
    for (size_t i = 0; i < sizeof open_modes / sizeof *open_modes; i++) {
        assert_int_equal(chmod(at, open_modes[i]), 0);
        expect_refusal(at, MD_ERR_ARGUMENT, "chmod 700");
    }
    assert_int_equal(chmod(at, 0500), 0);
    expect_refusal(at, MD_ERR_ARGUMENT, "owner");
    assert_int_equal(chmod(at, 0700), 0);
    if (geteuid() == 0) {
        assert_int_equal(chown(at, 4711, 4711), 0);
        expect_refusal(at, MD_ERR_ARGUMENT, "another user");
        assert_int_equal(chown(at, 0, 0), 0);
    }
    write_bytes(scratch_path(*state, "file"), "x", 1);
    expect_refusal(scratch_path(*state, "file"), MD_ERR_IO, "folder");
    expect_refusal(scratch_path(*state, "no/where"), MD_ERR_IO, "make");
    d = opened(at, 1 << 20);
    md_kv_disk_close(d);
}

/* What others put there stays; what a killed writer left goes; what only looks like a page is none. */
static void other_names_are_left_alone(void **state)
{
    char part[MD_KV_NAME_BYTES], link[MD_KV_NAME_BYTES], deep[MD_KV_NAME_BYTES];
    md_kv_name_of(sample_of(1).key, true, part);
    md_kv_name_of(sample_of(2).key, false, link);
    md_kv_name_of(sample_of(3).key, false, deep);
    write_bytes(scratch_path(*state, "notes"), "mine", 4);
    write_bytes(scratch_path(*state, part), "half", 4);
    write_bytes(scratch_path(*state, "0123"), "short", 5);
    assert_int_equal(symlink("notes", scratch_path(*state, link)), 0);
    assert_int_equal(mkdir(scratch_path(*state, deep), 0700), 0);
    md_kv_disk *d = opened(*state, 4096);
    for (unsigned i = 1; i < 4; i++)
        assert_int_equal(look(d, i), 0);
    md_kv_disk_close(d);
    assert_int_equal(scratch_count(*state), 4);
    assert_int_equal(access(scratch_path(*state, part), F_OK), -1);
    assert_int_equal(access(scratch_path(*state, "notes"), F_OK), 0);
}

static void names_are_parsed_exactly(void **state)
{
    (void)state;
    char name[MD_KV_NAME_BYTES];
    unsigned char key[MD_KV_KEY_BYTES];
    const sample s = sample_of(4);
    for (int part = 0; part < 2; part++) {
        md_kv_name_of(s.key, part, name);
        assert_true(md_kv_name_parse(name, part, key));
        assert_memory_equal(key, s.key, sizeof key);
        assert_false(md_kv_name_parse(name, !part, key));
        for (size_t n = 0; n < strlen(name); n++) {
            char other[MD_KV_NAME_BYTES + 1];
            snprintf(other, sizeof other, "%.*s", (int)n, name); /* cut */
            assert_false(md_kv_name_parse(other, part, key));
            snprintf(other, sizeof other, "%s", name);
            other[n] = 'G';
            assert_false(md_kv_name_parse(other, part, key));
            snprintf(other, sizeof other, "%s0", name);
            assert_false(md_kv_name_parse(other, part, key));
        }
    }
}

/* ---- damage ---- */

/* The bytes stand where a page is looked for: it is not found, and they are gone. */
static void expect_rejected(const char *folder, unsigned number, const void *bytes, size_t n, bool with_state)
{
    const sample s = sample_of(number);
    sample got;
    const char *path = path_of(folder, number);
    write_bytes(path, bytes, n);
    md_kv_disk *d = opened(folder, 1 << 20);
    if (md_kv_disk_get(d, s.key, s.token, got.page, with_state ? got.state : NULL))
        fail_msg("a damaged file of %zu bytes was believed", n);
    bool state;
    assert_false(md_kv_disk_has(d, s.key, &state));
    assert_int_equal(access(path, F_OK), -1);
    md_kv_disk_close(d);
}

static unsigned char *file_of(unsigned number, bool state, size_t *n)
{
    const sample s = sample_of(number);
    unsigned char *bytes = calloc(md_kv_file_bytes(&shape, true) + 8, 1);
    assert_non_null(bytes);
    *n = md_kv_file_make(&shape, s.key, s.token, s.page, state ? s.state : NULL, bytes);
    md_kv_file_seal(bytes);
    return bytes;
}

static void every_damage_is_noticed(void **state)
{
    size_t n;
    unsigned char *bytes = file_of(7, true, &n);
    for (size_t i = 0; i < n; i += i < MD_KV_FILE_HEADER ? 3 : 97) {
        bytes[i] ^= 0x10;
        expect_rejected(*state, 7, bytes, n, true);
        bytes[i] ^= 0x10;
    }
    for (size_t cut = 0; cut < n; cut += cut < MD_KV_FILE_HEADER ? 7 : 131)
        expect_rejected(*state, 7, bytes, cut, true);
    expect_rejected(*state, 7, bytes, n - 1, true);
    expect_rejected(*state, 7, bytes, n - STATE, false);
    expect_rejected(*state, 7, bytes, n + 8, true);
    write_bytes(path_of(*state, 7), bytes, n);
    md_kv_disk *d = opened(*state, 1 << 20);
    assert_int_equal(look(d, 7), 2);
    md_kv_disk_close(d);
    free(bytes);
}

/* The header's own checksum made right again. */
static void sum_header(unsigned char *bytes)
{
    md_checksum c;
    md_checksum_init(&c);
    md_checksum_add(&c, bytes, MD_KV_FILE_HEADER - 8);
    memcpy(bytes + MD_KV_FILE_HEADER - 8, &(uint64_t){md_checksum_value(&c)}, 8);
}

/* Files that are whole, under a name that is not theirs or with sizes that are not these. */
static void lies_are_noticed(void **state)
{
    static const size_t fields[] = {8, 12, 16, 24}; /* version, layout, bytes of the page, of the state */
    static const uint64_t lies[] = {0, 2, PAGE + 4, UINT32_MAX, (uint64_t)1 << 62, UINT64_MAX};
    size_t n;
    unsigned char *bytes = file_of(7, true, &n), *copy = malloc(n);
    assert_non_null(copy);
    for (size_t f = 0; f < 4; f++)
        for (size_t l = 0; l < sizeof lies / sizeof *lies; l++) {
            memcpy(copy, bytes, n);
            memcpy(copy + fields[f], &lies[l], f < 2 ? 4 : 8);
            sum_header(copy);
            expect_rejected(*state, 7, copy, n, true);
        }
    expect_rejected(*state, 8, bytes, n, true); /* another page's file */
    memcpy(copy, bytes, n);
    memcpy(copy + 32, sample_of(8).key, MD_KV_KEY_BYTES); /* its key, but not its tokens */
    sum_header(copy);
    expect_rejected(*state, 8, copy, n, true);
    free(copy);
    free(bytes);
    bytes = file_of(7, false, &n); /* a state is asked for, and there is none */
    expect_rejected(*state, 7, bytes, n, true);
    free(bytes);
}

/* Names from a hostile folder cannot make the index slow, nor can growth lose any. */
static void the_index_keeps_order_and_sum(void **state)
{
    (void)state;
    enum { N = 5000 };
    md_kv_index x;
    unsigned char key[MD_KV_KEY_BYTES] = {0};
    assert_true(md_kv_index_init(&x));
    for (int i = 0; i < N; i++) {
        memcpy(key + 28, &i, sizeof i);
        assert_true(md_kv_index_put(&x, key, (uint64_t)i));
    }
    uint64_t used = 0;
    int longest = 0, at = x.oldest;
    for (int i = 0; i < N; i++, at = x.entry[at].newer) {
        int length = 1;
        memcpy(key + 28, &i, sizeof i);
        assert_int_equal(md_kv_index_find(&x, key), at);
        used += md_kv_index_cost((uint64_t)i);
        for (int32_t c = x.entry[at].chain; c >= 0; c = x.entry[c].chain)
            length++;
        longest = length > longest ? length : longest;
    }
    assert_true(x.used == used && longest < 16);
    for (int i = 0; i < N; i += 2) {
        memcpy(key + 28, &i, sizeof i);
        md_kv_index_remove(&x, md_kv_index_find(&x, key));
        assert_int_equal(md_kv_index_find(&x, key), -1);
    }
    assert_int_equal(x.n, N / 2);
    for (int i = 1; i < N; i += 2) {
        memcpy(key + 28, &i, sizeof i);
        assert_true(md_kv_index_put(&x, key, 1));
    }
    assert_true(x.used == (uint64_t)(N / 2) * 4096 && x.n == N / 2);
    assert_int_equal(md_kv_index_cost(0), 4096);
    assert_int_equal(md_kv_index_cost(4096), 4096);
    assert_int_equal(md_kv_index_cost(4097), 8192);
    md_kv_index_done(&x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_SCRATCH(pages_come_back_after_a_restart),
        IN_SCRATCH(a_full_queue_says_so),
        IN_SCRATCH(what_was_not_used_goes_first),
        IN_SCRATCH(many_small_files_count),
        IN_SCRATCH(the_folder_must_be_ours_alone),
        IN_SCRATCH(other_names_are_left_alone),
        cmocka_unit_test(names_are_parsed_exactly),
        IN_SCRATCH(every_damage_is_noticed),
        IN_SCRATCH(lies_are_noticed),
        cmocka_unit_test(the_index_keeps_order_and_sum),
    };
    return cmocka_run_group_tests_name("kv disk", tests, NULL, NULL);
}
