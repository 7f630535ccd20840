/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counter to energy: the one place where wraps, resets and unknowable intervals of a hardware
 * counter are told apart (design rule 2).
 *
 * Between two good readings the counter can have moved by at most max_uw x time (+ one update
 * period and two resolution steps of slack). A forward step within that is energy; a step back is a
 * wrap if the wrapped difference is within it; if one more wrap would also fit, nobody can know,
 * and the interval is a gap; anything else is a reset. A reset of a counter that starts from zero
 * still tells the energy since then. A failed read is not passed in at all.
 */
#ifndef EG_CORE_COUNTER_H
#define EG_CORE_COUNTER_H

#include "core/channel.h"

struct eg_counter {
	uint64_t raw, t_ns, awake_ns;
	uint32_t epoch;
	bool started;
	uint64_t rem; /* carried numerator below one microjoule, < unit_den */
};

enum eg_counter_event {
	EG_COUNTER_FIRST, /* baseline taken, no energy */
	EG_COUNTER_STEP,  /* energy */
	EG_COUNTER_WRAP,  /* energy, across one wrap */
	EG_COUNTER_RESET, /* baseline taken again; uj is what a zero-based counter shows since */
	EG_COUNTER_AMBIGUOUS,	/* more wraps than can be known: gap, baseline taken again */
	EG_COUNTER_IMPLAUSIBLE, /* forward by more than max_uw allows: gap, baseline taken again */
	EG_COUNTER_OLD,		/* not newer than the last reading: ignored */
};

struct eg_counter_step {
	enum eg_counter_event event;
	uint64_t uj;	 /* energy to add */
	uint64_t dt_ns;	 /* since the previous good reading */
	uint64_t gap_ns; /* time whose energy is unknown (includes suspend) */
};

/*
 * reading: status OK. awake_ns: the clock without suspend at the same moment; a difference to t_ns
 * that grew by more than 100 ms since the last reading is a suspend of that length: it is reported
 * as a gap, and the step is counted only if a reset to zero cannot explain it as well.
 */
struct eg_counter_step eg_counter_update(struct eg_counter *c, const struct eg_channel *ch,
					 const struct eg_reading *reading, uint64_t awake_ns);

/* Time between two reads within which no ambiguity can arise: half the wrap time at max_uw, and the
 * channel's own guard_ns; UINT64_MAX when neither applies. */
uint64_t eg_counter_guard_ns(const struct eg_channel *ch);

/* raw * num / den in microjoules with carried remainder: exact over any number of calls.
 * Saturates at UINT64_MAX. */
uint64_t eg_scale_carry(uint64_t raw, uint64_t num, uint64_t den, uint64_t *rem);

#endif
