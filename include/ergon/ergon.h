/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libergon: how many joules, measured how. Include this one.
 *
 *	ergon_context *ctx;
 *	ergon_result *result;
 *
 *	if (ergon_open(NULL, &ctx) < 0) ...
 *	ergon_window_begin(ctx, "train", NULL);
 *	work();
 *	ergon_window_end(ctx, "train", &result);
 *	if (ergon_result_has_total(result))
 *		printf("%.3f J\n", ergon_result_get_total_uj(result) / 1e6);
 *	ergon_result_free(result);
 *	ergon_close(ctx);
 *
 * Conventions of every call, unless its own text says otherwise:
 *  - returns 0 or a count on success and a negative errno on failure; outputs named ret_* are left
 *    untouched on failure. ergon_error_text() gives words.
 *  - energy is in integer microjoules, power in microwatts, time in nanoseconds.
 *  - what is absent has no value: a getter answers -ENODATA, never 0.
 *  - an object from a ret_ parameter is the caller's, and its _free or _close takes NULL. Strings and
 *    objects from a _get_ call are borrowed from the object they were got from.
 *  - calls on one context may come from any thread at any time. Objects that a call returned
 *    (lists, results) are immutable and may be read by any number of threads.
 *  - after fork() the child's context answers -ESTALE to every call; open a new one there.
 *  - the library prints nothing, changes no signal, locale or environment, and writes to no sensor.
 */
#ifndef ERGON_ERGON_H
#define ERGON_ERGON_H

#include <ergon/backend.h>
#include <ergon/channel.h>
#include <ergon/context.h>
#include <ergon/diagnostic.h>
#include <ergon/page.h>
#include <ergon/page_window.h>
#include <ergon/version.h>
#include <ergon/window.h>

#endif
