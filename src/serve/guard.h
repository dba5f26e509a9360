/* SPDX-License-Identifier: Apache-2.0
 *
 * Who may ask: API keys from a file, names that a Host header may have, kinds of bodies. Loopback is not trusted: any page in a
 * browser can send requests to it. Keys are never printed. */
#ifndef MD_SERVE_GUARD_H
#define MD_SERVE_GUARD_H

#include <medley/error.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MD_KEY_MOST_BYTES 256
#define MD_KEYS_MOST      4096

/* Thread-safe once made. */
typedef struct md_keys {
    pthread_mutex_t lock;
    const char *path;               /* borrowed; NULL: no keys are needed */
    char (*key)[MD_KEY_MOST_BYTES]; /* owned, [n], padded with zeroes */
    size_t n;
} md_keys;

md_status md_keys_init(md_keys *k, const char *path, md_error *err) MD_MUST_USE;
/* Reads the file again. On failure the keys are as they were. */
md_status md_keys_reload(md_keys *k, md_error *err) MD_MUST_USE;
/* Is the file readable by others than its owner and group? */
bool md_keys_exposed(const md_keys *k);
/* 0: refused; otherwise the number of the key, from 1. With no keys needed: -1. given may be NULL. The time this takes does not
 * depend on how much of a key is right. */
int md_keys_find(md_keys *k, const char *given);
/* What stands for a key's holder: "key-" and 32 digits of a hash of it, so that what was kept for one key never becomes another's
 * when the file changes. Not to be shown: with MD_CLIENT_SHOWN bytes it is a name. */
#define MD_CLIENT_BYTES 37
#define MD_CLIENT_SHOWN 10
void md_keys_client(const char *key, char out[MD_CLIENT_BYTES]);
void md_keys_done(md_keys *k);
/* Parses the text of a key file: one key a line, '#' begins a comment line. Owned array, or NULL with an error. */
char (*md_keys_parse(const char *text, size_t n, size_t *count, md_error *err))[MD_KEY_MOST_BYTES];

/* May a Host header say this? host NULL: there was none. allowed: [n] further names, without ports. */
bool md_host_allowed(const char *host, const char *const *allowed, size_t n);
/* Is the type of a body JSON? */
bool md_is_json_type(const char *type);

#endif
