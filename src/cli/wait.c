/* SPDX-License-Identifier: Apache-2.0 */
/* Waiting on signalfd(2) with ppoll(2); see wait.h. */
#include "cli/wait.h"

#include <errno.h>
#include <poll.h>

#define WAIT_MAX_NS (3600 * EG_NSEC_PER_SEC) /* one poll; the caller's loop asks again */

int eg_signals_take(struct eg_signals *s)
{
	static const int ends[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2};
	struct sigaction plain = {.sa_handler = SIG_DFL}, ignore = {.sa_handler = SIG_IGN}, old;

	sigemptyset(&s->taken);
	for (size_t i = 0; i < EG_ARRAY_SIZE(ends); i++)
		if (sigaction(ends[i], NULL, &old) == 0 && old.sa_handler != SIG_IGN)
			sigaddset(&s->taken, ends[i]);
	sigaddset(&s->taken, SIGCHLD);
	/* An inherited "ignore" of CHLD would reap the command behind our back. */
	if (sigaction(SIGCHLD, &plain, &s->old_chld) < 0 ||
	    sigaction(SIGPIPE, &ignore, &s->old_pipe) < 0 ||
	    sigprocmask(SIG_BLOCK, &s->taken, &s->old_mask) < 0)
		return -errno;
	s->fd = signalfd(-1, &s->taken, SFD_CLOEXEC | SFD_NONBLOCK);
	return s->fd < 0 ? -errno : 0;
}

void eg_signals_restore(const struct eg_signals *s)
{
	sigaction(SIGCHLD, &s->old_chld, NULL);
	sigaction(SIGPIPE, &s->old_pipe, NULL);
	sigprocmask(SIG_SETMASK, &s->old_mask, NULL);
}

void eg_signals_release(struct eg_signals *s)
{
	if (s->fd >= 0)
		close(eg_take_fd(&s->fd));
}

static int take_one(const struct eg_signals *s, struct signalfd_siginfo *ret)
{
	struct signalfd_siginfo info;
	ssize_t n = read(s->fd, &info, sizeof(info));

	if (n == (ssize_t)sizeof(info)) {
		*ret = info;
		return 1;
	}
	return n < 0 && errno != EAGAIN && errno != EINTR ? -errno : 0;
}

int eg_wait_until(const struct eg_signals *s, const struct eg_clock *clock,
		  struct eg_file_clock *steered, uint64_t t_ns, struct signalfd_siginfo *ret)
{
	uint64_t now = eg_clock_ns(clock);
	int ready = steered || now >= t_ns; /* else ppoll() looks: no read for each sample */

	for (;; now = eg_clock_ns(clock)) {
		struct pollfd p = {.fd = s->fd, .events = POLLIN};
		struct timespec ts;
		uint64_t left;
		int r = ready ? take_one(s, ret) : 0;

		if (r != 0 || now >= t_ns)
			return r;
		if (steered) {
			r = eg_file_clock_sleep(steered, t_ns, s->fd);
			if (r == -ECANCELED) /* no time comes any more: only a signal can */
				r = poll(&p, 1, -1) < 0 ? -errno : 0;
			if (r < 0 && r != -EINTR)
				return r;
			continue;
		}
		left = EG_MIN(t_ns - now, WAIT_MAX_NS);
		ts = (struct timespec){.tv_sec = (time_t)(left / EG_NSEC_PER_SEC),
				       .tv_nsec = (long)(left % EG_NSEC_PER_SEC)};
		ready = ppoll(&p, 1, &ts, NULL);
		if (ready < 0 && errno != EINTR)
			return -errno;
	}
}
