/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A filter of system calls (seccomp): what the agent and its libraries do once they are running is
 * allowed, by a list with a reason for each group; all else fails with EPERM and is not fatal, because
 * vendor libraries try things. What would be a way out is refused by a second filter of its own, so
 * that no slip in the first can open it.
 */
#ifndef EG_AGENT_SYSCALLS_H
#define EG_AGENT_SYSCALLS_H

#include <stdbool.h>

#include "base/util.h"

/*
 * For all threads of the process, for good. may_exec: programs can be started (and are filtered like
 * us). may_drop: a thread has still to give up its rights, so the calls for that stay. Needs no_new_privs. -ENOSYS: not in this build; -EINVAL: not in this kernel; -ESRCH: a thread
 * has a filter of its own.
 */
int eg_syscalls_restrict(bool may_exec, bool may_drop) EG_MUST_CHECK;

#endif
