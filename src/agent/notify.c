/* SPDX-License-Identifier: Apache-2.0 */
/* See notify.h; the protocol is that of sd_notify(3) and sd_watchdog_enabled(3). */
#include "agent/notify.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/parse.h"

static int connect_to(const char *where)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	size_t n = strlen(where);
	eg_autoclose int fd = -1;

	/* The manager may also name a vsock address, for its virtual machines: not our case. */
	if ((where[0] != '/' && where[0] != '@') || n < 2 || n > sizeof(a.sun_path))
		return -1;
	memcpy(a.sun_path, where, n);
	if (where[0] == '@') /* abstract: all n bytes are the name, the first of them NUL */
		a.sun_path[0] = '\0';
	else if (n == sizeof(a.sun_path))
		return -1;
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&a,
			      (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n)) < 0)
		return -1;
	return eg_take_fd(&fd);
}

/* The interval is meant for the process that WATCHDOG_PID names, or for whoever was started. */
static uint64_t watchdog(const char *usec, const char *pid)
{
	uint64_t us, id;

	if (usec == NULL || eg_parse_u64(usec, strlen(usec), &us) < 0 || us > UINT64_MAX / 1000)
		return 0;
	if (pid != NULL && (eg_parse_u64(pid, strlen(pid), &id) < 0 || id != (uint64_t)getpid()))
		return 0;
	return us * 1000;
}

void eg_notify_open(struct eg_notify *n)
{
	const char *where = getenv("NOTIFY_SOCKET");

	n->fd = where != NULL ? connect_to(where) : -1;
	n->watchdog_ns = n->fd >= 0 ? watchdog(getenv("WATCHDOG_USEC"), getenv("WATCHDOG_PID")) : 0;
	unsetenv("NOTIFY_SOCKET");
	unsetenv("WATCHDOG_USEC");
	unsetenv("WATCHDOG_PID");
}

void eg_notify_send(const struct eg_notify *n, const char *state)
{
	if (n->fd >= 0)
		(void)!send(n->fd, state, strlen(state), MSG_DONTWAIT | MSG_NOSIGNAL);
}

void eg_notify_close(struct eg_notify *n)
{
	if (n->fd >= 0)
		close(n->fd);
	*n = (struct eg_notify){.fd = -1};
}
