/* SPDX-License-Identifier: Apache-2.0
 *
 * How fallible functions are written: `MD_TRY(f(...))` passes a failure on, `MD_FAIL_IF(cond, code, fmt...)` makes one,
 * both through a local `md_error *err`. Functions that own something use one `fail:` label instead. */
#ifndef MD_BASE_STATUS_H
#define MD_BASE_STATUS_H

#include <medley/error.h>
#include <stdarg.h>

/* Fills err (may be NULL) and returns code, so that `return md_fail(...)` reads naturally. Control characters that came
 * in with the arguments (file names, tensor names, tokens) are replaced, so that one error is one line. */
md_status md_fail(md_error *err, md_status code, const char *fmt, ...) MD_PRINTF(3, 4);
/* Puts "context: " in front of the message that err already holds; returns its code. */
md_status md_fail_within(md_error *err, md_status code, const char *fmt, ...) MD_PRINTF(3, 4);
/* Both give back `code` itself, so that compilers and analysers see that it is not MD_OK. */
static inline md_status md_second(md_status first, md_status second)
{
    (void)first;
    return second;
}
#define md_fail(err, code, ...)        md_second((md_fail)((err), (code), __VA_ARGS__), (code))
#define md_fail_within(err, code, ...) md_second((md_fail_within)((err), (code), __VA_ARGS__), (code))

/* MD_ERR_MEMORY with the one sentence that goes with it. */
static inline md_status md_fail_memory(md_error *err, const char *what)
{
    return md_fail(err, MD_ERR_MEMORY, "out of memory for %s", what);
}

#define MD_TRY(x)                             \
    do {                                      \
        const md_status md_try_status_ = (x); \
        if (md_try_status_ != MD_OK)          \
            return md_try_status_;            \
    } while (0)

#define MD_FAIL_IF(cond, code, ...)                   \
    do {                                              \
        if (cond)                                     \
            return md_fail(err, (code), __VA_ARGS__); \
    } while (0)

/* The form for functions with something to give back: sets `status` and jumps to `fail`. */
#define MD_TRY_GOTO(x)       \
    do {                     \
        status = (x);        \
        if (status != MD_OK) \
            goto fail;       \
    } while (0)

#endif
