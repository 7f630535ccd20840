/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the agent costs: CPU time and memory as the kernel counts them, and energy as its share of the
 * packages' energy by CPU time. The latter is a consumer's share by a named method: modeled.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "agent/internal.h"
#include "base/parse.h"

#define LOOK_NS (10 * EG_NSEC_PER_SEC)

struct eg_self {
	const struct eg_env *env;
	int statm_fd, stat_fd; /* ours on this machine; the measured machine's */
	long page_bytes, tick_hz;
	bool have_base;
	uint64_t looked_ns, cpu_ns, busy_ns, packages_uj, energy_uj, rem;
};

int eg_self_new(const struct eg_env *env, struct eg_self **ret)
{
	struct eg_self *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	s->env = env;
	s->statm_fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
	s->stat_fd = eg_fs_open(&env->fs, "proc/stat");
	s->page_bytes = sysconf(_SC_PAGESIZE);
	s->tick_hz = sysconf(_SC_CLK_TCK);
	*ret = s;
	return 0;
}

struct eg_self *eg_self_free(struct eg_self *s)
{
	if (s) {
		if (s->statm_fd >= 0)
			close(s->statm_fd);
		eg_fs_close(&s->env->fs, s->stat_fd);
		free(s);
	}
	return NULL;
}

static uint64_t cpu_ns(void)
{
	struct rusage u;

	if (getrusage(RUSAGE_SELF, &u) < 0)
		return UINT64_MAX;
	return (uint64_t)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * EG_NSEC_PER_SEC +
	       (uint64_t)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1000;
}

/* Takes the numbers that a text begins with, separated by blanks. */
static size_t numbers(const char *text, uint64_t *ret, size_t max)
{
	size_t n = 0;

	while (n < max) {
		size_t len;

		text += strspn(text, " ");
		len = strcspn(text, " \n");
		if (!len || eg_parse_u64(text, len, &ret[n]) < 0)
			break;
		text += len;
		n++;
	}
	return n;
}

static uint64_t resident_bytes(const struct eg_self *s)
{
	char text[128];
	uint64_t v[2]; /* size, resident */
	ssize_t n = s->statm_fd < 0 ? -1 : pread(s->statm_fd, text, sizeof(text) - 1, 0);

	if (n <= 0)
		return UINT64_MAX;
	text[n] = '\0';
	if (numbers(text, v, EG_ARRAY_SIZE(v)) != EG_ARRAY_SIZE(v))
		return UINT64_MAX;
	return v[1] * (uint64_t)s->page_bytes;
}

/* Busy time of all processors: the first line of /proc/stat less idle and iowait. */
static int busy_ns(const struct eg_self *s, uint64_t *ret)
{
	char text[256];
	uint64_t v[8] = {0}, sum = 0;
	ssize_t n;

	if (s->stat_fd < 0)
		return -ENOENT;
	n = eg_fs_pread(&s->env->fs, s->stat_fd, text, sizeof(text) - 1, 0);
	if (n <= 0)
		return -ENODATA;
	text[n] = '\0';
	if (strncmp(text, "cpu ", 4) != 0 || numbers(text + 4, v, EG_ARRAY_SIZE(v)) < 4)
		return -EPROTO;
	for (int i = 0; i < 8; i++)
		if (i != 3 && i != 4)
			sum += v[i];
	*ret = sum * (EG_NSEC_PER_SEC / (uint64_t)s->tick_hz);
	return 0;
}

static bool packages_uj(const struct eg_view *v, uint64_t *ret)
{
	uint64_t sum = 0;
	bool any = false;

	for (size_t i = 0; i < v->n_channels; i++) {
		const struct eg_view_channel *c = &v->channel[i];

		if (c->ch->component != EG_COMPONENT_PACKAGE || c->account < 0 ||
		    c->ch->provenance != EG_PROVENANCE_MEASURED || !c->samples)
			continue;
		sum += c->uj;
		any = true;
	}
	*ret = sum;
	return any;
}

/* Adds our share of what the packages used since the last look. */
static void share_energy(struct eg_self *s, const struct eg_view *v, uint64_t cpu)
{
	uint64_t busy, packages, ours, all;

	if (busy_ns(s, &busy) < 0 || !packages_uj(v, &packages)) {
		s->have_base = false;
		return;
	}
	if (s->have_base && packages >= s->packages_uj && busy >= s->busy_ns) {
		ours = cpu - s->cpu_ns;
		all = EG_MAX(busy - s->busy_ns, ours);
		if (all)
			s->energy_uj += (uint64_t)((unsigned __int128)(packages - s->packages_uj) *
						   ours / all);
	}
	s->have_base = true;
	s->busy_ns = busy;
	s->packages_uj = packages;
	s->cpu_ns = cpu;
}

void eg_self_look(struct eg_self *s, const struct eg_view *v, struct eg_agent_facts *facts)
{
	uint64_t cpu = cpu_ns();

	facts->cpu_ns = cpu;
	facts->resident_bytes = resident_bytes(s);
	if (cpu != UINT64_MAX && (!s->looked_ns || v->t_ns >= s->looked_ns + LOOK_NS)) {
		share_energy(s, v, cpu);
		s->looked_ns = v->t_ns;
	}
	facts->energy_uj = s->have_base ? s->energy_uj : UINT64_MAX;
}
