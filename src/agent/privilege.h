/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Giving up rights. The agent opens its sensors, files and sockets first; what follows runs without
 * capabilities, without a way to gain any, unable to write outside its state and run directories
 * (Landlock, where the kernel has it), and with a filter of system calls (libseccomp, where built in).
 */
#ifndef EG_AGENT_PRIVILEGE_H
#define EG_AGENT_PRIVILEGE_H

#include <stdbool.h>

#include "base/strbuf.h"

struct eg_privilege_config {
	const char *user; /* change to it (its uid, gid, supplementary groups); "" stay */
	/* Directories of our own, NULL-terminated; made over to the user, with their files. Root's or
	 * the user's already, and writable by nobody else. */
	const char *const *writable;
	/* Other people's directories that we may write to if their modes let us (the textfile's);
	 * NULL: none. Those that are not there are left out. */
	const char *const *also_writable;
	/* Groups that files will be given to later, which only a member may: joined, where we may.
	 * (gid_t)-1: none. */
	const gid_t *join;
	size_t n_join;
	bool seccomp;
	bool may_exec; /* a driver starts a program (powermetrics): exec stays allowed */
};
struct eg_privilege_state {
	bool dropped_caps, no_new_privs, changed_user, landlock, seccomp;
	char note[256]; /* what could not be had, and why; "" nothing */
};
/*
 * One way, all threads of the process (the worker threads of slow drivers exist by then). 0, or
 * negative errno with one sentence and the cure in why, when a configured user cannot be had. Landlock
 * and seccomp that the kernel lacks are no error: noted.
 */
int eg_privilege_drop(const struct eg_privilege_config *cfg, struct eg_privilege_state *ret,
		      struct eg_strbuf *why) EG_MUST_CHECK;

#endif
