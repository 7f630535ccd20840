/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Statistics of repeats. The t quantile is exact for 1 and 2 degrees of freedom; from 3 on it is
 * found from the distribution function's finite series (Abramowitz and Stegun 26.7.3 and 26.7.4) by
 * bisection: no table, and right for any count.
 */
#include "codec/stats.h"

#include <math.h>

#define PI 3.14159265358979323846

/* P(|T| <= t) with df degrees of freedom. */
static double two_sided(double t, size_t df)
{
	double theta = atan(t / sqrt((double)df)), c = cos(theta), s = sin(theta);
	double term, sum;

	if (df % 2 == 1) {
		term = c;
		sum = df > 1 ? c : 0;
		for (size_t k = 3; k < df; k += 2) {
			term *= c * c * (double)(k - 1) / (double)k;
			sum += term;
		}
		return 2 / PI * (theta + s * sum);
	}
	term = 1;
	sum = 1;
	for (size_t k = 2; k < df; k += 2) {
		term *= c * c * (double)(k - 1) / (double)k;
		sum += term;
	}
	return s * sum;
}

double eg_student_t975(size_t df)
{
	double low = 1.9, high = 13;

	if (df == 0)
		return NAN;
	if (df > 10000) /* within 0.0003 of the normal distribution's */
		return 1.95996 + 2.3722 / (double)df;
	for (int i = 0; i < 60; i++) {
		double mid = (low + high) / 2;

		if (two_sided(mid, df) < 0.95)
			low = mid;
		else
			high = mid;
	}
	return (low + high) / 2;
}

void eg_stats_of(const double *v, size_t n, struct eg_stats *ret)
{
	double mean = 0, m2 = 0;

	for (size_t i = 0; i < n; i++) {
		double d = v[i] - mean;

		mean += d / (double)(i + 1);
		m2 += d * (v[i] - mean);
	}
	*ret = (struct eg_stats){.n = n, .mean = n > 0 ? mean : NAN, .stddev = NAN, .ci95 = NAN};
	if (n < 2)
		return;
	ret->stddev = sqrt(m2 / (double)(n - 1));
	ret->ci95 = eg_student_t975(n - 1) * ret->stddev / sqrt((double)n);
}
