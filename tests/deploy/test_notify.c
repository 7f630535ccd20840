/* SPDX-License-Identifier: Apache-2.0 */
/* The service manager's protocol, against a socket of the test. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/notify.h"

static char dir[64], path[108];

/* A manager's socket; name as in NOTIFY_SOCKET. */
static int manager(const char *name)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	assert_true(fd >= 0);
	memcpy(a.sun_path, name, strlen(name));
	if (name[0] == '@')
		a.sun_path[0] = '\0';
	assert_int_equal(bind(fd, (struct sockaddr *)&a,
			      (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name))),
			 0);
	assert_int_equal(setenv("NOTIFY_SOCKET", name, 1), 0);
	return fd;
}

static void expect(int fd, const char *want)
{
	char buf[512];
	ssize_t n = recv(fd, buf, sizeof(buf) - 1, 0);

	assert_true(n >= 0);
	buf[n] = '\0';
	assert_string_equal(buf, want);
}

static void set_watchdog(const char *usec, const char *pid)
{
	unsetenv("WATCHDOG_USEC");
	unsetenv("WATCHDOG_PID");
	if (usec != NULL)
		setenv("WATCHDOG_USEC", usec, 1);
	if (pid != NULL)
		setenv("WATCHDOG_PID", pid, 1);
}

static void says_it_to(const char *name)
{
	struct eg_notify n;
	int fd = manager(name);
	char pid[32];

	snprintf(pid, sizeof(pid), "%d", (int)getpid());
	set_watchdog("30000000", pid);
	eg_notify_open(&n);
	assert_true(n.fd >= 0);
	assert_true(n.watchdog_ns == 30 * EG_NSEC_PER_SEC);
	assert_true(fcntl(n.fd, F_GETFD) & FD_CLOEXEC);
	assert_null(getenv("NOTIFY_SOCKET"));
	assert_null(getenv("WATCHDOG_USEC"));
	assert_null(getenv("WATCHDOG_PID"));
	eg_notify_send(&n, "READY=1\nSTATUS=4 channels");
	eg_notify_send(&n, "WATCHDOG=1");
	expect(fd, "READY=1\nSTATUS=4 channels");
	expect(fd, "WATCHDOG=1");
	/* A manager that does not read costs messages, not time. */
	for (int i = 0; i < 100000; i++)
		eg_notify_send(&n, "WATCHDOG=1");
	close(fd);
	eg_notify_send(&n, "STOPPING=1"); /* and one that has gone, nothing */
	eg_notify_close(&n);
	assert_int_equal(n.fd, -1);
	eg_notify_close(&n);
	eg_notify_send(&n, "STOPPING=1");
}

static void path_socket(void **state)
{
	says_it_to(path);
}

static void abstract_socket(void **state)
{
	char name[64];

	snprintf(name, sizeof(name), "@ergon-test-notify-%d", (int)getpid());
	says_it_to(name);
}

static uint64_t watchdog_of(const char *usec, const char *pid)
{
	struct eg_notify n;
	uint64_t ns;
	int fd;

	unlink(path);
	fd = manager(path);
	set_watchdog(usec, pid);
	eg_notify_open(&n);
	ns = n.watchdog_ns;
	eg_notify_close(&n);
	close(fd);
	assert_null(getenv("WATCHDOG_USEC"));
	return ns;
}

static void watchdog_is_for_us_or_not(void **state)
{
	char other[32];

	snprintf(other, sizeof(other), "%d", (int)getppid());
	assert_true(watchdog_of("2000", NULL) == 2000000); /* for whoever was started */
	assert_true(watchdog_of("2000", other) == 0);
	assert_true(watchdog_of("2000", "me") == 0);
	assert_true(watchdog_of("-1", NULL) == 0);
	assert_true(watchdog_of("18446744073709551615", NULL) == 0);
	assert_true(watchdog_of(NULL, NULL) == 0);
}

static void nobody_listens(void **state)
{
	static const char *const names[] = {
		"", "/", "@", "relative", "vsock:2:1234", "/nonexistent/socket"};
	char name[200];
	struct eg_notify n;

	for (size_t i = 0; i <= EG_ARRAY_SIZE(names) + 1; i++) {
		memset(name, '/', sizeof(name) - 1); /* too long, as a path and as a name */
		name[sizeof(name) - 1] = '\0';
		if (i == EG_ARRAY_SIZE(names))
			name[0] = '@';
		if (i < EG_ARRAY_SIZE(names))
			eg_copy(name, sizeof(name), names[i]);
		setenv("NOTIFY_SOCKET", name, 1);
		set_watchdog("1000", NULL);
		eg_notify_open(&n);
		assert_int_equal(n.fd, -1);
		assert_true(n.watchdog_ns == 0);
		assert_null(getenv("NOTIFY_SOCKET"));
		eg_notify_send(&n, "READY=1");
		eg_notify_close(&n);
	}
	unsetenv("NOTIFY_SOCKET");
	eg_notify_open(&n);
	assert_int_equal(n.fd, -1);
}

static int make_dir(void **state)
{
	const char *tmp = getenv("TMPDIR");

	snprintf(dir, sizeof(dir), "%.30s/ergon-notify-XXXXXX", tmp != NULL ? tmp : "/tmp");
	if (mkdtemp(dir) == NULL)
		return -1;
	snprintf(path, sizeof(path), "%s/notify", dir);
	return 0;
}

static int remove_dir(void **state)
{
	unlink(path);
	return rmdir(dir);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(path_socket),
		cmocka_unit_test(abstract_socket),
		cmocka_unit_test(watchdog_is_for_us_or_not),
		cmocka_unit_test(nobody_listens),
	};

	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
