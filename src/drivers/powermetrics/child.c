/* SPDX-License-Identifier: Apache-2.0 */
/* See child.h. posix_spawn, because fork in a process with threads may copy held locks. */
#include "drivers/powermetrics/child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define STEP_MS 5

extern char **environ;

/* A pipe whose ends no other program inherits; reading never blocks. */
static int make_pipe(int fd[2])
{
#ifdef __linux__
	if (pipe2(fd, O_CLOEXEC) < 0)
		return -errno;
#else
	if (pipe(fd) < 0)
		return -errno;
	fcntl(fd[0], F_SETFD, FD_CLOEXEC);
	fcntl(fd[1], F_SETFD, FD_CLOEXEC);
#endif
	fcntl(fd[0], F_SETFL, O_NONBLOCK);
	return 0;
}

static int spawn(pid_t *ret_pid, const char *path, const char *const *argv, int out, int err)
{
	posix_spawn_file_actions_t fa;
	short flags = POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF;
	posix_spawnattr_t attr;
	sigset_t none, all;
	int r;

	sigemptyset(&none);
	sigfillset(&all);
	r = posix_spawn_file_actions_init(&fa);
	if (r)
		return -r;
	r = posix_spawnattr_init(&attr);
	if (r) {
		posix_spawn_file_actions_destroy(&fa);
		return -r;
	}
#ifdef __APPLE__
	flags |= POSIX_SPAWN_CLOEXEC_DEFAULT;
#endif
	r = posix_spawn_file_actions_addopen(&fa, 0, "/dev/null", O_RDONLY, 0);
	r = r ? r : posix_spawn_file_actions_adddup2(&fa, out, 1);
	r = r ? r : posix_spawn_file_actions_adddup2(&fa, err, 2);
#if defined(__GLIBC__) && __GLIBC_PREREQ(2, 34)
	r = r ? r : posix_spawn_file_actions_addclosefrom_np(&fa, 3);
#endif
	r = r ? r : posix_spawnattr_setflags(&attr, flags);
	r = r ? r : posix_spawnattr_setsigmask(&attr, &none);
	r = r ? r : posix_spawnattr_setsigdefault(&attr, &all);
	r = r ? r : posix_spawn(ret_pid, path, &fa, &attr, (char *const *)argv, environ);
	posix_spawn_file_actions_destroy(&fa);
	posix_spawnattr_destroy(&attr);
	return -r;
}

int eg_child_start(struct eg_child *c, const char *path, const char *const *argv)
{
	int out[2], err[2], r;
	pid_t pid = 0;

	r = make_pipe(out);
	if (r < 0)
		return r;
	r = make_pipe(err);
	if (r < 0) {
		close(out[0]);
		close(out[1]);
		return r;
	}
	r = spawn(&pid, path, argv, out[1], err[1]);
	close(out[1]);
	close(err[1]);
	if (r < 0) {
		close(out[0]);
		close(err[0]);
		return r;
	}
	*c = (struct eg_child){.pid = pid, .out_fd = out[0], .err_fd = err[0]};
	return 0;
}

/* Keeps the first words of stderr, drops the rest, so that the helper never blocks on it. */
static void take_stderr(struct eg_child *c)
{
	char buf[512];
	ssize_t n;

	for (int i = 0; i < 16 && (n = read(c->err_fd, buf, sizeof(buf))) > 0; i++) {
		size_t have = strlen(c->said);

		for (ssize_t k = 0; k < n && have + 1 < sizeof(c->said); k++)
			c->said[have++] = buf[k] >= 0x20 && buf[k] < 0x7f ? buf[k] : ' ';
		c->said[have] = '\0';
	}
}

ssize_t eg_child_read(struct eg_child *c, void *buf, size_t n)
{
	ssize_t got;

	if (c->out_fd < 0)
		return 0;
	take_stderr(c);
	do
		got = read(c->out_fd, buf, n);
	while (got < 0 && errno == EINTR);
	c->ended = c->ended || got == 0;
	return got < 0 ? -errno : got;
}

static pid_t try_reap(pid_t pid, int *status)
{
	pid_t r;

	do
		r = waitpid(pid, status, WNOHANG);
	while (r < 0 && errno == EINTR);
	return r; /* pid: reaped; 0: runs; -1: somebody else reaped it */
}

/* Waits for its end, at most so long. Returns as try_reap. */
static pid_t reap_within(pid_t pid, unsigned ms, int *status)
{
	const struct timespec step = {.tv_nsec = STEP_MS * 1000000L};
	pid_t r = try_reap(pid, status);

	for (unsigned waited = 0; r == 0 && waited < ms; waited += STEP_MS) {
		nanosleep(&step, NULL);
		r = try_reap(pid, status);
	}
	return r;
}

int eg_child_stop(struct eg_child *c, unsigned patience_ms)
{
	int status = 0, by_itself = -1;

	if (c->pid > 0) {
		/* Its output ends a moment before it does. */
		pid_t r = reap_within(c->pid, c->ended ? patience_ms : 0, &status);

		if (r == c->pid)
			by_itself = WIFEXITED(status) ? WEXITSTATUS(status) :
							128 + WTERMSIG(status);
		if (r == 0) {
			kill(c->pid, SIGTERM);
			r = reap_within(c->pid, patience_ms, &status);
		}
		if (r == 0) {
			kill(c->pid, SIGKILL);
			while (waitpid(c->pid, &status, 0) < 0 && errno == EINTR)
				;
		}
	}
	if (c->err_fd >= 0) {
		take_stderr(c);
		close(c->err_fd);
	}
	if (c->out_fd >= 0)
		close(c->out_fd);
	c->pid = 0;
	c->out_fd = c->err_fd = -1;
	return by_itself;
}
