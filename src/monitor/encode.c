/* SPDX-License-Identifier: Apache-2.0 */
/* See encode.h. Texts that are no UTF-8 are left out: a strict reader refuses the whole message. */
#include "monitor/encode.h"

#include <errno.h>
#include <math.h>

#include "codec/utf8.h"
#include "energy.pb-c.h" /* generated */

static char *text(const char *s)
{
	return (char *)(eg_utf8_is_valid(s) ? s : "");
}

static double number(double v)
{
	return isfinite(v) ? v : EG_TELEMETRY_ABSENT;
}

ssize_t eg_encode_reading(const struct eg_telemetry_reading *r, uint8_t ret[EG_READING_BYTES_MAX])
{
	Energy__SystemInfo system = ENERGY__SYSTEM_INFO__INIT;
	Energy__GpuInfo gpu = ENERGY__GPU_INFO__INIT;
	Energy__TelemetryReading m = ENERGY__TELEMETRY_READING__INIT;

	system.os_name = text(r->system->os_name);
	system.os_version = text(r->system->os_version);
	system.kernel_version = text(r->system->kernel);
	system.host_name = text(r->system->host);
	system.cpu_count = r->system->cpu_count;
	system.cpu_brand = text(r->system->cpu_brand);
	gpu.name = text(r->gpu->name);
	gpu.vendor = text(r->gpu->vendor);
	gpu.device_type = text(r->gpu->device_type);
	gpu.backend = text(r->gpu->backend);
	m.power_watts = number(r->power_watts);
	m.energy_joules = number(r->energy_joules);
	m.temperature_celsius = number(r->temperature_celsius);
	m.gpu_memory_usage_mb = number(r->gpu_memory_usage_mb);
	m.cpu_memory_usage_mb = number(r->cpu_memory_usage_mb);
	m.platform = text(r->platform);
	m.timestamp_nanos = r->timestamp_nanos;
	m.system_info = &system;
	m.gpu_info = &gpu;
	m.cpu_power_watts = number(r->cpu_power_watts);
	m.cpu_energy_joules = number(r->cpu_energy_joules);
	m.ane_power_watts = number(r->ane_power_watts);
	m.ane_energy_joules = number(r->ane_energy_joules);
	m.gpu_compute_utilization_pct = number(r->gpu_compute_utilization_pct);
	m.gpu_memory_bandwidth_utilization_pct = number(r->gpu_memory_bandwidth_utilization_pct);
	m.gpu_tensor_core_utilization_pct = number(r->gpu_tensor_core_utilization_pct);
	m.gpu_memory_total_mb = number(r->gpu_memory_total_mb);
	if (energy__telemetry_reading__get_packed_size(&m) > EG_READING_BYTES_MAX)
		return -EMSGSIZE;
	return (ssize_t)energy__telemetry_reading__pack(&m, ret);
}

ssize_t eg_encode_health(bool healthy, const char *platform, uint8_t ret[EG_HEALTH_BYTES_MAX])
{
	Energy__HealthResponse m = ENERGY__HEALTH_RESPONSE__INIT;

	m.healthy = healthy;
	m.platform = text(platform);
	if (energy__health_response__get_packed_size(&m) > EG_HEALTH_BYTES_MAX)
		return -EMSGSIZE;
	return (ssize_t)energy__health_response__pack(&m, ret);
}
