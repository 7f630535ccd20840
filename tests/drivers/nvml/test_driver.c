/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the driver finds and says: channels, attributes, MIG, old libraries, libraries that are
 * absent, broken or mute, and GPUs and sessions that are lost and come back.
 */
#include "rig.h"

#include <errno.h>
#include <math.h>

#define GPU_A                                                                                 \
	"gpu\nname NVIDIA H100 80GB HBM3\npci 0000:17:00\nserial 1654922006536\ncounter 10\n" \
	"power 300W\n"
#define GPU_B "gpu\ncounter 10\npower 100W\n"

/* ---- attributes ---- */

struct attributes {
	struct eg_attribute_sink sink;
	size_t n;
	struct eg_attribute item[256];
};

static void keep(struct eg_attribute_sink *sink, const struct eg_attribute *a)
{
	struct attributes *all = (struct attributes *)sink;

	assert_true(all->n < EG_ARRAY_SIZE(all->item));
	all->item[all->n++] = *a;
}

static const struct eg_attribute *get(const struct attributes *all, const char *device,
				      const char *name)
{
	for (size_t i = 0; i < all->n; i++)
		if (!strcmp(all->item[i].device, device) && !strcmp(all->item[i].name, name))
			return &all->item[i];
	return NULL;
}

static void assert_number(const struct attributes *all, const char *device, const char *name,
			  double v)
{
	const struct eg_attribute *a = get(all, device, name);

	if (!a)
		fail_msg("no attribute %s", name);
	assert_false(a->is_text);
	if (fabs(a->value - v) > 1e-9 * fabs(v))
		fail_msg("%s is %g, not %g", name, a->value, v);
}

static void assert_text(const struct attributes *all, const char *device, const char *name,
			const char *v)
{
	const struct eg_attribute *a = get(all, device, name);

	if (!a)
		fail_msg("no attribute %s", name);
	assert_true(a->is_text);
	assert_string_equal(a->text, v);
}

static void read_attributes(struct opened *o, struct attributes *all)
{
	all->sink.put = keep;
	all->n = 0;
	eg_driver_nvml.attributes(o->inst, &all->sink);
}

static void test_describe(void **state)
{
	static struct attributes all;
	static const char dev[] = "gpu-GPU-00000000-0000-0000-0000-000000000000";
	struct rig r;
	struct opened o;

	(void)state;
	rig_start(&r, "FAKE_NVML", GPU_A "gpu\ncounter none\nuuid GPU-b\nlimit 250000\n");
	assert_int_equal(eg_driver_nvml.probe(&r.env), 0);
	assert_int_equal(rig_open(&r, &o), 0);
	assert_int_equal(o.n, 2);
	assert_string_equal(o.ch[0].domain, "gpu-0");
	assert_string_equal(o.ch[0].device, dev);
	assert_string_equal(o.ch[0].label, "NVIDIA H100 80GB HBM3");
	assert_int_equal(o.ch[0].component, EG_COMPONENT_GPU);
	assert_int_equal(o.ch[0].quantity, EG_QUANTITY_ENERGY);
	assert_int_equal(o.ch[0].provenance, EG_PROVENANCE_MEASURED);
	assert_int_equal(o.ch[0].unit_num, 1000);
	assert_int_equal(o.ch[0].unit_den, 1);
	assert_int_equal(o.ch[0].modulus, 0);
	assert_true(o.ch[0].zero_based);
	assert_int_equal(o.ch[0].max_uw, 1050000000);
	assert_int_equal(o.ch[0].update_ns, 100000000);
	assert_int_equal(o.ch[0].accuracy.rel_ppm, 50000);
	assert_int_equal(o.ch[0].accuracy.abs_uw, 5000000);
	assert_string_equal(o.ch[1].device, "gpu-GPU-b");
	assert_int_equal(o.ch[1].quantity, EG_QUANTITY_POWER);
	assert_int_equal(o.ch[1].max_uw, 375000000);
	assert_int_equal(o.ch[1].accuracy.rel_ppm, 150000);
	assert_int_equal(o.ch[1].guard_ns, 1500000000);
	read_attributes(&o, &all);
	assert_text(&all, dev, "name", "NVIDIA H100 80GB HBM3");
	assert_text(&all, dev, "uuid", dev + 4);
	assert_text(&all, dev, "pci_id", "0000:17:00.0");
	assert_text(&all, dev, "serial", "1654922006536");
	assert_text(&all, dev, "driver_version", "580.65.06");
	assert_null(get(&all, "gpu-GPU-b", "serial"));
	assert_number(&all, dev, "memory_total_bytes", 80.0 * (1ULL << 30));
	assert_number(&all, dev, "memory_used_bytes", 20.0 * (1ULL << 30));
	assert_number(&all, dev, "utilization_ratio", 0.75);
	assert_number(&all, dev, "memory_utilization_ratio", 0.5);
	assert_number(&all, dev, "temperature_celsius", 40);
	assert_number(&all, dev, "clock_graphics_hz", 1980e6);
	assert_number(&all, dev, "clock_sm_hz", 1970e6);
	assert_number(&all, dev, "clock_memory_hz", 2619e6);
	assert_number(&all, dev, "clock_video_hz", 1500e6);
	assert_number(&all, dev, "power_limit_watts", 700);
	assert_number(&all, dev, "power_limit_min_watts", 350);
	assert_number(&all, dev, "power_limit_max_watts", 700);
	assert_number(&all, dev, "persistence_mode", 1);
	assert_null(get(&all, dev, "mig_mode")); /* not supported: no attribute, not 0 */
	rig_close(&o);
	rig_end(&r);
}

/* MIG off, on, changed, off again: attributes of the parent; its energy goes on. */
static void test_mig(void **state)
{
	static struct attributes all;
	static const char dev[] = "gpu-GPU-m";
	static struct readings rd;
	struct rig r;
	struct opened o;

	(void)state;
	rig_start(&r, "FAKE_NVML", "gpu\nuuid GPU-m\ncounter 10\npower 200W\nmig 3 1 2\n");
	assert_int_equal(rig_open(&r, &o), 0);
	assert_int_equal(o.n, 1);
	read_attributes(&o, &all);
	assert_number(&all, dev, "mig_mode", 0);
	assert_null(get(&all, dev, "mig_0_uuid"));
	rig_at(&r, 1.5);
	read_attributes(&o, &all);
	assert_number(&all, dev, "mig_mode", 1);
	assert_text(&all, dev, "mig_0_uuid", "MIG-m-0");
	assert_text(&all, dev, "mig_4_uuid", "MIG-m-2");
	assert_null(get(&all, dev, "mig_1_uuid")); /* an empty slot */
	assert_null(get(&all, dev, "mig_6_uuid"));
	assert_number(&all, dev, "mig_2_gpu_instance_id", 8);
	assert_number(&all, dev, "mig_2_compute_instance_id", 0);
	assert_number(&all, dev, "mig_2_sm_count", 16);
	assert_number(&all, dev, "mig_2_gpu_slices", 1);
	assert_number(&all, dev, "mig_2_compute_slices", 1);
	assert_number(&all, dev, "mig_2_memory_total_bytes", 10.0 * (1ULL << 30));
	assert_number(&all, dev, "mig_2_memory_used_bytes", 1.0 * (1ULL << 30));
	assert_null(get(&all, dev, "utilization_ratio")); /* unsupported under MIG */
	rig_read(&o, &rd);
	assert_int_equal(rd.n, 1);
	assert_int_equal(rd.item[0].r.raw, 1000000 + 300000);
	rig_at(&r, 2.5);
	read_attributes(&o, &all);
	assert_number(&all, dev, "mig_mode", 0);
	assert_null(get(&all, dev, "mig_0_uuid"));
	assert_number(&all, dev, "utilization_ratio", 0.75);
	rig_close(&o);
	rig_end(&r);
}

/* A library with the first version of every function, and their shorter structs. */
static void test_old_library(void **state)
{
	static struct attributes all;
	static struct readings rd;
	static const char dev[] = "gpu-GPU-00000000-0000-0000-0000-000000000000";
	struct rig r;
	struct opened o;

	(void)state;
	rig_start(&r, "FAKE_NVML_OLD",
		  "gpu\npci 0000:2a:00\nlimit 235000\ncounter 15\npower 150W\ncelsius 60 0\n");
	assert_int_equal(rig_open(&r, &o), 0);
	assert_int_equal(o.n, 1);
	assert_int_equal(o.ch[0].quantity, EG_QUANTITY_POWER);
	assert_int_equal(o.ch[0].max_uw, 352500000);
	assert_string_equal(o.ch[0].origin, "libnvidia-ml.so.1: nvmlDeviceGetPowerUsage");
	assert_non_null(find_diag(&o.diags, EG_DIAG_CONFIG, "gpu-0")); /* says it is sampled */
	rig_read(&o, &rd);
	assert_int_equal(rd.n, 1);
	assert_int_equal(rd.item[0].r.raw, 150000);
	read_attributes(&o, &all);
	assert_text(&all, dev, "pci_id", "0000:2a:00.0");
	assert_number(&all, dev, "memory_total_bytes", 80.0 * (1ULL << 30));
	assert_number(&all, dev, "memory_used_bytes", 20.0 * (1ULL << 30));
	assert_number(&all, dev, "temperature_celsius", 60);
	assert_number(&all, dev, "power_limit_watts", 235);
	assert_null(get(&all, dev, "utilization_ratio"));
	assert_null(get(&all, dev, "driver_version"));
	rig_close(&o);
	rig_end(&r);
}

/* ---- libraries that cannot be used ---- */

static void assert_refused(const char *script, int err, enum eg_diag_code code)
{
	struct rig r;
	struct opened o;
	const struct eg_diag *d;
	unsigned (*sessions)(void) = NULL;

	rig_start(&r, "FAKE_NVML", script);
	assert_int_equal(rig_open(&r, &o), err);
	assert_null(o.inst);
	d = find_diag(&o.diags, code, NULL);
	if (!d)
		fail_msg("no diagnostic %s after: %s", eg_diag_word(code), script);
	assert_true(d->detail[0]);
	assert_true(d->cure[0]);
	assert_false(symbol_of(&r, "fake_nvml_sessions", &sessions, sizeof(sessions)));
	rig_close(&o);
	rig_end(&r);
}

static void test_refused(void **state)
{
	(void)state;
	assert_refused(GPU_A "fail nvmlInit_v2 9\n", -ENODEV, EG_DIAG_SENSOR_ABSENT);
	assert_refused(GPU_A "fail nvmlInit_v2 18\n", -EPROTO, EG_DIAG_SENSOR_ERROR);
	assert_refused(GPU_A "fail nvmlInit_v2 4\n", -EACCES, EG_DIAG_SENSOR_BLOCKED);
	assert_refused(GPU_A "fail nvmlInit_v2 17\n", -EACCES, EG_DIAG_SENSOR_BLOCKED);
	assert_refused(GPU_A "fail nvmlInit_v2 999\n", -EIO, EG_DIAG_SENSOR_ERROR);
	assert_refused(GPU_A "fail nvmlInit_v2 12345\n", -EIO, EG_DIAG_SENSOR_ERROR);
	assert_refused("", -ENODEV, EG_DIAG_SENSOR_ABSENT); /* no GPU */
	assert_refused(GPU_A "fail nvmlDeviceGetCount_v2 999\n", -EIO, EG_DIAG_SENSOR_ERROR);
	assert_refused(GPU_A "fail nvmlDeviceGetHandleByIndex_v2 4\n", -ENODEV,
		       EG_DIAG_SENSOR_BLOCKED);
	/* NVML initialises and answers nothing (Jetson). */
	assert_refused("gpu\ncounter none\ninstant no\nusage no\nring none\n", -ENODEV,
		       EG_DIAG_SENSOR_UNSUPPORTED);
}

static void test_library_files(void **state)
{
	struct rig r;
	struct opened o;
	FILE *f;

	(void)state;
	rig_start(&r, NULL, "");
	assert_int_equal(eg_driver_nvml.probe(&r.env), -ENOENT);
	assert_int_equal(rig_open(&r, &o), -ENOENT);
	assert_non_null(find_diag(&o.diags, EG_DIAG_SENSOR_ABSENT, "libnvidia-ml.so.1"));
	rig_close(&o);
	f = fopen(r.lib, "we");
	assert_non_null(f);
	fputs("this is no library\n", f);
	fclose(f);
	assert_int_equal(eg_driver_nvml.probe(&r.env), -ENOEXEC);
	assert_int_equal(rig_open(&r, &o), -ENOEXEC);
	assert_non_null(find_diag(&o.diags, EG_DIAG_SENSOR_ERROR, "libnvidia-ml.so.1"));
	rig_close(&o);
	rig_end(&r);
}

static void test_bad_setting(void **state)
{
	static const struct {
		const char *text;
		int rc;
	} cases[] = {{"20", 0}, {"0", -EINVAL}, {"x", -EINVAL}, {"10001", -EINVAL}};
	struct rig r;

	(void)state;
	rig_start(&r, "FAKE_NVML", GPU_A);
	for (size_t i = 0; i < EG_ARRAY_SIZE(cases); i++) {
		struct eg_setting s = {"nvml", "update_ms", cases[i].text};
		struct eg_driver_config cfg = {.settings = &s, .n_settings = 1};
		struct eg_instance *inst = NULL;
		const struct eg_channel *ch;
		struct eg_diags d;

		assert_int_equal(eg_diags_init(&d, 16), 0);
		cfg.diags = &d;
		assert_int_equal(eg_driver_nvml.open(&r.env, &cfg, &inst), cases[i].rc);
		if (inst) {
			assert_int_equal(eg_driver_nvml.describe(inst, &ch), 1);
			assert_int_equal(ch[0].update_ns, 20000000);
		} else {
			assert_non_null(find_diag(&d, EG_DIAG_CONFIG, "update_ms"));
		}
		eg_driver_nvml.close(inst);
		eg_diags_free(&d);
	}
	rig_end(&r);
}

/* ---- flags ---- */

static uint32_t flags_at(struct rig *r, struct opened *o, double s, size_t channel)
{
	static struct readings rd;

	rig_at(r, s);
	rig_read(o, &rd);
	return eg_driver_nvml.flags(o->inst, channel);
}

static void test_flags(void **state)
{
	struct rig r;
	struct opened o;
	double c = 0;

	(void)state;
	rig_start(&r, "FAKE_NVML",
		  GPU_A
		  "reasons 40 1 2\ncelsius 40 5\n"
		  "gpu\nname NVIDIA GH200 480GB\npersistence 0\npower 500W\nreasons 103 0 9\n");
	assert_int_equal(rig_open(&r, &o), 0);
	assert_int_equal(flags_at(&r, &o, 0.5, 0), 0);
	assert_int_equal(flags_at(&r, &o, 1.5, 0), EG_FLAG_BIT(EG_FLAG_THROTTLED));
	assert_int_equal(flags_at(&r, &o, 2.5, 0), 0);
	/* Idle, application clocks and display clocks are no throttling. */
	assert_int_equal(flags_at(&r, &o, 2.5, 1),
			 EG_FLAG_BIT(EG_FLAG_PERSISTENCE) | EG_FLAG_BIT(EG_FLAG_MODULE_SCOPE));
	assert_int_equal(o.ch[1].max_uw, 1500000000);
	assert_non_null(find_diag(&o.diags, EG_DIAG_CONFIG, "gpu-1"));
	assert_int_equal(eg_driver_nvml.temperature(o.inst, 0, &c), 0);
	assert_float_equal(c, 52, 0.01);
	assert_int_equal(eg_driver_nvml.temperature(o.inst, 9, &c), -ENODATA);
	rig_close(&o);
	rig_end(&r);
}

/* ---- losses ---- */

static const struct eg_result_channel *channel_of(const struct eg_result *res, const char *name)
{
	for (size_t i = 0; i < res->n; i++)
		if (!strcmp(res->channel[i].name, name))
			return &res->channel[i];
	fail_msg("no channel %s", name);
	return NULL;
}

/* One GPU is lost for a while; the other goes on exactly. */
static void lost(int code, bool flagged)
{
	struct rig r;
	struct eg_result *res;
	struct eg_meter *m;
	struct eg_diags d;
	const struct eg_result_channel *a, *b;
	char script[512];

	snprintf(script, sizeof(script), GPU_A GPU_B "lost 3 6 %d\n", code);
	rig_start(&r, "FAKE_NVML", script);
	m = rig_meter(&r, 500);
	res = rig_window(&r, m, 1, 12, 0.5);
	a = channel_of(res, "nvml/gpu-0");
	b = channel_of(res, "nvml/gpu-1");
	print_message("# GPU lost with %d: %.3f J and %.3f J\n", code, (double)a->uj / 1e6,
		      (double)b->uj / 1e6);
	assert_int_equal(a->uj, 3300000000);
	assert_int_equal(a->gap_ns, 0);
	/* The counter went on meanwhile, so nothing is lost, and nothing counted twice. */
	assert_int_equal(b->uj, 1100000000);
	assert_int_equal(b->gap_ns, 0);
	assert_int_equal(!!(b->flags & EG_FLAG_BIT(EG_FLAG_LOST)), flagged);
	eg_result_free(res);
	assert_int_equal(eg_meter_diags(m, &d), 0);
	assert_non_null(find_diag(&d, EG_DIAG_SENSOR_ERROR, "gpu-1"));
	assert_null(find_diag(&d, EG_DIAG_SENSOR_ERROR, "gpu-0"));
	eg_diags_free(&d);
	eg_meter_close(m);
	rig_end(&r);
}

static void test_lost(void **state)
{
	(void)state;
	lost(15, true);
	lost(16, true);
	lost(999, false);
	lost(2, false);
}

static void test_status_of_loss(void **state)
{
	static struct readings rd;
	struct rig r;
	struct opened o;

	(void)state;
	rig_start(&r, "FAKE_NVML", GPU_A "lost 1 2 15\n" GPU_B "lost 1 2 4\n");
	assert_int_equal(rig_open(&r, &o), 0);
	rig_at(&r, 1.5);
	rig_read(&o, &rd);
	assert_int_equal(rd.n, 2);
	assert_int_equal(rd.item[0].r.status, EG_STATUS_ERROR);
	assert_int_equal(rd.item[1].r.status, EG_STATUS_DENIED);
	assert_non_null(find_diag(&o.diags, EG_DIAG_SENSOR_BLOCKED, "gpu-1"));
	assert_int_equal(eg_driver_nvml.flags(o.inst, 0), EG_FLAG_BIT(EG_FLAG_LOST));
	rig_at(&r, 60);
	rig_read(&o, &rd);
	rig_at(&r, 120);
	rig_read(&o, &rd);
	assert_int_equal(rd.item[0].r.status, EG_STATUS_OK);
	assert_int_equal(rd.item[1].r.status, EG_STATUS_OK);
	assert_int_equal(eg_driver_nvml.flags(o.inst, 0), 0);
	rig_close(&o);
	rig_end(&r);
}

/* Another user of the library in this process ends our session: nothing is lost. */
static void test_shut_down_under_us(void **state)
{
	struct rig r;
	struct eg_result *res = NULL;
	struct eg_meter *m;
	int (*shutdown)(void) = NULL;
	unsigned (*sessions)(void) = NULL;

	(void)state;
	rig_start(&r, "FAKE_NVML", GPU_A GPU_B);
	m = rig_meter(&r, 500);
	rig_at(&r, 1);
	assert_int_equal(eg_meter_begin(m, "w"), 0);
	rig_run(&r, m, 1, 5, 0.5);
	assert_true(symbol_of(&r, "nvmlShutdown", &shutdown, sizeof(shutdown)));
	assert_true(symbol_of(&r, "fake_nvml_sessions", &sessions, sizeof(sessions)));
	assert_int_equal(shutdown(), 0);
	assert_int_equal(sessions(), 0);
	rig_run(&r, m, 5, 9, 0.5);
	assert_int_equal(eg_meter_end(m, "w", &res), 0);
	assert_int_equal(sessions(), 1);
	assert_int_equal(res->total_uj, 3200000000);
	eg_result_free(res);
	eg_meter_close(m);
	rig_end(&r);
}

static void reload(int code, double down)
{
	struct rig r;
	struct eg_result *res;
	struct eg_meter *m;
	char script[512];

	snprintf(script, sizeof(script), GPU_A "base 90000000\nreload 4 %g %d\n", down, code);
	rig_start(&r, "FAKE_NVML", script);
	m = rig_meter(&r, 500);
	res = rig_window(&r, m, 1, 20, 0.5);
	print_message("# driver reload answered %d, down %g s: %.3f J of %.3f J\n", code, down,
		      (double)res->total_uj / 1e6, 19 * 300.0);
	assert_true(res->total_uj <= 19 * 300000000ULL);
	assert_true(res->total_uj >= (uint64_t)((19 - down - 6) * 300e6));
	assert_true(res->flags & EG_FLAG_BIT(EG_FLAG_RESET));
	eg_result_free(res);
	eg_meter_close(m);
	rig_end(&r);
}

static void test_driver_reload(void **state)
{
	(void)state;
	reload(9, 1);
	reload(15, 2);
	reload(18, 2);
	reload(999, 3);
}

static void test_counter_backward(void **state)
{
	struct rig r;
	struct eg_result *res;
	struct eg_meter *m;

	(void)state;
	rig_start(&r, "FAKE_NVML", GPU_A "base 50000000\nback 4.2 500000\n");
	m = rig_meter(&r, 500);
	res = rig_window(&r, m, 1, 9, 0.5);
	/* The interval around the step back is unknown: 0.5 s of 300 W, never the counter's value. */
	assert_int_equal(res->total_uj, 7500000ULL * 300);
	assert_true(res->flags & EG_FLAG_BIT(EG_FLAG_RESET));
	assert_int_equal(res->channel[0].gap_ns, 500000000);
	eg_result_free(res);
	eg_meter_close(m);
	rig_end(&r);
}

/* Ring and power fail for a while on a gauge: held, bounded, labelled. */
static void test_gauge_gap(void **state)
{
	struct rig r;
	struct eg_result *res;
	struct eg_meter *m;

	(void)state;
	rig_start(&r, "FAKE_NVML", "gpu\ncounter none\npower 200W\nlost 3 6 15\n");
	m = rig_meter(&r, 500);
	res = rig_window(&r, m, 1, 20, 0.5);
	assert_true(fabs((double)res->total_uj / 1e6 - 3800) < 0.001);
	assert_true(res->flags & EG_FLAG_BIT(EG_FLAG_LOST));
	eg_result_free(res);
	eg_meter_close(m);
	rig_end(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_describe),       cmocka_unit_test(test_mig),
		cmocka_unit_test(test_old_library),    cmocka_unit_test(test_refused),
		cmocka_unit_test(test_library_files),  cmocka_unit_test(test_bad_setting),
		cmocka_unit_test(test_flags),	       cmocka_unit_test(test_lost),
		cmocka_unit_test(test_status_of_loss), cmocka_unit_test(test_shut_down_under_us),
		cmocka_unit_test(test_driver_reload),  cmocka_unit_test(test_counter_backward),
		cmocka_unit_test(test_gauge_gap),
	};

	return cmocka_run_group_tests_name("nvml-driver", tests, NULL, NULL);
}
