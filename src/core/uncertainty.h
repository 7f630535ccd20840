/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The 95 % interval of a window's energy, itemised. Every item is a half-width in microjoules at
 * the coverage factor EG_COVERAGE; independent items combine by root sum of squares, the gain errors
 * of channels read through one interface add linearly (one gain error is shared).
 */
#ifndef EG_CORE_UNCERTAINTY_H
#define EG_CORE_UNCERTAINTY_H

#include <stddef.h>

#include "core/channel.h"

/*
 * 2.4, not 1.96: the items' spreads are themselves estimated from few samples, and several are
 * bounded and not normal. With 2.4 the stated interval holds the truth in at least 95 % of the
 * simulated windows with statistical confidence (tests/meter), at 1.2 x the best possible width.
 */
#define EG_COVERAGE 2.4

/* What happened in a window on one channel; differences of a track between its ends. */
struct eg_window_facts {
	uint64_t uj, est_uj; /* measured and held energy */
	uint64_t seconds_ns; /* length of the window */
	uint64_t gap_ns;
	uint64_t samples;
	double step_var_j2; /* variance of the integration of samples of a gauge, J^2 */
	double edge_w;	    /* power that may have been flowing at the edges: the larger of the
				   window's rms power and the last known power before it, W */
	double skew_j;	    /* edge_w x (time between the readings - length of the window), J */
	double edge_step_w; /* |power at end - power at begin| of a gauge, W */
};

struct eg_uncertainty {
	uint64_t resolution_uj; /* counter steps at both edges, and the kernel's unit rounding */
	uint64_t update_uj;	/* update period at both edges */
	uint64_t sampling_uj;	/* integration of samples */
	uint64_t accuracy_uj;	/* accuracy class of the interface */
	uint64_t held_uj;	/* held readings: +-100 % of them */
	uint64_t total_uj;	/* combined */
};

/* Items by themselves, for who has no channel: of so much energy in so much time. */
double eg_uncertainty_accuracy_uj(const struct eg_accuracy *accuracy, enum eg_provenance provenance,
				  double uj, uint64_t ns);
double eg_uncertainty_held_uj(double est_uj);

void eg_uncertainty_channel(const struct eg_channel *ch, const struct eg_window_facts *facts,
			    struct eg_uncertainty *ret);
/* Combines n channels of a total; ch[i] belongs to items[i]. */
void eg_uncertainty_total(const struct eg_channel *const *ch, const struct eg_uncertainty *items,
			  size_t n, struct eg_uncertainty *ret);

#endif
