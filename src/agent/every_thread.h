/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs a function in every thread of the process. The kernel keeps capabilities, Landlock domains and
 * user ids per thread, and threads that are not ours to ask exist: workers, those that a vendor's
 * library started, one that hangs in a driver.
 *
 * As libc does for setuid(2): a signal to each thread of /proc/self/task, whose handler calls the
 * function. It is libc's own signal for that purpose, lent for the moment, because it is the only kind
 * that a thread cannot block (signal masks of libc leave it out) and our workers block all others.
 */
#ifndef EG_AGENT_EVERY_THREAD_H
#define EG_AGENT_EVERY_THREAD_H

#include <stdint.h>
#include <sys/types.h>

#include "base/util.h"

#define EG_EVERY_THREAD_MAX 1024

/*
 * fn: at most once a thread, the caller first; in a signal handler, so async-signal-safe system calls
 * only. 0 or negative errno. A thread that inherits what fn does may escape or not: it does not matter.
 * Returns 0 when fn has returned 0 in every thread that exists; its error in the caller, and then no
 * other thread was asked; the first error of another thread; -E2BIG too many threads; -ENOENT no /proc;
 * -ETIMEDOUT: *ret_late threads hang in the kernel: they call fn before they run a line of their own
 * again, so fn and arg must stay valid for good; -EALREADY: that is still so from an earlier call.
 * One caller at a time.
 */
int eg_every_thread(int (*fn)(void *arg), void *arg, uint64_t timeout_ns,
		    unsigned *ret_late) EG_MUST_CHECK;

/* Calls each(tid) for the threads of /proc/self/task until it returns non-zero, which is returned. */
int eg_threads_walk(int (*each)(pid_t tid, void *arg), void *arg) EG_MUST_CHECK;

#endif
