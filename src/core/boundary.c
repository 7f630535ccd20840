/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From many channels to one total without overlap (see boundary.h). Three steps:
 *  1. Accounts: of the channels with equal device and component the best one stands for all.
 *  2. Containment: a relation between two channels, from their components and devices and from what
 *     drivers say (part_of). Channels that nothing contains make the total, so no two of the total
 *     can overlap; the others are parts of the one at the end of their chain.
 *  3. What may not be added is taken out before: rails, what lies above the machine, psys beside a
 *     discrete GPU, an incomplete set of power supplies.
 * Measured and modeled channels go first; batteries, then estimates, only where they find no total.
 * Quadratic in the number of channels, which has a ceiling; allocates nothing.
 */
#include "core/boundary.h"

#include <string.h>

#include "base/util.h"

static const char why_account[] = "the same energy by another interface";
static const char why_inside[] = "inside a counted channel";
static const char why_rail[] = "supply rail of unknown extent";
static const char why_above[] = "measured above the machine";
static const char why_psys_gpu[] =
	"a discrete GPU is measured, and whether psys covers it differs between machines";
static const char why_psys_many[] = "several psys channels, whose extents are not known";
static const char why_psys_beside[] = "whether psys covers it is not known";
static const char why_soc_beside[] = "whether the module covers it is not known";
static const char why_psu[] = "not every power supply of the machine was read";
static const char why_dies[] = "a preferred interface tells the dies of this socket apart";
static const char why_machine[] = "another figure for the whole machine";
static const char why_battery[] = "covers the machine, but only while it runs on battery";
static const char why_estimate[] = "an estimate is not added to measured channels";
static const char why_loop[] = "its driver names parts that contain each other";
static const char why_ceiling[] = "above the ceiling of channels";

struct plan {
	const struct eg_boundary_in *in;
	size_t n;
	int32_t stand_in[EG_CHANNELS_MAX]; /* best usable channel of its account, or -1 */
	bool taking_part[EG_CHANNELS_MAX]; /* in this pass: may contain or be counted */
	int32_t machine;		   /* first channel that covers the whole machine, or -1 */
};

static bool is(const struct plan *p, size_t i, enum eg_component component)
{
	return p->in[i].ch->component == component;
}

static bool above_machine(const struct eg_channel *ch)
{
	return ch->boundary == EG_BOUNDARY_FACILITY || ch->component == EG_COMPONENT_OUTLET ||
	       ch->component == EG_COMPONENT_UPS || ch->component == EG_COMPONENT_METER;
}

/* How well a channel stands for the whole machine; 0: it does not. */
static int machine_grade(const struct eg_channel *ch)
{
	switch (ch->component) {
	case EG_COMPONENT_CHASSIS:
		return 3;
	case EG_COMPONENT_PSU:
		return 2;
	case EG_COMPONENT_PSYS: /* covers what step 2 says, whatever the driver calls it */
	case EG_COMPONENT_BATTERY:
	case EG_COMPONENT_RAIL:
		return 0;
	default:
		return ch->boundary == EG_BOUNDARY_NODE && !above_machine(ch);
	}
}

static bool better(const struct eg_boundary_in *a, const struct eg_boundary_in *b)
{
	if (a->ch->provenance != b->ch->provenance)
		return a->ch->provenance < b->ch->provenance;
	if (a->ch->quantity != b->ch->quantity) /* counter before gauge */
		return a->ch->quantity == EG_QUANTITY_ENERGY;
	return a->rank < b->rank;
}

/* A chassis is one account, whatever its device is called; each rail is its own. */
bool eg_boundary_same_account(const struct eg_channel *a, const struct eg_channel *b)
{
	if (a->component != b->component || a->component == EG_COMPONENT_RAIL ||
	    above_machine(a) != above_machine(b))
		return false;
	return a->component == EG_COMPONENT_CHASSIS || strcmp(a->device, b->device) == 0;
}

static int32_t find_stand_in(const struct plan *p, size_t i)
{
	int32_t best = -1;

	for (size_t k = 0; k < p->n; k++)
		if (p->in[k].usable &&
		    (k == i || eg_boundary_same_account(p->in[i].ch, p->in[k].ch)) &&
		    (best < 0 || better(&p->in[k], &p->in[best])))
			best = (int32_t)k;
	return best;
}

/* "cpu-0" is the root of itself and of "cpu-0-die-1", not of "cpu-01". */
bool eg_boundary_device_within(const char *root, const char *device)
{
	size_t n = strlen(root);

	return strncmp(root, device, n) == 0 && (device[n] == '\0' || device[n] == '-');
}

/* Does the chain of part_of of b lead to the account of a? Bounded: it may be a loop. */
static bool chain_leads(const struct plan *p, size_t a, size_t b)
{
	int32_t at = p->in[b].part_of;

	for (size_t steps = 0; steps < p->n && at >= 0 && (size_t)at < p->n; steps++) {
		if (p->stand_in[at] == (int32_t)a)
			return a != b;
		at = p->in[at].part_of;
	}
	return false;
}

static bool integrated(const struct eg_channel *ch)
{
	return ch->integrated_gpu &&
	       (ch->component == EG_COMPONENT_GPU || ch->component == EG_COMPONENT_GPU_MEMORY);
}

static bool package_contains(const struct eg_channel *a, const struct eg_channel *b)
{
	if (b->component == EG_COMPONENT_CORE || b->component == EG_COMPONENT_UNCORE)
		return eg_boundary_device_within(a->device, b->device) ||
		       eg_boundary_device_within(b->device, a->device);
	return integrated(b);
}

static bool components_contain(const struct eg_channel *a, const struct eg_channel *b)
{
	bool on_chip = b->component == EG_COMPONENT_PACKAGE || b->component == EG_COMPONENT_CORE ||
		       b->component == EG_COMPONENT_UNCORE || b->component == EG_COMPONENT_DRAM ||
		       b->component == EG_COMPONENT_ANE || integrated(b);
	bool gpu = b->component == EG_COMPONENT_GPU || b->component == EG_COMPONENT_GPU_MEMORY;

	if (a->component == b->component) /* a socket contains its dies, a card its tiles */
		return strcmp(a->device, b->device) != 0 &&
		       eg_boundary_device_within(a->device, b->device);
	switch (a->component) {
	case EG_COMPONENT_PSYS:
		return on_chip || b->component == EG_COMPONENT_SOC;
	case EG_COMPONENT_SOC:
		return on_chip ||
		       (gpu && (a->source == b->source || strcmp(a->device, b->device) == 0));
	case EG_COMPONENT_PACKAGE:
		return package_contains(a, b);
	case EG_COMPONENT_UNCORE: /* on clients: the integrated graphics */
		return integrated(b);
	case EG_COMPONENT_GPU:
		return b->component == EG_COMPONENT_GPU_MEMORY &&
		       (eg_boundary_device_within(a->device, b->device) ||
			eg_boundary_device_within(b->device, a->device));
	default:
		return false;
	}
}

static bool contains(const struct plan *p, size_t a, size_t b)
{
	int grade;

	if (a == b || !p->taking_part[a])
		return false;
	grade = machine_grade(p->in[a].ch);
	if (p->machine >= 0 && grade == machine_grade(p->in[p->machine].ch))
		return machine_grade(p->in[b].ch) < grade;
	return chain_leads(p, a, b) || (!is(p, b, EG_COMPONENT_RAIL) && !chain_leads(p, b, a) &&
					components_contain(p->in[a].ch, p->in[b].ch));
}

/* Takes a channel out of the pass: shown beside, never added. */
static void set_aside(struct plan *p, struct eg_boundary_out *ret, size_t i, const char *why)
{
	p->taking_part[i] = false;
	ret[i].why = why;
}

static void set_all_aside(struct plan *p, struct eg_boundary_out *ret, enum eg_component component,
			  const char *why)
{
	for (size_t i = 0; i < p->n; i++)
		if (p->taking_part[i] && is(p, i, component))
			set_aside(p, ret, i, why);
}

static bool every_psu_read(const struct plan *p)
{
	for (size_t i = 0; i < p->n; i++)
		if (is(p, i, EG_COMPONENT_PSU) && p->stand_in[i] < 0)
			return false;
	return true;
}

/* Finds what covers the whole machine, if anything. */
static void choose_machine(struct plan *p, struct eg_boundary_out *ret)
{
	int best = 0, grade;

	p->machine = -1;
	for (size_t i = 0; i < p->n; i++) {
		grade = p->taking_part[i] ? machine_grade(p->in[i].ch) : 0;
		if (grade == 2 && !every_psu_read(p))
			continue;
		if (grade > best ||
		    (grade > 0 && grade == best && better(&p->in[i], &p->in[p->machine]))) {
			best = grade;
			p->machine = (int32_t)i;
		}
	}
	if (best < 2)
		set_all_aside(p, ret, EG_COMPONENT_PSU, why_psu);
	for (size_t i = 0; best == 1 && i < p->n; i++)
		if (p->taking_part[i] && (int32_t)i != p->machine &&
		    machine_grade(p->in[i].ch) == 1)
			set_aside(p, ret, i, why_machine);
}

static size_t count(const struct plan *p, enum eg_component component)
{
	size_t found = 0;

	for (size_t i = 0; i < p->n; i++)
		found += p->taking_part[i] && is(p, i, component);
	return found;
}

static bool gpu_outside(const struct plan *p, enum eg_component of, size_t i)
{
	if (!p->taking_part[i] ||
	    (!is(p, i, EG_COMPONENT_GPU) && !is(p, i, EG_COMPONENT_GPU_MEMORY)))
		return false;
	for (size_t k = 0; k < p->n; k++)
		if (is(p, k, of) && contains(p, k, i))
			return false;
	return true;
}

/* A whole by an interface that is behind the one which reads its parts (perf's socket beside the
 * dies of powercap): it may be one of them only. */
static void set_lesser_wholes_aside(struct plan *p, struct eg_boundary_out *ret)
{
	for (size_t i = 0; i < p->n; i++)
		for (size_t k = 0; k < p->n && p->taking_part[i]; k++)
			if (p->taking_part[k] && p->in[k].rank < p->in[i].rank &&
			    p->in[k].ch->component == p->in[i].ch->component &&
			    components_contain(p->in[i].ch, p->in[k].ch))
				set_aside(p, ret, i, why_dies);
}

/* Takes out what may overlap a wide channel without anybody knowing. */
static void set_unknown_aside(struct plan *p, struct eg_boundary_out *ret)
{
	set_lesser_wholes_aside(p, ret);
	if (count(p, EG_COMPONENT_PSYS) > 1)
		set_all_aside(p, ret, EG_COMPONENT_PSYS, why_psys_many);
	for (size_t i = 0; count(p, EG_COMPONENT_PSYS) && i < p->n; i++)
		if (gpu_outside(p, EG_COMPONENT_PSYS, i))
			set_all_aside(p, ret, EG_COMPONENT_PSYS, why_psys_gpu);
	if (count(p, EG_COMPONENT_PSYS)) {
		set_all_aside(p, ret, EG_COMPONENT_FAN, why_psys_beside);
		set_all_aside(p, ret, EG_COMPONENT_NETWORK, why_psys_beside);
		set_all_aside(p, ret, EG_COMPONENT_STORAGE, why_psys_beside);
	}
	for (size_t i = 0; count(p, EG_COMPONENT_SOC) && i < p->n; i++)
		if (gpu_outside(p, EG_COMPONENT_SOC, i))
			set_aside(p, ret, i, why_soc_beside);
}

static int32_t container(const struct plan *p, size_t i)
{
	for (size_t k = 0; k < p->n; k++)
		if (contains(p, k, i))
			return (int32_t)k;
	return -1;
}

/* Roles of those that take part. True when there is a total. */
static bool assign(const struct plan *p, struct eg_boundary_out *ret)
{
	bool any = false;

	for (size_t i = 0; i < p->n; i++) {
		int32_t top = (int32_t)i, next;
		size_t steps = 0;

		if (!p->taking_part[i])
			continue;
		while ((next = container(p, (size_t)top)) >= 0 && steps++ < p->n)
			top = next;
		if (next >= 0) {
			ret[i].why = why_loop;
		} else if (is(p, (size_t)top, EG_COMPONENT_RAIL)) {
			ret[i].why = why_rail;
		} else if (top == (int32_t)i) {
			ret[i] = (struct eg_boundary_out){.role = EG_ROLE_TOTAL, .of = -1};
			any = true;
		} else {
			ret[i] = (struct eg_boundary_out){EG_ROLE_PART, top, why_inside};
		}
	}
	return any;
}

/* Channels are reduced in this order, until some of them make a total. */
enum pass { PASS_MAIN, PASS_BATTERY, PASS_ESTIMATE, PASS_ESTIMATED_BATTERY, PASS_COUNT };

static enum pass pass_of(const struct eg_channel *ch)
{
	bool estimated = ch->provenance == EG_PROVENANCE_ESTIMATED;

	if (ch->component == EG_COMPONENT_BATTERY)
		return estimated ? PASS_ESTIMATED_BATTERY : PASS_BATTERY;
	return estimated ? PASS_ESTIMATE : PASS_MAIN;
}

/* The second channel of an account goes where the first went. */
static void follow(const struct plan *p, struct eg_boundary_out *ret, size_t i)
{
	int32_t first = p->stand_in[i];
	const struct eg_boundary_out *r;

	if (first < 0 || first == (int32_t)i || pass_of(p->in[i].ch) != pass_of(p->in[first].ch))
		return;
	r = &ret[first];
	if (r->role == EG_ROLE_TOTAL)
		ret[i] = (struct eg_boundary_out){EG_ROLE_CROSSCHECK, first, why_account};
	else
		ret[i] = *r;
}

void eg_boundary_reduce(const struct eg_boundary_in *in, size_t n, struct eg_boundary_out *ret)
{
	struct plan p = {.in = in, .n = EG_MIN(n, (size_t)EG_CHANNELS_MAX), .machine = -1};
	bool found = false;

	for (size_t i = 0; i < n; i++) {
		enum pass pass = pass_of(in[i].ch);

		ret[i] = (struct eg_boundary_out){EG_ROLE_OTHER, -1, why_ceiling};
		if (!in[i].usable)
			ret[i] = (struct eg_boundary_out){EG_ROLE_UNUSABLE, -1, NULL};
		if (!in[i].usable || i >= p.n)
			continue;
		if (above_machine(in[i].ch))
			ret[i].why = why_above;
		else
			ret[i].why = pass >= PASS_ESTIMATE ? why_estimate : why_battery;
	}
	for (size_t i = 0; i < p.n; i++)
		p.stand_in[i] = find_stand_in(&p, i);
	for (int pass = 0; pass < PASS_COUNT && !found; pass++) {
		for (size_t i = 0; i < p.n; i++)
			p.taking_part[i] = p.stand_in[i] == (int32_t)i &&
					   pass_of(in[i].ch) == (enum pass)pass &&
					   !above_machine(in[i].ch);
		choose_machine(&p, ret);
		if (p.machine < 0)
			set_unknown_aside(&p, ret);
		found = assign(&p, ret);
	}
	for (size_t i = 0; i < p.n; i++)
		if (in[i].usable)
			follow(&p, ret, i);
}

const char *eg_role_word(enum eg_role role)
{
	static const char *const word[] = {[EG_ROLE_TOTAL] = "total",
					   [EG_ROLE_PART] = "part",
					   [EG_ROLE_CROSSCHECK] = "crosscheck",
					   [EG_ROLE_OTHER] = "other",
					   [EG_ROLE_UNUSABLE] = "unusable"};

	return (unsigned)role < EG_ARRAY_SIZE(word) ? word[role] : "?";
}
