/* SPDX-License-Identifier: Apache-2.0 */
/* See rig.h. */
#include "rig.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct eg_driver drivers[] = {
	{.name = "rapl"},  {.name = "perf_rapl"}, {.name = "nvml"},	 {.name = "amdgpu"},
	{.name = "hwmon"}, {.name = "intel_gpu"}, {.name = "cpu_model"}, {.name = "powermetrics"},
};

static const struct eg_driver *driver_of(const char *name)
{
	for (size_t i = 0; i < EG_ARRAY_SIZE(drivers); i++)
		if (strcmp(drivers[i].name, name) == 0)
			return &drivers[i];
	abort();
}

struct rig *rig_new(void)
{
	struct rig *r = calloc(1, sizeof(*r));

	if (!r)
		abort();
	r->v = (struct eg_view){.seq = 1,
				.t_ns = RIG_NOW_NS,
				.unix_ns = RIG_UNIX_NS,
				.max_accounts = RIG_ACCOUNTS,
				.channel = r->vc,
				.account = r->va};
	r->devices.attribute = r->attribute;
	r->host = (struct eg_host_facts){
		.cpu_model = "Example CPU 9000",
		.vendor = "GenuineIntel",
		.architecture = "x86_64",
		.sockets = 2,
		.cores = 64,
		.threads = 128,
		.cpu_utilization_ratio = 0.123,
		.cpu_frequency_hz = 2400e6,
		.cpu_celsius = NAN,
		.memory_total_bytes = 1099511627776,
		.memory_available_bytes = 824633720832,
		.memory_free_bytes = 549755813888,
		.memory_buffers_bytes = 1073741824,
		.memory_cached_bytes = 274877906944,
	};
	r->agent = (struct eg_agent_facts){
		.version = "0.1.0",
		.revision = "abcdef0",
		.host = "n1",
		.start_unix_ns = RIG_UNIX_NS - 3600 * EG_NSEC_PER_SEC,
		.cpu_ns = 1234567890,
		.wakeups = 3601,
		.ticks = 3600,
		.missed_ticks = 1,
		.resident_bytes = 5 << 20,
		.energy_uj = 12345678,
		.http_requests = 240,
		.http_refused = UINT64_MAX,
		.http_clients = 2,
		.windows = 3,
		.scrapes = 240,
		.store_enabled = true,
		.log_bytes = 65536,
		.log_pending_uj = 18000000000,
		.last_flush_unix_ns = RIG_UNIX_NS - 30 * EG_NSEC_PER_SEC,
		.config_reload_ok = true,
	};
	return r;
}

static int add_account(struct rig *r, const struct eg_channel *ch, enum eg_provenance provenance,
		       const char *channel, int index, bool held)
{
	struct eg_view_account *a = &r->va[r->v.n_accounts];

	if (r->v.n_accounts == RIG_ACCOUNTS)
		abort();
	*a = (struct eg_view_account){.channel = index, .held = held};
	strcpy(a->a.device, ch->device);
	strcpy(a->a.channel, channel);
	a->a.component = ch->component;
	a->a.provenance = provenance;
	a->a.source = ch->source;
	a->a.boundary = ch->boundary;
	a->a.created_unix_ns = RIG_UNIX_NS - 86400 * EG_NSEC_PER_SEC;
	return (int)r->v.n_accounts++;
}

static int add_channel(struct rig *r, const char *driver, const char *domain, const char *device)
{
	size_t i = r->v.n_channels++;
	struct eg_channel *ch = &r->ch[i];

	if (i == RIG_CHANNELS)
		abort();
	strcpy(ch->domain, domain);
	strcpy(ch->device, device);
	ch->part_of = -1;
	snprintf(r->name[i], sizeof(r->name[i]), "%s/%s", driver, domain);
	r->vc[i] = (struct eg_view_channel){.ch = ch,
					    .driver = driver_of(driver),
					    .name = r->name[i],
					    .account = -1,
					    .est_account = -1,
					    .celsius = NAN};
	return (int)i;
}

int rig_channel(struct rig *r, const char *driver, const char *domain, const char *device,
		enum eg_component component, enum eg_source source)
{
	int i = add_channel(r, driver, domain, device);
	struct eg_channel *ch = &r->ch[i];

	ch->component = component;
	ch->source = source;
	ch->boundary = component == EG_COMPONENT_CHASSIS || component == EG_COMPONENT_PSYS ?
			       EG_BOUNDARY_NODE :
			       EG_BOUNDARY_COMPONENT;
	if (component == EG_COMPONENT_RAIL)
		return i;
	r->vc[i].account = add_account(r, ch, EG_PROVENANCE_MEASURED, r->name[i], i, false);
	r->vc[i].est_account = add_account(r, ch, EG_PROVENANCE_ESTIMATED, r->name[i], i, true);
	return i;
}

int rig_crosscheck(struct rig *r, const char *driver, const char *domain, int of)
{
	int i = add_channel(r, driver, domain, r->ch[of].device);

	r->ch[i].component = r->ch[of].component;
	r->ch[i].source = r->ch[of].source;
	r->ch[i].boundary = r->ch[of].boundary;
	r->vc[i].role = EG_ROLE_CROSSCHECK;
	return i;
}

int rig_restored(struct rig *r, const char *channel, const char *device,
		 enum eg_component component, enum eg_provenance provenance, uint64_t uj)
{
	struct eg_channel like = {.component = component, .source = EG_SOURCE_NVML};
	int i;

	strcpy(like.device, device);
	i = add_account(r, &like, provenance, channel, -1, false);
	r->va[i].shown = true;
	r->va[i].a.uj = uj;
	r->va[i].a.last.unix_ns = RIG_UNIX_NS - 7200 * EG_NSEC_PER_SEC;
	return i;
}

void rig_read(struct rig *r, int channel, uint64_t uj, uint64_t uw)
{
	struct eg_view_channel *vc = &r->vc[channel];

	vc->status = EG_STATUS_OK;
	vc->t_ns = r->v.t_ns;
	vc->have_uw = true;
	vc->uw = uw;
	vc->uj += uj;
	vc->samples++;
	vc->uncertainty_uj = vc->uj / 20;
	if (vc->account < 0)
		return;
	r->va[vc->account].shown = true;
	r->va[vc->account].a.uj += uj;
	r->va[vc->account].a.last.unix_ns = r->v.unix_ns;
}

void rig_hold(struct rig *r, int channel, uint64_t uj)
{
	struct eg_view_channel *vc = &r->vc[channel];

	vc->status = EG_STATUS_ERROR;
	vc->est_uj += uj;
	r->va[vc->est_account].shown = true;
	r->va[vc->est_account].a.uj += uj;
}

static struct eg_attribute *add_attribute(struct rig *r, const char *device, const char *name)
{
	struct eg_attribute *a = &r->attribute[r->devices.n++];

	if (r->devices.n > RIG_ATTRIBUTES)
		abort();
	snprintf(a->device, sizeof(a->device), "%s", device);
	snprintf(a->name, sizeof(a->name), "%s", name);
	return a;
}

void rig_number(struct rig *r, const char *device, const char *name, double value)
{
	add_attribute(r, device, name)->value = value;
}

void rig_text(struct rig *r, const char *device, const char *name, const char *text)
{
	struct eg_attribute *a = add_attribute(r, device, name);

	a->is_text = true;
	snprintf(a->text, sizeof(a->text), "%s", text);
}

void rig_pass(struct rig *r, uint64_t ns)
{
	r->v.seq++;
	r->v.t_ns += ns;
	r->v.unix_ns += ns;
}

static void add_gpu(struct rig *r, unsigned index)
{
	char domain[16], device[32], uuid[16];
	int i;

	snprintf(domain, sizeof(domain), "gpu-%u", index);
	snprintf(uuid, sizeof(uuid), "GPU-%u", index + 1);
	snprintf(device, sizeof(device), "gpu-%s", uuid);
	i = rig_channel(r, "nvml", domain, device, EG_COMPONENT_GPU, EG_SOURCE_NVML);
	strcpy(r->ch[i].label, "NVIDIA H200");
	rig_read(r, i, 8430000000000 + index * 1000, 312500000);
	r->vc[i].celsius = 54;
	rig_text(r, device, "name", "NVIDIA H200");
	rig_text(r, device, "uuid", uuid);
	rig_text(r, device, "pci_id", index ? "0000:3b:00.0" : "0000:1b:00.0");
	rig_text(r, device, "driver_version", "550.54.15");
	rig_number(r, device, "memory_total_bytes", 150000000000);
	rig_number(r, device, "memory_used_bytes", 75000000000);
	rig_number(r, device, "utilization_ratio", 0.41);
	rig_number(r, device, "temperature_celsius", 54);
	rig_number(r, device, "clock_sm_hz", 1980e6);
	rig_number(r, device, "power_limit_watts", 700);
	rig_number(r, device, "persistence_mode", 1);
	rig_number(r, device, "mig_mode", 1);
	rig_text(r, device, "mig_0_uuid", "MIG-1");
	rig_number(r, device, "mig_0_memory_total_bytes", 20000000000);
}

struct rig *rig_server(void)
{
	struct rig *r = rig_new();
	int i;

	for (unsigned k = 0; k < 2; k++) {
		char device[16], domain[16];

		snprintf(device, sizeof(device), "cpu-%u", k);
		snprintf(domain, sizeof(domain), "package-%u", k);
		i = rig_channel(r, "rapl", domain, device, EG_COMPONENT_PACKAGE, EG_SOURCE_RAPL);
		snprintf(r->ch[i].origin, sizeof(r->ch[i].origin),
			 "sys/class/powercap/intel-rapl:%u/energy_uj", k);
		rig_read(r, i, 151200000 + k, 95500000);
		snprintf(domain, sizeof(domain), "dram-%u", k);
		i = rig_channel(r, "rapl", domain, device, EG_COMPONENT_DRAM, EG_SOURCE_RAPL);
		snprintf(r->ch[i].origin, sizeof(r->ch[i].origin),
			 "sys/class/powercap/intel-rapl:%u:0/energy_uj", k);
		rig_read(r, i, 20000001, 12000000);
	}
	rig_read(r, rig_crosscheck(r, "perf_rapl", "package-0", 0), 151199000, 95400000);
	r->va[r->vc[0].account].a.recovered_uj = 1200000;
	r->va[r->vc[0].account].a.gap_ns = 1500000000;
	r->va[r->vc[0].account].a.resets = 2;
	add_gpu(r, 0);
	add_gpu(r, 1);
	rig_hold(r, 6, 300000000); /* gpu-1 lost a reading */
	r->va[r->vc[6].est_account].a.created_unix_ns = RIG_UNIX_NS - 60 * EG_NSEC_PER_SEC;
	i = rig_channel(r, "hwmon", "power_meter-0-chassis", "node", EG_COMPONENT_CHASSIS,
			EG_SOURCE_HWMON);
	rig_read(r, i, 61300000000000, 1200000000);
	i = rig_channel(r, "hwmon", "ina-rail", "node-rail-ina-rail", EG_COMPONENT_RAIL,
			EG_SOURCE_HWMON);
	rig_read(r, i, 5000000, 3300000);
	rig_channel(r, "hwmon", "never", "hwmon-never", EG_COMPONENT_STORAGE, EG_SOURCE_HWMON);
	r->vc[r->v.n_channels - 1].status = EG_STATUS_NO_DATA;
	i = rig_restored(r, "nvml/gpu-2", "gpu-GPU-3", EG_COMPONENT_GPU, EG_PROVENANCE_MEASURED,
			 1000000000);
	r->va[i].a.gap_ns = 60000000000;
	rig_restored(r, "nvml/gpu-2", "gpu-GPU-3", EG_COMPONENT_GPU, EG_PROVENANCE_ESTIMATED, 7);
	rig_pass(r, 250 * EG_NSEC_PER_MSEC);
	return r;
}

struct rig *rig_many(size_t n)
{
	struct rig *r = rig_new();

	for (size_t i = 0; i < n; i++) {
		char domain[48], device[48];

		snprintf(domain, sizeof(domain), "nvme-%zu-power1", i);
		snprintf(device, sizeof(device), "nvme-%zu", i);
		rig_read(r,
			 rig_channel(r, "hwmon", domain, device, EG_COMPONENT_STORAGE,
				     EG_SOURCE_HWMON),
			 123456789012345 + i, 8765432 + i);
	}
	return r;
}

struct rig *rig_hostile(void)
{
	static const char *const texts[] = {
		"quote\"quote",
		"back\\slash\\",
		"new\nline",
		"tab\tbell\a",
		"brace{}brace",
		"comma,x=\"1\",y",
		"caf\xc3\xa9",
		"bad\xff\xfeutf8",
		"other\xfe\xff utf8",
		"",
		"ends with \\",
		"# HELP x y",
		"} 1e9\nall_smi_gpu_utilization{gpu=\"x\"} 5",
	};
	struct rig *r = rig_new();
	char domain[64];
	int i;

	r->agent.host = "ho\"st\\\n}{\xff,";
	r->agent.version = "1\"\\\n";
	for (size_t k = 0; k < EG_ARRAY_SIZE(texts); k++) {
		snprintf(domain, sizeof(domain), "gpu-%zu%s", k, k % 2 ? texts[k] : "");
		i = rig_channel(r, "nvml", domain, texts[k], EG_COMPONENT_GPU, EG_SOURCE_NVML);
		snprintf(r->ch[i].label, sizeof(r->ch[i].label), "%s", texts[k]);
		rig_read(r, i, 1000000 * (k + 1), 1000000);
		rig_text(r, texts[k], "name", texts[k]);
		rig_text(r, texts[k], "Bad-Name", "x");
		rig_text(r, texts[k], "device", "x");
		rig_text(r, texts[k], "pci_id", texts[k]);
		rig_number(r, texts[k], "temperature_celsius", -3.25);
		rig_number(r, texts[k], "x\n_bytes", 1);
	}
	snprintf(r->host.cpu_model, sizeof(r->host.cpu_model), "%s", texts[12]);
	return r;
}

const struct eg_metrics_options *rig_options(enum eg_metrics_format format, bool everything)
{
	static struct eg_metrics_options o;

	o = (struct eg_metrics_options){.format = format,
					.all_smi = true,
					.all_smi_rows = everything,
					.node_exporter = everything,
					.dcgm = everything};
	return &o;
}
