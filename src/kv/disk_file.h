/* SPDX-License-Identifier: Apache-2.0
 *
 * One file of the folder (docs/format.md, kept pages): how it is made in memory, and how it is read, with every field checked
 * against what is asked for before anything is done with it. */
#ifndef MD_KV_DISK_FILE_H
#define MD_KV_DISK_FILE_H

#include "kv/prefix.h"

#define MD_KV_FILE_HEADER 344u

typedef struct md_kv_file_shape {
    size_t page_bytes, state_bytes; /* state_bytes: of a state, where there may be one */
} md_kv_file_shape;

/* Bytes of a file with or without a state. */
size_t md_kv_file_bytes(const md_kv_file_shape *shape, bool state);
/* Puts the file into out, but for the checksums, which md_kv_file_seal adds later. state or NULL. Its bytes. */
size_t md_kv_file_make(const md_kv_file_shape *shape, const unsigned char key[MD_KV_KEY_BYTES],
                       const int32_t token[MD_TILE], const unsigned char *page, const float *state, unsigned char *out);
void md_kv_file_seal(unsigned char *file);
void md_kv_file_key(const unsigned char *file, unsigned char key[MD_KV_KEY_BYTES]); /* of one that was made */
/* Reads page and state, those that are not NULL, from an open file. False if it is not exactly the file of this key, these tokens
 * and this shape (a state is needed only if it is asked for), or cannot be read. */
bool md_kv_file_read(int fd, const md_kv_file_shape *shape, const unsigned char key[MD_KV_KEY_BYTES],
                     const int32_t token[MD_TILE], unsigned char *page, float *state);

#endif
