/* SPDX-License-Identifier: Apache-2.0
 *
 * Marks of the public interface: what the shared library exports, and what a caller must look at. */
#ifndef MEDLEY_EXPORT_H
#define MEDLEY_EXPORT_H

#if defined(__GNUC__)
#define MD_API               __attribute__((visibility("default")))
#define MD_MUST_USE          __attribute__((warn_unused_result))
#define MD_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#else
#define MD_API
#define MD_MUST_USE
#define MD_PRINTF(fmt, args)
#endif

#endif
