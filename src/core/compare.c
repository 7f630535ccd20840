/* SPDX-License-Identifier: Apache-2.0 */
/* See compare.h. Quadratic in the number of channels, which has a ceiling; allocates nothing. */
#include "core/compare.h"

#include <math.h>
#include <string.h>

struct finder {
	const struct eg_compare_in *in;
	size_t n;
	struct eg_compare *out;
	bool grouped[EG_CHANNELS_MAX]; /* is in a group of its account */
};

/* ---- building ---- */

static bool full(const struct finder *f)
{
	const struct eg_compare *c = f->out;

	return c->n_sides == EG_COMPARE_MAX || c->n_members + f->n > EG_COMPARE_MAX ||
	       c->n_groups == EG_CHANNELS_MAX;
}

static void side_begin(struct finder *f)
{
	f->out->side[f->out->n_sides] = (struct eg_compare_side){.first = f->out->n_members};
}

static void side_add(struct finder *f, size_t channel)
{
	f->out->member[f->out->n_members++] = channel;
	f->out->side[f->out->n_sides].n++;
}

/* Keeps the side that was begun where it has at least so many members. */
static void side_end(struct finder *f, size_t least)
{
	struct eg_compare *c = f->out;

	if (c->side[c->n_sides].n >= least)
		c->n_sides++;
	else
		c->n_members = c->side[c->n_sides].first;
}

static void side_of_one(struct finder *f, size_t channel)
{
	side_begin(f);
	side_add(f, channel);
	side_end(f, 1);
}

static bool better(const struct finder *f, const struct eg_compare_side *a,
		   const struct eg_compare_side *b)
{
	size_t i = f->out->member[a->first], k = f->out->member[b->first];
	const struct eg_channel *x = f->in[i].ch, *y = f->in[k].ch;

	if (x->provenance != y->provenance)
		return x->provenance < y->provenance;
	if (x->quantity != y->quantity) /* counter before gauge */
		return x->quantity == EG_QUANTITY_ENERGY;
	return i < k;
}

/* The sides since `first` are a group, where there are two of them; the best goes to the front. */
static void group_end(struct finder *f, size_t first, const char *what, const char *device)
{
	struct eg_compare *c = f->out;
	size_t n = c->n_sides - first, best = first;

	if (n < 2) {
		if (n == 1)
			c->n_members = c->side[first].first;
		c->n_sides = first;
		return;
	}
	for (size_t i = first; i < first + n; i++)
		if (better(f, &c->side[i], &c->side[best]))
			best = i;
	if (best != first) {
		struct eg_compare_side side = c->side[best];

		c->side[best] = c->side[first];
		c->side[first] = side;
	}
	c->group[c->n_groups++] =
		(struct eg_compare_group){.first = first, .n = n, .what = what, .device = device};
}

/* ---- the whole machine: chassis, all power supplies, all batteries ---- */

static bool is(const struct finder *f, size_t i, enum eg_component component)
{
	return f->in[i].ch->component == component;
}

/* All channels of a component by one driver, as one side: they share the load. */
static void add_set(struct finder *f, enum eg_component component, size_t first_of_driver)
{
	side_begin(f);
	for (size_t i = first_of_driver; i < f->n; i++)
		if (is(f, i, component) && f->in[i].driver == f->in[first_of_driver].driver)
			side_add(f, i);
	side_end(f, 1);
}

static bool first_of_its_driver(const struct finder *f, size_t i)
{
	for (size_t k = 0; k < i; k++)
		if (f->in[k].driver == f->in[i].driver &&
		    f->in[k].ch->component == f->in[i].ch->component)
			return false;
	return true;
}

static void find_machine(struct finder *f)
{
	size_t first = f->out->n_sides;

	for (size_t i = 0; i < f->n && !full(f); i++) {
		if (f->in[i].ch->boundary == EG_BOUNDARY_FACILITY)
			continue;
		if (is(f, i, EG_COMPONENT_CHASSIS)) {
			side_of_one(f, i);
			f->grouped[i] = true;
		} else if ((is(f, i, EG_COMPONENT_PSU) || is(f, i, EG_COMPONENT_BATTERY)) &&
			   first_of_its_driver(f, i)) {
			add_set(f, f->in[i].ch->component, i);
		}
	}
	group_end(f, first, "machine", "node");
}

/* ---- one account by several interfaces, and a socket beside its dies ---- */

static bool outside(const struct eg_channel *ch)
{
	return ch->boundary == EG_BOUNDARY_FACILITY || ch->component == EG_COMPONENT_RAIL;
}

/* The dies of a socket that another driver tells apart: their sum is the socket. */
static void add_dies(struct finder *f, size_t whole)
{
	const struct eg_channel *w = f->in[whole].ch;

	for (size_t i = 0; i < f->n && !full(f); i++) {
		if (f->in[i].driver == f->in[whole].driver || !is(f, i, w->component) ||
		    !first_of_its_driver(f, i))
			continue;
		side_begin(f);
		for (size_t k = i; k < f->n; k++)
			if (f->in[k].driver == f->in[i].driver && is(f, k, w->component) &&
			    strcmp(f->in[k].ch->device, w->device) != 0 &&
			    eg_boundary_device_within(w->device, f->in[k].ch->device))
				side_add(f, k);
		side_end(f, 2);
	}
}

static void find_accounts(struct finder *f)
{
	for (size_t i = 0; i < f->n && !full(f); i++) {
		const struct eg_channel *ch = f->in[i].ch;
		size_t first = f->out->n_sides;

		if (f->grouped[i] || outside(ch) || is(f, i, EG_COMPONENT_PSU) ||
		    is(f, i, EG_COMPONENT_BATTERY))
			continue;
		for (size_t k = i; k < f->n && !full(f); k++) {
			if (k != i && !eg_boundary_same_account(ch, f->in[k].ch))
				continue;
			side_of_one(f, k);
			f->grouped[k] = true;
		}
		add_dies(f, i);
		group_end(f, first, eg_component_word(ch->component), ch->device);
	}
}

/* ---- a model of all packages beside the packages ---- */

static bool models_packages(const struct finder *f, size_t i)
{
	return is(f, i, EG_COMPONENT_PACKAGE) && f->in[i].driver->estimator;
}

static bool top_package(const struct finder *f, size_t i, const struct eg_driver *driver)
{
	if (!is(f, i, EG_COMPONENT_PACKAGE) || f->in[i].driver != driver)
		return false;
	for (size_t k = 0; k < f->n; k++)
		if (k != i && f->in[k].driver == driver && is(f, k, EG_COMPONENT_PACKAGE) &&
		    strcmp(f->in[k].ch->device, f->in[i].ch->device) != 0 &&
		    eg_boundary_device_within(f->in[k].ch->device, f->in[i].ch->device))
			return false;
	return true;
}

static void find_models(struct finder *f)
{
	for (size_t m = 0; m < f->n && !full(f); m++) {
		size_t first = f->out->n_sides;

		if (!models_packages(f, m))
			continue;
		for (size_t i = 0; i < f->n && !full(f); i++) {
			if (!is(f, i, EG_COMPONENT_PACKAGE) || models_packages(f, i) ||
			    !first_of_its_driver(f, i))
				continue;
			side_begin(f);
			for (size_t k = i; k < f->n; k++)
				if (top_package(f, k, f->in[i].driver))
					side_add(f, k);
			side_end(f, 1);
		}
		side_of_one(f, m);
		group_end(f, first, "package", "all");
	}
}

void eg_compare_find(const struct eg_compare_in *in, size_t n, struct eg_compare *ret)
{
	struct finder f = {.in = in, .n = EG_MIN(n, (size_t)EG_CHANNELS_MAX), .out = ret};

	ret->n_members = ret->n_sides = ret->n_groups = 0;
	find_machine(&f);
	find_accounts(&f);
	find_models(&f);
}

/* ---- values ---- */

void eg_compare_value(const struct eg_compare *c, size_t side, const struct eg_result *r,
		      struct eg_compare_value *ret)
{
	const struct eg_compare_side *s = &c->side[side];
	const struct eg_channel *ch[EG_CHANNELS_MAX];
	struct eg_uncertainty item[EG_CHANNELS_MAX];

	*ret = (struct eg_compare_value){.seen = true, .whole = true};
	for (size_t i = 0; i < s->n; i++) {
		const struct eg_result_channel *x = &r->channel[c->member[s->first + i]];

		ch[i] = x->ch;
		item[i] = x->uncertainty;
		ret->seen &= x->has_value;
		ret->whole &= x->has_value && !x->gap_ns && !x->est_uj;
		ret->uj = eg_add_sat(ret->uj, x->uj);
		ret->est_uj = eg_add_sat(ret->est_uj, x->est_uj);
		ret->gap_ns = EG_MAX(ret->gap_ns, x->gap_ns);
		ret->provenance = EG_MAX(ret->provenance, x->provenance);
	}
	eg_uncertainty_total(ch, item, s->n, &ret->uncertainty);
}

static double other2(const struct eg_uncertainty *u)
{
	double v[] = {(double)u->resolution_uj, (double)u->update_uj, (double)u->sampling_uj,
		      (double)u->held_uj};
	double sum = 0;

	for (size_t i = 0; i < EG_ARRAY_SIZE(v); i++)
		sum += v[i] * v[i];
	return sum;
}

bool eg_compare_add(const struct eg_compare *c, size_t a, size_t b, const struct eg_result *r,
		    struct eg_compare_sum *sum)
{
	const struct eg_channel *x = r->channel[c->member[c->side[a].first]].ch,
				*y = r->channel[c->member[c->side[b].first]].ch;
	struct eg_compare_value va, vb;
	double gap_ppm = fabs((double)x->accuracy.rel_ppm - (double)y->accuracy.rel_ppm);

	eg_compare_value(c, a, r, &va);
	eg_compare_value(c, b, r, &vb);
	if (!va.whole || !vb.whole)
		return false;
	sum->one_sensor = x->source == y->source && c->side[a].n == 1 && c->side[b].n == 1 &&
			  strcmp(x->device, y->device) == 0;
	sum->windows++;
	sum->ns += r->seconds_ns;
	sum->a_uj = eg_add_sat(sum->a_uj, va.uj);
	sum->b_uj = eg_add_sat(sum->b_uj, vb.uj);
	sum->a_other2 += other2(&va.uncertainty);
	sum->b_other2 += other2(&vb.uncertainty);
	sum->a_accuracy += (double)va.uncertainty.accuracy_uj;
	sum->b_accuracy += (double)vb.uncertainty.accuracy_uj;
	sum->extra +=
		fmax(fabs((double)va.uncertainty.accuracy_uj - (double)vb.uncertainty.accuracy_uj),
		     gap_ppm * 1e-6 * (double)EG_MAX(va.uj, vb.uj));
	return true;
}

uint64_t eg_compare_joint_uj(const struct eg_compare_sum *sum)
{
	double a = sqrt(sum->a_other2), b = sqrt(sum->b_other2);
	double joint = sum->one_sensor ? a + b + sum->extra :
					 hypot(a, sum->a_accuracy) + hypot(b, sum->b_accuracy);

	return joint < 0x1p63 ? (uint64_t)ceil(joint) : UINT64_MAX;
}
