/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the files of a hwmon chip to its channels. A channel is the best of energyN, powerN_average,
 * powerN_input and inN x currM. Which voltage belongs to which current is in no file: equal labels
 * say it, else what the kernel's driver of the chip documents (Documentation/hwmon/CHIP.rst), else
 * equal index.
 */
#include "drivers/hwmon/plan.h"

#include <errno.h>
#include <string.h>

int eg_hwmon_parse_name(const char *name, enum eg_hwmon_kind *ret_kind, unsigned *ret_index,
			enum eg_hwmon_item *ret_item)
{
	static const char *const kinds[EG_HWMON_KINDS] = {"energy", "power", "in", "curr"};
	static const char *const items[] = {"_input", "_average", "_enable", "_label"};

	for (unsigned k = 0; k < EG_HWMON_KINDS; k++) {
		size_t n = strlen(kinds[k]);
		const char *p = name + n;
		unsigned index = 0;

		if (strncmp(name, kinds[k], n) != 0 || *p < '0' || *p > '9')
			continue;
		if (p[0] == '0' && p[1] >= '0' && p[1] <= '9')
			return -EINVAL; /* "in01": no kernel driver writes it */
		for (; *p >= '0' && *p <= '9'; p++) {
			index = index * 10 + (unsigned)(*p - '0');
			if (index >= EG_HWMON_INDEX_MAX)
				return -EINVAL;
		}
		for (unsigned i = 0; i < EG_ARRAY_SIZE(items); i++) {
			if (strcmp(p, items[i]) != 0)
				continue;
			*ret_kind = (enum eg_hwmon_kind)k;
			*ret_index = index;
			*ret_item = (enum eg_hwmon_item)i;
			return 0;
		}
	}
	return -EINVAL;
}

void eg_hwmon_chip_add(struct eg_hwmon_chip *chip, const char *file, const char *text)
{
	enum eg_hwmon_kind kind;
	enum eg_hwmon_item item;
	struct eg_hwmon_sensor *s;
	unsigned index;

	if (eg_hwmon_parse_name(file, &kind, &index, &item) != 0)
		return;
	s = &chip->sensor[kind][index];
	switch (item) {
	case EG_HWMON_ITEM_INPUT:
		s->input = true;
		break;
	case EG_HWMON_ITEM_AVERAGE:
		s->average = true;
		break;
	case EG_HWMON_ITEM_ENABLE:
		s->disabled = text && strcmp(text, "0") == 0;
		break;
	case EG_HWMON_ITEM_LABEL:
		/* A label cut short still tells a person what it is. */
		if (text)
			(void)eg_copy(s->label, sizeof(s->label), text);
		break;
	}
}

bool eg_hwmon_owned_elsewhere(const char *name)
{
	return strcmp(name, "amdgpu") == 0 || strcmp(name, "xe") == 0 ||
	       strncmp(name, "i915", 4) == 0;
}

bool eg_hwmon_is_power_meter(const struct eg_hwmon_chip *chip)
{
	return chip->acpi_device || strcmp(chip->name, "power_meter") == 0;
}

const char *eg_hwmon_canonical_label(const char *label)
{
	const char *p = label + 1;

	if (label[0] != 'v' && label[0] != 'i' && label[0] != 'p')
		return label;
	if (strncmp(p, "in", 2) == 0)
		p += 2;
	else if (strncmp(p, "out", 3) == 0)
		p += 3;
	else
		return label;
	return strspn(p, "0123456789") == strlen(p) ? label + 1 : label;
}

void eg_hwmon_sanitize(char *dst, size_t cap, const char *src)
{
	size_t n = 0;

	for (; *src && n + 1 < cap; src++) {
		char c = *src;
		bool keep = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
			    (c >= 'A' && c <= 'Z') || strchr(".:_+-", c);

		dst[n++] = keep ? c : '_';
	}
	if (cap > 0)
		dst[n] = '\0';
}

/*
 * The chips whose documentation names the pairs. EVERY chip of the table has its other inputs barred,
 * whatever their labels: they are shunt voltages, sums or auxiliary inputs.
 */
enum pairing {
	PAIR_IN1_CURR1,	 /* in1 x curr1 alone */
	PAIR_SAME_INDEX, /* inN x currN, 1..last */
	PAIR_IN0_CURR1,
	PAIR_IN2_CURR1,
	PAIR_LTC2992, /* in0 x curr1, in2 x curr2 */
};
static const struct chip_rule {
	const char *name;
	enum pairing pairing;
	uint8_t last; /* PAIR_SAME_INDEX: highest index that is a rail */
} chip_rules[] = {
	{"ina209", PAIR_IN1_CURR1, 0}, /* in0 is the shunt */
	{"ina219", PAIR_IN1_CURR1, 0},
	{"ina226", PAIR_IN1_CURR1, 0},
	{"ina238", PAIR_IN1_CURR1, 0},
	{"ina260", PAIR_IN1_CURR1, 0},
	{"ina233", PAIR_IN1_CURR1, 0},	/* in2 is the shunt */
	{"ltc2945", PAIR_IN1_CURR1, 0}, /* in2 and up are auxiliary */
	{"ltc4260", PAIR_IN1_CURR1, 0},
	{"ltc4261", PAIR_IN1_CURR1, 0},
	{"ltc4282", PAIR_IN1_CURR1, 0},
	{"adm1275", PAIR_IN1_CURR1, 0},
	{"adm1276", PAIR_IN1_CURR1, 0},
	{"adm1278", PAIR_IN1_CURR1, 0},
	{"adm1293", PAIR_IN1_CURR1, 0},
	{"mp2975", PAIR_IN1_CURR1, 0},	  /* curr2-8 are phases */
	{"ina3221", PAIR_SAME_INDEX, 3},  /* in4-7 are shunts and their sum, curr4 is a sum */
	{"max34440", PAIR_SAME_INDEX, 6}, /* curr7 and curr8 are not on rails */
	{"max34451", PAIR_SAME_INDEX, EG_HWMON_INDEX_MAX - 1},
	{"tps40422", PAIR_SAME_INDEX, EG_HWMON_INDEX_MAX - 1},
	{"tps53679", PAIR_SAME_INDEX, EG_HWMON_INDEX_MAX - 1},
	{"tps546d24", PAIR_SAME_INDEX, EG_HWMON_INDEX_MAX - 1},
	{"ir35221", PAIR_SAME_INDEX, EG_HWMON_INDEX_MAX - 1},
	{"xdpe12284", PAIR_SAME_INDEX, EG_HWMON_INDEX_MAX - 1},
	{"pmbus", PAIR_SAME_INDEX, EG_HWMON_INDEX_MAX - 1},
	{"ucd9000", PAIR_SAME_INDEX, EG_HWMON_INDEX_MAX - 1},
	{"ucd90320", PAIR_SAME_INDEX, EG_HWMON_INDEX_MAX - 1},
	{"ltc2947", PAIR_IN0_CURR1, 0},
	{"ltc2992", PAIR_LTC2992, 0},
	{"max20730", PAIR_IN2_CURR1, 0},
	{"max20751", PAIR_IN2_CURR1, 0},
};

static const struct chip_rule *rule_of(const char *name)
{
	for (size_t i = 0; i < EG_ARRAY_SIZE(chip_rules); i++)
		if (strcmp(chip_rules[i].name, name) == 0)
			return &chip_rules[i];
	return NULL;
}

static bool live(const struct eg_hwmon_sensor *s)
{
	return s->input && !s->disabled;
}

/* May the documented layout of the chip pair these two? rule NULL: unknown chip, equal index. */
static bool rule_pairs(const struct chip_rule *rule, unsigned in, unsigned curr)
{
	if (!rule)
		return in == curr;
	switch (rule->pairing) {
	case PAIR_IN1_CURR1:
		return in == 1 && curr == 1;
	case PAIR_SAME_INDEX:
		return in == curr && in >= 1 && in <= rule->last;
	case PAIR_IN0_CURR1:
		return in == 0 && curr == 1;
	case PAIR_IN2_CURR1:
		return in == 2 && curr == 1;
	case PAIR_LTC2992:
		return (in == 0 && curr == 1) || (in == 2 && curr == 2);
	}
	return false;
}

static bool in_is_rail(const struct chip_rule *rule, unsigned in)
{
	for (unsigned c = 0; c < EG_HWMON_INDEX_MAX; c++)
		if (rule_pairs(rule, in, c))
			return true;
	return false;
}

static bool curr_is_rail(const struct chip_rule *rule, unsigned curr)
{
	for (unsigned i = 0; i < EG_HWMON_INDEX_MAX; i++)
		if (rule_pairs(rule, i, curr))
			return true;
	return false;
}

static bool same_label(const char *a, const char *b)
{
	return a[0] && b[0] &&
	       strcmp(eg_hwmon_canonical_label(a), eg_hwmon_canonical_label(b)) == 0;
}

/* "vin" beside "iout1": the index says nothing, they are the two sides of a regulator. */
static bool sides_differ(const char *in_label, const char *curr_label)
{
	return eg_hwmon_canonical_label(in_label) != in_label &&
	       eg_hwmon_canonical_label(curr_label) != curr_label &&
	       !same_label(in_label, curr_label);
}

/* The current that belongs to voltage `in`, or -1. used: currents taken already. */
static int pair_of(const struct eg_hwmon_chip *chip, const struct chip_rule *rule, unsigned in,
		   bool by_label, const bool *used)
{
	const struct eg_hwmon_sensor *v = &chip->sensor[EG_HWMON_IN][in];

	for (unsigned c = 0; c < EG_HWMON_INDEX_MAX; c++) {
		const struct eg_hwmon_sensor *a = &chip->sensor[EG_HWMON_CURR][c];

		if (!live(a) || used[c])
			continue;
		if (by_label) {
			if (same_label(v->label, a->label) && (!rule || curr_is_rail(rule, c)))
				return (int)c;
		} else if (rule_pairs(rule, in, c)) {
			bool index_only = !rule || rule->pairing == PAIR_SAME_INDEX;

			if (!index_only || !sides_differ(v->label, a->label))
				return (int)c;
		}
	}
	return -1;
}

/* Is the product already told by a counter or a power of the same channel? */
static bool covered(const struct eg_hwmon_plan *plan, size_t n, const char *label, unsigned curr)
{
	for (size_t i = 0; i < n; i++) {
		if (plan[i].kind == EG_HWMON_IN)
			continue;
		if (plan[i].label[0] && label[0]) {
			if (same_label(plan[i].label, label))
				return true;
		} else if (plan[i].index == curr) {
			return true;
		}
	}
	return false;
}

static size_t plan_products(const struct eg_hwmon_chip *chip, struct eg_hwmon_plan *plan, size_t n)
{
	const struct chip_rule *rule = rule_of(chip->name);
	int pair[EG_HWMON_INDEX_MAX];
	bool used[EG_HWMON_INDEX_MAX] = {false};

	for (unsigned v = 0; v < EG_HWMON_INDEX_MAX; v++)
		pair[v] = -1;
	for (int pass = 0; pass < 2; pass++) {
		for (unsigned v = 0; v < EG_HWMON_INDEX_MAX; v++) {
			if (pair[v] >= 0 || !live(&chip->sensor[EG_HWMON_IN][v]))
				continue;
			if (rule && !in_is_rail(rule, v))
				continue;
			pair[v] = pair_of(chip, rule, v, pass == 0, used);
			if (pair[v] >= 0)
				used[pair[v]] = true;
		}
	}
	for (unsigned v = 0; v < EG_HWMON_INDEX_MAX; v++) {
		const struct eg_hwmon_sensor *in = &chip->sensor[EG_HWMON_IN][v];
		const struct eg_hwmon_sensor *curr;
		struct eg_hwmon_plan *p = &plan[n];
		const char *label;

		if (pair[v] < 0)
			continue;
		curr = &chip->sensor[EG_HWMON_CURR][pair[v]];
		label = in->label[0] ? in->label : curr->label;
		if (covered(plan, n, label, (unsigned)pair[v]))
			continue;
		*p = (struct eg_hwmon_plan){
			.kind = EG_HWMON_IN,
			.index = (uint8_t)v,
			.current = (uint8_t)pair[v],
			.average = in->average && curr->average,
		};
		(void)eg_copy(p->label, sizeof(p->label), label);
		n++;
	}
	return n;
}

size_t eg_hwmon_chip_plan(const struct eg_hwmon_chip *chip,
			  struct eg_hwmon_plan ret[EG_HWMON_PLANS_MAX])
{
	size_t n = 0, n_energy;

	for (unsigned i = 0; i < EG_HWMON_INDEX_MAX; i++) {
		const struct eg_hwmon_sensor *s = &chip->sensor[EG_HWMON_ENERGY][i];

		if (!live(s))
			continue;
		ret[n] = (struct eg_hwmon_plan){.kind = EG_HWMON_ENERGY, .index = (uint8_t)i};
		(void)eg_copy(ret[n].label, sizeof(ret[n].label), s->label);
		n++;
	}
	n_energy = n;
	for (unsigned i = 0; i < EG_HWMON_INDEX_MAX; i++) {
		const struct eg_hwmon_sensor *s = &chip->sensor[EG_HWMON_POWER][i];
		bool counted = false;

		if ((!s->input && !s->average) || s->disabled)
			continue;
		for (size_t e = 0; e < n_energy; e++)
			counted |= ret[e].index == i || same_label(ret[e].label, s->label);
		if (counted)
			continue;
		ret[n] = (struct eg_hwmon_plan){
			.kind = EG_HWMON_POWER, .index = (uint8_t)i, .average = s->average};
		(void)eg_copy(ret[n].label, sizeof(ret[n].label), s->label);
		n++;
	}
	return plan_products(chip, ret, n);
}
