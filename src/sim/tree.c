/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See tree.h. Names, folders and links are those of Linux: Documentation/power/powercap/powercap.rst,
 * hwmon/sysfs-interface.rst, ABI/testing/sysfs-bus-event_source-devices-*, sysfs-class-power,
 * admin-guide/cgroup-v2.rst. Entries of a class are links into devices/, as in sysfs.
 */
#include "sim/tree.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/strbuf.h"

static int make_parents(int root, const char *path)
{
	char dir[EG_TREE_PATH_MAX];

	if (eg_copy(dir, sizeof(dir), path) < 0)
		return -ENAMETOOLONG;
	for (char *s = strchr(dir, '/'); s; s = strchr(s + 1, '/')) {
		*s = '\0';
		if (mkdirat(root, dir, 0755) < 0 && errno != EEXIST)
			return -errno;
		*s = '/';
	}
	return 0;
}

int eg_tree_put(int root, const char *path, unsigned mode, const void *data, size_t n, int *ret_fd)
{
	eg_autoclose int fd = -1;
	int r = make_parents(root, path);

	if (r < 0)
		return r;
	if (unlinkat(root, path, 0) < 0 && errno != ENOENT)
		return -errno;
	fd = openat(root, path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	if (n) {
		ssize_t w = write(fd, data, n);

		if (w != (ssize_t)n)
			return w < 0 ? -errno : -EIO;
	}
	if (fchmod(fd, mode) < 0)
		return -errno;
	if (ret_fd)
		*ret_fd = eg_take_fd(&fd);
	return 0;
}

int eg_tree_puts(int root, const char *path, const char *text)
{
	return eg_tree_put(root, path, 0444, text, strlen(text), NULL);
}

int eg_tree_putf(int root, const char *path, const char *fmt, ...)
{
	char text[512];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= sizeof(text))
		return -EMSGSIZE;
	return eg_tree_puts(root, path, text);
}

int eg_tree_link(int root, const char *target, const char *path)
{
	int r = make_parents(root, path);

	if (r < 0)
		return r;
	if (unlinkat(root, path, 0) < 0 && errno != ENOENT)
		return -errno;
	return symlinkat(target, root, path) < 0 ? -errno : 0;
}

/* ---- where a channel lives ---- */

static int fits(int n, size_t cap)
{
	return n < 0 || (size_t)n >= cap ? -ENAMETOOLONG : 0;
}

/* intel-rapl:0:1 lives in intel-rapl/intel-rapl:0/intel-rapl:0:1. */
static int zone_dir(const char *zone, char *ret, size_t cap)
{
	int n = snprintf(ret, cap, "sys/devices/virtual/powercap");

	for (const char *c = strchr(zone, ':'); n >= 0 && (size_t)n < cap; c = strchr(c + 1, ':')) {
		if (!c)
			c = zone + strlen(zone);
		n += snprintf(ret + n, cap - (size_t)n, "/%.*s", (int)(c - zone), zone);
		if (!*c)
			return fits(n, cap);
	}
	return -ENAMETOOLONG;
}

/* Device of a hwmon chip below sys/. */
static int chip_device(const struct eg_scenario *sc, const struct eg_sim_channel *c, char *ret,
		       size_t cap)
{
	char id[EG_SIM_ID_MAX];
	const struct eg_sim_channel *chip;

	snprintf(id, sizeof(id), "hwmon %.60s", c->node);
	chip = &sc->channel[eg_scenario_channel(sc, id)];
	if (chip->device[0])
		return fits(snprintf(ret, cap, "%s", chip->device), cap);
	return fits(snprintf(ret, cap, "devices/platform/%s.%s", chip->name, c->node), cap);
}

int eg_tree_dir(const struct eg_scenario *sc, const struct eg_sim_channel *c, char *ret, size_t cap)
{
	char device[160];
	int r;

	switch (c->kind) {
	case EG_SIM_RAPL:
		return zone_dir(c->node, ret, cap);
	case EG_SIM_PERF:
		return fits(snprintf(ret, cap, "dev/ergon-perf/%s", c->node), cap);
	case EG_SIM_PMU:
		return fits(snprintf(ret, cap, "sys/devices/%s", c->node), cap);
	case EG_SIM_BATTERY:
		return fits(snprintf(ret, cap, "sys/devices/platform/power_supply/%s", c->node),
			    cap);
	case EG_SIM_CGROUP:
		return fits(snprintf(ret, cap, "sys/fs/cgroup/%s", c->node), cap);
	case EG_SIM_HWMON:
	case EG_SIM_HWMON_ENERGY:
	case EG_SIM_HWMON_POWER:
	case EG_SIM_HWMON_RAIL:
		break;
	}
	r = chip_device(sc, c, device, sizeof(device));
	if (r < 0)
		return r;
	return fits(snprintf(ret, cap, "sys/%s/hwmon/hwmon%s", device, c->node), cap);
}

/* Name of a value file, "" where the channel has none of the role. */
static void value_name(const struct eg_sim_channel *c, enum eg_tree_role role, char *ret,
		       size_t cap)
{
	*ret = '\0';
	if (c->kind == EG_SIM_BATTERY) {
		static const char *const names[] = {"power_now", "", "energy_now", "status"};

		snprintf(ret, cap, "%s",
			 role == EG_TREE_VALUE && c->by_current ? "current_now" : names[role]);
		return;
	}
	if (c->kind == EG_SIM_HWMON_POWER && role == EG_TREE_AVERAGE && c->average_ns)
		snprintf(ret, cap, "power%u_average", (unsigned)c->index);
	if (role != EG_TREE_VALUE)
		return;
	if (c->kind == EG_SIM_RAPL)
		snprintf(ret, cap, "energy_uj");
	else if (c->kind == EG_SIM_PERF)
		snprintf(ret, cap, "%llx-%d", (unsigned long long)c->config, c->cpu);
	else if (c->kind == EG_SIM_HWMON_ENERGY)
		snprintf(ret, cap, "energy%u_input", (unsigned)c->index);
	else if (c->kind == EG_SIM_HWMON_POWER && c->show_input)
		snprintf(ret, cap, "power%u_input", (unsigned)c->index);
	else if (c->kind == EG_SIM_HWMON_RAIL)
		snprintf(ret, cap, "curr%u_input", (unsigned)c->curr_index);
	else if (c->kind == EG_SIM_CGROUP)
		snprintf(ret, cap, "cpu.stat");
}

int eg_tree_path(const struct eg_scenario *sc, const struct eg_sim_channel *c,
		 enum eg_tree_role role, char *ret, size_t cap)
{
	char dir[EG_TREE_PATH_MAX], name[64];
	int r;

	value_name(c, role, name, sizeof(name));
	if (!*name) {
		*ret = '\0';
		return 0;
	}
	r = eg_tree_dir(sc, c, dir, sizeof(dir));
	return r < 0 ? r : fits(snprintf(ret, cap, "%s/%s", dir, name), cap);
}

/* ---- what stands around a value ---- */

/* Collects the first error of many puts in one folder. */
struct into {
	int root, error;
	const char *dir;
};

static void in_put(struct into *in, const char *name, const char *fmt, ...) EG_PRINTF(3, 4);
static void in_put(struct into *in, const char *name, const char *fmt, ...)
{
	char path[EG_TREE_PATH_MAX + 80], text[256];
	va_list ap;

	if (in->error < 0)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	snprintf(path, sizeof(path), "%s%s%s", in->dir, *in->dir ? "/" : "", name);
	in->error = eg_tree_puts(in->root, path, text);
}

static void in_link(struct into *in, const char *name, const char *target)
{
	char path[EG_TREE_PATH_MAX + 80];

	if (in->error < 0)
		return;
	snprintf(path, sizeof(path), "%s%s%s", in->dir, *in->dir ? "/" : "", name);
	in->error = eg_tree_link(in->root, target, path);
}

static int put_zone(struct into *in, const struct eg_sim_channel *c)
{
	char link[EG_TREE_PATH_MAX], target[EG_TREE_PATH_MAX + 8], type[64];

	eg_copy(type, sizeof(type), c->node);
	*strchr(type, ':') = '\0';
	in_put(in, "name", "%s\n", c->name);
	in_put(in, "enabled", "1\n");
	if (c->show_range)
		in_put(in, "max_energy_range_uj", "%llu\n", (unsigned long long)c->range_uj);
	if (c->max_power_uw) {
		in_put(in, "constraint_0_name", "long_term\n");
		in_put(in, "constraint_0_max_power_uw", "%llu\n",
		       (unsigned long long)c->max_power_uw);
		in_put(in, "constraint_0_power_limit_uw", "%llu\n",
		       (unsigned long long)c->max_power_uw);
		in_put(in, "constraint_0_time_window_us", "999424\n");
	}
	snprintf(link, sizeof(link), "sys/class/powercap/%s", c->node);
	/* in->dir starts with "sys/". */
	snprintf(target, sizeof(target), "../../%s", in->dir + 4);
	if (in->error == 0)
		in->error = eg_tree_link(in->root, target, link);
	snprintf(link, sizeof(link), "sys/devices/virtual/powercap/%s/enabled", type);
	if (in->error == 0)
		in->error = eg_tree_puts(in->root, link, "1\n");
	snprintf(link, sizeof(link), "sys/class/powercap/%s", type);
	snprintf(target, sizeof(target), "../../devices/virtual/powercap/%s", type);
	if (in->error == 0)
		in->error = eg_tree_link(in->root, target, link);
	return in->error;
}

static int put_chip(struct into *in, const struct eg_scenario *sc, const struct eg_sim_channel *c)
{
	char device[160], link[EG_TREE_PATH_MAX], target[EG_TREE_PATH_MAX + 8];
	int r = chip_device(sc, c, device, sizeof(device));

	if (r < 0)
		return r;
	in_put(in, "name", "%s\n", c->name);
	snprintf(target, sizeof(target), "../../../%s",
		 strrchr(device, '/') ? strrchr(device, '/') + 1 : device);
	in_link(in, "device", target);
	snprintf(link, sizeof(link), "sys/class/hwmon/hwmon%s", c->node);
	snprintf(target, sizeof(target), "../../%s", in->dir + 4);
	if (in->error == 0)
		in->error = eg_tree_link(in->root, target, link);
	return in->error;
}

static int put_hwmon_sensor(struct into *in, const struct eg_sim_channel *c)
{
	const char *prefix = c->kind == EG_SIM_HWMON_ENERGY ? "energy" :
			     c->kind == EG_SIM_HWMON_POWER  ? "power" :
							      "in";
	unsigned index = (unsigned)(c->kind == EG_SIM_HWMON_RAIL ? c->in_index : c->index);
	char name[64];

	if (c->label[0]) {
		snprintf(name, sizeof(name), "%s%u_label", prefix, index);
		in_put(in, name, "%s\n", c->label);
		if (c->kind == EG_SIM_HWMON_RAIL) {
			snprintf(name, sizeof(name), "curr%u_label", (unsigned)c->curr_index);
			in_put(in, name, "%s\n", c->label);
		}
	}
	if (c->enable >= 0) {
		snprintf(name, sizeof(name), "%s%u_enable", prefix, index);
		in_put(in, name, "%d\n", c->enable);
	}
	if (c->kind == EG_SIM_HWMON_RAIL) {
		snprintf(name, sizeof(name), "in%u_input", index);
		in_put(in, name, "%llu\n", (unsigned long long)(c->volts_uv / 1000));
	}
	return in->error;
}

static int put_pmu(struct into *in, const struct eg_sim_channel *c)
{
	char link[EG_TREE_PATH_MAX], target[EG_TREE_PATH_MAX];
	int r;

	in_put(in, "type", "%llu\n", (unsigned long long)c->type);
	in_put(in, "cpumask", "%s\n", c->cpumask);
	in_put(in, "format/event", "config:0-7\n");
	in_put(in, "perf_event_mux_interval_ms", "4\n");
	/* A PMU without events has the folder all the same. */
	snprintf(link, sizeof(link), "%s/events/x", in->dir);
	r = make_parents(in->root, link);
	if (in->error == 0)
		in->error = r;
	snprintf(link, sizeof(link), "sys/bus/event_source/devices/%s", c->node);
	snprintf(target, sizeof(target), "../../../devices/%s", c->node);
	if (in->error == 0)
		in->error = eg_tree_link(in->root, target, link);
	return in->error;
}

static int put_perf_event(struct into *in, const struct eg_sim_channel *c)
{
	char dir[EG_TREE_PATH_MAX], name[160];
	struct into events = {.root = in->root, .dir = dir};

	snprintf(dir, sizeof(dir), "sys/devices/%s/events", c->node);
	in_put(&events, c->name, "event=0x%02llx\n", (unsigned long long)c->config);
	snprintf(name, sizeof(name), "%s.scale", c->name);
	in_put(&events, name, "2.3283064365386962890625e-10\n"); /* 2^-32 */
	snprintf(name, sizeof(name), "%s.unit", c->name);
	in_put(&events, name, "Joules\n");
	return events.error;
}

static int put_battery(struct into *in, const struct eg_sim_channel *c)
{
	char link[EG_TREE_PATH_MAX], target[EG_TREE_PATH_MAX + 8];

	in_put(in, "type", "Battery\n");
	in_put(in, "present", "1\n");
	in_put(in, "voltage_now", "%llu\n", (unsigned long long)c->volts_uv);
	in_put(in, "energy_full", "%llu\n", (unsigned long long)c->energy_full_uwh);
	snprintf(link, sizeof(link), "sys/class/power_supply/%s", c->node);
	snprintf(target, sizeof(target), "../../%s", in->dir + 4);
	if (in->error == 0)
		in->error = eg_tree_link(in->root, target, link);
	return in->error;
}

int eg_tree_channel(int root, const struct eg_scenario *sc, const struct eg_sim_channel *c)
{
	char dir[EG_TREE_PATH_MAX];
	struct into in = {.root = root, .dir = dir};
	int r = eg_tree_dir(sc, c, dir, sizeof(dir));

	if (r < 0)
		return r;
	switch (c->kind) {
	case EG_SIM_RAPL:
		return put_zone(&in, c);
	case EG_SIM_HWMON:
		return put_chip(&in, sc, c);
	case EG_SIM_HWMON_ENERGY:
	case EG_SIM_HWMON_POWER:
	case EG_SIM_HWMON_RAIL:
		return put_hwmon_sensor(&in, c);
	case EG_SIM_PMU:
		return put_pmu(&in, c);
	case EG_SIM_PERF:
		return put_perf_event(&in, c);
	case EG_SIM_BATTERY:
		return put_battery(&in, c);
	case EG_SIM_CGROUP:
		in_put(&in, "cgroup.procs", "%s", "");
		in_put(&in, "cgroup.controllers", "cpu\n");
		if (in.error == 0)
			in.error = eg_tree_puts(root, "sys/fs/cgroup/cgroup.controllers", "cpu\n");
		return in.error;
	}
	return 0;
}

void eg_tree_remove(int root, const struct eg_scenario *sc, const struct eg_sim_channel *c)
{
	static const char *const zone_files[] = {
		"name",
		"enabled",
		"max_energy_range_uj",
		"constraint_0_name",
		"constraint_0_max_power_uw",
		"constraint_0_power_limit_uw",
		"constraint_0_time_window_us",
	};
	static const char *const supply_files[] = {"type", "present", "voltage_now", "energy_full"};
	char dir[EG_TREE_PATH_MAX], path[EG_TREE_PATH_MAX + 80];
	bool zone = c->kind == EG_SIM_RAPL, supply = c->kind == EG_SIM_BATTERY;
	size_t n = zone ? EG_ARRAY_SIZE(zone_files) : supply ? EG_ARRAY_SIZE(supply_files) : 0;

	for (int role = 0; role < EG_TREE_ROLES; role++)
		if (eg_tree_path(sc, c, role, path, sizeof(path)) == 0 && *path)
			unlinkat(root, path, 0);
	if (n == 0 || eg_tree_dir(sc, c, dir, sizeof(dir)) < 0)
		return;
	for (size_t i = 0; i < n; i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, zone ? zone_files[i] : supply_files[i]);
		unlinkat(root, path, 0);
	}
	snprintf(path, sizeof(path), "sys/class/%s/%s", zone ? "powercap" : "power_supply",
		 c->node);
	unlinkat(root, path, 0);
	unlinkat(root, dir, AT_REMOVEDIR);
}

/* ---- the machine around the sensors ---- */

static int put_cpuinfo(int root, const struct eg_scenario *sc)
{
	struct eg_strbuf b = EG_STRBUF_INIT(EG_SCENARIO_CPUS_MAX * 512);
	int r;

	for (unsigned i = 0; i < sc->cpus; i++)
		eg_strbuf_printf(&b,
				 "processor\t: %u\nvendor_id\t: %s\ncpu family\t: %llu\n"
				 "model\t\t: %llu\nmodel name\t: %s\nstepping\t: %llu\n"
				 "cpu MHz\t\t: 2400.000\nphysical id\t: %u\nsiblings\t: %u\n"
				 "core id\t\t: %u\ncpu cores\t: %u\n"
				 "flags\t\t: fpu msr constant_tsc aperfmperf rapl\n\n",
				 i, sc->vendor, (unsigned long long)sc->family,
				 (unsigned long long)sc->model, sc->model_name,
				 (unsigned long long)sc->stepping,
				 (unsigned)(i * sc->packages / sc->cpus),
				 (unsigned)(sc->cpus / sc->packages), i,
				 (unsigned)(sc->cpus / sc->packages));
	r = eg_strbuf_error(&b);
	if (r == 0)
		r = eg_tree_puts(root, "proc/cpuinfo", eg_strbuf_get(&b));
	eg_strbuf_free(&b);
	return r;
}

static int put_topology(int root, const struct eg_scenario *sc)
{
	char path[EG_TREE_PATH_MAX], dir[EG_TREE_PATH_MAX], list[32];
	struct into in = {.root = root, .dir = "sys/devices/system/cpu"};
	static const char *const lists[] = {"online", "possible", "present"};

	snprintf(list, sizeof(list), sc->cpus > 1 ? "0-%u" : "%u", (unsigned)sc->cpus - 1);
	for (size_t i = 0; i < EG_ARRAY_SIZE(lists); i++)
		in_put(&in, lists[i], "%s\n", list);
	for (unsigned i = 0; i < sc->cpus && in.error == 0; i++) {
		uint64_t die = i * sc->packages * sc->dies / sc->cpus;

		snprintf(dir, sizeof(dir), "sys/devices/system/cpu/cpu%u/topology", i);
		in.dir = dir;
		in_put(&in, "physical_package_id", "%llu\n", (unsigned long long)(die / sc->dies));
		in_put(&in, "die_id", "%llu\n", (unsigned long long)(die % sc->dies));
		in_put(&in, "core_id", "%u\n", i);
		in_put(&in, "thread_siblings_list", "%u\n", i);
		if (i) {
			snprintf(path, sizeof(path), "sys/devices/system/cpu/cpu%u/online", i);
			if (in.error == 0)
				in.error = eg_tree_puts(root, path, "1\n");
		}
	}
	return in.error;
}

static int put_proc(int root, const struct eg_scenario *sc)
{
	struct into in = {.root = root, .dir = "proc"};
	unsigned long long kb = sc->memory_bytes / 1024;

	in_put(&in, "meminfo",
	       "MemTotal:       %llu kB\nMemFree:        %llu kB\nMemAvailable:   %llu kB\n"
	       "Buffers:        0 kB\nCached:         %llu kB\n",
	       kb, kb / 2, kb / 4 * 3, kb / 4);
	in_put(&in, "version", "Linux version %s (sim@ergon) #1 SMP\n", sc->kernel);
	in_put(&in, "loadavg", "0.00 0.00 0.00 1/1 1\n");
	in_put(&in, "sys/kernel/osrelease", "%s\n", sc->kernel);
	in_put(&in, "sys/kernel/ostype", "Linux\n");
	in_put(&in, "sys/kernel/hostname", "sim\n");
	in_put(&in, "sys/kernel/perf_event_paranoid", "0\n");
	in_put(&in, "sys/kernel/random/boot_id", "%s\n", sc->boot_id);
	return in.error;
}

int eg_tree_machine(int root, const struct eg_scenario *sc)
{
	int r = put_proc(root, sc);

	if (r == 0)
		r = put_cpuinfo(root, sc);
	if (r == 0)
		r = put_topology(root, sc);
	for (size_t i = 0; r == 0 && i < sc->n_files; i++) {
		const struct eg_sim_file *f = &sc->file[i];

		if (f->link[0])
			r = eg_tree_link(root, f->link, f->path);
		else
			r = eg_tree_put(root, f->path, (unsigned)f->mode, f->text, strlen(f->text),
					NULL);
	}
	return r;
}
