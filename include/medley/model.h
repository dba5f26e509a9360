/* SPDX-License-Identifier: Apache-2.0
 *
 * Models: opening, describing, checking. An open model is immutable: any number of sessions and threads may share it;
 * it must outlive them. */
#ifndef MEDLEY_MODEL_H
#define MEDLEY_MODEL_H

#include <medley/error.h>
#include <medley/tokenizer.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct md_model md_model;
typedef struct md_description md_description;

/* Called during long work with done in [0, total] (units are the function's). Return false to stop: the work ends with
 * MD_ERR_CANCELLED. Called from the calling thread only. */
typedef bool md_progress_fn(void *user, uint64_t done, uint64_t total);

/* Sizes in bytes as stored, and counts of weights, of the parts of a model. */
typedef enum md_part {
    MD_PART_EMBEDDING, /* token embedding and output matrix */
    MD_PART_ATTENTION, /* attention (and other token mixers) with their biases and norms */
    MD_PART_DENSE_FFN, /* feed-forward blocks that every token uses, not beside routed experts */
    MD_PART_ROUTED,    /* routed experts */
    MD_PART_SHARED,    /* shared experts, used by every token */
    MD_PART_ROUTER,    /* routers and their biases */
    MD_PART_OTHER,     /* norms, rope factors, tensors that are not used */
    MD_N_PARTS
} md_part;
MD_API const char *md_part_name(md_part p); /* "routed experts"; never NULL */

typedef struct md_part_size {
    uint64_t tensors, weights, bytes;
} md_part_size;

/* How hidden states become one vector of a text (medley/embed.h); 0 to 4 are the numbers that files use. */
typedef enum md_pooling {
    MD_POOLING_NONE,  /* not at all: a vector of each token */
    MD_POOLING_MEAN,  /* their mean */
    MD_POOLING_CLS,   /* the first token's */
    MD_POOLING_LAST,  /* the last token's */
    MD_POOLING_RANK,  /* scores that a classifier makes of the first token's */
    MD_POOLING_MODEL, /* whichever the model was made for */
    MD_POOLING_POWER, /* their generalised mean: of powers of their sizes, signs kept (Rueckle et al. 2018, "Concatenated
                       * Power Mean Word Embeddings") */
} md_pooling;
MD_API const char *md_pooling_name(md_pooling p); /* "none", "mean", "cls", "last", "rank", "model", "power" */

/* What a header tells. Strings are borrowed from the model or description. */
typedef struct md_model_info {
    const char *arch;      /* "qwen3moe" */
    const char *name;      /* general.name, "" when absent */
    const char *tokenizer; /* "bpe (smollm)", "" when the file has none */
    const char *router;    /* one line: "softmax, top 8 of 128, normalised"; "" for dense models */
    int32_t n_layer, n_embd, n_vocab;
    int32_t n_ctx_train;                                           /* positions the model was trained for */
    int32_t n_head, n_head_kv, n_head_dim;                         /* of the first attention layer */
    int32_t n_ff;                                                  /* width of a dense FFN, 0 if none */
    int32_t n_expert, n_expert_used, n_expert_shared, n_ff_expert; /* 0 for dense models */
    bool has_chat_template;
    bool packed;             /* made by md_pack: matrices lie in tiles */
    bool for_streaming;      /* and each routed expert's matrices side by side, in one tensor a layer */
    bool causal;             /* false: every position sees the whole sequence, which is given in one step */
    bool has_logits;         /* false: there is no output matrix, only hidden states */
    md_pooling pooling;      /* that the model was made for; if the file does not say: mean, or last where causal */
    uint64_t weights;        /* all */
    uint64_t weights_active; /* that one token uses: all but the routed experts it does not pick, and the token
                              * embedding unless it is also the output matrix */
    uint64_t file_bytes;     /* all parts of a split file */
    md_part_size part[MD_N_PARTS];
} md_model_info;

/* --- opening and describing --- */
typedef enum md_stream { MD_STREAM_AUTO, MD_STREAM_NEVER, MD_STREAM_ALWAYS } md_stream;

typedef struct md_model_args {
    md_progress_fn *progress; /* may be NULL (unit: bytes of weights made ready) */
    void *progress_user;
    /* [n_override] metadata that counts in place of the file's, in order: "KEY=TYPE:VALUE" with TYPE bool (true, false),
     * int, float or str; a key that the file lacks is added. Borrowed during the call. MD_ERR_ARGUMENT for what is not
     * of that form. */
    const char *const *override;
    size_t n_override;
    /* Weights stay in the mapped file: ready at once, but slower (a plain file's matrices are not woven into tiles, pages
     * are small), outside of any memory promise, and a file that somebody cuts short ends the process. */
    bool map;
    int32_t n_threads; /* that read the weights; 0: as many as the machine grants */
    /* Routed experts stay in the file and are read into slots as they are needed (md_session_args.memory). AUTO: when the
     * weights do not fit in the memory that is free, or `memory` is given. Models without experts are never streamed. */
    md_stream stream;
    int64_t memory; /* bytes that the whole process may take, of which sessions get the rest; 0: no bound */
} md_model_args;

/* From the header alone, no weights are read. Of args (may be NULL) only the overrides count. */
MD_API MD_MUST_USE md_status md_model_describe(const char *path, const md_model_args *args, md_description **out,
                                               md_error *err);
MD_API void md_description_free(md_description *d); /* NULL allowed */
MD_API const md_model_info *md_description_info(const md_description *d);

typedef struct md_tensor_info {
    const char *name; /* borrowed */
    const char *type; /* "Q4_K" */
    int32_t n_dims;
    int64_t dim[4]; /* innermost first */
    uint64_t bytes;
    uint64_t offset; /* in its file; of the first expert where others lie between (a file packed for streaming) */
    int32_t file;    /* index of the split part, 0-based */
    md_part part;
} md_tensor_info;
MD_API size_t md_description_n_tensors(const md_description *d);
MD_API void md_description_tensor(const md_description *d, size_t i, md_tensor_info *out); /* i < n_tensors */

typedef struct md_metadata_info {
    const char *key;   /* borrowed */
    const char *kind;  /* "u32", "string", "array of f32"... */
    uint64_t count;    /* elements of an array, else 1 */
    const char *value; /* as JSON: a number, a string, or an array of at most the first 8 elements; borrowed */
    bool whole;        /* false when value shows only the front of an array or of a long string */
} md_metadata_info;
MD_API size_t md_description_n_metadata(const md_description *d);
MD_API void md_description_metadata(const md_description *d, size_t i, md_metadata_info *out); /* i < n_metadata */

/* --- checking: reads every weight --- */
typedef struct md_check_finding {
    const char *tensor; /* borrowed for the duration of the call */
    uint64_t nan, inf;  /* weights that are not numbers */
    uint64_t absurd;    /* weights beyond 1e6 in size: scales gone wrong */
    float max_abs;      /* largest finite size */
} md_check_finding;
typedef void md_check_fn(void *user, const md_check_finding *f);
/* Calls on_finding for each tensor with something wrong; *n_bad counts them. progress may be NULL (unit: bytes). */
MD_API MD_MUST_USE md_status md_model_check(const char *path, md_check_fn *on_finding, void *user,
                                            md_progress_fn *progress, void *progress_user, uint64_t *n_bad,
                                            md_error *err);

/* Reads and binds a model. args may be NULL. Weights are read into memory, by several threads, and laid out for the kernels;
 * MD_ERR_MEMORY when they do not fit. */
MD_API MD_MUST_USE md_status md_model_open(const char *path, const md_model_args *args, md_model **out, md_error *err);
MD_API void md_model_close(md_model *m); /* NULL allowed */
MD_API const md_model_info *md_model_get_info(const md_model *m);
/* Of the file's contents: what traces, saved conversations and lists of uses name. The same for a packed file as for its origin. */
MD_API uint64_t md_model_get_identity(const md_model *m);
/* Experts that a layer's router chooses from; 0: it has none, or there is no such layer. */
MD_API int32_t md_model_layer_experts(const md_model *m, int32_t layer);
/* NULL when the file carries none that we know; then why is in the error that md_model_tokenizer_error gives. */
MD_API const md_tokenizer *md_model_tokenizer(const md_model *m);
MD_API const char *md_model_tokenizer_error(const md_model *m); /* "" when there is a tokenizer */
/* The chat template's source, NULL when there is none; *n gets its length. Borrowed from m. */
MD_API const char *md_model_chat_template(const md_model *m, size_t *n);
/* Notes made while binding, e.g. tensors that are not used; i < count. Borrowed. */
/* Whether its experts stay in the file. */
MD_API bool md_model_streams(const md_model *m);
MD_API size_t md_model_n_notes(const md_model *m);
MD_API const char *md_model_note(const md_model *m, size_t i);

#ifdef __cplusplus
}
#endif
#endif
