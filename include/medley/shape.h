/* SPDX-License-Identifier: Apache-2.0
 *
 * Surgery on model files: streaming, tensor to tensor, memory bounded. The output appears whole or not at all. */
#ifndef MEDLEY_SHAPE_H
#define MEDLEY_SHAPE_H

#include <medley/error.h>
#include <medley/model.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct md_upcycle_args {
    int32_t n_expert; /* 2..1024 */
    int32_t top_k;    /* 1..n_expert */
    float noise;      /* standard deviation of the router's rows, as a share of 1/sqrt(n_embd); > 0. Default 1 */
    float drop_ratio; /* [0, 1): share of each expert's hidden neurons drawn anew (drop-upcycling); 0: plain copies */
    uint64_t seed;
    md_progress_fn *progress; /* may be NULL; unit: bytes written */
    void *progress_user;
} md_upcycle_args;
MD_API void md_upcycle_args_default(md_upcycle_args *a); /* 8 experts, top-2, noise 1, drop 0, seed 0 */

typedef struct md_upcycle_result {
    uint64_t bytes_in, bytes_out;
    uint64_t weights_in, weights_out;
    int32_t n_layer;         /* layers turned into mixtures */
    int64_t neurons_redrawn; /* over all layers and experts */
} md_upcycle_result;

/* Turns a dense model (llama family shape: gate, up, down) into a mixture of experts (sparse upcycling, Komatsuzaki et
 * al. 2023): each expert is a copy of the layer's FFN, the router is drawn at random, gates are normalised. With
 * drop_ratio, a share of every expert's neurons is drawn anew from the mean and spread of the weights (drop-upcycling,
 * Nakamura et al. 2025), in whole quantization blocks so that all other blocks stay byte-identical. */
MD_API MD_MUST_USE md_status md_upcycle(const char *in_path, const char *out_path, const md_upcycle_args *args,
                                        md_upcycle_result *out, md_error *err);

typedef struct md_pack_args {
    int32_t n_threads; /* 0: as many as the machine grants */
    /* Each routed expert's gate, up and down lie side by side, beginning at a multiple of 4096 bytes of the file, so that a miss of
     * a streamed model is one read. A model without routed experts is MD_ERR_ARGUMENT. */
    bool for_streaming;
    md_progress_fn *progress; /* may be NULL; unit: bytes, of which each is counted twice */
    void *progress_user;
} md_pack_args;

typedef struct md_pack_result {
    uint64_t bytes_in, bytes_out;
    uint64_t tensors, tiled; /* all, and those laid in tiles */
    uint64_t experts;        /* of all layers, whose matrices lie side by side; 0 if not for streaming */
} md_pack_result;

/* Writes a model with its quantized matrices laid out as the kernels read them, so that opening it is plain reading. The file
 * is as large as the model's; it computes the same bits; its general.architecture is "medley-packed", so that every other
 * program refuses it. With a version of the layout, the identity of the model, and a checksum of each tensor. args may be
 * NULL. A packed file can be packed for streaming, and one for streaming as others are; one that is packed that way already,
 * or is the output itself, is MD_ERR_ARGUMENT. */
MD_API MD_MUST_USE md_status md_pack(const char *in_path, const char *out_path, const md_pack_args *args,
                                     md_pack_result *out, md_error *err);

#ifdef __cplusplus
}
#endif
#endif
