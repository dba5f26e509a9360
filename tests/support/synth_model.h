/* SPDX-License-Identifier: Apache-2.0
 *
 * Models made on the spot: a file in the temporary folder that goes when the program ends. */
#ifndef MD_TEST_SYNTH_MODEL_H
#define MD_TEST_SYNTH_MODEL_H

#include "support/fixtures.h"

#include <medley/engine.h>
#include <medley/unstable/synth.h>
#include <string.h>

/* Fails the test with the library's sentence. */
#define OK(call)                                        \
    do {                                                \
        md_error ok_err_ = {0}, *err = &ok_err_;        \
        if ((call) != MD_OK)                            \
            fail_msg("%s: %s", #call, ok_err_.message); \
    } while (0)

/* A path for a file of this test; the name is the caller's, the folder the system's. */
static inline const char *temp_path(const char *name)
{
    static char path[512];
    const char *dir = getenv("TMPDIR");
    snprintf(path, sizeof path, "%s/medley-test-%ld-%s", dir && dir[0] ? dir : "/tmp", (long)getpid(), name);
    return path;
}

static inline md_model *open_synth(const md_synth_spec *spec)
{
    const char *path = temp_path("synth.gguf");
    OK(md_synth_write(spec, path, err));
    md_model *m = NULL;
    md_error e = {0};
    const md_status status = md_model_open(path, NULL, &m, &e);
    unlink(path); /* the map keeps the file alive */
    if (status != MD_OK)
        fail_msg("opening a '%s' model: %s", spec->arch, e.message);
    return m;
}

/* Random tokens that do not depend on a library. */
static inline void fill_tokens(int32_t *token, int n, int32_t n_vocab, uint32_t seed)
{
    uint32_t x = seed * 2654435761u + 12345u;
    for (int i = 0; i < n; i++) {
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        token[i] = (int32_t)(x % (uint32_t)n_vocab);
    }
}

#endif
