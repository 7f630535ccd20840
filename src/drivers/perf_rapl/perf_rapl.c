/* SPDX-License-Identifier: Apache-2.0 */
/*
 * RAPL energy counters by the kernel's perf PMU `power` (and AMD's `power_core`): one counter an
 * event and package. It names devices as powercap does, so that the same joules are one account
 * and core counts one of the two. Source: Linux arch/x86/events/rapl.c,
 * Documentation/ABI/testing/sysfs-bus-event_source-devices-events; traps in README.md.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/parse.h"
#include "core/driver.h"
#include "drivers/perf_rapl/event.h"
#include "host/cpu.h"

#define NAME	  "perf_rapl"
#define DEVICES	  "sys/bus/event_source/devices"
#define WATT_UW	  1000000ULL
#define WATTS_MAX 100000u

enum {
	CPUS_MAX = 1024,     /* of one cpumask */
	CPUINFO_HEAD = 4096, /* bytes that hold the first processor */
	STEP_UJ = 62, /* 2^-14 J, the coarsest usual unit: perf does not show the register's */
};

static const char cure_absent[] =
	"modprobe intel_rapl_perf or rapl; a virtual machine or a CPU that is not x86 has none";
static const char cure_blocked[] =
	"run as root, give the program CAP_PERFMON (setcap cap_perfmon+ep PROGRAM), or "
	"sysctl kernel.perf_event_paranoid=0";
static const char cure_guest[] =
	"none inside a virtual machine: measure on its host, or use --allow-estimates";

struct event_kind {
	const char *pmu, *event, *word;
	enum eg_component component;
	enum { PER_PACKAGE, PLATFORM, PER_CORE } scope;
	uint64_t max_watts;
	const char *option;
};

static const struct event_kind kinds[] = {
	{"power", "energy-pkg", "package", EG_COMPONENT_PACKAGE, PER_PACKAGE, 500,
	 "package_max_watts"},
	{"power", "energy-cores", "core", EG_COMPONENT_CORE, PER_PACKAGE, 500, "package_max_watts"},
	{"power", "energy-gpu", "uncore", EG_COMPONENT_UNCORE, PER_PACKAGE, 200,
	 "package_max_watts"},
	{"power", "energy-ram", "dram", EG_COMPONENT_DRAM, PER_PACKAGE, 200, "dram_max_watts"},
	{"power", "energy-psys", "psys", EG_COMPONENT_PSYS, PLATFORM, 1000, "psys_max_watts"},
	{"power_core", "energy-core", "core", EG_COMPONENT_CORE, PER_CORE, 500,
	 "package_max_watts"},
};

/* One open counter. */
struct counter {
	const char *pmu;
	uint32_t type;
	uint64_t config;
	uint32_t cpu;
	uint32_t package;
	int fd;
	uint32_t opened; /* a counter opened again starts from 0: its epoch differs */
};

struct eg_instance {
	const struct eg_env *env;
	uint32_t epoch;
	bool stream; /* perf descriptors know no offset: read(2) instead of pread(2) */
	bool guest;  /* a virtual machine, where some events are listed that never count */
	size_t n;
	struct counter *counters; /* n, the same order as channels */
	struct eg_channel *channels;
};

/* Where a CPU of a PMU's mask sits. */
struct place {
	uint32_t cpu, package;
	int32_t die; /* -1: its package has one in the mask */
	bool use;
};

/* What open() works with. */
struct setup {
	const struct eg_env *env;
	const struct eg_driver_config *cfg;
	struct eg_instance *inst;
	bool amd, psys_in_joules;
	struct place *places; /* of the PMU at hand */
	size_t n_places;
	int worst;
	bool full;
};

static ssize_t pmu_text(const struct eg_env *env, const char *pmu, const char *file, char *buf,
			size_t cap)
{
	char path[EG_ORIGIN_MAX];
	int n = snprintf(path, sizeof(path), DEVICES "/%s/%s", pmu, file);

	if (n < 0 || (size_t)n >= sizeof(path))
		return -ENAMETOOLONG;
	return eg_fs_read_text(&env->fs, path, buf, cap);
}

static int topology_u32(const struct eg_env *env, uint32_t cpu, const char *file, uint32_t *ret)
{
	char path[96];
	uint64_t v;
	int r;

	snprintf(path, sizeof(path), "sys/devices/system/cpu/cpu%u/topology/%s", cpu, file);
	r = eg_fs_read_u64(&env->fs, path, &v);
	if (r < 0)
		return r;
	if (v > 0xffff)
		return -EPROTO;
	*ret = (uint32_t)v;
	return 0;
}

/*
 * Finds the package (and die) behind each CPU of a mask. The mask has one CPU for each counter; a
 * second one in the same place repeats the first. On AMD the register belongs to the package, so
 * there dies are not told apart (Linux before 6.11 lists it once a die).
 */
static int read_places(struct setup *s, const char *pmu, bool per_core)
{
	char text[4096];
	uint32_t cpus[CPUS_MAX];
	ssize_t n = pmu_text(s->env, pmu, "cpumask", text, sizeof(text));
	bool dies = false;

	if (n >= 0)
		n = eg_perf_rapl_parse_cpus(text, (size_t)n, cpus, CPUS_MAX);
	if (n < 0) {
		eg_diag_add(s->cfg->diags, EG_DIAG_SENSOR_ERROR, NAME, pmu, "",
			    "its cpumask cannot be read: %s", eg_errno_text((int)n));
		return (int)n;
	}
	s->n_places = 0;
	s->full |= n > CPUS_MAX;
	for (ssize_t i = 0; i < EG_MIN(n, CPUS_MAX); i++) {
		struct place *p = &s->places[s->n_places];
		uint32_t die;

		*p = (struct place){.cpu = cpus[i], .die = -1, .use = true};
		if (topology_u32(s->env, cpus[i], "physical_package_id", &p->package) < 0) {
			eg_diag_add(s->cfg->diags, EG_DIAG_SENSOR_ERROR, NAME, pmu, "",
				    "the package of CPU %u is unknown "
				    "(topology/physical_package_id)",
				    cpus[i]);
			continue;
		}
		if (topology_u32(s->env, cpus[i], "die_id", &die) == 0)
			p->die = (int32_t)die;
		s->n_places++;
	}
	if (per_core)
		return 0;
	for (size_t i = 0; i < s->n_places; i++)
		for (size_t j = 0; j < i; j++) {
			struct place *a = &s->places[j], *b = &s->places[i];

			if (a->package != b->package || !a->use)
				continue;
			if (!s->amd && a->die != b->die) {
				dies = true;
				continue;
			}
			b->use = false;
			eg_diag_add(s->cfg->diags, EG_DIAG_NOT_COUNTED, NAME, pmu, "",
				    "the counter of CPU %u repeats the one of CPU %u", b->cpu,
				    a->cpu);
			break;
		}
	for (size_t i = 0; i < s->n_places && !dies; i++)
		s->places[i].die = -1;
	return 0;
}

static uint64_t max_power_uw(const struct setup *s, const struct event_kind *k)
{
	const char *text = eg_setting_get(s->cfg, NAME, k->option);
	uint64_t watts;

	if (!text)
		return k->max_watts * WATT_UW;
	if (eg_parse_u64(text, strlen(text), &watts) == 0 && watts > 0 && watts <= WATTS_MAX)
		return watts * WATT_UW;
	eg_diag_add(s->cfg->diags, EG_DIAG_CONFIG, NAME, k->option, "give whole watts, 1 to 100000",
		    "\"%.32s\" is no number of watts, so that the default holds", text);
	return k->max_watts * WATT_UW;
}

static void name_channel(struct eg_channel *ch, const struct event_kind *k, const struct place *p)
{
	char die[24] = "";

	if (k->scope == PLATFORM) {
		/* As powercap names them: psys, then psys-N of the other packages. */
		ch->boundary = EG_BOUNDARY_NODE;
		if (p->package)
			snprintf(die, sizeof(die), "-%u", p->package);
		snprintf(ch->domain, sizeof(ch->domain), "%s%s", k->word, die);
		eg_copy(ch->device, sizeof(ch->device), p->package ? ch->domain : "node");
		return;
	}
	ch->boundary = EG_BOUNDARY_COMPONENT;
	if (k->scope == PER_CORE)
		snprintf(die, sizeof(die), "-cpu-%u", p->cpu);
	else if (p->die >= 0)
		snprintf(die, sizeof(die), "-die-%d", p->die);
	snprintf(ch->domain, sizeof(ch->domain), "%s-%u%s", k->word, p->package, die);
	snprintf(ch->device, sizeof(ch->device), "cpu-%u%s", p->package, die);
}

/* The package counter of this driver that contains a core counted by itself; -1 none. */
static int32_t package_channel(const struct eg_instance *inst, uint32_t package)
{
	for (size_t i = 0; i < inst->n; i++)
		if (inst->channels[i].component == EG_COMPONENT_PACKAGE &&
		    inst->counters[i].package == package)
			return (int32_t)i;
	return -1;
}

static void add_counter(struct setup *s, const struct event_kind *k, const struct place *p,
			const struct eg_channel *like, const struct counter *event)
{
	struct eg_instance *inst = s->inst;
	struct eg_channel *ch = &inst->channels[inst->n];
	struct counter *c = &inst->counters[inst->n];

	if (inst->n == EG_CHANNELS_MAX) {
		s->full = true;
		return;
	}
	*ch = *like;
	*c = *event;
	name_channel(ch, k, p);
	c->cpu = p->cpu;
	c->package = p->package;
	snprintf(ch->origin, sizeof(ch->origin), DEVICES "/%s/events/%s on CPU %u", k->pmu,
		 k->event, p->cpu);
	if (k->scope == PER_CORE) {
		ch->part_of = package_channel(inst, p->package);
		if (ch->part_of < 0) /* nothing would keep it out of a total */
			return;
	}
	c->fd = s->env->perf_open(s->env, c->pmu, c->type, c->config, (int)c->cpu);
	if (c->fd < 0) {
		bool blocked = c->fd == -EACCES || c->fd == -EPERM;
		bool refused = c->fd == -EINVAL || c->fd == -ENOENT || c->fd == -EOPNOTSUPP ||
			       c->fd == -ENODEV;

		if (!s->worst || blocked)
			s->worst = c->fd;
		eg_diag_add(s->cfg->diags,
			    blocked ? EG_DIAG_SENSOR_BLOCKED :
			    refused ? EG_DIAG_SENSOR_UNSUPPORTED :
				      eg_diag_code_of(c->fd),
			    NAME, ch->domain,
			    blocked ? cure_blocked :
			    refused ? cure_guest :
				      "",
			    "the kernel refuses event %s: %s", k->event, eg_errno_text(c->fd));
		return;
	}
	inst->n++;
}

/* Opens one event on every place of its PMU. */
static void add_event(struct setup *s, const struct event_kind *k, uint32_t type)
{
	struct eg_channel like = {
		.source = EG_SOURCE_RAPL,
		.component = k->component,
		.provenance = EG_PROVENANCE_MEASURED,
		.quantity = EG_QUANTITY_ENERGY,
		.zero_based = true,
		.own_count = true,
		.resolution_uj = k->component == EG_COMPONENT_PSYS && s->psys_in_joules ?
					 EG_UJ_PER_J :
					 STEP_UJ,
		.update_ns = EG_NSEC_PER_MSEC,
		.guard_ns = 30 * EG_NSEC_PER_SEC,
		.part_of = -1,
		.accuracy = {50000, 0, "Khan et al. 2018, doi:10.1145/3177754"},
	};
	struct counter event = {.pmu = k->pmu, .type = type, .fd = -1};
	char file[64], text[96];
	ssize_t n;

	if (s->amd)
		like.accuracy = (struct eg_accuracy){
			100000, 0, "Schoene et al. 2021, doi:10.1109/Cluster48925.2021.00087"};
	snprintf(file, sizeof(file), "events/%s", k->event);
	n = pmu_text(s->env, k->pmu, file, text, sizeof(text));
	if (n == -ENOENT)
		return;
	if (n < 0 || eg_perf_rapl_parse_event(text, (size_t)n, &event.config) < 0) {
		eg_diag_add(s->cfg->diags, EG_DIAG_SENSOR_UNSUPPORTED, NAME, k->event, "",
			    "its definition cannot be used: %s",
			    n < 0 ? eg_errno_text((int)n) : text);
		return;
	}
	snprintf(file, sizeof(file), "events/%s.unit", k->event);
	n = pmu_text(s->env, k->pmu, file, text, sizeof(text));
	if (n < 0 || strcmp(text, "Joules") != 0) {
		eg_diag_add(s->cfg->diags, EG_DIAG_SENSOR_UNSUPPORTED, NAME, k->event, "",
			    "its unit is not Joules");
		return;
	}
	snprintf(file, sizeof(file), "events/%s.scale", k->event);
	n = pmu_text(s->env, k->pmu, file, text, sizeof(text));
	if (n < 0 ||
	    eg_perf_rapl_parse_scale(text, (size_t)n, &like.unit_num, &like.unit_den) < 0) {
		eg_diag_add(s->cfg->diags, EG_DIAG_SENSOR_UNSUPPORTED, NAME, k->event, "",
			    "its scale is no number that fits");
		return;
	}
	like.resolution_uj =
		EG_MAX(like.resolution_uj, (like.unit_num + like.unit_den - 1) / like.unit_den);
	like.max_uw = max_power_uw(s, k);
	for (size_t i = 0; i < s->n_places; i++) {
		bool again = false; /* the platform of a package that another die has shown */

		for (size_t j = 0; j < i && k->scope == PLATFORM; j++)
			again |= s->places[j].package == s->places[i].package;
		if (s->places[i].use && !again)
			add_counter(s, k, &s->places[i], &like, &event);
	}
}

static void add_pmu(struct setup *s, const char *pmu, bool per_core)
{
	char path[64];
	EG_CLEANUP(eg_names_free) struct eg_names names = {0};
	size_t listed = 0;
	uint64_t type;
	int r;

	snprintf(path, sizeof(path), DEVICES "/%s/type", pmu);
	r = eg_fs_read_u64(&s->env->fs, path, &type);
	if (r < 0 || type > UINT32_MAX) {
		s->worst = s->worst ? s->worst : r < 0 ? r : -EPROTO;
		eg_diag_add(s->cfg->diags, EG_DIAG_SENSOR_ERROR, NAME, pmu, "",
			    "the PMU is listed, but its type cannot be read");
		return;
	}
	snprintf(path, sizeof(path), DEVICES "/%s/events", pmu);
	r = eg_fs_list(&s->env->fs, path, &names);
	if (r < 0 && r != -ENOENT) {
		s->worst = s->worst ? s->worst : r;
		eg_diag_add(s->cfg->diags, eg_diag_code_of(r), NAME, pmu, "",
			    "its events cannot be listed: %s", eg_errno_text(r));
		return;
	}
	for (size_t i = 0; i < names.n; i++)
		listed += strncmp(names.name[i], "energy-", 7) == 0;
	if (listed == 0) {
		s->worst = s->worst ? s->worst : -ENOTSUP;
		eg_diag_add(s->cfg->diags, EG_DIAG_SENSOR_UNSUPPORTED, NAME, pmu, cure_guest,
			    "the PMU is there, but lists no energy event, as in most virtual "
			    "machines");
		return;
	}
	r = read_places(s, pmu, per_core);
	if (r < 0 || s->n_places == 0) {
		s->worst = s->worst ? s->worst : r < 0 ? r : -ENODEV;
		return;
	}
	for (size_t i = 0; i < EG_ARRAY_SIZE(kinds); i++)
		if (strcmp(kinds[i].pmu, pmu) == 0)
			add_event(s, &kinds[i], (uint32_t)type);
}

/* A cpuinfo that cannot be read leaves the CPU unknown. */
static int read_cpu(struct setup *s)
{
	char head[CPUINFO_HEAD];
	struct eg_cpu cpu;
	int fd = eg_fs_open(&s->env->fs, "proc/cpuinfo"), r;
	ssize_t n;

	if (fd < 0)
		return 0;
	n = eg_fs_pread(&s->env->fs, fd, head, sizeof(head), 0);
	eg_fs_close(&s->env->fs, fd);
	if (n <= 0)
		return 0;
	s->inst->guest = memmem(head, (size_t)n, " hypervisor", strlen(" hypervisor")) != NULL;
	r = eg_cpuinfo_parse(head, (size_t)n, &cpu);
	if (r < 0)
		return r == -ENOMEM ? r : 0;
	s->amd = strcmp(cpu.vendor, "AuthenticAMD") == 0 || strcmp(cpu.vendor, "HygonGenuine") == 0;
	s->psys_in_joules = cpu.uarch == EG_UARCH_SAPPHIRERAPIDS ||
			    cpu.uarch == EG_UARCH_EMERALDRAPIDS;
	return 0;
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

static void perf_close(struct eg_instance *inst)
{
	if (!inst)
		return;
	for (size_t i = 0; i < inst->n; i++)
		eg_fs_close(&inst->env->fs, inst->counters[i].fd);
	free(inst->counters);
	free(inst->channels);
	free(inst);
}

static void perf_closep(struct eg_instance **inst)
{
	perf_close(*inst);
}

static struct eg_instance *instance_new(const struct eg_env *env)
{
	struct eg_instance *inst = calloc(1, sizeof(*inst));

	if (!inst)
		return NULL;
	inst->env = env;
	inst->counters = calloc(EG_CHANNELS_MAX + 1, sizeof(*inst->counters));
	inst->channels = calloc(EG_CHANNELS_MAX + 1, sizeof(*inst->channels));
	if (!inst->counters || !inst->channels) {
		perf_close(inst);
		return NULL;
	}
	return inst;
}

static int perf_probe(const struct eg_env *env)
{
	if (eg_fs_exists(&env->fs, DEVICES "/power/type"))
		return 0;
	return eg_fs_exists(&env->fs, DEVICES) ? -ENODEV : -ENOENT;
}

static int perf_open(const struct eg_env *env, const struct eg_driver_config *cfg,
		     struct eg_instance **ret)
{
	EG_CLEANUP(perf_closep) struct eg_instance *inst = NULL;
	eg_autofree struct place *places = NULL;
	struct setup s = {.env = env, .cfg = cfg};
	int r = perf_probe(env);
	void *p;

	if (r < 0) {
		eg_diag_add(cfg->diags, EG_DIAG_SENSOR_ABSENT, NAME, DEVICES "/power", cure_absent,
			    "this kernel has no perf PMU for energy");
		return r;
	}
	inst = instance_new(env);
	places = calloc(CPUS_MAX, sizeof(*places));
	if (!inst || !places)
		return -ENOMEM;
	s.inst = inst;
	s.places = places;
	if (read_cpu(&s) < 0)
		return -ENOMEM;
	add_pmu(&s, "power", false);
	if (inst->n && eg_setting_on(cfg, NAME, "each_core") &&
	    eg_fs_exists(&env->fs, DEVICES "/power_core/type"))
		add_pmu(&s, "power_core", true);
	if (s.full)
		eg_diag_add(cfg->diags, EG_DIAG_NOT_COUNTED, NAME, "", "",
			    "more than %d counters: the rest is left out", EG_CHANNELS_MAX);
	if (inst->n == 0)
		return s.worst ? s.worst : -ENOTSUP;
	/* Fewer bytes than before cannot fail in a way that matters: the old block stays. */
	p = realloc(inst->channels, inst->n * sizeof(*inst->channels));
	inst->channels = p ? p : inst->channels;
	p = realloc(inst->counters, inst->n * sizeof(*inst->counters));
	inst->counters = p ? p : inst->counters;
	inst->epoch = boot_epoch(env);
	*ret = eg_take_ptr(inst);
	return 0;
}

static size_t perf_describe(const struct eg_instance *inst, const struct eg_channel **ret)
{
	*ret = inst->channels;
	return inst->n;
}

/* One count. A perf descriptor has no offset (ESPIPE); the file that stands for it has. */
static int read_count(struct eg_instance *inst, int fd, uint64_t *ret)
{
	uint64_t v;
	ssize_t n = -ESPIPE;

	if (!inst->stream)
		n = eg_fs_pread(&inst->env->fs, fd, &v, sizeof(v), 0);
	if (n == -ESPIPE) {
		inst->stream = true;
		n = read(fd, &v, sizeof(v));
		if (n < 0)
			n = -errno;
	}
	if (n < 0)
		return (int)n;
	if (n != (ssize_t)sizeof(v)) /* an event in error state reads as end of file */
		return -EPROTO;
	*ret = v;
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

static void perf_read(struct eg_instance *inst, struct eg_sink *sink, struct eg_diags *diags)
{
	const struct eg_env *env = inst->env;

	for (size_t i = 0; i < inst->n; i++) {
		struct counter *c = &inst->counters[i];
		struct eg_reading reading = {0};
		int r = 0;

		if (c->fd < 0) {
			r = env->perf_open(env, c->pmu, c->type, c->config, (int)c->cpu);
			if (r >= 0) {
				c->fd = r;
				c->opened++;
				r = 0;
			}
		}
		if (r == 0)
			r = read_count(inst, c->fd, &reading.raw);
		reading.t_ns = eg_clock_ns(&env->clock);
		reading.epoch = inst->epoch + c->opened;
		if (__builtin_expect(r < 0, 0)) {
			eg_fs_close(&env->fs, c->fd);
			c->fd = -1;
			reading.status = status_of(r);
			eg_diag_add(diags, r == -EPROTO ? EG_DIAG_SENSOR_ERROR : eg_diag_code_of(r),
				    NAME, inst->channels[i].domain,
				    r == -EACCES || r == -EPERM ? cure_blocked : "",
				    "perf counter: %s",
				    r == -EPROTO ? "gave no count" : eg_errno_text(r));
		} else if (inst->guest && reading.raw == 0) {
			/* Not 0 J: nothing was ever counted. */
			reading.status = EG_STATUS_NO_DATA;
			eg_diag_add(diags, EG_DIAG_SENSOR_UNSUPPORTED, NAME,
				    inst->channels[i].domain, cure_guest,
				    "the virtual machine lists the event, but it counts nothing");
		}
		eg_sink_put(sink, i, &reading);
	}
}

static bool perf_may_block(const struct eg_instance *inst)
{
	/* The kernel's own counters answer at once; a file below another root may not. */
	for (size_t i = 0; i < inst->n && !inst->env->fs.is_machine; i++)
		if (inst->counters[i].fd >= 0 &&
		    eg_fs_may_block(&inst->env->fs, inst->counters[i].fd))
			return true;
	return false;
}

static const struct eg_option options[] = {
	{"package_max_watts", EG_OPTION_U64, "500",
	 "highest power a package, its cores or its uncore can show (uncore without it: 200)"},
	{"dram_max_watts", EG_OPTION_U64, "200", "highest power the memory of a package can show"},
	{"psys_max_watts", EG_OPTION_U64, "1000", "highest power the platform can show"},
	{"each_core", EG_OPTION_BOOL, "false",
	 "also read each core of an AMD CPU (PMU power_core): one interrupt a core and sample"},
	{0},
};

const struct eg_driver eg_driver_perf_rapl = {
	.name = NAME,
	.summary =
		"CPU package, cores, graphics, memory and platform, by the perf PMU power (RAPL)",
	.source = EG_SOURCE_RAPL,
	.maturity = EG_MATURITY_SIMULATED,
	.blocking_ns = EG_NSEC_PER_MSEC,
	.options = options,
	.probe = perf_probe,
	.open = perf_open,
	.describe = perf_describe,
	.read = perf_read,
	.may_block = perf_may_block,
	.close = perf_close,
};
