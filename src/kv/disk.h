/* SPDX-License-Identifier: Apache-2.0
 *
 * Pages in a folder of files, one a page, found by keys of 32 bytes that stand for all that a page depends on. The folder
 * must be the user's own and closed to everybody else, and one process has it at a time. Files are written aside and renamed
 * by a thread of its own from a bounded queue; when they exceed the limit, those not used for the longest time go. A file is
 * believed only if its name, key, tokens, sizes and checksums are what is asked for; one that is damaged is removed.
 * put, get and has belong to one thread, and never wait for the disk but for get, which reads. */
#ifndef MD_KV_DISK_H
#define MD_KV_DISK_H

#include "kv/kv.h"
#include "kv/prefix.h"

typedef struct md_kv_disk md_kv_disk;

typedef struct md_kv_disk_args {
    const char *folder;             /* made if it is not there; borrowed during the call */
    int64_t bytes;                  /* most bytes of all files */
    size_t page_bytes, state_bytes; /* of pages and of states that may go with them; state_bytes 0: none do */
} md_kv_disk_args;

/* Bytes of the queue, unless two pages take more. */
#define MD_KV_DISK_QUEUE ((size_t)64 << 20)
/* Finds what is there, by names and sizes; removes what is over the limit or was left half-written. */
md_status md_kv_disk_open(const md_kv_disk_args *args, md_kv_disk **out, md_error *err) MD_MUST_USE;
void md_kv_disk_close(md_kv_disk *d); /* writes what is queued first; NULL allowed */

/* Is there a file for the key? *state: one with a state. */
bool md_kv_disk_has(md_kv_disk *d, const unsigned char key[MD_KV_KEY_BYTES], bool *state);
/* It counts as used just now, if it is there. */
void md_kv_disk_touch(md_kv_disk *d, const unsigned char key[MD_KV_KEY_BYTES]);
/* Queues a page, and a state or NULL; both are copied. False, with nothing done, if the queue is full, unless wait is set. */
bool md_kv_disk_put(md_kv_disk *d, const unsigned char key[MD_KV_KEY_BYTES], const int32_t token[MD_TILE],
                    const unsigned char *page, const float *state, bool wait);
/* Reads page and state, those that are not NULL. False if there are none to be had; what they point to may have changed. */
bool md_kv_disk_get(md_kv_disk *d, const unsigned char key[MD_KV_KEY_BYTES], const int32_t token[MD_TILE],
                    unsigned char *page, float *state);

int32_t md_kv_disk_most(const md_kv_disk *d); /* pages that the folder has room for */
uint64_t md_kv_disk_saved(md_kv_disk *d);     /* files written so far */
uint64_t md_kv_disk_used(md_kv_disk *d);      /* bytes of files, rounded up to blocks of 4096 each */

#endif
