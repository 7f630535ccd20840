/* SPDX-License-Identifier: Apache-2.0 */
/* Version of the library, and the two macros every header of it uses. */
#ifndef ERGON_VERSION_H
#define ERGON_VERSION_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
#define ERGON_BEGIN extern "C" {
#define ERGON_END   }
#else
#define ERGON_BEGIN
#define ERGON_END
#endif

#if defined(__GNUC__)
#define ERGON_API	 __attribute__((visibility("default")))
#define ERGON_MUST_CHECK __attribute__((warn_unused_result))
#else
#define ERGON_API
#define ERGON_MUST_CHECK
#endif

#define ERGON_VERSION_MAJOR 0
#define ERGON_VERSION_MINOR 3
#define ERGON_VERSION_PATCH 0

ERGON_BEGIN

/**
 * The version of the library that runs, as "0.2.0"; it may be newer than the headers.
 * Owner: static. Threads: any, does not block. Since: 0.1.
 */
ERGON_API const char *ergon_version(void);

/**
 * Words for a negative errno of this library ("Permission denied").
 * Owner: static. Threads: any, does not block. Since: 0.1.
 */
ERGON_API const char *ergon_error_text(int error);

ERGON_END

#endif
