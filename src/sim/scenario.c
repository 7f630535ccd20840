/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See scenario.h; the format is told in docs/simulator.md. One table says which key a section may
 * hold, of which type, and where it goes; the rest is the walk over lines.
 */
#include "sim/scenario.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/parse.h"

/* Sections, as bits so that a key can belong to several. */
enum {
	S_SCENARIO = 1 << 0,
	S_MACHINE = 1 << 1,
	S_PROC = 1 << 2,
	S_FILE = 1 << 3,
	S_RAPL = 1 << 4,
	S_PERF = 1 << 5,
	S_PMU = 1 << 6,
	S_CHIP = 1 << 7,
	S_ENERGY = 1 << 8,
	S_POWER = 1 << 9,
	S_RAIL = 1 << 10,
	S_BATTERY = 1 << 11,
	S_CGROUP = 1 << 12,
	S_COUNTER = S_RAPL | S_PERF | S_ENERGY,
	S_GAUGE = S_POWER | S_RAIL | S_BATTERY,
	S_SENSOR = S_COUNTER | S_GAUGE,
};

enum key_type {
	T_TEXT, /* char array of `size` */
	T_FUNC, /* struct eg_power */
	T_NS,	/* duration */
	T_UW,	/* power */
	T_UV,	/* "12V", "830mV" */
	T_U64,	/* `size` is the largest value, 0 = any */
	T_OCTAL,
	T_CONFIG, /* 0x.. or decimal */
	T_NJ,	  /* "61035nJ", "15.3uJ" */
	T_PPM,	  /* "+1.5%" */
	T_WH,	  /* "50Wh" -> uWh */
	T_YES,	  /* bool: yes, no */
	T_RANGE,  /* uJ, or absent */
	T_BITS,	  /* width of the register */
	T_ENABLE,
	T_FORM,
	T_STATUS,
	T_EVENT,
	T_FILE_TEXT,
};

struct key {
	const char *name;
	unsigned sections;
	enum key_type type;
	size_t offset, size;
};

#define CH(m)  offsetof(struct eg_sim_channel, m)
#define CHS(m) offsetof(struct eg_sim_channel, m), sizeof(((struct eg_sim_channel *)0)->m)
#define SC(m)  offsetof(struct eg_scenario, m)
#define SCS(m) offsetof(struct eg_scenario, m), sizeof(((struct eg_scenario *)0)->m)
#define FI(m)  offsetof(struct eg_sim_file, m)
#define FIS(m) offsetof(struct eg_sim_file, m), sizeof(((struct eg_sim_file *)0)->m)

static const struct key keys[] = {
	{"title", S_SCENARIO, T_TEXT, SCS(title)},
	{"needs", S_SCENARIO, T_TEXT, SCS(needs)},
	{"cpus", S_MACHINE, T_U64, SC(cpus), EG_SCENARIO_CPUS_MAX},
	{"packages", S_MACHINE, T_U64, SC(packages), 64},
	{"dies", S_MACHINE, T_U64, SC(dies), 16},
	{"model", S_MACHINE, T_TEXT, SCS(model_name)},
	{"vendor", S_MACHINE, T_TEXT, SCS(vendor)},
	{"family", S_MACHINE, T_U64, SC(family), 65535},
	{"model-number", S_MACHINE, T_U64, SC(model), 65535},
	{"stepping", S_MACHINE, T_U64, SC(stepping), 65535},
	{"kernel", S_MACHINE, T_TEXT, SCS(kernel)},
	{"boot-id", S_MACHINE, T_TEXT, SCS(boot_id)},
	{"memory-bytes", S_MACHINE, T_U64, SC(memory_bytes), 0},
	{"seed", S_MACHINE, T_U64, SC(seed), 0},
	{"utilization", S_PROC, T_FUNC, SC(utilization), 0},
	{"update", S_PROC, T_NS, SC(proc_update_ns), 0},
	{"text", S_FILE, T_FILE_TEXT, 0, 0},
	{"link", S_FILE, T_TEXT, FIS(link)},
	{"mode", S_FILE, T_OCTAL, FI(mode), 0},
	{"event", S_MACHINE | S_SENSOR, T_EVENT, 0, 0},
	{"power", S_SENSOR, T_FUNC, CH(power), 0},
	{"cpu", S_CGROUP, T_FUNC, CH(power), 0},
	{"name", S_RAPL | S_CHIP, T_TEXT, CHS(name)},
	{"device", S_CHIP, T_TEXT, CHS(device)},
	{"label", S_ENERGY | S_POWER | S_RAIL, T_TEXT, CHS(label)},
	{"gain", S_SENSOR, T_PPM, CH(gain_ppm), 0},
	{"update", S_SENSOR | S_CGROUP, T_NS, CH(update_ns), 0},
	{"unit", S_RAPL | S_ENERGY, T_NJ, CH(unit_nj), 0},
	{"range", S_RAPL, T_RANGE, CH(range_uj), 0},
	{"bits", S_RAPL | S_ENERGY, T_BITS, CH(modulus_raw), 0},
	{"start", S_RAPL | S_ENERGY, T_U64, CH(start_uj), 0},
	{"max-power", S_RAPL, T_UW, CH(max_power_uw), 0},
	{"mode", S_SENSOR, T_OCTAL, CH(mode), 0},
	{"mirror", S_RAPL, T_TEXT, CHS(mirror_id)},
	{"config", S_PERF, T_CONFIG, CH(config), 0},
	{"unit-bits", S_PERF, T_U64, CH(unit_bits), 32},
	{"fold", S_PERF, T_NS, CH(fold_ns), 0},
	{"type", S_PMU, T_U64, CH(type), 65535},
	{"cpumask", S_PMU, T_TEXT, CHS(cpumask)},
	{"average", S_POWER, T_NS, CH(average_ns), 0},
	{"input", S_POWER, T_YES, CH(show_input), 0},
	{"resolution", S_POWER, T_UW, CH(resolution_uw), 0},
	{"meter-noise", S_POWER, T_UW, CH(meter_noise_uw), 0},
	{"enable", S_ENERGY | S_POWER | S_RAIL, T_ENABLE, CH(enable), 0},
	{"volts", S_RAIL | S_BATTERY, T_UV, CH(volts_uv), 0},
	{"in", S_RAIL, T_U64, CH(in_index), 999},
	{"curr", S_RAIL, T_U64, CH(curr_index), 999},
	{"form", S_BATTERY, T_FORM, 0, 0},
	{"status", S_BATTERY, T_STATUS, 0, 0},
	{"negative-current", S_BATTERY, T_YES, CH(negative_current), 0},
	{"energy-full", S_BATTERY, T_WH, CH(energy_full_uwh), 0},
	{"energy-start", S_BATTERY, T_WH, CH(energy_start_uwh), 0},
};

static const struct {
	const char *name;
	enum eg_sim_event_kind kind;
	bool machine, lasts;
} event_words[] = {
	{"reset", EG_SIM_RESET, false, false},
	{"eacces", EG_SIM_EACCES, false, true},
	{"eio", EG_SIM_EIO, false, true},
	{"hang", EG_SIM_HANG, false, true},
	{"vanish", EG_SIM_VANISH, false, true},
	{"garbage", EG_SIM_GARBAGE, false, true},
	{"no-range", EG_SIM_NO_RANGE, false, true},
	{"reload", EG_SIM_RELOAD, false, true},
	{"charge", EG_SIM_CHARGE, false, true},
	{"suspend", EG_SIM_SUSPEND, true, true},
	{"clock-step", EG_SIM_CLOCK_STEP, true, false},
	{"reboot", EG_SIM_REBOOT, true, false},
};

struct parser {
	struct eg_scenario *sc;
	struct eg_scenario_error *error;
	unsigned line, section;
	size_t at; /* channel or file of the section */
	bool titled;
};

static int fail(struct parser *p, unsigned line, const char *fmt, ...) EG_PRINTF(3, 4);
static int fail(struct parser *p, unsigned line, const char *fmt, ...)
{
	va_list ap;

	p->error->line = line;
	va_start(ap, fmt);
	vsnprintf(p->error->message, sizeof(p->error->message), fmt, ap);
	va_end(ap);
	return -EINVAL;
}

/* Keeps the nearest word within a third of its length; "" where none is near. */
struct near {
	const char *word;
	unsigned distance;
};

static void near_try(struct near *n, const char *typed, const char *word)
{
	unsigned d = eg_edit_distance(typed, word);

	if (d <= 1 + strlen(word) / 3 && (!n->word || d < n->distance))
		*n = (struct near){word, d};
}

static int fail_near(struct parser *p, const char *what, const char *typed, const struct near *n)
{
	if (n->word)
		return fail(p, p->line, "unknown %s '%.40s'; did you mean '%s'?", what, typed,
			    n->word);
	return fail(p, p->line, "unknown %s '%.40s'", what, typed);
}

/* ---- values ---- */

/* NUMBER SUFFIX with one of the suffixes given; the result rounded, at most max. */
static int scaled(const char *s, const char *const *suffix, const double *scale, double max,
		  uint64_t *ret)
{
	size_t n = strlen(s);

	for (size_t i = 0; suffix[i]; i++) {
		size_t m = strlen(suffix[i]);
		double v;

		if (n <= m || strcmp(s + n - m, suffix[i]) != 0 ||
		    eg_parse_double(s, n - m, &v) < 0)
			continue;
		v = v * scale[i] + 0.5;
		if (v < 1 || v > max)
			return -ERANGE;
		*ret = (uint64_t)v;
		return 0;
	}
	return -EINVAL;
}

static int parse_volts(const char *s, uint64_t *ret)
{
	static const char *const suffix[] = {"mV", "V", NULL};
	static const double scale[] = {1e3, 1e6};

	return scaled(s, suffix, scale, 1e12, ret);
}

static int parse_unit(const char *s, uint64_t *ret)
{
	static const char *const suffix[] = {"nJ", "uJ", "mJ", "J", NULL};
	static const double scale[] = {1, 1e3, 1e6, 1e9};

	return scaled(s, suffix, scale, 1e12, ret);
}

static int parse_wh(const char *s, uint64_t *ret)
{
	static const char *const suffix[] = {"Wh", NULL};
	static const double scale[] = {1e6};

	return scaled(s, suffix, scale, 1e12, ret);
}

static int parse_ppm(const char *s, int32_t *ret)
{
	size_t n = strlen(s);
	double v;

	if (n < 2 || s[n - 1] != '%' || eg_parse_double(s, n - 1, &v) < 0)
		return -EINVAL;
	if (v < -99 || v > 100)
		return -ERANGE;
	*ret = (int32_t)(v * 1e4 + (v < 0 ? -0.5 : 0.5));
	return 0;
}

static int parse_octal(const char *s, uint64_t *ret)
{
	uint64_t v = 0;

	if (!*s || strlen(s) > 4)
		return -EINVAL;
	for (; *s; s++) {
		if (*s < '0' || *s > '7')
			return -EINVAL;
		v = v * 8 + (uint64_t)(*s - '0');
	}
	if (v > 0777)
		return -ERANGE;
	*ret = v;
	return 0;
}

static int parse_yes(const char *s, bool *ret)
{
	if (strcmp(s, "yes") != 0 && strcmp(s, "no") != 0)
		return -EINVAL;
	*ret = *s == 'y';
	return 0;
}

/* "\n" in a text is a new line, "\t" a tab, "\\" a backslash. */
static char *unescape(const char *s)
{
	char *out = malloc(strlen(s) + 2), *o = out;

	if (!out)
		return NULL;
	for (; *s; s++) {
		if (*s == '\\' && s[1] && strchr("nt\\", s[1]))
			*o++ = *++s == 'n' ? '\n' : *s == 't' ? '\t' : '\\';
		else
			*o++ = *s;
	}
	if (o > out && o[-1] != '\n')
		*o++ = '\n';
	*o = '\0';
	return out;
}

static int clock_step(const char *s, int64_t *ret)
{
	bool neg = *s == '-';
	uint64_t ns;

	if (*s != '-' && *s != '+')
		return -EINVAL;
	if (eg_parse_duration(s + 1, 0, &ns) < 0)
		return -EINVAL;
	*ret = neg ? -(int64_t)ns : (int64_t)ns;
	return 0;
}

/* Splits off the last two words "for DURATION". */
static int event_length(struct parser *p, char *s, struct eg_sim_event *e)
{
	char *f = strstr(s, " for ");

	if (!f)
		return 0;
	if (eg_parse_duration(f + 5, 0, &e->for_ns) < 0 || !e->for_ns ||
	    e->for_ns > EG_POWER_NS_MAX)
		return fail(p, p->line, "'for %.40s' is no duration such as 10s", f + 5);
	*f = '\0';
	return 0;
}

static int event_argument(struct parser *p, const char *arg, struct eg_sim_event *e)
{
	switch (e->kind) {
	case EG_SIM_RESET:
		if (*arg && eg_parse_u64(arg, strlen(arg), &e->value) < 0)
			return fail(p, p->line, "reset takes a counter value, not '%.40s'", arg);
		return 0;
	case EG_SIM_GARBAGE:
		if (!*arg || eg_copy(e->text, sizeof(e->text), arg) < 0)
			return fail(p, p->line, "garbage takes a text of at most 63 bytes");
		return 0;
	case EG_SIM_CLOCK_STEP:
		if (clock_step(arg, &e->step_ns) < 0)
			return fail(p, p->line, "clock-step takes +TIME or -TIME, such as +1h");
		return 0;
	default:
		if (*arg)
			return fail(p, p->line, "'%.40s' after the event means nothing", arg);
		return 0;
	}
}

/* TIME KIND [ARGUMENT] [for DURATION] */
static int put_event(struct parser *p, char *value)
{
	bool machine = p->section == S_MACHINE;
	struct eg_sim_event e = {.channel = machine ? -1 : (int)p->at, .line = p->line};
	struct near near = {0};
	struct eg_scenario *sc = p->sc;
	char *save = NULL, *when, *kind, *arg;
	size_t w = 0;
	int r;

	r = event_length(p, value, &e);
	if (r < 0)
		return r;
	when = strtok_r(value, " \t", &save);
	kind = strtok_r(NULL, " \t", &save);
	arg = strtok_r(NULL, "", &save);
	if (!when || !kind || eg_parse_duration(when, 0, &e.at_ns) < 0 || e.at_ns > EG_POWER_NS_MAX)
		return fail(p, p->line, "an event is TIME KIND, such as 10s reset");
	for (; w < EG_ARRAY_SIZE(event_words); w++) {
		if (event_words[w].machine == machine)
			near_try(&near, kind, event_words[w].name);
		if (event_words[w].machine == machine && strcmp(event_words[w].name, kind) == 0)
			break;
	}
	if (w == EG_ARRAY_SIZE(event_words))
		return fail_near(p, machine ? "event of a machine" : "event of a sensor", kind,
				 &near);
	e.kind = event_words[w].kind;
	if (e.for_ns && !event_words[w].lasts)
		return fail(p, p->line, "%s happens once; it takes no 'for'", kind);
	if (e.kind == EG_SIM_SUSPEND && !e.for_ns)
		return fail(p, p->line, "suspend needs 'for DURATION'");
	r = event_argument(p, arg ? arg + strspn(arg, " \t") : "", &e);
	if (r < 0)
		return r;
	if (sc->n_events == EG_SCENARIO_EVENTS_MAX)
		return fail(p, p->line, "more than %d events", EG_SCENARIO_EVENTS_MAX);
	/* In order of time; equal times as written. */
	w = sc->n_events++;
	for (; w > 0 && sc->event[w - 1].at_ns > e.at_ns; w--)
		sc->event[w] = sc->event[w - 1];
	sc->event[w] = e;
	return 0;
}

static void *target(struct parser *p, const struct key *k)
{
	if (p->section == S_FILE)
		return (char *)&p->sc->file[p->at] + k->offset;
	if (p->section & (S_SCENARIO | S_MACHINE | S_PROC))
		return (char *)p->sc + k->offset;
	return (char *)&p->sc->channel[p->at] + k->offset;
}

static int put_function(struct parser *p, const char *value, struct eg_power *ret)
{
	char why[160];

	if (eg_power_parse(value, ret, why, sizeof(why)) < 0)
		return fail(p, p->line, "%s", why);
	if (!(p->section & (S_SCENARIO | S_MACHINE | S_PROC)))
		p->sc->channel[p->at].has_power = true;
	if (p->section == S_PROC && eg_power_max_uw(ret) > EG_UJ_PER_J)
		return fail(p, p->line, "utilization goes from 0 to 1");
	return 0;
}

/* Types whose words are few and fixed. */
static int put_word(struct parser *p, const struct key *k, const char *value)
{
	struct eg_sim_channel *c = &p->sc->channel[p->at];

	switch (k->type) {
	case T_RANGE:
		c->show_range = strcmp(value, "absent") != 0;
		return c->show_range ? eg_parse_u64(value, strlen(value), &c->range_uj) : 0;
	case T_ENABLE:
		if (strcmp(value, "0") != 0 && strcmp(value, "1") != 0)
			return -EINVAL;
		c->enable = *value - '0';
		return 0;
	case T_FORM:
		if (strcmp(value, "power") != 0 && strcmp(value, "current") != 0)
			return -EINVAL;
		c->by_current = *value == 'c';
		return 0;
	case T_STATUS:
		if (strcmp(value, "charging") != 0 && strcmp(value, "discharging") != 0)
			return -EINVAL;
		c->charging = *value == 'c';
		return 0;
	default:
		return -EINVAL;
	}
}

static int put_bits(const char *value, uint64_t *ret)
{
	uint64_t bits;

	if (eg_parse_u64(value, strlen(value), &bits) < 0)
		return -EINVAL;
	if (bits < 4 || bits > 64)
		return -ERANGE;
	*ret = bits == 64 ? 0 : 1ULL << bits;
	return 0;
}

static int put_u64(const struct key *k, const char *value, uint64_t *ret)
{
	uint64_t v;
	int r = eg_parse_u64(value, strlen(value), &v);

	if (r < 0 || (k->size && v > k->size))
		return -ERANGE;
	*ret = v;
	return 0;
}

static const char *expected(enum key_type type)
{
	switch (type) {
	case T_TEXT:
		return "a text of that length";
	case T_NS:
		return "a time such as 100ms";
	case T_UW:
		return "a power such as 12.5W";
	case T_UV:
		return "a voltage such as 12V";
	case T_U64:
		return "a whole number in its range";
	case T_OCTAL:
		return "a file mode such as 0400";
	case T_CONFIG:
		return "a number such as 2 or 0x2";
	case T_NJ:
		return "an energy such as 61035nJ or 15.3uJ";
	case T_PPM:
		return "a percentage such as +1.5%";
	case T_WH:
		return "an energy such as 50Wh";
	case T_YES:
		return "yes or no";
	case T_RANGE:
		return "a number of microjoules or absent";
	case T_BITS:
		return "a width from 4 to 64";
	case T_ENABLE:
		return "0 or 1";
	case T_FORM:
		return "power or current";
	case T_STATUS:
		return "charging or discharging";
	default:
		return "valid";
	}
}

static int put_value(struct parser *p, const struct key *k, char *value)
{
	void *at = target(p, k);
	int r = 0;

	switch (k->type) {
	case T_EVENT:
		return put_event(p, value);
	case T_FUNC:
		return put_function(p, value, at);
	case T_TEXT:
		r = eg_copy(at, k->size, value);
		break;
	case T_NS:
		r = eg_parse_duration(value, 0, at);
		if (r == 0 && (*(uint64_t *)at == 0 || *(uint64_t *)at > EG_POWER_NS_MAX))
			r = -ERANGE;
		break;
	case T_UW:
		r = eg_power_parse_uw(value, at);
		break;
	case T_UV:
		r = parse_volts(value, at);
		break;
	case T_U64:
		r = put_u64(k, value, at);
		break;
	case T_OCTAL:
		r = parse_octal(value, at);
		break;
	case T_CONFIG:
		r = strncmp(value, "0x", 2) == 0 ? eg_parse_hex(value + 2, strlen(value) - 2, at) :
						   eg_parse_u64(value, strlen(value), at);
		break;
	case T_NJ:
		r = parse_unit(value, at);
		break;
	case T_PPM:
		r = parse_ppm(value, at);
		break;
	case T_WH:
		r = parse_wh(value, at);
		break;
	case T_YES:
		r = parse_yes(value, at);
		break;
	case T_BITS:
		r = put_bits(value, at);
		break;
	case T_FILE_TEXT:
		free(p->sc->file[p->at].text);
		p->sc->file[p->at].text = unescape(value);
		return p->sc->file[p->at].text ? 0 : -ENOMEM;
	default:
		r = put_word(p, k, value);
		break;
	}
	if (r < 0)
		return fail(p, p->line, "%s = %.60s is not %s", k->name, value, expected(k->type));
	return 0;
}

/* ---- sections ---- */

/* A path below the root that stays there. */
static bool good_path(const char *s)
{
	if (!*s || *s == '/')
		return false;
	for (const char *c = s; *c; c = *strchrnul(c, '/') ? strchrnul(c, '/') + 1 : "") {
		size_t n = (size_t)(strchrnul(c, '/') - c);

		if (n == 0 || n > 200 || (n == 1 && *c == '.') ||
		    (n == 2 && strncmp(c, "..", 2) == 0))
			return false;
	}
	return s[strlen(s) - 1] != '/';
}

static bool good_word(const char *s)
{
	return *s &&
	       strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:_-.") ==
		       strlen(s) &&
	       *s != '.';
}

static void defaults(struct eg_sim_channel *c, enum eg_sim_kind kind)
{
	c->kind = kind;
	c->enable = -1;
	c->mirror = -1;
	c->mode = 0444;
	c->show_input = true;
	c->update_ns = 100 * EG_NSEC_PER_MSEC;
	c->resolution_uw = 1;
	c->volts_uv = 12000000;
	if (kind == EG_SIM_RAPL) {
		c->show_range = true;
		c->mode = 0400;
		c->unit_nj = 61035; /* the kernel's rounding of 2^-14 J */
		c->modulus_raw = 1ULL << 32;
		c->update_ns = EG_NSEC_PER_MSEC;
	} else if (kind == EG_SIM_HWMON_ENERGY) {
		c->unit_nj = 1000;
	} else if (kind == EG_SIM_PERF) {
		c->update_ns = EG_NSEC_PER_MSEC;
		c->unit_bits = 14;
	} else if (kind == EG_SIM_PMU) {
		c->type = 20;
		eg_copy(c->cpumask, sizeof(c->cpumask), "0");
	} else if (kind == EG_SIM_BATTERY) {
		c->update_ns = EG_NSEC_PER_SEC;
		c->energy_full_uwh = 50000000;
		c->energy_start_uwh = 45000000;
	} else if (kind == EG_SIM_CGROUP) {
		c->update_ns = 10 * EG_NSEC_PER_MSEC;
	}
}

static int new_channel(struct parser *p, enum eg_sim_kind kind, const char *title)
{
	struct eg_scenario *sc = p->sc;
	struct eg_sim_channel *c;
	int old = eg_scenario_channel(sc, title);

	if (old >= 0)
		return fail(p, p->line, "[%s] stands in line %u already", title,
			    sc->channel[old].line);
	if (sc->n_channels == EG_SCENARIO_CHANNELS_MAX)
		return fail(p, p->line, "more than %d sensors", EG_SCENARIO_CHANNELS_MAX);
	p->at = sc->n_channels++;
	c = &sc->channel[p->at];
	defaults(c, kind);
	c->line = p->line;
	eg_copy(c->id, sizeof(c->id), title);
	return 0;
}

static int section_rapl(struct parser *p, const char *title, const char *zone)
{
	struct eg_sim_channel *c;
	int r;

	if (!good_word(zone) || !strchr(zone, ':') || *zone == ':' || strlen(zone) > 40 ||
	    zone[strlen(zone) - 1] == ':')
		return fail(p, p->line, "[rapl ZONE] takes a zone such as intel-rapl:0:1");
	p->section = S_RAPL;
	r = new_channel(p, EG_SIM_RAPL, title);
	if (r < 0)
		return r;
	c = &p->sc->channel[p->at];
	eg_copy(c->node, sizeof(c->node), zone);
	return 0;
}

/* [perf PMU] or [perf PMU EVENT CPU] */
static int section_perf(struct parser *p, const char *title, char **word, size_t n)
{
	struct eg_sim_channel *c;
	uint64_t cpu = 0;
	int r;

	if ((n != 2 && n != 4) || !good_word(word[1]) || (n == 4 && !good_word(word[2])) ||
	    (n == 4 &&
	     (eg_parse_u64(word[3], strlen(word[3]), &cpu) < 0 || cpu >= EG_SCENARIO_CPUS_MAX)))
		return fail(p, p->line, "write [perf PMU] or [perf PMU EVENT CPU]");
	p->section = n == 2 ? S_PMU : S_PERF;
	r = new_channel(p, n == 2 ? EG_SIM_PMU : EG_SIM_PERF, title);
	if (r < 0)
		return r;
	c = &p->sc->channel[p->at];
	if (eg_copy(c->node, sizeof(c->node), word[1]) < 0 ||
	    (n == 4 && eg_copy(c->name, sizeof(c->name), word[2]) < 0))
		return fail(p, p->line, "name too long");
	c->cpu = (int)cpu;
	return 0;
}

/* [hwmon N] or [hwmon N energyM | powerM | railM] */
static int section_hwmon(struct parser *p, const char *title, char **word, size_t n)
{
	static const struct {
		const char *prefix;
		enum eg_sim_kind kind;
		unsigned section;
	} sensors[] = {{"energy", EG_SIM_HWMON_ENERGY, S_ENERGY},
		       {"power", EG_SIM_HWMON_POWER, S_POWER},
		       {"rail", EG_SIM_HWMON_RAIL, S_RAIL}};
	struct eg_sim_channel *c;
	uint64_t chip, index = 0;
	size_t i = 0;
	int r;

	if (n < 2 || n > 3 || eg_parse_u64(word[1], strlen(word[1]), &chip) < 0 || chip > 999)
		return fail(p, p->line, "write [hwmon N] or [hwmon N SENSOR]");
	for (; n == 3 && i < EG_ARRAY_SIZE(sensors); i++) {
		size_t m = strlen(sensors[i].prefix);

		if (strncmp(word[2], sensors[i].prefix, m) == 0 &&
		    eg_parse_u64(word[2] + m, strlen(word[2] + m), &index) == 0 && index <= 99)
			break;
	}
	if (i == EG_ARRAY_SIZE(sensors))
		return fail(p, p->line, "a sensor is energyN, powerN or railN, not '%.40s'",
			    word[2]);
	p->section = n == 2 ? S_CHIP : sensors[i].section;
	r = new_channel(p, n == 2 ? EG_SIM_HWMON : sensors[i].kind, title);
	if (r < 0)
		return r;
	c = &p->sc->channel[p->at];
	snprintf(c->node, sizeof(c->node), "%u", (unsigned)chip);
	c->index = c->in_index = c->curr_index = index;
	return 0;
}

static int section_file(struct parser *p, const char *path)
{
	struct eg_sim_file *f;

	if (!good_path(path) || strlen(path) >= sizeof(f->path))
		return fail(p, p->line, "[file PATH] takes a path below the root, without '..'");
	if (p->sc->n_files == EG_SCENARIO_FILES_MAX)
		return fail(p, p->line, "more than %d files", EG_SCENARIO_FILES_MAX);
	p->section = S_FILE;
	p->at = p->sc->n_files++;
	f = &p->sc->file[p->at];
	eg_copy(f->path, sizeof(f->path), path);
	f->mode = 0444;
	return 0;
}

static int section_named(struct parser *p, const char *title, const char *name,
			 enum eg_sim_kind kind, unsigned section)
{
	struct eg_sim_channel *c;
	int r;

	if (kind == EG_SIM_CGROUP ? !good_path(name) : !good_word(name))
		return fail(p, p->line, "'%.40s' is no name for this", name);
	p->section = section;
	r = new_channel(p, kind, title);
	if (r < 0)
		return r;
	c = &p->sc->channel[p->at];
	if (eg_copy(c->node, sizeof(c->node), name) < 0)
		return fail(p, p->line, "name longer than %zu bytes", sizeof(c->node) - 1);
	return 0;
}

static int open_section(struct parser *p, const char *title)
{
	static const char *const names[] = {"scenario", "machine", "proc",    "file",  "rapl",
					    "perf",	"hwmon",   "battery", "cgroup"};
	char copy[EG_SIM_ID_MAX + 8], *word[5] = {0}, *save = NULL;
	struct near near = {0};
	size_t n = 0;

	if (strncmp(title, "file ", 5) == 0)
		return section_file(p, title + 5);
	if (strlen(title) >= EG_SIM_ID_MAX)
		return fail(p, p->line, "title longer than %d bytes", EG_SIM_ID_MAX - 1);
	eg_copy(copy, sizeof(copy), title);
	for (char *w = strtok_r(copy, " ", &save); w && n < 5; w = strtok_r(NULL, " ", &save))
		word[n++] = w;
	if (n == 0)
		return fail(p, p->line, "a section without a name");
	if (n == 1 && strcmp(word[0], "scenario") == 0)
		return p->section = S_SCENARIO, 0;
	if (n == 1 && strcmp(word[0], "machine") == 0)
		return p->section = S_MACHINE, 0;
	if (n == 1 && strcmp(word[0], "proc") == 0)
		return p->section = S_PROC, p->sc->has_proc = true, 0;
	if (n == 2 && strcmp(word[0], "rapl") == 0)
		return section_rapl(p, title, word[1]);
	if (strcmp(word[0], "perf") == 0)
		return section_perf(p, title, word, n);
	if (strcmp(word[0], "hwmon") == 0)
		return section_hwmon(p, title, word, n);
	if (n == 2 && strcmp(word[0], "battery") == 0)
		return section_named(p, title, word[1], EG_SIM_BATTERY, S_BATTERY);
	if (n == 2 && strcmp(word[0], "cgroup") == 0)
		return section_named(p, title, word[1], EG_SIM_CGROUP, S_CGROUP);
	for (size_t i = 0; i < EG_ARRAY_SIZE(names); i++) {
		if (strcmp(names[i], word[0]) == 0)
			return fail(p, p->line, "[%.60s] has too many or too few words", title);
		near_try(&near, word[0], names[i]);
	}
	return fail_near(p, "section", word[0], &near);
}

static int put_key(struct parser *p, const char *name, char *value)
{
	struct near near = {0};

	if (!p->section)
		return fail(p, p->line, "'%.40s' before the first [section]", name);
	for (size_t i = 0; i < EG_ARRAY_SIZE(keys); i++) {
		if (!(keys[i].sections & p->section))
			continue;
		if (strcmp(keys[i].name, name) == 0)
			return put_value(p, &keys[i], value);
		near_try(&near, name, keys[i].name);
	}
	return fail_near(p, "key", name, &near);
}

static char *strip(char *s)
{
	size_t n;

	s += strspn(s, " \t\r");
	n = strlen(s);
	while (n && strchr(" \t\r", s[n - 1]))
		s[--n] = '\0';
	return s;
}

static int parse_line(struct parser *p, char *line)
{
	char *eq, *s = strip(line);

	if (!*s || *s == '#')
		return 0;
	if (*s == '[') {
		size_t n = strlen(s);

		if (s[n - 1] != ']')
			return fail(p, p->line, "no ']' at the end of a section title");
		s[n - 1] = '\0';
		return open_section(p, strip(s + 1));
	}
	eq = strchr(s, '=');
	if (!eq)
		return fail(p, p->line, "neither [section] nor key = value: '%.40s'", s);
	*eq = '\0';
	return put_key(p, strip(s), strip(eq + 1));
}

/* ---- the whole ---- */

/* Register range: from `range` where given, else from the width. */
static int settle_counter(struct parser *p, struct eg_sim_channel *c)
{
	unsigned __int128 nj;

	if (c->range_uj) {
		nj = (unsigned __int128)c->range_uj * 1000;
		if (nj / c->unit_nj >= UINT64_MAX / 2)
			return fail(p, c->line, "[%s] range of too many units", c->id);
		c->modulus_raw = (uint64_t)((nj + c->unit_nj - 1) / c->unit_nj) + 1;
	} else if (c->modulus_raw) {
		nj = (unsigned __int128)(c->modulus_raw - 1) * c->unit_nj / 1000;
		if (nj > UINT64_MAX)
			return fail(p, c->line, "[%s] range does not fit 64 bits of microjoules",
				    c->id);
		c->range_uj = (uint64_t)nj;
	} else if (c->kind == EG_SIM_RAPL) {
		return fail(p, c->line, "[%s] needs a range or bits below 64", c->id);
	}
	nj = (unsigned __int128)c->start_uj * 1000;
	if (nj / c->unit_nj >= UINT64_MAX / 2)
		return fail(p, c->line, "[%s] start of too many units", c->id);
	c->start_raw = (uint64_t)((nj + c->unit_nj - 1) / c->unit_nj);
	if (c->modulus_raw && c->start_raw >= c->modulus_raw)
		return fail(p, c->line, "[%s] start lies beyond the range", c->id);
	return 0;
}

static int settle_channel(struct parser *p, struct eg_sim_channel *c)
{
	char id[EG_SIM_ID_MAX + 8];

	if (c->mirror_id[0]) {
		snprintf(id, sizeof(id), "rapl %s", c->mirror_id);
		c->mirror = eg_scenario_channel(p->sc, id);
		if (c->mirror < 0 || p->sc->channel[c->mirror].mirror_id[0] || c->has_power)
			return fail(p, c->line,
				    "[%s] mirror: another zone with power, and no power here",
				    c->id);
		c->power = p->sc->channel[c->mirror].power;
		c->has_power = true;
	}
	if (!c->has_power && c->kind != EG_SIM_HWMON && c->kind != EG_SIM_PMU)
		return fail(p, c->line, "[%s] needs %s = FUNCTION", c->id,
			    c->kind == EG_SIM_CGROUP ? "cpu" : "power");
	if (c->kind == EG_SIM_PERF || c->kind == EG_SIM_HWMON_ENERGY ||
	    c->kind == EG_SIM_HWMON_POWER || c->kind == EG_SIM_HWMON_RAIL) {
		snprintf(id, sizeof(id), "%s %s", c->kind == EG_SIM_PERF ? "perf" : "hwmon",
			 c->node);
		if (eg_scenario_channel(p->sc, id) < 0)
			return fail(p, c->line, "[%s] needs a section [%s]", c->id, id);
	}
	if (c->kind == EG_SIM_HWMON && c->device[0] && !good_path(c->device))
		return fail(p, c->line, "[%s] device: a path below sys/, without '..'", c->id);
	if (c->kind == EG_SIM_HWMON && !c->name[0])
		return fail(p, c->line, "[%s] needs name = CHIP", c->id);
	if (c->kind == EG_SIM_RAPL && !c->name[0])
		return fail(p, c->line, "[%s] needs name = package-0 or such", c->id);
	if (c->kind == EG_SIM_HWMON_POWER && !c->average_ns && !c->show_input)
		return fail(p, c->line, "[%s] shows neither input nor average", c->id);
	if (c->kind == EG_SIM_HWMON_POWER && !c->resolution_uw)
		return fail(p, c->line, "[%s] resolution of 0", c->id);
	if (c->kind == EG_SIM_RAPL || c->kind == EG_SIM_HWMON_ENERGY)
		return settle_counter(p, c);
	return 0;
}

static int settle(struct parser *p)
{
	struct eg_scenario *sc = p->sc;
	uint64_t end_ns = 0;
	int r;

	if (sc->cpus == 0 || sc->packages == 0 || sc->dies == 0 ||
	    sc->packages * sc->dies > sc->cpus)
		return fail(p, 0, "cpus, packages and dies: at least one processor on each die");
	for (size_t i = 0; i < sc->n_channels; i++) {
		r = settle_channel(p, &sc->channel[i]);
		if (r < 0)
			return r;
	}
	for (size_t i = 0; i < sc->n_files; i++)
		if (!sc->file[i].text == !sc->file[i].link[0])
			return fail(p, 0, "[file %.100s] needs text or link", sc->file[i].path);
	for (size_t i = 0; i < sc->n_events; i++) {
		const struct eg_sim_event *e = &sc->event[i];

		if (e->kind != EG_SIM_SUSPEND)
			continue;
		if (e->at_ns < end_ns)
			return fail(p, e->line, "suspended while suspended");
		end_ns = e->at_ns + e->for_ns;
	}
	return 0;
}

static struct eg_scenario *scenario_new(const char *name)
{
	struct eg_scenario *sc = calloc(1, sizeof(*sc));

	if (!sc)
		return NULL;
	sc->channel = calloc(EG_SCENARIO_CHANNELS_MAX, sizeof(*sc->channel));
	sc->event = calloc(EG_SCENARIO_EVENTS_MAX, sizeof(*sc->event));
	sc->file = calloc(EG_SCENARIO_FILES_MAX, sizeof(*sc->file));
	if (!sc->channel || !sc->event || !sc->file)
		return eg_scenario_free(sc);
	snprintf(sc->name, sizeof(sc->name), "%s", name);
	sc->cpus = 4;
	sc->packages = sc->dies = 1;
	sc->family = 6;
	sc->model = 85;
	sc->memory_bytes = 64ULL << 30;
	sc->proc_update_ns = 10 * EG_NSEC_PER_MSEC;
	eg_copy(sc->model_name, sizeof(sc->model_name), "Simulated Processor");
	eg_copy(sc->vendor, sizeof(sc->vendor), "GenuineIntel");
	eg_copy(sc->kernel, sizeof(sc->kernel), "6.1.0-sim");
	eg_copy(sc->boot_id, sizeof(sc->boot_id), "5117a7ed-0000-4000-8000-000000000001");
	return sc;
}

int eg_scenario_parse(const char *text, size_t len, const char *name, struct eg_scenario **ret,
		      struct eg_scenario_error *error)
{
	struct eg_scenario *sc = scenario_new(name);
	struct parser p = {.sc = sc, .error = error};
	const char *end = text + len;
	int r = 0;

	if (!sc)
		return -ENOMEM;
	*error = (struct eg_scenario_error){0};
	if (len > EG_SCENARIO_TEXT_MAX)
		r = fail(&p, 0, "longer than %d bytes", EG_SCENARIO_TEXT_MAX);
	while (r == 0 && text < end) {
		const char *nl = memchr(text, '\n', (size_t)(end - text));
		size_t n = (size_t)((nl ? nl : end) - text);
		char line[EG_SCENARIO_LINE_MAX];

		p.line++;
		if (n >= sizeof(line)) {
			r = fail(&p, p.line, "line longer than %d bytes", EG_SCENARIO_LINE_MAX - 1);
		} else if (memchr(text, '\0', n)) {
			r = fail(&p, p.line, "a NUL byte");
		} else {
			memcpy(line, text, n);
			line[n] = '\0';
			r = parse_line(&p, line);
		}
		text += n + 1;
	}
	if (r == 0)
		r = settle(&p);
	if (r < 0) {
		eg_scenario_free(sc);
		return r;
	}
	*ret = sc;
	return 0;
}

struct eg_scenario *eg_scenario_free(struct eg_scenario *sc)
{
	if (!sc)
		return NULL;
	for (size_t i = 0; i < sc->n_files; i++)
		free(sc->file[i].text);
	free(sc->channel);
	free(sc->event);
	free(sc->file);
	free(sc);
	return NULL;
}

int eg_scenario_named(const char *name, struct eg_scenario **ret)
{
	struct eg_scenario_error error;

	for (const struct eg_shipped_scenario *s = eg_shipped_scenarios; s->name; s++)
		if (strcmp(s->name, name) == 0)
			return eg_scenario_parse(s->text, strlen(s->text), name, ret, &error);
	return -ENOENT;
}

static int read_file(const char *path, char **ret_text, size_t *ret_len)
{
	eg_autofree char *text = malloc(EG_SCENARIO_TEXT_MAX + 1);
	eg_autoclose int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t len = 0;
	ssize_t n = 1;

	if (!text)
		return -ENOMEM;
	if (fd < 0)
		return -errno;
	while (n && len <= EG_SCENARIO_TEXT_MAX) {
		n = read(fd, text + len, EG_SCENARIO_TEXT_MAX + 1 - len);
		if (n < 0)
			return -errno;
		len += (size_t)n;
	}
	if (len > EG_SCENARIO_TEXT_MAX)
		return -EFBIG;
	text[len] = '\0';
	*ret_text = eg_take_ptr(text);
	*ret_len = len;
	return 0;
}

int eg_scenario_read(const char *file_or_name, char **ret_text, size_t *ret_len)
{
	const struct eg_shipped_scenario *s = eg_shipped_scenarios;
	char *text;

	if (strpbrk(file_or_name, "/."))
		return read_file(file_or_name, ret_text, ret_len);
	while (s->name && strcmp(s->name, file_or_name) != 0)
		s++;
	if (!s->name)
		return read_file(file_or_name, ret_text, ret_len);
	text = strdup(s->text);
	if (!text)
		return -ENOMEM;
	*ret_text = text;
	*ret_len = strlen(text);
	return 0;
}

int eg_scenario_load(const char *file_or_name, struct eg_scenario **ret,
		     struct eg_scenario_error *error)
{
	const char *base = strrchr(file_or_name, '/');
	eg_autofree char *text = NULL;
	size_t len;
	int r;

	*error = (struct eg_scenario_error){0};
	r = eg_scenario_read(file_or_name, &text, &len);
	return r < 0 ? r : eg_scenario_parse(text, len, base ? base + 1 : file_or_name, ret, error);
}

int eg_scenario_channel(const struct eg_scenario *sc, const char *id)
{
	for (size_t i = 0; i < sc->n_channels; i++)
		if (strcmp(sc->channel[i].id, id) == 0)
			return (int)i;
	return -1;
}

uint64_t eg_scenario_suspended_ns(const struct eg_scenario *sc, uint64_t t_ns)
{
	uint64_t ns = 0;

	for (size_t i = 0; i < sc->n_events; i++)
		if (sc->event[i].kind == EG_SIM_SUSPEND && sc->event[i].at_ns < t_ns)
			ns += EG_MIN(sc->event[i].for_ns, t_ns - sc->event[i].at_ns);
	return ns;
}

int64_t eg_scenario_clock_step_ns(const struct eg_scenario *sc, uint64_t t_ns)
{
	int64_t ns = 0;

	for (size_t i = 0; i < sc->n_events; i++)
		if (sc->event[i].kind == EG_SIM_CLOCK_STEP && sc->event[i].at_ns <= t_ns)
			ns += sc->event[i].step_ns;
	return ns;
}

eg_fj eg_scenario_true_energy_fj(const struct eg_scenario *sc, size_t channel, uint64_t t0_ns,
				 uint64_t t1_ns)
{
	return eg_power_energy_fj(&sc->channel[channel].power,
				  t0_ns - eg_scenario_suspended_ns(sc, t0_ns),
				  t1_ns - eg_scenario_suspended_ns(sc, t1_ns));
}
