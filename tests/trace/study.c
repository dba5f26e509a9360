/* SPDX-License-Identifier: Apache-2.0
 *
 * What is learned from traces: loads and their measures by hand, affinity that is there or not, and replays against plain
 * implementations: of the least recently used, and of the best that any choice of victims could do. */
#include "trace/synthetic.h"
#include "trace/trace_test.h"

#include <math.h>

static void assert_near(double a, double b)
{
    if (!(fabs(a - b) < 1e-12))
        fail_msg("%.17g is not %.17g", a, b);
}

/* ---- summary ---- */

/* Four experts, top 2, one sequence: counts 3 3 2 0 at layer 0; layer 2 always expert 1. */
static void write_known(const char *path, const int32_t *expert, int32_t n_steps)
{
    const float weight[2] = {0.5f, 0.5f};
    md_trace_writer *w = open_writer(path, &some_info);
    for (int32_t t = 0; t < n_steps; t++) {
        md_trace_write_step(w, 1, (const int32_t[]){0}, &t, NULL);
        md_trace_write_routing(w, 0, 1, expert + (ptrdiff_t)2 * t, weight);
        md_trace_write_store(w, 0, 1, 1, 1000, 500);
        md_trace_write_routing(w, 2, 1, (const int32_t[]){1}, weight);
        md_trace_write_step_end(w, 1000);
    }
    close_writer(w);
}

static void a_summary_counts(void **state)
{
    static const int32_t expert[] = {0, 1, 1, 0, 0, 2, 2, 1};
    const char *path = in_folder(state, "t");
    md_trace_summary *s;
    md_error err;
    write_known(path, expert, 4);
    ok(md_trace_summarise(path, NULL, &s, &err), &err);
    assert_string_equal(s->info.model, "a small one");
    assert_int_equal(s->steps, 4);
    assert_int_equal(s->rows, 4);
    assert_int_equal(s->timed_steps, 4);
    assert_int_equal(s->ns, 4000);
    const md_trace_load *a = &s->layer[0], *b = &s->layer[2];
    assert_int_equal(a->rows, 4);
    assert_int_equal(a->choices, 8);
    assert_memory_equal(a->count, ((const uint64_t[]){3, 3, 2, 0}), 32);
    assert_int_equal(a->used, 3);
    assert_int_equal(a->busiest, 0);
    assert_near(a->max_over_mean, 1.5);
    assert_near(a->variation, sqrt((1.0 + 1.0 + 0.0 + 4.0) / 4.0) / 2.0);
    assert_near(a->entropy, -(0.75 * log2(0.375) + 0.25 * log2(0.25)));
    assert_near(a->repeated, (2.0 + 1.0 + 1.0) / 6.0);
    assert_true(a->divergence == -1.0);
    assert_int_equal(a->hits, 4);
    assert_int_equal(a->misses, 4);
    assert_int_equal(a->bytes, 4000);
    assert_int_equal(a->wait_ns, 2000);
    assert_near(b->max_over_mean, 6.0);
    assert_near(b->entropy, 0.0);
    assert_near(b->repeated, 1.0);
    assert_int_equal(s->layer[1].rows, 0);
    assert_int_equal(s->layer[1].busiest, -1);
    assert_int_equal(s->total.choices, 12);
    assert_near(s->total.max_over_mean, (1.5 + 6.0) / 2.0);
    md_trace_summary_free(s);
    md_trace_summary_free(NULL);
}

static void two_traces_are_told_apart(void **state)
{
    static const int32_t some[] = {0, 1, 0, 1}, others[] = {2, 3, 3, 2}, half[] = {0, 1, 2, 3};
    char *path = strdup(in_folder(state, "t"));
    const char *other = in_folder(state, "other");
    md_trace_summary *s;
    md_error err;
    write_known(path, some, 2);
    write_known(other, some, 2);
    ok(md_trace_summarise(path, other, &s, &err), &err);
    assert_true(s->layer[0].divergence == 0.0 && s->total.divergence == 0.0);
    md_trace_summary_free(s);
    write_known(other, others, 2);
    ok(md_trace_summarise(path, other, &s, &err), &err);
    assert_near(s->layer[0].divergence, 1.0); /* nothing in common */
    assert_near(s->total.divergence, 0.5);
    md_trace_summary_free(s);
    write_known(other, half, 2);
    ok(md_trace_summarise(path, other, &s, &err), &err);
    /* middle 3/8 3/8 1/8 1/8 */
    assert_near(s->layer[0].divergence, 0.5 * log2(4.0 / 3.0) + 0.25 * log2(2.0 / 3.0) + 0.25);
    md_trace_summary_free(s);
    const md_trace_info less = {.model = "", .n_layer = 1, .layer = some_layers};
    close_writer(open_writer(other, &less));
    assert_int_equal(md_trace_summarise(path, other, &s, &err), MD_ERR_ARGUMENT);
    assert_null(s);
    assert_non_null(strstr(err.message, "cannot be compared"));
    free(path);
}

/* A token that another sequence, or a gap, stands before has no last one. */
static void only_neighbours_repeat(void **state)
{
    static const int32_t sequence[] = {0, 1, 0, 0, 20, 20}, position[] = {0, 1, 1, 3, 0, 1};
    const int32_t expert[12] = {0, 1, 0, 1, 0, 2, 0, 2, 0, 1, 0, 1};
    const float weight[12] = {0};
    const char *path = in_folder(state, "t");
    md_trace_summary *s;
    md_error err;
    md_trace_writer *w = open_writer(path, &some_info);
    md_trace_write_step(w, 6, sequence, position, NULL);
    md_trace_write_routing(w, 0, 6, expert, weight);
    close_writer(w);
    ok(md_trace_summarise(path, NULL, &s, &err), &err);
    assert_near(s->layer[0].repeated, 0.5); /* only position 1 of sequence 0: one of two */
    md_trace_summary_free(s);
}

/* ---- affinity ---- */

/* Layer 1 follows layer 0 by a rule; layer 2 does not. */
static void affinity_is_found(void **state)
{
    enum { STEPS = 600, E = 12 };
    const md_trace_layer layer[] = {{.n_expert = E, .n_ffn = E, .top_k = 2},
                                    {.n_expert = E, .n_ffn = E, .top_k = 2},
                                    {.n_expert = E, .n_ffn = E, .top_k = 2}};
    const md_trace_info info = {.model = "", .n_layer = 3, .layer = layer};
    const synthetic_habit habit = {.n_expert = E, .top_k = 2, .zipf = 0.2};
    const float weight[2] = {0};
    const char *path = in_folder(state, "t");
    synthetic a, b;
    md_trace_affinity *f;
    md_error err;
    md_trace_writer *w = open_writer(path, &info);
    synthetic_init(&a, &habit, 1);
    synthetic_init(&b, &habit, 2);
    for (int32_t t = 0; t < STEPS; t++) {
        int32_t one[2], two[2];
        synthetic_next(&a, one);
        md_trace_write_step(w, 1, (const int32_t[]){0}, &t, NULL);
        md_trace_write_routing(w, 0, 1, one, weight);
        for (int k = 0; k < 2; k++)
            two[k] = (5 * one[k] + 3) % E;
        md_trace_write_routing(w, 1, 1, two, weight);
        synthetic_next(&b, one);
        md_trace_write_routing(w, 2, 1, one, weight);
    }
    close_writer(w);
    ok(md_trace_find_affinity(path, 10, &f, &err), &err);
    assert_int_equal(f->n_pairs, 10);
    for (size_t i = 0; i < f->n_pairs; i++) {
        assert_int_equal(f->pair[i].layer, 0);
        assert_int_equal(f->pair[i].next_layer, 1);
        assert_int_equal(f->pair[i].next_expert, (5 * f->pair[i].expert + 3) % E);
        assert_true(f->pair[i].probability == 1.0 && f->pair[i].lift > 3.0 && f->pair[i].count > 10);
    }
    assert_int_equal(f->n_guesses, 2);
    assert_int_equal(f->guess[0].choices, STEPS);
    assert_true(f->guess[0].by_affinity > 0.99 && f->guess[0].by_popularity < 0.4);
    assert_int_equal(f->guess[1].layer, 1);
    assert_int_equal(f->guess[1].next_layer, 2);
    assert_true(f->guess[1].by_affinity < 0.4 && f->guess[1].by_last_token < 0.4);
    assert_near(f->total.by_affinity, (f->guess[0].by_affinity + f->guess[1].by_affinity) / 2.0);
    md_trace_affinity_free(f);
    assert_int_equal(md_trace_find_affinity(path, 1001, &f, &err), MD_ERR_ARGUMENT);
    md_trace_affinity_free(NULL);
}

/* What a sequence's last row chose is known within a step of many rows, too. */
static void the_last_token_guesses(void **state)
{
    enum { ROWS = 40 };
    int32_t sequence[ROWS], position[ROWS], expert[2 * ROWS], other[ROWS];
    float weight[2 * ROWS] = {0};
    const char *path = in_folder(state, "t");
    md_trace_affinity *f;
    md_error err;
    for (int32_t i = 0; i < ROWS; i++) {
        sequence[i] = i % 2;
        position[i] = i / 2;
        expert[2 * i] = i % 2;
        expert[2 * i + 1] = 2 + i % 2;
        other[i] = i % 2 == 0 ? 4 : (i / 2) % 3; /* steady in one sequence, never the same in the other */
    }
    md_trace_writer *w = open_writer(path, &some_info);
    md_trace_write_step(w, ROWS, sequence, position, NULL);
    md_trace_write_routing(w, 0, ROWS, expert, weight);
    md_trace_write_routing(w, 2, ROWS, other, weight);
    close_writer(w);
    ok(md_trace_find_affinity(path, 0, &f, &err), &err);
    assert_int_equal(f->n_pairs, 0);
    assert_int_equal(f->n_guesses, 1);
    assert_int_equal(f->guess[0].next_layer, 2);
    assert_int_equal(f->guess[0].choices, ROWS / 2);
    assert_near(f->guess[0].by_last_token, 0.5);
    md_trace_affinity_free(f);
}

/* ---- simulation ---- */

enum { SMALL = 6, SMALL_STEPS = 60 };
static const md_trace_layer small_layer = {.n_expert = SMALL, .n_ffn = SMALL, .top_k = 2, .expert_bytes = 10};
static const md_trace_info small_info = {.model = "", .n_layer = 1, .layer = &small_layer};

static void write_habit(const char *path, const md_trace_info *info, const synthetic_habit *habit, uint64_t seed,
                        int32_t n_steps, int32_t (*kept)[2])
{
    md_trace_writer *w = open_writer(path, info);
    float weight[SYNTHETIC_MOST] = {0};
    synthetic s[4];
    for (int32_t l = 0; l < info->n_layer; l++)
        synthetic_init(&s[l], habit, seed + (uint64_t)l);
    for (int32_t t = 0; t < n_steps; t++) {
        md_trace_write_step(w, 1, (const int32_t[]){0}, &t, NULL);
        for (int32_t l = 0; l < info->n_layer; l++) {
            int32_t expert[SYNTHETIC_MOST];
            synthetic_next(&s[l], expert);
            md_trace_write_routing(w, l, 1, expert, weight);
            if (kept)
                memcpy(kept[t], expert, sizeof *kept);
        }
    }
    close_writer(w);
}

/* The fewest misses that any victims allow, by trying all: over the sets of experts that may be there, bit by bit. */
static int fewest_misses(int32_t (*need)[2], int32_t n_steps, int slots)
{
    enum { SETS = 1 << SMALL, FAR = 1 << 20 };
    int now[SETS], next[SETS];
    for (int i = 0; i < SETS; i++)
        now[i] = i == 0 ? 0 : FAR;
    for (int32_t t = 0; t < n_steps; t++) {
        const int needed = 1 << need[t][0] | 1 << need[t][1];
        for (int i = 0; i < SETS; i++)
            next[i] = FAR;
        for (int from = 0; from < SETS; from++)
            for (int to = 0; to < SETS && now[from] < FAR; to++) {
                const bool allowed = (to & needed) == needed && (to & ~(from | needed)) == 0 &&
                                     __builtin_popcount((unsigned)to) <= slots;
                const int cost = now[from] + __builtin_popcount((unsigned)(needed & ~from));
                if (allowed && cost < next[to])
                    next[to] = cost;
            }
        memcpy(now, next, sizeof now);
    }
    int best = FAR;
    for (int i = 0; i < SETS; i++)
        best = now[i] < best ? now[i] : best;
    return best;
}

static int misses_of_the_least_recent(int32_t (*need)[2], int32_t n_steps, int slots)
{
    int64_t last[SMALL] = {0}, clock = 0;
    bool here[SMALL] = {false};
    int held = 0, misses = 0;
    for (int32_t t = 0; t < n_steps; t++) {
        for (int k = 0; k < 2; k++)
            last[need[t][k]] = ++clock;
        for (int k = 0; k < 2; k++) {
            int victim = -1;
            if (here[need[t][k]])
                continue;
            misses++;
            for (int e = 0; e < SMALL && held == slots; e++)
                if (here[e] && e != need[t][0] && e != need[t][1] && (victim < 0 || last[e] < last[victim]))
                    victim = e;
            if (victim >= 0)
                here[victim] = false;
            else
                held++;
            here[need[t][k]] = true;
        }
    }
    return misses;
}

static void replays_are_those_of_plain_caches(void **state)
{
    static const synthetic_habit habits[] = {
        {.n_expert = SMALL, .top_k = 2},
        {.n_expert = SMALL, .top_k = 2, .zipf = 1.0, .drift = 0.2},
        {.n_expert = SMALL, .top_k = 2, .zipf = 0.5, .again = 0.4},
    };
    static const int32_t slots[] = {2, 3, 4, 6, 100};
    const char *path = in_folder(state, "t");
    md_trace_simulation *s;
    md_error err;
    for (int i = 0; i < 9; i++) {
        int32_t need[SMALL_STEPS][2];
        write_habit(path, &small_info, &habits[i % 3], 100 + (uint64_t)i, SMALL_STEPS, need);
        const char *const policy[] = {"lru"};
        const md_trace_simulate_args args = {.policy = policy, .n_policies = 1, .slots = slots, .n_slots = 5};
        ok(md_trace_simulate(path, &args, &s, &err), &err);
        assert_int_equal(s->steps, SMALL_STEPS);
        assert_int_equal(s->needs, 2 * SMALL_STEPS);
        assert_int_equal(s->n_replays, 10);
        for (int k = 0; k < 5; k++) {
            const md_trace_replay *lru = &s->replay[2 * k], *best = &s->replay[2 * k + 1];
            const int32_t room = slots[k] < SMALL ? slots[k] : SMALL;
            assert_string_equal(lru->policy, "lru");
            assert_string_equal(best->policy, "optimum");
            assert_int_equal(lru->slots, room);
            assert_int_equal(lru->room, 10 * room);
            assert_int_equal(lru->misses, misses_of_the_least_recent(need, SMALL_STEPS, room));
            assert_int_equal(best->misses, fewest_misses(need, SMALL_STEPS, room));
            assert_int_equal(best->hits + best->misses, s->needs);
            assert_int_equal(best->missed_bytes, 10 * best->misses);
            assert_near(best->hit_rate, (double)best->hits / (double)s->needs);
        }
        md_trace_simulation_free(s);
    }
    md_trace_simulation_free(NULL);
}

/* No policy beats the optimum, more room never hurts it, and everything is read once at least. */
static void nothing_beats_the_optimum(void **state)
{
    const md_trace_layer layer[] = {{.n_expert = 48, .n_ffn = 48, .top_k = 6, .expert_bytes = 100},
                                    {.n_expert = 48, .n_ffn = 48, .top_k = 6, .expert_bytes = 300}};
    const md_trace_info info = {.model = "", .n_layer = 2, .layer = layer};
    const synthetic_habit habit = {.n_expert = 48, .top_k = 6, .zipf = 0.7, .drift = 0.1, .again = 0.2};
    static const int32_t slots[] = {1, 3, 6, 12, 24, 48}; /* less than a token's worth, too */
    const char *path = in_folder(state, "t");
    md_trace_simulation *s;
    md_error err;
    write_habit(path, &info, &habit, 5, 800, NULL);
    const md_trace_simulate_args args = {.slots = slots, .n_slots = 6};
    ok(md_trace_simulate(path, &args, &s, &err), &err);
    assert_int_equal(s->n_replays, 24);
    uint64_t before = 0;
    for (size_t i = 0; i < 24; i += 4) {
        const uint64_t best = s->replay[i + 3].hits;
        assert_string_equal(s->replay[i].policy, "medley");
        for (size_t k = 0; k < 3; k++)
            assert_true(s->replay[i + k].hits <= best);
        assert_true(best >= before);
        before = best;
    }
    for (size_t i = 20; i < 24; i++) {
        assert_int_equal(s->replay[i].misses, 96);
        assert_int_equal(s->replay[i].room, 48 * 400);
    }
    md_trace_simulation_free(s);
}

static bool stop_at_two(void *user, uint64_t done, uint64_t total)
{
    (void)user;
    assert_int_equal(total, 12);
    return done < 2;
}

static void rooms_are_chosen(void **state)
{
    const synthetic_habit habit = {.n_expert = SMALL, .top_k = 2};
    static const int32_t none[] = {0};
    static const char *const unknown[] = {"lru", "fifo"};
    char *path = strdup(in_folder(state, "t"));
    int32_t need[SMALL_STEPS][2];
    md_trace_simulation *s;
    md_error err;
    write_habit(path, &small_info, &habit, 1, SMALL_STEPS, need);
    ok(md_trace_simulate(path, NULL, &s, &err), &err);
    assert_int_equal(s->n_replays, 12);
    assert_int_equal(s->replay[0].slots, 1);
    assert_int_equal(s->replay[4].slots, 2);
    assert_int_equal(s->replay[8].slots, 3);
    md_trace_simulation_free(s);
    ok(md_trace_simulate(path, &(md_trace_simulate_args){.memory = 49}, &s, &err), &err);
    assert_int_equal(s->replay[0].slots, 4);
    md_trace_simulation_free(s);
    assert_int_equal(md_trace_simulate(path, &(md_trace_simulate_args){.memory = 9}, &s, &err), MD_ERR_ARGUMENT);
    assert_string_equal(err.message, "9 bytes do not hold one expert of each layer, which takes 10 bytes");
    assert_int_equal(md_trace_simulate(path, &(md_trace_simulate_args){.slots = none, .n_slots = 1}, &s, &err),
                     MD_ERR_ARGUMENT);
    assert_int_equal(md_trace_simulate(path, &(md_trace_simulate_args){.policy = unknown, .n_policies = 2}, &s, &err),
                     MD_ERR_ARGUMENT);
    assert_non_null(strstr(err.message, "'fifo'"));
    assert_int_equal(md_trace_simulate(path, &(md_trace_simulate_args){.progress = stop_at_two}, &s, &err),
                     MD_ERR_CANCELLED);
    assert_null(s);
    const md_trace_layer dense = {0};
    const md_trace_info info = {.model = "", .n_layer = 1, .layer = &dense};
    close_writer(open_writer(path, &info));
    assert_int_equal(md_trace_simulate(path, NULL, &s, &err), MD_ERR_ARGUMENT);
    assert_non_null(strstr(err.message, "without experts"));
    free(path);
}

/* Experts of several rows are needed once; those that cost nothing, never; empty slots neither. */
static void a_step_needs_an_expert_once(void **state)
{
    const int32_t row[] = {0, 1, 2}, expert[] = {1, 5, 1}, empty[] = {-1, 5, -1};
    const float weight[3] = {0};
    const char *path = in_folder(state, "t");
    md_trace_simulation *s;
    md_error err;
    md_trace_writer *w = open_writer(path, &some_info);
    md_trace_write_step(w, 3, row, row, row);
    md_trace_write_routing(w, 2, 3, expert, weight);
    md_trace_write_step(w, 3, row, row, row);
    md_trace_write_routing(w, 2, 3, empty, weight);
    md_trace_write_step(w, 3, row, row, row);
    md_trace_write_routing(w, 2, 3, expert, weight);
    close_writer(w);
    ok(md_trace_simulate(path, NULL, &s, &err), &err);
    assert_int_equal(s->needs, 2);
    for (size_t i = 0; i < s->n_replays; i++) {
        assert_int_equal(s->replay[i].hits, 1);
        assert_int_equal(s->replay[i].missed_bytes, 300);
    }
    md_trace_simulation_free(s);
}

/* More experts than can be studied are refused, sizes without sense add up to as much as there can be. */
static void strange_models_are_survived(void **state)
{
    const md_trace_layer many = {.n_expert = 5000, .n_ffn = 5000, .top_k = 1};
    const md_trace_layer heavy[] = {{.n_expert = 2, .n_ffn = 2, .top_k = 1, .expert_bytes = UINT64_MAX},
                                    {.n_expert = 2, .n_ffn = 2, .top_k = 1, .expert_bytes = UINT64_MAX / 2}};
    const md_trace_info large = {.model = "", .n_layer = 1, .layer = &many},
                        big = {.model = "", .n_layer = 2, .layer = heavy};
    const char *path = in_folder(state, "t");
    md_trace_affinity *a;
    md_trace_simulation *s;
    md_trace_summary *sum;
    md_error err;
    close_writer(open_writer(path, &large));
    assert_int_equal(md_trace_simulate(path, NULL, &s, &err), MD_ERR_LIMIT);
    assert_int_equal(md_trace_find_affinity(path, 5, &a, &err), MD_ERR_LIMIT);
    ok(md_trace_summarise(path, NULL, &sum, &err), &err);
    assert_int_equal(sum->total.busiest, -1);
    md_trace_summary_free(sum);
    const synthetic_habit habit = {.n_expert = 2, .top_k = 1};
    write_habit(path, &big, &habit, 1, 20, NULL);
    ok(md_trace_simulate(path, NULL, &s, &err), &err);
    assert_true(s->replay[0].missed_bytes == UINT64_MAX && s->replay[0].room == UINT64_MAX);
    md_trace_simulation_free(s);
    ok(md_trace_find_affinity(path, 5, &a, &err), &err);
    md_trace_affinity_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_summary_counts, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(two_traces_are_told_apart, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(only_neighbours_repeat, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(affinity_is_found, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(the_last_token_guesses, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(replays_are_those_of_plain_caches, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(nothing_beats_the_optimum, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(rooms_are_chosen, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(a_step_needs_an_expert_once, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(strange_models_are_survived, scratch_setup, scratch_teardown),
    };
    return cmocka_run_group_tests_name("studies of traces", tests, NULL, NULL);
}
