/* SPDX-License-Identifier: Apache-2.0 */
/* Diagnostics: what could not be measured, why, and what helps. */
#ifndef ERGON_DIAGNOSTIC_H
#define ERGON_DIAGNOSTIC_H

#include <ergon/context.h>

ERGON_BEGIN

/** Diagnostics as they were when asked for. Opaque, immutable. */
typedef struct ergon_diagnostic_list ergon_diagnostic_list;
/** One of them. Opaque, borrowed from its list. */
typedef struct ergon_diagnostic ergon_diagnostic;

/**
 * Everything the context has to say so far.
 * Errors: -ENOMEM, -ESTALE. Owner: free with ergon_diagnostic_list_free().
 * Threads: any, does not block. Since: 0.1.
 */
ERGON_API int ergon_diagnostics(ergon_context *ctx, ergon_diagnostic_list **ret) ERGON_MUST_CHECK;
/** Since: 0.1. */
ERGON_API size_t ergon_diagnostic_list_get_size(const ergon_diagnostic_list *list);
/** Diagnostic `index`, or NULL outside the list. Since: 0.1. */
ERGON_API const ergon_diagnostic *ergon_diagnostic_list_get(const ergon_diagnostic_list *list,
							    size_t index);
/** Takes NULL. Since: 0.1. */
ERGON_API void ergon_diagnostic_list_free(ergon_diagnostic_list *list);

/** "sensor_absent", "sensor_blocked", "sensor_unsupported", "sensor_error", "sensor_timeout", ...
 *  (docs/json.md lists them all). Since: 0.1. */
ERGON_API const char *ergon_diagnostic_get_code(const ergon_diagnostic *d);
/** The driver that says it. Since: 0.1. */
ERGON_API const char *ergon_diagnostic_get_driver(const ergon_diagnostic *d);
/** The channel, file or library it is about; "" for the driver as a whole. Since: 0.1. */
ERGON_API const char *ergon_diagnostic_get_subject(const ergon_diagnostic *d);
/** One sentence. Since: 0.1. */
ERGON_API const char *ergon_diagnostic_get_detail(const ergon_diagnostic *d);
/** What helps; "" where nothing does. Since: 0.1. */
ERGON_API const char *ergon_diagnostic_get_cure(const ergon_diagnostic *d);
/** How often it happened. Since: 0.1. */
ERGON_API uint64_t ergon_diagnostic_get_count(const ergon_diagnostic *d);

ERGON_END

#endif
