/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the metrics page says about views that are filled by hand: which series there are, their values,
 * and what it costs. That other programs can read it is test_page.py's. The allocator is replaced by
 * the linker (--wrap), to count allocations and to fail each in turn.
 */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "codec/exposition.h"
#include "codec/number.h"
#include "rig.h"

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__real_reallocarray(void *p, size_t n, size_t size);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
void *__wrap_reallocarray(void *p, size_t n, size_t size);

static long calls, fail_at;

static bool fails(void)
{
	return ++calls == fail_at;
}

void *__wrap_malloc(size_t n)
{
	return fails() ? NULL : __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size)
{
	return fails() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t n)
{
	return fails() ? NULL : __real_realloc(p, n);
}

void *__wrap_reallocarray(void *p, size_t n, size_t size)
{
	return fails() ? NULL : __real_reallocarray(p, n, size);
}

/* A page, and where series of it are looked up. */
struct page {
	struct eg_strbuf text;
	struct eg_metrics *m;
};

static void write_page(struct page *p, const struct rig *r, const struct eg_metrics_options *opt)
{
	if (!p->m) {
		p->text = EG_STRBUF_INIT(EG_METRICS_MAX);
		assert_int_equal(eg_metrics_new(&r->v, &r->agent, &p->m), 0);
	}
	eg_strbuf_reset(&p->text);
	assert_int_equal(eg_metrics_write(p->m, opt, &r->v, &r->agent, &r->devices, &r->host,
					  r->v.t_ns, &p->text),
			 0);
}

static void close_page(struct page *p)
{
	p->m = eg_metrics_free(p->m);
	eg_strbuf_free(&p->text);
}

/* The value of the one line that begins so and has `part` in it; NULL: there is none. */
static const char *value_of(const struct page *p, const char *begin, const char *part)
{
	static char value[64];
	unsigned found = 0;

	for (const char *line = eg_strbuf_get(&p->text); *line; line += strcspn(line, "\n") + 1) {
		const char *end = line + strcspn(line, "\n"), *in = strstr(line, part);

		if (strncmp(line, begin, strlen(begin)) != 0 || !in || in > end)
			continue;
		found++;
		while (end[-1] != ' ')
			end--;
		snprintf(value, sizeof(value), "%.*s", (int)strcspn(end, "\n"), end);
	}
	assert_true(found <= 1);
	return found ? value : NULL;
}

static void value_is(const struct page *p, const char *begin, const char *part, const char *want)
{
	const char *got = value_of(p, begin, part);

	if (!got)
		fail_msg("no series %s...%s", begin, part);
	assert_string_equal(got, want);
}

static void absent(const struct page *p, const char *begin, const char *part)
{
	const char *got = value_of(p, begin, part);

	if (got)
		fail_msg("series %s...%s is %s", begin, part, got);
}

static size_t lines_of(const struct page *p, const char *begin)
{
	size_t n = 0;

	for (const char *s = eg_strbuf_get(&p->text); *s; s += strcspn(s, "\n") + 1)
		n += strncmp(s, begin, strlen(begin)) == 0;
	return n;
}

#define ENERGY "ergon_energy_joules_total{"
#define SMI    "all_smi_energy_consumed_joules_total{"

/* ---- numbers and the writer ---- */

static void scaled_numbers(void **state)
{
	uint64_t x = 88172645463325252ull;

	for (unsigned i = 0; i < 200000; i++) {
		char got[EG_NUMBER_MAX], want[64];
		unsigned digits = i % 19;
		uint64_t v;
		int n;

		x ^= x << 13, x ^= x >> 7, x ^= x << 17;
		v = x >> (x & 63);
		n = snprintf(want, sizeof(want), "%0*" PRIu64, (int)digits + 1, v);
		memmove(want + n - (int)digits + 1, want + n - (int)digits, digits + 1);
		want[n - (int)digits] = '.';
		for (char *end = want + strlen(want); end[-1] == '0'; end--)
			end[-1] = '\0';
		if (want[strlen(want) - 1] == '.')
			want[strlen(want) - 1] = '\0';
		assert_int_equal(eg_number_scaled(got, v, digits), strlen(want));
		assert_string_equal(got, want);
	}
}

static const struct eg_expo_family odd = {
	.name = "x_joules", .help = "a \"b\" \\ c\nd", .unit = "joules", .type = EG_EXPO_COUNTER};
static const struct eg_expo_family plain = {.name = "y", .help = "y", .type = EG_EXPO_GAUGE};

static void written(bool openmetrics, const char *want)
{
	struct eg_strbuf out = EG_STRBUF_INIT(4096);
	struct eg_expo e;

	eg_expo_init(&e, &out, openmetrics);
	eg_expo_family(&e, &plain); /* no sample: not a line */
	eg_expo_family(&e, &odd);
	eg_expo_scaled(&e, "{a=\"1\"}", 7, 1, 6);
	eg_expo_created(&e, "{a=\"1\"}", 7, 1700000000500000000);
	eg_expo_scaled(&e, "", 0, UINT64_MAX, 6);
	eg_expo_created(&e, "", 0, 0);
	eg_expo_family(&e, &plain);
	eg_expo_double(&e, "", 0, NAN);
	eg_expo_double(&e, "", 0, INFINITY);
	eg_expo_double(&e, "", 0, -0.5);
	eg_expo_created(&e, "", 0, 5); /* a gauge has none */
	assert_int_equal(eg_expo_end(&e), 0);
	assert_string_equal(eg_strbuf_get(&out), want);
	eg_strbuf_free(&out);
}

static void both_formats(void **state)
{
	written(false, "# HELP x_joules_total a \"b\" \\\\ c\\nd\n# TYPE x_joules_total counter\n"
		       "x_joules_total{a=\"1\"} 0.000001\nx_joules_total 18446744073709.551615\n"
		       "# HELP y y\n# TYPE y gauge\ny -0.5\n");
	written(true,
		"# HELP x_joules a \\\"b\\\" \\\\ c\\nd\n# TYPE x_joules counter\n"
		"# UNIT x_joules joules\nx_joules_total{a=\"1\"} 0.000001\n"
		"x_joules_created{a=\"1\"} 1700000000.5\nx_joules_total 18446744073709.551615\n"
		"# HELP y y\n# TYPE y gauge\ny -0.5\n# EOF\n");
}

static void doubles(void **state)
{
	static const struct {
		double v;
		const char *want;
	} cases[] = {
		{0, "0"},
		{-0.0, "0"},
		{54.25, "54.25"},
		{0.41, "0.41"},
		{-3.25, "-3.25"},
		{1.0 / 3, "0.3333333333333333"},
		{150000000000.0, "150000000000"},
		{1e300, "1e300"},
		{1e-12, "1e-12"},
		{999999999.9999999, "999999999.9999999"},
	};

	for (size_t i = 0; i < EG_ARRAY_SIZE(cases); i++) {
		struct eg_strbuf out = EG_STRBUF_INIT(4096);
		struct eg_expo e;
		const char *got;

		eg_expo_init(&e, &out, false);
		eg_expo_family(&e, &plain);
		eg_expo_double(&e, "", 0, cases[i].v);
		got = strstr(eg_strbuf_get(&out), "\ny ");
		assert_non_null(got);
		got += 3;
		assert_int_equal(strcspn(got, "\n"), strlen(cases[i].want));
		assert_memory_equal(got, cases[i].want, strlen(cases[i].want));
		eg_strbuf_free(&out);
	}
}

/* ---- absence (E29, T15, W18) ---- */

static void absent_is_absent(void **state)
{
	struct rig *r = rig_new();
	int i = rig_channel(r, "nvml", "gpu-0", "gpu-GPU-1", EG_COMPONENT_GPU, EG_SOURCE_NVML);
	struct page p = {0};

	r->vc[i].status = EG_STATUS_NO_DATA;
	write_page(&p, r, rig_options(EG_METRICS_TEXT, true));
	assert_int_equal(lines_of(&p, ENERGY), 0);
	assert_int_equal(lines_of(&p, "# HELP ergon_energy_joules"), 0);
	assert_int_equal(lines_of(&p, SMI), 0);
	assert_int_equal(lines_of(&p, "DCGM_"), 0);
	absent(&p, "ergon_power_watts", "");
	absent(&p, "all_smi_gpu_power_consumption_watts", "");
	absent(&p, "ergon_reading_age_seconds", "");
	absent(&p, "ergon_gap_seconds_total", "");
	absent(&p, "ergon_energy_uncertainty_ratio", "");
	value_is(&p, "ergon_sensor_up{", "gpu-0", "0");

	r->vc[i].status = EG_STATUS_OK; /* as it is before the first read */
	write_page(&p, r, rig_options(EG_METRICS_TEXT, true));
	value_is(&p, "ergon_sensor_up{", "gpu-0", "0");

	rig_read(r, i, 0, 0); /* the first valid reading: 0 at once, so that increase() sees all */
	write_page(&p, r, rig_options(EG_METRICS_TEXT, true));
	value_is(&p, ENERGY, "provenance=\"measured\"", "0");
	absent(&p, ENERGY, "provenance=\"estimated\"");
	value_is(&p, SMI, "scope=\"gpu\"", "0");
	value_is(&p, "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", "", "0");
	value_is(&p, "ergon_power_watts", "", "0");
	value_is(&p, "ergon_gap_seconds_total", "", "0");
	value_is(&p, "ergon_counter_resets_total", "", "0");
	value_is(&p, "ergon_sensor_up{", "gpu-0", "1");
	absent(&p, "ergon_energy_uncertainty_ratio", ""); /* no energy to be uncertain of */

	r->vc[i].status = EG_STATUS_ERROR; /* an error is no 0 W and no old W */
	write_page(&p, r, rig_options(EG_METRICS_TEXT, true));
	value_is(&p, "ergon_sensor_up{", "gpu-0", "0");
	absent(&p, "ergon_power_watts", "");
	absent(&p, "all_smi_gpu_power_consumption_watts", "");
	absent(&p, "DCGM_FI_DEV_POWER_USAGE", "");
	value_is(&p, ENERGY, "provenance=\"measured\"", "0");
	close_page(&p);
	free(r);
}

static void empty_machine(void **state)
{
	struct rig *r = rig_new();
	struct page p = {0};

	write_page(&p, r, rig_options(EG_METRICS_OPENMETRICS, true));
	assert_int_equal(lines_of(&p, "ergon_energy"), 0);
	assert_int_equal(lines_of(&p, "# EOF"), 1);
	absent(&p, "ergon_agent_http_refused_total", ""); /* UINT64_MAX: unknown */
	absent(&p, "ergon_agent_config_reload_success", "");
	value_is(&p, "ergon_agent_ledger_failing", "", "0");
	r->agent.store_enabled = false;
	r->agent.config_reload_unix_ns = RIG_UNIX_NS;
	write_page(&p, r, rig_options(EG_METRICS_TEXT, true));
	absent(&p, "ergon_agent_ledger_failing", "");
	value_is(&p, "ergon_agent_ledger_enabled", "", "0");
	value_is(&p, "ergon_agent_config_reload_success", "", "1");
	value_is(&p, "ergon_agent_cpu_seconds_total", "", "1.23456789");
	value_is(&p, "ergon_agent_energy_joules_total", "modeled", "12.345678");
	/* Without facts: no rows of them. */
	eg_strbuf_reset(&p.text);
	assert_int_equal(eg_metrics_write(p.m, rig_options(EG_METRICS_TEXT, true), &r->v, &r->agent,
					  NULL, NULL, r->v.t_ns, &p.text),
			 0);
	assert_int_equal(lines_of(&p, "all_smi_"), 0);
	close_page(&p);
	free(r);
}

/* ---- T34: over scrapes, restart, a device that goes and comes ---- */

static void not_less(const struct page *p, const char *begin, const char *part, double *last)
{
	const char *text = value_of(p, begin, part);
	double v;

	assert_non_null(text);
	v = strtod(text, NULL);
	assert_true(v >= *last);
	*last = v;
}

static void never_falls(void **state)
{
	const struct eg_metrics_options *opt = rig_options(EG_METRICS_TEXT, false);
	double own = 0, smi = 0;
	uint64_t total = 0;

	for (unsigned life = 0; life < 3; life++) {
		struct rig *r = rig_new();
		struct page p = {0};
		int i;

		if (life == 1) { /* the device is away in this life of the agent */
			rig_restored(r, "nvml/gpu-0", "gpu-GPU-1", EG_COMPONENT_GPU,
				     EG_PROVENANCE_MEASURED, total);
			write_page(&p, r, opt);
			not_less(&p, ENERGY, "GPU-1", &own);
			absent(&p, "ergon_sensor_up", "");
			absent(&p, "ergon_power_watts", "");
			absent(&p, SMI, ""); /* only what is here now */
			value_is(&p, "ergon_reading_age_seconds", "channel=\"gpu-0\"", "7200");
			close_page(&p);
			free(r);
			continue;
		}
		i = rig_channel(r, "nvml", "gpu-0", "gpu-GPU-1", EG_COMPONENT_GPU, EG_SOURCE_NVML);
		r->va[r->vc[i].account].a.uj = total;
		for (unsigned k = 0; k < 10; k++) {
			if (k == 5) { /* unplugged for a while in this life */
				r->vc[i].status = EG_STATUS_ERROR;
			} else {
				rig_read(r, i, 300000000, 300000000);
				total += 300000000;
			}
			rig_pass(r, EG_NSEC_PER_SEC);
			write_page(&p, r, opt);
			not_less(&p, ENERGY, "GPU-1", &own);
			not_less(&p, SMI, "GPU-1", &smi);
		}
		close_page(&p);
		free(r);
	}
	assert_true(own == 5400 && smi == 5400);
}

static void age_at_the_scrape(void **state)
{
	struct rig *r = rig_new();
	struct eg_strbuf out = EG_STRBUF_INIT(EG_METRICS_MAX);
	struct page p = {0};
	int i = rig_channel(r, "rapl", "package-0", "cpu-0", EG_COMPONENT_PACKAGE, EG_SOURCE_RAPL);

	rig_read(r, i, 1, 1);
	rig_restored(r, "nvml/gpu-0", "gpu-GPU-1", EG_COMPONENT_GPU, EG_PROVENANCE_MEASURED, 5);
	write_page(&p, r, rig_options(EG_METRICS_TEXT, false)); /* at the moment of the view */
	value_is(&p, "ergon_reading_age_seconds", "package-0", "0");
	eg_strbuf_reset(&p.text);
	assert_int_equal(eg_metrics_write(p.m, rig_options(EG_METRICS_TEXT, false), &r->v,
					  &r->agent, NULL, NULL, r->v.t_ns + 1234567891, &p.text),
			 0);
	value_is(&p, "ergon_reading_age_seconds", "package-0", "1.234567891");
	value_is(&p, "ergon_reading_age_seconds", "gpu-0", "7201.234567891");
	r->vc[i].t_ns = r->v.t_ns + 5; /* a worker was later than the page's moment */
	write_page(&p, r, rig_options(EG_METRICS_TEXT, false));
	value_is(&p, "ergon_reading_age_seconds", "package-0", "0");
	close_page(&p);
	eg_strbuf_free(&out);
	free(r);
}

/* ---- provenance ---- */

static void estimates_by_option_only(void **state)
{
	struct eg_metrics_options opt = *rig_options(EG_METRICS_TEXT, true);
	struct rig *r = rig_new();
	struct page p = {0};
	int gpu = rig_channel(r, "nvml", "gpu-0", "gpu-GPU-1", EG_COMPONENT_GPU, EG_SOURCE_NVML);
	int mac = rig_channel(r, "powermetrics", "cpu", "cpu-0", EG_COMPONENT_PACKAGE,
			      EG_SOURCE_POWERMETRICS);
	int all = rig_channel(r, "cpu_model", "node", "node", EG_COMPONENT_CHASSIS,
			      EG_SOURCE_CPU_MODEL);

	r->ch[mac].provenance = r->va[r->vc[mac].account].a.provenance = EG_PROVENANCE_MODELED;
	r->ch[all].provenance = EG_PROVENANCE_ESTIMATED;
	r->vc[all].account = r->vc[all].est_account; /* an estimate has one account */
	rig_read(r, gpu, 100000000, 5000000);
	rig_read(r, mac, 200000000, 6000000);
	rig_read(r, all, 300000000, 7000000);
	rig_hold(r, gpu, 50000000);
	r->vc[gpu].status = EG_STATUS_OK;
	write_page(&p, r, &opt);
	value_is(&p, ENERGY,
		 "device=\"gpu-GPU-1\",component=\"gpu\",source=\"nvml\","
		 "provenance=\"measured\"",
		 "100");
	value_is(&p, ENERGY,
		 "device=\"gpu-GPU-1\",component=\"gpu\",source=\"nvml\","
		 "provenance=\"estimated\"",
		 "50");
	value_is(&p, ENERGY, "provenance=\"modeled\"", "200");
	value_is(&p, SMI, "scope=\"gpu\"", "100");
	absent(&p, SMI, "scope=\"cpu\"");
	absent(&p, SMI, "scope=\"chassis\"");
	absent(&p, "all_smi_cpu_power_consumption_watts", "");
	value_is(&p, "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", "", "100000");
	opt.estimates = true;
	write_page(&p, r, &opt);
	value_is(&p, SMI, "scope=\"gpu\"",
		 "150"); /* what was held is not in the measured account */
	value_is(&p, SMI, "scope=\"cpu\"", "200");
	value_is(&p, SMI, "scope=\"chassis\"", "300");
	value_is(&p, "all_smi_cpu_power_consumption_watts", "", "6");
	value_is(&p, "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", "", "150000");
	close_page(&p);
	free(r);
}

static void a_sum_is_no_chassis(void **state)
{
	struct rig *r = rig_new();
	struct page p = {0};

	rig_read(r, rig_channel(r, "hwmon", "psu-0", "psu-0", EG_COMPONENT_PSU, EG_SOURCE_HWMON),
		 1000000, 1);
	rig_read(r, rig_channel(r, "rapl", "psys", "node", EG_COMPONENT_PSYS, EG_SOURCE_RAPL),
		 1000000, 1);
	write_page(&p, r, rig_options(EG_METRICS_TEXT, true));
	assert_int_equal(lines_of(&p, SMI), 0);
	close_page(&p);
	free(r);
}

/* ---- devices of the compatibility families ---- */

static void gpus_of_several_drivers(void **state)
{
	struct rig *r = rig_new();
	struct page p = {0};
	int tile;

	rig_read(r, rig_channel(r, "nvml", "gpu-1", "gpu-GPU-1", EG_COMPONENT_GPU, EG_SOURCE_NVML),
		 1000000, 1);
	rig_read(r,
		 rig_channel(r, "amdgpu", "gpu-0", "pci-0000:03:00.0", EG_COMPONENT_GPU,
			     EG_SOURCE_AMD_SMI),
		 2000000, 1);
	rig_read(r,
		 rig_channel(r, "intel_gpu", "gpu-0", "pci-0000:04:00.0", EG_COMPONENT_GPU,
			     EG_SOURCE_INTEL_GPU),
		 3000000, 1);
	tile = rig_channel(r, "intel_gpu", "gpu-0-gt0", "pci-0000:04:00.0-gt0", EG_COMPONENT_GPU,
			   EG_SOURCE_INTEL_GPU);
	r->ch[tile].part_of = 0;
	rig_read(r, tile, 4000000, 1);
	r->ch[2].integrated_gpu = true;
	write_page(&p, r, rig_options(EG_METRICS_TEXT, true));
	assert_int_equal(lines_of(&p, SMI), 3); /* the tile is in its card */
	value_is(&p, SMI, "gpu_index=\"1\",gpu_uuid=\"GPU-1\"", "1");
	value_is(&p, SMI, "gpu_index=\"0\",gpu_uuid=\"0000:03:00.0\"", "2");
	value_is(&p, SMI, "gpu_index=\"2\",gpu_uuid=\"0000:04:00.0\"", "3");
	assert_int_equal(lines_of(&p, "DCGM_FI_DEV_TOTAL"), 1);
	/* Shared memory is the machine's; a card that does not tell has no line. */
	assert_int_equal(lines_of(&p, "all_smi_gpu_memory_total_bytes"), 1);
	value_is(&p, "all_smi_gpu_memory_total_bytes", "0000:04:00.0", "1099511627776");
	close_page(&p);
	free(r);
}

static void one_series_a_package(void **state)
{
	struct rig *r = rig_new();
	struct page p = {0};

	rig_read(r,
		 rig_channel(r, "rapl", "package-0-die-0", "cpu-0-die-0", EG_COMPONENT_PACKAGE,
			     EG_SOURCE_RAPL),
		 1000000000, 100000000);
	rig_read(r,
		 rig_channel(r, "rapl", "package-1", "cpu-1", EG_COMPONENT_PACKAGE, EG_SOURCE_RAPL),
		 500000000, 50000000);
	write_page(&p, r, rig_options(EG_METRICS_TEXT, true));
	value_is(&p, SMI, "package=\"0-die-0\"", "1000"); /* T12: each socket its own */
	value_is(&p, SMI, "package=\"1\"", "500");
	value_is(&p, "all_smi_cpu_power_consumption_watts", "", "150");
	r->vc[1].status = EG_STATUS_ERROR; /* half a CPU is no CPU */
	write_page(&p, r, rig_options(EG_METRICS_TEXT, true));
	absent(&p, "all_smi_cpu_power_consumption_watts", "");
	close_page(&p);
	free(r);
}

/* ---- attributes ---- */

static void attributes(void **state)
{
	struct rig *r = rig_new();
	struct page p = {0};
	char name[32];

	rig_number(r, "d", "temperature_celsius", 51.5);
	rig_number(r, "d", "temperature_celsius", 99); /* a second driver's: the first stays */
	rig_number(r, "d", "clock_sm_hz", 1e9);
	rig_number(r, "d", "persistence_mode", 1); /* no unit */
	rig_number(r, "d", "_bytes", 1);
	rig_number(r, "d", "power_limit_watts", NAN);
	rig_number(r, "d", "mig_12_memory_total_bytes", 7);
	rig_text(r, "e", "name", "first");
	rig_text(r, "e", "name", "second");
	rig_text(r, "e", "device", "x");
	for (unsigned i = 0; i < 20; i++) {
		snprintf(name, sizeof(name), "text_%u", i);
		rig_text(r, "e", name, "t");
	}
	write_page(&p, r, rig_options(EG_METRICS_TEXT, false));
	value_is(&p, "ergon_device_temperature_celsius{", "d", "51.5");
	value_is(&p, "ergon_device_clock_sm_hertz{", "d", "1000000000");
	value_is(&p, "ergon_device_memory_total_bytes{device=\"d\",mig=\"12\"}", "", "7");
	assert_int_equal(lines_of(&p, "ergon_device_power_limit_watts"), 0);
	assert_int_equal(lines_of(&p, "# HELP ergon_device_power_limit_watts"), 0);
	assert_int_equal(lines_of(&p, "ergon_device_"), 4);
	value_is(&p, "ergon_device_info{device=\"e\",name=\"first\",text_0=", "text_14=\"t\"}",
		 "1");
	value_is(&p, "ergon_agent_series_left_out", "", "5");

	r->attribute[0].value = 52; /* a value alone needs no new text */
	calls = 0;
	write_page(&p, r, rig_options(EG_METRICS_TEXT, false));
	assert_int_equal(calls, 0);
	value_is(&p, "ergon_device_temperature_celsius{", "d", "52");
	strcpy(r->attribute[7].text, "renamed");
	write_page(&p, r, rig_options(EG_METRICS_TEXT, false));
	value_is(&p, "ergon_device_info{device=\"e\",name=\"renamed\"", "", "1");
	close_page(&p);
	free(r);
}

static void too_many_attributes(void **state)
{
	struct rig *r = rig_new();
	struct page p = {0};
	char device[32];

	for (unsigned i = 0; i < 4100; i++) {
		snprintf(device, sizeof(device), "d-%u", i);
		rig_number(r, device, "temperature_celsius", i);
	}
	write_page(&p, r, rig_options(EG_METRICS_TEXT, false));
	assert_int_equal(lines_of(&p, "ergon_device_temperature_celsius{"), 4096);
	value_is(&p, "ergon_agent_series_left_out", "", "4");
	close_page(&p);
	free(r);
}

/* ---- what changes between pages ---- */

static void another_source_goes_on(void **state)
{
	struct rig *r = rig_new();
	struct page p = {0};
	int i = rig_channel(r, "rapl", "package-0", "cpu-0", EG_COMPONENT_PACKAGE, EG_SOURCE_RAPL);

	rig_read(r, i, 5000000, 1);
	write_page(&p, r, rig_options(EG_METRICS_TEXT, false));
	value_is(&p, ENERGY, "source=\"rapl\"", "5");
	r->va[r->vc[i].account].a.source = EG_SOURCE_HWMON;
	write_page(&p, r, rig_options(EG_METRICS_TEXT, false));
	value_is(&p, ENERGY, "source=\"hwmon\"", "5");
	absent(&p, ENERGY, "source=\"rapl\"");
	rig_restored(r, "nvml/gpu-0", "gpu-GPU-1", EG_COMPONENT_GPU, EG_PROVENANCE_MEASURED,
		     7000000);
	write_page(&p, r, rig_options(EG_METRICS_TEXT, false)); /* an account came */
	value_is(&p, ENERGY, "GPU-1", "7");
	r->v.n_channels = 0; /* that is no view of this meter */
	assert_int_equal(eg_metrics_write(p.m, rig_options(EG_METRICS_TEXT, false), &r->v,
					  &r->agent, NULL, NULL, r->v.t_ns, &p.text),
			 -EINVAL);
	close_page(&p);
	free(r);
}

static void twins_are_left_out(void **state)
{
	struct rig *r = rig_new();
	struct page p = {0};

	/* Two devices whose names differ in bytes that no label can show. */
	rig_read(r, rig_channel(r, "hwmon", "a", "d\xff", EG_COMPONENT_FAN, EG_SOURCE_HWMON), 1, 1);
	rig_read(r, rig_channel(r, "hwmon", "b", "d\xfe", EG_COMPONENT_FAN, EG_SOURCE_HWMON), 2, 1);
	write_page(&p, r, rig_options(EG_METRICS_TEXT, false));
	value_is(&p, ENERGY, "provenance=\"measured\"", "0.000001");
	value_is(&p, "ergon_agent_series_left_out", "", "2"); /* with the held one */
	assert_int_equal(lines_of(&p, "ergon_power_watts{"), 1);
	close_page(&p);
	free(r);
}

static int compare_lines(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Every series once, whatever the value; families together. */
static void no_series_twice(const struct rig *r, const struct eg_metrics_options *opt)
{
	struct page p = {0};
	size_t n = 0, cap;
	char **line;

	write_page(&p, r, opt);
	cap = lines_of(&p, "");
	line = calloc(cap, sizeof(*line));
	assert_non_null(line);
	for (char *s = p.text.s, *end; *s; s = end + 1) {
		end = s + strcspn(s, "\n");
		*end = '\0';
		if (s[0] == '#') {
			s[strcspn(s + 9, " ") + 9] = '\0'; /* "# HELP name", "# TYPE name" */
		} else {
			assert_non_null(strrchr(s, ' '));
			*strrchr(s, ' ') = '\0';
		}
		line[n++] = s;
	}
	qsort(line, n, sizeof(*line), compare_lines);
	for (size_t i = 1; i < n; i++)
		if (strcmp(line[i], line[i - 1]) == 0)
			fail_msg("twice: %s", line[i]);
	free(line);
	close_page(&p);
}

static void many_channels(void **state)
{
	struct rig *r[] = {rig_many(EG_CHANNELS_MAX), rig_server(), rig_hostile()};
	struct page p = {0};

	for (size_t i = 0; i < EG_ARRAY_SIZE(r); i++) {
		no_series_twice(r[i], rig_options(EG_METRICS_TEXT, true));
		no_series_twice(r[i], rig_options(EG_METRICS_OPENMETRICS, true));
	}
	write_page(&p, r[0], rig_options(EG_METRICS_TEXT, false));
	assert_int_equal(lines_of(&p, ENERGY), EG_CHANNELS_MAX);
	assert_int_equal(lines_of(&p, "ergon_sensor_up{"), EG_CHANNELS_MAX);
	close_page(&p);
	for (size_t i = 0; i < EG_ARRAY_SIZE(r); i++)
		free(r[i]);
}

/* ---- cost and failure ---- */

static void no_allocation_after_the_first(void **state)
{
	struct rig *r = rig_server();
	struct page p = {0};

	write_page(&p, r, rig_options(EG_METRICS_OPENMETRICS, true));
	calls = 0;
	for (unsigned i = 0; i < 10; i++) {
		rig_pass(r, EG_NSEC_PER_SEC);
		rig_read(r, 0, 300000000, 1);
		r->attribute[4].value++;
		r->host.memory_free_bytes--;
		write_page(&p, r,
			   rig_options(i & 1 ? EG_METRICS_TEXT : EG_METRICS_OPENMETRICS, true));
	}
	assert_int_equal(calls, 0);
	close_page(&p);
	free(r);
}

static void page_above_the_ceiling(void **state)
{
	struct rig *r = rig_server();
	struct eg_strbuf out = EG_STRBUF_INIT(3000);
	struct eg_metrics *m;

	assert_int_equal(eg_metrics_new(&r->v, &r->agent, &m), 0);
	assert_int_equal(eg_metrics_write(m, rig_options(EG_METRICS_TEXT, true), &r->v, &r->agent,
					  &r->devices, &r->host, r->v.t_ns, &out),
			 -EOVERFLOW);
	assert_int_equal(out.len, 0); /* an error, not half a page */
	assert_string_equal(eg_strbuf_get(&out), "");
	eg_metrics_free(m);
	eg_strbuf_free(&out);
	free(r);
}

/* Each allocation fails once; the next page is whole. */
static void allocations_fail(void **state)
{
	const struct eg_metrics_options *opt = rig_options(EG_METRICS_TEXT, true);
	struct rig *r = rig_server();
	struct page want = {0};
	long n = 0;
	int made, wrote;

	write_page(&want, r, opt);
	do {
		struct eg_metrics *m = (void *)r; /* untouched where it fails */
		struct eg_strbuf out = EG_STRBUF_INIT(EG_METRICS_MAX);

		calls = 0;
		fail_at = ++n;
		made = eg_metrics_new(&r->v, &r->agent, &m);
		assert_true(made == 0 || made == -ENOMEM);
		wrote = -ENOMEM;
		if (made < 0) {
			assert_ptr_equal(m, r);
		} else {
			wrote = eg_metrics_write(m, opt, &r->v, &r->agent, &r->devices, &r->host,
						 r->v.t_ns, &out);
			assert_true(wrote == 0 || (wrote == -ENOMEM && out.len == 0));
			fail_at = 0;
			eg_strbuf_reset(&out);
			assert_int_equal(eg_metrics_write(m, opt, &r->v, &r->agent, &r->devices,
							  &r->host, r->v.t_ns, &out),
					 0);
			assert_string_equal(eg_strbuf_get(&out), eg_strbuf_get(&want.text));
			eg_metrics_free(m);
		}
		fail_at = 0;
		eg_strbuf_free(&out);
	} while (made < 0 || wrote < 0);
	assert_true(n > 20); /* it did fail in many places before it went well */
	close_page(&want);
	free(r);
}

static void format_by_accept(void **state)
{
	static const struct {
		const char *accept;
		bool openmetrics;
	} cases[] = {
		{NULL, false},
		{"", false},
		{"*/*", false},
		{"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", false},
		/* Prometheus 2.42 */
		{"application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;"
		 "q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
		 true},
		/* Prometheus 2.5 to 2.33: a version that we do not write */
		{"application/openmetrics-text; version=0.0.1,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
		 false},
		{"application/openmetrics-text", true},
		{"Application/OpenMetrics-Text ; Version=\"1.0.0\" ; charset=utf-8", true},
		{"application/openmetrics-text;version=1.0.0;q=0", false},
		{"application/openmetrics-text;version=1.0.0;q=0.4,text/plain;q=0.5", false},
		{"text/plain;q=0.5, application/openmetrics-text;version=1.0.0;q=0.5", true},
		{"application/openmetrics-text;version=1.0.0;q=0.2,*/*;q=0.1", true},
		{"application/openmetrics-text;version=1.0.0;q=0.2,*/*;q=0.3", false},
		{"application/openmetrics-text;version=1.0.0;q=0.2,text/*;q=0.1,*/*;q=0.9", true},
		{"application/openmetrics-text;q=nonsense", false},
		{"application/openmetrics-text;q=1.001,text/plain;q=0.1", false},
		{"application/openmetrics-text;q=1.000;;; ;=", true},
		{"application/*", false},
		{",,;q=1,=;", false},
		{"application/openmetrics-textual", false},
	};

	for (size_t i = 0; i < EG_ARRAY_SIZE(cases); i++) {
		bool got = eg_metrics_negotiate(cases[i].accept) == EG_METRICS_OPENMETRICS;

		if (got != cases[i].openmetrics)
			fail_msg("%s", cases[i].accept);
	}
	assert_string_equal(eg_metrics_content_type(EG_METRICS_TEXT),
			    "text/plain; version=0.0.4; charset=utf-8");
	assert_string_equal(eg_metrics_content_type(EG_METRICS_OPENMETRICS),
			    "application/openmetrics-text; version=1.0.0; charset=utf-8");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(scaled_numbers),
		cmocka_unit_test(both_formats),
		cmocka_unit_test(doubles),
		cmocka_unit_test(absent_is_absent),
		cmocka_unit_test(empty_machine),
		cmocka_unit_test(never_falls),
		cmocka_unit_test(age_at_the_scrape),
		cmocka_unit_test(estimates_by_option_only),
		cmocka_unit_test(a_sum_is_no_chassis),
		cmocka_unit_test(gpus_of_several_drivers),
		cmocka_unit_test(one_series_a_package),
		cmocka_unit_test(attributes),
		cmocka_unit_test(too_many_attributes),
		cmocka_unit_test(another_source_goes_on),
		cmocka_unit_test(twins_are_left_out),
		cmocka_unit_test(many_channels),
		cmocka_unit_test(no_allocation_after_the_first),
		cmocka_unit_test(page_above_the_ceiling),
		cmocka_unit_test(allocations_fail),
		cmocka_unit_test(format_by_accept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
