/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The program `energy-monitor`: listens first, looks for sensors after, and streams readings until it is
 * told to stop.
 */
#ifndef EG_MONITOR_PROGRAM_H
#define EG_MONITOR_PROGRAM_H

#include "base/log.h"
#include "core/driver.h"

#define EG_MONITOR_INTERVAL_MS 50 /* unless the user says otherwise */

struct eg_monitor_start {
	const char *bind_address; /* of IPv4 or IPv6, with or without brackets, or a host name */
	uint16_t port;
	uint64_t interval_ns;
	bool interval_given;
	const char *gpus, *visible; /* --gpus; CUDA_VISIBLE_DEVICES; NULL: not set */
	bool cpu_as_primary, allow_estimates;
	enum eg_log_level log_level;
	const char *root, *clock;	   /* NULL: this machine, its time */
	const struct eg_setting *settings; /* of --set */
	size_t n_settings;
};

/*
 * Runs until SIGTERM or SIGINT; the exit status: 0 stopped in order, 1 something cannot be had, 2 a
 * value that makes no sense. Takes over the process: signals, standard error (the log).
 */
int eg_monitor_run(const struct eg_monitor_start *start) EG_MUST_CHECK;

#endif
