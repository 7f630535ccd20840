/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a reading says, over the meter's rig: channels with a known truth on a clock moved by hand. The
 * rig's driver takes the name of the driver that a collector asks for.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "../meter/rig.h"
#include "monitor/scope.h"
#include "monitor/telemetry.h"

#define MS    1000000ULL
#define LINES 64

struct bench {
	struct rig *r;
	struct eg_view *v;
	struct eg_telemetry *t;
	struct eg_telemetry_config cfg;
	struct eg_telemetry_reading now;
	struct eg_attribute said[64];
	size_t n_said;
	size_t n;
	struct {
		enum eg_log_level level;
		char text[512];
	} line[LINES];
};

static void hear(void *arg, enum eg_log_level level, const char *subject, const char *text)
{
	struct bench *b = arg;

	assert_true(b->n < LINES);
	b->line[b->n].level = level;
	snprintf(b->line[b->n++].text, sizeof(b->line[0].text), "%s", text);
}

static size_t said(const struct bench *b, enum eg_log_level level, const char *part)
{
	size_t n = 0;

	for (size_t i = 0; i < b->n; i++)
		n += b->line[i].level == level && strstr(b->line[i].text, part) != NULL;
	return n;
}

static void begin(struct bench *b, const char *driver)
{
	*b = (struct bench){.r = rig_new()};
	b->r->driver.name = driver;
}

static void attribute(struct bench *b, const char *device, const char *name, double value,
		      const char *text)
{
	struct eg_attribute *a = &b->said[b->n_said++];

	*a = (struct eg_attribute){.value = value, .is_text = text != NULL};
	(void)eg_copy(a->device, sizeof(a->device), device);
	(void)eg_copy(a->name, sizeof(a->name), name);
	(void)eg_copy(a->text, sizeof(a->text), text ? text : "");
}

static void start(struct bench *b)
{
	rig_open(b->r, NULL);
	assert_int_equal(eg_view_new(b->r->meter, &b->v), 0);
	assert_int_equal(eg_meter_begin_running(b->r->meter, EG_METER_SINCE_OPEN), 0);
	rig_at(b->r, 20 * MS);
	eg_meter_sample(b->r->meter, true);
	eg_view_take(b->v, b->r->meter);
	b->cfg.env = &b->r->env;
	b->cfg.meter = b->r->meter;
	b->cfg.say = hear;
	b->cfg.say_arg = b;
	assert_int_equal(eg_telemetry_new(&b->cfg, b->v, b->said, b->n_said, &b->t), 0);
}

/* A sample and its reading at this time. */
static void read_at(struct bench *b, uint64_t t_ns)
{
	rig_at(b->r, t_ns);
	eg_meter_sample(b->r->meter, true);
	eg_view_take(b->v, b->r->meter);
	eg_telemetry_read(b->t, b->v, eg_clock_ns(&b->r->env.clock),
			  eg_clock_unix_ns(&b->r->env.clock), 3ULL << 30, &b->now);
}

static void end(struct bench *b)
{
	eg_telemetry_free(b->t);
	eg_view_free(b->v);
	rig_free(b->r);
}

static struct rig_channel *gpu(struct bench *b, unsigned i, const char *power)
{
	char domain[16], device[48];
	struct rig_channel *c;

	snprintf(domain, sizeof(domain), "gpu-%u", i);
	snprintf(device, sizeof(device), "gpu-GPU-0000000%u-aaaa", i);
	c = rig_counter(b->r, domain, device, EG_COMPONENT_GPU, power);
	c->ch.source = EG_SOURCE_NVML;
	snprintf(c->ch.label, sizeof(c->ch.label), "NVIDIA H200");
	return c;
}

static void near(double a, double b, double by)
{
	if (fabs(a - b) > by)
		fail_msg("%f is not within %f of %f", a, by, b);
}

/* ---- sums and names ---- */

static void sums_over_gpus(void **state)
{
	struct bench b;

	begin(&b, "nvml");
	gpu(&b, 0, "100W");
	gpu(&b, 1, "250W");
	rig_counter(b.r, "package-0", "cpu-0", EG_COMPONENT_PACKAGE, "60W");
	rig_counter(b.r, "package-1", "cpu-1", EG_COMPONENT_PACKAGE, "70W");
	rig_counter(b.r, "core-0", "cpu-0", EG_COMPONENT_CORE, "30W");
	rig_counter(b.r, "dram-0", "cpu-0", EG_COMPONENT_DRAM, "5W");
	for (unsigned i = 0; i < 2; i++) {
		char device[48];

		snprintf(device, sizeof(device), "gpu-GPU-0000000%u-aaaa", i);
		attribute(&b, device, "temperature_celsius", 40 + 10 * i, NULL);
		attribute(&b, device, "memory_used_bytes", (1 + i) * 1073741824.0, NULL);
		attribute(&b, device, "memory_total_bytes", 4 * 1073741824.0, NULL);
		attribute(&b, device, "utilization_ratio", 0.5 + 0.25 * i, NULL);
		attribute(&b, device, "memory_utilization_ratio", 0.1, NULL);
	}
	start(&b);
	read_at(&b, 1000 * MS);
	near(b.now.power_watts, 350, 0.5);
	near(b.now.energy_joules, 350, 0.5);
	near(b.now.cpu_power_watts, 130, 0.5); /* packages, neither cores nor DRAM */
	near(b.now.cpu_energy_joules, 130, 0.3);
	near(b.now.temperature_celsius, 45, 0);
	near(b.now.gpu_memory_usage_mb, 3072, 0);
	near(b.now.gpu_memory_total_mb, 8192, 0);
	near(b.now.gpu_compute_utilization_pct, 62.5, 1e-9);
	near(b.now.gpu_memory_bandwidth_utilization_pct, 10, 1e-9);
	near(b.now.cpu_memory_usage_mb, 3072, 0);
	assert_true(b.now.gpu_tensor_core_utilization_pct == -1);
	assert_true(b.now.ane_power_watts == -1 && b.now.ane_energy_joules == -1);
	assert_string_equal(b.now.platform, "nvidia");
	assert_string_equal(b.now.gpu->name, "NVIDIA H200 x2");
	assert_string_equal(b.now.gpu->vendor, "NVIDIA");
	assert_string_equal(b.now.gpu->device_type, "GPU");
	assert_string_equal(b.now.gpu->backend, "NVML");
	assert_true(eg_telemetry_healthy(b.t));
	assert_int_equal(said(&b, EG_LOG_INFO, "Auto-detected nvidia platform"), 1);
	assert_int_equal(said(&b, EG_LOG_INFO, "covered: NVIDIA H200 gpu-GPU-"), 2);
	end(&b);
}

static void one_and_mixed_models(void **state)
{
	struct bench b;

	begin(&b, "nvml");
	gpu(&b, 0, "100W");
	start(&b);
	read_at(&b, SECOND);
	assert_string_equal(b.now.gpu->name, "NVIDIA H200 x1");
	end(&b);
	begin(&b, "nvml");
	gpu(&b, 0, "100W");
	attribute(&b, "gpu-GPU-00000000-aaaa", "name", 0, "NVIDIA A100");
	gpu(&b, 1, "100W");
	start(&b);
	read_at(&b, SECOND);
	assert_string_equal(b.now.gpu->name, "NVIDIA (2 GPUs)");
	end(&b);
}

static void amd_names(void **state)
{
	struct bench b;
	struct rig_channel *c;

	begin(&b, "amdgpu");
	c = rig_counter(b.r, "gpu-0", "pci-0000:03:00.0", EG_COMPONENT_GPU, "300W");
	attribute(&b, "pci-0000:03:00.0", "name", 0, "AMD Instinct MI300X");
	c->ch.source = EG_SOURCE_AMD_SMI;
	c = rig_counter(b.r, "gpu-1", "pci-0000:04:00.0", EG_COMPONENT_GPU, "20W");
	c->ch.integrated_gpu = true; /* inside a processor: no card */
	start(&b);
	read_at(&b, SECOND);
	assert_string_equal(b.now.platform, "amd");
	assert_string_equal(b.now.gpu->name, "AMD Instinct MI300X x1");
	assert_string_equal(b.now.gpu->backend, "AMDSMI");
	near(b.now.energy_joules, 300, 0.5);
	end(&b);
}

static void a_card_without_a_name(void **state)
{
	struct bench b;

	begin(&b, "nvml");
	rig_counter(b.r, "gpu-0", "gpu-GPU-00000000-aaaa", EG_COMPONENT_GPU, "100W")->ch.label[0] =
		'\0';
	start(&b);
	read_at(&b, SECOND);
	assert_string_equal(b.now.gpu->name, "NVIDIA GPU x1");
	end(&b);
}

/* ---- which collector wins ---- */

static void a_mute_collector_does_not_win(void **state)
{
	struct bench b;

	begin(&b, "nvml");
	gpu(&b, 0, "100W")->absent = true;
	rig_counter(b.r, "package-0", "cpu-0", EG_COMPONENT_PACKAGE, "60W");
	start(&b);
	read_at(&b, SECOND);
	assert_string_equal(b.now.platform, "rapl");
	assert_true(b.now.power_watts == -1 && b.now.energy_joules == -1);
	near(b.now.cpu_energy_joules, 60, 0.2);
	assert_string_equal(b.now.gpu->name, "");
	assert_string_equal(b.now.gpu->vendor, "");
	assert_true(eg_telemetry_healthy(b.t));
	assert_int_equal(said(&b, EG_LOG_WARNING, "gives no reading"), 1);
	end(&b);
}

static void a_silent_gpu_is_left_out_with_a_word(void **state)
{
	struct bench b;

	begin(&b, "nvml");
	gpu(&b, 0, "100W");
	gpu(&b, 1, "100W")->absent = true;
	start(&b);
	b.r->c[1].absent = false; /* later it answers: the sums stay of what they were of */
	read_at(&b, SECOND);
	assert_string_equal(b.now.gpu->name, "NVIDIA H200 x1");
	near(b.now.energy_joules, 100, 0.5);
	assert_int_equal(said(&b, EG_LOG_WARNING, "gpu-GPU-00000001-aaaa"), 1);
	end(&b);
}

static void null_platform(void **state)
{
	struct bench b;

	begin(&b, "nvml");
	start(&b);
	read_at(&b, SECOND);
	assert_string_equal(b.now.platform, "null");
	assert_false(eg_telemetry_healthy(b.t));
	assert_true(b.now.power_watts == -1 && b.now.energy_joules == -1 &&
		    b.now.cpu_power_watts == -1 && b.now.cpu_energy_joules == -1);
	near(b.now.cpu_memory_usage_mb, 3072, 0);
	assert_true(b.now.timestamp_nanos > 0);
	end(&b);
}

static void cpu_as_primary_is_asked_for(void **state)
{
	struct bench b;

	begin(&b, "rapl");
	rig_counter(b.r, "package-0", "cpu-0", EG_COMPONENT_PACKAGE, "60W");
	b.cfg.cpu_as_primary = true;
	start(&b);
	read_at(&b, SECOND);
	assert_string_equal(b.now.platform, "rapl");
	assert_true(b.now.energy_joules == b.now.cpu_energy_joules);
	assert_true(b.now.power_watts == b.now.cpu_power_watts);
	near(b.now.energy_joules, 60, 0.2);
	end(&b);
}

static void estimates_are_never_silent(void **state)
{
	struct bench b;

	begin(&b, "cpu_model");
	rig_gauge(b.r, "package", "model-cpu", EG_COMPONENT_PACKAGE, "60W")->ch.provenance =
		EG_PROVENANCE_ESTIMATED;
	start(&b);
	read_at(&b, SECOND);
	assert_string_equal(b.now.platform, "estimated");
	assert_false(eg_telemetry_healthy(b.t));
	near(b.now.cpu_power_watts, 60, 0.1);
	end(&b);
	/* Of the whole machine: where a module's total would be. */
	begin(&b, "cpu_model");
	rig_gauge(b.r, "node-model", "node-model", EG_COMPONENT_CHASSIS, "200W")->ch.provenance =
		EG_PROVENANCE_ESTIMATED;
	start(&b);
	read_at(&b, SECOND);
	assert_string_equal(b.now.platform, "estimated");
	assert_false(eg_telemetry_healthy(b.t));
	near(b.now.power_watts, 200, 0.1);
	assert_true(b.now.cpu_power_watts == -1);
	assert_string_equal(b.now.gpu->name, "");
	end(&b);
	/* Beside a measured package it is not used. */
	begin(&b, "rapl");
	rig_gauge(b.r, "package", "model-cpu", EG_COMPONENT_PACKAGE, "60W")->ch.provenance =
		EG_PROVENANCE_ESTIMATED;
	rig_counter(b.r, "package-0", "cpu-0", EG_COMPONENT_PACKAGE, "10W");
	start(&b);
	read_at(&b, SECOND);
	assert_string_equal(b.now.platform, "rapl");
	near(b.now.cpu_energy_joules, 10, 0.1);
	end(&b);
}

static void mac_fields(void **state)
{
	static const char *const dirs[] = {"/usr", "/usr/bin"};
	char root[] = "/tmp/eg-telemetry-XXXXXX", path[128];
	struct bench b;
	FILE *f;

	assert_non_null(mkdtemp(root));
	for (size_t i = 0; i < 2; i++) {
		snprintf(path, sizeof(path), "%s%s", root, dirs[i]);
		assert_int_equal(mkdir(path, 0755), 0);
	}
	snprintf(path, sizeof(path), "%s/usr/bin/powermetrics", root);
	f = fopen(path, "w");
	assert_non_null(f);
	fclose(f);
	begin(&b, "powermetrics");
	eg_env_close(&b.r->env);
	assert_int_equal(eg_env_open(&b.r->env, root), 0);
	b.r->env.clock = eg_clock_manual(&b.r->clock);
	rig_counter(b.r, "soc", "soc-0", EG_COMPONENT_SOC, "21W");
	rig_counter(b.r, "cpu", "soc-0", EG_COMPONENT_PACKAGE, "10W")->ch.part_of = 0;
	rig_counter(b.r, "gpu", "soc-0", EG_COMPONENT_GPU, "8W")->ch.part_of = 0;
	rig_counter(b.r, "ane", "soc-0", EG_COMPONENT_ANE, "3W")->ch.part_of = 0;
	b.cfg.cpu_as_primary = true; /* means nothing here */
	start(&b);
	read_at(&b, SECOND);
	assert_string_equal(b.now.platform, "macos");
	assert_string_equal(b.now.gpu->name, "Apple GPU");
	assert_string_equal(b.now.gpu->device_type, "Integrated GPU");
	near(b.now.energy_joules, 8, 0.1);
	near(b.now.cpu_energy_joules, 10, 0.1);
	near(b.now.ane_energy_joules, 3, 0.1);
	near(b.now.ane_power_watts, 3, 0.1);
	assert_true(b.now.temperature_celsius == -1 && b.now.gpu_memory_usage_mb == -1);
	end(&b);
	unlink(path);
	for (int i = 1; i >= 0; i--) {
		snprintf(path, sizeof(path), "%s%s", root, dirs[i]);
		rmdir(path);
	}
	rmdir(root);
}

/* ---- over time ---- */

static void a_lost_gpu_keeps_its_energy(void **state)
{
	struct bench b;
	double before;

	begin(&b, "nvml");
	gpu(&b, 0, "100W");
	gpu(&b, 1, "100W");
	attribute(&b, "gpu-GPU-00000000-aaaa", "temperature_celsius", 40, NULL);
	attribute(&b, "gpu-GPU-00000001-aaaa", "temperature_celsius", 40, NULL);
	start(&b);
	read_at(&b, SECOND);
	near(b.now.energy_joules, 200, 0.5);
	before = b.now.energy_joules;
	b.r->c[1].absent = true;
	for (unsigned i = 1; i <= 20; i++) {
		read_at(&b, SECOND + i * 50 * MS);
		assert_true(b.now.energy_joules >= before);
		before = b.now.energy_joules;
		assert_true(b.now.power_watts == -1);
		assert_true(b.now.temperature_celsius == -1);
	}
	near(b.now.energy_joules, 300, 0.5); /* the other one goes on */
	assert_int_equal(said(&b, EG_LOG_WARNING, "does not answer"), 1);
	b.r->c[1].absent = false;
	read_at(&b, SECOND + 21 * 50 * MS);
	read_at(&b, SECOND + 22 * 50 * MS);
	near(b.now.power_watts, 200, 1);
	near(b.now.energy_joules, 420, 1); /* its counter tells what was used meanwhile */
	assert_int_equal(said(&b, EG_LOG_INFO, "answers again"), 1);
	/* It comes and goes: one warning a minute. */
	for (unsigned i = 0; i < 100; i++) {
		b.r->c[1].absent = i % 2;
		read_at(&b, SECOND + (23 + i) * 50 * MS);
	}
	assert_int_equal(said(&b, EG_LOG_WARNING, "does not answer"), 1);
	assert_int_equal(said(&b, EG_LOG_INFO, "answers again"), 1);
	/* It is gone within that minute for good: said once the minute is over. */
	b.r->c[1].absent = true;
	read_at(&b, 30 * SECOND);
	read_at(&b, 70 * SECOND);
	read_at(&b, 80 * SECOND);
	assert_int_equal(said(&b, EG_LOG_WARNING, "does not answer"), 2);
	end(&b);
}

static void a_reset_is_absorbed_and_said(void **state)
{
	struct bench b;
	struct rig_channel *c;
	double before;

	begin(&b, "nvml");
	c = gpu(&b, 0, "100W");
	c->ch.modulus = 0;
	c->ch.zero_based = true;
	c->offset = 5000000;
	start(&b);
	read_at(&b, SECOND);
	before = b.now.energy_joules;
	c->offset =
		(uint64_t)-50000000LL; /* it counts from 50 J before: a driver was loaded anew */
	read_at(&b, SECOND + 50 * MS);
	assert_true(b.now.energy_joules >= before);
	assert_true(b.now.energy_joules < before + 100);
	before = b.now.energy_joules;
	read_at(&b, SECOND + 100 * MS);
	near(b.now.energy_joules, before + 5, 0.2);
	assert_int_equal(said(&b, EG_LOG_WARNING, "began again"), 1);
	end(&b);
}

static void integrated_power_starts_at_zero(void **state)
{
	struct bench b;

	begin(&b, "nvml");
	rig_gauge(b.r, "gpu-0", "gpu-GPU-0", EG_COMPONENT_GPU, "ramp from=0W to=200W over=2s");
	start(&b);
	read_at(&b, 20 * MS);
	assert_true(b.now.energy_joules >= 0 && b.now.energy_joules < 0.1);
	for (unsigned i = 1; i <= 20; i++)
		read_at(&b, i * 50 * MS);
	near(b.now.energy_joules, 50,
	     0.01); /* a trapezoid is exact on a ramp; rectangles err by 2.5 J */
	near(b.now.power_watts, 100, 0.01);
	end(&b);
}

static void stamps_rise_and_follow_the_read(void **state)
{
	struct bench b;
	int64_t last = 0, unix0;

	begin(&b, "nvml");
	gpu(&b, 0, "100W");
	start(&b);
	unix0 = (int64_t)b.r->clock.unix_base_ns + (int64_t)RIG_T0;
	for (unsigned i = 1; i <= 40; i++) {
		b.r->c[0].lag_ns =
			(i % 3) * MS; /* its read was so long ago when the reading is made */
		read_at(&b, i * 50 * MS);
		assert_true(b.now.timestamp_nanos > last);
		last = b.now.timestamp_nanos;
		assert_true(last == unix0 + (int64_t)(i * 50 * MS - b.r->c[0].lag_ns));
		near(b.now.energy_joules, 100.0 * (double)(i * 50 * MS - b.r->c[0].lag_ns) / 1e9,
		     0.11);
	}
	end(&b);
}

static void a_repeated_value_has_the_samples_time(void **state)
{
	struct bench b;
	int64_t last;

	begin(&b, "nvml");
	gpu(&b, 0, "100W");
	start(&b);
	read_at(&b, 100 * MS);
	last = b.now.timestamp_nanos;
	b.r->c[0].absent = true;
	for (unsigned i = 1; i <= 5; i++) {
		read_at(&b, (100 + 50 * i) * MS);
		assert_true(b.now.timestamp_nanos == last + (int64_t)(50 * MS));
		last = b.now.timestamp_nanos;
	}
	end(&b);
}

static void a_sensor_slower_than_the_ticks_keeps_stamps_even(void **state)
{
	struct bench b;
	int64_t last = 0;

	begin(&b, "nvml");
	gpu(&b, 0, "100W");
	start(&b);
	/* Every second tick it has a value, which was read right after the tick before. */
	for (unsigned i = 2; i <= 40; i++) {
		b.r->c[0].absent = i % 2;
		b.r->c[0].lag_ns = 49 * MS;
		read_at(&b, i * 50 * MS);
		if (i > 4 && b.now.timestamp_nanos != last + (int64_t)(50 * MS))
			fail_msg("reading %u: %lld ns after the last", i,
				 (long long)(b.now.timestamp_nanos - last));
		last = b.now.timestamp_nanos;
	}
	end(&b);
}

static void small_steps_of_the_clock_are_bridged(void **state)
{
	struct bench b;
	int64_t last;

	begin(&b, "nvml");
	gpu(&b, 0, "100W");
	start(&b);
	read_at(&b, SECOND);
	last = b.now.timestamp_nanos;
	b.r->clock.unix_base_ns -= SECOND - 50 * MS; /* NTP sets it back by 0.95 s */
	read_at(&b, SECOND + 50 * MS);
	assert_true(b.now.timestamp_nanos == last + 1);
	read_at(&b, SECOND + 100 * MS);
	assert_true(b.now.timestamp_nanos == last + 2);
	read_at(&b, 2 * SECOND + 50 * MS);
	assert_true(b.now.timestamp_nanos > last + 2);
	assert_int_equal(said(&b, EG_LOG_WARNING, "set back"), 0);
	end(&b);
}

static void large_steps_of_the_clock_are_followed(void **state)
{
	struct bench b;
	int64_t last;

	begin(&b, "nvml");
	gpu(&b, 0, "100W");
	start(&b);
	read_at(&b, SECOND);
	last = b.now.timestamp_nanos;
	b.r->clock.unix_base_ns -= 3600 * SECOND;
	read_at(&b, SECOND + 50 * MS);
	assert_true(b.now.timestamp_nanos == last + (int64_t)(50 * MS) - (int64_t)(3600 * SECOND));
	last = b.now.timestamp_nanos;
	read_at(&b, SECOND + 100 * MS);
	assert_true(b.now.timestamp_nanos == last + (int64_t)(50 * MS));
	assert_int_equal(said(&b, EG_LOG_WARNING, "set back by 3599.95"), 1);
	end(&b);
}

static void old_details_are_not_told(void **state)
{
	struct bench b;

	begin(&b, "nvml");
	gpu(&b, 0, "100W");
	attribute(&b, "gpu-GPU-00000000-aaaa", "memory_used_bytes", 1048576, NULL);
	attribute(&b, "gpu-GPU-00000000-aaaa", "temperature_celsius", 40, NULL);
	start(&b);
	read_at(&b, SECOND);
	near(b.now.gpu_memory_usage_mb, 1, 0);
	read_at(&b, 10 * SECOND); /* nobody has asked the devices since */
	assert_true(b.now.gpu_memory_usage_mb == -1);
	assert_true(b.now.temperature_celsius == -1);
	b.r->celsius = 55; /* comes with each read */
	read_at(&b, 11 * SECOND);
	near(b.now.temperature_celsius, 55, 0);
	end(&b);
}

/* ---- scope ---- */

static double joules_of(const char *gpus, const char *visible, size_t *ret_warnings)
{
	struct bench b;
	double j;

	begin(&b, "nvml");
	gpu(&b, 0, "1W");
	gpu(&b, 1, "10W");
	gpu(&b, 2, "100W");
	attribute(&b, "gpu-GPU-00000002-aaaa", "mig_0_uuid", 0, "MIG-1234-5678");
	attribute(&b, "gpu-GPU-00000001-aaaa", "pci_id", 0, "00000000:41:00.0");
	b.cfg.gpus = gpus;
	b.cfg.visible = visible;
	start(&b);
	read_at(&b, SECOND);
	j = b.now.energy_joules;
	*ret_warnings = said(&b, EG_LOG_WARNING, "");
	end(&b);
	return j < 0 ? j : round(j);
}

#define TEN   "0,0,0,0,0,0,0,0,0,0,"
#define TEN_X "xxxxxxxxxx"

static void scope_of_gpus(void **state)
{
	static const struct {
		const char *gpus, *visible;
		double joules;
		size_t warnings;
	} rows[] = {
		{NULL, NULL, 111, 0},
		{NULL, "all", 111, 0},
		{NULL, "", -1, 1}, /* 1: the null platform has its line */
		{NULL, "none", -1, 1},
		{NULL, "void", -1, 1},
		{NULL, "nodevfiles", -1, 1},
		{NULL, "-1", -1, 1},
		{NULL, "0", 1, 0},
		{NULL, "2,0", 101, 0},
		{NULL, " 2 , 0 ", 101, 0},
		{NULL, "2,2,2", 100, 0},
		{NULL, "2,-1,0", 100, 0},
		{NULL, "GPU-00000001-aaaa", 10, 0},
		{NULL, "GPU-00000001", 10, 0},
		{NULL, "0,GPU-00000001", 11, 0},
		{NULL, "MIG-1234-5678", 100, 1},
		{NULL, "7", 111, 2}, /* none of them is here: all, and said */
		{NULL, "0,7", 1, 1},
		{NULL, "0,,1", 11, 0},
		{NULL, "0,", 1, 0},
		{NULL, ",2", 100, 0},
		{NULL, " -1", -1, 1},
		{NULL, "2, -1,0", 100, 0},
		{NULL, TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN "2", 101, 0},
		{NULL, "0," TEN_X TEN_X TEN_X TEN_X TEN_X TEN_X TEN_X TEN_X TEN_X, 1, 1},
		{NULL, "MIG-GPU-00000002-aaaa/1/0", 100, 1},
		{NULL, "MIG-GPU-00000002/1/0", 111, 2}, /* half a UUID */
		{"1", NULL, 10, 0},
		{"1", "0", 10, 0}, /* the option goes before */
		{"all", "0", 111, 0},
		{"", "0", 1, 0},
		{"none", NULL, -1, 1},
		{"00000000:41:00.0", NULL, 10, 0},
		{"7", NULL, -1, 2}, /* said for this server: nothing else in its place */
	};

	for (size_t i = 0; i < EG_ARRAY_SIZE(rows); i++) {
		size_t warnings;
		double j = joules_of(rows[i].gpus, rows[i].visible, &warnings);

		if (j != rows[i].joules || warnings != rows[i].warnings)
			fail_msg("--gpus %s CUDA_VISIBLE_DEVICES=%s: %f J, %zu warnings",
				 rows[i].gpus ? rows[i].gpus : "(none)",
				 rows[i].visible ? rows[i].visible : "(unset)", j, warnings);
	}
}

/* ---- the machine ---- */

static void os_release(void **state)
{
	static const char text[] = "PRETTY_NAME=\"x\"\nNAME=\"Debian GNU/Linux\"\nVERSION_ID='12'\n"
				   "EMPTY=\nBARE=alpine \nESC=\"a\\\"b\\$c\"\nLAST=end";
	static const struct {
		const char *key, *value;
	} rows[] = {{"NAME", "Debian GNU/Linux"},
		    {"VERSION_ID", "12"},
		    {"EMPTY", ""},
		    {"BARE", "alpine"},
		    {"ESC", "a\"b$c"},
		    {"LAST", "end"},
		    {"VERSION", ""}};
	char got[64];

	for (size_t i = 0; i < EG_ARRAY_SIZE(rows); i++) {
		eg_os_release_value(text, rows[i].key, got, sizeof(got));
		assert_string_equal(got, rows[i].value);
	}
	eg_os_release_value(text, "NAME", got, 7);
	assert_string_equal(got, "Debian");
}

static void cpu_quota(void **state)
{
	assert_int_equal(eg_cpu_max_limit("max 100000"), UINT32_MAX);
	assert_int_equal(eg_cpu_max_limit("150000 100000"), 2);
	assert_int_equal(eg_cpu_max_limit("100000 100000"), 1);
	assert_int_equal(eg_cpu_max_limit("1000 100000"), 1);
	assert_int_equal(eg_cpu_max_limit("100000"), UINT32_MAX);
	assert_int_equal(eg_cpu_max_limit("-1 100000"), UINT32_MAX);
	assert_int_equal(eg_cpu_max_limit("100000 0"), UINT32_MAX);
	assert_int_equal(eg_cpu_max_limit(""), UINT32_MAX);
}

static void this_machine(void **state)
{
	struct eg_sysinfo info;
	struct eg_env env;

	assert_int_equal(eg_env_open(&env, NULL), 0);
	eg_sysinfo_read(&env, &info);
	assert_true(info.cpu_count >= 1 &&
		    info.cpu_count <= (uint32_t)sysconf(_SC_NPROCESSORS_CONF));
	assert_string_not_equal(info.kernel, "");
	assert_string_not_equal(info.host, "");
	eg_env_close(&env);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sums_over_gpus),
		cmocka_unit_test(one_and_mixed_models),
		cmocka_unit_test(amd_names),
		cmocka_unit_test(a_card_without_a_name),
		cmocka_unit_test(a_mute_collector_does_not_win),
		cmocka_unit_test(a_silent_gpu_is_left_out_with_a_word),
		cmocka_unit_test(null_platform),
		cmocka_unit_test(cpu_as_primary_is_asked_for),
		cmocka_unit_test(estimates_are_never_silent),
		cmocka_unit_test(mac_fields),
		cmocka_unit_test(a_lost_gpu_keeps_its_energy),
		cmocka_unit_test(a_reset_is_absorbed_and_said),
		cmocka_unit_test(integrated_power_starts_at_zero),
		cmocka_unit_test(stamps_rise_and_follow_the_read),
		cmocka_unit_test(a_repeated_value_has_the_samples_time),
		cmocka_unit_test(a_sensor_slower_than_the_ticks_keeps_stamps_even),
		cmocka_unit_test(small_steps_of_the_clock_are_bridged),
		cmocka_unit_test(large_steps_of_the_clock_are_followed),
		cmocka_unit_test(old_details_are_not_told),
		cmocka_unit_test(scope_of_gpus),
		cmocka_unit_test(os_release),
		cmocka_unit_test(cpu_quota),
		cmocka_unit_test(this_machine),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
