/* SPDX-License-Identifier: Apache-2.0
 *
 * The bench: which tests are run, that their figures hang together, and that the logits are those of the tokens, however
 * they were computed. */
#include "run/small_model.h"
#include "support/synth_model.h"

#include <math.h>
#include <medley/bench.h>
#include <string.h>

static md_error err;

static md_bench *run(const md_bench_args *args)
{
    md_bench *b = NULL;
    ok(md_bench_run(small_model, args, &b, &err), &err);
    return b;
}

static const md_bench_result *result(const md_bench *b, const char *test)
{
    for (size_t i = 0; i < md_bench_n_results(b); i++)
        if (strcmp(md_bench_get_result(b, i)->test, test) == 0)
            return md_bench_get_result(b, i);
    fail_msg("there is no result '%s'", test);
    return NULL;
}

static md_bench_args few(void)
{
    md_bench_args a;
    md_bench_args_default(&a);
    a.repeat = 2;
    a.measure_memory = false;
    return a;
}

static void every_combination_is_a_test(void **state)
{
    (void)state;
    static const int32_t prompt[] = {0, 5, 3}, generate[] = {2, 0}, depth[] = {0, 4}, batch[] = {1, 3},
                         threads[] = {1, 2};
    static const char *const names[] = {"pp5", "pp3", "tg2", "tg2@b3", "tg2@d4", "tg2@d4,b3"};
    md_bench_args a = few();
    a.prompt = prompt, a.n_prompt = 3;
    a.generate = generate, a.n_generate = 2;
    a.depth = depth, a.n_depth = 2;
    a.batch = batch, a.n_batch = 2;
    a.threads = threads, a.n_threads = 2;
    md_bench *b = run(&a);
    assert_int_equal(md_bench_n_results(b), 12);
    for (size_t i = 0; i < 12; i++) {
        const md_bench_result *r = md_bench_get_result(b, i);
        assert_string_equal(r->test, names[i % 6]);
        assert_int_equal(r->n_threads, i < 6 ? 1 : 2);
        assert_int_equal(r->logits_hash, md_bench_get_result(b, i % 6)->logits_hash);
        assert_true(r->same_bits);
    }
    assert_int_equal(result(b, "tg2@d4,b3")->depth, 4);
    assert_int_equal(result(b, "tg2@d4,b3")->batch, 3);
    assert_int_not_equal(result(b, "pp5")->logits_hash, result(b, "pp3")->logits_hash);
    const md_bench_machine *m = md_bench_get_machine(b);
    assert_true(m->cpu[0] && m->isa && m->cores >= 1 && m->memory > 0);
    md_bench_free(b);
}

/* A prompt of 12 tokens, 12 generated, and 4 generated behind 8 end in the same place. */
static void the_same_tokens_give_the_same_logits(void **state)
{
    (void)state;
    static const int32_t prompt[] = {12}, generate[] = {12, 4}, depth[] = {0, 8};
    md_bench_args a = few();
    a.prompt = prompt, a.n_prompt = 1;
    a.generate = generate, a.n_generate = 2;
    a.depth = depth, a.n_depth = 2;
    a.kv_type = MD_KV_F32;
    md_bench *b = run(&a);
    const uint64_t hash = result(b, "pp12")->logits_hash;
    assert_int_equal(result(b, "tg12")->logits_hash, hash);
    assert_int_equal(result(b, "tg4@d8")->logits_hash, hash);
    assert_int_not_equal(result(b, "tg4")->logits_hash, hash);
    md_bench_free(b);
    a.n_rows = 5; /* cut otherwise, the last piece of the prompt has 2 tokens */
    a.isa = "scalar";
    b = run(&a);
    assert_int_equal(result(b, "pp12")->logits_hash, hash);
    assert_int_equal(result(b, "tg4@d8")->logits_hash, hash);
    assert_string_equal(md_bench_get_machine(b)->isa, "scalar");
    md_bench_free(b);
}

static void figures_hang_together(void **state)
{
    (void)state;
    static const int32_t prompt[] = {40}, generate[] = {6}, depth[] = {100}, batch[] = {1, 2};
    md_bench_args a = few();
    a.prompt = prompt, a.n_prompt = 1;
    a.generate = generate, a.n_generate = 1;
    a.depth = depth, a.n_depth = 1;
    a.batch = batch, a.n_batch = 2;
    a.repeat = 4;
    a.measure_memory = true;
    md_bench *b = run(&a);
    for (size_t i = 0; i < md_bench_n_results(b); i++) {
        const md_bench_result *r = md_bench_get_result(b, i);
        double sum = 0, mean = 0, below = 0;
        for (int p = 0; p < MD_STEP_N_PARTS; p++) {
            assert_true(r->part_seconds[p] >= 0.0);
            sum += r->part_seconds[p];
        }
        for (int32_t j = 0; j < r->repeat; j++) {
            assert_true(r->sample[j] >= r->lowest && r->sample[j] <= r->highest);
            mean += 1.0 / r->sample[j] / r->repeat;
            below += r->sample[j] <= r->median;
        }
        assert_true(r->lowest > 0.0 && r->median >= r->lowest && r->median <= r->highest && below >= 2);
        assert_true(sum > 0.0 && sum <= mean * 1.0001); /* parts are parts of the time that was measured */
        assert_true(r->part_seconds[MD_STEP_EXPERTS] > 0.0 && r->part_seconds[MD_STEP_MIXER] > 0.0);
        assert_true(r->part_seconds[MD_STEP_DENSE_FFN] == 0.0 && r->part_seconds[MD_STEP_ROUTER] > 0.0);
        assert_true((r->step_bytes > 0.0) == (r->n_generate > 0));
    }
    const md_bench_result *r = result(b, "tg6@d100");
    assert_true(fabs(r->bytes_per_second - r->step_bytes * r->median) < 1e-6 * r->bytes_per_second);
    assert_true(r->roof > 1e8 && fabs(r->share - r->bytes_per_second / r->roof) < 1e-9);
    md_bench_free(b);
}

/* llama, 2 layers of 4 experts, 2 used: D 64, experts 32 wide, 4 heads of 16, 2 of them for keys; 320 tokens; all F32. */
static void bytes_and_multiply_adds_are_those_of_the_model(void **state)
{
    (void)state;
    static const int32_t prompt[] = {3}, generate[] = {4}, depth[] = {10}, batch[] = {1, 4};
    const double attention = 64 * 64 * 2 + 64 * 32 * 2, router = 64 * 4, expert = 3 * 64 * 32, output = 64 * 320;
    const double norms = (2 * 2 + 1) * 64, fixed = 2 * (attention + router) + norms;
    md_bench_args a = few();
    a.prompt = prompt, a.n_prompt = 1;
    a.generate = generate, a.n_generate = 1;
    a.depth = depth, a.n_depth = 1;
    a.batch = batch, a.n_batch = 2;
    md_bench *b = run(&a);
    const double kv = 2 * (2 * 16 * 2) * 2.0; /* bytes of a position: layers, keys and values, halves */
    const double seen = (11 + 12 + 13 + 14) / 4.0;
    assert_true(result(b, "tg4@d10")->roof == 0.0 && result(b, "tg4@d10")->share == 0.0);
    const md_bench_result *tg = result(b, "tg4@d10"), *many = result(b, "tg4@d10,b4"), *pp = result(b, "pp3");
    assert_true(fabs(tg->step_bytes - (4 * (fixed + output + 2 * 2 * expert) + kv * seen)) < 1.0);
    /* Four rows need from 2 to 4 experts of each layer. */
    const double others = 4 * (fixed + output) + 4 * kv * seen;
    assert_true(many->step_bytes >= others + 4 * 2 * 2 * expert && many->step_bytes <= others + 4 * 2 * 4 * expert);
    const double weights = fixed + 2 * 2 * expert, mix = 2 * 4 * (16 + 16);
    assert_true(fabs(tg->macs - (weights + output + mix * seen)) < 1.0);
    assert_true(fabs(pp->macs - (weights + output / 3.0 + mix * 2.0)) < 1.0);
    md_bench_free(b);
}

static bool stop_at_once(void *user, uint64_t done, uint64_t total)
{
    (void)total;
    ++*(int *)user;
    return done == 0;
}

static void what_makes_no_sense_is_refused(void **state)
{
    (void)state;
    static const int32_t none[] = {0}, below[] = {-1}, many[] = {257};
    struct {
        const char *words;
        md_bench_args args;
    } bad[] = {
        {"a prompt's size is -1", few()},
        {"tokens to generate is -1", few()},
        {"the depth is -1", few()},
        {"the batch is 0", few()},
        {"the number of threads is 257", few()},
        {"0 repetitions", few()},
        {"nothing to measure", few()},
        {"no kernels 'mmx'", few()},
        {"number of rows of a step is 0", few()},
    };
    bad[0].args.prompt = below, bad[0].args.n_prompt = 1;
    bad[1].args.generate = below, bad[1].args.n_generate = 1;
    bad[2].args.depth = below, bad[2].args.n_depth = 1;
    bad[3].args.batch = none, bad[3].args.n_batch = 1;
    bad[4].args.threads = many, bad[4].args.n_threads = 1;
    bad[5].args.repeat = 0;
    bad[6].args.prompt = bad[6].args.generate = none, bad[6].args.n_prompt = bad[6].args.n_generate = 1;
    bad[7].args.isa = "mmx";
    bad[8].args.n_rows = 0;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        md_bench *b;
        const md_status status = md_bench_run(small_model, &bad[i].args, &b, &err);
        if (status != MD_ERR_ARGUMENT || !strstr(err.message, bad[i].words) || b)
            fail_msg("%s; should say: %s", status ? err.message : "accepted", bad[i].words);
    }
    md_bench_free(NULL);
}

static void progress_can_stop_it(void **state)
{
    (void)state;
    static const int32_t size[] = {2};
    md_bench_args a = few();
    int calls = 0;
    a.prompt = a.generate = size, a.n_prompt = a.n_generate = 1;
    a.progress = stop_at_once;
    a.progress_user = &calls;
    md_bench *b;
    assert_int_equal(md_bench_run(small_model, &a, &b, &err), MD_ERR_CANCELLED);
    assert_null(b);
    assert_int_equal(calls, 2); /* in the run to warm up, then in the one after it */
}

/* ---- whoever looks on ---- */

typedef struct visits {
    int begun, ended;
    const md_session *last;
    bool refuse;
} visits;

static md_status begins(void *user, md_session *s, md_error *e)
{
    visits *v = user;
    v->begun++;
    v->last = s;
    if (!v->refuse)
        return MD_OK;
    *e = (md_error){.code = MD_ERR_IO, .message = "not now"};
    return MD_ERR_IO;
}

static void ends(void *user, md_session *s)
{
    visits *v = user;
    assert_ptr_equal(s, v->last); /* each one goes before the next is made */
    assert_true(md_session_threads(s) > 0);
    v->last = NULL;
    v->ended++;
}

static void sessions_are_shown(void **state)
{
    (void)state;
    static const int32_t prompt[] = {2}, generate[] = {0}, threads[] = {1, 2};
    visits v = {0};
    md_bench_args a = few();
    a.prompt = prompt, a.n_prompt = 1;
    a.generate = generate, a.n_generate = 1;
    a.threads = threads, a.n_threads = 2;
    a.session_begins = begins;
    a.session_ends = ends;
    a.session_user = &v;
    md_bench_free(run(&a));
    assert_int_equal(v.begun, 2);
    assert_int_equal(v.ended, 2);
    v = (visits){.refuse = true};
    md_bench *b = NULL;
    assert_int_equal(md_bench_run(small_model, &a, &b, &err), MD_ERR_IO);
    assert_null(b);
    assert_string_equal(err.message, "not now");
    assert_int_equal(v.begun, 1);
    assert_int_equal(v.ended, 1);
}

/* A repetition with the same tokens finds its experts there, one with fresh tokens must read some; and both are what they are in any
 * run of the bench. */
static void fresh_tokens_need_other_experts(void **state)
{
    (void)state;
    static const int32_t prompt[] = {3}, generate[] = {4}, threads[] = {1, 2};
    const md_synth_spec spec = {.arch = "qwen3moe", .n_expert = 96, .n_expert_used = 2};
    const char *path = temp_path("bench.gguf");
    md_model *m;
    uint64_t hash[2] = {0, 0};
    ok(md_synth_write(&spec, path, &err), &err);
    ok(md_model_open(path, &(md_model_args){.stream = MD_STREAM_ALWAYS}, &m, &err), &err);
    md_bench_args a = few();
    a.prompt = prompt, a.n_prompt = 1;
    a.generate = generate, a.n_generate = 1;
    a.threads = threads, a.n_threads = 2;
    for (int i = 0; i < 4; i++) {
        md_bench *b;
        a.fresh = i % 2 == 1;
        a.measure_memory = i > 1; /* which is not done while streaming */
        ok(md_bench_run(m, &a, &b, &err), &err);
        const md_bench_result *pp = result(b, "pp3"), *tg = result(b, "tg4");
        assert_true(pp->same_bits && tg->same_bits && md_bench_get_result(b, 3)->same_bits);
        assert_true(tg->roof == 0.0);
        assert_int_equal(pp->stream.experts, 2 * 96);
        assert_int_equal(pp->stream.slots, 2 * 96);
        assert_int_equal(tg->stream.hits + tg->stream.misses, 2 * 4 * 2 * 2); /* repetitions, steps, layers, experts */
        assert_true((tg->stream.misses > 0) == a.fresh && (tg->stream.bytes > 0) == a.fresh);
        assert_true(i < 2 || hash[i % 2] == tg->logits_hash);
        hash[i % 2] = tg->logits_hash;
        md_bench_free(b);
    }
    assert_true(hash[0] != hash[1]);
    md_model_close(m);
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sessions_are_shown),
        cmocka_unit_test(every_combination_is_a_test),
        cmocka_unit_test(the_same_tokens_give_the_same_logits),
        cmocka_unit_test(figures_hang_together),
        cmocka_unit_test(bytes_and_multiply_adds_are_those_of_the_model),
        cmocka_unit_test(what_makes_no_sense_is_refused),
        cmocka_unit_test(progress_can_stop_it),
        cmocka_unit_test(fresh_tokens_need_other_experts),
    };
    return cmocka_run_group_tests_name("run/bench", tests, small_model_make, small_model_remove);
}
