/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See service.h. A stream ends when its client leaves or the server stops, never because of a sensor.
 * One that comes before the first reading waits for it.
 */
#include "monitor/service.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"

#define LOG	    "grpc"
#define STREAMS_MAX 1024

struct stream {
	struct stream *next, **link;
	struct eg_grpc_call *call;
	enum eg_service_sight sight;
};

struct eg_service {
	struct eg_service_config cfg;
	bool healthy;
	const char *platform;
	struct stream *first;
	struct {
		size_t n;   /* streams */
		size_t len; /* of the newest reading; 0 none */
		uint8_t newest[EG_READING_BYTES_MAX];
	} of[EG_SERVICE_SIGHTS];
};

int eg_service_new(const struct eg_service_config *cfg, struct eg_service **ret)
{
	struct eg_service *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	s->cfg = *cfg;
	s->platform = "null";
	*ret = s;
	return 0;
}

struct eg_service *eg_service_free(struct eg_service *s)
{
	while (s && s->first) {
		struct stream *st = s->first;

		s->first = st->next;
		free(st);
	}
	free(s);
	return NULL;
}

void eg_service_set_health(struct eg_service *s, bool healthy, const char *platform)
{
	s->healthy = healthy;
	s->platform = platform;
}

size_t eg_service_streams(const struct eg_service *s, enum eg_service_sight sight)
{
	return s->of[sight].n;
}

static void health(void *arg, struct eg_grpc_call *call, const void *request, size_t len)
{
	const struct eg_service *s = arg;
	uint8_t bytes[EG_HEALTH_BYTES_MAX];
	ssize_t n = eg_encode_health(s->healthy, s->platform, bytes);

	if (n < 0) {
		eg_grpc_finish(call, EG_GRPC_INTERNAL, "the answer is too long");
		return;
	}
	eg_grpc_send(call, bytes, (size_t)n);
	eg_grpc_finish(call, EG_GRPC_OK, NULL);
}

static void count_changed(struct eg_service *s)
{
	if (s->cfg.streams)
		s->cfg.streams(s->cfg.arg);
}

static void begin_stream(void *arg, struct eg_grpc_call *call, const void *request, size_t len)
{
	struct eg_service *s = arg;
	const struct eg_grpc_peer *peer = eg_grpc_peer(call);
	enum eg_service_sight sight = s->cfg.sight ? s->cfg.sight(s->cfg.arg, peer) :
						     EG_SERVICE_FINE;
	size_t open = s->of[EG_SERVICE_FINE].n + s->of[EG_SERVICE_COARSE].n;
	struct stream *st;

	if (sight == EG_SERVICE_NONE) {
		eg_grpc_finish(call,
			       peer->authenticated ? EG_GRPC_PERMISSION_DENIED :
						     EG_GRPC_UNAUTHENTICATED,
			       "the administrator decides in [access] of the configuration");
		return;
	}
	st = open < STREAMS_MAX ? calloc(1, sizeof(*st)) : NULL;
	if (!st) {
		eg_grpc_finish(call, EG_GRPC_RESOURCE_EXHAUSTED, "too many streams");
		return;
	}
	*st = (struct stream){.next = s->first, .link = &s->first, .call = call, .sight = sight};
	if (s->first)
		s->first->link = &st->next;
	s->first = st;
	s->of[sight].n++;
	eg_grpc_set_data(call, st);
	eg_log(EG_LOG_DEBUG, LOG, "%s streams", peer->address);
	count_changed(s);
	if (s->of[sight].len)
		eg_grpc_send(call, s->of[sight].newest, s->of[sight].len);
}

static void end_stream(void *arg, struct eg_grpc_call *call)
{
	struct eg_service *s = arg;
	struct stream *st = eg_grpc_data(call);
	uint64_t dropped = eg_grpc_dropped(call);

	if (!st)
		return;
	if (dropped)
		eg_log(EG_LOG_INFO, LOG, "%s was too slow for %llu readings, which it lost",
		       eg_grpc_peer(call)->address, (unsigned long long)dropped);
	*st->link = st->next;
	if (st->next)
		st->next->link = st->link;
	s->of[st->sight].n--;
	free(st);
	count_changed(s);
}

void eg_service_methods(struct eg_service *s, struct eg_grpc_method ret[EG_SERVICE_METHODS])
{
	ret[0] = (struct eg_grpc_method){
		.path = "/energy.EnergyMonitor/Health", .begin = health, .arg = s};
	ret[1] = (struct eg_grpc_method){.path = "/energy.EnergyMonitor/StreamTelemetry",
					 .begin = begin_stream,
					 .gone = end_stream,
					 .arg = s};
}

void eg_service_publish(struct eg_service *s, enum eg_service_sight sight, const uint8_t *message,
			size_t len)
{
	struct stream *next;

	if (len > sizeof(s->of[sight].newest))
		return;
	memcpy(s->of[sight].newest, message, len);
	s->of[sight].len = len;
	for (struct stream *st = s->first; st; st = next) {
		next = st->next; /* a send may end its call, and so the entry */
		if (st->sight == sight)
			eg_grpc_send(st->call, message, len);
	}
}

void eg_service_forget(struct eg_service *s, enum eg_service_sight sight)
{
	s->of[sight].len = 0;
}
