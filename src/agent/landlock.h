/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Landlock (Documentation/userspace-api/landlock.rst of Linux): a process gives up rights on files for
 * good, without being root. Ours: nothing below the root can be changed or created any more, but below
 * the directories named; reading stays free, because sensors are read from all over /sys and /proc.
 * By system call, because libc has no wrappers and headers may be older than the kernel.
 */
#ifndef EG_AGENT_LANDLOCK_H
#define EG_AGENT_LANDLOCK_H

#include <stdbool.h>
#include <stddef.h>

#include "base/util.h"

/*
 * A rule set that leaves writing below the directories of the n descriptors, and of character devices
 * that are opened for writing to be asked something (a GPU's). no_exec: no program can be started.
 * ret_fd: for eg_landlock_restrict(), the caller's to close. Errors: -ENOSYS, -EOPNOTSUPP: not in this
 * kernel, or off.
 */
int eg_landlock_rules(const int *dir_fds, size_t n, bool no_exec, int *ret_fd) EG_MUST_CHECK;
/* The calling thread and its children to come. Needs no_new_privs. Async-signal-safe. */
int eg_landlock_restrict(int rules_fd) EG_MUST_CHECK;

#endif
