/* SPDX-License-Identifier: Apache-2.0 */
/* CPU facts: hand-made and captured cpuinfo of many architectures, topology, proc/stat. */
#include "tree.h"

#include <errno.h>

#include "host/cpu.h"

static void uarch(void **state)
{
	static const struct {
		const char *vendor;
		int family, model, stepping;
		const char *name, *word;
	} t[] = {
		{"GenuineIntel", 6, 85, 4, "", "skylake"},
		{"GenuineIntel", 6, 85, 3, "", "skylake"},
		{"GenuineIntel", 6, 85, 5, "", "cascadelake"},
		{"GenuineIntel", 6, 85, 7, "", "cascadelake"},
		{"GenuineIntel", 6, 85, 10, "", "cooperlake"},
		{"GenuineIntel", 6, 85, 11, "", "cooperlake"},
		{"GenuineIntel", 6, 85, -1, "", "unknown"},
		{"GenuineIntel", 6, 106, 6, "", "icelake"},
		{"GenuineIntel", 6, 106, -1, "", "icelake"},
		{"GenuineIntel", 6, 143, 8, "", "sapphirerapids"},
		{"GenuineIntel", 6, 167, 1, "", "rocketlake"},
		{"GenuineIntel", 6, 158, 10, "", "coffeelake"},
		{"GenuineIntel", 6, 158, 9, "", "kabylake"},
		{"GenuineIntel", 6, 79, 1, "", "broadwell"},
		{"GenuineIntel", 6, 63, 2, "", "haswell"},
		{"GenuineIntel", 6, 62, 4, "", "ivybridge"},
		{"GenuineIntel", 6, 45, 7, "", "sandybridge"},
		{"GenuineIntel", 15, 85, 4, "", "unknown"},
		{"GenuineIntel", 6, 14, 4, "", "unknown"},
		{"GenuineIntel", 6, -1, 4, "", "unknown"},
		{"AuthenticAMD", 23, 1, 2, "AMD EPYC 7451 24-Core Processor", "epyc1"},
		{"AuthenticAMD", 23, 1, 1, "AMD Ryzen 7 1700", "zen"},
		{"AuthenticAMD", 23, 49, 0, "AMD EPYC 7742 64-Core Processor", "epyc2"},
		{"AuthenticAMD", 25, 1, 1, "AMD EPYC 7763 64-Core Processor", "epyc3"},
		{"AuthenticAMD", 25, 17, 1, "AMD EPYC 9654 96-Core Processor", "epyc4"},
		{"AuthenticAMD", 25, 97, 2, "AMD EPYC 4464P 12-Core Processor", "zen4"},
		{"AuthenticAMD", 26, 2, 1, "AMD EPYC 9755 128-Core Processor", "epyc5"},
		{"AuthenticAMD", 16, 2, 3, "AMD Phenom(tm) 9550", "unknown"},
		{"HygonGenuine", 24, 6, 1, "Hygon C86-4G", "unknown"},
	};

	for (size_t i = 0; i < EG_ARRAY_SIZE(t); i++)
		assert_string_equal(eg_uarch_word(eg_uarch_of(t[i].vendor, t[i].family, t[i].model,
							      t[i].stepping, t[i].name)),
				    t[i].word);
	assert_string_equal(eg_uarch_word(EG_UARCH_COUNT), "?");
}

/* Two sockets, two cores each, hyper-threads: 8 processors in 4 cores. */
static void topology_of_text(void **state)
{
	char text[8192];
	size_t n = 0;
	struct eg_cpu c;

	for (int i = 0; i < 8; i++)
		n += (size_t)snprintf(
			text + n, sizeof(text) - n,
			"processor\t: %d\nvendor_id\t: GenuineIntel\ncpu family\t: 6\n"
			"model\t\t: 85\nmodel name\t: Intel(R)   Xeon(R)\tX\n"
			"stepping\t: 7\nphysical id\t: %d\ncore id\t\t: %d\n"
			"flags\t\t: fpu hypervisor vme\n\n",
			i, i % 2, (i / 2) % 2 * 9);
	assert_int_equal(eg_cpuinfo_parse(text, n, &c), 0);
	assert_int_equal(c.threads, 8);
	assert_int_equal(c.sockets, 2);
	assert_int_equal(c.cores, 4);
	assert_true(c.hypervisor);
	assert_string_equal(c.model_name, "Intel(R) Xeon(R) X");
	assert_string_equal(c.vendor, "GenuineIntel");
	assert_string_equal(eg_uarch_word(c.uarch), "cascadelake");
	/* A word that only contains the flag is not the flag. */
	assert_int_equal(
		eg_cpuinfo_parse("processor: 0\nflags: nohypervisor hypervisors\n", 46, &c), 0);
	assert_false(c.hypervisor);
	assert_int_equal(c.sockets, 0);
	assert_int_equal(c.family, -1);
}

static void nonsense(void **state)
{
	static const char *const bad[] = {"",
					  "\n\n",
					  ":",
					  ":::\n:",
					  "hello world",
					  "\0\0\0\0",
					  "model name : x\n",
					  "# processors : 99999999999999999999\n"};
	static const char wild[] = "processor: 0\nmodel name: a\033[31mb\377\n";
	struct eg_cpu c = {.threads = 77};

	for (size_t i = 0; i < EG_ARRAY_SIZE(bad); i++)
		assert_int_equal(eg_cpuinfo_parse(bad[i], strlen(bad[i]), &c), -ENODATA);
	assert_int_equal(c.threads, 77);
	/* Control characters and bytes above ASCII do not reach a terminal. */
	assert_int_equal(eg_cpuinfo_parse(wild, sizeof(wild) - 1, &c), 0);
	assert_string_equal(c.model_name, "a?[31mb?");
}

static void lists(void **state)
{
	static const struct {
		const char *text;
		int r;
		uint32_t count, first;
	} t[] = {
		{"0", 0, 1, 0},
		{"0-3", 0, 4, 0},
		{"4,8-11", 0, 5, 4},
		{"8-9,2", 0, 3, 2},
		{"", -EPROTO, 0, 0},
		{"3-1", -EPROTO, 0, 0},
		{"0-", -EPROTO, 0, 0},
		{"-1", -EPROTO, 0, 0},
		{"0,", -EPROTO, 0, 0},
		{",0", -EPROTO, 0, 0},
		{"a", -EPROTO, 0, 0},
		{"0-3,x", -EPROTO, 0, 0},
		{"0-8191", 0, 8192, 0},
		{"0-8192", -EPROTO, 0, 0},
		{"0-8191,0-8191", -EPROTO, 0, 0},
		{"1-2-3", -EPROTO, 0, 0},
	};

	for (size_t i = 0; i < EG_ARRAY_SIZE(t); i++) {
		uint32_t count = 0, first = 0;

		assert_int_equal(eg_cpulist_count(t[i].text, &count, &first), t[i].r);
		assert_int_equal(count, t[i].count);
		assert_int_equal(first, t[i].first);
	}
}

static void stat_lines(void **state)
{
	struct eg_cpu_time a, b;
	double u = 7;
	const char *full = "cpu  100 20 30 400 50 6 7 8 90 10\ncpu0 1 2 3 4\n";

	/* guest (90) is in user and guest_nice (10) in nice already; iowait is idle. */
	assert_int_equal(eg_cpu_time_parse(full, strlen(full), &a), 0);
	assert_int_equal(a.busy, 100 + 20 + 30 + 6 + 7);
	assert_int_equal(a.steal, 8);
	assert_int_equal(a.total, a.busy + 400 + 50 + 8);
	assert_int_equal(eg_cpu_time_parse("cpu 1 2 3 4", 11, &b), 0);
	assert_int_equal(b.total, 10);

	static const char *const bad[] = {"",
					  "cpu",
					  "cpu ",
					  "cpu 1 2 3",
					  "cpu0 1 2 3 4",
					  "cpu  a b c d",
					  "cpu  1 2 3 -4",
					  "cpu  1 2 3 99999999999999999999",
					  "cpu  1 2 3 18446744073709551615",
					  "intr 1 2 3 4 5"};
	for (size_t i = 0; i < EG_ARRAY_SIZE(bad); i++)
		assert_int_equal(eg_cpu_time_parse(bad[i], strlen(bad[i]), &b), -EPROTO);
	assert_int_equal(b.total, 10);

	/* Half busy, a quarter stolen: the machine had the CPU for three quarters, used half. */
	a = (struct eg_cpu_time){.busy = 1000, .total = 5000, .steal = 0};
	b = (struct eg_cpu_time){.busy = 1050, .total = 5100, .steal = 25};
	assert_int_equal(eg_cpu_busy_ratio(&a, &b, &u), 0);
	assert_true(u == .5);
	assert_int_equal(eg_cpu_busy_ratio(&a, &a, &u), -ENODATA);
	assert_int_equal(eg_cpu_busy_ratio(&b, &a, &u), -ERANGE);
	b = (struct eg_cpu_time){.busy = 1000, .total = 4999}; /* iowait stepped back */
	assert_int_equal(eg_cpu_busy_ratio(&a, &b, &u), -ENODATA);
	b = (struct eg_cpu_time){.busy = 1005, .total = 5003};
	assert_int_equal(eg_cpu_busy_ratio(&a, &b, &u), 0);
	assert_true(u == 1);
}

static void put_cpu(const struct tree *t, unsigned cpu, const char *core, const char *package,
		    const char *id)
{
	static const char *const names[] = {"core_cpus_list", "package_cpus_list",
					    "physical_package_id"};
	const char *texts[] = {core, package, id};
	char path[128];

	for (size_t i = 0; i < 3; i++) {
		snprintf(path, sizeof(path), "sys/devices/system/cpu/cpu%u/topology/%s", cpu,
			 names[i]);
		tree_write(t, path, texts[i]);
	}
}

static void sysfs(void **state)
{
	struct eg_cpu c = {.threads = 9};
	struct tree t;

	tree_open(&t);
	assert_int_equal(eg_cpu_read(&t.env, &c), -ENOENT);
	assert_int_equal(c.threads, 9);
	/* Three of four processors online, two cores, sparse packages; no cpuinfo at all. */
	tree_write(&t, "sys/devices/system/cpu/online", "0-1,3\n");
	put_cpu(&t, 0, "0-1\n", "0-1\n", "0\n");
	put_cpu(&t, 1, "0-1\n", "0-1\n", "0\n");
	put_cpu(&t, 3, "3\n", "3\n", "15\n");
	assert_int_equal(eg_cpu_read(&t.env, &c), 0);
	assert_int_equal(c.threads, 3);
	assert_int_equal(c.cores, 2);
	assert_int_equal(c.sockets, 2);
	/* A machine without packages says -1: unknown, not three. */
	put_cpu(&t, 3, "3\n", "3\n", "-1\n");
	assert_int_equal(eg_cpu_read(&t.env, &c), 0);
	assert_int_equal(c.cores, 2);
	assert_int_equal(c.sockets, 0);
	/* A broken list: only the number of processors is known. */
	put_cpu(&t, 1, "zero\n", "0-1\n", "0\n");
	assert_int_equal(eg_cpu_read(&t.env, &c), 0);
	assert_int_equal(c.threads, 3);
	assert_int_equal(c.cores, 0);
	/* cpuinfo that is empty or nonsense does not hide sysfs, and the other way round. */
	tree_write(&t, "proc/cpuinfo", "");
	assert_int_equal(eg_cpu_read(&t.env, &c), 0);
	tree_write(&t, "sys/devices/system/cpu/online", "garbage\n");
	assert_int_equal(eg_cpu_read(&t.env, &c), -ENODATA);
	tree_write(&t, "proc/cpuinfo", "processor : 0\nmodel name : X\n");
	assert_int_equal(eg_cpu_read(&t.env, &c), 0);
	assert_string_equal(c.model_name, "X");
	tree_close(&t);
}

static void captures(void **state)
{
	/* sockets, cores, threads as in the lscpu text of the same capture where it tells them. */
	static const struct {
		const char *file, *vendor, *name, *uarch;
		uint32_t threads, sockets, cores;
	} t[] = {
		{"lscpu/arm-A510-A710-A715-X3/proc-cpuinfo", "Arm", "Cortex-A510 and others",
		 "unknown", 8, 0, 0},
		{"lscpu/armv7/proc-cpuinfo", "Arm", "Cortex-A15", "unknown", 2, 0, 0},
		{"lscpu/loongarch-kvm_on_loongson_3c6000/proc-cpuinfo", "", "Loongson-3A5000",
		 "unknown", 32, 32, 32},
		{"lscpu/loongarch-loongson_3a5000_hv/proc-cpuinfo", "", "Loongson-3A5000-HV",
		 "unknown", 4, 1, 4},
		{"lscpu/ppc-qemu/proc-cpuinfo", "", "740/750", "unknown", 1, 0, 0},
		{"lscpu/ppc64-POWER7/proc-cpuinfo", "", "POWER7 (architected), altivec supported",
		 "unknown", 16, 0, 0},
		{"lscpu/ppc64-POWER7-64cpu/proc-cpuinfo", "",
		 "POWER7 (architected), altivec supported", "unknown", 64, 0, 0},
		{"lscpu/rv64-linux/proc-cpuinfo", "", "sifive,u74-mc", "unknown", 2, 0, 0},
		{"lscpu/rv64-milkvpioneer/proc-cpuinfo", "", "", "unknown", 64, 0, 0},
		{"lscpu/s390-kvm/proc-cpuinfo", "IBM/S390", "IBM/S390 machine 2817", "unknown", 3,
		 0, 0},
		{"lscpu/s390-lpar-drawer/proc-cpuinfo", "IBM/S390", "IBM/S390 machine 2964",
		 "unknown", 8, 0, 0},
		{"lscpu/sparc64/proc-cpuinfo", "", "TI UltraSparc II (BlackBird)", "unknown", 6, 0,
		 0},
		{"lscpu/vbox-win/proc-cpuinfo", "GenuineIntel",
		 "Intel(R) Core(TM) i5-3317U CPU @ 1.70GHz", "ivybridge", 2, 1, 2},
		{"lscpu/vmware_fpe/proc-cpuinfo", "AuthenticAMD", "AMD Opteron(tm) Processor 6328",
		 "unknown", 16, 2, 8},
		{"lscpu/x86_64-64cpu/proc-cpuinfo", "GenuineIntel",
		 "Intel(R) Xeon(R) CPU X7550 @ 2.00GHz", "nehalem", 64, 4, 32},
		{"lscpu/x86_64-64cpu-linux6.2/proc-cpuinfo", "GenuineIntel",
		 "11th Gen Intel(R) Core(TM) i7-1165G7 @ 2.80GHz", "tigerlake", 8, 1, 4},
		{"lscpu/x86_64-dell_e4310/proc-cpuinfo", "GenuineIntel",
		 "Intel(R) Core(TM) i5 CPU M 560 @ 2.67GHz", "westmere", 4, 1, 2},
		{"lscpu/x86_64-epyc_7451/proc-cpuinfo", "AuthenticAMD",
		 "AMD EPYC 7451 24-Core Processor", "epyc1", 16, 1, 16},
		{"cpuinfo-elastic/cpuinfo", "GenuineIntel",
		 "Intel(R) Core(TM) i9-10885H CPU @ 2.40GHz", "cometlake", 16, 1, 8},
		{"cpuinfo-elastic/cpuinfo-quad-socket", "GenuineIntel",
		 "Intel(R) Xeon(R) CPU E5-4607 0 @ 2.20GHz", "sandybridge", 48, 4, 24},
		{"cpuinfo-gopsutil/1037-cpuinfo", "Arm", "Cortex-A53 and others", "unknown", 8, 0,
		 0},
		{"cpuinfo-gopsutil/1958-cpuinfo", "HygonGenuine", "Hygon C86-4G (OPN:5435)",
		 "unknown", 1, 1, 1},
		{"cpuinfo-intel-powerstat/cpuinfo", "GenuineIntel",
		 "Intel(R) Xeon(R) Platinum 8480+", "sapphirerapids", 4, 1, 4},
		{"cpuinfo-intel-powerstat/cpu_model_missing/cpuinfo", "GenuineIntel",
		 "Intel(R) Xeon(R) Platinum 8480+", "unknown", 1, 1, 1},
		{"cpuinfo-intel-powerstat/vendor_not_supported/cpuinfo", "AuthenticAMD",
		 "AMD Phenom(tm) 9550 Quad-Core Processor", "unknown", 1, 1, 1},
	};
	const char *data = test_data();

	if (!data)
		skip();
	for (size_t i = 0; i < EG_ARRAY_SIZE(t); i++) {
		char path[512];
		struct eg_cpu c;
		size_t n = 0;

		snprintf(path, sizeof(path), "%s/cpu/%s", data, t[i].file);
		eg_autofree char *text = slurp(path, &n);

		assert_non_null(text);
		assert_int_equal(eg_cpuinfo_parse(text, n, &c), 0);
		if (strcmp(c.model_name, t[i].name) || strcmp(c.vendor, t[i].vendor) ||
		    c.threads != t[i].threads || c.sockets != t[i].sockets ||
		    c.cores != t[i].cores || strcmp(eg_uarch_word(c.uarch), t[i].uarch))
			fail_msg("%s: '%s' '%s' %s threads %u sockets %u cores %u", t[i].file,
				 c.vendor, c.model_name, eg_uarch_word(c.uarch), c.threads,
				 c.sockets, c.cores);
		/* Cut at every length: no crash, and never more processors than the whole has. */
		for (size_t cut = 0; cut < n; cut += 1 + n / 499) {
			struct eg_cpu d = {0};

			if (eg_cpuinfo_parse(text, cut, &d) == 0)
				assert_true(d.threads <= c.threads);
		}
	}
}

/* Captured sysfs trees, through the environment. */
static void captured_trees(void **state)
{
	static const struct {
		const char *name;
		uint32_t threads, sockets, cores;
	} t[] = {
		{"armv7", 2, 1, 2},
		{"rv64-visionfive2", 4, 1, 4},
		{"x86_64-dell_e4310", 4, 1, 2},
	};
	const char *data = test_data();

	if (!data)
		skip();
	for (size_t i = 0; i < EG_ARRAY_SIZE(t); i++) {
		struct tree tree;
		struct eg_cpu c;
		char cmd[1024];

		tree_open(&tree);
		snprintf(
			cmd, sizeof(cmd),
			"mkdir '%s/proc' && cp '%s/cpu/lscpu/%s/proc-cpuinfo' '%s/proc/cpuinfo' && "
			"cp -r '%s/cpu/lscpu/%s/tree/sys' '%s/sys'",
			tree.dir, data, t[i].name, tree.dir, data, t[i].name, tree.dir);
		assert_int_equal(system(cmd), 0);
		assert_int_equal(eg_cpu_read(&tree.env, &c), 0);
		assert_int_equal(c.threads, t[i].threads);
		assert_int_equal(c.sockets, t[i].sockets);
		assert_int_equal(c.cores, t[i].cores);
		snprintf(cmd, sizeof(cmd), "chmod -R u+w '%s'", tree.dir);
		assert_int_equal(system(cmd), 0);
		tree_close(&tree);
	}
}

static void this_machine(void **state)
{
	struct eg_cpu_time a;
	struct eg_env env;
	struct eg_cpu c;
	int fd;

	assert_int_equal(eg_env_open(&env, NULL), 0);
	assert_int_equal(eg_cpu_read(&env, &c), 0);
	assert_int_equal(c.threads, sysconf(_SC_NPROCESSORS_ONLN));
	fd = eg_fs_open(&env.fs, "proc/stat");
	assert_true(fd >= 0);
	assert_int_equal(eg_cpu_time_pread(&env.fs, fd, &a), 0);
	assert_true(a.total >= a.busy + a.steal && a.total > 0);
	eg_fs_close(&env.fs, fd);
	eg_env_close(&env);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(uarch),	cmocka_unit_test(topology_of_text),
		cmocka_unit_test(nonsense),	cmocka_unit_test(lists),
		cmocka_unit_test(stat_lines),	cmocka_unit_test(sysfs),
		cmocka_unit_test(captures),	cmocka_unit_test(captured_trees),
		cmocka_unit_test(this_machine),
	};

	return cmocka_run_group_tests_name("host-cpu", tests, NULL, NULL);
}
