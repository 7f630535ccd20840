/* SPDX-License-Identifier: Apache-2.0 */
/* A context: one machine's sensors, opened. */
#ifndef ERGON_CONTEXT_H
#define ERGON_CONTEXT_H

#include <ergon/version.h>

ERGON_BEGIN

/** An open machine. Opaque. */
typedef struct ergon_context ergon_context;

/**
 * Options of ergon_open(). Start from ERGON_OPTIONS_INIT, so that options added later have their
 * defaults; `size` says which the caller knew.
 */
struct ergon_options {
	size_t size;
	/** Directory that holds sys/, proc/ and so on as under "/"; nothing outside it is read.
	 *  NULL: this machine. */
	const char *root;
	/** Drivers and channels to use, as `ergon run --select`; NULL: all. */
	const char *select;
	/** Backend: "auto" (NULL), "native", a driver's name, or "null"; see ergon/backend.h. */
	const char *backend;
	/** Sampling interval of interfaces that have no energy counter, ns; 0: one second. */
	uint64_t interval_ns;
	/** Not 0: the CPU power model may be used; its values say "estimated". */
	int allow_estimates;
};
#define ERGON_OPTIONS_INIT                                           \
	{                                                            \
		sizeof(struct ergon_options), NULL, NULL, NULL, 0, 0 \
	}

/**
 * Opens the sensors of a machine. A machine without any sensor is a valid context without channels:
 * ergon_diagnostics() says why for each interface.
 *
 * options: NULL for the defaults; copied.
 * ret: the context; ergon_close() it.
 * Errors: -ENOENT, -ENOTDIR, -EACCES (root), -EINVAL (selection, or unknown backend), -ENODEV (a
 * backend was named that cannot measure here), -ENOMEM.
 * Threads and blocking: any; up to 5 s where a driver hangs, milliseconds else. Starts one thread,
 * with all signals blocked, only if a channel must be sampled, and one for each driver that may
 * block.
 * Since: 0.1.
 */
ERGON_API int ergon_open(const struct ergon_options *options, ergon_context **ret) ERGON_MUST_CHECK;

/**
 * Closes it, with its windows. Trackings and validations are stopped before. Takes NULL. In a forked child it releases nothing.
 * Threads and blocking: no other call on this context may be running; ends its threads.
 * Since: 0.1.
 */
ERGON_API void ergon_close(ergon_context *ctx);

ERGON_END

#endif
