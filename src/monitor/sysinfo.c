/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See sysinfo.h. Usable CPUs: those of the affinity mask, or fewer where a CPU quota of cgroup v2 or v1
 * allows less (Linux Documentation/admin-guide/cgroup-v2.rst, scheduler/sched-bwc.rst).
 */
#include "monitor/sysinfo.h"

#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

#include "base/parse.h"
#include "host/cpu.h"
#include "host/machine.h"
#include "host/stats.h"

#define OS_RELEASE_MAX 8192
#define MEMINFO_MAX    4096
#define MEMORY_NS      (50 * EG_NSEC_PER_MSEC)
#define CGROUP_DEPTH   32 /* levels looked at for a quota */

void eg_os_release_value(const char *text, const char *key, char *ret, size_t cap)
{
	size_t k = strlen(key), n = 0;

	*ret = '\0';
	for (const char *p = text; *p; p += strcspn(p, "\n"), p += *p == '\n') {
		char quote = '\0';

		if (strncmp(p, key, k) != 0 || p[k] != '=')
			continue;
		p += k + 1;
		if (*p == '"' || *p == '\'')
			quote = *p++;
		for (; *p && *p != '\n' && (!quote || *p != quote) && n + 1 < cap; p++) {
			if (*p == '\\' && p[1] && p[1] != '\n')
				p++;
			ret[n++] = *p;
		}
		while (!quote && n && (ret[n - 1] == ' ' || ret[n - 1] == '\r'))
			n--;
		ret[n] = '\0';
		return;
	}
}

static void read_os(const struct eg_env *env, struct eg_sysinfo *ret)
{
	char text[OS_RELEASE_MAX];

	if (eg_fs_read_text(&env->fs, "etc/os-release", text, sizeof(text)) < 0 &&
	    eg_fs_read_text(&env->fs, "usr/lib/os-release", text, sizeof(text)) < 0)
		return;
	eg_os_release_value(text, "NAME", ret->os_name, sizeof(ret->os_name));
	eg_os_release_value(text, "VERSION_ID", ret->os_version, sizeof(ret->os_version));
}

/* quota / period, rounded up; quota -1 or 0: no limit. */
static uint32_t share(int64_t quota, int64_t period)
{
	if (quota <= 0 || period <= 0)
		return UINT32_MAX;
	return (uint32_t)EG_MIN((quota - 1) / period + 1, (int64_t)UINT32_MAX);
}

uint32_t eg_cpu_max_limit(const char *text)
{
	size_t n = strcspn(text, " ");
	int64_t quota, period;

	if (!text[n] || eg_parse_i64(text, n, &quota) < 0 ||
	    eg_parse_i64(text + n, strlen(text + n), &period) < 0)
		return UINT32_MAX;
	return share(quota, period);
}

static uint32_t limit_of_v1(const struct eg_fs *fs, const char *dir)
{
	char path[EG_PATH_MAX], quota[32], period[32];
	int64_t q, p;

	snprintf(path, sizeof(path), "%.900s/cpu.cfs_quota_us", dir);
	if (eg_fs_read_text(fs, path, quota, sizeof(quota)) < 0)
		return UINT32_MAX;
	snprintf(path, sizeof(path), "%.900s/cpu.cfs_period_us", dir);
	if (eg_fs_read_text(fs, path, period, sizeof(period)) < 0 ||
	    eg_parse_i64(quota, strlen(quota), &q) < 0 ||
	    eg_parse_i64(period, strlen(period), &p) < 0)
		return UINT32_MAX;
	return share(q, p);
}

static uint32_t limit_of_v2(const struct eg_fs *fs, const char *dir)
{
	char path[EG_PATH_MAX], text[64];

	snprintf(path, sizeof(path), "%.900s/cpu.max", dir);
	return eg_fs_read_text(fs, path, text, sizeof(text)) < 0 ? UINT32_MAX :
								   eg_cpu_max_limit(text);
}

/* The least of a cgroup and those above it; group begins with '/'. */
static uint32_t least_of(const struct eg_fs *fs, const char *mount, const char *group,
			 uint32_t (*limit_of)(const struct eg_fs *, const char *))
{
	uint32_t least = UINT32_MAX;
	char dir[EG_PATH_MAX];
	size_t base = strlen(mount);

	snprintf(dir, sizeof(dir), "%s%.800s", mount, group);
	for (int i = 0; i < CGROUP_DEPTH; i++) {
		char *slash = strrchr(dir + base, '/');

		least = EG_MIN(least, limit_of(fs, dir));
		if (!slash)
			break;
		*slash = '\0';
	}
	return least;
}

/* Line "0::/path" is v2; "4:cpu,cpuacct:/path" is v1. */
static uint32_t quota_cpus(const struct eg_fs *fs)
{
	uint32_t least = UINT32_MAX;
	char text[4096], *save = NULL;

	if (eg_fs_read_text(fs, "proc/self/cgroup", text, sizeof(text)) < 0)
		return least;
	for (char *l = strtok_r(text, "\n", &save); l; l = strtok_r(NULL, "\n", &save)) {
		char *names = strchr(l, ':'), *group = names ? strchr(names + 1, ':') : NULL;
		char list[128];

		if (!group || group[1] != '/')
			continue;
		*group++ = '\0';
		snprintf(list, sizeof(list), ",%.120s,", names + 1);
		if (strcmp(list, ",,") == 0)
			least = EG_MIN(least, least_of(fs, "sys/fs/cgroup", group, limit_of_v2));
		else if (strstr(list, ",cpu,"))
			least = EG_MIN(least,
				       least_of(fs, "sys/fs/cgroup/cpu", group, limit_of_v1));
	}
	return least;
}

static uint32_t usable_cpus(const struct eg_env *env, uint32_t online)
{
	uint32_t n = online, quota;
	cpu_set_t set;

	/* Of another machine than this one only its own files tell. */
	if (!env->fs.is_machine)
		return n;
	if (sched_getaffinity(0, sizeof(set), &set) == 0)
		n = (uint32_t)CPU_COUNT(&set);
	quota = quota_cpus(&env->fs);
	return n && quota ? EG_MIN(n, quota) : n;
}

void eg_sysinfo_read(const struct eg_env *env, struct eg_sysinfo *ret)
{
	struct eg_cpu cpu = {0};
	struct eg_machine machine;
	struct utsname u;
	bool have_cpu = eg_cpu_read(env, &cpu) == 0;

	*ret = (struct eg_sysinfo){0};
	read_os(env, ret);
	eg_machine_read(env, have_cpu ? &cpu : NULL, &machine);
	(void)eg_copy(ret->kernel, sizeof(ret->kernel), machine.kernel);
	if (eg_fs_read_text(&env->fs, "proc/sys/kernel/hostname", ret->host, sizeof(ret->host)) <
		    0 &&
	    env->fs.is_machine && uname(&u) == 0)
		(void)eg_copy(ret->host, sizeof(ret->host), u.nodename);
	(void)eg_copy(ret->cpu_brand, sizeof(ret->cpu_brand), cpu.model_name);
	ret->cpu_count = usable_cpus(env, have_cpu ? cpu.threads : 0);
}

void eg_memory_open(struct eg_memory *m, const struct eg_env *env)
{
	*m = (struct eg_memory){.env = env, .fd = eg_fs_open(&env->fs, "proc/meminfo")};
}

void eg_memory_close(struct eg_memory *m)
{
	if (m->env)
		eg_fs_close(&m->env->fs, m->fd);
	*m = (struct eg_memory){.fd = -1};
}

uint64_t eg_memory_used(struct eg_memory *m, uint64_t now_ns)
{
	struct eg_host_facts facts;
	char text[MEMINFO_MAX];
	ssize_t n;

	if (m->read_ns && now_ns < m->read_ns + MEMORY_NS)
		return m->bytes;
	m->read_ns = now_ns;
	m->bytes = UINT64_MAX;
	n = m->fd < 0 ? -1 : eg_fs_pread(&m->env->fs, m->fd, text, sizeof(text), 0);
	eg_meminfo_parse(text, n > 0 ? (size_t)n : 0, &facts);
	if (facts.memory_total_bytes != UINT64_MAX &&
	    facts.memory_available_bytes <= facts.memory_total_bytes)
		m->bytes = facts.memory_total_bytes - facts.memory_available_bytes;
	return m->bytes;
}
