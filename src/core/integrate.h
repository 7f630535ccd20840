/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Power to energy, for interfaces without a counter: trapezoid in integers with carried remainder.
 * Rules: contracts/energy-accounting.md Part 1 (E7-E13) with the decisions of its Part 2.
 *
 *  - gap <= limit: trapezoid. Longer: the last reading is held, at most hold_max, into the
 *    estimated account; the rest is a reported gap. limit = max(setting, two sampling intervals).
 *  - a reading that is no power (NaN, negative, infinite) or above the channel's ceiling: 0 J for
 *    both intervals that touch it, and their time is a gap.
 *  - the same time: the value replaces the last one, 0 J. Older: ignored.
 *  - over a suspend, and from one epoch of the readings to the next (a battery that was not
 *    discharging in between), nothing is interpolated or held: a gap.
 */
#ifndef EG_CORE_INTEGRATE_H
#define EG_CORE_INTEGRATE_H

#include "base/util.h"
#include "core/channel.h"

struct eg_integrate_config {
	uint64_t gap_ns;      /* gap_interpolate_seconds; 1..3600 s, default 10 s */
	uint64_t hold_max_ns; /* default 60 s */
	uint64_t interval_ns; /* of sampling; 0 unknown */
};
#define EG_INTEGRATE_DEFAULTS \
	((struct eg_integrate_config){.gap_ns = 10000000000ULL, .hold_max_ns = 60000000000ULL})

struct eg_integrator {
	uint64_t uw, t_ns, awake_ns;
	uint32_t epoch;
	bool started, bad;
	uint64_t rem, est_rem; /* carried, of the two accounts: numerators over 2e9 */
};

enum eg_integrate_event {
	EG_INTEGRATE_FIRST,
	EG_INTEGRATE_STEP,
	EG_INTEGRATE_HELD,     /* est_uj set; gap_ns is what lies beyond hold_max */
	EG_INTEGRATE_BAD,      /* this reading or the one before is no power */
	EG_INTEGRATE_CEILING,  /* this reading is above max_uw (treated as bad) */
	EG_INTEGRATE_REPLACED, /* same time */
	EG_INTEGRATE_OLD,
	EG_INTEGRATE_SUSPEND,
	EG_INTEGRATE_EPOCH,
};

struct eg_integrate_step {
	enum eg_integrate_event event;
	uint64_t uj, est_uj, dt_ns, gap_ns;
	uint64_t prev_uw, uw; /* end points used; equal to the reading where there is none before */
};

/* reading: status OK, or status ERROR with bad set. raw is in the channel's unit. */
struct eg_integrate_step eg_integrate_update(struct eg_integrator *it, const struct eg_channel *ch,
					     const struct eg_integrate_config *cfg,
					     const struct eg_reading *reading, uint64_t awake_ns);

/* -EINVAL with *ret_why set (static text) for values outside their ranges. */
int eg_integrate_config_check(const struct eg_integrate_config *cfg,
			      const char **ret_why) EG_MUST_CHECK;

/*
 * Floating point from an interface (watts, x1e6 = microwatts, ...) into a gauge reading: fills raw
 * = value * scale rounded, status and bad. NaN, negative, infinite and > 2^63 are bad.
 */
void eg_reading_from_double(struct eg_reading *r, double value, double scale);

#endif
