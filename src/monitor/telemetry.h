/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What one reading of the energy.EnergyMonitor service says, made of the meter's view and of what
 * devices say beside their energy: which collector wins, what is added up, which moment it is of. No
 * I/O but the log, and no allocation after eg_telemetry_new().
 */
#ifndef EG_MONITOR_TELEMETRY_H
#define EG_MONITOR_TELEMETRY_H

#include "base/log.h"
#include "core/view.h"
#include "monitor/sysinfo.h"

#define EG_TELEMETRY_ABSENT    (-1.0) /* in every field that cannot be told */
#define EG_TELEMETRY_GPUS_MAX  128
#define EG_TELEMETRY_DRIVERS   16
#define EG_TELEMETRY_STEP_NS   EG_NSEC_PER_SEC /* a smaller step back of the clock is bridged */
#define EG_TELEMETRY_REPEAT_NS (60 * EG_NSEC_PER_SEC) /* between two warnings about one device */

/*
 * A collector: a platform, and the channels that make its fields 1 and 2. The first of
 * eg_collectors[] that has at least one channel with a reading wins; docs/adding-a-driver.md adds
 * one.
 */
struct eg_collector {
	const char *platform; /* as clients see it */
	const char *driver;
	enum eg_component component; /* of the channels in fields 1 and 2 */
	/* GpuInfo; name: of the devices where it is NULL. */
	const char *name, *vendor, *device_type, *backend;
	const char *needs;   /* a file below the root without which it is not this; NULL */
	bool scoped_by_cuda; /* CUDA_VISIBLE_DEVICES counts for it */
	bool is_module;	     /* fields 1 and 2 hold CPU and GPU: 10 to 17 are not told */
};
extern const struct eg_collector eg_collectors[]; /* ends with platform NULL */

struct eg_telemetry_config {
	const struct eg_env *env;
	struct eg_meter *meter;
	const char *gpus;    /* --gpus; NULL or "": not given */
	const char *visible; /* CUDA_VISIBLE_DEVICES; NULL: not set */
	bool cpu_as_primary; /* without a GPU the CPU total is in fields 1 and 2 too */
	/* Where lines of the log go; NULL: eg_log(). */
	void (*say)(void *arg, enum eg_log_level level, const char *subject, const char *text);
	void *say_arg;
};

struct eg_gpu_info {
	char name[128];
	const char *vendor, *device_type, *backend;
};

/* Numbers as the contract has them: -1 where not told. Texts are borrowed from the telemetry. */
struct eg_telemetry_reading {
	double power_watts, energy_joules, temperature_celsius, gpu_memory_usage_mb,
		cpu_memory_usage_mb, cpu_power_watts, cpu_energy_joules, ane_power_watts,
		ane_energy_joules, gpu_compute_utilization_pct,
		gpu_memory_bandwidth_utilization_pct, gpu_tensor_core_utilization_pct,
		gpu_memory_total_mb;
	const char *platform;
	int64_t timestamp_nanos;
	const struct eg_sysinfo *system;
	const struct eg_gpu_info *gpu;
};

struct eg_telemetry;

/* The drivers that readings are made of, for eg_meter_config.select: a text of at most cap bytes. */
void eg_telemetry_select(const struct eg_env *env, bool allow_estimates, char *ret, size_t cap);
/*
 * Chooses the collector by what the view shows: the meter has sampled, and waited for slow drivers.
 * attributes: of eg_meter_attributes(). Says which platform it is. -ENOMEM.
 */
int eg_telemetry_new(const struct eg_telemetry_config *cfg, const struct eg_view *v,
		     const struct eg_attribute *attribute, size_t n,
		     struct eg_telemetry **ret) EG_MUST_CHECK;
struct eg_telemetry *eg_telemetry_free(struct eg_telemetry *t);

const char *eg_telemetry_platform(const struct eg_telemetry *t);
bool eg_telemetry_healthy(const struct eg_telemetry *t); /* a device is held */
/* The longest time between two refreshes of what it reads; 0 unknown. ret_name: of that channel. */
uint64_t eg_telemetry_period_ns(const struct eg_telemetry *t, const char **ret_name);

/* A newer complete list of attributes, read at now_ns of the interval clock. */
void eg_telemetry_attributes(struct eg_telemetry *t, const struct eg_attribute *attribute, size_t n,
			     uint64_t now_ns);
/*
 * A reading of the view. now_ns and unix_ns are the two clocks, read one right after the other and after
 * the sample. memory_used_bytes: of the machine; UINT64_MAX unknown.
 */
void eg_telemetry_read(struct eg_telemetry *t, const struct eg_view *v, uint64_t now_ns,
		       uint64_t unix_ns, uint64_t memory_used_bytes,
		       struct eg_telemetry_reading *ret);

#endif
