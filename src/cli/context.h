/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every measuring verb begins with: the environment that the options name, and a meter in it.
 */
#ifndef EG_CLI_CONTEXT_H
#define EG_CLI_CONTEXT_H

#include "cli/args.h"
#include "cli/wait.h"
#include "core/meter.h"

struct eg_context {
	struct eg_env env;
	struct eg_file_clock *file_clock; /* NULL: the machine's own time */
	struct eg_meter *meter;
};

/* Opens both, or says why not; returns the exit status. */
int eg_context_open(const struct eg_args *args, uint64_t interval_ns,
		    struct eg_context *ret) EG_MUST_CHECK;
void eg_context_close(struct eg_context *ctx);
/* Waits until due_ns, with the guard reads that fall before it. 0: it is due; 1: a signal ends all. */
int eg_context_wait(struct eg_context *ctx, const struct eg_signals *signals,
		    uint64_t due_ns) EG_MUST_CHECK;

#endif
