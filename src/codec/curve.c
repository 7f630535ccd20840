/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See curve.h. Merging is done in doubles: it only feeds a drawing, no energy is taken from it.
 */
#include "codec/curve.h"

#include <errno.h>
#include <string.h>

int eg_curve_init(struct eg_curve *c, size_t series, uint64_t t0_ns)
{
	/* One place more than the ceiling: a point waits there to be merged into the last. */
	uint64_t *t = calloc(EG_CURVE_POINTS + 1, sizeof(*t));
	uint64_t *uw = calloc((EG_CURVE_POINTS + 1) * (series > 0 ? series : 1), sizeof(*uw));

	if (t == NULL || uw == NULL) {
		free(t);
		free(uw);
		return -ENOMEM;
	}
	*c = (struct eg_curve){.series = series, .t0_ns = t0_ns, .t_ns = t, .uw = uw, .merge = 1};
	return 0;
}

void eg_curve_free(struct eg_curve *c)
{
	free(c->t_ns);
	free(c->uw);
	*c = (struct eg_curve){0};
}

/* Time-weighted mean of two neighbouring steps; one known value stands for both. */
static uint64_t mean(uint64_t a, uint64_t a_ns, uint64_t b, uint64_t b_ns)
{
	if (a == EG_CURVE_UNKNOWN)
		return b;
	if (b == EG_CURVE_UNKNOWN)
		return a;
	return (uint64_t)(((double)a * (double)a_ns + (double)b * (double)b_ns) /
			  (double)(a_ns + b_ns));
}

/* Makes points i and i+1 (steps that begin at start_ns) one, at place `to`. */
static void merge(struct eg_curve *c, size_t to, uint64_t start_ns, size_t i)
{
	uint64_t a_ns = c->t_ns[i] - start_ns, b_ns = c->t_ns[i + 1] - c->t_ns[i];

	for (size_t s = 0; s < c->series; s++)
		c->uw[to * c->series + s] =
			mean(c->uw[i * c->series + s], a_ns, c->uw[(i + 1) * c->series + s], b_ns);
	c->t_ns[to] = c->t_ns[i + 1];
}

static void halve(struct eg_curve *c)
{
	uint64_t start = c->t0_ns;

	for (size_t i = 0; i + 1 < c->n; i += 2) {
		merge(c, i / 2, start, i);
		start = c->t_ns[i / 2];
	}
	c->n /= 2;
	c->merge *= 2;
}

void eg_curve_add(struct eg_curve *c, uint64_t t_ns, const uint64_t *uw)
{
	uint64_t last = c->n > 0 ? c->t_ns[c->n - 1] : c->t0_ns;

	if (t_ns <= last)
		return;
	if (c->pending == 0 && c->n == EG_CURVE_POINTS)
		halve(c);
	c->t_ns[c->n] = t_ns;
	memcpy(c->uw + c->n * c->series, uw, c->series * sizeof(*uw));
	if (c->pending == 0) {
		c->n++;
	} else {
		merge(c, c->n - 1, c->n > 1 ? c->t_ns[c->n - 2] : c->t0_ns, c->n - 1);
	}
	if (++c->pending == c->merge)
		c->pending = 0;
}
