/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Starting a command in two steps: it is forked and made ready first, and let go when the window
 * has begun, so that the window holds the command and nothing of its preparation.
 */
#ifndef EG_CLI_CHILD_H
#define EG_CLI_CHILD_H

#include <stdbool.h>
#include <sys/types.h>

#include "cli/wait.h"

struct eg_child {
	pid_t pid;
	int go_fd;    /* a byte here lets it go; closing without one ends it */
	int error_fd; /* the errno of a failed exec comes back here; end of file: it runs */
};

int eg_child_prepare(char *const *argv, const struct eg_signals *signals,
		     struct eg_child *ret) EG_MUST_CHECK;
/* Lets it go and waits for the exec. Negative errno of the exec: the child is already reaped. */
int eg_child_go(struct eg_child *c) EG_MUST_CHECK;
/* Ends a child that was not let go. */
void eg_child_drop(struct eg_child *c);
/* True once it has ended, with its wait status. Never blocks. */
bool eg_child_ended(const struct eg_child *c, int *ret_status);

#endif
