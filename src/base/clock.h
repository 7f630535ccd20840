/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Time, injected. Intervals run on CLOCK_BOOTTIME (it goes on through suspend, so a suspend shows
 * as awake time falling behind it); stamps for people are Unix time.
 *
 * The file clock is for tests: a small file mapped by a simulator and the programs under test. A
 * program that sleeps writes until when; the simulator brings its counters to that time and then
 * moves the clock. So 24 hours pass in seconds, and the only error left is resolution.
 */
#ifndef EG_BASE_CLOCK_H
#define EG_BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

#include "base/util.h"

struct eg_clock_ops {
	uint64_t (*boot_ns)(void *ctx);	 /* interval clock, includes suspend */
	uint64_t (*awake_ns)(void *ctx); /* the same without suspend */
	uint64_t (*unix_ns)(void *ctx);
	/* Sleeps until boot_ns() >= t; 0, -EINTR when a signal came, -ECANCELED when the simulator
	 * that moves the clock has gone: its time stands still. */
	int (*sleep_until)(void *ctx, uint64_t t_ns);
};

struct eg_clock {
	const struct eg_clock_ops *ops;
	void *ctx;
};

struct eg_clock eg_clock_system(void);
/* CLOCK_MONOTONIC whatever clock measures: for deadlines of the real world. */
uint64_t eg_clock_real_ns(void);
/* That time in timeout_ns from now (at most a day), as pthread_cond_timedwait() takes it. */
struct timespec eg_clock_deadline(uint64_t timeout_ns);

static inline uint64_t eg_clock_ns(const struct eg_clock *c)
{
	return c->ops->boot_ns(c->ctx);
}
static inline uint64_t eg_clock_awake_ns(const struct eg_clock *c)
{
	return c->ops->awake_ns(c->ctx);
}
static inline uint64_t eg_clock_unix_ns(const struct eg_clock *c)
{
	return c->ops->unix_ns(c->ctx);
}
static inline int eg_clock_sleep_until(const struct eg_clock *c, uint64_t t_ns)
{
	return c->ops->sleep_until(c->ctx, t_ns);
}

/* A clock that a test moves by hand, in one process; sleeping moves it. */
struct eg_manual_clock {
	uint64_t boot_ns, suspended_ns, unix_base_ns;
};
struct eg_clock eg_clock_manual(struct eg_manual_clock *m);

/*
 * The file clock. Layout of the shared page (little-endian u64, all atomic):
 * magic "ERGCLK1\0", boot_ns, suspended_ns, unix_base_ns, stop, then EG_CLOCK_SLOTS slots of
 * {pid, want_ns}: pid 0 = free, want_ns 0 = awake, else sleeping until want_ns.
 */
#define EG_CLOCK_SLOTS 16
struct eg_clock_page {
	uint64_t magic, boot_ns, suspended_ns, unix_base_ns, stop;
	struct {
		uint64_t pid, want_ns;
	} slot[EG_CLOCK_SLOTS];
};
struct eg_file_clock;
/* Maps an existing clock file and takes a slot. Errors: ENOENT, EPROTO (no such file format),
 * EUSERS (all slots taken). */
int eg_file_clock_attach(const char *path, struct eg_file_clock **ret) EG_MUST_CHECK;
/* Creates (truncating) the file as the simulator's side, at boot time t0. */
int eg_file_clock_create(const char *path, uint64_t boot_ns, uint64_t unix_ns,
			 struct eg_file_clock **ret) EG_MUST_CHECK;
struct eg_file_clock *eg_file_clock_close(struct eg_file_clock *fc);
struct eg_clock eg_clock_file(struct eg_file_clock *fc);
/* Programs that share the clock now, this one included. */
unsigned eg_file_clock_programs(const struct eg_file_clock *fc);
/* Sleeps as its clock does, but also ends, with -EINTR, when wake_fd (-1: none) can be read. */
int eg_file_clock_sleep(struct eg_file_clock *fc, uint64_t t_ns, int wake_fd) EG_MUST_CHECK;
/*
 * Simulator side: waits (real time, at most timeout_ns) until every attached living program
 * sleeps, and returns the earliest time wanted, not before now. -ETIMEDOUT: someone is busy or
 * nobody is attached. Slots of dead processes are freed.
 */
int eg_file_clock_wait_sleepers(struct eg_file_clock *fc, uint64_t timeout_ns,
				uint64_t *ret_want_ns) EG_MUST_CHECK;
/* Simulator side: moves time and wakes the sleepers that are due. */
void eg_file_clock_set(struct eg_file_clock *fc, uint64_t boot_ns, uint64_t suspended_ns);

#endif
