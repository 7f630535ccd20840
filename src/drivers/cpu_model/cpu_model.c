/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An estimate for machines without any meter: a power model over CPU utilisation, P(u), and u from
 * proc/stat. Only opened where estimates are allowed; its joules are `estimated` and belong to a
 * device of their own, so they never join a measured account.
 *
 * A reading of utilisation describes the time before it. So the driver keeps the model's own
 * integral, P(u of the interval) x time of the interval, as a counter of microjoules: exact over any
 * window, where a trapezoid over a gauge would smear each interval into the next.
 */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/parse.h"
#include "core/driver.h"
#include "drivers/cpu_model/model.h"
#include "host/cpu.h"
#include "host/machine.h"

#define NAME	 "cpu_model"
#define TICK_NS	 10000000ULL   /* proc/stat counts in 1/100 s (USER_HZ) */
#define STALE_NS (5 * TICK_NS) /* no tick for longer: the file stands still */
#define CALIBRATE_CURE                                                                        \
	"measure idle and full load once with a wall meter and set cpu_model idle_watts and " \
	"full_watts"

struct eg_instance {
	const struct eg_env *env;
	struct eg_channel ch;
	struct eg_cpu_model model;
	int fd;
	struct eg_cpu_time last;
	uint64_t last_awake_ns;
	uint64_t uj;
	double rem_uj; /* below one microjoule, carried */
	double ratio;  /* of the last interval; NaN before the first */
	uint32_t epoch;
};

static int probe(const struct eg_env *env)
{
	return eg_fs_exists(&env->fs, "proc/stat") ? 0 : -ENOENT;
}

static void close_instance(struct eg_instance *inst)
{
	if (!inst)
		return;
	eg_fs_close(&inst->env->fs, inst->fd);
	free(inst);
}

/* A number the user set, -1 if none. */
static int setting(const struct eg_driver_config *cfg, const char *name, double *ret)
{
	const char *v = eg_setting_get(cfg, NAME, name);
	double d = -1;

	if (v && (eg_parse_double(v, strlen(v), &d) < 0 || d < 0)) {
		eg_diag_add(cfg->diags, EG_DIAG_CONFIG, NAME, name, "give a number of watts",
			    "%s is not a power", name);
		return -EINVAL;
	}
	*ret = d;
	return 0;
}

static int choose(const struct eg_env *env, const struct eg_driver_config *cfg,
		  struct eg_cpu_model *ret)
{
	struct eg_cpu_model_inputs in;
	struct eg_machine machine;
	struct eg_cpu cpu = {.family = -1, .model = -1, .stepping = -1};
	const char *why = "";
	int r = eg_cpu_read(env, &cpu);

	if (r < 0 && r != -ENOENT && r != -ENODATA)
		eg_diag_add(cfg->diags, eg_diag_code_of(r), NAME, "proc/cpuinfo", "",
			    "the CPUs are unknown: %s", eg_errno_text(r));
	eg_machine_read(env, &cpu, &machine);
	in = (struct eg_cpu_model_inputs){.cpu = &cpu, .guest = machine.virtual_machine};
	if ((r = setting(cfg, "idle_watts", &in.idle_watts)) < 0 ||
	    (r = setting(cfg, "full_watts", &in.full_watts)) < 0 ||
	    (r = setting(cfg, "tdp_watts", &in.tdp_watts)) < 0)
		return r;
	r = eg_cpu_model_choose(&in, ret, &why);
	if (r == -EINVAL)
		eg_diag_add(cfg->diags, EG_DIAG_CONFIG, NAME, "", "correct the setting", "%s", why);
	else if (r < 0)
		eg_diag_add(cfg->diags, EG_DIAG_SENSOR_UNSUPPORTED, NAME, "proc/cpuinfo",
			    CALIBRATE_CURE, "the number of CPUs is unknown, so no model applies");
	if (r == 0 && in.guest && in.tdp_watts >= 0)
		eg_diag_add(cfg->diags, EG_DIAG_CONFIG, NAME, "tdp_watts", CALIBRATE_CURE,
			    "not used: on a virtual machine the TDP is that of the whole host");
	return r;
}

static void describe_channel(const struct eg_cpu_model *m, struct eg_channel *ch)
{
	bool wall = m->kind <= EG_CPU_MODEL_TDP;
	const char *name = wall ? "node-model" : "cpu-model";

	*ch = (struct eg_channel){
		.component = wall ? EG_COMPONENT_CHASSIS : EG_COMPONENT_PACKAGE,
		.source = EG_SOURCE_CPU_MODEL,
		.boundary = wall ? EG_BOUNDARY_NODE : EG_BOUNDARY_COMPONENT,
		.provenance = EG_PROVENANCE_ESTIMATED,
		.quantity = EG_QUANTITY_ENERGY,
		.unit_num = 1,
		.unit_den = 1,
		.zero_based = true,
		.own_count = true,
		.resolution_uj = 1,
		.update_ns = TICK_NS,
		.max_uw = (uint64_t)(m->watts[m->n - 1] * 1.5e6) + 1,
		.part_of = -1,
		.accuracy = {.rel_ppm = m->rel_ppm, .citation = m->citation},
	};
	eg_copy(ch->domain, sizeof(ch->domain), name);
	eg_copy(ch->device, sizeof(ch->device), name);
	eg_copy(ch->label, sizeof(ch->label), m->label);
	eg_copy(ch->origin, sizeof(ch->origin), "proc/stat");
}

static int open_instance(const struct eg_env *env, const struct eg_driver_config *cfg,
			 struct eg_instance **ret)
{
	struct eg_instance *inst;
	int r;

	if (!cfg->allow_estimates) {
		eg_diag_add(cfg->diags, EG_DIAG_ESTIMATOR, NAME, "", "allow estimates",
			    "estimates are not allowed, so none is made");
		return -EPERM;
	}
	inst = calloc(1, sizeof(*inst));
	if (!inst)
		return -ENOMEM;
	inst->env = env;
	inst->ratio = NAN;
	inst->fd = eg_fs_open(&env->fs, "proc/stat");
	r = inst->fd < 0 ? inst->fd : eg_cpu_time_pread(&env->fs, inst->fd, &inst->last);
	inst->last_awake_ns = eg_clock_awake_ns(&env->clock);
	if (r < 0)
		eg_diag_add(cfg->diags, eg_diag_code_of(r), NAME, "proc/stat",
			    "make proc/stat readable: mount /proc, in a container too",
			    "CPU utilisation cannot be read: %s", eg_errno_text(r));
	else
		r = choose(env, cfg, &inst->model);
	if (r < 0) {
		close_instance(inst);
		return r;
	}
	describe_channel(&inst->model, &inst->ch);
	eg_diag_add(cfg->diags, EG_DIAG_ESTIMATOR, NAME, inst->ch.domain,
		    inst->model.kind == EG_CPU_MODEL_CALIBRATED ? "" : CALIBRATE_CURE,
		    "estimated, not measured: %s; error up to %u %% (95 %%)", inst->model.text,
		    inst->model.rel_ppm / 10000);
	*ret = inst;
	return 0;
}

static size_t describe(const struct eg_instance *inst, const struct eg_channel **ret)
{
	*ret = &inst->ch;
	return 1;
}

/* Charges the time since the last charge at its utilisation. */
static enum eg_status advance(struct eg_instance *inst, const struct eg_cpu_time *now,
			      uint64_t awake_ns)
{
	uint64_t dt_ns = awake_ns - inst->last_awake_ns;
	double ratio;
	int r;

	if (awake_ns < inst->last_awake_ns || dt_ns < TICK_NS)
		return EG_STATUS_OK;
	r = eg_cpu_busy_ratio(&inst->last, now, &ratio);
	if (r == -ENODATA)
		return dt_ns > STALE_NS ? EG_STATUS_STALE : EG_STATUS_OK;
	if (r == 0) {
		double uj = eg_cpu_model_watts(&inst->model, ratio) * ((double)dt_ns / 1e3) +
			    inst->rem_uj;

		inst->uj += (uint64_t)uj;
		inst->rem_uj = uj - (double)(uint64_t)uj;
		inst->ratio = ratio;
	} else {
		/* proc/stat began again: nobody knows what the interval held. */
		inst->epoch++;
		inst->uj = 0;
		inst->rem_uj = 0;
		inst->ratio = NAN;
	}
	inst->last = *now;
	inst->last_awake_ns = awake_ns;
	return EG_STATUS_OK;
}

static void read_channels(struct eg_instance *inst, struct eg_sink *sink, struct eg_diags *diags)
{
	const struct eg_env *env = inst->env;
	struct eg_reading reading = {0};
	struct eg_cpu_time now;
	int r;

	if (inst->fd < 0)
		inst->fd = eg_fs_open(&env->fs, "proc/stat");
	r = inst->fd < 0 ? inst->fd : eg_cpu_time_pread(&env->fs, inst->fd, &now);
	reading.t_ns = eg_clock_ns(&env->clock);
	if (r == 0) {
		reading.status = advance(inst, &now, eg_clock_awake_ns(&env->clock));
		reading.raw = reading.status == EG_STATUS_OK ? inst->uj : 0;
		reading.epoch = inst->epoch;
		if (reading.status == EG_STATUS_STALE)
			eg_diag_add(diags, EG_DIAG_SENSOR_ERROR, NAME, "proc/stat", "",
				    "CPU time stands still");
	} else {
		reading.status = r == -EACCES || r == -EPERM ? EG_STATUS_DENIED : EG_STATUS_ERROR;
		eg_diag_add(diags, eg_diag_code_of(r), NAME, "proc/stat", "",
			    "CPU utilisation cannot be read: %s", eg_errno_text(r));
		eg_fs_close(&env->fs, inst->fd);
		inst->fd = -1;
	}
	eg_sink_put(sink, 0, &reading);
}

static void attributes(struct eg_instance *inst, struct eg_attribute_sink *sink)
{
	struct eg_attribute a = {.is_text = true};

	eg_copy(a.device, sizeof(a.device), inst->ch.device);
	eg_copy(a.name, sizeof(a.name), "power_model");
	eg_copy(a.text, sizeof(a.text), inst->model.label);
	sink->put(sink, &a);
	a.is_text = false;
	eg_copy(a.name, sizeof(a.name), "model_idle_watts");
	a.value = inst->model.watts[0];
	sink->put(sink, &a);
	eg_copy(a.name, sizeof(a.name), "model_full_watts");
	a.value = inst->model.watts[inst->model.n - 1];
	sink->put(sink, &a);
	if (isnan(inst->ratio))
		return;
	eg_copy(a.name, sizeof(a.name), "utilization_ratio");
	a.value = inst->ratio;
	sink->put(sink, &a);
}

static const struct eg_option options[] = {
	{"idle_watts", EG_OPTION_DOUBLE, NULL, "wall power of this machine at no load"},
	{"full_watts", EG_OPTION_DOUBLE, NULL, "wall power of this machine at full load"},
	{"tdp_watts", EG_OPTION_DOUBLE, NULL, "thermal design power of one CPU package"},
	{NULL},
};

const struct eg_driver eg_driver_cpu_model = {
	.name = NAME,
	.summary = "estimate: power model over CPU utilisation, for machines without a meter",
	.source = EG_SOURCE_CPU_MODEL,
	.maturity = EG_MATURITY_SIMULATED,
	.estimator = true,
	.options = options,
	.probe = probe,
	.open = open_instance,
	.describe = describe,
	.read = read_channels,
	.attributes = attributes,
	.close = close_instance,
};
