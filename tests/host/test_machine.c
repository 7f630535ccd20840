/* SPDX-License-Identifier: Apache-2.0 */
/* Facts about the machine and the process, on made-up machines and on this one. */
#include "tree.h"

#include "host/machine.h"

static const struct eg_cpu bare = {.family = -1, .model = -1, .stepping = -1};

static struct eg_machine facts(const struct tree *t, const struct eg_cpu *cpu)
{
	struct eg_machine m;

	memset(&m, 0xa5, sizeof(m));
	eg_machine_read(&t->env, cpu, &m);
	return m;
}

static void nothing_known(void **state)
{
	struct eg_machine m;
	struct tree t;

	tree_open(&t);
	m = facts(&t, NULL);
	assert_string_equal(m.kernel, "");
	assert_string_equal(m.boot_id, "");
	assert_string_equal(m.product, "");
	assert_string_equal(m.hypervisor, "");
	assert_string_equal(m.container, "");
	assert_false(m.virtual_machine || m.have_caps || m.have_uid || m.have_paranoid);
	assert_false(eg_machine_has_cap(&m, EG_CAP_SYS_ADMIN));
	tree_close(&t);
}

static void kernel_and_rights(void **state)
{
	struct eg_machine m;
	struct tree t;

	tree_open(&t);
	tree_write(&t, "proc/sys/kernel/osrelease", "6.1.0-18-amd64\n");
	tree_write(&t, "proc/sys/kernel/random/boot_id", "0f7c1b6e-0000-4000-8000-000000000001\n");
	tree_write(&t, "proc/sys/kernel/perf_event_paranoid", "-1\n");
	tree_write(&t, "proc/self/status",
		   "Name:\tx\nUid:\t1000\t42\t1000\t1000\n"
		   "CapPrm:\tffffffffffffffff\nCapEff:\t0000004000000002\n");
	m = facts(&t, &bare);
	assert_string_equal(m.kernel, "6.1.0-18-amd64");
	assert_string_equal(m.boot_id, "0f7c1b6e-0000-4000-8000-000000000001");
	assert_true(m.have_paranoid && m.perf_event_paranoid == -1);
	assert_true(m.have_uid && m.euid == 42);
	assert_true(m.have_caps);
	assert_true(eg_machine_has_cap(&m, EG_CAP_PERFMON));
	assert_true(eg_machine_has_cap(&m, EG_CAP_DAC_OVERRIDE));
	assert_false(eg_machine_has_cap(&m, EG_CAP_SYS_ADMIN));
	assert_false(eg_machine_has_cap(&m, 200));
	/* Nonsense is unknown. */
	tree_write(&t, "proc/sys/kernel/perf_event_paranoid", "lots\n");
	tree_write(&t, "proc/self/status", "Name:\tx\nUid:\tme\nCapEff:\t\n");
	m = facts(&t, &bare);
	assert_false(m.have_paranoid || m.have_uid || m.have_caps);
	tree_close(&t);
}

static void guests(void **state)
{
	struct eg_cpu cpu = bare;
	struct eg_machine m;
	struct tree t;

	tree_open(&t);
	cpu.hypervisor = true;
	m = facts(&t, &cpu);
	assert_true(m.virtual_machine);
	assert_string_equal(m.hypervisor, "");

	/* A cloud's name on bare metal is no guest; with the flag it names the guest. */
	tree_write(&t, "sys/class/dmi/id/sys_vendor", "Amazon EC2\n");
	tree_write(&t, "sys/class/dmi/id/product_name", "m5.metal\n");
	m = facts(&t, &bare);
	assert_false(m.virtual_machine);
	assert_string_equal(m.product, "Amazon EC2 m5.metal");
	m = facts(&t, &cpu);
	assert_string_equal(m.hypervisor, "amazon");

	/* Stolen time: only a guest has it. */
	tree_write(&t, "proc/stat", "cpu  1 2 3 4 5 6 7 8 0 0\n");
	assert_true(facts(&t, &bare).virtual_machine);
	tree_write(&t, "proc/stat", "cpu  1 2 3 4 5 6 7 0 0 0\n");
	assert_false(facts(&t, &bare).virtual_machine);

	tree_write(&t, "sys/class/dmi/id/sys_vendor", "QEMU\n");
	tree_write(&t, "sys/class/dmi/id/product_name", "Standard PC (Q35 + ICH9, 2009)\n");
	m = facts(&t, &bare);
	assert_true(m.virtual_machine);
	assert_string_equal(m.hypervisor, "qemu");

	tree_write(&t, "sys/class/dmi/id/sys_vendor", "Microsoft Corporation\n");
	tree_write(&t, "sys/class/dmi/id/product_name", "Surface Laptop\n");
	assert_false(facts(&t, &bare).virtual_machine);
	tree_write(&t, "sys/class/dmi/id/product_name", "Virtual Machine\n");
	assert_string_equal(facts(&t, &bare).hypervisor, "hyper-v");

	tree_write(&t, "sys/class/dmi/id/sys_vendor", "Dell Inc.\n");
	tree_write(&t, "sys/class/dmi/id/product_name", "PowerEdge R740\n");
	assert_false(facts(&t, &bare).virtual_machine);
	tree_write(&t, "sys/hypervisor/type", "xen\n");
	assert_string_equal(facts(&t, &bare).hypervisor, "xen");
	tree_unlink(&t, "sys/hypervisor/type");

	tree_write(&t, "proc/sysinfo", "Manufacturer: IBM\nLPAR Name: A\n");
	assert_false(facts(&t, &bare).virtual_machine);
	tree_write(&t, "proc/sysinfo",
		   "Manufacturer: IBM\nVM00 Name: G\nVM00 Control Program: "
		   "KVM/Linux\n");
	assert_string_equal(facts(&t, &bare).hypervisor, "kvm");
	tree_unlink(&t, "proc/sysinfo");
	tree_write(&t, "proc/device-tree/hypervisor/compatible", "linux,kvm");
	assert_string_equal(facts(&t, &bare).hypervisor, "kvm");
	tree_close(&t);
}

static void containers(void **state)
{
	static const struct {
		const char *path, *text, *word;
	} c[] = {
		{".dockerenv", "", "docker"},
		{"run/.containerenv", "", "podman"},
		{"run/systemd/container", "systemd-nspawn\n", "systemd-nspawn"},
		{"run/secrets/kubernetes.io/serviceaccount/token", "x", "kubernetes"},
		{"proc/1/cgroup", "0::/\n", ""},
		{"proc/1/cgroup", "0::/init.scope\n", ""},
		{"proc/1/cgroup", "9:cpu:/kubepods/burstable/pod1/2\n", "kubernetes"},
		{"proc/1/cgroup", "9:cpu:/docker/0123\n", "docker"},
		{"proc/1/cgroup", "9:cpu:/lxc/web\n", "lxc"},
	};

	for (size_t i = 0; i < EG_ARRAY_SIZE(c); i++) {
		struct tree t;

		tree_open(&t);
		tree_write(&t, c[i].path, c[i].text);
		assert_string_equal(facts(&t, &bare).container, c[i].word);
		tree_close(&t);
	}
}

static void this_process(void **state)
{
	struct eg_machine m;
	struct eg_env env;

	assert_int_equal(eg_env_open(&env, NULL), 0);
	eg_machine_read(&env, NULL, &m);
	assert_true(m.have_uid && m.euid == geteuid());
	assert_true(m.have_caps);
	assert_true(strlen(m.kernel) > 0);
	eg_env_close(&env);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_known), cmocka_unit_test(kernel_and_rights),
		cmocka_unit_test(guests),	 cmocka_unit_test(containers),
		cmocka_unit_test(this_process),
	};

	return cmocka_run_group_tests_name("host-machine", tests, NULL, NULL);
}
