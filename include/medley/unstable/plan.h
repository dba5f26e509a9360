/* SPDX-License-Identifier: Apache-2.0
 *
 * Planning: how fast a model would run on this machine with so much memory, before it is run. From the file's header alone; its
 * weights are never read. What a step moves and computes is counted, and costs what the machine was measured to need for that:
 * docs/plan.md has the formulae and how well they hold. Not stable yet. */
#ifndef MEDLEY_UNSTABLE_PLAN_H
#define MEDLEY_UNSTABLE_PLAN_H

#include <medley/engine.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Zero (NULL, false) in a field means the value in brackets. All pointers are borrowed during the call. */
typedef struct md_plan_args {
    const char *const *override; /* [n_override] as in md_model_args */
    size_t n_override;
    int32_t n_threads;   /* [as many as sessions take by themselves] */
    int32_t n_positions; /* KV room [what sessions take by themselves] */
    int32_t n_prompt;    /* tokens of a prompt, 1 to 2^20 [512] */
    int32_t n_rows;      /* of a step: how prompts are cut [what sessions take by themselves] */
    int32_t batch;       /* sequences that are generated together, 1 to 4096 [1] */
    bool no_read_ahead;  /* MD_READ_AHEAD_OFF [MD_READ_AHEAD_AUTO] */
    bool f32_kv;         /* keys and values as F32 [as F16] */
    const char *isa;     /* as in md_session_args */
    const char *policy;  /* as in md_session_args */
    /* [n_memory] bytes that the process may take, each a row of the plan beside the usual ones: 100, 85, 70, 60, 50, 40 and 25 % of the
     * model's size, as far as they are enough, and the least that is. At most 50 */
    const uint64_t *memory;
    size_t n_memory;
    /* A trace of the same model's routing (medley/trace.h), which is replayed [each token chooses evenly among all experts] */
    const char *trace;
    /* Where the machine's profile is kept, profile-ISA-THREADS.json. It is made where it is missing, damaged, another machine's or
     * another release's; the folder must be there [nowhere: the machine is measured each time] */
    const char *folder;
    bool measure; /* again, even if there is a profile */
    /* A file on the disk that experts are read from [the model's own; if that has no weights behind its header, a scratch file in
     * `folder`, which goes again] */
    const char *disk_file;
    md_progress_fn *progress; /* of measuring; may be NULL; units are parts of it */
    void *progress_user;
} md_plan_args;

typedef enum md_plan_limit {
    MD_PLAN_MEMORY, /* bytes from memory */
    MD_PLAN_CORES,  /* computing */
    MD_PLAN_DISK,   /* waiting for experts */
} md_plan_limit;
MD_API const char *md_plan_limit_name(md_plan_limit l); /* "memory", "cores", "disk"; never NULL */

/* A prediction. Speeds are tokens a second, of all sequences of the batch together. */
typedef struct md_plan_row {
    bool resident;   /* all weights are read at start, and no bound is set */
    uint64_t memory; /* the bound; for `resident`, what is needed */
    bool available;  /* this machine (or cgroup) has that much now */
    md_memory need;
    int32_t n_rows;          /* of a step of a prompt */
    uint64_t slots, experts; /* of all layers */
    double load_seconds;     /* until the first prompt can begin, the file not being in the page cache */
    double first_prompt;     /* with nothing in the slots */
    double prompt;           /* later ones */
    double generation;       /* behind a prompt */
    double hit_rate;         /* of generation, 0 to 1 */
    double token_bytes;      /* read from the disk for each generated token */
    double prompt_bytes;     /* read for each token of a later prompt */
    md_plan_limit load_limit, prompt_limit, generation_limit;
} md_plan_row;

/* What the machine was measured to do. */
typedef struct md_plan_machine {
    char cpu[64];
    const char *isa;
    int32_t n_threads;
    double memory_read_1, memory_read; /* bytes a second, one thread and all */
    double disk_read;                  /* bytes a second at best */
    double disk_latency;               /* seconds of one read of 64 KiB */
    bool measured;                     /* just now, at least in part */
} md_plan_machine;

typedef struct md_plan md_plan;
/* model: a file, of which only the header is read; it may end behind that (md_synth_write_header).
 * MD_ERR_MEMORY with the numbers for a budget that is too small; MD_ERR_ARGUMENT for a trace of another model, or a value that makes
 * no sense; MD_ERR_UNSUPPORTED for a model without logits or one that is not causal. Measuring takes some seconds and up to
 * 0.5 GiB of memory. */
MD_API MD_MUST_USE md_status md_plan_new(const char *model, const md_plan_args *args, md_plan **out, md_error *err);
MD_API void md_plan_free(md_plan *p); /* NULL allowed */
MD_API const md_model_info *md_plan_info(const md_plan *p);
MD_API const md_plan_machine *md_plan_get_machine(const md_plan *p);
/* `resident` first, then budgets from large to small. i < n_rows */
MD_API size_t md_plan_n_rows(const md_plan *p);
MD_API const md_plan_row *md_plan_get_row(const md_plan *p, size_t i);
/* Bytes that are needed at least. */
MD_API uint64_t md_plan_least(const md_plan *p);
/* The row to take: the fastest generation that this machine has memory for; NULL if it has too little for all. */
MD_API const md_plan_row *md_plan_best(const md_plan *p);
/* "routing of FILE", or that it is taken to be even. Of a model without experts: "". */
MD_API const char *md_plan_routing_text(const md_plan *p);

#ifdef __cplusplus
}
#endif
#endif
