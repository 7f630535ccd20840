/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Power as a function of time, known in closed form, and its exact integral. Power is in whole
 * microwatts and time in whole nanoseconds, so energy is in whole femtojoules (uW x ns): everything
 * that is piecewise constant integrates without any rounding, and integrals over adjoining
 * intervals always add up exactly. A sine rounds once per end point, below 1 nJ.
 */
#ifndef EG_SIM_POWER_H
#define EG_SIM_POWER_H

#include <stddef.h>
#include <stdint.h>

#include "base/util.h"

#define EG_POWER_STEPS_MAX   64
#define EG_POWER_SINES	     8			/* sines that make the noise */
#define EG_POWER_UW_MAX	     1000000000000ULL	/* 1 MW */
#define EG_POWER_NS_MAX	     864000000000000ULL /* longest period or step: 10 days */
#define EG_POWER_SLOT_MIN_NS 10000000ULL /* shortest idle/active slot: they are added up singly */

typedef __int128 eg_fj; /* femtojoules */
#define EG_FJ_PER_UJ 1000000000LL
#define EG_FJ_PER_J  1000000000000000LL

enum eg_power_kind {
	EG_POWER_CONSTANT, /* high_uw */
	EG_POWER_STEPS,	   /* step[], the last one holds, or all repeat */
	EG_POWER_SINE,	   /* mean_uw + amplitude_uw sin(2 pi (t / period + phase)) */
	EG_POWER_PULSE,	   /* square and bursts: high_uw for high_ns of each period, else low_uw */
	EG_POWER_RAMP,	   /* low_uw to high_uw within period_ns, then holds or starts again */
	EG_POWER_IDLE_ACTIVE, /* slots of period_ns, each low_uw or high_uw by a hash of the seed */
};

struct eg_power {
	enum eg_power_kind kind;
	int repeat; /* STEPS, RAMP */
	uint64_t low_uw, high_uw, mean_uw, amplitude_uw;
	uint64_t period_ns, high_ns;
	uint64_t phase_ns; /* the function at t is the plain one at t + phase_ns */
	uint64_t seed;
	uint32_t active_ppm; /* IDLE_ACTIVE: how many slots of a million are active */
	size_t n_steps;
	struct {
		uint64_t for_ns, uw;
	} step[EG_POWER_STEPS_MAX];
	/* Noise: sines of seeded periods and phases; together at most noise_uw from zero. */
	uint64_t noise_uw;
	struct {
		uint64_t period_ns, phase_ns;
	} noise[EG_POWER_SINES];
};

/* Power at t (time since the start), in microwatts with fraction. */
long double eg_power_at_uw(const struct eg_power *p, uint64_t t_ns);
/* Energy from t0 to t1 (t0 <= t1). Additive: E(a, b) + E(b, c) == E(a, c), to the femtojoule. */
eg_fj eg_power_energy_fj(const struct eg_power *p, uint64_t t0_ns, uint64_t t1_ns);
/* Bounds of the function, noise included. */
uint64_t eg_power_min_uw(const struct eg_power *p);
uint64_t eg_power_max_uw(const struct eg_power *p);
long double eg_fj_to_joules(eg_fj e);

/*
 * Reads a function as scenario files write it (docs/simulator.md):
 *	300W
 *	steps 10s:100W 5s:300W repeat
 *	sine mean=200W amplitude=100W period=60s phase=15s
 *	square low=100W high=300W period=4s duty=0.5
 *	bursts base=50W peak=400W period=1s width=20ms
 *	ramp from=100W to=200W over=30s repeat
 *	idle-active idle=20W active=150W slot=2s share=0.3 seed=7
 * and after any of them noise=5W noise-period=200ms noise-seed=1. A power is a number with W, mW,
 * uW, kW or cpu (one fully used processor = 1000000); a number alone counts as W.
 * -EINVAL: what is wrong stands in why[]; outputs are untouched.
 */
int eg_power_parse(const char *text, struct eg_power *ret, char *why, size_t why_cap) EG_MUST_CHECK;
/* One power word such as "2.5W", in microwatts. */
int eg_power_parse_uw(const char *word, uint64_t *ret_uw) EG_MUST_CHECK;
/* A well mixed 64-bit hash of two numbers; the one source of chance here. */
uint64_t eg_sim_hash(uint64_t seed, uint64_t n);

#endif
