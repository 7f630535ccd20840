/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fork, two pipes, execvp. Between fork and exec only async-signal-safe calls are made: drivers may
 * have threads.
 */
#include "cli/child.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/wait.h>

#include "base/util.h"

static _Noreturn void child_main(char *const *argv, const struct eg_signals *signals, int go_fd,
				 int error_fd)
{
	char go;
	ssize_t n;
	int err;

	eg_signals_restore(signals);
	do {
		n = read(go_fd, &go, 1);
	} while (n < 0 && errno == EINTR);
	if (n != 1)
		_exit(127);
	execvp(argv[0], argv);
	err = errno;
	(void)!write(error_fd, &err, sizeof(err));
	_exit(127);
}

int eg_child_prepare(char *const *argv, const struct eg_signals *signals, struct eg_child *ret)
{
	int go[2], error[2];
	pid_t pid;

	if (pipe2(go, O_CLOEXEC) < 0)
		return -errno;
	if (pipe2(error, O_CLOEXEC) < 0) {
		int err = -errno;

		close(go[0]);
		close(go[1]);
		return err;
	}
	pid = fork();
	if (pid == 0) {
		close(go[1]);
		close(error[0]);
		child_main(argv, signals, go[0], error[1]);
	}
	close(go[0]);
	close(error[1]);
	if (pid < 0) {
		int err = -errno;

		close(go[1]);
		close(error[0]);
		return err;
	}
	*ret = (struct eg_child){.pid = pid, .go_fd = go[1], .error_fd = error[0]};
	return 0;
}

static void reap(const struct eg_child *c)
{
	while (waitpid(c->pid, NULL, 0) < 0 && errno == EINTR)
		;
}

void eg_child_drop(struct eg_child *c)
{
	close(eg_take_fd(&c->go_fd));
	close(eg_take_fd(&c->error_fd));
	reap(c);
}

int eg_child_go(struct eg_child *c)
{
	int err = 0;
	ssize_t n;

	do {
		n = write(c->go_fd, "", 1);
	} while (n < 0 && errno == EINTR);
	if (n < 0) { /* it was never let go: it ends by itself */
		err = -errno;
		eg_child_drop(c);
		return err;
	}
	close(eg_take_fd(&c->go_fd));
	do {
		n = read(c->error_fd, &err, sizeof(err));
	} while (n < 0 && errno == EINTR);
	close(eg_take_fd(&c->error_fd));
	if (n != (ssize_t)sizeof(err))
		return 0;
	reap(c);
	return -err;
}

bool eg_child_ended(const struct eg_child *c, int *ret_status)
{
	int status;

	if (waitpid(c->pid, &status, WNOHANG) != c->pid)
		return false;
	*ret_status = status;
	return true;
}
