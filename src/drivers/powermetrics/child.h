/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One helper program that writes to us: started with nothing inherited but its three standard
 * descriptors, read without blocking, ended and reaped.
 */
#ifndef EG_DRIVERS_POWERMETRICS_CHILD_H
#define EG_DRIVERS_POWERMETRICS_CHILD_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/util.h"

struct eg_child {
	pid_t pid;	    /* 0: none */
	int out_fd, err_fd; /* our ends of its stdout and stderr, non-blocking; -1 none */
	bool ended;	    /* its output ended */
	char said[160];	    /* the beginning of what it wrote to stderr, in one line */
};
#define EG_CHILD_INIT ((struct eg_child){.out_fd = -1, .err_fd = -1})

/* Errors as posix_spawn and pipe: -ENOENT, -EACCES, -ENOEXEC, -EMFILE, ... */
int eg_child_start(struct eg_child *c, const char *path, const char *const *argv) EG_MUST_CHECK;
/* Bytes of stdout; 0: end of its output; -EAGAIN: nothing now. Takes in stderr too. */
ssize_t eg_child_read(struct eg_child *c, void *buf, size_t n) EG_MUST_CHECK;
/*
 * Ends it (SIGTERM, after patience_ms SIGKILL), reaps it and closes the descriptors. Returns the
 * exit status it had ended with by itself, 128 + N for a signal, -1 when we ended it.
 */
int eg_child_stop(struct eg_child *c, unsigned patience_ms);

#endif
