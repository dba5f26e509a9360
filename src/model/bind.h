/* SPDX-License-Identifier: Apache-2.0
 *
 * The inside of binding, for the bind files only: finding a slot's tensor, checking its shape, making views of it. */
#ifndef MD_MODEL_BIND_H
#define MD_MODEL_BIND_H

#include "base/status.h"
#include "model/model.h"

typedef struct md_binder {
    md_model *m;
    const md_hparams *hp;
    md_error *err;
    bool *used; /* (n tensors) */
    int32_t layer;
    int32_t width; /* of the expert under way where each has its own, else 0 */
} md_binder;

/* Is the slot in the family's sets; is it one that the family always has? */
bool md_bind_has(const md_binder *b, md_slot slot);
bool md_bind_needed(const md_binder *b, md_slot slot);
/* The size that a letter of slots.def stands for in the layer under way; -1: none. */
int64_t md_bind_size(const md_binder *b, char letter);
void md_bind_name(const md_binder *b, md_slot slot, char buf[static 128]);
/* Does the file have the slot's tensor? */
bool md_bind_present(const md_binder *b, md_slot slot);
const md_gguf_tensor *md_bind_look(const md_binder *b, const char *name);
md_status md_bind_missing(const md_binder *b, const char *name);

/* A vector of floats: in place where the file holds aligned F32, else widened into the arena. NULL if it may be absent and is. */
md_status md_bind_vector(const md_binder *b, md_slot slot, bool need, const float **out) MD_MUST_USE;
/* The floats of a tensor of them, as above. */
md_status md_bind_floats(const md_binder *b, const md_gguf_tensor *t, const float **out) MD_MUST_USE;
/* A matrix with its factor, if it has one; data NULL if it may be absent and is. */
md_status md_bind_matrix(const md_binder *b, md_slot slot, bool need, md_weight *out) MD_MUST_USE;
/* The same for a slot of the family's sets, needed if its set says so, with its bias (MD_N_SLOTS: none). */
md_status md_bind_linear(const md_binder *b, md_slot weight, md_slot bias, md_weight *out) MD_MUST_USE;
/* A norm with weights and maybe a bias (MD_N_SLOTS: none), of the family's kind; MD_NORM_NONE if the family lacks it. */
md_status md_bind_norm(const md_binder *b, md_slot weight, md_slot bias, md_norm *out) MD_MUST_USE;
/* One view a matrix of a stack: tensors of experts, of one file or of one tensor each. */
md_status md_bind_check_type(const md_binder *b, const md_gguf_tensor *t) MD_MUST_USE;
md_status md_bind_check_shape(const md_binder *b, const md_gguf_tensor *t, md_slot slot, bool stacked) MD_MUST_USE;
md_status md_bind_scale(const md_binder *b, const char *name, int64_t count, const float **out,
                        int64_t *step) MD_MUST_USE;
/* A view of a tensor's matrices; rows of it lie in tiles if it can have them and `tiles` allows it. Every use of a tensor says the
 * same. */
md_status md_bind_view(const md_binder *b, const md_gguf_tensor *t, bool tiles, md_weight *out) MD_MUST_USE;
/* Rows [first, first + n) of a matrix that holds several. */
md_weight md_bind_rows(const md_weight *all, int64_t first, int64_t n);

/* Parts of a layer. */
md_status md_bind_attention(const md_binder *b, md_attn_spec *a) MD_MUST_USE;
md_status md_bind_latent(const md_binder *b, md_attn_spec *a) MD_MUST_USE;
md_status md_bind_ropes(const md_binder *b, md_spec *s) MD_MUST_USE;
md_status md_bind_recurrent(const md_binder *b, md_mixer mixer, int64_t *state,
                            const md_recurrent_spec **out) MD_MUST_USE;
md_status md_bind_ffn(const md_binder *b, md_spec *s, md_ffn_spec *f) MD_MUST_USE;
md_status md_bind_router(const md_binder *b, md_spec *s, md_ffn_spec *f) MD_MUST_USE;
/* Once all layers are bound. */
md_status md_bind_recursion(const md_binder *b, md_spec *s) MD_MUST_USE;

#endif
