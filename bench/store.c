/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the ledger on disk costs: the checkpoint of a tick in CPU time of this thread, a flush in real
 * time on the disk that DIR is on, and the replay of a log of a million records from the page cache.
 * Medians over rounds.
 *
 *	bench-store DIR [RECORDS]     DIR: an empty directory, left as it was
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/parse.h"
#include "store/crc32c.h"
#include "store/internal.h"

enum { ROUNDS = 51, FLUSHES = 41, REPLAYS = 11, TICKS = 20000, ACCOUNTS = 32 };
#define BLOCK_RECORDS 4096

static double now_ns(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
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

static struct eg_account *make_accounts(size_t n)
{
	struct eg_account *a = calloc(n, sizeof(*a));

	for (size_t i = 0; a && i < n; i++) {
		snprintf(a[i].device, sizeof(a[i].device),
			 "gpu-GPU-%08zx-aaaa-bbbb-cccc-0123456789ab", i);
		snprintf(a[i].channel, sizeof(a[i].channel), "nvml/gpu-%zu", i);
		a[i].component = EG_COMPONENT_GPU;
		a[i].source = EG_SOURCE_NVML;
		a[i].created_unix_ns = 1;
	}
	return a;
}

static struct eg_store *open_store(const char *dir, size_t n)
{
	const struct eg_store_config cfg = {.dir = dir, .boot_id = "bench", .unix_ns = 1};
	struct eg_strbuf why = EG_STRBUF_INIT(4096);
	struct eg_store *s = NULL;

	if (eg_store_open(&cfg, &s, &why) < 0 || eg_store_start(s, n, &why) < 0) {
		fprintf(stderr, "bench-store: %s\n", eg_strbuf_get(&why));
		exit(1);
	}
	eg_strbuf_free(&why);
	return s;
}

static void tidy(const char *dir)
{
	static const char *const names[] = {EG_STORE_LOG, EG_STORE_CHECKPOINT, EG_STORE_LOCK};
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	for (size_t i = 0; i < EG_ARRAY_SIZE(names); i++)
		(void)!unlinkat(fd, names[i], 0);
	close(fd);
}

static void bench_checkpoint(const char *dir, size_t n, unsigned ticks)
{
	struct eg_account *a = make_accounts(n);
	struct eg_store *s = open_store(dir, n);
	double ns[ROUNDS];

	for (size_t round = 0; round < ROUNDS; round++) {
		double begin = now_ns(CLOCK_THREAD_CPUTIME_ID);

		for (unsigned k = 0; k < ticks; k++) {
			for (size_t i = 0; i < n; i++)
				a[i].uj += 1000;
			eg_store_checkpoint(s, a, n, k, k);
		}
		ns[round] = (now_ns(CLOCK_THREAD_CPUTIME_ID) - begin) / ticks;
	}
	printf("checkpoint of %zu accounts: %.0f ns\n", n, median(ns, ROUNDS));
	eg_store_close(s, NULL, 0, 0, 0, NULL);
	free(a);
	tidy(dir);
}

static void bench_flush(const char *dir)
{
	struct eg_account *a = make_accounts(ACCOUNTS);
	struct eg_store *s = open_store(dir, ACCOUNTS);
	double whole[FLUSHES], handing[FLUSHES];

	for (size_t k = 0; k < FLUSHES; k++) {
		double begin = now_ns(CLOCK_MONOTONIC);

		for (size_t i = 0; i < ACCOUNTS; i++)
			a[i].uj += 1000;
		if (!eg_store_flush(s, a, ACCOUNTS, k + 1))
			exit(1);
		handing[k] = now_ns(CLOCK_MONOTONIC) - begin;
		if (eg_flush_wait(s, 10 * EG_NSEC_PER_SEC) < 0)
			exit(1);
		whole[k] = now_ns(CLOCK_MONOTONIC) - begin;
	}
	printf("flush of %d accounts: %.0f us until it is on the disk, %.1f us of the loop\n",
	       ACCOUNTS, median(whole, FLUSHES) / 1e3, median(handing, FLUSHES) / 1e3);
	eg_store_close(s, NULL, 0, 0, 0, NULL);
	free(a);
	tidy(dir);
}

/* A log of so many records of ACCOUNTS accounts, as an agent of many months would leave without
 * compaction. */
static int write_log(int dir, uint64_t records)
{
	int fd = openat(dir, EG_STORE_LOG, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	struct eg_account *a = make_accounts(ACCOUNTS);
	uint8_t *block = malloc((size_t)BLOCK_RECORDS * EG_RECORD_WIDTH);
	uint64_t done = 0;
	size_t at = 0;

	if (fd < 0 || !a || !block)
		return -1;
	eg_log_header_encode(block, 1);
	at++;
	for (uint64_t k = 0; done < records; k++) {
		struct eg_record r = {.session = 1, .unix_ns = k + 1};
		size_t i = k % ACCOUNTS;

		if (k < ACCOUNTS) {
			r.type = EG_RECORD_ACCOUNT;
			eg_store_key_text(&a[i], r.text);
		} else {
			a[i].uj += 1000;
			r.type = EG_RECORD_DELTA;
			r.delta_uj = 1000;
			r.n.uj = a[i].uj;
		}
		r.key = eg_store_key(&a[i]);
		eg_record_encode(block + at * EG_RECORD_WIDTH, &r);
		done++;
		if (++at == BLOCK_RECORDS || done == records) {
			if (write(fd, block, at * EG_RECORD_WIDTH) < 0)
				return -1;
			at = 0;
		}
	}
	free(a);
	free(block);
	close(fd);
	return 0;
}

static void bench_replay(const char *path, uint64_t records)
{
	const struct eg_io io = {.ops = &eg_io_kernel_ops};
	int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	double ms[REPLAYS], cpu[REPLAYS];

	if (dir < 0 || write_log(dir, records) < 0) {
		perror("bench-store");
		exit(1);
	}
	for (size_t k = 0; k < REPLAYS; k++) {
		double begin = now_ns(CLOCK_MONOTONIC), cpu_begin = now_ns(CLOCK_THREAD_CPUTIME_ID);
		struct eg_state s;

		if (eg_state_read(&io, dir, O_RDONLY, &s, NULL) < 0 || s.log.records != records ||
		    s.book.n != ACCOUNTS || s.log.damaged)
			exit(1);
		ms[k] = (now_ns(CLOCK_MONOTONIC) - begin) / 1e6;
		cpu[k] = (now_ns(CLOCK_THREAD_CPUTIME_ID) - cpu_begin) / 1e6;
		eg_state_free(&s);
	}
	printf("replay of %llu records: %.0f ms, CPU %.0f ms\n", (unsigned long long)records,
	       median(ms, REPLAYS), median(cpu, REPLAYS));
	close(dir);
	tidy(path);
}

static void bench_crc(void)
{
	static uint8_t data[1u << 20];
	uint32_t crc = 0;
	double begin, ns[2];

	for (int portable = 0; portable < 2; portable++) {
		begin = now_ns(CLOCK_THREAD_CPUTIME_ID);
		for (int k = 0; k < 64; k++)
			crc = portable ? eg_crc32c_portable(crc, data, sizeof(data)) :
					 eg_crc32c(crc, data, sizeof(data));
		ns[portable] = now_ns(CLOCK_THREAD_CPUTIME_ID) - begin;
	}
	printf("CRC-32C: %.1f GB/s by the %s, %.1f GB/s portable (%08x)\n",
	       64.0 * (1u << 20) / ns[0], eg_crc32c_by_hardware() ? "processor" : "tables",
	       64.0 * (1u << 20) / ns[1], crc);
}

int main(int argc, char **argv)
{
	uint64_t records = 1000000;

	if (argc < 2 || (argc > 2 && eg_parse_u64(argv[2], strlen(argv[2]), &records) < 0)) {
		fprintf(stderr, "usage: bench-store DIR [RECORDS]\n");
		return 2;
	}
	bench_checkpoint(argv[1], ACCOUNTS, TICKS);
	bench_checkpoint(argv[1], EG_ACCOUNTS_MAX, 50);
	bench_flush(argv[1]);
	bench_replay(argv[1], records);
	bench_crc();
	return 0;
}
