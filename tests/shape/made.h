/* SPDX-License-Identifier: Apache-2.0
 *
 * Random models on their way to a test: made in its folder, opened, looked into. */
#ifndef MD_TEST_SHAPE_MADE_H
#define MD_TEST_SHAPE_MADE_H

#include "support/ok.h"
#include "support/scratch.h"

#include "format/gguf.h"
#include <medley/unstable/synth.h>

static md_gguf *make(void **state, const md_synth_spec *spec)
{
    const char *path = scratch_path(*state, "x.gguf");
    md_gguf *g;
    OK(md_synth_write(spec, path, &err));
    OK(md_gguf_open(path, MD_GGUF_MAP, &g, &err));
    return g;
}

static const md_gguf_tensor *tensor(const md_gguf *g, const char *name)
{
    const md_gguf_tensor *t = md_gguf_find_tensor(g, name);
    if (!t)
        fail_msg("tensor %s is missing", name);
    return t;
}

#endif
