/* SPDX-License-Identifier: Apache-2.0 */
/* See power.h. Every antiderivative F(t) is one fixed number for each t, so F(b) - F(a) adds up. */
#include "sim/power.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/parse.h"

#define TWO_PI 6.283185307179586476925286766559005768L

long double eg_fj_to_joules(eg_fj e)
{
	/* Whole joules and the rest apart: each part is exact in a long double. */
	eg_fj whole = e / EG_FJ_PER_J, rest = e % EG_FJ_PER_J;

	return (long double)whole + (long double)rest / EG_FJ_PER_J;
}

/* splitmix64's finalizer over both numbers (Steele, Lea, Flood 2014: public constants). */
uint64_t eg_sim_hash(uint64_t seed, uint64_t n)
{
	uint64_t z = seed * 0x9e3779b97f4a7c15ULL + n + 0x9e3779b97f4a7c15ULL;

	for (int i = 0; i < 2; i++) {
		z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
		z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
		z ^= z >> 31;
		z += seed;
	}
	return z;
}

static bool slot_active(const struct eg_power *p, uint64_t slot)
{
	return eg_sim_hash(p->seed, slot) % 1000000 < p->active_ppm;
}

/* Antiderivative of amplitude x sin(2 pi t / period), rounded to a femtojoule, 0 at t = 0. */
static eg_fj sine_fj(uint64_t amplitude_uw, uint64_t period_ns, uint64_t t_ns)
{
	long double turn = (long double)(t_ns % period_ns) / (long double)period_ns;

	/* Not llrintl(): a slow sine of a server swings by more femtojoules than 64 bits hold. */
	return (eg_fj)rintl((long double)amplitude_uw * (long double)period_ns / TWO_PI *
			    (1.0L - cosl(TWO_PI * turn)));
}

static eg_fj steps_fj(const struct eg_power *p, uint64_t t_ns)
{
	uint64_t cycle_ns = 0;
	eg_fj cycle_fj = 0, e = 0;

	for (size_t i = 0; i < p->n_steps; i++) {
		cycle_ns += p->step[i].for_ns;
		cycle_fj += (eg_fj)p->step[i].uw * p->step[i].for_ns;
	}
	if (p->repeat && cycle_ns) {
		e = cycle_fj * (eg_fj)(t_ns / cycle_ns);
		t_ns %= cycle_ns;
	}
	for (size_t i = 0; i < p->n_steps; i++) {
		uint64_t ns = EG_MIN(t_ns, p->step[i].for_ns);

		e += (eg_fj)p->step[i].uw * ns;
		t_ns -= ns;
	}
	return e + (eg_fj)p->step[p->n_steps - 1].uw * t_ns;
}

static eg_fj ramp_fj(const struct eg_power *p, uint64_t t_ns)
{
	eg_fj d = p->period_ns, a = p->low_uw, b = p->high_uw, x, t, e = 0;

	if (p->repeat) {
		e = (a + b) * d / 2 * (eg_fj)(t_ns / p->period_ns);
		t_ns %= p->period_ns;
	} else if (t_ns > p->period_ns) {
		e = b * (eg_fj)(t_ns - p->period_ns);
		t_ns = p->period_ns;
	}
	/* (b - a) t^2 / 2d, in two divisions so that no product leaves 128 bits. */
	t = t_ns;
	x = (b - a) * t;
	return e + a * t + x / (2 * d) * t + x % (2 * d) * t / (2 * d);
}

static eg_fj pulse_fj(const struct eg_power *p, uint64_t t_ns)
{
	eg_fj high =
		(eg_fj)(t_ns / p->period_ns) * p->high_ns + EG_MIN(t_ns % p->period_ns, p->high_ns);

	return (eg_fj)p->low_uw * t_ns + ((eg_fj)p->high_uw - p->low_uw) * high;
}

/* Slots between two times; counting from 0 for each end would cost the whole past each time. */
static eg_fj slots_fj(const struct eg_power *p, uint64_t t0_ns, uint64_t t1_ns)
{
	eg_fj e = 0;

	while (t0_ns < t1_ns) {
		uint64_t slot = t0_ns / p->period_ns;
		uint64_t end = EG_MIN((slot + 1) * p->period_ns, t1_ns);

		e += (eg_fj)(slot_active(p, slot) ? p->high_uw : p->low_uw) * (end - t0_ns);
		t0_ns = end;
	}
	return e;
}

static eg_fj shape_fj(const struct eg_power *p, uint64_t t0, uint64_t t1)
{
	switch (p->kind) {
	case EG_POWER_CONSTANT:
		return (eg_fj)p->high_uw * (t1 - t0);
	case EG_POWER_STEPS:
		return steps_fj(p, t1) - steps_fj(p, t0);
	case EG_POWER_SINE:
		return (eg_fj)p->mean_uw * (t1 - t0) + sine_fj(p->amplitude_uw, p->period_ns, t1) -
		       sine_fj(p->amplitude_uw, p->period_ns, t0);
	case EG_POWER_PULSE:
		return pulse_fj(p, t1) - pulse_fj(p, t0);
	case EG_POWER_RAMP:
		return ramp_fj(p, t1) - ramp_fj(p, t0);
	case EG_POWER_IDLE_ACTIVE:
		return slots_fj(p, t0, t1);
	}
	return 0;
}

eg_fj eg_power_energy_fj(const struct eg_power *p, uint64_t t0_ns, uint64_t t1_ns)
{
	uint64_t t0 = t0_ns + p->phase_ns, t1 = t1_ns + p->phase_ns;
	eg_fj e = shape_fj(p, t0, t1);

	if (p->noise_uw)
		for (size_t i = 0; i < EG_POWER_SINES; i++) {
			uint64_t a = p->noise_uw / EG_POWER_SINES, d = p->noise[i].period_ns;
			uint64_t shift = p->noise[i].phase_ns;

			e += sine_fj(a, d, t1_ns + shift) - sine_fj(a, d, t0_ns + shift);
		}
	return e;
}

static long double sine_uw(uint64_t amplitude_uw, uint64_t period_ns, uint64_t t_ns)
{
	return (long double)amplitude_uw *
	       sinl(TWO_PI * (long double)(t_ns % period_ns) / (long double)period_ns);
}

static long double steps_uw(const struct eg_power *p, uint64_t t_ns)
{
	uint64_t cycle_ns = 0;

	for (size_t i = 0; i < p->n_steps; i++)
		cycle_ns += p->step[i].for_ns;
	if (p->repeat && cycle_ns)
		t_ns %= cycle_ns;
	for (size_t i = 0; i < p->n_steps; i++) {
		if (t_ns < p->step[i].for_ns)
			return (long double)p->step[i].uw;
		t_ns -= p->step[i].for_ns;
	}
	return (long double)p->step[p->n_steps - 1].uw;
}

static long double shape_uw(const struct eg_power *p, uint64_t t)
{
	switch (p->kind) {
	case EG_POWER_CONSTANT:
		return (long double)p->high_uw;
	case EG_POWER_STEPS:
		return steps_uw(p, t);
	case EG_POWER_SINE:
		return (long double)p->mean_uw + sine_uw(p->amplitude_uw, p->period_ns, t);
	case EG_POWER_PULSE:
		return (long double)(t % p->period_ns < p->high_ns ? p->high_uw : p->low_uw);
	case EG_POWER_RAMP:
		t = p->repeat ? t % p->period_ns : EG_MIN(t, p->period_ns);
		return (long double)p->low_uw + ((long double)p->high_uw - (long double)p->low_uw) *
							(long double)t / (long double)p->period_ns;
	case EG_POWER_IDLE_ACTIVE:
		return (long double)(slot_active(p, t / p->period_ns) ? p->high_uw : p->low_uw);
	}
	return 0;
}

long double eg_power_at_uw(const struct eg_power *p, uint64_t t_ns)
{
	long double uw = shape_uw(p, t_ns + p->phase_ns);

	if (p->noise_uw)
		for (size_t i = 0; i < EG_POWER_SINES; i++)
			uw += sine_uw(p->noise_uw / EG_POWER_SINES, p->noise[i].period_ns,
				      t_ns + p->noise[i].phase_ns);
	return uw;
}

static void bounds(const struct eg_power *p, uint64_t *ret_min, uint64_t *ret_max)
{
	uint64_t lo = EG_MIN(p->low_uw, p->high_uw), hi = EG_MAX(p->low_uw, p->high_uw);

	if (p->kind == EG_POWER_CONSTANT) {
		lo = hi = p->high_uw;
	} else if (p->kind == EG_POWER_SINE) {
		lo = p->mean_uw - p->amplitude_uw;
		hi = p->mean_uw + p->amplitude_uw;
	} else if (p->kind == EG_POWER_STEPS) {
		lo = hi = p->step[0].uw;
		for (size_t i = 1; i < p->n_steps; i++) {
			lo = EG_MIN(lo, p->step[i].uw);
			hi = EG_MAX(hi, p->step[i].uw);
		}
	}
	*ret_min = lo > p->noise_uw ? lo - p->noise_uw : 0;
	*ret_max = hi + p->noise_uw;
}

uint64_t eg_power_min_uw(const struct eg_power *p)
{
	uint64_t lo, hi;

	bounds(p, &lo, &hi);
	return lo;
}

uint64_t eg_power_max_uw(const struct eg_power *p)
{
	uint64_t lo, hi;

	bounds(p, &lo, &hi);
	return hi;
}

/* ---- text ---- */

int eg_power_parse_uw(const char *word, uint64_t *ret_uw)
{
	static const struct {
		const char *suffix;
		double uw;
	} units[] = {{"uW", 1}, {"mW", 1e3}, {"W", 1e6}, {"kW", 1e9}, {"cpu", 1e6}, {"", 1e6}};
	size_t n = strlen(word), num = n;
	double v;

	while (num && ((word[num - 1] | 0x20) >= 'a' && (word[num - 1] | 0x20) <= 'z'))
		num--;
	if (num == 0 || eg_parse_double(word, num, &v) < 0)
		return -EINVAL;
	for (size_t i = 0; i < EG_ARRAY_SIZE(units); i++)
		if (strcmp(word + num, units[i].suffix) == 0) {
			v = v * units[i].uw + 0.5;
			if (v < 0.5 - 1e-9 || v > (double)EG_POWER_UW_MAX)
				return -ERANGE;
			*ret_uw = (uint64_t)v;
			return 0;
		}
	return -EINVAL;
}

enum value_type { UW, NS, RATIO, SEED };

/* What a shape may say, and where it goes. */
struct word {
	const char *name;
	enum value_type type;
	bool needed;
	size_t offset;
};
#define AT(m) offsetof(struct text_values, m)
struct text_values {
	uint64_t a, b, period, width, phase, seed, noise, noise_period, noise_seed;
	double ratio;
};
static const struct word common_words[] = {
	{"noise", UW, false, AT(noise)},
	{"noise-period", NS, false, AT(noise_period)},
	{"noise-seed", SEED, false, AT(noise_seed)},
	{"phase", NS, false, AT(phase)},
	{0},
};
static const struct word sine_words[] = {{"mean", UW, true, AT(a)},
					 {"amplitude", UW, true, AT(b)},
					 {"period", NS, true, AT(period)},
					 {0}};
static const struct word square_words[] = {{"low", UW, true, AT(a)},
					   {"high", UW, true, AT(b)},
					   {"period", NS, true, AT(period)},
					   {"duty", RATIO, false, AT(ratio)},
					   {0}};
static const struct word burst_words[] = {{"base", UW, true, AT(a)},
					  {"peak", UW, true, AT(b)},
					  {"period", NS, true, AT(period)},
					  {"width", NS, true, AT(width)},
					  {0}};
static const struct word ramp_words[] = {
	{"from", UW, true, AT(a)}, {"to", UW, true, AT(b)}, {"over", NS, true, AT(period)}, {0}};
static const struct word idle_words[] = {
	{"idle", UW, true, AT(a)},	 {"active", UW, true, AT(b)},
	{"slot", NS, true, AT(period)},	 {"share", RATIO, false, AT(ratio)},
	{"seed", SEED, false, AT(seed)}, {0}};
static const struct word no_words[] = {{0}};
static const struct shape {
	const char *name;
	enum eg_power_kind kind;
	const struct word *words;
} shapes[] = {
	{"constant", EG_POWER_CONSTANT, no_words},
	{"steps", EG_POWER_STEPS, no_words},
	{"sine", EG_POWER_SINE, sine_words},
	{"square", EG_POWER_PULSE, square_words},
	{"bursts", EG_POWER_PULSE, burst_words},
	{"ramp", EG_POWER_RAMP, ramp_words},
	{"idle-active", EG_POWER_IDLE_ACTIVE, idle_words},
};

static int bad(char *why, size_t cap, const char *fmt, ...) EG_PRINTF(3, 4);
static int bad(char *why, size_t cap, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, cap, fmt, ap);
	va_end(ap);
	return -EINVAL;
}

static const struct word *find_word(const struct word *w, const char *name)
{
	for (; w->name; w++)
		if (strcmp(w->name, name) == 0)
			return w;
	return NULL;
}

static int put_value(const struct word *w, const char *value, struct text_values *v, char *why,
		     size_t cap)
{
	void *at = (char *)v + w->offset;
	int r = -EINVAL;

	switch (w->type) {
	case UW:
		r = eg_power_parse_uw(value, at);
		break;
	case NS:
		r = eg_parse_duration(value, 0, at);
		if (r == 0 && *(uint64_t *)at > EG_POWER_NS_MAX)
			r = -ERANGE;
		break;
	case RATIO:
		r = eg_parse_double(value, strlen(value), at);
		if (r == 0 && (*(double *)at < 0 || *(double *)at > 1))
			r = -ERANGE;
		break;
	case SEED:
		r = eg_parse_u64(value, strlen(value), at);
		break;
	}
	if (r < 0)
		return bad(why, cap, "%s=%s is not %s", w->name, value,
			   w->type == UW    ? "a power such as 12.5W (at most 1MW)" :
			   w->type == NS    ? "a time such as 20ms (at most 10d)" :
			   w->type == RATIO ? "a number from 0 to 1" :
					      "a whole number");
	return 0;
}

static int put_step(struct eg_power *p, char *word, char *why, size_t cap)
{
	char *colon = strchr(word, ':');

	if (p->n_steps == EG_POWER_STEPS_MAX)
		return bad(why, cap, "more than %d steps", EG_POWER_STEPS_MAX);
	if (colon)
		*colon = '\0';
	if (!colon || eg_parse_duration(word, 0, &p->step[p->n_steps].for_ns) < 0 ||
	    p->step[p->n_steps].for_ns == 0 || p->step[p->n_steps].for_ns > EG_POWER_NS_MAX ||
	    eg_power_parse_uw(colon + 1, &p->step[p->n_steps].uw) < 0)
		return bad(why, cap, "a step is TIME:POWER, such as 10s:100W");
	p->n_steps++;
	return 0;
}

/* Spreads the noise over half a decade around its period, each sine with its own phase. */
static void seed_noise(struct eg_power *p, uint64_t period_ns, uint64_t seed)
{
	for (uint64_t i = 0; i < EG_POWER_SINES; i++) {
		uint64_t h = eg_sim_hash(seed, i);

		p->noise[i].period_ns = EG_MAX(1, period_ns / 2 + h % (period_ns + 1));
		p->noise[i].phase_ns =
			eg_sim_hash(seed, i + EG_POWER_SINES) % p->noise[i].period_ns;
	}
}

static int finish(struct eg_power *p, const struct shape *shape, const struct text_values *v,
		  char *why, size_t cap)
{
	p->phase_ns = v->phase;
	p->seed = v->seed;
	if (p->kind != EG_POWER_CONSTANT && p->kind != EG_POWER_STEPS) {
		if (v->period == 0)
			return bad(why, cap, "a period of 0");
		p->period_ns = v->period;
		p->low_uw = v->a;
		p->high_uw = v->b;
	}
	if (p->kind == EG_POWER_IDLE_ACTIVE && v->period < EG_POWER_SLOT_MIN_NS)
		return bad(why, cap, "slots are 10ms or longer");
	if (p->kind == EG_POWER_SINE) {
		p->mean_uw = v->a;
		p->amplitude_uw = v->b;
		p->low_uw = p->high_uw = 0;
		if (v->b > v->a)
			return bad(why, cap, "amplitude above mean: power would be negative");
	}
	if (p->kind == EG_POWER_PULSE)
		p->high_ns = shape->words == burst_words ?
				     v->width :
				     (uint64_t)(v->ratio * (double)v->period + 0.5);
	if (p->kind == EG_POWER_PULSE && p->high_ns > p->period_ns)
		return bad(why, cap, "width above period");
	p->active_ppm = (uint32_t)(v->ratio * 1e6 + 0.5);
	if (p->kind == EG_POWER_STEPS && p->n_steps == 0)
		return bad(why, cap, "no step; write steps 10s:100W 5s:300W");
	if (v->noise) {
		if (v->noise > eg_power_min_uw(p))
			return bad(why, cap,
				   "noise above the lowest power: power would be negative");
		p->noise_uw = v->noise;
		seed_noise(p, v->noise_period, v->noise_seed);
	}
	return 0;
}

static int parse_words(char *rest, const struct shape *shape, struct eg_power *p,
		       struct text_values *v, char *why, size_t cap)
{
	unsigned seen = 0, constants = 0;
	char *save = NULL;

	for (char *w = strtok_r(rest, " \t", &save); w; w = strtok_r(NULL, " \t", &save)) {
		char *eq = strchr(w, '=');
		const struct word *k;
		int r;

		if (!eq && strcmp(w, "repeat") == 0 &&
		    (p->kind == EG_POWER_STEPS || p->kind == EG_POWER_RAMP)) {
			p->repeat = 1;
			continue;
		}
		if (!eq && p->kind == EG_POWER_STEPS) {
			r = put_step(p, w, why, cap);
			if (r < 0)
				return r;
			continue;
		}
		if (!eq && p->kind == EG_POWER_CONSTANT && constants++ == 0 &&
		    eg_power_parse_uw(w, &p->high_uw) == 0)
			continue;
		if (eq)
			*eq = '\0';
		k = eq ? find_word(shape->words, w) : NULL;
		if (k)
			seen |= 1u << (k - shape->words);
		else if (eq)
			k = find_word(common_words, w);
		if (!k)
			return bad(why, cap, "'%s' means nothing in a %s function", w, shape->name);
		r = put_value(k, eq + 1, v, why, cap);
		if (r < 0)
			return r;
	}
	for (const struct word *k = shape->words; k->name; k++)
		if (k->needed && !(seen & (1u << (k - shape->words))))
			return bad(why, cap, "%s needs %s=", shape->name, k->name);
	if (p->kind == EG_POWER_CONSTANT && constants == 0)
		return bad(why, cap, "constant needs a power such as 300W");
	return 0;
}

int eg_power_parse(const char *text, struct eg_power *ret, char *why, size_t why_cap)
{
	struct text_values v = {.ratio = 0.5, .noise_period = 200 * EG_NSEC_PER_MSEC};
	const struct shape *shape = NULL;
	struct eg_power p = {0};
	char copy[1024];
	size_t n;
	int r;

	text += strspn(text, " \t");
	if (eg_copy(copy, sizeof(copy), text) < 0)
		return bad(why, why_cap, "too long");
	n = strcspn(copy, " \t");
	for (size_t i = 0; i < EG_ARRAY_SIZE(shapes); i++)
		if (strlen(shapes[i].name) == n && strncmp(shapes[i].name, copy, n) == 0)
			shape = &shapes[i];
	if (!shape) {
		uint64_t uw;
		char word[64];

		if (n >= sizeof(word) || n == 0)
			return bad(why, why_cap, "no power function");
		memcpy(word, copy, n);
		word[n] = '\0';
		if (eg_power_parse_uw(word, &uw) < 0)
			return bad(
				why, why_cap,
				"'%s' is neither a power nor one of constant, steps, sine, square, "
				"bursts, ramp, idle-active",
				word);
		shape = &shapes[0];
		n = 0;
	}
	p.kind = shape->kind;
	r = parse_words(copy + n, shape, &p, &v, why, why_cap);
	if (r == 0)
		r = finish(&p, shape, &v, why, why_cap);
	if (r < 0)
		return r;
	*ret = p;
	return 0;
}
