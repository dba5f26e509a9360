/* SPDX-License-Identifier: Apache-2.0
 *
 * Errors are values. A function that can fail returns an md_status (or a pointer, NULL on failure) and takes an
 * `md_error *` last, which may be NULL. On failure out-pointers are NULL and the state of every argument is as it was
 * before the call. The library never prints, exits or aborts on input. */
#ifndef MEDLEY_ERROR_H
#define MEDLEY_ERROR_H

#include <medley/export.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum md_status {
    MD_OK = 0,
    MD_ERR_ARGUMENT,    /* the caller asked for something that makes no sense: fix the call */
    MD_ERR_IO,          /* the system refused to read or write */
    MD_ERR_FORMAT,      /* a file, prompt or template is malformed */
    MD_ERR_UNSUPPORTED, /* well formed, but not something this build can do */
    MD_ERR_MEMORY,      /* memory could not be had */
    MD_ERR_LIMIT,       /* a stated limit was reached: context, batch, steps, output size */
    MD_ERR_CANCELLED,   /* a callback asked to stop */
    MD_ERR_INTERNAL,    /* a fault of our own */
    MD_ERR_BUSY,        /* too much waits already: ask again later */
} md_status;

typedef struct md_error {
    md_status code;
    char message[496]; /* one sentence: what, where, what to do; UTF-8, NUL-terminated, no newline */
} md_error;

/* Short lower-case name of a status, "ok" for MD_OK. Never NULL. Thread-safe. */
MD_API const char *md_status_name(md_status s);

#ifdef __cplusplus
}
#endif
#endif
