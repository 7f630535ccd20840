/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CPU and memory facts from proc/stat, proc/meminfo, cpufreq and the CPU's own hwmon chip. Utilisation
 * is a difference between two readings of proc/stat; it is asked for by scrapes, which may come in
 * pairs, so that one too close to the last reading repeats its answer: over a tick or two of 10 ms it
 * would be noise.
 */
#include "host/stats.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

#include "base/parse.h"

#define HWMON_DIR   "sys/class/hwmon"
#define FREQUENCY   "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq"
#define HWMON_CHIPS 64		    /* chips looked at for the CPU's */
#define MEMINFO_MAX 4096	    /* bytes; the lines of interest are the first */
#define RATIO_NS    EG_NSEC_PER_SEC /* utilisation is of at least so much time */

struct eg_stats {
	const struct eg_env *env;
	struct eg_host_facts fixed; /* what does not change */
	int stat_fd, meminfo_fd, frequency_fd, celsius_fd;
	bool have_time;
	struct eg_cpu_time time;
	uint64_t time_ns;
	double ratio; /* last known */
};

/* The drivers of the kernel that tell a CPU's temperature as temp1. */
static int open_celsius(const struct eg_fs *fs)
{
	static const char *const cpu_chips[] = {"coretemp", "k10temp", "zenpower", "cpu_thermal"};
	struct eg_names names = {0};
	int fd = -1;

	if (eg_fs_list(fs, HWMON_DIR, &names) < 0)
		return -1;
	for (size_t i = 0; i < names.n && i < HWMON_CHIPS && fd < 0; i++) {
		char path[128], name[32];

		snprintf(path, sizeof(path), HWMON_DIR "/%.60s/name", names.name[i]);
		if (eg_fs_read_text(fs, path, name, sizeof(name)) < 0)
			continue;
		for (size_t k = 0; k < EG_ARRAY_SIZE(cpu_chips) && fd < 0; k++)
			if (strcmp(name, cpu_chips[k]) == 0)
				fd = eg_fs_openf(fs, HWMON_DIR "/%.60s/temp1_input", names.name[i]);
	}
	eg_names_free(&names);
	return fd;
}

/* proc/sys/kernel/arch since Linux 6.1; of the machine itself uname(2) knows it too. */
static void read_architecture(const struct eg_fs *fs, char *dst, size_t cap)
{
	struct utsname u;
	char text[32];

	if (eg_fs_read_text(fs, "proc/sys/kernel/arch", text, sizeof(text)) > 0)
		(void)eg_copy(dst, cap, text);
	else if (fs->is_machine && uname(&u) == 0)
		(void)eg_copy(dst, cap, u.machine);
}

int eg_stats_open(const struct eg_env *env, const struct eg_cpu *cpu, struct eg_stats **ret)
{
	struct eg_stats *s = malloc(sizeof(*s));

	if (!s)
		return -ENOMEM;
	*s = (struct eg_stats){
		.env = env,
		.stat_fd = eg_fs_open(&env->fs, "proc/stat"),
		.meminfo_fd = eg_fs_open(&env->fs, "proc/meminfo"),
		.frequency_fd = eg_fs_open(&env->fs, FREQUENCY),
		.celsius_fd = open_celsius(&env->fs),
		.ratio = NAN,
	};
	if (cpu) {
		(void)eg_copy(s->fixed.cpu_model, sizeof(s->fixed.cpu_model), cpu->model_name);
		(void)eg_copy(s->fixed.vendor, sizeof(s->fixed.vendor), cpu->vendor);
		s->fixed.sockets = cpu->sockets;
		s->fixed.cores = cpu->cores;
		s->fixed.threads = cpu->threads;
	}
	read_architecture(&env->fs, s->fixed.architecture, sizeof(s->fixed.architecture));
	*ret = s;
	return 0;
}

struct eg_stats *eg_stats_close(struct eg_stats *s)
{
	if (!s)
		return NULL;
	eg_fs_close(&s->env->fs, s->stat_fd);
	eg_fs_close(&s->env->fs, s->meminfo_fd);
	eg_fs_close(&s->env->fs, s->frequency_fd);
	eg_fs_close(&s->env->fs, s->celsius_fd);
	free(s);
	return NULL;
}

/* "MemTotal:       16318456 kB" */
void eg_meminfo_parse(const char *text, size_t n, struct eg_host_facts *ret)
{
	const struct {
		const char *key;
		uint64_t *bytes;
	} lines[] = {
		{"MemTotal:", &ret->memory_total_bytes},
		{"MemFree:", &ret->memory_free_bytes},
		{"MemAvailable:", &ret->memory_available_bytes},
		{"Buffers:", &ret->memory_buffers_bytes},
		{"Cached:", &ret->memory_cached_bytes},
	};

	for (size_t i = 0; i < EG_ARRAY_SIZE(lines); i++)
		*lines[i].bytes = UINT64_MAX;
	for (const char *p = text, *end = text + n, *next; p < end; p = next) {
		const char *nl = memchr(p, '\n', (size_t)(end - p));

		if (!nl) /* a line that was cut says nothing */
			return;
		next = nl + 1;
		for (size_t i = 0; i < EG_ARRAY_SIZE(lines); i++) {
			size_t k = strlen(lines[i].key);
			uint64_t kib;

			if ((size_t)(nl - p) < k + 3 || memcmp(p, lines[i].key, k) != 0 ||
			    memcmp(nl - 3, " kB", 3) != 0)
				continue;
			if (eg_parse_u64(p + k, (size_t)(nl - 3 - p) - k, &kib) == 0 &&
			    kib <= UINT64_MAX / 2048)
				*lines[i].bytes = kib * 1024;
		}
	}
}

static double read_ratio(struct eg_stats *s)
{
	uint64_t now_ns = eg_clock_ns(&s->env->clock);
	struct eg_cpu_time now;
	double ratio;

	if (s->have_time && !isnan(s->ratio) && now_ns - s->time_ns < RATIO_NS)
		return s->ratio;
	if (s->stat_fd < 0 || eg_cpu_time_pread(&s->env->fs, s->stat_fd, &now) < 0) {
		s->have_time = false;
		return s->ratio = NAN;
	}
	if (s->have_time) {
		int r = eg_cpu_busy_ratio(&s->time, &now, &ratio);

		if (r == -ENODATA)
			return s->ratio;
		s->ratio = r == 0 ? ratio : NAN;
	}
	s->time = now;
	s->time_ns = now_ns;
	s->have_time = true;
	return s->ratio;
}

/* A signed number in a file, scaled; NaN where there is none. */
static double read_scaled(const struct eg_stats *s, int fd, double scale)
{
	char text[32];
	ssize_t n = fd < 0 ? -1 : eg_fs_pread(&s->env->fs, fd, text, sizeof(text), 0);
	int64_t v;

	return n > 0 && eg_parse_i64(text, (size_t)n, &v) == 0 ? (double)v * scale : NAN;
}

void eg_stats_read(struct eg_stats *s, struct eg_host_facts *ret)
{
	char text[MEMINFO_MAX];
	ssize_t n = -1;

	*ret = s->fixed;
	ret->cpu_utilization_ratio = read_ratio(s);
	ret->cpu_frequency_hz = read_scaled(s, s->frequency_fd, 1e3); /* file in kHz */
	ret->cpu_celsius = read_scaled(s, s->celsius_fd, 1e-3);	      /* in millidegrees */
	if (s->meminfo_fd >= 0)
		n = eg_fs_pread(&s->env->fs, s->meminfo_fd, text, sizeof(text), 0);
	eg_meminfo_parse(text, n > 0 ? (size_t)n : 0, ret);
}
