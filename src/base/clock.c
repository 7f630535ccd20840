/* SPDX-License-Identifier: Apache-2.0 */
/* See clock.h: the system's clock, a clock moved by hand, and the shared file clock of tests. */
#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>

#ifdef CLOCK_BOOTTIME
#define INTERVAL_CLOCK CLOCK_BOOTTIME
#else
#define INTERVAL_CLOCK CLOCK_MONOTONIC
#endif

static uint64_t read_clock(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (uint64_t)ts.tv_sec * EG_NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
}

static struct timespec to_timespec(uint64_t ns)
{
	return (struct timespec){.tv_sec = (time_t)(ns / EG_NSEC_PER_SEC),
				 .tv_nsec = (long)(ns % EG_NSEC_PER_SEC)};
}

static uint64_t system_boot(void *ctx)
{
	return read_clock(INTERVAL_CLOCK);
}

uint64_t eg_clock_real_ns(void)
{
	return read_clock(CLOCK_MONOTONIC);
}

struct timespec eg_clock_deadline(uint64_t timeout_ns)
{
	uint64_t ns = eg_clock_real_ns() + EG_MIN(timeout_ns, 86400 * EG_NSEC_PER_SEC);

	return (struct timespec){.tv_sec = (time_t)(ns / EG_NSEC_PER_SEC),
				 .tv_nsec = (long)(ns % EG_NSEC_PER_SEC)};
}

static uint64_t system_awake(void *ctx)
{
	return eg_clock_real_ns();
}

static uint64_t system_unix(void *ctx)
{
	return read_clock(CLOCK_REALTIME);
}

static int system_sleep(void *ctx, uint64_t t_ns)
{
	struct timespec ts = to_timespec(t_ns);

	return -clock_nanosleep(INTERVAL_CLOCK, TIMER_ABSTIME, &ts, NULL);
}

struct eg_clock eg_clock_system(void)
{
	static const struct eg_clock_ops ops = {system_boot, system_awake, system_unix,
						system_sleep};

	return (struct eg_clock){.ops = &ops};
}

static uint64_t manual_boot(void *ctx)
{
	return __atomic_load_n(&((struct eg_manual_clock *)ctx)->boot_ns, __ATOMIC_RELAXED);
}

static uint64_t manual_awake(void *ctx)
{
	const struct eg_manual_clock *m = ctx;

	return manual_boot(ctx) - __atomic_load_n(&m->suspended_ns, __ATOMIC_RELAXED);
}

static uint64_t manual_unix(void *ctx)
{
	const struct eg_manual_clock *m = ctx;

	return m->unix_base_ns + manual_boot(ctx);
}

static int manual_sleep(void *ctx, uint64_t t_ns)
{
	struct eg_manual_clock *m = ctx;

	m->boot_ns = EG_MAX(m->boot_ns, t_ns);
	return 0;
}

struct eg_clock eg_clock_manual(struct eg_manual_clock *m)
{
	static const struct eg_clock_ops ops = {manual_boot, manual_awake, manual_unix,
						manual_sleep};

	return (struct eg_clock){.ops = &ops, .ctx = m};
}

/* ---- the file clock ---- */

#define CLOCK_MAGIC 0x00314b4c43475245ULL /* "ERGCLK1\0", little-endian */

struct eg_file_clock {
	struct eg_clock_page *page;
	int slot; /* -1: the simulator's side */
};

/* Waiting is by short naps: it costs nothing that matters in a test, and needs no wake-up call
 * that a killed peer could forget. */
static void nap(void)
{
	struct timespec ts = {.tv_nsec = 20000};

	nanosleep(&ts, NULL);
}

static uint64_t get(const uint64_t *p)
{
	return __atomic_load_n(p, __ATOMIC_ACQUIRE);
}

static void set(uint64_t *p, uint64_t v)
{
	__atomic_store_n(p, v, __ATOMIC_RELEASE);
}

static int map_page(const char *path, int flags, struct eg_clock_page **ret)
{
	eg_autoclose int fd = open(path, flags | O_CLOEXEC, 0600);
	struct stat st;
	void *p;

	if (fd < 0)
		return -errno;
	if (flags & O_CREAT) {
		if (ftruncate(fd, sizeof(struct eg_clock_page)) < 0)
			return -errno;
	} else if (fstat(fd, &st) < 0 || st.st_size != sizeof(struct eg_clock_page)) {
		return -EPROTO;
	}
	p = mmap(NULL, sizeof(struct eg_clock_page), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		return -errno;
	*ret = p;
	return 0;
}

static int file_clock_new(struct eg_clock_page *page, int slot, struct eg_file_clock **ret)
{
	struct eg_file_clock *fc = malloc(sizeof(*fc));

	if (!fc) {
		munmap(page, sizeof(*page));
		return -ENOMEM;
	}
	*fc = (struct eg_file_clock){.page = page, .slot = slot};
	*ret = fc;
	return 0;
}

int eg_file_clock_attach(const char *path, struct eg_file_clock **ret)
{
	struct eg_clock_page *page;
	int r = map_page(path, O_RDWR, &page);

	if (r < 0)
		return r;
	r = -EUSERS;
	if (get(&page->magic) != CLOCK_MAGIC)
		r = -EPROTO;
	for (int i = 0; r == -EUSERS && i < EG_CLOCK_SLOTS; i++) {
		uint64_t expected = 0;

		if (__atomic_compare_exchange_n(&page->slot[i].pid, &expected, (uint64_t)getpid(),
						false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
			set(&page->slot[i].want_ns, 0);
			return file_clock_new(page, i, ret);
		}
	}
	munmap(page, sizeof(*page));
	return r;
}

int eg_file_clock_create(const char *path, uint64_t boot_ns, uint64_t unix_ns,
			 struct eg_file_clock **ret)
{
	struct eg_clock_page *page;
	int r = map_page(path, O_RDWR | O_CREAT | O_TRUNC, &page);

	if (r < 0)
		return r;
	page->boot_ns = boot_ns;
	page->unix_base_ns = unix_ns - boot_ns;
	set(&page->magic, CLOCK_MAGIC);
	return file_clock_new(page, -1, ret);
}

struct eg_file_clock *eg_file_clock_close(struct eg_file_clock *fc)
{
	if (!fc)
		return NULL;
	if (fc->slot >= 0) {
		/* A forked child that closes its copy leaves its parent's slot alone. */
		if (get(&fc->page->slot[fc->slot].pid) == (uint64_t)getpid()) {
			set(&fc->page->slot[fc->slot].want_ns, 0);
			set(&fc->page->slot[fc->slot].pid, 0);
		}
	} else {
		set(&fc->page->stop, 1);
	}
	munmap(fc->page, sizeof(*fc->page));
	free(fc);
	return NULL;
}

static uint64_t file_boot(void *ctx)
{
	return get(&((struct eg_file_clock *)ctx)->page->boot_ns);
}

static uint64_t file_awake(void *ctx)
{
	const struct eg_file_clock *fc = ctx;
	uint64_t suspended = get(&fc->page->suspended_ns);

	return get(&fc->page->boot_ns) - suspended;
}

static uint64_t file_unix(void *ctx)
{
	const struct eg_file_clock *fc = ctx;

	return get(&fc->page->unix_base_ns) + get(&fc->page->boot_ns);
}

unsigned eg_file_clock_programs(const struct eg_file_clock *fc)
{
	unsigned n = 0;

	for (int i = 0; i < EG_CLOCK_SLOTS; i++)
		n += get(&fc->page->slot[i].pid) != 0;
	return n;
}

static bool can_read(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	return fd >= 0 && poll(&p, 1, 0) > 0;
}

int eg_file_clock_sleep(struct eg_file_clock *fc, uint64_t t_ns, int wake_fd)
{
	int r = 0;

	if (fc->slot < 0)
		return -EINVAL;
	if (get(&fc->page->boot_ns) >= t_ns)
		return 0;
	set(&fc->page->slot[fc->slot].want_ns, t_ns);
	for (unsigned spins = 0; get(&fc->page->boot_ns) < t_ns; spins++) {
		r = get(&fc->page->stop) ? -ECANCELED : can_read(wake_fd) ? -EINTR : 0;
		if (r < 0)
			break;
		if (spins > 2000)
			nap();
		else
			sched_yield();
	}
	set(&fc->page->slot[fc->slot].want_ns, 0);
	return r;
}

static int file_sleep(void *ctx, uint64_t t_ns)
{
	return eg_file_clock_sleep(ctx, t_ns, -1);
}

struct eg_clock eg_clock_file(struct eg_file_clock *fc)
{
	static const struct eg_clock_ops ops = {file_boot, file_awake, file_unix, file_sleep};

	return (struct eg_clock){.ops = &ops, .ctx = fc};
}

/* True when all attached programs sleep; *ret_want is the earliest time wanted. */
static bool all_asleep(struct eg_clock_page *page, uint64_t *ret_want)
{
	uint64_t now = get(&page->boot_ns), want = UINT64_MAX;
	bool any = false;

	for (int i = 0; i < EG_CLOCK_SLOTS; i++) {
		uint64_t pid = get(&page->slot[i].pid), w;

		if (!pid)
			continue;
		if (kill((pid_t)pid, 0) < 0 && errno == ESRCH) {
			set(&page->slot[i].want_ns, 0);
			set(&page->slot[i].pid, 0);
			continue;
		}
		w = get(&page->slot[i].want_ns);
		if (w <= now) /* awake, or woken and not yet gone on */
			return false;
		any = true;
		want = EG_MIN(want, w);
	}
	*ret_want = want;
	return any;
}

int eg_file_clock_wait_sleepers(struct eg_file_clock *fc, uint64_t timeout_ns,
				uint64_t *ret_want_ns)
{
	uint64_t until = read_clock(CLOCK_MONOTONIC) + timeout_ns;

	for (unsigned spins = 0;; spins++) {
		if (all_asleep(fc->page, ret_want_ns))
			return 0;
		if (spins > 2000) {
			if (read_clock(CLOCK_MONOTONIC) >= until)
				return -ETIMEDOUT;
			nap();
		} else {
			sched_yield();
		}
	}
}

void eg_file_clock_set(struct eg_file_clock *fc, uint64_t boot_ns, uint64_t suspended_ns)
{
	set(&fc->page->suspended_ns, suspended_ns);
	set(&fc->page->boot_ns, boot_ns);
}
