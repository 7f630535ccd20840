/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Waiting for a time or a signal, whichever is first. Signals are blocked and read from a
 * descriptor, so nothing runs behind the program's back. What the user's environment ignores (as
 * nohup does) stays ignored.
 */
#ifndef EG_CLI_WAIT_H
#define EG_CLI_WAIT_H

#include <signal.h>
#include <stdbool.h>
#include <sys/signalfd.h>

#include "base/clock.h"

struct eg_signals {
	sigset_t taken; /* read from the descriptor */
	sigset_t old_mask;
	struct sigaction old_chld, old_pipe;
	int fd;
};

/*
 * Takes INT, TERM, HUP, QUIT, USR1, USR2 (unless ignored) and CHLD, and ignores PIPE. Before any
 * thread starts.
 */
int eg_signals_take(struct eg_signals *s) EG_MUST_CHECK;
/* In a child before exec: everything as it was found. Async-signal-safe. */
void eg_signals_restore(const struct eg_signals *s);
void eg_signals_release(struct eg_signals *s);

/*
 * Waits until t_ns of the clock. 0: the time has come; 1: a signal, in *ret; negative errno.
 * steered: the file clock behind clock, moved by its simulator; NULL: the machine's own time.
 */
int eg_wait_until(const struct eg_signals *s, const struct eg_clock *clock,
		  struct eg_file_clock *steered, uint64_t t_ns,
		  struct signalfd_siginfo *ret) EG_MUST_CHECK;

#endif
