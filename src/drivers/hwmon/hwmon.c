/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hwmon: energy and power of any monitoring chip below /sys/class/hwmon
 * (Documentation/hwmon/sysfs-interface.rst): counters, power sensors, voltage times current, the
 * ACPI power meter and the INA3221 rails of Jetson modules. What a sensor covers is rarely told by
 * its files, so a sensor is a rail of unknown extent (shown, in no total) unless the chip itself
 * says more. plan.c decides which files make a channel; this file finds, names and reads them.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/parse.h"
#include "core/driver.h"
#include "drivers/hwmon/plan.h"

#define CLASS_DIR    "sys/class/hwmon"
#define CHIPS_MAX    64
#define CHANNELS_MAX 256 /* of all chips; EG_CHANNELS_MAX is shared with other drivers */
#define DIR_MAX	     128
#define KEY_MAX	     48
#define RESCAN_MAX   128 /* hwmonN numbers looked at for a chip that came back elsewhere */
#define RETRY_NS     (5 * EG_NSEC_PER_SEC)
#define UNKNOWN_POWER_UW \
	4294967295000ULL /* ACPI "unknown", 0xffffffff mW, on kernels before 5.17 */
#define CPU_MAX_UW (500 * 1000000ULL)
#define GPU_MAX_UW (1000 * 1000000ULL)

struct chip {
	char dir[DIR_MAX]; /* below the root, where the attributes are */
	char key[KEY_MAX];
	char entry[KEY_MAX];				     /* "hwmon3" */
	char name[EG_HWMON_TEXT_MAX], device[EG_DEVICE_MAX]; /* "" unknown */
};

/* One file kept open. */
struct input {
	char file[24];
	int fd;
};

struct sensor {
	uint32_t chip;
	enum eg_hwmon_kind kind;
	bool acpi;
	unsigned n_inputs; /* 2 for a product */
	struct input input[2];
	bool gone; /* vanished; looked for again at retry_ns */
	uint64_t retry_ns;
	uint32_t epoch; /* came back: its counter of before says nothing */
};

struct eg_instance {
	const struct eg_env *env;
	struct chip *chip;
	struct sensor *sensor;
	struct eg_channel *channel;
	size_t n_chips, n;
	uint64_t rail_max_uw, chassis_max_uw;
	bool jetson, have_node, blocked, may_block;
};

/* ---- finding ---- */

/* A file that is not there says something; one that cannot be read does not. */
static bool is_absent(ssize_t err)
{
	return err == -ENOENT || err == -ENOTDIR || err == -EINVAL;
}

/* The last component of a link's target that is a name, "" where there is none. */
static int link_name(const struct eg_fs *fs, const char *path, char *ret, size_t cap)
{
	char target[EG_PATH_MAX];
	ssize_t n = eg_fs_readlink(fs, path, target, sizeof(target) - 1);
	char *slash;

	ret[0] = '\0';
	if (n <= 0)
		return is_absent(n) ? 0 : (int)n;
	target[n] = '\0';
	while (n > 0 && target[n - 1] == '/')
		target[--n] = '\0';
	slash = strrchr(target, '/');
	slash = slash ? slash + 1 : target;
	if (slash[0] != '.')
		eg_hwmon_sanitize(ret, cap, slash);
	return 0;
}

/*
 * Where the attributes of CLASS_DIR/entry are (older kernels keep those of the ACPI power meter in
 * its device), the chip's name, and the name of its device: the PCI or i2c address, "" unknown.
 * A chip whose name or device cannot be read could be taken for another one: the error says so.
 */
static int identify(const struct eg_fs *fs, const char *entry, char dir[DIR_MAX],
		    char name[EG_HWMON_TEXT_MAX], char device[EG_DEVICE_MAX])
{
	char path[EG_PATH_MAX], text[256];
	ssize_t n;
	int r;

	snprintf(dir, DIR_MAX, CLASS_DIR "/%.47s", entry);
	snprintf(path, sizeof(path), "%s/device", dir);
	r = link_name(fs, path, device, EG_DEVICE_MAX);
	if (r < 0)
		return r;
	name[0] = '\0';
	snprintf(path, sizeof(path), "%s/name", dir);
	n = eg_fs_read_text(fs, path, text, sizeof(text));
	if (n > 0) {
		eg_hwmon_sanitize(name, EG_HWMON_TEXT_MAX, text);
		return 0;
	}
	if (n < 0 && !is_absent(n))
		return (int)n;
	snprintf(path, sizeof(path), "%s/device/name", dir);
	n = eg_fs_read_text(fs, path, text, sizeof(text));
	if (n > 0) {
		eg_hwmon_sanitize(name, EG_HWMON_TEXT_MAX, text);
		snprintf(dir, DIR_MAX, CLASS_DIR "/%.47s/device", entry);
	}
	return n < 0 && !is_absent(n) ? (int)n : 0;
}

/* "ina3221-1-0040": the same at each boot, where the kernel names the device. */
static void make_key(const char *entry, const char *name, const char *device, char key[KEY_MAX])
{
	const char *id = device[0] ? device : entry;

	snprintf(key, KEY_MAX, "%.19s%s%.27s", name, name[0] ? "-" : "", id);
}

static bool is_battery(const struct eg_fs *fs, const char *name)
{
	char path[EG_PATH_MAX];
	int fd;

	snprintf(path, sizeof(path), "sys/class/power_supply/%s", name);
	fd = name[0] ? eg_fs_open_dir(fs, path) : -ENOENT;
	eg_fs_close(fs, fd);
	return fd >= 0;
}

/* Reads the directory into the chip's tables. */
static int collect(const struct eg_fs *fs, const char *dir, struct eg_hwmon_chip *ret,
		   struct eg_diags *diags)
{
	struct eg_names names = {0};
	int r = eg_fs_list(fs, dir, &names);

	if (r < 0)
		return r;
	for (size_t i = 0; i < names.n; i++) {
		char path[EG_PATH_MAX], text[256];
		enum eg_hwmon_kind kind;
		enum eg_hwmon_item item;
		unsigned index;
		ssize_t n = -1;

		if (eg_hwmon_parse_name(names.name[i], &kind, &index, &item) != 0)
			continue;
		if (item == EG_HWMON_ITEM_ENABLE || item == EG_HWMON_ITEM_LABEL) {
			snprintf(path, sizeof(path), "%s/%s", dir, names.name[i]);
			n = eg_fs_read_text(fs, path, text, sizeof(text));
			if (n < 0)
				eg_diag_add(diags, eg_diag_code_of((int)n), "hwmon", path, "",
					    "%s; its sensor goes by number and counts as enabled",
					    eg_errno_text((int)n));
		}
		eg_hwmon_chip_add(ret, names.name[i], n >= 0 ? text : NULL);
	}
	eg_names_free(&names);
	return 0;
}

static bool read_value(const struct eg_fs *fs, const char *dir, const char *stem, const char *item,
		       uint64_t *ret)
{
	char path[EG_PATH_MAX];

	snprintf(path, sizeof(path), "%s/%s_%s", dir, stem, item);
	return eg_fs_read_u64(fs, path, ret) == 0 && *ret > 0;
}

/*
 * The highest plausible power. What the device can do (cap_max, rated_max) decides; an alarm
 * threshold (max, crit) may be set below what flows, so it only raises the default.
 */
static uint64_t max_uw_of(const struct eg_fs *fs, const char *dir, const char *stem,
			  uint64_t fallback_uw)
{
	uint64_t limit_uw, max_uw = fallback_uw;

	if (read_value(fs, dir, stem, "cap_max", &limit_uw) ||
	    read_value(fs, dir, stem, "rated_max", &limit_uw))
		return limit_uw > UINT64_MAX / 2 ? fallback_uw : limit_uw + limit_uw / 2;
	if (read_value(fs, dir, stem, "max", &limit_uw) && limit_uw < UINT64_MAX / 2)
		max_uw = EG_MAX(max_uw, limit_uw + limit_uw / 2);
	if (read_value(fs, dir, stem, "crit", &limit_uw) && limit_uw < UINT64_MAX / 2)
		max_uw = EG_MAX(max_uw, limit_uw + limit_uw / 2);
	return max_uw;
}

static uint64_t update_ns_of(const struct eg_fs *fs, const char *dir,
			     const struct eg_hwmon_plan *plan)
{
	char stem[24];
	uint64_t ms;

	snprintf(stem, sizeof(stem), "power%u_average", plan->index);
	if (plan->kind == EG_HWMON_POWER && plan->average &&
	    read_value(fs, dir, stem, "interval", &ms) && ms <= 3600000)
		return ms * EG_NSEC_PER_MSEC;
	if (read_value(fs, dir, "update", "interval", &ms) && ms <= 3600000)
		return ms * EG_NSEC_PER_MSEC;
	return 0;
}

/* ---- what a sensor is ---- */

static bool domain_taken(const struct eg_instance *in, const char *domain)
{
	for (size_t i = 0; i < in->n; i++)
		if (strcmp(in->channel[i].domain, domain) == 0)
			return true;
	return false;
}

static void name_channel(struct eg_instance *in, const char *key, const struct eg_hwmon_plan *plan,
			 struct eg_channel *c)
{
	char id[24], label[EG_HWMON_TEXT_MAX];
	static const char *const kinds[] = {"energy", "power", "in", "curr"};

	if (plan->kind == EG_HWMON_IN)
		snprintf(id, sizeof(id), "in%uxcurr%u", plan->index, plan->current);
	else
		snprintf(id, sizeof(id), "%s%u", kinds[plan->kind], plan->index);
	eg_hwmon_sanitize(label, sizeof(label), plan->label[0] ? plan->label : id);
	snprintf(c->domain, sizeof(c->domain), "%.47s-%.47s", key, label);
	if (domain_taken(in, c->domain))
		snprintf(c->domain, sizeof(c->domain), "%.47s-%.24s-%.20s", key, label, id);
	(void)eg_copy(c->device, sizeof(c->device), c->domain);
	(void)eg_copy(c->label, sizeof(c->label), plan->label[0] ? plan->label : key);
	for (char *p = c->label; *p; p++) /* it goes to screens */
		if ((unsigned char)*p < 0x20 || (unsigned char)*p >= 0x7f)
			*p = '?';
}

/* AMD's energy chip numbers its sockets: the account that RAPL drivers fill too. */
static bool as_amd_socket(const struct eg_hwmon_plan *plan, struct eg_channel *c)
{
	uint64_t socket;
	size_t n = strlen(plan->label);

	if (n < 8 || strncmp(plan->label, "Esocket", 7) != 0 ||
	    eg_parse_u64(plan->label + 7, n - 7, &socket) != 0)
		return false;
	snprintf(c->device, sizeof(c->device), "cpu-%u", (unsigned)socket);
	c->component = EG_COMPONENT_PACKAGE;
	c->max_uw = CPU_MAX_UW;
	c->resolution_uj = 16; /* 2^-16 J */
	c->accuracy.citation = "Schoene 2021: AMD computes it from activity, without DRAM";
	return true;
}

static void as_jetson_rail(struct eg_instance *in, const struct eg_hwmon_plan *plan,
			   struct eg_channel *c)
{
	c->component = EG_COMPONENT_SOC;
	if (strcmp(plan->label, "VDD_IN") == 0 && !in->have_node) {
		snprintf(c->device, sizeof(c->device), "node");
		c->boundary = EG_BOUNDARY_NODE;
		in->have_node = true;
	} else {
		/* The domain, unlike the label, is unique over the chips of a module. */
		snprintf(c->device, sizeof(c->device), "node-rail-%.80s", c->domain);
	}
}

/* False: not a channel of its own. */
static bool classify(struct eg_instance *in, const struct eg_hwmon_chip *chip,
		     const char *chip_device, const struct eg_hwmon_plan *plan,
		     struct eg_channel *c, struct eg_diags *diags)
{
	if (strcmp(chip->name, "amd_energy") == 0)
		return as_amd_socket(plan, c); /* Ecore: parts of a socket, one per core */
	if (strcmp(chip->name, "nouveau") == 0) {
		c->component = EG_COMPONENT_GPU;
		c->max_uw = EG_MAX(c->max_uw, GPU_MAX_UW);
		if (chip_device[0])
			snprintf(c->device, sizeof(c->device), "pci-%.80s", chip_device);
		return true;
	}
	if (eg_hwmon_is_power_meter(chip) && plan->kind == EG_HWMON_POWER) {
		if (in->have_node) {
			eg_diag_add(diags, EG_DIAG_NOT_COUNTED, "hwmon", c->domain, "",
				    "a second power meter: which part of the machine each covers "
				    "is not told, so only the first is taken for the machine");
			return true;
		}
		in->have_node = true;
		snprintf(c->device, sizeof(c->device), "node");
		c->component = EG_COMPONENT_CHASSIS;
		c->boundary = EG_BOUNDARY_NODE;
		return true;
	}
	if (in->jetson && strcmp(chip->name, "ina3221") == 0) {
		if (strcmp(plan->label, "NC") == 0)
			return false; /* not connected */
		as_jetson_rail(in, plan, c);
	}
	return true;
}

/* VDD_IN feeds the other rails of a module: they are shown as its parts. */
static void nest_jetson_rails(struct eg_instance *in)
{
	int32_t whole = -1;

	for (size_t i = 0; i < in->n; i++)
		if (in->channel[i].component == EG_COMPONENT_SOC &&
		    in->channel[i].boundary == EG_BOUNDARY_NODE)
			whole = (int32_t)i;
	for (size_t i = 0; whole >= 0 && i < in->n; i++) {
		if (in->channel[i].component != EG_COMPONENT_SOC || (int32_t)i == whole)
			continue;
		in->channel[i].component = EG_COMPONENT_RAIL;
		in->channel[i].part_of = whole;
	}
}

static int open_inputs(struct eg_instance *in, const struct chip *chip, struct sensor *s)
{
	for (unsigned i = 0; i < s->n_inputs; i++) {
		int fd = eg_fs_openf(&in->env->fs, "%s/%s", chip->dir, s->input[i].file);

		if (fd < 0) {
			while (i-- > 0) {
				eg_fs_close(&in->env->fs, s->input[i].fd);
				s->input[i].fd = -1;
			}
			return fd;
		}
		s->input[i].fd = fd;
	}
	return 0;
}

static void close_inputs(struct eg_instance *in, struct sensor *s)
{
	for (unsigned i = 0; i < s->n_inputs; i++) {
		eg_fs_close(&in->env->fs, s->input[i].fd);
		s->input[i].fd = -1;
	}
}

static void plan_files(struct sensor *s, const struct eg_hwmon_plan *plan)
{
	static const char *const kinds[] = {"energy", "power", "in", "curr"};
	const char *item = plan->average ? "average" : "input";

	s->kind = plan->kind;
	s->n_inputs = plan->kind == EG_HWMON_IN ? 2 : 1;
	s->input[0].fd = s->input[1].fd = -1;
	snprintf(s->input[0].file, sizeof(s->input[0].file), "%s%u_%s", kinds[plan->kind],
		 plan->index, item);
	if (s->n_inputs == 2)
		snprintf(s->input[1].file, sizeof(s->input[1].file), "curr%u_%s", plan->current,
			 item);
}

static void report_blocked(struct eg_diags *diags, const char *domain, const char *path, int err)
{
	eg_diag_add(diags, eg_diag_code_of(err), "hwmon", domain,
		    err == -EACCES || err == -EPERM ?
			    "run as root, or let a group read the file: chgrp GROUP FILE && "
			    "chmod g+r FILE" :
			    "",
		    "%s: %s", path, eg_errno_text(err));
}

static int add_channel(struct eg_instance *in, uint32_t chip_index, const struct eg_hwmon_chip *hw,
		       const struct eg_hwmon_plan *plan, struct eg_diags *diags)
{
	const struct eg_fs *fs = &in->env->fs;
	struct chip *chip = &in->chip[chip_index];
	struct sensor *s = &in->sensor[in->n];
	struct eg_channel *c = &in->channel[in->n];
	bool had_node = in->have_node, meter = eg_hwmon_is_power_meter(hw);
	char stem[24];
	int r;

	*s = (struct sensor){.chip = chip_index, .acpi = meter};
	plan_files(s, plan);
	snprintf(stem, sizeof(stem), "power%u", plan->index);
	*c = (struct eg_channel){
		.component = EG_COMPONENT_RAIL,
		.source = EG_SOURCE_HWMON,
		.boundary = EG_BOUNDARY_COMPONENT,
		.provenance = EG_PROVENANCE_MEASURED,
		.quantity = plan->kind == EG_HWMON_ENERGY ? EG_QUANTITY_ENERGY : EG_QUANTITY_POWER,
		.unit_num = 1,
		.unit_den = 1, /* uJ; uW; mV x mA = uW */
		.resolution_uj = plan->kind == EG_HWMON_ENERGY ? 1 : 0,
		.update_ns = update_ns_of(fs, chip->dir, plan),
		.part_of = -1,
		.accuracy = {100000, 0, "no published figure: 10 % is our choice, unverified"},
	};
	c->max_uw = max_uw_of(fs, chip->dir, plan->kind == EG_HWMON_POWER ? stem : "none",
			      meter ? in->chassis_max_uw : in->rail_max_uw);
	name_channel(in, chip->key, plan, c);
	snprintf(c->origin, sizeof(c->origin), "%s/%s%s%s", chip->dir, s->input[0].file,
		 s->n_inputs == 2 ? " x " : "", s->n_inputs == 2 ? s->input[1].file : "");
	if (!classify(in, hw, chip->device, plan, c, diags))
		return 0;
	r = open_inputs(in, chip, s);
	if (r < 0) {
		in->have_node = had_node;
		in->blocked |= r == -EACCES || r == -EPERM;
		report_blocked(diags, c->domain, c->origin, r);
		return r == -ENOMEM || r == -EMFILE || r == -ENFILE ? r : 0;
	}
	in->may_block |= eg_fs_may_block(fs, s->input[0].fd);
	in->n++;
	return 0;
}

static void report_disabled(const struct chip *chip, const struct eg_hwmon_chip *hw,
			    struct eg_diags *diags)
{
	static const char *const kinds[] = {"energy", "power", "in", "curr"};

	for (unsigned k = 0; k < EG_HWMON_KINDS; k++)
		for (unsigned i = 0; i < EG_HWMON_INDEX_MAX; i++) {
			char subject[96];

			if (!hw->sensor[k][i].disabled)
				continue;
			snprintf(subject, sizeof(subject), "%.60s-%s%u", chip->key, kinds[k], i);
			eg_diag_add(diags, EG_DIAG_SENSOR_UNSUPPORTED, "hwmon", subject,
				    "enable the sensor by its _enable file where it is wanted",
				    "%s/%s%u_enable is 0", chip->dir, kinds[k], i);
		}
}

static bool key_taken(const struct eg_instance *in, const char *key)
{
	for (size_t i = 0; i < in->n_chips; i++)
		if (strcmp(in->chip[i].key, key) == 0)
			return true;
	return false;
}

/* Adds the channels of one entry of the class folder. */
static int add_chip(struct eg_instance *in, const char *entry, struct eg_diags *diags)
{
	eg_autofree struct eg_hwmon_chip *hw = calloc(1, sizeof(*hw));
	eg_autofree struct eg_hwmon_plan *plan = calloc(EG_HWMON_PLANS_MAX, sizeof(*plan));
	struct chip *chip = &in->chip[in->n_chips];
	size_t n, before = in->n;
	int r;

	if (!hw || !plan)
		return -ENOMEM;
	*chip = (struct chip){0};
	if (eg_copy(chip->entry, sizeof(chip->entry), entry) < 0)
		return 0; /* no name the kernel gives */
	r = identify(&in->env->fs, entry, chip->dir, chip->name, chip->device);
	if (r < 0) {
		in->blocked |= r == -EACCES;
		report_blocked(diags, entry, chip->dir, r);
		return r == -ENOMEM ? r : 0;
	}
	if (eg_hwmon_owned_elsewhere(chip->name) || is_battery(&in->env->fs, chip->name))
		return 0;
	r = collect(&in->env->fs, chip->dir, hw, diags);
	if (r < 0) {
		in->blocked |= r == -EACCES;
		if (!is_absent(r))
			report_blocked(diags, entry, chip->dir, r);
		return r == -ENOMEM ? r : 0; /* a dangling link, a plain file */
	}
	(void)eg_copy(hw->name, sizeof(hw->name), chip->name);
	hw->acpi_device = strncmp(chip->device, "ACPI000D", 8) == 0;
	make_key(entry, chip->name, chip->device, chip->key);
	if (key_taken(in, chip->key)) /* two chips of one name in one device */
		snprintf(chip->key, sizeof(chip->key), "%.19s-%.27s", chip->name, entry);
	n = eg_hwmon_chip_plan(hw, plan);
	report_disabled(chip, hw, diags);
	if (n == 0)
		return 0;
	in->n_chips++;
	for (size_t i = 0; i < n; i++) {
		if (in->n == CHANNELS_MAX) {
			eg_diag_add(diags, EG_DIAG_CONFIG, "hwmon", chip->key, "",
				    "more than %d channels: the rest is left out", CHANNELS_MAX);
			break;
		}
		r = add_channel(in, (uint32_t)(in->n_chips - 1), hw, &plan[i], diags);
		if (r < 0)
			return r;
	}
	if (in->n == before)
		in->n_chips--;
	return 0;
}

/* ---- the driver ---- */

static int watts_setting(const struct eg_driver_config *cfg, const char *name, uint64_t fallback_w,
			 uint64_t *ret_uw)
{
	const char *text = eg_setting_get(cfg, "hwmon", name);
	uint64_t w = fallback_w;

	if (text && (eg_parse_u64(text, strlen(text), &w) != 0 || w == 0 || w > 10000000)) {
		eg_diag_add(cfg->diags, EG_DIAG_CONFIG, "hwmon", name,
			    "give whole watts from 1 to 10000000", "%.60s is no power", text);
		return -EINVAL;
	}
	*ret_uw = w * 1000000;
	return 0;
}

static void hwmon_close(struct eg_instance *in)
{
	if (!in)
		return;
	for (size_t i = 0; i < in->n; i++)
		close_inputs(in, &in->sensor[i]);
	free(in->chip);
	free(in->sensor);
	free(in->channel);
	free(in);
}

static int hwmon_probe(const struct eg_env *env)
{
	return eg_fs_exists(&env->fs, CLASS_DIR) ? 0 : -ENODEV;
}

static int scan(struct eg_instance *in, const struct eg_driver_config *cfg)
{
	struct eg_names names = {0};
	int r = eg_fs_list(&in->env->fs, CLASS_DIR, &names);

	if (r < 0) {
		eg_diag_add(cfg->diags, eg_diag_code_of(r), "hwmon", CLASS_DIR,
			    "load the driver of the sensor chip (sensors-detect finds it)", "%s%s",
			    r == -ENOENT ? "this kernel has no hwmon folder" :
					   "the hwmon folder cannot be listed: ",
			    r == -ENOENT ? "" : eg_errno_text(r));
		return r == -ENOENT ? -ENODEV : r;
	}
	for (size_t i = 0; i < names.n && r == 0; i++) {
		if (in->n_chips == CHIPS_MAX) {
			eg_diag_add(cfg->diags, EG_DIAG_CONFIG, "hwmon", CLASS_DIR, "",
				    "more than %d chips with power: the rest is left out",
				    CHIPS_MAX);
			break;
		}
		r = add_chip(in, names.name[i], cfg->diags);
	}
	eg_names_free(&names);
	if (r < 0)
		return r;
	nest_jetson_rails(in);
	if (in->n > 0)
		return 0;
	if (in->blocked)
		return -EACCES;
	eg_diag_add(cfg->diags, EG_DIAG_SENSOR_ABSENT, "hwmon", CLASS_DIR,
		    "load the driver of the sensor chip (sensors-detect finds it)",
		    "no chip shows energy, power, or a voltage with its current");
	return -ENODEV;
}

static int hwmon_open(const struct eg_env *env, const struct eg_driver_config *cfg,
		      struct eg_instance **ret)
{
	struct eg_instance *in = calloc(1, sizeof(*in));
	int r;

	if (!in)
		return -ENOMEM;
	in->env = env;
	in->jetson = eg_fs_exists(&env->fs, "etc/nv_tegra_release");
	in->chip = calloc(CHIPS_MAX, sizeof(*in->chip));
	in->sensor = calloc(CHANNELS_MAX, sizeof(*in->sensor));
	in->channel = calloc(CHANNELS_MAX, sizeof(*in->channel));
	r = in->chip && in->sensor && in->channel ? 0 : -ENOMEM;
	if (r == 0)
		r = watts_setting(cfg, "rail_max_watts", 1000, &in->rail_max_uw);
	if (r == 0)
		r = watts_setting(cfg, "chassis_max_watts", 5000, &in->chassis_max_uw);
	if (r == 0)
		r = scan(in, cfg);
	if (r < 0) {
		hwmon_close(in);
		return r;
	}
	*ret = in;
	return 0;
}

static size_t hwmon_describe(const struct eg_instance *in, const struct eg_channel **ret)
{
	*ret = in->channel;
	return in->n;
}

/* ---- reading ---- */

static bool is_gone(int err)
{
	return err == -ENODEV || err == -ENXIO || err == -ENOENT || err == -ESTALE;
}

static bool is_chip_at(struct eg_instance *in, const struct chip *chip, const char *entry,
		       char dir[DIR_MAX])
{
	char name[EG_HWMON_TEXT_MAX], device[EG_DEVICE_MAX];

	if (!chip->device[0] && strcmp(entry, chip->entry) != 0)
		return false; /* nothing but its number tells it from its like */
	if (identify(&in->env->fs, entry, dir, name, device) < 0)
		return false;
	if (strcmp(name, chip->name) != 0 || strcmp(device, chip->device) != 0)
		return false;
	for (size_t i = 0; i < in->n_chips; i++) { /* not the twin in the same device */
		const struct chip *other = &in->chip[i];

		if (other != chip && strcmp(other->dir, dir) == 0 &&
		    strcmp(other->name, name) == 0 && strcmp(other->device, device) == 0)
			return false;
	}
	return true;
}

/* Where a chip is now: a driver loaded again may give it another hwmonN. */
static bool locate(struct eg_instance *in, struct chip *chip)
{
	char entry[KEY_MAX], dir[DIR_MAX];

	if (is_chip_at(in, chip, chip->entry, dir))
		return true;
	for (unsigned i = 0; i < RESCAN_MAX; i++) {
		snprintf(entry, sizeof(entry), "hwmon%u", i);
		if (is_chip_at(in, chip, entry, dir)) {
			(void)eg_copy(chip->entry, sizeof(chip->entry), entry);
			(void)eg_copy(chip->dir, sizeof(chip->dir), dir);
			return true;
		}
	}
	return false;
}

/* Opens a vanished sensor again; not more often than each RETRY_NS. */
static int find_again(struct eg_instance *in, struct sensor *s, uint64_t now_ns)
{
	struct chip *chip = &in->chip[s->chip];
	int r;

	if (now_ns < s->retry_ns)
		return -ENODEV;
	s->retry_ns = now_ns + RETRY_NS;
	r = locate(in, chip) ? open_inputs(in, chip, s) : -ENODEV;
	if (r < 0)
		return r;
	s->gone = false;
	s->epoch++;
	return 0;
}

static int read_input(struct eg_instance *in, const struct input *input, int64_t *ret)
{
	char text[64];
	ssize_t n = eg_fs_pread(&in->env->fs, input->fd, text, sizeof(text), 0);

	if (n < 0)
		return (int)n;
	if (n == 0) /* a file that was taken away: a simulated machine's says no more than that */
		return -ENODEV;
	if (n == (ssize_t)sizeof(text))
		return -EPROTO;
	return eg_parse_i64(text, (size_t)n, ret) == 0 ? 0 : -EPROTO;
}

static enum eg_status status_of(int err)
{
	if (err == -EAGAIN || err == -ENODATA)
		return EG_STATUS_NO_DATA;
	if (err == -EACCES || err == -EPERM)
		return EG_STATUS_DENIED;
	return EG_STATUS_ERROR;
}

/* Values of a sensor to its raw unit. -ERANGE: no power (negative, or beyond 64 bits). */
static int value_of(const struct sensor *s, const int64_t v[2], uint64_t *ret)
{
	int64_t product = v[0];

	if (s->n_inputs == 2 && __builtin_mul_overflow(v[0], v[1], &product))
		return -ERANGE;
	if (product < 0)
		return -ERANGE;
	if (s->acpi && s->kind == EG_HWMON_POWER && product == (int64_t)UNKNOWN_POWER_UW)
		return -ENODATA;
	*ret = (uint64_t)product;
	return 0;
}

static void report_failed(const struct eg_instance *in, size_t i, int err, struct eg_diags *diags)
{
	const struct eg_channel *c = &in->channel[i];

	if (err == -ERANGE)
		eg_diag_add(diags, EG_DIAG_VALUE_REJECTED, "hwmon", c->domain, "",
			    "%s: no power: negative or too large", c->origin);
	else
		eg_diag_add(diags, eg_diag_code_of(err), "hwmon", c->domain, "", "%s: %s",
			    c->origin, eg_errno_text(err));
}

static void read_one(struct eg_instance *in, size_t i, struct eg_sink *sink, struct eg_diags *diags)
{
	struct sensor *s = &in->sensor[i];
	struct eg_reading r = {.status = EG_STATUS_OK};
	int64_t v[2] = {0, 0};
	int err = s->gone ? find_again(in, s, eg_clock_ns(&in->env->clock)) : 0;

	for (unsigned k = 0; err == 0 && k < s->n_inputs; k++)
		err = read_input(in, &s->input[k], &v[k]);
	r.t_ns = eg_clock_ns(&in->env->clock);
	if (err == 0)
		err = value_of(s, v, &r.raw);
	r.epoch = s->epoch;
	if (err != 0) {
		r.status = status_of(err);
		r.bad = err == -ERANGE && s->kind != EG_HWMON_ENERGY;
		if (is_gone(err) && !s->gone) {
			close_inputs(in, s);
			s->gone = true;
			s->retry_ns = 0; /* the next read looks for it */
		}
		if (r.status != EG_STATUS_NO_DATA)
			report_failed(in, i, err, diags);
	}
	eg_sink_put(sink, i, &r);
}

static void hwmon_read(struct eg_instance *in, struct eg_sink *sink, struct eg_diags *diags)
{
	for (size_t i = 0; i < in->n; i++)
		read_one(in, i, sink, diags);
}

static bool hwmon_may_block(const struct eg_instance *in)
{
	return in->may_block;
}

static uint32_t hwmon_flags(const struct eg_instance *in, size_t channel)
{
	return in->sensor[channel].gone ? EG_FLAG_BIT(EG_FLAG_LOST) : 0;
}

static const struct eg_option options[] = {
	{"rail_max_watts", EG_OPTION_U64, "1000",
	 "highest plausible power of a sensor whose chip states no limit"},
	{"chassis_max_watts", EG_OPTION_U64, "5000",
	 "highest plausible power of a power meter that states no limit"},
	{0},
};

const struct eg_driver eg_driver_hwmon = {
	.name = "hwmon",
	.summary =
		"power and energy sensors of any Linux hwmon chip, ACPI power meter, Jetson rails",
	.source = EG_SOURCE_HWMON,
	.maturity = EG_MATURITY_SIMULATED,
	.blocking_ns = 50 * EG_NSEC_PER_MSEC, /* an i2c transfer on a slow bus */
	.options = options,
	.probe = hwmon_probe,
	.open = hwmon_open,
	.describe = hwmon_describe,
	.read = hwmon_read,
	.may_block = hwmon_may_block,
	.flags = hwmon_flags,
	.close = hwmon_close,
};
