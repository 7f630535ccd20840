/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The gRPC server with methods for the tests, which the scripts beside it drive from outside:
 *
 *     test_server [listen=A:P] [tls_listen=A:P] [cert=F] [key=F] [ca=F] [tokens=F] [require=1]
 *                 [clients=N] [streams=N] [queue=N] [idle_ms=N]
 *
 * It prints "plain ADDRESS", "tls ADDRESS" and "ready", serves until SIGTERM, drains, and ends with 0.
 * SIGHUP reloads; SIGUSR1 and SIGUSR2 change the health of test.T to SERVING and NOT_SERVING. What cannot be opened ends it with 2 and the sentence on standard error. Requests and
 * answers are texts; see `methods` below.
 */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/parse.h"
#include "grpc/grpc.h"
#include "grpc/health.h"
#include "grpc/reflection.h"
#include "grpc/tls.h"

#define OPEN_MAX_CALLS 16384
#define PATIENCE_NS    (2 * EG_NSEC_PER_SEC)

/* A call of /test.T/Stream: `left` messages of `size` bytes every `interval_ns`. */
struct stream {
	struct eg_grpc_call *call;
	uint64_t sent, left, interval_ns, next_ns;
	size_t size;
};

static struct eg_grpc *grpc;
static struct eg_grpc_config cfg;
static struct stream *streams[OPEN_MAX_CALLS];
static size_t n_streams;
static uint64_t gone, ended;
static volatile sig_atomic_t stop, reload, serving;
static uint8_t big[EG_GRPC_MESSAGE_MAX + 1];

static void on_signal(int sig)
{
	if (sig == SIGHUP)
		reload = 1;
	else if (sig == SIGUSR1)
		serving = EG_GRPC_SERVING;
	else if (sig == SIGUSR2)
		serving = EG_GRPC_NOT_SERVING;
	else
		stop = 1;
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * EG_NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
}

/* Numbers of a request, "3 100 20"; returns how many. */
static unsigned numbers(const void *request, size_t len, uint64_t out[4])
{
	const char *s = request, *end = s + len;
	unsigned n = 0;

	while (s < end && n < 4) {
		size_t word = 0;

		while (s + word < end && s[word] != ' ')
			word++;
		if (eg_parse_u64(s, word, &out[n]) < 0)
			break;
		n++;
		s += word + (s + word < end);
	}
	return n;
}

static void on_gone(void *arg, struct eg_grpc_call *call)
{
	gone++;
}

/* Echo: the request. */
static void echo(void *arg, struct eg_grpc_call *call, const void *request, size_t len)
{
	eg_grpc_send(call, request, len);
	eg_grpc_finish(call, EG_GRPC_OK, NULL);
}

/* Fail: "STATUS" without a message, "STATUS 1" with one of odd characters, "STATUS 2" a long one. */
static void fail(void *arg, struct eg_grpc_call *call, const void *request, size_t len)
{
	uint64_t n[4] = {0};
	char text[4096];

	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	numbers(request, len, n);
	eg_grpc_finish(call, (enum eg_grpc_status)n[0],
		       n[1] == 1 ? "50% of\tit \xc3\xbc\n" :
		       n[1] == 2 ? text :
				   NULL);
}

/* Slow: no answer at all. */
static void slow(void *arg, struct eg_grpc_call *call, const void *request, size_t len)
{
}

/* Oversize: an answer that is too large; "end": and finish it at once. */
static void oversize(void *arg, struct eg_grpc_call *call, const void *request, size_t len)
{
	eg_grpc_send(call, "first", 5);
	eg_grpc_send(call, big, sizeof(big));
	eg_grpc_send(call, "third", 5);
	if (len == 3)
		eg_grpc_finish(call, EG_GRPC_OK, NULL);
}

/* Burst: "COUNT SIZE STATUS", all at once; each message begins with its number as text. */
static void burst(void *arg, struct eg_grpc_call *call, const void *request, size_t len)
{
	uint64_t n[4] = {0};

	numbers(request, len, n);
	for (uint64_t i = 0; i < n[0]; i++) {
		char text[24];
		int digits = snprintf(text, sizeof(text), "%" PRIu64 " ", i);
		size_t size = EG_MIN(EG_MAX((size_t)n[1], (size_t)digits), EG_GRPC_MESSAGE_MAX);

		memcpy(big, text, (size_t)digits);
		eg_grpc_send(call, big, size);
	}
	eg_grpc_finish(call, (enum eg_grpc_status)n[2], NULL);
}

/* Stream: "COUNT SIZE INTERVAL_US" (COUNT 0: for ever); messages begin with their number as text. */
static void stream(void *arg, struct eg_grpc_call *call, const void *request, size_t len)
{
	uint64_t n[4] = {0};
	struct stream *s = calloc(1, sizeof(*s));

	if (!s || n_streams == OPEN_MAX_CALLS) {
		free(s);
		eg_grpc_finish(call, EG_GRPC_RESOURCE_EXHAUSTED, "streams");
		return;
	}
	numbers(request, len, n);
	s->call = call;
	s->left = n[0] ? n[0] : UINT64_MAX;
	s->size = EG_MIN((size_t)n[1], sizeof(big) - 1);
	s->interval_ns = n[2] * 1000;
	s->next_ns = now_ns();
	streams[n_streams++] = s;
	eg_grpc_set_data(call, s);
}

static void forget(struct stream *s)
{
	for (size_t i = 0; i < n_streams; i++)
		if (streams[i] == s) {
			streams[i] = streams[--n_streams];
			break;
		}
	free(s);
}

static void stream_gone(void *arg, struct eg_grpc_call *call)
{
	gone++;
	forget(eg_grpc_data(call));
}

static void tick(struct stream *s, uint64_t at_ns)
{
	char text[24];
	int digits;

	if (s->next_ns > at_ns)
		return;
	digits = snprintf(text, sizeof(text), "%" PRIu64 " ", s->sent);
	memset(big, 'x', s->size);
	memcpy(big, text, (size_t)digits);
	eg_grpc_send(s->call, big, EG_MAX(s->size, (size_t)digits));
	s->sent++;
	s->next_ns += s->interval_ns;
	if (--s->left == 0) {
		struct eg_grpc_call *call = s->call;

		forget(s);
		eg_grpc_finish(call, EG_GRPC_OK, NULL);
	}
}

/* Chat: each message back; "finish" ends it from our side. */
static void chat(void *arg, struct eg_grpc_call *call, const void *request, size_t len)
{
	if (request || len)
		abort();
}

static void chat_message(void *arg, struct eg_grpc_call *call, const void *message, size_t len)
{
	eg_grpc_send(call, message, len);
	if (len == 6 && memcmp(message, "finish", 6) == 0)
		eg_grpc_finish(call, EG_GRPC_OK, NULL);
}

static void chat_end(void *arg, struct eg_grpc_call *call)
{
	ended++;
	eg_grpc_finish(call, EG_GRPC_OK, NULL);
}

static void peer(void *arg, struct eg_grpc_call *call, const void *request, size_t len)
{
	const struct eg_grpc_peer *p = eg_grpc_peer(call);
	char text[256];
	int n = snprintf(text, sizeof(text), "%s auth=%d user=%s tls=%d", p->address,
			 p->authenticated, p->user, p->tls);

	eg_grpc_send(call, text, (size_t)n);
	eg_grpc_finish(call, EG_GRPC_OK, NULL);
}

static unsigned descriptors(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned n = 0;

	while (d && readdir(d))
		n++;
	if (d)
		closedir(d);
	return n - 3; /* ".", "..", and that of d */
}

static void stats(void *arg, struct eg_grpc_call *call, const void *request, size_t len)
{
	struct eg_grpc_stats s;
	struct mallinfo2 m = mallinfo2();
	char text[512];
	int n;

	eg_grpc_get_stats(grpc, &s);
	n = snprintf(text, sizeof(text),
		     "clients=%u calls=%u accepted=%" PRIu64 " refused=%" PRIu64 " begun=%" PRIu64
		     " messages=%" PRIu64 " dropped=%" PRIu64 " protocol_errors=%" PRIu64
		     " gone=%" PRIu64 " ended=%" PRIu64 " fds=%u heap=%zu",
		     s.clients, s.calls, s.accepted, s.refused, s.begun, s.messages, s.dropped,
		     s.protocol_errors, gone, ended, descriptors(), m.uordblks);
	eg_grpc_send(call, text, (size_t)n);
	eg_grpc_finish(call, EG_GRPC_OK, NULL);
}

#define OWN_METHODS 10

static struct eg_grpc_method
	methods[OWN_METHODS + EG_GRPC_HEALTH_METHODS + EG_GRPC_REFLECTION_METHODS] = {
		{.path = "/test.T/Echo", .begin = echo},
		{.path = "/test.T/Open", .begin = peer, .open = true},
		{.path = "/test.T/Peer", .begin = peer},
		{.path = "/test.T/Fail", .begin = fail},
		{.path = "/test.T/Slow", .begin = slow, .gone = on_gone},
		{.path = "/test.T/Oversize", .begin = oversize, .gone = on_gone},
		{.path = "/test.T/Burst", .begin = burst, .gone = on_gone},
		{.path = "/test.T/Stream", .begin = stream, .gone = stream_gone},
		{.path = "/test.T/Chat",
		 .begin = chat,
		 .message = chat_message,
		 .end = chat_end,
		 .gone = on_gone},
		{.path = "/test.T/Stats", .begin = stats, .open = true},
};

static void set(const char *name, const char *value)
{
	uint64_t n = 0;

	(void)!eg_parse_u64(value, strlen(value), &n);
	if (!strcmp(name, "listen"))
		cfg.listen = value;
	else if (!strcmp(name, "tls_listen"))
		cfg.tls_listen = value;
	else if (!strcmp(name, "cert"))
		cfg.tls_certificate = value;
	else if (!strcmp(name, "key"))
		cfg.tls_key = value;
	else if (!strcmp(name, "ca"))
		cfg.tls_client_ca = value;
	else if (!strcmp(name, "tokens"))
		cfg.token_file = value;
	else if (!strcmp(name, "require"))
		cfg.require_auth = n != 0;
	else if (!strcmp(name, "clients"))
		cfg.max_clients = (unsigned)n;
	else if (!strcmp(name, "streams"))
		cfg.max_streams = (unsigned)n;
	else if (!strcmp(name, "queue"))
		cfg.queue = (unsigned)n;
	else if (!strcmp(name, "idle_ms"))
		cfg.idle_ns = n * EG_NSEC_PER_MSEC;
}

static void turn(void)
{
	struct pollfd p = {.fd = eg_grpc_fd(grpc), .events = POLLIN};
	uint64_t wait_ns = eg_grpc_timeout_ns(grpc), at_ns = now_ns();
	struct timespec ts;

	for (size_t i = 0; i < n_streams; i++)
		wait_ns = EG_MIN(wait_ns,
				 streams[i]->next_ns > at_ns ? streams[i]->next_ns - at_ns : 0);
	wait_ns = EG_MIN(wait_ns, EG_NSEC_PER_SEC);
	ts = (struct timespec){(time_t)(wait_ns / EG_NSEC_PER_SEC),
			       (long)(wait_ns % EG_NSEC_PER_SEC)};
	(void)ppoll(&p, 1, &ts, NULL);
	at_ns = now_ns();
	/* From the end: a stream that is over leaves its place to the last. */
	for (size_t i = n_streams; i > 0; i--)
		tick(streams[i - 1], at_ns);
	eg_grpc_run(grpc);
}

int main(int argc, char **argv)
{
	EG_CLEANUP(eg_strbuf_free) struct eg_strbuf why = EG_STRBUF_INIT(1024);
	struct sigaction sa = {.sa_handler = on_signal};
	static const char *const services[] = {"test.T"};
	static const struct eg_grpc_descriptors *const sets[] = {&eg_grpc_own_descriptors};
	struct eg_grpc_health *health;
	struct eg_grpc_reflection *reflection;
	uint64_t end_ns;

	if (eg_grpc_health_new(services, 1, &health) < 0)
		return 2;
	if (eg_grpc_reflection_new(sets, 1, methods, EG_ARRAY_SIZE(methods), &reflection) < 0) {
		eg_grpc_health_free(health);
		return 2;
	}
	eg_grpc_health_set(health, NULL, EG_GRPC_SERVING);
	eg_grpc_health_methods(health, &methods[OWN_METHODS]);
	eg_grpc_reflection_methods(reflection, &methods[OWN_METHODS + EG_GRPC_HEALTH_METHODS]);
	cfg.tls = &eg_grpc_gnutls;
	for (int i = 1; i < argc; i++) {
		char *value = strchr(argv[i], '=');

		if (!value)
			return 2;
		*value = '\0';
		set(argv[i], value + 1);
	}
	sigaction(SIGTERM, &sa, NULL);
	sigaction(SIGHUP, &sa, NULL);
	sigaction(SIGUSR1, &sa, NULL);
	sigaction(SIGUSR2, &sa, NULL);
	if (eg_grpc_open(&cfg, methods, EG_ARRAY_SIZE(methods), &grpc, &why) < 0) {
		fprintf(stderr, "%s\n", eg_strbuf_get(&why));
		eg_grpc_health_free(health);
		eg_grpc_reflection_free(reflection);
		return 2;
	}
	printf("plain %s\ntls %s\nready\n", eg_grpc_address(grpc, false),
	       eg_grpc_address(grpc, true));
	fflush(stdout);
	while (!stop) {
		turn();
		if (serving)
			eg_grpc_health_set(health, "test.T", (enum eg_grpc_serving)serving);
		serving = 0;
		if (reload) {
			int r = eg_grpc_reload(grpc, &cfg, &why);

			printf("reload %s\n", r < 0 ? eg_strbuf_get(&why) : "good");
			fflush(stdout);
			eg_strbuf_reset(&why);
			reload = 0;
		}
	}
	eg_grpc_drain(grpc);
	for (end_ns = now_ns() + PATIENCE_NS; !eg_grpc_is_idle(grpc) && now_ns() < end_ns;)
		turn();
	printf("%s\n", eg_grpc_is_idle(grpc) ? "idle" : "busy");
	eg_grpc_close(grpc);
	eg_grpc_health_free(health);
	eg_grpc_reflection_free(reflection);
	return n_streams ? 3 : 0;
}
