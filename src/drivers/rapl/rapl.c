/* SPDX-License-Identifier: Apache-2.0 */
/*
 * RAPL energy counters by the Linux powercap class: one channel a zone, identified by its name and
 * its parent's, never by order. A zone that shows a counter already in the list (the memory-mapped
 * twin of a package, the dies of one package that repeat its counter) is left out and named.
 * Source: Linux Documentation/power/powercap/powercap.rst; traps and their origin in README.md.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/parse.h"
#include "core/driver.h"
#include "drivers/rapl/zone.h"
#include "host/cpu.h"

#define NAME "rapl"

enum {
	ZONES_MAX = EG_CHANNELS_MAX,
	ZONE_PATH_MAX = EG_ORIGIN_MAX - 16, /* leaves room for "/energy_uj" */
	CONSTRAINTS_MAX = 4,		    /* long term, short term, peak, one to spare */
	MIRROR_ROUNDS = 4,
	CPUINFO_HEAD = 4096, /* bytes that hold the first processor */
};

#define WATT_UW	    1000000ULL
#define NO_LIMIT_UW (2000 * WATT_UW) /* a limit from here on means "none set": 4090 W is usual */
#define WATTS_MAX   100000u	     /* of an option */

/* Where zones are found; the second is the folder that containers give to a tool built on Zeus. */
static const char *const bases[] = {"sys/class/powercap", "zeus_sys/class/powercap"};

static const char cure_absent[] =
	"modprobe intel_rapl_common intel_rapl_msr; a virtual machine or a CPU that is not x86 has "
	"no RAPL: use a meter outside, or --allow-estimates";
static const char cure_blocked[] =
	"run as root, or as root: chgrp GROUP /sys/class/powercap/*/energy_uj && chmod g+r "
	"/sys/class/powercap/*/energy_uj (0400 since Linux 5.10 for CVE-2020-8694)";
static const char cure_masked[] =
	"in a container: mount the host's /sys/devices/virtual/powercap read-only at the same "
	"place, or start it with --security-opt systempaths=unconfined";

struct zone {
	char path[ZONE_PATH_MAX];
	char package_path[ZONE_PATH_MAX]; /* of a subzone: the zone whose package it takes */
	struct eg_rapl_id id;
	struct eg_rapl_name name;
	char text[40];	/* content of `name`; must still be there when the zone is reopened */
	int32_t parent; /* index, -1 none */
	uint32_t package;
	int32_t die;
	bool known;   /* name, package and die are set */
	bool mirror;  /* shows the counter of another die, or belongs to such a die */
	bool widened; /* stands for all dies of its package */
	int fd;
	struct eg_rapl_range range; /* modulus 0: unknown */
};

struct eg_instance {
	const struct eg_env *env;
	uint32_t epoch;
	size_t n;
	struct zone *zones; /* n, the same order as channels */
	struct eg_channel *channels;
};

/* What open() works with before the channels are fixed. */
struct scan {
	const struct eg_env *env;
	const struct eg_driver_config *cfg;
	struct zone *zones;
	size_t n;
	bool amd, full;
	int worst; /* the errno that best says why no zone is usable; 0 none yet */
};

static void diag(const struct scan *s, enum eg_diag_code code, const struct zone *z,
		 const char *cure, const char *detail)
{
	eg_diag_add(s->cfg->diags, code, NAME, z->path, cure, "%s: %s",
		    z->text[0] ? z->text : "zone", detail);
}

static int zone_open(const struct eg_env *env, const struct zone *z, const char *file)
{
	return eg_fs_openf(&env->fs, "%s/%s", z->path, file);
}

static ssize_t zone_text(const struct eg_env *env, const char *path, const char *file, char *buf,
			 size_t cap)
{
	char full[EG_ORIGIN_MAX + 40];
	int n = snprintf(full, sizeof(full), "%s/%s", path, file);

	if (n < 0 || (size_t)n >= sizeof(full))
		return -ENAMETOOLONG;
	return eg_fs_read_text(&env->fs, full, buf, cap);
}

static int zone_u64(const struct eg_env *env, const struct zone *z, const char *file, uint64_t *ret)
{
	char buf[64];
	ssize_t n = zone_text(env, z->path, file, buf, sizeof(buf));

	if (n < 0)
		return (int)n;
	return eg_parse_u64(buf, (size_t)n, ret) < 0 ? -EPROTO : 0;
}

/* Notes one zone; the first path to it wins. */
static void add_zone(struct scan *s, const char *dir, const char *name)
{
	struct zone *z = &s->zones[s->n];
	struct eg_rapl_id id;
	int len;

	if (eg_rapl_parse_id(name, &id) < 0)
		return;
	for (size_t i = 0; i < s->n; i++)
		if (eg_rapl_id_equal(&s->zones[i].id, &id))
			return;
	if (s->n == ZONES_MAX) {
		s->full = true;
		return;
	}
	*z = (struct zone){.id = id, .parent = -1, .die = -1, .fd = -1};
	len = snprintf(z->path, sizeof(z->path), "%s/%s", dir, name);
	if (len > 0 && (size_t)len < sizeof(z->path))
		s->n++;
}

/*
 * Adds the zones listed in a directory, then those inside each. The class folder has a link to
 * every zone; where it does not (captures, container mounts) zones lie inside one another.
 */
static int collect(struct scan *s, const char *dir, unsigned depth)
{
	static const char *const types[] = {"intel-rapl", "intel-rapl-mmio"};
	EG_CLEANUP(eg_names_free) struct eg_names names = {0};
	size_t from = s->n, to;
	int r = eg_fs_list(&s->env->fs, dir, &names);

	if (r < 0)
		return r;
	for (size_t i = 0; i < names.n; i++)
		add_zone(s, dir, names.name[i]);
	to = s->n;
	for (size_t i = from; i < to && depth < EG_RAPL_DEPTH_MAX; i++)
		if (collect(s, s->zones[i].path, depth + 1) == -ENOMEM)
			return -ENOMEM;
	for (size_t i = 0; i < EG_ARRAY_SIZE(types) && depth == 0; i++) {
		char path[ZONE_PATH_MAX];

		snprintf(path, sizeof(path), "%s/%s", dir, types[i]);
		if (collect(s, path, depth + 1) == -ENOMEM)
			return -ENOMEM;
	}
	return 0;
}

/* Reads the names; a subzone takes package and die from the zone that contains it. */
static void identify(struct scan *s)
{
	for (size_t i = 0; i < s->n; i++) {
		struct zone *z = &s->zones[i];
		ssize_t n = zone_text(s->env, z->path, "name", z->text, sizeof(z->text));

		for (size_t j = 0; j < s->n; j++)
			if (eg_rapl_id_is_parent(&s->zones[j].id, &z->id))
				z->parent = (int32_t)j;
		if (n < 0) {
			z->text[0] = '\0';
			s->worst = s->worst ? s->worst : (int)n;
			eg_diag_add(s->cfg->diags,
				    n == -ENOENT ? EG_DIAG_SENSOR_BLOCKED : eg_diag_code_of((int)n),
				    NAME, z->path,
				    n == -ENOENT		? cure_masked :
				    n == -EACCES || n == -EPERM ? cure_blocked :
								  "",
				    "the zone is listed, but its name cannot be read: %s",
				    eg_errno_text((int)n));
			continue;
		}
		if (eg_rapl_parse_name(z->text, (size_t)n, &z->name) < 0) {
			diag(s, EG_DIAG_SENSOR_UNSUPPORTED, z, "", "not a zone that Ergon knows");
			continue;
		}
		z->known = true;
	}
	for (size_t i = 0; i < s->n; i++) {
		struct zone *z = &s->zones[i];
		const struct zone *up = z;

		while (up && up->name.kind != EG_RAPL_PACKAGE)
			up = up->parent >= 0 && s->zones[up->parent].known ? &s->zones[up->parent] :
									     NULL;
		if (!z->known || z->name.kind == EG_RAPL_PSYS)
			continue;
		if (!up || !up->known) {
			z->known = false;
			diag(s, EG_DIAG_SENSOR_ERROR, z, "",
			     "its package is unknown, because no zone above it has a name");
			continue;
		}
		z->package = up->name.number;
		z->die = up->name.die;
		if (up != z)
			memcpy(z->package_path, up->path, sizeof(z->package_path));
	}
}

static bool same_place(const struct zone *a, const struct zone *b)
{
	if (a->name.kind != b->name.kind)
		return false;
	if (a->name.kind == EG_RAPL_PSYS)
		return a->name.number == b->name.number;
	return a->package == b->package && a->die == b->die;
}

/*
 * Opens the counters. Of zones with one place the first readable one is taken, in the order of
 * control types (MSR before MMIO); the others show the same joules.
 */
static void open_counters(struct scan *s)
{
	for (unsigned pass = 0; pass < 2; pass++)
		for (size_t i = 0; i < s->n; i++) {
			struct zone *z = &s->zones[i];
			const struct zone *twin = NULL;
			uint64_t now;
			int r;

			if (!z->known || z->id.mmio != (pass == 1))
				continue;
			for (size_t j = 0; j < s->n && !twin; j++)
				if (j != i && s->zones[j].fd >= 0 && same_place(&s->zones[j], z))
					twin = &s->zones[j];
			if (twin) {
				eg_diag_add(s->cfg->diags, EG_DIAG_NOT_COUNTED, NAME, z->path, "",
					    "%s shows the same joules as %s", z->text, twin->path);
				continue;
			}
			z->fd = zone_open(s->env, z, "energy_uj");
			r = z->fd < 0 ? z->fd : eg_fs_pread_u64(&s->env->fs, z->fd, &now);
			if (r == 0)
				continue;
			eg_fs_close(&s->env->fs, z->fd);
			z->fd = -1;
			s->worst = s->worst && r != -EACCES ? s->worst : r;
			diag(s, r == -EPROTO ? EG_DIAG_SENSOR_ERROR : eg_diag_code_of(r), z,
			     r == -EACCES || r == -EPERM ? cure_blocked : "",
			     r == -EPROTO ? "energy_uj holds no number" : eg_errno_text(r));
		}
}

static void read_ranges(struct scan *s)
{
	for (size_t i = 0; i < s->n; i++) {
		struct zone *z = &s->zones[i];
		uint64_t max, now;
		int r;

		if (z->fd < 0)
			continue;
		z->range = (struct eg_rapl_range){.resolution_uj = 1};
		r = zone_u64(s->env, z, "max_energy_range_uj", &max);
		if (r == 0)
			r = eg_rapl_range(max, &z->range);
		if (r == 0 && eg_fs_pread_u64(&s->env->fs, z->fd, &now) == 0 && now > max) {
			z->range = (struct eg_rapl_range){.resolution_uj = 1};
			r = -EPROTO;
		}
		if (r < 0)
			diag(s, EG_DIAG_SENSOR_ERROR, z,
			     "none needed: the energy across a wrap is reported as a gap",
			     "max_energy_range_uj tells no range, so that a step back of the "
			     "counter is taken as a reset");
	}
}

/*
 * Two dies of one package that show one counter: the value of the second lies between two readings
 * of the first, in every round. Two counters at 0 prove nothing, except on AMD, whose register
 * belongs to the package (Linux before 6.11 lists it once a die).
 */
static bool is_mirror(const struct scan *s, const struct zone *a, const struct zone *b)
{
	const struct eg_fs *fs = &s->env->fs;

	for (unsigned i = 0; i < MIRROR_ROUNDS; i++) {
		uint64_t va, vb, va2;

		if (eg_fs_pread_u64(fs, a->fd, &va) < 0 || eg_fs_pread_u64(fs, b->fd, &vb) < 0 ||
		    eg_fs_pread_u64(fs, a->fd, &va2) < 0)
			return false;
		if (!eg_rapl_bracket_holds(va, vb, va2, a->range.modulus_uj) ||
		    (vb == 0 && !s->amd))
			return false;
	}
	return a->range.modulus_uj == b->range.modulus_uj;
}

static void find_mirrors(struct scan *s)
{
	for (size_t i = 0; i < s->n; i++) {
		struct zone *a = &s->zones[i];
		size_t dies = 1, mirrors = 0;

		if (a->fd < 0 || a->name.kind != EG_RAPL_PACKAGE || a->die < 0 || a->mirror)
			continue;
		for (size_t j = 0; j < s->n; j++) {
			struct zone *b = &s->zones[j];

			if (j == i || b->fd < 0 || b->name.kind != EG_RAPL_PACKAGE ||
			    b->package != a->package)
				continue;
			dies++;
			if (j < i || b->mirror || !is_mirror(s, a, b))
				continue;
			b->mirror = true;
			mirrors++;
			eg_diag_add(s->cfg->diags, EG_DIAG_NOT_COUNTED, NAME, b->path, "",
				    "%s repeats the counter of %s", b->text, a->text);
		}
		a->widened = mirrors && mirrors + 1 == dies;
	}
	/* What lies inside a mirrored die goes with it, what lies inside its original is widened. */
	for (size_t i = 0; i < s->n; i++) {
		struct zone *z = &s->zones[i];

		if (z->fd < 0 || z->name.kind == EG_RAPL_PACKAGE || z->name.kind == EG_RAPL_PSYS)
			continue;
		for (size_t j = 0; j < s->n; j++) {
			const struct zone *up = &s->zones[j];

			if (up->name.kind != EG_RAPL_PACKAGE || !up->known || up->fd < 0 ||
			    up->package != z->package || up->die != z->die)
				continue;
			z->widened = up->widened;
			z->mirror = up->mirror;
		}
		if (z->mirror)
			diag(s, EG_DIAG_NOT_COUNTED, z, "", "belongs to a die that is left out");
	}
}

/* An option in whole watts; 0 where it is not set. */
static uint64_t option_uw(const struct scan *s, const char *name)
{
	const char *text = eg_setting_get(s->cfg, NAME, name);
	uint64_t watts;

	if (!text)
		return 0;
	if (eg_parse_u64(text, strlen(text), &watts) == 0 && watts > 0 && watts <= WATTS_MAX)
		return watts * WATT_UW;
	eg_diag_add(s->cfg->diags, EG_DIAG_CONFIG, NAME, name, "give whole watts, 1 to 100000",
		    "\"%.32s\" is no number of watts, so that the default holds", text);
	return 0;
}

/*
 * The highest plausible power. A ceiling that is too low would turn real energy into a gap, one too
 * high only makes core read more often; so it is the largest of what the zone declares (maximum and
 * limits in force) x 1.5, and at least the default where no limit is in force.
 */
static uint64_t max_power_uw(const struct scan *s, const struct zone *z, uint64_t fallback_uw)
{
	uint64_t most = 0, enabled;
	bool unlimited = zone_u64(s->env, z, "enabled", &enabled) == 0 && enabled == 0;

	for (unsigned i = 0; i < CONSTRAINTS_MAX; i++) {
		static const char *const what[] = {"max_power_uw", "power_limit_uw"};

		for (unsigned j = 0; j < EG_ARRAY_SIZE(what); j++) {
			char file[40];
			uint64_t v;

			snprintf(file, sizeof(file), "constraint_%u_%s", i, what[j]);
			if (zone_u64(s->env, z, file, &v) < 0)
				continue;
			if (v >= NO_LIMIT_UW)
				unlimited = true;
			else
				most = EG_MAX(most, v + v / 2);
		}
	}
	return most == 0 || unlimited ? EG_MAX(most, fallback_uw) : most;
}

static void name_channel(struct eg_channel *ch, const struct zone *z)
{
	static const struct {
		const char *word;
		enum eg_component component;
	} kinds[] = {
		[EG_RAPL_PACKAGE] = {"package", EG_COMPONENT_PACKAGE},
		[EG_RAPL_CORE] = {"core", EG_COMPONENT_CORE},
		[EG_RAPL_UNCORE] = {"uncore", EG_COMPONENT_UNCORE},
		[EG_RAPL_DRAM] = {"dram", EG_COMPONENT_DRAM},
		[EG_RAPL_PSYS] = {"psys", EG_COMPONENT_PSYS},
	};
	const char *word = kinds[z->name.kind].word;
	char die[24] = "";

	ch->component = kinds[z->name.kind].component;
	if (z->name.kind == EG_RAPL_PSYS) {
		ch->boundary = EG_BOUNDARY_NODE;
		eg_copy(ch->domain, sizeof(ch->domain), z->text);
		eg_copy(ch->device, sizeof(ch->device), z->name.number ? z->text : "node");
		return;
	}
	ch->boundary = EG_BOUNDARY_COMPONENT;
	if (z->die >= 0 && !z->widened)
		snprintf(die, sizeof(die), "-die-%d", z->die);
	snprintf(ch->domain, sizeof(ch->domain), "%s-%u%s", word, z->package, die);
	snprintf(ch->device, sizeof(ch->device), "cpu-%u%s", z->package, die);
}

static void describe_zone(const struct scan *s, const struct zone *z, const uint64_t ceiling_uw[],
			  struct eg_channel *ch)
{
	static const uint64_t fallback_watts[] = {
		[EG_RAPL_PACKAGE] = 500, [EG_RAPL_CORE] = 500,	[EG_RAPL_UNCORE] = 200,
		[EG_RAPL_DRAM] = 200,	 [EG_RAPL_PSYS] = 1000,
	};
	uint64_t set_uw = ceiling_uw[z->name.kind];

	*ch = (struct eg_channel){
		.source = EG_SOURCE_RAPL,
		.provenance = EG_PROVENANCE_MEASURED,
		.quantity = EG_QUANTITY_ENERGY,
		.unit_num = 1,
		.unit_den = 1000, /* nanojoules: the range ends between two microjoules */
		.modulus = z->range.modulus_nj,
		.resolution_uj = z->range.resolution_uj,
		.update_ns = EG_NSEC_PER_MSEC,
		.guard_ns = 30 * EG_NSEC_PER_SEC,
		.part_of = -1,
		.accuracy = {50000, 0, "Khan et al. 2018, doi:10.1145/3177754"},
	};
	if (s->amd)
		ch->accuracy = (struct eg_accuracy){
			100000, 0, "Schoene et al. 2021, doi:10.1109/Cluster48925.2021.00087"};
	name_channel(ch, z);
	snprintf(ch->origin, sizeof(ch->origin), "%s/energy_uj", z->path);
	ch->max_uw = set_uw ? set_uw : max_power_uw(s, z, fallback_watts[z->name.kind] * WATT_UW);
}

static int compare_zones(const void *a, const void *b)
{
	const struct zone *x = a, *y = b;
	bool px = x->name.kind == EG_RAPL_PSYS, py = y->name.kind == EG_RAPL_PSYS;

	if (px || py)
		return px && py ? (x->name.number > y->name.number) -
					  (x->name.number < y->name.number) :
				  px - py;
	if (x->package != y->package)
		return x->package < y->package ? -1 : 1;
	if (x->die != y->die)
		return x->die < y->die ? -1 : 1;
	return (int)x->name.kind - (int)y->name.kind;
}

/* FNV-1a of the boot id: values of another boot say nothing about ours. */
static uint32_t boot_epoch(const struct eg_env *env)
{
	char text[64];
	uint32_t h = 2166136261u;
	ssize_t n = eg_fs_read_text(&env->fs, "proc/sys/kernel/random/boot_id", text, sizeof(text));

	if (n < 0)
		return 0;
	for (ssize_t i = 0; i < n; i++)
		h = (h ^ (uint8_t)text[i]) * 16777619u;
	return h;
}

/* Sets ret where the CPU is AMD's or Hygon's; a cpuinfo that cannot be read leaves it. */
static int cpu_is_amd(const struct eg_env *env, bool *ret)
{
	char head[CPUINFO_HEAD];
	struct eg_cpu cpu;
	int fd = eg_fs_open(&env->fs, "proc/cpuinfo"), r;
	ssize_t n;

	if (fd < 0)
		return 0;
	n = eg_fs_pread(&env->fs, fd, head, sizeof(head), 0);
	eg_fs_close(&env->fs, fd);
	if (n <= 0)
		return 0;
	r = eg_cpuinfo_parse(head, (size_t)n, &cpu);
	if (r == 0)
		*ret = strcmp(cpu.vendor, "AuthenticAMD") == 0 ||
		       strcmp(cpu.vendor, "HygonGenuine") == 0;
	return r == -ENOMEM ? r : 0;
}

static void rapl_close(struct eg_instance *inst)
{
	if (!inst)
		return;
	for (size_t i = 0; i < inst->n; i++)
		eg_fs_close(&inst->env->fs, inst->zones[i].fd);
	free(inst->zones);
	free(inst->channels);
	free(inst);
}

/* Keeps the zones that became channels, ordered; the descriptors of the others are closed. */
static size_t keep_usable(struct scan *s)
{
	size_t n = 0;

	for (size_t i = 0; i < s->n; i++) {
		struct zone *z = &s->zones[i];

		if (z->fd < 0)
			continue;
		if (z->mirror) {
			eg_fs_close(&s->env->fs, z->fd);
			continue;
		}
		s->zones[n++] = *z;
	}
	s->n = n;
	qsort(s->zones, n, sizeof(*s->zones), compare_zones);
	return n;
}

static void scan_free(struct scan *s)
{
	for (size_t i = 0; i < s->n; i++)
		eg_fs_close(&s->env->fs, s->zones[i].fd);
	free(s->zones);
}

/* Says why there is no channel, and gives open()'s error. */
static int nothing_found(const struct scan *s, int list_error)
{
	if (s->worst)
		return s->worst == -EPROTO ? -EIO : s->worst;
	if (list_error == -EACCES || list_error == -EPERM) {
		eg_diag_add(s->cfg->diags, EG_DIAG_SENSOR_BLOCKED, NAME, bases[0], cure_blocked,
			    "the powercap folder cannot be listed: %s", eg_errno_text(list_error));
		return list_error;
	}
	if (list_error < 0 && list_error != -ENOENT && list_error != -ENOTDIR) {
		eg_diag_add(s->cfg->diags, EG_DIAG_SENSOR_ERROR, NAME, bases[0], "",
			    "the powercap folder cannot be listed: %s", eg_errno_text(list_error));
		return list_error;
	}
	eg_diag_add(s->cfg->diags, EG_DIAG_SENSOR_ABSENT, NAME, bases[0], cure_absent, "%s",
		    list_error == -ENOENT ? "this kernel has no powercap folder" :
					    "the powercap folder holds no RAPL zone");
	return list_error == -ENOENT ? -ENOENT : -ENODEV;
}

static int scan_bases(struct scan *s)
{
	int first = 0;

	for (size_t i = 0; i < EG_ARRAY_SIZE(bases) && s->n == 0; i++) {
		int r = collect(s, bases[i], 0);

		if (r == -ENOMEM)
			return r;
		if (i == 0)
			first = r;
	}
	return first;
}

static int make_instance(struct scan *s, struct eg_instance **ret)
{
	struct eg_instance *inst = calloc(1, sizeof(*inst));
	uint64_t ceiling_uw[EG_RAPL_PSYS + 1];

	if (!inst)
		return -ENOMEM;
	inst->env = s->env;
	inst->channels = calloc(s->n, sizeof(*inst->channels));
	if (!inst->channels) {
		free(inst);
		return -ENOMEM;
	}
	ceiling_uw[EG_RAPL_PACKAGE] = option_uw(s, "package_max_watts");
	ceiling_uw[EG_RAPL_CORE] = ceiling_uw[EG_RAPL_UNCORE] = ceiling_uw[EG_RAPL_PACKAGE];
	ceiling_uw[EG_RAPL_DRAM] = option_uw(s, "dram_max_watts");
	ceiling_uw[EG_RAPL_PSYS] = option_uw(s, "psys_max_watts");
	for (size_t i = 0; i < s->n; i++)
		describe_zone(s, &s->zones[i], ceiling_uw, &inst->channels[i]);
	inst->epoch = boot_epoch(s->env);
	inst->n = s->n;
	inst->zones = eg_take_ptr(s->zones);
	s->n = 0;
	*ret = inst;
	return 0;
}

static int rapl_open(const struct eg_env *env, const struct eg_driver_config *cfg,
		     struct eg_instance **ret)
{
	EG_CLEANUP(scan_free) struct scan s = {.env = env, .cfg = cfg};
	struct zone *shrunk;
	int r;

	s.zones = calloc(ZONES_MAX + 1, sizeof(*s.zones));
	if (!s.zones)
		return -ENOMEM;
	r = scan_bases(&s);
	if (r == -ENOMEM)
		return r;
	if (s.full)
		eg_diag_add(cfg->diags, EG_DIAG_NOT_COUNTED, NAME, bases[0], "",
			    "more than %d zones: the rest is left out", ZONES_MAX);
	if (cpu_is_amd(env, &s.amd) < 0)
		return -ENOMEM;
	identify(&s);
	open_counters(&s);
	read_ranges(&s);
	find_mirrors(&s);
	if (keep_usable(&s) == 0)
		return nothing_found(&s, r);
	shrunk = realloc(s.zones, s.n * sizeof(*s.zones));
	if (shrunk)
		s.zones = shrunk;
	return make_instance(&s, ret);
}

static int rapl_probe(const struct eg_env *env)
{
	int first = 0;

	for (size_t i = 0; i < EG_ARRAY_SIZE(bases); i++) {
		EG_CLEANUP(eg_names_free) struct eg_names names = {0};
		int r = eg_fs_list(&env->fs, bases[i], &names);

		if (i == 0)
			first = r;
		for (size_t j = 0; j < names.n; j++)
			if (strncmp(names.name[j], "intel-rapl", 10) == 0)
				return 0;
	}
	return first < 0 ? first : -ENODEV;
}

static size_t rapl_describe(const struct eg_instance *inst, const struct eg_channel **ret)
{
	*ret = inst->channels;
	return inst->n;
}

/*
 * Opens a zone again after it vanished or failed. Zone numbers are given out anew when the module
 * is loaded again, so the name (and the name of the package above) must be the one of before.
 */
static int reopen(const struct eg_env *env, struct zone *z)
{
	char text[sizeof(z->text)];
	struct eg_rapl_name up;
	ssize_t n = zone_text(env, z->path, "name", text, sizeof(text));
	int fd;

	if (n < 0)
		return (int)n;
	if (strcmp(text, z->text) != 0)
		return -ENODEV;
	if (z->package_path[0]) {
		n = zone_text(env, z->package_path, "name", text, sizeof(text));
		if (n < 0)
			return (int)n;
		if (eg_rapl_parse_name(text, (size_t)n, &up) < 0 || up.number != z->package ||
		    up.die != z->die)
			return -ENODEV;
	}
	fd = zone_open(env, z, "energy_uj");
	if (fd < 0)
		return fd;
	z->fd = fd;
	return 0;
}

static enum eg_status status_of(int err)
{
	switch (err) {
	case -EACCES:
	case -EPERM:
		return EG_STATUS_DENIED;
	case -ENOENT:
	case -ENODEV:
	case -ENODATA:
		return EG_STATUS_NO_DATA;
	default:
		return EG_STATUS_ERROR;
	}
}

static void rapl_read(struct eg_instance *inst, struct eg_sink *sink, struct eg_diags *diags)
{
	const struct eg_env *env = inst->env;

	for (size_t i = 0; i < inst->n; i++) {
		struct zone *z = &inst->zones[i];
		struct eg_reading reading = {.epoch = inst->epoch};
		int r = z->fd >= 0 ? 0 : reopen(env, z);

		if (r == 0)
			r = eg_fs_pread_u64(&env->fs, z->fd, &reading.raw);
		reading.t_ns = eg_clock_ns(&env->clock);
		if (r == 0 && __builtin_mul_overflow(reading.raw, 1000, &reading.raw))
			r = -EPROTO;
		if (__builtin_expect(r < 0, 0)) {
			eg_fs_close(&env->fs, z->fd);
			z->fd = -1;
			reading.status = status_of(r);
			eg_diag_add(diags, r == -EPROTO ? EG_DIAG_SENSOR_ERROR : eg_diag_code_of(r),
				    NAME, inst->channels[i].domain,
				    r == -EACCES || r == -EPERM ? cure_blocked : "",
				    "energy_uj: %s",
				    r == -EPROTO ? "holds no number" : eg_errno_text(r));
		}
		eg_sink_put(sink, i, &reading);
	}
}

static bool rapl_may_block(const struct eg_instance *inst)
{
	for (size_t i = 0; i < inst->n; i++)
		if (inst->zones[i].fd >= 0 && eg_fs_may_block(&inst->env->fs, inst->zones[i].fd))
			return true;
	return false;
}

static const struct eg_option options[] = {
	{"package_max_watts", EG_OPTION_U64, NULL,
	 "highest power a package, its cores or its uncore can show (default: what the zone "
	 "declares x 1.5, else 500; uncore 200)"},
	{"dram_max_watts", EG_OPTION_U64, NULL,
	 "highest power the memory of a package can show (default: declared x 1.5, else 200)"},
	{"psys_max_watts", EG_OPTION_U64, NULL,
	 "highest power the platform can show (default: declared x 1.5, else 1000)"},
	{0},
};

const struct eg_driver eg_driver_rapl = {
	.name = NAME,
	.summary = "CPU package, cores, uncore, memory and platform, by Linux powercap (RAPL)",
	.source = EG_SOURCE_RAPL,
	.maturity = EG_MATURITY_SIMULATED,
	.blocking_ns = EG_NSEC_PER_MSEC,
	.options = options,
	.probe = rapl_probe,
	.open = rapl_open,
	.describe = rapl_describe,
	.read = rapl_read,
	.may_block = rapl_may_block,
	.close = rapl_close,
};
