/* SPDX-License-Identifier: Apache-2.0
 *
 * Files that are part of the program: what lies in web/, turned into C by tools/make-assets.py when it is built. */
#ifndef MD_SERVE_ASSETS_H
#define MD_SERVE_ASSETS_H

#include <stddef.h>

typedef struct md_asset {
    const char *name; /* "index.html" */
    const char *type; /* "text/html; charset=utf-8" */
    const unsigned char *bytes;
    size_t n;
} md_asset;
extern const md_asset md_assets[]; /* [md_n_assets] */
extern const size_t md_n_assets;

#endif
