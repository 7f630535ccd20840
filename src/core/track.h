/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The running state of one channel: its counter or integrator, totals that never fall, and what
 * windows need for uncertainty and flags. Fed one reading at a time; allocates nothing.
 */
#ifndef EG_CORE_TRACK_H
#define EG_CORE_TRACK_H

#include "core/counter.h"
#include "core/diag.h"
#include "core/driver.h"
#include "core/integrate.h"

struct eg_track {
	const struct eg_channel *ch;
	const struct eg_driver *driver;
	unsigned rank;	 /* order of the driver: lower wins within an account */
	int32_t part_of; /* index among the meter's tracks, or -1 */
	struct eg_counter counter;
	struct eg_integrator integrator;

	/*
	 * Taken up from an earlier process (eg_track_resume), until the first good reading: what
	 * the counter says was used meanwhile, or else how long nobody looked.
	 */
	bool resumes, resumes_counter;
	int64_t away_from_ns;  /* on the interval clock; before its zero: in an earlier boot */
	uint64_t recovered_uj; /* not in uj */
	uint64_t away_ns;      /* time unknown before the first reading; not in gap_ns */

	/* Totals since open; never fall. */
	uint64_t uj, est_uj, gap_ns;
	uint64_t samples, bad, wraps, resets, gaps, held, suspends, ceilings, failed;
	uint64_t longest_dt_ns; /* between two good readings; windows reset it as they look */
	double p2s;		/* sum of W^2 s */
	uint64_t p_ns;		/* time behind it */
	/*
	 * How the samples of a gauge differ: sums of (step x dt)^2 in J^2, and of the squared
	 * differences to the last and to the last but one, in W^2, with their numbers.
	 */
	double step2_j2, d1_w2, d2_w2;
	uint64_t n_d1, n_d2;
	uint64_t before_uw; /* the last but one */
	bool have_before;

	/* The last reading, and the last one that was a value. */
	enum eg_status status;
	uint64_t t_ns, ok_t_ns;

	/*
	 * Power, derived here and only here: of a gauge the reading, of a counter the difference
	 * over at least anchor_min_ns, so that a step of the counter is no spike.
	 */
	bool have_uw;
	uint64_t uw, uw_from_ns; /* since when it holds */
	uint64_t anchor_uj, anchor_t_ns;
	bool anchored;

	uint32_t flags; /* EG_FLAG bits the driver reports now */
	double celsius; /* of the device at the last read; NaN unknown */
	uint64_t
		sensor_uw; /* of the device's own power sensor beside its counter; UINT64_MAX unknown */
};

/* Shortest time over which power is derived from a counter: ten of its steps in time, >= 10 ms. */
uint64_t eg_track_anchor_ns(const struct eg_channel *ch);

void eg_track_init(struct eg_track *t, const struct eg_channel *ch, const struct eg_driver *driver,
		   unsigned rank);
/*
 * Before the first reading: the channel was read before by a process that is gone. last: that reading,
 * t_ns and awake_ns on the clocks of this boot, where it is a counter of these units; else NULL.
 * away_from_ns: when it was, on the interval clock of this boot.
 */
void eg_track_resume(struct eg_track *t, const struct eg_counter *last, int64_t away_from_ns);
/*
 * Feeds one reading; returns true when t->uw was renewed. Trouble goes to diags (may be NULL).
 */
bool eg_track_feed(struct eg_track *t, const struct eg_integrate_config *cfg,
		   const struct eg_reading *reading, uint64_t awake_ns, struct eg_diags *diags);

#endif
