/* SPDX-License-Identifier: Apache-2.0
 *
 * Which tokens end an answer. Files name one or two of them (EOS, EOT, EOM); chat formats have more, known only by
 * their names, and a model that is not stopped there goes on to play the user. */
#include "text/tok.h"

#include <string.h>

typedef struct eog_name {
    const char *name;
    bool any_type; /* ends an answer whatever type the file gives it: nothing else is ever called so */
} eog_name;

static const eog_name names[] = {
    {"<|eot_id|>", true},
    {"<|eom_id|>", true},
    {"<|im_end|>", true},
    {"<|end|>", true},
    {"<|return|>", true},
    {"<|call|>", true},
    {"<|calls|>", true},
    {"<|flush|>", true},
    {"<|endoftext|>", true},
    {"<|end_of_text|>", true},
    {"<end_of_turn>", true},
    {"<turn|>", true},
    {"<|tool_response>", true},
    {"<end_of_utterance>", true},
    {"<\xef\xbd\x9c"
     "end\xe2\x96\x81of\xe2\x96\x81sentence\xef\xbd\x9c>",
     true}, /* with fullwidth bars and U+2581 */
    {"</s>", false},
    {"<eos>", false},
    {"<EOT>", false},
    {"_<EOT>", false},
    {"[EOT]", false},
    {"[EOS]", false},
    /* Fill-in-the-middle: padding, or the next file of a repository, begins. */
    {"<|fim_pad|>", false},
    {"<fim-pad>", false},
    {"<fim_pad>", false},
    {"<PAD>", false},
    {"[PAD]", false},
    {"<|fim_repo|>", false},
    {"<|repo_name|>", false},
    {"<fim-repo>", false},
    {"<REPO>", false},
    {"<reponame>", false},
    {"<|file_sep|>", false},
};

static int32_t find(const md_tokenizer *t, const char *name)
{
    return md_string_table_find(&t->by_name, name, strlen(name));
}

static bool ends(const md_tokenizer *t, const char *name)
{
    const int32_t id = find(t, name);
    return id >= 0 && t->eog[id];
}

/* Takes back a name that does not end an answer in this vocabulary. The file's own EOS stays one. */
static void unmark(md_tokenizer *t, const char *name)
{
    const int32_t id = find(t, name);
    if (id >= 0 && id != t->eos)
        t->eog[id] = false;
}

void md_tok_mark_eog(md_tokenizer *t, int32_t eot, int32_t eom)
{
    const int32_t given[] = {t->eos, eot, eom};
    for (size_t i = 0; i < sizeof given / sizeof given[0]; i++)
        if (given[i] >= 0)
            t->eog[given[i]] = true;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const int32_t id = find(t, names[i].name);
        if (id < 0 || (t->type[id] != MD_TOKEN_CONTROL && !names[i].any_type))
            continue;
        t->type[id] = MD_TOKEN_CONTROL;
        t->eog[id] = true;
    }
    /* Where a message has several parts, <|end|> only ends a part: the answer ends with one of these. */
    if ((ends(t, "<|return|>") && ends(t, "<|call|>")) || (ends(t, "<|flush|>") && ends(t, "<|calls|>")))
        unmark(t, "<|end|>");
    /* Here </s> is the HTML tag. */
    if (ends(t, "<|tool_response>"))
        unmark(t, "</s>");
}
