/* SPDX-License-Identifier: Apache-2.0 */
/* See run.h. */
#include "sim/run.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "base/clock.h"

/* How long one wait for sleepers takes before the stop descriptor is looked at. */
#define WAIT_NS (50 * EG_NSEC_PER_MSEC)

uint64_t eg_sim_run_now_ns(const struct eg_sim_run *run)
{
	struct eg_clock clock = eg_clock_system();
	uint64_t real_ns = eg_clock_ns(&clock) - run->t0_ns;

	return run->t0_ns +
	       (run->speed == 1.0 ? real_ns : (uint64_t)((long double)real_ns * run->speed));
}

/* Waits for at most ns; true when it is time to end. */
static bool stopped(const struct eg_sim_run *run, uint64_t ns)
{
	struct pollfd p = {.fd = run->stop_fd, .events = POLLIN};
	struct timespec ts = {.tv_sec = (time_t)(ns / EG_NSEC_PER_SEC),
			      .tv_nsec = (long)(ns % EG_NSEC_PER_SEC)};

	return ppoll(&p, run->stop_fd >= 0, &ts, NULL) > 0;
}

static uint64_t end_ns(const struct eg_sim_run *run)
{
	return run->duration_ns ? run->t0_ns + run->duration_ns : UINT64_MAX;
}

int eg_sim_run_real(const struct eg_sim_run *run)
{
	uint64_t end = end_ns(run);

	for (;;) {
		uint64_t now = EG_MIN(eg_sim_run_now_ns(run), end), next, wait;
		int r = eg_sim_advance(run->sim, now);

		if (r < 0 || now == end)
			return r;
		next = EG_MIN(eg_sim_next_ns(run->sim), end);
		wait = (uint64_t)((long double)(next - now) / run->speed);
		/* Never faster than 1 kHz; and look at the stop descriptor now and then. */
		wait = EG_MAX(wait, EG_NSEC_PER_MSEC);
		if (stopped(run, EG_MIN(wait, EG_NSEC_PER_SEC)))
			return 0;
	}
}

/* Unix time minus boot time in the shared page: what a clock step changes. */
static int step_unix(const char *path, uint64_t base_ns)
{
	eg_autoclose int fd = open(path, O_RDWR | O_CLOEXEC);
	struct eg_clock_page *page;

	if (fd < 0)
		return -errno;
	page = mmap(NULL, sizeof(*page), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (page == MAP_FAILED)
		return -errno;
	__atomic_store_n(&page->unix_base_ns, base_ns, __ATOMIC_RELEASE);
	munmap(page, sizeof(*page));
	return 0;
}

/* Where time goes next: as wanted, or to the end of a suspension that the wish falls into. */
static uint64_t go_to(const struct eg_scenario *sc, uint64_t t0_ns, uint64_t want_ns)
{
	for (size_t i = 0; i < sc->n_events; i++) {
		const struct eg_sim_event *e = &sc->event[i];
		uint64_t from = t0_ns + e->at_ns;

		if (e->kind == EG_SIM_SUSPEND && want_ns > from && want_ns < from + e->for_ns)
			return from + e->for_ns;
	}
	return want_ns;
}

static int lock_step(const struct eg_sim_run *run, struct eg_file_clock *fc, const char *path)
{
	const struct eg_scenario *sc = eg_sim_scenario(run->sim);
	uint64_t end = end_ns(run), now = run->t0_ns;
	int64_t step_ns = 0;

	while (now < end) {
		uint64_t want;
		int r = eg_file_clock_wait_sleepers(fc, WAIT_NS, &want);

		if (stopped(run, 0))
			return 0;
		if (r == -ETIMEDOUT)
			continue;
		if (r < 0)
			return r;
		now = EG_MIN(go_to(sc, run->t0_ns, want), end);
		r = eg_sim_advance(run->sim, now);
		if (r < 0)
			return r;
		if (eg_scenario_clock_step_ns(sc, now - run->t0_ns) != step_ns) {
			step_ns = eg_scenario_clock_step_ns(sc, now - run->t0_ns);
			r = step_unix(path, EG_SIM_UNIX_NS - run->t0_ns + (uint64_t)step_ns);
			if (r < 0)
				return r;
		}
		eg_file_clock_set(fc, now, eg_scenario_suspended_ns(sc, now - run->t0_ns));
	}
	return 0;
}

int eg_sim_run_clock(const struct eg_sim_run *run, const char *clock_path, int (*ready)(void *ctx),
		     void *ctx)
{
	char fresh[4096];
	struct eg_file_clock *fc;
	int r;

	/* Born under another name, so that nobody maps it half made. */
	if (snprintf(fresh, sizeof(fresh), "%s.new", clock_path) >= (int)sizeof(fresh))
		return -ENAMETOOLONG;
	r = eg_file_clock_create(fresh, run->t0_ns, EG_SIM_UNIX_NS, &fc);
	if (r < 0)
		return r;
	if (rename(fresh, clock_path) < 0)
		r = -errno;
	if (r == 0)
		r = ready(ctx);
	if (r == 0)
		r = lock_step(run, fc, clock_path);
	eg_file_clock_close(fc);
	return r;
}
