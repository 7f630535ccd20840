/* SPDX-License-Identifier: Apache-2.0 */
/* CPU and memory facts from a made-up machine. */
#include "tree.h"

#include <math.h>

#include "host/stats.h"

static const struct eg_cpu cpu = {.model_name = "Example CPU",
				  .vendor = "AuthenticAMD",
				  .sockets = 1,
				  .cores = 8,
				  .threads = 16};

static void nothing_known(void **state)
{
	struct eg_host_facts f;
	struct eg_stats *s;
	struct tree t;

	tree_open(&t);
	assert_int_equal(eg_stats_open(&t.env, NULL, &s), 0);
	memset(&f, 0xa5, sizeof(f));
	eg_stats_read(s, &f);
	assert_string_equal(f.cpu_model, "");
	assert_string_equal(f.architecture, ""); /* not that of the machine that runs the test */
	assert_int_equal(f.threads, 0);
	assert_true(isnan(f.cpu_utilization_ratio) && isnan(f.cpu_frequency_hz) &&
		    isnan(f.cpu_celsius));
	assert_true(f.memory_total_bytes == UINT64_MAX && f.memory_cached_bytes == UINT64_MAX);
	assert_null(eg_stats_close(s));
	assert_null(eg_stats_close(NULL));
	tree_close(&t);
}

static void everything_known(void **state)
{
	struct eg_host_facts f;
	struct eg_stats *s;
	struct tree t;

	tree_open(&t);
	tree_write(&t, "proc/stat", "cpu  100 0 100 800 0 0 0 0 0 0\n");
	tree_write(&t, "proc/sys/kernel/arch", "riscv64\n");
	tree_write(&t, "proc/meminfo",
		   "MemTotal:       16318456 kB\nMemFree:  1 kB\nMemAvailable: 12 kB\n"
		   "Buffers:  x kB\nCached: 7 kB\nSwapCached: 9 kB\nHugePages_Total: 0\n");
	tree_write(&t, "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq", "2400000\n");
	tree_write(&t, "sys/class/hwmon/hwmon0/name", "nvme\n");
	tree_write(&t, "sys/class/hwmon/hwmon0/temp1_input", "30000\n");
	tree_write(&t, "sys/class/hwmon/hwmon1/name", "k10temp\n");
	tree_write(&t, "sys/class/hwmon/hwmon1/temp1_input", "51250\n");
	assert_int_equal(eg_stats_open(&t.env, &cpu, &s), 0);
	eg_stats_read(s, &f);
	assert_true(isnan(f.cpu_utilization_ratio)); /* of no time at all */
	assert_string_equal(f.cpu_model, "Example CPU");
	assert_string_equal(f.vendor, "AuthenticAMD");
	assert_string_equal(f.architecture, "riscv64");
	assert_int_equal(f.sockets, 1);
	assert_int_equal(f.threads, 16);
	assert_true(f.cpu_frequency_hz == 2.4e9);
	assert_true(f.cpu_celsius == 51.25);
	assert_true(f.memory_total_bytes == 16318456ull * 1024);
	assert_true(f.memory_free_bytes == 1024);
	assert_true(f.memory_available_bytes == 12 * 1024);
	assert_true(f.memory_buffers_bytes == UINT64_MAX);
	assert_true(f.memory_cached_bytes == 7 * 1024);

	tree_write(&t, "proc/stat", "cpu  150 0 150 1000 0 0 0 0 0 0\n");
	eg_stats_read(s, &f);
	assert_float_equal(f.cpu_utilization_ratio, 100.0 / 300, 1e-12);
	/* Two scrapers, one after the other: the second gets the same answer, not that of one tick. */
	t.clock.boot_ns += EG_NSEC_PER_SEC - 1;
	tree_write(&t, "proc/stat", "cpu  151 0 150 1000 0 0 0 0 0 0\n");
	eg_stats_read(s, &f);
	assert_float_equal(f.cpu_utilization_ratio, 100.0 / 300, 1e-12);
	t.clock.boot_ns += 1;
	tree_write(&t, "proc/stat", "cpu  150 0 150 1300 0 0 0 0 0 0\n");
	eg_stats_read(s, &f);
	assert_float_equal(f.cpu_utilization_ratio, 0, 1e-12);
	t.clock.boot_ns += EG_NSEC_PER_SEC;
	eg_stats_read(s, &f); /* no tick between: the last answer stands */
	assert_float_equal(f.cpu_utilization_ratio, 0, 1e-12);
	tree_write(&t, "proc/stat", "cpu  1 0 1 1001 0 0 0 0 0 0\n");
	eg_stats_read(s, &f);
	assert_true(isnan(f.cpu_utilization_ratio));
	tree_write(&t, "proc/stat", "nonsense\n");
	eg_stats_read(s, &f);
	assert_true(isnan(f.cpu_utilization_ratio));
	assert_null(eg_stats_close(s));
	tree_close(&t);
}

static void meminfo_bytes(void **state)
{
	static const char text[] = "MemTotal: 18446744073709551615 kB\nMemFree:\nBuffers: kB\n"
				   "MemAvailable: 5 kB\nCached: 6 kB";
	struct eg_host_facts f;

	for (size_t n = 0; n < sizeof(text); n++) {
		char *copy = malloc(n + 1); /* its end is where the sanitizer watches */

		assert_non_null(copy);
		memcpy(copy, text, n);
		eg_meminfo_parse(copy, n, &f);
		free(copy);
	}
	eg_meminfo_parse(text, sizeof(text) - 1, &f);
	assert_true(f.memory_total_bytes == UINT64_MAX);
	assert_true(f.memory_free_bytes == UINT64_MAX);
	assert_true(f.memory_available_bytes == 5 * 1024);
	assert_true(f.memory_cached_bytes == UINT64_MAX); /* the line was cut */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_known),
		cmocka_unit_test(everything_known),
		cmocka_unit_test(meminfo_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
