/* SPDX-License-Identifier: Apache-2.0
 *
 * Tokenizers of every kind and chat templates of many families when memory runs out: each allocation in turn fails, those
 * of the regular expressions and of JSON included where the C library lets us see them. */
#include "support/fault.h"
#include "support/scratch.h"

#include "text/chat_limits.h"
#include "text/tok_tiny.h"
#include <medley/chat.h>

static uint64_t fold(uint64_t hash, const void *bytes, size_t n)
{
    const unsigned char *p = bytes;
    for (size_t i = 0; i < n; i++)
        hash = (hash ^ p[i]) * 0x100000001b3ull;
    return hash;
}

/* ---- tokenizers ---- */

static md_status tokenize(void *arg, uint64_t *result, md_error *err)
{
    static const char text[] = "Hello <|end|>  12345 \xc3\xa4pfel,\n\xe4\xb8\xad\xe6\x96\x87 don't \xff\xfe";
    const tiny *y = arg;
    md_tokenizer *t;
    md_tokens ids = {0};
    md_status status = md_tokenizer_new(&y->v, &t, err);
    if (status == MD_OK)
        status = md_tokenize(t, text, sizeof text - 1, MD_TOKENIZE_BOS | MD_TOKENIZE_SPECIAL, &ids, err);
    *result = fold(ids.n, ids.id, ids.n * sizeof *ids.id);
    md_tokens_done(&ids);
    md_tokenizer_free(t);
    return status;
}

static void add_words(tiny *y)
{
    tiny_merge(y, "l", "l", false);
    tiny_merge(y, "H", "e", false);
    tiny_merge(y, "He", "ll", false);
    tiny_add(y, "<|end|>", MD_TOKEN_CONTROL, 0);
}

static void tokenizers_survive_every_failure(void **state)
{
    (void)state;
    static const struct {
        const char *model, *pre;
        bool byte_names;
    } kinds[] = {{"gpt2", "gpt-2", false},   {"gpt2", "qwen2", false}, {"gpt2", "deepseek-v3", false},
                 {"gpt2", "kimi-k2", false}, {"llama", NULL, true},    {"gemma4", NULL, true},
                 {"t5", NULL, true},         {"bert", NULL, false}};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        tiny *y = tiny_new(kinds[i].model, kinds[i].pre);
        y->v.unk = tiny_add(y, "<unk>", MD_TOKEN_UNKNOWN, 0);
        if (kinds[i].byte_names)
            tiny_byte_names(y);
        tiny_bytes(y);
        add_words(y);
        const fault_count n = fault_each(FAULT_MEMORY, MD_ERR_MEMORY, tokenize, y);
        print_message("%s %s: %ld allocations (%ld made no difference)\n", kinds[i].model,
                      kinds[i].pre ? kinds[i].pre : "", n.refused + n.survived, n.survived);
        assert_true(n.refused >= 10);
        tiny_free(y);
    }
}

/* ---- templates ---- */

typedef struct template
{
    char *source;
    size_t n;
}
template;

static const char variables[] =
    "{\"messages\": [{\"role\": \"system\", \"content\": \"Be kind.\"}, {\"role\": \"user\", \"content\": \"Hello\"},"
    " {\"role\": \"assistant\", \"content\": \"Hi\"}, {\"role\": \"user\", \"content\": \"Bye\"}],"
    " \"tools\": [{\"type\": \"function\", \"function\": {\"name\": \"f\", \"description\": \"\", \"parameters\":"
    " {\"type\": \"object\", \"properties\": {}}}}], \"s\": \"text\", \"i\": 7, \"l\": [3, 1, 2], \"d\": {\"a\": 1}}";

static md_status render(void *arg, uint64_t *result, md_error *err)
{
    static const md_jinja_limits limits = {100000, 1 << 20, 1 << 16};
    static const md_chat_args args = {.add_generation_prompt = true,
                                      .bos_token = "<s>",
                                      .eos_token = "</s>",
                                      .extra_json = variables,
                                      .now = 1750000000};
    const template *source = arg;
    md_template *t;
    md_rendered text = {0};
    md_status status = md_template_new(source->source, source->n, &t, err);
    if (status == MD_OK)
        status = md_template_render_limited(t, &args, &limits, &text, err);
    *result = fold(text.n_segments, text.text, text.n);
    md_rendered_done(&text);
    md_template_free(t);
    return status;
}

/* The fuzzer's seeds are templates of all kinds; those that do not render, on purpose, are passed over. */
static void templates_survive_every_failure(void **state)
{
    (void)state;
    const char *folder = MD_SOURCE_DIR "/fuzz/corpus/template";
    DIR *d = opendir(folder);
    assert_non_null(d);
    int swept = 0;
    long rounds = 0;
    for (const struct dirent *e; (e = readdir(d));) {
        if (e->d_name[0] == '.')
            continue;
        template t;
        uint64_t result;
        t.source = read_all(scratch_path(folder, e->d_name), &t.n);
        if (render(&t, &result, NULL) == MD_OK) {
            rounds += fault_each(FAULT_MEMORY, MD_ERR_MEMORY, render, &t).refused;
            swept++;
        }
        free(t.source);
    }
    closedir(d);
    print_message("%d templates, %ld allocations\n", swept, rounds);
    assert_true(swept >= 15 && rounds >= 15L * 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tokenizers_survive_every_failure),
        cmocka_unit_test(templates_survive_every_failure),
    };
    return cmocka_run_group_tests_name("fault/text", tests, NULL, NULL);
}
