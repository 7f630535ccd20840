/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See telemetry.h. The rules are contracts of the clients: energy is cumulative, starts at 0 with the
 * server and never falls; it is there from the first reading on or never; power, temperature and memory
 * are of all covered devices or -1.
 */
#include "monitor/telemetry.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "monitor/scope.h"

#define MIB	       1048576.0
#define DETAILS_OLD_NS (5 * EG_NSEC_PER_SEC) /* what devices said longer ago is not told any more */
#define SUBJECT	       "monitor"

/* What a device says of itself; NaN: it did not. */
enum detail { CELSIUS, USED_BYTES, TOTAL_BYTES, BUSY_RATIO, MEMORY_BUSY_RATIO, DETAILS };
static const char *const detail_name[DETAILS] = {
	[CELSIUS] = "temperature_celsius",
	[USED_BYTES] = "memory_used_bytes",
	[TOTAL_BYTES] = "memory_total_bytes",
	[BUSY_RATIO] = "utilization_ratio",
	[MEMORY_BUSY_RATIO] = "memory_utilization_ratio",
};

/* A channel that is read. */
struct part {
	size_t channel; /* in the view */
	const struct eg_channel *ch;
	double said[DETAILS];
	bool lost, said_lost;
	uint64_t resets;		      /* seen so far */
	uint64_t lost_said_ns, reset_said_ns; /* 0 never */
};

struct group {
	size_t n;
	struct part part[EG_TELEMETRY_GPUS_MAX];
};

struct eg_telemetry {
	struct eg_telemetry_config cfg;
	const struct eg_collector *collector; /* NULL: no device for fields 1 and 2 */
	const char *platform;
	bool healthy;
	struct group gpu, cpu, ane;
	struct eg_sysinfo system;
	struct eg_gpu_info info;
	int celsius_fd;	     /* of a Jetson's GPU; -1 none */
	uint64_t details_ns; /* when they were read; 0 never */
	uint64_t last_ns;    /* interval clock of the last reading */
	uint64_t sample_ns;  /* of its sample */
	uint64_t last_unix_ns;
};

static void say(const struct eg_telemetry *t, enum eg_log_level level, const char *fmt, ...)
	EG_PRINTF(3, 4);
static void say(const struct eg_telemetry *t, enum eg_log_level level, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (t->cfg.say)
		t->cfg.say(t->cfg.say_arg, level, SUBJECT, text);
	else
		eg_log(level, SUBJECT, "%s", text);
}

/* ---- choosing ---- */

static bool is_here(const struct eg_env *env, const struct eg_collector *c)
{
	return !c->needs || eg_fs_exists(&env->fs, c->needs);
}

void eg_telemetry_select(const struct eg_env *env, bool allow_estimates, char *ret, size_t cap)
{
	size_t len =
		(size_t)snprintf(ret, cap, "rapl,perf_rapl%s", allow_estimates ? ",cpu_model" : "");

	for (const struct eg_collector *c = eg_collectors; c->platform; c++)
		if (is_here(env, c) && len < cap)
			len += (size_t)snprintf(ret + len, cap - len, ",%s", c->driver);
}

static const char *attribute_text(const struct eg_attribute *a, size_t n, const char *device,
				  const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (a[i].is_text && strcmp(a[i].name, name) == 0 &&
		    strcmp(a[i].device, device) == 0)
			return a[i].text;
	return "";
}

/*
 * A MIG device's energy cannot be told apart: its GPU stands for it. Older drivers name one by its GPU,
 * MIG-GPU-UUID/GI/CI.
 */
static bool has_mig(const struct eg_attribute *a, size_t n, const char *device, const char *entry)
{
	size_t uuid = strcspn(entry + 4, "/");

	if (strlen(device) == 4 + uuid && strncasecmp(device + 4, entry + 4, uuid) == 0)
		return true;
	for (size_t i = 0; i < n; i++)
		if (a[i].is_text && strncmp(a[i].name, "mig_", 4) == 0 &&
		    strcmp(a[i].device, device) == 0 &&
		    strncasecmp(a[i].text, entry, strlen(entry)) == 0)
			return true;
	return false;
}

static bool entry_names(const struct eg_telemetry *t, const char *entry,
			const struct eg_channel *ch, const struct eg_attribute *a, size_t n)
{
	const char *pci = strncmp(ch->device, "pci-", 4) == 0 ?
				  ch->device + 4 :
				  attribute_text(a, n, ch->device, "pci_id");

	if (!eg_scope_is_mig(entry))
		return eg_scope_names(entry, ch->domain, ch->device, pci);
	if (!has_mig(a, n, ch->device, entry))
		return false;
	say(t, EG_LOG_WARNING,
	    "%s is a part of %s: power and energy are of the whole GPU, whoever else uses it",
	    entry, ch->device);
	return true;
}

static void say_nothing(struct part *p)
{
	for (int k = 0; k < DETAILS; k++)
		p->said[k] = NAN;
}

static void add_part(struct group *g, size_t channel, const struct eg_view_channel *c)
{
	struct part *p = &g->part[g->n];

	if (g->n == EG_TELEMETRY_GPUS_MAX)
		return;
	*p = (struct part){.channel = channel, .ch = c->ch, .resets = c->resets};
	say_nothing(p);
	g->n++;
}

/* Everything of a collector that is there, whether it gives a reading or not. */
static void candidates(const struct eg_collector *c, const struct eg_view *v, struct group *ret)
{
	ret->n = 0;
	for (size_t i = 0; i < v->n_channels; i++) {
		const struct eg_view_channel *vc = &v->channel[i];

		/* Graphics inside a processor are in its package, and no card. */
		if (strcmp(vc->driver->name, c->driver) == 0 && vc->ch->component == c->component &&
		    vc->role != EG_ROLE_CROSSCHECK && (!vc->ch->integrated_gpu || c->name))
			add_part(ret, i, vc);
	}
}

static const char *scope_text(const struct eg_telemetry *t, const struct eg_collector *c)
{
	if (c->name)
		return NULL;
	if (t->cfg.gpus && *t->cfg.gpus)
		return t->cfg.gpus;
	return c->scoped_by_cuda ? t->cfg.visible : NULL;
}

/*
 * Keeps the parts that the scope names. Where CUDA_VISIBLE_DEVICES names nothing that is here all stay,
 * as clients are used to; where --gpus does, none does: it was said for this server.
 */
static void apply_scope(struct eg_telemetry *t, const struct eg_collector *c, struct group *g,
			const struct eg_attribute *a, size_t n)
{
	const char *text = scope_text(t, c);
	bool keep[EG_TELEMETRY_GPUS_MAX] = {false}, own = text && text == t->cfg.gpus;
	const char *what = own ? "--gpus" : "CUDA_VISIBLE_DEVICES";
	struct eg_scope scope;
	size_t kept = 0;

	eg_scope_parse(text, &scope);
	if (scope.all || g->n == 0)
		return;
	for (size_t e = 0; e < scope.n; e++) {
		bool found = false;

		for (size_t i = 0; i < g->n; i++)
			if (entry_names(t, scope.entry[e], g->part[i].ch, a, n))
				found = keep[i] = true;
		if (!found)
			say(t, EG_LOG_WARNING, "%s: no GPU %s is here", what, scope.entry[e]);
	}
	for (size_t i = 0; i < g->n; i++)
		if (keep[i])
			g->part[kept++] = g->part[i];
	if (kept || own || scope.n == 0)
		g->n = kept;
	else
		say(t, EG_LOG_WARNING, "%s=%s names no GPU of this machine: all are taken", what,
		    text);
}

/* Drops what has not given one reading; a device that cannot be read is no zero. */
static void drop_silent(struct eg_telemetry *t, const struct eg_view *v, struct group *g)
{
	size_t kept = 0;

	for (size_t i = 0; i < g->n; i++) {
		const struct eg_view_channel *c = &v->channel[g->part[i].channel];

		if (c->samples > 0)
			g->part[kept++] = g->part[i];
		else
			say(t, EG_LOG_WARNING, "%s (%s) gives no reading (%s): it is left out",
			    c->name, c->ch->device, eg_status_word(c->status));
	}
	g->n = kept;
}

static void add_cpus(struct eg_telemetry *t, const struct eg_view *v, bool crosscheck,
		     bool estimated)
{
	for (size_t i = 0; i < v->n_channels; i++) {
		const struct eg_view_channel *c = &v->channel[i];
		bool known = false;

		if (c->ch->component != EG_COMPONENT_PACKAGE || c->samples == 0 ||
		    (c->role == EG_ROLE_CROSSCHECK) != crosscheck ||
		    (c->ch->provenance == EG_PROVENANCE_ESTIMATED) != estimated)
			continue;
		for (size_t k = 0; k < t->cpu.n; k++)
			known |= strcmp(t->cpu.part[k].ch->device, c->ch->device) == 0;
		if (!known)
			add_part(&t->cpu, i, c);
	}
}

/*
 * By the better interface each, and of those that read; packages only, never their zones. What is
 * estimated stands in only where nothing is measured.
 */
static void choose_cpus(struct eg_telemetry *t, const struct eg_view *v)
{
	add_cpus(t, v, false, false);
	add_cpus(t, v, true, false); /* a cross-check where the first choice is mute */
	if (!t->cpu.n)
		add_cpus(t, v, false, true);
}

static void choose_ane(struct eg_telemetry *t, const struct eg_view *v)
{
	for (size_t i = 0; i < v->n_channels; i++)
		if (v->channel[i].ch->component == EG_COMPONENT_ANE && v->channel[i].samples > 0)
			add_part(&t->ane, i, &v->channel[i]);
}

/* A Mac without a GPU rail (Intel) still is one: what it has are the CPU fields. */
static bool is_mac(const struct eg_view *v, const struct eg_collector *c)
{
	for (size_t i = 0; i < v->n_channels; i++)
		if (strcmp(v->channel[i].driver->name, c->driver) == 0 && v->channel[i].samples > 0)
			return true;
	return false;
}

static void choose_collector(struct eg_telemetry *t, const struct eg_view *v,
			     const struct eg_attribute *a, size_t n)
{
	for (const struct eg_collector *c = eg_collectors; c->platform; c++) {
		struct group *g = &t->gpu;

		if (!is_here(t->cfg.env, c))
			continue;
		candidates(c, v, g);
		apply_scope(t, c, g, a, n);
		drop_silent(t, v, g);
		/* Of a module's rails only those that make its total: VDD_IN, or all others. */
		for (size_t i = 0; c->is_module && i < g->n; i++)
			if (v->channel[g->part[i].channel].role != EG_ROLE_TOTAL)
				g->part[i--] = g->part[--g->n];
		if (g->n || (c->component == EG_COMPONENT_GPU && c->name && is_mac(v, c))) {
			t->collector = c;
			return;
		}
	}
	t->gpu.n = 0;
}

/*
 * Where nothing is measured, an estimate that was allowed is of the packages (fields 10 and 11), or of the
 * whole machine: in 1 and 2, as a module's total is.
 */
static void choose_estimate(struct eg_telemetry *t, const struct eg_view *v)
{
	for (size_t i = 0; i < v->n_channels && !t->gpu.n && !t->cpu.n; i++)
		if (v->channel[i].ch->component == EG_COMPONENT_CHASSIS &&
		    v->channel[i].ch->provenance == EG_PROVENANCE_ESTIMATED &&
		    v->channel[i].samples > 0)
			add_part(&t->gpu, i, &v->channel[i]);
}

static size_t n_estimated(const struct group *g)
{
	size_t n = 0;

	for (size_t i = 0; i < g->n; i++)
		n += g->part[i].ch->provenance == EG_PROVENANCE_ESTIMATED;
	return n;
}

static void name_platform(struct eg_telemetry *t)
{
	size_t estimated = n_estimated(&t->gpu) + n_estimated(&t->cpu);

	if (estimated)
		t->platform = "estimated";
	else if (t->collector)
		t->platform = t->collector->platform;
	else
		t->platform = t->cpu.n ? "rapl" : "null";
	t->healthy = t->gpu.n + t->cpu.n > estimated;
}

/* Of one model: "NAME xN"; of several: "VENDOR (N GPUs)". */
static void name_gpus(struct eg_telemetry *t, const struct eg_attribute *a, size_t n)
{
	const struct eg_collector *c = t->collector;
	const char *first = NULL;
	char plain[64]; /* where nobody tells a name */
	bool mixed = false;

	t->info = (struct eg_gpu_info){.vendor = "", .device_type = "", .backend = ""};
	if (!c || (!t->gpu.n && !c->name))
		return;
	t->info.vendor = c->vendor;
	t->info.device_type = c->device_type;
	t->info.backend = c->backend;
	if (c->name) {
		ssize_t r = c->is_module ?
				    eg_fs_read_text(&t->cfg.env->fs, "proc/device-tree/model",
						    t->info.name, sizeof(t->info.name)) :
				    -ENOENT;
		if (r <= 0)
			(void)eg_copy(t->info.name, sizeof(t->info.name), c->name);
		return;
	}
	snprintf(plain, sizeof(plain), "%s %s", c->vendor, c->device_type);
	for (size_t i = 0; i < t->gpu.n; i++) {
		const struct eg_channel *ch = t->gpu.part[i].ch;
		const char *name = attribute_text(a, n, ch->device, "name");

		if (!*name) /* an AMD label ends in an address: no name */
			name = strcmp(c->vendor, "AMD") == 0 || !*ch->label ? plain : ch->label;
		mixed |= first && strcmp(first, name) != 0;
		first = first ? first : name;
	}
	if (mixed)
		snprintf(t->info.name, sizeof(t->info.name), "%s (%zu GPUs)", c->vendor, t->gpu.n);
	else
		snprintf(t->info.name, sizeof(t->info.name), "%.96s x%zu", first, t->gpu.n);
}

/* The thermal zone of a Jetson's GPU: "GPU-therm", "gpu-thermal" by release. */
static void open_zone(struct eg_telemetry *t)
{
	const struct eg_fs *fs = &t->cfg.env->fs;

	for (int i = 0; i < 32 && t->celsius_fd < 0; i++) {
		char path[96], type[64];

		snprintf(path, sizeof(path), "sys/class/thermal/thermal_zone%d/type", i);
		if (eg_fs_read_text(fs, path, type, sizeof(type)) > 0 &&
		    strncasecmp(type, "gpu", 3) == 0)
			t->celsius_fd = eg_fs_openf(fs, "sys/class/thermal/thermal_zone%d/temp", i);
	}
}

/* On a Mac clients add the CPU themselves. */
static bool stands_for_gpu(const struct eg_telemetry *t)
{
	return t->cfg.cpu_as_primary && !t->collector && t->cpu.n;
}

static void say_what(const struct eg_telemetry *t)
{
	say(t, EG_LOG_INFO, "Auto-detected %s platform", t->platform);
	for (size_t i = 0; i < t->gpu.n; i++)
		say(t, EG_LOG_INFO, "covered: %s %s, %s", t->gpu.part[i].ch->label,
		    t->gpu.part[i].ch->device, t->gpu.part[i].ch->origin);
	for (size_t i = 0; i < t->cpu.n; i++)
		say(t, EG_LOG_INFO, "covered: %s of %s, %s", t->cpu.part[i].ch->domain,
		    t->cpu.part[i].ch->device, t->cpu.part[i].ch->origin);
	if (stands_for_gpu(t))
		say(t, EG_LOG_INFO,
		    "power_watts and energy_joules hold the CPU total (--cpu-as-primary)");
	if (strcmp(t->platform, "null") == 0)
		say(t, EG_LOG_WARNING,
		    "no sensor can be read here: readings hold -1; cure: `ergon doctor` says why");
}

int eg_telemetry_new(const struct eg_telemetry_config *cfg, const struct eg_view *v,
		     const struct eg_attribute *attribute, size_t n, struct eg_telemetry **ret)
{
	struct eg_telemetry *t = calloc(1, sizeof(*t));

	if (!t)
		return -ENOMEM;
	t->cfg = *cfg;
	t->celsius_fd = -1;
	eg_sysinfo_read(cfg->env, &t->system);
	choose_collector(t, v, attribute, n);
	if (!t->collector || !t->collector->is_module) {
		choose_cpus(t, v);
		choose_ane(t, v);
		choose_estimate(t, v);
	} else {
		open_zone(t);
	}
	name_platform(t);
	name_gpus(t, attribute, n);
	eg_telemetry_attributes(t, attribute, n, v->t_ns);
	say_what(t);
	*ret = t;
	return 0;
}

struct eg_telemetry *eg_telemetry_free(struct eg_telemetry *t)
{
	if (t)
		eg_fs_close(&t->cfg.env->fs, t->celsius_fd);
	free(t);
	return NULL;
}

const char *eg_telemetry_platform(const struct eg_telemetry *t)
{
	return t->platform;
}

bool eg_telemetry_healthy(const struct eg_telemetry *t)
{
	return t->healthy;
}

uint64_t eg_telemetry_period_ns(const struct eg_telemetry *t, const char **ret_name)
{
	const struct group *all[] = {&t->gpu, &t->cpu, &t->ane};
	uint64_t slowest = 0;

	*ret_name = "";
	for (size_t k = 0; k < EG_ARRAY_SIZE(all); k++)
		for (size_t i = 0; i < all[k]->n; i++)
			if (all[k]->part[i].ch->update_ns > slowest) {
				slowest = all[k]->part[i].ch->update_ns;
				*ret_name = all[k]->part[i].ch->domain;
			}
	return slowest;
}

/* ---- what devices say beside their energy ---- */

void eg_telemetry_attributes(struct eg_telemetry *t, const struct eg_attribute *attribute, size_t n,
			     uint64_t now_ns)
{
	for (size_t g = 0; g < t->gpu.n; g++) {
		struct part *p = &t->gpu.part[g];

		say_nothing(p);
		for (size_t i = 0; i < n; i++) {
			if (attribute[i].is_text || strcmp(attribute[i].device, p->ch->device) != 0)
				continue;
			for (int k = 0; k < DETAILS; k++)
				if (strcmp(attribute[i].name, detail_name[k]) == 0)
					p->said[k] = attribute[i].value;
		}
	}
	t->details_ns = now_ns;
}

/* ---- a reading ---- */

static bool is_well(const struct eg_view_channel *c)
{
	return c->status == EG_STATUS_OK && !(c->flags & EG_FLAG_BIT(EG_FLAG_LOST));
}

/* Is there to be a line about this again? At most one a minute of a kind and device. */
static bool may_say(uint64_t *said_ns, uint64_t now_ns)
{
	if (*said_ns && now_ns <= *said_ns + EG_TELEMETRY_REPEAT_NS)
		return false;
	*said_ns = now_ns;
	return true;
}

/* One line when a device is lost, and one when it is back. */
static void watch(struct eg_telemetry *t, struct group *g, const struct eg_view *v)
{
	for (size_t i = 0; i < g->n; i++) {
		struct part *p = &g->part[i];
		const struct eg_view_channel *c = &v->channel[p->channel];

		if (c->resets != p->resets && may_say(&p->reset_said_ns, v->t_ns))
			say(t, EG_LOG_WARNING,
			    "%s (%s): its counter began again; the total goes on from where it was",
			    c->name, c->ch->device);
		p->resets = c->resets;
		p->lost = !is_well(c);
		if (p->lost && !p->said_lost && may_say(&p->lost_said_ns, v->t_ns)) {
			say(t, EG_LOG_WARNING,
			    "%s (%s) does not answer (%s): its %.3f J stay in the sum, and sums "
			    "that need it are -1",
			    c->name, c->ch->device, eg_status_word(c->status), (double)c->uj / 1e6);
			p->said_lost = true;
		} else if (!p->lost && p->said_lost) {
			say(t, EG_LOG_INFO, "%s (%s) answers again", c->name, c->ch->device);
			p->said_lost = false;
		}
	}
}

static double energy_of(const struct group *g, const struct eg_view *v)
{
	uint64_t uj = 0;

	if (!g->n)
		return EG_TELEMETRY_ABSENT;
	for (size_t i = 0; i < g->n; i++)
		uj = eg_add_sat(uj, v->channel[g->part[i].channel].uj);
	return (double)uj / 1e6;
}

/* By the device's own sensor where it has one beside the counter. */
static double power_of(const struct group *g, const struct eg_view *v)
{
	uint64_t uw = 0;

	for (size_t i = 0; i < g->n; i++) {
		const struct eg_view_channel *c = &v->channel[g->part[i].channel];

		if (!is_well(c) || (c->sensor_uw == UINT64_MAX && !c->have_uw))
			return EG_TELEMETRY_ABSENT;
		uw = eg_add_sat(uw, c->sensor_uw != UINT64_MAX ? c->sensor_uw : c->uw);
	}
	return g->n ? (double)uw / 1e6 : EG_TELEMETRY_ABSENT;
}

/* Sum over the GPUs, or their mean; -1 where one of them does not tell. */
static double fold(const struct eg_telemetry *t, const struct eg_view *v, enum detail what,
		   bool mean, double scale)
{
	double sum = 0;

	for (size_t i = 0; i < t->gpu.n; i++) {
		double x = t->gpu.part[i].said[what];

		if (!isfinite(x) || x < 0 || t->gpu.part[i].lost)
			return EG_TELEMETRY_ABSENT;
		sum += x;
	}
	if (!t->gpu.n)
		return EG_TELEMETRY_ABSENT;
	return sum * scale / (mean ? (double)t->gpu.n : 1);
}

static double zone_celsius(const struct eg_telemetry *t)
{
	uint64_t mdegc;

	return t->celsius_fd >= 0 && eg_fs_pread_u64(&t->cfg.env->fs, t->celsius_fd, &mdegc) == 0 ?
		       (double)mdegc / 1000 :
		       EG_TELEMETRY_ABSENT;
}

/* The temperature that came with the energy is newer than that of the attributes. */
static double celsius_of(struct eg_telemetry *t, const struct eg_view *v, bool fresh)
{
	if (t->collector && t->collector->is_module)
		return zone_celsius(t);
	for (size_t i = 0; i < t->gpu.n; i++) {
		double c = v->channel[t->gpu.part[i].channel].celsius;

		if (!isnan(c))
			t->gpu.part[i].said[CELSIUS] = c;
		else if (!fresh)
			return EG_TELEMETRY_ABSENT;
	}
	return fold(t, v, CELSIUS, true, 1);
}

static void read_details(struct eg_telemetry *t, const struct eg_view *v, uint64_t now_ns,
			 struct eg_telemetry_reading *ret)
{
	bool fresh = t->details_ns && now_ns < t->details_ns + DETAILS_OLD_NS;

	ret->temperature_celsius = celsius_of(t, v, fresh);
	if (!fresh)
		return;
	ret->gpu_memory_usage_mb = fold(t, v, USED_BYTES, false, 1 / MIB);
	ret->gpu_memory_total_mb = fold(t, v, TOTAL_BYTES, false, 1 / MIB);
	ret->gpu_compute_utilization_pct = fold(t, v, BUSY_RATIO, true, 100);
	ret->gpu_memory_bandwidth_utilization_pct = fold(t, v, MEMORY_BUSY_RATIO, true, 100);
}

/*
 * The moment that the energy is of: the mean of when its channels were read, those that have a new
 * value. Where none has, or it was read just after the last reading (a sensor slower than the ticks), that of
 * the sample: stamps stay as even as the ticks.
 */
static uint64_t moment_of(struct eg_telemetry *t, const struct eg_view *v, uint64_t now_ns)
{
	const struct group *g = t->gpu.n ? &t->gpu : &t->cpu;
	uint64_t sum = 0, n = 0, at = v->t_ns, step = v->t_ns - EG_MIN(t->sample_ns, v->t_ns);

	for (size_t i = 0; i < g->n; i++) {
		uint64_t read_ns = v->channel[g->part[i].channel].t_ns;

		if (read_ns <= t->last_ns || read_ns > now_ns)
			continue;
		sum += read_ns - t->last_ns;
		n++;
	}
	if (n && (!t->sample_ns || sum / n >= step / 2))
		at = t->last_ns + sum / n;
	if (at <= t->last_ns)
		at = EG_MAX(v->t_ns, t->last_ns + 1);
	return EG_MIN(at, EG_MAX(now_ns, t->last_ns + 1));
}

/* Unix time of that moment, strictly rising but for a large step of the clock. */
static int64_t stamp(struct eg_telemetry *t, uint64_t at_ns, uint64_t now_ns, uint64_t unix_ns)
{
	uint64_t age = now_ns > at_ns ? now_ns - at_ns : 0;
	uint64_t at = unix_ns - EG_MIN(age, unix_ns);

	if (at <= t->last_unix_ns && t->last_unix_ns - at <= EG_TELEMETRY_STEP_NS)
		at = t->last_unix_ns + 1;
	else if (at <= t->last_unix_ns)
		say(t, EG_LOG_WARNING,
		    "the clock was set back by %.3f s: time stamps follow it, and windows across "
		    "the step are wrong",
		    (double)(t->last_unix_ns - at) / 1e9);
	t->last_unix_ns = at;
	return (int64_t)EG_MIN(at, (uint64_t)INT64_MAX);
}

void eg_telemetry_read(struct eg_telemetry *t, const struct eg_view *v, uint64_t now_ns,
		       uint64_t unix_ns, uint64_t memory_used_bytes,
		       struct eg_telemetry_reading *ret)
{
	uint64_t at = moment_of(t, v, now_ns);
	const double absent = EG_TELEMETRY_ABSENT;

	watch(t, &t->gpu, v);
	watch(t, &t->cpu, v);
	watch(t, &t->ane, v);
	*ret = (struct eg_telemetry_reading){
		.power_watts = power_of(&t->gpu, v),
		.energy_joules = energy_of(&t->gpu, v),
		.temperature_celsius = absent,
		.gpu_memory_usage_mb = absent,
		.cpu_memory_usage_mb =
			memory_used_bytes == UINT64_MAX ? absent : (double)memory_used_bytes / MIB,
		.cpu_power_watts = power_of(&t->cpu, v),
		.cpu_energy_joules = energy_of(&t->cpu, v),
		.ane_power_watts = power_of(&t->ane, v),
		.ane_energy_joules = energy_of(&t->ane, v),
		.gpu_compute_utilization_pct = absent,
		.gpu_memory_bandwidth_utilization_pct = absent,
		.gpu_tensor_core_utilization_pct = absent,
		.gpu_memory_total_mb = absent,
		.platform = t->platform,
		.timestamp_nanos = stamp(t, at, now_ns, unix_ns),
		.system = &t->system,
		.gpu = &t->info};
	t->last_ns = at;
	t->sample_ns = v->t_ns;
	read_details(t, v, now_ns, ret);
	if (stands_for_gpu(t)) {
		ret->power_watts = ret->cpu_power_watts;
		ret->energy_joules = ret->cpu_energy_joules;
	}
}
