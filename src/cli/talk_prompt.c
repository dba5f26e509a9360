/* SPDX-License-Identifier: Apache-2.0
 *
 * From a conversation to the tokens that the model reads, and what is left out of them once the context is full
 * (--ctx-overflow drop). Messages are never thrown away: those before kept_from are only not rendered any more. */
#include "cli/talk.h"

#include <string.h>
#include <time.h>

/* ---- rendering ---- */

/* A token's text as a C string; "" for none. Freed by the caller; NULL when memory is out. */
static char *token_name(const md_tokenizer *tok, int32_t id)
{
    size_t n = 0;
    const char *bytes = id >= 0 ? md_token_bytes(tok, id, &n) : NULL;
    char *name = md_calloc(n + 1, 1);
    if (name && n)
        memcpy(name, bytes, n);
    return name;
}

static bool is_system(const md_message *m)
{
    return strcmp(m->role, "system") == 0 || strcmp(m->role, "developer") == 0;
}

/* The messages that count, behind one another. Freed by the caller; NULL when memory is out. */
static md_message *kept_messages(const md_talk *t, size_t *n)
{
    md_message *kept = md_calloc(t->n_messages + 1, sizeof *kept);
    *n = 0;
    for (size_t i = 0; kept && i < t->n_messages; i++)
        if (i >= t->kept_from || is_system(&t->message[i]))
            kept[(*n)++] = t->message[i];
    return kept;
}

static md_status render_with(md_talk *t, const md_chat_args *args, md_tokens *out, md_error *err)
{
    md_rendered r = {0};
    md_status status = md_template_render(t->template_, args, &r, err);
    if (status == MD_OK)
        status = md_rendered_tokenize(&r, t->tokenizer, out, err);
    md_rendered_done(&r);
    return status;
}

/* All tokens of the conversation with an opening for the answer. */
static md_status render(md_talk *t, md_tokens *out, md_error *err)
{
    char *bos = token_name(t->tokenizer, md_token_bos(t->tokenizer));
    char *eos = token_name(t->tokenizer, md_token_eos(t->tokenizer));
    size_t n;
    md_message *kept = kept_messages(t, &n);
    md_status status;
    if (bos && eos && kept)
        status = render_with(t,
                             &(md_chat_args){.message = kept,
                                             .n_messages = n,
                                             .add_generation_prompt = true,
                                             .bos_token = bos,
                                             .eos_token = eos,
                                             .now = (int64_t)time(NULL)},
                             out, err);
    else
        status = md_fail_memory(err, "the conversation");
    md_free(kept);
    md_free(bos);
    md_free(eos);
    return status;
}

/* The text so far and the new text behind it. */
static md_status append_raw(md_talk *t, const char *text, size_t n, md_tokens *out, md_error *err)
{
    for (size_t i = 0; i < t->past.n; i++)
        MD_TRY(md_tokens_push(out, t->past.id[i], err));
    MD_TRY(md_talk_tokenize(t, text, n, t->past.n > 0, out, err));
    MD_FAIL_IF(out->n == 0, MD_ERR_ARGUMENT, "the prompt is empty: there is nothing to go on from");
    return MD_OK;
}

md_status md_talk_tokenize(const md_talk *t, const char *text, size_t n, bool inner, md_tokens *out, md_error *err)
{
    /* Names of special tokens count only where the user asked for the raw form, not where a template is missing. */
    const unsigned special = md_opt_flag(t->cli->options, MD_OPT_RAW) ? (unsigned)MD_TOKENIZE_SPECIAL : 0u;
    return md_tokenize(t->tokenizer, text, n, special | (unsigned)(inner ? MD_TOKENIZE_INNER : MD_TOKENIZE_BOS), out,
                       err);
}

/* ---- leaving out ---- */

/* Where the second turn of those that count begins, or n_messages when there is but one. */
static size_t second_turn(const md_talk *t)
{
    size_t i = t->kept_from;
    while (i < t->n_messages && is_system(&t->message[i]))
        i++;
    for (i++; i < t->n_messages; i++)
        if (strcmp(t->message[i].role, "user") == 0)
            return i;
    return t->n_messages;
}

static bool drop_turn(md_talk *t)
{
    const size_t next = second_turn(t);
    if (next >= t->n_messages)
        return false;
    for (size_t i = t->kept_from; i < next; i++)
        t->n_dropped += !is_system(&t->message[i]);
    t->kept_from = next;
    return true;
}

/* Of a text without turns: all but its newest half of the context, or its newest `least` tokens. What the model wants
 * in front stays there. */
static void drop_front(md_talk *t, md_tokens *all, size_t least)
{
    const size_t half = (size_t)t->capacity / 2;
    const int32_t bos = md_token_bos(t->tokenizer);
    const size_t front = all->n > 0 && bos >= 0 && all->id[0] == bos;
    size_t keep = half > least ? half : least;
    if (keep + front >= all->n)
        return;
    t->n_dropped += all->n - front - keep;
    memmove(all->id + front, all->id + all->n - keep, keep * sizeof *all->id);
    all->n = front + keep;
}

static md_status append_said(const md_talk *t, md_tokens *all, md_error *err)
{
    for (size_t i = 0; i < t->said.n; i++)
        MD_TRY(md_tokens_push(all, t->said.id[i], err));
    return MD_OK;
}

bool md_talk_can_drop(const md_talk *t)
{
    return t->overflow == MD_TALK_DROP && (!t->template_ || second_turn(t) < t->n_messages);
}

md_status md_talk_shrink(md_talk *t, size_t least, md_tokens *all, md_error *err)
{
    if (!t->template_) {
        drop_front(t, all, least);
        return MD_OK;
    }
    do {
        if (!drop_turn(t))
            return MD_OK;
        all->n = 0;
        MD_TRY(render(t, all, err));
        MD_TRY(append_said(t, all, err));
    } while (all->n > (size_t)t->capacity / 2);
    return MD_OK;
}

/* Room that an answer should find before it begins. */
static size_t room_wanted(const md_talk *t)
{
    const md_options *o = t->cli->options;
    const size_t quarter = (size_t)t->capacity / 4;
    const bool bounded = md_opt_given(o, MD_OPT_RUN_MAX_TOKENS);
    const size_t most = bounded ? (size_t)md_opt_int(o, MD_OPT_RUN_MAX_TOKENS) : quarter;
    return most < quarter ? most : quarter;
}

md_status md_talk_prompt(md_talk *t, const char *text, size_t n, md_tokens *out, md_error *err)
{
    const size_t before = t->past.n;
    if (t->template_)
        MD_TRY(render(t, out, err));
    else
        MD_TRY(append_raw(t, text, n, out, err));
    if (md_talk_can_drop(t) && out->n + room_wanted(t) > (size_t)t->capacity)
        return md_talk_shrink(t, out->n - (t->template_ ? 0 : before), out, err);
    return MD_OK;
}
