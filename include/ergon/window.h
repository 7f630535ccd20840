/* SPDX-License-Identifier: Apache-2.0 */
/* Windows: named intervals, and what was used in them. */
#ifndef ERGON_WINDOW_H
#define ERGON_WINDOW_H

#include <ergon/context.h>

ERGON_BEGIN

/** A running window. Opaque; belongs to its context and lives until the window ends. */
typedef struct ergon_window ergon_window;
/** What a window measured. Opaque, immutable. */
typedef struct ergon_result ergon_result;

/**
 * Begins a window: reads every channel, then notes the totals. Windows nest and overlap freely.
 *
 * name: 1 to 127 bytes, not in use by a running window. ret: the window; may be NULL.
 * Errors: -EEXIST it runs, -EINVAL empty, -ENAMETOOLONG, -ENOSPC more than 4096 run, -ENOMEM,
 * -ESTALE.
 * Threads and blocking: any; microseconds for counters in files, at most 1 s where a driver hangs.
 * Since: 0.1.
 */
ERGON_API int ergon_window_begin(ergon_context *ctx, const char *name, ergon_window **ret);
/**
 * Ends it: reads every channel again and gives the difference. The ergon_window is gone then.
 * Errors: -ENOENT no running window of that name, -ENOMEM (it goes on then), -ESTALE.
 * Owner: free with ergon_result_free(). Blocking: as ergon_window_begin(). Since: 0.1.
 */
ERGON_API int ergon_window_end(ergon_context *ctx, const char *name,
			       ergon_result **ret) ERGON_MUST_CHECK;
/**
 * Ends one window and begins another on the same reading, so that windows back to back sum to the
 * enclosing one exactly. Errors: of both; nothing has changed then. Since: 0.1.
 */
ERGON_API int ergon_window_next(ergon_context *ctx, const char *name, const char *next,
				ergon_result **ret) ERGON_MUST_CHECK;
/** Forgets a window without a result. Errors: -ENOENT, -ESTALE. Since: 0.1. */
ERGON_API int ergon_window_cancel(ergon_context *ctx, const char *name);
/** Finds a running window. Errors: -ENOENT, -ESTALE. Since: 0.1. */
ERGON_API int ergon_window_find(ergon_context *ctx, const char *name,
				ergon_window **ret) ERGON_MUST_CHECK;
/** The value so far; the window goes on. Errors and owner as ergon_window_end(). Since: 0.1. */
ERGON_API int ergon_window_peek(ergon_window *window, ergon_result **ret) ERGON_MUST_CHECK;
/**
 * Adds work done inside the window, as (w, "records", 1000); the result tells joules per unit.
 * unit: 1 to 31 bytes, at most 8 kinds a window.
 * Errors: -EINVAL, -ENAMETOOLONG, -ENOSPC, -EOVERFLOW (nothing is added then), -ESTALE.
 * Threads: any, does not block. Since: 0.1.
 */
ERGON_API int ergon_window_add_units(ergon_window *window, const char *unit, uint64_t count);

/**
 * What the machine used since the context was opened. Never falls, in total and for each channel: the
 * total keeps to the channels that made it at open, and says gap while one of them is away.
 * As ergon_window_end(). Since: 0.1.
 */
ERGON_API int ergon_totals(ergon_context *ctx, ergon_result **ret) ERGON_MUST_CHECK;

/** Takes NULL. Since: 0.1. */
ERGON_API void ergon_result_free(ergon_result *r);
/** Length of the window, ns. Since: 0.1. */
ERGON_API uint64_t ergon_result_get_duration_ns(const ergon_result *r);
/** Begin and end in Unix time, ns. Since: 0.1. */
ERGON_API uint64_t ergon_result_get_begin_unix_ns(const ergon_result *r);
ERGON_API uint64_t ergon_result_get_end_unix_ns(const ergon_result *r);
/** Was anything measured? Without, the getters of the total answer 0 and mean nothing. Since: 0.1. */
ERGON_API int ergon_result_has_total(const ergon_result *r);
/** Energy of the channels that make the total, microjoules, held energy included. Since: 0.1. */
ERGON_API uint64_t ergon_result_get_total_uj(const ergon_result *r);
/** The held part of it. Since: 0.1. */
ERGON_API uint64_t ergon_result_get_total_estimated_uj(const ergon_result *r);
/** Half-width of the 95 % interval of the total, microjoules; reported gaps are not in it. */
ERGON_API uint64_t ergon_result_get_total_uncertainty_uj(const ergon_result *r);
/** The weakest provenance in the total. Since: 0.1. */
ERGON_API const char *ergon_result_get_total_provenance(const ergon_result *r);
/** Mean power of the total, microwatts; -ENODATA unknown. Since: 0.1. */
ERGON_API int ergon_result_get_mean_uw(const ergon_result *r, uint64_t *ret_uw);
/** Flag `index` of the window ("gap", "reset", "short_measurement_duration", ...), NULL at the end.
 *  Since: 0.1. */
ERGON_API const char *ergon_result_get_flag(const ergon_result *r, size_t index);
/** Work added to the window under that name; -ENOENT none. Since: 0.1. */
ERGON_API int ergon_result_get_units(const ergon_result *r, const char *unit, uint64_t *ret_count);
/** Microjoules of the total for each unit of that work; -ENOENT no such work or none done,
 *  -ENODATA no total. Since: 0.1. */
ERGON_API int ergon_result_get_uj_per_unit(const ergon_result *r, const char *unit, double *ret_uj);

/** Channels in the result, in the order of ergon_channels(). Since: 0.1. */
ERGON_API size_t ergon_result_get_channel_count(const ergon_result *r);
/** Name of channel `index`. The getters below take an index below the count. Since: 0.1. */
ERGON_API const char *ergon_result_get_channel_name(const ergon_result *r, size_t index);
ERGON_API const char *ergon_result_get_channel_component(const ergon_result *r, size_t index);
ERGON_API const char *ergon_result_get_channel_source(const ergon_result *r, size_t index);
ERGON_API const char *ergon_result_get_channel_boundary(const ergon_result *r, size_t index);
/** "total", "part", "crosscheck", "other" or "unusable": only "total" ones are in the total. */
ERGON_API const char *ergon_result_get_channel_role(const ergon_result *r, size_t index);
/** The weakest provenance in the channel's energy. Since: 0.1. */
ERGON_API const char *ergon_result_get_channel_provenance(const ergon_result *r, size_t index);
/** Energy without held energy, microjoules; -ENODATA when it was not measured. Since: 0.1. */
ERGON_API int ergon_result_get_channel_uj(const ergon_result *r, size_t index, uint64_t *ret_uj);
ERGON_API uint64_t ergon_result_get_channel_estimated_uj(const ergon_result *r, size_t index);
ERGON_API uint64_t ergon_result_get_channel_uncertainty_uj(const ergon_result *r, size_t index);
/** Time inside the window whose energy is not known, ns. Since: 0.1. */
ERGON_API uint64_t ergon_result_get_channel_gap_ns(const ergon_result *r, size_t index);
/** Good readings inside the window. Since: 0.1. */
ERGON_API uint64_t ergon_result_get_channel_samples(const ergon_result *r, size_t index);
/** Flag `flag` of channel `index`, NULL at the end. Since: 0.1. */
ERGON_API const char *ergon_result_get_channel_flag(const ergon_result *r, size_t index,
						    size_t flag);

ERGON_END

#endif
