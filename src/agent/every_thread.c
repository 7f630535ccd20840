/* SPDX-License-Identifier: Apache-2.0 */
/* See every_thread.h. */
#include "agent/every_thread.h"
#include "base/clock.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>

#include "base/parse.h"

/*
 * glibc: SIGSETXID; musl: SIGCANCEL. Both take 33 out of every mask that a program sets, and install
 * their handler only with sigaction(2) itself: so do we, with the kernel's own structure.
 */
#define THREAD_SIGNAL 33

struct kernel_sigaction {
	void (*handler)(int);
	unsigned long flags;
	void (*restorer)(void); /* x86; arm64 has room for it too */
	uint64_t mask;
};

#define NAP_NS 200000

/* Static, because a thread that hangs may come back much later. */
static struct {
	int (*fn)(void *arg);
	void *arg;
	unsigned n_done;
	struct {
		pid_t tid; /* set last */
		int result;
	} done[EG_EVERY_THREAD_MAX];
	bool late;
} job;

static pid_t own_tid(void)
{
	return (pid_t)syscall(SYS_gettid);
}

static bool is_done(pid_t tid, int *ret_result)
{
	unsigned n = EG_MIN(__atomic_load_n(&job.n_done, __ATOMIC_ACQUIRE), EG_EVERY_THREAD_MAX);

	for (unsigned i = 0; i < n; i++) {
		if (__atomic_load_n(&job.done[i].tid, __ATOMIC_ACQUIRE) == tid) {
			*ret_result = job.done[i].result;
			return true;
		}
	}
	return false;
}

static void run_here(void)
{
	pid_t tid = own_tid();
	unsigned slot;
	int r;

	if (is_done(tid, &r))
		return;
	r = job.fn(job.arg);
	slot = __atomic_fetch_add(&job.n_done, 1, __ATOMIC_ACQ_REL);
	if (slot < EG_EVERY_THREAD_MAX) {
		job.done[slot].result = r;
		__atomic_store_n(&job.done[slot].tid, tid, __ATOMIC_RELEASE);
	}
}

static void on_signal(int sig)
{
	int saved = errno;

	run_here();
	errno = saved;
}

static int set_action(const struct kernel_sigaction *act, struct kernel_sigaction *ret_old)
{
	return syscall(SYS_rt_sigaction, THREAD_SIGNAL, act, ret_old, sizeof(act->mask)) < 0 ?
		       -errno :
		       0;
}

/*
 * The trampoline that x86 wants below a handler is libc's: it is seen in the action of any signal that
 * libc has set. SIGURG does nothing by default, so that nobody misses it meanwhile.
 */
static int take_signal(struct kernel_sigaction *ret_old)
{
	struct sigaction lent = {.sa_handler = on_signal, .sa_flags = SA_RESTART}, before;
	struct kernel_sigaction act;

	sigfillset(&lent.sa_mask);
	if (sigaction(SIGURG, &lent, &before) < 0)
		return -errno;
	if (syscall(SYS_rt_sigaction, SIGURG, NULL, &act, sizeof(act.mask)) < 0) {
		sigaction(SIGURG, &before, NULL);
		return -errno;
	}
	sigaction(SIGURG, &before, NULL);
	return set_action(&act, ret_old);
}

int eg_threads_walk(int (*each)(pid_t tid, void *arg), void *arg)
{
	DIR *dir = opendir("/proc/self/task");
	const struct dirent *e;
	int r = 0;

	if (dir == NULL)
		return -errno;
	while (r == 0 && (e = readdir(dir)) != NULL) {
		uint64_t tid;

		if (eg_parse_u64(e->d_name, strlen(e->d_name), &tid) == 0)
			r = each((pid_t)tid, arg);
	}
	closedir(dir);
	return r;
}

struct scan {
	pid_t asked[EG_EVERY_THREAD_MAX];
	unsigned n_asked, n_waiting;
	int error;
};

static int ask(pid_t tid, void *arg)
{
	struct scan *s = arg;
	int r;

	if (is_done(tid, &r)) {
		if (r < 0 && s->error == 0)
			s->error = r;
		return 0;
	}
	s->n_waiting++;
	for (unsigned i = 0; i < s->n_asked; i++)
		if (s->asked[i] == tid)
			return 0;
	if (s->n_asked == EG_EVERY_THREAD_MAX)
		return -E2BIG;
	s->asked[s->n_asked++] = tid;
	/* A thread that has ended meanwhile is missing from the next list. */
	return syscall(SYS_tgkill, getpid(), tid, THREAD_SIGNAL) < 0 && errno != ESRCH ? -errno : 0;
}

/*
 * A list may miss a thread that was started while it was read. Its parent had not run fn then, and has
 * since: so a list counts only when nobody ran fn while it was read, and everybody in it has.
 */
static int ask_all(uint64_t deadline_ns, int *ret_error, unsigned *ret_late)
{
	static const struct timespec nap = {.tv_nsec = NAP_NS};
	static struct scan s;

	s = (struct scan){0};
	for (;;) {
		unsigned before = __atomic_load_n(&job.n_done, __ATOMIC_ACQUIRE);
		int r;

		s.n_waiting = 0;
		s.error = 0;
		r = eg_threads_walk(ask, &s);
		if (r < 0)
			return r;
		if (s.n_waiting == 0 && before == __atomic_load_n(&job.n_done, __ATOMIC_ACQUIRE)) {
			*ret_error = s.error;
			return 0;
		}
		if (eg_clock_real_ns() >= deadline_ns) {
			*ret_late = s.n_waiting;
			return -ETIMEDOUT;
		}
		if (s.n_waiting > 0)
			nanosleep(&nap, NULL);
	}
}

int eg_every_thread(int (*fn)(void *arg), void *arg, uint64_t timeout_ns, unsigned *ret_late)
{
	uint64_t deadline_ns = eg_clock_real_ns() + timeout_ns;
	struct kernel_sigaction old;
	int r, result;

	if (job.late)
		return -EALREADY;
	job.fn = fn;
	job.arg = arg;
	memset(job.done, 0, sizeof(job.done));
	__atomic_store_n(&job.n_done, 0, __ATOMIC_RELEASE);
	run_here();
	if (is_done(own_tid(), &result) && result < 0)
		return result;
	r = take_signal(&old);
	if (r < 0)
		return r;
	result = 0;
	r = ask_all(deadline_ns, &result, ret_late);
	/* Threads that were asked and have not come yet still need the handler. */
	job.late = r < 0;
	if (!job.late)
		(void)!set_action(&old, NULL);
	return r < 0 ? r : result;
}
