/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one sampler of `energy-monitor`: a thread that opens the sensors, finds out which platform this is,
 * and makes a reading each interval, whoever streams. What it makes waits in a bounded queue for the loop;
 * a sensor that hangs delays nobody but itself.
 */
#ifndef EG_MONITOR_SAMPLER_H
#define EG_MONITOR_SAMPLER_H

#include "monitor/encode.h"
#include "monitor/program.h"

#define EG_SAMPLER_QUEUE 64 /* readings that wait for the loop; more: the oldest is dropped */

struct eg_sampler;

struct eg_sampler_state {
	bool known; /* the platform has been found out */
	bool healthy;
	const char *platform;
	int failed; /* exit status where no meter could be had; why: */
	char why[192];
	uint64_t readings, missed; /* ticks that were late by a whole interval */
};

/* env and start are borrowed; steered NULL: the machine's own time. */
int eg_sampler_start(const struct eg_monitor_start *start, const struct eg_env *env,
		     struct eg_file_clock *steered, struct eg_sampler **ret) EG_MUST_CHECK;
int eg_sampler_fd(const struct eg_sampler *s); /* readable: look at state, then take */
void eg_sampler_state(struct eg_sampler *s, struct eg_sampler_state *ret);
/* The oldest reading that waits: its length, 0: none. Clears the descriptor once none is left. */
size_t eg_sampler_take(struct eg_sampler *s, uint8_t ret[EG_READING_BYTES_MAX]);
/*
 * Ends the thread and closes the sensors, within timeout_ns of real time. False: one hangs; sampler and
 * env must be left behind. Takes NULL.
 */
bool eg_sampler_stop(struct eg_sampler *s, uint64_t timeout_ns);

#endif
