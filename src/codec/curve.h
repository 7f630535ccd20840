/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A power curve with a ceiling: when it is full, neighbours are merged by their time-weighted mean
 * and the steps become twice as long, so any run keeps its whole shape. A point says the power over
 * the time since the point before it. After creation nothing is allocated.
 */
#ifndef EG_CODEC_CURVE_H
#define EG_CODEC_CURVE_H

#include <stddef.h>
#include <stdint.h>

#include "base/util.h"

#define EG_CURVE_POINTS	 1200	    /* about one a pixel of the drawing */
#define EG_CURVE_UNKNOWN UINT64_MAX /* no value over this step */

struct eg_curve {
	size_t series;	/* values in a point */
	size_t n;	/* points */
	uint64_t t0_ns; /* where the first step begins */
	uint64_t *t_ns; /* end of each step */
	uint64_t *uw;	/* uw[point * series + s] */
	size_t merge;	/* points that make one now: a power of two */
	size_t pending; /* points merged so far into the last */
};

int eg_curve_init(struct eg_curve *c, size_t series, uint64_t t0_ns) EG_MUST_CHECK;
void eg_curve_free(struct eg_curve *c);
/* Times must rise; a point not newer than the last is left out. */
void eg_curve_add(struct eg_curve *c, uint64_t t_ns, const uint64_t *uw);

#endif
