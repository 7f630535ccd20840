/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keeps a simulated machine going: in real time, or in lock-step with programs that share a clock
 * file, where time passes only while all of them sleep.
 */
#ifndef EG_SIM_RUN_H
#define EG_SIM_RUN_H

#include <stdint.h>

#include "base/util.h"
#include "sim/machine.h"

/* Lock-step machines are born at these times, so that runs can be repeated to the bit. */
#define EG_SIM_BOOT_NS 1000000000000ULL
#define EG_SIM_UNIX_NS 1700001000000000000ULL

struct eg_sim_run {
	struct eg_sim *sim;
	uint64_t t0_ns;
	uint64_t duration_ns; /* of the machine's time; 0 = until stop_fd */
	double speed;	      /* real time only: machine seconds a second */
	int stop_fd;	      /* readable: end (a signalfd) */
};

/* Both return 0 at the end of the duration or when stop_fd has something; else negative errno. */
int eg_sim_run_real(const struct eg_sim_run *run) EG_MUST_CHECK;
/*
 * ready() is called once the clock file is in place. Errors also of the clock file.
 */
int eg_sim_run_clock(const struct eg_sim_run *run, const char *clock_path, int (*ready)(void *ctx),
		     void *ctx) EG_MUST_CHECK;
/* Machine time of a moment of the real clock. */
uint64_t eg_sim_run_now_ns(const struct eg_sim_run *run);

#endif
