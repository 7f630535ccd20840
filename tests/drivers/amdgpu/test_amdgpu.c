/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The amdgpu driver over generated trees, fake vendor libraries of each ABI, and captured machines:
 * one channel a card, by the best interface it has, and nothing invented when one fails.
 */
#include <dlfcn.h>

#include "../hwmon/tree.h"
#include "metrics_table.h"

extern const struct eg_driver eg_driver_amdgpu;

#define A    "0000:03:00.0"
#define B    "0000:83:00.0"
/* The same addresses as the libraries encode them: function 0-2, device 3-7, bus 8-15, domain. */
#define ID_A "0x300"
#define ID_B "0x8300"

static struct rig *fresh(void)
{
	return rig_new(&eg_driver_amdgpu);
}

static void drm(struct rig *r, unsigned number, const char *bdf)
{
	char path[128], target[128];

	snprintf(path, sizeof(path), "sys/devices/pci0000:00/%s/vendor", bdf);
	rig_write(r, path, "0x1002");
	snprintf(path, sizeof(path), "sys/class/drm/card%u/device", number);
	snprintf(target, sizeof(target), "../../../devices/pci0000:00/%s", bdf);
	rig_link(r, path, target);
}

static void metrics(struct rig *r, const char *bdf, unsigned format, unsigned content,
		    uint64_t power, uint64_t energy)
{
	uint8_t b[4096];
	char path[128];
	size_t n = table_make(table_of(format, content), b, power, energy, 1);

	snprintf(path, sizeof(path), "sys/devices/pci0000:00/%s/gpu_metrics", bdf);
	rig_write_bytes(r, path, b, n);
}

static void hwmon(struct rig *r, unsigned number, const char *bdf, const char *file,
		  const char *value)
{
	char path[128], target[128];

	snprintf(path, sizeof(path), "sys/class/hwmon/hwmon%u/name", number);
	rig_write(r, path, "amdgpu");
	snprintf(path, sizeof(path), "sys/class/hwmon/hwmon%u/%s", number, file);
	rig_write(r, path, value);
	snprintf(path, sizeof(path), "sys/class/hwmon/hwmon%u/device", number);
	if (bdf && !eg_fs_exists(&r->env.fs, path)) {
		snprintf(target, sizeof(target), "../../../devices/pci0000:00/%s", bdf);
		rig_link(r, path, target);
	}
}

/* Puts a built fake where the root's loader finds it, and its answers beside it. */
static void library(struct rig *r, const char *soname, const char *variable)
{
	const char *built = getenv(variable);
	char path[256], block[65536];
	FILE *from, *to;
	size_t n;

	assert_non_null(built);
	snprintf(path, sizeof(path), "usr/lib/%s", soname);
	rig_write(r, path, ""); /* makes the folders */
	snprintf(path, sizeof(path), "%s/usr/lib/%s", r->root, soname);
	/* A copy: nothing outside the root is loaded, also not through a link. */
	from = fopen(built, "rb");
	to = fopen(path, "wb");
	assert_non_null(from);
	assert_non_null(to);
	while ((n = fread(block, 1, sizeof(block), from)) > 0)
		assert_int_equal(fwrite(block, 1, n, to), n);
	fclose(from);
	assert_int_equal(fclose(to), 0);
}

static void script(struct rig *r, const char *text)
{
	static char path[128];

	rig_write(r, "script", text);
	snprintf(path, sizeof(path), "%s/script", r->root);
	assert_int_equal(setenv("ERGON_FAKE_AMD", path, 1), 0);
}

static void test_absent(void **state)
{
	struct rig *r = fresh();

	assert_int_equal(eg_driver_amdgpu.probe(&r->env), -ENODEV);
	assert_int_equal(rig_open(r), -ENODEV);
	assert_non_null(rig_diag(r, EG_DIAG_SENSOR_ABSENT, NULL));
	rig_write(r, "sys/class/drm/card0/device/vendor", "0x8086");
	rig_write(r, "sys/class/drm/card1-DP-1/device/vendor", "0x1002"); /* a connector */
	rig_write(r, "sys/class/drm/renderD128/device/vendor", "0x1002");
	rig_write(r, "sys/class/hwmon/hwmon0/name", "xe");
	/* A library without a card is not even loaded. */
	rig_write(r, "usr/lib/libamd_smi.so.26", "no library");
	assert_int_equal(rig_open(r), -ENODEV);
	assert_null(rig_diag(r, EG_DIAG_SENSOR_ERROR, NULL));
	rig_free(r);
}

static void test_metrics_energy(void **state)
{
	struct rig *r = fresh();

	drm(r, 0, A);
	metrics(r, A, 1, 4, 300, 65536 * 5);
	hwmon(r, 3, A, "power1_average", "300000000");
	hwmon(r, 3, A, "power1_cap_max", "750000000");
	drm(r, 1, B);
	metrics(r, B, 1, 6, 300, 7);
	assert_int_equal(rig_open(r), 0);
	rig_assert_list(r, "gpu-0 pci-" A " gpu component energy 327680\n"
			   "gpu-1 pci-" B " gpu component energy 7\n");
	/* 5 J of 2^-16 J: exactly 5,000,000 uJ. */
	assert_int_equal(r->reading[0].raw * r->ch[0].unit_num / r->ch[0].unit_den, 5000000);
	assert_int_equal(r->ch[0].max_uw, 1125000000);
	assert_int_equal(r->ch[1].max_uw, 1500000000);
	assert_false(r->ch[0].integrated_gpu);
	/* Absent for a while, another version, cut short, back. */
	metrics(r, A, 1, 4, 300, UINT64_MAX);
	rig_read(r);
	assert_int_equal(r->reading[0].status, EG_STATUS_NO_DATA);
	metrics(r, A, 1, 3, 300, 0);
	rig_read(r);
	assert_int_equal(r->reading[0].status, EG_STATUS_NO_DATA);
	rig_write_bytes(r, "sys/devices/pci0000:00/" A "/gpu_metrics", "\x20\x01\x01\x04", 4);
	rig_read(r);
	assert_int_equal(r->reading[0].status, EG_STATUS_ERROR);
	rig_write_bytes(r, "sys/devices/pci0000:00/" A "/gpu_metrics", "", 0);
	rig_read(r);
	assert_int_equal(r->reading[0].status, EG_STATUS_ERROR);
	metrics(r, A, 1, 4, 300, 65536 * 6);
	rig_read(r);
	assert_int_equal(r->reading[0].raw, 65536 * 6);
	assert_int_equal(r->reading[0].epoch, 0);
	/* A step back is passed on: telling a reset is core's. */
	metrics(r, A, 1, 4, 300, 10);
	rig_read(r);
	assert_int_equal(r->reading[0].status, EG_STATUS_OK);
	assert_int_equal(r->reading[0].raw, 10);
	rig_free(r);
}

/* Where no unit of energy is known: power, microwatts of hwmon before watts of the table. */
static void test_power_order(void **state)
{
	struct rig *r = fresh();

	drm(r, 0, A);
	metrics(r, A, 1, 3, 118, 999);
	hwmon(r, 3, A, "power1_input", "120000000");
	hwmon(r, 3, A, "power1_average", "118500000");
	drm(r, 1, B);
	metrics(r, B, 1, 3, 119, 999);
	assert_int_equal(rig_open(r), 0);
	rig_assert_list(r, "gpu-0 pci-" A " gpu component power 118500000\n"
			   "gpu-1 pci-" B " gpu component power 119000000\n");
	rig_free(r);
}

static void test_hwmon_only(void **state)
{
	struct rig *r = fresh();

	hwmon(r, 0, A, "power1_input", "15000000");
	hwmon(r, 1, NULL, "power1_average", "16000000");
	rig_write(r, "sys/class/drm/card5/device/vendor", "0x1002"); /* no address by a link */
	rig_write(r, "sys/class/drm/card5/device/uevent",
		  "DRIVER=amdgpu\nPCI_ID=1002:687F\nPCI_SLOT_NAME=" B "\nMODALIAS=x");
	hwmon(r, 2, B, "power1_average", "17000000");
	assert_int_equal(rig_open(r), 0);
	rig_assert_list(r, "gpu-0 pci-" B " gpu component power 17000000\n"
			   "gpu-1 pci-" A " gpu component power 15000000\n"
			   "gpu-2 gpu-hwmon1 gpu component power 16000000\n");
	rig_free(r);
}

static void test_apu(void **state)
{
	static const struct {
		unsigned format, content;
		uint64_t power, uw;
	} cases[] = {{2, 4, 15000, 15000000}, {3, 0, 70000, 70000000}};

	for (size_t i = 0; i < EG_ARRAY_SIZE(cases); i++) {
		struct rig *r = fresh();

		drm(r, 0, A);
		metrics(r, A, cases[i].format, cases[i].content, cases[i].power, 0);
		assert_int_equal(rig_open(r), 0);
		assert_true(r->ch[0].integrated_gpu);
		rig_read(r);
		assert_int_equal(r->reading[0].raw, cases[i].uw);
		rig_free(r);
	}
	for (unsigned content = 1; content <= 3; content++) {
		struct rig *r = fresh();

		/* The unit of its power is not known: hwmon, or nothing. */
		drm(r, 0, A);
		metrics(r, A, 2, content, 15, 0);
		assert_int_equal(rig_open(r), -ENODEV);
		assert_non_null(rig_diag(r, EG_DIAG_SENSOR_UNSUPPORTED, A));
		hwmon(r, 1, A, "power1_input", "15100000");
		assert_int_equal(rig_open(r), 0);
		rig_assert_list(r, "gpu-0 pci-" A " gpu component power 15100000\n");
		assert_true(r->ch[0].integrated_gpu);
		rig_free(r);
	}
}

static void test_amd_smi(void **state)
{
	static const char *const abi[] = {"24", "25", "26"};

	for (size_t i = 0; i < EG_ARRAY_SIZE(abi); i++) {
		struct rig *r = fresh();
		char soname[32], variable[32], golden[256];

		drm(r, 0, A);
		drm(r, 1, B);
		metrics(r, A, 1, 4, 300, 1); /* the library comes first */
		snprintf(soname, sizeof(soname), "libamd_smi.so.%s", abi[i]);
		snprintf(variable, sizeof(variable), "FAKE_AMD_SMI_%s", abi[i]);
		library(r, soname, variable);
		/* The cards in another order than sysfs has them. */
		script(r, "cards 2\nbdf0 " ID_B "\nbdf1 " ID_A "\nenergy0 111\nenergy1 65536");
		assert_int_equal(rig_open(r), 0);
		rig_assert_list(r, "gpu-0 pci-" A " gpu component energy 65536\n"
				   "gpu-1 pci-" B " gpu component energy 111\n");
		assert_int_equal(r->ch[0].unit_num, 15625);
		assert_int_equal(r->ch[0].unit_den, 1024);
		snprintf(golden, sizeof(golden), "%s amdsmi_get_energy_count", soname);
		assert_string_equal(r->ch[0].origin, golden);
		rig_close(r);
		/* Power where the card has no energy counter; each field that may hold it. */
		script(r, "cards 1\nbdf0 " ID_B "\nenergy_status0 2\ncurrent0 80");
		assert_int_equal(rig_open(r), 0);
		assert_int_equal(r->n, 2);
		rig_read(r);
		assert_int_equal(rig_reading(r, "gpu-1")->raw, 80000000);
		script(r, "cards 1\nbdf0 " ID_B "\ncurrent0 80\naverage0 90");
		rig_read(r);
		assert_int_equal(rig_reading(r, "gpu-1")->raw, 90000000);
		script(r, "cards 1\nbdf0 " ID_B "\ncurrent0 80\naverage0 90\nsocket0 100");
		rig_read(r);
		assert_int_equal(rig_reading(r, "gpu-1")->raw, i == 0 ? 90000000 : 100000000);
		script(r, "cards 1\nbdf0 " ID_B "\naverage0 0xffffffff\nsocket0 0xffff");
		rig_read(r);
		assert_int_equal(rig_reading(r, "gpu-1")->status, EG_STATUS_NO_DATA);
		rig_free(r);
	}
}

static void test_rocm_smi(void **state)
{
	struct rig *r = fresh();

	drm(r, 0, A);
	drm(r, 1, "0001:83:00.0");
	library(r, "librocm_smi64.so.1", "FAKE_ROCM_SMI_NEW");
	/* The domain is in the upper half; bits 28-31 are the partition, of the same card. */
	script(r, "cards 3\nbdf0 " ID_A "\nbdf1 0x10000300\nbdf2 0x100008300\n"
		  "energy0 5\nenergy1 6\nenergy2 7");
	assert_int_equal(rig_open(r), 0);
	rig_assert_list(r, "gpu-0 pci-" A " gpu component energy 5\n"
			   "gpu-1 pci-0001:83:00.0 gpu component energy 7\n");
	rig_close(r);
	script(r, "cards 1\nbdf0 " ID_A "\nenergy_status0 2\naverage0 40\nsocket0 50");
	assert_int_equal(rig_open(r), 0);
	rig_assert_list(r, "gpu-0 pci-" A " gpu component power 40000000\n");
	script(r, "cards 1\nbdf0 " ID_A "\nrsmi_dev_power_ave_get 2\nsocket0 50");
	rig_read(r);
	assert_int_equal(r->reading[0].raw, 50000000);
	rig_free(r);

	r = fresh(); /* a release without the counter */
	drm(r, 0, A);
	library(r, "librocm_smi64.so.1", "FAKE_ROCM_SMI_OLD");
	script(r, "cards 1\nbdf0 " ID_A "\nenergy0 5\naverage0 41");
	assert_int_equal(rig_open(r), 0);
	rig_assert_list(r, "gpu-0 pci-" A " gpu component power 41000000\n");
	rig_free(r);
}

static void test_library_order(void **state)
{
	struct rig *r = fresh();

	drm(r, 0, A);
	library(r, "librocm_smi64.so.1", "FAKE_ROCM_SMI_NEW");
	library(r, "libamd_smi.so.24", "FAKE_AMD_SMI_24");
	script(r, "cards 1\nbdf0 " ID_A "\nenergy0 5");
	assert_int_equal(rig_open(r), 0);
	assert_non_null(strstr(r->ch[0].origin, "libamd_smi.so.24"));
	rig_close(r);
	/* One that is broken, and one that does not start, give way to the next. */
	rig_write(r, "usr/lib/libamd_smi.so.26", "no library");
	assert_int_equal(rig_open(r), 0);
	assert_non_null(strstr(r->ch[0].origin, "libamd_smi.so.24"));
	assert_non_null(rig_diag(r, EG_DIAG_SENSOR_ERROR, "libamd_smi.so.26"));
	rig_close(r);
	script(r, "cards 1\nbdf0 " ID_A "\nenergy0 5\namdsmi_init 34");
	assert_int_equal(rig_open(r), 0);
	assert_non_null(strstr(r->ch[0].origin, "librocm_smi64.so.1"));
	assert_non_null(rig_diag(r, EG_DIAG_SENSOR_ABSENT, "libamd_smi.so.24"));
	rig_free(r);

	r = fresh(); /* a library of that name without its functions */
	drm(r, 0, A);
	hwmon(r, 0, A, "power1_average", "9");
	library(r, "libamd_smi.so.26", "FAKE_ROCM_SMI_NEW");
	assert_int_equal(rig_open(r), 0);
	rig_assert_list(r, "gpu-0 pci-" A " gpu component power 9\n");
	assert_non_null(rig_diag(r, EG_DIAG_SENSOR_UNSUPPORTED, "libamd_smi.so.26"));
	rig_free(r);
}

/* What the libraries print must not reach the user's terminal or pipe. */
static void test_quiet(void **state)
{
	struct rig *r = fresh();
	char path[128], text[256] = "";
	int fd, saved[2];
	ssize_t n;

	drm(r, 0, A);
	library(r, "librocm_smi64.so.1", "FAKE_ROCM_SMI_NEW");
	script(r, "cards 1\nbdf0 " ID_A "\nenergy0 5");
	snprintf(path, sizeof(path), "%s/out", r->root);
	fflush(NULL);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	for (int i = 0; i < 2; i++) {
		saved[i] = dup(i + 1);
		dup2(fd, i + 1);
	}
	n = rig_open(r);
	fflush(NULL);
	assert_int_equal(write(STDOUT_FILENO, "after\n", 6), 6); /* the outputs are back */
	for (int i = 0; i < 2; i++) {
		dup2(saved[i], i + 1);
		close(saved[i]);
	}
	assert_int_equal(n, 0);
	n = pread(fd, text, sizeof(text) - 1, 0);
	close(fd);
	assert_int_equal(n, 6);
	assert_string_equal(text, "after\n");
	rig_free(r);
}

/* Both dies of an MI250 are cards; the second has no sensors of its own. */
static void test_second_die(void **state)
{
	struct rig *r = fresh();

	drm(r, 0, A);
	drm(r, 1, B);
	library(r, "libamd_smi.so.26", "FAKE_AMD_SMI_26");
	script(r, "cards 2\nbdf0 " ID_A "\nbdf1 " ID_B "\nenergy0 500\nsocket0 300\n"
		  "energy_status1 2\nsocket1 0");
	assert_int_equal(rig_open(r), 0);
	rig_assert_list(r, "gpu-0 pci-" A " gpu component energy 500\n");
	assert_non_null(rig_diag(r, EG_DIAG_NOT_COUNTED, B));
	rig_free(r);

	r = fresh(); /* by the table alone; and a card on its own that shows 0 W stays */
	drm(r, 0, A);
	metrics(r, A, 1, 3, 0, 0);
	assert_int_equal(rig_open(r), 0);
	rig_close(r);
	drm(r, 1, B);
	metrics(r, B, 1, 3, 300, 0);
	assert_int_equal(rig_open(r), 0);
	rig_assert_list(r, "gpu-0 pci-" B " gpu component power 300000000\n");
	rig_free(r);
}

static void test_smi_statuses(void **state)
{
	static const struct {
		unsigned status;
		enum eg_status want;
	} cases[] = {
		{1, EG_STATUS_ERROR},	 {2, EG_STATUS_ERROR},	{10, EG_STATUS_DENIED},
		{31, EG_STATUS_ERROR},	 {32, EG_STATUS_ERROR}, {34, EG_STATUS_ERROR},
		{40, EG_STATUS_NO_DATA}, {99, EG_STATUS_ERROR},
	};
	struct rig *r = fresh();
	char text[128];
	uint32_t epoch = 0;

	drm(r, 0, A);
	library(r, "libamd_smi.so.25", "FAKE_AMD_SMI_25");
	script(r, "cards 1\nbdf0 " ID_A "\nenergy0 5");
	assert_int_equal(rig_open(r), 0);
	for (size_t i = 0; i < EG_ARRAY_SIZE(cases); i++) {
		bool lost = cases[i].status == 31 || cases[i].status == 34;

		snprintf(text, sizeof(text), "amdsmi_get_energy_count %u", cases[i].status);
		script(r, text);
		rig_read(r);
		assert_int_equal(r->reading[0].status, cases[i].want);
		assert_int_equal(eg_driver_amdgpu.flags(r->inst, 0),
				 lost ? EG_FLAG_BIT(EG_FLAG_LOST) : 0);
		script(r, "energy0 6");
		rig_read(r);
		assert_int_equal(r->reading[0].status, EG_STATUS_OK);
		assert_int_equal(r->reading[0].raw, 6);
		epoch += lost; /* after a loss the counter starts anew */
		assert_int_equal(r->reading[0].epoch, epoch);
	}
	script(r, "seq 1"); /* a counter that says "none" */
	rig_read(r);
	assert_int_equal(r->reading[0].status, EG_STATUS_NO_DATA);
	rig_free(r);
}

/* Every call of a library fails in turn: the kernel's table is there, and nothing is left behind. */
static void each_call_fails(const char *soname, const char *variable)
{
	struct rig *r = fresh();
	void *lib = dlopen(getenv(variable), RTLD_NOW | RTLD_LOCAL);
	int (*balance)(void) = NULL;
	unsigned from_smi = 0, from_table = 0;
	void *p;

	assert_non_null(lib);
	p = dlsym(lib, "fake_balance");
	memcpy(&balance, &p, sizeof(p));
	assert_non_null(balance);
	drm(r, 0, A);
	metrics(r, A, 1, 4, 300, 77);
	library(r, soname, variable);
	for (unsigned n = 1; n <= 12; n++) {
		char text[256];

		snprintf(text, sizeof(text),
			 "cards 1\nbdf0 " ID_A "\nenergy0 5\nsocket0 9\naverage0 9\nseq %u\n"
			 "fail_call %u\nfail_status 1",
			 1000 + n, n);
		script(r, text);
		assert_int_equal(rig_open(r), 0);
		assert_int_equal(r->n, 1);
		rig_read(r);
		if (r->reading[0].status == EG_STATUS_OK) {
			assert_true(r->reading[0].raw == 5 || r->reading[0].raw == 77);
			*(r->reading[0].raw == 5 ? &from_smi : &from_table) += 1;
		}
		rig_close(r);
		assert_int_equal(balance(), 0);
	}
	assert_true(from_smi > 0 && from_table > 2);
	rig_free(r);
	dlclose(lib);
}

static void test_each_call_fails(void **state)
{
	each_call_fails("libamd_smi.so.24", "FAKE_AMD_SMI_24");
	each_call_fails("libamd_smi.so.25", "FAKE_AMD_SMI_25");
	each_call_fails("libamd_smi.so.26", "FAKE_AMD_SMI_26");
	each_call_fails("librocm_smi64.so.1", "FAKE_ROCM_SMI_NEW");
}

static void test_gone_and_back(void **state)
{
	struct rig *r = fresh();

	drm(r, 0, A);
	metrics(r, A, 1, 4, 300, 1000);
	hwmon(r, 4, B, "power1_average", "7");
	assert_int_equal(rig_open(r), 0);
	rig_read(r);
	assert_int_equal(r->reading[0].raw, 1000);
	r->fault_file = "gpu_metrics";
	r->fault_pread = ENODEV;
	rig_rename(r, "sys/class/drm/card0", "gone");
	rig_read(r);
	assert_int_equal(r->reading[0].status, EG_STATUS_ERROR);
	assert_int_equal(r->reading[1].status, EG_STATUS_OK);
	assert_int_equal(eg_driver_amdgpu.flags(r->inst, 0), EG_FLAG_BIT(EG_FLAG_LOST));
	rig_read(r);
	r->fault_pread = 0;
	drm(r, 1, A); /* it comes back with another number */
	metrics(r, A, 1, 4, 300, 3);
	for (int i = 0; i < 6; i++)
		rig_read(r);
	assert_int_equal(r->reading[0].status, EG_STATUS_OK);
	assert_int_equal(r->reading[0].raw, 3);
	assert_int_equal(r->reading[0].epoch, 1);
	r->fault_file = "power1_average";
	r->fault_pread = ENODEV;
	rig_rename(r, "sys/class/hwmon/hwmon4", "sys/class/hwmon/hwmon9");
	rig_read(r);
	assert_int_equal(r->reading[1].status, EG_STATUS_ERROR);
	r->fault_pread = 0;
	rig_read(r);
	assert_int_equal(r->reading[1].status, EG_STATUS_OK);
	rig_free(r);
}

static void test_attributes(void **state)
{
	struct rig *r = fresh();
	double celsius = -1;

	drm(r, 0, A);
	metrics(r, A, 1, 4, 300, 1000);
	hwmon(r, 4, A, "temp1_input", "47500");
	hwmon(r, 4, A, "freq1_input", "1700000000");
	hwmon(r, 4, A, "power1_cap", "300000000");
	rig_write(r, "sys/devices/pci0000:00/" A "/gpu_busy_percent", "37");
	rig_write(r, "sys/devices/pci0000:00/" A "/mem_info_vram_total", "17163091968");
	rig_write(r, "sys/devices/pci0000:00/" A "/product_name", "Instinct\033[31m MI\xff");
	hwmon(r, 5, B, "power1_average", "7");
	hwmon(r, 5, B, "temp1_input", "no number");
	assert_int_equal(rig_open(r), 0);
	assert_int_equal(r->driver->temperature(r->inst, 0, &celsius), -ENODATA); /* not read yet */
	rig_read(r);
	assert_int_equal(r->driver->temperature(r->inst, 0, &celsius), 0);
	assert_true(celsius == 47.5);
	assert_int_equal(r->driver->temperature(r->inst, 1, &celsius), -ENODATA);
	assert_true(celsius == 47.5);
	rig_assert_attributes(r, "pci-" A " pci_id " A "\n"
				 "pci-" A " name Instinct?[31m MI?\n"
				 "pci-" A " utilization_ratio 0.37\n"
				 "pci-" A " memory_total_bytes 1.716309197e+10\n"
				 "pci-" A " clock_graphics_hz 1700000000\n"
				 "pci-" A " power_limit_watts 300\n"
				 "pci-" A " temperature_celsius 47.5\n"
				 "pci-" B " pci_id " B "\n");
	/* Gone: identity stays, what was read before does not. */
	r->fault_file = "gpu_metrics";
	r->fault_pread = ENODEV;
	rig_read(r);
	assert_int_equal(r->driver->temperature(r->inst, 0, &celsius), -ENODATA);
	rig_assert_attributes(r, "pci-" A " pci_id " A "\npci-" B " pci_id " B "\n");
	r->fault_pread = 0;
	rig_read(r);
	assert_int_equal(r->driver->temperature(r->inst, 0, &celsius), 0);
	rig_free(r);
}

/* Where nobody tells which card a chip belongs to, a card could be counted twice. */
static void test_unknown_place(void **state)
{
	struct rig *r = fresh();
	uint8_t b[4096];
	size_t n = table_make(table_of(1, 4), b, 300, 1000, 1);

	drm(r, 0, A);
	metrics(r, A, 1, 4, 300, 2000);
	hwmon(r, 3, NULL, "power1_average", "300000000");
	assert_int_equal(rig_open(r), 0);
	rig_assert_list(r, "gpu-0 pci-" A " gpu component energy 2000\n");
	assert_non_null(rig_diag(r, EG_DIAG_NOT_COUNTED, "sys/class/hwmon/hwmon3"));
	rig_free(r);
	r = fresh();
	rig_write(r, "sys/class/drm/card0/device/vendor", "0x1002");
	rig_write_bytes(r, "sys/class/drm/card0/device/gpu_metrics", b, n);
	hwmon(r, 3, A, "power1_average", "300000000");
	assert_int_equal(rig_open(r), 0);
	rig_assert_list(r, "gpu-0 gpu-card0 gpu component energy 1000\n");
	rig_free(r);
}

static int open_blocked(struct rig *r)
{
	const struct eg_diag *d;

	if (rig_open(r) != -EACCES)
		return 1;
	d = rig_diag(r, EG_DIAG_SENSOR_BLOCKED, A);
	return d && d->cure[0] ? 0 : 2;
}

static void test_denied(void **state)
{
	struct rig *r = fresh();

	drm(r, 0, A);
	metrics(r, A, 1, 4, 300, 1000);
	rig_chmod(r, "sys/devices/pci0000:00/" A "/gpu_metrics", 0);
	assert_int_equal(rig_as_nobody(open_blocked, r), 0);
	rig_free(r);
}

static void test_hwmon_errors(void **state)
{
	static const char *const bad[] = {"", "abc", "-5", "1 2"};
	struct rig *r = fresh();

	hwmon(r, 0, A, "power1_average", "5");
	assert_int_equal(rig_open(r), 0);
	for (size_t i = 0; i < EG_ARRAY_SIZE(bad); i++) {
		hwmon(r, 0, A, "power1_average", bad[i]);
		rig_read(r);
		assert_int_equal(r->reading[0].status, EG_STATUS_ERROR);
	}
	hwmon(r, 0, A, "power1_average", "6");
	r->fault_file = "power1_average";
	r->fault_pread = EAGAIN;
	rig_read(r);
	assert_int_equal(r->reading[0].status, EG_STATUS_NO_DATA);
	r->fault_pread = EIO;
	rig_read(r);
	assert_int_equal(r->reading[0].status, EG_STATUS_ERROR);
	r->fault_pread = 0;
	rig_read(r);
	assert_int_equal(r->reading[0].raw, 6);
	rig_free(r);
}

static void test_each_open_fails(void **state)
{
	struct rig *r = fresh();

	drm(r, 0, A);
	metrics(r, A, 1, 4, 300, 1000);
	hwmon(r, 0, A, "power1_average", "5000000");
	for (r->fail_open_at = 1; r->fail_open_at < 2000; r->fail_open_at++) {
		r->opens = 0;
		if (rig_open(r) == 0) {
			bool energy = r->ch[0].quantity == EG_QUANTITY_ENERGY;

			rig_read(r);
			if (r->reading[0].status == EG_STATUS_OK)
				assert_int_equal(r->reading[0].raw, energy ? 1000 : 5000000);
			rig_close(r);
			if (r->opens < r->fail_open_at)
				break;
		}
		assert_int_equal(rig_count_fds(), r->open_fds);
	}
	assert_true(r->fail_open_at > 5 && r->fail_open_at < 2000);
	rig_free(r);
}

static void test_captures(void **state)
{
	struct rig *r = rig_new_capture(&eg_driver_amdgpu, "sysfs/kepler");

	assert_int_equal(rig_open(r), 0); /* the average, not the 120 W of the moment */
	rig_assert_list(r, "gpu-0 gpu-hwmon1 gpu component power 118000000\n");
	rig_free(r);
	r = rig_new_capture(&eg_driver_amdgpu, "sysfs/procfs-lib");
	assert_int_equal(rig_open(r), -ENODEV); /* a Vega without table or hwmon */
	assert_non_null(rig_diag(r, EG_DIAG_SENSOR_UNSUPPORTED, "0000:09:00.0"));
	rig_free(r);
	r = rig_new_capture(&eg_driver_amdgpu, "sysfs/node_exporter");
	assert_int_equal(rig_open(r), -ENODEV);
	rig_free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_absent),	      cmocka_unit_test(test_metrics_energy),
		cmocka_unit_test(test_power_order),   cmocka_unit_test(test_hwmon_only),
		cmocka_unit_test(test_apu),	      cmocka_unit_test(test_amd_smi),
		cmocka_unit_test(test_rocm_smi),      cmocka_unit_test(test_library_order),
		cmocka_unit_test(test_quiet),	      cmocka_unit_test(test_second_die),
		cmocka_unit_test(test_smi_statuses),  cmocka_unit_test(test_each_call_fails),
		cmocka_unit_test(test_gone_and_back), cmocka_unit_test(test_denied),
		cmocka_unit_test(test_hwmon_errors),  cmocka_unit_test(test_each_open_fails),
		cmocka_unit_test(test_captures),      cmocka_unit_test(test_attributes),
		cmocka_unit_test(test_unknown_place),
	};

	return cmocka_run_group_tests_name("amdgpu driver", tests, NULL, NULL);
}
