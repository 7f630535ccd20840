/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which channels a hwmon chip has: pure decisions over the file names and texts of its directory,
 * apart from the reading so that tests and fuzzers reach them without files.
 * Names and units: Documentation/hwmon/sysfs-interface.rst of the Linux kernel.
 */
#ifndef EG_DRIVERS_HWMON_PLAN_H
#define EG_DRIVERS_HWMON_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/util.h"

#define EG_HWMON_INDEX_MAX 64 /* sensors of one kind in one chip: index 0..63 */
#define EG_HWMON_TEXT_MAX  48 /* a label or a chip name, bytes with NUL */
#define EG_HWMON_PLANS_MAX (3 * EG_HWMON_INDEX_MAX)

enum eg_hwmon_kind { EG_HWMON_ENERGY, EG_HWMON_POWER, EG_HWMON_IN, EG_HWMON_CURR, EG_HWMON_KINDS };

struct eg_hwmon_sensor {
	bool input, average, disabled;
	char label[EG_HWMON_TEXT_MAX]; /* "" where there is none */
};

struct eg_hwmon_chip {
	char name[EG_HWMON_TEXT_MAX];
	struct eg_hwmon_sensor sensor[EG_HWMON_KINDS][EG_HWMON_INDEX_MAX];
	bool acpi_device; /* its device is an ACPI000D */
};

/* One channel to read: a counter, a power, or a voltage (index) times a current (current). */
struct eg_hwmon_plan {
	enum eg_hwmon_kind kind; /* ENERGY, POWER, or IN for a product */
	uint8_t index, current;
	bool average; /* read _average instead of _input (both, for a product) */
	char label[EG_HWMON_TEXT_MAX];
};

/* What a file name of a chip's directory means. */
enum eg_hwmon_item {
	EG_HWMON_ITEM_INPUT,
	EG_HWMON_ITEM_AVERAGE,
	EG_HWMON_ITEM_ENABLE,
	EG_HWMON_ITEM_LABEL,
};
/* "power3_average" -> POWER, 3, AVERAGE. 0, or -EINVAL for any other name. */
int eg_hwmon_parse_name(const char *name, enum eg_hwmon_kind *ret_kind, unsigned *ret_index,
			enum eg_hwmon_item *ret_item) EG_MUST_CHECK;

/*
 * Notes one file. text: the content of a label or enable file, ignored for the others (may be NULL:
 * the file could not be read; the sensor then has no label and counts as enabled).
 */
void eg_hwmon_chip_add(struct eg_hwmon_chip *chip, const char *file, const char *text);

/* True where another driver owns the chip (a graphics card). */
bool eg_hwmon_owned_elsewhere(const char *name);
/* True for a meter of the whole machine (ACPI power meter). */
bool eg_hwmon_is_power_meter(const struct eg_hwmon_chip *chip);

/*
 * The channels of the chip, at most EG_HWMON_PLANS_MAX, best kind of each: energyN, then
 * powerN_average, powerN_input, then voltage times current. Returns how many.
 */
size_t eg_hwmon_chip_plan(const struct eg_hwmon_chip *chip,
			  struct eg_hwmon_plan ret[EG_HWMON_PLANS_MAX]);

/* "pin", "vin", "iin" of PMBus chips are one thing, "in": the letter of the quantity is dropped.
 * Any other label is itself. Returns a pointer into label. */
const char *eg_hwmon_canonical_label(const char *label);

/* Copies what of src may stand in a domain name: letters, digits and ".:_+-"; the rest becomes '_'.
 * Cut to cap - 1 bytes. */
void eg_hwmon_sanitize(char *dst, size_t cap, const char *src);

#endif
