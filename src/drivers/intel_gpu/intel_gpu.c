/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Energy counters of Intel graphics cards from the hwmon chips of the i915 and xe drivers
 * (Documentation/ABI/testing/sysfs-driver-intel-i915-hwmon and -intel-xe-hwmon): the card, and as
 * parts of it its tiles (i915_gtN) or its package (energy2 of xe). The kernel adds up a 32-bit
 * register, and only when somebody reads: it must be read before the register wraps.
 */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/parse.h"
#include "core/driver.h"

#define CLASS_DIR    "sys/class/hwmon"
#define CHANNELS_MAX 64
#define ENERGIES_MAX 8	 /* energyN of one chip */
#define RESCAN_MAX   128 /* hwmonN numbers looked at for a chip that came back */
#define RETRY_NS     (5 * EG_NSEC_PER_SEC)
/* 2^32 units of 2^-14 J are 262 kJ: 4.4 minutes at 1 kW. */
#define GUARD_NS     (30 * EG_NSEC_PER_SEC)
#define MAX_W	     1000

enum part { PART_CARD, PART_TILE, PART_PACKAGE, PART_OTHER };

struct counter {
	char entry[32];	 /* "hwmon3" */
	char name[16];	 /* "i915", "i915_gt0", "xe" */
	char device[48]; /* PCI address, "" unknown */
	unsigned index;	 /* of energyN */
	enum part part;
	int fd;
	int celsius_fd; /* of the package's temperature, -1 none */
	double celsius; /* at the last read; NaN unknown */
	bool gone;
	uint64_t retry_ns;
	uint32_t epoch;
};

struct eg_instance {
	const struct eg_env *env;
	struct counter counter[CHANNELS_MAX];
	struct eg_channel channel[CHANNELS_MAX];
	size_t n;
	bool blocked, may_block;
};

/* ---- finding ---- */

/* What a chip of the class folder is: its name and the PCI address of its device. */
static bool identify(const struct eg_fs *fs, const char *entry, struct counter *ret)
{
	char path[EG_PATH_MAX], text[EG_PATH_MAX];
	const char *slash;
	ssize_t n;

	if (eg_copy(ret->entry, sizeof(ret->entry), entry) < 0)
		return false;
	snprintf(path, sizeof(path), CLASS_DIR "/%s/name", entry);
	if (eg_fs_read_text(fs, path, text, sizeof(text)) < 0)
		return false;
	if (strcmp(text, "xe") != 0 && strcmp(text, "i915") != 0 &&
	    strncmp(text, "i915_gt", 7) != 0)
		return false;
	if (eg_copy(ret->name, sizeof(ret->name), text) < 0)
		return false;
	ret->device[0] = '\0';
	snprintf(path, sizeof(path), CLASS_DIR "/%s/device", entry);
	n = eg_fs_readlink(fs, path, text, sizeof(text) - 1);
	if (n <= 0)
		return true;
	text[n] = '\0';
	slash = strrchr(text, '/');
	slash = slash ? slash + 1 : text;
	if (strlen(slash) < sizeof(ret->device) &&
	    slash[strspn(slash, "0123456789abcdefABCDEF:.")] == '\0' && slash[0] != '.')
		(void)eg_copy(ret->device, sizeof(ret->device), slash);
	return true;
}

static enum part part_of_card(const struct eg_fs *fs, const struct counter *c)
{
	char path[EG_PATH_MAX], label[64];

	if (strncmp(c->name, "i915_gt", 7) == 0)
		return PART_TILE;
	snprintf(path, sizeof(path), CLASS_DIR "/%s/energy%u_label", c->entry, c->index);
	if (eg_fs_read_text(fs, path, label, sizeof(label)) > 0) {
		if (strcmp(label, "card") == 0)
			return PART_CARD;
		if (strcmp(label, "pkg") == 0)
			return PART_PACKAGE;
		return PART_OTHER;
	}
	return c->index == 1 ? PART_CARD : c->index == 2 ? PART_PACKAGE : PART_OTHER;
}

/* Highest of the limits of the chip x 1.5; a limit of 0 is a limit switched off. */
static uint64_t max_uw_of(const struct eg_fs *fs, const char *entry)
{
	static const char *const files[] = {"rated_max", "max", "crit"};
	uint64_t best_uw = 0;

	for (unsigned index = 1; index <= 2; index++)
		for (size_t i = 0; i < EG_ARRAY_SIZE(files); i++) {
			char path[EG_PATH_MAX];
			uint64_t uw;

			snprintf(path, sizeof(path), CLASS_DIR "/%s/power%u_%s", entry, index,
				 files[i]);
			if (eg_fs_read_u64(fs, path, &uw) == 0 && uw < 100000000000ULL)
				best_uw = EG_MAX(best_uw, uw);
		}
	return best_uw ? best_uw + best_uw / 2 : MAX_W * 1000000ULL;
}

static void describe_channel(const struct eg_fs *fs, const struct counter *c,
			     struct eg_channel *ret)
{
	*ret = (struct eg_channel){
		.component = EG_COMPONENT_GPU,
		.source = EG_SOURCE_INTEL_GPU,
		.boundary = EG_BOUNDARY_COMPONENT,
		.provenance = EG_PROVENANCE_MEASURED,
		.quantity = EG_QUANTITY_ENERGY,
		.unit_num = 1,
		.unit_den = 1,
		.zero_based = true,  /* the kernel counts from 0 when its driver loads */
		.resolution_uj = 62, /* 2^-14 J */
		.max_uw = max_uw_of(fs, c->entry),
		.guard_ns = GUARD_NS,
		.part_of = -1,
		.accuracy = {100000, 0, "no published figure: 10 % is our choice, unverified"},
	};
	snprintf(ret->origin, sizeof(ret->origin), CLASS_DIR "/%s/energy%u_input", c->entry,
		 c->index);
}

static int open_counter(const struct eg_fs *fs, struct counter *c)
{
	int fd = eg_fs_openf(fs, CLASS_DIR "/%s/energy%u_input", c->entry, c->index);

	if (fd < 0)
		return fd;
	c->fd = fd;
	/* xe: temp2 is the package's (temp3 memory); i915: temp1. None is no failure. */
	c->celsius_fd = eg_fs_openf(fs, CLASS_DIR "/%s/temp%d_input", c->entry,
				    strcmp(c->name, "xe") == 0 ? 2 : 1);
	return 0;
}

static void close_counter(const struct eg_fs *fs, struct counter *c)
{
	eg_fs_close(fs, c->fd);
	eg_fs_close(fs, c->celsius_fd);
	c->fd = c->celsius_fd = -1;
}

/* Millidegrees, below zero too. NaN: not told. */
static double read_celsius(const struct eg_fs *fs, int fd)
{
	char text[32];
	ssize_t n = fd >= 0 ? eg_fs_pread(fs, fd, text, sizeof(text), 0) : -ENODATA;
	int64_t v;

	if (n < 0 || n == (ssize_t)sizeof(text) || eg_parse_i64(text, (size_t)n, &v) != 0 ||
	    v < -273150 || v > 1000000)
		return NAN;
	return (double)v / 1000;
}

static const char *device_of(const struct counter *c)
{
	return c->device[0] ? c->device : c->entry;
}

/* A second counter that calls itself the same thing: nobody knows what it is beside the first. */
static bool seen_before(const struct eg_instance *in, const struct counter *c)
{
	for (size_t k = 0; k < in->n; k++)
		if (in->counter[k].part == c->part && strcmp(in->counter[k].name, c->name) == 0 &&
		    strcmp(device_of(&in->counter[k]), device_of(c)) == 0)
			return true;
	return false;
}

/* Adds the counters of one chip. */
static int add_chip(struct eg_instance *in, const char *entry, struct eg_diags *diags)
{
	const struct eg_fs *fs = &in->env->fs;
	struct counter chip = {.fd = -1, .celsius_fd = -1, .celsius = NAN};
	bool any = false;

	if (!identify(fs, entry, &chip))
		return 0;
	for (chip.index = 1; chip.index <= ENERGIES_MAX; chip.index++) {
		char path[EG_PATH_MAX];
		int r;

		snprintf(path, sizeof(path), CLASS_DIR "/%s/energy%u_input", entry, chip.index);
		if (!eg_fs_exists(fs, path))
			continue;
		any = true;
		if (in->n == CHANNELS_MAX) {
			eg_diag_add(diags, EG_DIAG_CONFIG, "intel_gpu", entry, "",
				    "more than %d counters: left out", CHANNELS_MAX);
			return 0;
		}
		r = open_counter(fs, &chip);
		if (r < 0) {
			bool denied = r == -EACCES || r == -EPERM;

			in->blocked |= denied;
			eg_diag_add(diags, eg_diag_code_of(r), "intel_gpu", path,
				    denied ? "run as root, or let a group read the file: chgrp "
					     "GROUP FILE && chmod g+r FILE" :
					     "",
				    "%s: %s", path, eg_errno_text(r));
			if (r == -ENOMEM || r == -EMFILE || r == -ENFILE)
				return r;
			continue;
		}
		chip.part = part_of_card(fs, &chip);
		if (seen_before(in, &chip))
			chip.part = PART_OTHER;
		describe_channel(fs, &chip, &in->channel[in->n]);
		in->may_block |= eg_fs_may_block(fs, chip.fd);
		in->counter[in->n++] = chip;
		chip.fd = chip.celsius_fd = -1;
	}
	if (!any)
		eg_diag_add(diags, EG_DIAG_SENSOR_UNSUPPORTED, "intel_gpu", entry,
			    "use Linux 6.2 (i915) or 6.5 (xe) or newer and a discrete card",
			    CLASS_DIR "/%s (%s) has no energy counter", entry, chip.name);
	return 0;
}

/* ---- naming ---- */

/* Cards are numbered in the order of their first chip; the PCI address is what stays. */
static unsigned card_number(const struct eg_instance *in, size_t i)
{
	unsigned number = 0;

	for (size_t k = 0; k < i; k++) {
		bool first = true;

		if (strcmp(device_of(&in->counter[k]), device_of(&in->counter[i])) == 0)
			return card_number(in, k);
		for (size_t j = 0; j < k; j++)
			first &= strcmp(device_of(&in->counter[j]), device_of(&in->counter[k])) !=
				 0;
		number += first;
	}
	return number;
}

static void name_channels(struct eg_instance *in)
{
	for (size_t i = 0; i < in->n; i++) {
		const struct counter *c = &in->counter[i];
		struct eg_channel *ch = &in->channel[i];
		const char *prefix = c->device[0] ? "pci-" : "gpu-";
		char part[32] = "";

		if (c->part == PART_TILE)
			snprintf(part, sizeof(part), "-%s", c->name + 5);
		else if (c->part == PART_PACKAGE)
			snprintf(part, sizeof(part), "-package");
		if (c->part == PART_OTHER)
			snprintf(part, sizeof(part), "-%.10s-energy%u", c->name, c->index);
		snprintf(ch->domain, sizeof(ch->domain), "gpu-%u%s", card_number(in, i), part);
		snprintf(ch->device, sizeof(ch->device), "%s%s%s", prefix, device_of(c), part);
		snprintf(ch->label, sizeof(ch->label), "Intel %.20s %.30s", c->name, device_of(c));
		for (size_t k = 0; c->part != PART_CARD && k < in->n; k++)
			if (in->counter[k].part == PART_CARD &&
			    strcmp(device_of(&in->counter[k]), device_of(c)) == 0)
				ch->part_of = (int32_t)k;
	}
}

/* ---- the driver ---- */

static void intel_gpu_close(struct eg_instance *in)
{
	if (!in)
		return;
	for (size_t i = 0; i < in->n; i++)
		close_counter(&in->env->fs, &in->counter[i]);
	free(in);
}

static int intel_gpu_probe(const struct eg_env *env)
{
	return eg_fs_exists(&env->fs, CLASS_DIR) ? 0 : -ENODEV;
}

static int scan(struct eg_instance *in, struct eg_diags *diags)
{
	struct eg_names names = {0};
	int r = eg_fs_list(&in->env->fs, CLASS_DIR, &names);

	if (r < 0 && r != -ENOENT) {
		eg_diag_add(diags, eg_diag_code_of(r), "intel_gpu", CLASS_DIR, "", CLASS_DIR ": %s",
			    eg_errno_text(r));
		return r;
	}
	r = 0;
	for (size_t i = 0; i < names.n && r == 0; i++)
		r = add_chip(in, names.name[i], diags);
	eg_names_free(&names);
	if (r < 0)
		return r;
	if (in->n == 0 && in->blocked)
		return -EACCES;
	if (in->n == 0) {
		eg_diag_add(diags, EG_DIAG_SENSOR_ABSENT, "intel_gpu", CLASS_DIR,
			    "use Linux 6.2 (i915) or 6.5 (xe) or newer and a discrete card",
			    "no i915 or xe chip with an energy counter");
		return -ENODEV;
	}
	name_channels(in);
	return 0;
}

static int intel_gpu_open(const struct eg_env *env, const struct eg_driver_config *cfg,
			  struct eg_instance **ret)
{
	struct eg_instance *in = calloc(1, sizeof(*in));
	int r;

	if (!in)
		return -ENOMEM;
	in->env = env;
	r = scan(in, cfg->diags);
	if (r < 0) {
		intel_gpu_close(in);
		return r;
	}
	*ret = in;
	return 0;
}

static size_t intel_gpu_describe(const struct eg_instance *in, const struct eg_channel **ret)
{
	*ret = in->channel;
	return in->n;
}

/* Looks for a counter that vanished; a driver loaded again may have another hwmonN. */
static int find_again(struct eg_instance *in, struct counter *c, uint64_t now_ns)
{
	const struct eg_fs *fs = &in->env->fs;
	struct counter at;
	char entry[32];
	int r = -ENODEV;

	if (now_ns < c->retry_ns)
		return -ENODEV;
	c->retry_ns = now_ns + RETRY_NS;
	(void)eg_copy(entry, sizeof(entry), c->entry);
	for (unsigned i = 0; i <= RESCAN_MAX; i++) {
		if (identify(fs, entry, &at) && strcmp(at.name, c->name) == 0 &&
		    strcmp(at.device, c->device) == 0 &&
		    (c->device[0] || strcmp(entry, c->entry) == 0)) {
			(void)eg_copy(c->entry, sizeof(c->entry), entry);
			r = open_counter(fs, c);
			break;
		}
		snprintf(entry, sizeof(entry), "hwmon%u", i);
	}
	if (r < 0)
		return r;
	c->gone = false;
	c->epoch++;
	return 0;
}

static void read_one(struct eg_instance *in, size_t i, struct eg_sink *sink, struct eg_diags *diags)
{
	struct counter *c = &in->counter[i];
	struct eg_reading r = {.status = EG_STATUS_OK};
	int err = c->gone ? find_again(in, c, eg_clock_ns(&in->env->clock)) : 0;

	if (err == 0)
		err = eg_fs_pread_u64(&in->env->fs, c->fd, &r.raw);
	r.t_ns = eg_clock_ns(&in->env->clock);
	r.epoch = c->epoch;
	c->celsius = err == 0 ? read_celsius(&in->env->fs, c->celsius_fd) : NAN;
	if (err == -EAGAIN || err == -ENODATA) {
		r.status = EG_STATUS_NO_DATA;
	} else if (err != 0) {
		r.status = err == -EACCES || err == -EPERM ? EG_STATUS_DENIED : EG_STATUS_ERROR;
		eg_diag_add(diags, eg_diag_code_of(err), "intel_gpu", in->channel[i].domain, "",
			    "%s: %s", in->channel[i].origin, eg_errno_text(err));
		if ((err == -ENODEV || err == -ENXIO || err == -ENOENT) && !c->gone) {
			close_counter(&in->env->fs, c);
			c->gone = true;
			c->retry_ns = 0; /* the next read looks for it */
		}
	}
	eg_sink_put(sink, i, &r);
}

static void intel_gpu_read(struct eg_instance *in, struct eg_sink *sink, struct eg_diags *diags)
{
	for (size_t i = 0; i < in->n; i++)
		read_one(in, i, sink, diags);
}

static bool intel_gpu_may_block(const struct eg_instance *in)
{
	return in->may_block;
}

static uint32_t intel_gpu_flags(const struct eg_instance *in, size_t channel)
{
	return in->counter[channel].gone ? EG_FLAG_BIT(EG_FLAG_LOST) : 0;
}

static int intel_gpu_temperature(const struct eg_instance *in, size_t channel, double *ret_celsius)
{
	if (isnan(in->counter[channel].celsius))
		return -ENODATA;
	*ret_celsius = in->counter[channel].celsius;
	return 0;
}

static void intel_gpu_attributes(struct eg_instance *in, struct eg_attribute_sink *sink)
{
	for (size_t i = 0; i < in->n; i++) {
		const struct counter *c = &in->counter[i];
		struct eg_attribute a = {.is_text = true};

		(void)eg_copy(a.device, sizeof(a.device), in->channel[i].device);
		(void)eg_copy(a.name, sizeof(a.name), "pci_id");
		(void)eg_copy(a.text, sizeof(a.text), c->device);
		if (c->device[0])
			sink->put(sink, &a);
		a.is_text = false;
		a.text[0] = '\0';
		(void)eg_copy(a.name, sizeof(a.name), "temperature_celsius");
		a.value = read_celsius(&in->env->fs, c->celsius_fd);
		if (!isnan(a.value))
			sink->put(sink, &a);
	}
}

const struct eg_driver eg_driver_intel_gpu = {
	.name = "intel_gpu",
	.summary = "energy counters of Intel graphics cards (i915 and xe hwmon)",
	.source = EG_SOURCE_INTEL_GPU,
	.maturity = EG_MATURITY_SIMULATED,
	.blocking_ns = 200 * EG_NSEC_PER_MSEC, /* a read wakes a sleeping card */
	.probe = intel_gpu_probe,
	.open = intel_gpu_open,
	.describe = intel_gpu_describe,
	.read = intel_gpu_read,
	.attributes = intel_gpu_attributes,
	.may_block = intel_gpu_may_block,
	.flags = intel_gpu_flags,
	.temperature = intel_gpu_temperature,
	.close = intel_gpu_close,
};
