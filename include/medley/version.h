/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MEDLEY_VERSION_H
#define MEDLEY_VERSION_H

#include <medley/export.h>

#define MD_VERSION_MAJOR 0
#define MD_VERSION_MINOR 1
#define MD_VERSION_PATCH 0

/* "0.1.0": the version of the library in use, which may differ from the header's. Static. */
MD_API const char *md_version(void);

#endif
