/* SPDX-License-Identifier: Apache-2.0
 *
 * Where an answer is in a grammar, byte by byte. A state is a set of places, each a node and a frame; a frame is what to
 * go on with once a rule ends, for all who called it at the same point, so their number stays polynomial however
 * ambiguous the grammar is (a graph-structured stack, Tomita 1986, in Earley's bounds). States and frames are kept once by
 * content: coming to a known state by a known byte is one look-up, as in an automaton built when needed.
 *
 * States are numbers that die when the tables are full and are collected; those in `path` survive, and nothing else may
 * be held across a call. All memory is fixed when made. One thread at a time. */
#ifndef MD_TEXT_GRAMMAR_MATCH_H
#define MD_TEXT_GRAMMAR_MATCH_H

#include "text/grammar.h"

#define MD_GSTATE_NEW  0 /* in `to`: not known yet */
#define MD_GSTATE_DEAD 1 /* nothing can follow */

typedef struct md_gitem {
    uint32_t node; /* with MD_G_MID: some bytes of the character have been read */
    uint32_t frame;
} md_gitem;
#define MD_G_MID 0x80000000u

typedef struct md_gstate {
    uint32_t first, n; /* items, ascending */
    uint32_t partial;  /* the character that items with MD_G_MID are inside of; 0: none */
    uint32_t hash;
    bool accepting;
} md_gstate;

typedef struct md_gframe {
    uint32_t first, n; /* edges, ascending */
    uint32_t depth;
    uint32_t hash;
} md_gframe;

typedef struct md_gmatch {
    const md_grammar *g; /* borrowed */
    md_gstate *state;    /* this and all below owned; [MD_GSTATES] */
    uint16_t (*to)[256]; /* [MD_GSTATES] by byte */
    md_gitem *item;      /* of states */
    md_gframe *frame;    /* a frame's parents have smaller numbers */
    md_gitem *edge;      /* of frames: where to go on, and with which frame */
    size_t n_states, n_items, n_frames, n_edges;
    uint32_t *state_slot, *frame_slot; /* hash tables of numbers; 0: free */
    uint16_t *path;                    /* [n_path] states: 0 is where the answer is */
    size_t n_path;
    uint64_t epoch; /* grows whenever numbers change */
    bool limited;   /* something was withheld for a limit */
    struct md_gscratch *scratch;
} md_gmatch;

/* n_path: how many steps ahead of path[0] will be looked at. False when memory is out. */
bool md_gmatch_init(md_gmatch *m, const md_grammar *g, size_t n_path) MD_MUST_USE;
void md_gmatch_done(md_gmatch *m);
/* path[0] = the start of the grammar. */
void md_gmatch_start(md_gmatch *m);
/* path[to] = path[from] after one byte; from < to, and path[0..to) must hold states. */
void md_gmatch_byte(md_gmatch *m, size_t from, size_t to, uint8_t byte);
/* The same after a token that the grammar asks for as such; free: one that <not this token> may stand for. */
void md_gmatch_token(md_gmatch *m, size_t from, size_t to, uint32_t token, bool free);
/* path[to] = being in both path[to - 1] and path[to - 2]. */
void md_gmatch_join(md_gmatch *m, size_t to);

#endif
