/* SPDX-License-Identifier: Apache-2.0
 *
 * The splitting rules by the names that GGUF files give them (tokenizer.ggml.pre): one row each, data only. The
 * patterns are those that the models' publishers state, written for PCRE2 so that they match what the publishers'
 * regular expression engines (Oniguruma, Rust's regex) match:
 * - white space is Unicode's White_Space property; PCRE2's \s would add U+180E;
 * - a class less the Han script is a negated class of everything else; script names compare the Script property, where
 *   PCRE2 would take the wider Script_Extensions;
 * - what would match in quadratic time on long runs has a guard in front that starts it once a run, or is a kind of
 *   step of its own (threes of digits).
 * Two rules differ from what other GGUF readers do, on purpose: 'tiny_aya' leaves digits alone that a letter follows,
 * as its published pattern does, and 'afmoe' separates digits from what stands before them; its list of scripts, known
 * to us from such readers only, is taken to name the compatibility ideographs (U+F900) where they have their normal
 * form. */
#include "text/pretok.h"

#include <string.h>

/* clang-format off */

/* White_Space, inside a class. */
#define WS "\\p{Z}\\t-\\r\\x{85}"
#define SPACE "[" WS "]"
#define NOT_SPACE "[^" WS "]"

#define CONTRACTION "'(?i:s|t|re|ve|m|ll|d)"

/* Tails shared by most rules: lines' ends with the space before them; a run of spaces, less one before a word. */
#define LINE_ENDS SPACE "*[\\r\\n]+"
#define SPACES SPACE "+(?!" NOT_SPACE ")|" SPACE "+"

/* The rule of GPT-2. */
#define GPT2 "'(?:s|t|re|ve|m|ll|d)| ?\\p{L}+| ?\\p{N}+| ?[^" WS "\\p{L}\\p{N}]+|" SPACES

/* Its descendants: a word takes one sign before it, a run of signs takes the line's end. */
#define SIGN_THEN "[^\\r\\n\\p{L}\\p{N}]?"
#define SIGNS " ?[^" WS "\\p{L}\\p{N}]+"
#define WORDS(LETTERS, DIGITS) \
    CONTRACTION "|" SIGN_THEN LETTERS "|" DIGITS "|" SIGNS "[\\r\\n]*|" LINE_ENDS "|" SPACES
#define QWEN2 WORDS("\\p{L}+", "\\p{N}")
#define LLAMA3 WORDS("\\p{L}+", "\\p{N}{1,3}")

/* The rule of o200k: words break where a capital follows a small letter. UPPER and LOWER share what has no case. */
#define UPPER "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define LOWER "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
#define CASED(UP, LOW, TAIL) SIGN_THEN UP "*" LOW "+" TAIL "|" SIGN_THEN UP "+" LOW "*" TAIL
#define CASED_WORDS(TAIL, DIGITS) \
    CASED(UPPER, LOWER, TAIL) "|" DIGITS "|" SIGNS "[\\r\\n/]*|" LINE_ENDS "|" SPACES
#define GPT4O CASED_WORDS("(?:" CONTRACTION ")?", "\\p{N}{1,3}")

/* UPPER and LOWER without the Han script. */
#define UPPER_NOT_HAN "[^\\p{Ll}\\p{N}\\p{P}\\p{S}\\p{Z}\\p{C}\\p{sc:Han}]"
#define LOWER_NOT_HAN "[^\\p{Lu}\\p{Lt}\\p{N}\\p{P}\\p{S}\\p{Z}\\p{C}\\p{sc:Han}]"
#define KIMI "\\p{sc:Han}+|" CASED(UPPER_NOT_HAN, LOWER_NOT_HAN, "(?:" CONTRACTION ")?") \
    "|\\p{N}{1,3}|" SIGNS "[\\r\\n]*|" LINE_ENDS "|" SPACES

/* DeepSeek V3: Chinese and Japanese apart, marks belong to letters, a sign may lead an ASCII word. */
#define CJK "[\\x{4e00}-\\x{9fa5}\\x{3040}-\\x{309f}\\x{30a0}-\\x{30ff}]+"
#define ASCII_SIGN_WORD "[!-/:-@\\[-`{-~][A-Za-z]+"
#define MARKED_WORD "[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+"
#define DEEPSEEK3(SIGN_TAIL, ENDS) \
    ASCII_SIGN_WORD "|" MARKED_WORD "| ?[\\p{P}\\p{S}]+" SIGN_TAIL "|" ENDS "|" SPACES
#define DEEPSEEK3_STEPS \
    {{S, "\\p{N}{1,3}"}, {S, CJK}, {S, DEEPSEEK3("[\\r\\n]*", LINE_ENDS)}}

/* The cased letters that DeepSeek LLM lists. */
#define DEEPSEEK_LETTERS \
    "A-Za-z\\x{b5}\\x{c0}-\\x{d6}\\x{d8}-\\x{f6}\\x{f8}-\\x{1ba}\\x{1bc}-\\x{1bf}\\x{1c4}-\\x{293}\\x{295}-\\x{2af}" \
    "\\x{370}-\\x{373}\\x{376}\\x{377}\\x{37b}-\\x{37d}\\x{37f}\\x{386}\\x{388}-\\x{38a}\\x{38c}\\x{38e}-\\x{3a1}" \
    "\\x{3a3}-\\x{3f5}\\x{3f7}-\\x{481}\\x{48a}-\\x{52f}\\x{531}-\\x{556}\\x{10a0}-\\x{10c5}\\x{13a0}-\\x{13f5}" \
    "\\x{13f8}-\\x{13fd}\\x{1c90}-\\x{1cba}\\x{1cbd}-\\x{1cbf}\\x{1d00}-\\x{1d2b}\\x{1d6b}-\\x{1d77}" \
    "\\x{1d79}-\\x{1d9a}\\x{1e00}-\\x{1f15}\\x{1f18}-\\x{1f1d}\\x{1f20}-\\x{1f45}\\x{1f48}-\\x{1f4d}" \
    "\\x{1f50}-\\x{1f57}\\x{1f59}\\x{1f5b}\\x{1f5d}\\x{1f5f}-\\x{1f7d}\\x{1f80}-\\x{1fb4}\\x{1fb6}-\\x{1fbc}" \
    "\\x{1fbe}\\x{1fc2}-\\x{1fc4}\\x{1fc6}-\\x{1fcc}\\x{1fd0}-\\x{1fd3}\\x{1fd6}-\\x{1fdb}\\x{1fe0}-\\x{1fec}" \
    "\\x{1ff2}-\\x{1ff4}\\x{1ff6}-\\x{1ffc}\\x{2102}\\x{2107}\\x{210a}-\\x{2113}\\x{2115}\\x{2119}-\\x{211d}" \
    "\\x{2124}\\x{2126}\\x{2128}\\x{212a}-\\x{212d}\\x{212f}-\\x{2134}\\x{2139}\\x{213c}-\\x{213f}" \
    "\\x{2145}-\\x{2149}\\x{214e}\\x{2183}\\x{2184}\\x{2c00}-\\x{2c7b}\\x{2c7e}-\\x{2ce4}\\x{2ceb}-\\x{2cee}" \
    "\\x{2cf2}\\x{2cf3}\\x{a640}-\\x{a66d}\\x{a680}-\\x{a69b}\\x{a722}-\\x{a76f}\\x{a771}-\\x{a787}" \
    "\\x{a78b}-\\x{a78e}\\x{ab70}-\\x{abbf}\\x{fb00}-\\x{fb06}\\x{fb13}-\\x{fb17}\\x{ff21}-\\x{ff3a}" \
    "\\x{ff41}-\\x{ff5a}\\x{10400}-\\x{1044f}\\x{104b0}-\\x{104d3}\\x{104d8}-\\x{104fb}\\x{10c80}-\\x{10cb2}" \
    "\\x{10cc0}-\\x{10cf2}\\x{118a0}-\\x{118df}\\x{1e900}-\\x{1e943}"
#define DEEPSEEK_CJK "[\\x{800}-\\x{9fa5}\\x{ac00}-\\x{d7ff}]+"

/* Digits that end at the border of a word, \b: not before these, which are what Oniguruma calls word characters. */
#define WORD_CHAR "[\\p{L}\\p{M}\\p{Nd}\\p{Nl}\\p{Pc}\\x{b2}\\x{b3}\\x{b9}\\x{bc}-\\x{be}\\x{24b6}-\\x{24e9}" \
    "\\x{1f130}-\\x{1f149}\\x{1f150}-\\x{1f169}\\x{1f170}-\\x{1f189}]"
#define AYA_STEPS {{MD_PRETOK_TRIPLES, "(?<!\\p{Nd})\\p{Nd}++(?!" WORD_CHAR ")"}, {S, GPT4O}}

#define BLOOM " ?[^(" WS "|.,!?\\x{2026}\\x{3002}\\x{ff0c}\\x{3001}\\x{964}\\x{6d4}\\x{60c})]+"
#define LINES "[^\\n]+|\\n+"
/* The scripts that AFMoE keeps apart. */
#define AFMOE_SCRIPTS \
    "[\\x{4e00}-\\x{9fff}\\x{3400}-\\x{4dbf}\\x{f900}-\\x{faff}\\x{3040}-\\x{30ff}\\x{ff65}-\\x{ff9f}" \
    "\\x{2f00}-\\x{2fdf}\\x{e40}-\\x{eff}\\x{1780}-\\x{17ff}\\x{1000}-\\x{109f}\\x{aa60}-\\x{aa7f}" \
    "\\x{a9e0}-\\x{a9ff}\\x{ac00}-\\x{d7af}\\x{1100}-\\x{11ff}]+"
/* Falling widths of white space. Past the first try in a run no line's end is ahead: not looked for again. */
#define JAIS2_TAIL "(?<![\\p{Z}\\t\\x{0b}\\x{0c}\\x{85}])" LINE_ENDS \
    "|" SPACE "{512}(?!" NOT_SPACE ")|" SPACE "{256}(?!" NOT_SPACE ")|" SPACE "{128}(?!" NOT_SPACE ")" \
    "|" SPACE "{64}(?!" NOT_SPACE ")|" SPACE "{32}(?!" NOT_SPACE ")|" SPACE "{16}(?!" NOT_SPACE ")" \
    "|" SPACE "{8}(?!" NOT_SPACE ")|" SPACE "{4}(?!" NOT_SPACE ")|" SPACE "{1,2}(?!" NOT_SPACE ")|" SPACE

#define S MD_PRETOK_SPLIT
#define GPT2_STEPS {{S, GPT2}}
#define SINGLE_DIGITS_STEPS {{S, "\\p{N}"}, {S, GPT2}}
#define WHOLE MD_PRETOK_WHOLE_WORDS
#define BOS MD_PRETOK_ADD_BOS
#define CHARS MD_PRETOK_CHARS

static const md_pretok_rule rules[] = {
    /* files that do not name a rule: what other readers of GGUF do with them */
    {"default", 0, {{S, "[\\p{P}$+<=>^~|]+"}, {S, GPT2}, {S, "\\p{N}+"}, {S, "[0-9][0-9][0-9]"}}},
    /* GPT-2 and the many that took its rule */
    {"gpt-2", 0, GPT2_STEPS},
    {"phi-2", 0, GPT2_STEPS},
    {"mpt", 0, GPT2_STEPS},
    {"olmo", 0, GPT2_STEPS},
    {"jais", 0, GPT2_STEPS},
    {"trillion", 0, GPT2_STEPS},
    {"granite-docling", 0, GPT2_STEPS},
    {"exaone4", 0, GPT2_STEPS},
    {"gigachat", 0, GPT2_STEPS},
    {"a.x-4.0", 0, GPT2_STEPS},
    {"mellum", 0, GPT2_STEPS},
    {"modern-bert", 0, GPT2_STEPS},
    {"roberta-bpe", 0, GPT2_STEPS},
    {"jina-es", 0, GPT2_STEPS},
    {"jina-de", 0, GPT2_STEPS},
    {"jina-v1-en", 0, GPT2_STEPS},
    {"jina-v2-es", 0, GPT2_STEPS},
    {"jina-v2-de", 0, GPT2_STEPS},
    {"jina-v2-code", 0, GPT2_STEPS},
    /* the same with every digit alone */
    {"smollm", 0, SINGLE_DIGITS_STEPS},
    {"starcoder", 0, SINGLE_DIGITS_STEPS},
    {"refact", 0, SINGLE_DIGITS_STEPS},
    {"command-r", 0, SINGLE_DIGITS_STEPS},
    {"cohere2_moe", 0, SINGLE_DIGITS_STEPS},
    {"codeshell", 0, SINGLE_DIGITS_STEPS},
    {"exaone", 0, SINGLE_DIGITS_STEPS},
    {"minerva-7b", 0, SINGLE_DIGITS_STEPS},
    {"mellum2", 0, SINGLE_DIGITS_STEPS},
    /* Llama 3 */
    {"llama-bpe", WHOLE | BOS, {{S, LLAMA3}}},
    {"llama3", WHOLE | BOS, {{S, LLAMA3}}},
    {"llama-v3", WHOLE | BOS, {{S, LLAMA3}}},
    {"falcon3", WHOLE | BOS, {{S, LLAMA3}}},
    {"falcon-h1", WHOLE | BOS, {{S, LLAMA3}}},
    {"pixtral", WHOLE | BOS, {{S, LLAMA3}}},
    {"midm-2.0", WHOLE | BOS, {{S, LLAMA3}}},
    {"lfm2", WHOLE | BOS, {{S, LLAMA3}}},
    {"jina-v5-nano", WHOLE | BOS, {{S, LLAMA3}}},
    {"dbrx", 0, {{S, LLAMA3}}},
    {"smaug-bpe", 0, {{S, LLAMA3}}},
    {"chatglm-bpe", 0, {{S, LLAMA3}}},
    {"glm4", WHOLE, {{S, LLAMA3}}},
    {"glm5", WHOLE, {{S, LLAMA3}}},
    {"jais-2", 0, {{S, CONTRACTION "|" SIGN_THEN "\\p{L}+|\\p{N}{1,3}|" SIGNS "[\\r\\n]*|" JAIS2_TAIL}}},
    {"minicpm5", WHOLE, {{S, "\\p{N}{1,3}"}, {S, WORDS("\\p{L}+", "\\p{N}+")}}},
    {"k2-horizon", 0, {{S, WORDS("[\\p{L}\\p{M}\\x{200c}\\x{200d}]+", "\\p{N}{1,3}")}}},
    /* Qwen 2: every digit alone */
    {"qwen2", 0, {{S, QWEN2}}},
    {"deepseek-r1-qwen", 0, {{S, QWEN2}}},
    {"kormo", 0, {{S, QWEN2}}},
    {"openpangu", 0, {{S, QWEN2}}},
    {"f2llmv2", 0, {{S, QWEN2}}},
    {"megrez", 0, {{S, QWEN2}}},
    {"stablelm2", 0, {{S, QWEN2}}},
    {"hunyuan", 0, {{S, QWEN2}}},
    {"solar-open", 0, {{S, QWEN2}}},
    {"grok-2", 0, {{S, QWEN2}}},
    {"laguna", 0, {{S, LINES}, {S, QWEN2}}},
    {"qwen35", 0, {{S, CONTRACTION "|" SIGN_THEN "[\\p{L}\\p{M}]+|\\p{N}| ?[^" WS "\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|"
                       LINE_ENDS "|" SPACES}}},
    {"ufakzeka", 0, {{S, SIGN_THEN "\\p{L}+|\\p{N}|" SIGNS "[\\r\\n]*|" LINE_ENDS "|" SPACES}}},
    {"seed-coder", 0, {{S, CONTRACTION "|" SIGN_THEN "\\p{L}+|\\p{N}| ?[^" WS "\\p{L}\\p{N}]+|" LINE_ENDS "|" SPACES}}},
    {"bailingmoe", 0, {{S, QWEN2}}},
    {"bailingmoe2", 0, {{S, QWEN2}}},
    {"llada-moe", 0, {{S, QWEN2}}},
    {"exaone-moe", 0, {{S, CONTRACTION "|" SIGN_THEN "\\p{L}\\p{M}*+(?: ?\\p{L}\\p{M}*+)*+|\\p{N}|" SIGNS "[\\r\\n/]?|"
                           LINE_ENDS "|" SPACES}}},
    /* o200k and its like */
    {"gpt-4o", 0, {{S, GPT4O}}},
    {"llama4", 0, {{S, GPT4O}}},
    {"kanana2", 0, {{S, GPT4O}}},
    {"talkie", 0, {{S, GPT4O}}},
    {"minimax-m2", 0, {{S, GPT4O}}},
    {"granite-embed-multi-97m", WHOLE, {{S, GPT4O}}},
    {"tekken", WHOLE | BOS, {{S, CASED_WORDS("", "\\p{N}")}}},
    {"tiny_aya", 0, AYA_STEPS},
    {"cohere2moe", 0, AYA_STEPS},
    {"youtu", WHOLE, {{S, "[\\x{ac00}-\\x{d7a3}\\x{3131}-\\x{318e}]+|[\\x{ff01}\\x{2026}\\x{201c}\\x{201d}\\x{2018}"
                          "\\x{2019}\\x{2014}\\x{ff1a}\\x{ff1b}\\x{ff0c}\\x{3001}-\\x{303f}\\x{fe30}-\\x{fe4f}]+|"
                          "[\\x{3105}-\\x{312f}]+|" CJK},
                      {S, CASED_WORDS("(?:" CONTRACTION ")?", "\\p{N}")}}},
    {"kimi-k2", 0, {{S, KIMI}}},
    /* DeepSeek */
    {"deepseek-llm", 0, {{S, "[\\r\\n]"}, {S, SPACE "?[" DEEPSEEK_LETTERS "]+"},
                         {S, SPACE "?[!-/:-~\\x{ff01}-\\x{ff0f}\\x{ff1a}-\\x{ff5e}\\x{2018}-\\x{201f}"
                             "\\x{3000}-\\x{3002}]+"},
                         {S, "(?<!" SPACE ")" SPACE "++\\z"}, {S, DEEPSEEK_CJK}, {S, "\\p{N}"}}},
    {"deepseek-coder", 0, {{S, "[\\r\\n]"}, {S, SPACE "?\\p{L}+"}, {S, SPACE "?\\p{P}+"}, {S, DEEPSEEK_CJK},
                           {S, "\\p{N}"}}},
    {"deepseek-v3", 0, DEEPSEEK3_STEPS},
    {"hunyuan-dense", 0, DEEPSEEK3_STEPS},
    {"joyai-llm", 0, DEEPSEEK3_STEPS},
    {"hy_v4", 0, DEEPSEEK3_STEPS},
    {"spark2_5", 0, {{S, "\\p{N}{1,3}"}, {S, CJK}, {S, DEEPSEEK3("", "[\\r\\n]")}, {S, "\\p{N}"}}},
    {"afmoe", 0, {{MD_PRETOK_TRIPLES, "\\p{N}+"}, {S, AFMOE_SCRIPTS}, {S, DEEPSEEK3("[\\r\\n]*", LINE_ENDS)}}},
    /* the others */
    {"falcon", 0, {{S, "[\\p{P}$+<=>^~|`]+"}, {S, GPT2}, {S, "[0-9][0-9][0-9]"}}},
    {"bloom", 0, {{S, BLOOM}}},
    {"gpt3-finnish", 0, {{S, BLOOM}}},
    {"poro-chat", 0, {{S, BLOOM}}},
    {"viking", 0, {{S, BLOOM}, {S, "\\p{N}"}}},
    {"superbpe", 0, {{S, "\\p{N}+"}, {MD_PRETOK_TRIPLE_STARTS, "\\p{Nd}{3,}"}}},
    {"chameleon", BOS, {{S, "<sentinel:[0-9]+>"}, {S, "IMGIMG[A-I]{1,4}Z"}, {S, "[\\t\\n]|    |  "}, {S, "\\p{N}"},
                        {S, "[\\p{P}!-/:-@\\[-`{-~]"}, {S, GPT2}}},
    /* characters for bytes: a line is one word */
    {"gemma4", CHARS | MD_PRETOK_WHOLE_NEWLINES | MD_PRETOK_FORCE_BOS, {{S, LINES}}},
    {"granite-embed-multi-311m", CHARS | MD_PRETOK_WHOLE_NEWLINES | MD_PRETOK_FORCE_BOS, {{S, LINES}}},
    {"sarvam-moe", CHARS, {{S, LINES}}},
    {"whitespace", CHARS | MD_PRETOK_DROP_SPACE, {{S, NOT_SPACE "+"}}},
};
/* clang-format on */

size_t md_pretok_n_rules(void)
{
    return sizeof rules / sizeof rules[0];
}

const md_pretok_rule *md_pretok_rule_at(size_t i)
{
    return &rules[i];
}

const md_pretok_rule *md_pretok_find(const char *name)
{
    if (!name[0])
        name = "default";
    for (size_t i = 0; i < md_pretok_n_rules(); i++)
        if (strcmp(rules[i].name, name) == 0)
            return &rules[i];
    return NULL;
}
