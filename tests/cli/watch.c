/* SPDX-License-Identifier: Apache-2.0
 *
 * The live view without a terminal: the lines that numbers become, at every size of a terminal; and the numbers that a session's
 * events become. */
#include "cli/watch.h"

#include "support/synth_model.h"

#include <math.h>

/* ---- lines ---- */

static md_buf text;

static const char *rendered(const md_watch_view *v)
{
    md_buf_reset(&text);
    md_buf_puts(&text, "");
    md_watch_render(v, &text);
    assert_false(text.failed);
    return text.data;
}

/* Two layers of four experts: much, some, little and not used; missed, there and not there. */
static const md_watch_expert some[2][4] = {
    {{8.0f, 0.0f, true}, {3.0f, 1.0f, true}, {1.0f, 1.0f, false}, {0.0f, 0.0f, false}},
    {{0.1f, 0.1f, true}, {0.0f, 0.0f, true}, {0.0f, 0.0f, false}, {6.0f, 6.0f, true}},
};
static const md_watch_layer layers[2] = {{1, 4, some[0]}, {3, 4, some[1]}};
static const md_watch_view streaming = {.columns = 100,
                                        .rows = 24,
                                        .done = 23,
                                        .rate = 7.46,
                                        .streamed = true,
                                        .hits = 0.643,
                                        .waiting = 0.41,
                                        .bytes = 512.4e6,
                                        .slots = 4,
                                        .experts = 8,
                                        .layer = layers,
                                        .n_layers = 2};

static void figures_and_map_are_drawn(void **state)
{
    (void)state;
    md_watch_view v = streaming;
    assert_int_equal(md_watch_height(&v), 4);
    assert_string_equal(rendered(&v),
                        "answer 23 | 7.5 tokens/s | hits 64 % | disk 512 MB/s | waiting 41 % | slots 4 of 8\n"
                        "      1 ███▓▓▓===   \n"
                        "      3 ······   XXX\n"
                        "layers by experts: ░▒▓█ used lately, -=xX and read for it, · in memory\n");
    v.color = true;
    assert_string_equal(
        rendered(&v),
        "answer 23 | 7.5 tokens/s | hits 64 % | disk 512 MB/s | waiting 41 % | slots 4 of 8\n"
        "      1 \033[0;32m███▓▓▓\033[0;31m▒▒▒\033[0m   \n"
        "      3 \033[0;2m······\033[0m   \033[0;31m███\033[0m\n"
        "layers by experts: \033[0;32m░▒▓█\033[0m used lately, \033[0;31m░▒▓█\033[0m and read for it, · in "
        "memory\n");
    v.prompt = true;
    v.total = 512;
    v.rate = v.hits = -1.0;
    assert_memory_equal(rendered(&v), "prompt 23 of 512 | disk", 23);
    v.streamed = v.prompt = false;
    v.n_layers = 0;
    assert_int_equal(md_watch_height(&v), 1);
    assert_string_equal(rendered(&v), "answer 23\n");
}

/* Columns that a line takes: characters, but none for a change of colour. */
static int32_t columns_of(const char *line, const char *end)
{
    int32_t n = 0;
    for (; line < end; line++) {
        if (*line == '\033')
            line = strchr(line, 'm');
        else
            n += (*line & 0xc0) != 0x80;
    }
    return n;
}

static void no_line_is_wider_than_the_terminal(void **state)
{
    (void)state;
    enum { LAYERS = 61, EXPERTS = 130 };
    static md_watch_expert expert[EXPERTS];
    static md_watch_layer many[LAYERS];
    for (int i = 0; i < EXPERTS; i++)
        expert[i] = (md_watch_expert){(float)(i % 7), (float)(i % 3), i % 2};
    for (int i = 0; i < LAYERS; i++)
        many[i] = (md_watch_layer){100 + i, i % 5 ? EXPERTS : EXPERTS / 2, expert};
    md_watch_view v = streaming;
    v.layer = many;
    v.n_layers = LAYERS;
    for (int color = 0; color < 2; color++)
        for (v.rows = 0; v.rows < 70; v.rows++)
            for (v.columns = 0; v.columns < 200; v.columns += 7) {
                const int32_t height = md_watch_height(&v);
                int32_t lines = 0;
                v.color = color;
                assert_true(height == 0 || height < v.rows / 2 + 2); /* there is more text than view */
                assert_int_equal(height > 0, v.rows >= 8 && v.columns >= 24);
                for (const char *p = rendered(&v), *end; (end = strchr(p, '\n')); p = end + 1, lines++)
                    assert_true(columns_of(p, end) < v.columns);
                assert_int_equal(lines, height);
            }
}

/* Sixteen layers' experts in five lines of eight columns: what is most used of a group shows. */
static void what_does_not_fit_is_grouped(void **state)
{
    (void)state;
    static md_watch_expert expert[16][64];
    static md_watch_layer many[16];
    for (int i = 0; i < 16; i++)
        many[i] = (md_watch_layer){i, 64, expert[i]};
    expert[0][63].used = 1.0f;
    expert[8][0].used = 0.4f;
    md_watch_view v = {.columns = 25, .rows = 9, .done = 1, .rate = -1.0, .layer = many, .n_layers = 16};
    assert_int_equal(md_watch_height(&v), 5);
    assert_string_equal(rendered(&v), "answer 1\n"
                                      "    0-4                █\n"
                                      "    5-9 ▓               \n"
                                      "  10-15                 \n"
                                      "layers by experts: ░▒▓█\n");
}

/* ---- counting ---- */

static void step(md_session *s, md_seq *q, int32_t n)
{
    static const int32_t token[8] = {5, 9, 2, 77, 30, 12, 99, 41};
    md_seq *const seq[8] = {q, q, q, q, q, q, q, q};
    OK(md_decode(s, &(md_batch){.n = n, .token = token, .seq = seq}, err));
}

static void on_event(void *user, const md_event *e)
{
    md_watch_count_event(user, e);
}

/* Sums over a layer: uses, and those that were missed. */
static md_watch_expert total(const md_watch_view *v, int32_t layer, int32_t *present)
{
    md_watch_expert sum = {0};
    *present = 0;
    for (int32_t e = 0; e < v->layer[layer].n_experts; e++) {
        sum.used += v->layer[layer].expert[e].used;
        sum.missed += v->layer[layer].expert[e].missed;
        *present += v->layer[layer].expert[e].present;
    }
    return sum;
}

static md_model *open_streamed(const md_synth_spec *spec)
{
    const char *path = temp_path("watch.gguf");
    const md_model_args args = {.stream = MD_STREAM_ALWAYS};
    md_model *m = NULL;
    OK(md_synth_write(spec, path, err));
    OK(md_model_open(path, &args, &m, err));
    return m;
}

static void a_streaming_session_is_counted(void **state)
{
    (void)state;
    const md_synth_spec spec = {.arch = "qwen3moe", .n_layer = 3, .n_expert = 16, .n_expert_used = 2, .seed = 4};
    md_model *m = open_streamed(&spec);
    md_session_args args;
    md_session_args_default(m, &args);
    args.n_threads = 1;
    args.n_positions = 64;
    args.most_slots = 4;
    args.read_ahead = MD_READ_AHEAD_OFF; /* else what is there depends on the disk */
    md_session *s;
    md_seq *q;
    md_watch_count c;
    md_watch_view v = {0};
    OK(md_session_new(m, &args, &s, err));
    OK(md_seq_new(s, &q, err));
    OK(md_watch_count_init(&c, s, err));
    OK(md_session_add_observer(s, MD_WATCH_POINTS, on_event, &c, err));
    md_watch_count_begin(&c, 8, 100.0);
    step(s, q, 4);
    md_watch_count_look(&c, 102.0, &v);
    assert_true(v.prompt && v.streamed && v.done == 4 && v.total == 8);
    assert_true(v.rate == 2.0 && v.n_layers == 3 && v.layer[2].layer == 2 && v.layer[0].n_experts == 16);
    md_stream_counts store;
    md_session_stream_counts(s, &store);
    assert_true(v.slots == 12 && v.experts == 48 && store.misses > 0);
    assert_true(fabs(v.hits - (double)store.hits / (double)(store.hits + store.misses)) < 1e-12);
    assert_true(fabs(v.bytes - (double)store.bytes / 2.0) < 1e-6 && v.waiting >= 0.0);
    int32_t present;
    md_watch_expert sum = total(&v, 1, &present);
    assert_true(sum.used == 2.0f); /* four rows of two, two seconds ago */
    assert_true(sum.missed == sum.used && present == 4);

    step(s, q, 4); /* the prompt's end: the answer has figures of its own */
    md_watch_count_look(&c, 103.0, &v);
    assert_true(!v.prompt && v.done == 1 && v.rate < 0.0 && v.hits < 0.0);
    step(s, q, 1);
    step(s, q, 1);
    md_watch_count_look(&c, 103.5, &v);
    assert_true(v.done == 3 && v.rate == 4.0);
    for (int i = 0; i < 50; i++) { /* older samples than are kept do not count */
        step(s, q, 1);
        md_watch_count_look(&c, 104.0 + i, &v);
        if (i == 40)
            assert_true(v.rate == 1.0);
    }
    sum = total(&v, 0, &present);
    assert_true(sum.missed <= sum.used && sum.used < 4.0f && present == 4);
    md_watch_count_begin(&c, 1, 500.0);
    step(s, q, 1);
    md_watch_count_look(&c, 501.0, &v);
    assert_true(total(&v, 0, &present).used == 1.0f); /* what was before is forgotten */
    md_watch_count_done(&c);
    md_session_free(s);
    md_model_close(m);
    unlink(temp_path("watch.gguf"));
}

static void a_model_without_experts_is_counted(void **state)
{
    (void)state;
    const md_synth_spec spec = {.arch = "llama"};
    md_model *m = open_synth(&spec);
    md_session_args args;
    md_session_args_default(m, &args);
    args.n_positions = 64;
    md_session *s;
    md_seq *q;
    md_watch_count c;
    md_watch_view v = {.columns = 80, .rows = 24};
    OK(md_session_new(m, &args, &s, err));
    OK(md_seq_new(s, &q, err));
    OK(md_watch_count_init(&c, s, err));
    OK(md_session_add_observer(s, MD_WATCH_POINTS, on_event, &c, err));
    md_watch_count_begin(&c, 4, 0.0);
    step(s, q, 4);
    step(s, q, 1);
    md_watch_count_look(&c, 1.0, &v);
    assert_true(!v.streamed && v.n_layers == 0 && v.done == 2);
    assert_string_equal(rendered(&v), "answer 2\n");
    md_watch_count_done(&c);
    md_session_free(s);
    md_model_close(m);
}

static int teardown(void **state)
{
    (void)state;
    md_buf_done(&text);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(figures_and_map_are_drawn),          cmocka_unit_test(no_line_is_wider_than_the_terminal),
        cmocka_unit_test(what_does_not_fit_is_grouped),       cmocka_unit_test(a_streaming_session_is_counted),
        cmocka_unit_test(a_model_without_experts_is_counted),
    };
    return cmocka_run_group_tests(tests, NULL, teardown);
}
