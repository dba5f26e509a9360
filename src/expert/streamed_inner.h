/* SPDX-License-Identifier: Apache-2.0
 *
 * What the parts of the streaming store share: its slots (streamed.c), what arrives in them (arrive.c), what is read before it
 * is asked for (ahead.c), and how all of it is made (streamed_new.c). */
#ifndef MD_EXPERT_STREAMED_INNER_H
#define MD_EXPERT_STREAMED_INNER_H

#include "base/reader.h"
#include "base/region.h"
#include "expert/ahead.h"
#include "expert/policy.h"
#include "expert/reads.h"

typedef enum md_slot_state {
    MD_SLOT_EMPTY,
    MD_SLOT_READING,
    MD_SLOT_ARRIVED, /* all bytes are there, rows not yet woven */
    MD_SLOT_PRESENT,
    MD_SLOT_FAILED, /* holds what could not be read */
} md_slot_state;

typedef struct md_slot {
    md_slot_state state;
    int32_t layer, expert;
    int32_t users;
    bool wanted;             /* by the step under way */
    bool brought;            /* by the step under way, and did not run yet */
    bool ahead;              /* read before it was asked for, and not asked for since */
    bool warm;               /* read because a run before used it much, and not asked for since */
    bool dropped;            /* nobody waits for what is still in flight */
    int32_t n_reads, unread; /* how many reads bring it (expert/reads.h), and how many of them are not done */
    unsigned char *bytes;
    md_expert w;
    md_read read[MD_MATRICES];
} md_slot;

typedef struct md_layer_slots {
    int32_t n_expert, n;
    size_t bytes;   /* of a slot */
    md_slot *slot;  /* [n] of the store's */
    int32_t *where; /* [n_expert] index of its slot, or -1 */
    bool *due;      /* [n_expert] the step under way has rows for it that did not run yet */
} md_layer_slots;

struct md_streamed {
    md_expert_store store;
    const md_expert_source *const *source; /* borrowed */
    md_pool *pool;                         /* borrowed */
    int32_t n_layer, n_files;
    md_layer_slots *layer;               /* owned, [n_layer] */
    md_slot *slot;                       /* owned */
    int32_t *where;                      /* owned */
    bool *due;                           /* owned */
    int32_t *candidate, *candidate_slot; /* owned, [most slots of a layer] */
    md_ahead *ahead;                     /* owned */
    int32_t last_routed; /* the layer whose rows are under way, and how many of its experts they chose */
    int32_t last_needed;
    bool *absent;        /* owned, [most experts of a layer] */
    size_t tile_bytes;   /* the largest tile */
    unsigned char *tile; /* owned, [threads][tile_bytes] on their way */
    md_region memory;    /* owned: what slots hold */
    md_reader *reader;   /* owned */
    md_policy *policy;   /* owned */
    md_streamed_counts counts;
    bool failed;
    md_error error;
};

static inline md_weight *md_weight_of(md_expert *e, int matrix)
{
    return matrix == 0 ? &e->gate : matrix == 1 ? &e->up : &e->down;
}

/* A budget's slots: layer[l].n_expert, n and bytes (streamed_new.c). */
void md_slots_share(const md_streamed_args *a, md_layer_slots *layer);

/* The store's operations (streamed.c). */
md_expert_store md_streamed_operations(void);
md_slot *md_slot_of(const md_streamed *s, int32_t layer, int32_t expert);
/* Reads an expert into a slot that is empty, for a reason. */
typedef enum md_bring { MD_BRING_NEEDED, MD_BRING_AHEAD, MD_BRING_WARM } md_bring;
void md_slot_bring(md_streamed *s, md_slot *at, int32_t layer, int32_t expert, md_bring why);
void md_streamed_fail(md_streamed *s, const md_error *error);

/* Takes what was read since (arrive.c). */
void md_slots_take_arrivals(md_streamed *s);
/* Waits for the next read that ends; false if none is under way. */
bool md_slots_wait(md_streamed *s);
/* Waits until a slot is read, and makes it present; false if it cannot be. */
bool md_slot_finish(md_streamed *s, md_slot *at);

#endif
