/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one injected environment: everything outside comes through it (design rule 10). So the
 * shipped binary runs unchanged on real hardware, on a captured machine and on the simulated one.
 */
#ifndef EG_BASE_ENV_H
#define EG_BASE_ENV_H

#include "base/clock.h"
#include "base/fs.h"
#include "base/loader.h"
#include "base/util.h"

struct eg_env {
	struct eg_fs fs;
	struct eg_clock clock;
	struct eg_loader loader;
	/*
	 * Opens a counter of a perf PMU system-wide on one CPU; the descriptor reads one u64.
	 * On the machine: perf_event_open(2). With another root: the 8-byte file
	 * dev/ergon-perf/PMU/CONFIG-CPU (lower-case hex, decimal) stands for the counter.
	 * pmu: name below /sys/bus/event_source/devices. Errors as perf_event_open.
	 */
	int (*perf_open)(const struct eg_env *env, const char *pmu, uint32_t type, uint64_t config,
			 int cpu);
	/* Absolute or relative path of the root as the user gave it ("/" for the machine), to
	 * start programs below it and to print. Owned by the environment. */
	char *root;
};

/* root NULL = "/"; Errors as eg_fs_open_root, ENOMEM. */
int eg_env_open(struct eg_env *env, const char *root) EG_MUST_CHECK;
void eg_env_close(struct eg_env *env);

#endif
