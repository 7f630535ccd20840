/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counter to energy (see counter.h). All comparisons are made in raw units, so that a range of
 * 262143328850 uJ, a 32-bit counter of 2^-32 J and a 64-bit one of millijoules go through the same
 * lines; only the energy itself is scaled, with carried remainder. Products are made in 128 bits
 * where 64 may not hold them; what is compared has 64.
 *
 * What one reading can mean, with d = the raw step forward, m = the modulus, L = the farthest the
 * counter can have gone in the time:
 *   forward,  d <= L < d + m       a step
 *   backward, d + m <= L < d + 2m  a wrap
 *   one m more would fit as well   nobody can know: a gap
 *   forward, d > L                 nobody can know: a gap
 *   backward, nothing fits         a reset
 *
 * Known and wanted: counters that step back a little although they have 64 bits (amdsmi issues 22
 * and 115) end as a reset. Their value is far above what the time allows since zero, so nothing is
 * added, and the lost interval is a gap.
 */
#include "core/counter.h"

#include "base/util.h"

typedef unsigned __int128 u128;

#define SUSPEND_MIN_NS	  100000000 /* boot and awake clock are read one after the other */
/* A 64-bit counter of a sensor that does not say how often it refreshes may show so much time at
 * once. One that wraps has to say it: there such slack could hide a wrap. */
#define UNKNOWN_UPDATE_NS EG_NSEC_PER_SEC

static uint64_t at_most_64(u128 v)
{
	return v > UINT64_MAX ? UINT64_MAX : (uint64_t)v;
}

uint64_t eg_scale_carry(uint64_t raw, uint64_t num, uint64_t den, uint64_t *rem)
{
	u128 total, uj;

	if (den == 0)
		return 0;
	if (num == den) /* the remainder stays what it was: spares two divisions a reading */
		return raw;
	total = (u128)raw * num + *rem; /* <= (2^64 - 1) * 2^64 */
	uj = total / den;
	*rem = (uint64_t)(total % den);
	return at_most_64(uj);
}

/*
 * The farthest the counter can have gone in dt, in raw units, rounded up; UINT64_MAX: anywhere.
 * Seconds of ordinary power fit into 64 bits, and so does what microjoules make of them.
 */
static uint64_t limit_raw(const struct eg_channel *ch, uint64_t dt_ns)
{
	uint64_t update_ns = ch->update_ns || ch->modulus ? ch->update_ns : UNKNOWN_UPDATE_NS;
	uint64_t ns = eg_add_sat(dt_ns, update_ns), uj;

	if (ch->unit_num == 0)
		return 0;
	if (__builtin_mul_overflow(ch->max_uw, ns, &uj))
		uj = at_most_64((u128)ch->max_uw * ns / EG_NSEC_PER_SEC);
	else
		uj /= EG_NSEC_PER_SEC;
	uj = eg_add_sat(eg_add_sat(uj, ch->resolution_uj), ch->resolution_uj);
	uj = eg_add_sat(uj, 1);
	if (ch->unit_num == ch->unit_den)
		return eg_add_sat(uj, 1);
	return at_most_64((u128)uj * ch->unit_den / ch->unit_num + 1);
}

/* How long the machine slept between the last reading and this one; 0 for less than 100 ms. */
static uint64_t suspend_ns(const struct eg_counter *c, uint64_t t_ns, uint64_t awake_ns)
{
	uint64_t dt_ns = t_ns - c->t_ns;
	int64_t slept = (int64_t)(dt_ns - (awake_ns - c->awake_ns));

	return slept <= SUSPEND_MIN_NS ? 0 : EG_MIN((uint64_t)slept, dt_ns);
}

/* The event of a step of the same epoch; *ret_delta is the raw energy where it is known. */
static enum eg_counter_event classify(const struct eg_channel *ch, uint64_t prev, uint64_t raw,
				      uint64_t limit, uint64_t *ret_delta)
{
	uint64_t m = ch->modulus;
	enum eg_counter_event event;

	if (prev >= m || raw >= m) /* outside its declared range: the range says nothing */
		m = 0;
	if (raw >= prev) {
		*ret_delta = raw - prev;
		if (*ret_delta > limit)
			return EG_COUNTER_IMPLAUSIBLE;
		event = EG_COUNTER_STEP;
	} else {
		*ret_delta = m - prev + raw;
		if (m == 0 || *ret_delta > limit)
			return EG_COUNTER_RESET;
		event = EG_COUNTER_WRAP;
	}
	if (m > 0 && (limit == UINT64_MAX || m <= limit - *ret_delta))
		return EG_COUNTER_AMBIGUOUS;
	return event;
}

/* What a reading after another one means. */
static struct eg_counter_step next_step(struct eg_counter *c, const struct eg_channel *ch,
					const struct eg_reading *reading, uint64_t awake_ns)
{
	uint64_t raw = reading->raw, dt_ns = reading->t_ns - c->t_ns, delta = 0;
	uint64_t slept = suspend_ns(c, reading->t_ns, awake_ns);
	uint64_t limit = limit_raw(ch, dt_ns);
	struct eg_counter_step step = {.dt_ns = dt_ns, .gap_ns = dt_ns};
	bool known = false;

	step.event = reading->epoch == c->epoch ? classify(ch, c->raw, raw, limit, &delta) :
						  EG_COUNTER_RESET;
	if (step.event == EG_COUNTER_STEP || step.event == EG_COUNTER_WRAP) {
		/* Hardware that woke may have counted from zero since: then nobody can know. */
		known = !slept || raw > limit_raw(ch, dt_ns - slept);
		if (known)
			step.gap_ns = slept;
		else
			step.event = EG_COUNTER_AMBIGUOUS;
	} else if (step.event == EG_COUNTER_RESET && ch->zero_based) {
		/*
		 * A value below the last one proves the start from zero. One above it after a new epoch
		 * may be either; the difference is in it both ways.
		 */
		delta = raw < c->raw ? raw : raw - c->raw;
		known = delta <= limit;
	}
	if (known)
		step.uj = eg_scale_carry(delta, ch->unit_num, ch->unit_den, &c->rem);
	return step;
}

struct eg_counter_step eg_counter_update(struct eg_counter *c, const struct eg_channel *ch,
					 const struct eg_reading *reading, uint64_t awake_ns)
{
	struct eg_counter_step step = {.event = EG_COUNTER_FIRST};

	if (c->started && reading->t_ns <= c->t_ns)
		return (struct eg_counter_step){.event = EG_COUNTER_OLD};
	if (c->started)
		step = next_step(c, ch, reading, awake_ns);
	c->started = true;
	c->raw = reading->raw;
	c->t_ns = reading->t_ns;
	c->awake_ns = awake_ns;
	c->epoch = reading->epoch;
	return step;
}

uint64_t eg_counter_guard_ns(const struct eg_channel *ch)
{
	uint64_t guard = ch->guard_ns ? ch->guard_ns : UINT64_MAX;
	u128 uj, half_ns;

	if (ch->modulus == 0 || ch->max_uw == 0 || ch->unit_den == 0)
		return guard;
	uj = (u128)ch->modulus * ch->unit_num / ch->unit_den;
	if (uj > (u128)UINT64_MAX * 1000) /* millijoules of 64 bits; keeps the product in range */
		return guard;
	half_ns = uj * EG_NSEC_PER_SEC / ch->max_uw / 2;
	if (half_ns == 0)
		half_ns = 1;
	return half_ns < guard ? (uint64_t)half_ns : guard;
}
