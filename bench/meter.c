/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What one sample costs beside the reads it cannot do without. Each round takes as many samples as
 * bare preads of the same counters on kept descriptors, one after the other, in CPU time of this
 * thread; the figures are medians over the rounds, and the ratio is taken within each round, so that
 * a change of the machine's speed between rounds is in neither.
 *
 *	bench-meter sample ROOT     nanoseconds a channel, of a sample and of a bare pread
 *	bench-meter full ROOT       nanoseconds a read of all channels, snapshot included; memory
 *	bench-meter count ROOT N    N samples and no more, to be counted from outside
 *	bench-meter tick ROOT SEC   for SEC seconds wakes 1000 times a second and does bare preads, no
 *	                            more: what such a rate costs on this machine whoever keeps it
 */
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/parse.h"
#include "core/meter.h"

enum { ROUNDS = 101, EACH = 2000, FILES_MAX = 64 };

static double cpu_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (double)ts.tv_sec * 1e9 + (double)ts.tv_nsec;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *v, size_t n)
{
	qsort(v, n, sizeof(*v), compare);
	return v[n / 2];
}

/* Resident memory now; getrusage() would tell of the program that started this one too. */
static long rss_kb(void)
{
	FILE *f = fopen("/proc/self/statm", "re");
	long pages = -1;

	if (f) {
		if (fscanf(f, "%*d %ld", &pages) != 1)
			pages = -1;
		fclose(f);
	}
	return pages < 0 ? -1 : pages * (sysconf(_SC_PAGESIZE) / 1024);
}

/* Nanoseconds a pread, over EACH reads of each of n files. */
static double time_preads(const int *fd, size_t n)
{
	double begin = cpu_ns();
	char buf[64];

	for (unsigned k = 0; k < EACH; k++)
		for (size_t i = 0; i < n; i++)
			if (pread(fd[i], buf, sizeof(buf), 0) <= 0)
				return -1;
	return (cpu_ns() - begin) / EACH / (double)n;
}

static double time_samples(struct eg_meter *m)
{
	double begin = cpu_ns();

	for (unsigned k = 0; k < EACH; k++)
		eg_meter_sample(m, false);
	return (cpu_ns() - begin) / EACH / (double)eg_meter_count(m);
}

/* Kept descriptors of the files behind the channels; they live as long as the program. */
static int open_counters(const struct eg_env *env, const struct eg_meter *m, int *ret_fd)
{
	for (size_t i = 0; i < eg_meter_count(m); i++) {
		ret_fd[i] = eg_fs_open(&env->fs, eg_meter_channel(m, i)->origin);
		if (ret_fd[i] < 0)
			return ret_fd[i];
	}
	return 0;
}

static int sample(const struct eg_env *env, struct eg_meter *m)
{
	static double ours[ROUNDS], bare[ROUNDS], ratio[ROUNDS];
	size_t n = eg_meter_count(m);
	int fd[FILES_MAX];

	if (n > FILES_MAX || open_counters(env, m, fd) < 0)
		return 1;
	for (unsigned k = 0; k < ROUNDS; k++) {
		bare[k] = time_preads(fd, n);
		ours[k] = time_samples(m);
		if (bare[k] < 0)
			return 1;
		ratio[k] = ours[k] / bare[k];
	}
	printf("{\"channels\": %zu, \"sample_ns\": %.1f, \"pread_ns\": %.1f, \"ratio\": %.3f}\n", n,
	       median(ours, ROUNDS), median(bare, ROUNDS), median(ratio, ROUNDS));
	return 0;
}

static int full(struct eg_meter *m)
{
	static double ours[ROUNDS];
	uint64_t sum = 0;

	for (unsigned k = 0; k < ROUNDS; k++) {
		double begin = cpu_ns();

		for (unsigned i = 0; i < EACH; i++) {
			const struct eg_snapshot *s;

			eg_meter_sample(m, true);
			s = eg_meter_pin(m);
			for (size_t c = 0; s && c < s->n; c++)
				sum += s->channel[c].uj;
			eg_meter_unpin(m, s);
		}
		ours[k] = (cpu_ns() - begin) / EACH;
	}
	printf("{\"channels\": %zu, \"read_ns\": %.1f, \"rss_kb\": %ld, \"sum_uj\": %llu}\n",
	       eg_meter_count(m), median(ours, ROUNDS), rss_kb(), (unsigned long long)sum);
	return 0;
}

static int tick(const struct eg_env *env, const struct eg_meter *m, uint64_t seconds)
{
	size_t n = eg_meter_count(m);
	struct timespec ts;
	int fd[FILES_MAX];

	if (n > FILES_MAX || open_counters(env, m, fd) < 0)
		return 1;
	for (uint64_t now = eg_clock_ns(&env->clock), end = now + seconds * EG_NSEC_PER_SEC;
	     now < end; now = eg_clock_ns(&env->clock)) {
		char buf[64];

		for (size_t i = 0; i < n; i++)
			if (pread(fd[i], buf, sizeof(buf), 0) <= 0)
				return 1;
		ts = (struct timespec){.tv_nsec = (long)EG_NSEC_PER_MSEC};
		ppoll(NULL, 0, &ts, NULL);
	}
	return 0;
}

static int with_meter(const char *what, const char *root, const char *count)
{
	const struct eg_meter_config cfg = {.select = "rapl"};
	struct eg_meter *m;
	struct eg_env env;
	uint64_t n = 0;
	int r;

	if (count && eg_parse_u64(count, strlen(count), &n) < 0)
		return 2;
	r = eg_env_open(&env, root);
	if (r < 0) {
		fprintf(stderr, "bench-meter: %s: %s\n", root, strerror(-r));
		return 1;
	}
	r = eg_meter_open(&env, eg_drivers, &cfg, &m, NULL);
	if (r < 0 || eg_meter_count(m) == 0) {
		fprintf(stderr, "bench-meter: %s has no RAPL zone\n", root);
		return 1;
	}
	if (strcmp(what, "sample") == 0)
		r = sample(&env, m);
	else if (strcmp(what, "full") == 0)
		r = full(m);
	else if (strcmp(what, "tick") == 0)
		r = tick(&env, m, n);
	else
		for (uint64_t i = 0; i < n; i++)
			eg_meter_sample(m, false);
	if (!eg_meter_close(m))
		eg_env_close(&env);
	return r;
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";

	if (argc == 3 && (strcmp(what, "sample") == 0 || strcmp(what, "full") == 0))
		return with_meter(what, argv[2], NULL);
	if (argc == 4 && (strcmp(what, "count") == 0 || strcmp(what, "tick") == 0))
		return with_meter(what, argv[2], argv[3]);
	fprintf(stderr, "usage: bench-meter sample|full ROOT | count ROOT N | tick ROOT SECONDS\n");
	return 2;
}
