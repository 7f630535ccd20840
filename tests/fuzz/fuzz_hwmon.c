/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any set of file names and texts of a hwmon chip: the first line is the chip's name, each further
 * one FILE=TEXT. No disabled sensor and no sensor twice may come out of the plan.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "drivers/hwmon/plan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct eg_hwmon_chip *chip, const struct eg_hwmon_plan *p, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const struct eg_hwmon_sensor *s;

		if (p[i].index >= EG_HWMON_INDEX_MAX || p[i].current >= EG_HWMON_INDEX_MAX)
			abort();
		s = &chip->sensor[p[i].kind][p[i].index];
		if (s->disabled || !(s->input || s->average))
			abort();
		for (size_t k = 0; k < i; k++)
			if (p[k].kind == p[i].kind &&
			    (p[k].index == p[i].index ||
			     (p[i].kind == EG_HWMON_IN && p[k].current == p[i].current)))
				abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct eg_hwmon_chip *chip = calloc(1, sizeof(*chip));
	struct eg_hwmon_plan *plan = calloc(EG_HWMON_PLANS_MAX, sizeof(*plan));
	char *text = malloc(size + 1), *save = NULL, *line;
	char key[16];

	if (!chip || !plan || !text)
		abort();
	memcpy(text, data, size);
	text[size] = '\0';
	line = strtok_r(text, "\n", &save);
	if (line)
		eg_hwmon_sanitize(chip->name, sizeof(chip->name), line);
	while ((line = strtok_r(NULL, "\n", &save))) {
		char *eq = strchr(line, '=');

		if (eq)
			*eq = '\0';
		eg_hwmon_chip_add(chip, line, eq ? eq + 1 : NULL);
		eg_hwmon_sanitize(key, sizeof(key), line);
	}
	check(chip, plan, eg_hwmon_chip_plan(chip, plan));
	free(text);
	free(plan);
	free(chip);
	return 0;
}
