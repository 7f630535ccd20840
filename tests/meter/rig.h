/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A driver for tests of the meter: channels that follow closed-form power functions on a clock moved
 * by hand, quantised and latched as hardware does it, with a gain error, failures and hangs on
 * demand. So every joule the meter says has a truth to stand beside.
 */
#ifndef TEST_METER_RIG_H
#define TEST_METER_RIG_H

#include <pthread.h>
#include <stdatomic.h>

#include "core/meter.h"
#include "sim/power.h"

#define RIG_CHANNELS 8
#define SECOND	     1000000000ULL
#define RIG_T0	     (1000 * SECOND)

struct rig_channel {
	struct eg_channel ch;
	struct eg_power power;
	double gain;	    /* what the meter shows / the truth */
	uint64_t offset;    /* of the counter at RIG_T0, raw units */
	uint64_t phase_ns;  /* of its refreshes */
	uint64_t lag_ns;    /* its readings are so old when they come */
	atomic_bool absent; /* reads give NO_DATA */
	double bad_value;   /* gauge: not 0: shown instead (NaN, negative) */
	uint32_t epoch;
};

struct rig {
	struct eg_manual_clock clock;
	struct eg_env env;
	struct rig_channel c[RIG_CHANNELS];
	size_t n;
	struct eg_channel described[RIG_CHANNELS];
	struct eg_driver driver;
	const struct eg_driver *drivers[4];
	struct eg_meter *meter;
	atomic_uint reads, opened;
	atomic_int hang; /* read() does not end while it is set */
	long slow_ns;	 /* read() takes so long */
	atomic_int hang_open;
	uint32_t flags;
	double celsius;
};

/* Sets up an empty rig; channels are added before rig_open. There is one rig at a time. */
struct rig *rig_new(void);
struct rig_channel *rig_counter(struct rig *r, const char *domain, const char *device,
				enum eg_component component, const char *power);
struct rig_channel *rig_gauge(struct rig *r, const char *domain, const char *device,
			      enum eg_component component, const char *power);
void rig_open(struct rig *r, const struct eg_meter_config *cfg);
/* Moves time to t (from RIG_T0), sampling every step on the way; no sample at t itself. */
void rig_run(struct rig *r, uint64_t until_ns, uint64_t step_ns);
void rig_at(struct rig *r, uint64_t t_ns);
/* True energy of a channel, microjoules, times from RIG_T0. */
double rig_truth_uj(const struct rig *r, size_t channel, uint64_t t0_ns, uint64_t t1_ns);
void rig_free(struct rig *r);

#endif
