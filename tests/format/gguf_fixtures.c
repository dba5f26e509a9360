/* SPDX-License-Identifier: Apache-2.0
 *
 * Every GGUF file among the fixtures opens, and says the same in both modes. */
#include "support/fixtures.h"

#include "format/gguf.h"
#include <dirent.h>
#include <string.h>

static void check_file(const char *path)
{
    md_gguf *g, *header;
    md_error err = {0};
    if (md_gguf_open(path, MD_GGUF_MAP, &g, &err) != MD_OK ||
        md_gguf_open(path, MD_GGUF_HEADER, &header, &err) != MD_OK)
        fail_msg("%s", err.message);
    md_str arch;
    bool found;
    assert_int_equal(md_gguf_string(g, "general.architecture", &arch, &found, &err), MD_OK);
    assert_true(found && arch.n > 0);
    for (size_t i = 0; i < md_gguf_n_kv(g); i++) {
        const md_gguf_kv *kv = md_gguf_kv_at(g, i), *other = md_gguf_kv_at(header, i);
        assert_true(kv->kind == other->kind && kv->count == other->count && kv->bytes == other->bytes);
        char key[256];
        assert_true(kv->key.n < sizeof key);
        snprintf(key, sizeof key, "%.*s", (int)kv->key.n, kv->key.s);
        assert_ptr_equal(md_gguf_find(g, key), kv);
    }
    assert_int_equal(md_gguf_n_tensors(g), md_gguf_n_tensors(header));
    size_t sum = 0;
    for (size_t i = 0; i < md_gguf_n_tensors(g); i++) {
        const md_gguf_tensor *t = md_gguf_tensor_at(g, i);
        const unsigned char *bytes = t->data;
        sum += t->bytes + (bytes[0] ^ bytes[t->bytes - 1]) / 256u; /* both ends can be touched */
        assert_null(md_gguf_tensor_at(header, i)->data);
    }
    assert_true(sum < md_gguf_file_bytes(g));
    md_gguf_close(g);
    md_gguf_close(header);
}

static void check_folder(const char *folder)
{
    char path[1024];
    int count = 0;
    DIR *dir = opendir(folder);
    assert_non_null(dir);
    for (const struct dirent *e; (e = readdir(dir));) {
        const char *dot = strrchr(e->d_name, '.');
        if (!dot || strcmp(dot, ".gguf") != 0)
            continue;
        snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
        check_file(path);
        count++;
    }
    closedir(dir);
    assert_true(count > 3);
}

static void all_models_open(void **state)
{
    (void)state;
    check_folder(fixture("models"));
}

static void all_vocabularies_open(void **state)
{
    (void)state;
    check_folder(fixture("tokenizers"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(all_models_open), cmocka_unit_test(all_vocabularies_open)};
    return cmocka_run_group_tests_name("format/gguf_fixtures", tests, NULL, NULL);
}
