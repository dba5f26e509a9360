/* SPDX-License-Identifier: Apache-2.0
 *
 * The tokenizer of test models: byte-level BPE with all 256 bytes, a few merges of common English, the special tokens
 * of the ChatML convention, and unused tokens up to the size that is asked for. */
#include "shape/synth.h"
#include "base/mem.h"
#include "base/status.h"
#include "base/utf8.h"

#include <string.h>

#define SPACE "\xc4\xa0" /* the space in GPT-2's visible alphabet */

/* Parts of each merge, in order of rank; each part is a byte or an earlier merge. */
// clang-format off
static const char *const merges[][2] = {
    {"t", "h"},   {"h", "e"},     {"i", "n"},        {"e", "r"},         {"a", "n"},   {"o", "n"},   {"r", "e"},
    {"a", "t"},   {SPACE, "t"},   {SPACE, "a"},      {"e", "n"},         {"o", "r"},   {"th", "e"},  {SPACE, "the"},
    {SPACE, "w"}, {SPACE, "s"},   {"i", "s"},        {"n", "d"},         {"an", "d"},  {SPACE "a", "nd"},
    {"in", "g"},  {SPACE, "o"},   {"o", "u"},        {SPACE "t", "o"},   {"l", "l"},   {"l", "o"},
    {SPACE "w", "or"},            {"he", "ll"},      {"l", "d"},
};
// clang-format on
enum { N_MERGES = sizeof merges / sizeof *merges };

static const char *const specials[] = {"<|endoftext|>", "<|im_start|>", "<|im_end|>"};
enum { N_SPECIALS = 3, END_OF_TEXT = 0, IM_END = 2 }; /* ORDER specials */

enum { N_BYTES = 256, TYPE_NORMAL = 1, TYPE_CONTROL = 3, TYPE_UNUSED = 5 };

static const char template[] =
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

int md_synth_vocab_min(void)
{
    return N_BYTES + N_MERGES + N_SPECIALS;
}

/* The code point that stands for a byte in GPT-2's alphabet: printable Latin-1 stands for itself, the rest for what
 * follows U+0100, in order. */
static uint32_t visible(int byte, uint32_t *next)
{
    const bool printable = (byte >= '!' && byte <= '~') || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
    return printable ? (uint32_t)byte : (*next)++;
}

/* Keeps a copy in the arena; out->s is NULL when memory is out. */
static void keep(md_arena *a, md_str *out, const char *s, size_t n)
{
    const char *own = md_arena_strndup(a, s, n);
    *out = (md_str){own, own ? n : 0};
}

static bool fill_tokens(md_arena *a, md_str *token, int32_t *type, int n_vocab)
{
    int at = 0;
    uint32_t next = 0x100;
    md_buf b = {0};
    for (int byte = 0; byte < N_BYTES; byte++, at++) {
        char utf8[4];
        keep(a, &token[at], utf8, (size_t)md_utf8_encode(visible(byte, &next), utf8));
        type[at] = TYPE_NORMAL;
    }
    for (int i = 0; i < n_vocab - N_BYTES; i++, at++) {
        md_buf_reset(&b);
        if (i < N_MERGES)
            md_buf_printf(&b, "%s%s", merges[i][0], merges[i][1]);
        else if (i < N_MERGES + N_SPECIALS)
            md_buf_puts(&b, specials[i - N_MERGES]);
        else
            md_buf_printf(&b, "[unused%d]", i - N_MERGES - N_SPECIALS);
        if (b.failed)
            break;
        keep(a, &token[at], b.data, b.len);
        type[at] = i < N_MERGES ? TYPE_NORMAL : i < N_MERGES + N_SPECIALS ? TYPE_CONTROL : TYPE_UNUSED;
    }
    bool ok = !b.failed;
    for (int i = 0; i < n_vocab; i++)
        ok = ok && token[i].s;
    md_buf_done(&b);
    return ok;
}

static bool fill_merges(md_arena *a, md_str *merge)
{
    char text[32];
    for (int i = 0; i < N_MERGES; i++) {
        const size_t left = strlen(merges[i][0]), right = strlen(merges[i][1]);
        memcpy(text, merges[i][0], left);
        text[left] = ' ';
        memcpy(text + left + 1, merges[i][1], right);
        keep(a, &merge[i], text, left + 1 + right);
        if (!merge[i].s)
            return false;
    }
    return true;
}

md_status md_synth_tokenizer(int n_vocab, md_gguf_writer *w, md_error *err)
{
    md_arena a = {0};
    md_status status;
    const size_t n = (size_t)n_vocab;
    const uint32_t first_special = N_BYTES + N_MERGES;
    md_str *token = md_arena_alloc(&a, n, sizeof *token), *merge = md_arena_alloc(&a, N_MERGES, sizeof *merge);
    int32_t *type = md_arena_alloc(&a, n, sizeof *type);
    if (!token || !merge || !type || !fill_tokens(&a, token, type, n_vocab) || !fill_merges(&a, merge)) {
        status = md_fail_memory(err, "a vocabulary");
        goto fail;
    }
    MD_TRY_GOTO(md_gguf_set_string(w, "tokenizer.ggml.model", "gpt2", err));
    MD_TRY_GOTO(md_gguf_set_string(w, "tokenizer.ggml.pre", "gpt-2", err));
    MD_TRY_GOTO(md_gguf_set_strings(w, "tokenizer.ggml.tokens", token, n, err));
    MD_TRY_GOTO(md_gguf_set_array(w, "tokenizer.ggml.token_type", MD_GGUF_I32, type, n, err));
    MD_TRY_GOTO(md_gguf_set_strings(w, "tokenizer.ggml.merges", merge, N_MERGES, err));
    MD_TRY_GOTO(md_gguf_set_u32(w, "tokenizer.ggml.bos_token_id", first_special + END_OF_TEXT, err));
    MD_TRY_GOTO(md_gguf_set_u32(w, "tokenizer.ggml.eos_token_id", first_special + IM_END, err));
    MD_TRY_GOTO(md_gguf_set_u32(w, "tokenizer.ggml.padding_token_id", first_special + END_OF_TEXT, err));
    MD_TRY_GOTO(md_gguf_set_bool(w, "tokenizer.ggml.add_bos_token", false, err));
    MD_TRY_GOTO(md_gguf_set_string(w, "tokenizer.chat_template", template, err));
fail:
    md_arena_done(&a);
    return status;
}
