/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A simulated machine and a meter over it in one process, in lock-step: the tree is brought to a
 * time, the clock is set to it, the meter reads. So the truth is known to the femtojoule, and what
 * a test finds is the error of the meter and its drivers alone.
 */
#ifndef EG_TESTS_TRUTH_LAB_H
#define EG_TESTS_TRUTH_LAB_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/env.h"
#include "core/meter.h"
#include "sim/faultfs.h"
#include "sim/machine.h"
#include "sim/scenario.h"

#define SECOND	   EG_NSEC_PER_SEC
#define LAB_T0	   (1000 * SECOND) /* interval clock at the machine's start */
#define LAB_FAULTS 16

struct lab {
	char dir[64];
	struct eg_scenario *sc;
	struct eg_sim *sim;
	struct eg_manual_clock clock;
	struct eg_env env;
	struct eg_fault fault[LAB_FAULTS];
	struct eg_faultfs *ff;
	struct eg_meter *m;
	int source[EG_CHANNELS_MAX]; /* of each meter channel: the simulated one; -1 none */
	uint64_t seen_uj[EG_CHANNELS_MAX], seen_est_uj[EG_CHANNELS_MAX];
};

/* A shipped scenario by name, or, where it has a newline, the text of one. */
struct lab *lab_new(const char *scenario);
/* Opens the meter at the machine's present time. drivers NULL: all of this build. */
void lab_open(struct lab *l, uint64_t interval_ns, const struct eg_driver *const *drivers);
/* Brings machine and clock to t after the start; past a suspension that t lies in. */
void lab_at(struct lab *l, uint64_t t_ns);
uint64_t lab_now(const struct lab *l);
/* One sample; no total of any channel may have fallen since the last. */
void lab_sample(struct lab *l);
/* Samples each step up to `until`, and stands there, unsampled. */
void lab_run(struct lab *l, uint64_t until_ns, uint64_t step_ns);
struct eg_result *lab_window(struct lab *l, uint64_t from_ns, uint64_t to_ns, uint64_t step_ns);
void lab_begin(struct lab *l, const char *name);
struct eg_result *lab_end(struct lab *l, const char *name);
void lab_free(struct lab *l);

/* By the domain's name; fails the test where there is none. */
const struct eg_result_channel *lab_channel(const struct eg_result *r, const char *name);
const struct eg_sim_channel *lab_source(const struct lab *l, size_t channel);
/* What the meter's channel should have seen, gain of the simulated sensor included, in uJ. */
double lab_truth_uj(const struct lab *l, size_t channel, uint64_t begin_ns, uint64_t end_ns);
/* The step of the simulated counter and of the channel, the larger, in uJ, and one for rounding. */
double lab_resolution_uj(const struct lab *l, size_t channel);
double lab_max_w(const struct lab *l, size_t channel);

#endif
