/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a machine says about itself: proc/sys/kernel, DMI, and the marks that hypervisors and
 * container runtimes leave. A guest is told by the CPU's hypervisor flag (x86), by stolen time
 * (proc/stat), by DMI strings of hypervisors, by the device tree (Arm, POWER) or by proc/sysinfo
 * (s390); cloud vendors put their name into DMI of bare-metal machines too, so their names alone
 * prove nothing.
 */
#include "host/machine.h"

#include <stdio.h>
#include <string.h>

#include "base/parse.h"

static void read_into(const struct eg_env *env, const char *path, char *dst, size_t cap)
{
	char text[256];

	if (eg_fs_read_text(&env->fs, path, text, sizeof(text)) < 0)
		return;
	text[strcspn(text, "\n")] = '\0';
	for (char *p = text; *p; p++)
		if ((unsigned char)*p < 0x20 || (unsigned char)*p >= 0x7f)
			*p = '?';
	eg_copy(dst, cap, text);
}

/* DMI "VENDOR PRODUCT" strings that only a virtual machine has. */
static const struct {
	const char *text, *name;
} dmi_guests[] = {
	{"QEMU", "qemu"},	    {"KVM", "kvm"},
	{"VMware", "vmware"},	    {"VirtualBox", "virtualbox"},
	{"innotek", "virtualbox"},  {"Xen", "xen"},
	{"Bochs", "bochs"},	    {"Parallels", "parallels"},
	{"BHYVE", "bhyve"},	    {"Microsoft Corporation Virtual Machine", "hyper-v"},
	{"OpenStack", "openstack"}, {"RHEV", "kvm"},
	{"oVirt", "kvm"},	    {"Apple Virtualization", "apple"},
};
/* Clouds: a name for a guest that was told by other means. */
static const struct {
	const char *text, *name;
} dmi_clouds[] = {
	{"Amazon EC2", "amazon"},	  {"Google", "google"},	  {"Alibaba", "alibaba"},
	{"DigitalOcean", "digitalocean"}, {"Hetzner", "hetzner"}, {"Scaleway", "scaleway"},
	{"Tencent", "tencent"},		  {"OVHcloud", "ovh"},	  {"Exoscale", "exoscale"},
};

static void name_guest(struct eg_machine *m, const char *name)
{
	m->virtual_machine = true;
	if (!*m->hypervisor)
		eg_copy(m->hypervisor, sizeof(m->hypervisor), name);
}

static void detect_guest(const struct eg_env *env, struct eg_machine *m)
{
	char text[4096], type[24] = "";
	struct eg_cpu_time t;
	ssize_t n;

	for (size_t i = 0; i < EG_ARRAY_SIZE(dmi_guests); i++)
		if (strstr(m->product, dmi_guests[i].text))
			name_guest(m, dmi_guests[i].name);
	read_into(env, "sys/hypervisor/type", type, sizeof(type));
	if (*type)
		name_guest(m, type);
	if (eg_fs_read_text(&env->fs, "proc/device-tree/hypervisor/compatible", text,
			    sizeof(text)) > 0)
		name_guest(m, strstr(text, "xen")    ? "xen" :
			      strstr(text, "vmware") ? "vmware" :
						       "kvm");
	/* s390: "VM00 Control Program: KVM/Linux"; the firmware's own partitions have no VM00. */
	if (eg_fs_read_text(&env->fs, "proc/sysinfo", text, sizeof(text)) > 0) {
		const char *cp = strstr(text, "VM00 Control Program:");

		if (cp)
			name_guest(m, strstr(cp, "KVM") ? "kvm" : "z/vm");
	}
	int fd = eg_fs_open(&env->fs, "proc/stat");

	if (fd >= 0) {
		n = eg_cpu_time_pread(&env->fs, fd, &t);
		if (n == 0 && t.steal > 0)
			m->virtual_machine = true;
		eg_fs_close(&env->fs, fd);
	}
	for (size_t i = 0; m->virtual_machine && i < EG_ARRAY_SIZE(dmi_clouds); i++)
		if (strstr(m->product, dmi_clouds[i].text))
			name_guest(m, dmi_clouds[i].name);
}

static const char *container_of_cgroup(const char *text)
{
	static const struct {
		const char *text, *name;
	} marks[] = {
		{"kubepods", "kubernetes"},   {"libpod", "podman"}, {"docker", "docker"},
		{"containerd", "containerd"}, {"/lxc", "lxc"},
	};

	for (size_t i = 0; i < EG_ARRAY_SIZE(marks); i++)
		if (strstr(text, marks[i].text))
			return marks[i].name;
	return NULL;
}

static void detect_container(const struct eg_env *env, struct eg_machine *m)
{
	const char *name = NULL;
	char text[4096];

	if (eg_fs_exists(&env->fs, "run/secrets/kubernetes.io/serviceaccount"))
		name = "kubernetes";
	else if (eg_fs_exists(&env->fs, ".dockerenv"))
		name = "docker";
	else if (eg_fs_exists(&env->fs, "run/.containerenv"))
		name = "podman";
	else if (eg_fs_read_text(&env->fs, "proc/1/cgroup", text, sizeof(text)) > 0)
		name = container_of_cgroup(text);
	if (name)
		eg_copy(m->container, sizeof(m->container), name);
	else
		read_into(env, "run/systemd/container", m->container, sizeof(m->container));
}

/* The value after "\nKEY:" in proc/self/status, without leading blanks. */
static const char *status_value(const char *text, const char *key)
{
	const char *p = strstr(text, key);

	return p ? p + strlen(key) + strspn(p + strlen(key), " \t") : NULL;
}

static void read_rights(const struct eg_env *env, struct eg_machine *m)
{
	char text[8192];
	const char *v;
	uint64_t u;
	int64_t i;

	if (eg_fs_read_text(&env->fs, "proc/self/status", text, sizeof(text)) > 0) {
		v = status_value(text, "\nCapEff:");
		if (v && eg_parse_hex(v, strcspn(v, "\n"), &u) == 0) {
			m->cap_eff = u;
			m->have_caps = true;
		}
		v = status_value(text, "\nUid:"); /* real effective saved fs */
		if (v) {
			v += strcspn(v, " \t\n");
			v += strspn(v, " \t");
		}
		if (v && eg_parse_u64(v, strcspn(v, " \t\n"), &u) == 0 && u <= UINT32_MAX) {
			m->euid = (uint32_t)u;
			m->have_uid = true;
		}
	}
	if (eg_fs_read_text(&env->fs, "proc/sys/kernel/perf_event_paranoid", text, sizeof(text)) >
		    0 &&
	    eg_parse_i64(text, strlen(text), &i) == 0 && i >= -1 && i <= 100) {
		m->perf_event_paranoid = (int)i;
		m->have_paranoid = true;
	}
}

void eg_machine_read(const struct eg_env *env, const struct eg_cpu *cpu, struct eg_machine *ret)
{
	struct eg_machine m = {0};
	char vendor[96] = "", product[96] = "", both[200];

	read_into(env, "proc/sys/kernel/osrelease", m.kernel, sizeof(m.kernel));
	read_into(env, "proc/sys/kernel/random/boot_id", m.boot_id, sizeof(m.boot_id));
	read_into(env, "sys/class/dmi/id/sys_vendor", vendor, sizeof(vendor));
	read_into(env, "sys/class/dmi/id/product_name", product, sizeof(product));
	snprintf(both, sizeof(both), "%s%s%s", vendor, *vendor && *product ? " " : "", product);
	eg_copy(m.product, sizeof(m.product), both);
	m.virtual_machine = cpu && cpu->hypervisor;
	detect_guest(env, &m);
	detect_container(env, &m);
	read_rights(env, &m);
	*ret = m;
}

bool eg_machine_has_cap(const struct eg_machine *m, unsigned cap)
{
	return m->have_caps && cap < 64 && (m->cap_eff >> cap & 1);
}
