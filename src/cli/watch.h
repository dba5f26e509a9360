/* SPDX-License-Identifier: Apache-2.0
 *
 * The live view of `medley run --watch`: figures of the last two seconds and a map of experts in the lower lines of the terminal,
 * while text scrolls above them. Three parts: what the view says (watch_view.c, a pure function), what is counted from the session's
 * events (watch_count.c), and the terminal (watch.c). One thread. */
#ifndef MD_CLI_WATCH_H
#define MD_CLI_WATCH_H

#include "cli/cli.h"

/* --- watch_view.c --- */

/* A layer with experts. Uses are weighed by how long ago they were: they count half after a second. */
typedef struct md_watch_expert {
    float used, missed; /* uses; those among them that had to be read */
    bool present;       /* in memory, or on its way */
} md_watch_expert;
typedef struct md_watch_layer {
    int32_t layer; /* its number in the model */
    int32_t n_experts;
    const md_watch_expert *expert; /* [n_experts], borrowed */
} md_watch_layer;

typedef struct md_watch_view {
    int32_t columns, rows;       /* of the terminal */
    bool color;                  /* else characters alone tell hits from misses */
    bool prompt;                 /* it is being read; else the answer is written */
    int64_t done, total;         /* tokens; of an answer no total is known */
    double rate;                 /* tokens a second; negative: not known yet */
    bool streamed;               /* what follows is shown: */
    double hits, waiting;        /* shares, 0 to 1; hits negative: nothing was needed */
    double bytes;                /* read in a second */
    uint64_t slots, experts;     /* of all layers */
    const md_watch_layer *layer; /* [n_layers], borrowed: those with experts */
    int32_t n_layers;
} md_watch_view;

/* Lines that the view takes of a terminal of that size; 0: too small to show anything. Does not depend on figures. */
int32_t md_watch_height(const md_watch_view *v);
/* Appends so many lines, each ending in a line feed and shorter than the terminal is wide. */
void md_watch_render(const md_watch_view *v, md_buf *out);

/* --- watch_count.c --- */

enum { MD_WATCH_SAMPLES = 20 };
/* What had been done at a time. */
typedef struct md_watch_sample {
    double at;     /* seconds */
    double tokens; /* with the share of the step under way */
    md_stream_counts store;
} md_watch_sample;

typedef struct md_watch_count {
    const md_session *session; /* borrowed */
    int32_t n_model_layers, n_layers;
    md_watch_layer *layer;   /* owned, [n_layers] */
    int32_t *index;          /* owned, [n_model_layers] into layer; -1: no experts */
    md_watch_expert *expert; /* owned: of all layers */
    size_t n_experts;
    int64_t n_prompt, rows; /* tokens of the prompt; rows of the steps that are done */
    int32_t step_rows;      /* of the step under way */
    double step_share;      /* of it that is done */
    bool prompt;            /* at the last look */
    md_watch_sample sample[MD_WATCH_SAMPLES];
    int n_samples, next;
    double faded; /* when uses were last made fainter */
} md_watch_count;

md_status md_watch_count_init(md_watch_count *c, const md_session *s, md_error *err) MD_MUST_USE;
void md_watch_count_done(md_watch_count *c); /* {0} allowed */
/* An answer to a prompt of n tokens begins. */
void md_watch_count_begin(md_watch_count *c, int64_t n_prompt, double now);
/* The observer's part: points as in MD_WATCH_POINTS. */
#define MD_WATCH_POINTS (1u << MD_POINT_LAYER_IN | 1u << MD_POINT_ROUTING | 1u << MD_POINT_LAYER_OUT)
void md_watch_count_event(md_watch_count *c, const md_event *e);
/* Fills in what there is to show at this time, all but the terminal's size and colour; takes a sample. */
void md_watch_count_look(md_watch_count *c, double now, md_watch_view *v);

/* --- watch.c --- */

typedef struct md_cli_watch md_cli_watch;
/* --watch makes sense here, if it was given. */
md_status md_cli_watch_check(const md_cli *cli, md_error *err) MD_MUST_USE;
/* *out NULL if --watch was not given. s is borrowed. */
md_status md_cli_watch_open(const md_cli *cli, md_session *s, md_cli_watch **out, md_error *err) MD_MUST_USE;
void md_cli_watch_close(md_cli_watch *w); /* NULL allowed; before its session goes */
/* From here to the end the lower lines of the terminal are the view's. */
void md_cli_watch_begin(md_cli_watch *w, int64_t n_prompt);
void md_cli_watch_end(md_cli_watch *w);

#endif
