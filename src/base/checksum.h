/* SPDX-License-Identifier: Apache-2.0
 *
 * XXH64 (the published xxHash specification, version 0.1.1): finds damage, not malice. Bytes may come in pieces of any
 * size; the result depends on the bytes alone. */
#ifndef MD_BASE_CHECKSUM_H
#define MD_BASE_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

typedef struct md_checksum {
    uint64_t lane[4];
    uint64_t total;
    unsigned char rest[32]; /* bytes that do not fill a stripe yet: total % 32 of them */
} md_checksum;

void md_checksum_init(md_checksum *c);
void md_checksum_add(md_checksum *c, const void *bytes, size_t n);
uint64_t md_checksum_value(const md_checksum *c);

#endif
