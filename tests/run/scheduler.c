/* SPDX-License-Identifier: Apache-2.0
 *
 * Many requests in one session: each is answered as if it were alone, whatever runs beside it, however prompts are cut, with drafts,
 * with shared prefixes and when pages run out; and who goes first. */
#include "support/synth_model.h"

#include <medley/embed.h>
#include <medley/scheduler.h>

#include <math.h>

enum { N_REQUESTS = 12, MOST_PROMPT = 300, MOST_ANSWER = 40, MOST_TEXT = 4096 };

/* What a request is to be answered. */
typedef struct wanted {
    int32_t prompt[MOST_PROMPT];
    int n_prompt;
    md_sampler_args sampler;
    int32_t token[MOST_ANSWER];
    char text[MOST_TEXT]; /* any bytes */
    size_t n_text;
    md_generate_result result;
} wanted;

typedef struct heard {
    const wanted *want;
    md_request *request;
    int32_t token[MOST_ANSWER];
    int n, n_events, prompt_done;
    char text[MOST_TEXT];
    size_t n_text;
    bool over, failed;
    md_request_result result;
    int ended_as; /* how many had ended before */
    int cancel_at;
    bool check_logprobs;
} heard;

static wanted *want;
static int n_ended;

static bool hear_text(void *user, const char *text, size_t n)
{
    wanted *w = user;
    assert_true(w->n_text + n < MOST_TEXT);
    memcpy(w->text + w->n_text, text, n);
    w->n_text += n;
    return true;
}

static md_session *session_of(const md_model *m, const md_session_args *args)
{
    md_session *s = NULL;
    OK(md_session_new(m, args, &s, err));
    return s;
}

/* Every request alone, in a session of its own. */
static void answer_alone(const md_model *m)
{
    const int32_t n_vocab = md_model_get_info(m)->n_vocab;
    md_session_args args;
    md_session_args_default(m, &args);
    args.n_threads = 1;
    args.n_positions = 512;
    for (int i = 0; i < N_REQUESTS; i++) {
        wanted *w = &want[i];
        md_session *s = session_of(m, &args);
        md_seq *q;
        md_sampler *sampler;
        OK(md_seq_new(s, &q, err));
        OK(md_sampler_new(&w->sampler, n_vocab, &sampler, err));
        const md_generate_args g = {.prompt = w->prompt,
                                    .n_prompt = (size_t)w->n_prompt,
                                    .max_tokens = MOST_ANSWER - i,
                                    .sampler = sampler,
                                    .ignore_eog = i % 2 == 0,
                                    .on_text = hear_text,
                                    .user = w};
        OK(md_generate(q, &g, &w->result, err));
        memcpy(w->token, md_generated_tokens(q), (size_t)w->result.n_generated * sizeof *w->token);
        md_sampler_free(sampler);
        md_session_free(s);
    }
}

/* Requests of many lengths; every third begins like the first, every fourth repeats itself, so that drafts prove right. */
static void make_requests(const md_model *m)
{
    const int32_t n_vocab = md_model_get_info(m)->n_vocab;
    want = calloc(N_REQUESTS, sizeof *want);
    assert_non_null(want);
    for (int i = 0; i < N_REQUESTS; i++) {
        wanted *w = &want[i];
        w->n_prompt = i == 7 ? 1 : 20 + i * 23;
        fill_tokens(w->prompt, w->n_prompt, n_vocab - 10, (uint32_t)(i + 1));
        if (i > 0 && i % 3 == 0)
            fill_tokens(w->prompt, w->n_prompt < 170 ? w->n_prompt : 170, n_vocab - 10, 777);
        for (int k = 6; i % 4 == 0 && k < w->n_prompt; k++)
            w->prompt[k] = w->prompt[k % 6];
        md_sampler_args_default(&w->sampler);
        w->sampler.temperature = i % 2 ? 0.7f : 0.0f;
        w->sampler.seed = (uint64_t)i;
        w->sampler.repetition_penalty = i % 5 == 1 ? 1.2f : 1.0f;
    }
    answer_alone(m);
}

static void on_event(void *user, md_request *r, const md_request_event *e)
{
    heard *h = user;
    (void)r;
    h->n_events++;
    assert_false(h->over);
    switch (e->point) {
    case MD_REQUEST_PROMPT:
        assert_true(e->n_done >= 0 && e->n_done <= h->want->n_prompt); /* it begins anew where pages were taken away */
        h->prompt_done = e->n_done;
        break;
    case MD_REQUEST_TOKEN:
        assert_true(h->n < MOST_ANSWER);
        h->token[h->n++] = e->token;
        if (h->check_logprobs) {
            assert_int_equal(e->n_candidates, 3);
            assert_true(e->candidate[0].logprob >= e->candidate[1].logprob &&
                        e->candidate[1].logprob >= e->candidate[2].logprob);
            assert_true(e->candidate[0].logprob >= e->logprob && e->logprob <= 0.0f);
        }
        break;
    case MD_REQUEST_END:
        h->result = *e->result;
        h->over = true;
        h->ended_as = n_ended++;
        break;
    case MD_REQUEST_FAILED:
        h->failed = h->over = true;
        print_error("failed: %s\n", e->error->message);
        break;
    }
    assert_true(h->n_text + e->n_text < MOST_TEXT);
    memcpy(h->text + h->n_text, e->text, e->n_text);
    h->n_text += e->n_text;
    if (h->cancel_at > 0 && h->n_events == h->cancel_at)
        md_request_cancel(h->request);
}

static void add(md_scheduler *s, heard *h, int i)
{
    *h = (heard){.want = &want[i], .check_logprobs = i % 2 == 1};
    md_request_args a;
    md_request_args_default(&a);
    a.prompt = want[i].prompt;
    a.n_prompt = (size_t)want[i].n_prompt;
    a.max_tokens = MOST_ANSWER - i;
    a.sampler = &want[i].sampler;
    a.ignore_eog = i % 2 == 0;
    a.hash = true;
    a.n_candidates = h->check_logprobs ? 3 : -1;
    a.client = i % 2 ? "odd" : "even";
    a.on_event = on_event;
    a.user = h;
    OK(md_request_new(s, &a, &h->request, err));
}

static void check(const heard *h)
{
    const wanted *w = h->want;
    assert_true(h->over && !h->failed);
    assert_int_equal(h->result.n_generated, w->result.n_generated);
    assert_memory_equal(h->token, w->token, (size_t)h->n * sizeof *h->token);
    assert_int_equal(h->n, w->result.n_generated);
    assert_int_equal(h->n_text, w->n_text);
    assert_memory_equal(h->text, w->text, w->n_text);
    assert_int_equal(h->result.finish, w->result.finish);
    assert_int_equal(h->result.n_prompt, w->n_prompt);
    assert_int_equal(h->prompt_done, w->n_prompt);
    assert_true(h->result.logits_hash == w->result.logits_hash);
}

static void run_out(md_scheduler *s)
{
    bool idle = false;
    for (int i = 0; !idle; i++) {
        assert_true(i < 20000);
        OK(md_scheduler_step(s, &idle, err));
    }
}

typedef struct way {
    md_scheduler_args args;
    int32_t n_rows, n_positions; /* 0: what the scheduler wants */
    int apart;                   /* steps between arrivals */
    int rounds;
    const md_model *drafter;
} way;

/* All requests in one scheduler; gives its counts. */
static md_scheduler_counts run_way(const md_model *m, const way *given)
{
    way copy = *given, *w = &copy;
    md_session_args args, small;
    md_session *drafter = NULL;
    md_scheduler_session_args(m, &w->args, &args);
    args.n_threads = 2;
    args.n_context = 512;
    args.n_positions = w->n_positions > 0 ? w->n_positions : 4096;
    if (w->args.prefill == MD_PREFILL_LAYERED)
        args.n_walk = 256;
    if (w->n_rows > 0)
        args.n_rows = args.n_hidden = w->n_rows;
    md_session *session = session_of(m, &args);
    md_scheduler *s;
    if (w->drafter) {
        md_scheduler_drafter_args(w->drafter, &w->args, &args, &small);
        small.n_rows = 70; /* less than long prompts have */
        drafter = w->args.drafter = session_of(w->drafter, &small);
    }
    OK(md_scheduler_new(session, &w->args, &s, err));
    const int32_t free_at_first = md_session_free_positions(session);
    heard *h = calloc(N_REQUESTS, sizeof *h);
    for (int round = 0; round < w->rounds; round++) {
        bool idle;
        for (int i = 0; i < N_REQUESTS; i++) {
            add(s, &h[i], i);
            for (int k = 0; k < w->apart; k++)
                OK(md_scheduler_step(s, &idle, err));
        }
        run_out(s);
        for (int i = 0; i < N_REQUESTS; i++)
            check(&h[i]);
    }
    md_scheduler_counts c;
    md_scheduler_get_counts(s, &c);
    assert_int_equal(c.running + c.waiting, 0);
    assert_int_equal(c.ended, N_REQUESTS * w->rounds);
    md_scheduler_free(s);
    assert_int_equal(md_session_free_positions(session), free_at_first);
    md_session_free(session);
    md_session_free(drafter);
    free(h);
    return c;
}

static way usual(int32_t n_running)
{
    way w = {.rounds = 1};
    md_scheduler_args_default(&w.args);
    w.args.n_running = n_running;
    w.args.keep_prefixes = false;
    return w;
}

static void all_ways(const md_model *m)
{
    way w = usual(1);
    run_way(m, &w);
    w = usual(16);
    run_way(m, &w);
    w = usual(5);
    w.args.n_chunk = 7;
    w.apart = 2;
    run_way(m, &w);
    w = usual(6);
    w.args.prefill = MD_PREFILL_LAYERED;
    w.args.n_chunk = 16;
    w.n_rows = 48;
    w.apart = 3;
    run_way(m, &w);
    w = usual(8);
    w.args.n_draft = 4;
    const md_scheduler_counts drafted = run_way(m, &w);
    assert_true(drafted.drafted > 0 && drafted.accepted <= drafted.drafted);
    w = usual(12);
    w.n_positions = 1024; /* far less than all of them need */
    w.args.order = MD_ORDER_PREFIX;
    const md_scheduler_counts tight = run_way(m, &w);
    assert_true(tight.preempted > 0);
    w = usual(4);
    w.args.keep_prefixes = w.args.share_prefixes = true;
    w.args.n_draft = 3;
    w.args.step_seconds = 0.001;
    w.rounds = 2;
    const md_scheduler_counts kept = run_way(m, &w);
    assert_true(kept.cached_tokens > 1000);
}

static void as_if_alone(const char *arch, const char *router)
{
    const md_synth_spec spec = {.arch = arch, .router = router, .n_expert = 8, .n_layer = 3, .seed = 5};
    md_model *m = open_synth(&spec);
    make_requests(m);
    all_ways(m);
    free(want);
    md_model_close(m);
}

static void answers_of_qwen3moe(void **state)
{
    (void)state;
    as_if_alone("qwen3moe", NULL);
}

/* One that is the model itself, which is always right where the choice is greedy, and one that knows nothing. */
static void answers_with_a_drafter(void **state)
{
    (void)state;
    md_model *m = open_synth(&(md_synth_spec){.arch = "qwen3moe", .n_expert = 8, .seed = 5});
    md_model *other = open_synth(&(md_synth_spec){.arch = "llama", .seed = 6});
    md_model *stranger = open_synth(&(md_synth_spec){.arch = "bert", .seed = 6});
    make_requests(m);
    way w = usual(6);
    w.args.n_draft = 4;
    w.args.n_chunk = 64; /* not by time: steps are counted below */
    w.args.keep_prefixes = true;
    w.n_positions = 1536; /* somebody is sent back now and then */
    w.drafter = m;
    const md_scheduler_counts same = run_way(m, &w);
    w.drafter = other;
    const md_scheduler_counts wrong = run_way(m, &w);
    assert_true(same.accepted > 100 && same.accepted > 2 * wrong.accepted && wrong.drafted > 0);
    assert_true(same.steps < wrong.steps);
    md_session_args args;
    md_error e;
    md_scheduler_session_args(m, &w.args, &args);
    md_session *session = session_of(m, &args), *bad;
    md_embed_session_args(stranger, 100, &args);
    bad = session_of(stranger, &args);
    md_scheduler *s;
    w.args.drafter = bad;
    assert_int_equal(md_scheduler_new(session, &w.args, &s, &e), MD_ERR_UNSUPPORTED);
    md_session_free(bad);
    md_session_free(session);
    free(want);
    md_model_close(stranger);
    md_model_close(other);
    md_model_close(m);
}

static void answers_of_latent_attention(void **state)
{
    (void)state;
    as_if_alone("deepseek2", NULL);
}

static void answers_of_a_window(void **state)
{
    (void)state;
    as_if_alone("gpt-oss", NULL);
}

/* What a router carries from token to token cannot be shortened: drafts go on from a copy. */
static void answers_of_a_router_with_a_state(void **state)
{
    (void)state;
    as_if_alone("medley-moe", "capacity-drop");
}

/* ---- leaving, refusing, order ---- */

static md_scheduler *open_small(md_model **m, md_session **session, md_scheduler_args *a)
{
    *m = open_synth(&(md_synth_spec){.arch = "qwen3moe", .seed = 5});
    make_requests(*m);
    md_session_args args;
    md_scheduler_session_args(*m, a, &args);
    args.n_context = args.n_positions = 512;
    *session = session_of(*m, &args);
    md_scheduler *s;
    OK(md_scheduler_new(*session, a, &s, err));
    return s;
}

static void close_small(md_model *m, md_session *session, md_scheduler *s)
{
    md_scheduler_free(s);
    md_session_free(session);
    md_model_close(m);
    free(want);
}

static void who_leaves_gives_its_room_back(void **state)
{
    (void)state;
    md_scheduler_args a;
    md_scheduler_args_default(&a);
    a.n_running = 2;
    a.n_chunk = 8;
    a.keep_prefixes = false;
    md_model *m;
    md_session *session;
    md_scheduler *s = open_small(&m, &session, &a);
    heard h[4];
    bool idle;
    for (int i = 0; i < 4; i++)
        add(s, &h[i], i + 2);
    h[0].cancel_at = 4;              /* in its prompt or answer */
    md_request_cancel(h[3].request); /* while it waits */
    OK(md_scheduler_step(s, &idle, err));
    assert_true(h[3].over && h[3].result.finish == MD_FINISH_CANCELLED && h[3].result.n_generated == 0);
    md_running r[3];
    assert_int_equal(md_scheduler_get_running(s, r, 3), 2);
    assert_true(r[1].n_prompt == want[3].n_prompt && !strcmp(r[1].client, "odd"));
    assert_int_equal(md_scheduler_get_running(s, r, 1), 1);
    run_out(s);
    assert_int_equal(h[0].result.finish, MD_FINISH_CANCELLED);
    assert_memory_equal(h[0].token, want[2].token, (size_t)h[0].n * sizeof(int32_t));
    check(&h[1]);
    check(&h[2]);
    assert_int_equal(md_session_free_positions(session), 512);
    close_small(m, session, s);
}

static void what_cannot_be_is_refused(void **state)
{
    (void)state;
    md_scheduler_args a;
    md_scheduler_args_default(&a);
    a.n_running = 1;
    a.n_waiting = 2;
    md_model *m;
    md_session *session;
    md_scheduler *s = open_small(&m, &session, &a);
    heard h[2];
    md_error e;
    int32_t many[600];
    fill_tokens(many, 600, 100, 3);
    md_request_args r;
    md_request_args_default(&r);
    r.on_event = on_event;
    r.prompt = many;
    assert_int_equal(md_request_new(s, &r, NULL, &e), MD_ERR_ARGUMENT);
    r.n_prompt = 600;
    assert_int_equal(md_request_new(s, &r, NULL, &e), MD_ERR_LIMIT);
    assert_non_null(strstr(e.message, "600 tokens, but the context has 512"));
    r.n_prompt = 5;
    many[3] = 1 << 20;
    assert_int_equal(md_request_new(s, &r, NULL, &e), MD_ERR_ARGUMENT);
    many[3] = 3;
    r.n_candidates = 21;
    assert_int_equal(md_request_new(s, &r, NULL, &e), MD_ERR_ARGUMENT);
    r.n_candidates = -1;
    const char *stop[1] = {""};
    r.stop = stop;
    r.n_stop = 1;
    assert_int_equal(md_request_new(s, &r, NULL, &e), MD_ERR_ARGUMENT);
    add(s, &h[0], 0);
    add(s, &h[1], 1);
    r.n_stop = 0;
    assert_int_equal(md_request_new(s, &r, NULL, &e), MD_ERR_BUSY);
    run_out(s);
    check(&h[0]);
    check(&h[1]);
    md_scheduler *second;
    a.n_running = 40;
    assert_int_equal(md_scheduler_new(session, &a, &second, &e), MD_ERR_ARGUMENT);
    assert_null(second);
    close_small(m, session, s);
}

static void priority_and_fairness(void **state)
{
    (void)state;
    md_scheduler_args a;
    md_scheduler_args_default(&a);
    a.n_running = 1;
    md_model *m;
    md_session *session;
    md_scheduler *s = open_small(&m, &session, &a);
    heard h[7];
    n_ended = 0;
    md_request_args r;
    md_request_args_default(&r);
    for (int i = 0; i < 6; i++) { /* five of one client, then one of another, then an urgent one */
        h[i] = (heard){.want = &want[1]};
        r.prompt = want[1].prompt;
        r.n_prompt = (size_t)want[1].n_prompt;
        r.max_tokens = 5;
        r.client = i < 5 ? "many" : "one";
        r.on_event = on_event;
        r.user = &h[i];
        OK(md_request_new(s, &r, &h[i].request, err));
    }
    bool idle;
    OK(md_scheduler_step(s, &idle, err));
    h[6] = (heard){.want = &want[1]};
    r.priority = 1;
    r.client = "many";
    r.user = &h[6];
    OK(md_request_new(s, &r, &h[6].request, err));
    run_out(s);
    assert_int_equal(h[0].ended_as, 0);
    assert_int_equal(h[6].ended_as, 1); /* urgent */
    assert_int_equal(h[5].ended_as, 2); /* the other client, though it came last */
    assert_int_equal(h[4].ended_as, 6);
    close_small(m, session, s);
}

/* ---- vectors ---- */

typedef struct vector {
    float at[64];
    bool over;
} vector;

static void on_vector(void *user, md_request *r, const md_request_event *e)
{
    (void)r;
    vector *v = user;
    assert_int_not_equal(e->point, MD_REQUEST_FAILED);
    if (e->point != MD_REQUEST_END)
        return;
    assert_int_equal(e->n_vectors, 1);
    memcpy(v->at, e->vector, sizeof v->at);
    v->over = true;
}

static void embed_like_md_embed(const md_model *m, bool beside)
{
    md_scheduler_args a;
    md_scheduler_args_default(&a);
    a.n_running = 4;
    a.n_chunk = 16;
    md_session_args args;
    md_scheduler_session_args(m, &a, &args);
    args.kv_type = MD_KV_F32;
    md_session *session = session_of(m, &args);
    md_scheduler *s;
    OK(md_scheduler_new(session, &a, &s, err));
    vector v[6] = {{{0}}};
    heard h;
    if (beside)
        add(s, &h, 2);
    for (int i = 0; i < 6; i++) {
        md_request_args r;
        md_request_args_default(&r);
        r.prompt = want[i].prompt;
        r.n_prompt = (size_t)want[i].n_prompt;
        r.embed = true;
        r.pooling = i % 2 ? MD_POOLING_LAST : MD_POOLING_MEAN;
        r.on_event = on_vector;
        r.user = &v[i];
        OK(md_request_new(s, &r, NULL, err));
    }
    run_out(s);
    md_scheduler_free(s);
    md_session_free(session);
    md_embed_session_args(m, 512, &args);
    session = session_of(m, &args);
    for (int i = 0; i < 6; i++) {
        float alone[64];
        const md_embed_input in = {.token = want[i].prompt, .n = (size_t)want[i].n_prompt};
        const md_embed_args e = {.pooling = i % 2 ? MD_POOLING_LAST : MD_POOLING_MEAN};
        OK(md_embed(session, &in, 1, &e, alone, err));
        assert_true(v[i].over);
        assert_memory_equal(v[i].at, alone, sizeof alone);
    }
    md_session_free(session);
}

static void vectors_beside_answers(void **state)
{
    (void)state;
    md_model *m = open_synth(&(md_synth_spec){.arch = "qwen3moe", .seed = 5});
    make_requests(m);
    embed_like_md_embed(m, true);
    free(want);
    md_model_close(m);
}

static void vectors_of_an_encoder(void **state)
{
    (void)state;
    md_model *m = open_synth(&(md_synth_spec){.arch = "bert", .seed = 5});
    want = calloc(N_REQUESTS, sizeof *want);
    for (int i = 0; i < 6; i++) {
        want[i].n_prompt = 10 + 17 * i;
        fill_tokens(want[i].prompt, want[i].n_prompt, md_model_get_info(m)->n_vocab, (uint32_t)i + 1);
    }
    embed_like_md_embed(m, false);
    free(want);
    md_model_close(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_of_qwen3moe),
        cmocka_unit_test(answers_with_a_drafter),
        cmocka_unit_test(answers_of_latent_attention),
        cmocka_unit_test(answers_of_a_window),
        cmocka_unit_test(answers_of_a_router_with_a_state),
        cmocka_unit_test(who_leaves_gives_its_room_back),
        cmocka_unit_test(what_cannot_be_is_refused),
        cmocka_unit_test(priority_and_fairness),
        cmocka_unit_test(vectors_beside_answers),
        cmocka_unit_test(vectors_of_an_encoder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
