/* SPDX-License-Identifier: Apache-2.0
 *
 * Saved sequences from hostile files: opened, and loaded into a session of the model they claim to be from. An input that
 * begins with "MEDLEYSQ" is the file itself, given a checksum that fits. Any other is a recipe, a few lines of text that
 * change a file which was really saved:
 *
 *   masked            the sequence had an expert switched off; "plain": not; "empty": it had no positions
 *   length=4294967295 a number of the header
 *   key+3=65          a byte of a part: key, token, text, state, page
 *   token:40          a part gets 40 units and the header says so, but for pages; a unit of "token" is 4 bytes, of "page" a page
 *   <1000  >7         the file is cut to so many bytes, or has so many more
 *   !                 its checksum stays wrong
 *
 * Whatever happens: no crash, an error is one sentence, what is lent is readable and within its bounds, a sequence that
 * could not be loaded is as it was, and a file that nobody changed gives the same bits. */
#include "base/mem.h"
#include "base/checksum.h"

#include <medley/engine.h>
#include <medley/unstable/synth.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { N_PAST = 7, N_SAVED = 66, N_VOCAB = 300, MAX_FILE = 1 << 18 };
enum { KEY, TOKEN, TEXT, STATE, PAGE, N_PARTS };

/* docs/format.md, saved sequences */
enum { HEADER = 80, PAGE_BYTES_AT = 32, LENGTH_AT = 40, COUNTS_AT = 48 };

static const struct {
    const char *name;
    size_t at, bytes;
} fields[] = {{"version", 8, 4},     {"layout", 12, 4}, {"model", 16, 8},    {"model_bytes", 24, 8},
              {"page_bytes", 32, 8}, {"length", 40, 4}, {"reserved", 44, 4}, {"n_key", 48, 8},
              {"n_tokens", 56, 8},   {"n_text", 64, 8}, {"n_state", 72, 8}};
static const char *const part_names[N_PARTS] = {"key", "token", "text", "state", "page"};

typedef enum base { PLAIN, MASKED, EMPTY, N_BASES } base;
static const char *const base_names[N_BASES] = {"plain", "masked", "empty"};

/* A file in parts, as long as recipes change it. */
typedef struct file {
    unsigned char header[HEADER];
    md_buf part[N_PARTS]; /* without padding */
    size_t cut, more;     /* cut: SIZE_MAX for the whole */
    bool bad_sum;
} file;

/* What everything is tried on. */
static struct {
    md_model *model;
    md_session *session;
    md_seq *seq[2];          /* plain, masked; each with its own past of N_PAST tokens */
    uint64_t next[2];        /* of their next step, as long as they are as they were */
    uint64_t after[N_BASES]; /* of the next step behind what was saved */
    md_buf saved[N_BASES];
} lab;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void require(bool promise)
{
    if (!promise)
        abort();
}

static void check_error(md_status status, const md_error *err)
{
    require(status == MD_OK || status == MD_ERR_FORMAT || status == MD_ERR_UNSUPPORTED || status == MD_ERR_LIMIT);
    require(status == MD_OK || (err->code == status && err->message[0] && !strchr(err->message, '\n')));
}

/* ---- the laboratory ---- */

static md_status feed(md_seq *q, int32_t first, int32_t n, uint64_t *hash, md_error *err)
{
    int32_t token[N_SAVED];
    md_seq *seq[N_SAVED];
    for (int32_t i = 0; i < n; i++) {
        token[i] = (5 * (first + i) + 2) % N_VOCAB;
        seq[i] = q;
    }
    const md_status status = md_decode(lab.session, &(md_batch){.n = n, .token = token, .seq = seq}, err);
    *hash = status == MD_OK ? md_logits_hash(MD_HASH_START, md_step_logits(lab.session, n - 1), N_VOCAB) : 0;
    return status;
}

/* The past of a sequence before anything is loaded into it. */
static void give_past(int which)
{
    uint64_t hash;
    require(md_seq_trim(lab.seq[which], 0, NULL) == MD_OK);
    require(feed(lab.seq[which], 1, N_PAST, &hash, NULL) == MD_OK);
}

static void read_file(const char *path, md_buf *out)
{
    char piece[4096];
    FILE *f = fopen(path, "rb");
    require(f != NULL);
    for (size_t n; (n = fread(piece, 1, sizeof piece, f)) > 0;)
        md_buf_append(out, piece, n);
    fclose(f);
    require(!out->failed && out->len > HEADER);
}

static void save_base(base b, const char *path)
{
    static const char text[] = "what was said";
    md_seq *q = lab.seq[b == MASKED];
    int32_t token[N_SAVED];
    uint64_t unused;
    for (int32_t i = 0; i < N_SAVED; i++)
        token[i] = (5 * i + 2) % N_VOCAB;
    require(md_seq_trim(q, 0, NULL) == MD_OK);
    if (b != EMPTY)
        require(feed(q, 0, N_SAVED, &unused, NULL) == MD_OK);
    const md_seq_save_args args = {.token = token, .n_tokens = N_SAVED, .text = text, .n_text = sizeof text - 1};
    require(md_seq_save(q, &args, path, NULL) == MD_OK);
    require(feed(q, N_SAVED, 1, &lab.after[b], NULL) == MD_OK);
    read_file(path, &lab.saved[b]);
    unlink(path);
}

static void open_lab(void)
{
    char folder[512], path[600];
    const char *under = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%s/medley-saved-XXXXXX", under && under[0] ? under : "/tmp");
    require(mkdtemp(folder) != NULL);
    snprintf(path, sizeof path, "%s/file", folder);
    const md_synth_spec spec = {
        .arch = "qwen3moe", .n_layer = 1, .n_embd = 32, .n_head = 2, .n_expert = 4, .n_ff_exp = 32, .n_vocab = N_VOCAB};
    require(md_synth_write(&spec, path, NULL) == MD_OK);
    require(md_model_open(path, NULL, &lab.model, NULL) == MD_OK);
    unlink(path);
    md_session_args args;
    md_session_args_default(lab.model, &args);
    args.n_threads = 1;
    args.n_positions = 256;
    args.n_rows = N_SAVED;
    args.n_sequences = 2;
    require(md_session_new(lab.model, &args, &lab.session, NULL) == MD_OK);
    for (int i = 0; i < 2; i++)
        require(md_seq_new(lab.session, &lab.seq[i], NULL) == MD_OK);
    require(md_seq_mask_expert(lab.seq[1], 0, 1, MD_EXPERT_OFF, NULL) == MD_OK);
    for (base b = 0; b < N_BASES; b++)
        save_base(b, path);
    rmdir(folder);
    for (int i = 0; i < 2; i++) {
        give_past(i);
        require(feed(lab.seq[i], N_PAST, 1, &lab.next[i], NULL) == MD_OK);
        give_past(i);
    }
}

/* ---- recipes ---- */

static uint64_t number_at(const unsigned char *p, size_t bytes)
{
    uint64_t v = 0;
    memcpy(&v, p, bytes); /* little-endian, as the format is */
    return v;
}

static size_t padded(size_t n)
{
    return n + (8 - n % 8) % 8;
}

static void take_apart(const md_buf *saved, file *f)
{
    const unsigned char *at = (const unsigned char *)saved->data + HEADER;
    *f = (file){.cut = SIZE_MAX};
    memcpy(f->header, saved->data, HEADER);
    for (int i = 0; i < N_PARTS; i++) {
        size_t n = saved->len - sizeof(uint64_t) - (size_t)(at - (const unsigned char *)saved->data);
        if (i != PAGE)
            n = (size_t)number_at(f->header + COUNTS_AT + 8 * i, 8) * (i == TOKEN ? sizeof(int32_t) : 1);
        md_buf_append(&f->part[i], at, n);
        at += padded(n);
    }
}

static int part_of(const char *line, size_t n)
{
    for (int i = 0; i < N_PARTS; i++)
        if (strlen(part_names[i]) == n && memcmp(part_names[i], line, n) == 0)
            return i;
    return -1;
}

static void resize(file *f, int part, uint64_t n)
{
    md_buf *b = &f->part[part];
    const uint64_t unit = part == TOKEN ? sizeof(int32_t) : part == PAGE ? number_at(f->header + PAGE_BYTES_AT, 8) : 1;
    if (unit == 0 || n > MAX_FILE / unit)
        return;
    while (b->len < n * unit && !b->failed)
        md_buf_putc(b, (char)(b->len % 4 == 0)); /* small tokens */
    b->len = b->failed ? b->len : (size_t)(n * unit);
    if (part != PAGE)
        memcpy(f->header + COUNTS_AT + 8 * part, &n, sizeof n);
}

static void change(file *f, const char *line)
{
    const size_t word = strspn(line, "abcdefghijklmnopqrstuvwxyz_");
    const int part = part_of(line, word);
    char *end;
    const uint64_t v = strtoull(line + word + (line[word] != '\0'), &end, 0);
    if (line[0] == '<')
        f->cut = v;
    else if (line[0] == '>')
        f->more = v < MAX_FILE ? v : MAX_FILE;
    else if (line[0] == '!')
        f->bad_sum = true;
    else if (line[word] == ':' && part >= 0)
        resize(f, part, v);
    else if (line[word] == '+' && part >= 0 && *end == '=' && v < f->part[part].len)
        f->part[part].data[v] = (char)strtoul(end + 1, NULL, 0);
    for (size_t i = 0; i < sizeof fields / sizeof *fields && line[word] == '='; i++)
        if (strlen(fields[i].name) == word && memcmp(fields[i].name, line, word) == 0)
            memcpy(f->header + fields[i].at, &v, fields[i].bytes);
}

static void put_sum(md_buf *b)
{
    md_checksum c;
    md_checksum_init(&c);
    md_checksum_add(&c, b->data, b->len);
    const uint64_t sum = md_checksum_value(&c);
    md_buf_append(b, &sum, sizeof sum);
}

static void put_together(const file *f, md_buf *out)
{
    static const char zeros[8];
    md_buf_append(out, f->header, HEADER);
    for (int i = 0; i < N_PARTS; i++) {
        md_buf_append(out, f->part[i].data, f->part[i].len);
        md_buf_append(out, zeros, padded(f->part[i].len) - f->part[i].len);
    }
    for (size_t i = 0; i < f->more; i++)
        md_buf_putc(out, 'x');
    if (f->cut < out->len)
        out->len = f->cut;
    if (!out->failed)
        put_sum(out);
    if (f->bad_sum && out->len > 0)
        out->data[out->len - 1] ^= 1;
}

/* The base, and the lines behind it; true if there are any. */
static bool follow_recipe(const char *text, size_t n, base *b, md_buf *out)
{
    char line[64];
    bool changed = false;
    file f;
    const char *end = memchr(text, '\n', n);
    const size_t word = end ? (size_t)(end - text) : n;
    for (*b = N_BASES - 1; *b > PLAIN; --*b)
        if (strlen(base_names[*b]) == word && memcmp(base_names[*b], text, word) == 0)
            break;
    take_apart(&lab.saved[*b], &f);
    for (size_t at = word + 1; at < n;) {
        end = memchr(text + at, '\n', n - at);
        const size_t length = end ? (size_t)(end - (text + at)) : n - at;
        snprintf(line, sizeof line, "%.*s", (int)(length < sizeof line ? length : sizeof line - 1), text + at);
        change(&f, line);
        changed = true;
        at += length + 1;
    }
    put_together(&f, out);
    for (int i = 0; i < N_PARTS; i++)
        md_buf_done(&f.part[i]);
    return changed;
}

/* ---- what the engine does with a file ---- */

static void check_lent(const md_saved *saved)
{
    size_t n;
    uint64_t sum = 0;
    const int32_t *token = md_saved_tokens(saved, &n);
    require(md_saved_length(saved) >= 0 && (n == 0 || n >= (size_t)md_saved_length(saved)));
    for (size_t i = 0; i < n; i++)
        sum += (uint32_t)token[i];
    const char *text = md_saved_text(saved, &n);
    for (size_t i = 0; i < n; i++)
        sum += (unsigned char)text[i];
    (void)*(const volatile uint64_t *)&sum;
}

/* It has its past, and its next step gives what it always gave: what was loaded left nothing behind, no mask either. */
static void require_undisturbed(int which)
{
    md_seq *q = lab.seq[which];
    uint64_t hash;
    require(md_seq_length(q) == N_PAST);
    require(feed(q, N_PAST, 1, &hash, NULL) == MD_OK && hash == lab.next[which]);
    require(md_seq_trim(q, N_PAST, NULL) == MD_OK);
}

/* True if it was loaded; *hash is then of the next step, 0 if what was loaded makes no numbers. */
static bool try_load(int which, const md_saved *saved, uint64_t *hash)
{
    md_seq *q = lab.seq[which];
    md_error err = {0};
    const md_status status = md_seq_load(q, saved, &err);
    check_error(status, &err);
    if (status != MD_OK) {
        require_undisturbed(which);
        return false;
    }
    require(md_seq_length(q) == md_saved_length(saved));
    check_error(feed(q, N_SAVED, 1, hash, &err), &err);
    give_past(which);
    require_undisturbed(which);
    return true;
}

/* `unchanged`: the bytes are those saved from this base. */
static void try_file(const md_buf *bytes, bool unchanged, base b)
{
    char path[64];
    md_saved *saved;
    md_error err = {0};
    const int fd = memfd_create("saved", MFD_CLOEXEC);
    require(fd >= 0 && write(fd, bytes->data, bytes->len) == (ssize_t)bytes->len);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    const md_status status = md_saved_open(path, &saved, &err);
    check_error(status, &err);
    require((status == MD_OK) == (saved != NULL) && (status == MD_OK || !unchanged));
    if (saved) {
        check_lent(saved);
        for (int which = 0; which < 2; which++) {
            uint64_t hash;
            const bool loaded = try_load(which, saved, &hash);
            require(!unchanged || loaded == (which == (b == MASKED)));
            require(!unchanged || !loaded || hash == lab.after[b]);
        }
    }
    md_saved_close(saved);
    close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    md_buf bytes = {0};
    base b = PLAIN;
    bool changed = true;
    if (!lab.model)
        open_lab();
    if (n >= HEADER && memcmp(data, "MEDLEYSQ", 8) == 0) {
        md_buf_append(&bytes, data, n);
        put_sum(&bytes);
    } else if (n <= 4096) {
        changed = follow_recipe((const char *)data, n, &b, &bytes);
    }
    if (!bytes.failed && bytes.len > 0)
        try_file(&bytes, !changed, b);
    md_buf_done(&bytes);
    return 0;
}
