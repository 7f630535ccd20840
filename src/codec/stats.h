/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mean, sample standard deviation and the 95 % interval of a mean (Student's t) of a few repeats.
 */
#ifndef EG_CODEC_STATS_H
#define EG_CODEC_STATS_H

#include <stddef.h>

struct eg_stats {
	size_t n;
	double mean, stddev, ci95; /* ci95: half-width; NaN where n is too small to tell */
};

void eg_stats_of(const double *v, size_t n, struct eg_stats *ret);
/* 97.5 % quantile of Student's t with df >= 1 degrees of freedom, to 4 decimals. */
double eg_student_t975(size_t df);

#endif
