/* SPDX-License-Identifier: Apache-2.0
 *
 * What the commands share: where output goes, errors to exit codes, progress, interrupts, input files, figures. A
 * command is a function of (md_cli, md_error) that returns a status; main turns it into one sentence and an exit code:
 * 0, 1 failed, 2 wrong use (MD_ERR_ARGUMENT), 128 + signal when stopped by one. One thread. */
#ifndef MD_CLI_CLI_H
#define MD_CLI_CLI_H

#include "base/file.h"
#include "base/mem.h"
#include "base/options.h"
#include "base/status.h"

#include <jansson.h>
#include <medley/engine.h>
#include <medley/model.h>
#include <medley/tokenizer.h>
#include <medley/trace.h>
#include <stdio.h>

typedef struct md_cli {
    const md_options *options;
    bool out_is_terminal;
    bool err_is_terminal; /* and can move its cursor: progress is shown */
    bool quiet;           /* no progress, notes or figures */
    int out_error;        /* errno of the first write to standard output that failed; later ones are dropped */
} md_cli;

/* --- commands, one file each --- */
md_status md_cli_run(md_cli *cli, md_error *err);
md_status md_cli_serve(md_cli *cli, md_error *err);
md_status md_cli_batch(md_cli *cli, md_error *err);
md_status md_cli_inspect(md_cli *cli, md_error *err);
md_status md_cli_tokenize(md_cli *cli, md_error *err);
md_status md_cli_detokenize(md_cli *cli, md_error *err);
md_status md_cli_template(md_cli *cli, md_error *err);
md_status md_cli_eval(md_cli *cli, md_error *err);
md_status md_cli_embed(md_cli *cli, md_error *err);
md_status md_cli_upcycle(md_cli *cli, md_error *err);
md_status md_cli_pack(md_cli *cli, md_error *err);
md_status md_cli_completion(md_cli *cli, md_error *err);
md_status md_cli_help(md_cli *cli, md_error *err);
md_status md_cli_bench(md_cli *cli, md_error *err);
md_status md_cli_plan(md_cli *cli, md_error *err);
md_status md_cli_synth(md_cli *cli, md_error *err);
md_status md_cli_trace(md_cli *cli, md_error *err);
md_status md_cli_man(md_cli *cli, md_error *err);

/* --- help.c --- */
void md_cli_help_all(md_cli *cli);
void md_cli_help_command(md_cli *cli, md_command command);
/* Such a flag is shown as --no-x, and its doc tells what --x does. */
bool md_cli_is_default_on(const md_option_spec *spec);
/* Appends "keep the likeliest tokens [default: 0.95; above 0 and at most 1]". */
void md_cli_option_doc(md_buf *b, const md_option_spec *spec);

/* --- output.c --- */
/* Bytes to standard output as they are. */
void md_cli_write(md_cli *cli, const char *p, size_t n);
void md_cli_printf(md_cli *cli, const char *fmt, ...) MD_PRINTF(2, 3);
/* Text that a model or a file supplied: on a terminal control characters become U+FFFD (line feed and tab stay), so that
 * nothing in it can move the cursor or talk to the terminal. Flushed at once. */
void md_cli_write_text(md_cli *cli, const char *p, size_t n);
/* Appends text of a file to a line of ours: every control character becomes U+FFFD, whatever the output is. */
void md_cli_clean(md_buf *b, const char *p, size_t n);
/* Prints and frees a JSON value (NULL: memory was out) and a line feed. */
md_status md_cli_write_json(md_cli *cli, json_t *owned, md_error *err) MD_MUST_USE;
/* A JSON string of any bytes: what is not UTF-8 becomes U+FFFD. NULL when memory is out. */
json_t *md_cli_json_text(const char *p, size_t n);
/* A JSON array of token ids. NULL when memory is out. */
json_t *md_cli_json_ids(const int32_t *id, size_t n);
/* Everything written so far has arrived, or an error. A reader that went away gives MD_ERR_CANCELLED and no message. */
md_status md_cli_flush(md_cli *cli, md_error *err) MD_MUST_USE;
/* "medley: sentence" on standard error, unless the message is empty. */
void md_cli_complain(const md_error *e);
/* A note on standard error unless --quiet. */
void md_cli_note(const md_cli *cli, const char *fmt, ...) MD_PRINTF(2, 3);
/* An output file is named, is not the input, and is not replaced unless --force says so. */
md_status md_cli_check_output(md_cli *cli, const char *in, const char *out, md_error *err) MD_MUST_USE;
/* Little-endian float32 values. */
md_status md_cli_write_f32(md_out *out, const float *x, size_t n, md_error *err) MD_MUST_USE;
/* "213.4 MiB", "1.2 billion"; written to buf, which is returned. */
const char *md_cli_bytes(char *buf, size_t n, uint64_t bytes);
const char *md_cli_count(char *buf, size_t n, uint64_t count);

/* --- progress.c --- */
typedef struct md_cli_bar {
    md_cli *cli;
    const char *label;   /* borrowed */
    double began, drawn; /* seconds; drawn 0: nothing on the screen */
} md_cli_bar;
/* Shows nothing unless standard error is a terminal and the work takes longer than a moment. */
void md_cli_bar_begin(md_cli_bar *bar, md_cli *cli, const char *label);
/* The form of md_progress_fn, user being the bar: false once the user wants to stop. */
bool md_cli_bar_update(void *bar, uint64_t done, uint64_t total);
void md_cli_bar_end(md_cli_bar *bar);

/* --- interrupt.c --- */
/* From now on SIGINT and SIGTERM raise a flag that long work looks at; the third one kills. */
void md_cli_catch_interrupts(void);
/* The signal that came, or 0. */
int md_cli_interrupted(void);
void md_cli_forget_interrupt(void);
/* From now on SIGHUP is counted. */
void md_cli_catch_hangups(void);
int md_cli_hangups(void); /* so far */
/* What gives all lines of the terminal back to the text, and clears those below the cursor's, which is left alone: a cursor behind
 * the last column would clear that. */
#define MD_CLI_REGION_END "\0337\033[r\0338\0337\033[E\033[J\0338"
/* While lower lines of the terminal are kept from the text: a signal that stops or kills the program gives them back. */
void md_cli_keep_region(bool kept);
/* True, once, after the program was stopped and goes on: no lines are kept any more. */
bool md_cli_take_resumed(void);
/* MD_ERR_CANCELLED without a message: the user knows. */
md_status md_cli_cancelled(md_error *err);

/* --- input.c --- */
/* Appends a whole file, or standard input for NULL, to *out. */
md_status md_cli_read_all(const char *path, md_buf *out, md_error *err) MD_MUST_USE;
/* Appends ids separated by white space, each in [0, n_vocab). name says in errors where they come from. */
md_status md_cli_parse_ids(const char *text, size_t n, const char *name, int32_t n_vocab, md_tokens *out,
                           md_error *err) MD_MUST_USE;

/* --- svg.c --- */
/* Any text, such as a model's name, inside a picture. */
void md_cli_svg_text(md_buf *b, const char *s);
/* Writes a picture, which appears whole or not at all, and frees it. */
md_status md_cli_svg_save(md_buf *text, const char *path, md_error *err) MD_MUST_USE;

/* --- memory.c --- */
/* "4G", "1.5GiB", "800MB" or, if there is a whole, "60%" of it. name says in errors what the text is. */
md_status md_cli_parse_size(const char *name, const char *text, uint64_t whole, uint64_t *out,
                            md_error *err) MD_MUST_USE;
/* --memory in bytes; shares are of what this process could have. 0: not given. */
md_status md_cli_memory(const md_cli *cli, int64_t *out, md_error *err) MD_MUST_USE;

/* No expert is left out or replaced (--on-miss). */
bool md_cli_is_exact(const md_cli *cli);
/* --on-miss, with a note where it changes nothing; share: 0 if none was given. */
md_status md_cli_on_miss(const md_cli *cli, const md_model *m, md_on_miss *out, float *share,
                         md_error *err) MD_MUST_USE;

/* --- open.c --- */
/* What --override, --mmap and --threads ask of whoever reads the model; empty for commands without them. */
md_model_args md_cli_model_args(const md_cli *cli);
/* Opens the model named by the first operand, with a progress bar. */
md_status md_cli_open_model(md_cli *cli, md_model **out, md_error *err) MD_MUST_USE;
/* What a model is called by its file: the name without folder and ending. Owned by the caller; NULL when memory is out. */
char *md_cli_model_name(const char *path);
/* What was noticed while opening; the first few, if there are many. */
void md_cli_show_notes(const md_cli *cli, const md_model *m);
/* A session, if its keys, values and scratch fit into free memory. */
md_status md_cli_open_session(const md_cli *cli, const md_model *m, const md_session_args *args, md_session **out,
                              md_error *err) MD_MUST_USE;
/* The model's tokenizer, or an error that says why there is none. */
md_status md_cli_need_tokenizer(const md_model *m, const md_tokenizer **out, md_error *err) MD_MUST_USE;

/* --- experts.c --- */
/* --experts-off and --experts-on on an empty sequence. */
md_status md_cli_mask_experts(md_cli *cli, const md_model *m, md_seq *q, md_error *err) MD_MUST_USE;

/* --- trace_out.c: --trace of the commands that run a model --- */
typedef struct md_cli_tracing {
    md_trace_writer *writer;   /* owned; NULL: no trace was asked for */
    md_session_trace *session; /* owned */
} md_cli_tracing;
/* Begins the trace that --trace names, if it does; t is {0}, or a trace whose session has gone (md_cli_tracing_leave): then it
 * goes on with this one. On failure, too, md_cli_tracing_end cleans up. */
md_status md_cli_tracing_begin(const md_cli *cli, const md_model *m, md_session *s, md_cli_tracing *t,
                               md_error *err) MD_MUST_USE;
/* The session goes; the trace may go on with another one. */
void md_cli_tracing_leave(md_cli_tracing *t);
/* Ends it, before its session goes. Gives `status`, or, if that is MD_OK, what became of the file. {0} and twice allowed. */
md_status md_cli_tracing_end(md_cli_tracing *t, md_status status, md_error *err) MD_MUST_USE;

/* --- warm.c: a session with streamed experts starts where the last one ended --- */
/* Before the first step: --learn, --uses, --pin. Nothing where all experts are in memory. */
md_status md_cli_warm(const md_cli *cli, const md_model *m, md_session *s, md_error *err) MD_MUST_USE;
/* After the last one; notes what goes wrong. s NULL allowed. */
void md_cli_keep_uses(const md_cli *cli, const md_model *m, const md_session *s);

/* --- cache.c --- */
/* Path of a file of ours below the folder that the variable names, or else below `fallback` in the home folder; to be freed. NULL if
 * there is no home. */
char *md_cli_user_path(const char *variable, const char *fallback, const char *name);
/* The same for what we can do without: $XDG_CACHE_HOME, ~/.cache. */
char *md_cli_cache_path(const char *name);
/* Makes the folders on the way to a file, as far as that can be done. */
void md_cli_make_folders(char *path);

/* --- figures.c: what a run did, as one line or as JSON --- */
typedef struct md_cli_figures {
    double load_seconds, prompt_seconds, generate_seconds;
    int64_t n_prompt, n_generated;
    int32_t n_threads;
    md_stream_counts stream; /* no experts: nothing was streamed */
    int64_t seed;            /* negative: none was used */
    uint64_t logits_hash;
    char numerics_key[256];
} md_cli_figures;
void md_cli_show_figures(const md_cli *cli, const md_cli_figures *f);
/* What a session with streamed experts did; NULL if memory is out. */
json_t *md_cli_json_stream(const md_stream_counts *c);
json_t *md_cli_json_figures(const md_cli_figures *f); /* NULL when memory is out */
double md_cli_share(uint64_t part, uint64_t whole);   /* 0 of nothing */
/* The share of gate weight that skipped or rerouted experts had, 0 to 1. */
double md_cli_changed_share(const md_stream_counts *c);
/* What streaming did, as a line of its own; nothing where experts are resident. */
void md_cli_show_stream(const md_cli *cli, const md_stream_counts *c);
/* Adds it to an object, as "streaming". Gives the object, or NULL when memory is out. */
json_t *md_cli_json_add_stream(json_t *owned, const md_stream_counts *c);

#endif
