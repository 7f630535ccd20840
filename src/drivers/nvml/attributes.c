/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What NVML tells beside energy: identity, memory, utilisation, temperature, clocks, limits, MIG.
 * Each is asked by itself; what the device does not answer has no attribute. MIG devices have no
 * energy of their own (power is whole-GPU only), so they are attributes of their GPU.
 */
#include "drivers/nvml/nvml.h"

#include <errno.h>
#include <stdio.h>

#define MIG_MAX 16 /* MIG devices listed of one GPU; 7 or 8 exist today */

struct put {
	struct eg_attribute_sink *sink;
	const char *device;
};

static void put_number(const struct put *p, const char *name, double value)
{
	struct eg_attribute a = {.value = value};

	eg_copy(a.device, sizeof(a.device), p->device);
	eg_copy(a.name, sizeof(a.name), name);
	p->sink->put(p->sink, &a);
}

static void put_text(const struct put *p, const char *name, const char *text)
{
	struct eg_attribute a = {.is_text = true};

	if (!text[0])
		return;
	eg_copy(a.device, sizeof(a.device), p->device);
	eg_copy(a.name, sizeof(a.name), name);
	eg_copy(a.text, sizeof(a.text), text);
	p->sink->put(p->sink, &a);
}

static void put_memory(const struct eg_nvml_api *api, const struct put *p, const char *prefix,
		       nvml_device_t h)
{
	struct nvml_memory_v2 v2 = {.version = NVML_MEMORY_V2_VERSION};
	struct nvml_memory v1 = {0};
	char name[EG_ATTRIBUTE_NAME_MAX];
	uint64_t total, used;

	if (api->memory_v2 && api->memory_v2(h, &v2) == NVML_OK) {
		total = v2.total;
		used = v2.used;
	} else if (api->memory && api->memory(h, &v1) == NVML_OK) {
		total = v1.total;
		used = v1.used;
	} else {
		return;
	}
	snprintf(name, sizeof(name), "%smemory_total_bytes", prefix);
	put_number(p, name, (double)total);
	snprintf(name, sizeof(name), "%smemory_used_bytes", prefix);
	put_number(p, name, (double)used);
}

/* Of the GPU die (sensor 0); -ENODATA where the device does not tell. */
int eg_nvml_temperature(const struct eg_nvml_api *api, nvml_device_t h, int32_t *ret_celsius)
{
	struct nvml_temperature t = {.version = NVML_TEMPERATURE_VERSION};
	uint32_t v = 0;

	if (api->temperature_v && api->temperature_v(h, &t) == NVML_OK)
		*ret_celsius = t.celsius;
	else if (api->temperature && api->temperature(h, 0, &v) == NVML_OK && v < 1000)
		*ret_celsius = (int32_t)v;
	else
		return -ENODATA;
	return 0;
}

/* Between which power limits the card lets itself be set. */
static void put_limits(const struct eg_nvml_api *api, const struct put *p, nvml_device_t h)
{
	static const struct {
		uint32_t field;
		const char *name;
	} limits[] = {{NVML_FIELD_POWER_LIMIT_MIN, "power_limit_min_watts"},
		      {NVML_FIELD_POWER_LIMIT_MAX, "power_limit_max_watts"}};

	for (size_t i = 0; api->fields && i < EG_ARRAY_SIZE(limits); i++) {
		struct nvml_field_value f = {.field_id = limits[i].field};
		uint64_t mw;

		if (api->fields(h, 1, &f) == NVML_OK && f.ret == NVML_OK &&
		    eg_nvml_value_mw(f.value_type, &f.value, &mw) == 0)
			put_number(p, limits[i].name, (double)mw / 1e3);
	}
}

static void put_load(const struct eg_nvml_api *api, const struct put *p, nvml_device_t h)
{
	static const struct {
		int id;
		const char *name;
	} clocks[] = {{NVML_CLOCK_GRAPHICS, "clock_graphics_hz"},
		      {NVML_CLOCK_SM, "clock_sm_hz"},
		      {NVML_CLOCK_MEMORY, "clock_memory_hz"},
		      {NVML_CLOCK_VIDEO, "clock_video_hz"}};
	struct nvml_utilization u = {0};
	int32_t celsius;
	uint32_t v = 0;

	if (api->utilization && api->utilization(h, &u) == NVML_OK) {
		put_number(p, "utilization_ratio", u.gpu / 100.0);
		put_number(p, "memory_utilization_ratio", u.memory / 100.0);
	}
	if (eg_nvml_temperature(api, h, &celsius) == 0)
		put_number(p, "temperature_celsius", celsius);
	for (size_t i = 0; api->clock && i < EG_ARRAY_SIZE(clocks); i++)
		if (api->clock(h, clocks[i].id, &v) == NVML_OK)
			put_number(p, clocks[i].name, v * 1e6);
	if (api->limit && api->limit(h, &v) == NVML_OK)
		put_number(p, "power_limit_watts", v / 1e3);
	put_limits(api, p, h);
	if (api->persistence && api->persistence(h, &v) == NVML_OK)
		put_number(p, "persistence_mode", v != 0);
}

static void put_mig_device(const struct eg_nvml_api *api, const struct put *p, unsigned k,
			   nvml_device_t h)
{
	struct nvml_attributes at = {0};
	char uuid[NVML_STRING_MAX] = "", prefix[16], name[EG_ATTRIBUTE_NAME_MAX];
	uint32_t v = 0;

	snprintf(prefix, sizeof(prefix), "mig_%u_", k);
	if (api->uuid && api->uuid(h, uuid, sizeof(uuid)) == NVML_OK) {
		eg_nvml_text(uuid, sizeof(uuid));
		snprintf(name, sizeof(name), "%suuid", prefix);
		put_text(p, name, uuid);
	}
	if (api->gpu_instance && api->gpu_instance(h, &v) == NVML_OK) {
		snprintf(name, sizeof(name), "%sgpu_instance_id", prefix);
		put_number(p, name, v);
	}
	if (api->compute_instance && api->compute_instance(h, &v) == NVML_OK) {
		snprintf(name, sizeof(name), "%scompute_instance_id", prefix);
		put_number(p, name, v);
	}
	if (api->attributes && api->attributes(h, &at) == NVML_OK) {
		snprintf(name, sizeof(name), "%ssm_count", prefix);
		put_number(p, name, at.sm_count);
		snprintf(name, sizeof(name), "%sgpu_slices", prefix);
		put_number(p, name, at.gpu_instance_slices);
		snprintf(name, sizeof(name), "%scompute_slices", prefix);
		put_number(p, name, at.compute_instance_slices);
	}
	put_memory(api, p, prefix, h);
}

/* Asked anew each time: MIG devices come and go while the driver runs. */
static void put_mig(const struct eg_nvml_api *api, const struct put *p, nvml_device_t h)
{
	uint32_t now = 0, pending = 0, max = 0;

	if (!api->mig_mode || api->mig_mode(h, &now, &pending) != NVML_OK)
		return;
	put_number(p, "mig_mode", now != 0);
	if (!now || !api->mig_max || !api->mig_handle || api->mig_max(h, &max) != NVML_OK)
		return;
	for (uint32_t k = 0; k < EG_MIN(max, (uint32_t)MIG_MAX); k++) {
		nvml_device_t mig = NULL;

		if (api->mig_handle(h, k, &mig) == NVML_OK && mig)
			put_mig_device(api, p, k, mig);
	}
}

static void put_device(struct eg_instance *in, const struct put *p, const struct eg_nvml_device *d)
{
	const struct eg_nvml_api *api = &in->api;
	char text[NVML_STRING_MAX] = "";

	put_text(p, "name", d->name);
	put_text(p, "uuid", d->uuid);
	put_text(p, "pci_id", d->pci);
	if (!in->ready || !d->handle)
		return;
	if (api->driver_version && api->driver_version(text, sizeof(text) - 1) == NVML_OK) {
		eg_nvml_text(text, sizeof(text));
		put_text(p, "driver_version", text);
	}
	text[0] = '\0';
	if (api->serial && api->serial(d->handle, text, sizeof(text) - 1) == NVML_OK) {
		eg_nvml_text(text, sizeof(text));
		put_text(p, "serial", text);
	}
	put_memory(api, p, "", d->handle);
	put_load(api, p, d->handle);
	put_mig(api, p, d->handle);
}

void eg_nvml_attributes(struct eg_instance *in, struct eg_attribute_sink *sink)
{
	pthread_mutex_lock(&in->lock);
	for (size_t i = 0; i < in->n; i++) {
		struct put p = {.sink = sink, .device = in->ch[i].device};

		if (!in->dev[i].check) /* told with its GPU */
			put_device(in, &p, &in->dev[i]);
	}
	pthread_mutex_unlock(&in->lock);
}
