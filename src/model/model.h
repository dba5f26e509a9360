/* SPDX-License-Identifier: Apache-2.0
 *
 * The inside of an open model, for this room and those above. */
#ifndef MD_MODEL_MODEL_H
#define MD_MODEL_MODEL_H

#include "base/mem.h"
#include "base/region.h"
#include "format/gguf.h"
#include "model/arch.h"
#include "model/hparams.h"
#include "model/packed.h"
#include <medley/model.h>

typedef struct md_notes {
    char **text; /* owned by the arena */
    size_t n, cap;
} md_notes;

struct md_model {
    md_gguf *file;     /* owned */
    md_packed packed;  /* of a packed file */
    uint64_t read;     /* bytes of weights that were read so far */
    md_region weights; /* owned; none when they stay in the mapped file */
    bool mapped;
    bool outline;        /* of the header alone: tensors have addresses, but what lies there was never read */
    bool streamed;       /* routed experts stay in the file; their matrices have addresses here, without memory: */
    md_region elsewhere; /* owned */
    struct md_stream_plan *stream; /* in the arena: where experts lie (model/stream.h); NULL: they are resident */
    unsigned char *layout; /* (n_tensors) md_layout that a tensor's use allows, or MD_LAYOUT_UNUSED; in the arena */
    uint64_t identity;     /* of the file's contents */
    uint64_t overrides;    /* hash of the metadata overrides, 0: none */
    md_arena arena;
    const md_arch *arch;
    md_spec spec;
    const md_expert **experts; /* (n_layer) each layer's experts or NULL, in the arena */
    bool wants32, wants256;    /* some weight meets Q32 or Q256 activations */
    md_tokenizer *tokenizer;   /* owned or NULL */
    md_error tokenizer_error;
    md_model_info info;
    md_notes notes;
};

/* A model as md_model_open would bind it, from its header alone: nothing can be run, but all that can be said before weights are read
 * can be asked. Routed experts count as streamed (`streamed` may be cleared to ask as if they were not). Of args only the overrides
 * count. The file may end anywhere behind its header. */
md_status md_model_outline(const char *path, const md_model_args *args, md_model **out, md_error *err) MD_MUST_USE;
/* Binds all tensors of m->file by expectation; fills m->spec, m->experts and notes. */
md_status md_model_bind(md_model *m, const md_hparams *hp, md_error *err) MD_MUST_USE;
/* Fills info from a header; strings go to the arena. arch may be NULL (an unknown family): then only sizes and names. */
md_status md_info_fill(const md_gguf *g, const md_arch *arch, md_arena *arena, md_model_info *info,
                       md_error *err) MD_MUST_USE;
/* Which part a tensor of any family counts as. */
md_part md_part_of(const char *name, size_t n);
/* One expert's own tensor, blk.L.ffn_gate.E.weight, as early files have them. */
bool md_is_legacy_expert(const char *name, size_t n);
/* Of a file whose tensor data is mapped. */
uint64_t md_model_identity(const md_gguf *g);
void md_note(md_model *m, const char *fmt, ...) MD_PRINTF(2, 3);

#endif
