/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench-api SOCKET: microseconds of a window of the local API, begin and end on one kept connection, as the
 * median and the 99th percentile of 2,000, and the CPU time of this side of it. The client is bare: two
 * writes, two reads.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { WINDOWS = 2000, WARM = 50 };

static double us_of(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (double)ts.tv_sec * 1e6 + (double)ts.tv_nsec / 1e3;
}

/* One request, one whole answer in buf; its body. */
static const char *ask(int fd, const char *request, char *buf, size_t cap)
{
	size_t n = 0;

	if (write(fd, request, strlen(request)) != (ssize_t)strlen(request))
		return NULL;
	for (;;) {
		ssize_t r = read(fd, buf + n, cap - 1 - n);
		char *body, *length;

		if (r <= 0)
			return NULL;
		n += (size_t)r;
		buf[n] = '\0';
		body = strstr(buf, "\r\n\r\n");
		length = strcasestr(buf, "content-length:");
		if (body && length &&
		    n >= (size_t)(body + 4 - buf) + strtoul(length + 15, NULL, 10))
			return body + 4;
	}
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
	static const char begin[] =
		"POST /api/v1/windows HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}";
	static char buf[1 << 20], request[256];
	static double us[WINDOWS];
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	double cpu_us;

	if (argc != 2 || fd < 0 || strlen(argv[1]) >= sizeof(to.sun_path)) {
		fprintf(stderr, "usage: bench-api SOCKET\n");
		return 2;
	}
	memcpy(to.sun_path, argv[1], strlen(argv[1]) + 1);
	if (connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0)
		return 1;
	cpu_us = us_of(CLOCK_PROCESS_CPUTIME_ID);
	for (int i = -WARM; i < WINDOWS; i++) {
		double t = us_of(CLOCK_MONOTONIC);
		const char *body = ask(fd, begin, buf, sizeof(buf));
		const char *id = body ? strstr(body, "\"id\":\"") : NULL;

		if (!id)
			return 1;
		snprintf(request, sizeof(request),
			 "POST /api/v1/windows/%.32s/end HTTP/1.1\r\nHost: x\r\n"
			 "Content-Length: 0\r\n\r\n",
			 id + 6);
		body = ask(fd, request, buf, sizeof(buf));
		if (!body || !strstr(body, "\"ended\""))
			return 1;
		if (i >= 0)
			us[i] = us_of(CLOCK_MONOTONIC) - t;
	}
	cpu_us = (us_of(CLOCK_PROCESS_CPUTIME_ID) - cpu_us) / (WARM + WINDOWS);
	qsort(us, WINDOWS, sizeof(us[0]), by_value);
	printf("{\"windows\": %d, \"wall_us\": %.1f, \"p99_us\": %.1f, \"cpu_us\": %.1f}\n",
	       WARM + WINDOWS, us[WINDOWS / 2], us[WINDOWS * 99 / 100], cpu_us);
	close(fd);
	return 0;
}
