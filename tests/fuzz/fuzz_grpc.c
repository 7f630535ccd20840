/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as what a client of the gRPC server sends, over a socket, with methods of every kind. The first
 * byte says what comes before the rest: nothing, the preface, or preface and SETTINGS; and in how many
 * pieces it comes. When the client has hung up no call, no connection and no byte of a queue may be left.
 */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "grpc/health.h"
#include "grpc/internal.h"
#include "grpc/reflection.h"

#define TURNS 64
#define HELD  64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct eg_grpc *server;
static struct eg_grpc_call *held[HELD];
static unsigned known; /* calls that methods know of */

/* False: there are too many, and it was finished. */
static bool hold(struct eg_grpc_call *call)
{
	unsigned i = 0;

	while (i < HELD && held[i])
		i++;
	if (i == HELD) {
		eg_grpc_finish(call, EG_GRPC_RESOURCE_EXHAUSTED, "no more");
		return false;
	}
	held[i] = call;
	known++;
	return true;
}

static void forget(void *arg, struct eg_grpc_call *call)
{
	for (unsigned i = 0; i < HELD; i++)
		if (held[i] == call) {
			held[i] = NULL;
			known--;
			return;
		}
	abort();
}

static void echo(void *arg, struct eg_grpc_call *call, const void *request, size_t len)
{
	eg_grpc_send(call, request, len);
	eg_grpc_finish(call, len % 2 ? EG_GRPC_OK : EG_GRPC_NOT_FOUND, len % 3 ? "why %\n" : NULL);
}

static void stream(void *arg, struct eg_grpc_call *call, const void *request, size_t len)
{
	hold(call);
}

static void message(void *arg, struct eg_grpc_call *call, const void *data, size_t len)
{
	eg_grpc_send(call, data, len);
	if (len == 1) {
		forget(NULL, call);
		eg_grpc_finish(call, EG_GRPC_OK, NULL);
	}
}

static void end(void *arg, struct eg_grpc_call *call)
{
	forget(NULL, call);
	eg_grpc_finish(call, EG_GRPC_OK, NULL);
}

static void chat(void *arg, struct eg_grpc_call *call, const void *data, size_t len)
{
	hold(call);
}

static struct eg_grpc_method methods[3 + EG_GRPC_HEALTH_METHODS + EG_GRPC_REFLECTION_METHODS] = {
	{.path = "/t/E", .begin = echo},
	{.path = "/t/S", .begin = stream, .gone = forget},
	{.path = "/t/C", .begin = chat, .message = message, .end = end, .gone = forget},
};

static void begin(void)
{
	static const char *const services[] = {"t"};
	static const struct eg_grpc_descriptors *const sets[] = {&eg_grpc_own_descriptors};
	const struct eg_grpc_config cfg = {.listen = "127.0.0.1:0", .queue = 3, .max_streams = 8};
	struct eg_grpc_health *health;
	struct eg_grpc_reflection *reflection;

	if (eg_grpc_health_new(services, 1, &health) < 0 ||
	    eg_grpc_reflection_new(sets, 1, methods, EG_ARRAY_SIZE(methods), &reflection) < 0)
		abort();
	eg_grpc_health_methods(health, &methods[3]);
	eg_grpc_reflection_methods(reflection, &methods[3 + EG_GRPC_HEALTH_METHODS]);
	if (eg_grpc_open(&cfg, methods, EG_ARRAY_SIZE(methods), &server, NULL) < 0)
		abort();
}

static void turn(void)
{
	static uint8_t tick[300];

	for (unsigned i = 0; i < HELD; i++)
		if (held[i])
			eg_grpc_send(held[i], tick, sizeof(tick) - i);
	eg_grpc_run(server);
}

static void send_all(int fd, const void *data, size_t len)
{
	uint8_t buf[4096];

	(void)!send(fd, data, len, MSG_NOSIGNAL | MSG_DONTWAIT);
	turn();
	while (recv(fd, buf, sizeof(buf), MSG_DONTWAIT) > 0)
		;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
	static const uint8_t settings[9] = {0, 0, 0, 4};
	unsigned pieces, begins;
	int fd[2];

	if (!server)
		begin();
	if (size < 1)
		return 0;
	begins = data[0] & 3;
	pieces = 1 + (data[0] >> 2 & 7);
	data++;
	size--;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fd) < 0 ||
	    eg_grpc_adopt(server, fd[1], false, "fuzz") < 0)
		abort();
	if (begins)
		send_all(fd[0], preface, sizeof(preface) - 1);
	if (begins > 1)
		send_all(fd[0], settings, sizeof(settings));
	for (unsigned i = 0; i < pieces; i++) {
		size_t from = size * i / pieces, to = size * (i + 1) / pieces;

		send_all(fd[0], data + from, to - from);
	}
	for (int i = 0; i < 3; i++)
		send_all(fd[0], "", 0);
	close(fd[0]);
	for (int i = 0; i < TURNS && !eg_grpc_is_idle(server); i++)
		turn();
	if (!eg_grpc_is_idle(server) || known || server->stats.calls || server->queue_bytes)
		abort();
	return 0;
}
