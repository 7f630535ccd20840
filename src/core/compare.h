/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which interfaces see the same joules, and do they agree? (contracts/measurement.md M18.) A
 * comparison is a group of sides; a side is one interface's view: a channel, or several whose sum is
 * meant (the dies of a socket, the packages that a model estimates together). The first side is the
 * reference: the one that a total would be made of. Pure: channels and results of windows go in.
 */
#ifndef EG_CORE_COMPARE_H
#define EG_CORE_COMPARE_H

#include "core/meter.h"

#define EG_COMPARE_MAX (3 * EG_CHANNELS_MAX) /* sides and members: a channel is in a few groups */

struct eg_compare_in {
	const struct eg_channel *ch;
	const struct eg_driver *driver;
};

struct eg_compare_side {
	size_t first, n; /* in member[] */
};

struct eg_compare_group {
	size_t first, n;  /* in side[]; at least 2 */
	const char *what; /* component: "package", "gpu"; "machine" for the whole of it */
	const char *device;
};

struct eg_compare {
	size_t n_members, n_sides, n_groups;
	size_t member[EG_COMPARE_MAX]; /* indices of channels */
	struct eg_compare_side side[EG_COMPARE_MAX];
	struct eg_compare_group group[EG_CHANNELS_MAX];
};

/* Finds the groups among n channels, which are in the order of the meter: drivers by rank. */
void eg_compare_find(const struct eg_compare_in *in, size_t n, struct eg_compare *ret);

/* What one side says of a window. */
struct eg_compare_value {
	bool seen;   /* every channel of it has a value */
	bool whole;  /* and none of them has a gap or a held reading */
	uint64_t uj; /* without held energy */
	uint64_t est_uj, gap_ns;
	struct eg_uncertainty uncertainty;
	enum eg_provenance provenance;
};
void eg_compare_value(const struct eg_compare *c, size_t side, const struct eg_result *r,
		      struct eg_compare_value *ret);

/* Two sides over one window, or over those of several in which both were whole. All 0: nothing yet. */
struct eg_compare_sum {
	uint64_t a_uj, b_uj, ns;
	double a_other2, b_other2;     /* squares of all items but the accuracy, uJ^2 */
	double a_accuracy, b_accuracy; /* uJ: one gain error, so they add up */
	double extra;		       /* uJ: what the classes differ by */
	bool one_sensor;
	size_t windows;
};
/* Takes a window in; false: one of them was not whole in it, and nothing is added. */
bool eg_compare_add(const struct eg_compare *c, size_t a, size_t b, const struct eg_result *r,
		    struct eg_compare_sum *sum);
/*
 * The half-width that their difference may have: the sum of both uncertainties, as for the
 * cross-checks of windows. Where both read one sensor its gain error is in both and cancels; what
 * the weaker class has beyond the other stays.
 */
uint64_t eg_compare_joint_uj(const struct eg_compare_sum *sum);

#endif
