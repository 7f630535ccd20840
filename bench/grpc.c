/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a gRPC stream costs.
 *
 *     bench-grpc client ADDRESS PATH CONNECTIONS SECONDS HZ [REQUEST]
 *         opens one stream in each connection and counts the messages; HZ is what each should bring, and
 *         REQUEST is the text of the request message (none: an empty one). first_ms is from the start, before the
 *         first connection, to the first message of the client that had its own last
 *     bench-grpc cost TICKS STREAMS [BYTES]
 *         the server sends TICKS messages of BYTES (210) to STREAMS clients of another process, one message
 *         each a turn; prints its CPU time a message. The instructions of one, without those of a start:
 *         valgrind --tool=callgrind for TICKS and 2 * TICKS, the difference over TICKS * STREAMS
 *
 *     bench-grpc timer SECONDS HZ
 *         what share of its ticks a process gets that only waits for a timer: what the machine allows
 *
 * The client is nghttp2's, and reads as fast as it can.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <nghttp2/nghttp2.h>

#include "base/parse.h"
#include "grpc/grpc.h"

#define CONNECTIONS_MAX 4096
#define MESSAGE_MAX	4096
#define WINDOW		(1 << 20)
#define PAUSE_NS	200000

struct client {
	int fd;
	nghttp2_session *session;
	char request[256];
	size_t request_len, request_at;
	/* The message that comes: 5 bytes of prefix, then `left` of the rest. */
	uint8_t prefix[5];
	unsigned prefix_len;
	uint32_t left;
	uint64_t messages, first_ns, last_ns, longest_ns;
	bool ended;
};

static struct client clients[CONNECTIONS_MAX];
static uint64_t now;

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * EG_NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
}

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "bench-grpc: %s\n", what);
	exit(1);
}

/* ---- the client ---- */

static void count(struct client *c)
{
	if (c->messages++)
		c->longest_ns = EG_MAX(c->longest_ns, now - c->last_ns);
	else
		c->first_ns = now;
	c->last_ns = now;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data,
		   size_t len, void *arg)
{
	struct client *c = arg;

	while (len) {
		size_t n;

		if (c->prefix_len < sizeof(c->prefix)) {
			c->prefix[c->prefix_len++] = *data++;
			len--;
			if (c->prefix_len < sizeof(c->prefix))
				continue;
			c->left = (uint32_t)c->prefix[1] << 24 | (uint32_t)c->prefix[2] << 16 |
				  (uint32_t)c->prefix[3] << 8 | c->prefix[4];
		}
		n = EG_MIN(len, (size_t)c->left);
		data += n;
		len -= n;
		c->left -= (uint32_t)n;
		if (c->left)
			break;
		c->prefix_len = 0;
		count(c);
	}
	return 0;
}

static int on_close(nghttp2_session *session, int32_t id, uint32_t error, void *arg)
{
	((struct client *)arg)->ended = true;
	return 0;
}

static ssize_t on_read(nghttp2_session *session, int32_t id, uint8_t *buf, size_t length,
		       uint32_t *flags, nghttp2_data_source *source, void *arg)
{
	struct client *c = arg;
	size_t n = EG_MIN(length, c->request_len - c->request_at);

	memcpy(buf, c->request + c->request_at, n);
	c->request_at += n;
	if (c->request_at == c->request_len)
		*flags |= NGHTTP2_DATA_FLAG_EOF;
	return (ssize_t)n;
}

static int connect_to(const char *address)
{
	const char *colon = strrchr(address, ':');
	struct sockaddr_in in = {.sin_family = AF_INET};
	char host[64] = "";
	uint64_t port = 0;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;

	if (fd < 0 || !colon || (size_t)(colon - address) >= sizeof(host) ||
	    eg_parse_u64(colon + 1, strlen(colon + 1), &port) < 0)
		die("ADDRESS is IPV4:PORT");
	memcpy(host, address, (size_t)(colon - address));
	in.sin_port = htons((uint16_t)port);
	if (inet_pton(AF_INET, host, &in.sin_addr) != 1 ||
	    connect(fd, (struct sockaddr *)&in, sizeof(in)) < 0)
		die("cannot connect");
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	return fd;
}

static void flush(struct client *c)
{
	const uint8_t *data;
	ssize_t n;

	while ((n = nghttp2_session_mem_send(c->session, &data)) > 0)
		if (send(c->fd, data, (size_t)n, MSG_NOSIGNAL) != n) {
			c->ended = true;
			return;
		}
}

static void begin(struct client *c, int fd, const char *path, const char *request)
{
#define NV(n, v)                                                                                  \
	{                                                                                         \
		(uint8_t *)(uintptr_t)(n), (uint8_t *)(uintptr_t)(v), sizeof(n) - 1, strlen(v), 0 \
	}
	const nghttp2_nv fields[] = {
		NV(":method", "POST"),	     NV(":scheme", "http"),
		NV(":path", path),	     NV(":authority", "bench"),
		NV("te", "trailers"),	     NV("content-type", "application/grpc"),
		NV("user-agent", "bench/1"),
	};
	const nghttp2_settings_entry settings[] = {{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, WINDOW}};
	nghttp2_data_provider provider = {.read_callback = on_read};
	nghttp2_session_callbacks *cb;
	size_t len = strlen(request);

	*c = (struct client){.fd = fd};
	if (len > sizeof(c->request) - 5)
		die("REQUEST is too long");
	c->request[4] = (char)len;
	memcpy(c->request + 5, request, len);
	c->request_len = len + 5;
	nghttp2_session_callbacks_new(&cb);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data);
	nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_close);
	if (nghttp2_session_client_new(&c->session, cb, c) != 0)
		die("no memory");
	nghttp2_session_callbacks_del(cb);
	nghttp2_submit_settings(c->session, 0, settings, EG_ARRAY_SIZE(settings));
	nghttp2_session_set_local_window_size(c->session, 0, 0, WINDOW);
	if (nghttp2_submit_request(c->session, NULL, fields, EG_ARRAY_SIZE(fields), &provider, c) <
	    0)
		die("no request");
	flush(c);
}

static void receive(struct client *c)
{
	static uint8_t buf[1 << 16];
	ssize_t n = recv(c->fd, buf, sizeof(buf), MSG_DONTWAIT);

	if (n <= 0) {
		c->ended |= n == 0 || errno != EAGAIN;
		return;
	}
	now = now_ns();
	if (nghttp2_session_mem_recv(c->session, buf, (size_t)n) < 0)
		c->ended = true;
	flush(c);
}

/* Reads all clients until end_ns, or until each has ended. */
static void read_until(unsigned n, uint64_t end_ns)
{
	int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	unsigned open = n;

	for (unsigned i = 0; i < n; i++) {
		struct epoll_event ev = {.events = EPOLLIN, .data.u32 = i};

		if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, clients[i].fd, &ev) < 0)
			die("epoll");
	}
	while (open) {
		struct epoll_event events[64];
		uint64_t at_ns = now_ns();
		int k;

		if (at_ns >= end_ns)
			break;
		k = epoll_wait(epoll_fd, events, 64,
			       (int)EG_MIN((end_ns - at_ns) / 1000000 + 1, 1000u));
		for (int i = 0; i < k; i++) {
			struct client *c = &clients[events[i].data.u32];

			receive(c);
			if (c->ended) {
				epoll_ctl(epoll_fd, EPOLL_CTL_DEL, c->fd, NULL);
				open--;
			}
		}
	}
	close(epoll_fd);
}

static void end_clients(unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		nghttp2_session_del(clients[i].session);
		close(clients[i].fd);
	}
}

static int run_client(const char *address, const char *path, unsigned n, double seconds, double hz,
		      const char *request)
{
	struct rusage usage;
	uint64_t begun_ns = now_ns(), total = 0, fewest = UINT64_MAX, longest_ns = 0, first_ns = 0;
	double want = (seconds * hz + 1) * n; /* the first comes at once */
	unsigned ended = 0;

	for (unsigned i = 0; i < n; i++)
		begin(&clients[i], connect_to(address), path, request);
	read_until(n, now_ns() + (uint64_t)(seconds * 1e9));
	for (unsigned i = 0; i < n; i++) {
		total += clients[i].messages;
		fewest = EG_MIN(fewest, clients[i].messages);
		longest_ns = EG_MAX(longest_ns, clients[i].longest_ns);
		if (clients[i].messages)
			first_ns = EG_MAX(first_ns, clients[i].first_ns - begun_ns);
		ended += clients[i].ended;
	}
	getrusage(RUSAGE_SELF, &usage);
	printf("{\"connections\": %u, \"seconds\": %.3f, \"hz\": %g, \"messages\": %" PRIu64
	       ", \"wanted\": %.0f, \"share\": %.4f, \"fewest\": %" PRIu64
	       ", \"first_ms\": %.3f, \"longest_gap_ms\": %.3f, \"ended\": %u, \"client_cpu_s\": %.3f}\n",
	       n, seconds, hz, total, want, want > 0 ? (double)total / want : 0.0, fewest,
	       (double)first_ns / 1e6, (double)longest_ns / 1e6, ended,
	       (double)usage.ru_utime.tv_sec + (double)usage.ru_utime.tv_usec / 1e6 +
		       (double)usage.ru_stime.tv_sec + (double)usage.ru_stime.tv_usec / 1e6);
	end_clients(n);
	return total ? 0 : 1;
}

/* ---- the server's cost ---- */

static struct eg_grpc_call *calls[CONNECTIONS_MAX];
static unsigned n_calls;

static void tick_begin(void *arg, struct eg_grpc_call *call, const void *request, size_t len)
{
	calls[n_calls++] = call;
}

static void tick_gone(void *arg, struct eg_grpc_call *call)
{
	die("a client left");
}

static void serve(struct eg_grpc *g)
{
	struct pollfd p = {.fd = eg_grpc_fd(g), .events = POLLIN};
	uint64_t wait_ns = eg_grpc_timeout_ns(g);

	poll(&p, 1, wait_ns == 0 ? 0 : 10);
	eg_grpc_run(g);
}

static double cpu_s(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void run_child(const char *address, unsigned streams, uint64_t ticks)
{
	for (unsigned i = 0; i < streams; i++)
		begin(&clients[i], connect_to(address), "/bench/Tick", "");
	read_until(streams, UINT64_MAX);
	for (unsigned i = 0; i < streams; i++)
		if (clients[i].messages != ticks)
			die("messages were lost");
	end_clients(streams);
	_exit(0);
}

static int run_cost(uint64_t ticks, unsigned streams, size_t bytes)
{
	static const struct eg_grpc_method method = {
		.path = "/bench/Tick", .begin = tick_begin, .gone = tick_gone};
	struct eg_grpc_config cfg = {
		.listen = "127.0.0.1:0", .max_clients = CONNECTIONS_MAX, .queue = 1024};
	struct eg_grpc *g;
	uint8_t message[MESSAGE_MAX] = {0};
	double begun_s, used_s;
	int status = -1;
	pid_t child;

	if (eg_grpc_open(&cfg, &method, 1, &g, NULL) < 0)
		die("no server");
	child = fork();
	if (child == 0)
		run_child(eg_grpc_address(g, false), streams, ticks);
	while (n_calls < streams)
		serve(g);
	begun_s = cpu_s();
	for (uint64_t t = 0; t < ticks; t++) {
		for (unsigned i = 0; i < n_calls; i++)
			eg_grpc_send(calls[i], message, bytes);
		eg_grpc_run(g);
		/* As ticks come: the reader has taken one before the next, and none shares a write. */
		nanosleep(&(struct timespec){.tv_nsec = PAUSE_NS}, NULL);
	}
	used_s = cpu_s() - begun_s;
	for (unsigned i = 0; i < n_calls; i++)
		eg_grpc_finish(calls[i], EG_GRPC_OK, NULL);
	while (!eg_grpc_is_idle(g))
		serve(g);
	eg_grpc_close(g);
	printf("{\"ticks\": %" PRIu64
	       ", \"streams\": %u, \"bytes\": %zu, \"cpu_ns_per_message\": %.0f}\n",
	       ticks, streams, bytes, used_s * 1e9 / (double)(ticks * streams));
	return waitpid(child, &status, 0) == child && status == 0 ? 0 : 1;
}

/* ---- what the machine allows ---- */

static int run_timer(double seconds, double hz)
{
	struct itimerspec every = {.it_interval.tv_nsec = (long)(1e9 / hz), .it_value.tv_nsec = 1};
	int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
	uint64_t got = 0, all = 0, want = (uint64_t)(seconds * hz), due;

	if (fd < 0 || hz <= 1 || timerfd_settime(fd, 0, &every, NULL) < 0)
		die("no timer: HZ is above 1");
	for (; all < want; all += due, got++)
		if (read(fd, &due, sizeof(due)) != sizeof(due))
			die("no tick");
	close(fd);
	printf("{\"share\": %.4f}\n", (double)got / (double)all);
	return 0;
}

static uint64_t number(const char *s, uint64_t max)
{
	uint64_t n;

	if (eg_parse_u64(s, strlen(s), &n) < 0 || n == 0 || n > max)
		die("a number is out of range");
	return n;
}

int main(int argc, char **argv)
{
	if ((argc == 7 || argc == 8) && strcmp(argv[1], "client") == 0)
		return run_client(argv[2], argv[3], (unsigned)number(argv[4], CONNECTIONS_MAX),
				  strtod(argv[5], NULL), strtod(argv[6], NULL),
				  argc == 8 ? argv[7] : "");
	if ((argc == 4 || argc == 5) && strcmp(argv[1], "cost") == 0)
		return run_cost(number(argv[2], 1u << 30),
				(unsigned)number(argv[3], CONNECTIONS_MAX),
				argc == 5 ? (size_t)number(argv[4], MESSAGE_MAX) : 210);
	if (argc == 4 && strcmp(argv[1], "timer") == 0)
		return run_timer(strtod(argv[2], NULL), strtod(argv[3], NULL));
	die("see the head of bench/grpc.c for how to call it");
	return 2;
}
